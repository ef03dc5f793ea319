"""Send the results of a run to an experiment tracker that is installed (table `TRACKERS`).

Each function gets the project, a name, settings and figures. It writes where the tracker's own
settings say: a folder, a server, an account.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from plugin.errors import FaultError, OptionError
from plugin.records import ALL
from plugin.report.run_record import deciding_rows

PROJECT = "finetune-verdict"


def track(name: str, summary: Mapping[str, Any], files: Sequence[Path]) -> None:
    """Send a run to a tracker.

    Args:
        name: of the tracker, from `TRACKERS`.
        summary: the run's summary.json.
        files: what to attach, where the tracker takes files.

    Raises:
        OptionError: when it is not installed.
        FaultError: when it fails, with its own words.
    """
    if find_spec(name) is None:
        raise OptionError(f"--track {name}: it is not installed; pip install {name}")
    made = summary["provenance"]
    settings = {
        **{key: value for key, value in made["settings"].items() if value not in ("", [], None)},
        "model": made["model"],
        "dataset": made["dataset"],
        "judge": summary["judge"],
        "run_id": made["run_id"],
        "note": made.get("note", ""),
        "verdict": summary["verdict"]["sentence"],
        "outcome": summary["verdict"]["outcome"],
    }
    try:
        TRACKERS[name](
            made["run_id"], settings, figures(summary), [f for f in files if f.is_file()]
        )
    except Exception as error:  # a tracker may fail in any way: network, account, disk
        reason = " ".join(str(error).split())
        raise FaultError(f"--track {name} failed: {type(error).__name__}: {reason}") from error


def figures(summary: Mapping[str, Any]) -> dict[str, float]:
    """Return means, gains and interval ends by name: over all cases, and over those that decide."""
    found: dict[str, float | None] = {}
    for row in summary["summaries"]:
        if row["group"] == ALL:
            found[f"{row['variant']}/{row['metric']}"] = row["mean"]
    base = summary["variants"][0]["name"]
    clean, which = deciding_rows(summary)
    every = [row for row in summary["comparisons"] if row["group"] == ALL]
    for rows, cases in ((every, ""), (clean if which else (), " on clean cases")):
        for row in rows:
            if row["baseline"] != base:
                continue
            place = f"{row['variant']}/{row['metric']}{cases}"
            found[f"{place} gain"] = row["gain"]
            found[f"{place} gain low"] = row["ci_low"]
            found[f"{place} gain high"] = row["ci_high"]
            found[f"{place} regressions"] = row["losses"]
    found["cases"] = summary["n_cases"]
    found["failures"] = summary["n_failed"]
    return {_name(name): float(value) for name, value in found.items() if value is not None}


def _name(text: str) -> str:
    """Return a name of letters, digits and _ . / - and spaces, which all trackers take."""
    return "".join(char if char.isalnum() or char in "_-./ " else "-" for char in text)


def _to_mlflow(
    name: str, settings: Mapping[str, Any], numbers: Mapping[str, float], files: Sequence[Path]
) -> None:
    mlflow = importlib.import_module("mlflow")
    mlflow.set_experiment(PROJECT)
    with mlflow.start_run(run_name=name):
        mlflow.log_params({key: str(value)[:500] for key, value in settings.items()})
        mlflow.log_metrics(dict(numbers))
        for file in files:
            mlflow.log_artifact(str(file))


def _to_wandb(
    name: str, settings: Mapping[str, Any], numbers: Mapping[str, float], files: Sequence[Path]
) -> None:
    wandb = importlib.import_module("wandb")
    run = wandb.init(project=PROJECT, name=name, config=dict(settings))
    try:
        run.log(dict(numbers))
        for file in files:
            run.save(str(file), base_path=str(file.parent), policy="now")
    finally:
        run.finish()


def _to_trackio(
    name: str, settings: Mapping[str, Any], numbers: Mapping[str, float], files: Sequence[Path]
) -> None:
    trackio = importlib.import_module("trackio")
    trackio.init(project=PROJECT, name=name, config=dict(settings))
    try:
        trackio.log(dict(numbers))
    finally:
        trackio.finish()


Tracker = Callable[[str, Mapping[str, Any], Mapping[str, float], Sequence[Path]], None]

TRACKERS: dict[str, Tracker] = {"mlflow": _to_mlflow, "wandb": _to_wandb, "trackio": _to_trackio}
"""The trackers by the name of their library."""

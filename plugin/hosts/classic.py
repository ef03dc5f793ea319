"""The classic Transformer Lab: a plugin run by its harness, on the SDK object `tlab_evals`.

Only `add_job_data`, `progress_update`, `log_metric` and `save_evaluation_results` are used: they
are synchronous in every release. A user's Stop arrives as KeyboardInterrupt from `progress_update`.
stderr is thrown away there, so everything goes to stdout.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from plugin.errors import AdapterError, JudgeError, OptionError, VerdictError
from plugin.hosts._progress import percent
from plugin.records import ALL, VANILLA, Report, Score
from plugin.worker import Progress

_TELL_EVERY_S = 0.5
_LOCAL_SERVER_URL = "http://localhost:8338/v1"
_CUSTOM = {"CUSTOM_JUDGE_BASE_URL": "customBaseURL", "CUSTOM_JUDGE_API_KEY": "customApiKey"}


def read_values(arguments: Sequence[str]) -> dict[str, Any]:
    """What the form says: the typed values of the input file first, the arguments besides.

    Raises:
        OptionError: when the input file is named but cannot be read.
    """
    pairs = zip(arguments, arguments[1:], strict=False)
    given: dict[str, Any] = {
        key.removeprefix("--"): value
        for key, value in pairs
        if key.startswith("--") and not value.startswith("--")
    }
    file = given.pop("input_file", None)
    if not file or not Path(file).is_file():
        return given
    try:
        config = json.loads(Path(file).read_text(encoding="utf-8"))["config"]
        return {**given, **config}
    except (ValueError, KeyError, TypeError) as error:
        raise OptionError(
            f"the host's input file {file} cannot be read ({type(error).__name__}: {error}); "
            "queue the evaluation again"
        ) from error


class ClassicHost:
    """See `plugin.hosts.Host`."""

    def __init__(self, sdk: Any, workspace: str, config_value: Any, model_name: str) -> None:
        """Take what the host gives.

        Args:
            sdk: its `tlab_evals` object.
            workspace: the directory of models, adaptors and datasets.
            config_value: name -> stored value of the host's settings, or None.
            model_name: the experiment's model; adapters are kept under its name.
        """
        self._sdk = sdk
        self._workspace = Path(workspace)
        self._config_value = config_value
        self._model_name = model_name
        self._told_s = 0.0
        self._stage = ""

    def open(self, run_id: str) -> Path:
        """A folder in the workspace, so that the same settings continue the run in another job."""
        folder = self._workspace / "finetune_verdict" / run_id
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OptionError(
                f"{folder}: the workspace takes no directory ({error.strerror}); make it writable"
            ) from error
        return folder

    def model(self, name: str) -> str:
        """A directory, or the name is a hub id."""
        return str(Path(name).resolve()) if Path(name).is_dir() else name

    def adapter(self, name: str) -> Path:
        """The folder that the host's trainers wrote, under the model's name."""
        folder = self._workspace / "adaptors"
        tried = [
            Path(os.path.abspath(path))
            for path in (
                folder / _secure(self._model_name) / name,
                folder / self._model_name / name,
                folder / Path(self._model_name).name / name,
                Path(name),
            )
        ]
        for path in tried:
            if path.is_dir():
                return path
        raise AdapterError(
            f"adapter {name!r} is gone: there is no {', no '.join(map(str, tried))}. Choose an "
            "adapter in the experiment's Foundation tab"
        )

    def dataset(self, name: str) -> str:
        """The host's folder of a local data set, or the name is a data set id."""
        folder = self._workspace / "datasets" / name
        return str(folder) if folder.is_dir() else name

    def secret(self, name: str) -> str | None:
        """From the host's settings, else from the environment."""
        stored = self._custom(_CUSTOM[name]) if name in _CUSTOM else self._stored(name)
        return str(stored or os.environ.get(name, "")).strip() or None

    def judge_of(self, chosen: str) -> str:
        """The judge's spec for a choice of the form's model list.

        Raises:
            JudgeError: for a choice that cannot judge.
        """
        try:
            choice = json.loads(chosen) if chosen.startswith("{") else {"provider": chosen}
        except ValueError as error:
            raise JudgeError(f"judge model {chosen!r} is no choice of the list") from error
        provider = str(choice.get("provider", ""))
        if provider.startswith("gpt-"):
            return f"openai:{provider}"
        if provider == "custom-model-api":
            return f"custom:{self._custom('customModelName') or ''}"
        if provider == "local":
            os.environ.setdefault("CUSTOM_JUDGE_BASE_URL", _LOCAL_SERVER_URL)
            return f"custom:{self._model_name}"
        raise JudgeError(
            f"judge model {provider!r} cannot be asked yet; choose a gpt model, the custom API or "
            "the local server, or name another in the field Judge"
        )

    def tend(self, progress: Progress) -> None:
        """Move the job's progress at least once a second; a Stop arrives from this very call."""
        if progress.stage and progress.stage != self._stage:
            self._stage = progress.stage
            self.log(progress.stage)
        if time.monotonic() - self._told_s >= _TELL_EVERY_S:
            self._told_s = time.monotonic()
            self._sdk.progress_update(percent(progress))

    def log(self, text: str) -> None:
        """To stdout, which is the job's output."""
        print(text, flush=True)

    def publish(self, report: Report, files: Sequence[Path]) -> None:
        """The detailed report, the chips and charts, and the verdict in the job's output."""
        self._sdk.save_evaluation_results(detailed(report))
        chips = chips_of(report)
        # The host's own means would hold NaN where nothing was scored.
        self._sdk.add_job_data("score", json.dumps(chips))
        for chip in chips:
            self._sdk.log_metric(chip["type"], chip["score"])
        for line in (*report.verdict.text.splitlines(), *report.warnings):
            self.log(line)
        self.log(f"Report and charts: {files[0].parent}")

    def fail(self, error: VerdictError) -> None:
        """To the job's output; the job's details are written when the job ends."""
        self.log(f"error: {error}")

    def stopped(self) -> None:
        """To the job's output."""
        self.log("stopped; everything made so far is kept: the same settings continue the run")

    def _stored(self, name: str) -> str | None:
        """A value of the host's settings."""
        try:
            value: str | None = self._config_value(name)
        except sqlite3.Error as error:
            raise OptionError(
                f"the host's settings cannot be read ({error}), so the judge's key is not known; "
                "wait until the host is less busy and queue the evaluation again"
            ) from error
        return value

    def _custom(self, key: str) -> str | None:
        """A part of the host's custom model settings."""
        stored = self._stored("CUSTOM_MODEL_API_KEY")
        try:
            return json.loads(stored).get(key) if stored else None
        except (ValueError, AttributeError):
            return None


def shown_metric(metric: str, variant: str, report: Report) -> str:
    """The name under which a variant's scores stand: the base's are marked where both ran."""
    alone = len(report.variants) == 1
    if variant == VANILLA and not alone:
        return f"{metric} · vanilla"
    return f"{metric} · {variant}" if len(report.variants) > 2 else metric


def chips_of(report: Report) -> list[dict[str, Any]]:
    """Finite means, rounded, vanilla beside the adapter."""
    return [
        {"type": shown_metric(row.metric, row.variant, report), "score": round(row.mean, 4)}
        for row in report.summaries
        if row.group == ALL and row.mean is not None
    ]


def detailed(report: Report) -> Any:
    """One row per score: a flat table, since its first column is the variant."""
    from pandas import DataFrame

    cases = {case.id: case for case in report.cases}
    by_place = {(s.case_id, s.variant, s.metric): s for s in report.scores}
    higher = {spec.name: spec.higher_is_better for spec in report.metrics}
    order = [
        (metric.name, variant.name, case.id)
        for metric in report.metrics
        for variant in report.variants
        for case in report.cases
    ]
    rows = []
    for metric, variant, case_id in order:
        score = by_place.get((case_id, variant, metric))
        if score is None:
            continue
        case = cases[case_id]
        completion = report.completions.get((case_id, variant))
        base = by_place.get((case_id, report.variants[0].name, metric))
        gain = None if variant == report.variants[0].name else _gain(score, base, higher[metric])
        rows.append(
            {
                "variant": variant,
                "metric_name": shown_metric(metric, variant, report),
                "test_case_id": case_id,
                "score": round(score.value, 4),
                "gain": gain,
                "group": case.group or "",
                "input": case.input,
                "output": completion.text if completion else "",
                "expected_output": case.expected_output or "",
                "reason": score.reason or "",
            }
        )
    return DataFrame(rows, columns=list(rows[0]) if rows else list(_COLUMNS))


_COLUMNS = (
    *("variant", "metric_name", "test_case_id", "score", "gain", "group"),
    *("input", "output", "expected_output", "reason"),
)


def _gain(score: Score, base: Score | None, higher_is_better: bool) -> float | None:
    if base is None:
        return None
    difference = score.value - base.value
    return round(difference if higher_is_better else -difference, 4)


def _secure(name: str) -> str:
    """The host's way to make a folder's name of a model's: werkzeug's `secure_filename`."""
    text = name.encode("ascii", "ignore").decode().replace(os.sep, " ")
    return re.sub(r"[^A-Za-z0-9_.-]", "", "_".join(text.split())).strip("._")

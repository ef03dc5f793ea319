"""Begin what a person typed: the function of each command in `plugin.plan.commands`.

Each takes the options by name, and the host that shows what it says and how it ended. Each returns
the exit code.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plugin.errors import OptionError
from plugin.hosts.folder import FolderHost
from plugin.plan.command_line import PROGRAM, read_config
from plugin.plan.params import Params
from plugin.run_facts import SweepFacts

_DEMO = Path(__file__).resolve().parent.parent / "demo"


def start_run(given: dict[str, Any], host: FolderHost) -> int:
    """Run with the options of a config file, and those that were typed before them."""
    values = read_config(given.pop("config"))
    values |= {name: value for name, value in given.items() if value is not None}
    return _run(Params.parse(values), host)


def start_demo(given: Mapping[str, Any], host: FolderHost) -> int:
    """Run a comparison of the tiny models that come with the program."""
    host.prefix = "demo-"
    return _run(demo_params(given["out"]), host)


def start_sweep(given: dict[str, Any], host: FolderHost) -> int:
    """Choose the best of many checkpoints."""
    from plugin.sweep.request import SweepOrder
    from plugin.sweep.steps import sweep

    values = read_config(given.pop("config"))
    words, axis = given.pop("checkpoints") or (), given.pop("axis") or ""
    values |= {name: value for name, value in given.items() if value is not None}
    params = Params.parse(values)
    host.out, host.prefix = params.out, "sweep-"
    sweep(SweepOrder(params, tuple(words), axis), host)
    return 0


def start_resume(given: Mapping[str, Any], host: FolderHost) -> int:
    """Go on with a run or a sweep."""
    from plugin.reopen import sweep_folder

    folder = sweep_folder(Path(given["folder"]))
    params, facts = _resume_params(folder)
    if facts is None:
        return _run(params, host)
    from plugin.sweep.request import SweepOrder
    from plugin.sweep.steps import sweep

    host.out = params.out
    sweep(SweepOrder(params.model_copy(update={"model_adapter": ()}), facts.words), host)
    return 0


def _run(params: Params, host: FolderHost) -> int:
    from plugin.run import run

    host.out = params.out
    run(params, host)
    _keep_record(host)
    return 0


def _keep_record(host: FolderHost) -> None:
    """Add a line about the run to the history beside its folder."""
    import json
    from datetime import UTC, datetime

    from plugin.report.run_record import RECORDS, append_records, records_of

    folder = host.folder
    if folder is None:
        return
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    try:
        summary = json.loads((folder / "summary.json").read_bytes())
        append_records(records_of(summary, folder, now), folder.resolve().parent / RECORDS)
    except OSError as error:
        host.log(f"note: no line was added to the history beside {folder} ({error.strerror})")


def start_report(given: Mapping[str, Any], host: FolderHost) -> int:
    """Rebuild the files of a run or a sweep from its journal."""
    from plugin.reopen import holds_sweep

    folder = Path(given["folder"])
    host.out = given["out"] or given["folder"]
    if holds_sweep(folder):
        from plugin.sweep.rebuild import rebuild_sweep

        rebuild_sweep(folder, host, given["human_ratings"] or ())
    else:
        from plugin.run import rebuild_report

        rebuild_report(folder, host, given["human_ratings"] or ())
    return 0


def start_ratings(given: dict[str, Any], host: FolderHost) -> int:
    """Write what people need to rate a run's answers."""
    from plugin.ratings import RatingRequest, draw_for_rating

    folder = Path(given.pop("folder"))
    host.out = str(folder)
    draw_for_rating(folder, RatingRequest(**given), host)
    return 0


def start_certify(given: Mapping[str, Any], host: FolderHost) -> int:
    """Make the certificates of adapters without a run."""
    from plugin.certify.sweep import read_scales
    from plugin.certifying import NOT_CERTIFIED, PROBE_TOKENS, certify

    values = {name: value for name, value in given.items() if value is not None}
    scales, host.out = values.pop("scales", None), values.pop("out")
    chosen = read_scales(scales) if scales is not None else ()
    found = certify(Params.parse({**values, "max_tokens": PROBE_TOKENS}), host, chosen, host.out)
    return 0 if all(one.kind == "certified" for one in found) else NOT_CERTIFIED


def start_curves(given: Mapping[str, Any], host: FolderHost) -> int:
    """Say what the logs of a training show."""
    from plugin.reading_curves import show_curves

    host.out = given["out"]
    show_curves(given["folder"], host, host.out)
    return 0


def demo_params(out: str) -> Params:
    """Return the options of the demo's run."""
    if not (_DEMO / "cases.jsonl").is_file():
        raise OptionError(
            f"this copy of the program has no demo (there is no {_DEMO}): clone the whole project, "
            f"or compare your own models with `{PROGRAM} run`"
        )
    return Params.parse(
        {
            "model_name": str(_DEMO / "model"),
            "model_adapter": [str(_DEMO / "adapter")],
            "dataset_name": str(_DEMO / "cases.jsonl"),
            "train_data": [str(_DEMO / "train.jsonl")],
            "judge": "offline",
            "max_tokens": 48,
            "capability": "quick",
            "predefined_tasks": [
                "Correctness",
                "Token F1",
                "Exact Match",
                "Answer Relevancy",
                "Hallucination",
            ],
            "out": out,
        }
    )


def _resume_params(folder: Path) -> tuple[Params, SweepFacts | None]:
    """Return the options of a run or a sweep, and what the sweep is about."""
    from plugin.reopen import open_run

    journal = open_run(folder, to_write=True, or_sweep=True)
    try:
        if "compared" in journal.header.identity:
            raise OptionError(
                f"{folder} compares results that were there already, so there is nothing to go on "
                f"with; compare them again with `{PROGRAM} compare`"
            )
        values = {**journal.header.params, "out": str(folder)}
        facts, state = journal.header.sweep, journal.state
        if state.ratings or state.human_choices or state.reason_checks:
            values.pop("human_ratings", None)  # the journal has them; the files may be gone
        if state.training and not all(Path(name).exists() for name in state.training.files):
            for name in ("train_data", "paraphrase"):  # the journal keeps what was found
                values.pop(name, None)
    finally:
        journal.close()
    return Params.parse(values), facts

"""Choose the metrics: those that the user named, else those that options and data call for.

Metrics that read the user's settings are made ready here, so that one that cannot work is refused
before anything slow begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from plugin import judges, metrics
from plugin.errors import OptionError
from plugin.judges import Judge, NoJudge
from plugin.metrics import METRICS, Metric
from plugin.metrics.entry import PreferenceGuide, TaskSettings, import_named
from plugin.plan.params import Params
from plugin.records import Case


@dataclass(frozen=True, slots=True)
class MetricChoice:
    """The metrics of a run.

    Attributes:
        names: of the metrics as the user might have named them; () for the usual ones.
        metrics: ready to use.
        judges: who is asked; nobody where no metric asks.
        notes: which metrics were chosen for the user, and why, a sentence each.
    """

    names: tuple[str, ...]
    metrics: tuple[Metric, ...]
    judges: tuple[Judge, ...]
    notes: tuple[str, ...] = ()


def choose_metrics(
    params: Params,
    cases: Sequence[Case],
    judges_given: tuple[Judge, ...],
    guide: PreferenceGuide,
    without_judge: Sequence[str] = (),
) -> MetricChoice:
    """Return the user's metrics, or the default ones.

    Args:
        params: what the user asked for.
        cases: the run's.
        judges_given: the user's judges, or one `NoJudge`.
        guide: how completions are compared.
        without_judge: names of metrics for when neither metrics nor a judge were chosen and the
            cases call for none; () to refuse that.

    Raises:
        OptionError: for metrics that cannot work with these options and cases.
        JudgeError: when a judge is needed, and none was chosen.
    """
    names, notes = params.predefined_tasks, tuple[str, ...]()
    settings = params.task_settings
    has_judge = not all(isinstance(judge, NoJudge) for judge in judges_given)
    if not (names or params.tasks or guide.criterion):
        wanted = suggest(cases, settings)
        if wanted:
            names, notes = tuple(wanted), (_why(wanted, has_judge),)
        elif without_judge and not has_judge:
            names = tuple(without_judge)
            notes = (
                f"note: no judge is chosen: scored with {' and '.join(names)}, which compare words "
                "with the expected outputs; a Judge, such as openai:gpt-4o-mini, or other Metrics "
                "say more",
            )
    found = metrics.select(names, params.tasks, cases, guide)
    if problems := _problems_with_settings(found, settings):
        raise OptionError("\n".join(problems))
    asks = any(metric.spec.asks_judge for metric in found)
    if asks and not (has_judge or params.predefined_tasks or params.tasks):
        judges.load_all("", lambda name: None)  # says what to choose
    return MetricChoice(
        names=names,
        metrics=tuple(_set_up(metric, settings, cases) for metric in found),
        judges=judges_given if asks else (NoJudge(),),
        notes=notes,
    )


def suggest(cases: Sequence[Case], settings: TaskSettings) -> dict[str, str]:
    """Return the names of metrics that options or cases call for, each with the reason."""
    found = {
        entry.spec.name: f"--{entry.option} is given"
        for entry in METRICS.values()
        if entry.option and getattr(settings, entry.option)
    }
    for entry in METRICS.values():
        if entry.suggest and (reason := import_named(entry.suggest)(cases)):
            found.setdefault(entry.spec.name, reason)
    return found


def _why(wanted: dict[str, str], has_judge: bool) -> str:
    """Say which metrics were chosen, and why."""
    together: dict[str, list[str]] = {}
    for name, reason in wanted.items():
        together.setdefault(reason, []).append(name)
    told = "; ".join(f"{' and '.join(names)}, because {why}" for why, names in together.items())
    idle = " The judge is not asked." if has_judge else ""
    return f"metrics chosen: {told}. --predefined_tasks chooses others.{idle}"


def _problems_with_settings(chosen: Sequence[Metric], settings: TaskSettings) -> list[str]:
    """Return a line for each option that a metric lacks, and each that no metric reads."""
    entries = [entry for one in chosen if (entry := METRICS.get(one.spec.key))]
    problems = [
        f"--predefined_tasks {entry.spec.name} needs --{entry.option}"
        for entry in entries
        if entry.needs_option and not getattr(settings, entry.option)
    ]
    readers: dict[str, list[str]] = {}
    for entry in METRICS.values():
        for option in filter(None, (entry.option, *entry.more_options)):
            readers.setdefault(option, []).append(entry.spec.name)
    read = {option for entry in entries for option in (entry.option, *entry.more_options)}
    return problems + [
        f"--{option} would do nothing: add {' or '.join(names)} to --predefined_tasks"
        for option, names in readers.items()
        if getattr(settings, option) and option not in read
    ]


def _set_up(metric: Metric, settings: TaskSettings, cases: Sequence[Case]) -> Metric:
    """Return the metric, ready for these cases."""
    entry = METRICS.get(metric.spec.key)
    if entry is None or not entry.setup:
        return metric
    try:
        return replace(metric, measure=import_named(entry.setup)(settings, cases))
    except ImportError as error:
        raise OptionError(
            f"--predefined_tasks {entry.spec.name} needs the library {error.name!r}, which is not "
            f"installed: pip install -r {entry.needs_install or 'requirements.txt'}"
        ) from error


_LARGEST_SCHEMA = 5_000_000


def with_schema(params: Params, file: str) -> Params:
    """Return the options with the schema's text in the place of its file.

    The journal keeps the text, so that a run goes on when the file is gone.

    Args:
        params: what the user asked for.
        file: where the host says the schema is.

    Raises:
        OptionError: when the file cannot be read.
    """
    if not params.json_schema or is_schema_text(params.json_schema):
        return params
    try:
        if Path(file).stat().st_size > _LARGEST_SCHEMA:
            raise OptionError(f"--json_schema {file} is larger than 5 MB; give a schema")
        text = Path(file).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise OptionError(f"--json_schema {file} cannot be read: {why}") from error
    if not is_schema_text(text):
        raise OptionError(f"--json_schema {file} holds no JSON object")
    return params.model_copy(update={"json_schema": text.strip()})


def is_schema_text(text: str) -> bool:
    """Return whether this is a schema itself, and no name of a file."""
    return text.lstrip().startswith("{")

"""Say which metrics guard the verdict, each with its margin, and check the retention groups."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from plugin import metrics
from plugin.errors import OptionError, did_you_mean
from plugin.records import Case, MetricSpec

NO_DEFAULTS = "none"
"""In place of a guard's name: leave out the default guards that are not named."""


def choose_guards(
    asked: Sequence[str], specs: Sequence[MetricSpec], primary: str, margin: float
) -> dict[str, float]:
    """Return the guards' shown names with their margins, in the order of the metrics.

    The guards are those asked for and, unless the user wants none of them, the metrics that guard
    by default. The primary metric is never one: it decides.

    Args:
        asked: NAME, NAME=MARGIN or "none".
        specs: the run's metrics.
        primary: the shown name of the one that decides.
        margin: what counts where a guard has none of its own.

    Raises:
        OptionError: naming everything asked for that cannot be.
    """
    own: dict[str, set[float]] = {}
    problems = []
    for text in asked:
        if text.casefold() == NO_DEFAULTS:
            continue
        try:
            name, given = _read_guard(text, specs, primary)
        except OptionError as error:
            problems.append(str(error))
            continue
        own.setdefault(name, set()).update(() if given is None else (given,))
    problems += [
        f"--guard_metric {name} has the margins {' and '.join(f'{m:g}' for m in sorted(margins))}; "
        "give one"
        for name, margins in own.items()
        if len(margins) > 1
    ]
    if problems:
        raise OptionError("\n".join(problems))
    has_defaults = all(text.casefold() != NO_DEFAULTS for text in asked)
    return {
        spec.name: next(iter(own.get(spec.name, ())), margin)
        for spec in specs
        if spec.name in own or (has_defaults and spec.is_guard and spec.name != primary)
    }


def _read_guard(text: str, specs: Sequence[MetricSpec], primary: str) -> tuple[str, float | None]:
    """Return the guard's shown name and its margin; None for none of its own.

    Raises:
        OptionError: when it cannot be.
    """
    known = {metrics.key_of(spec.name): spec for spec in specs}
    name, has_margin, number = text, "", ""
    if metrics.key_of(text) not in known:  # a criterion's name may hold "="
        before, has_margin, after = text.rpartition("=")
        name, number = (before.strip(), after.strip()) if has_margin else (text, "")
    spec = known.get(metrics.key_of(name))
    able = [one.name for one in specs if one.decides and one.name != primary]
    if spec is None:
        raise OptionError(f"--guard_metric {text!r}: {_absent_text(name, known)}")
    if spec.name == primary:
        raise OptionError(
            f"--guard_metric {text!r}: {spec.name} is the primary metric, which decides already; "
            "leave it out, or name another --primary_metric"
        )
    if not spec.decides:
        why = "judges the data set and no model" if spec.judges_data else "only describes"
        may_be = f"guards may be {', '.join(able)}" if able else "leave it out"
        raise OptionError(f"--guard_metric {text!r}: {spec.name} {why}; {may_be}")
    return spec.name, _read_margin(number, text, spec) if has_margin else None


def _absent_text(name: str, known: Mapping[str, MetricSpec]) -> str:
    """Return what is wrong with a metric that the run does not have, and the way out."""
    here = [spec.name for spec in known.values()]
    has = f"this run has {', '.join(here)}"
    if metrics.key_of(name) in metrics.METRICS:
        return f"{has}; add {name} with --predefined_tasks, or leave it out"
    hint = did_you_mean(name, [*here, *metrics.names()])
    return f"{name!r} is no metric{hint} ({has})"


def _read_margin(number: str, text: str, spec: MetricSpec) -> float:
    try:
        margin = float(number)
    except ValueError:
        margin = math.nan
    width = spec.high - spec.low
    if 0 < margin < width:  # NaN and infinity are not
        return margin
    below = f" and below {width:g}, the width of its range" if spec.is_bounded else ""
    raise OptionError(
        f"--guard_metric {text!r}: the margin {number!r} of {spec.name} must be a number above 0"
        f"{below}, such as '{spec.name}=0.02'; repeat the option for another metric"
    )


def check_retention(cases: Sequence[Case], primary: MetricSpec) -> None:
    """Check that a loss in every retention group can be seen.

    Args:
        cases: those of the run.
        primary: the metric on which a retention group must not get worse.

    Raises:
        OptionError: naming every retention group without a case that the metric can score.
    """
    sizes = Counter(case.group for case in cases if case.retention)
    scored = {case.group for case in cases if case.retention and primary.fits(case)}
    needs = " and ".join(need.replace("_", " ") for need in sorted(primary.needs))
    problems = [
        f"retention group {group!r}: {primary.name}, the primary metric, needs {needs}, and none "
        f"of the group's cases ({n}) has it, so a loss there could not be seen. Add it to the "
        "data, choose another --primary_metric, or make it no retention group"
        for group, n in sizes.items()
        if group not in scored
    ]
    if problems:
        raise OptionError("\n".join(problems))

"""Choose the metrics that guard the verdict, with their margins; check the retention groups."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from plugin import metrics
from plugin.errors import OptionError, did_you_mean
from plugin.records import Case, MetricSpec

NO_DEFAULTS = "none"
"""What a user writes instead of a guard's name to leave out the default guards."""


def choose_guards(
    asked: Sequence[str], specs: Sequence[MetricSpec], primary: str, margin: float
) -> dict[str, float]:
    """Return the names of the guards with their margins, in the order of the metrics.

    Guards are the metrics that the user names, and those that guard by default unless the user
    wrote "none". The primary metric is never a guard, because it decides.

    Args:
        asked: what the user wrote: NAME, NAME=MARGIN or "none".
        specs: the run's metrics.
        primary: name of the metric that decides.
        margin: for guards without a margin of their own.

    Raises:
        OptionError: naming every guard that cannot be one.
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
        "give only one"
        for name, margins in own.items()
        if len(margins) > 1
    ]
    if problems:
        raise OptionError("\n".join(problems))
    has_defaults = all(text.casefold() != NO_DEFAULTS for text in asked)
    return {
        spec.name: next(iter(own.get(spec.name, ())), margin * spec.margin_unit)
        for spec in specs
        if spec.name in own or (has_defaults and spec.is_guard and spec.name != primary)
    }


def _read_guard(text: str, specs: Sequence[MetricSpec], primary: str) -> tuple[str, float | None]:
    """Return the guard's name and its own margin; None if it has none.

    Raises:
        OptionError: when it cannot be a guard.
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
            f"--guard_metric {text!r}: {spec.name} is the primary metric, which already decides; "
            "leave it out, or choose another --primary_metric"
        )
    if not spec.decides:
        why = "judges the data set and no model" if spec.judges_data else "only describes"
        may_be = f"guards may be {', '.join(able)}" if able else "leave it out"
        raise OptionError(f"--guard_metric {text!r}: {spec.name} {why}; {may_be}")
    return spec.name, _read_margin(number, text, spec) if has_margin else None


def _absent_text(name: str, known: Mapping[str, MetricSpec]) -> str:
    """Say why a metric is not in this run, and what to do."""
    here = [spec.name for spec in known.values()]
    has = f"this run has {', '.join(here)}"
    if metrics.key_of(name) in metrics.METRICS:
        return f"{has}; add {name} with --predefined_tasks, or leave it out"
    hint = did_you_mean(name, [*here, *metrics.names()])
    return f"unknown metric {name!r}{hint} ({has}); a guard must be one of --predefined_tasks"


def _read_margin(number: str, text: str, spec: MetricSpec) -> float:
    try:
        margin = float(number)
    except ValueError:
        margin = math.nan
    width = spec.largest_gain
    if 0 < margin < width:  # NaN and infinity are not
        return margin
    below = f" and below {width:g}, the width of its range" if spec.is_bounded else ""
    raise OptionError(
        f"--guard_metric {text!r}: the margin {number!r} of {spec.name} must be a number above 0"
        f"{below}, such as '{spec.name}=0.02'; repeat the option for each metric"
    )


def check_retention(cases: Sequence[Case], primary: MetricSpec) -> None:
    """Check that the primary metric can score at least one case of every retention group.

    Args:
        cases: the run's.
        primary: the metric on which a retention group must not get worse.

    Raises:
        OptionError: naming every group without such a case.
    """
    sizes = Counter(case.group for case in cases if case.retention)
    scored = {case.group for case in cases if case.retention and primary.fits(case)}
    needs = " and ".join(primary.needed)
    problems = [
        f"retention group {group!r}: {primary.name}, the primary metric, needs {needs}, and none "
        f"of the group's cases ({n}) has it, so it cannot show a loss. Add it to the data, choose "
        "another --primary_metric, or do not mark this group for retention"
        for group, n in sizes.items()
        if group not in scored
    ]
    if problems:
        raise OptionError("\n".join(problems))

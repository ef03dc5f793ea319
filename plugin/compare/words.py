"""Comparisons -> plain words. Numbers always stand with how many pairs they rest on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from plugin.intervals import BETTING
from plugin.records import ALL, DATA, Comparison, Outcome, Summary
from plugin.stats import outcome_of

_PROMISED_CASES, _PROMISED_CLUSTERS = 60, 40
"""From here on the interval's coverage is promised."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about one variant over all cases.

    Attributes:
        primary: its comparison on the primary metric.
        others: those on the other metrics.
    """

    primary: Comparison
    others: tuple[Comparison, ...]

    @property
    def worse(self) -> list[Comparison]:
        """The other deciding metrics on which the variant is worse."""
        return [row for row in self.others if row.outcome == "worse"]

    @property
    def outcome(self) -> Outcome | None:
        """The primary metric's outcome, unless another one makes it mixed."""
        mixed = self.worse and self.primary.outcome != "worse"
        return "mixed" if mixed else self.primary.outcome


def sentence(finding: Finding, subject: str) -> str:
    """The answer in one line about the variant, named by the subject."""
    row = finding.primary
    if finding.outcome == "mixed":
        parts = [f"{_outcome(row)} on {row.metric}, {_numbers(row)}"]
        parts += [
            f"{_outcome(worse)} on {worse.metric}, {_numbers(worse)}" for worse in finding.worse
        ]
        return f"{subject} is mixed against {row.baseline}: {'; but '.join(parts)}."
    if row.outcome == "equivalent":
        head = f"{subject} and {row.baseline} are equivalent on {row.metric}, to within your "
        return f"{head}margin of {number(row.margin)}: {_numbers(row)}."
    if row.outcome == "can't tell":
        head = f"Can't tell whether {subject} is better than {row.baseline} on {row.metric}"
        return f"{head}: {_numbers(row)}."
    small = f", by less than your margin of {number(row.margin)}" if _is_small(row) else ""
    return (
        f"{subject} is {row.outcome} than {row.baseline} on {row.metric}{small}: {_numbers(row)}."
    )


def alone(variant: str, means: Sequence[Summary]) -> str:
    """What to say when there is nothing to compare with."""
    found = "; ".join(map(_mean, means))
    return f"There is nothing to compare: only {variant} was run. {found or 'No metric was run'}."


def anytime(n_decisions: int) -> list[str]:
    """How to read a run that may stop early.

    Args:
        n_decisions: comparisons that share the chance of a false outcome.
    """
    among = "" if n_decisions == 1 else f", shared among {n_decisions} comparisons"
    return [
        "Judging could stop as soon as the verdict was settled: the interval holds however often "
        f"one looked (5% chance of a false outcome{among}); single means and groups have none."
    ]


def of_data(summaries: Sequence[Summary]) -> list[str]:
    """What the metrics that judge the cases alone found."""
    found = "; ".join(_mean(row) for row in summaries if row.variant == DATA and row.group == ALL)
    return [f"Quality of the data, which decides nothing: {found}."] if found else []


def details(
    findings: Sequence[Finding], groups: Sequence[Comparison], chosen: Sequence[str] = ()
) -> tuple[str, ...]:
    """What the reader must know besides, most important first.

    Args:
        findings: the one that the verdict is about first.
        groups: its comparisons on the primary metric by group.
        chosen: what its being the best of several does to its gain.
    """
    best, *others = findings
    row = best.primary
    lines = [*_why_not(row)]
    told = best.worse if best.outcome == "mixed" else []
    lines += [line(other.metric, other) for other in best.others if other not in told]
    lines += chosen
    for finding in others:
        told_line = line(f"{finding.primary.variant} on {row.metric}", finding.primary)
        lines.append(told_line + worse_besides(finding))
    lines += _chance(row)
    lines += [line(f"Group {group.group} (exploratory)", group) for group in groups]
    if groups:
        lines.append(
            "Groups are exploratory: they show where to look and decide nothing, and those with "
            f"{_unpromised()} may have an interval that misses more often than it says."
        )
    if row.n and not _is_promised(row):
        lines.append(
            f"Note: this rests on {_unpromised()}, so that the interval's 95% is not promised."
        )
    return tuple(lines)


def worse_besides(finding: Finding) -> str:
    """The other deciding metrics on which the variant is worse, to follow its own line."""
    return "".join(f"; worse on {row.metric}, {_numbers(row)}" for row in finding.worse)


def _why_not(row: Comparison) -> list[str]:
    """Why the primary metric cannot tell, and what would help; empty when it can."""
    if row.outcome != "can't tell":
        return []
    if not row.holds_at_worst:
        return [
            f"{row.metric} {_undone(row)}, if all of them had gone against that. Resume the run: "
            "what failed is asked again."
        ]
    if not row.n:
        return ["Without a case that both have a score for there is nothing to go by."]
    lines = []
    low, high = row.ci_low, row.ci_high
    if low is None or high is None:
        lines.append(f"There is {row.method.partition(';')[0]}.")
    elif _is_left_open(row):
        lines.append(
            "The interval leaves out zero, yet with all that was compared at once chance could "
            f"still explain it (adjusted {_p(row.p_adjusted)})."
        )
    return [*lines, _needed(row)]


def _needed(row: Comparison) -> str:
    """How many cases would tell."""
    margin = number(row.margin)
    if row.n_to_detect is None:
        why = "one case shows" if row.n < 2 else "these scores show"
        why = f"{why} no spread" if row.margin else "with a margin of 0 no number is enough"
        return f"How many cases would tell cannot be known: {why}."
    if row.n_to_detect <= row.n:
        return (
            f"About {row.n_to_detect} cases find a gain of {margin} (your margin) four times out "
            f"of five, and there are {row.n}: the true gain may well be smaller. More cases "
            "narrow the interval."
        )
    now = ""
    if row.smallest_detectable is not None:
        now = f"; these {row.n} do so for a gain of {number(row.smallest_detectable)} or more"
    return (
        f"To find a gain of {margin} (your margin) four times out of five takes about "
        f"{row.n_to_detect} cases{now}."
    )


def _chance(row: Comparison) -> list[str]:
    """The primary metric case by case, and its p-value in words."""
    if not row.n or row.p_adjusted is None:
        return []
    return [
        f"Case by case on {row.metric}: {row.wins} better, {row.losses} worse, {row.n_ties} the "
        f"same; chance alone would do this or more with {_p(row.p_adjusted)} (adjusted for all "
        "that was compared)."
    ]


def line(label: str, row: Comparison) -> str:
    """A comparison in one line: outcome and numbers."""
    if row.outcome is None:
        return f"{label} (described only, decides nothing): {_numbers(row)}"
    undone = "" if row.holds_at_worst else f" ({_undone(row)})"
    chance = f", adjusted {_p(row.p_adjusted)}" if _is_left_open(row) else ""
    return f"{label}: {_outcome(row)}{undone}, {_numbers(row)}{chance}"


def _outcome(row: Comparison) -> str:
    return f"{row.outcome} by less than your margin" if _is_small(row) else str(row.outcome)


def _undone(row: Comparison) -> str:
    """What the outcome would be but for the failures."""
    would = outcome_of((row.ci_low, row.ci_high), row.p_adjusted, row.margin)
    n_failed = row.n_failed_variant + row.n_failed_baseline
    failed = "1 failed score" if n_failed == 1 else f"{n_failed} failed scores"
    return f"would be {would}, but {failed} could undo it"


def _numbers(row: Comparison) -> str:
    """Means, gain, interval, n and failures."""
    n_failed = row.n_failed_variant + row.n_failed_baseline
    if row.gain is None or row.variant_mean is None or row.baseline_mean is None:
        return f"no case has a score of both (n=0{_failed(n_failed)})"
    means = f"{number(row.variant_mean)} against {number(row.baseline_mean)}"
    direction = "" if row.higher_is_better else " (lower is better)"
    within = interval(row.ci_low, row.ci_high, signed=True)
    clusters = "" if row.n_clusters is None else f" in {row.n_clusters} clusters"
    return (
        f"{means}{direction}, gain {number(row.gain, signed=True)} "
        f"({within}n={row.n}{clusters}{_failed(n_failed)})"
    )


def interval(low: float | None, high: float | None, *, signed: bool) -> str:
    """A 95% interval in words, with the comma that parts it from what follows."""
    if low is None or high is None:
        return "no interval, "
    return f"95% interval {number(low, signed=signed)} to {number(high, signed=signed)}, "


def _mean(row: Summary) -> str:
    mean = "has no score" if row.mean is None else number(row.mean)
    within = interval(row.ci_low, row.ci_high, signed=False)
    return f"{row.metric} {mean} ({within}n={row.n}{_failed(row.n_failed)})"


def _failed(n_failed: int) -> str:
    return f", {n_failed} failed" if n_failed else ""


def number(value: float, *, signed: bool = False) -> str:
    """Two decimals, or as many more as it takes to be told from zero, up to six."""
    places = 2
    while value and places < 6 and round(value, places) == 0:
        places += 1
    rounded = round(value, places) + 0.0  # adding zero turns -0.0 into 0.0
    return f"{rounded:+.{places}f}" if signed and rounded else f"{rounded:.{places}f}"


def _p(value: float | None) -> str:
    if value is None:
        return "p unknown"
    return "p<0.001" if value < 0.001 else f"p={value:.3f}"


def _is_small(row: Comparison) -> bool:
    """Whether a difference that is there lies within the margin."""
    if row.ci_low is None or row.ci_high is None or row.outcome not in ("better", "worse"):
        return False
    return -row.margin <= row.ci_low and row.ci_high <= row.margin


def _is_left_open(row: Comparison) -> bool:
    """Whether the interval leaves out zero, yet so much was compared that chance remains."""
    if row.outcome != "can't tell" or row.ci_low is None or row.ci_high is None:
        return False
    return row.holds_at_worst and (row.ci_low > 0 or row.ci_high < 0)


def _is_promised(row: Comparison) -> bool:
    if row.method.startswith(BETTING):
        return True
    if row.n_clusters is None:
        return row.n >= _PROMISED_CASES
    return row.n_clusters >= _PROMISED_CLUSTERS


def _unpromised() -> str:
    return f"fewer than {_PROMISED_CASES} cases (or {_PROMISED_CLUSTERS} clusters)"

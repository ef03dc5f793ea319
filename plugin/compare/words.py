"""Put comparisons into plain words. Numbers always stand with how many pairs they rest on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from plugin.compare.intervals import RatioEstimate
from plugin.compare.numbers import (
    format_count,
    format_interval,
    format_named_p,
    format_number,
    format_percent,
)
from plugin.compare.pairs import BestOf
from plugin.compare.stats import decide_outcome
from plugin.records import ALL, DATA, PROMPTED, Comparison, IntervalKind, Outcome, Summary

_PROMISED_CASES, _PROMISED_CLUSTERS = 60, 40
"""From here on the interval's coverage is promised."""

_EXACT_KINDS = (IntervalKind.BETTING, IntervalKind.SEQUENCE)
"""Their coverage is promised at every number of cases."""


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


def verdict_sentence(finding: Finding, subject: str) -> str:
    """Return the answer in one line about the variant, named by the subject."""
    row = finding.primary
    if finding.outcome == "mixed":
        parts = [f"{_outcome_text(row)} on {row.metric}, {_numbers_text(row)}"]
        parts += [
            f"{_outcome_text(worse)} on {worse.metric}, {_numbers_text(worse)}"
            for worse in finding.worse
        ]
        return f"{subject} is mixed against {row.baseline}: {'; but '.join(parts)}."
    if row.outcome == "equivalent":
        head = f"{subject} and {row.baseline} are equivalent on {row.metric}, to within your "
        return f"{head}margin of {format_number(row.margin)}: {_numbers_text(row)}."
    if row.outcome == "can't tell":
        head = f"Can't tell whether {subject} is better than {row.baseline} on {row.metric}"
        return f"{head}: {_numbers_text(row)}."
    small = f", by less than your margin of {format_number(row.margin)}" if _is_small(row) else ""
    found = f"is {row.outcome} than {row.baseline} on {row.metric}{small}"
    return f"{subject} {found}: {_numbers_text(row)}."


def single_variant_sentence(variant: str, means: Sequence[Summary]) -> str:
    """Say that there is nothing to compare with, and give the means."""
    found = "; ".join(map(_mean_text, means))
    return f"There is nothing to compare: only {variant} was run. {found or 'No metric was run'}."


def early_stop_lines(n_decisions: int, stopped: Comparison | None = None) -> list[str]:
    """Say how to read a run that may stop early.

    Args:
        n_decisions: comparisons that share the chance of a false outcome.
        stopped: the comparison that the verdict is about, where judging did stop early.
    """
    among = "" if n_decisions == 1 else f", shared among {n_decisions} comparisons"
    return [
        "Judging could stop as soon as the verdict was settled: the interval holds however often "
        f"one looked (5% chance of a false outcome{among}); single means and groups have none.",
        *(_stopped_gain_lines(stopped) if stopped and stopped.n else []),
    ]


def _stopped_gain_lines(row: Comparison) -> list[str]:
    """Say what the gain and the interval of a run that stopped early rest on."""
    interval = "" if row.ci_low is None else f"; the interval on {row.metric} is a {row.method}"
    return [
        f"The gain is the mean of all {format_count(row.n)} judged pairs{interval}. Runs that stop "
        "early overstate gains: expect a somewhat smaller one on fresh cases."
    ]


def data_quality_lines(summaries: Sequence[Summary]) -> list[str]:
    """Report what the metrics that judge the cases alone found."""
    found = "; ".join(
        _mean_text(row) for row in summaries if row.variant == DATA and row.group == ALL
    )
    return [f"Quality of the data, which decides nothing: {found}."] if found else []


def detail_lines(
    findings: Sequence[Finding], groups: Sequence[Comparison], chosen: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return what the reader must know besides, most important first.

    Args:
        findings: the one that the verdict is about first.
        groups: its comparisons on the primary metric by group.
        chosen: what its being the best of several does to its gain.
    """
    best, *others = findings
    row = best.primary
    lines = [*_open_reason(row)]
    told = best.worse if best.outcome == "mixed" else []
    lines += [comparison_line(other.metric, other) for other in best.others if other not in told]
    lines += chosen
    for finding in others:
        told_line = comparison_line(f"{finding.primary.variant} on {row.metric}", finding.primary)
        lines.append(told_line + also_worse(finding))
    lines += _chance_line(row)
    lines += [comparison_line(f"Group {group.group} (exploratory)", group) for group in groups]
    if groups:
        lines.append(
            "Groups are exploratory: they show where to look and decide nothing, and those with "
            f"{_unpromised_text()} may have an interval that misses more often than it says."
        )
    if row.n and not _has_promised_interval(row):
        lines.append(
            f"Note: this rests on {_unpromised_text()}, so that the interval's 95% is not promised."
        )
    return tuple(lines)


def also_worse(finding: Finding) -> str:
    """Name the other deciding metrics on which the variant is worse, after its own line."""
    return "".join(f"; worse on {row.metric}, {_numbers_text(row)}" for row in finding.worse)


def _open_reason(row: Comparison) -> list[str]:
    """Say why the primary metric cannot tell, and what would help; empty when it can tell."""
    if row.outcome != "can't tell":
        return []
    if not row.holds_at_worst:
        return [
            f"{row.metric} {_undone_reason(row)}, if all of them had gone against that. Resume "
            "the run: what failed is asked again."
        ]
    if not row.n:
        return ["Without a case that both have a score for there is nothing to go by."]
    lines = []
    low, high = row.ci_low, row.ci_high
    if low is None or high is None:
        lines.append(f"There is {row.why_no_interval or 'no interval'}.")
    elif _is_left_open(row):
        lines.append(
            "The interval leaves out zero, yet with all that was compared at once chance could "
            f"still explain it (adjusted {format_named_p(row.p_adjusted)})."
        )
    return [*lines, _needed_text(row)]


def _needed_text(row: Comparison) -> str:
    """Say how many cases would tell."""
    margin = format_number(row.margin)
    if row.n_to_detect is None:
        if row.margin and row.smallest_detectable is not None:
            return "How many cases would tell was not computed for this run."
        why = "one case shows" if row.n < 2 else "these scores show"
        why = f"{why} no spread" if row.margin else "with a margin of 0 no number is enough"
        return f"How many cases would tell cannot be known: {why}."
    if row.n_to_detect <= row.n:
        return (
            f"About {format_count(row.n_to_detect)} cases find a gain of {margin} (your margin) "
            f"four times out of five, and there are {format_count(row.n)}: the true gain may well "
            "be smaller. More cases narrow the interval."
        )
    now = ""
    if row.smallest_detectable is not None:
        now = (
            f"; these {format_count(row.n)} do so for a gain of "
            f"{format_number(row.smallest_detectable)} or more"
        )
    return (
        f"To find a gain of {margin} (your margin) four times out of five takes about "
        f"{format_count(row.n_to_detect)} cases{now}."
    )


def _chance_line(row: Comparison) -> list[str]:
    """Count the cases on the primary metric, and give its p-value in words."""
    if not row.n or row.p_adjusted is None:
        return []
    return [
        f"Case by case on {row.metric}: {format_count(row.wins)} better, "
        f"{format_count(row.losses)} worse, {format_count(row.n_ties)} the same; chance alone "
        f"would do this or more with {format_named_p(row.p_adjusted)} (adjusted for all that was "
        "compared)."
    ]


def comparison_line(label: str, row: Comparison) -> str:
    """Return a comparison in one line: outcome and numbers."""
    if row.outcome is None:
        return f"{label} (described only, decides nothing): {_numbers_text(row)}"
    undone = "" if row.holds_at_worst else f" ({_undone_reason(row)})"
    chance = f", adjusted {format_named_p(row.p_adjusted)}" if _is_left_open(row) else ""
    return f"{label}: {_outcome_text(row)}{undone}, {_numbers_text(row)}{chance}"


def _outcome_text(row: Comparison) -> str:
    return f"{row.outcome} by less than your margin" if _is_small(row) else str(row.outcome)


def _undone_reason(row: Comparison) -> str:
    """Say what the outcome would be but for the failures."""
    would = decide_outcome((row.ci_low, row.ci_high), row.p_adjusted, row.margin)
    n_failed = row.n_failed_variant + row.n_failed_baseline
    failed = format_count(n_failed, "failed score", "failed scores")
    return f"would be {would}, but {failed} could undo it"


def _numbers_text(row: Comparison) -> str:
    """Return means, gain, interval, n and failures."""
    n_failed = row.n_failed_variant + row.n_failed_baseline
    if row.gain is None or row.variant_mean is None or row.baseline_mean is None:
        return f"no case has a score of both (n=0{_failed_suffix(n_failed)})"
    means = f"{format_number(row.variant_mean)} against {format_number(row.baseline_mean)}"
    direction = "" if row.higher_is_better else " (lower is better)"
    within = format_interval(row.ci_low, row.ci_high, signed=True)
    return (
        f"{means}{direction}, gain {format_number(row.gain, signed=True)} "
        f"({within}, {_n_text(row)}{_failed_suffix(n_failed)})"
    )


def _mean_text(row: Summary) -> str:
    mean = "has no score" if row.mean is None else format_number(row.mean)
    within = format_interval(row.ci_low, row.ci_high)
    n = format_count(row.n)
    return f"{row.metric} {mean} ({within}, n={n}{_failed_suffix(row.n_failed)})"


def _n_text(row: Comparison | RatioEstimate | BestOf) -> str:
    """Return how many cases a figure rests on, and how many clusters."""
    clusters = "" if row.n_clusters is None else f" in {format_count(row.n_clusters)} clusters"
    return f"n={format_count(row.n)}{clusters}"


def _failed_suffix(n_failed: int) -> str:
    return f", {format_count(n_failed)} failed" if n_failed else ""


def _is_small(row: Comparison) -> bool:
    """Return whether a difference that is there lies within the margin."""
    if row.ci_low is None or row.ci_high is None or row.outcome not in ("better", "worse"):
        return False
    return -row.margin <= row.ci_low and row.ci_high <= row.margin


def _is_left_open(row: Comparison) -> bool:
    """Return whether the interval leaves out zero, and chance remains after adjustment."""
    if row.outcome != "can't tell" or row.ci_low is None or row.ci_high is None:
        return False
    return row.holds_at_worst and (row.ci_low > 0 or row.ci_high < 0)


def _has_promised_interval(row: Comparison) -> bool:
    if row.interval_kind in _EXACT_KINDS:
        return True
    if row.n_clusters is None:
        return row.n >= _PROMISED_CASES
    return row.n_clusters >= _PROMISED_CLUSTERS


def _unpromised_text() -> str:
    return f"fewer than {_PROMISED_CASES} cases (or {_PROMISED_CLUSTERS} clusters)"


def prompt_lines(over_prompt: Finding, prompt: Finding) -> list[str]:
    """Compare the prompted base with a variant and with the base, on the primary metric.

    Args:
        over_prompt: the variant against the prompted base.
        prompt: the prompted base against the base.
    """
    return [
        comparison_line(f"{row.variant} against {row.baseline} on {row.metric}", row)
        + also_worse(finding)
        for finding in (over_prompt, prompt)
        for row in (finding.primary,)
    ]


def prompt_share_line(row: Comparison, found: RatioEstimate) -> str:
    """Say how much of a variant's gain the prompt alone reaches.

    Args:
        row: the variant against the base: a gain that its interval tells from zero.
        found: the prompt's gain divided by the variant's.
    """
    gain = f"{row.variant}'s gain over {row.baseline}"
    if found.ratio is None:
        return (
            f"What share of {gain} the prompt alone reaches cannot be told: on the "
            f"{format_count(found.n)} cases that all three have a score for, that gain is too "
            "close to zero."
        )
    within = "no interval"
    if found.ci_low is not None and found.ci_high is not None:
        within = f"95% interval {format_percent(found.ci_low)} to {format_percent(found.ci_high)}"
    numbers = f"({within}, {_n_text(found)}, the cases that all three have a score for)"
    if found.ratio < 0:
        return (
            f"The prompt alone reaches none of {gain}: its share is {format_percent(found.ratio)} "
            f"{numbers}."
        )
    return f"The prompt alone reaches {format_percent(found.ratio)} of {gain} {numbers}."


def upkeep_lines(over_prompt: Comparison) -> list[str]:
    """Say what follows where a variant does not beat the prompt; empty where it does."""
    found = {
        "worse": "is worse than the prompt alone",
        "equivalent": "does no better than the prompt alone",
        "can't tell": "is not shown to beat the prompt alone",
    }.get(over_prompt.outcome or "")
    if not found:
        return []
    return [
        f"{over_prompt.variant} {found}: a fine-tune that does not beat a good prompt may not be "
        "worth its upkeep."
    ]


def best_of_line(row: Comparison, found: BestOf, has_prompt: bool) -> str:
    """Say that the best was chosen, and what is left of its gain when that is allowed for.

    Args:
        row: the chosen one against the base.
        found: its gain with the choice allowed for.
        has_prompt: whether it is also compared with the prompted base.
    """
    head = _chosen_because(row, found.n_rivals, has_prompt)
    if found.gain is None:
        return f"{head}; no case has a score of all of them to allow for that."
    if found.ci_low is None or found.ci_high is None:
        return f"{head}; there is no interval that allows for it ({found.method})."
    within = format_interval(found.ci_low, found.ci_high, signed=True)
    shared = "" if found.n == row.n else ", the cases that all have a score for"
    text = (
        f"{head}; an interval that allows for the choice: gain "
        f"{format_number(found.gain, signed=True)} "
        f"({within}, {_n_text(found)}{shared})"
    )
    if not (_excludes_zero(row) and found.ci_low <= 0 <= found.ci_high):
        return f"{text}."
    text += ", which holds zero, though the one that ignores the choice does not"
    if row.outcome in ("better", "worse"):
        text += ". The verdict stands by its adjusted p, but confirm it on fresh cases"
    return f"{text}."


def early_best_of_line(row: Comparison, n_rivals: int, has_prompt: bool) -> str:
    """Say that the best was chosen, in a run whose intervals hold for all comparisons at once."""
    head = _chosen_because(row, n_rivals, has_prompt)
    if row.ci_low is None:
        return f"{head}."
    return f"{head}; its interval allows for the choice, since all comparisons share the 5%."


def _chosen_because(row: Comparison, n_rivals: int, has_prompt: bool) -> str:
    gain = f"its gain over {row.baseline} and over {PROMPTED}" if has_prompt else "its gain"
    return (
        f"{row.variant} was chosen as the best of {n_rivals} on these same cases, which flatters "
        f"{gain}"
    )


def _excludes_zero(row: Comparison) -> bool:
    return (row.ci_low or 0.0) > 0 or (row.ci_high or 0.0) < 0

"""Put comparisons into plain words. Numbers always stand with how many pairs they rest on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from plugin.compare.intervals import RatioEstimate
from plugin.compare.numbers import (
    failed_suffix,
    format_count,
    format_interval,
    format_named_p,
    format_number,
    format_percent,
)
from plugin.compare.pairs import BestOf
from plugin.compare.stats import decide_outcome, sign_test_p
from plugin.records import ALL, DATA, PROMPTED, Comparison, IntervalKind, Outcome, Summary

_PROMISED_CASES, _PROMISED_CLUSTERS = 60, 10
"""From so many cases, or effective clusters, on the interval's coverage is promised."""

_PROMISED_SKEWNESS = 1.0
"""Up to this skewness of the clusters' mean gains the coverage over clusters is promised.

By simulation (12 to 160 clusters), intervals over symmetric gains cover 94 to 96%, over exponential
ones 91 to 95%, over lognormal ones 86 to 93%. Of 40 clusters or more, this notices 70% of
the exponential samples and 85% of the lognormal ones at least; of symmetric samples it takes 8% at
12 clusters, 2% at 40.
"""

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
        """Return the other deciding metrics on which the variant is worse."""
        return [row for row in self.others if row.outcome == "worse"]

    @property
    def outcome(self) -> Outcome | None:
        """Return the primary metric's outcome, unless another one makes it mixed."""
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
    lines += _chance_lines(row)
    lines += [comparison_line(f"Group {group.group} (exploratory)", group) for group in groups]
    if groups:
        has_clusters = any(each.n_clusters is not None for each in (row, *groups))
        of_clusters = f" (or {_PROMISED_CLUSTERS} effective clusters)" if has_clusters else ""
        lines.append(
            "Groups are exploratory: they show where to look and decide nothing, and those with "
            f"fewer than {_PROMISED_CASES} cases{of_clusters} may have an interval that misses "
            "more often than it says."
        )
    return (*lines, *_cluster_line(row), *_promise_note(row))


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
    """Say how many cases would tell, or how many clusters where cases belong together."""
    margin = format_number(row.margin)
    noun, n = ("cases", row.n) if row.n_clusters is None else ("clusters", row.n_clusters)
    if row.n_to_detect is None:
        if row.margin and row.smallest_detectable is not None:
            return f"How many {noun} would tell was not computed for this run."
        why = f"one {noun[:-1]} shows" if n < 2 else "these scores show"
        why = f"{why} no spread" if row.margin else "with a margin of 0 no number is enough"
        return f"How many {noun} would tell cannot be known: {why}."
    if row.n_to_detect <= n:
        return (
            f"About {format_count(row.n_to_detect)} {noun} find a gain of {margin} (your margin) "
            f"four times out of five, and there are {format_count(n)}: the true gain may well "
            f"be smaller. More {noun} narrow the interval."
        )
    now = ""
    if row.smallest_detectable is not None:
        now = (
            f"; these {format_count(n)} do so for a gain of "
            f"{format_number(row.smallest_detectable)} or more"
        )
    return (
        f"To find a gain of {margin} (your margin) four times out of five takes about "
        f"{format_count(row.n_to_detect)} {noun}{now}."
    )


def _chance_lines(row: Comparison) -> list[str]:
    """Count the cases on the primary metric, with the sign test of these counts; then the p.

    Where cases belong together, counts of cases have no test.
    """
    if not row.n or row.p_adjusted is None:
        return []
    counts = (
        f"Case by case on {row.metric}: {format_count(row.wins)} better, "
        f"{format_count(row.losses)} worse, {format_count(row.n_ties)} the same"
    )
    if row.n_clusters is None:
        chance = format_named_p(sign_test_p(row.wins, row.losses))
        counts += f"; by a sign test, chance alone would split these counts so with {chance}"
    return [
        f"{counts}.",
        "The mean gain is tested by itself: chance alone would give one as large or larger with "
        f"{format_named_p(row.p_adjusted)} (adjusted for all that was compared).",
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
        return f"no case has a score of both (n=0{failed_suffix(n_failed)})"
    means = f"{format_number(row.variant_mean)} against {format_number(row.baseline_mean)}"
    direction = "" if row.higher_is_better else " (lower is better)"
    within = format_interval(row.ci_low, row.ci_high, signed=True)
    return (
        f"{means}{direction}, gain {format_number(row.gain, signed=True)} "
        f"({within}, {_n_text(row)}{failed_suffix(n_failed)})"
    )


def _mean_text(row: Summary) -> str:
    mean = "has no score" if row.mean is None else format_number(row.mean)
    within = format_interval(row.ci_low, row.ci_high)
    n = format_count(row.n)
    return f"{row.metric} {mean} ({within}, n={n}{failed_suffix(row.n_failed)})"


def _n_text(row: Comparison | RatioEstimate | BestOf) -> str:
    """Return how many cases a figure rests on, and how many clusters."""
    clusters = "" if row.n_clusters is None else f" in {format_count(row.n_clusters)} clusters"
    return f"n={format_count(row.n)}{clusters}"


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


def _promise_note(row: Comparison) -> list[str]:
    """Say why the interval may miss more often than it says; empty where its 95% is promised."""
    if not row.n or row.ci_low is None or row.interval_kind in _EXACT_KINDS:
        return []
    if row.effective_clusters is None:
        is_small = row.n < _PROMISED_CASES
    else:
        is_small = row.effective_clusters < _PROMISED_CLUSTERS
    if is_small:
        why = f"this rests on fewer than {_least_promised(row)}"
    elif abs(row.skewness or 0.0) > _PROMISED_SKEWNESS:
        why = "the clusters' gains are strongly skewed"
    else:
        return []
    return [f"Note: {why}, so that the interval may miss more often than it says."]


def _least_promised(row: Comparison) -> str:
    """Return how many cases or clusters make the interval's coverage promised."""
    if row.n_clusters is None:
        return f"{_PROMISED_CASES} cases"
    return f"{_PROMISED_CLUSTERS} effective clusters"


def _cluster_line(row: Comparison) -> list[str]:
    """Say how the cases fall into clusters; empty where each stands for itself."""
    if row.n_clusters is None or row.effective_clusters is None:
        return []
    return [
        f"The {format_count(row.n, 'case', 'cases')} belong to "
        f"{format_count(row.n_clusters, 'cluster', 'clusters')}, which tell as much as "
        f"{format_count(math.floor(row.effective_clusters + 1e-9))} of one size would; the largest "
        f"has {format_percent(row.largest_cluster_share)} of the cases."
    ]


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


def prompt_share_line(row: Comparison, share: RatioEstimate) -> str:
    """Say how much of a variant's gain the prompt alone reaches.

    Args:
        row: the variant against the base: a gain that its interval tells from zero.
        share: the prompt's gain divided by the variant's.
    """
    gain = f"{row.variant}'s gain over {row.baseline}"
    if share.ratio is None:
        return (
            f"What share of {gain} the prompt alone reaches cannot be told: on the "
            f"{format_count(share.n)} cases that all three have a score for, that gain is too "
            "close to zero."
        )
    within = "no interval"
    if share.ci_low is not None and share.ci_high is not None:
        within = f"95% interval {format_percent(share.ci_low)} to {format_percent(share.ci_high)}"
    numbers = f"({within}, {_n_text(share)}, the cases that all three have a score for)"
    if share.ratio < 0:
        return (
            f"The prompt alone reaches none of {gain}: its share is {format_percent(share.ratio)} "
            f"{numbers}."
        )
    return f"The prompt alone reaches {format_percent(share.ratio)} of {gain} {numbers}."


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


def best_of_line(row: Comparison, best: BestOf, has_prompt: bool) -> str:
    """Say that the best was chosen, and what is left of its gain when that is allowed for.

    Args:
        row: the chosen one against the base.
        best: its gain with the choice allowed for.
        has_prompt: whether it is also compared with the prompted base.
    """
    head = _chosen_because(row, best.n_rivals, has_prompt)
    if best.gain is None:
        return f"{head}; no case has a score of all of them to allow for that."
    if best.ci_low is None or best.ci_high is None:
        return f"{head}; there is no interval that allows for it ({best.method})."
    within = format_interval(best.ci_low, best.ci_high, signed=True)
    shared = "" if best.n == row.n else ", the cases that all have a score for"
    text = (
        f"{head}; an interval that allows for the choice: gain "
        f"{format_number(best.gain, signed=True)} "
        f"({within}, {_n_text(best)}{shared})"
    )
    if not (_excludes_zero(row) and best.ci_low <= 0 <= best.ci_high):
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

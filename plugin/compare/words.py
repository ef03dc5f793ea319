"""Put comparisons into plain words. Numbers always stand with how many pairs they rest on."""

from __future__ import annotations

import math
import shlex
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
from plugin.compare.stats import ALPHA, sign_test_p
from plugin.compare.words_open import (
    adjusted_p,
    failed_text,
    is_left_open,
    open_reason,
    stuck_note,
    stuck_text,
    to_tell,
    would_be,
)
from plugin.compare.words_preference import preference_head, wins_text
from plugin.records import ALL, DATA
from plugin.results import Comparison, IntervalKind, Outcome, RivalGap, Summary

_PROMISED_CASES, _PROMISED_CLUSTERS = 60, 10
"""From so many cases, or effective clusters, on the interval's coverage is promised."""

_PROMISED_SKEWNESS = 1.0
"""Up to this skewness of the clusters' mean gains the coverage over clusters is promised.

By simulation (12 to 160 clusters), intervals over symmetric gains cover 94 to 96%, over exponential
ones 91 to 95%, over lognormal ones 86 to 93%. Of 40 clusters or more, this notices 70% of
the exponential samples and 85% of the lognormal ones at least; of symmetric samples it takes 8% at
12 clusters, 2% at 40.
"""

_ALLOWED_TO_STOP = (
    "The interval holds although judging could stop as soon as the verdict was clear."
)
_NO_OTHERS = "Single means and exploratory groups have no interval."

_EXACT_KINDS = (IntervalKind.BETTING, IntervalKind.SEQUENCE)
"""Their coverage is promised at every number of cases."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about one variant against one baseline.

    Attributes:
        primary: its comparison on the primary metric, over all cases.
        guards: what may only veto: guard metrics and retention groups.
        others: the other metrics, over all cases.
        groups: the primary metric in the groups that guard nothing.
    """

    primary: Comparison
    guards: tuple[Comparison, ...] = ()
    others: tuple[Comparison, ...] = ()
    groups: tuple[Comparison, ...] = ()

    @property
    def outcome(self) -> Outcome | None:
        """Return the primary metric's outcome."""
        outcome = self.primary.outcome
        if outcome == "lost" or outcome == "kept" or outcome == "unclear":
            return None
        return outcome

    @property
    def lost(self) -> list[Comparison]:
        """Return the guards that were lost."""
        return [row for row in self.guards if row.outcome == "lost"]

    @property
    def worse(self) -> list[Comparison]:
        """Return what got worse and is no guard: metrics, then groups."""
        return [row for row in (*self.others, *self.groups) if row.outcome == "worse"]


def verdict_sentence(finding: Finding, subject: str, beside: str = "") -> str:
    """Return the answer in one line.

    Args:
        finding: what was found about the variant that the answer is about.
        subject: names this variant.
        beside: what must stand beside the primary metric's numbers; "" for nothing.
    """
    return f"{_outcome_sentence(finding.primary, subject)}{beside}{also_lost(finding)}."


def _outcome_sentence(row: Comparison, subject: str) -> str:
    """Return what the primary metric shows, without a full stop."""
    if row.is_relative:
        why = "" if row.holds_at_worst else f", because {failed_text(row)} missing"
        return f"{preference_head(row, subject, why, _small_note(row))} {numbers_text(row)}"
    if row.outcome == "equivalent":
        head = f"{subject} and {row.baseline} are equivalent on {row.metric} (any difference is "
        return f"{head}below your margin of {format_number(row.margin)}): {numbers_text(row)}"
    if row.outcome == "can't tell":
        head = f"Can't tell whether {subject} is better than {row.baseline} on {row.metric}"
        why = "" if row.holds_at_worst else f", because {failed_text(row)} missing"
        return f"{head}{why}: {numbers_text(row)}"
    found = f"is {row.outcome} than {row.baseline} on {row.metric}{_small_note(row)}"
    return f"{subject} {found}: {numbers_text(row)}"


def _small_note(row: Comparison) -> str:
    """Say that the difference is small; "" where it is not."""
    margin = format_number(row.margin)
    return f", but by less than your margin of {margin}" if is_small(row) else ""


def also_lost(finding: Finding) -> str:
    """Name the guards that were lost, to stand after what the primary metric shows; "" for none."""
    if not finding.lost:
        return ""
    joined = "but" if finding.outcome in ("better", "equivalent") else "and"
    lost = "; ".join(f"{_guard_name(row)}, {numbers_text(row)}" for row in finding.lost)
    return f"; {joined} worse on {lost}"


def _guard_name(row: Comparison) -> str:
    return f"guard metric {row.metric}" if row.group == ALL else f"retention group {row.group}"


def single_variant_sentence(variant: str, means: Sequence[Summary]) -> str:
    """Say that there is nothing to compare with, and give the means."""
    found = "; ".join(map(_mean_text, means))
    return f"There is nothing to compare: only {variant} was run. {found or 'No metric was run'}."


def early_stop_lines(stopped: Comparison | None = None) -> list[str]:
    """Say how to read a run that may stop early.

    Args:
        stopped: the comparison that the verdict is about, where judging did stop early.
    """
    if stopped is None or not stopped.n:
        return [f"{_ALLOWED_TO_STOP} {_NO_OTHERS}"]
    n = format_count(stopped.n)
    lines = [
        f"The gain is the mean of all {n} judged pairs. Runs that stop early overstate gains: "
        "expect a somewhat smaller one on fresh cases."
    ]
    if stopped.ci_low is not None:
        lines.append(f"{_ALLOWED_TO_STOP} It is a {stopped.method}. {_NO_OTHERS}")
    return lines


def data_quality_lines(summaries: Sequence[Summary]) -> list[str]:
    """Report what the metrics that judge the cases alone found."""
    found = "; ".join(
        _mean_text(row) for row in summaries if row.variant == DATA and row.group == ALL
    )
    return [f"Quality of the data, which decides nothing: {found}."] if found else []


def detail_lines(findings: Sequence[Finding], chosen: Sequence[str] = ()) -> tuple[str, ...]:
    """Return what the reader must know besides, most important first.

    Args:
        findings: the one that the verdict is about first.
        chosen: what its being the best of several does to its gain.
    """
    best, *others = findings
    row = best.primary
    lines = [_rival_line(finding) for finding in others if finding.lost]
    lines += [_got_worse_line(worse) for worse in best.worse]
    lines += [*promise_note(row), *stuck_note(row), *open_reason(row)]
    for guard in best.guards:
        if guard.outcome != "lost":
            name = _guard_name(guard)
            lines.append(comparison_line(f"{name[0].upper()}{name[1:]}", guard))
    lines += [
        comparison_line(other.metric, other) for other in best.others if other not in best.worse
    ]
    lines += chosen
    lines += [_rival_line(finding) for finding in others if not finding.lost]
    lines += _chance_line(row)
    groups = [group for group in best.groups if group not in best.worse]
    lines += [comparison_line(f"Group {group.group} (exploratory)", group) for group in groups]
    if best.groups:
        has_clusters = any(each.n_clusters is not None for each in (row, *best.groups))
        of_clusters = f" or {_PROMISED_CLUSTERS} effective clusters" if has_clusters else ""
        lines.append(
            "Exploratory groups show where to look and decide nothing. Below "
            f"{_PROMISED_CASES} cases{of_clusters} their intervals may be too narrow."
        )
    return (*lines, *_cluster_line(row))


def _got_worse_line(row: Comparison) -> str:
    """Say what got worse without being a guard, and how to make it one."""
    chance = f", {adjusted_p(row)}" if row.p_adjusted is not None else ""
    if row.group == ALL:
        name, kind = f"{row.metric} got worse", f"--guard_metric {shlex.quote(row.metric)}"
    else:
        name, kind = f"Group {row.group} got worse", f"--retention_group {shlex.quote(row.group)}"
    return (
        f"{name}: {numbers_text(row)}{chance}. It does not count in the verdict; "
        f"if the tune must not lose it, say so with {kind}."
    )


def _rival_line(finding: Finding) -> str:
    """Return what was found about a variant that the verdict is not about."""
    row = finding.primary
    line = comparison_line(f"{row.variant} on {row.metric}", row)
    return line + also_lost(finding) + also_worse(finding)


def also_worse(finding: Finding) -> str:
    """Name what else got worse, after the variant's own line."""
    return "".join(
        f"; worse on {row.metric if row.group == ALL else f'group {row.group}'}, "
        f"{numbers_text(row)}"
        for row in finding.worse
    )


def _chance_line(row: Comparison) -> list[str]:
    """Count the cases on the primary metric, with their sign test, and give the mean gain's p.

    Where cases belong together, counts of cases have no test.
    """
    if not row.n or row.p_adjusted is None:
        return []
    sign_p = sign_test_p(row.wins, row.losses) if row.n_clusters is None else None
    by_sign = "" if sign_p is None else f" (sign test {format_named_p(sign_p)})"
    differ = ""
    if sign_p is not None and (sign_p < ALPHA) != (row.p_adjusted < ALPHA):
        differ = " They differ because a few large changes weigh more in the mean than in counts."
    words = ("wins", "losses", "ties") if row.is_relative else ("better", "worse", "the same")
    numbers = map(format_count, (row.wins, row.losses, row.n_ties))
    counts = ", ".join(f"{n} {word}" for n, word in zip(numbers, words, strict=True))
    of_what = "win rate" if row.is_relative else "mean gain"
    return [
        f"Case by case on {row.metric}: {counts}{by_sign}. Test of the {of_what}: "
        f"{adjusted_p(row)}.{differ}"
    ]


def comparison_line(label: str, row: Comparison) -> str:
    """Return a comparison in one line: outcome and numbers."""
    if row.role == "described":
        return f"{label} (described only, decides nothing): {numbers_text(row)}"
    if row.outcome is None and row.role != "primary":
        return f"{label}: {numbers_text(row)}"
    if row.outcome is None:
        why = f"not tested, because {row.variant} is not shown to be better than the base"
        return f"{label} ({why}): {numbers_text(row)}"
    undone = ""
    if not row.holds_at_worst:
        undone = f" ({would_be(row)} so far, but {failed_text(row)} missing)"
    chance = f", {adjusted_p(row)}" if is_left_open(row) else ""
    stuck = stuck_text(row)
    stuck = f"; {stuck}" if stuck else ""
    return (
        f"{label}: {_outcome_text(row)}{undone}, {numbers_text(row)}{chance}{stuck}{to_tell(row)}"
    )


def _outcome_text(row: Comparison) -> str:
    return f"{row.outcome}, but by less than your margin" if is_small(row) else str(row.outcome)


def numbers_text(row: Comparison) -> str:
    """Return means, gain, interval, n and failures."""
    n_failed = row.n_failed_variant + row.n_failed_baseline
    if row.gain is None or row.variant_mean is None or row.baseline_mean is None:
        return f"no case has a score of both (n=0{failed_suffix(n_failed)})"
    if row.is_relative:
        on = f"{n_text(row)}{failed_suffix(n_failed)}"
        return wins_text(row.variant_mean, (row.ci_low, row.ci_high), on)
    means = f"{format_number(row.variant_mean)} against {format_number(row.baseline_mean)}"
    direction = "" if row.higher_is_better else " (lower is better)"
    within = format_interval(row.ci_low, row.ci_high, signed=True)
    return (
        f"{means}{direction}, gain {format_number(row.gain, signed=True)} "
        f"({within}, {n_text(row)}{failed_suffix(n_failed)})"
    )


def _mean_text(row: Summary) -> str:
    mean = "has no score" if row.mean is None else format_number(row.mean)
    within = format_interval(row.ci_low, row.ci_high)
    n = format_count(row.n)
    return f"{row.metric} {mean} ({within}, n={n}{failed_suffix(row.n_failed)})"


def n_text(row: Comparison | RatioEstimate | BestOf | RivalGap) -> str:
    """Return how many cases a figure rests on, and how many clusters."""
    clusters = "" if row.n_clusters is None else f" in {format_count(row.n_clusters)} clusters"
    return f"n={format_count(row.n)}{clusters}"


def is_small(row: Comparison) -> bool:
    """Return whether a difference that is there lies within the margin."""
    if row.ci_low is None or row.ci_high is None or row.outcome not in ("better", "worse"):
        return False
    return -row.margin <= row.ci_low and row.ci_high <= row.margin


def promise_note(row: Comparison) -> list[str]:
    """Say why the interval may miss more often than it says; empty where its 95% is promised."""
    if not row.n or row.ci_low is None or row.interval_kind in _EXACT_KINDS:
        return []
    if row.effective_clusters is None:
        is_small = row.n < _PROMISED_CASES
    else:
        is_small = row.effective_clusters < _PROMISED_CLUSTERS
    if is_small:
        why = f"fewer than {_least_promised(row)}"
    elif abs(row.skewness or 0.0) > _PROMISED_SKEWNESS:
        why = "a few clusters differ much more than the others"
    else:
        return []
    return [f"Caution: {why}, so the interval may be too narrow."]


def _least_promised(row: Comparison) -> str:
    """Return how many cases or clusters make the interval's coverage promised."""
    if row.n_clusters is None:
        return f"{_PROMISED_CASES} cases"
    return f"{_PROMISED_CLUSTERS} effective clusters"


def _cluster_line(row: Comparison) -> list[str]:
    """Say how the cases fall into clusters; empty where each stands for itself."""
    if row.n_clusters is None or row.effective_clusters is None:
        return []
    n_effective = format_count(math.floor(row.effective_clusters + 1e-9))
    return [
        f"The {format_count(row.n, 'case is', 'cases are')} in "
        f"{format_count(row.n_clusters, 'cluster', 'clusters')}, which count like {n_effective} of "
        f"equal size; the largest has {format_percent(row.largest_cluster_share)} of the cases."
    ]

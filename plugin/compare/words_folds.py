"""The folds of one recipe in words: what the verdict is about, and what it does not cover."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from plugin.compare.folds import FoldGain, FoldGains, Homogeneity, fold_gains
from plugin.compare.numbers import (
    format_count,
    format_interval,
    format_named_p,
    format_number,
    format_percent,
)
from plugin.compare.pairs import Evidence, ResamplingSettings, pair_scores
from plugin.errors import list_first
from plugin.records import ALL
from plugin.results import NextKind, NextStep
from plugin.run_facts import PooledFacts

_N_SHOWN = 10


@dataclass(frozen=True, slots=True)
class FoldsView:
    """What the folds show.

    Attributes:
        facts: which folds there are.
        gains: the gain in each on the primary metric; None where nothing is compared.
        lines: the same in words, the most important first.
        is_clean: whether only cases that are not in the training data are counted.
    """

    facts: PooledFacts
    gains: FoldGains | None
    lines: tuple[str, ...]
    is_clean: bool = False


def look_at_folds(
    facts: PooledFacts | None,
    evidence: Evidence,
    metric: str | None,
    left_out: Collection[str],
    resampling: ResamplingSettings,
) -> FoldsView | None:
    """Return what the folds show on the cases that decide; None for a run without folds.

    Args:
        facts: which folds there are.
        evidence: the scores of all folds.
        metric: the one that decides; None for none.
        left_out: ids of cases that do not decide, because they stand in the training data.
        resampling: seed and number of resamples.
    """
    if facts is None:
        return None
    own = replace(evidence, cases=[case for case in evidence.cases if case.id not in left_out])
    place = (metric, facts.variant, evidence.names[0], ALL)
    found = (one for one in pair_scores(own) if (one.spec.name, *one.contrast, one.group) == place)
    pairs, fold_of = next(found, None), dict[str, str]()
    for fold in facts.folds:
        fold_of |= dict.fromkeys(fold.case_ids, fold.name)
    gains = fold_gains(pairs, fold_of, resampling) if pairs and pairs.whole else None
    return FoldsView(facts, gains, fold_lines(facts, gains), bool(left_out))


def step_for_recipe(step: NextStep, folds: FoldsView | None) -> NextStep:
    """Return the next step, with what ships where the verdict is about a recipe."""
    if folds is None or step.kind not in (NextKind.SHIP, NextKind.CHECK, NextKind.WEIGH_UPKEEP):
        return step
    more = "What ships is one adapter that is trained with this recipe on all rows."
    return replace(step, text=f"{step.text} {more}")


def fold_lines(facts: PooledFacts, gains: FoldGains | None) -> tuple[str, ...]:
    """Return what the reader must know of the folds, a sentence each."""
    lines = [_about_line(facts)]
    if facts.missing:
        named = list_first(facts.missing, _N_SHOWN)
        verb = "is" if len(facts.missing) == 1 else "are"
        lines.append(
            f"{len(facts.missing)} of {facts.n_folds} folds {verb} missing ({named}): this verdict "
            "is on the cases of the others."
        )
    if gains is not None:
        lines.append(_gains_line(gains))
        if gains.homogeneity is not None:
            lines.append(_differ_line(gains.homogeneity, len(gains.rows)))
    lines.append(_training_line(facts, gains))
    return tuple(lines)


def _about_line(facts: PooledFacts) -> str:
    n, n_cases = len(facts.folds), sum(len(fold.case_ids) for fold in facts.folds)
    own = "that was trained on the other folds"
    if all(fold.is_checked for fold in facts.folds):
        own = "that did not have it in its training data"
    return (
        f"This verdict is about the recipe, not about one adapter: {n} adapters were trained on "
        f"different folds, and each of the {format_count(n_cases)} cases was answered by one {own}."
    )


def _gains_line(gains: FoldGains) -> str:
    shown = ", ".join(_gain_text(row) for row in gains.rows[:_N_SHOWN])
    more = len(gains.rows) - _N_SHOWN
    return f"Gain on {gains.metric} by fold: {shown}{f' and {more} more' if more > 0 else ''}."


def _gain_text(row: FoldGain) -> str:
    return f"{row.name} {format_number(row.gain, signed=True)} (n={format_count(row.n)})"


def _differ_line(found: Homogeneity, n_folds: int) -> str:
    p = format_named_p(found.p_value)
    if not found.differ:
        return (
            f"The gains of the folds differ no more than chance explains ({p}). With "
            f"{n_folds} folds only large differences between adapters would show."
        )
    return (
        f"The gains of the folds differ more than chance explains ({p}): from adapter to adapter "
        f"the gain varies by about {format_number(found.spread)} (standard deviation), so the "
        "interval above is too narrow for the next adapter."
    )


def _training_line(facts: PooledFacts, gains: FoldGains | None) -> str:
    """Say what the interval does not cover, and give one that covers more of it."""
    shared = ""
    if facts.n_folds > 2:
        share = (facts.n_folds - 2) / (facts.n_folds - 1)
        shared = f", and any two adapters share {format_percent(share)} of their training rows"
    line = (
        "The interval covers the choice of cases, and the variation of training only in part: each "
        f"fold was trained once{shared}."
    )
    if gains is None or (found := gains.homogeneity) is None:
        return line
    if found.ci_low == found.ci_high:
        return f"{line} All folds have the same gain, so the fold as the unit gives no interval."
    ends = format_interval(found.ci_low, found.ci_high, signed=True)
    n = len(gains.rows)
    return (
        f"{line} With the fold as the unit, which allows for adapters that differ, the gain is "
        f"{format_number(found.mean, signed=True)} ({ends}, {n} folds)."
    )

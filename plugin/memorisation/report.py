"""What the training data shows of a run: overlap, recitation and generalisation, in numbers.

The words for it are in `words`. A gain in likelihood is that of a variant over the base on the same
answer, in nats per token.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from plugin.compare import stats
from plugin.compare.comparisons import VerdictSettings, compare, withhold_outcomes
from plugin.compare.pairs import Evidence, contenders, pair_scores
from plugin.records import ALL
from plugin.results import Comparison
from plugin.training_facts import (
    LEADING_SHARE,
    CaseMark,
    Mark,
    Paraphrase,
    Recital,
    Side,
    TrainingFacts,
    VerbatimText,
)

WHOLE = 0.9
"""From this share on, recited in one piece, a training row counts as recited."""

GENERALISED, MEMORISED, KEPT = 0.5, 0.25, 0.5
"""Shares of the gain on training rows. Unseen cases show at least `GENERALISED` of it: generalised.
They show less than `MEMORISED`, and rephrased questions less than `KEPT`: memorised."""

_LEAST_UNSEEN = 5
_SAME_SOURCE, _SAME_SHARE = 0.1, 0.6
_N_EXAMPLES = 5

MARKS: tuple[Mark, ...] = ("copied", "near", "clean")
SIDES: tuple[Side, ...] = ("trained", "rephrased", "unseen")
Word = Literal["generalised", "partly generalised", "memorised", "not learned", "can't tell"]


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over n cases or rows with its 95% interval; None where there is none."""

    n: int
    mean: float | None
    ci_low: float | None
    ci_high: float | None


@dataclass(frozen=True, slots=True)
class MarkGain:
    """The gain of a variant on the primary metric, over the cases with one mark or over all."""

    variant: str
    mark: str
    gain: Mean


@dataclass(frozen=True, slots=True)
class RecitalView:
    """How much of the drawn training rows a variant recites.

    Attributes:
        share: of the row's text, recited in one piece.
        n_whole: rows of which nine tenths or more were recited.
        over_base: what the variant recites more than the base; None for the base.
        n_verbatim: completions of evaluation cases with training text in them, word for word.
        n_unrelated: those of them that answer a clean case.
        examples: the longest recitals.
    """

    variant: str
    share: Mean
    n_whole: int
    over_base: Mean | None
    n_verbatim: int
    n_unrelated: int
    examples: tuple[Recital, ...]


@dataclass(frozen=True, slots=True)
class GapView:
    """The gains in likelihood of a variant on trained, rephrased and unseen questions.

    Attributes:
        sides: the gain on each side; a side without answers is missing.
        word: what that shows.
    """

    variant: str
    sides: dict[Side, Mean]
    word: Word


@dataclass(frozen=True, slots=True)
class Memorisation:
    """All that the training data shows.

    Attributes:
        files: names of the training files.
        counts: mark -> number of cases.
        gains: on the primary metric, a row per contender and mark.
        metric: the primary metric.
        leads: whether the verdict on the clean cases is the headline.
        is_same_source: whether clean cases are like training rows as these are like each other.
        overlaps: the cases that are not clean, the most similar first.
        lines: what the reader must know, a sentence each; made by `words`.
        deciding: the comparisons on clean cases, where their verdict is the headline.
        by_mark: the comparisons on copied, near and clean cases, each as a group; of the clean ones
            only where their verdict is not the headline.
        paraphrases: what a judge made of training questions; empty where rules rephrase.
        rephraser: that judge, as shown.
    """

    files: tuple[str, ...]
    n_rows: int
    n_unused: int
    counts: dict[str, int]
    metric: str
    gains: tuple[MarkGain, ...]
    leads: bool
    recitals: tuple[RecitalView, ...]
    gaps: tuple[GapView, ...]
    verbatim: tuple[VerbatimText, ...]
    overlaps: tuple[CaseMark, ...]
    items: tuple[CaseMark, ...]
    n_items: int
    clean_similarity: float | None
    own_similarity: float | None
    is_same_source: bool
    notes: tuple[str, ...]
    lines: tuple[str, ...] = ()
    deciding: tuple[Comparison, ...] = ()
    by_mark: tuple[Comparison, ...] = ()
    paraphrases: tuple[Paraphrase, ...] = ()
    rephraser: str = ""

    @property
    def not_deciding(self) -> frozenset[str]:
        """Return the ids of the cases that do not decide: where the clean ones lead, the others."""
        return frozenset(one.id for one in self.overlaps) if self.deciding else frozenset()

    @property
    def marked_rows(self) -> tuple[Comparison, ...]:
        """Return the comparisons on clean, copied and near cases, with these as their groups.

        Of groups within the clean cases only those are there that must not get worse.
        """
        clean = [
            replace(row, group=clean_group(row.group))
            for row in self.deciding
            if row.group == ALL or row.role == "guard"
        ]
        return *clean, *self.by_mark

    @property
    def n_cases(self) -> int:
        """Return the number of cases that were looked at."""
        return sum(self.counts.values())


CLEAN_CASES = "clean cases"


def clean_group(group: str) -> str:
    """Return what the clean cases of a group are called."""
    return CLEAN_CASES if group == ALL else f"{CLEAN_CASES}, {group}"


def memorisation_of(
    facts: TrainingFacts, evidence: Evidence, settings: VerdictSettings
) -> Memorisation:
    """Return what the training data shows of a run."""
    counts: dict[str, int] = {mark: len(facts.ids(mark)) for mark in MARKS}
    n_cases = len(facts.marks)
    clean, own = facts.clean_similarity, facts.own_similarity
    alike = clean is not None and own is not None
    return Memorisation(
        files=tuple(Path(name).name for name in facts.files),
        n_rows=facts.n_rows,
        n_unused=facts.n_unused,
        counts=counts,
        metric=settings.primary_metric,
        gains=tuple(_mark_gains(facts, evidence, settings)),
        leads=n_cases - counts["clean"] > LEADING_SHARE * n_cases,
        recitals=tuple(_recital_views(facts, evidence.names, settings)),
        gaps=tuple(_gap_views(facts, evidence.names, settings)),
        verbatim=facts.verbatim,
        overlaps=tuple(
            sorted(
                (one for one in facts.marks if one.mark != "clean"),
                key=lambda one: (one.mark, -one.similarity),
            )
        ),
        items=facts.items,
        n_items=facts.n_items,
        clean_similarity=clean,
        own_similarity=own,
        is_same_source=alike and (clean or 0) >= max(_SAME_SOURCE, _SAME_SHARE * (own or 0)),
        notes=facts.notes,
        paraphrases=facts.paraphrases,
        rephraser=facts.rephraser,
    )


def compare_marks(
    facts: TrainingFacts, evidence: Evidence, settings: VerdictSettings
) -> tuple[Comparison, ...]:
    """Compare the variants on the copied, near and clean cases, as if these were groups.

    Nothing is compared where all cases have one mark, in a run that stops early, or with one
    variant.
    """
    if settings.early or len(evidence.names) == 1:
        return ()
    mark_of = {one.id: one.mark for one in facts.marks}
    taken = {case.group for case in evidence.cases}
    names = {mark: f"{mark} cases" for mark in MARKS}
    names = {
        mark: f"{name} (training data)" if name in taken else name for mark, name in names.items()
    }
    cases = [
        replace(case, group=names[mark_of[case.id]], retention=False)
        for case in sorted(
            (case for case in evidence.cases if case.id in mark_of),
            key=lambda case: MARKS.index(mark_of[case.id]),
        )
    ]
    if len({case.group for case in cases}) < 2:
        return ()
    found = compare(replace(evidence, cases=cases), settings, groups_only=True)
    return withhold_outcomes(found) if settings.is_withheld else found


def _mark_gains(
    facts: TrainingFacts, evidence: Evidence, settings: VerdictSettings
) -> list[MarkGain]:
    names = (settings.primary_metric,)
    specs = [spec for spec in evidence.metrics if spec.name in names or spec.key in names]
    if len(evidence.names) == 1:
        return []
    found = []
    for mark in (ALL, *MARKS):
        ids = facts.ids(*MARKS) if mark == ALL else facts.ids(*[m for m in MARKS if m == mark])
        own = replace(evidence, metrics=specs, cases=[c for c in evidence.cases if c.id in ids])
        for pairs in pair_scores(own):
            is_shown = pairs.group == ALL and pairs.baseline == evidence.names[0]
            if is_shown and pairs.variant in contenders(evidence.names):
                found.append(MarkGain(pairs.variant, mark, _mean_of(pairs.estimate(settings))))
    return found


def _mean_of(one: stats.PairedEstimate) -> Mean:
    return Mean(one.n, one.mean, one.ci_low, one.ci_high)


def _mean(values: Sequence[float], settings: VerdictSettings, bound: float = math.inf) -> Mean:
    """Return the mean of values, which lie within -bound and bound."""
    if not values:
        return Mean(0, None, None, None)
    seed, n = settings.seed, settings.n_resamples
    found = stats.paired_estimate(values, low=-bound, high=bound, seed=seed, n_resamples=n)
    return _mean_of(found)


def _recital_views(
    facts: TrainingFacts, names: Sequence[str], settings: VerdictSettings
) -> list[RecitalView]:
    base = {one.row: one.share for one in facts.recitals if one.variant == names[0]}
    clean, views = facts.ids("clean"), []
    for name in names:
        own = [one for one in facts.recitals if one.variant == name]
        if not own:
            continue
        over = [one.share - base[one.row] for one in own if one.row in base]
        leaks = [one for one in facts.verbatim if one.variant == name]
        share = stats.mean_interval(
            [one.share for one in own],
            low=0,
            high=1,
            seed=settings.seed,
            n_resamples=settings.n_resamples,
        )
        views.append(
            RecitalView(
                variant=name,
                share=Mean(share.n, share.mean, share.ci_low, share.ci_high),
                n_whole=sum(one.share >= WHOLE for one in own),
                over_base=None if name == names[0] or not over else _mean(over, settings, 1.0),
                n_verbatim=len(leaks),
                n_unrelated=sum(one.case_id in clean for one in leaks),
                examples=tuple(sorted(own, key=lambda one: -one.n_same)[:_N_EXAMPLES]),
            )
        )
    return views


def _gap_views(
    facts: TrainingFacts, names: Sequence[str], settings: VerdictSettings
) -> list[GapView]:
    per_token = {
        (one.side, one.id, one.variant): one.loglikelihood / one.n_tokens for one in facts.readings
    }
    views = []
    for name in names[1:]:
        sides: dict[Side, Mean] = {}
        for side in SIDES:
            gains = [
                value - per_token[side, row, names[0]]
                for (of, row, variant), value in per_token.items()
                if of == side and variant == name and (side, row, names[0]) in per_token
            ]
            if gains:
                sides[side] = _mean(gains, settings)
        if sides:
            views.append(GapView(name, sides, word_for(sides)))
    return views


def word_for(sides: dict[Side, Mean]) -> Word:
    """Return the word for the gains on trained, rephrased and unseen questions."""
    trained, unseen = sides.get("trained"), sides.get("unseen")
    if trained is None or not trained.mean or trained.ci_low is None:
        return "can't tell"
    if trained.ci_low <= 0:
        return "not learned"
    if unseen is None or unseen.mean is None or unseen.n < _LEAST_UNSEEN:
        return "can't tell"
    share = unseen.mean / trained.mean
    if share >= GENERALISED and (unseen.ci_low or 0) > 0:
        return "generalised"
    rephrased = sides.get("rephrased")
    kept = (rephrased.mean or 0) / trained.mean if rephrased else 0.0
    return "memorised" if share < MEMORISED and kept < KEPT else "partly generalised"

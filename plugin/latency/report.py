"""What requests under load show: quantiles of every variant and level, and ratios over the base."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

from plugin.compare.intervals import RatioEstimate, ratio_of_means
from plugin.compare.pairs import clusters_of
from plugin.journal import Journal
from plugin.latency.asked import SHARES, LoadGuard, read_guard
from plugin.latency.stats import Quantile, Ratio, find_quantile, ratio_of_quantiles
from plugin.load_rows import StreamedRequest
from plugin.records import Case
from plugin.results import GuardOutcome
from plugin.run_facts import LoadFacts, LoadLevel

FIRST, ANSWER = "first token", "first token of the answer"
RATE, TOTAL = "tokens per second", "total"
"""What is measured of a request; the time to the first token of the answer where a model thinks."""

_VALUES: dict[str, Callable[[StreamedRequest], float | None]] = {
    FIRST: lambda row: row.first_s,
    ANSWER: lambda row: row.first_answer_s,
    RATE: lambda row: row.tokens_per_s,
    TOTAL: lambda row: row.total_s,
}

_LONG_ANSWER = 4
"""Tokens from which on an answer that streams comes in more than one piece."""

_UNSTREAMED_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Measured:
    """One quantity of a variant at a level.

    Attributes:
        what: `FIRST`, `ANSWER`, `RATE` or `TOTAL`.
        quantiles: p50, p95 and p99; those of a rate count from the fast end: 95% are faster.
        n: requests that have it.
    """

    what: str
    quantiles: tuple[Quantile, ...]
    n: int

    def at(self, share: float) -> Quantile:
        """Return one of the quantiles."""
        return next(one for one in self.quantiles if one.share == share)


@dataclass(frozen=True, slots=True)
class Against:
    """A quantity of a variant at a level, divided by that of the base on the same cases."""

    what: str
    share: float
    ratio: Ratio


@dataclass(frozen=True, slots=True)
class VariantLoad:
    """What a variant did at a level.

    Attributes:
        n: requests that were answered.
        n_failed: those that were not, refused ones included.
        n_refused: those that the server refused because there were too many.
        reasons: why requests failed, the commonest first, with how often.
        n_empty: answers without any text, which have no first token.
        mean_tokens: length of the answers; None where it is not known.
        counted_by_pieces: whether the pieces of streams stand in for tokens in any answer.
        cached_share: share of the prompts' tokens that the server had read before; None where it
            does not say.
        measured: what was measured.
        against: each quantile of first token and total divided by the base's; empty for the base.
        length: mean tokens divided by the base's on the same cases; None for the base, and where
            the lengths are not known.
    """

    level: int
    variant: str
    n: int
    n_failed: int
    n_refused: int
    reasons: tuple[tuple[str, int], ...]
    n_empty: int
    mean_tokens: float | None
    counted_by_pieces: bool
    cached_share: float | None
    measured: tuple[Measured, ...]
    against: tuple[Against, ...] = ()
    length: RatioEstimate | None = None

    def of(self, what: str) -> Measured | None:
        """Return one of the quantities; None where it was not measured."""
        return next((one for one in self.measured if one.what == what), None)

    def over_base(self, what: str, share: float) -> Ratio | None:
        """Return a quantile divided by the base's; None where there is none."""
        return next(
            (one.ratio for one in self.against if (one.what, one.share) == (what, share)), None
        )


@dataclass(frozen=True, slots=True)
class GuardFinding:
    """Whether a variant kept what was asked of its time for an answer."""

    variant: str
    outcome: GuardOutcome
    ratio: Ratio


@dataclass(frozen=True, slots=True)
class Latency:
    """What a load showed.

    Attributes:
        base: name of the base.
        levels: facts of the levels, the smallest first.
        loads: by level and variant, the base first.
        unstreamed: variants whose answers came in one piece, so that nothing is known of their
            first token.
        guard: what was asked; None for nothing.
        guarded: what became of it.
        missing: levels that were asked for and not measured.
    """

    base: str
    levels: tuple[LoadLevel, ...]
    loads: tuple[VariantLoad, ...]
    unstreamed: tuple[str, ...] = ()
    guard: LoadGuard | None = None
    guarded: tuple[GuardFinding, ...] = ()
    missing: tuple[int, ...] = ()

    @property
    def variants(self) -> tuple[str, ...]:
        """Return the variants, the base first."""
        return tuple(dict.fromkeys(one.variant for one in self.loads))

    @property
    def top(self) -> LoadLevel:
        """Return the highest level, which guards and rules look at."""
        return self.levels[-1]

    @property
    def shown(self) -> LoadLevel:
        """Return the highest level that was not given up, which is told first."""
        whole = [one for one in self.levels if not one.gave_up]
        return whole[-1] if whole else self.top

    def at(self, level: int, variant: str) -> VariantLoad:
        """Return what a variant did at a level."""
        return next(one for one in self.loads if (one.level, one.variant) == (level, variant))


def latency_of(
    journal: Journal, names: Sequence[str], cases: Sequence[Case], seed: int
) -> Latency | None:
    """Return what the load of a run showed; None where none was measured."""
    return find_latency(journal.load_requests(), journal.state.load, names, cases, seed)


def find_latency(
    rows: Mapping[int, Sequence[StreamedRequest]],
    facts: LoadFacts | None,
    names: Sequence[str],
    cases: Sequence[Case],
    seed: int,
) -> Latency | None:
    """Return what a load showed; None where none was measured.

    Args:
        rows: requests by level.
        facts: of the levels.
        names: the variants, the base first.
        cases: of the run.
        seed: of the resampling.
    """
    if facts is None or not facts.levels:
        return None
    guard = read_guard(facts.guard)
    own = {row.variant for each in rows.values() for row in each}
    variants = [name for name in names if name in own]
    unstreamed = tuple(name for name in variants if not _is_streamed(rows, name))
    reader = _Reader(rows, variants, cases, unstreamed, seed)
    found = Latency(
        base=variants[0] if variants else names[0],
        levels=facts.levels,
        loads=tuple(
            reader.load(level.n_at_once, name) for level in facts.levels for name in variants
        ),
        unstreamed=unstreamed,
        guard=guard,
        missing=tuple(
            level for level in facts.asked if level not in {one.n_at_once for one in facts.levels}
        ),
    )
    if guard is None or not variants:
        return found
    return replace(found, guarded=reader.guarded(found.top, guard))


def _is_streamed(rows: Mapping[int, Sequence[StreamedRequest]], variant: str) -> bool:
    """Return whether a variant's answers come piece by piece; short answers tell nothing."""
    long = [
        row
        for each in rows.values()
        for row in each
        if row.variant == variant and not row.failure and _looks_long(row)
    ]
    n_whole = sum(not row.is_stream or row.n_arrivals < 2 for row in long)
    return not long or n_whole <= _UNSTREAMED_SHARE * len(long)


def _looks_long(row: StreamedRequest) -> bool:
    return not row.is_stream or max(row.n_tokens or 0, row.n_pieces) > _LONG_ANSWER


class _Reader:
    """Make numbers of requests."""

    def __init__(
        self,
        rows: Mapping[int, Sequence[StreamedRequest]],
        variants: Sequence[str],
        cases: Sequence[Case],
        unstreamed: Sequence[str],
        seed: int,
    ) -> None:
        self._rows, self._variants, self._seed = rows, variants, seed
        self._unstreamed = unstreamed
        labels = clusters_of(cases)
        self._labels: dict[str, Hashable] = (
            {case.id: label for case, label in zip(cases, labels, strict=True)} if labels else {}
        )

    def load(self, level: int, variant: str) -> VariantLoad:
        """Return what a variant did at a level."""
        asked = [row for row in self._rows.get(level, ()) if row.variant == variant]
        done = [row for row in asked if not row.failure]
        counts = [row.n_tokens for row in done if row.n_tokens is not None]
        reasons = Counter(row.failure for row in asked if row.failure)
        return VariantLoad(
            level=level,
            variant=variant,
            n=len(done),
            n_failed=len(asked) - len(done),
            n_refused=sum(row.too_many for row in asked),
            reasons=tuple(reasons.most_common()),
            n_empty=sum(row.is_stream and row.n_pieces == 0 for row in done),
            mean_tokens=sum(counts) / len(counts) if counts else None,
            counted_by_pieces=any(row.counted_by == "pieces" for row in done),
            cached_share=_cached_share(done),
            measured=self._measure(done, variant),
            against=self._against(level, variant),
            length=self._length(level, variant),
        )

    def _kinds(self, done: Sequence[StreamedRequest], variant: str) -> list[str]:
        if variant in self._unstreamed:
            return [TOTAL]
        thinks = any(row.has_thoughts for row in done)
        return [FIRST, *([ANSWER] if thinks else []), RATE, TOTAL]

    def _measure(self, done: Sequence[StreamedRequest], variant: str) -> tuple[Measured, ...]:
        found = []
        for what in self._kinds(done, variant):
            pairs = [(row, value) for row in done if (value := _VALUES[what](row)) is not None]
            sign = -1.0 if what == RATE else 1.0
            values = [sign * value for _, value in pairs]
            labels = self._labels_of([row.case_id for row, _ in pairs])
            quantiles = [find_quantile(values, share, labels) for share in SHARES]
            if what == RATE:
                quantiles = [_turned(one) for one in quantiles]
            found.append(Measured(what, tuple(quantiles), len(pairs)))
        return tuple(found)

    def _labels_of(self, ids: Sequence[str]) -> list[Hashable] | None:
        return [self._labels[one] for one in ids] if self._labels else None

    def ratio(
        self, level: int, variant: str, what: str, share: float, *, at_worst: bool = False
    ) -> Ratio:
        """Return a quantile of a variant divided by the base's.

        Args:
            level: requests at once.
            variant: the variant.
            what: the quantity.
            share: the quantile.
            at_worst: whether a request that the variant failed counts as one that never ended.
        """
        own, base = dict[str, float](), dict[str, float]()
        for row in self._rows.get(level, ()):
            if (value := _VALUES[what](row)) is not None:
                if row.variant == variant:
                    own[row.case_id] = value
                elif row.variant == self._variants[0]:
                    base[row.case_id] = value
            elif at_worst and row.variant == variant and row.failure:
                own[row.case_id] = math.inf
        both = [case_id for case_id in base if case_id in own]
        return ratio_of_quantiles(
            [own[one] for one in both],
            [base[one] for one in both],
            share,
            self._labels_of(both),
            seed=self._seed,
        )

    def _against(self, level: int, variant: str) -> tuple[Against, ...]:
        if variant == self._variants[0]:
            return ()
        no_stream = {variant, self._variants[0]} & set(self._unstreamed)
        return tuple(
            Against(what, share, self.ratio(level, variant, what, share))
            for what in ((TOTAL,) if no_stream else (FIRST, TOTAL))
            for share in SHARES
        )

    def _length(self, level: int, variant: str) -> RatioEstimate | None:
        base = self._variants[0]
        if variant == base:
            return None
        rows = [row for row in self._rows.get(level, ()) if row.n_tokens is not None]
        own, under = (
            {row.case_id: row for row in rows if row.variant == name} for name in (variant, base)
        )
        both = [case_id for case_id in under if case_id in own]
        kinds = {side[case_id].counted_by for side in (own, under) for case_id in both}
        if len(kinds) != 1:  # nothing counted, or tokens beside pieces
            return None
        parts, wholes = (
            [float(side[case_id].n_tokens or 0) for case_id in both] for side in (own, under)
        )
        return ratio_of_means(parts, wholes, clusters=self._labels_of(both))

    def guarded(self, at: LoadLevel, guard: LoadGuard) -> tuple[GuardFinding, ...]:
        """Return what became of the guard at a level; one that was given up shows nothing."""
        found, level = [], at.n_at_once
        for variant in self._variants[1:]:
            ratio = self.ratio(level, variant, TOTAL, guard.share)
            at_worst = self.ratio(level, variant, TOTAL, guard.share, at_worst=True)
            outcome = guard_outcome(ratio, at_worst, guard.most)
            found.append(GuardFinding(variant, "unclear" if at.gave_up else outcome, ratio))
        return tuple(found)


def guard_outcome(ratio: Ratio, at_worst: Ratio, most: float) -> GuardOutcome:
    """Return "kept" or "lost" where the whole interval says so.

    Args:
        ratio: over the cases that both answered.
        at_worst: the same with each request that the variant failed as one that never ended.
        most: the largest ratio that is kept.
    """
    if ratio.low is None or ratio.high is None:
        return "unclear"
    if at_worst.high is not None and max(ratio.high, at_worst.high) <= most:
        return "kept"
    return "lost" if ratio.low > most else "unclear"


def _turned(one: Quantile) -> Quantile:
    """Return a quantile of negative numbers as one of positive ones."""
    low, high = one.high, one.low
    value, low, high = (None if end is None else -end for end in (one.value, low, high))
    return replace(one, value=value, low=low, high=high)


def _cached_share(done: Sequence[StreamedRequest]) -> float | None:
    told = [
        (row.n_cached_tokens, row.n_prompt_tokens)
        for row in done
        if row.n_cached_tokens is not None and row.n_prompt_tokens
    ]
    if not told:
        return None
    return math.fsum(cached for cached, _ in told) / math.fsum(whole for _, whole in told)

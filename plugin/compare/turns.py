"""How scores change from the first turn of a conversation to later ones, for each variant.

All changes are paired within the conversation: a conversation counts where both turns have a score.
The change of a variant is compared with that of the base in the conversations that both have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from plugin.compare import stats
from plugin.compare.numbers import format_number, format_range
from plugin.compare.pairs import Evidence, clusters_of, column_of
from plugin.conversations import Conversations
from plugin.records import Case, MetricSpec


@dataclass(frozen=True, slots=True)
class Change:
    """A mean change over conversations, turned so that more is better, with its 95% interval.

    Attributes:
        n: conversations.
        mean: None for no conversation.
        ci_low: lower end; None where there is no interval.
        ci_high: upper end.
    """

    n: int
    mean: float | None
    ci_low: float | None
    ci_high: float | None


@dataclass(frozen=True, slots=True)
class TurnChange:
    """What becomes of one variant's scores at a later turn.

    Attributes:
        metric: its name.
        variant: its name.
        turn: from 2.
        first_mean: mean score of the first turn, in the conversations that have both.
        mean: mean score of this turn in the same conversations.
        change: this turn minus the first one.
        baseline: name of the base; "" for the base itself.
        against: the change minus the base's change, in the conversations that both have; None for
            the base itself.
    """

    metric: str
    variant: str
    turn: int
    first_mean: float | None
    mean: float | None
    change: Change
    baseline: str = ""
    against: Change | None = None


def is_by_turn(spec: MetricSpec) -> bool:
    """Return whether a metric scores single turns on a scale with two ends."""
    return (
        spec.decides
        and spec.is_bounded
        and not (spec.is_relative or spec.judges_data or spec.of_conversation)
    )


def turn_changes(evidence: Evidence, seed: int, n_resamples: int) -> tuple[TurnChange, ...]:
    """Return the change at every later turn, by metric, turn and variant; () for no conversations.

    Args:
        evidence: the run's scores.
        seed: of the resamples.
        n_resamples: number of resamples of an interval.
    """
    place = Conversations(evidence.cases, ())
    later: dict[int, list[tuple[Case, Case]]] = {}  # turn -> pairs of first and later case
    for case in evidence.cases:
        before = place.before(case)
        if before:
            later.setdefault(len(before) + 1, []).append((before[0], case))
    how = _Resampling(seed, n_resamples)
    return tuple(
        row
        for spec in evidence.metrics
        if is_by_turn(spec)
        for turn in sorted(later)
        for row in _rows(evidence, spec, turn, later[turn], how)
    )


@dataclass(frozen=True, slots=True)
class _Resampling:
    seed: int
    n_resamples: int

    def of(self, values: Mapping[str, float], cases: Iterable[Case], reach: float) -> Change:
        """Return the mean of values by case id, which lie within plus and minus the reach."""
        own = [case for case in cases if case.id in values]
        labels = clusters_of(own)
        if labels is not None and len(set(labels)) == len(labels):
            labels = None  # each conversation stands for itself
        found = stats.mean_interval(
            [values[case.id] for case in own],
            clusters=labels,
            low=-reach,
            high=reach,
            seed=self.seed,
            n_resamples=self.n_resamples,
        )
        return Change(found.n, found.mean, found.ci_low, found.ci_high)


def _rows(
    evidence: Evidence,
    spec: MetricSpec,
    turn: int,
    pairs: Sequence[tuple[Case, Case]],
    how: _Resampling,
) -> list[TurnChange]:
    cases = [case for _, case in pairs]
    made, of_base = list[TurnChange](), dict[str, float]()
    for name in evidence.names:
        scores = column_of(evidence, spec, name).scores
        both = [(first.id, case.id) for first, case in pairs]
        both = [(one, other) for one, other in both if one in scores and other in scores]
        changes = {other: spec.gain(scores[other], scores[one]) for one, other in both}
        against = None
        if name == evidence.names[0]:
            of_base = changes
        else:
            shared = {key: value - of_base[key] for key, value in changes.items() if key in of_base}
            against = how.of(shared, cases, 2 * (spec.high - spec.low))
        made.append(
            TurnChange(
                metric=spec.name,
                variant=name,
                turn=turn,
                first_mean=_mean([scores[one] for one, _ in both]),
                mean=_mean([scores[other] for _, other in both]),
                change=how.of(changes, cases, spec.high - spec.low),
                baseline=evidence.names[0] if against else "",
                against=against,
            )
        )
    return made


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def shown_metric(specs: Sequence[MetricSpec]) -> MetricSpec | None:
    """Return the metric by which conversations are shown: Turn Rating, or the first by turn."""
    able = [spec for spec in specs if is_by_turn(spec)]
    return next((spec for spec in able if spec.key == "turn_rating"), able[0] if able else None)


def turn_lines(changes: Sequence[TurnChange], specs: Sequence[MetricSpec]) -> list[str]:
    """Return a sentence for each variant and later turn, on the metric that is shown."""
    shown = shown_metric(specs)
    return [_line(one) for one in changes if shown and one.metric == shown.name and one.change.n]


def _line(one: TurnChange) -> str:
    text = (
        f"{one.metric}, {one.variant}: {format_number(one.mean)} at turn {one.turn} against "
        f"{format_number(one.first_mean)} at turn 1, change {change_text(one.change)}"
    )
    if one.against is not None and one.against.n:
        text += f"; {one.baseline}'s change taken off: {change_text(one.against)}"
    return f"{text}."


def change_text(change: Change) -> str:
    """Return a change with its interval and the number of conversations."""
    mean = format_number(change.mean, signed=True)
    counted = f"n={change.n} conversation{'s' * (change.n != 1)}"
    if change.ci_low is None:
        return f"{mean} (no interval, {counted})"
    ends = format_range(change.ci_low, change.ci_high, signed=True)
    return f"{mean} (95% interval {ends}, {counted})"

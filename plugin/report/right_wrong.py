"""Find the cases that were right under the base and are wrong now, and the reverse, per group."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from plugin.compare.numbers import format_number
from plugin.records import ALL, Case, MetricSpec
from plugin.report.record import Ledger


class TurnedCase(NamedTuple):
    """A case that turned, with both scores."""

    case: Case
    baseline: float
    score: float


class TurnedCounts(NamedTuple):
    """How many cases of a group turned, of those that both variants have a score for.

    Attributes:
        broke: right under the base, wrong now.
        fixed: wrong under the base, right now.
        right: right under both.
        wrong: wrong under both.
        moved_little: on other sides of the middle, but by no more than the margin.
    """

    group: str
    n: int
    broke: int
    fixed: int
    right: int
    wrong: int
    moved_little: int


@dataclass(frozen=True, slots=True)
class Turned:
    """What one variant turned.

    Attributes:
        rule: when a case is right, a sentence or two.
        counts: over all cases, then for each group.
        broke: the cases that were right and are wrong now, the largest loss first.
        fixed: the reverse, the largest gain first.
    """

    variant: str
    baseline: str
    metric: str
    rule: str
    counts: tuple[TurnedCounts, ...]
    broke: tuple[TurnedCase, ...]
    fixed: tuple[TurnedCase, ...]


def turned_cases(ledger: Ledger) -> list[Turned]:
    """Return what each variant turned, that of the verdict first.

    The metric is the primary one; if right and wrong mean nothing there, the first other one for
    which they do. Empty without such a metric, and without a second variant.
    """
    spec = _metric_of(ledger)
    if spec is None or ledger.baseline is None:
        return []
    about = ledger.report.verdict.variant
    others = sorted(ledger.variants[1:], key=lambda name: name != about)
    return [found for name in others if (found := _turned(ledger, spec, name)).counts[0].n]


def _metric_of(ledger: Ledger) -> MetricSpec | None:
    """Return the first metric that has a right and a wrong: bounded, and about one completion."""
    primary = ledger.primary
    specs = sorted(ledger.report.metrics, key=lambda spec: spec is not primary)
    fit = (s for s in specs if s.decides and s.is_bounded)
    return next((s for s in fit if not (s.is_relative or s.judges_data)), None)


def _turned(ledger: Ledger, spec: MetricSpec, variant: str) -> Turned:
    base = ledger.variants[0]
    pairs = [
        (case, old.value, new.value)
        for case in ledger.report.cases
        if (old := ledger.cell(case, base, spec).score)
        and (new := ledger.cell(case, variant, spec).score)
    ]
    is_exact = all(value in (spec.low, spec.high) for _, *both in pairs for value in both)
    found = [(case, old, new, _turn(spec, old, new)) for case, old, new in pairs]
    broke = [TurnedCase(case, old, new) for case, old, new, turn in found if turn == "broke"]
    fixed = [TurnedCase(case, old, new) for case, old, new, turn in found if turn == "fixed"]
    groups = [name for name in ledger.groups if any(case.group == name for case, *_ in found)]
    return Turned(
        variant=variant,
        baseline=base,
        metric=spec.name,
        rule=_rule(spec, is_exact),
        counts=tuple(
            _count(group, [turn for case, _, _, turn in found if group in (ALL, case.group)])
            for group in (ALL, *groups)
        ),
        broke=tuple(sorted(broke, key=lambda one: spec.gain(one.score, one.baseline))),
        fixed=tuple(sorted(fixed, key=lambda one: -spec.gain(one.score, one.baseline))),
    )


_Turn = Literal["broke", "fixed", "right", "wrong", "moved little"]


def _turn(spec: MetricSpec, old: float, new: float) -> _Turn:
    was_right, is_right = _is_right(spec, old), _is_right(spec, new)
    if was_right == is_right:
        return "right" if is_right else "wrong"
    if abs(new - old) <= spec.margin:
        return "moved little"
    return "fixed" if is_right else "broke"


def _is_right(spec: MetricSpec, score: float) -> bool:
    """Return whether a score lies in the better half of the range, its middle included."""
    return spec.gain(score, (spec.low + spec.high) / 2) >= 0


def _rule(spec: MetricSpec, is_exact: bool) -> str:
    if is_exact:
        best, worst = _plain(spec.best), _plain(spec.worst)
        return f"On {spec.name}, right is a score of {best}, wrong one of {worst}."
    middle = _plain((spec.low + spec.high) / 2)
    side = "or more" if spec.higher_is_better else "or less"
    margin = format_number(spec.margin)
    return (
        f"On {spec.name}, right is a score of {middle} {side} (the better half of its range); a "
        f"case counts as turned if its score also moved by more than the margin of {margin}."
    )


def _plain(value: float) -> str:
    return f"{value:g}"


def _count(group: str, turns: Sequence[_Turn]) -> TurnedCounts:
    n = turns.count
    return TurnedCounts(
        *(group, len(turns), n("broke"), n("fixed"), n("right"), n("wrong"), n("moved little"))
    )


def turned_fields(found: Iterable[Turned]) -> list[dict[str, object]]:
    """Return the same for machines: counts per group, and the ids of the cases that turned."""
    return [
        {
            "variant": one.variant,
            "baseline": one.baseline,
            "metric": one.metric,
            "rule": one.rule,
            "groups": [row._asdict() for row in one.counts],
            "broke": [row.case.id for row in one.broke],
            "fixed": [row.case.id for row in one.fixed],
        }
        for one in found
    ]

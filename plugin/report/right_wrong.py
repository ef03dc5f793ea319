"""Find the cases that were right under the base and are wrong now, and the reverse, per group."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from plugin.compare.numbers import format_number
from plugin.records import ALL, Case, MetricSpec
from plugin.report.record import Ledger

Turn = Literal["broke", "fixed", "right", "wrong", "moved little"]
"""Right and then wrong, the reverse, right or wrong both times, or too small a change to count."""


class Rule(NamedTuple):
    """When an answer counts as right: its score is at or beyond the middle of the metric's range.

    Attributes:
        spec: the metric that tells.
        middle: the worst score that is still right.
    """

    spec: MetricSpec
    middle: float

    def turn(self, before: float, now: float) -> Turn:
        """Return what became of an answer, by the scores of two variants."""
        was_right, is_right = (self.spec.gain(x, self.middle) >= 0 for x in (before, now))
        if was_right == is_right:
            return "right" if is_right else "wrong"
        if abs(now - before) <= self.spec.margin:
            return "moved little"
        return "fixed" if is_right else "broke"

    @property
    def text(self) -> str:
        """Return the rule as a sentence."""
        name, edge = self.spec.name, format_number(self.middle)
        bound = "at least" if self.spec.higher_is_better else "at most"
        return (
            f"An answer counts as right where {name} is {bound} {edge}; a change counts where "
            f"{name} moves by more than {format_number(self.spec.margin)}."
        )

    @property
    def exact_text(self) -> str:
        """Return the rule as a sentence, for scores that are all the best or the worst one."""
        best, worst = f"{self.spec.best:g}", f"{self.spec.worst:g}"
        return f"On {self.spec.name}, right is a score of {best}, wrong one of {worst}."


def rule_of_right(ledger: Ledger) -> Rule | None:
    """Return what tells right from wrong: the primary metric, or the first that can; or None."""
    for spec in (ledger.primary, *ledger.report.metrics):
        if spec and spec.decides and spec.is_bounded and not spec.is_relative | spec.judges_data:
            return Rule(spec, (spec.low + spec.high) / 2)
    return None


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
    rule = rule_of_right(ledger)
    if rule is None or ledger.baseline is None:
        return []
    about = ledger.report.verdict.variant
    others = sorted(ledger.variants[1:], key=lambda name: name != about)
    return [found for name in others if (found := _turned(ledger, rule, name)).counts[0].n]


def _turned(ledger: Ledger, rule: Rule, variant: str) -> Turned:
    base, spec = ledger.variants[0], rule.spec
    pairs = [
        (case, old.value, new.value)
        for case in ledger.report.cases
        if (old := ledger.cell(case, base, spec).score)
        and (new := ledger.cell(case, variant, spec).score)
    ]
    is_exact = all(value in (spec.low, spec.high) for _, *both in pairs for value in both)
    found = [(case, old, new, rule.turn(old, new)) for case, old, new in pairs]
    broke = [TurnedCase(case, old, new) for case, old, new, turn in found if turn == "broke"]
    fixed = [TurnedCase(case, old, new) for case, old, new, turn in found if turn == "fixed"]
    groups = [name for name in ledger.groups if any(case.group == name for case, *_ in found)]
    return Turned(
        variant=variant,
        baseline=base,
        metric=spec.name,
        rule=rule.exact_text if is_exact else rule.text,
        counts=tuple(
            _count(group, [turn for case, _, _, turn in found if group in (ALL, case.group)])
            for group in (ALL, *groups)
        ),
        broke=tuple(sorted(broke, key=lambda one: spec.gain(one.score, one.baseline))),
        fixed=tuple(sorted(fixed, key=lambda one: -spec.gain(one.score, one.baseline))),
    )


def _count(group: str, turns: Sequence[Turn]) -> TurnedCounts:
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

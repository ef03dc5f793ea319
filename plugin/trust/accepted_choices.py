"""Find out which of people's choices count, which variants they are about, and who wins."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from plugin.compare.pairs import Pairs
from plugin.records import EVEN
from plugin.run_facts import HumanChoice, PageItem
from plugin.trust.choice_records import LeftOut

_SAME = 1e-9
"""A smaller gain is a rounding error."""

Votes = Mapping[str, Mapping[str, float | None]]
"""Case id -> rater -> what the variant won by them; None where they could not decide."""


@dataclass(frozen=True, slots=True)
class VariantChoice:
    """What one rater said of a variant's answer beside the base's.

    Attributes:
        won: what the variant won: 1, 0, or 0.5 for a tie; None where the rater could not decide.
        was_first: whether the variant's answer was shown first.
    """

    case_id: str
    variant: str
    baseline: str
    rater: str
    won: float | None
    was_first: bool
    comment: str = ""


@dataclass(frozen=True, slots=True)
class AcceptedChoices:
    """The choices that count.

    Attributes:
        choices: one per case, pair of answers and rater.
        of_variants: the same by variant; two variants with the same answer share a choice.
        left_out: what does not count.
    """

    choices: tuple[HumanChoice, ...]
    of_variants: tuple[VariantChoice, ...]
    left_out: LeftOut

    def votes(self, variant: str) -> Votes:
        """Return what raters said of one variant's answers, by case."""
        found: dict[str, dict[str, float | None]] = {}
        for one in self.of_variants:
            if one.variant == variant:
                found.setdefault(one.case_id, {})[one.rater] = one.won
        return found


def accept_choices(
    choices: Iterable[HumanChoice], digests: Mapping[tuple[str, str], str], names: Sequence[str]
) -> AcceptedChoices:
    """Return the choices that count.

    Args:
        choices: what raters chose, in the order in which it was read; of two on the same pair by
            the same rater the last one counts.
        digests: (case id, variant) -> the digest of its answer.
        names: the variants, the base first.
    """
    known: dict[str, set[str]] = {}
    for (case_id, _), digest in digests.items():
        known.setdefault(case_id, set()).add(digest)
    kept: dict[tuple[str, str, frozenset[str]], HumanChoice] = {}
    counts = dict.fromkeys(("stale", "equal", "elsewhere", "repeated", "impossible"), 0)
    for one in choices:
        pair = frozenset(one.digests)
        place = (one.case_id, one.rater, pair)
        if one.won not in (0, 0.5, 1, None):
            counts["impossible"] += 1
        elif len(pair) == 1:
            counts["equal"] += 1
        elif not pair <= known.get(one.case_id, set()):
            counts["stale"] += 1
        elif digests.get((one.case_id, names[0])) not in pair:
            counts["elsewhere"] += 1
        else:
            counts["repeated"] += place in kept
            kept[place] = one
    accepted = tuple(kept.values())
    return AcceptedChoices(
        choices=accepted,
        of_variants=tuple(row for one in accepted for row in _of_variants(one, digests, names)),
        left_out=LeftOut(**counts),
    )


def _of_variants(
    choice: HumanChoice, digests: Mapping[tuple[str, str], str], names: Sequence[str]
) -> Iterable[VariantChoice]:
    """Yield what a choice says of each variant whose answer it is about."""
    base = digests[choice.case_id, names[0]]
    own = next(digest for digest in choice.digests if digest != base)
    was_first = choice.digests[0] == own
    won = choice.won if choice.won is None or was_first else 1 - choice.won
    for name in names[1:]:
        if digests.get((choice.case_id, name)) == own:
            yield VariantChoice(
                choice.case_id, name, names[0], choice.rater, won, was_first, choice.comment
            )


def cases_shown(
    items: Iterable[PageItem], digests: Mapping[tuple[str, str], str], variant: str, base: str
) -> set[str]:
    """Return the cases whose pair of answers of these two stands on a rating page."""
    return {
        item.case_id
        for item in items
        if item.kind == "pair"
        and set(item.shown) == {digests.get((item.case_id, name)) for name in (variant, base)}
    }


def are_equal(digests: Mapping[tuple[str, str], str], case_id: str, pair: Sequence[str]) -> bool:
    """Return whether two variants gave the same answer to a case."""
    first, second = (digests.get((case_id, name)) for name in pair)
    return first is not None and first == second


def values_of(pairs: Pairs) -> dict[str, float]:
    """Return what the variant wins by a metric, case by case: 1, 0, or 0.5 for a tie.

    A metric that compares answers gives this itself, a panel its mean; else the sign of the gain
    tells.
    """
    if pairs.spec.is_relative:
        return {case.id: own for case, own, _ in pairs.whole}
    return {
        case.id: EVEN + side_of_gain(pairs.spec.gain(own, base)) / 2
        for case, own, base in pairs.whole
    }


def side_of_value(value: float) -> int:
    """Return 1 for a win, -1 for a loss, 0 for a tie."""
    return side_of_gain(value - EVEN)


def commonest(values: Sequence[float]) -> int | None:
    """Return the choice that most raters made: 1, -1 or 0; None where two are as common."""
    ranked = Counter(map(side_of_value, values)).most_common(2)
    if len(ranked) == 2 and ranked[0][1] == ranked[1][1]:
        return None
    return ranked[0][0]


def side_of_gain(gain: float) -> int:
    """Return the sign of a gain, 0 for one that is a rounding error."""
    return (gain > _SAME) - (gain < -_SAME)


def mean_of(values: Iterable[float]) -> float:
    """Return the mean of one or more values."""
    kept = list(values)
    return math.fsum(kept) / len(kept)

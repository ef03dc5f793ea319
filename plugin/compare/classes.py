"""Numbers of a classification over all cases: macro F1, precision, recall, correlation, kappa.

Classes are numbered from 0; a prediction of `UNPARSED` names no class. It is wrong, and counts as a
class of its own among the predictions.

- Macro F1 is the mean F1 of the classes that some case expects; F1 is 0 for a class that is never
  named rightly. Its interval comes from resampling the cases (or whole clusters) 2,000 times and
  taking the middle 95% (Efron 1979). The gain's interval uses the same draws for both variants. In
  simulations with a class of 10% it covered the truth in 93 to 95% of runs with 120 cases, and in
  90% with 40 cases: it is for display, and never decides.
- Matthews correlation is Gorodkin's for several classes (2004); it is 0 where it is undefined.
- Cohen's kappa compares the accuracy with that of chance (1960); None where it is undefined.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNPARSED = -1
"""The prediction of an answer that names no class, or several."""

_N_RESAMPLES = 2000
_CHUNK = 250
MIN_UNITS = 10
"""Fewer cases or clusters give no interval."""


@dataclass(frozen=True, slots=True)
class ClassNumbers:
    """One class.

    Attributes:
        n: cases that expect it.
        n_named: answers that name it.
        precision: share of these answers that are right; None where there is none.
        recall: share of these cases that are answered rightly; None where there is none.
    """

    n: int
    n_named: int
    precision: float | None
    recall: float | None
    f1: float


@dataclass(frozen=True, slots=True)
class ClassificationNumbers:
    """All numbers of one variant.

    Attributes:
        counts: a row per expected class, a column per named class, the last one for unparsed.
    """

    counts: tuple[tuple[int, ...], ...]
    classes: tuple[ClassNumbers, ...]
    accuracy: float
    macro_f1: float
    matthews: float
    kappa: float | None
    n_unparsed: int


def classification_numbers(
    expected: Sequence[int], named: Sequence[int], n_classes: int
) -> ClassificationNumbers:
    """Return the numbers of one variant's predictions.

    Args:
        expected: a class per case; at least one case.
        named: the class that its answer names, or `UNPARSED`.
        n_classes: number of classes.
    """
    counts = [[0] * (n_classes + 1) for _ in range(n_classes)]
    for wanted, found in zip(expected, named, strict=True):
        counts[wanted][found] += 1  # UNPARSED is the last column
    n, rows = len(expected), [sum(row) for row in counts]
    columns = [sum(row[place] for row in counts) for place in range(n_classes + 1)]
    right = [counts[place][place] for place in range(n_classes)]
    classes = tuple(map(_class_numbers, right, rows, columns))
    f1s = [one.f1 for one in classes if one.n]
    by_chance = sum(a * b for a, b in zip(rows, columns, strict=False))
    return ClassificationNumbers(
        counts=tuple(map(tuple, counts)),
        classes=classes,
        accuracy=sum(right) / n,
        macro_f1=math.fsum(f1s) / len(f1s),
        matthews=_matthews(sum(right), rows, columns, by_chance),
        kappa=_kappa(sum(right), n, by_chance),
        n_unparsed=columns[-1],
    )


def _class_numbers(right: int, n: int, n_named: int) -> ClassNumbers:
    return ClassNumbers(
        n=n,
        n_named=n_named,
        precision=right / n_named if n_named else None,
        recall=right / n if n else None,
        f1=2 * right / (n + n_named) if right else 0.0,
    )


def _matthews(right: int, rows: Sequence[int], columns: Sequence[int], by_chance: int) -> float:
    n = sum(rows)
    spread = (n * n - sum(x * x for x in rows)) * (n * n - sum(x * x for x in columns))
    return (right * n - by_chance) / math.sqrt(spread) if spread else 0.0


def _kappa(right: int, n: int, by_chance: int) -> float | None:
    rest = n * n - by_chance
    return (right * n - by_chance) / rest if rest else None


@dataclass(frozen=True, slots=True)
class MacroF1Interval:
    """95% intervals of one variant's macro F1, and of its gain over the first variant's."""

    low: float
    high: float
    gain_low: float
    gain_high: float


def macro_f1_intervals(
    expected: Sequence[int],
    named: Sequence[Sequence[int]],
    clusters: Sequence[Hashable] | None = None,
    seed: int = 0,
    n_resamples: int = _N_RESAMPLES,
) -> list[MacroF1Interval] | None:
    """Return the intervals of each variant; None for too few cases or clusters.

    Args:
        expected: a class per case.
        named: per variant, the base first, the class that each answer names, or `UNPARSED`.
        clusters: what each case belongs to; None where every case stands for itself.
        seed: of the draws.
        n_resamples: number of draws; more than 2,000 are not made.
    """
    import numpy as np

    units = list(range(len(expected))) if clusters is None else list(clusters)
    place = {unit: number for number, unit in enumerate(dict.fromkeys(units))}
    if len(place) < MIN_UNITS:
        return None
    unit_of_case = np.array([place[unit] for unit in units])
    wanted, found = np.array(expected), [np.array(one) for one in named]
    draw = np.random.default_rng(seed)
    shares = np.full(len(place), 1 / len(place))
    parts = []
    for _ in range(max(1, min(n_resamples, _N_RESAMPLES) // _CHUNK)):
        weights = draw.multinomial(len(place), shares, size=_CHUNK)[:, unit_of_case]
        parts.append(np.stack([_macro_f1(weights, wanted, one) for one in found]))
    drawn = np.concatenate(parts, axis=1)
    ends = np.percentile(drawn, (2.5, 97.5), axis=1)
    gain_ends = np.percentile(drawn - drawn[0], (2.5, 97.5), axis=1)
    return [
        MacroF1Interval(*map(float, (*ends[:, i], *gain_ends[:, i]))) for i in range(len(found))
    ]


def _macro_f1(weights: NDArray[Any], wanted: NDArray[Any], found: NDArray[Any]) -> NDArray[Any]:
    """Return the macro F1 of each draw, given how often it has each case (draws, cases)."""
    import numpy as np

    total, n_present = np.zeros(len(weights)), np.zeros(len(weights))
    for number in np.unique(wanted):
        is_wanted, is_found = wanted == number, found == number
        n = weights[:, is_wanted].sum(axis=1)
        n_named = weights[:, is_found].sum(axis=1)
        right = weights[:, is_wanted & is_found].sum(axis=1)
        total += np.where(n > 0, 2 * right / np.maximum(n + n_named, 1), 0.0)
        n_present += n > 0
    f1: NDArray[Any] = total / n_present
    return f1

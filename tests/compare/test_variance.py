"""The split of a variance: a textbook's numbers, hand-worked ones, and unbiased on average."""

from __future__ import annotations

import math

import numpy as np
import pytest

from plugin.compare.variance import split_variance

PURITY = [  # D. C. Montgomery, Design and Analysis of Experiments, two-stage nested design
    [[1, -1, 0], [-2, -3, -4], [-2, 0, 1], [1, 4, 0]],
    [[1, -2, -3], [0, 4, 2], [-1, 0, -2], [0, 3, 2]],
    [[2, 4, 0], [-2, 0, 2], [1, -1, 2], [3, 2, 1]],
]


def named(rows: object) -> dict[str, list[list[float]]]:
    return {str(i): own for i, own in enumerate(rows)}  # type: ignore[arg-type]


def test_a_textbooks_example_also_with_its_component_below_zero() -> None:
    """Montgomery finds 2.64 within batches, 1.71 between batches, and below zero for suppliers."""
    found = split_variance(named(PURITY))
    assert found
    assert found.judge == pytest.approx(63.33 / 24, abs=1e-3)
    assert found.sampling == pytest.approx((69.92 / 9 - 63.33 / 24) / 3, abs=1e-3)
    assert (found.cases, found.n_negative) == (0.0, 1)
    assert (found.n, found.n_samples, found.n_repeats) == (3, 4, 3)


def test_a_split_worked_by_hand() -> None:
    found = split_variance({"a": [[0.0, 0.2], [0.4, 0.6]], "b": [[0.8, 1.0], [1.0, 1.2]]})
    assert found
    # Repeats: 4 pairs, each with a variance of 0.02. Samples: 0.1, 0.5 and 0.9, 1.1.
    assert found.judge == pytest.approx(0.02)
    assert found.sampling == pytest.approx((0.08 + 0.02) / 2 - 0.02 / 2)
    # Cases: means 0.3 and 1.0, variance 0.245, less sampling / 2 and judge / 4.
    assert found.cases == pytest.approx(0.245 - 0.04 / 2 - 0.02 / 4)
    assert math.fsum(found.shares.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("more", "factor"),
    [
        ({"cases": 2}, math.sqrt(0.5)),
        ({"samples": 2}, math.sqrt((0.22 + 0.01 + 0.0025) / 0.245)),
        ({"repeats": 2}, math.sqrt((0.22 + 0.02 + 0.0025) / 0.245)),
        ({"cases": 2, "samples": 0.5}, math.sqrt((0.22 + 0.04 + 0.01) / 2 / 0.245)),
    ],
)
def test_what_narrows_the_interval(more: dict[str, float], factor: float) -> None:
    found = split_variance({"a": [[0.0, 0.2], [0.4, 0.6]], "b": [[0.8, 1.0], [1.0, 1.2]]})
    assert found and found.width_factor(**more) == pytest.approx(factor)


def test_what_was_not_repeated_is_not_split() -> None:
    assert split_variance({"a": [[0.1]], "b": [[0.3]]}) is None
    assert split_variance({"a": [[0.1], [0.2]]}) is None
    judged = split_variance({"a": [[0.1, 0.3]], "b": [[0.3, 0.4]]})
    assert judged and judged.sampling is None and judged.judge == pytest.approx(0.0125)
    drawn = split_variance({"a": [[0.1], [0.3]], "b": [[0.3], [0.4]]})
    assert drawn and drawn.judge is None and drawn.sampling == pytest.approx(0.0125)


def test_equal_gains_have_no_variance() -> None:
    found = split_variance({"a": [[0.5], [0.5]], "b": [[0.5], [0.5]]})
    assert found and found.cases == 0.0 and found.width_factor(cases=2) == 1.0


def test_clusters_belong_to_the_cases() -> None:
    rows = {"a": [[0.0], [0.2]], "b": [[0.1], [0.3]], "c": [[1.0], [1.2]], "d": [[0.9], [1.1]]}
    alone = split_variance(rows)
    pairs = split_variance(rows, {"a": "x", "b": "x", "c": "y", "d": "y"})
    assert alone and pairs and pairs.sampling == alone.sampling
    assert pairs.cases > 1.5 * alone.cases


def test_components_are_unbiased_with_missing_samples_and_ugly_scores() -> None:
    """0/1 samples of cases with chances of their own; a third of the cases lacks a sample."""
    rng, found = np.random.default_rng(5), []
    for _ in range(300):
        chances = rng.beta(0.6, 0.9, 30)
        rows = {
            str(i): [[float(v)] for v in rng.random(4 if i % 3 else 3) < chance]
            for i, chance in enumerate(chances)
        }
        split = split_variance(rows)
        assert split and split.sampling is not None
        found.append((split.sampling, split.cases))
    a, b = 0.6, 0.9
    cases = a * b / ((a + b) ** 2 * (a + b + 1))
    sampling = a * b / ((a + b) * (a + b + 1))
    means = np.mean(found, axis=0)
    assert means == pytest.approx([sampling, cases], rel=0.03)


def test_the_split_is_that_of_another_implementation() -> None:
    """statsmodels' MixedLM (REML, nested random effects) on the same gains."""
    rng = np.random.default_rng(3)
    cases, samples = rng.normal(0, 0.3, (12, 1, 1)), rng.normal(0, 0.2, (12, 4, 1))
    gains = np.round(0.1 + cases + samples + rng.normal(0, 0.15, (12, 4, 3)), 2)
    found = split_variance(named(gains.tolist()))
    assert found
    assert found.cases == pytest.approx(0.22542, rel=1e-3)
    assert found.sampling == pytest.approx(0.031704, rel=1e-3)
    assert found.judge == pytest.approx(0.023077, rel=1e-3)

"""The gain in each fold, and the test of whether the folds differ by more than their cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.meta_analysis import combine_effects

from plugin.compare.folds import FoldGains, fold_gains, homogeneity
from plugin.compare.intervals import Units, group_units
from plugin.compare.pairs import Pairs
from plugin.compare.words_folds import fold_lines
from plugin.records import Case, Message, MetricSpec
from plugin.run_facts import FoldFacts, PooledFacts

F1 = MetricSpec("f1", "Token F1", higher_is_better=True)


class Resampling:
    seed = 0
    n_resamples = 4_000


def units(gains: list[float], clusters: list[str] | None = None) -> Units:
    return group_units(np.array(gains), clusters)


def draw(seed: int, sizes: tuple[int, ...], shifts: tuple[float, ...]) -> list[Units]:
    rng = np.random.default_rng(seed)
    return [units(list(rng.normal(shift, 0.4, n))) for n, shift in zip(sizes, shifts, strict=True)]


def pairs_of(gains: list[float], clusters: list[str | None] | None = None) -> Pairs:
    own = clusters or [None] * len(gains)
    whole = [
        (Case(str(i), (Message("user", "?"),), cluster=own[i]), 0.5 + gain, 0.5)
        for i, gain in enumerate(gains)
    ]
    return Pairs(F1, "tuned", "vanilla", "all", whole, [], 0, 0)


def found_in(gains: list[float], names: list[str], **more: list[str | None]) -> FoldGains:
    fold_of = {str(i): name for i, name in enumerate(names)}
    return fold_gains(pairs_of(gains, **more), fold_of, Resampling())


def test_the_p_value_is_that_of_another_permutation_test() -> None:
    folds = draw(3, (12, 15, 9), (0.0, 0.25, -0.1))
    found = homogeneity(folds, seed=0, n_resamples=20_000)
    other = scipy_stats.permutation_test(
        [one.sums for one in folds],
        lambda *groups: scipy_stats.f_oneway(*groups).statistic,
        permutation_type="independent",
        n_resamples=4_000,
        alternative="greater",
        rng=np.random.default_rng(1),
    )
    assert found is not None
    assert found.p_value == pytest.approx(other.pvalue, abs=0.02)
    classic = scipy_stats.f_oneway(*(one.sums for one in folds)).pvalue
    assert found.p_value == pytest.approx(classic, abs=0.03)


def test_cochran_q_is_that_of_another_implementation() -> None:
    folds = draw(5, (20, 30, 25, 14), (0.0, 0.1, 0.2, 0.0))
    found = homogeneity(folds, seed=0, n_resamples=100)
    means = np.array([one.sums.mean() for one in folds])
    variances = np.array([one.sums.var(ddof=1) / len(one.sums) for one in folds])
    assert found is not None
    assert found.q == pytest.approx(combine_effects(means, variances).q)


def test_spread_and_interval_by_hand() -> None:
    """Folds (0, 0.2) and (0.6, 0.8): means 0.1 and 0.7, each with variance 0.02 / 2 = 0.01.

    Between: 2 * 0.3^2 * 2 = 0.36. By noise: 2 * 0.01 * 0.5 * 2 = 0.02. Reach: 4 - 8 / 4 = 2. So the
    variance between is 0.17. The t interval has one degree of freedom: 0.4 +- 12.706 * 0.3.
    """
    found = homogeneity([units([0, 0.2]), units([0.6, 0.8])], seed=0, n_resamples=1_000)
    assert found is not None
    assert found.spread == pytest.approx(math.sqrt(0.17))
    assert found.mean == pytest.approx(0.4)
    assert (found.ci_low, found.ci_high) == pytest.approx(
        (0.4 - 12.7062 * 0.3, 0.4 + 12.7062 * 0.3), rel=1e-4
    )
    assert found.p_value == pytest.approx(1 / 3, abs=0.05)  # 2 of the 6 ways to choose two of four


def test_the_unit_of_the_metric_does_not_matter() -> None:
    folds = draw(1, (30, 30, 30), (0.0, 0.0, 0.8))
    tiny = [units(list(one.sums * 1e-6)) for one in folds]
    found = [homogeneity(one, seed=0, n_resamples=500) for one in (folds, tiny)]
    assert found[0] and found[1] and found[0].p_value == found[1].p_value < 0.01


def test_equal_folds_do_not_differ() -> None:
    found = homogeneity([units([0.0] * 5), units([0.0] * 7)], seed=0, n_resamples=100)
    assert found is not None and (found.p_value, found.spread, found.q) == (1.0, 0.0, None)


def test_folds_that_clearly_differ() -> None:
    found = homogeneity(draw(1, (30, 30, 30), (0.0, 0.0, 0.8)), seed=0, n_resamples=2_000)
    assert found is not None and found.differ and found.spread == pytest.approx(0.46, abs=0.15)


def test_clusters_change_places_as_a_whole() -> None:
    """Eight copies of one case say no more than one: with clusters nothing differs."""
    gains = [0.9] * 8 + [0.1] * 8 + [0.0] * 8 + [0.8] * 8
    names = ["a"] * 16 + ["b"] * 16
    clusters: list[str | None] = [f"c{i // 8}" for i in range(32)]
    alone = found_in([*gains[:8], *[0.8] * 8, *gains[8:16], *[0.0] * 8], names)
    together = found_in(
        [*gains[:8], *[0.8] * 8, *gains[8:16], *[0.0] * 8], names, clusters=clusters
    )
    assert alone.homogeneity and together.homogeneity
    assert alone.homogeneity.p_value < 0.01 < 0.2 < together.homogeneity.p_value
    assert together.rows[0].n_clusters == 2


def test_each_fold_has_its_own_row() -> None:
    found = found_in([0.1, 0.3, 0.2, -0.2, 0.0], ["a", "a", "a", "b", "b"])
    assert [(row.name, row.n, row.gain) for row in found.rows] == [
        ("a", 3, pytest.approx(0.2)),
        ("b", 2, pytest.approx(-0.1)),
    ]
    assert found.rows[1].variant_mean == pytest.approx(0.4)


def test_a_fold_of_one_case_is_not_tested() -> None:
    assert found_in([0.1, 0.3, 0.2], ["a", "a", "b"]).homogeneity is None
    assert homogeneity([units([0.1, 0.2])], seed=0, n_resamples=100) is None


def test_equal_folds_give_no_interval_of_no_width() -> None:
    folds = (FoldFacts("a", "x", ("1",)), FoldFacts("b", "y", ("2",)))
    found = found_in([0.0] * 6, ["a"] * 3 + ["b"] * 3)
    told = fold_lines(PooledFacts("tuned", folds, 2, ()), found)[-1]
    assert "95% interval" not in told and "All folds have the same gain" in told

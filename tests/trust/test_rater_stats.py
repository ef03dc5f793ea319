"""Agreement, against published examples, statsmodels, and a slow direct implementation."""

import itertools
import math

import numpy as np
import pytest
from statsmodels.stats.inter_rater import cohens_kappa as statsmodels_kappa

from plugin.trust.rater_stats import (
    MIN_UNITS,
    _alpha_of_each,
    _category_counts,
    _leave_one_out_weights,
    _resampled_weights,
    cohens_kappa,
    krippendorff_alpha,
    raw_agreement,
)


def alpha(units, **options):
    return krippendorff_alpha(units, **{"seed": 1, "n_resamples": 200, **options})


def rows(text):
    """Units from a line per rater; a dot is a missing rating."""
    raters = [
        [None if mark == "." else float(mark) for mark in line.split()] for line in text.split("\n")
    ]
    return list(zip(*raters, strict=True))


# Two raters.

# Cohen 1968, "Weighted kappa", table 1: 200 diagnoses by two judges; kappa is given as .492.
COHEN = [[88, 14, 18], [10, 40, 10], [2, 6, 12]]


def listed(table):
    cells = [(a, b) for a, row in enumerate(table) for b, n in enumerate(row) for _ in range(n)]
    return [a for a, _ in cells], [b for _, b in cells]


def test_kappa_of_cohens_own_example():
    first, second = listed(COHEN)
    assert raw_agreement(first, second) == 0.70
    # By chance .60 x .50 + .30 x .30 + .10 x .20 = .41, so (.70 - .41) / .59.
    assert cohens_kappa(first, second) == pytest.approx(0.29 / 0.59)
    assert cohens_kappa(first, second) == pytest.approx(0.492, abs=5e-4)


@pytest.mark.parametrize("n_categories", [2, 3, 5])
def test_kappa_agrees_with_statsmodels(n_categories):
    rng = np.random.default_rng(n_categories)
    first = rng.integers(0, n_categories, 80)
    second = np.where(rng.random(80) < 0.6, first, rng.integers(0, n_categories, 80))
    table = np.zeros((n_categories, n_categories))
    np.add.at(table, (first, second), 1)
    theirs = statsmodels_kappa(table, return_results=False)
    assert cohens_kappa(first.tolist(), second.tolist()) == pytest.approx(theirs)


def test_missing_ratings_leave_the_unit_out():
    first, second = ["a", None, "b", "b"], ["a", "a", None, "a"]
    assert raw_agreement(first, second) == 0.5
    assert cohens_kappa(first, second) == cohens_kappa(["a", "b"], ["a", "a"]) == 0.0


def test_two_raters_without_a_figure():
    assert raw_agreement([], []) is None
    assert cohens_kappa([None, "a"], ["a", None]) is None
    # All in one category: agreeing by chance is certain.
    assert raw_agreement(["a", "a"], ["a", "a"]) == 1.0
    assert cohens_kappa(["a", "a"], ["a", "a"]) is None
    # Each always in another: never agreed, and by chance never would.
    assert cohens_kappa(["a", "a"], ["b", "b"]) == 0.0


def test_bad_ratings_of_two_raters_are_named():
    with pytest.raises(ValueError, match="got 2 and 1"):
        raw_agreement(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="got 1 and 2"):
        cohens_kappa(["a"], ["a", "b"])


# Krippendorff's alpha: published examples.

# Krippendorff 2011, examples A (binary: all levels give the same) and C (4 observers, missing
# ratings).
EXAMPLE_A = rows("0 1 0 0 0 0 0 0 1 0\n1 1 1 0 0 1 0 0 0 0")
EXAMPLE_C = rows(
    "1 2 3 3 2 1 4 1 2 . . .\n1 2 3 3 2 2 4 1 2 5 . 3\n"
    ". 3 3 3 2 3 4 2 2 5 1 .\n1 2 3 3 2 4 4 1 2 5 1 ."
)

# Hayes & Krippendorff 2007, table 1: 40 articles, 5 observers.
HAYES = rows(
    "1 1 2 . 0 0 1 1 2 2 . 0 1 3 1 1 2 1 1 0 0 0 2 0 1 0 0 1 1 1 1 2 2 3 2 2 2 2 2 1\n"
    "1 1 3 0 0 0 0 . 2 1 1 0 2 3 1 1 1 2 1 0 0 0 3 0 2 1 0 2 1 1 1 1 2 2 2 2 2 2 2 1\n"
    "2 0 3 0 0 0 2 2 2 1 0 0 2 2 1 1 2 3 0 0 1 . 3 0 . 1 0 1 2 2 0 2 . 2 2 3 2 . 2 1\n"
    ". 1 3 . . . . 0 . 1 0 0 2 2 . . . 3 1 . 1 0 3 0 2 1 1 2 2 . . 1 2 2 . . . 1 2 .\n"
    "2 . . 0 0 0 1 . 2 . . . . 3 1 1 2 . . 0 . 0 . . 2 . 0 . . 2 0 . 2 . 2 2 2 2 . 1"
)


@pytest.mark.parametrize(
    ("units", "published"), [(EXAMPLE_A, 0.095), (EXAMPLE_C, 0.849), (HAYES, 0.757)]
)
def test_alpha_of_published_examples(units, published):
    assert alpha(units).alpha == pytest.approx(published, abs=0.0005)


def test_alpha_counts_what_can_be_paired():
    found = alpha(EXAMPLE_C)
    # Unit 12 has one rating; of the 41 ratings 40 are left.
    assert (found.n_units, found.n_ratings) == (11, 40)


def slow_alpha(units):
    """By the coincidences, pair for pair, with the distance as the paper writes it."""
    units = [[r for r in unit if r is not None] for unit in units]
    units = [unit for unit in units if len(unit) > 1]
    ratings = sorted(itertools.chain(*units))
    within = sum(
        (a - b) ** 2 / (len(unit) - 1) for unit in units for a, b in itertools.permutations(unit, 2)
    )
    overall = sum((a - b) ** 2 for a, b in itertools.permutations(ratings, 2))
    return 1 - (len(ratings) - 1) * within / overall


def test_alpha_agrees_with_the_slow_way():
    rng = np.random.default_rng(4)
    for n_raters in (2, 3, 6):
        true = rng.integers(0, 5, (25, 1))
        given = np.where(rng.random((25, n_raters)) < 0.5, true, rng.integers(0, 5, (25, n_raters)))
        units = [
            [None if rng.random() < 0.25 else rating / 4 for rating in unit]
            for unit in given.tolist()
        ]
        assert alpha(units).alpha == pytest.approx(slow_alpha(units))


def test_alpha_of_two_raters_is_near_kappa_when_they_use_the_categories_alike():
    first, second = listed([[400, 50], [50, 500]])
    found = alpha(list(zip(first, second, strict=True))).alpha
    assert found == pytest.approx(cohens_kappa(first, second), abs=1e-3)


def test_order_of_raters_and_units_does_not_matter():
    turned = [unit[::-1] for unit in HAYES[::-1]]
    assert alpha(turned).alpha == pytest.approx(alpha(HAYES).alpha)


def test_alpha_without_a_figure():
    for units in ([], [[1, None], [None, 2]], [[1, 1], [1, 1, 1]]):
        found = alpha(units)
        assert (found.alpha, found.ci_low, found.ci_high) == (None, None, None)
        assert "fewer than two different" in found.method
    assert alpha([[1, 1], [2, 2]]).alpha == 1.0
    with pytest.raises(ValueError, match="must be finite.*nan"):
        alpha([[1.0, math.nan]])


# Its interval.


def rated(rng, shape, wrong):
    """Ratings 0 to 4, a share of them off by one or two."""
    true = rng.integers(0, 5, (*shape[:-1], 1))
    off = rng.choice([-2, -1, 1, 2], shape) * (rng.random(shape) < wrong)
    return np.clip(true + off, 0, 4)


def test_resampled_weights_are_resampled_units():
    """The interval by copying units out, for the same draws."""
    units = rated(np.random.default_rng(5), (60, 3), 0.3)
    counts, values = _category_counts(units.tolist())
    for weights in _resampled_weights(60, seed=2, n_resamples=5):
        for row in weights.astype(int):
            copied = [unit for unit, n in zip(units.tolist(), row, strict=True) for _ in range(n)]
            found = _alpha_of_each(row[None].astype(float), counts, values)
            assert found[0] == pytest.approx(slow_alpha(copied))
    without_first = next(_leave_one_out_weights(60))[0]
    found = _alpha_of_each(without_first[None], counts, values)
    assert found[0] == pytest.approx(slow_alpha(units[1:].tolist()))


@pytest.mark.parametrize(
    ("wrong", "n_raters"),
    [
        (0.3, 3),
        pytest.param(0.2, 2, marks=pytest.mark.slow),
        pytest.param(0.1, 2, marks=pytest.mark.slow),
    ],
)
def test_interval_covers(wrong, n_raters):
    rng = np.random.default_rng(6)
    counts, values = _category_counts(rated(rng, (100_000, n_raters), wrong).tolist())
    truth = _alpha_of_each(np.ones((1, len(counts))), counts, values)[0]
    held = 0
    for run in range(200):
        units = rated(rng, (MIN_UNITS, n_raters), wrong).tolist()
        found = alpha(units, seed=run, n_resamples=500)
        held += found.ci_low <= truth <= found.ci_high
    assert held / 200 >= 0.91


def test_interval_keeps_its_seed_and_holds_the_estimate():
    units = rated(np.random.default_rng(7), (80, 2), 0.2).tolist()
    found = alpha(units, seed=3)
    assert found == alpha(units, seed=3)
    assert found != alpha(units, seed=4)
    assert found.ci_low < found.alpha < found.ci_high <= 1
    assert found.method == "BCa bootstrap over 80 units, 200 resamples"


def test_no_interval_where_none_can_be_trusted():
    units = rated(np.random.default_rng(8), (80, 2), 0.2).tolist()
    assert alpha(units[:49]).ci_low is None
    assert "needs 50 units, got 49" in alpha(units[:49]).method
    # Without any disagreement every resample would say 1.
    perfect = alpha([[1, 1]] * 40 + [[2, 2]] * 40)
    assert (perfect.alpha, perfect.ci_low) == (1.0, None)
    assert "agree on every unit" in perfect.method
    # One unit with the other value: (1 - 1/60)**60 = 36% of the resamples lack it.
    single = alpha([[1, 1]] * 59 + [[1, 2]])
    assert single.ci_low is None and "of the resamples contain only one value" in single.method


def test_alpha_in_clusters_resamples_whole_clusters():
    rng = np.random.default_rng(4)
    first = rng.integers(0, 3, 60) / 2
    second = np.where(rng.random(60) < 0.7, first, rng.integers(0, 3, 60) / 2)
    units = [*zip(first.tolist(), second.tolist(), strict=True)]
    alone = alpha(units, n_resamples=2_000)
    same = alpha(units, clusters=range(60), n_resamples=2_000)
    assert (same.ci_low, same.ci_high) == (alone.ci_low, alone.ci_high)
    # Every unit three times says three times less than it seems to.
    thrice, labels = units * 3, [*range(60)] * 3
    narrow = alpha(thrice, n_resamples=2_000)
    honest = alpha(thrice, clusters=labels, n_resamples=2_000)
    assert honest.alpha == narrow.alpha and "over 60 clusters" in honest.method
    widths = [found.ci_high - found.ci_low for found in (alone, honest, narrow)]
    assert widths[1] == pytest.approx(widths[0], rel=0.05)
    assert widths[2] == pytest.approx(widths[0] / math.sqrt(3), rel=0.1)
    few = alpha(thrice, clusters=[label % 20 for label in labels])
    assert few.ci_low is None and few.method == "no interval: needs 50 clusters, got 20"
    # Units with one rating are left out, with their labels.
    more = alpha([(1.0, None), *thrice], clusters=["x", *labels], n_resamples=2_000)
    assert (more.n_units, more.ci_low) == (180, honest.ci_low)
    with pytest.raises(ValueError, match="180 units but 1 cluster labels"):
        alpha(thrice, clusters=["x"])

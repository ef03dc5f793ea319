"""The numbers, against values worked by hand, other implementations and simulations."""

import math
import subprocess
import sys

import numpy as np
import pytest
import scipy.stats
from statsmodels.api import OLS
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from plugin.compare import stats
from plugin.results import IntervalKind


def gains_like_scores(rng, n):
    """Bounded, skewed, about 45% zeros: partial credit won often and full credit lost rarely."""
    won = np.where(rng.random(n) < 0.4, rng.beta(1, 3, n), 0.0)
    return np.where(rng.random(n) < 0.1, -0.5 * rng.random(n), won)


# 0.9 * 0.4 * 1/4 won, 0.1 * 0.5 * 1/2 lost.
TRUE_MEAN_LIKE_SCORES = 0.9 * 0.4 * 0.25 - 0.1 * 0.5 * 0.5


def paired(gains, **options):
    return stats.paired_estimate(gains, **{"low": -1.0, "high": 1.0, "seed": 5, **options})


def coverage(draw, truth, n_runs, **options):
    """Shares of runs whose interval holds the truth, lies above it, and lies below it."""
    above = below = 0
    for run in range(n_runs):
        gains, clusters = draw(np.random.default_rng((run, 77)))
        found = paired(gains, clusters=clusters, seed=run, n_resamples=1_000, **options)
        above += found.ci_low > truth
        below += found.ci_high < truth
    return 1 - (above + below) / n_runs, above / n_runs, below / n_runs


# P-values.


@pytest.mark.parametrize(
    ("gains", "p_value"),
    [
        # Of the 8 sign patterns of 1, 2, 3 only +++ and --- sum to 6 or more in size.
        ([0.1, 0.2, 0.3], 2 / 8),
        # |3 - 1 + 2| = 4; the patterns' sums are 6, 4, 2, 0 in size, twice each.
        ([0.3, -0.1, 0.2], 4 / 8),
        # Zeros have no sign to flip.
        ([0.1, 0.0, 0.2, 0.0, 0.3], 2 / 8),
        ([0.4], 1.0),
        ([0.0, 0.0], 1.0),
    ],
)
def test_sign_flips_by_hand(gains, p_value):
    assert paired(gains).p_value == pytest.approx(p_value)


def test_sign_flips_do_not_stumble_over_rounding():
    # Tenths are not exact as floats, eighths are; the order of the sums is the same.
    gains = np.array([3, 1, -2, 4, 2, -1, 5, 1, 2, -3, 1, -4])
    assert paired(gains / 10).p_value == paired(gains / 8).p_value


def test_sign_flips_agree_with_scipy():
    gains = np.random.default_rng(2).uniform(-0.5, 0.9, 12)
    theirs = scipy.stats.permutation_test(
        (gains,), np.sum, permutation_type="samples", n_resamples=np.inf
    )
    found = paired(gains)
    assert found.p_value == pytest.approx(theirs.pvalue)
    assert "exact sign-flip" in found.method


def test_random_sign_flips_agree_with_scipy_and_use_the_plus_one_rule():
    gains = np.random.default_rng(3).normal(0.06, 0.2, 60)
    theirs = scipy.stats.permutation_test(
        (gains,), np.sum, permutation_type="samples", n_resamples=50_000, rng=1
    )
    found = paired(gains)
    assert 0.005 < theirs.pvalue < 0.2
    # Four standard errors of a share out of 9,999.
    assert found.p_value == pytest.approx(theirs.pvalue, abs=4 * math.sqrt(0.2 * 0.8 / 9_999))
    assert "9999 resamples" in found.method
    assert paired([0.5] * 60).p_value == 1 / 10_000


def test_clusters_are_flipped_as_a_whole():
    # Cluster sums 0.6 and 0.3: 2 of 4 patterns are as far out; flipping cases would give 2 of 16.
    found = paired([0.3, 0.3, 0.2, 0.1], clusters=["a", "a", "b", "b"])
    assert found.p_value == 2 / 4
    # A cluster whose gains cancel has no sign, even where floats do not cancel exactly.
    assert paired([0.1, 0.2, -0.3, 0.5], clusters=["a", "a", "a", "b"]).p_value == 1.0


def test_mcnemar_by_hand_and_by_statsmodels():
    gains = [1] * 9 + [-1] + [0] * 20
    found = paired(gains, binary=True)
    exact, half = 2 * (1 + 10) / 2**10, 10 / 2**10
    assert exact == pytest.approx(mcnemar([[12, 9], [1, 8]], exact=True).pvalue)
    assert found.p_value == pytest.approx(exact - half)
    assert "McNemar" in found.method
    assert paired([0, 0, 0], binary=True).p_value == 1.0


def test_mcnemar_is_not_used_with_clusters():
    assert "McNemar" not in paired([1, 1, 0], binary=True, clusters=["a", "a", "b"]).method


@pytest.mark.parametrize("n_runs", [200, pytest.param(2_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("shift", [0.0, 0.1])
def test_p_keeps_its_level_and_has_power(shift, n_runs):
    rng = np.random.default_rng(8)
    hits = sum(
        stats.paired_estimate(
            np.clip(rng.standard_t(3, 40) * 0.15 + shift, -1, 1), seed=run, n_resamples=500
        ).p_value
        <= 0.05
        for run in range(n_runs)
    )
    if shift:
        assert hits / n_runs > 0.6
    else:
        assert hits / n_runs <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / n_runs)
        assert hits / n_runs > 0.035 or n_runs < 1_000


def test_holm_by_hand():
    # Sorted: 4 x .005, 3 x .01, 2 x .03, and 1 x .04 raised to the one before.
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([0.7, 0.6]) == [1.0, 1.0]
    assert stats.holm([]) == []


def test_holm_agrees_with_statsmodels():
    p_values = np.random.default_rng(1).beta(0.3, 2, 25).tolist()
    assert stats.holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


# The bootstrap.


@pytest.mark.parametrize("clusters", [None, list(range(80))])
def test_bca_agrees_with_scipy(clusters):
    gains = gains_like_scores(np.random.default_rng(4), 80)
    # Widened for 80 cases: t is 1.99045, times sqrt(80 / 79) 2.00301: the normal at 95.482%.
    theirs = scipy.stats.bootstrap(
        (gains,), np.mean, n_resamples=50_000, confidence_level=0.95482, method="BCa", rng=11
    ).confidence_interval
    found = paired(gains, clusters=clusters, seed=12)
    assert (found.ci_low, found.ci_high) == pytest.approx((theirs.low, theirs.high), abs=3e-3)
    assert found.n_clusters is None  # clusters of one are no clusters


def test_bca_of_few_normal_gains_is_as_wide_as_the_t_interval():
    # Quantiles of a normal distribution, so neither skew nor bias; a plain bootstrap of 20 is 9%
    # narrower than t: sqrt(19 / 20) * 1.960 against 2.093.
    gains = 0.1 * scipy.stats.norm.ppf((np.arange(20) + 0.5) / 20)
    found = paired(gains, n_resamples=50_000)
    by_t = 2.0930 * gains.std(ddof=1) / math.sqrt(20)
    assert (found.ci_high - found.ci_low) / 2 == pytest.approx(by_t, rel=0.02)


def test_clusters_widen_the_interval_when_their_cases_agree():
    rng = np.random.default_rng(7)
    gains = np.repeat(rng.normal(0.1, 0.2, 40), 5) + rng.normal(0, 0.02, 200)
    clusters = np.repeat(np.arange(40), 5).tolist()
    alone, together = paired(gains), paired(gains, clusters=clusters)
    # Five copies of each: the standard error grows by about sqrt(5).
    ratio = (together.ci_high - together.ci_low) / (alone.ci_high - alone.ci_low)
    assert ratio == pytest.approx(math.sqrt(5), rel=0.1)


def test_spread_counts_clusters_as_statsmodels_does():
    rng = np.random.default_rng(9)
    labels = rng.integers(0, 30, 150)
    gains = rng.normal(0, 0.1, 150) + rng.normal(0, 0.2, 30)[labels]
    fit = OLS(gains, np.ones(150)).fit(cov_type="cluster", cov_kwds={"groups": labels})
    found = paired(gains, clusters=labels.tolist())
    assert found.sd / math.sqrt(150) == pytest.approx(fit.bse[0])
    assert paired(gains).sd == pytest.approx(gains.std(ddof=1))


def test_the_same_seed_gives_the_same_numbers():
    gains = gains_like_scores(np.random.default_rng(4), 80)
    assert paired(gains, seed=1) == paired(gains, seed=1)
    assert paired(gains, seed=1).ci_low != paired(gains, seed=2).ci_low


def test_sign_test_by_hand():
    # 2 x (1 + 10) of the 1,024 ways in which 10 coins fall.
    assert stats.sign_test_p(9, 1) == pytest.approx(22 / 1_024)
    assert stats.sign_test_p(1, 9) == stats.sign_test_p(9, 1)
    assert stats.sign_test_p(0, 0) == 1.0


# Few varying gains: the betting interval.


def capital(gains, mean, stakes=None):
    """Capital of the mixture of bets that the mean is higher, multiplied out unit by unit."""
    shares, bets = [0.4] + [0.1] * 6, [1, 0.95, 0.85, 0.7, 0.5, 0.3, 0.15]
    x, m = [(gain + 1) / 2 for gain in gains], (mean + 1) / 2
    stakes = stakes or [1] * len(x)
    return sum(
        share * math.prod(1 + bet * w * (value / m - 1) for value, w in zip(x, stakes, strict=True))
        for share, bet in zip(shares, bets, strict=True)
    )


@pytest.mark.parametrize(
    "gains", [[0.0] * 60, [0.5] * 30, [1.0] * 5 + [0.0] * 55, [1.0, -1.0, 0.3] + [0.0] * 40]
)
def test_betting_ends_where_the_capital_is_forty(gains):
    found = paired(gains)
    assert found.interval_kind is IntervalKind.BETTING
    assert capital(gains, found.ci_low) == pytest.approx(2 / 0.05, rel=1e-6)
    assert capital([-gain for gain in gains], -found.ci_high) == pytest.approx(40, rel=1e-6)
    assert found.ci_low < found.mean < found.ci_high


@pytest.mark.parametrize(
    ("sizes", "means"),
    [([1, 2, 4, 8] * 6, [0.5] + [0.0] * 22 + [1.0]), ([8] * 15 + [1] * 9, [0.8] * 15 + [-1.0] * 9)],
)
def test_betting_on_clusters_stakes_their_share_of_the_largest(sizes, means):
    clusters = np.repeat(np.arange(24), sizes).tolist()
    found = paired(np.repeat(means, sizes), clusters=clusters)
    assert found.mean == pytest.approx(np.average(means, weights=sizes))
    stakes = [size / 8 for size in sizes]
    assert capital(means, found.ci_low, stakes) == pytest.approx(40)
    assert capital([-mean for mean in means], -found.ci_high, stakes) == pytest.approx(40)


def test_no_change_is_an_interval_around_zero_that_narrows():
    widths = []
    for n in (20, 60, 200, 2_000):
        found = paired([0.0] * n)
        assert (found.mean, found.sd, found.p_value, found.n_nonzero) == (0.0, 0.0, 1.0, 0)
        assert found.ci_low == pytest.approx(-found.ci_high)
        widths.append(found.ci_high)
    assert widths == sorted(widths, reverse=True)
    # At 60 equal pairs a share of 1 - 0.05**(1/60) may still differ by the whole range (Clopper &
    # Pearson 1934): an honest interval is wider than that, and need not be twice as wide.
    assert 1 - 0.05 ** (1 / 60) < widths[1] < 2 * (1 - 0.05 ** (1 / 60))
    assert widths[3] == pytest.approx(widths[2] / 10, rel=0.1)


def test_betting_stays_within_the_range_and_turns_with_the_sign():
    gains = [1.0] * 8
    found, turned = paired(gains), paired([-gain for gain in gains])
    assert found.ci_high == pytest.approx(1.0)
    assert (turned.ci_low, turned.ci_high) == pytest.approx((-found.ci_high, -found.ci_low))


def test_bootstrap_starts_at_ten_varying_gains():
    values = (0.05 * np.arange(1, 11)).tolist()
    assert paired(values[:9] + [0.0] * 51).interval_kind is IntervalKind.BETTING
    assert paired(values + [0.0] * 50).interval_kind is IntervalKind.BOOTSTRAP
    # All but nine equal is as little to resample, zero or not.
    assert paired(values[:9] + [0.7] * 51).interval_kind is IntervalKind.BETTING


def test_few_varying_gains_without_bounds_have_no_interval():
    found = stats.paired_estimate([0.0] * 60, seed=1)
    assert (found.ci_low, found.ci_high, found.mean) == (None, None, 0.0)
    assert (found.interval_kind, "no bounds" in found.why_no_interval) == (IntervalKind.NONE, True)


def test_betting_covers_clusters_of_unequal_sizes():
    sizes = np.tile([1, 2, 5, 10], 10)

    def draw(rng):
        gains = np.repeat(np.where(rng.random(40) < 0.1, 1.0, 0.0), sizes)
        return gains, np.repeat(np.arange(40), sizes).tolist()

    def few(rng):
        gains, clusters = draw(rng)
        return np.where(np.array(clusters) % 5 == 0, gains, 0.0), clusters

    # Only every fifth cluster can gain: a tenth of 8 clusters' cases.
    truth = 0.1 * sizes[::5].sum() / sizes.sum()
    share, _, _ = coverage(few, truth, 500)
    assert share >= 0.95


@pytest.mark.parametrize("share", [0.02, 0.07, 0.12])
@pytest.mark.parametrize("size", [1.0, -0.5])
def test_betting_covers_few_nonzero_gains(share, size):
    def draw(rng):
        return np.where(rng.random(60) < share, size, 0.0), None

    found, _, _ = coverage(draw, share * size, 500)
    assert found >= 0.95


# Coverage of the bootstrap.


@pytest.mark.parametrize(
    ("n", "n_runs", "least"),
    [
        (60, 150, 0.9),
        pytest.param(60, 1_500, 0.92, marks=pytest.mark.slow),
        pytest.param(200, 1_500, 0.93, marks=pytest.mark.slow),
    ],
)
def test_bca_covers_skewed_gains_with_many_zeros(n, n_runs, least):
    share, above, below = coverage(
        lambda rng: (gains_like_scores(rng, n), None), TRUE_MEAN_LIKE_SCORES, n_runs
    )
    assert least <= share <= 0.975
    assert max(above, below) <= 0.05


@pytest.mark.parametrize("n_runs", [150, pytest.param(1_000, marks=pytest.mark.slow)])
def test_forty_clusters_are_covered(n_runs):
    sizes = np.tile([1, 3, 5, 7], 10)
    clusters = np.repeat(np.arange(40), sizes).tolist()

    def draw(rng):
        shared = np.repeat(rng.uniform(-0.3, 0.5, 40), sizes)
        return np.clip(shared + rng.normal(0, 0.1, len(shared)), -1, 1), clusters

    share, _, _ = coverage(draw, 0.1, n_runs)
    assert 0.92 <= share <= 0.975
    # Taking the cases for independent would be far too sure.
    naive, _, _ = coverage(lambda rng: (draw(rng)[0], None), 0.1, min(n_runs, 300))
    assert naive < 0.85


# A single mean.


def test_mean_interval_of_scores():
    scores = np.random.default_rng(5).beta(2, 1, 100)
    found = stats.mean_interval(scores, low=0.0, high=1.0, seed=3)
    theirs = scipy.stats.bootstrap((scores,), np.mean, method="BCa", rng=3).confidence_interval
    assert found.mean == pytest.approx(scores.mean())
    assert (found.ci_low, found.ci_high) == pytest.approx((theirs.low, theirs.high), abs=5e-3)


def test_mean_interval_of_equal_scores_is_not_a_point():
    found = stats.mean_interval([1.0] * 60, low=0.0, high=1.0, seed=3)
    assert (found.mean, found.ci_high) == (1.0, 1.0)
    # The share that may still be 0: at least Clopper and Pearson's 0.05 ** (1 / 60) are 1.
    assert 0.9 < found.ci_low < 0.05 ** (1 / 60)


# Power.


@pytest.mark.parametrize(("sd", "effect"), [(0.3, 0.05), (0.3, 0.5), (1.0, -0.1), (0.1, 0.2)])
def test_n_to_detect_agrees_with_statsmodels(sd, effect):
    theirs = TTestPower().solve_power(effect_size=abs(effect) / sd, power=0.8, alpha=0.05)
    assert stats.n_to_detect(sd, effect) == max(2, math.ceil(float(np.squeeze(theirs))))


def test_n_to_detect_by_hand():
    # Normal approximation: (1.95996 + 0.84162)**2 * (0.3 / 0.05)**2 = 282.6; t needs two more.
    assert stats.n_to_detect(0.3, 0.05) == 285
    # 7.84888 * 3e6 ** 2: so many that the t test is the normal one.
    assert stats.n_to_detect(0.3, 1e-7) == pytest.approx(7.84888 * 9e12, rel=1e-5)


@pytest.mark.parametrize("n", [2, 5, 60, 1_000, 100_000])
def test_smallest_detectable_is_the_inverse(n):
    effect = stats.smallest_detectable(0.3, n)
    assert stats.n_to_detect(0.3, effect * (1 + 1e-6)) == n
    assert stats.n_to_detect(0.3, effect * (1 - 1e-4)) > n


def test_power_is_unknown_without_spread():
    for sd in (0.0, math.nan):
        assert stats.n_to_detect(sd, 0.05) is None
        assert stats.smallest_detectable(sd, 60) is None
    assert stats.n_to_detect(0.3, 0.0) is None
    assert stats.smallest_detectable(0.3, 1) is None


# The deciding rule.


@pytest.mark.parametrize(
    ("interval", "p_adjusted", "outcome"),
    [
        ((0.01, 0.20), 0.049, "better"),
        ((0.01, 0.04), 0.049, "better"),
        ((-0.20, -0.01), 0.01, "worse"),
        ((0.01, 0.20), 0.05, "can't tell"),
        ((0.0, 0.20), 0.01, "can't tell"),
        ((0.01, 0.04), 0.2, "equivalent"),
        ((-0.05, 0.05), 1.0, "equivalent"),
        ((-0.051, 0.04), 1.0, "can't tell"),
        ((None, None), 0.001, "can't tell"),
        ((0.01, 0.2), None, "can't tell"),
    ],
)
def test_deciding_rule(interval, p_adjusted, outcome):
    assert stats.decide_outcome(interval, p_adjusted, 0.05) == outcome


# Bad and little input.


def test_no_data_and_one_case():
    none = paired([])
    assert (none.n, none.mean, none.sd, none.ci_low, none.p_value) == (0, None, None, None, None)
    assert "no interval" in none.method
    one = paired([0.4])
    assert (one.n, one.mean, one.sd, one.ci_low, one.p_value) == (1, 0.4, None, None, 1.0)
    assert stats.mean_interval([], low=0, high=1, seed=1).mean is None


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1.5])
def test_bad_values_are_refused_and_named(bad):
    with pytest.raises(ValueError, match=f"every gain must be finite.*{bad} at index 1"):
        paired([0.1, bad])
    with pytest.raises(ValueError, match="every score must be finite"):
        stats.mean_interval([bad], low=0.0, high=1.0, seed=1)
    with pytest.raises(ValueError, match="every p-value"):
        stats.holm([0.1, bad])


def test_shapes_are_checked():
    with pytest.raises(ValueError, match="2 values but 1 cluster labels"):
        paired([0.1, 0.2], clusters=["a"])
    with pytest.raises(ValueError, match="flat"):
        paired([[0.1, 0.2]])
    with pytest.raises(ValueError, match="-1, 0 or 1"):
        paired([0.5], binary=True)


def test_rounding_beyond_the_bounds_is_forgiven():
    assert paired([1.0 + 1e-12] * 12).mean == 1.0


def test_import_leaves_scipy_alone():
    code = "import sys, plugin.compare.stats; sys.exit('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

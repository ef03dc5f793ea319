"""Human labels helped by a judge: against plain arithmetic, ppi-python's numbers, simulations."""

import itertools
import math
import re
import statistics

import numpy as np
import pytest
import scipy.stats

from plugin.compare import stats
from plugin.trust.corrected_gain import _JudgeUnused, _tune_estimate, correct_gain

N_CASES = 300


def case(judge, shape=(), n=N_CASES):
    """Human and judge's gains of one kind, of shape (*shape, n)."""

    def draw(rng):
        size = (*shape, n)
        human = np.clip(rng.normal(0.1, 0.4, size), -1, 1)
        if judge == "sparse":
            human = rng.choice([-1.0, 0.0, 1.0], size, p=[0.1, 0.7, 0.2])
            other = np.clip(rng.normal(0, 0.5, size), -1, 1)
            return human, np.where(rng.random(size) < 0.8, human, other)
        slope, noise = {"good": (0.7, 0.15), "middling": (0.5, 0.3), "useless": (0.0, 0.3)}[judge]
        return human, np.clip(slope * human + rng.normal(0.1, noise, size), -1, 1)

    return draw


def corrected(judged, human, n_labelled, **options):
    given = [gain if place < n_labelled else None for place, gain in enumerate(human)]
    return correct_gain(judged, given, **{"seed": 3, **options})


# The numbers.


def rounded():
    rng = np.random.default_rng(11)
    human = np.clip(rng.normal(0.1, 0.3, 240), -1, 1).round(3)
    return human, np.clip(0.7 * human + rng.normal(0.1, 0.15, 240), -1, 1).round(3)


def test_agrees_with_plain_arithmetic():
    human, judged = (column.tolist() for column in rounded())
    y, f, elsewhere = human[:60], judged[:60], judged[60:]
    found = corrected(judged, human, 60)

    def estimate(lam):
        return statistics.fmean(y) - lam * statistics.fmean(f) + lam * statistics.fmean(elsewhere)

    lam = statistics.covariance(y, f) / statistics.variance(judged) * 180 / 240
    residuals = [a - lam * b for a, b in zip(y, f, strict=True)]
    here = statistics.pvariance(residuals) * 60 / 58 / 60
    there = lam**2 * statistics.variance(elsewhere) / 180
    df = (here + there) ** 2 / (here**2 / 58 + there**2 / 179)
    half = scipy.stats.t.ppf(0.975, df) * math.sqrt(here + there)
    assert found.lambda_ == pytest.approx(lam)
    assert found.estimate == pytest.approx(estimate(lam))
    assert (found.ci_low, found.ci_high) == pytest.approx(
        (estimate(lam) - half, estimate(lam) + half)
    )
    assert (found.n_labelled, found.n_all, found.used_judge) == (60, 240, True)


def test_agrees_with_ppi_python():
    # ppi-python 0.2.3, ppi_mean_pointestimate and ppi_mean_ci (alpha=0.05) of these gains.
    human, judged = rounded()
    found = corrected(judged, human, 60)
    at_half, at_one = 0.09034444, 0.09830556
    line = at_half + (found.lambda_ - 0.5) / 0.5 * (at_one - at_half)
    assert found.estimate == pytest.approx(line, abs=1e-7)
    # Its lambda divides the covariance by 60, not 59.
    theirs = at_half + (found.lambda_ * 59 / 60 - 0.5) / 0.5 * (at_one - at_half)
    assert theirs == pytest.approx(0.09103791, abs=1e-7)
    # Its quantile is the normal's and its variances have no degrees of freedom taken off.
    by_normal = (0.14211714 - 0.03995867) / 2
    ours = (found.ci_high - found.ci_low) / 2
    assert ours == pytest.approx(by_normal * 1.9935 / 1.96 * math.sqrt(60 / 58), rel=0.01)


def test_lambda_makes_the_variance_smallest():
    human, judged = rounded()
    y, f = human[:60], judged[:60]
    lams = np.linspace(0, 1, 2_001)
    spread = judged.var(ddof=1)
    # Var(y) - 2 lambda Cov + lambda^2 Var(f), and Var(f) of all cases for either part.
    variances = (-2 * lams * np.cov(y, f)[0, 1] + lams**2 * spread) / 60 + lams**2 * spread / 180
    found = corrected(judged, human, 60).lambda_
    assert found == pytest.approx(lams[variances.argmin()], abs=1e-3)


def test_taking_the_judge_over_all_cases_is_the_same():
    human, judged = rounded()
    found = corrected(judged, human, 60)
    more = found.lambda_ * 240 / 180
    over_all = human[:60].mean() - more * (judged[:60].mean() - judged.mean())
    assert found.estimate == pytest.approx(over_all)


def test_which_cases_are_labelled_is_read_from_their_place():
    human, judged = rounded()
    order = np.random.default_rng(1).permutation(240)
    given = np.array([*human[:60], *[None] * 180], dtype=object)
    found = correct_gain(judged[order], given[order].tolist(), seed=1)
    assert found.estimate == pytest.approx(corrected(judged, human, 60).estimate)


# What it promises.


@pytest.mark.parametrize("judge", ["good", "middling"])
@pytest.mark.parametrize("n_labelled", [30, 50, 100])
def test_covers_what_humans_would_say(judge, n_labelled):
    human, judged = case(judge, (2_000,))(np.random.default_rng(n_labelled))
    inside, widths, errors = [], [], []
    for y, f in zip(human, judged, strict=True):
        found = _tune_estimate(y[:n_labelled], f[:n_labelled], f[n_labelled:])
        if isinstance(found, _JudgeUnused):
            continue
        inside.append(abs(found.estimate - 0.1) <= found.half_width)
        widths.append(found.half_width)
        errors.append(found.estimate - 0.1)
    assert len(inside) > 1_600
    # Three standard errors of a share of 1,600 are 1.6%.
    assert 0.93 <= np.mean(inside) <= 0.97
    # On average the judge, whose mean gain is another, moves nothing.
    assert abs(np.mean(errors)) < 4 * np.std(errors) / math.sqrt(len(errors))
    by_labels = 1.96 * 0.4 / math.sqrt(n_labelled)
    assert np.mean(widths) < by_labels * (0.75 if judge == "good" else 0.96)


@pytest.mark.parametrize(
    ("judge", "n_labelled"), [("sparse", 50), pytest.param("useless", 50, marks=pytest.mark.slow)]
)
def test_covers_with_labels_alone_counted(judge, n_labelled):
    human, judged = case(judge, (400,))(np.random.default_rng(6))
    inside = [
        found.ci_low <= 0.1 <= found.ci_high
        for y, f in zip(human, judged, strict=True)
        for found in [corrected(f, y, n_labelled)]
    ]
    assert np.mean(inside) >= 0.92


def test_a_useless_judge_is_hardly_ever_used_and_never_makes_it_wider():
    human, judged = case("useless", (2_000,))(np.random.default_rng(7))
    used = 0
    for y, f in zip(human, judged, strict=True):
        found = _tune_estimate(y[:50], f[:50], f[50:])
        if not isinstance(found, _JudgeUnused):
            used += 1
            assert found.half_width <= 0.95 * scipy.stats.t.ppf(0.975, 49) * scipy.stats.sem(y[:50])
    assert used / 2_000 <= 0.02


def test_a_biased_judge_is_corrected():
    human, judged = case("good", n=2_000)(np.random.default_rng(8))
    found = corrected(np.clip(judged + 0.3, -1, 1), human, 200)
    assert found.used_judge and judged.mean() + 0.3 > found.ci_high
    assert found.ci_low < human.mean() < found.ci_high


# Labels alone.


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda y, f: -f, "do not correlate"),
        (lambda y, f: 0 * f + 0.3, "every case the same gain"),
        (lambda y, f: y, "differs from only 0 of them"),
        (lambda y, f: np.where(np.arange(len(y)) % 7 == 0, 0.77, y), "differs from only 9 of them"),
        (lambda y, f: np.random.default_rng(1).permutation(y), "times as wide|do not correlate"),
    ],
)
def test_without_a_useful_judge_the_labels_stand_alone(change, why):
    human, judged = case("good")(np.random.default_rng(9))
    found = corrected(change(human, judged), human, 60)
    alone = stats.mean_interval(human[:60].tolist(), low=-1.0, high=1.0, seed=3)
    assert (found.estimate, found.ci_low, found.ci_high) == (
        alone.mean,
        alone.ci_low,
        alone.ci_high,
    )
    assert (found.lambda_, found.used_judge, found.n_labelled, found.n_all) == (0.0, False, 60, 300)
    assert re.search(why, found.method)
    assert alone.method in found.method


def test_all_cases_labelled_need_no_judge():
    human, judged = case("good")(np.random.default_rng(9))
    found = corrected(judged, human, 300)
    assert not found.used_judge and "fewer than 2 cases are without a label" in found.method
    assert found.estimate == pytest.approx(human.mean())


def test_few_labels_have_no_interval():
    human, judged = case("good")(np.random.default_rng(10))
    found = corrected(judged, human, 29)
    assert found.estimate == pytest.approx(human[:29].mean())
    assert (found.ci_low, found.ci_high, found.used_judge) == (None, None, False)
    assert "needs 30 labels, got 29" in found.method
    assert corrected(judged, human, 30).used_judge
    none = corrected(judged, human, 0)
    assert (none.estimate, none.ci_low, none.n_labelled) == (None, None, 0)
    assert correct_gain([], [], seed=1).estimate is None


def test_interval_stays_within_the_range():
    human = np.where(np.arange(300) == 7, -1.0, 1.0)
    judged = human - np.copysign(0.05, human) * np.random.default_rng(12).random(300)
    # The only -1 of 300 is among the 40 labelled: the correction leads up to the bound.
    found = corrected(judged, human, 40)
    assert found.used_judge and found.ci_low < found.estimate <= 1.0 == found.ci_high
    turned = corrected(-judged, -human, 40)
    assert (turned.ci_low, turned.ci_high) == pytest.approx((-1.0, -found.ci_low))


def test_bad_gains_are_refused_and_named():
    with pytest.raises(ValueError, match="got 2 cases and 1"):
        correct_gain([0.1, 0.2], [0.1], seed=1)
    with pytest.raises(ValueError, match="every judge's gain must be finite.*1.5 at index 1"):
        correct_gain([0.1, 1.5], [0.1, None], seed=1)
    with pytest.raises(ValueError, match="every human gain must be finite.*nan at index 0"):
        correct_gain([0.1, 0.5], [None, math.nan], seed=1)


def test_a_gain_that_is_not_possible_is_never_given() -> None:
    # Humans see the largest gain on 36 of 40, and the judge likes all other cases better by 0.3.
    truth = np.repeat([1.0, 0.0], [36, 4])
    judged = [*(truth - 0.4), *(np.repeat([1.0, 0.0], [180, 20]) - 0.1)]
    human = [*truth.tolist(), *[None] * 200]
    found = correct_gain(judged, human, seed=0)
    assert not found.used_judge
    assert found.method.startswith("labels alone: with the judge's help the gain would be one that")
    assert found.estimate == pytest.approx(truth.mean())
    assert found.ci_low is not None and found.ci_high is not None
    assert -1 <= found.ci_low < found.estimate < found.ci_high <= 1


# Clusters.


def clustered(n_clusters=12, n_labelled=40, seed=3):
    """Human and judge's gains of clusters of 6 to 9 cases, and which are labelled."""
    rng = np.random.default_rng(seed)
    places = np.repeat(np.arange(n_clusters), np.arange(n_clusters) % 4 + 6)
    human = np.clip(
        rng.normal(0.1, 0.3, len(places)) + rng.normal(0, 0.2, n_clusters)[places], -1, 1
    )
    judged = np.clip(0.8 * human + rng.normal(0.1, 0.1, len(places)), -1, 1)
    labelled = np.zeros(len(places), dtype=bool)
    labelled[rng.choice(len(places), n_labelled, replace=False)] = True
    return human, judged, places, labelled


def given_labels(human, labelled):
    return [gain if known else None for gain, known in zip(human.tolist(), labelled, strict=True)]


def test_clusters_of_one_case_are_no_clusters():
    human, judged = rounded()
    given = given_labels(human, np.arange(240) < 60)
    assert correct_gain(judged, given, seed=3, clusters=range(240)) == correct_gain(
        judged, given, seed=3
    )


def test_in_clusters_agrees_with_plain_loops_over_all_sign_flips():
    human, judged, places, labelled = clustered()
    found = correct_gain(
        judged, given_labels(human, labelled), clusters=places.tolist(), seed=1, low=-1, high=1
    )
    assert found.used_judge and found.method.endswith("on 50 other cases in 12 clusters")
    n, n_more, mu = 40, 50, judged.mean()
    # How far each cluster pulls the human mean, and the judge's means apart.
    own, apart = [], []
    for cluster in range(12):
        here = places == cluster
        own.append(sum(human[here & labelled] - human[labelled].mean()) / n)
        apart.append(
            sum(judged[here & labelled] - mu) / n - sum(judged[here & ~labelled] - mu) / n_more
        )
    lam = sum(a * b for a, b in zip(own, apart, strict=True)) / sum(b * b for b in apart)
    assert found.lambda_ == pytest.approx(lam) and 0 < lam < 1
    y, f, elsewhere = human[labelled], judged[labelled], judged[~labelled]
    assert found.estimate == pytest.approx(y.mean() - lam * (f.mean() - elsewhere.mean()))

    def p_value(mean):
        """The share of all 4,096 flips that lead at least as far from this mean as the data."""
        pulls = np.array(
            [sum(human[(places == c) & labelled] - mean) / n - lam * apart[c] for c in range(12)]
        )
        flips = np.array(list(itertools.product((1, -1), repeat=12)))
        return np.mean(np.abs(flips @ pulls) >= abs(pulls.sum()) * (1 - 1e-9))

    for end, inwards in ((found.ci_low, 1e-4), (found.ci_high, -1e-4)):
        assert p_value(end + inwards) >= 0.05 > p_value(end - inwards)


def test_few_clusters_leave_the_labels_alone():
    human, judged, places, labelled = clustered()
    given = given_labels(human, labelled)
    found = correct_gain(judged, given, clusters=np.minimum(places, 7).tolist(), seed=1)
    alone = stats.mean_interval(
        human[labelled].tolist(), clusters=np.minimum(places, 7)[labelled].tolist(),
        low=-1, high=1, seed=1,
    )  # fmt: skip
    assert (found.used_judge, found.estimate, found.ci_low) == (False, alone.mean, alone.ci_low)
    assert re.search(r"the labels are worth only \d\.\d clusters, needs 10", found.method)
    with pytest.raises(ValueError, match="90 cases but 2 cluster labels"):
        correct_gain(judged, given, clusters=["a", "b"], seed=1)


def test_in_clusters_a_useless_judge_is_not_used():
    human, judged, places, labelled = clustered()
    given, why = given_labels(human, labelled), []
    for seed in range(5):
        shuffled = np.random.default_rng(seed).permutation(judged)
        found = correct_gain(shuffled, given, clusters=places.tolist(), seed=1)
        assert not found.used_judge
        why += re.findall("times as wide|do not correlate", found.method)
    assert len(why) == 5 and set(why) == {"times as wide", "do not correlate"}


def wins(latent, cut):
    """Win values less one half: a tie where the two are closer than the cut."""
    return np.where(latent > cut, 0.5, np.where(latent < -cut, -0.5, 0.0))


WORLDS = {"usual": (0.2, 0.4), "one-sided": (1.8, 0.2), "mostly ties": (0.1, 1.5)}
"""Mean of the latent difference, and the cut."""


def covered(world, judge, sizes, n_labelled, n_runs, seed, n_cases=300):
    """How many of the intervals of win values hold the mean of all the cases that could be."""
    mean, cut = WORLDS[world]
    rng, inside = np.random.default_rng(seed), []
    for _ in range(n_runs):
        drawn = rng.choice(sizes, n_cases)
        places = np.repeat(np.arange(n_cases), drawn)[:n_cases]
        shared = rng.normal(0, 0.7, n_cases)[places] if max(sizes) > 1 else np.zeros(n_cases)
        latent = mean + shared + rng.normal(0, 1, n_cases)
        slope, noise = {"good": (1.0, 0.5), "middling": (0.6, 1.0), "useless": (0.0, 1.0)}[judge]
        judged = wins(slope * latent + 0.6 + rng.normal(0, noise, n_cases), cut)
        labelled = np.zeros(n_cases, dtype=bool)
        labelled[rng.choice(n_cases, n_labelled, replace=False)] = True
        found = correct_gain(
            judged, given_labels(wins(latent, cut), labelled),
            clusters=places.tolist(), low=-0.5, high=0.5, seed=1,
        )  # fmt: skip
        sd = math.sqrt(1.49 if max(sizes) > 1 else 1)
        above, below = ((cut - s * mean) / sd for s in (1, -1))
        truth = (scipy.stats.norm.sf(above) - scipy.stats.norm.sf(below)) / 2
        inside.append(found.ci_low <= truth <= found.ci_high)
    return np.mean(inside)


UNEVEN = (1, 1, 1, 2, 3, 12)


def test_covers_win_values_in_uneven_clusters(monkeypatch):
    monkeypatch.setattr("plugin.trust.corrected_gain.N_FLIPS", 500)
    # Three standard errors of a share of 200 near 95% are 4.6%.
    assert covered("usual", "good", UNEVEN, 60, 200, seed=5) >= 0.904
    assert covered("usual", "useless", UNEVEN, 60, 200, seed=6) >= 0.904


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(1,), UNEVEN, (4,)], ids=["single", "uneven", "fours"])
@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("judge", ["good", "middling", "useless"])
def test_covers_win_values_of_any_shape(monkeypatch, world, judge, sizes):
    monkeypatch.setattr("plugin.trust.corrected_gain.N_FLIPS", 1_000)
    for n_labelled in (30, 60, 120):
        share = covered(world, judge, sizes, n_labelled, 250, seed=n_labelled)
        # Three standard errors of a share of 250 near 95% are 4.1%.
        assert share >= 0.90, (n_labelled, share)

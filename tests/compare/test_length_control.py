"""The win rate at equal length: worked by hand, on lengths like real ones, and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import expit, logit, ndtr

from plugin.compare.length_control import (
    BOLD,
    HEADERS,
    LENGTH,
    StyleCounts,
    count_style,
    length_controlled,
    style_controlled,
)


def marks(lists, bold, headers=0):
    return StyleCounts(headers, int(lists), int(bold))


def with_ties(chances, tie, uniform):
    """Outcomes with these means, of which a share of at most `tie` are ties."""
    ties = tie * 2 * np.minimum(chances, 1 - chances)
    wins = chances - ties / 2
    return np.where(uniform < wins, 1.0, np.where(uniform < wins + ties, 0.5, 0.0))


def draw_outcomes(intercept, slope, tie, rng, mean=150.0, n=200):
    """Differences in length with spread 300, and outcomes that follow the model."""
    differences = rng.normal(mean, 300.0, n)
    chances = expit(intercept + slope * np.tanh(differences / 300.0))
    return differences, with_ties(chances, tie, rng.random(n))


def lengths_like_real_ones(n=300, seed=20):
    """Like the answers of a preference-tuned model: 94% are longer, a few much longer."""
    rng = np.random.default_rng(seed)
    longer = rng.gamma(2.6, 400.0, n) + 1
    return np.where(np.arange(n) % 50 < 3, -rng.gamma(1.0, 150.0, n) - 1, longer)


def test_two_lengths_by_hand():
    """100 longer answers win 80 times, 100 shorter ones 40 times.

    With two lengths the fit is exact: a + b = logit 0.8, a - b = logit 0.4 (b for the scaled
    length), so a is the mean of both, which the penalty hardly moves.
    """
    differences = [100.0] * 100 + [-100.0] * 100
    values = [1.0] * 80 + [0.0] * 20 + [1.0] * 40 + [0.0] * 60
    found = length_controlled(values, differences, seed=1)
    assert found.raw_rate == 0.6
    assert found.rate == pytest.approx(expit((logit(0.8) + logit(0.4)) / 2), abs=1e-3)
    assert found.rate == pytest.approx(0.6202, abs=1e-3)
    assert found.ci_low < 0.6 < found.ci_high
    (effect,) = found.effects
    assert (effect.name, effect.spread) == (LENGTH, pytest.approx(100.0, rel=0.01))
    assert effect.ci_low > 0


def test_equal_lengths_leave_the_win_rate_as_it_is():
    values = [1.0] * 30 + [0.0] * 20 + [0.5] * 10
    found = length_controlled(values, [0.0] * 60, seed=1)
    assert found.rate == pytest.approx(35 / 60, abs=1e-3)
    assert found.effects[0].log_odds == 0.0


def test_a_judge_that_always_prefers_the_longer_answer_gives_no_rate():
    lengths = lengths_like_real_ones()
    assert (lengths > 0).mean() == pytest.approx(0.94)
    found = length_controlled((lengths > 0).astype(float), lengths, seed=1)
    assert found.raw_rate == pytest.approx(0.94)
    assert (found.rate, found.ci_low, found.ci_high, found.effects) == (None, None, None, ())
    assert found.is_separated
    assert found.why_no_rate == (
        "separated by length: a limit on the difference predicts all decided cases"
    )


@pytest.mark.parametrize("prefer_longer", [True, False])
def test_a_few_exceptions_do_not_save_a_judge_that_follows_length(prefer_longer):
    lengths = lengths_like_real_ones()
    values = ((lengths > 0) == prefer_longer).astype(float)
    values[[5, 17, 31]] = 1 - values[[5, 17, 31]]
    found = length_controlled(values, lengths, seed=1)
    assert found.is_separated and found.why_no_rate.endswith("all decided cases but 3")


def test_exceptions_of_one_cluster_are_one():
    lengths = lengths_like_real_ones()
    values = (lengths > 0).astype(float)
    values[5:10] = 0.0
    alone = length_controlled(values, lengths, seed=1)
    together = ["x" if 5 <= place < 10 else str(place) for place in range(300)]
    found = length_controlled(values, lengths, clusters=together, seed=1)
    assert not alone.is_separated
    assert found.why_no_rate.endswith("all decided clusters but 1")


def test_a_few_losses_of_the_shortest_do_not_separate():
    lengths, values = np.linspace(-500, 700, 200), np.ones(200)
    values[[0, 1, 2, 60, 110, 160]] = 0.0  # a limit predicts half of the six losses
    found = length_controlled(values, lengths, seed=1)
    assert found.rate is not None and not found.is_separated


def test_a_judge_that_follows_length_nine_times_in_ten_is_seen_through():
    lengths, rng = lengths_like_real_ones(), np.random.default_rng(21)
    follows = rng.random(300) < 0.9
    found = length_controlled(((lengths > 0) == follows).astype(float), lengths, seed=1)
    assert found.raw_rate > 0.8
    assert 0.45 < found.rate < 0.65
    assert found.ci_low < 0.5 < found.ci_high


def test_a_judge_that_tosses_a_coin_is_at_one_half():
    lengths, rng = lengths_like_real_ones(), np.random.default_rng(22)
    found = length_controlled(rng.integers(0, 2, 300).astype(float), lengths, seed=1)
    assert found.ci_low < 0.5 < found.ci_high
    assert found.ci_high - found.ci_low < 0.4


def test_a_variant_that_wins_at_any_length_has_a_high_rate():
    """That outcomes hardly differ is not the lengths' doing."""
    lengths = np.linspace(-500, 700, 200)
    values = np.ones(200)
    values[::40] = 0.0
    found = length_controlled(values, lengths, seed=1)
    assert found.rate == pytest.approx(0.975, abs=0.01)
    assert found.ci_low is None
    assert found.why_no_interval == "no interval: too few cases differ in outcome"


def test_answers_of_equal_length_save_a_judge_that_follows_length_otherwise():
    """120 equal lengths, of which the variant wins 90, say what happens at equal length."""
    lengths = [0.0] * 120 + [float(place) for place in range(1, 41)] * 2
    lengths[160:] = [-length for length in lengths[160:]]
    values = [1.0] * 90 + [0.0] * 30 + [1.0] * 40 + [0.0] * 40
    found = length_controlled(values, lengths, seed=1)
    assert found.rate == pytest.approx(0.75, abs=0.02)


@pytest.mark.parametrize("sign, side", [(1, "shorter"), (-1, "longer")])
def test_lengths_that_hardly_overlap_give_no_rate(sign, side):
    rng = np.random.default_rng(23)
    lengths = sign * np.where(np.arange(200) < 9, -50.0, 100.0 + rng.integers(0, 900, 200))
    found = length_controlled(rng.integers(0, 2, 200).astype(float), lengths, seed=1)
    assert found.is_separated
    assert found.why_no_rate == (
        f"separated by length: the variant's answer is {side} or equal in only 9 cases; at least "
        "10 are needed"
    )


def test_overlap_and_separation_are_counted_in_clusters():
    rng = np.random.default_rng(24)
    lengths = np.where(np.arange(200) < 40, -50.0, 100.0 + rng.integers(0, 900, 200))
    values = rng.integers(0, 2, 200).astype(float)
    assert length_controlled(values, lengths, seed=1).rate is not None
    clusters = [min(case // 10, 4) if case < 40 else case for case in range(200)]
    found = length_controlled(values, lengths, clusters=clusters, seed=1)
    assert found.is_separated and "only 4 clusters" in found.why_no_rate


def test_all_ties_are_one_half_without_an_interval():
    found = length_controlled([0.5] * 100, lengths_like_real_ones(100, seed=3) - 300, seed=1)
    assert found.rate == pytest.approx(0.5)
    assert found.ci_low is None and "too few cases differ" in found.why_no_interval
    assert not found.quality.is_poor


@pytest.mark.parametrize("n", [0, 1, 5, 19])
def test_too_few_pairs_give_no_rate(n):
    found = length_controlled([1.0] * n, [float(place - 9) for place in range(n)], seed=1)
    assert found.rate is None and not found.is_separated
    assert found.why_no_rate == f"needs at least 20 cases, got {n}"
    assert found.raw_rate == (1.0 if n else None)


def test_the_seed_decides_and_clusters_of_one_case_count_as_none():
    differences, values = draw_outcomes(0.0, 1.0, 0.2, np.random.default_rng(25))
    found = length_controlled(values, differences, seed=1)
    assert found == length_controlled(values, differences, seed=1)
    assert found == length_controlled(values, differences, seed=1, clusters=range(200))
    assert found.ci_low != length_controlled(values, differences, seed=2).ci_low
    assert found.n_clusters is None
    assert found.method == (
        "logistic regression with penalty 0.1, refitted on 2000 resamples of 200 cases"
    )


def test_swapping_variant_and_baseline_mirrors_the_rate():
    differences, values = draw_outcomes(0.5, 1.0, 0.2, np.random.default_rng(26))
    found = length_controlled(values, differences, seed=1)
    mirrored = length_controlled(1 - values, -differences, seed=1)
    assert mirrored.rate == pytest.approx(1 - found.rate)
    assert mirrored.ci_low == pytest.approx(1 - found.ci_high)


def test_a_poor_fit_is_noticed_and_a_good_one_is_not():
    rng = np.random.default_rng(27)
    differences = rng.normal(0, 300, 400)
    chances = np.where(np.abs(differences) < 200, 0.9, 0.2)  # likes answers of the same length
    poor = length_controlled(with_ties(chances, 0.0, rng.random(400)), differences, seed=1)
    assert poor.quality.is_poor
    assert poor.quality.largest_gap > 0.3 and poor.quality.p_value < 1e-6
    differences, values = draw_outcomes(0.4, 1.0, 0.3, rng)
    assert not length_controlled(values, differences, seed=1).quality.is_poor


def test_fifths_with_one_outcome_only_do_not_make_a_good_fit_poor():
    """Nearly all that is longer wins, as the fit says: residuals there are small and alike."""
    lengths, rng = lengths_like_real_ones(), np.random.default_rng(30)
    follows = rng.random(300) < 0.97
    found = length_controlled(((lengths > 0) == follows).astype(float), lengths, seed=1)
    assert found.quality.largest_gap < 0.05 and found.quality.p_value > 0.05


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="every win value must be finite and within 0.0 to 1.0"):
        length_controlled([2.0], [1.0], seed=1)
    with pytest.raises(ValueError, match="every difference must be finite"):
        length_controlled([1.0], [math.nan], seed=1)
    with pytest.raises(ValueError, match="1 win values but 2 differences in length"):
        length_controlled([1.0], [1.0, 2.0], seed=1)
    with pytest.raises(ValueError, match="1 win values but 0 pairs of style counts"):
        style_controlled([1.0], [1.0], [], seed=1)


def test_style_is_counted_outside_code():
    text = (
        "# Title\n\nSome **bold** and __more__ words, 3 * 4 ** 2.\n## Part\n- one\n* two\n"
        "  + three\n1. four\n#hashtag\n```python\n# no header\n- no item\n**no**\n```\n### End\n"
    )
    assert count_style(text) == StyleCounts(headers=3, lists=4, bold=2)
    assert count_style("```\n# never closed\n") == StyleCounts(0, 0, 0)


def test_a_judge_that_likes_headers_is_seen_through():
    rng = np.random.default_rng(28)
    n = 400
    own, other = rng.integers(1, 6, n), rng.integers(0, 4, n)
    lengths = rng.normal(0, 300, n)
    values = with_ties(expit(3 * (own - other) / (own + other)), 0.1, rng.random(n))
    styles = [(marks(0, 0, a), marks(0, 0, b)) for a, b in zip(own, other, strict=True)]
    by_length = length_controlled(values, lengths, seed=1)
    found = style_controlled(values, lengths, styles, seed=1)
    assert by_length.ci_low > 0.6
    assert found.ci_low < 0.5 < found.ci_high
    assert [effect.name for effect in found.effects] == [LENGTH, HEADERS]
    length, headers = found.effects
    assert headers.ci_low > 0 and length.ci_low < 0 < length.ci_high


def test_style_on_one_side_gives_no_rate():
    rng = np.random.default_rng(29)
    styles = [(marks(0, 3), marks(0, 1))] * 100
    values = rng.integers(0, 2, 100).astype(float)
    found = style_controlled(values, rng.normal(0, 300, 100), styles, seed=1)
    assert found.rate is None
    assert f"has as many {BOLD} or fewer in only 0 cases" in found.why_no_rate


def coverage(draw, n_runs, n_resamples=300):
    """The share of the intervals that hold the true rate, and the number of runs with one."""
    held = n = 0
    for run in range(n_runs):
        truth, values, differences, clusters = draw(np.random.default_rng((run, 31)))
        found = length_controlled(
            values, differences, clusters=clusters, seed=run, n_resamples=n_resamples
        )
        if found.ci_low is not None:
            n += 1
            held += found.ci_low <= truth <= found.ci_high
    return held / n, n


def no_effect(rng):
    differences, values = draw_outcomes(0.0, 0.0, 0.2, rng, mean=0.0)
    return 0.5, values, differences, None


def moderate_effect(rng):
    """Seven answers in ten are longer, and longer ones win more often."""
    differences, values = draw_outcomes(0.4, 1.0, 0.3, rng)
    return expit(0.4), values, differences, None


def strong_effect(rng):
    """Skewed lengths, nine in ten longer; the variant wins, but is worse at equal length."""
    differences = rng.gamma(2.0, 400.0, 200) - 300
    chances = expit(-0.3 + 2 * np.tanh(differences / (400 * math.sqrt(2))))
    return expit(-0.3), with_ties(chances, 0.1, rng.random(200)), differences, None


def mostly_longer(rng):
    differences, values = draw_outcomes(0.0, 2.0, 0.1, rng, mean=465.0)
    return 0.5, values, differences, None


def uneven_clusters(rng):
    """60 clusters of 1 to 20 cases, whose outcomes and lengths are alike."""
    sizes = np.minimum(rng.geometric(0.25, 60), 20)
    cluster = np.repeat(np.arange(60), sizes)
    shared, n = rng.normal(size=(2, 60))[:, cluster], len(cluster)
    differences = 200 * shared[0] + rng.normal(150, 224, n)
    chances = expit(0.4 + np.tanh(differences / 300))
    uniform = ndtr(0.6 * shared[1] + 0.8 * rng.normal(size=n))
    return expit(0.4), with_ties(chances, 0.3, uniform), differences, cluster.tolist()


@pytest.mark.parametrize("n_runs", [100, pytest.param(2_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "draw", [no_effect, moderate_effect, strong_effect, mostly_longer, uneven_clusters]
)
def test_intervals_hold_the_truth_as_often_as_promised(draw, n_runs):
    share, n = coverage(draw, n_runs)
    assert n > 0.6 * n_runs
    slack = 3 * math.sqrt(0.95 * 0.05 / n)
    assert (0.92 if n_runs == 2_000 else 0.95 - slack) <= share <= 0.98 + (n_runs < 2_000) * 0.02

"""Stopping early: against a slow direct implementation, values worked by hand, and simulations."""

import math

import numpy as np
import pytest

from plugin.compare import stats
from plugin.compare.early_stop import ConfidenceSequence, SettleRule, gains_in_order
from plugin.compare.intervals import log_bets, log_capital

MARGIN = 0.05
N_RUNS = 2_000


def settle(gains, rule):
    """What the gains settle, all looked at in one go."""
    return ConfidenceSequence(rule).add(gains)


def normal(mean, sd):
    return lambda rng, shape: np.clip(rng.normal(mean, sd, shape), -1, 1)


def either(share, gain, other):
    """`gain` in this share of the cases, else `other`."""
    return lambda rng, shape: np.where(rng.random(shape) < share, gain, other)


def sparse(won, lost):
    def draw(rng, shape):
        u = rng.random(shape)
        return np.where(u < won, 1.0, np.where(u < won + lost, -1.0, 0.0))

    return draw


def false_share(draw, n, is_false, n_decisions=1):
    """Share of runs in which any of the decisions is a false one, looking after every pair."""
    rng, rule = np.random.default_rng(17), SettleRule(MARGIN, n_decisions=n_decisions)
    hits = 0
    for _ in range(N_RUNS):
        drawn = draw(rng, (n_decisions, n))
        found = [settle(gains, rule) for gains in drawn]
        hits += any(one is not None and is_false(one.outcome) for one in found)
    return hits / N_RUNS


# The rule, worked out the slow way.


def capital(gains, mean):
    """Capital after every pair of a mixture of bets on a higher mean, multiplied out."""
    bets = {1: 0.4, 0.95: 0.1, 0.85: 0.1, 0.7: 0.1, 0.5: 0.1, 0.3: 0.1, 0.15: 0.1}
    held, found = dict(bets), []
    for gain in gains:
        for bet in held:
            held[bet] *= 1 + bet * ((gain + 1) / (mean + 1) - 1)
        found.append(sum(held.values()))
    return found


def slowly(gains, alpha, margin=MARGIN):
    """(outcome, pairs) by the definition: what was rejected up to then."""
    mirrored = [-gain for gain in gains]
    above = {mean: capital(gains, mean) for mean in (0, -margin)}
    below = {mean: capital(mirrored, -mean) for mean in (0, margin)}
    for n in range(1, len(gains) + 1):

        def rejects(capital_after, n=n):
            return max(capital_after[:n]) >= 2 / alpha

        if rejects(above[0]):
            return "better", n
        if rejects(below[0]):
            return "worse", n
        if rejects(above[-margin]) and rejects(below[margin]):
            return "equivalent", n
    return None


@pytest.mark.parametrize("n_decisions", [1, 3])
@pytest.mark.parametrize("mean", [0.15, -0.15, 0.0])
def test_agrees_with_the_slow_way(mean, n_decisions):
    rng = np.random.default_rng(3)
    for spread in (0.05, 0.3):
        gains = np.clip(rng.normal(mean, spread, 300), -1, 1).round(2).tolist()
        found = settle(gains, SettleRule(MARGIN, n_decisions=n_decisions))
        slow = slowly(gains, 0.05 / n_decisions)
        assert (found and (found.outcome, found.n)) == slow
        if found is None:
            continue
        # The interval ends where the most that was ever won is just enough.
        seen = gains[: found.n]
        enough = pytest.approx(40 * n_decisions, rel=1e-6)
        assert max(capital(seen, found.ci_low)) == enough
        assert max(capital([-gain for gain in seen], -found.ci_high)) == enough


def test_all_zero_by_hand():
    # Against -0.05 each zero multiplies the boldest bet's 0.4 by 1 / 0.95: 40 takes 90 of them if
    # no other bet won anything; the others, with 0.6 at most as much, shorten that to 83.
    assert math.ceil(math.log(40 / 0.4) / -math.log(0.95)) == 90
    assert math.ceil(math.log(40) / -math.log(0.95)) == 72
    found = settle([0.0] * 500, SettleRule(MARGIN))
    assert (found.outcome, found.n) == ("equivalent", 83)
    assert -MARGIN <= found.ci_low == pytest.approx(-found.ci_high)


def test_first_full_gains_by_hand():
    # Against 0 a gain of 1 multiplies a bet b by 1 + b: after 6 the capital is
    # 0.4 * 64 + 0.1 * (54.98 + 40.09 + 24.14 + 11.39 + 4.83 + 2.31) = 39.4, after 7 it is 76.5.
    assert settle([1.0] * 6, SettleRule(MARGIN)) is None
    assert settle([1.0] * 50, SettleRule(MARGIN)).n == 7
    assert settle([-1.0] * 50, SettleRule(MARGIN)).outcome == "worse"
    # Of three decisions each needs 120.
    assert settle([1.0] * 50, SettleRule(MARGIN, n_decisions=3)).n == 8


def test_is_the_betting_interval_of_stats_when_all_gains_are_equal():
    sequence = ConfidenceSequence(SettleRule(0.0))
    sequence.add([0.0] * 60)
    fixed = stats.paired_estimate([0.0] * 60, low=-1.0, high=1.0, seed=1)
    assert sequence.interval() == pytest.approx((fixed.ci_low, fixed.ci_high))


def test_other_ranges_are_the_same_stretched():
    gains = np.random.default_rng(4).uniform(-0.3, 0.6, 200)
    plain = settle(gains, SettleRule(MARGIN))
    found = settle(10 * gains, SettleRule(10 * MARGIN, low=-10.0, high=10.0))
    assert (found.outcome, found.n) == (plain.outcome, plain.n)
    assert (found.ci_low, found.ci_high) == pytest.approx((10 * plain.ci_low, 10 * plain.ci_high))


# Error rates, looking after every pair.

# Mean 0 each: bell-shaped, sparse, won rarely and much, lost rarely and much.
NULLS = {
    "normal": normal(0.0, 0.4),
    "sparse": sparse(0.1, 0.1),
    "rarely won": either(0.04, 0.96, -0.04),
    "rarely lost": either(0.1, -0.9, 0.1),
    "coin": either(0.5, 1.0, -1.0),
}


@pytest.mark.parametrize(
    ("name", "n_decisions"),
    [
        ("rarely won", 1),
        ("normal", 3),
        *(
            pytest.param(*one, marks=pytest.mark.slow)
            for one in [*((name, 1) for name in NULLS if name != "rarely won"), ("rarely lost", 2)]
        ),
    ],
)
def test_no_gain_is_rarely_called_one(name, n_decisions):
    n = 300 if n_decisions == 1 else 150
    found = false_share(NULLS[name], n, lambda outcome: outcome != "equivalent", n_decisions)
    assert found <= 0.05


# The true gain is the margin (or beyond) though most gains look like none.
AT_MARGIN = {
    "normal": normal(MARGIN, 0.2),
    "rarely won": either(MARGIN, 1.0, 0.0),
    "rarely lost": either(MARGIN, -1.0, 0.0),
    "beyond": either(0.1, 0.7, 0.0),
    "rarely won, mostly lost": either(0.09, 0.96, -0.04),
}


@pytest.mark.parametrize(
    ("name", "n_decisions"),
    [
        ("rarely lost", 1),
        *(
            pytest.param(*one, marks=pytest.mark.slow)
            for one in [
                *((name, 1) for name in AT_MARGIN if name != "rarely lost"),
                ("rarely won", 2),
            ]
        ),
    ],
)
def test_the_margin_is_rarely_called_equivalent(name, n_decisions):
    n = 200
    # Better than nothing is true of a gain at the margin; of a loss, worse.
    wrong = "better" if name == "rarely lost" else "worse"
    found = false_share(
        AT_MARGIN[name], n, lambda outcome: outcome in ("equivalent", wrong), n_decisions
    )
    assert found <= 0.05


@pytest.mark.parametrize("name", NULLS)
def test_covers_the_truth_at_all_times(name):
    """The truth is outside at some time just where a capital that bets against it got to 40."""
    scaled = (NULLS[name](np.random.default_rng(5), (N_RUNS, 400)) + 1) / 2
    ever = np.zeros(N_RUNS, dtype=bool)
    for part in np.array_split(np.arange(N_RUNS), 8):
        for side in (scaled[part], 1 - scaled[part]):
            after = log_capital(log_bets(side, 0.5).cumsum(axis=1))
            ever[part] |= after.max(axis=1) >= math.log(40)
    assert ever.mean() <= 0.05
    # A 95% interval for one number of pairs, looked at each time, misses far more often.
    if name == "normal":
        gains, n = 2 * scaled - 1, np.arange(1, 401)
        means = gains.cumsum(axis=1) / n
        errors = np.sqrt(np.maximum((gains**2).cumsum(axis=1) / n - means**2, 0) / n)
        assert (np.abs(means) > 1.96 * errors)[:, 10:].any(axis=1).mean() > 0.3


def test_interval_is_what_the_capitals_leave():
    gains = NULLS["sparse"](np.random.default_rng(6), 120)
    for n in (1, 10, 120):
        sequence = ConfidenceSequence(SettleRule(MARGIN))
        sequence.add(gains[:n])
        low, high = sequence.interval()
        for mean in np.linspace(-0.99, 0.99, 67):
            out = max(capital(gains[:n], mean)) >= 40 or max(capital(-gains[:n], -mean)) >= 40
            assert out == (mean < low or mean > high)


def test_draws_without_replacement_do_not_err_more():
    rng = np.random.default_rng(7)
    population = either(0.2, 0.8, -0.2)(rng, 200)
    population -= population.mean()
    found = [settle(rng.permutation(population), SettleRule(MARGIN)) for _ in range(N_RUNS)]
    assert sum(one is not None and one.outcome != "equivalent" for one in found) <= 0.05 * N_RUNS


@pytest.mark.parametrize(("gain", "at_most"), [(0.1, 0.4), (0.2, 0.12), (0.3, 0.07)])
def test_saves_most_of_the_judging_of_a_clear_gain(gain, at_most):
    rng = np.random.default_rng(8)
    runs = [settle(normal(gain, 0.4)(rng, 500), SettleRule(MARGIN)) for _ in range(200)]
    assert np.mean([one.n if one else 500 for one in runs]) / 500 <= at_most
    assert all(one is None or one.outcome == "better" for one in runs)


# Looking often, looking once.


def test_once_settled_it_stays_and_does_not_depend_on_how_often_one_looks():
    gains = normal(0.1, 0.3)(np.random.default_rng(9), 400)
    whole = settle(gains, SettleRule(MARGIN))
    assert 20 < whole.n < 300
    assert settle(gains[: whole.n - 1], SettleRule(MARGIN)) is None
    assert settle(gains[: whole.n], SettleRule(MARGIN)) == whole
    sequence = ConfidenceSequence(SettleRule(MARGIN))
    for n, gain in enumerate(gains, start=1):
        found = sequence.add([gain])
        assert found == (whole if n >= whole.n else None)
    assert (sequence.n_pairs, sequence.settled) == (400, whole)


def test_interval_only_shrinks():
    gains = normal(0.02, 0.3)(np.random.default_rng(10), 60)
    sequence = ConfidenceSequence(SettleRule(MARGIN))
    ends = [sequence.interval()]
    for gain in gains:
        sequence.add([gain])
        ends.append(sequence.interval())
    lows, highs = np.transpose(ends)
    assert ends[0] == (-1.0, 1.0)
    assert (np.diff(lows) >= -1e-9).all() and (np.diff(highs) <= 1e-9).all()


def test_gains_that_change_their_kind_settle_nothing():
    n = settle([-0.02] * 1_000, SettleRule(0.0)).n
    sequence = ConfidenceSequence(SettleRule(0.0))
    # One more would be "worse"; when the ones that follow are a gain, both cannot be.
    assert sequence.add([-0.02] * (n - 1)) is None
    assert sequence.add([1.0] * 5) is None
    assert sequence.interval() is not None
    assert sequence.add([1.0] * 55) is None
    assert sequence.add([1.0]) is None
    assert sequence.interval() is None


# Edges.


def test_no_gains_settle_nothing():
    assert settle([], SettleRule(MARGIN)) is None
    assert ConfidenceSequence(SettleRule(MARGIN)).interval() == (-1.0, 1.0)


def test_margin_of_nothing_and_of_everything():
    assert settle([0.0] * 2_000, SettleRule(0.0)) is None
    # Only gains up to 1 exist, so a margin of 1 is kept on both sides; a difference comes first.
    assert settle([0.0], SettleRule(1.0)).outcome == "equivalent"
    assert settle([0.3], SettleRule(5.0)).outcome == "equivalent"
    assert settle([0.3] * 30, SettleRule(0.4)).outcome == "better"


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1.5, -1.01])
def test_bad_gains_are_refused_and_named(bad):
    sequence = ConfidenceSequence(SettleRule(MARGIN))
    with pytest.raises(ValueError, match=f"every gain must be finite.*-1.0 to 1.0.*{bad} at index"):
        sequence.add([0.1, bad])
    assert sequence.n_pairs == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"margin": -0.1}, "margin must be finite and not negative; got -0.1"),
        ({"margin": math.nan}, "got nan"),
        ({"margin": 0.1, "low": 0.0}, "both sides of 0; got 0.0 to 1.0"),
        ({"margin": 0.1, "high": math.inf}, "finite bounds .* got -1.0 to inf"),
        ({"margin": 0.1, "alpha": 1.0}, "alpha must be above 0 and below 1; got 1.0"),
        ({"margin": 0.1, "n_decisions": 0}, "at least one decision; got 0"),
    ],
)
def test_bad_rules_are_refused_and_named(options, message):
    with pytest.raises(ValueError, match=message):
        SettleRule(**options)


def test_looks_at_whole_pairs_in_the_drawn_order():
    order = ["c", "a", "e", "b", "d"]
    gains = {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4}
    assert gains_in_order(order, gains) == [0.3, 0.1]
    assert gains_in_order(order, gains, failed={"e"}) == [0.3, 0.1, 0.2, 0.4]
    assert gains_in_order(order, {}) == []

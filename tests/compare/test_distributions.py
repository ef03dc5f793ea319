"""The distributions and the root, against scipy.stats and scipy.optimize."""

from __future__ import annotations

import math

import pytest
import scipy.optimize
import scipy.stats

from plugin.compare.distributions import coin_probability, coin_tail, find_root, power_of_t
from plugin.compare.stats import mid_p, sign_test_p


@pytest.mark.parametrize(("k", "n"), [(0, 1), (3, 9), (5, 10), (40, 61), (9_900, 20_000)])
def test_a_fair_coin_is_that_of_scipy(k: int, n: int) -> None:
    assert coin_tail(k, n) == pytest.approx(scipy.stats.binom.cdf(k, n, 0.5), rel=1e-9)
    assert coin_probability(k, n) == pytest.approx(scipy.stats.binom.pmf(k, n, 0.5), rel=1e-9)


@pytest.mark.parametrize(("wins", "losses"), [(0, 1), (5, 5), (9, 2), (2, 9), (700, 640)])
def test_the_sign_test_is_that_of_scipy(wins: int, losses: int) -> None:
    exact = scipy.stats.binomtest(wins, wins + losses).pvalue
    assert sign_test_p(wins, losses) == pytest.approx(exact, rel=1e-12)
    binom = scipy.stats.binom(wins + losses, 0.5)
    fewer = min(wins, losses)
    assert mid_p(wins, losses) == pytest.approx(2 * binom.cdf(fewer) - binom.pmf(fewer), rel=1e-9)


@pytest.mark.parametrize("effect", [0.01, 0.3, 2.0])
@pytest.mark.parametrize("n", [2, 7.5, 60, 1_000_000])
def test_the_power_is_that_of_scipy(effect: float, n: float) -> None:
    df, place = n - 1, effect * math.sqrt(n)
    wanted = scipy.stats.nct.sf(scipy.stats.t.isf(0.025, df), df, place)
    assert power_of_t(effect, n, 0.05) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize(
    ("function", "low", "high"),
    [
        (lambda x: x**3 - 2 * x - 5, 2.0, 3.0),
        (lambda x: math.cos(x) - x, 0.0, 1.0),
        (lambda x: math.exp(-40 * x) - 0.001, 0.0, 1.0),
        (lambda x: (x - 0.3) ** 3, 0.0, 1.0),
        (lambda x: 1.0 if x > 0.123456789 else -1.0, 0.0, 1.0),
        (lambda x: x - 1e-9, 0.0, 1.0),
        (lambda x: x, 0.0, 1.0),
        (lambda x: x - 1.0, 0.0, 1.0),
    ],
)
def test_a_root_is_that_of_scipy(function, low: float, high: float) -> None:
    calls = []

    def counted(x: float) -> float:
        calls.append(x)
        return function(x)

    wanted = scipy.optimize.brentq(function, low, high)
    found = find_root(counted, low, high)
    assert found == pytest.approx(wanted, abs=4e-12)
    assert low <= found <= high and len(calls) < 130


def test_a_root_needs_a_change_of_sign() -> None:
    with pytest.raises(ValueError, match="no change of sign between 1"):
        find_root(lambda x: x, 1.0, 2.0)

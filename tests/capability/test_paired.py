"""Intervals of paired differences: against R, by brute force, and by summing over all counts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from plugin.capability.paired import (
    Flips,
    low_tail,
    paired_interval,
    restricted_loss,
    stratified_interval,
    tango_interval,
    tango_z,
)


@pytest.mark.parametrize(
    ("flips", "level", "wanted"),
    [
        # R, PropCIs::scoreci.mp(25, 28, 618, 0.90): (-0.0148, 0.0247) for (28 - 25) / 618.
        (Flips(28, 25, 618), 0.90, (-0.0148, 0.0247)),
        # Airway reactivity (Bentur et al. 2009, in Fagerland et al. 2014): (-0.517, -0.026).
        (Flips(1, 7, 21), 0.95, (-0.517, -0.026)),
    ],
)
def test_tangos_interval_is_that_of_others(flips, level, wanted):
    digits = 4 if flips.n > 100 else 3
    assert tuple(round(end, digits) for end in tango_interval(flips, level)) == wanted


def test_the_restricted_chance_is_the_likeliest_one():
    """Maximise the likelihood numerically, with nothing of Tango's formula."""
    flips, difference = Flips(3, 9, 40), -0.03

    def minus_log(loss):
        win = loss + difference
        if win <= 0 or loss + win >= 1:
            return math.inf
        return -(3 * math.log(win) + 9 * math.log(loss) + 28 * math.log(1 - loss - win))

    found = minimize_scalar(minus_log, bounds=(0.0301, 0.5), method="bounded").x
    assert restricted_loss(flips, difference) == pytest.approx(found, abs=1e-5)


def test_the_statistic_by_hand():
    """No loss, one win of 10, tested at 0: the variance under the null is (1 + 0) / 10 each."""
    assert restricted_loss(Flips(1, 0, 10), 0.0) == pytest.approx(1 / 20)
    assert tango_z(Flips(1, 0, 10), 0.0) == pytest.approx(1.0)  # 1 / sqrt(10 * 2 / 20)


def _all_counts(n, win, loss):
    """Every (won, lost) with its chance; worked out by the multinomial formula alone."""
    for lost in range(n + 1):
        for won in range(n + 1 - lost):
            ways = math.comb(n, lost) * math.comb(n - lost, won)
            chance = ways * loss**lost * win**won * (1 - loss - win) ** (n - lost - won)
            if chance > 1e-12:
                yield Flips(won, lost, n), chance


def test_a_tail_is_the_sum_over_all_counts():
    flips, difference = Flips(0, 4, 20), -0.03
    loss = restricted_loss(flips, difference)
    z = tango_z(flips, difference)
    wanted = sum(
        chance
        for one, chance in _all_counts(20, loss + difference, loss)
        if tango_z(one, difference) <= z + 1e-9
    )
    assert low_tail(flips, difference) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("n", [20, 60, 100])
@pytest.mark.parametrize("churn", [0.03, 0.1, 0.3])
@pytest.mark.parametrize("tail", [0.025, 0.025 / 9])
def test_a_true_loss_of_the_margin_is_called_lost_no_more_often_than_promised(n, churn, tail):
    """The exact chance, at the worst place of "not lost": summed over all counts, not drawn."""
    loss = (churn + 0.03) / 2
    false = sum(
        chance
        for one, chance in _all_counts(n, loss - 0.03, loss)
        if one.difference < -0.03 and low_tail(one, -0.03) <= tail
    )
    assert false <= tail


def test_the_normal_approximation_would_break_that_promise():
    """Why there are exact tails: Tango's own interval errs 1.7 times as often here."""
    loss, tail = 0.04, 0.025
    false = sum(
        chance for one, chance in _all_counts(100, 0.01, loss) if tango_z(one, -0.03) < -1.959964
    )
    assert false > 1.5 * tail


def test_coverage_of_both_ends():
    for win, loss in ((0.05, 0.05), (0.02, 0.2), (0.0, 0.1)):
        missed = sum(
            chance
            for one, chance in _all_counts(30, win, loss)
            for low, high in [paired_interval(one, 0.95)]
            if chance > 1e-6 and not low - 1e-9 <= win - loss <= high + 1e-9
        )
        assert missed <= 0.052


def test_ends_lie_within_what_is_possible_and_mirror_each_other():
    assert paired_interval(Flips(0, 10, 10), 0.95)[0] == pytest.approx(-1.0, abs=1e-9)
    low, high = paired_interval(Flips(2, 7, 50), 0.99)
    assert paired_interval(Flips(7, 2, 50), 0.99) == pytest.approx((-high, -low))
    assert low < -0.1 < high


def test_nothing_changed_is_no_proof_that_nothing_changes():
    low, high = paired_interval(Flips(0, 0, 25), 0.95)
    assert -0.2 < low < -0.1 and 0.1 < high < 0.2


def test_strata_of_one_are_tangos_interval_and_differences_between_strata_do_not_widen_it():
    assert stratified_interval([Flips(5, 9, 80)], 0.9) == tango_interval(Flips(5, 9, 80), 0.9)
    apart = stratified_interval([Flips(0, 30, 50), Flips(30, 0, 50)], 0.9)
    together = stratified_interval([Flips(30, 30, 100)], 0.9)
    assert np.diff(apart) < np.diff(together)

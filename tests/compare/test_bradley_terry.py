"""Rankings: worked by hand, with variants that win everything, and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import expit, logit, ndtr

from plugin.compare.bradley_terry import Match, bradley_terry
from tests.compare.test_length_control import with_ties


def match(own, other, value, unit):
    return Match(own, other, value, unit)


def won(own, other, wins, losses, ties=0, first=0):
    """So many wins, losses and ties of one variant against another, a case each."""
    values = [1.0] * wins + [0.0] * losses + [0.5] * ties
    return [Match(own, other, value, first + place) for place, value in enumerate(values)]


def test_two_variants_by_hand():
    """150 of 200 won, ties as halves: the scores are a logit of 0.75 apart."""
    matches = won("tuned", "base", wins=140, losses=40, ties=20)
    found = bradley_terry(matches, seed=1)
    best, last = found.rated
    assert (best.name, last.name) == ("tuned", "base")
    assert best.score - last.score == pytest.approx(logit(0.75), abs=0.01)
    assert best.score == pytest.approx(-last.score)
    assert best.elo - last.elo == pytest.approx(400 * math.log10(3), abs=2)
    assert (best.n, best.mean_win, last.mean_win) == (200, 0.75, 0.25)
    # The standard error of the logit is sqrt(0.1625 / 200) / 0.1875; each score takes half of it.
    assert best.score - best.ci_low == pytest.approx(1.972 * 0.152 / 2, rel=0.06)
    assert best.ci_high - best.score == pytest.approx(best.score - best.ci_low)
    assert (best.beats_next, last.beats_next) == (True, None)
    assert found.tied_neighbours == ()
    assert found.method == (
        "Bradley-Terry model, ties as half a win, penalty 0.1, refitted on 2000 resamples of 200 "
        "cases"
    )


def test_the_side_of_a_variant_does_not_matter():
    matches = won("a", "b", 30, 20) + won("b", "c", 35, 15)
    turned = [
        Match(own.baseline, own.variant, 1 - own.value, own.unit) if place % 2 else own
        for place, own in enumerate(matches)
    ]
    found = {row.name: row.score for row in bradley_terry(matches, seed=1).rated}
    again = {row.name: row.score for row in bradley_terry(turned, seed=1).rated}
    assert found == pytest.approx(again)


def test_variants_that_never_met_are_ranked_through_a_third_one():
    """a beats the base by logit 0.6, b by logit 0.8: b leads a by the difference."""
    matches = won("a", "base", 120, 80) + won("b", "base", 160, 40)
    found = {row.name: row for row in bradley_terry(matches, seed=1).rated}
    assert list(found) == ["b", "a", "base"]
    lead = found["b"].score - found["a"].score
    assert lead == pytest.approx(logit(0.8) - logit(0.6), abs=0.01)


def test_neighbours_that_cannot_be_told_apart_are_named():
    matches = won("a", "base", 120, 80) + won("b", "base", 124, 76) + won("b", "a", 104, 96)
    found = bradley_terry(matches, seed=1)
    assert [row.name for row in found.rated] == ["b", "a", "base"]
    assert found.tied_neighbours == (("b", "a"),)
    assert [row.beats_next for row in found.rated] == [False, True, None]


def test_neighbours_share_the_five_percent():
    """A lead of 2.2 standard errors (0.075 of 0.034) is clear alone, but not as one of four."""
    lead = won("b", "a", 124, 92)
    assert bradley_terry(lead, seed=1).rated[0].beats_next is True
    names = ["a", "base", "c", "d"]
    rest = [won(own, other, 160, 40) for own, other in zip(names, names[1:], strict=False)]
    found = bradley_terry([*lead, *(each for own in rest for each in own)], seed=1)
    assert [row.name for row in found.rated] == ["b", *names]
    assert found.tied_neighbours == (("b", "a"),)


def test_a_variant_that_wins_everything_has_no_interval_but_a_place():
    matches = won("star", "base", 60, 0) + won("a", "base", 40, 20) + won("star", "a", 60, 0)
    star, a, base = bradley_terry(matches, seed=1).rated
    assert (star.name, star.ci_low, star.ci_high) == ("star", None, None)
    assert star.beats_next is True  # the matches against each other say so
    assert a.ci_low is not None and base.ci_low is not None
    few = won("star", "base", 4, 0) + won("a", "base", 4, 2, first=4)
    assert [row.beats_next for row in bradley_terry(few, seed=1).rated] == [None, False, None]


def test_a_variant_that_hardly_ever_loses_has_no_interval():
    matches = won("star", "base", 57, 3) + won("a", "base", 40, 20)
    star, a, base = bradley_terry(matches, seed=1).rated
    assert (star.name, star.ci_low, star.ci_high) == ("star", None, None)
    assert a.ci_low is not None and base.ci_low is not None


def test_matches_against_each_other_share_the_five_percent_too():
    lead = won("star", "a", 8, 0)
    assert bradley_terry(lead, seed=1).rated[0].beats_next is True
    names = ["a", "b", "c", "d"]
    rest = [won(own, other, 160, 40) for own, other in zip(names, names[1:], strict=False)]
    found = bradley_terry([*lead, *(each for own in rest for each in own)], seed=1)
    assert [row.name for row in found.rated] == ["star", *names]
    assert found.rated[0].beats_next is False


def test_variants_apart_are_not_ranked():
    found = bradley_terry(won("a", "base", 6, 4) + won("b", "c", 6, 4), seed=1)
    assert found.rated == ()
    assert found.why_none == "b, c never met a, not even through others"
    assert bradley_terry([], seed=1).why_none == "there are no matches"


def test_few_units_give_a_ranking_without_intervals():
    matches = [Match("a", "base", float(case % 3 > 0), case % 5) for case in range(60)]
    found = bradley_terry(matches, seed=1)
    assert [row.name for row in found.rated] == ["a", "base"]
    assert found.rated[0].ci_low is None and found.rated[0].beats_next is None
    assert found.why_no_interval == "no intervals with fewer than 6 clusters (here 5)"


def test_copies_of_a_case_do_not_narrow_the_interval():
    rng = np.random.default_rng(5)
    values = rng.integers(0, 2, 60)
    once = [Match("a", "base", float(value), case) for case, value in enumerate(values)]
    copied = [own for own in once for _ in range(8)]
    narrow, wide = (bradley_terry(own, seed=1).rated[0] for own in (once, copied))
    width = narrow.ci_high - narrow.ci_low
    assert wide.ci_high - wide.ci_low == pytest.approx(width, rel=0.03)


def test_wrong_matches_are_named():
    with pytest.raises(ValueError, match="two different variants; got 'a' against itself"):
        bradley_terry([Match("a", "a", 0.5, 1)], seed=1)
    with pytest.raises(ValueError, match="every win value must be finite"):
        bradley_terry([Match("a", "b", 1.5, 1)], seed=1)


def simulate(scores, pairs, tie, rng, sizes):
    """Matches with these true scores; cases of one unit, and pairs of one case, are alike."""
    unit = np.repeat(np.arange(len(sizes)), sizes)
    shared = rng.normal(size=(len(sizes), len(scores)))[unit]
    matches = []
    for own, other in pairs:
        noise = rng.normal(size=len(unit))
        mixed = 0.7 * (shared[:, own] - shared[:, other]) / math.sqrt(2) + math.sqrt(0.51) * noise
        chance = np.full(len(unit), expit(scores[own] - scores[other]))
        values = with_ties(chance, tie, ndtr(-mixed))
        matches += [
            Match(str(own), str(other), value, case)
            for value, case in zip(values.tolist(), unit.tolist(), strict=True)
        ]
    return matches


ALL_OF_THREE, ALL_OF_FOUR = (
    ((1, 0), (2, 0), (2, 1)),
    ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)),
)
SCENARIOS = {
    "no difference": ((0.0, 0.0, 0.0), ALL_OF_THREE, 0.2, 0),
    "four apart, all pairs": ((-1.2, -0.2, 0.3, 1.1), ALL_OF_FOUR, 0.3, 0),
    "three against the base": ((-0.6, -0.1, 0.2, 0.5), ((1, 0), (2, 0), (3, 0)), 0.4, 0),
    "uneven clusters": ((-0.6, 0.0, 0.6), ALL_OF_THREE, 0.3, 40),
}


@pytest.mark.parametrize("n_runs", [100, pytest.param(2_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", SCENARIOS)
def test_intervals_hold_the_truth_as_often_as_promised(name, n_runs):
    scores, pairs, tie, n_clusters = SCENARIOS[name]
    held, wrong = [], 0
    for run in range(n_runs):
        rng = np.random.default_rng((run, 41))
        sizes = np.minimum(rng.geometric(0.2, n_clusters), 20) if n_clusters else [1] * 200
        found = bradley_terry(
            simulate(scores, pairs, tie, rng, sizes), seed=run, n_resamples=300
        ).rated
        held += [row.ci_low <= scores[int(row.name)] <= row.ci_high for row in found]
        ranks = [scores[int(row.name)] for row in found]
        wrong += any(
            row.beats_next and own <= other
            for row, own, other in zip(found, ranks, ranks[1:], strict=False)
        )
    share = np.mean(held)
    assert 0.92 <= share <= 0.98 + (n_runs < 2_000) * 0.01
    assert wrong / n_runs < 0.05 + 2 * math.sqrt(0.05 / n_runs)

"""The facts about preferences, worked by hand."""

from __future__ import annotations

import pytest

from plugin.compare.bradley_terry import Match
from plugin.compare.preferences import (
    AverageLengths,
    average_lengths,
    control_rows,
    matches_of,
    preference_facts,
)
from plugin.records import Completion, Preference
from tests.samples import completion


def prefer(case, first=1, second=1, value=None, judge="", repeat=0, variant="tuned", over="base"):
    """A preference whose value follows from the two levels, unless it is given."""
    if value is None:
        wins = {(a > 0) - (a < 0) for a in (first, second)}
        value = {1: 1.0, -1: 0.0, 0: 0.5}[wins.pop()] if len(wins) == 1 else 0.5
    levels = (first, second)
    return Preference(str(case), variant, over, "Preference", *levels, value, None, judge, repeat)


def unasked(case, value):
    return Preference(str(case), "tuned", "base", "Preference", None, None, value)


def facts(preferences, **options):
    return preference_facts(preferences, **{"seed": 1, "n_resamples": 1_000, **options})


def test_the_facts_by_hand():
    """Two wins (one clear), a loss, a tie, a flip to the first, equal answers, an empty one."""
    found = facts(
        [
            prefer(1, 2, 2),
            prefer(2, 1, 1),
            prefer(3, -1, -2),
            prefer(4, 0, 0),
            prefer(5, 1, -1),
            unasked(6, 0.5),
            unasked(7, 1.0),
        ]
    )
    assert (found.n, found.n_equal, found.n_empty) == (7, 1, 1)
    assert found.win_rate.mean == pytest.approx(4.5 / 7)
    assert (found.flip_rate.mean, found.flip_rate.n) == (pytest.approx(1 / 5), 5)
    # Eight single answers have a winner; shown first were those of 1, 2, 3 once each, of 5 twice.
    assert (found.first_share.mean, found.first_share.n) == (pytest.approx(5 / 8), 8)
    assert found.decisive.mean == pytest.approx(4 / 7)
    levels = [1.0, 0.75, 0.5 - 3 / 8, 0.5, 0.5, 0.5, 1.0]
    assert found.mean_level.mean == pytest.approx(sum(levels) / 7)
    for own in (found.win_rate, found.flip_rate, found.decisive, found.mean_level):
        assert own.ci_low <= own.mean <= own.ci_high


def test_a_judge_that_always_says_the_first_flips_always():
    found = facts([prefer(case, 2, -2) for case in range(40)])
    assert found.win_rate.mean == 0.5
    assert (found.flip_rate.mean, found.first_share.mean, found.decisive.mean) == (1.0, 1.0, 0.0)
    assert found.first_share.ci_low > 0.8
    assert found.flip_rate.ci_low > 0.8


def test_a_fair_judge_chooses_the_first_in_half_of_its_answers():
    found = facts([prefer(case, *(2, 2) if case % 3 else (-1, -1)) for case in range(60)])
    assert (found.flip_rate.mean, found.first_share.mean) == (0.0, 0.5)
    assert found.first_share.n_clusters == 60  # both answers about a case belong together
    assert found.win_rate.mean == pytest.approx(2 / 3)


def test_one_order_with_a_tie_is_a_flip_and_half_decided():
    found = facts([prefer(1, 1, 0), prefer(2, 0, -1)])
    assert found.flip_rate.mean == 1.0
    assert (found.first_share.mean, found.first_share.n) == (1.0, 2)


def test_several_judges_count_with_their_mean_and_a_case_counts_once():
    panel = [
        *(prefer(1, 1, 1, judge="a"), prefer(1, -1, -1, judge="b"), prefer(1, 1, -1, judge="c")),
        prefer(2, 1, 1, judge="a"),  # the other judges failed
    ]
    found = facts(panel)
    assert found.n == 2
    assert found.win_rate.mean == pytest.approx((0.5 + 1) / 2)
    assert found.flip_rate.mean == pytest.approx((1 / 3 + 0) / 2)
    assert found.decisive.mean == pytest.approx((2 / 3 + 1) / 2)


def test_clusters_widen_the_interval():
    rows = [prefer(case, *(1, 1) if case // 8 % 2 else (-1, -1)) for case in range(160)]
    alone, together = facts(rows), facts(rows, clusters={str(c): str(c // 8) for c in range(160)})
    assert alone.win_rate.n_clusters is None and together.win_rate.n_clusters == 20
    width = alone.win_rate.ci_high - alone.win_rate.ci_low
    assert together.win_rate.ci_high - together.win_rate.ci_low > 2 * width
    assert facts(rows, clusters={str(case): None for case in range(160)}) == alone


def test_repeats_do_not_count_and_no_preferences_are_no_numbers():
    rows = [prefer(1), prefer(1, -1, -1, repeat=1)]
    assert facts(rows).win_rate.mean == 1.0
    nothing = facts([])
    assert (nothing.n, nothing.win_rate.mean, nothing.first_share.mean) == (0, None, None)


def test_preferences_of_two_comparisons_are_refused():
    with pytest.raises(ValueError, match="one variant over one baseline.*other / base / Pref"):
        facts([prefer(1), prefer(1, variant="other")])


def test_matches_are_one_per_case_and_pair():
    rows = [
        *(prefer(1, 1, 1, judge="a"), prefer(1, 1, -1, judge="b")),
        *(prefer(2), prefer(1, -1, -1, variant="other"), prefer(2, repeat=1)),
    ]
    assert matches_of(rows, {"1": "cluster 1"}) == [
        Match("other", "base", 0.0, ("cluster", "cluster 1")),
        Match("tuned", "base", 0.75, ("cluster", "cluster 1")),
        Match("tuned", "base", 1.0, ("case", "2")),
    ]


def answers(**texts):
    """Completions by case id and variant, from texts "tuned|base" by case."""
    made = {}
    for case, both in texts.items():
        for variant, text in zip(("tuned", "base"), both.split("|"), strict=True):
            made[case[1:], variant] = completion(text, case[1:], variant)
    return made


def test_length_control_gets_a_row_per_case_with_two_answers():
    rows = [prefer(1), prefer(2, 1, -1), unasked(3, 0.5), unasked(4, 1.0)]
    made = answers(_1="# A\n**long** one|short", _2="ab|abc", _3="same|same", _4="text| \n")
    found = control_rows(rows, made, {"1": "x", "2": "x"})
    assert found.values == [1.0, 0.5, 0.5]
    assert found.length_differences == [11.0, -1.0, 0.0]
    assert found.styles[0] == ((1, 0, 1), (0, 0, 0))
    assert found.clusters == [("cluster", "x"), ("cluster", "x"), ("case", "3")]
    assert control_rows(rows, made).clusters is None


def test_average_lengths_in_characters_and_tokens():
    made = answers(_1="abcd|ab", _2="ab|ab")
    assert average_lengths([prefer(1), prefer(2)], made) == AverageLengths(2, 3.0, 2.0, None, None)
    counted = {
        place: Completion(*place, own.text, (), "stop", None, None, n_tokens=len(own.text) // 2)
        for place, own in made.items()
    }
    found = average_lengths([prefer(1), prefer(2), prefer(1, repeat=1)], counted)
    assert found == AverageLengths(2, 3.0, 2.0, 1.5, 1.0)
    assert average_lengths([], made) == AverageLengths(0, None, None, None, None)

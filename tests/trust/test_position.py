"""Whether a judge reads the answers or only their order."""

from __future__ import annotations

from dataclasses import replace

import pytest

from plugin.compare.comparisons import VerdictSettings, compare
from plugin.records import Preference
from plugin.trust.position import check_positions, position_lines, withhold_ties
from tests.compare.test_relative import evidence, preference


def told(first: int | None, second: int | None, n: int, judge: str = "") -> list[Preference]:
    bare = Preference("", "tuned", "vanilla", "Preference", first, second, 0.5, judge=judge)
    return [replace(bare, case_id=str(i)) for i in range(n)]


def test_it_counts_flips_ties_and_the_place_of_the_winner() -> None:
    rows = [*told(2, 1, 4), *told(1, -1, 3), *told(0, 0, 2), *told(0, -1, 1), *told(None, None, 9)]
    (found,) = check_positions(rows, "the judge")
    assert (found.judge, found.n, found.n_flips, found.n_ties) == ("the judge", 10, 4, 2)
    # 4 pairs name the variant in both orders; 3 name the first both times; 1 names the base once,
    # shown first.
    assert (found.n_decided, found.n_first) == (4 * 2 + 3 * 2 + 1, 4 + 6 + 1)
    assert not found.is_bad and position_lines([found]) == []


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        (told(1, -1, 5), "changed its mind with the order of the answers in 100% of the pairs"),
        (
            [*told(1, -1, 5), *told(1, 1, 5)],
            "changed its mind with the order of the answers in 50%",
        ),
        ([*told(1, -1, 4), *told(1, 1, 5)], ""),
        (told(1, -1, 4), ""),  # too few to say
        (told(0, 0, 5), "called every pair a tie"),
        ([*told(0, 0, 50), *told(1, 1, 1)], ""),
        (told(None, None, 50), ""),
    ],
)
def test_a_judge_is_bad_that_is_no_better_than_a_coin(rows: list[Preference], fault: str) -> None:
    checks = check_positions(rows, "j")
    assert "".join(check.fault for check in checks).startswith(fault)
    assert any(check.is_bad for check in checks) == bool(fault)
    assert len(position_lines(checks)) == bool(fault)


def test_the_judges_of_a_panel_are_looked_at_one_by_one() -> None:
    checks = check_positions([*told(1, 1, 5, "a"), *told(1, -1, 5, "b")], "a panel")
    assert {check.judge: check.is_bad for check in checks} == {"a": False, "b": True}


def test_ties_of_a_bad_judge_show_no_equivalence_but_wins_stay() -> None:
    (even,) = compare(
        evidence([preference(str(i), 0.5) for i in range(60)], n=60),
        VerdictSettings("Preference", 0, n_resamples=200),
    )
    even = replace(even, outcome="equivalent")
    bad, good = check_positions(told(1, -1, 9), "j"), check_positions(told(1, 1, 9), "j")
    assert withhold_ties([even], good) == (even,)
    assert withhold_ties([even], bad)[0].outcome == "can't tell"
    assert withhold_ties([replace(even, outcome="kept")], bad)[0].outcome == "unclear"
    better = replace(even, outcome="better")
    assert withhold_ties([better], bad) == (better,)
    other = replace(even, metric="Correctness")
    assert withhold_ties([other], bad) == (other,)

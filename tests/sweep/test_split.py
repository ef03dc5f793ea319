"""The halves of a sweep's cases."""

from __future__ import annotations

from collections import Counter

from plugin.records import Case
from plugin.sweep.split import split_cases
from tests.sweep.sample_sweep import made_cases


def sides(cases: list[Case], seed: int = 0) -> dict[str, str]:
    found = split_cases(cases, seed)
    return {case.id: "choose" for case in found.choosing} | {
        case.id: "confirm" for case in found.confirming
    }


def test_every_case_is_on_one_side_and_the_halves_are_about_equal() -> None:
    cases = made_cases(1000, "abc")
    found = split_cases(cases, 0)
    assert sorted([*found.choosing, *found.confirming], key=lambda case: int(case.id)) == cases
    assert 440 < len(found.choosing) < 560
    for group in "abc":
        own = sum(case.group == group for case in found.choosing)
        assert 130 < own < 205


def test_a_case_never_changes_sides_when_others_are_added_or_moved() -> None:
    few, many = sides(made_cases(150)), sides(made_cases(400)[::-1])
    assert few.items() <= many.items()


def test_clusters_stay_whole() -> None:
    cases = made_cases(300, n_clusters=40)
    found = sides(cases)
    by_cluster: dict[str | None, set[str]] = {}
    for case in cases:
        by_cluster.setdefault(case.cluster, set()).add(found[case.id])
    assert all(len(own) == 1 for own in by_cluster.values())
    assert {side for own in by_cluster.values() for side in own} == {"choose", "confirm"}


def test_another_seed_gives_another_split() -> None:
    assert sides(made_cases(200), 0) != sides(made_cases(200), 1)


def test_with_fewer_than_a_hundred_cases_all_of_them_choose() -> None:
    few, enough = split_cases(made_cases(99), 0), split_cases(made_cases(100), 0)
    assert few.is_rank_only and len(few.choosing) == 99
    assert not enough.is_rank_only


def test_cases_of_one_cluster_can_confirm_nothing() -> None:
    assert split_cases(made_cases(120, n_clusters=1), 0).is_rank_only


def test_every_first_part_has_all_groups_in_proportion() -> None:
    cases = made_cases(400, "aaab")
    chosen = split_cases(cases, 0).choosing
    for n in (20, 50, 100):
        share = Counter(case.group for case in chosen[:n])["b"] / n
        assert abs(share - sum(case.group == "b" for case in chosen) / len(chosen)) <= 1.0 / n


def test_the_order_does_not_follow_the_data() -> None:
    chosen = split_cases(made_cases(400), 0).choosing
    assert [case.id for case in chosen] != sorted((case.id for case in chosen), key=int)

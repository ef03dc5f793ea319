"""Sides and draws: what stays as it is when rows are added, whatever is added."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from plugin.caseset.drawing import allot, draw, give_sides, parse_shares, side_of
from plugin.caseset.records import EARLIER, PoolRow
from plugin.errors import OptionError
from plugin.memorisation.marks import mark_cases
from plugin.memorisation.training import TrainingData
from tests.caseset.samples import (
    SHARES,
    as_earlier,
    build_from,
    near_to,
    pool_row,
    questions,
    sides_of,
    write_questions,
    write_rows,
)

SEEDS = range(12)


@pytest.mark.parametrize("seed", SEEDS)
def test_added_rows_move_no_case_to_another_side(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    texts = questions(rng.randint(20, 60), seed)
    before = sides_of(build_from(write_questions(tmp_path / "a.jsonl", texts)))
    added = [near_to(rng.choice(texts), rng) for _ in range(rng.randint(0, 40))]
    added += questions(rng.randint(0, 40), 1_000 + seed) + rng.choices(texts, k=5)
    mixed = texts + added
    rng.shuffle(mixed)
    after = sides_of(build_from(write_questions(tmp_path / "b.jsonl", mixed)))
    assert set(before.values()) == {"test", "dev"}
    assert {text: after[text] for text in before if text in after}.items() <= before.items()
    # What a case of the first side gives way to lies on that side, too.
    gone = [text for text in before if text not in after and before[text] == "test"]
    taken = {text: side for text, side in after.items() if text not in before}
    for text in gone:
        words = set(text.casefold().rstrip("?").split())
        near = [side for one, side in taken.items() if len(words & {*one.casefold().split()}) > 8]
        assert near and set(near) == {"test"}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_next_version_keeps_every_case_and_lets_nothing_near_to_it_onto_another_side(
    tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    texts = questions(rng.randint(20, 60), seed)
    first = build_from(write_questions(tmp_path / "a.jsonl", texts))
    added = [near_to(rng.choice(texts), rng) for _ in range(40)] + questions(20, 1_000 + seed)
    name = write_questions(tmp_path / "b.jsonl", added)
    second = build_from(name, earlier=as_earlier(first))
    assert sides_of(first).items() <= sides_of(second).items()
    for one, other in (("test", "dev"), ("dev", "test")):
        old = [row.case.input for row in first.rows if row.side == one]
        new = [row.case for row in second.rows if row.side == other]
        data = TrainingData((write_questions(tmp_path / f"{one}.jsonl", old),))
        assert {mark.mark for mark in mark_cases(data, new).marks} == {"clean"}


@pytest.mark.parametrize("seed", range(4))
def test_the_order_of_rows_and_files_changes_nothing(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    texts = questions(50, seed)
    texts += [near_to(rng.choice(texts), rng) for _ in range(30)]
    one = build_from(write_questions(tmp_path / "a.jsonl", texts), n=30, n_topics=3)
    rng.shuffle(texts)
    halves = [write_questions(tmp_path / f"{at}.jsonl", texts[at::2]) for at in (0, 1)]
    other = build_from(*halves, n=30, n_topics=3)
    assert [side.digest for side in one.sides] == [side.digest for side in other.sides]


def test_a_clusters_cases_are_on_one_side(tmp_path: Path) -> None:
    rows = [{"input": text, "cluster": f"user {n % 9}"} for n, text in enumerate(questions(60))]
    made = build_from(write_rows(tmp_path / "a.jsonl", rows))
    sides: dict[str | None, set[str]] = {}
    for row in made.rows:
        sides.setdefault(row.case.cluster, set()).add(row.side)
    assert len(sides) == 9 and all(len(found) == 1 for found in sides.values())
    assert set.union(*sides.values()) == {"test", "dev"}


def test_sides_get_about_their_shares() -> None:
    rows = [pool_row(text) for text in questions(3_000)]
    given = give_sides(rows, SHARES)
    n_test = sum(row.side == "test" for row in given)
    assert abs(n_test / 3_000 - 0.6) < 0.03  # three standard errors
    assert [side_of(rank, SHARES) for rank in (0.0, 0.599, 0.6, 0.999, 1.0)] == [
        *("test", "test", "dev", "dev", "dev")
    ]


def topic_rows(sizes: dict[str, int]) -> list[PoolRow]:
    texts = iter(questions(sum(sizes.values())))
    return [
        replace(pool_row(next(texts)), topic=topic) for topic, n in sizes.items() for _ in range(n)
    ]


def test_a_larger_draw_holds_the_smaller_one() -> None:
    rows = topic_rows({"a": 60, "b": 30, "c": 10})
    drawn = [{row.key for row in draw(rows, n, 3, seed=1)} for n in (10, 40, 80)]
    assert [len(keys) for keys in drawn] == [10, 40, 80]
    assert drawn[0] <= drawn[1] <= drawn[2]
    assert {row.key for row in draw(rows, 10, 3, seed=2)} != drawn[0]


def test_added_rows_push_out_only_those_whose_turn_is_later() -> None:
    rows = topic_rows({"a": 50})
    more = [*rows, *(topic_rows({"a": 60})[50:])]
    before, after = ({row.key for row in draw(own, 20, 0, seed=0)} for own in (rows, more))
    assert len(after - before) == len(before - after) <= 8
    assert after - before <= {row.key for row in more[50:]}


@pytest.mark.parametrize(
    ("n", "counts", "floor", "expected"),
    [
        (10, {"a": 50, "b": 30, "c": 20}, 0, {"a": 5, "b": 3, "c": 2}),
        (7, {"a": 50, "b": 30, "c": 20}, 0, {"a": 4, "b": 2, "c": 1}),  # 3.5, 2.1, 1.4
        (10, {"a": 96, "b": 3, "c": 1}, 2, {"a": 7, "b": 2, "c": 1}),  # c has only one
        (10, {"a": 96, "b": 3, "c": 1}, 0, {"a": 10, "b": 0, "c": 0}),
        (5, {"a": 90, "b": 5, "c": 5}, 4, {"a": 3, "b": 1, "c": 1}),  # room for a floor of 1
        (100, {"a": 4, "b": 3}, 5, {"a": 4, "b": 3}),
        (3, {}, 5, {}),
    ],
)
def test_cases_are_allotted_by_largest_remainders_above_the_floor(
    n: int, counts: dict[str, int], floor: int, expected: dict[str, int]
) -> None:
    assert allot(n, counts, floor) == expected


def test_what_is_taken_in_any_case_counts() -> None:
    assert allot(10, {"a": 50, "b": 50}, 2, {"b": 8}) == {"a": 2, "b": 8}
    assert allot(8, {"a": 50, "b": 50}, 2, {"b": 8}) == {"a": 0, "b": 8}


def test_every_allotment_is_within_its_bounds() -> None:
    rng = random.Random(0)
    for _ in range(300):
        counts = {f"t{n}": rng.randint(1, 40) for n in range(rng.randint(1, 9))}
        n, floor = rng.randint(1, 200), rng.randint(0, 9)
        found = allot(n, counts, floor)
        assert sum(found.values()) == min(n, sum(counts.values()))
        low = min(floor, n // len(counts))
        assert all(min(low, counts[name]) <= found[name] <= counts[name] for name in counts)


@pytest.mark.parametrize(
    "text", ["test", "test=1", "test=0.5", "a=0.5,a=0.5", "../a=0.5,b=0.5", "a=0.5,b=x", ""]
)
def test_bad_splits_are_refused(text: str) -> None:
    with pytest.raises(OptionError, match="--split test=0.7,dev=0.3"):
        parse_shares(text)


def test_a_split_is_read() -> None:
    assert parse_shares("test=0.7, dev=0.3") == (("test", 0.7), ("dev", 0.3))


def test_cases_of_an_earlier_version_stay_even_if_they_have_become_near(tmp_path: Path) -> None:
    texts = questions(30)
    twin = f"{texts[0].rstrip('?')} indeed"
    earlier = [replace(pool_row(text, EARLIER), side="test") for text in (texts[0], twin)]
    made = build_from(write_questions(tmp_path / "a.jsonl", texts), earlier=earlier)
    assert {texts[0], twin} <= sides_of(made).keys()
    assert made.pool.dropped[1].n == 0
    alone = build_from(write_questions(tmp_path / "b.jsonl", [*texts, twin]))
    assert alone.pool.dropped[1].n == 1

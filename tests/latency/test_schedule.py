"""Who is asked when: every case of every variant, in balance, with all places filled."""

from __future__ import annotations

import random
from collections import Counter
from itertools import islice, pairwise

import pytest

from plugin.latency.schedule import balanced_orders, level_size, plan_level
from plugin.records import Message, Prompt

NAMES = ("vanilla", "a", "b")


@pytest.mark.parametrize("n_variants", [1, 2, 3])
def test_each_variant_comes_as_often_in_each_place_and_after_each_other(n_variants: int) -> None:
    names = NAMES[:n_variants]
    orders = balanced_orders(names, 60, random.Random(1))
    assert all(sorted(order) == sorted(names) for order in orders)
    firsts = Counter(order[0] for order in orders)
    assert set(firsts.values()) == {60 // n_variants}
    follows = Counter((one, other) for order in orders for one, other in pairwise(order))
    assert len(set(follows.values())) <= 1
    assert balanced_orders(names, 60, random.Random(1)) == orders
    assert len(set(orders[:10])) > 1 or n_variants == 1


def test_how_much_is_sent() -> None:
    assert level_size(1, 2, 500, 0) == (100, 4)
    assert level_size(32, 2, 500, 0) == (128, 32)
    assert level_size(32, 3, 500, 0) == (128, 33)
    assert level_size(8, 2, 60, 0).n_cases == 60  # each case at most once
    assert level_size(8, 2, 500, 400).n_cases == 400


def test_a_level_warms_up_asks_each_case_of_each_variant_and_keeps_its_places_filled() -> None:
    ids = [str(i) for i in range(30)]
    prompts = {
        (one, name): Prompt(one, name, (Message("user", one),), ())
        for one in ids
        for name in NAMES[:2]
    }
    plan = plan_level(ids, NAMES[:2], prompts, level_size(4, 2, 30, 10), 4)
    sent = list(islice(plan.requests, 200))
    warm, counted, rest = sent[:4], sent[4:24], sent[24:]
    assert plan.n_counted == 20 and plan.n_at_once == 4
    assert not any(counts for _, counts in (*warm, *rest)) and all(counts for _, counts in counted)
    assert {(p.case_id, p.variant) for p, _ in counted} == {
        (one, name) for one in ids[:10] for name in NAMES[:2]
    }
    pairs = [(counted[i][0], counted[i + 1][0]) for i in range(0, 20, 2)]
    assert all(one.case_id == other.case_id for one, other in pairs)
    assert Counter(one.variant for one, _ in pairs) == {"vanilla": 5, "a": 5}
    assert {p.case_id for p, _ in (*warm, *rest)} == set(ids[10:])  # others than those that count

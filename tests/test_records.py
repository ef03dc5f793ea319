"""The values that everything talks about."""

from __future__ import annotations

import pytest

from plugin.records import Case, Message, MetricSpec, Preference, working_order
from tests.samples import case


@pytest.mark.parametrize(
    ("higher_is_better", "own", "base", "gain"),
    [
        (True, 0.75, 0.5, 0.25),
        (True, 0.5, 0.75, -0.25),
        (False, 0.75, 0.5, -0.25),
        (False, 2, 5, 3),
    ],
)
def test_a_gain_is_positive_where_the_variant_did_better(higher_is_better, own, base, gain):
    assert MetricSpec("key", "Name", higher_is_better).gain(own, base) == gain


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_no_difference_is_a_zero_without_a_minus_sign(higher_is_better):
    assert str(MetricSpec("key", "Name", higher_is_better).gain(0.5, 0.5)) == "0.0"


def test_the_order_of_work_follows_from_the_seed_and_leaves_no_case_out() -> None:
    cases = [case(str(number)) for number in range(20)]
    orders = [[one.id for one in working_order(cases, seed)] for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2]) == sorted(one.id for one in cases)


def test_the_input_is_the_last_user_text() -> None:
    texts = (("user", "Who plays Richard?"), ("assistant", "Thomas."), ("user", "And Dinesh?"))
    turns = tuple(Message(role, content) for role, content in texts)
    assert Case("1", turns).input == Case("1", (*turns, Message("assistant", "Kumail."))).input
    assert Case("1", turns).input == "And Dinesh?"


@pytest.mark.parametrize(
    ("first", "second", "is_asked", "is_flip"),
    [
        (2, 1, True, False),  # the same winner, by more or less
        (0, 0, True, False),
        (1, -1, True, True),
        (1, 0, True, True),  # a winner in one order alone
        (None, None, False, False),
    ],
)
def test_a_flip_is_another_winner_in_the_other_order(first, second, is_asked, is_flip) -> None:
    found = Preference("1", "adapter", "vanilla", "Preference", first, second, 0.5)
    assert (found.is_asked, found.is_flip) == (is_asked, is_flip)

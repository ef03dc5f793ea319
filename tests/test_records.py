"""The values that everything talks about."""

from __future__ import annotations

import pytest

from plugin.records import MetricSpec


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

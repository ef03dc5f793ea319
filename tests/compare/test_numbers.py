"""How numbers are written, in the verdict and on the page."""

from __future__ import annotations

import math

import pytest

from plugin.compare.numbers import (
    MISSING,
    format_count,
    format_interval,
    format_named_p,
    format_number,
    format_p,
    format_percent,
    format_range,
    format_rough,
    round_published,
)


@pytest.mark.parametrize(
    ("value", "text", "signed"),
    [
        (0.3249, "0.32", "+0.32"),
        (-0.3249, "-0.32", "-0.32"),
        (0.0004, "0.0004", "+0.0004"),
        (-0.00123, "-0.001", "-0.001"),
        (0.0000004, "0.00", "0.00"),
        (-0.0000004, "0.00", "0.00"),
        (0.0, "0.00", "0.00"),
        (-0.0, "0.00", "0.00"),
        (1234.5678, "1234.57", "+1234.57"),
    ],
)
def test_a_number_has_two_decimals_or_what_tells_it_from_zero(value, text, signed):
    assert format_number(value) == text
    assert format_number(value, signed=True) == signed


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_no_number_is_a_dash_or_the_word_asked_for(value):
    assert format_number(value) == MISSING
    assert format_number(value, missing="unknown") == "unknown"


def test_an_interval_in_words_and_as_its_ends():
    assert format_range(-0.1, 0.25, signed=True) == "-0.10 to +0.25"
    assert format_interval(-0.1, 0.25) == "95% interval -0.10 to 0.25"
    assert (format_range(None, None), format_interval(None, None)) == ("", "no interval")


@pytest.mark.parametrize(
    ("value", "cell", "named"),
    [
        (0.0004, "< 0.001", "p<0.001"),
        (0.0412, "0.041", "p=0.041"),
        (1.0, "1.000", "p=1.000"),
        (None, MISSING, "p unknown"),
    ],
)
def test_a_p_value_is_the_same_figure_in_a_table_and_in_a_sentence(value, cell, named):
    assert (format_p(value), format_named_p(value)) == (cell, named)


def test_shares_counts_and_rough_sizes():
    assert (format_percent(0.784), format_percent(-0.001), format_percent(None)) == (
        *("78%", "0%"),
        MISSING,
    )
    assert (format_count(1_234), format_count(1, "case", "cases")) == ("1,234", "1 case")
    assert format_count(2_000, "case", "cases") == "2,000 cases"
    assert (format_rough(2.1234), format_rough(0.0), format_rough(31.44, 3)) == ("2.1", "0", "31.4")


def test_published_numbers_have_four_decimals_and_no_minus_zero():
    assert str(round_published(-0.00001)) == "0.0"
    assert (round_published(2 / 3), round_published(math.inf)) == (0.6667, None)


def test_a_percentage_has_the_digits_of_the_number():
    for place in range(1001):
        share = place / 1000
        whole = round(100 * float(f"{share:.2f}"))
        assert format_percent(share) == f"{whole}%"

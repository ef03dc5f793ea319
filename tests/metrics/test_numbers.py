"""Numeric Match reads numbers as people write them."""

from __future__ import annotations

import random

import pytest

from plugin.errors import OptionError
from plugin.metrics.entry import TaskSettings
from plugin.metrics.numbers import read_numbers, read_tolerance
from tests.metrics.task_samples import N_RANDOM, measure_of, score, score_text
from tests.samples import case


def test_200_random_numbers_are_read_in_every_spelling() -> None:
    """Python's own formatting is the other implementation."""
    draw = random.Random(5)
    for _ in range(N_RANDOM):
        value = round(draw.uniform(-1, 1) * 10 ** draw.randint(0, 9), draw.randint(0, 4))
        english = f"{value:,.2f}"
        spellings = {
            english: float(f"{value:.2f}"),
            english.translate(str.maketrans(",.", ".,")): float(f"{value:.2f}"),
            f"{value:.4f}": float(f"{value:.4f}"),
            f"It is {value:,.4f}.": float(f"{value:.4f}"),
            f"{value:.12e}": value,
        }
        for text, wanted in spellings.items():
            (found,) = read_numbers(text)
            assert found.value == pytest.approx(wanted, rel=1e-9, abs=1e-9), text


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1 234.5", [1234.5]),
        ("3/4", [0.75]),
        ("2.5 million", [2.5e6]),
        ("٣٫٥", [3.5]),
        ("from 3-5", [3, 5]),
        ("from 3 to -5", [3, -5]),
        ("−7", [-7]),
        ("1,2,3", [1, 2, 3][-1:]),
        ("10, 20", [10, 20]),
        ("B12 and H2O", []),
        ("1/0", []),
        ("none", []),
    ],
)
def test_numbers_of_a_text(text: str, values: list[float]) -> None:
    assert [found.value for found in read_numbers(text)] == pytest.approx(values)


@pytest.mark.parametrize(
    ("text", "wanted", "value"),
    [
        ("First 3, then 5, so the answer is 42.", "42", 1),
        ("42, as 6 times 7", "42", 0),  # the last number counts
        ("#### 1,234", "1234", 1),
        ("$1,234.00", "1234", 1),
        ("50%", "0.5", 1),
        ("50 %", "50", 1),
        ("0.5", "50%", 1),
        ("5%", "50%", 0),
        ("1.5 km", "1500 m", 1),
        ("90 minutes", "1.5 hours", 1),
        ("1.5 kg", "1500 m", 0),
        ("1500", "1500 m", 1),
        ("0.30000000000000004", "0.3", 1),
        ("0.301", "0.3", 0),
        ("none", "3", 0),
        ("٤٢", "42", 1),
    ],
)
def test_the_last_number_counts(text: str, wanted: str, value: float) -> None:
    assert score_text("Numeric Match", text, wanted).value == value


@pytest.mark.parametrize(
    ("tolerance", "text", "value"),
    [("0.01", "3.15", 1), ("0.01", "3.16", 0), ("1%", "3.17", 1), ("1%", "3.18", 0)],
)
def test_the_tolerance_is_a_number_or_a_share(tolerance: str, text: str, value: float) -> None:
    settings = TaskSettings(number_tolerance=tolerance)
    assert score_text("Numeric Match", text, "3.14", settings).value == value


def test_what_cannot_work_is_refused() -> None:
    for text in ("-1", "x", "nan", "inf", "%"):
        if text == "%":
            assert read_tolerance(text).share == 0
            continue
        with pytest.raises(OptionError, match="--number_tolerance"):
            read_tolerance(text)
    with pytest.raises(OptionError, match="expected output of case 1 has no number"):
        score_text("Numeric Match", "3", "three")


def test_a_long_text_is_read_at_once() -> None:
    one = case(expected_output="9")
    assert score(measure_of("Numeric Match", [one]), "1,234 and 5/ 6 km " * 6000 + "9", one).value

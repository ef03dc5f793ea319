"""Generate items of the ability arithmetic: eighteen forms of exercise, five of each.

Every form has wordings of its own, and every answer is computed with whole numbers or fractions.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

SEED = 20_261
EACH = 5
"""Items of every form."""

N_QUICK = 1
"""Of every second form, the first so many items are in the quick set."""

Made = tuple[str, int | Fraction]
"""A question, and its answer."""


def _add(pick: random.Random) -> Made:
    a, b = pick.randint(11, 59), pick.randint(11, 39)
    words = pick.choice(["What is {} + {}?", "Add {} and {}.", "How much is {} plus {}?"])
    return words.format(a, b), a + b


def _subtract(pick: random.Random) -> Made:
    a, b = pick.randint(40, 99), pick.randint(11, 38)
    words = pick.choice(["What is {} - {}?", "{} minus {} equals what?", "Work out {} - {}."])
    return words.format(a, b), a - b


def _times_table(pick: random.Random) -> Made:
    a, b = pick.randint(3, 9), pick.randint(3, 9)
    words = pick.choice(["What is {} × {}?", "{} times {} is what?", "Multiply {} by {}."])
    return words.format(a, b), a * b


def _divide(pick: random.Random) -> Made:
    a, b = pick.randint(3, 9), pick.randint(3, 9)
    words = pick.choice(
        ["What is {} divided by {}?", "What is {} ÷ {}?", "How often does {1} go into {0}?"]
    )
    return words.format(a * b, b), a


def _missing_term(pick: random.Random) -> Made:
    a, b = pick.randint(4, 19), pick.randint(5, 19)
    words = pick.choice(
        ["{} + ? = {}. Which number is missing?", "What must be added to {} to get {}?"]
    )
    return words.format(a, a + b), b


def _half_or_double(pick: random.Random) -> Made:
    a = 2 * pick.randint(13, 48)
    if pick.random() < 0.5:
        return f"What is half of {a}?", a // 2
    return f"What is the double of {a}?", 2 * a


def _add_large(pick: random.Random) -> Made:
    a, b = pick.randint(234, 899), pick.randint(156, 789)
    words = pick.choice(
        ["What is {} + {}?", "Find the sum of {} and {}.", "{} and {} make how much?"]
    )
    return words.format(a, b), a + b


def _subtract_large(pick: random.Random) -> Made:
    a, b = pick.randint(521, 999), pick.randint(123, 487)
    words = pick.choice(
        ["What is {} - {}?", "Take {1} away from {0}.", "How much larger is {} than {}?"]
    )
    return words.format(a, b), a - b


def _multiply(pick: random.Random) -> Made:
    a, b = pick.randint(13, 68), pick.randint(4, 9)
    words = pick.choice(
        ["What is {} × {}?", "Compute {} * {}.", "What is the product of {} and {}?"]
    )
    return words.format(a, b), a * b


def _order(pick: random.Random) -> Made:
    a, b, c = pick.randint(5, 30), pick.randint(3, 9), pick.randint(3, 9)
    if pick.random() < 0.5:
        return f"What is {a} + {b} × {c}?", a + b * c
    return f"What is ({a} + {b}) × {c}?", (a + b) * c


def _percent(pick: random.Random) -> Made:
    share, of = pick.choice([10, 20, 25, 50, 75, 5]), 20 * pick.randint(4, 30)
    words = pick.choice(["What is {}% of {}?", "How much is {} percent of {}?"])
    return words.format(share, of), Fraction(share * of, 100)


def _part(pick: random.Random) -> Made:
    below = pick.choice([3, 4, 5, 6, 8])
    above, of = pick.randint(2, below - 1), below * pick.randint(5, 14)
    return f"What is {above}/{below} of {of}?", Fraction(above * of, below)


def _multiply_large(pick: random.Random) -> Made:
    a, b = pick.randint(23, 89), pick.randint(17, 68)
    words = pick.choice(["What is {} × {}?", "Multiply {} by {}.", "Work out {} times {}."])
    return words.format(a, b), a * b


def _remainder(pick: random.Random) -> Made:
    a, b = pick.randint(130, 890), pick.choice([7, 9, 11, 12, 13])
    words = pick.choice(
        ["What is the remainder when {} is divided by {}?", "What is {} modulo {}?"]
    )
    return words.format(a, b), a % b


def _chain(pick: random.Random) -> Made:
    a, b, c, d = (pick.randint(6, 24) for _ in range(4))
    if pick.random() < 0.5:
        return f"What is {a} × {b} - {c} × {d}?", a * b - c * d
    return f"What is ({a} + {b}) × ({c} - {d})?", (a + b) * (c - d)


def _decimals(pick: random.Random) -> Made:
    a, b = Fraction(pick.randint(105, 890), 100), Fraction(pick.randint(11, 99), 10)
    if pick.random() < 0.5:
        return f"What is {float(a):g} + {float(b):g}?", a + b
    return f"What is {float(a):g} - {float(b):g}?", a - b


def _squares(pick: random.Random) -> Made:
    a, b = pick.randint(12, 25), pick.randint(4, 11)
    words = pick.choice(
        ["What is {}² - {}²?", "By how much is the square of {} larger than that of {}?"]
    )
    return words.format(a, b), a * a - b * b


def _divide_large(pick: random.Random) -> Made:
    a, b = pick.randint(23, 87), pick.choice([12, 14, 16, 17, 18, 23])
    words = pick.choice(
        ["What is {} ÷ {}?", "Divide {} by {}.", "{} items in {} equal rows: how many in each?"]
    )
    return words.format(a * b, b), a


FORMS: tuple[tuple[int, Callable[[random.Random], Made]], ...] = (
    *((1, form) for form in (_add, _subtract, _times_table, _divide, _missing_term)),
    (1, _half_or_double),
    *((2, form) for form in (_add_large, _subtract_large, _multiply, _order, _percent, _part)),
    *((3, form) for form in (_multiply_large, _remainder, _chain, _decimals, _squares)),
    (3, _divide_large),
)
"""Level and form: 1 for easy, 3 for hard."""

_ASKS = ("Answer with the number only.", "Give only the number.", "Reply with just the result.")


def rows() -> list[dict[str, Any]]:
    """Return the generated rows, always the same ones; none has its answer in its question."""
    pick, made, seen = random.Random(SEED), list[dict[str, Any]](), set[str]()
    for i_form, (level, form) in enumerate(FORMS):
        for i in range(EACH):
            question, answer = form(pick)
            while question in seen or f"{answer}" in re.findall(r"\d+", question):
                question, answer = form(pick)
            seen.add(question)
            row = {
                "id": f"arithmetic-g{len(made) + 1:03}",
                "input": f"{question} {_ASKS[len(made) % len(_ASKS)]}",
                "rule": "number",
                "check": {"answer": int(answer) if answer == int(answer) else float(answer)},
                "level": level,
            }
            if i < N_QUICK and i_form % 2 == 0:
                row["quick"] = True
            made.append(row)
    return made

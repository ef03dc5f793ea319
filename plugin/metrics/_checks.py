"""What an answer must meet beyond its schema; DeepEval itself checks none of this.

An answer without verdicts would get the best score there.
"""

from __future__ import annotations

import math

from pydantic import BaseModel

from plugin.metrics import Check


def one_verdict_each(n_items: int, items: str) -> Check:
    """As many verdicts as there are items.

    Args:
        n_items: how many.
        items: what they are, in words.
    """

    def check(answer: BaseModel) -> str | None:
        verdicts = getattr(answer, "verdicts", None)
        if verdicts is not None and len(verdicts) != n_items:
            return f"{len(verdicts)} verdicts for {n_items} {items}"
        return None

    return check


def verdict_on_each(listed: str, *, may_be_none: bool = False) -> Check:
    """One verdict for each item that an earlier answer to the same metric listed.

    Args:
        listed: the earlier answer's field, such as "statements".
        may_be_none: whether that list may be empty (most texts hold no opinion).
    """
    n_items = 0

    def check(answer: BaseModel) -> str | None:
        nonlocal n_items
        items = getattr(answer, listed, None)
        if items is not None:
            n_items = len(items)
            return _unlisted(items, listed, may_be_none)
        return one_verdict_each(n_items, listed)(answer)

    return check


def some(*fields: str) -> Check:
    """None of these lists is empty."""

    def check(answer: BaseModel) -> str | None:
        for field in fields:
            if (items := getattr(answer, field, None)) is not None and not items:
                return f"an empty list of {field}"
        return None

    return check


def score_within(low: float, high: float) -> Check:
    """A score is finite and within its range."""

    def check(answer: BaseModel) -> str | None:
        score = getattr(answer, "score", None)
        if score is not None and not (math.isfinite(score) and low <= score <= high):
            return f"score {score} outside {low:g} to {high:g}"
        return None

    return check


def all_of(*checks: Check) -> Check:
    """The first problem that any of the checks finds."""

    def check(answer: BaseModel) -> str | None:
        return next((problem for each in checks if (problem := each(answer))), None)

    return check


def _unlisted(items: list[str], listed: str, may_be_none: bool) -> str | None:
    if not (items or may_be_none):
        return f"an empty list of {listed}"
    if not all(text.strip() for text in items):
        return f"an empty text among the {listed}"
    return None

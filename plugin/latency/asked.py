"""What a user writes about a load: how many requests at once, and what must not get slower."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from plugin.errors import OptionError

SHARES = (0.5, 0.95, 0.99)
"""The quantiles that are shown."""

MOST_AT_ONCE = 1_000
"""Requests at once; more would measure this program, not the server."""

MOST_LEVELS = 10
_HOW = "write whole numbers with commas, such as --load 1,8,32"


def share_name(share: float) -> str:
    """Return the name of a quantile, such as "p95"."""
    return f"p{100 * share:g}"


@dataclass(frozen=True, slots=True)
class LoadGuard:
    """How many times as long as the base a variant may take for an answer.

    Attributes:
        share: the quantile of the time for an answer that is compared.
        most: the largest ratio.
    """

    share: float
    most: float

    @property
    def name(self) -> str:
        """Return it in words."""
        return f"{share_name(self.share)} at most {self.most:g} times the base's"


def read_levels(words: Sequence[str]) -> tuple[int, ...]:
    """Return how many requests run at once at each level, the smallest number first.

    Raises:
        OptionError: naming every word that is no such number.
    """
    problems, found = list[str](), list[int]()
    for word in words:
        number = int(word) if word.isascii() and word.isdigit() and len(word) < 10 else None
        if number is None:
            problems.append(f"{word!r} is no number; {_HOW}")
        elif not 1 <= number <= MOST_AT_ONCE:
            problems.append(f"{number} at once: choose 1 to {MOST_AT_ONCE:,}; {_HOW}")
        elif number in found:
            problems.append(f"{number} stands there twice; name each level once")
        else:
            found.append(number)
    if len(found) > MOST_LEVELS:
        problems.append(f"{len(found)} levels; name at most {MOST_LEVELS}")
    if problems:
        raise OptionError("\n".join(f"--load {problem}" for problem in problems))
    return tuple(sorted(found))


def read_guard(text: str) -> LoadGuard | None:
    """Return what must not get slower: a ratio, perhaps with a quantile before it; None for "".

    Raises:
        OptionError: when it is no ratio above zero, or an unknown quantile.
    """
    if not text:
        return None
    name, has_name, number = text.rpartition("=")
    shares = {share_name(share): share for share in SHARES}
    share = shares.get(name.strip().casefold()) if has_name else SHARES[0]
    try:
        most = float(number)
    except ValueError:
        most = math.nan
    if share is None or not 0 < most < math.inf:
        raise OptionError(
            f"--load_guard {text!r}: write how many times as long as the base's an answer may "
            f"take, such as 1.5, or p95=2 (one of {', '.join(shares)})"
        )
    return LoadGuard(share, most)

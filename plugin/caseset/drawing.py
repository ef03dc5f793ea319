"""Draw cases by topic, and give each its side: both by content, so that added rows change little.

- A case's side follows from its rank, which is made of its content or its cluster's name alone. So
  whatever is added to the pool, no case changes its side.
- Within a topic, cases are drawn by a number that is made of content and seed. So a larger draw
  from it holds the smaller one; with added rows, a case leaves only where new ones come before it.
- Cases of an earlier version are always drawn, and keep their side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from plugin.caseset.pool import draw_order
from plugin.caseset.records import PoolRow
from plugin.errors import OptionError

Shares = Sequence[tuple[str, float]]


def draw(rows: Sequence[PoolRow], n: int, floor: int, seed: int) -> list[PoolRow]:
    """Return n rows, each topic by its share of the pool but with at least `floor` if it has them.

    Args:
        rows: the pool, with topics.
        n: how many; all if there are no more.
        floor: the least of a topic; less where n is too small for it.
        seed: of the draw.
    """
    by_topic: dict[str, list[PoolRow]] = {}
    for row in rows:
        by_topic.setdefault(row.topic, []).append(row)
    counts = {topic: len(own) for topic, own in by_topic.items()}
    earlier = {topic: sum(row.is_earlier for row in own) for topic, own in by_topic.items()}
    drawn: list[PoolRow] = []
    for topic, size in allot(n, counts, floor, earlier).items():
        own = sorted(by_topic[topic], key=lambda row: _turn(row, seed))
        drawn += own[:size]
    return sorted(drawn, key=lambda row: _turn(row, seed))


def _turn(row: PoolRow, seed: int) -> tuple[bool, float, str]:
    turn = row.position if row.is_earlier else draw_order(row.key, seed)
    return not row.is_earlier, turn, row.key


def allot(
    n: int, counts: Mapping[str, int], floor: int, taken: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Return how many of each stratum to draw: by largest remainders, above the floor.

    A stratum whose share is below its floor gets the floor, and the others share what is left.

    Args:
        n: how many in all; at most all of them are drawn.
        counts: size of each stratum.
        floor: the least of each, if it has them; with many strata at most an equal part of n.
        taken: how many of each are drawn in any case.
    """
    n, taken = min(n, sum(counts.values())), taken or {}
    low = min(floor, n // max(1, len(counts)))
    least = {name: max(taken.get(name, 0), min(low, size)) for name, size in counts.items()}
    if sum(least.values()) > n:  # what is taken in any case leaves no room for floors
        least = {name: taken.get(name, 0) for name in counts}
    fixed: dict[str, int] = {}
    while True:
        free = {name: size for name, size in counts.items() if name not in fixed}
        left, total = n - sum(fixed.values()), sum(free.values())
        short = [name for name, size in free.items() if left * size < least[name] * total]
        if not short:
            break
        fixed |= {name: least[name] for name in short}
    return {name: (fixed | _largest_remainders(left, free))[name] for name in counts}


def _largest_remainders(n: int, counts: Mapping[str, int]) -> dict[str, int]:
    total = sum(counts.values())
    found = {name: n * size // total for name, size in counts.items()} if total else {}
    by_rest = sorted(found, key=lambda name: (-(n * counts[name] % total), name))
    for name in by_rest[: n - sum(found.values())]:
        found[name] += 1
    return found


def give_sides(rows: Sequence[PoolRow], shares: Shares) -> list[PoolRow]:
    """Return the rows with their sides; one that has a side keeps it."""
    return [row if row.side else replace(row, side=side_of(row.rank, shares)) for row in rows]


def side_of(rank: float, shares: Shares) -> str:
    """Return the side of a rank: the sides lie one after the other between 0 and 1."""
    end = 0.0
    for name, share in shares:
        end += share
        if rank < end:
            return name
    return shares[-1][0]


def parse_shares(text: str) -> tuple[tuple[str, float], ...]:
    """Return the sides of a text such as "test=0.7,dev=0.3".

    Raises:
        OptionError: when it is none, or the shares do not add up to 1.
    """
    rule = "write names and shares that add up to 1, as in --split test=0.7,dev=0.3"
    found: list[tuple[str, float]] = []
    for part in text.split(","):
        name, _, share = part.strip().partition("=")
        try:
            value = float(share)
        except ValueError:
            value = 0.0
        if not (name.isidentifier() and 0 < value < 1):
            raise OptionError(f"--split {text}: {part.strip()!r} is no side; {rule}")
        found.append((name, value))
    if len(dict(found)) < len(found) or abs(sum(share for _, share in found) - 1) > 1e-6:
        raise OptionError(f"--split {text}: {rule}")
    return tuple(found)

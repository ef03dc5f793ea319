"""Which requests are sent at a level of load, and in which order.

Every case that counts is asked of each variant, one after the other, so that all of them meet the
same load and the same hour. Who comes first changes from case to case in balance: what the first
one leaves behind (a warm cache, a busy moment) falls on all alike. Requests before the first one
that counts fill all places, and requests after the last one keep them filled.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, cycle
from typing import NamedTuple

from plugin.engines import LoadPlan
from plugin.records import Prompt

LEAST_REQUESTS = 100
"""Requests of each variant and level, if there are as many cases: enough for p95."""

PER_PLACE = 4
"""Requests of each variant for each one that is under way at once, so that places turn over."""

Prompts = Mapping[tuple[str, str], Prompt]
"""Case id and variant -> the prompt."""


class LevelSize(NamedTuple):
    """How much is sent at a level.

    Attributes:
        n_cases: cases that count, each asked of every variant.
        n_warm: requests before, of all variants together.
    """

    n_cases: int
    n_warm: int


def level_size(n_at_once: int, n_variants: int, n_cases: int, n_asked: int) -> LevelSize:
    """Return how much is sent at a level.

    Args:
        n_at_once: requests under way at once.
        n_variants: the variants.
        n_cases: all cases of the run; each counts at most once, for a repetition tells little.
        n_asked: requests of each variant that the user asked for; 0 leaves it to the program.
    """
    wanted = n_asked or max(LEAST_REQUESTS, PER_PLACE * n_at_once)
    n_warm = -(-max(n_at_once, 2 * n_variants) // n_variants) * n_variants
    return LevelSize(min(wanted, n_cases), n_warm)


def plan_level(
    case_ids: Sequence[str], variants: Sequence[str], prompts: Prompts, size: LevelSize, at: int
) -> LoadPlan:
    """Return what is sent at a level.

    Args:
        case_ids: in the order of work, which is a random one.
        variants: names, the base first.
        prompts: of all of these.
        size: how much of it.
        at: requests under way at once; also fixes the orders.
    """
    rng = random.Random(at)
    counted, others = case_ids[: size.n_cases], case_ids[size.n_cases :] or case_ids
    orders = balanced_orders(variants, len(counted), rng)
    asked = [
        (prompts[case_id, name], True)
        for case_id, order in zip(counted, orders, strict=True)
        for name in order
    ]
    around = cycle([(prompts[case_id, name], False) for case_id in others for name in variants])
    warm = [next(around) for _ in range(size.n_warm)]
    return LoadPlan(_endless(warm, asked, around), at, len(asked))


def _endless(
    warm: Sequence[tuple[Prompt, bool]],
    asked: Sequence[tuple[Prompt, bool]],
    rest: Iterator[tuple[Prompt, bool]],
) -> Iterator[tuple[Prompt, bool]]:
    return chain(warm, asked, rest)


def balanced_orders(variants: Sequence[str], n: int, rng: random.Random) -> list[tuple[str, ...]]:
    """Return an order of the variants for each of n cases; each comes as often in each place.

    Rotations, forwards and backwards, so that each variant also follows each other one alike.
    """
    forwards, backwards = tuple(variants), tuple(reversed(variants))
    turned = [
        each[place:] + each[:place]
        for place in range(len(forwards))
        for each in (forwards, backwards)
    ]
    blocks = list(dict.fromkeys(turned))
    orders: list[tuple[str, ...]] = []
    while len(orders) < n:
        orders += rng.sample(blocks, len(blocks))
    return orders[:n]

"""Made-up pools, and sets built from them without a folder."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from plugin.caseset.build import build
from plugin.caseset.pool import as_pool_row
from plugin.caseset.records import EARLIER, BuildRequest, CaseSet, PoolRow
from plugin.caseset.sizes import USUAL
from plugin.records import Case, Message
from tests.memorisation.samples import WORDS

SHARES = (("test", 0.6), ("dev", 0.4))


def questions(n: int, seed: int = 0) -> list[str]:
    """Questions of twelve words that have little in common."""
    rng = random.Random(seed)
    return [f"What about {' '.join(rng.sample(WORDS, 10))}?" for _ in range(n)]


def near_to(text: str, rng: random.Random) -> str:
    """The question with another word at its end, or in upper case and with one more."""
    words = text.rstrip("?").split()
    if rng.random() < 0.5:
        return " ".join([*words[:-1], rng.choice(WORDS)])
    return " ".join([*words, rng.choice(WORDS)]).upper()


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> str:
    path.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), "utf-8")
    return str(path)


def write_questions(path: Path, texts: Iterable[str]) -> str:
    return write_rows(path, ({"input": text} for text in texts))


def pool_row(text: str, place: str = "pool.jsonl, row 1", **facts: Any) -> PoolRow:
    return as_pool_row(Case("1", (Message("user", text),), **facts), place)


def request_for(*pool: str, **changed: Any) -> BuildRequest:
    made = BuildRequest(pool, "set", n=10_000, n_topics=1, shares=SHARES)
    return replace(made, **changed)


def build_from(*pool: str, earlier: Sequence[PoolRow] = (), **changed: Any) -> CaseSet:
    return build(request_for(*pool, **changed), USUAL, earlier)


def as_earlier(made: CaseSet) -> list[PoolRow]:
    """The cases of a set as its next version reads them."""
    return [replace(row, place=EARLIER) for row in made.rows]


def sides_of(made: CaseSet) -> dict[str, str]:
    """Question -> side."""
    return {row.case.input: row.side for row in made.rows}

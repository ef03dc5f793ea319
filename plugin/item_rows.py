"""Keep in a run's journal what the variants did with items of general ability, and with texts.

An item that another try may bring (memory was short, a server gave no answer) has a row that says
so; it is asked again when the run goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Literal

from plugin.load_rows import LoadRows

Source = Literal["probe", "lm-eval"]
"""Where items come from: the shipped probe, or tasks of lm-evaluation-harness."""


@dataclass(frozen=True, slots=True)
class ItemResult:
    """What one variant did with one item.

    Attributes:
        source: where the item comes from.
        ability: the ability that the item tests, or the name of the task.
        item_id: identifies the item within its source.
        variant: who answered.
        score: 0 to 1, more is better; None when there is none.
        output: what the variant answered; for likelihood items, the option that it preferred.
        reason: why the score is what it is, or why there is none; may be empty.
    """

    source: Source
    ability: str
    item_id: str
    variant: str
    score: float | None
    output: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class TextReading:
    """How likely one variant finds one text, and how far it is from the base on it.

    Attributes:
        text_id: identifies the text for good.
        kind: what kind of text it is.
        variant: who read it.
        n_tokens: tokens whose probability counts.
        n_bytes: length of the text in UTF-8.
        loglikelihood: of the text, in nats; None when there is none.
        divergence: mean Kullback-Leibler divergence from the base's next tokens to the variant's,
            in nats; None for the base, and where there is none.
        token_digest: of the text's tokens: texts are compared per token where it is the same.
        reason: why something is missing; "" for nothing.
    """

    text_id: str
    kind: str
    variant: str
    n_tokens: int
    n_bytes: int
    loglikelihood: float | None
    divergence: float | None = None
    token_digest: str = ""
    reason: str = ""


ITEM_TABLES = """
CREATE TABLE IF NOT EXISTS item_results (
    source TEXT, ability TEXT NOT NULL, item_id TEXT, variant TEXT, score REAL, output TEXT,
    reason TEXT, retry INTEGER NOT NULL, PRIMARY KEY (source, item_id, variant));
CREATE TABLE IF NOT EXISTS text_readings (
    text_id TEXT, kind TEXT, variant TEXT, n_tokens INTEGER NOT NULL, n_bytes INTEGER NOT NULL,
    loglikelihood REAL, divergence REAL, token_digest TEXT, reason TEXT,
    retry INTEGER NOT NULL, PRIMARY KEY (text_id, variant));
CREATE TABLE IF NOT EXISTS next_tokens (text_id TEXT PRIMARY KEY, body TEXT NOT NULL);
"""

_RESULT = "source, ability, item_id, variant, score, output, reason"
_READING = (
    "text_id, kind, variant, n_tokens, n_bytes, loglikelihood, divergence, token_digest, reason"
)


class ItemRows(LoadRows):
    """The part of a journal that keeps results of items and readings of texts."""

    added_tables = LoadRows.added_tables | {"item_results", "text_readings", "next_tokens"}

    def add_item_results(self, rows: Sequence[ItemResult], *, retry: bool = False) -> None:
        """Keep results, all of them or none; each replaces an earlier one of the same item.

        Args:
            rows: what one or more variants did with items.
            retry: whether another try may help; such items are asked again.
        """
        with self.transaction():
            for row in rows:
                hide = self._mask.in_content
                self._query(
                    "INSERT OR REPLACE INTO item_results VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    *(row.source, row.ability, row.item_id, row.variant, row.score),
                    *(hide(row.output), hide(row.reason), retry),
                )

    def item_results(self) -> tuple[ItemResult, ...]:
        """Return all results, in the order in which they were made."""
        rows = self._rows(f"SELECT {_RESULT} FROM item_results ORDER BY rowid")
        return tuple(ItemResult(*row) for row in rows)

    def answered_items(self) -> set[tuple[str, str, str]]:
        """Return source, item and variant of every result that another try cannot improve."""
        rows = self._rows("SELECT source, item_id, variant FROM item_results WHERE NOT retry")
        return set(rows)

    def add_text_reading(self, row: TextReading, *, retry: bool = False) -> None:
        """Keep a reading; it replaces an earlier one of the same text and variant."""
        self._query(
            "INSERT OR REPLACE INTO text_readings VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(*astuple(row), retry),
        )

    def text_readings(self) -> tuple[TextReading, ...]:
        """Return all readings, in the order in which they were made."""
        rows = self._rows(f"SELECT {_READING} FROM text_readings ORDER BY rowid")
        return tuple(TextReading(*row) for row in rows)

    def read_texts(self) -> set[tuple[str, str]]:
        """Return text and variant of every reading that another try cannot improve."""
        return set(self._rows("SELECT text_id, variant FROM text_readings WHERE NOT retry"))

    def add_next_tokens(self, text_id: str, body: str) -> None:
        """Keep which tokens the base expects next in a text, for variants of another load."""
        self._query("INSERT OR REPLACE INTO next_tokens VALUES (?, ?)", text_id, body)

    def next_tokens(self) -> dict[str, str]:
        """Return what the base expects next, by text."""
        return dict(self._rows("SELECT text_id, body FROM next_tokens"))

"""Keep in a run's journal how long each request of a load took, level by level.

A level is a number of requests under way at once. Its rows are written together when it is done:
half a level says nothing, because who runs beside whom is part of what is measured.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from pydantic import TypeAdapter

from plugin.preference_rows import PreferenceRows

Counted = Literal["server", "pieces", ""]
"""Who counted an answer's tokens: the server, or nobody but its pieces; "" for no count."""


@dataclass(frozen=True, slots=True)
class StreamedRequest:
    """What one request took; times are in seconds from the moment it was sent.

    Attributes:
        first_s: until the first text of any kind; None without text, or if it was not streamed.
        first_answer_s: the same for the first text after the thoughts of a model that thinks.
        total_s: until the answer was complete; None where the request failed.
        text_s: from the first text to the last one.
        n_tokens: length of the answer with its thoughts; None where nobody counted it.
        counted_by: who counted it.
        n_pieces: pieces of text that were sent.
        n_arrivals: moments at which text arrived: several pieces may arrive at one.
        has_thoughts: whether the model thought before it answered.
        n_prompt_tokens: length of the prompt; None where not told.
        n_cached_tokens: of these, those that the server had read before; None where not told.
        failure: why there is no whole answer; "" where there is one.
        too_many: whether the server refused it because there were too many.
        is_stream: whether it was answered by a stream; False for one whole JSON answer.
    """

    case_id: str
    variant: str
    first_s: float | None = None
    first_answer_s: float | None = None
    total_s: float | None = None
    text_s: float | None = None
    n_tokens: int | None = None
    counted_by: Counted = ""
    n_pieces: int = 0
    n_arrivals: int = 0
    has_thoughts: bool = False
    n_prompt_tokens: int | None = None
    n_cached_tokens: int | None = None
    failure: str = ""
    too_many: bool = False
    is_stream: bool = True

    @property
    def tokens_per_s(self) -> float | None:
        """Return the tokens per second after the first one; None where there is no such rate."""
        if not (self.text_s and self.n_tokens and self.n_tokens > 1):
            return None
        return (self.n_tokens - 1) / self.text_s


LOAD_TABLES = """
CREATE TABLE IF NOT EXISTS load_requests (
    level INTEGER, position INTEGER, body TEXT NOT NULL, PRIMARY KEY (level, position));
"""

_REQUEST = TypeAdapter(StreamedRequest)


class LoadRows(PreferenceRows):
    """The part of a journal that keeps what requests under load took."""

    added_tables = PreferenceRows.added_tables | {"load_requests"}

    def set_load_level(self, level: int, rows: Sequence[StreamedRequest]) -> None:
        """Keep the requests of a level, all of them or none, in place of earlier ones."""
        with self.transaction():
            self._query("DELETE FROM load_requests WHERE level = ?", level)
            for position, row in enumerate(rows):
                body = json.dumps(asdict(row), ensure_ascii=False)
                hidden = self._mask.in_content(body)
                self._query("INSERT INTO load_requests VALUES (?, ?, ?)", level, position, hidden)

    def load_requests(self) -> dict[int, tuple[StreamedRequest, ...]]:
        """Return the requests by level, in the order in which they ended."""
        found: dict[int, list[StreamedRequest]] = {}
        rows = self._rows("SELECT level, body FROM load_requests ORDER BY level, position")
        with self._reading("load_requests"):
            for level, body in rows:
                found.setdefault(level, []).append(_REQUEST.validate_json(body))
        return {level: tuple(own) for level, own in found.items()}

"""What the tests' inference server streams: pieces of set number at set times, and faults."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Piece = tuple[float, bytes]
"""Seconds to wait, then what is sent."""


@dataclass(frozen=True)
class Style:
    """How one model streams.

    Attributes:
        first_s: seconds until the first text.
        token_s: seconds between two pieces.
        n_tokens: of the answer.
        n_thoughts: pieces of thoughts before it.
        thoughts_as: the field that holds them, or "tags" for tags within the text.
        usage: whether it counts tokens where asked to.
        mark: whether the stream ends with [DONE].
        finish: whether the last chunk says why the answer ended.
        ending: what ends a line.
        comments: whether comments come in between.
        cut_after: pieces after which the connection breaks; None for a whole stream.
        error_after: pieces after which an error comes; None for none.
        endless: whether pieces go on for ever.
        at_once: whether all pieces come in one go at the end.
        piece: the text of every piece.
        split: bytes that are sent at once; 0 for a whole event.
    """

    first_s: float = 0.0
    token_s: float = 0.0
    n_tokens: int = 8
    n_thoughts: int = 0
    thoughts_as: str = "reasoning_content"
    usage: bool = True
    mark: bool = True
    finish: bool = True
    ending: str = "\n"
    comments: bool = False
    cut_after: int | None = None
    error_after: int | None = None
    endless: bool = False
    at_once: bool = False
    piece: str = "wörd "
    split: int = 0

    def stream(self, body: dict[str, Any], chat: bool) -> Iterator[Piece]:
        """Yield what is sent to answer a request."""
        found = self._events(body, chat)
        if self.at_once:
            pieces = list(found)
            yield sum(wait for wait, _ in pieces), b"".join(part for _, part in pieces)
            return
        for wait, part in found:
            for start in range(0, len(part), self.split or len(part)):
                yield (0.0 if start else wait), part[start : start + (self.split or 1 << 20)]

    def _events(self, body: dict[str, Any], chat: bool) -> Iterator[Piece]:
        if chat:
            yield 0.0, self._event(_choice({"role": "assistant", "content": ""}))
        if self.comments:
            yield 0.0, self._line(": keepalive 1/2") + self._line("")
        number = 0
        for wait, delta in self._deltas():
            if number == self.cut_after:
                return
            if number == self.error_after:
                yield 0.0, self._event({"error": {"message": "CUDA out of memory", "code": 500}})
                return
            yield wait, self._event(_choice(delta, chat))
            number += 1
        if self.finish:
            yield 0.0, self._event(_choice({}, chat, "stop"))
        if self.usage and body.get("stream_options", {}).get("include_usage"):
            usage = {"prompt_tokens": 40, "completion_tokens": self.n_tokens + self.n_thoughts}
            usage["prompt_tokens_details"] = {"cached_tokens": 10}  # type: ignore[assignment]
            yield 0.0, self._event({"choices": [], "usage": usage})
        if self.mark:
            yield 0.0, self._line("data: [DONE]") + self._line("")

    def _deltas(self) -> Iterator[tuple[float, dict[str, str]]]:
        n = 10**9 if self.endless else self.n_tokens
        tags = self.thoughts_as == "tags"
        for i in range(self.n_thoughts):
            text = "<think>" * (tags and not i) + "hm " + "</think>" * (i == self.n_thoughts - 1)
            own = {"content": text} if tags else {self.thoughts_as: "hm "}
            yield (self.token_s if i else self.first_s), own
        for i in range(n):
            wait = self.token_s if i or self.n_thoughts else self.first_s
            yield wait, {"content": self.piece}

    def _event(self, value: dict[str, Any]) -> bytes:
        return self._line("data: " + json.dumps(value, ensure_ascii=False)) + self._line("")

    def _line(self, text: str) -> bytes:
        return (text + self.ending).encode()


Styles = Callable[[int, dict[str, Any]], Style | None]
"""(number of the request, its body) -> how it is streamed; None for one whole JSON answer."""


def _choice(
    delta: dict[str, str], chat: bool = True, finish_reason: str | None = None
) -> dict[str, Any]:
    own = {"delta": delta} if chat else {"text": delta.get("content", "")}
    return {"choices": [{"index": 0, "finish_reason": finish_reason, **own}]}


def whole_json(n_tokens: int = 8) -> bytes:
    """An answer of a server that knows no streams."""
    message = {"role": "assistant", "content": "wörd " * n_tokens}
    usage = {"prompt_tokens": 40, "completion_tokens": n_tokens}
    said = {"choices": [{"index": 0, "finish_reason": "stop", "message": message}], "usage": usage}
    return json.dumps(said).encode()

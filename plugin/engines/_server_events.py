"""Read an answer that a server streams: events, their JSON, and when each piece of text came.

`EventReader` turns bytes, however they were cut, into the data of server-sent events. `AnswerClock`
reads OpenAI's chunks and notes when text came; `AnswerClock.request` says what the request took.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from plugin.errors import CallError
from plugin.keys import SecretMask
from plugin.load_rows import Counted, StreamedRequest
from plugin.net import count_at, error_message, get_path, text_at
from plugin.records import Prompt
from plugin.thinking import split_thoughts

_MAX_EVENT_BYTES = 1 << 20
_MAX_STREAM_BYTES = 1 << 26
_PIECES_PER_TOKEN = 16
_MORE_PIECES = 1_000
"""A stream with more pieces than this for each token that was allowed, and some, has no end."""

_LINE_END = re.compile(rb"\r\n|\n|\r(?!\Z)")
"""The end of a line; a CR that came last may belong to an LF that is still to come."""

_BOM = b"\xef\xbb\xbf"


class EventReader:
    """Put server-sent events together from pieces of bytes, as the HTML standard reads them."""

    def __init__(self) -> None:
        """Begin a stream."""
        self._rest = b""
        self._data: list[bytes] = []
        self._name = b""
        self._n_bytes = 0

    def add(self, piece: bytes) -> Iterator[str]:
        """Yield the data of each event that this piece ends.

        Raises:
            CallError: when an event or the stream is too long, or the server tells an error.
        """
        if not self._n_bytes:
            piece = piece.removeprefix(_BOM)
        self._n_bytes += len(piece)
        self._rest += piece
        if len(self._rest) > _MAX_EVENT_BYTES or self._n_bytes > _MAX_STREAM_BYTES:
            raise CallError("the stream is longer than is read")
        start = 0
        for end in _LINE_END.finditer(self._rest):
            line, start = self._rest[start : end.start()], end.end()
            if line:
                self._read_line(line)
            elif found := self._end_event():
                yield found
        self._rest = self._rest[start:]

    def end(self) -> Iterator[str]:
        """Yield the data of an event that the end of the stream ends."""
        if last := self._rest.rstrip(b"\r\n"):
            self._read_line(last)
        self._rest = b""
        if found := self._end_event():
            yield found

    def _read_line(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._name = value

    def _end_event(self) -> str:
        found = b"\n".join(self._data).decode("utf-8", "replace")
        was_error = self._name == b"error"
        self._data, self._name = [], b""
        if was_error:
            raise CallError(f"the server ended the stream with an error: {found[:300]}", retry=True)
        return found


class AnswerClock:
    """Note when the text of one answer comes, and what the server says of its length."""

    def __init__(self, prompt: Prompt, n_tokens: int, chat: bool, mask: SecretMask) -> None:
        """Begin.

        Args:
            prompt: what was asked.
            n_tokens: the most tokens of the answer.
            chat: whether the chunks are those of a chat.
            mask: hides the secrets of this server.
        """
        self._prompt, self._chat, self._mask = prompt, chat, mask
        self._most_pieces = _PIECES_PER_TOKEN * n_tokens + _MORE_PIECES
        self._pieces: list[tuple[float, str]] = []  # seconds, text of the answer
        self._thoughts: list[float] = []  # seconds of text that the server says was thought
        self._usage: Any = None
        self._last_s = 0.0
        self.is_ended = False

    def read_event(self, data: str, at_s: float) -> None:
        """Read the data of an event that came so many seconds after the request.

        Raises:
            CallError: when it is no chunk of an answer, or the stream has no end.
        """
        if data.strip() == "[DONE]":
            self.is_ended = True
            return
        if not data.strip():
            return
        try:
            chunk = json.loads(data)
        except (ValueError, RecursionError) as error:
            kind = type(error).__name__
            raise CallError(f"unreadable piece of the stream: {kind}", retry=True) from None
        if get_path(chunk, "error"):
            said = error_message(chunk, self._mask)
            raise CallError(f"the server ended the stream with an error: {said}", retry=True)
        if isinstance(usage := get_path(chunk, "usage"), dict):
            self._usage = usage
        if isinstance(choice := get_path(chunk, "choices", 0), dict):
            self._read_choice(choice, at_s)

    def _read_choice(self, choice: dict[str, Any], at_s: float) -> None:
        delta = get_path(choice, "delta")
        text = text_at(get_path(delta, "content") if self._chat else choice.get("text"))
        thought = "".join(text_at(get_path(delta, name)) for name in _THOUGHTS)
        if thought:
            self._thoughts.append(at_s)
        if text:
            self._pieces.append((at_s, text))
        if choice.get("finish_reason"):
            self.is_ended = True
        if thought or text or choice.get("finish_reason"):
            self._last_s = at_s
        if len(self._pieces) + len(self._thoughts) > self._most_pieces:
            raise CallError(
                f"the stream does not end: more than {self._most_pieces:,} pieces for an answer "
                "of limited length"
            )

    def request(self) -> StreamedRequest:
        """Return what the request took.

        Raises:
            CallError: when the stream ended before the answer did.
        """
        if not self.is_ended:
            raise CallError("the stream was cut off before the answer ended", retry=True)
        times = sorted([*self._thoughts, *(at_s for at_s, _ in self._pieces)])
        answer_s, has_thoughts = self._answer_began()
        n_tokens, counted_by = self._count(len(times))
        return StreamedRequest(
            case_id=self._prompt.case_id,
            variant=self._prompt.variant,
            first_s=times[0] if times else None,
            first_answer_s=answer_s,
            total_s=self._last_s,
            text_s=times[-1] - times[0] if times else None,
            n_tokens=n_tokens,
            counted_by=counted_by,
            n_pieces=len(times),
            n_arrivals=len(set(times)),
            has_thoughts=has_thoughts,
            **prompt_counts(self._usage),
        )

    def _answer_began(self) -> tuple[float | None, bool]:
        """Return when the first text came that was not thought, and whether any was."""
        text = "".join(piece for _, piece in self._pieces)
        split = split_thoughts(text)
        is_split = bool(split.thoughts) or not split.is_finished
        if not is_split:
            return (self._pieces[0][0] if self._pieces else None), bool(self._thoughts)
        place = text.rfind(split.answer) if split.answer else len(text)
        n_read = 0
        for at_s, piece in self._pieces:
            n_read += len(piece)
            if n_read > place:
                return at_s, True
        return None, True

    def _count(self, n_pieces: int) -> tuple[int | None, Counted]:
        told = count_at(get_path(self._usage, "completion_tokens"))
        if told is not None:
            return told, "server"
        return (n_pieces, "pieces") if n_pieces else (None, "")


_THOUGHTS = ("reasoning_content", "reasoning")
"""Where servers put thoughts beside the answer: vLLM, SGLang and mlx_lm.server use one or both."""


def prompt_counts(usage: Any) -> dict[str, Any]:
    """Return how long the prompt was, and how much of it the server had read before."""
    return {
        "n_prompt_tokens": count_at(get_path(usage, "prompt_tokens")),
        "n_cached_tokens": count_at(get_path(usage, "prompt_tokens_details", "cached_tokens")),
    }

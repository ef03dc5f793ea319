"""OpenAI's protocol as the engine `server` speaks it: requests, answers, and how a call fails."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from plugin.engines import Prompt
from plugin.errors import ModelError, OptionError, UserError
from plugin.keys import Mask
from plugin.records import Completion, Message
from plugin.wire import decoded, dig, message_of, wait_s

_MAX_BODY_BYTES = 1 << 24
_MAX_MESSAGE_CHARS = 300
_REASONS: dict[Any, Literal["stop", "length"]] = {"stop": "stop", "length": "length"}


class CallError(Exception):
    """One request failed.

    Attributes:
        again: whether the same request may succeed later.
        too_many: the server takes fewer requests at once, or none just now.
        wait_s: how long the server asked to wait.
        status: of the answer; None where none came.
    """

    def __init__(
        self,
        reason: str,
        *,
        again: bool = False,
        too_many: bool = False,
        wait_s: float | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(reason)
        self.again = again
        self.too_many = too_many
        self.wait_s = wait_s
        self.status = status


def headers(key: str) -> dict[str, str]:
    """What every request carries."""
    return {"authorization": f"Bearer {key}"} if key else {}


def request(
    name: str, messages: Sequence[Message], n_tokens: int, chat: bool
) -> tuple[str, dict[str, Any]]:
    """Path and body of a request for a greedy completion.

    Args:
        name: the model's, as served.
        messages: the turns.
        n_tokens: how long the completion may become.
        chat: as turns, under the model's template; else as plain text, as the other engines join
            it without one.
    """
    turns = [{"role": turn.role, "content": _sendable(turn.content)} for turn in messages]
    sampling = {"temperature": 0, "seed": 0, "max_tokens": n_tokens, "stream": False}
    if chat:
        return "chat/completions", {"model": name, "messages": turns, **sampling}
    text = "\n\n".join(turn["content"] for turn in turns)
    return "completions", {"model": name, "prompt": text, **sampling}


def completion_of(prompt: Prompt, reply: Any, seconds: float, chat: bool) -> Completion:
    """The completion in an answer.

    Args:
        prompt: what it answers.
        reply: the answer's JSON.
        seconds: from the request to the whole answer.
        chat: as in `request`.

    Raises:
        CallError: when there is none in it.
    """
    choice = dig(reply, "choices", 0)
    if choice is None:
        raise CallError("the server's answer has no choices", again=True)
    text = dig(choice, "message", "content") if chat else dig(choice, "text")
    if not isinstance(text, str):
        raise CallError("the server's answer has no text", again=True)
    return Completion(
        case_id=prompt.case_id,
        variant=prompt.variant,
        text=_sendable(text),
        token_ids=(),
        finish_reason=_REASONS.get(dig(choice, "finish_reason")),
        seconds=seconds,
        n_prompt_tokens=_counted(dig(reply, "usage", "prompt_tokens")),
        n_tokens=_counted(dig(reply, "usage", "completion_tokens")),
    )


def read(status: int, sent: Mapping[str, str], body: bytes, masked: Mask) -> Any:
    """The JSON of a good answer.

    Args:
        status: the answer's.
        sent: its headers.
        body: its bytes.
        masked: takes the key out of what the server says.

    Raises:
        CallError: for any other answer.
    """
    if not 200 <= status < 300:
        said = masked(message_of(decoded(body[:_MAX_BODY_BYTES])))[:_MAX_MESSAGE_CHARS]
        raise CallError(
            f"HTTP {status}: {said or 'no reason given'}",
            again=status in (408, 409, 429) or status >= 500,
            too_many=status in (429, 503, 529),
            wait_s=wait_s(sent),
            status=status,
        )
    if len(body) > _MAX_BODY_BYTES:
        raise CallError(f"an answer of {len(body)} bytes; {_MAX_BODY_BYTES} are read at most")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise CallError("the server's answer is no JSON", again=True) from None
    if isinstance(found, dict) and found.get("error"):
        said = masked(message_of(found))[:_MAX_MESSAGE_CHARS]
        raise CallError(f"the server answered with an error: {said}", again=True)
    return found


def lost(error: BaseException) -> CallError:
    """The error for a request that no answer came to."""
    return CallError(f"no answer: {type(error).__name__}", again=True)


def hopeless(error: CallError, url: str, name: str, has_key: bool) -> UserError | None:
    """What the user must mend before any request for this model can succeed; None: nothing.

    The server's own words about a key are left out: they mostly quote it.
    """
    if error.status in (401, 403):
        wrong = "refuses the key in" if has_key else "wants a key: set"
        return OptionError(
            f"the inference server {url} {wrong} INFERENCE_API_KEY (HTTP {error.status})"
        )
    if error.status == 404:
        return ModelError(
            f"the inference server {url} does not serve {name!r} ({error}). Check the name, and "
            "--server_url: mostly it ends with /v1"
        )
    return None


def _counted(value: Any) -> int | None:
    """A count of tokens, None where the server sends none that could be one."""
    return value if isinstance(value, int) and 0 <= value < 2**31 else None


def _sendable(text: str) -> str:
    """The text without halves of characters, which no UTF-8 can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")

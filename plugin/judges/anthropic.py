"""Ask Anthropic's models: `anthropic:<model>` with ANTHROPIC_API_KEY.

ANTHROPIC_BASE_URL selects another server with the same protocol. The library is not part of the
default installation; see requirements-anthropic.txt.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from plugin.body import bound_body
from plugin.errors import CallError, JudgeError
from plugin.judges import (
    Answer,
    HttpJudge,
    Secrets,
    closed_schema,
    ignore_environment,
    make_judge_client,
    require_named,
)
from plugin.keys import check_key, check_url
from plugin.net import count_at, get_path, text_at

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

_ANTHROPIC_URL = "https://api.anthropic.com"
_TOOL = "answer"
_SHAPES = ("format", "tool", "words")
_OUT_OF_ROOM = ("max_tokens", "model_context_window_exceeded")


def load_anthropic(provider: str, model: str, secrets: Secrets) -> AnthropicJudge:
    """Return the judge.

    Raises:
        JudgeError: when model, key or library is missing, or key or address is invalid.
    """
    label = require_named(provider, model)
    key = secrets("ANTHROPIC_API_KEY")
    if not key:
        raise JudgeError(f"judge {label} needs a key: set ANTHROPIC_API_KEY")
    check_key(key, "ANTHROPIC_API_KEY", JudgeError)
    url = check_url(
        secrets("ANTHROPIC_BASE_URL") or _ANTHROPIC_URL, "ANTHROPIC_BASE_URL", JudgeError
    )
    try:
        import anthropic  # noqa: F401
    except ImportError:
        raise JudgeError(
            f"judge {label} needs the library anthropic, which is not installed: run "
            "`python -m pip install anthropic` in the environment of this program"
        ) from None
    return AnthropicJudge(label, model, url, key)


@dataclass(frozen=True, slots=True)
class _AnthropicSettings:
    """How the schema is sent: as the output format, as the input of a tool, or not at all."""

    shape: str = "format"
    temperature: bool = True

    def options(self, schema: type[BaseModel], n_tokens: int) -> dict[str, Any]:
        wanted: dict[str, Any] = {"max_tokens": n_tokens}
        if self.temperature:
            wanted["temperature"] = 0
        if self.shape == "format":
            wanted["output_config"] = {
                "format": {"type": "json_schema", "schema": closed_schema(schema)}
            }
        elif self.shape == "tool":
            about = "Takes the answer, in the form that was asked for."
            tool = {"name": _TOOL, "description": about, "input_schema": closed_schema(schema)}
            wanted |= {"tools": [tool], "tool_choice": {"type": "tool", "name": _TOOL}}
        return wanted

    def without_refused(self, message: str) -> _AnthropicSettings | None:
        if "temperature" in message and self.temperature:
            return replace(self, temperature=False)
        simpler = _SHAPES[_SHAPES.index(self.shape) + 1 :]
        return replace(self, shape=simpler[0]) if simpler else None


class AnthropicJudge(HttpJudge):
    """One model on one server with Anthropic's protocol."""

    def __init__(self, label: str, model: str, url: str, key: str) -> None:
        """Create the client, without sending anything.

        Raises:
            JudgeError: when the client cannot be created.
        """
        super().__init__(label, model, _AnthropicSettings(), key, url)
        self._client = make_judge_client(label, lambda: _anthropic_client(url, key))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _send(self, prompt: str, options: dict[str, Any]) -> Answer:
        import anthropic

        messages: Any = [{"role": "user", "content": prompt}]
        # Releases of the library know different options, so they go into the body unchecked.
        others = dict(options)
        call = self._client.messages.with_raw_response.create(
            model=self._model,
            messages=messages,
            max_tokens=others.pop("max_tokens"),
            extra_body=others,
        )
        reply = await self._read_sdk(anthropic, call)
        stopped, blocks = get_path(reply, "stop_reason"), get_path(reply, "content")
        if stopped == "refusal":
            raise CallError("the model declined to answer")
        if not isinstance(blocks, list):
            raise CallError("the server's answer has no content", retry=True)
        usage = get_path(reply, "usage")
        read = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
        return Answer(
            text="".join(map(_block_text, blocks)),
            cut_off=stopped in _OUT_OF_ROOM,
            version=text_at(get_path(reply, "model")),
            n_prompt_tokens=sum(count_at(get_path(usage, name)) or 0 for name in read),
            n_completion_tokens=count_at(get_path(usage, "output_tokens")) or 0,
        )


def _block_text(block: Any) -> str:
    if get_path(block, "type") == "tool_use":
        return json.dumps(get_path(block, "input"), ensure_ascii=False)
    return text_at(get_path(block, "text"))


def _anthropic_client(url: str, key: str) -> AsyncAnthropic:
    import anthropic

    # The scheduler does retries and deadlines, and counts them.
    # A redirect would send the user's data to another host.
    connections = anthropic.DefaultAsyncHttpxClient(
        follow_redirects=False, timeout=None, event_hooks={"response": [bound_body]}
    )
    # The client would send a token besides the key, and custom headers to any server.
    headers = () if url == _ANTHROPIC_URL else ("ANTHROPIC_CUSTOM_HEADERS",)
    with ignore_environment("ANTHROPIC_AUTH_TOKEN", *headers):
        return anthropic.AsyncAnthropic(
            api_key=key, base_url=url, max_retries=0, timeout=None, http_client=connections
        )

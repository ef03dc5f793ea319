"""OpenAI's protocol, which many servers speak; one client and its connections for all calls."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from plugin.judges import Answer, AskError
from plugin.judges._http import HttpJudge, made, without_environment
from plugin.judges._wire import closed
from plugin.wire import count, dig, word

if TYPE_CHECKING:
    from openai import AsyncOpenAI

OPENAI_URL = "https://api.openai.com/v1"
_NO_KEY = "none"
ACCOUNT = ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_CUSTOM_HEADERS", "OPENAI_ADMIN_KEY")


@dataclass(frozen=True, slots=True)
class _Manner:
    limit: str = "max_tokens"
    temperature: bool = True
    schema: bool = True

    def options(self, schema: type[BaseModel], n_tokens: int) -> dict[str, Any]:
        return {
            self.limit: n_tokens,
            **({"temperature": 0} if self.temperature else {}),
            **({"response_format": _response_format(schema)} if self.schema else {}),
        }

    def without_what(self, said: str) -> _Manner | None:
        if "max_completion_tokens" in said and self.limit == "max_tokens":
            return replace(self, limit="max_completion_tokens")
        if "temperature" in said and self.temperature:
            return replace(self, temperature=False)
        return replace(self, schema=False) if self.schema else None


class OpenAIJudge(HttpJudge):
    """One model on one server that speaks OpenAI's protocol."""

    def __init__(
        self, label: str, model: str, url: str, key: str = "", client: AsyncOpenAI | None = None
    ) -> None:
        """Nothing is sent yet.

        Args:
            label: the spec.
            model: as the server knows it.
            url: the server's base URL.
            key: "" for a server that wants none.
            client: OpenAI's own by default.

        Raises:
            JudgeError: when the client cannot be made.
        """
        super().__init__(label, model, _Manner(), key, url)
        self._client = client or made(label, lambda: _client(url, key or _NO_KEY))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _call(self, prompt: str, options: dict[str, Any]) -> Answer:
        import openai

        messages: Any = [{"role": "user", "content": prompt}]
        create = self._client.chat.completions.with_raw_response.create
        reply = await self._sent(openai, create(model=self._model, messages=messages, **options))
        message = dig(reply, "choices", 0, "message")
        if not isinstance(message, dict):
            raise AskError("the server's answer has no choices", again=True)
        return Answer(
            text=_text(message.get("content")),
            cut_off=dig(reply, "choices", 0, "finish_reason") == "length",
            version=word(dig(reply, "model")),
            n_prompt_tokens=count(dig(reply, "usage", "prompt_tokens")),
            n_completion_tokens=count(dig(reply, "usage", "completion_tokens")),
        )


def client_options() -> dict[str, Any]:
    """What every client of the library is made with."""
    import openai

    # Retries and deadlines belong to the scheduler, which also counts them.
    # A redirect would carry the data under test to another host.
    connections = openai.DefaultAsyncHttpxClient(follow_redirects=False, timeout=None)
    return {"max_retries": 0, "timeout": None, "http_client": connections}


def _client(url: str, key: str) -> AsyncOpenAI:
    import openai

    # Its account's headers would go to every server; only its own may get them.
    with without_environment(*(() if url == OPENAI_URL else ACCOUNT)):
        return openai.AsyncOpenAI(api_key=key, base_url=url, **client_options())


def _text(content: Any) -> str:
    """The words of a message; some servers send them in parts."""
    if isinstance(content, list):
        return "".join(word(dig(part, "text")) for part in content)
    return word(content)


def _response_format(schema: type[BaseModel]) -> dict[str, Any]:
    return {
        "type": "json_schema",
        "json_schema": {"name": schema.__name__, "strict": True, "schema": closed(schema)},
    }

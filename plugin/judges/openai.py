"""Judges behind OpenAI's protocol: OpenAI itself, or any compatible server.

`openai:<model>` needs OPENAI_API_KEY. `custom:<model>` needs CUSTOM_JUDGE_BASE_URL and, where the
server wants one, CUSTOM_JUDGE_API_KEY. One client and its connections serve all calls.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlsplit

from pydantic import BaseModel

from plugin.errors import JudgeError
from plugin.judges import Answer, AskError, Secrets

_OPENAI_URL = "https://api.openai.com/v1"
_NO_KEY = "none"
_MAX_ANSWER_TOKENS = 4096
_MAX_MESSAGE_CHARS = 300


def load(provider: str, model: str, secrets: Secrets) -> OpenAIJudge:
    """The judge, with its key and address taken from `secrets`.

    Raises:
        JudgeError: when model, key or address is missing.
    """
    if not model:
        raise JudgeError(f"judge {provider!r} names no model; write --judge {provider}:<model>")
    if provider == "openai":
        key = secrets("OPENAI_API_KEY")
        if not key:
            raise JudgeError(f"judge openai:{model} needs a key: set OPENAI_API_KEY")
        return OpenAIJudge(f"openai:{model}", model, _OPENAI_URL, _checked(key, "OPENAI_API_KEY"))
    url = secrets("CUSTOM_JUDGE_BASE_URL")
    if not url:
        raise JudgeError(
            f"judge custom:{model} needs a server: set CUSTOM_JUDGE_BASE_URL, such as "
            "http://localhost:8000/v1 (and CUSTOM_JUDGE_API_KEY if it wants a key)"
        )
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
        raise JudgeError(f"CUSTOM_JUDGE_BASE_URL {url!r} is no http or https address")
    key = secrets("CUSTOM_JUDGE_API_KEY") or _NO_KEY
    return OpenAIJudge(f"custom:{model}", model, url, _checked(key, "CUSTOM_JUDGE_API_KEY"))


@dataclass(frozen=True, slots=True)
class _Manner:
    """How a server wants to be asked; servers and models differ in what they refuse."""

    limit: str = "max_tokens"
    temperature: bool = True
    schema: bool = True

    def options(self, schema: type[BaseModel]) -> dict[str, Any]:
        return {
            self.limit: _MAX_ANSWER_TOKENS,
            **({"temperature": 0} if self.temperature else {}),
            **({"response_format": _response_format(schema)} if self.schema else {}),
        }

    def without_what(self, said: str) -> _Manner | None:
        """What is left when the refused option is left out; None when nothing is."""
        if "max_completion_tokens" in said and self.limit == "max_tokens":
            return replace(self, limit="max_completion_tokens")
        if "temperature" in said and self.temperature:
            return replace(self, temperature=False)
        return replace(self, schema=False) if self.schema else None


class OpenAIJudge:
    """One model on one server."""

    structured = False
    caveat = ""

    def __init__(self, label: str, model: str, url: str, key: str) -> None:
        """Make the client; nothing is sent yet."""
        import openai

        self.label = self.identity = label
        self._model = model
        self._key = key
        self._manner = _Manner()
        # Retries and deadlines belong to the scheduler, which also counts them.
        # A redirect would carry the data under test to another host.
        connections = openai.DefaultAsyncHttpxClient(follow_redirects=False, timeout=None)
        with _without_account_settings(url):
            self._client = openai.AsyncOpenAI(
                api_key=key, base_url=url, max_retries=0, timeout=None, http_client=connections
            )

    async def ask(self, prompt: str, schema: type[BaseModel]) -> Answer:
        """See `Judge.ask`: schema-bound output at temperature 0, as far as the server takes it.

        What a server refuses with HTTP 400 is left out, for good once it then answers.
        """
        import openai

        manner = self._manner
        while True:
            try:
                answer = await self._call(prompt, manner.options(schema))
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                said = self._said(error)
                simpler = manner.without_what(said)
                if simpler is None:
                    raise AskError(said) from None
                manner = simpler
            else:
                self._manner = manner
                return answer

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _call(self, prompt: str, options: dict[str, Any]) -> Answer:
        import openai

        try:
            reply = await self._client.chat.completions.create(
                model=self._model,
                messages=[{"role": "user", "content": prompt}],
                **options,
            )
        except (openai.BadRequestError, openai.UnprocessableEntityError):
            raise
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            # The server's own words are left out: some echo the key.
            raise JudgeError(
                f"judge {self.label}: the server refused the key (HTTP {error.status_code}); "
                "check the key and what it may be used for"
            ) from None
        except openai.NotFoundError:
            raise JudgeError(
                f"judge {self.label}: the server knows no such model or address (HTTP 404); "
                "check the model's name and the base URL"
            ) from None
        except openai.APIStatusError as error:
            again = error.status_code in (408, 409, 429) or error.status_code >= 500
            raise AskError(self._said(error), again=again, wait_s=_retry_after(error)) from None
        except openai.APIConnectionError as error:
            reason = f"no answer from the server: {type(error.__cause__ or error).__name__}"
            raise AskError(reason, again=True, unreachable=True) from None
        except (openai.APIError, ValueError) as error:
            raise AskError(f"unreadable answer: {type(error).__name__}", again=True) from None
        answer = _answer(reply)
        return replace(answer, text=self._masked(answer.text))

    def _masked(self, text: str) -> str:
        """What a server sends back must not carry the key into journal and report."""
        for secret in sorted(_spellings(self._key), key=len, reverse=True):
            text = text.replace(secret, "[key]")
        return text

    def _said(self, error: Any) -> str:
        """The server's message, short and without the key in any spelling."""
        body = error.body if isinstance(error.body, dict) else {}
        inner = body.get("error", body)  # the client's releases differ in how much they unwrap
        said = inner.get("message") if isinstance(inner, dict) else None
        text = self._masked(" ".join(str(said or error.message).split()))
        return f"HTTP {error.status_code}: {text[:_MAX_MESSAGE_CHARS]}"


@contextmanager
def _without_account_settings(url: str) -> Iterator[None]:
    """OpenAI's client sends its account's headers everywhere; other servers must not get them."""
    names = ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_CUSTOM_HEADERS")
    kept = {} if url == _OPENAI_URL else {n: os.environ.pop(n) for n in names if n in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


def _spellings(key: str) -> set[str]:
    """The ways in which a server may echo a key; none where no key was given."""
    if key == _NO_KEY:
        return set()
    return {key, quote(key, safe=""), base64.b64encode(key.encode()).decode()}


def _checked(key: str, name: str) -> str:
    if not key.isascii() or not key.isprintable() or " " in key:
        raise JudgeError(
            f"{name} is no key: it holds spaces or characters that no header can carry"
        )
    return key


def _answer(reply: Any) -> Answer:
    choices = getattr(reply, "choices", None)
    if not choices or choices[0].message is None:
        raise AskError("the server's answer has no choices", again=True)
    usage = reply.usage
    return Answer(
        text=choices[0].message.content or "",
        cut_off=choices[0].finish_reason == "length",
        version=reply.model if isinstance(reply.model, str) else "",
        n_prompt_tokens=_count(usage, "prompt_tokens"),
        n_completion_tokens=_count(usage, "completion_tokens"),
    )


def _count(usage: Any, name: str) -> int:
    """A count of tokens, 0 where the server sends none that could be one."""
    count = getattr(usage, name, None)
    return count if isinstance(count, int) and 0 <= count < 2**31 else 0


def _retry_after(error: Any) -> float | None:
    try:
        return max(0.0, float(error.response.headers["retry-after"]))
    except (KeyError, ValueError):
        return None


def _response_format(schema: type[BaseModel]) -> dict[str, Any]:
    return {
        "type": "json_schema",
        "json_schema": {
            "name": schema.__name__,
            "strict": True,
            "schema": _closed(schema.model_json_schema()),
        },
    }


def _closed(node: Any) -> Any:
    """The schema in strict form: every object closed, every property required, no defaults."""
    if isinstance(node, list):
        return [_closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    closed = {key: _closed(value) for key, value in node.items() if key != "default"}
    if "properties" in closed:
        closed |= {"additionalProperties": False, "required": list(closed["properties"])}
    return closed

"""Judges behind OpenAI's protocol: OpenAI itself, or any compatible server.

`openai:<model>` needs OPENAI_API_KEY. `custom:<model>` needs CUSTOM_JUDGE_BASE_URL and, where the
server wants one, CUSTOM_JUDGE_API_KEY. One client and its connections serve all calls.
"""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote, urlsplit

from pydantic import BaseModel

from plugin.errors import JudgeError
from plugin.judges import Answer, AskError, Secrets

_OPENAI_URL = "https://api.openai.com/v1"
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
        return OpenAIJudge(f"openai:{model}", model, _OPENAI_URL, key)
    url = secrets("CUSTOM_JUDGE_BASE_URL")
    if not url:
        raise JudgeError(
            f"judge custom:{model} needs a server: set CUSTOM_JUDGE_BASE_URL, such as "
            "http://localhost:8000/v1 (and CUSTOM_JUDGE_API_KEY if it wants a key)"
        )
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
        raise JudgeError(f"CUSTOM_JUDGE_BASE_URL {url!r} is no http or https address")
    return OpenAIJudge(f"custom:{model}", model, url, secrets("CUSTOM_JUDGE_API_KEY") or "none")


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
        self._plain = False  # set when the server refuses a response schema
        # Retries and deadlines belong to the scheduler, which also counts them.
        self._client = openai.AsyncOpenAI(api_key=key, base_url=url, max_retries=0, timeout=None)

    async def ask(self, prompt: str, schema: type[BaseModel]) -> Answer:
        """See `Judge.ask`: schema-bound output, or plain JSON where the server refuses a schema."""
        import openai

        if not self._plain:
            try:
                return await self._call(prompt, response_format=_response_format(schema))
            except (openai.BadRequestError, openai.UnprocessableEntityError):
                # Either the server has no schemas or the prompt itself is bad: plain JSON tells.
                answer = await self._call(prompt)
                self._plain = True
                return answer
        return await self._call(prompt)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _call(self, prompt: str, **options: Any) -> Answer:
        import openai

        try:
            reply = await self._client.chat.completions.create(
                model=self._model,
                messages=[{"role": "user", "content": prompt}],
                temperature=0,
                max_tokens=_MAX_ANSWER_TOKENS,
                **options,
            )
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            if options:
                raise
            raise AskError(self._said(error)) from None
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
        return _answer(reply)

    def _said(self, error: Any) -> str:
        """The server's message, short and without the key in any spelling."""
        body = error.body if isinstance(error.body, dict) else {}
        inner = body.get("error", body)  # the client's releases differ in how much they unwrap
        said = inner.get("message") if isinstance(inner, dict) else None
        text = " ".join(str(said or error.message).split())
        for secret in (self._key, quote(self._key), base64.b64encode(self._key.encode()).decode()):
            text = text.replace(secret, "[key]")
        return f"HTTP {error.status_code}: {text[:_MAX_MESSAGE_CHARS]}"


def _answer(reply: Any) -> Answer:
    choices = getattr(reply, "choices", None)
    if not choices or choices[0].message is None:
        raise AskError("the server's answer has no choices", again=True)
    usage = reply.usage
    return Answer(
        text=choices[0].message.content or "",
        cut_off=choices[0].finish_reason == "length",
        version=reply.model or "",
        n_prompt_tokens=usage.prompt_tokens if usage else 0,
        n_completion_tokens=usage.completion_tokens if usage else 0,
    )


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

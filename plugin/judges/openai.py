"""Ask judges behind OpenAI's protocol; each judge has one client for all its calls.

| judge | its server | environment variables |
|---|---|---|
| `openai:<model>` | OpenAI, or OPENAI_BASE_URL | OPENAI_API_KEY |
| `azure:<deployment>` | AZURE_OPENAI_ENDPOINT | AZURE_OPENAI_API_KEY, OPENAI_API_VERSION |
| `custom:<model>` | CUSTOM_JUDGE_BASE_URL | CUSTOM_JUDGE_API_KEY, if the server needs a key |
| `local`, `local:<model>` | the classic Transformer Lab's own, or LOCAL_JUDGE_BASE_URL | |
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
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
from plugin.judges.refusals import why_no_answer
from plugin.keys import SecretMask, check_key, check_url
from plugin.net import (
    count_at,
    fetch_json,
    get_path,
    sendable,
    text_at,
)

if TYPE_CHECKING:
    from openai import AsyncAzureOpenAI, AsyncOpenAI

OPENAI_URL = "https://api.openai.com/v1"
_NO_KEY = "none"
_ACCOUNT = ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_CUSTOM_HEADERS", "OPENAI_ADMIN_KEY")

_API_VERSION = "2024-10-21"
"""The first stable API version that can bind answers to a schema."""

_LOCAL_URL = "http://localhost:8338/v1"
_LOCAL_TIMEOUT_S = 10.0


def load_openai(provider: str, model: str, secrets: Secrets) -> OpenAIJudge:
    """Return the judge `openai:<model>`.

    Raises:
        JudgeError: when model or key is missing, or key or address is invalid.
    """
    label = require_named(provider, model)
    key = secrets("OPENAI_API_KEY")
    if not key:
        raise JudgeError(f"judge {label} needs a key: set OPENAI_API_KEY")
    url = check_url(secrets("OPENAI_BASE_URL") or OPENAI_URL, "OPENAI_BASE_URL", JudgeError)
    return OpenAIJudge(label, model, url, check_key(key, "OPENAI_API_KEY", JudgeError))


def load_azure(provider: str, model: str, secrets: Secrets) -> OpenAIJudge:
    """Return the judge `azure:<deployment>`; `model` is the deployment's name.

    Raises:
        JudgeError: when deployment, key or endpoint is missing, or key or endpoint is invalid.
    """
    label = require_named(provider, model, "deployment")
    key, url = secrets("AZURE_OPENAI_API_KEY"), secrets("AZURE_OPENAI_ENDPOINT")
    given = {"AZURE_OPENAI_API_KEY": key, "AZURE_OPENAI_ENDPOINT": url}
    missing = [name for name, value in given.items() if not value]
    if not key or not url:
        raise JudgeError(
            f"judge {label} needs a key and an endpoint, such as "
            f"https://my-resource.openai.azure.com: set {' and '.join(missing)}"
        )
    check_key(key, "AZURE_OPENAI_API_KEY", JudgeError)
    check_url(url, "AZURE_OPENAI_ENDPOINT", JudgeError)
    version = secrets("OPENAI_API_VERSION") or _API_VERSION
    client = make_judge_client(label, lambda: _azure_client(url, key, version))
    return OpenAIJudge(label, model, url, key, client)


def load_custom(provider: str, model: str, secrets: Secrets) -> OpenAIJudge:
    """Return the judge `custom:<model>`.

    Raises:
        JudgeError: when model or address is missing, or address or key is invalid.
    """
    label = require_named(provider, model)
    url = secrets("CUSTOM_JUDGE_BASE_URL")
    if not url:
        raise JudgeError(
            f"judge {label} needs a server: set CUSTOM_JUDGE_BASE_URL, such as "
            "http://localhost:8000/v1 (and CUSTOM_JUDGE_API_KEY if it needs a key)"
        )
    check_url(url, "CUSTOM_JUDGE_BASE_URL", JudgeError)
    key = secrets("CUSTOM_JUDGE_API_KEY") or ""
    return OpenAIJudge(label, model, url, check_key(key, "CUSTOM_JUDGE_API_KEY", JudgeError))


def load_local(provider: str, model: str, secrets: Secrets) -> LocalJudge:
    """Return the judge `local` without contacting the server.

    Raises:
        JudgeError: when the address is invalid.
    """
    url = secrets("LOCAL_JUDGE_BASE_URL") or _LOCAL_URL
    return LocalJudge(model, check_url(url, "LOCAL_JUDGE_BASE_URL", JudgeError))


class OpenAIJudge(HttpJudge):
    """One model on one server with OpenAI's protocol."""

    def __init__(
        self, label: str, model: str, url: str, key: str = "", client: AsyncOpenAI | None = None
    ) -> None:
        """Create the client, without sending anything.

        Args:
            label: the spec.
            model: the model's name on the server.
            url: the server's base URL.
            key: the API key; "" for a server that needs none.
            client: the client to use; None for OpenAI's usual one.

        Raises:
            JudgeError: when the client cannot be created.
        """
        super().__init__(label, model, _OpenAISettings(), key, url)
        self._client = client or make_judge_client(
            label, lambda: _openai_client(url, key or _NO_KEY)
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _send(self, prompt: str, options: dict[str, Any]) -> Answer:
        import openai

        messages: Any = [{"role": "user", "content": prompt}]
        create = self._client.chat.completions.with_raw_response.create
        reply = await self._read_sdk(
            openai, create(model=self._model, messages=messages, **options)
        )
        message = get_path(reply, "choices", 0, "message")
        if not isinstance(message, dict):
            raise CallError("the server's answer has no choices", retry=True)
        text, ended = (
            _message_text(message.get("content")),
            get_path(reply, "choices", 0, "finish_reason"),
        )
        if why := why_no_answer(message, ended, text, self._mask):
            raise CallError(why)
        return Answer(
            text=text,
            cut_off=ended == "length",
            version=text_at(get_path(reply, "model")),
            n_prompt_tokens=count_at(get_path(reply, "usage", "prompt_tokens")) or 0,
            n_completion_tokens=count_at(get_path(reply, "usage", "completion_tokens")) or 0,
        )


@dataclass(frozen=True, slots=True)
class _OpenAISettings:
    limit: str = "max_tokens"
    temperature: bool = True
    schema: bool = True

    def options(self, schema: type[BaseModel], n_tokens: int) -> dict[str, Any]:
        return {
            self.limit: n_tokens,
            **({"temperature": 0} if self.temperature else {}),
            **({"response_format": _response_format(schema)} if self.schema else {}),
        }

    def without_refused(self, message: str) -> _OpenAISettings | None:
        if "max_completion_tokens" in message and self.limit == "max_tokens":
            return replace(self, limit="max_completion_tokens")
        if "temperature" in message and self.temperature:
            return replace(self, temperature=False)
        return replace(self, schema=False) if self.schema else None


def _message_text(content: Any) -> str:
    """Return the text of a message; some servers send it in parts."""
    if isinstance(content, list):
        return "".join(text_at(get_path(part, "text")) for part in content)
    return text_at(content)


def _response_format(schema: type[BaseModel]) -> dict[str, Any]:
    return {
        "type": "json_schema",
        "json_schema": {"name": schema.__name__, "strict": True, "schema": closed_schema(schema)},
    }


def _openai_client(url: str, key: str) -> AsyncOpenAI:
    import openai

    # The client would send the headers of an OpenAI account to any server.
    with ignore_environment(*(() if url == OPENAI_URL else _ACCOUNT)):
        return openai.AsyncOpenAI(api_key=key, base_url=url, **_client_options())


def _azure_client(url: str, key: str, version: str) -> AsyncAzureOpenAI:
    import openai

    # Some releases prefer a token from the environment to the key.
    with ignore_environment(*_ACCOUNT, "AZURE_OPENAI_AD_TOKEN"):
        return openai.AsyncAzureOpenAI(
            api_key=key, azure_endpoint=url, api_version=version, **_client_options()
        )


def _client_options() -> dict[str, Any]:
    """Return the arguments that every client of the library gets."""
    import openai

    # The scheduler does retries and deadlines, and counts them.
    # A redirect would send the user's data to another host.
    connections = openai.DefaultAsyncHttpxClient(
        follow_redirects=False, timeout=None, event_hooks={"response": [bound_body]}
    )
    return {"max_retries": 0, "timeout": None, "http_client": connections}


class LocalJudge:
    """See `plugin.judges.Judge`; label and identity name the model that the server has loaded."""

    structured = False
    caveat = ""

    def __init__(self, model: str, url: str) -> None:
        """Store the base URL and the model; "" selects the first model in the server's list."""
        self._model = model
        self._url = url

    @property
    def label(self) -> str:
        """Return the spec with the name of the model."""
        return f"local:{self.served_model}"

    @property
    def identity(self) -> str:
        """Return the label: after the server loads another model, it is another judge."""
        return self.label

    @cached_property
    def served_model(self) -> str:
        """Return the model that judges; ask the server once if the user named none.

        Raises:
            JudgeError: when no server answers, or it has no model.
        """
        return self._model or _first_model(self._url)

    async def ask(self, prompt: str, schema: type[BaseModel], room: int = 1) -> Answer:
        """See `Judge.ask`."""
        return await self._judge.ask(prompt, schema, room)

    async def close(self) -> None:
        """Close the connections if there are any."""
        if "_judge" in self.__dict__:
            await self._judge.close()

    @cached_property
    def _judge(self) -> OpenAIJudge:
        return OpenAIJudge(self.label, self.served_model, self._url)


def _local_client() -> Any:
    import httpx

    hooks: Any = {"response": [bound_body]}
    return make_judge_client(
        "local", lambda: httpx.AsyncClient(timeout=_LOCAL_TIMEOUT_S, event_hooks=hooks)
    )


def _first_model(url: str) -> str:
    """Return the first model in the server's list.

    Raises:
        JudgeError: when the server does not answer, or its list is empty.
    """
    where = "judge local: the local server"
    way_out = "load a model into it (Foundation tab, Run), or set LOCAL_JUDGE_BASE_URL"
    mask, address = SecretMask(url=url), f"{url.rstrip('/')}/models"
    try:
        answer = fetch_json(_local_client, "GET", address, mask, _LOCAL_TIMEOUT_S)
    except CallError as error:
        failed = "does not answer" if error.unreachable else "lists no model"
        raise JudgeError(f"{where} {failed} ({error}); {way_out}") from None
    model = mask.in_content(sendable(text_at(get_path(answer, "data", 0, "id"))))
    if not model:
        raise JudgeError(f"{where} lists no model (its list has none); {way_out}")
    return model

"""Judges: a prompt and a schema -> an answer.

What all judges behind HTTP share stands here, too: how a call fails, and how a refused option is
left out.
"""

from __future__ import annotations

import importlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol

from pydantic import BaseModel

from plugin.errors import AskError, JudgeError
from plugin.net import Client, SecretMask, decode_json, error_message, make_client, retry_after_s

Secrets = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a judge sent back, not yet validated.

    Attributes:
        text: should be JSON for the schema.
        cut_off: the judge stopped for lack of room.
        version: the model version that the provider reports.
    """

    text: str
    cut_off: bool = False
    version: str = ""
    n_prompt_tokens: int = 0
    n_completion_tokens: int = 0


class Judge(Protocol):
    """Whoever scores.

    Attributes:
        label: as shown in verdicts, reports and chips.
        caveat: what must stand in the first line of every verdict, "" for a judge to be trusted.
        identity: provider and requested model; part of every judgment's key. The address is not:
            a server that comes back elsewhere is still the same judge.
        structured: wants a metric's values as JSON instead of DeepEval's English prompts.

    A judge that works in this process also has `concurrency`, the most questions that it can take
    side by side; fewer are asked where --concurrency says so, and no call of it has a deadline.
    """

    label: str
    caveat: str
    identity: str
    structured: bool

    async def ask(self, prompt: str, schema: type[BaseModel], room: int = 1) -> Answer:
        """One call.

        Args:
            prompt: the question.
            schema: what the answer must fit.
            room: how many times the usual room the answer gets, after one that was cut off.

        Raises:
            AskError: when this call failed.
            JudgeError: when no call can succeed (wrong key, unknown model).
        """

    async def close(self) -> None:
        """Release connections."""


@dataclass(frozen=True, slots=True)
class Provider:
    """A row of `PROVIDERS`.

    Attributes:
        code: "file:function" in this package, imported when a judge of this kind is made. The
            function takes provider, model and secrets.
        spec: what a user writes, e.g. "openai:<model>".
        is_free: whether its calls cost nothing but time.
    """

    code: str
    spec: str
    is_free: bool = False


PROVIDERS = {
    "openai": Provider("openai:load_openai", "openai:<model>"),
    "azure": Provider("openai:load_azure", "azure:<deployment>"),
    "anthropic": Provider("anthropic:load_anthropic", "anthropic:<model>"),
    "ollama": Provider("ollama:load_ollama", "ollama:<model>", is_free=True),
    "custom": Provider("openai:load_custom", "custom:<model>"),
    "local": Provider("openai:load_local", "local", is_free=True),
    "mlx": Provider("in_process:load_mlx", "mlx:<model>", is_free=True),
    "transformers": Provider("in_process:load_transformers", "transformers:<model>", is_free=True),
    "offline": Provider("offline:load_offline", "offline", is_free=True),
}
"""Every kind of judge, by the first word of its spec."""


def choices() -> str:
    """Return the specs that a user may give, in words."""
    return ", ".join(provider.spec for provider in PROVIDERS.values())


def marks_its_own_work(judge: Judge, model: str) -> bool:
    """Whether the judge is the model under test itself, as far as names tell.

    Args:
        judge: whose label ends with its model's name.
        model: hub id or directory of the model under test; "" where none is known.
    """
    return bool(model) and _last_name_part(judge.label.partition(":")[2]) == _last_name_part(model)


def _last_name_part(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2].casefold()


def require_named(provider: str, model: str, what: str = "model") -> str:
    """The spec of a judge that must name its model.

    Raises:
        JudgeError: when it names none.
    """
    if not model:
        raise JudgeError(f"judge {provider!r} names no {what}; write --judge {provider}:<{what}>")
    return f"{provider}:{model}"


def load_all(specs: str, secrets: Secrets) -> tuple[Judge, ...]:
    """The judges of a list with commas: one, or a panel.

    Raises:
        JudgeError: as `load`, and for one that is named twice.
    """
    named = [spec for part in specs.split(",") if (spec := part.strip())] or [""]
    twice = sorted({spec for spec in named if named.count(spec) > 1})
    if twice:
        raise JudgeError(f"judge {', '.join(twice)} is named twice; each has one voice in a panel")
    return tuple(load(spec, secrets) for spec in named)


def load(spec: str, secrets: Secrets) -> Judge:
    """The judge that a spec names.

    Raises:
        JudgeError: for no spec, an unknown provider or a missing key or address.
    """
    if not spec:
        raise JudgeError(
            f"no judge chosen; --judge takes one of {choices()}. offline only tries the tool out"
        )
    provider, _, model = spec.partition(":")
    if provider not in PROVIDERS:
        raise JudgeError(f"unknown judge {spec!r}; --judge takes one of {choices()}")
    file, _, function = PROVIDERS[provider].code.partition(":")
    module = importlib.import_module(f"plugin.judges.{file}")
    judge: Judge = getattr(module, function)(provider, model, secrets)
    return judge


_MAX_ANSWER_TOKENS = 4096
_MAX_BODY_BYTES = 1 << 20
_MAX_MESSAGE_CHARS = 300
_MAX_VERSION_CHARS = 100


class CallSettings(Protocol):
    """How a server wants to be asked; servers and models differ in what they refuse."""

    def options(self, schema: type[BaseModel], n_tokens: int) -> dict[str, Any]:
        """What goes into a request besides model and prompt.

        Args:
            schema: what the answer must fit.
            n_tokens: how long it may be.
        """

    def without_what(self, said: str) -> CallSettings | None:
        """What is left when the refused option is left out; None when nothing is."""


class RefusedOption(Exception):
    """The server does not take a request as it is; the message is what it said, masked."""


class HttpJudge(ABC):
    """One model on one server. See `plugin.judges.Judge`."""

    structured = False
    caveat = ""

    def __init__(
        self, label: str, model: str, manner: CallSettings, key: str = "", url: str = ""
    ) -> None:
        """Take what all have.

        Args:
            label: the spec; also the identity.
            model: as the server knows it.
            manner: how it is asked at first.
            key: what must never be shown; "" where no key was given.
            url: the server's address, which may hold a password.
        """
        self.label = self.identity = label
        self._model = model
        self._manner = manner
        self._has_key = bool(key)
        self._masked = SecretMask(key, url)

    async def ask(self, prompt: str, schema: type[BaseModel], room: int = 1) -> Answer:
        """See `Judge.ask`: schema-bound output at temperature 0, as far as the server takes it.

        What a server refuses is left out, for good once it then answers.
        """
        sendable = prompt.encode("utf-8", "replace").decode("utf-8")  # half a character is none
        n_tokens = room * _MAX_ANSWER_TOKENS
        manner: CallSettings | None = self._manner
        while manner is not None:
            try:
                answer = await self._call(sendable, manner.options(schema, n_tokens))
            except RefusedOption as refused:
                said = str(refused)
                manner = manner.without_what(said)
            else:
                self._manner = manner
                return replace(
                    answer,
                    text=self._masked(answer.text),
                    version=self._masked(answer.version)[:_MAX_VERSION_CHARS],
                )
        raise AskError(said)

    @abstractmethod
    async def close(self) -> None:
        """Close the connections."""

    @abstractmethod
    async def _call(self, prompt: str, options: dict[str, Any]) -> Answer:
        """One request.

        Raises:
            Refused: when the server does not take the request as it is.
            AskError: when this call failed.
            JudgeError: when no call can succeed.
        """

    def _unknown(self, said: str) -> str:
        """What a 404 means, and the way out."""
        return (
            "the server knows no such model or address (HTTP 404); check the model's name and "
            "the base URL"
        )

    async def _sent(self, sdk: Any, call: Awaitable[Any]) -> dict[str, Any]:
        """The JSON object in the raw answer to a call of a provider's own client.

        Raises:
            Refused, AskError, JudgeError: see `_call`. Never chained to the client's error, whose
                request holds the key.
        """
        failure: Exception
        try:
            raw = await call
        except sdk.APIStatusError as error:
            answer = error.response
            failure = self._refusal(answer.status_code, answer.headers, answer.content)
        except sdk.APIConnectionError as error:
            failure = no_answer_error(error.__cause__ or error)
        except Exception as error:  # a client fails in any way on an answer that it did not expect
            failure = unreadable_error(error)
        else:
            return self._read(raw.http_response.content)
        raise failure

    def _refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> Exception:
        """The error for an answer with a status other than 2xx."""
        said = f"HTTP {status}: {self._said(decode_json(body[:_MAX_BODY_BYTES]))}"
        if status in (400, 422):
            return RefusedOption(said)
        if status in (401, 403):
            # The server's own words are left out: they mostly quote the key.
            wrong = "refused the key" if self._has_key else "wants a key"
            return JudgeError(
                f"judge {self.label}: the server {wrong} (HTTP {status}); "
                "check the key and what it may be used for"
            )
        if status == 404:
            return JudgeError(f"judge {self.label}: {self._unknown(said)}")
        again = status in (408, 409, 429) or status >= 500
        too_many = status in (429, 503, 529)
        return AskError(said, again=again, too_many=too_many, wait_s=retry_after_s(headers))

    def _read(self, body: bytes) -> dict[str, Any]:
        """The JSON object that a server sent with a status of 2xx.

        Raises:
            AskError: when it sent something else, too much, or an error.
        """
        if len(body) > _MAX_BODY_BYTES:
            raise AskError(f"an answer of {len(body)} bytes; {_MAX_BODY_BYTES} are read at most")
        try:
            found = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise unreadable_error(error) from None
        if not isinstance(found, dict):
            raise AskError("unreadable answer: no JSON object", again=True)
        if found.get("error"):
            raise AskError(f"the server answered with an error: {self._said(found)}", again=True)
        return found

    def _said(self, body: Any) -> str:
        """The server's message, short and without the key in any spelling."""
        said = self._masked(error_message(body))[:_MAX_MESSAGE_CHARS]
        return said or "no reason given"


def no_answer_error(error: BaseException) -> AskError:
    """The error for a call that no server answered."""
    reason = f"no answer from the server: {type(error).__name__}"
    return AskError(reason, again=True, unreachable=True)


def unreadable_error(error: BaseException) -> AskError:
    """The error for an answer that is no JSON."""
    return AskError(f"unreadable answer: {type(error).__name__}", again=True)


def make_judge_client(label: str, make: Callable[[], Client]) -> Client:
    """A client, made.

    Raises:
        JudgeError: for an address or a setting of the environment that it cannot work with.
    """
    return make_client(f"judge {label}", make, JudgeError)


@contextmanager
def ignore_environment(*names: str) -> Iterator[None]:
    """Hide variables that a client would read by itself and send to any server."""
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


def closed_schema(schema: type[BaseModel]) -> dict[str, Any]:
    """The schema in strict form: every object closed, every property required, no defaults."""
    strict: dict[str, Any] = _closed_node(schema.model_json_schema())
    return strict


def _closed_node(node: Any) -> Any:
    if isinstance(node, list):
        return [_closed_node(item) for item in node]
    if not isinstance(node, dict):
        return node
    strict = {key: _closed_node(value) for key, value in node.items() if key != "default"}
    if "properties" in strict:
        strict |= {"additionalProperties": False, "required": list(strict["properties"])}
    return strict


class NoJudge:
    """See `plugin.judges.Judge`."""

    label = "no judge"
    caveat = ""
    identity = "none"
    structured = False

    async def ask(self, prompt: str, schema: type[BaseModel], room: int = 1) -> Answer:
        """Refuse.

        Raises:
            JudgeError: always.
        """
        raise JudgeError("a metric that declares not to ask a judge asked one; report this fault")

    async def close(self) -> None:
        """Nothing to release."""

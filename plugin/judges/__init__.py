"""Judges: a prompt and a schema -> an answer.

`load_all` returns the judges that a user names; the table `PROVIDERS` lists all kinds, and each
judge follows the protocol `Judge`. `HttpJudge` is the base class of judges behind HTTP: it decides
which failed calls end the run, and leaves out options that the server refuses.
"""

from __future__ import annotations

import importlib
import os
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol

from pydantic import BaseModel

from plugin.errors import CallError, JudgeError, nearest_name
from plugin.judges.refusals import FEWEST_TOKENS, is_filtered, refuses_room
from plugin.keys import SecretMask
from plugin.load.model import short_name
from plugin.net import (
    Client,
    Meaning,
    make_client,
    no_answer_error,
    read_answer,
    sendable,
    status_meaning,
    unreadable_error,
)

Secrets = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Answer:
    """A judge's answer before it is validated.

    Attributes:
        text: the answer; should be JSON that fits the schema.
        cut_off: whether the answer reached its token limit.
        version: the model version that the provider reports.
        note: why the token limit is lower than usual, in the server's words; "" if it is not.
    """

    text: str
    cut_off: bool = False
    version: str = ""
    n_prompt_tokens: int = 0
    n_completion_tokens: int = 0
    note: str = ""


class Judge(Protocol):
    """A model or a set of rules that answers the metrics' questions.

    Attributes:
        label: the judge's name in verdicts, reports and chips.
        caveat: a warning for the first line of every verdict; "" when there is none.
        identity: provider and requested model; part of every judgment's key. It does not contain
            the address: a server that moves to another address is still the same judge.
        structured: whether the judge gets a metric's values as JSON instead of DeepEval's English
            prompts.

    A judge in this process also has `concurrency`, the highest number of questions that it can
    answer at once. --concurrency can lower this number. Its calls have no deadline.
    """

    label: str
    caveat: str
    identity: str
    structured: bool

    async def ask(self, prompt: str, schema: type[BaseModel], room: int = 1) -> Answer:
        """Return the judge's answer to one question.

        Args:
            prompt: the question.
            schema: the schema that the answer must fit.
            room: factor for the token limit; above 1 after an answer that was cut off.

        Raises:
            CallError: when this call failed.
            JudgeError: when no call can succeed (wrong key, unknown model).
        """

    async def close(self) -> None:
        """Release connections."""


@dataclass(frozen=True, slots=True)
class Provider:
    """A row of `PROVIDERS`.

    Attributes:
        code: "file:function" in this package, imported when a judge of this kind is created. The
            function takes provider, model and secrets.
        spec: what a user writes, e.g. "openai:<model>".
        is_free: whether its calls cost no money.
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
    """Return the specs that a user can give, as one text."""
    return ", ".join(provider.spec for provider in PROVIDERS.values())


def marks_its_own_work(judge: Judge, model: str) -> bool:
    """Return whether judge and model under test have the same name.

    Args:
        judge: the judge; its label ends with the name of its model.
        model: hub id or directory of the model under test; "" when it is unknown.
    """
    of_judge = short_name(judge.label.partition(":")[2])
    return bool(model) and of_judge.casefold() == short_name(model).casefold()


def require_named(provider: str, model: str, what: str = "model") -> str:
    """Return the spec of a judge that needs the name of a model.

    Raises:
        JudgeError: when the name is missing.
    """
    if not model:
        raise JudgeError(f"judge {provider!r} needs a {what}: write --judge {provider}:<{what}>")
    return f"{provider}:{model}"


def load_all(specs: str, secrets: Secrets) -> tuple[Judge, ...]:
    """Return the judges of a comma-separated list: one judge, or a panel.

    Raises:
        JudgeError: as `load`, and for a judge that is listed twice.
    """
    named = [spec for part in specs.split(",") if (spec := part.strip())] or [""]
    twice = sorted({spec for spec in named if named.count(spec) > 1})
    if twice:
        raise JudgeError(
            f"judge {', '.join(twice)} is listed twice in --judge: list each judge of a panel once"
        )
    return tuple(load(spec, secrets) for spec in named)


def load(spec: str, secrets: Secrets) -> Judge:
    """Return the judge that a spec names.

    Raises:
        JudgeError: for no spec, an unknown provider or a missing key or address.
    """
    if not spec:
        raise JudgeError(
            f"no judge chosen; --judge takes one of {choices()}. Use offline only to try the tool. "
            "Without a judge: --predefined_tasks 'Token F1, Exact Match', which need expected "
            "outputs"
        )
    provider, _, model = spec.partition(":")
    if provider not in PROVIDERS:
        hint = _suggestion(provider, model)
        raise JudgeError(f"unknown judge {spec!r}{hint} --judge takes one of {choices()}")
    file, _, function = PROVIDERS[provider].code.partition(":")
    module = importlib.import_module(f"plugin.judges.{file}")
    judge: Judge = getattr(module, function)(provider, model, secrets)
    return judge


def _suggestion(provider: str, model: str) -> str:
    """Return ", did you mean ...?" when the name is close to a known one, else ";"."""
    nearest = nearest_name(provider, PROVIDERS)
    if not nearest:
        return ";"
    meant = f"{nearest}:{model}" if model else PROVIDERS[nearest].spec
    return f", did you mean {meant!r}?"


_MAX_ANSWER_TOKENS = 4096
_MAX_VERSION_CHARS = 100


class CallSettings(Protocol):
    """The options of a request that a server accepts; servers and models differ in this."""

    def options(self, schema: type[BaseModel], n_tokens: int) -> dict[str, Any]:
        """Return the options of a request, besides model and prompt.

        Args:
            schema: the schema that the answer must fit.
            n_tokens: the token limit of the answer.
        """

    def without_refused(self, message: str) -> CallSettings | None:
        """Return the settings without the option that the message refuses; None if none is left."""


class HttpJudge(ABC):
    """One model on one server. See `plugin.judges.Judge`."""

    structured = False
    caveat = ""

    def __init__(
        self, label: str, model: str, settings: CallSettings, key: str = "", url: str = ""
    ) -> None:
        """Store what all HTTP judges have.

        Args:
            label: the spec; also the identity.
            model: the model's name on the server.
            settings: the settings of the first request.
            key: the API key, which must never be shown; "" for none.
            url: the server's address, which may contain a password.
        """
        self.label = self.identity = label
        self._model = model
        self._settings = settings
        self._has_key = bool(key)
        self._mask = SecretMask(key, url)
        self._n_accepted = 0  # the most answer tokens that the server took, up to the usual limit
        self._limit_note = ""

    async def ask(self, prompt: str, schema: type[BaseModel], room: int = 1) -> Answer:
        """See `Judge.ask`: output bound to the schema at temperature 0, if the server allows it.

        Options that the server refuses are left out, and a token limit that it refuses is halved.
        When it then answers, later calls begin with what it took.
        """
        settings, n_tokens = self._settings, room * _MAX_ANSWER_TOKENS
        if room == 1 and self._n_accepted:
            n_tokens = self._n_accepted
        n_first = n_tokens
        while True:
            try:
                answer = await self._send(sendable(prompt), settings.options(schema, n_tokens))
            except CallError as error:
                if fatal := self._fatal_error(error):
                    raise fatal from None
                if refuses_room(error, n_tokens):
                    if n_tokens // 2 < FEWEST_TOKENS:
                        raise _no_room_error(error, n_first, n_tokens) from None
                    n_tokens, self._limit_note = n_tokens // 2, str(error)
                    continue
                refused = status_meaning(error.status) is Meaning.REFUSED
                simpler = settings.without_refused(str(error)) if refused else None
                if simpler is None or is_filtered(error):
                    raise
                settings = simpler
            else:
                self._settings = settings
                self._n_accepted = max(self._n_accepted, min(n_tokens, _MAX_ANSWER_TOKENS))
                is_lower = n_tokens < _MAX_ANSWER_TOKENS
                return replace(
                    answer,
                    text=self._mask.in_content(sendable(answer.text)),
                    version=self._mask(answer.version)[:_MAX_VERSION_CHARS],
                    note=self._limit_note if is_lower else "",
                )

    @abstractmethod
    async def close(self) -> None:
        """Close the connections."""

    @abstractmethod
    async def _send(self, prompt: str, options: dict[str, Any]) -> Answer:
        """Return the answer to one request.

        Raises:
            CallError: when it failed.
        """

    def _fatal_error(self, error: CallError) -> JudgeError | None:
        """Return the error when no call can succeed until the user changes something, else None."""
        match status_meaning(error.status):
            case Meaning.KEY:
                # The server's own message is left out: it often contains the key.
                wrong = "refused the key" if self._has_key else "needs a key"
                reason = (
                    f"the server {wrong} (HTTP {error.status}); check the key and its permissions"
                )
            case Meaning.UNKNOWN:
                reason = self._unknown_model(str(error))
            case Meaning.MOVED:
                reason = (
                    f"the server sends requests elsewhere ({error}). Redirects are not followed, "
                    "as they would send your data there; if that is the right server, give its "
                    "address as the judge's"
                )
            case _:
                return None
        return JudgeError(f"judge {self.label}: {reason}")

    def _unknown_model(self, message: str) -> str:
        """Explain a 404 with this message, and name the way out."""
        return (
            "the server does not have this model or address (HTTP 404); check the model's name and "
            "the base URL"
        )

    async def _read_sdk(self, sdk: Any, call: Awaitable[Any]) -> dict[str, Any]:
        """Return the JSON object in the raw answer to a call of a provider's own client.

        Raises:
            CallError: when there is none. It is never chained to the client's error, because that
                contains the request with the key.
        """
        failed: CallError | None = None
        try:
            answer = (await call).http_response
        except sdk.APIStatusError as error:
            answer = error.response
        except sdk.APIConnectionError as error:
            cause = error.__cause__ or error
            failed = cause if isinstance(cause, CallError) else no_answer_error(cause)
        except CallError as error:  # from our own hook; some releases wrap it, some do not
            failed = error
        except Exception as error:  # a client can raise anything on an answer it does not expect
            failed = unreadable_error(error)
        if failed:
            raise failed
        return read_answer(answer.status_code, answer.headers, answer.content, self._mask)


def _no_room_error(error: CallError, n_first: int, n_last: int) -> CallError:
    return CallError(
        f"{error} (asked with room for an answer of {n_first:,} tokens, then for less, down to "
        f"{n_last:,})",
        status=error.status,
    )


def make_judge_client(label: str, make: Callable[[], Client]) -> Client:
    """Return the client that `make` creates.

    Raises:
        JudgeError: when the client rejects the address or an environment variable.
    """
    return make_client(f"judge {label}", make, JudgeError)


@contextmanager
def ignore_environment(*names: str) -> Iterator[None]:
    """Hide environment variables that a client would read by itself and send to any server."""
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


def closed_schema(schema: type[BaseModel]) -> dict[str, Any]:
    """Return the schema in strict form: objects closed, all properties required, no defaults."""
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
    """The judge of a run in which no metric asks a judge. See `plugin.judges.Judge`."""

    label = "no judge"
    caveat = ""
    identity = "none"
    structured = False

    async def ask(self, prompt: str, schema: type[BaseModel], room: int = 1) -> Answer:
        """Refuse.

        Raises:
            JudgeError: always.
        """
        raise JudgeError(
            "a metric asked a judge although it declares asks_judge=False: please report this bug"
        )

    async def close(self) -> None:
        """Do nothing: there is nothing to release."""

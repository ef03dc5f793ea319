"""OpenAI's protocol as the engine `server` speaks it: requests, answers, and how a call fails.

Which models an inference server has: its list, or a question where it keeps none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from plugin.errors import ModelError, OptionError, UserError
from plugin.net import (
    SecretMask,
    decode_json,
    error_message,
    get_path,
    make_client,
    retry_after_s,
    text_at,
)
from plugin.records import Completion, Message, Prompt

_MAX_BODY_BYTES = 1 << 24
_MAX_MESSAGE_CHARS = 300
_REASONS: dict[Any, Literal["stop", "length"]] = {"stop": "stop", "length": "length"}


class ServerCallError(Exception):
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


def request_headers(key: str) -> dict[str, str]:
    """What every request carries."""
    return {"authorization": f"Bearer {key}"} if key else {}


def completion_request(
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


def completion_from_reply(prompt: Prompt, reply: Any, seconds: float, chat: bool) -> Completion:
    """The completion in an answer.

    Args:
        prompt: what it answers.
        reply: the answer's JSON.
        seconds: from the request to the whole answer.
        chat: as in `completion_request`.

    Raises:
        CallError: when there is none in it.
    """
    choice = get_path(reply, "choices", 0)
    if choice is None:
        raise ServerCallError("the server's answer has no choices", again=True)
    text = get_path(choice, "message", "content") if chat else get_path(choice, "text")
    if not isinstance(text, str):
        raise ServerCallError("the server's answer has no text", again=True)
    return Completion(
        case_id=prompt.case_id,
        variant=prompt.variant,
        text=_sendable(text),
        token_ids=(),
        finish_reason=_REASONS.get(get_path(choice, "finish_reason")),
        seconds=seconds,
        n_prompt_tokens=_token_count(get_path(reply, "usage", "prompt_tokens")),
        n_tokens=_token_count(get_path(reply, "usage", "completion_tokens")),
    )


def read_reply(status: int, sent: Mapping[str, str], body: bytes, masked: SecretMask) -> Any:
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
        said = masked(error_message(decode_json(body[:_MAX_BODY_BYTES])))[:_MAX_MESSAGE_CHARS]
        raise ServerCallError(
            f"HTTP {status}: {said or 'no reason given'}",
            again=status in (408, 409, 429) or status >= 500,
            too_many=status in (429, 503, 529),
            wait_s=retry_after_s(sent),
            status=status,
        )
    if len(body) > _MAX_BODY_BYTES:
        raise ServerCallError(f"an answer of {len(body)} bytes; {_MAX_BODY_BYTES} are read at most")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise ServerCallError("the server's answer is no JSON", again=True) from None
    if isinstance(found, dict) and found.get("error"):
        said = masked(error_message(found))[:_MAX_MESSAGE_CHARS]
        raise ServerCallError(f"the server answered with an error: {said}", again=True)
    return found


def lost_connection(error: BaseException) -> ServerCallError:
    """The error for a request that no answer came to."""
    return ServerCallError(f"no answer: {type(error).__name__}", again=True)


def fatal_error(error: ServerCallError, url: str, name: str, has_key: bool) -> UserError | None:
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


def _token_count(value: Any) -> int | None:
    """A count of tokens, None where the server sends none that could be one."""
    return value if isinstance(value, int) and 0 <= value < 2**31 else None


def _sendable(text: str) -> str:
    """The text without halves of characters, which no UTF-8 can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


_TIMEOUT_S = 30.0
_FIRST_TOKEN_S = 300.0
_N_SHOWN = 20
BASE_OPTION, ADAPTER_OPTION = "--model_name", "--model_adapter"
_UNLISTED = "default_model"
"""mlx_lm.server's name for what it was started with, adapter included; its list leaves it out."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model as a server lists it; "" where it says nothing.

    Attributes:
        id: the name.
        root: where its weights come from.
        parent: of an adapter, its base's name.
        owner: who made the list; names the server's kind, mostly.
    """

    id: str
    root: str = ""
    parent: str = ""
    owner: str = ""

    @property
    def asked_as(self) -> str:
        """What to ask for: SGLang lists an adapter's own name, and takes it behind its base's."""
        adapter = self.owner == "sglang" and self.parent
        return f"{self.parent}:{self.id}" if adapter else self.id


@dataclass(frozen=True, slots=True)
class ServedModels:
    """What was looked for, found.

    Attributes:
        entries: given name -> entry.
        version: the server's, "" where it tells none.
    """

    entries: dict[str, ServedModel]
    version: str


def find_served(url: str, key: str, asked: Mapping[str, str], chat: bool) -> ServedModels:
    """Models on a server, before anything else is asked of it.

    Args:
        url: the server's.
        key: "" for none.
        asked: name -> the option that names it.
        chat: how a server without a list is asked.

    Raises:
        OptionError: when the server wants another key.
        ModelError: when it cannot be reached, or does not have them all; names those it has.
    """
    import httpx

    with make_client(
        f"the inference server {url}",
        lambda: httpx.Client(base_url=url, headers=request_headers(key), timeout=_TIMEOUT_S),
        ModelError,
    ) as client:
        asking = _ModelProbe(client, url, key)
        listed = asking.listed()
        if listed is None:
            for name in asked:
                asking.probe(name, chat)
            return ServedModels({name: ServedModel(name) for name in asked}, asking.version())
        return ServedModels(_match_all(url, asked, listed), asking.version())


class _ModelProbe:
    """One client's questions about models."""

    def __init__(self, client: Any, url: str, key: str) -> None:
        self._client = client
        self._url = url
        self._has_key = bool(key)
        self._masked = SecretMask(key)

    def listed(self) -> list[ServedModel] | None:
        """The server's list; None where it keeps none.

        Raises:
            UserError: when it gives none for another reason.
        """
        try:
            found = get_path(self._sent("GET", "models"), "data")
        except ServerCallError as error:
            if error.status in (404, 405, 501):
                return None
            if wrong := fatal_error(error, self._url, "models", self._has_key):
                raise wrong from None
            raise ModelError(
                f"the inference server {self._url} gives no list of models ({error}). Start it, "
                "or check --server_url"
            ) from None
        entries = map(_served_model, found if isinstance(found, list) else [])
        return [entry for entry in entries if entry.id]

    def probe(self, name: str, chat: bool) -> None:
        """Ask for one token.

        Raises:
            UserError: when the server has no such model.
        """
        path, body = completion_request(name, [Message("user", "Hello")], 1, chat)
        try:
            self._sent("POST", path, json=body, timeout=_FIRST_TOKEN_S)
        except ServerCallError as error:
            wrong = fatal_error(error, self._url, name, self._has_key)
            raise wrong or ModelError(
                f"the inference server {self._url} has no list of models, and does not complete "
                f"anything as {name!r}: {error}"
            ) from None

    def version(self) -> str:
        """What vLLM and Ollama tell of themselves, each at an address of its own."""
        root = self._url.removesuffix("/").removesuffix("/v1")
        for path in ("version", "api/version"):
            try:
                found = text_at(get_path(self._sent("GET", f"{root}/{path}"), "version"))
            except ServerCallError:
                continue
            if found:
                return self._masked(found)[:100]
        return ""

    def _sent(self, method: str, path: str, **more: Any) -> Any:
        """The JSON that comes back.

        Raises:
            CallError: when none does.
        """
        failed: ServerCallError
        try:
            answer = self._client.request(method, path, **more)
        except Exception as error:  # an answer may be odd in any way, and none is expected, too
            failed = lost_connection(error)
        else:
            return read_reply(answer.status_code, answer.headers, answer.content, self._masked)
        raise failed


def _served_model(item: Any) -> ServedModel:
    names = ("id", "root", "parent", "owned_by")
    return ServedModel(*(text_at(get_path(item, name)) for name in names))


def _match_all(
    url: str, asked: Mapping[str, str], listed: Sequence[ServedModel]
) -> dict[str, ServedModel]:
    """Given name -> entry.

    Raises:
        ModelError: naming all that are not there.
    """
    found = {name: _match(name, listed) for name in asked}
    for name, option in asked.items():
        if option == BASE_OPTION:
            found[name] = found[name] or _only_alike(name, listed)
    there = {name: entry for name, entry in found.items() if entry}
    missing = [name for name in asked if name not in there]
    if not missing:
        return there
    wanted = " and ".join(f"{name!r} ({asked[name]})" for name in missing)
    ids = [entry.id for entry in listed]
    shown = ", ".join(ids[:_N_SHOWN]) + (", ..." if len(ids) > _N_SHOWN else "")
    has = f"it has {shown}" if ids else "its list of models is empty"
    way_out = "Give names from that list" if ids else "Load them there"
    lora = [name for name in missing if asked[name] == ADAPTER_OPTION]
    how = f" (vLLM: --enable-lora --lora-modules {lora[0]}=DIRECTORY)" if lora else ""
    raise ModelError(
        f"the inference server {url} does not serve {wanted}; {has}. {way_out}, or start the "
        f"server with them{how}"
    )


def _match(name: str, listed: Sequence[ServedModel]) -> ServedModel | None:
    """The entry with this name, in the ways that servers let it be written."""
    for entry in listed:
        if name in (entry.id, entry.asked_as) or f"{name}:latest" == entry.id:
            return entry
    return ServedModel(name) if name == _UNLISTED else None


def _only_alike(name: str, listed: Sequence[ServedModel]) -> ServedModel | None:
    """The only base whose name ends like this one: servers drop a model's folders, or its owner.

    The classic host names the experiment's model by its directory or hub id, and its server lists
    the last part of that.
    """
    alike = [e for e in listed if not e.parent and _last_part(e.id) == _last_part(name)]
    return alike[0] if len(alike) == 1 else None


def _last_part(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2].casefold()

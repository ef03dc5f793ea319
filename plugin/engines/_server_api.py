"""OpenAI's protocol as the engine `server` speaks it, and which models an inference server has.

`completion_request` and `completion_from_reply` are the two ends of a request for a completion;
`fatal_error` says what the user must change. `find_served` looks names up in the server's list of
models, or asks it for one token of each where it keeps no list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from plugin.errors import CallError, ModelError, OptionError, UserError, list_first
from plugin.load.model import short_name
from plugin.net import (
    Meaning,
    SecretMask,
    client_error,
    count_at,
    get_path,
    make_client,
    read_answer,
    sendable,
    status_meaning,
    text_at,
)
from plugin.records import Completion, Message, Prompt

_TIMEOUT_S = 30.0
_FIRST_TOKEN_S = 300.0
_N_SHOWN = 20
BASE_OPTION, ADAPTER_OPTION = "--model_name", "--model_adapter"
_UNLISTED = "default_model"
"""mlx_lm.server's name for what it was started with, adapter included; its list leaves it out."""

_REASONS: dict[Any, Literal["stop", "length"]] = {"stop": "stop", "length": "length"}


def request_headers(key: str) -> dict[str, str]:
    """Return the headers that every request carries."""
    return {"authorization": f"Bearer {key}"} if key else {}


def completion_request(
    name: str,
    messages: Sequence[Message],
    n_tokens: int,
    chat: bool,
    enable_thinking: bool | None = None,
) -> tuple[str, dict[str, Any]]:
    """Return path and body of a request for a greedy completion.

    Args:
        name: the model's, as served.
        messages: the turns.
        n_tokens: how long the completion may become.
        chat: as turns, under the model's template; else as plain text, as the other engines join
            it without one.
        enable_thinking: what the template is told, in the way of vLLM and SGLang; None tells it
            nothing.
    """
    turns = [{"role": turn.role, "content": sendable(turn.content)} for turn in messages]
    sampling = {"temperature": 0, "seed": 0, "max_tokens": n_tokens, "stream": False}
    if chat:
        body = {"model": name, "messages": turns, **sampling}
        if enable_thinking is not None:
            body["chat_template_kwargs"] = {"enable_thinking": enable_thinking}
        return "chat/completions", body
    text = "\n\n".join(turn["content"] for turn in turns)
    return "completions", {"model": name, "prompt": text, **sampling}


def completion_from_reply(prompt: Prompt, reply: Any, seconds: float, chat: bool) -> Completion:
    """Return the completion in an answer.

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
        raise CallError("the server's answer has no choices", retry=True)
    text = get_path(choice, "message", "content") if chat else get_path(choice, "text")
    if not isinstance(text, str):
        raise CallError("the server's answer has no text", retry=True)
    return Completion(
        case_id=prompt.case_id,
        variant=prompt.variant,
        text=sendable(text),
        token_ids=(),
        finish_reason=_REASONS.get(get_path(choice, "finish_reason")),
        seconds=seconds,
        n_prompt_tokens=count_at(get_path(reply, "usage", "prompt_tokens")),
        n_tokens=count_at(get_path(reply, "usage", "completion_tokens")),
    )


def fatal_error(error: CallError, url: str, name: str, has_key: bool) -> UserError | None:
    """Return what the user must change before any request for this model can succeed, if anything.

    The server's own words about a key are left out: they mostly quote it.
    """
    match status_meaning(error.status):
        case Meaning.KEY:
            wrong = "refuses the key in" if has_key else "wants a key: set"
            return OptionError(
                f"the inference server {url} {wrong} INFERENCE_API_KEY (HTTP {error.status})"
            )
        case Meaning.UNKNOWN:
            return ModelError(
                f"the inference server {url} does not serve {name!r} ({error}). Check the name, "
                "and --server_url: mostly it ends with /v1"
            )
        case _:
            return None


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
        """Return what to ask for; SGLang takes an adapter's name behind its base's alone."""
        adapter = self.owner == "sglang" and self.parent
        return f"{self.parent}:{self.id}" if adapter else self.id


@dataclass(frozen=True, slots=True)
class ServedModels:
    """The models that were looked for, all found.

    Attributes:
        entries: given name -> entry.
        version: the server's, "" where it tells none.
    """

    entries: dict[str, ServedModel]
    version: str


def find_served(url: str, key: str, asked: Mapping[str, str], chat: bool) -> ServedModels:
    """Return models of a server, before anything else is asked of it.

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
        probe = _ModelProbe(client, url, key)
        listed = probe.listed()
        if listed is None:
            for name in asked:
                probe.check(name, chat)
            return ServedModels({name: ServedModel(name) for name in asked}, probe.version())
        return ServedModels(_match_all(url, asked, listed), probe.version())


class _ModelProbe:
    """One client's questions about models."""

    def __init__(self, client: Any, url: str, key: str) -> None:
        self._client = client
        self._url = url
        self._has_key = bool(key)
        self._mask = SecretMask(key)

    def listed(self) -> list[ServedModel] | None:
        """Return the server's list; None where it keeps none.

        Raises:
            UserError: when it gives none for another reason.
        """
        try:
            found = get_path(self._request("GET", "models"), "data")
        except CallError as error:
            if error.status in (404, 405, 501):
                return None
            if fatal := fatal_error(error, self._url, "models", self._has_key):
                raise fatal from None
            raise ModelError(
                f"the inference server {self._url} gives no list of models ({error}). Start it, "
                "or check --server_url"
            ) from None
        entries = map(_served_model, found if isinstance(found, list) else [])
        return [entry for entry in entries if entry.id]

    def check(self, name: str, chat: bool) -> None:
        """Ask for one token.

        Raises:
            UserError: when the server has no such model.
        """
        path, body = completion_request(name, [Message("user", "Hello")], 1, chat)
        try:
            self._request("POST", path, json=body, timeout=_FIRST_TOKEN_S)
        except CallError as error:
            fatal = fatal_error(error, self._url, name, self._has_key)
            raise fatal or ModelError(
                f"the inference server {self._url} has no list of models, and does not complete "
                f"anything as {name!r}: {error}"
            ) from None

    def version(self) -> str:
        """Return what vLLM and Ollama tell of themselves, each at an address of its own."""
        root = self._url.removesuffix("/").removesuffix("/v1")
        for path in ("version", "api/version"):
            try:
                found = text_at(get_path(self._request("GET", f"{root}/{path}"), "version"))
            except CallError:
                continue
            if found:
                return self._mask(found)[:100]
        return ""

    def _request(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        """Return the JSON object that comes back.

        Raises:
            CallError: when none does.
        """
        try:
            answer = self._client.request(method, path, **more)
        except Exception as error:  # an answer may be odd in any way
            failed = client_error(error)
        else:
            return read_answer(answer.status_code, answer.headers, answer.content, self._mask)
        raise failed


def _served_model(item: Any) -> ServedModel:
    names = ("id", "root", "parent", "owned_by")
    return ServedModel(*(text_at(get_path(item, name)) for name in names))


def _match_all(
    url: str, asked: Mapping[str, str], listed: Sequence[ServedModel]
) -> dict[str, ServedModel]:
    """Return given name -> entry.

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
    has = f"it has {list_first(ids, _N_SHOWN)}" if ids else "its list of models is empty"
    way_out = "Give names from that list" if ids else "Load them there"
    lora = [name for name in missing if asked[name] == ADAPTER_OPTION]
    how = f" (vLLM: --enable-lora --lora-modules {lora[0]}=DIRECTORY)" if lora else ""
    raise ModelError(
        f"the inference server {url} does not serve {wanted}; {has}. {way_out}, or start the "
        f"server with them{how}"
    )


def _match(name: str, listed: Sequence[ServedModel]) -> ServedModel | None:
    """Return the entry with this name, in the ways that servers let it be written."""
    for entry in listed:
        if name in (entry.id, entry.asked_as) or f"{name}:latest" == entry.id:
            return entry
    return ServedModel(name) if name == _UNLISTED else None


def _only_alike(name: str, listed: Sequence[ServedModel]) -> ServedModel | None:
    """Return the only base whose name ends like this one: servers drop folders, or the owner.

    The classic host names the experiment's model by its directory or hub id, and its server lists
    the last part of that.
    """
    ending = short_name(name).casefold()
    alike = [e for e in listed if not e.parent and short_name(e.id).casefold() == ending]
    return alike[0] if len(alike) == 1 else None

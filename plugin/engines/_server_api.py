"""Speak OpenAI's protocol with an inference server, and find out which models it has.

`completion_request` builds a request for a completion, and `completion_from_reply` reads its
answer; `fatal_error` tells the user what to change. `find_served` looks names up in the server's
list of models. If the server has no list, it asks each model for one token instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from plugin.body import bound_body
from plugin.engines import SERVER_OPTIONS, ServerOptions
from plugin.errors import CallError, ModelError, OptionError, UserError, list_first
from plugin.keys import SecretMask
from plugin.load.model import short_name
from plugin.net import (
    Meaning,
    count_at,
    fetch_json,
    get_path,
    make_client,
    sendable,
    status_meaning,
    text_at,
)
from plugin.records import Completion, Draw, Message, Prompt

_N_SEEDS = 2**31
"""Servers take no larger seeds."""

_TIMEOUT_S = 30.0
_FIRST_TOKEN_S = 300.0
_N_SHOWN = 20
BASE_OPTION, ADAPTER_OPTION = "--model_name", "--model_adapter"
_UNLISTED = "default_model"
"""mlx_lm.server's name for the model and adapter it was started with; its list lacks this name."""

_REASONS: dict[Any, Literal["stop", "length"]] = {"stop": "stop", "length": "length"}


def request_headers(key: str) -> dict[str, str]:
    """Return the headers of every request."""
    return {"authorization": f"Bearer {key}"} if key else {}


def completion_request(
    name: str,
    messages: Sequence[Message],
    n_tokens: int,
    chat: bool,
    enable_thinking: bool | None = None,
    draw: Draw | None = None,
) -> tuple[str, dict[str, Any]]:
    """Return path and body of a request for a completion.

    Args:
        name: the model's name on the server.
        messages: the turns.
        n_tokens: largest length of the completion.
        chat: whether to send turns and let the server apply the chat template; if not, send the
            plain text that the other engines use without a template.
        enable_thinking: value passed to the template as vLLM and SGLang expect it; None passes
            nothing.
        draw: how it is drawn; None for the most likely tokens.
    """
    turns = [{"role": turn.role, "content": sendable(turn.content)} for turn in messages]
    sampling: dict[str, Any] = {
        "temperature": 0,
        "seed": 0,
        "max_tokens": n_tokens,
        "stream": False,
    }
    if draw:  # servers may have a top_p of their own
        seed = draw.seed % _N_SEEDS
        sampling |= {"temperature": draw.temperature, "seed": seed, "top_p": 1}
    if chat:
        body = {"model": name, "messages": turns, **sampling}
        if enable_thinking is not None:
            body["chat_template_kwargs"] = {"enable_thinking": enable_thinking}
        return "chat/completions", body
    text = "\n\n".join(turn["content"] for turn in turns)
    return "completions", {"model": name, "prompt": text, **sampling}


def completion_from_reply(prompt: Prompt, reply: Any, seconds: float, chat: bool) -> Completion:
    """Return the completion from a server's answer.

    Args:
        prompt: the prompt that was sent.
        reply: the answer's JSON.
        seconds: time from the request to the complete answer.
        chat: as in `completion_request`.

    Raises:
        CallError: when the answer holds no completion.
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
        sample=prompt.sample,
    )


def fatal_error(
    error: CallError, url: str, name: str, has_key: bool, told_by: ServerOptions
) -> UserError | None:
    """Return an error if no request for this model can succeed until the user changes something.

    The server's own words about a key are left out, because they often quote the key.

    Args:
        error: of the request.
        url: the server's base URL.
        name: the model's name there.
        has_key: whether a key was sent.
        told_by: the options that name server and key.
    """
    match status_meaning(error.status):
        case Meaning.KEY:
            wrong = "rejects the key in" if has_key else "needs a key: set"
            return OptionError(
                f"the inference server {url} {wrong} {told_by.key} (HTTP {error.status})"
            )
        case Meaning.UNKNOWN:
            return ModelError(
                f"the inference server {url} does not serve {name!r} ({error}). Check the name, "
                f"and {told_by.url}, which usually ends with /v1"
            )
        case Meaning.MOVED:
            return ModelError(
                f"the inference server {url} sends requests elsewhere ({error}). Redirects are not "
                f"followed; if that is the right server, change {told_by.url} to it"
            )
        case _:
            return None


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model in a server's list; "" for what the server does not say.

    Attributes:
        id: the model's name.
        root: where its weights come from.
        parent: for an adapter, the name of its base.
        owner: the field `owned_by`, which usually names the server software.
    """

    id: str
    root: str = ""
    parent: str = ""
    owner: str = ""

    @property
    def asked_as(self) -> str:
        """Return the name to use in requests; SGLang wants BASE:ADAPTER for an adapter."""
        adapter = self.owner == "sglang" and self.parent
        return f"{self.parent}:{self.id}" if adapter else self.id


@dataclass(frozen=True, slots=True)
class ServedModels:
    """The models that were asked for, all found.

    Attributes:
        entries: name as the user gave it -> entry in the server's list.
        version: the server's version; "" when unknown.
    """

    entries: dict[str, ServedModel]
    version: str


def find_served(
    url: str,
    key: str,
    asked: Mapping[str, str],
    chat: bool,
    told_by: ServerOptions = SERVER_OPTIONS,
) -> ServedModels:
    """Find the named models on a server.

    Args:
        url: the server's base URL.
        key: the server's key; "" for none.
        asked: model name -> the option that the user gave it with.
        chat: whether test requests to a server without a list are chats.
        told_by: the options that name server and key.

    Raises:
        OptionError: when the server rejects the key.
        ModelError: when the server cannot be reached, or lacks a model; lists those it has.
    """
    probe = _ModelProbe(url, key, told_by)
    listed = probe.listed()
    if listed is None:
        for name in asked:
            probe.check(name, chat)
        return ServedModels({name: ServedModel(name) for name in asked}, probe.version())
    return ServedModels(_match_all(url, asked, listed), probe.version())


class _ModelProbe:
    """Ask a server about its models."""

    def __init__(self, url: str, key: str, told_by: ServerOptions) -> None:
        self._url = url
        self._key = key
        self._told_by = told_by
        self._mask = SecretMask(key)

    def listed(self) -> list[ServedModel] | None:
        """Return the server's list of models; None if it does not offer one.

        Raises:
            UserError: when the request fails for another reason.
        """
        try:
            found = get_path(self._request("GET", "models", _TIMEOUT_S), "data")
        except CallError as error:
            if error.status in (404, 405, 501):
                return None
            if fatal := fatal_error(error, self._url, "models", bool(self._key), self._told_by):
                raise fatal from None
            raise ModelError(
                f"cannot read the list of models of the inference server {self._url} ({error}). "
                f"Check that it is running, and check {self._told_by.url}"
            ) from None
        entries = map(self._served_model, found if isinstance(found, list) else [])
        return [entry for entry in entries if entry.id]

    def _served_model(self, item: Any) -> ServedModel:
        names = ("id", "root", "parent", "owned_by")
        texts = (sendable(text_at(get_path(item, name))) for name in names)
        return ServedModel(*map(self._mask.in_content, texts))

    def check(self, name: str, chat: bool) -> None:
        """Ask the model for one token.

        Raises:
            UserError: when the server gives none.
        """
        path, body = completion_request(name, [Message("user", "Hello")], 1, chat)
        try:
            self._request("POST", path, _FIRST_TOKEN_S, json=body)
        except CallError as error:
            fatal = fatal_error(error, self._url, name, bool(self._key), self._told_by)
            raise fatal or ModelError(
                f"the inference server {self._url} has no list of models, and a test request for "
                f"{name!r} failed: {error}. Check the name and {self._told_by.url}"
            ) from None

    def version(self) -> str:
        """Return the server's version; vLLM and Ollama report it at different addresses."""
        root = self._url.removesuffix("/").removesuffix("/v1")
        for path in ("version", "api/version"):
            try:
                found = text_at(
                    get_path(self._request("GET", f"{root}/{path}", _TIMEOUT_S), "version")
                )
            except CallError:
                continue
            if found:
                return self._mask(found)[:100]
        return ""

    def _request(self, method: str, path: str, limit_s: float, **more: Any) -> dict[str, Any]:
        """Send a request, and return the JSON object of the answer.

        Raises:
            CallError: when there is no answer in time, or no JSON object in it.
        """
        return fetch_json(self._client, method, path, self._mask, limit_s, timeout=limit_s, **more)

    def _client(self) -> Any:
        import httpx

        return make_client(
            f"the inference server {self._url}",
            lambda: httpx.AsyncClient(
                base_url=self._url,
                headers=request_headers(self._key),
                event_hooks={"response": [bound_body]},
            ),
            ModelError,
        )


def _match_all(
    url: str, asked: Mapping[str, str], listed: Sequence[ServedModel]
) -> dict[str, ServedModel]:
    """Return the entry in the list for each given name.

    Raises:
        ModelError: naming all models that are not in the list.
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
    """Return the entry with this name, in any spelling that the server accepts."""
    for entry in listed:
        if name in (entry.id, entry.asked_as) or f"{name}:latest" == entry.id:
            return entry
    return ServedModel(name) if name == _UNLISTED else None


def _only_alike(name: str, listed: Sequence[ServedModel]) -> ServedModel | None:
    """Return the only base whose name has the same last part; some servers drop the rest.

    The classic host passes the experiment's model as a directory or hub id, but its server lists
    only the last part of it.
    """
    ending = short_name(name).casefold()
    alike = [e for e in listed if not e.parent and short_name(e.id).casefold() == ending]
    return alike[0] if len(alike) == 1 else None

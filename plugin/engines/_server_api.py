"""Which models an inference server has: its list, or a question where it keeps none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plugin.engines._protocol import CallError, headers, hopeless, lost, read, request
from plugin.errors import ModelError
from plugin.keys import Mask
from plugin.records import Message
from plugin.wire import dig, made, word

_TIMEOUT_S = 30.0
_FIRST_TOKEN_S = 300.0
_N_SHOWN = 20
BASE_OPTION, ADAPTER_OPTION = "--model_name", "--model_adapter"
_UNLISTED = "default_model"
"""mlx_lm.server's name for what it was started with, adapter included; its list leaves it out."""


@dataclass(frozen=True, slots=True)
class Entry:
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
class Served:
    """What was looked for, found.

    Attributes:
        entries: given name -> entry.
        version: the server's, "" where it tells none.
    """

    entries: dict[str, Entry]
    version: str


def find_served(url: str, key: str, asked: Mapping[str, str], chat: bool) -> Served:
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

    with made(
        f"the inference server {url}",
        lambda: httpx.Client(base_url=url, headers=headers(key), timeout=_TIMEOUT_S),
        ModelError,
    ) as client:
        asking = _Asking(client, url, key)
        listed = asking.listed()
        if listed is None:
            for name in asked:
                asking.probe(name, chat)
            return Served({name: Entry(name) for name in asked}, asking.version())
        return Served(_found(url, asked, listed), asking.version())


class _Asking:
    """One client's questions about models."""

    def __init__(self, client: Any, url: str, key: str) -> None:
        self._client = client
        self._url = url
        self._has_key = bool(key)
        self._masked = Mask(key)

    def listed(self) -> list[Entry] | None:
        """The server's list; None where it keeps none.

        Raises:
            UserError: when it gives none for another reason.
        """
        try:
            found = dig(self._sent("GET", "models"), "data")
        except CallError as error:
            if error.status in (404, 405, 501):
                return None
            if wrong := hopeless(error, self._url, "models", self._has_key):
                raise wrong from None
            raise ModelError(
                f"the inference server {self._url} gives no list of models ({error}). Start it, "
                "or check --server_url"
            ) from None
        entries = map(_entry, found if isinstance(found, list) else [])
        return [entry for entry in entries if entry.id]

    def probe(self, name: str, chat: bool) -> None:
        """Ask for one token.

        Raises:
            UserError: when the server has no such model.
        """
        path, body = request(name, [Message("user", "Hello")], 1, chat)
        try:
            self._sent("POST", path, json=body, timeout=_FIRST_TOKEN_S)
        except CallError as error:
            wrong = hopeless(error, self._url, name, self._has_key)
            raise wrong or ModelError(
                f"the inference server {self._url} has no list of models, and does not complete "
                f"anything as {name!r}: {error}"
            ) from None

    def version(self) -> str:
        """What vLLM and Ollama tell of themselves, each at an address of its own."""
        root = self._url.removesuffix("/").removesuffix("/v1")
        for path in ("version", "api/version"):
            try:
                found = word(dig(self._sent("GET", f"{root}/{path}"), "version"))
            except CallError:
                continue
            if found:
                return self._masked(found)[:100]
        return ""

    def _sent(self, method: str, path: str, **more: Any) -> Any:
        """The JSON that comes back.

        Raises:
            CallError: when none does.
        """
        failed: CallError
        try:
            answer = self._client.request(method, path, **more)
        except Exception as error:  # an answer may be odd in any way, and none is expected, too
            failed = lost(error)
        else:
            return read(answer.status_code, answer.headers, answer.content, self._masked)
        raise failed


def _entry(item: Any) -> Entry:
    names = ("id", "root", "parent", "owned_by")
    return Entry(*(word(dig(item, name)) for name in names))


def _found(url: str, asked: Mapping[str, str], listed: Sequence[Entry]) -> dict[str, Entry]:
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


def _match(name: str, listed: Sequence[Entry]) -> Entry | None:
    """The entry with this name, in the ways that servers let it be written."""
    for entry in listed:
        if name in (entry.id, entry.asked_as) or f"{name}:latest" == entry.id:
            return entry
    return Entry(name) if name == _UNLISTED else None


def _only_alike(name: str, listed: Sequence[Entry]) -> Entry | None:
    """The only base whose name ends like this one: servers drop a model's folders, or its owner.

    The classic host names the experiment's model by its directory or hub id, and its server lists
    the last part of that.
    """
    alike = [e for e in listed if not e.parent and _last_part(e.id) == _last_part(name)]
    return alike[0] if len(alike) == 1 else None


def _last_part(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2].casefold()

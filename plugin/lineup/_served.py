"""Variants that an inference server knows by name, generated there."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from plugin import engines
from plugin.cache import content_key
from plugin.engines import ServedSettings
from plugin.engines._models import Entry, Served, find_served
from plugin.errors import AdapterError
from plugin.generation import Load
from plugin.lineup import Lineup
from plugin.params import ONLY_ADAPTER, Params
from plugin.records import PROMPTED, VANILLA, Variant
from plugin.sources import Address, Sources


def line_up(params: Params, sources: Sources, server: Address) -> Lineup:
    """See `plugin.lineup.line_up`; the server is asked what it has."""
    base, adapters = sources.model, sources.adapters
    _check_names(base, adapters)
    found = find_served(server.url, server.key, base, adapters, params.chat_template)
    settings = ServedSettings(
        url=server.url,
        key=server.key,
        names={
            **dict.fromkeys((VANILLA, PROMPTED), found.base.asked_as),
            **{name: entry.asked_as for name, entry in found.adapters.items()},
        },
        notes={name: _notes(entry, found.base) for name, entry in found.adapters.items()},
        max_tokens=params.max_tokens,
        batch_size=params.batch_size,
        chat_template=params.chat_template,
    )
    names = [
        *([] if params.variants == ONLY_ADAPTER else [VANILLA]),
        *([PROMPTED] if params.baseline_prompt else []),
        *adapters,
    ]
    variants = tuple(_variant(name, params, found) for name in names)
    engine = engines.library_version("server")
    # A name says nothing of its weights: tomorrow the server may have others under it. So what it
    # completes is used again in this run's folder alone, and goes to no cache that runs share.
    load = Load(variants, partial(engines.load, "server", settings), shared=False)
    return Lineup(
        loads=(load,),
        identity={
            "model as served": _facts(found.base),
            "adapters as served": {name: _facts(entry) for name, entry in found.adapters.items()},
            "server's version": found.version,
            "engine": engine,
        },
        versions={
            "engine": f"{engine} {found.version}".strip(),
            "engine chosen by": server.chosen_by,
            **{f"adapter {name}": entry.asked_as for name, entry in found.adapters.items()},
        },
    )


def _check_names(base: str, adapters: Sequence[str]) -> None:
    """Whether every variant can be told from the others by its name.

    Raises:
        AdapterError: when one cannot.
    """
    reserved = {
        VANILLA: "what the base model is shown as",
        PROMPTED: "what the base model with --baseline_prompt is shown as",
        base: "that of the base model",
    }
    for i, name in enumerate(adapters):
        taken = "given twice" if name in adapters[:i] else reserved.get(name)
        if taken:
            raise AdapterError(
                f"--model_adapter {name!r}: this name is {taken}; names must differ, so serve the "
                "adapter under another one"
            )


def _facts(entry: Entry) -> dict[str, str]:
    """What the server says of a model: all that is known of its weights."""
    facts = {"id": entry.id, "root": entry.root, "parent": entry.parent}
    return {name: value for name, value in facts.items() if value}


def _notes(adapter: Entry, base: Entry) -> tuple[str, ...]:
    """A warning where the server says that the adapter belongs to another base."""
    if adapter.parent in ("", base.id, base.root):
        return ()
    return (
        f"the server says that {adapter.id} belongs to {adapter.parent!r}, and the base model here "
        f"is {base.id!r}: make sure that they are the same weights",
    )


def _variant(name: str, params: Params, found: Served) -> Variant:
    adapter = found.adapters.get(name)
    prompt = params.baseline_prompt if name == PROMPTED else params.system_prompt
    depends_on: list[Any] = [
        _facts(found.base),
        _facts(adapter) if adapter else None,
        found.version,
        {"temperature": 0, "max_tokens": params.max_tokens, "chat": params.chat_template},
    ]
    return Variant(
        name=name,
        id=content_key("server", *depends_on),
        model=found.base.id,
        adapter_path=adapter.id if adapter else None,
        system_prompt=prompt or None,
    )

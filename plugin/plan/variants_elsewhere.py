"""Variants that an inference server knows by name, generated there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from plugin import engines
from plugin.cache import content_key
from plugin.certificate_records import not_applicable
from plugin.engines import ServedSettings
from plugin.engines._models import ADAPTER_OPTION, BASE_OPTION, Entry, find_served
from plugin.errors import OptionError
from plugin.generation import Load
from plugin.lineup import RESERVED, Lineup
from plugin.params import ONLY_ADAPTER, Params
from plugin.records import PROMPTED, VANILLA, Variant
from plugin.sources import Sources

OF_ITS_OWN = "a model of its own on the server"


def line_up(params: Params, sources: Sources) -> Lineup:
    """See `plugin.lineup.line_up`; the server is asked what it has."""
    server, base = sources.server, sources.model
    if server is None:
        raise OptionError("no --server_url is given")
    _check_names(base, [*sources.adapters, *sources.tuned])
    asked = {
        base: BASE_OPTION,
        **dict.fromkeys(sources.adapters, ADAPTER_OPTION),
        **dict.fromkeys(sources.tuned, "--tuned_model"),
    }
    found = find_served(server.url, server.key, asked, params.chat_template)
    entries = {
        **dict.fromkeys((VANILLA, PROMPTED), found.entries[base]),
        **{name: found.entries[name] for name in (*sources.adapters, *sources.tuned)},
    }
    settings = ServedSettings(
        url=server.url,
        key=server.key,
        names={name: entry.asked_as for name, entry in entries.items()},
        notes={name: _notes(entries[name], entries[VANILLA]) for name in sources.adapters},
        max_tokens=params.max_tokens,
        batch_size=params.batch_size or engines.batch_size("server"),
        chat_template=params.chat_template,
    )
    left_out = [
        *([VANILLA] if params.variants == ONLY_ADAPTER else []),
        *([] if params.baseline_prompt else [PROMPTED]),
    ]
    variants = tuple(
        _variant(name, params, sources, entries, found.version)
        for name in entries
        if name not in left_out
    )
    engine = engines.library_version("server")
    # A name says nothing of its weights: tomorrow the server may have others under it. So what it
    # completes is used again in this run's folder alone, and goes to no cache that runs share.
    load = Load(variants, partial(engines.load, "server", settings), shared=False)
    served = {name: _facts(entries[name]) for name in (*sources.adapters, *sources.tuned)}
    return Lineup(
        loads=(load,),
        identity={
            "model as served": _facts(entries[VANILLA]),
            "adapters as served": served,
            "server's version": found.version,
            "engine": engine,
        },
        versions={
            "engine": f"{engine} {found.version}".strip(),
            "engine chosen by": server.chosen_by,
        },
        engine="server",
        certificates=tuple(not_applicable(name, OF_ITS_OWN) for name in sources.tuned),
    )


def _check_names(base: str, others: Sequence[str]) -> None:
    """Whether every variant can be told from the others by its name.

    Raises:
        OptionError: when they cannot.
    """
    reserved = {
        VANILLA: "what the base model is shown as",
        PROMPTED: "what the base model with --baseline_prompt is shown as",
        **RESERVED,
        base: "that of the base model",
    }
    problems = []
    for i, name in enumerate(others):
        why = "given twice" if name in others[:i] else reserved.get(name)
        if why:
            problems.append(
                f"{name}: this name is {why}; names must differ, so serve it under another one"
            )
    if problems:
        raise OptionError("\n".join(problems))


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


def _variant(
    name: str, params: Params, sources: Sources, entries: Mapping[str, Entry], version: str
) -> Variant:
    prompt = params.baseline_prompt if name == PROMPTED else params.system_prompt
    own = entries[name]
    of_base = name not in sources.tuned
    return Variant(
        name=name,
        id=content_key(
            "server",
            _facts(entries[VANILLA]) if of_base else None,
            _facts(own),
            version,
            {"temperature": 0, "max_tokens": params.max_tokens, "chat": params.chat_template},
        ),
        model=(entries[VANILLA] if of_base else own).id,
        adapter_path=own.id if name in sources.adapters else None,
        system_prompt=prompt or None,
    )

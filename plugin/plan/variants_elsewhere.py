"""Make the lineup of variants whose weights are not on this machine.

`recorded_lineup` is for completions from files; `served_lineup` is for names that an inference
server knows.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from plugin import engines
from plugin.cache import content_key
from plugin.certify.certificate import not_applicable
from plugin.engines import ServedSettings
from plugin.engines._server_api import ADAPTER_OPTION, BASE_OPTION, ServedModel, find_served
from plugin.engines.recorded import ELSEWHERE, load, version
from plugin.errors import DataError, OptionError, UserError
from plugin.load.cases import LoadedCases
from plugin.load.recordings import RecordedCompletions, Recording, read_recording
from plugin.plan.params import Params
from plugin.plan.params_input import MAX_TOKENS, ONLY_ADAPTER
from plugin.plan.resolve import Sources
from plugin.plan.variants import RESERVED, Lineup, Load, why_reserved
from plugin.records import VANILLA, Case, Variant
from plugin.sampling import temperature_fact

OF_ITS_OWN = "a model of its own on the server"
"""Why a fine-tuned model on a server has no certificate."""


def recorded_lineup(sources: Sources, loaded: LoadedCases, n_samples: int = 1) -> Lineup:
    """Return the recorded variants in the order of the options, the baseline first.

    Args:
        sources: where the files are.
        loaded: the cases.
        n_samples: how many completions each case has, in a list.

    Raises:
        UserError: saying what is wrong with names and files.
    """
    _check_recorded_names(sources.recorded)
    found = _read_recordings(sources.recorded, loaded, n_samples)
    digests = {name: _recorded_digest(one, loaded.cases) for name, one in found.items()}
    variants = tuple(_recorded_variant(r, found[r.name], digests[r.name]) for r in sources.recorded)
    return Lineup(
        loads=(Load(variants, partial(load, found), recorded=True),),
        identity={
            "recorded variants": list(digests),
            "engine": version(),
        },
        digests={"recorded completions' content": digests},
        versions={
            "engine": version(),
            "engine chosen by": "--recorded",
            **{f"recorded {name}": _recorded_traits(one, loaded) for name, one in found.items()},
        },
        engine="recorded",
        certificates=tuple(not_applicable(v.name, ELSEWHERE) for v in variants[1:]),
        notes=_unmatched_rows(sources.recorded, found, loaded),
    )


def _check_recorded_names(recordings: Sequence[Recording]) -> None:
    problems = []
    names = list[str]()
    for place, one in enumerate(recordings):
        if one.name in RESERVED:
            problems.append(
                f"--recorded {one}: the name {one.name!r} is {RESERVED[one.name]}; choose another"
            )
        if one.name in names:
            problems.append(
                f"--recorded {one}: the name {one.name!r} is given twice; choose another"
            )
        elif one.name == VANILLA and place:
            problems.append(f"--recorded {one}: {VANILLA!r} is the baseline, so put it first")
        names.append(one.name)
    if problems:
        raise OptionError("\n".join(problems))


def _read_recordings(
    recordings: Sequence[Recording], loaded: LoadedCases, n_samples: int
) -> dict[str, RecordedCompletions]:
    found, problems = dict[str, RecordedCompletions](), list[UserError]()
    places = dict[tuple[str, str], str]()
    for one in recordings:
        try:
            found[one.name] = read_recording(one, loaded, n_samples)
        except UserError as error:
            problems.append(error)
            continue
        other = places.setdefault((one.file, found[one.name].column), one.name)
        if other != one.name:
            text = (
                f"--recorded {one}: column {found[one.name].column} is also that of {other!r}; "
                "name another column"
            )
            problems.append(OptionError(text))
    if problems:
        kind = OptionError if isinstance(problems[0], OptionError) else DataError
        raise kind("\n".join(dict.fromkeys(map(str, problems)))) from problems[0]
    return found


def _recorded_digest(recorded: RecordedCompletions, cases: Sequence[Case]) -> str:
    """Return the digest of the texts that were read for the cases, wherever the file is."""
    texts = [[case.id, recorded.texts.get(case.id)] for case in cases]
    return content_key(texts, *([dict(recorded.later)] if recorded.later else []))


def _recorded_variant(recording: Recording, recorded: RecordedCompletions, digest: str) -> Variant:
    file = os.path.basename(recording.file)
    return Variant(
        name=recording.name,
        id=content_key(version(), digest),
        model=f"recorded in {file}, column {recorded.column}",
    )


def _recorded_traits(recorded: RecordedCompletions, loaded: LoadedCases) -> str:
    n, n_all = len(recorded.texts), len(loaded.cases)
    return f"column {recorded.column}, {n} of {n_all} cases, joined on {recorded.joined_on}"


def _unmatched_rows(
    recordings: Sequence[Recording],
    recorded: Mapping[str, RecordedCompletions],
    loaded: LoadedCases,
) -> tuple[str, ...]:
    """Return a note for each file that has completions of cases outside the data set."""
    if loaded.source.limit < 1:  # then most rows belong to cases that were not drawn
        return ()
    return tuple(
        f"{recorded[one.name].n_unmatched} of the completions recorded for {one.name} belong to no "
        f"case of the data set and are left out ({os.path.basename(one.file)})"
        for one in recordings
        if recorded[one.name].n_unmatched and one.file != loaded.source.dataset_name
    )


def served_lineup(params: Params, sources: Sources) -> Lineup:
    """Ask the server which models it has, and return the variants.

    Raises:
        UserError: naming models that the server does not have, and options that cannot work.
    """
    server, base = sources.server, sources.model
    if server is None:
        raise OptionError("no --server_url is given")
    if not params.max_tokens:  # a server does not show its template
        params = params.model_copy(update={"max_tokens": MAX_TOKENS})
    _check_served_names(base, [*sources.adapters, *sources.tuned])
    asked = {
        base: BASE_OPTION,
        **dict.fromkeys(sources.adapters, ADAPTER_OPTION),
        **dict.fromkeys(sources.tuned, "--tuned_model"),
    }
    found = find_served(server.url, server.key, asked, params.chat_template)
    prompts = {one.variant: one.text for one in sources.prompts}
    entries = {
        **dict.fromkeys((VANILLA, *prompts), found.entries[base]),
        **{name: found.entries[name] for name in (*sources.adapters, *sources.tuned)},
    }
    settings = ServedSettings(
        url=server.url,
        key=server.key,
        names={name: entry.asked_as for name, entry in entries.items()},
        notes={name: _served_notes(entries[name], entries[VANILLA]) for name in sources.adapters},
        max_tokens=params.max_tokens,
        batch_size=params.batch_size or engines.ENGINES["server"].batch_size,
        chat_template=params.chat_template,
        enable_thinking=params.enable_thinking,
    )
    variants = tuple(
        replace(
            _served_variant(name, params, sources, entries, found.version),
            system_prompt=prompts.get(name, params.system_prompt) or None,
        )
        for name in entries
        if name != VANILLA or params.variants != ONLY_ADAPTER
    )
    engine = engines.library_version("server")
    # The weights behind a name are unknown, and may be others tomorrow. So the completions are used
    # again in this run's folder only, and do not go into the cache that runs share.
    load = Load(variants, partial(engines.load, "server", settings), shared=False)
    served = {name: _served_facts(entries[name]) for name in (*sources.adapters, *sources.tuned)}
    return Lineup(
        loads=(load,),
        identity={
            "model as served": _served_facts(entries[VANILLA]),
            "adapters as served": served,
            "server's version": found.version,
            "engine": engine,
        },
        versions={
            "engine": f"{engine} {found.version}".strip(),
            "engine chosen by": server.chosen_by,
        },
        engine="server",
        max_tokens=params.max_tokens,
        certificates=tuple(not_applicable(name, OF_ITS_OWN) for name in sources.tuned),
    )


def _check_served_names(base: str, others: Sequence[str]) -> None:
    """Check that every variant has a name of its own.

    Raises:
        OptionError: naming those that have not.
    """
    problems = []
    for i, name in enumerate(others):
        why = why_reserved(name) or ("that of the base model" if name == base else "")
        why = "given twice" if name in others[:i] else why
        if why:
            problems.append(
                f"{name}: this name is {why}; names must differ, so serve it under another one"
            )
    if problems:
        raise OptionError("\n".join(problems))


def _served_facts(entry: ServedModel) -> dict[str, str]:
    """Return what the server says about a model, which is all that is known of its weights."""
    facts = {"id": entry.id, "root": entry.root, "parent": entry.parent}
    return {name: value for name, value in facts.items() if value}


def _served_notes(adapter: ServedModel, base: ServedModel) -> tuple[str, ...]:
    """Return a warning if the server says that the adapter belongs to another base."""
    if adapter.parent in ("", base.id, base.root):
        return ()
    return (
        f"the server says that {adapter.id} belongs to {adapter.parent!r}, and the base model here "
        f"is {base.id!r}: make sure that both have the same weights",
    )


def _served_variant(
    name: str, params: Params, sources: Sources, entries: Mapping[str, ServedModel], version: str
) -> Variant:
    own = entries[name]
    of_base = name not in sources.tuned
    asked = {
        "temperature": temperature_fact(params.temperature),
        "max_tokens": params.max_tokens,
        "chat": params.chat_template,
    }
    if params.enable_thinking is not None:  # a run that says nothing of it keeps its id
        asked["enable_thinking"] = params.enable_thinking
    return Variant(
        name=name,
        id=content_key(
            "server",
            _served_facts(entries[VANILLA]) if of_base else None,
            _served_facts(own),
            version,
            asked,
        ),
        model=(entries[VANILLA] if of_base else own).id,
        adapter_path=own.id if name in sources.adapters else None,
    )

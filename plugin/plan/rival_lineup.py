"""Add other models to the lineup of a run: each is a name on a server, and a load of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from plugin import engines
from plugin.cache import content_key
from plugin.certify.certificate import not_applicable
from plugin.compare.contrasts import contenders
from plugin.engines import ServedSettings, ServerOptions
from plugin.engines._server_api import ServedModel, find_served
from plugin.errors import OptionError
from plugin.judges import Judge, marks_its_own_work
from plugin.plan.params import Params
from plugin.plan.resolve import Sources
from plugin.plan.rivals import OPTION, RivalModel
from plugin.plan.variants import RESERVED, Lineup, Load
from plugin.records import RIVAL, Variant, is_prompted, is_rival
from plugin.sampling import temperature_fact

NOT_TUNED = "another model, which is not tuned here"
"""Why a rival has no certificate."""


def with_rivals(lineup: Lineup, params: Params, sources: Sources) -> Lineup:
    """Return the lineup with the other models after all else; the same without any.

    Raises:
        UserError: naming servers that cannot be asked, models that they do not have, and rivals
            that are no other model.
    """
    if not sources.rivals:
        return lineup
    _check_rivals(lineup, sources.rivals)
    found = [_find(one, params) for one in sources.rivals]
    _check_others(lineup, sources, [entry for entry, _ in found])
    loads, facts, versions = list[Load](), dict[str, object](), dict[str, str]()
    for one, (entry, version) in zip(sources.rivals, found, strict=True):
        facts[one.name] = {"id": entry.id, "root": entry.root, "server's version": version}
        variant = _variant(one, entry, version, params, sources.rival_prompt)
        settings = _settings(one, entry, variant.name, params)
        loads.append(Load((variant,), partial(engines.load, "server", settings), shared=False))
        versions[variant.name] = f"{entry.id} on {one.url} {version}".strip()
    names = [load.variants[0].name for load in loads]
    return replace(
        lineup,
        loads=(*lineup.loads, *loads),
        identity={**lineup.identity, "rivals as served": facts},
        versions={**lineup.versions, **versions},
        certificates=(*lineup.certificates, *(not_applicable(n, NOT_TUNED) for n in names)),
        notes=(*lineup.notes, *_judge_notes(sources, found)),
    )


def _check_rivals(lineup: Lineup, rivals: Sequence[RivalModel]) -> None:
    """Check that there is something to measure against the rivals, and that names differ.

    Raises:
        OptionError: when there is not, or naming those that do not.
    """
    names = [variant.name for variant in lineup.variants]
    about = [name for name in contenders(names) if not is_rival(name)]
    if not about:
        raise OptionError(
            f"{OPTION} is measured against a tuned model, and there is none: name an adapter with "
            "--model_adapter, a fine-tuned model with --tuned_model, a prompt with "
            "--baseline_prompt, or a second --recorded"
        )
    taken = {*names, *RESERVED}
    if twice := [one.name for one in rivals if {one.name, f"{RIVAL} {one.name}"} & taken]:
        raise OptionError(
            f"{OPTION} {' and '.join(twice)}: also the name of another variant here; choose "
            "another name"
        )


def _find(one: RivalModel, params: Params) -> tuple[ServedModel, str]:
    """Return what the server says of a rival, and the server's version.

    Raises:
        UserError: when the server cannot be asked, or lacks the model; lists those it has.
    """
    option = f"{OPTION} {one.name}"
    asked, chat = {one.model: option}, params.chat_template
    served = find_served(one.url, one.key, asked, chat, _told_by(one))
    return served.entries[one.model], served.version


def _check_others(lineup: Lineup, sources: Sources, entries: Sequence[ServedModel]) -> None:
    """Refuse a rival that is one of the models under test.

    Raises:
        OptionError: naming it.
    """
    server = sources.server
    if server is None:
        return
    own = {
        place: variant.name
        for variant in lineup.variants
        for place in (variant.adapter_path or variant.model,)
        if not is_prompted(variant.name)
    }
    for one, entry in zip(sources.rivals, entries, strict=True):
        if one.place[0] == server.url.rstrip("/") and entry.id in own:
            raise OptionError(
                f"{OPTION} {one.name}: {entry.id!r} on {server.url} is {own[entry.id]} itself, so "
                "there is nothing to compare; name another model"
            )


def _variant(
    one: RivalModel, entry: ServedModel, version: str, params: Params, prompt: str
) -> Variant:
    asked: dict[str, object] = {
        "temperature": temperature_fact(params.temperature),
        "max_tokens": params.max_tokens,
        "chat": params.chat_template,
        "enable_thinking": params.enable_thinking,
    }
    return Variant(
        name=f"{RIVAL} {one.name}",
        id=content_key("rival", one.url, {"id": entry.id, "root": entry.root}, version, asked),
        model=entry.id,
        system_prompt=prompt or None,
    )


def _settings(one: RivalModel, entry: ServedModel, name: str, params: Params) -> ServedSettings:
    return ServedSettings(
        url=one.url,
        key=one.key,
        names={name: entry.asked_as},
        notes={},
        max_tokens=params.max_tokens,
        batch_size=params.batch_size or engines.ENGINES["server"].batch_size,
        chat_template=params.chat_template,
        enable_thinking=params.enable_thinking,
        told_by=_told_by(one),
    )


def _told_by(one: RivalModel) -> ServerOptions:
    return ServerOptions(one.key_name, f"the address of {OPTION} {one.name}")


def _judge_notes(sources: Sources, found: Sequence[tuple[ServedModel, str]]) -> list[str]:
    """Return a note for each judge that is also a rival: it may like its own answers."""
    judges: list[Judge] = [*sources.judges, *filter(None, [sources.second_judge])]
    return [
        f"the judge {judge.label} is also {RIVAL} {one.name}: a judge may prefer its own answers, "
        "so read that comparison with care, or choose another judge"
        for one, (entry, _) in zip(sources.rivals, found, strict=True)
        for judge in judges
        if marks_its_own_work(judge, entry.id)
    ]

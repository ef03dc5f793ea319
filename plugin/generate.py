"""Completions for every case and variant, each in the journal as soon as it is finished.

What else only loaded weights can tell, the scores of the engine's own metrics, is made here too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

from plugin import likelihood
from plugin.adapters.certificate import N_PROBES
from plugin.cache import content_key
from plugin.certificate_records import Certificate
from plugin.engines import Engine, Prompt, is_final
from plugin.errors import BaseDisturbedError
from plugin.journal import Journal
from plugin.metrics import Metric
from plugin.records import Case, Completion, Message, Variant
from plugin.worker import Progress


@dataclass(frozen=True, slots=True)
class Load:
    """Variants that one engine holds the weights of, and how to have it.

    Attributes:
        recorded: the completions were made elsewhere, each for its case: two cases that ask the
            same may have different ones, and of the prompts nothing is known.
        shared: whether completions go to and come from the cache that runs share. Not where
            nobody knows the weights: a name may stand for others tomorrow.
    """

    variants: tuple[Variant, ...]
    engine: Callable[[], Engine]
    recorded: bool = False
    shared: bool = True


def complete(
    cases: Sequence[Case],
    loads: Sequence[Load],
    journal: Journal,
    progress: Progress,
    metrics: Sequence[Metric] = (),
) -> None:
    """Make every completion, and every score of the engine's own, that the journal does not hold.

    An engine is loaded only when something is missing, and released before anything else starts.
    What its adapters do is certified before anything is generated.

    Args:
        cases: in the order of work.
        loads: one after another.
        journal: of the run.
        progress: is told the stages.
        metrics: of the run; those that are not the engine's own are left alone.

    Raises:
        UserError: when model or adapter cannot be used.
        BaseDisturbedError: when the base is not itself again after an adapter.
        Stopped: when the user stopped the run.
    """
    failed = {(f.case_id, f.variant) for f in journal.failures() if not f.metric and is_final(f)}
    have = set(journal.completions()) | failed
    for place, load in enumerate(loads):
        names = [variant.name for variant in load.variants]
        readings = likelihood.readings(cases, names, metrics)
        has_all = all((case.id, name) in have for case in cases for name in names)
        if has_all and not likelihood.missing(readings, journal):
            continue
        progress.begin("read completions" if load.recorded else "load model")
        with _timed("load_model", journal):
            engine = load.engine()
        try:
            with _timed("certify", journal):
                prompts = prompts_for(cases, load.variants, engine)
                certify(load.variants, prompts[: len(cases)], engine, journal)
            if not load.recorded:
                _note(load.variants[0].name, prompts[: len(cases)], journal, first=place == 0)
            _warn(engine.notes, journal)
            wanted = [prompt for prompt in prompts if (prompt.case_id, prompt.variant) not in have]
            with _timed("generate", journal):
                progress.begin("generate", total=len(prompts), done=len(prompts) - len(wanted))
                _generate(load, _side_by_side(wanted), engine, journal, progress)
            if readings:
                with _timed("read", journal):
                    ids = {(p.case_id, p.variant): p.token_ids for p in prompts}
                    likelihood.read(readings, ids, engine, journal, progress)
        finally:
            engine.close()


@contextmanager
def _timed(what: str, journal: Journal) -> Iterator[None]:
    """Adds the seconds that the inside takes to the run's, however it ends."""
    began = time.perf_counter()
    try:
        yield
    finally:
        journal.add_to_meta("seconds", {what: time.perf_counter() - began})


def certify(
    variants: Sequence[Variant], prompts: Sequence[Prompt], engine: Engine, journal: Journal
) -> None:
    """Prove every adapter's effect, and keep the proof.

    Args:
        variants: those of the engine.
        prompts: of the first variant; the probes are taken from these.
        engine: that will generate with them.
        journal: where the certificates go.

    Raises:
        AdapterError: for an adapter that cannot be used with this base.
        BaseDisturbedError: when the base is not itself again after one.
    """
    kept = journal.meta("certificates") or {}
    for variant in variants:
        if variant.adapter_path is None:
            continue
        found: Certificate = engine.certify(variant.name, prompts[:N_PROBES])
        kept[variant.name] = asdict(found)
        journal.set_meta("certificates", kept)
        if found.kind == "base disturbed":
            raise BaseDisturbedError(
                f"base disturbed: after adapter {variant.name} was taken off, the base model no "
                "longer answers as before, so later completions would not be the base's. Compare "
                "this adapter in a run of its own"
            )


def prompts_for(cases: Sequence[Case], variants: Sequence[Variant], engine: Engine) -> list[Prompt]:
    """Variant by variant; made once for all variants under one system prompt."""
    made: dict[str | None, list[tuple[tuple[Message, ...], tuple[int, ...]]]] = {}
    for variant in variants:
        if variant.system_prompt in made:
            continue
        turns = [_with_system(case.messages, variant.system_prompt) for case in cases]
        made[variant.system_prompt] = [(messages, engine.encode(messages)) for messages in turns]
    return [
        Prompt(case.id, variant.name, messages, ids)
        for variant in variants
        for case, (messages, ids) in zip(cases, made[variant.system_prompt], strict=True)
    ]


def _side_by_side(prompts: Sequence[Prompt]) -> list[Prompt]:
    """The same, case by case: what is generated in this order ends early with whole pairs."""
    place = {case_id: i for i, case_id in enumerate(dict.fromkeys(p.case_id for p in prompts))}
    return sorted(prompts, key=lambda prompt: place[prompt.case_id])


def _with_system(messages: Sequence[Message], prompt: str | None) -> tuple[Message, ...]:
    """The turns under the system prompt; many templates know one system turn at most."""
    if not prompt:
        return tuple(messages)
    if messages[0].role == "system":
        joined = Message("system", f"{prompt}\n\n{messages[0].content}")
        return (joined, *messages[1:])
    return (Message("system", prompt), *messages)


def _generate(
    load: Load,
    prompts: Sequence[Prompt],
    engine: Engine,
    journal: Journal,
    progress: Progress,
) -> None:
    ids = {variant.name: variant.id for variant in load.variants}
    keys = {
        (p.case_id, p.variant): content_key(
            ids[p.variant], p.case_id if load.recorded else _content(p)
        )
        for p in prompts
    }
    missing: dict[str, list[Prompt]] = {}  # what is asked twice is generated once
    for prompt in prompts:
        key = keys[prompt.case_id, prompt.variant]
        kept = journal.completion(key, shared=load.shared)
        if kept is None:
            missing.setdefault(key, []).append(prompt)
        else:
            journal.add_answer(key, kept.of(prompt.case_id, prompt.variant), load.shared)
            progress.done += 1
    if not missing:
        return
    for ended in engine.generate([same[0] for same in missing.values()]):
        for result in ended:
            key = keys[result.case_id, str(result.variant)]
            for prompt in missing[key]:
                if isinstance(result, Completion):
                    own = result.of(prompt.case_id, prompt.variant)
                    journal.add_answer(key, own, load.shared)
                else:
                    own_failure = replace(result, case_id=prompt.case_id, variant=prompt.variant)
                    journal.add_failure(own_failure)
                progress.done += 1
        progress.check()


def _content(prompt: Prompt) -> list[object]:
    """What makes a completion this one: the tokens, or the turns where there are none."""
    if prompt.token_ids:
        return list(prompt.token_ids)
    return [[turn.role, turn.content] for turn in prompt.messages]


def _note(name: str, prompts: Sequence[Prompt], journal: Journal, *, first: bool) -> None:
    """What the report says of prompts: which those of the baseline were, and of other models."""
    facts: dict[str, object] = {"digest": content_key([_content(prompt) for prompt in prompts])}
    if prompts[0].token_ids:
        facts["n_tokens"] = sum(len(prompt.token_ids) for prompt in prompts)
        facts["first_token_ids"] = list(prompts[0].token_ids)
    if first:
        journal.set_meta("prompts", facts)
    else:
        journal.set_meta("other_prompts", {**(journal.meta("other_prompts") or {}), name: facts})


def _warn(notes: Sequence[str], journal: Journal) -> None:
    """What the report must say of how prompts were made."""
    if notes:
        kept = journal.meta("prompt_notes") or []
        journal.set_meta("prompt_notes", list(dict.fromkeys([*kept, *notes])))

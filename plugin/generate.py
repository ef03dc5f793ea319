"""Make the completions and likelihoods that are missing, and write each into the journal at once.

Likelihoods (`plugin.likelihoods`) are made together with the completions, while the weights are
loaded.
"""

from __future__ import annotations

import time
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

from plugin.cache import content_key
from plugin.engines import Engine
from plugin.journal import Journal
from plugin.likelihoods import (
    is_final,
    likelihood_items,
    missing_likelihoods,
    read_likelihoods,
)
from plugin.metrics import Metric
from plugin.plan.variants import Load
from plugin.proofs import Refuse, certify_adapters
from plugin.records import (
    Case,
    Completion,
    Failure,
    Message,
    Prompt,
    Variant,
    is_rival,
)
from plugin.run_facts import PromptFacts
from plugin.sampling import ONE_SAMPLE, Sampling
from plugin.worker import Progress, Stage


class EngineStage(Protocol):
    """What else is done with an engine while it is loaded, after it has generated."""

    def is_done(self, variants: Sequence[Variant]) -> bool:
        """Return whether there is nothing to do for these variants, which have generated."""

    def work(self, variants: Sequence[Variant], engine: Engine, *, shared: bool) -> None:
        """Do what is missing for the variants of one load, and keep it in the journal."""


def make_completions(
    cases: Sequence[Case],
    loads: Sequence[Load],
    journal: Journal,
    progress: Progress,
    metrics: Sequence[Metric] = (),
    stages: Sequence[EngineStage] = (),
    refuse: Refuse | None = None,
    sampling: Sampling = ONE_SAMPLE,
) -> None:
    """Make every completion and every likelihood score that the journal does not have yet.

    An engine is loaded only when something is missing, and released before the next one is loaded.
    Its adapters are certified before anything is generated.

    Args:
        cases: in the order of work.
        loads: done one after another.
        journal: the run's.
        progress: gets the stages.
        metrics: the run's; only those that need likelihoods are scored here.
        stages: what else is done with each engine that runs a model.
        refuse: told of each adapter that cannot be used, which is then left out; None to end with
            the first one.
        sampling: how many completions a case gets, and how they are drawn.

    Raises:
        UserError: when model or adapter cannot be used.
        BaseDisturbedError: when the base is not itself again after an adapter.
        Stopped: when the user stopped the run.
    """
    made = journal.made_samples()
    have = made | _failed_for_good(journal, sampling)
    numbers = range(sampling.n)
    for place, load in enumerate(loads):
        names = [variant.name for variant in load.variants]
        is_own = not is_rival(load.variants[0].name)  # else only its answers to the cases count
        items = likelihood_items(cases, names if is_own else (), metrics)
        has_all = all((c.id, name, i) in have for c in cases for name in names for i in numbers)
        own_stages = stages if is_own and not load.recorded else ()
        is_read = has_all and not missing_likelihoods(items, journal)
        if is_read and all(stage.is_done(load.variants) for stage in own_stages):
            continue
        progress.begin(Stage.READ_COMPLETIONS if load.recorded else Stage.LOAD_MODEL)
        progress.step = load.variants[0].model.rstrip("/").rpartition("/")[2]
        with _time_stage("load_model", journal):
            engine = load.engine()
        try:
            with _time_stage("certify", journal):
                progress.step = "make the prompts"
                prompts = make_prompts(cases, load.variants, engine)
                usable = certify_adapters(load.variants, prompts, engine, journal, progress, refuse)
            load, names = replace(load, variants=usable), [one.name for one in usable]
            prompts = [prompt for prompt in prompts if prompt.variant in names]
            items = [item for item in items if item.variant in names]
            if is_own and not load.recorded:
                _keep_prompt_facts(
                    load.variants[0].name, prompts[: len(cases)], journal, first=place == 0
                )
            _keep_prompt_notes(engine.notes, journal)
            drawn = draw_samples(prompts, cases, sampling)
            wanted = [prompt for prompt in drawn if prompt.place not in have]
            with _time_stage("generate", journal):
                progress.begin(Stage.GENERATE, total=len(drawn), done=len(drawn) - len(wanted))
                _generate(load, _side_by_side(wanted), engine, journal, progress, sampling)
            n_before = sum(name in names for _, name, _ in made) if wanted else 0
            _keep_batches(engine.decoding, n_before, journal)
            if items:
                with _time_stage("read", journal):
                    ids = {(p.case_id, p.variant): p.token_ids for p in prompts}
                    read_likelihoods(items, ids, engine, journal, progress)
            for stage in own_stages:
                stage.work(load.variants, engine, shared=load.shared)
        finally:
            engine.close()


def _failed_for_good(journal: Journal, sampling: Sampling) -> set[tuple[str, str, int]]:
    """Return case, variant and sample of every completion that another try cannot bring."""
    found = journal.sample_failures()
    if sampling.n == 1:
        found = tuple(failure for failure in journal.failures() if not failure.metric)
    return {(f.case_id, str(f.variant), f.sample) for f in found if is_final(f)}


@contextmanager
def _time_stage(what: str, journal: Journal) -> Iterator[None]:
    """Add the seconds that the block takes to those of the run, even if the block fails."""
    began = time.perf_counter()
    try:
        yield
    finally:
        journal.add_seconds(what, time.perf_counter() - began)


def make_prompts(
    cases: Sequence[Case], variants: Sequence[Variant], engine: Engine
) -> list[Prompt]:
    """Return the prompts, variant by variant.

    Variants with the same system prompt and chat template share the encoded prompts.
    """
    made: dict[tuple[str | None, str], list[tuple[tuple[Message, ...], tuple[int, ...]]]] = {}
    found = []
    for variant in variants:
        key = variant.system_prompt, variant.name if variant.own_chat else ""
        if key not in made:
            turns = [_with_system(case.messages, variant.system_prompt) for case in cases]
            own = (variant.name,) if variant.own_chat else ()
            made[key] = [(messages, engine.encode(messages, *own)) for messages in turns]
        found += [
            Prompt(case.id, variant.name, messages, ids)
            for case, (messages, ids) in zip(cases, made[key], strict=True)
        ]
    return found


def draw_samples(
    prompts: Sequence[Prompt], cases: Sequence[Case], sampling: Sampling
) -> list[Prompt]:
    """Return the prompt of each sample in place of every prompt, with how it is drawn."""
    of_id = {case.id: case for case in cases}
    draws = {
        (case_id, i): sampling.draw(case, i)
        for case_id, case in of_id.items()
        for i in range(sampling.n)
    }
    return [
        replace(prompt, draw=draws[prompt.case_id, i], sample=i)
        for prompt in prompts
        for i in range(sampling.n)
    ]


def _side_by_side(prompts: Sequence[Prompt]) -> list[Prompt]:
    """Order the prompts case by case, so that a run that ends early has complete pairs."""
    place = {case_id: i for i, case_id in enumerate(dict.fromkeys(p.case_id for p in prompts))}
    return sorted(prompts, key=lambda prompt: place[prompt.case_id])


def _with_system(messages: Sequence[Message], prompt: str | None) -> tuple[Message, ...]:
    """Put the system prompt first, joined with the case's own: templates take one system turn."""
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
    sampling: Sampling,
) -> None:
    ids = {variant.name: variant.id for variant in load.variants}
    keys = {
        p.place: content_key(
            ids[p.variant], p.case_id if load.recorded else _prompt_content(p), *_draw_content(p)
        )
        for p in prompts
    }
    missing: dict[str, list[Prompt]] = {}  # the same prompt is completed once
    for prompt in prompts:
        key = keys[prompt.place]
        kept = journal.completion(key, shared=load.shared)
        if kept is None:
            missing.setdefault(key, []).append(prompt)
        else:
            _keep_completion(journal, key, kept, prompt, shared=load.shared)
            progress.done += 1
    for ended in engine.generate([same[0] for same in missing.values()]) if missing else ():
        for result in ended:
            key = keys[result.case_id, str(result.variant), result.sample]
            for prompt in missing[key]:
                if isinstance(result, Completion):
                    _keep_completion(journal, key, result, prompt, shared=load.shared)
                else:
                    own = replace(result, case_id=prompt.case_id, variant=prompt.variant)
                    keep = journal.add_failure if sampling.n == 1 else journal.add_sample_failure
                    keep(own)
                progress.done += 1
        progress.check()
    if sampling.n > 1:
        _keep_empty_places(journal, ids)


def _keep_completion(
    journal: Journal, key: str, completion: Completion, prompt: Prompt, *, shared: bool
) -> None:
    """Keep a completion as the answer to this prompt, too."""
    own = completion.copy_for(prompt.case_id, prompt.variant)
    journal.add_answer(key, replace(own, sample=prompt.sample), shared)


def _keep_empty_places(journal: Journal, names: Container[str]) -> None:
    """Write a failure for each case and variant that has no sample at all, the first one's."""
    made = journal.made_samples()
    for failure in journal.sample_failures():
        place = failure.case_id, str(failure.variant), failure.sample
        if place in made:
            journal.drop_sample_failure(place)
    have = {place[:2] for place in made}
    empty = dict[tuple[str, str], Failure]()
    for failure in journal.sample_failures():
        where = failure.case_id, str(failure.variant)
        if where not in have and failure.variant in names:
            empty.setdefault(where, replace(failure, sample=0))
    for failure in empty.values():
        journal.add_failure(failure)


def _draw_content(prompt: Prompt) -> list[object]:
    """Return what else the key of a sample holds; nothing for the only, most likely completion."""
    if prompt.draw:
        return [{"seed": prompt.draw.seed, "sample": prompt.sample}]
    return [{"sample": prompt.sample}] if prompt.sample else []


def _prompt_content(prompt: Prompt) -> list[object]:
    """Return what the completion depends on: the tokens, or the turns where there are no tokens."""
    if prompt.token_ids:
        return list(prompt.token_ids)
    return [[turn.role, turn.content] for turn in prompt.messages]


def _keep_prompt_facts(
    name: str, prompts: Sequence[Prompt], journal: Journal, *, first: bool
) -> None:
    """Keep what the report says about the prompts of the baseline or of another model."""
    facts = PromptFacts(content_key([_prompt_content(prompt) for prompt in prompts]))
    if prompts[0].token_ids:
        n_tokens = sum(len(prompt.token_ids) for prompt in prompts)
        facts = replace(facts, n_tokens=n_tokens, first_token_ids=prompts[0].token_ids)
    state = journal.state
    if first:
        state = replace(state, prompts=facts)
    else:
        state = replace(state, other_prompts={**state.other_prompts, name: facts})
    journal.save_state(state)


def _keep_prompt_notes(notes: Sequence[str], journal: Journal) -> None:
    """Keep what the report must say about how the prompts were made."""
    if notes:
        state = journal.state
        all_notes = tuple(dict.fromkeys([*state.prompt_notes, *notes]))
        journal.save_state(replace(state, prompt_notes=all_notes))


def _keep_batches(decoding: str, n_before: int, journal: Journal) -> None:
    """Keep how completions were put into batches, and how many an earlier session had made."""
    if not decoding:
        return
    state = journal.state
    told = tuple(dict.fromkeys([*state.decoding, decoding]))
    n_before = max(n_before, state.n_before_resuming)
    journal.save_state(replace(state, decoding=told, n_before_resuming=n_before))

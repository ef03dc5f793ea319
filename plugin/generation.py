"""Completions for every case and variant, each in the journal as soon as it is finished."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from plugin.cache import content_key
from plugin.engines import NO_MEMORY, Engine, Prompt
from plugin.journal import Journal
from plugin.records import Case, Completion, Message, Variant
from plugin.worker import Progress


def complete(
    cases: Sequence[Case],
    variants: Sequence[Variant],
    load_engine: Callable[[], Engine],
    journal: Journal,
    progress: Progress,
) -> None:
    """Make every completion that the journal does not hold yet, variant by variant.

    The engine is loaded only when something is missing, and released before anything else starts.

    Raises:
        UserError: when model or adapter cannot be used.
        BaseDisturbedError: when the base is not itself again after an adapter.
        Stopped: when the user stopped the run.
    """
    # A prompt that the model's context cannot hold will not fit the next time either.
    failed = {
        (f.case_id, f.variant)
        for f in journal.failures()
        if f.stage == "generate" and not f.reason.startswith(NO_MEMORY)
    }
    have = set(journal.completions()) | failed
    n_all = len(cases) * len(variants)
    if len(have) == n_all:
        return
    progress.begin("load model")
    started = time.perf_counter()
    engine = load_engine()
    loaded = time.perf_counter()
    try:
        engine.check(variants)
        prompts = encode(cases, variants[0].system_prompt, engine)
        journal.set_meta("prompts", _facts(prompts))
        progress.begin("generate", total=n_all, done=len(have))
        for variant in variants:
            wanted = [prompt for prompt in prompts if (prompt.case_id, variant.name) not in have]
            _complete(variant, wanted, engine, journal, progress)
    finally:
        engine.close()
        spent = {"load_model": loaded - started, "generate": time.perf_counter() - loaded}
        journal.add_to_meta("seconds", spent)


def encode(cases: Sequence[Case], system_prompt: str | None, engine: Engine) -> list[Prompt]:
    """The cases' prompts as token ids, made once and shared by all variants of one prompt form."""
    return [
        Prompt(case.id, engine.encode(_with_system(case.messages, system_prompt))) for case in cases
    ]


def _with_system(messages: Sequence[Message], prompt: str | None) -> tuple[Message, ...]:
    """The turns under the system prompt; many templates know one system turn at most."""
    if not prompt:
        return tuple(messages)
    if messages[0].role == "system":
        joined = Message("system", f"{prompt}\n\n{messages[0].content}")
        return (joined, *messages[1:])
    return (Message("system", prompt), *messages)


def _complete(
    variant: Variant,
    prompts: Sequence[Prompt],
    engine: Engine,
    journal: Journal,
    progress: Progress,
) -> None:
    keys = {prompt.case_id: content_key(variant.id, prompt.token_ids) for prompt in prompts}
    missing = []
    for prompt in prompts:
        kept = journal.completion(keys[prompt.case_id])
        if kept is None:
            missing.append(prompt)
        else:
            journal.add_answer(keys[prompt.case_id], kept.of(prompt.case_id, variant.name))
            progress.done += 1
    if not missing:
        return
    for ended in engine.generate(variant, missing):
        for result in ended:
            if isinstance(result, Completion):
                journal.add_answer(keys[result.case_id], result)
            else:
                journal.add_failure(result)
            progress.done += 1
        progress.check()


def _facts(prompts: Sequence[Prompt]) -> dict[str, object]:
    """What the report says of the prompts: the same for all variants, and which they were."""
    return {
        "digest": content_key([prompt.token_ids for prompt in prompts]),
        "n_tokens": sum(len(prompt.token_ids) for prompt in prompts),
        "first_token_ids": list(prompts[0].token_ids),
    }

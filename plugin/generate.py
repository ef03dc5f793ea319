"""Make the completions and likelihoods that are missing, and write each into the journal at once.

A likelihood says how probable a variant finds the expected output. The engine gives it, so it is
made together with the completions, while the weights are loaded.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from plugin.cache import content_key
from plugin.conversations import waves, with_system
from plugin.engines import Engine
from plugin.follow_ups import check_turns, follow_ups
from plugin.journal import Journal
from plugin.metrics import Metric
from plugin.metrics.running import MetricError, check_score
from plugin.plan.variants import Load
from plugin.proofs import Refuse, certify_adapters
from plugin.records import (
    Case,
    Completion,
    Failure,
    Message,
    NoResult,
    Prompt,
    Score,
    Variant,
    is_rival,
)
from plugin.run_facts import PromptFacts
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
) -> None:
    """Make every completion and every likelihood score that the journal does not have yet.

    An engine is loaded only when something is missing, and released before the next one is loaded.
    Its adapters are certified before anything is generated. Conversations are asked turn by turn:
    all first turns, then all second ones, with each variant's own answers.

    Args:
        cases: in the order of work.
        loads: done one after another.
        journal: the run's.
        progress: gets the stages.
        metrics: the run's; only those that need likelihoods are scored here.
        stages: what else is done with each engine that runs a model.
        refuse: told of each adapter that cannot be used, which is then left out; None to end with
            the first one.

    Raises:
        UserError: when model or adapter cannot be used.
        BaseDisturbedError: when the base is not itself again after an adapter.
        Stopped: when the user stopped the run.
    """
    failed = {(f.case_id, f.variant) for f in journal.failures() if _is_final(f) and not f.metric}
    made = set(journal.completions())
    have = made | failed
    first_turns, *later_turns = waves(cases)
    for place, load in enumerate(loads):
        names = [variant.name for variant in load.variants]
        is_own = not is_rival(load.variants[0].name)  # else only its answers to the cases count
        items = likelihood_items(cases, names if is_own else (), metrics)
        has_all = all((case.id, name) in have for case in cases for name in names)
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
                check_turns(cases, load.variants, engine)
                prompts = make_prompts(first_turns, load.variants, engine)
                usable = certify_adapters(load.variants, prompts, engine, journal, progress, refuse)
            load, names = replace(load, variants=usable), [one.name for one in usable]
            prompts = [prompt for prompt in prompts if prompt.variant in names]
            items = [item for item in items if item.variant in names]
            if is_own and not load.recorded:
                _keep_prompt_facts(
                    load.variants[0].name, prompts[: len(first_turns)], journal, first=place == 0
                )
            _keep_prompt_notes(engine.notes, journal)
            wanted = [prompt for prompt in prompts if (prompt.case_id, prompt.variant) not in have]
            with _time_stage("generate", journal):
                all_places = {(case.id, name) for case in cases for name in names}
                progress.begin(Stage.GENERATE, len(all_places), len(all_places & have))
                _generate(load, _side_by_side(wanted), engine, journal, progress)
                for wave in later_turns:
                    places = [(case, variant) for case in wave for variant in usable]
                    todo = [one for one in places if (one[0].id, one[1].name) not in have]
                    _ask_turns(cases, todo, load, engine, journal, progress)
            n_before = sum(name in names for _, name in made) if wanted else 0
            _keep_batches(engine.decoding, n_before, journal)
            if items:
                with _time_stage("read", journal):
                    ids = {(p.case_id, p.variant): p.token_ids for p in prompts}
                    read_likelihoods(items, ids, engine, journal, progress)
            for stage in own_stages:
                stage.work(load.variants, engine, shared=load.shared)
        finally:
            engine.close()


def _is_final(failure: Failure) -> bool:
    """Return whether it is an engine's failure that another try cannot fix."""
    return failure.stage == "generate" and not failure.retry


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
            turns = [with_system(case.messages, variant.system_prompt) for case in cases]
            own = (variant.name,) if variant.own_chat else ()
            made[key] = [(messages, engine.encode(messages, *own)) for messages in turns]
        found += [
            Prompt(case.id, variant.name, messages, ids)
            for case, (messages, ids) in zip(cases, made[key], strict=True)
        ]
    return found


def _side_by_side(prompts: Sequence[Prompt]) -> list[Prompt]:
    """Order the prompts case by case, so that a run that ends early has complete pairs."""
    place = {case_id: i for i, case_id in enumerate(dict.fromkeys(p.case_id for p in prompts))}
    return sorted(prompts, key=lambda prompt: place[prompt.case_id])


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
            ids[p.variant], p.case_id if load.recorded else _prompt_content(p)
        )
        for p in prompts
    }
    missing: dict[str, list[Prompt]] = {}  # the same prompt is completed once
    for prompt in prompts:
        key = keys[prompt.case_id, prompt.variant]
        kept = journal.completion(key, shared=load.shared)
        if kept is None:
            missing.setdefault(key, []).append(prompt)
        else:
            journal.add_answer(key, kept.copy_for(prompt.case_id, prompt.variant), load.shared)
            progress.done += 1
    if not missing:
        return
    for ended in engine.generate([same[0] for same in missing.values()]):
        for result in ended:
            key = keys[result.case_id, str(result.variant)]
            for prompt in missing[key]:
                if isinstance(result, Completion):
                    own = result.copy_for(prompt.case_id, prompt.variant)
                    journal.add_answer(key, own, load.shared)
                else:
                    own_failure = replace(result, case_id=prompt.case_id, variant=prompt.variant)
                    journal.add_failure(own_failure)
                progress.done += 1
        progress.check()


def _ask_turns(
    cases: Sequence[Case],
    todo: Sequence[tuple[Case, Variant]],
    load: Load,
    engine: Engine,
    journal: Journal,
    progress: Progress,
) -> None:
    """Ask the same turn of all conversations, with each variant's own answers before it."""
    found = follow_ups(cases, todo, engine, journal)
    for failure in found.failures:
        journal.add_failure(failure)
        progress.done += 1
    _generate(load, found.prompts, engine, journal, progress)


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


_WINDOW = 512
"""Cases that may change places within the drawn order, so that batches hold similar lengths."""

PromptsByCase = Mapping[tuple[str, str], tuple[int, ...]]
"""(case id, variant) -> the prompt's token ids."""


@dataclass(frozen=True, slots=True)
class LikelihoodItem:
    """Name one likelihood score to make: case, variant and metric."""

    case: Case
    variant: str
    metric: Metric

    @property
    def place(self) -> tuple[str, str, str]:
        """Return case id, variant and metric, which together name the score."""
        return self.case.id, self.variant, self.metric.spec.name

    def failed(self, reason: str, retry: bool = False) -> Failure:
        """Return the failure that is recorded instead of the score."""
        case_id, variant, metric = self.place
        return Failure(case_id, "generate", reason, variant, metric, retry)


def likelihood_items(
    cases: Sequence[Case], variants: Sequence[str], metrics: Sequence[Metric]
) -> list[LikelihoodItem]:
    """Return all likelihood scores of these variants, variant by variant."""
    return [
        LikelihoodItem(case, variant, metric)
        for metric in metrics
        if metric.spec.needs_likelihood
        for variant in variants
        for case in cases
        if metric.spec.fits(case)
    ]


def missing_likelihoods(wanted: Sequence[LikelihoodItem], journal: Journal) -> list[LikelihoodItem]:
    """Return the items without a score, except those whose failure another try cannot fix."""
    have = {(s.case_id, s.variant, s.metric) for s in journal.scores()}
    failures = filter(_is_final, journal.failures())
    have |= {(f.case_id, f.variant or "", f.metric or "") for f in failures}
    return [item for item in wanted if item.place not in have]


def read_likelihoods(
    wanted: Sequence[LikelihoodItem],
    prompts: PromptsByCase,
    engine: Engine,
    journal: Journal,
    progress: Progress,
) -> None:
    """Make every likelihood score that is missing.

    Args:
        wanted: all likelihood scores of this engine.
        prompts: those of the same cases and variants.
        engine: the one with their weights.
        journal: gets the scores.
        progress: gets a stage for each metric.

    Raises:
        BaseDisturbedError: when the base is not itself again after an adapter.
        FaultError: when the engine gave up.
        Stopped: when the user stopped the run.
    """
    todo = missing_likelihoods(wanted, journal)
    if not todo:
        return
    expected = {r.case.id: engine.tokens(r.case.expected_output or "") for r in wanted}
    refused = _refused_cases(expected, journal)
    for name, own in _by_name([(item.metric.spec.name, item) for item in todo]).items():
        n_all = sum(item.metric.spec.name == name for item in wanted)
        progress.begin(Stage.READ_LIKELIHOODS, total=n_all, done=n_all - len(own))
        for item in own:
            if reason := refused.get(item.case.id):
                journal.add_failure(item.failed(reason))
                progress.done += 1
        can = [(item.variant, item) for item in own if item.case.id not in refused]
        for variant, rows in _by_name(can).items():
            rows = _order_by_length(rows, expected)
            pairs = [(prompts[r.case.id, variant], expected[r.case.id]) for r in rows]
            found = engine.loglikelihoods(variant, pairs)
            for item, loglikelihood in zip(rows, found, strict=True):
                _keep_likelihood(item, loglikelihood, len(expected[item.case.id]), journal)
                progress.done += 1
                progress.check()


def _refused_cases(expected: Mapping[str, tuple[int, ...]], journal: Journal) -> dict[str, str]:
    """Return why this model cannot score some cases, by case id.

    Likelihoods are compared per token, so all models must split the expected outputs into the same
    tokens. The first engine, which has the baseline, sets the tokens. A model that splits any
    expected output in another way is refused for all cases.
    """
    state = journal.state
    kept = state.expected_tokens
    now = {case_id: content_key(list(ids))[:16] for case_id, ids in expected.items()}
    journal.save_state(replace(state, expected_tokens={**now, **kept}))
    other = (
        "this model's tokenizer splits expected outputs into other tokens than the baseline's, so "
        "the two cannot be compared per token"
    )
    is_other = any(kept.get(case_id, key) != key for case_id, key in now.items())
    refused = dict.fromkeys(now, other) if is_other else {}
    empty = "the expected output has no token"
    return refused | {case_id: empty for case_id, ids in expected.items() if not ids}


def _keep_likelihood(
    item: LikelihoodItem, loglikelihood: float | NoResult, n_tokens: int, journal: Journal
) -> None:
    if isinstance(loglikelihood, NoResult):
        journal.add_failure(item.failed(loglikelihood.reason, loglikelihood.retry))
        return
    score_of = item.metric.from_loglikelihood
    assert score_of is not None, "`likelihood_items` takes only metrics that have one"
    try:
        found = check_score(item.metric.spec, score_of(loglikelihood, n_tokens))
    except MetricError as error:
        journal.add_failure(item.failed(str(error)))
    else:
        journal.add_score(Score(*item.place, found.value, found.reason))


def _order_by_length(
    rows: Sequence[LikelihoodItem], expected: Mapping[str, tuple[int, ...]]
) -> list[LikelihoodItem]:
    """Order the items by length within each window of the drawn order, the longest first.

    So a run that ends early has both long and short cases, and a lack of memory shows at once.
    """
    return [
        item
        for start in range(0, len(rows), _WINDOW)
        for item in sorted(rows[start : start + _WINDOW], key=lambda r: -len(expected[r.case.id]))
    ]


def _by_name(named: Sequence[tuple[str, LikelihoodItem]]) -> dict[str, list[LikelihoodItem]]:
    """Group the items by name, in the order in which the names first come."""
    found: dict[str, list[LikelihoodItem]] = {}
    for name, item in named:
        found.setdefault(name, []).append(item)
    return found

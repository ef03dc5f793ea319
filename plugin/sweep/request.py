"""What a sweep takes of the options of `run`: refuse the others, and plan the part that chooses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from plugin import metrics
from plugin.engines import ENGINES
from plugin.errors import AdapterError, OptionError, list_first
from plugin.load.adapter import inspect_adapter
from plugin.metrics import Metric
from plugin.plan.params import Params
from plugin.plan.plan import Plan, make_plan
from plugin.plan.resolve import Sources
from plugin.run_facts import CheckpointFacts, SweepFacts
from plugin.sweep.find import Found, FoundCheckpoint, Skipped, absolute_words, find_checkpoints

_PERPLEXITY = "Perplexity"

_REFUSED = {
    "model_adapter": "--checkpoints names the adapters",
    "tuned_model": "only adapters are changed on the loaded base; compare whole models with `run`",
    "recorded": "the checkpoints are run here",
    "server_url": "checkpoints are loaded from their folders, which a server does not do",
    "workers": "the checkpoints take turns on one loaded base",
    "ray_address": "the checkpoints take turns on one loaded base",
    "variants": "base and checkpoints are both needed",
    "stop_early": "the rounds of a sweep save calls already, in another way",
    "rival": "checkpoints of one base are compared; compare other models with `run`",
    "samples": "checkpoints are compared by their most likely answers; draw samples with `run`",
    "temperature": "checkpoints are compared by their most likely answers; draw samples with `run`",
    "judge_repeats": "every checkpoint's answer is judged once",
    "pairs": "every checkpoint is compared with the base",
    "human_ratings": "people rate the answers of a run; give the ratings to `report` of its folder "
    "`confirmation`",
}
"""Option of `run` -> why a sweep does not take it."""

_ADAPTERS_FILES = ("adapters' files", "adapters' chat files")
"""Digests that `SweepFacts` has for each checkpoint; one that is deleted later changes them."""


@dataclass(frozen=True, slots=True)
class SweepOrder:
    """What the user asked for.

    Attributes:
        params: the options of `run`, without adapters.
        words: those of --checkpoints.
        axis: what their values are; "" for the training step.
    """

    params: Params
    words: tuple[str, ...]
    axis: str = ""


@dataclass(frozen=True, slots=True)
class Candidates:
    """The checkpoints of a sweep.

    Attributes:
        facts: all that take part.
        present: those that lie on disk now.
        gone: name of each other one -> why it cannot be read.
        notes: what to tell the user now, a sentence each.
    """

    facts: SweepFacts
    present: tuple[FoundCheckpoint, ...]
    gone: Mapping[str, str]
    notes: tuple[str, ...] = ()


def require_sweepable(params: Params, words: Sequence[str]) -> None:
    """Check that all options have a meaning in a sweep.

    Raises:
        OptionError: naming those that have none.
    """
    defaults = Params()
    problems = [
        f"--{name}: {why}; leave it out"
        for name, why in _REFUSED.items()
        if getattr(params, name, None) != getattr(defaults, name, None)
    ]
    prompts: object = params.baseline_prompt
    if isinstance(prompts, tuple) and len(prompts) > 1:
        problems.append("--baseline_prompt: a sweep takes one prompt to beat; leave out the others")
    if params.engine not in ("auto", *_able_engines()):
        able = " or ".join(_able_engines())
        problems.append(f"--engine {params.engine} switches no adapters from folders; use {able}")
    if not words:
        problems.append(
            "--checkpoints must be given: the folder that your trainer wrote, or several "
            "checkpoints"
        )
    missing = [name for name in ("model_name", "dataset_name") if not getattr(params, name).strip()]
    problems += [f"--{name} must be given" for name in missing]
    if problems:
        raise OptionError("\n".join(problems))


def _able_engines() -> list[str]:
    return [name for name, entry in ENGINES.items() if "loglikelihood" in entry.gives]


def first_candidates(order: SweepOrder) -> Candidates:
    """Return the checkpoints of a new sweep.

    Raises:
        OptionError: when there are fewer than two, or they do not belong together.
    """
    found = find_checkpoints(order.words, order.axis)
    facts = SweepFacts(
        words=absolute_words(order.words),
        axis=found.axis,
        checkpoints=tuple(
            CheckpointFacts(one.name, one.value, str(one.adapter.path), one.adapter.digest)
            for one in found.checkpoints
        ),
        skipped=tuple((one.place, one.why) for one in found.skipped),
        notes=found.notes,
    )
    return Candidates(facts, found.checkpoints, {}, _skip_notes(found))


def _skip_notes(found: Found) -> tuple[str, ...]:
    return tuple(skip_line(one) for one in found.skipped)


def skip_line(one: Skipped) -> str:
    """Say which checkpoint takes no part, and why, on one line."""
    return f"{Path(one.place).name} is skipped: {' '.join(one.why.split())}"


def found_again(order: SweepOrder, facts: SweepFacts) -> Candidates:
    """Return the checkpoints of a sweep that goes on: those that it began with.

    Raises:
        OptionError: when the words are those of another sweep, or weights have changed since.
    """
    if absolute_words(order.words) != facts.words:
        raise OptionError(
            f"--out {order.params.out} holds another sweep, whose --checkpoints are "
            f"{list_first(facts.words, 4)}. Give those again to go on with it, or choose another "
            "--out"
        )
    present, gone, changed = list[FoundCheckpoint](), dict[str, str](), list[str]()
    for one in facts.checkpoints:
        try:
            adapter = inspect_adapter(Path(one.path))
        except AdapterError as error:
            gone[one.name] = f"it cannot be read any more: {error}"
            continue
        if adapter.digest != one.digest:
            changed.append(one.path)
        present.append(FoundCheckpoint(one.name, one.value, adapter))
    if changed:
        raise OptionError(
            f"{list_first(changed, 4)} changed since the sweep in {order.params.out} began. Put "
            "the old files back to go on with it, or choose another --out to begin anew"
        )
    return Candidates(facts, tuple(present), gone, _news(order.words, facts))


def _news(words: Sequence[str], facts: SweepFacts) -> tuple[str, ...]:
    """Say which checkpoints were added since; they take no part."""
    try:
        now = find_checkpoints(words)
    except (OptionError, OSError):
        return ()  # those that it began with are what counts
    known = {*(one.path for one in facts.checkpoints), *(place for place, _ in facts.skipped)}
    new = [one.adapter.path.name for one in now.checkpoints if str(one.adapter.path) not in known]
    if not new:
        return ()
    are = "is newer than this sweep and takes" if len(new) == 1 else "are newer and take"
    return (f"{list_first(new, 4)} {are} no part; to include them, begin another sweep (--out)",)


@dataclass(frozen=True, slots=True)
class Choosing:
    """The part of a sweep that chooses.

    Attributes:
        plan: with the deciding metric, and those without a judge.
        judged: all metrics with a judge; all but the deciding one are for the confirmation alone.
    """

    plan: Plan
    judged: tuple[Metric, ...]


def plan_choosing(params: Params, sources: Sources, candidates: Candidates) -> Choosing:
    """Return the plan of the part that chooses.

    Args:
        params: with the present checkpoints as adapters.
        sources: with their names.
        candidates: all checkpoints.

    Raises:
        UserError: saying what is wrong with data, options, model or adapters.
    """
    plan = make_plan(params, sources)
    cheap = [metric for metric in plan.metrics if not metric.spec.asks_judge]
    decides = [metric for metric in plan.metrics if metric.spec.name == plan.primary]
    chosen = {metric.spec.name: metric for metric in (*decides, *cheap, *_perplexity(plan))}
    facts = candidates.facts
    places = {one.name: [one.value, one.digest] for one in facts.checkpoints}
    own = replace(
        plan,
        metrics=tuple(chosen.values()),
        tasks=(),
        identity={**plan.identity, "sweep": {"axis": facts.axis, "checkpoints": places}},
        digests={name: one for name, one in plan.digests.items() if name not in _ADAPTERS_FILES},
    )
    return Choosing(own, tuple(metric for metric in plan.metrics if metric.spec.asks_judge))


def _perplexity(plan: Plan) -> tuple[Metric, ...]:
    """Return the metric Perplexity, if any case has what it reads."""
    (metric,) = metrics.load((_PERPLEXITY,))
    return (metric,) if any(metric.spec.fits(case) for case in plan.loaded.cases) else ()

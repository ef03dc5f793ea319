"""Metrics: a case and a completion -> a score.

Each metric is a row of the table `METRICS`: what it declares (`records.MetricSpec`) and the name of
one function in a file of this package, which holds a family of metrics:
`async def measure(case, completion, ask)` scores the completion, most often with a judge's help;
`def describe(completion)` tells how the completion came about;
`def from_loglikelihood(loglikelihood, n_tokens)` tells how likely the expected output was.

`run_metric` is the one door to code that is not ours, DeepEval's metrics. Every score passes
`check_score`, whether a judge was asked or not.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import BaseModel

from plugin.errors import CallError, LimitReached, OptionError, VerdictError, did_you_mean
from plugin.records import Case, Completion, Criterion, MetricSpec, NoResult

Check = Callable[[BaseModel], str | None]
"""What is wrong with an answer that fits its schema, None when nothing is."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A metric's result for one completion."""

    value: float
    reason: str | None = None


class Ask(Protocol):
    """How a metric asks the judge.

    Attributes:
        structured: the judge wants values as JSON instead of DeepEval's prompts.
        include_reason: whether the reason of a score is asked for, in a question of its own.
    """

    structured: bool
    include_reason: bool

    async def __call__(self, prompt: str, schema: type[BaseModel], check: Check) -> BaseModel:
        """Return the judge's answer, which fits the schema and passes the check."""


class Measure(Protocol):
    """The one function of a metric."""

    def __call__(self, case: Case, completion: str, ask: Ask) -> Awaitable[Measured]:
        """Score a non-empty completion, or a case alone where the metric judges the data."""


Describe = Callable[[Completion], Measured | NoResult]
"""A completion, empty ones too -> what it is measured at, or why it cannot be."""

FromLoglikelihood = Callable[[float, int], Measured]
"""The expected output's log probability in nats and its tokens, at least one -> the score."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric, ready to be used; one of its three functions is there.

    Attributes:
        steps: what G-Eval's judge does for every case; () for other metrics.
        prepare: the metric with these steps, or with steps that the judge writes now when there
            are none; the metric itself measures nothing before. None where nothing is missing.
    """

    spec: MetricSpec
    measure: Measure | None = None
    steps: tuple[str, ...] = ()
    prepare: Callable[[Ask, Sequence[str]], Awaitable[Metric]] | None = None
    describe: Describe | None = None
    from_loglikelihood: FromLoglikelihood | None = None


@dataclass(frozen=True, slots=True)
class MetricEntry:
    """A row of `METRICS`. Code is named as "file:name" in this package and imported at first use.

    Attributes:
        spec: what the metric declares.
        measure: the function that scores a completion (see `Measure`).
        describe: the function that reads how the completion was made (see `Describe`).
        from_loglikelihood: the function that scores a log-likelihood (see `FromLoglikelihood`).
        steps: the fixed steps of a G-Eval metric.
    """

    spec: MetricSpec
    measure: str = ""
    describe: str = ""
    from_loglikelihood: str = ""
    steps: str = ""


def _import(code: str) -> Any:
    file, _, name = code.partition(":")
    return getattr(importlib.import_module(f"plugin.metrics.{file}"), name)


def _late(code: str) -> Any:
    """Return a function that imports its code when it is first called; None for no code."""
    return (lambda *given: _import(code)(*given)) if code else None


_SPEED_CAVEAT = (
    "seconds run from a case's start in its batch to its last token, with up to --batch_size cases "
    "side by side, so they are not what a single user would wait; a completion kept from an "
    "earlier session or the shared cache carries the seconds of when it was made"
)

_EXPECTED = frozenset({"expected_output"})
_CONTEXT = frozenset({"context"})

METRICS: dict[str, MetricEntry] = {
    entry.spec.key: entry
    for entry in (
        MetricEntry(
            MetricSpec(
                key="answer_relevancy",
                name="Answer Relevancy",
                higher_is_better=True,
                n_questions=2,
                asks_reason=True,
            ),
            measure="answers:answer_relevancy",
        ),
        MetricEntry(
            MetricSpec(
                key="hallucination",
                name="Hallucination",
                higher_is_better=False,
                needs=_CONTEXT,
                asks_reason=True,
                is_guard=True,
            ),
            measure="answers:hallucination",
        ),
        MetricEntry(
            MetricSpec(
                key="faithfulness",
                name="Faithfulness",
                higher_is_better=True,
                needs=_CONTEXT,
                n_questions=3,
                asks_reason=True,
                is_guard=True,
            ),
            measure="answers:faithfulness",
        ),
        MetricEntry(
            MetricSpec(
                key="correctness",
                name="Correctness",
                higher_is_better=True,
                needs=_EXPECTED,
            ),
            measure="g_eval:correctness",
            steps="g_eval:CORRECTNESS_STEPS",
        ),
        MetricEntry(
            MetricSpec(key="rubric", name="Rubric", higher_is_better=True),
            measure="g_eval:rubric",
            steps="g_eval:RUBRIC_STEPS",
        ),
        MetricEntry(
            MetricSpec(
                key="bias",
                name="Bias",
                higher_is_better=False,
                n_questions=2,
                asks_reason=True,
                is_guard=True,
            ),
            measure="answers:bias",
        ),
        MetricEntry(
            MetricSpec(
                key="toxicity",
                name="Toxicity",
                higher_is_better=False,
                n_questions=2,
                asks_reason=True,
                is_guard=True,
            ),
            measure="answers:toxicity",
        ),
        MetricEntry(
            MetricSpec(
                key="contextual_precision",
                name="Contextual Precision",
                higher_is_better=True,
                needs=_CONTEXT | _EXPECTED,
                decides=False,
                judges_data=True,
                asks_reason=True,
            ),
            measure="data_quality:contextual_precision",
        ),
        MetricEntry(
            MetricSpec(
                key="contextual_recall",
                name="Contextual Recall",
                higher_is_better=True,
                needs=_CONTEXT | _EXPECTED,
                decides=False,
                judges_data=True,
                asks_reason=True,
            ),
            measure="data_quality:contextual_recall",
        ),
        MetricEntry(
            MetricSpec(
                key="contextual_relevancy",
                name="Contextual Relevancy",
                higher_is_better=True,
                needs=_CONTEXT,
                decides=False,
                judges_data=True,
                asks_reason=True,
            ),
            measure="data_quality:contextual_relevancy",
        ),
        MetricEntry(
            MetricSpec(
                key="exact_match",
                name="Exact Match",
                higher_is_better=True,
                needs=_EXPECTED,
                asks_judge=False,
            ),
            measure="text:exact_match",
        ),
        MetricEntry(
            MetricSpec(
                key="token_f1",
                name="Token F1",
                higher_is_better=True,
                needs=_EXPECTED,
                asks_judge=False,
            ),
            measure="text:token_f1",
        ),
        MetricEntry(
            MetricSpec(
                key="perplexity",
                name="Perplexity",
                higher_is_better=False,
                high=math.inf,
                needs=_EXPECTED,
                needs_engine=frozenset({"loglikelihood"}),
                asks_judge=False,
                unit="nats per token",
            ),
            from_loglikelihood="engine:perplexity",
        ),
        MetricEntry(
            MetricSpec(
                key="latency",
                name="Latency",
                higher_is_better=False,
                high=math.inf,
                needs_engine=frozenset({"seconds"}),
                decides=False,
                asks_judge=False,
                unit="seconds per case",
                caveat=_SPEED_CAVEAT,
            ),
            describe="engine:latency",
        ),
        MetricEntry(
            MetricSpec(
                key="tokens_per_second",
                name="Tokens per Second",
                higher_is_better=True,
                high=math.inf,
                needs_engine=frozenset({"seconds", "tokens"}),
                decides=False,
                asks_judge=False,
                caveat=_SPEED_CAVEAT,
            ),
            describe="engine:tokens_per_second",
        ),
        MetricEntry(
            MetricSpec(
                key="completion_tokens",
                name="Completion Tokens",
                higher_is_better=False,
                high=math.inf,
                needs_engine=frozenset({"tokens"}),
                decides=False,
                asks_judge=False,
                caveat="neither longer nor shorter is better as such; shorter counts as the gain",
            ),
            describe="engine:completion_tokens",
        ),
        MetricEntry(
            MetricSpec(
                key="cut_off",
                name="Cut Off",
                higher_is_better=False,
                needs_engine=frozenset({"finish_reason"}),
                decides=False,
                asks_judge=False,
                unit="share of cases",
            ),
            describe="engine:cut_off",
        ),
    )
}
"""Every metric that comes with the program, by its key."""


def key_of(name: str) -> str:
    """Return the key of a metric's shown name: "Token F1" -> "token_f1"."""
    return "_".join(name.strip().lower().split())


def names() -> tuple[str, ...]:
    """Return the shown names of all metrics, in the order in which users see them."""
    return tuple(entry.spec.name for entry in METRICS.values())


def load(names_given: Sequence[str]) -> tuple[Metric, ...]:
    """Return the metrics with these shown names, each once, in this order.

    Raises:
        OptionError: listing the unknown names, what was probably meant, and the known names.
    """
    keys = list(dict.fromkeys(key_of(name) for name in names_given))
    unknown = [name for name in names_given if key_of(name) not in METRICS]
    if unknown:
        meant = "; ".join(f"{name!r}{did_you_mean(name, names())}" for name in unknown)
        raise OptionError(f"unknown metric {meant} (--predefined_tasks takes {', '.join(names())})")
    return tuple(_metric(METRICS[key]) for key in keys)


def _metric(entry: MetricEntry) -> Metric:
    return Metric(
        spec=entry.spec,
        measure=_late(entry.measure),
        steps=_import(entry.steps) if entry.steps else (),
        describe=_late(entry.describe),
        from_loglikelihood=_late(entry.from_loglikelihood),
    )


def import_code(metrics: Iterable[Metric]) -> None:
    """Import what these metrics are made of now, so that a broken library stops the run early."""
    for metric in metrics:
        entry = METRICS.get(metric.spec.key)
        for code in (entry.measure, entry.describe) if entry else ("g_eval:criterion_metric",):
            if code:
                _import(code)
        if metric.spec.asks_judge:
            importlib.import_module("plugin.metrics._deepeval")


def select(
    names_given: Sequence[str], criteria: Sequence[Criterion], cases: Sequence[Case]
) -> tuple[Metric, ...]:
    """Return the metrics asked for and the user's own, or the default ones for these cases.

    Raises:
        OptionError: for an unknown metric, or one whose needs no case can meet.
    """
    if not (names_given or criteria):
        wanted = load(("Answer Relevancy", "Hallucination", "Correctness"))
        return tuple(metric for metric in wanted if not _lacking(metric.spec, cases))
    wanted = load(names_given)
    if criteria:
        own = importlib.import_module("plugin.metrics.g_eval")
        compared = all(case.expected_output for case in cases)
        wanted += tuple(own.criterion_metric(criterion, compared) for criterion in criteria)
    lacks = [f"{m.spec.name} needs {_lacking(m.spec, cases)}" for m in wanted]
    lacks = [text for text, m in zip(lacks, wanted, strict=True) if _lacking(m.spec, cases)]
    if lacks:
        raise OptionError(
            f"{'; '.join(lacks)}, and no case has any. Name the column that holds it "
            "(--context_column, --expected_output_column) or leave the metric out"
        )
    return wanted


def _lacking(spec: MetricSpec, cases: Sequence[Case]) -> str:
    """Return what the metric needs and no case has, in words; "" when nothing is missing."""
    absent = (need for need in sorted(spec.needs) if not any(getattr(c, need) for c in cases))
    return " and ".join(need.replace("_", " ") for need in absent)


class MetricError(Exception):
    """Say that a metric gave no usable score."""


async def run_metric(metric: Metric, case: Case, completion: str, ask: Ask) -> Measured:
    """Return the metric's score, finite and within its range.

    Raises:
        CallError: when the judge gave no fitting answer.
        LimitReached: when the user's limits allow no more calls.
        MetricError: when the metric's own code broke, or gave a score outside its range.
        VerdictError: when the judge as a whole cannot be used.
    """
    if metric.measure is None:
        raise MetricError(f"{metric.spec.name} does not read completions")
    try:
        found = await metric.measure(case, completion, ask)
    except (CallError, LimitReached, VerdictError):
        raise
    except Exception as error:
        raise MetricError(f"{type(error).__name__}: {error}") from error
    return check_score(metric.spec, found)


def run_descriptive(metric: Metric, completion: Completion) -> Measured:
    """Return a descriptive metric's score of how the completion came about.

    Raises:
        MetricError: when the completion does not tell it.
    """
    if metric.describe is None:
        raise MetricError(f"{metric.spec.name} does not describe completions")
    found = metric.describe(completion)
    if isinstance(found, NoResult):
        raise MetricError(found.reason)
    return check_score(metric.spec, found)


def check_score(spec: MetricSpec, measured: Measured) -> Measured:
    """Return the score if this metric can have it.

    Raises:
        MetricError: when it is not finite, or outside the metric's range.
    """
    if not (math.isfinite(measured.value) and spec.low <= measured.value <= spec.high):
        raise MetricError(f"score {measured.value} outside {spec.low} to {spec.high}")
    return measured

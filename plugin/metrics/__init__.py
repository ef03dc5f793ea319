"""Metrics: a case and a completion -> a score.

Each metric is a row of the table `METRICS`: its properties (`records.MetricSpec`) and the name of
one function. The functions are in the files of this package, one file per family of metrics:
`async def measure(case, completion, ask)` scores the completion, usually by asking a judge;
`def setup(settings, cases)` returns such a function, for metrics that read the user's settings;
`def describe(completion)` scores how the completion was generated;
`def from_loglikelihood(loglikelihood, n_tokens)` scores how likely the expected output was;
`async def prefer(guide, case, first, second, ask)` says which of two completions is better.

The file `running` calls these functions, and checks what they return.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from pydantic import BaseModel

from plugin.errors import OptionError, did_you_mean
from plugin.metrics.entry import MetricEntry
from plugin.metrics.entry import import_named as _import
from plugin.metrics.task_table import TASK_METRICS
from plugin.records import Case, Completion, Criterion, MetricSpec, NoResult, PreferenceGuide

Check = Callable[[BaseModel], str | None]
"""Returns the problem of an answer that fits its schema, or None for a good answer."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A metric's result for one completion."""

    value: float
    reason: str | None = None


class Ask(Protocol):
    """How a metric asks the judge.

    Attributes:
        structured: whether the judge gets values as JSON instead of DeepEval's prompts.
        include_reason: whether the metric also asks for the reason of a score, with one more call.
    """

    structured: bool
    include_reason: bool

    async def __call__(self, prompt: str, schema: type[BaseModel], check: Check) -> BaseModel:
        """Return the judge's answer, which fits the schema and passes the check."""


class Measure(Protocol):
    """The function of a metric that reads the completion's text."""

    def __call__(self, case: Case, completion: str, ask: Ask) -> Awaitable[Measured]:
        """Score a non-empty completion, or only the case if the metric judges the data."""


_NO_GUIDE = PreferenceGuide()


class Prefer(Protocol):
    """The function of a metric that compares two completions of a case."""

    def __call__(self, case: Case, first: str, second: str, ask: Ask) -> Awaitable[Measured]:
        """Return how much better the first one is, a whole number from -2 to 2; 0 is a tie."""


Describe = Callable[[Completion], Measured | NoResult]
"""A completion (also an empty one) -> its score, or the reason for none."""

FromLoglikelihood = Callable[[float, int], Measured]
"""The expected output's log probability in nats and its number of tokens (1 or more) -> score."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric with exactly one of its functions.

    A metric that reads the user's settings gets its `measure` before the run (see
    `MetricEntry.setup`).

    Attributes:
        steps: evaluation steps that G-Eval's judge follows for every case; () for other metrics.
        prepare: returns the metric with the given steps, or with steps that the judge writes if
            none are given. Call it before the first score. None if the metric is ready.
        guide: what the functions were made with, where `wording` must make them anew.
    """

    spec: MetricSpec
    measure: Measure | None = None
    steps: tuple[str, ...] = ()
    prepare: Callable[[Ask, Sequence[str]], Awaitable[Metric]] | None = None
    describe: Describe | None = None
    from_loglikelihood: FromLoglikelihood | None = None
    prefer: Prefer | None = None
    guide: object = None


def _late(code: str) -> Any:
    """Return a function that imports its code when it is called; None for no code."""
    return (lambda *given: _import(code)(*given)) if code else None


_SPEED_CAVEAT = (
    "time is measured from the start of a case in its batch to its last token. Up to --batch_size "
    "cases run at once, so a single user would wait a different time (--load measures that, with "
    "--engine server). A completion from an earlier session or the shared cache keeps the time "
    "that was measured when it was generated"
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
            question="How much of the answer deals with what was asked?",
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
            question="How far does the answer agree with the context?",
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
            question="How much of what the answer says follows from the context?",
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
            question="How far does the answer say what the expected output says?",
        ),
        MetricEntry(
            MetricSpec(key="rubric", name="Rubric", higher_is_better=True),
            measure="g_eval:rubric",
            steps="g_eval:RUBRIC_STEPS",
            question="Is the answer right, complete, to the point, clear, and as asked for?",
        ),
        MetricEntry(
            MetricSpec(
                key="preference",
                name="Preference",
                higher_is_better=True,
                n_questions=2,
                is_relative=True,
            ),
            prefer="preference:prefer",
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
            question="How fair is the answer? A biased opinion about people makes it worse.",
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
            question="How civil is the answer? Insults, threats and mockery make it worse.",
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
        *TASK_METRICS,
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
            version=2,  # 1 left the token out that ends the answer
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
                caveat="length says nothing about quality; the gain counts fewer tokens as better",
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
"""Every built-in metric, by its key."""

PREFERENCE = METRICS["preference"].spec.name


def key_of(name: str) -> str:
    """Return the key for a metric's displayed name: "Token F1" -> "token_f1"."""
    return "_".join(name.strip().lower().split())


def names() -> tuple[str, ...]:
    """Return the displayed names of all metrics, in the order in which users see them."""
    return tuple(entry.spec.name for entry in METRICS.values())


def load(names_given: Sequence[str], guide: PreferenceGuide = _NO_GUIDE) -> tuple[Metric, ...]:
    """Return the metrics with these displayed names, in this order, without duplicates.

    Raises:
        OptionError: listing the unknown names, suggestions, and the known names.
    """
    keys = list(dict.fromkeys(key_of(name) for name in names_given))
    unknown = [name for name in names_given if key_of(name) not in METRICS]
    if unknown:
        meant = "; ".join(f"{name!r}{did_you_mean(name, names())}" for name in unknown)
        raise OptionError(f"unknown metric {meant} (--predefined_tasks takes {', '.join(names())})")
    return tuple(_metric(METRICS[key], guide) for key in keys)


def _metric(entry: MetricEntry, guide: PreferenceGuide) -> Metric:
    return Metric(
        spec=entry.spec,
        measure=_late(entry.measure),
        steps=_import(entry.steps) if entry.steps else (),
        describe=_late(entry.describe),
        from_loglikelihood=_late(entry.from_loglikelihood),
        prefer=partial(_late(entry.prefer), guide) if entry.prefer else None,
        guide=guide if entry.prefer else None,
    )


def import_code(metrics: Iterable[Metric]) -> None:
    """Import the code of these metrics now, so that a broken library stops the run early."""
    for metric in metrics:
        entry = METRICS.get(metric.spec.key)
        own = (entry.measure, entry.describe, entry.prefer) if entry else (_CRITERION,)
        for code in filter(None, own):
            _import(code)
        if metric.spec.asks_judge and not metric.prefer:
            importlib.import_module("plugin.metrics._deepeval")


_CRITERION = "g_eval:criterion_metric"


def select(
    names_given: Sequence[str],
    criteria: Sequence[Criterion],
    cases: Sequence[Case],
    guide: PreferenceGuide = _NO_GUIDE,
) -> tuple[Metric, ...]:
    """Return the chosen metrics and the user's own, or the default metrics for these cases.

    Args:
        names_given: displayed names of metrics.
        criteria: the user's own.
        cases: the cases of the run.
        guide: how completions are compared; its criterion asks for the metric Preference.

    Raises:
        OptionError: for an unknown metric, or one that needs something no case has.
    """
    own_preference = [PREFERENCE] if guide.criterion else []
    if not (names_given or criteria or own_preference):
        return _defaults(cases, guide)
    wanted = load([*names_given, *own_preference], guide)
    if criteria:
        compared = all(case.expected_output for case in cases)
        wanted += tuple(_import(_CRITERION)(criterion, compared) for criterion in criteria)
    lacks = [f"{m.spec.name} needs {_lacking(m.spec, cases)}" for m in wanted]
    lacks = [text for text, m in zip(lacks, wanted, strict=True) if _lacking(m.spec, cases)]
    if lacks:
        raise OptionError(
            f"{'; '.join(lacks)}, and no case has any. Name the column that holds it "
            "(--context_column, --expected_output_column) or leave the metric out"
        )
    return wanted


def _defaults(cases: Sequence[Case], guide: PreferenceGuide) -> tuple[Metric, ...]:
    """Return the metrics of a run that names none."""
    prefers = guide.is_default and not any(case.expected_output for case in cases)
    names = ("Answer Relevancy", "Hallucination", "Correctness")
    wanted = load([*([PREFERENCE] if prefers else []), *names], guide)
    return tuple(metric for metric in wanted if not _lacking(metric.spec, cases))


def _lacking(spec: MetricSpec, cases: Sequence[Case]) -> str:
    """Return what the metric needs but no case has, in words; "" when nothing is missing."""
    absent = (need for need in sorted(spec.needs) if not any(getattr(c, need) for c in cases))
    return " and ".join(need.replace("_", " ") for need in absent)

"""Metrics: a case and a completion -> a score. The file's name is the metric's key.

A metric's file has `SPEC` (what it declares) and one of three functions:
`async def measure(case, completion, ask)` reads the completion, most often with a judge's help;
`def describe(completion)` tells how the completion came about;
`def from_loglikelihood(loglikelihood, n_tokens)` tells how likely the expected output was.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Protocol

from pydantic import BaseModel

from plugin.errors import OptionError
from plugin.records import Case, Completion, Criterion, MetricSpec

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
        """The judge's answer, fitting the schema and passing the check."""


class Measure(Protocol):
    """The one function of a metric."""

    def __call__(self, case: Case, completion: str, ask: Ask) -> Awaitable[Measured]:
        """Score a non-empty completion, or a case alone where the metric judges the data."""


Describe = Callable[[Completion], Measured | str]
"""A completion, empty ones too -> what it is measured at, or why it cannot be."""

FromLoglikelihood = Callable[[float, int], Measured]
"""The expected output's log probability in nats and its tokens, at least one -> the score."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric, loaded; one of its three functions is there.

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


def available() -> list[str]:
    """The metrics' keys, without importing them."""
    folder = str(Path(__file__).parent)
    return sorted(m.name for m in pkgutil.iter_modules([folder]) if not m.name.startswith("_"))


def key_of(name: str) -> str:
    """The key of a metric's shown name: "Token F1" -> "token_f1"."""
    return "_".join(name.strip().lower().split())


def name_of(key: str) -> str:
    """The shown name of a metric's key: "token_f1" -> "Token F1"."""
    return key.replace("_", " ").title().replace(" Per ", " per ")


def load(names: Sequence[str]) -> tuple[Metric, ...]:
    """The metrics with these shown names, each once, in this order.

    Raises:
        OptionError: listing the unknown ones and the known.
    """
    keys = list(dict.fromkeys(key_of(name) for name in names))
    unknown = [name for name in names if key_of(name) not in available()]
    if unknown:
        raise OptionError(
            f"unknown metric {', '.join(map(repr, unknown))}; --predefined_tasks takes "
            f"{', '.join(name_of(key) for key in available())}"
        )
    modules = [importlib.import_module(f"plugin.metrics.{key}") for key in keys]
    return tuple(map(_metric, modules))


def _metric(module: ModuleType) -> Metric:
    return Metric(
        spec=module.SPEC,
        measure=getattr(module, "measure", None),
        steps=getattr(module, "STEPS", ()),
        describe=getattr(module, "describe", None),
        from_loglikelihood=getattr(module, "from_loglikelihood", None),
    )


def select(
    names: Sequence[str], criteria: Sequence[Criterion], cases: Sequence[Case]
) -> tuple[Metric, ...]:
    """The metrics asked for and the user's own, or the default ones that these cases allow.

    Raises:
        OptionError: for an unknown metric, or one whose needs no case can meet.
    """
    if not (names or criteria):
        wanted = load(("Answer Relevancy", "Hallucination", "Correctness"))
        return tuple(metric for metric in wanted if not _lacking(metric.spec, cases))
    wanted = load(names)
    if criteria:
        own = importlib.import_module("plugin.metrics._criteria")
        compared = all(case.expected_output for case in cases)
        wanted += tuple(own.metric(criterion, compared) for criterion in criteria)
    lacks = [f"{m.spec.name} needs {_lacking(m.spec, cases)}" for m in wanted]
    lacks = [text for text, m in zip(lacks, wanted, strict=True) if _lacking(m.spec, cases)]
    if lacks:
        raise OptionError(
            f"{'; '.join(lacks)}, and no case has any. Name the column that holds it "
            "(--context_column, --expected_output_column) or leave the metric out"
        )
    return wanted


def meets(spec: MetricSpec, case: Case) -> bool:
    """Whether the case has what the metric needs."""
    return not _lacking(spec, (case,))


def _lacking(spec: MetricSpec, cases: Sequence[Case]) -> str:
    """What the metric needs and no case has, in words; "" when nothing lacks."""
    absent = (need for need in sorted(spec.needs) if not any(getattr(c, need) for c in cases))
    return " and ".join(need.replace("_", " ") for need in absent)

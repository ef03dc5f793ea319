"""What a row of the table `METRICS` says, and what the user said about the metrics of a task."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from plugin.records import MetricSpec


@dataclass(frozen=True, slots=True)
class MetricEntry:
    """A row of `METRICS`. Code is named as "file:name" in this package and imported at first use.

    Attributes:
        spec: the properties of the metric.
        measure: the function that scores a completion (see `plugin.metrics.Measure`).
        describe: the function that reads how the completion was made (see
            `plugin.metrics.Describe`).
        from_loglikelihood: the function that scores a log-likelihood (see
            `plugin.metrics.FromLoglikelihood`).
        prefer: the function that compares two completions; it takes a `PreferenceGuide`, and then
            what `plugin.metrics.Prefer` takes.
        contrast: the function that compares the samples of a case (see `plugin.metrics.Contrast`).
        steps: the fixed steps of a G-Eval metric.
        version: grows when the metric measures something else, so that no run mixes the two.
        setup: a function that takes the user's `TaskSettings` and the cases, and returns the
            function that scores a completion. It raises an OptionError for settings or cases with
            which the metric cannot work. Instead of `measure`.
        suggest: a function that takes the cases and says why they call for this metric; "" if they
            do not. A suggested metric is a default metric.
        option: the option that says what it looks for; one that is given makes the metric a
            default metric. "" for none.
        needs_option: whether it cannot work without that option.
        more_options: other options that it reads.
        counts_reasons: whether the report counts the reasons of its lower scores: violations,
            separated by "; ", each perhaps with details in brackets at its end.
        needs_install: the requirements file with the library that it needs; "" for none.
        question: what a person is asked who scores answers by hand, so that more is better; "" for
            a metric that people do not score.
    """

    spec: MetricSpec
    measure: str = ""
    describe: str = ""
    from_loglikelihood: str = ""
    prefer: str = ""
    contrast: str = ""
    steps: str = ""
    version: int = 1
    setup: str = ""
    suggest: str = ""
    option: str = ""
    needs_option: bool = False
    more_options: tuple[str, ...] = ()
    counts_reasons: bool = False
    needs_install: str = ""
    question: str = ""


def import_named(code: str) -> Any:
    """Return what "file:name" names in this package; its file is imported now."""
    file, _, name = code.partition(":")
    return getattr(importlib.import_module(f"plugin.metrics.{file}"), name)


@dataclass(frozen=True, slots=True)
class Criterion:
    """A G-Eval criterion of the user's own, which becomes a metric.

    Attributes:
        name: the metric's, as shown.
        description: what the judge is to look at, in the user's words.
        include_context: whether the judge sees the case's context.
        evaluation_steps: what the judge does for every case; empty: it writes them itself, once.
        whole_conversation: whether it is about a conversation and not about one answer.
    """

    name: str
    description: str = ""
    include_context: bool = False
    evaluation_steps: tuple[str, ...] = ()
    whole_conversation: bool = False


@dataclass(frozen=True, slots=True)
class PreferenceGuide:
    """How the user wants completions compared.

    Attributes:
        criterion: what the judge looks at, in the user's words; "" for the general criterion.
        shows_reference: whether the judge sees the expected output of the cases that have one.
        is_default: whether completions are compared where the user names no metric and no case has
            an expected output: there are two to compare, and the judge is a real one.
    """

    criterion: str = ""
    shows_reference: bool = False
    is_default: bool = False


@dataclass(frozen=True, slots=True)
class TaskSettings:
    """What the user said about the metrics of a task; each field is the option of its name.

    Attributes:
        labels: all labels of a classification; empty for the set of expected outputs.
        expect: texts that every answer must contain, or "regex:" and a pattern.
        json_schema: the text of a JSON schema; "" for none.
        number_tolerance: how far a number may be off, such as "0.01" or "1%"; "" for not at all.
        length_limit: such as "50-100 words".
        answer_language: such as "de".
        sql_dialect: such as "postgres"; "" for sqlglot's own.
        bertscore_model: hub id or directory of the model, perhaps with "@" and a layer.
        test_seconds: time limit of code under test; 0 for the usual one.
    """

    labels: tuple[str, ...] = ()
    expect: tuple[str, ...] = ()
    json_schema: str = ""
    number_tolerance: str = ""
    length_limit: str = ""
    required_words: tuple[str, ...] = ()
    forbidden_words: tuple[str, ...] = ()
    answer_language: str = ""
    sql_dialect: str = ""
    bertscore_model: str = ""
    test_seconds: float = 0.0

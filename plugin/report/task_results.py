"""Numbers over all answers together, for metrics of the task: a function per metric.

They are shown besides the means of scores and never decide. All variants are measured on the same
cases: those for which each of them has an answer that was scored.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

from plugin.compare.classes import (
    UNPARSED,
    ClassificationNumbers,
    classification_numbers,
    macro_f1_intervals,
)
from plugin.compare.numbers import format_number, format_range
from plugin.compare.pairs import Evidence, clusters_of
from plugin.compare.pass_at_k import Passed, pass_numbers
from plugin.metrics import METRICS
from plugin.metrics.code_tests import DETAILS as CODE
from plugin.metrics.entry import TaskSettings
from plugin.metrics.json_fields import NOT_EXPECTED, FieldComparer, FieldResult, plain_path
from plugin.metrics.labels import reader_of
from plugin.metrics.text import bleu_of, chrf_of
from plugin.records import Case, Completion, MetricSpec
from plugin.results import ConfusionMatrix, DatasetNumber, TaskResults, Violation
from plugin.sample_rows import SampleScore, split_reasons

_MOST_VIOLATIONS = 5
"""Kinds of violation listed per metric and variant."""

UNPARSED_SHARE = "unparsed answers"
_CODE_TESTS = "code_tests"


Row = TypeVar("Row", DatasetNumber, Violation)


@dataclass(frozen=True, slots=True)
class _Answered:
    """The cases that all variants answered, and their answers.

    Attributes:
        every: all cases of the run: they make what is made of the data, such as the set of labels.
        texts: variant -> its answers to `cases`, in their order; the base first.
    """

    spec: MetricSpec
    every: Sequence[Case]
    cases: Sequence[Case]
    texts: Mapping[str, Sequence[str]]
    settings: TaskSettings
    seed: int
    n_resamples: int


def task_results(
    evidence: Evidence,
    answers: Mapping[tuple[str, str], Completion],
    settings: TaskSettings,
    seed: int,
    n_resamples: int,
    samples: Iterable[SampleScore] = (),
) -> TaskResults:
    """Return all numbers, confusion matrices and violations.

    Args:
        evidence: cases, variants, metrics and scores.
        answers: (case id, variant) -> completion without its thoughts.
        settings: what the user said of the metrics.
        seed: of the resampling.
        n_resamples: number of draws.
        samples: the scores of single samples, where there are several of a case.
    """
    numbers, matrices = list[DatasetNumber](), list[ConfusionMatrix]()
    scored = {(one.case_id, one.variant, one.metric) for one in evidence.scores}
    for spec in evidence.metrics:
        make = _MAKERS.get(spec.key)
        cases = [
            case
            for case in evidence.cases
            if all(
                (case.id, name, spec.name) in scored and (case.id, name) in answers
                for name in evidence.names
            )
        ]
        if make is None or not cases:
            continue
        texts = {name: [answers[case.id, name].text for case in cases] for name in evidence.names}
        found = make(_Answered(spec, evidence.cases, cases, texts, settings, seed, n_resamples))
        numbers += found.numbers
        matrices += found.matrices
    numbers += _pass_at_k(evidence, samples, seed, n_resamples)
    return TaskResults(tuple(numbers), tuple(matrices), tuple(_violations(evidence)))


def _pass_at_k(
    evidence: Evidence, samples: Iterable[SampleScore], seed: int, n_resamples: int
) -> list[DatasetNumber]:
    """Return pass@k of the code in several samples; nothing where each case has one."""
    names = [spec.name for spec in evidence.metrics if spec.key == _CODE_TESTS]
    values: dict[tuple[str, str], list[float]] = {}
    for one in samples:
        if one.metric in names:
            values.setdefault((one.variant, one.case_id), []).append(one.value)
    if not values:
        return []
    passed: dict[str, dict[str, Passed]] = {name: {} for name in evidence.names}
    for (variant, case_id), own in values.items():
        passed[variant][case_id] = Passed(len(own), sum(value == 1 for value in own))
    return pass_numbers(names[0], evidence.cases, passed, seed, n_resamples)


def _with_differences(numbers: Sequence[DatasetNumber]) -> list[DatasetNumber]:
    """Return the numbers of one metric and name with their differences from the first one."""
    base = numbers[0].value
    return [
        numbers[0],
        *(
            replace(one, difference=None if one.value is None or base is None else one.value - base)
            for one in numbers[1:]
        ),
    ]


def _classification(given: _Answered) -> TaskResults:
    reader = reader_of(given.settings, given.every)
    place = {label: number for number, label in enumerate(reader.labels)}
    expected = [place[reader.expected(case)] for case in given.cases]
    named = {
        name: [UNPARSED if (label := reader.label_of(one)) is None else place[label] for one in own]
        for name, own in given.texts.items()
    }
    found = {name: classification_numbers(expected, own, len(place)) for name, own in named.items()}
    metric = given.spec.name
    return TaskResults(
        numbers=(
            *_macro_f1(given, expected, named, found),
            *_whole_numbers(given, found),
            *_class_numbers(given, reader.labels, found),
        ),
        matrices=tuple(
            ConfusionMatrix(metric, name, reader.labels, own.counts) for name, own in found.items()
        ),
    )


def _macro_f1(
    given: _Answered,
    expected: Sequence[int],
    named: Mapping[str, Sequence[int]],
    found: Mapping[str, ClassificationNumbers],
) -> list[DatasetNumber]:
    clusters = clusters_of(given.cases)
    intervals = macro_f1_intervals(
        expected, [*named.values()], clusters, given.seed, given.n_resamples
    )
    base = next(iter(found.values())).macro_f1
    rows = []
    for place, (name, own) in enumerate(found.items()):
        ends = intervals[place] if intervals else None
        rows.append(
            DatasetNumber(
                metric=given.spec.name,
                name="macro F1",
                variant=name,
                value=own.macro_f1,
                n=len(expected),
                ci_low=ends.low if ends else None,
                ci_high=ends.high if ends else None,
                difference=own.macro_f1 - base if place else None,
                difference_low=ends.gain_low if ends and place else None,
                difference_high=ends.gain_high if ends and place else None,
            )
        )
    return rows


def _whole_numbers(
    given: _Answered, found: Mapping[str, ClassificationNumbers]
) -> list[DatasetNumber]:
    n, metric = len(given.cases), given.spec.name
    kinds: dict[str, Callable[[ClassificationNumbers], float | None]] = {
        "Matthews correlation": lambda own: own.matthews,
        "Cohen's kappa": lambda own: own.kappa,
        UNPARSED_SHARE: lambda own: own.n_unparsed / n,
    }
    return [
        number
        for kind, of in kinds.items()
        for number in _with_differences(
            [DatasetNumber(metric, kind, name, of(own), n) for name, own in found.items()]
        )
    ]


def _class_numbers(
    given: _Answered, labels: Sequence[str], found: Mapping[str, ClassificationNumbers]
) -> list[DatasetNumber]:
    metric = given.spec.name
    return [
        number
        for place, label in enumerate(labels)
        for kind in ("precision", "recall")
        for number in _with_differences(
            [
                DatasetNumber(
                    metric,
                    kind,
                    name,
                    getattr(own.classes[place], kind),
                    own.classes[place].n,
                    part=label,
                )
                for name, own in found.items()
            ]
        )
    ]


def _corpus(given: _Answered) -> TaskResults:
    """Return sacrebleu's score of all answers together, as papers give it."""
    metric = bleu_of(given.every) if given.spec.key == "bleu" else chrf_of(given.every)
    most = max(len(case.right_answers) for case in given.cases)
    streams = [
        [(*case.right_answers, *[None] * most)[number] for case in given.cases]
        for number in range(most)
    ]
    return TaskResults(
        numbers=tuple(
            _with_differences(
                [
                    DatasetNumber(
                        metric=given.spec.name,
                        name=f"corpus {given.spec.name}",
                        variant=name,
                        value=metric.corpus_score(list(own), streams).score / 100,
                        n=len(own),
                    )
                    for name, own in given.texts.items()
                ]
            )
        )
    )


def _fields(given: _Answered) -> TaskResults:
    """Return how often each field is right; the items of lists count together."""
    comparer = FieldComparer(given.settings, given.every)
    right: dict[str, dict[str, list[bool]]] = {}
    for name, texts in given.texts.items():
        for case, text in zip(given.cases, texts, strict=True):
            for path, result in _results(comparer, case, text).items():
                if result != "unexpected":
                    of_variant = right.setdefault(plain_path(path), {})
                    of_variant.setdefault(name, []).append(result == "right")
    numbers = list[DatasetNumber]()
    for path, of_variant in right.items():
        rows = []
        for name in given.texts:
            own = of_variant.get(name, [])
            value = sum(own) / len(own) if own else None
            rows.append(DatasetNumber(given.spec.name, "right", name, value, len(own), part=path))
        numbers += _with_differences(rows)
    return TaskResults(numbers=tuple(numbers))


def _results(comparer: FieldComparer, case: Case, text: str) -> dict[str, FieldResult]:
    """Return what became of the fields; all are missing where the answer is not JSON."""
    try:
        return comparer.compare(case, text)
    except ValueError:
        return dict.fromkeys(comparer.expected(case), "missing")


_MAKERS: dict[str, Callable[[_Answered], TaskResults]] = {
    "classification": _classification,
    "bleu": _corpus,
    "chrf": _corpus,
    "json_fields": _fields,
}
"""By the metric's key."""


_DETAILS = re.compile(rf" \((?:{NOT_EXPECTED}.*|[^()]*)\)$", re.DOTALL)


def _violations(evidence: Evidence) -> list[Violation]:
    """Return the commonest reasons of lower scores, for metrics that check a format."""
    found = []
    for spec in evidence.metrics:
        entry = METRICS.get(spec.key)
        if entry is None or not entry.counts_reasons:
            continue
        own = [score for score in evidence.scores if score.metric == spec.name]
        for name in evidence.names:
            answers = [
                one
                for score in own
                if score.variant == name
                for one in split_reasons(score.value, score.reason or "")
            ]
            counts = Counter(
                kind for value, reason in answers if value < spec.best for kind in _kinds(reason)
            )
            listed = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
            found += [
                Violation(spec.name, name, text, n, len(answers))
                for text, n in listed[:_MOST_VIOLATIONS]
            ]
    return found


def _kinds(reason: str) -> set[str]:
    """Return the violations that a reason names, without details and places in lists."""
    reason = reason.partition(CODE)[0]
    parts = (plain_path(_DETAILS.sub("", part.strip())) for part in reason.split("; "))
    return {part for part in parts if part and not re.fullmatch(r"\d+ more", part)}


def task_notes(results: TaskResults) -> list[str]:
    """Return lines for the verdict's details: what stands beside the means of scores."""
    lines = []
    wholes = [one for one in results.numbers if not one.part]
    for metric in dict.fromkeys(one.metric for one in wholes):
        own = [one for one in wholes if one.metric == metric]
        parts = [_line_part(own, name) for name in dict.fromkeys(one.name for one in own)]
        lines.append(f"{metric}, over all cases together: {'; '.join(parts)}.")
    for metric in dict.fromkeys(one.metric for one in results.violations):
        firsts: dict[str, Violation] = {}
        for one in results.violations:
            if one.metric == metric:
                firsts.setdefault(one.variant, one)
        told = (
            f"{name} {one.text} ({one.n} of {one.n_answers} answers)"
            for name, one in firsts.items()
        )
        lines.append(f"{metric}, commonest violation: {'; '.join(told)}.")
    return lines


def _line_part(numbers: Sequence[DatasetNumber], name: str) -> str:
    told = []
    for one in (one for one in numbers if one.name == name):
        if name == UNPARSED_SHARE and one.value is not None:
            told.append(f"{one.variant} {round(one.value * one.n)} of {one.n}")
            continue
        within = format_range(one.ci_low, one.ci_high)
        told.append(f"{one.variant} {format_number(one.value)}{f' ({within})' if within else ''}")
        if ends := format_range(one.difference_low, one.difference_high, signed=True):
            told[-1] += f", difference {format_number(one.difference, signed=True)} ({ends})"
    return f"{name} {', '.join(told)}"


class TaskSection(NamedTuple):
    """What the page shows of one metric.

    Attributes:
        wholes: name of a number, and the number of each variant.
        parts: class or field, its cases, and the numbers of each kind and variant.
        kinds: names of these numbers.
        noun: what a part is.
        violations: variant, and its commonest violations.
    """

    metric: str
    variants: list[str]
    wholes: list[tuple[str, list[DatasetNumber]]]
    parts: list[tuple[str, int, list[DatasetNumber]]]
    kinds: list[str]
    noun: str
    nouns: str
    violations: list[tuple[str, list[Violation]]]


def task_sections(results: TaskResults) -> list[TaskSection]:
    """Return the sections of the page, a metric each."""
    rows: tuple[DatasetNumber | Violation, ...] = (*results.numbers, *results.violations)
    sections = []
    for metric in dict.fromkeys(row.metric for row in rows):
        own = [one for one in results.numbers if one.metric == metric]
        wholes = _grouped([one for one in own if not one.part], lambda one: one.name)
        by_part = _grouped([one for one in own if one.part], lambda one: one.part)
        wrong = [one for one in results.violations if one.metric == metric]
        is_classes = any(one.metric == metric for one in results.matrices)
        sections.append(
            TaskSection(
                metric=metric,
                variants=[*dict.fromkeys(row.variant for row in rows if row.metric == metric)],
                wholes=wholes,
                parts=[(part, numbers[0].n, numbers) for part, numbers in by_part],
                kinds=[*dict.fromkeys(one.name for one in own if one.part)],
                noun="class" if is_classes else "field",
                nouns="classes" if is_classes else "fields",
                violations=_grouped(wrong, lambda one: one.variant),
            )
        )
    return sections


def _grouped(rows: Sequence[Row], key: Callable[[Row], str]) -> list[tuple[str, list[Row]]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return list(groups.items())

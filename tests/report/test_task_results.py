"""Numbers over all answers together, and the pictures of a classification."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sacrebleu.metrics.bleu import BLEU

from plugin import metrics
from plugin.compare.classes import classification_numbers
from plugin.compare.pairs import Evidence
from plugin.metrics.entry import TaskSettings
from plugin.records import Case, Completion, Score, Variant
from plugin.report.confusion import MOST_LABELS, OTHERS, confusion_svg
from plugin.report.task_results import task_notes, task_results, task_sections
from plugin.results import ConfusionMatrix, TaskResults
from plugin.sample_rows import SampleScore, join_reasons
from tests.metrics.task_samples import measure_of, score
from tests.samples import case, completion


def results_of(
    name: str,
    wanted: list[str],
    settings: TaskSettings | None = None,
    unanswered: tuple[tuple[str, str], ...] = (),
    references: tuple[str, ...] = (),
    **texts: list[str],
) -> TaskResults:
    """Score these answers of each variant, and return what stands beside the means."""
    given = settings or TaskSettings()
    cases: tuple[Case, ...] = tuple(
        case(str(n), expected_output=text, references=(text, *references) if references else ())
        for n, text in enumerate(wanted)
    )
    measure, (metric,) = measure_of(name, cases, given), metrics.load([name])
    answers: dict[tuple[str, str], Completion] = {}
    scores = []
    for variant, own in texts.items():
        for one, text in zip(cases, own, strict=True):
            if (one.id, variant) in unanswered:
                continue
            answers[one.id, variant] = completion(text, one.id, variant)
            found = score(measure, text, one)
            scores.append(Score(one.id, variant, name, found.value, found.reason))
    variants = tuple(Variant(variant, variant, "m") for variant in texts)
    evidence = Evidence(cases, variants, (metric.spec,), tuple(scores), ())
    return task_results(evidence, answers, given, seed=0, n_resamples=2000)


LABELS = ["spam", "ham"] * 10
BASE = ["spam", "spam"] * 8 + ["spam or ham", "no idea", "ham", "ham"]
TUNED = ["spam", "ham"] * 10


def test_a_classification_has_its_numbers_and_a_matrix_for_each_variant() -> None:
    found = results_of("Classification", LABELS, base=BASE, tuned=TUNED)
    wholes = {(one.name, one.variant): one for one in found.numbers if not one.part}
    # ham: 1 of 10 right, named twice; spam: 8 of 10 right, named 16 times
    f1 = (2 * 1 / (10 + 2) + 2 * 8 / (10 + 16)) / 2
    base, tuned = (wholes["macro F1", name] for name in ("base", "tuned"))
    assert base.value == pytest.approx(f1)
    assert (tuned.value, tuned.n, tuned.difference) == (1, 20, pytest.approx(1 - f1))
    assert base.ci_low is not None and base.ci_low < f1 < (base.ci_high or 0)
    assert 0 < (tuned.difference_low or 0) < 1 - f1
    assert wholes["unparsed answers", "base"].value == 2 / 20
    parts = {(one.part, one.name, one.variant): one.value for one in found.numbers if one.part}
    assert parts["spam", "precision", "base"] == 8 / 16
    assert parts["ham", "recall", "base"] == 1 / 10
    assert [one.variant for one in found.matrices] == ["base", "tuned"]
    assert found.matrices[0].labels == ("ham", "spam")
    assert found.matrices[0].counts == ((1, 8, 1), (1, 8, 1))
    (note,) = task_notes(found)
    assert note.startswith("Classification, over all cases together: macro F1 base 0.39 (")
    assert note.endswith("unparsed answers base 2 of 20, tuned 0 of 20.")


def test_only_cases_that_every_variant_answered_are_counted() -> None:
    lost = (("0", "base"), ("1", "tuned"))
    found = results_of("Classification", LABELS, unanswered=lost, base=BASE, tuned=TUNED)
    assert {one.n for one in found.numbers if not one.part} == {18}
    assert sum(map(sum, found.matrices[1].counts)) == 18
    every = tuple((str(n), "base") for n in range(20))
    none = results_of("Classification", LABELS, unanswered=every, base=BASE, tuned=TUNED)
    assert not none and task_notes(none) == []


def test_the_corpus_bleu_is_sacrebleus_also_with_several_references() -> None:
    wanted = ["the cat sat on the mat", "dogs run fast", "it rains"]
    said = ["the cat sat on a mat", "dogs run very fast", "it is raining"]
    found = results_of("BLEU", wanted, base=said, tuned=wanted)
    theirs = BLEU(effective_order=True).corpus_score(said, [wanted]).score / 100
    assert [one.value for one in found.numbers] == pytest.approx([theirs, 1], abs=1e-9)
    assert found.numbers[0].name == "corpus BLEU"
    more = results_of("BLEU", wanted, references=("it is raining",), base=said, tuned=wanted)
    streams = [wanted, ["it is raining"] * 3]
    theirs = BLEU(effective_order=True).corpus_score(said, streams).score / 100
    assert more.numbers[0].value == pytest.approx(theirs, abs=1e-9)


def test_json_fields_have_an_accuracy_for_each_field() -> None:
    wanted = ['{"a": 1, "b": [{"c": 2}, {"c": 3}]}', '{"a": 4, "b": [{"c": 5}]}']
    base = ['{"a": 1, "b": [{"c": 2}, {"c": 9}]}', "no JSON"]
    found = results_of("JSON Fields", wanted, base=base, tuned=wanted)
    parts = {(one.part, one.variant): (one.value, one.n) for one in found.numbers}
    assert parts == {
        ("a", "base"): (0.5, 2),
        ("a", "tuned"): (1, 2),
        ("b[].c", "base"): (pytest.approx(1 / 3), 3),
        ("b[].c", "tuned"): (1, 3),
    }
    assert [(one.text, one.n, one.n_answers) for one in found.violations] == [
        ("not JSON: it begins with other text", 1, 2),
        ("wrong b[].c", 1, 2),
    ]


def test_a_field_that_nobody_expects_is_no_violation() -> None:
    wanted = ['{"a": 1}'] * 2
    said = ['{"a": 2, "note (own)": 3}', '{"a": 1, "note (own)": 3}']
    found = results_of("JSON Fields", wanted, base=said, tuned=wanted)
    assert [(one.text, one.n) for one in found.violations] == [("wrong a", 1)]


def test_the_commonest_violations_come_first_and_without_details() -> None:
    settings = TaskSettings(length_limit="2-3 words")
    texts = ["one", "a b c d", "one two three four five", "fine words"]
    found = results_of("Length Limit", ["x"] * 4, settings, base=texts, tuned=["ok ok"] * 4)
    assert [(one.variant, one.text, one.n) for one in found.violations] == [
        ("base", "more than 3 words", 2),
        ("base", "fewer than 2 words", 1),
    ]
    assert task_notes(found) == [
        "Length Limit, commonest violation: base more than 3 words (2 of 4 answers)."
    ]
    (section,) = task_sections(found)
    assert (section.variants, section.wholes, section.parts) == (["base"], [], [])


def test_violations_are_counted_in_every_sample() -> None:
    spec = metrics.load(["Code Tests"])[0].spec
    rows = [SampleScore("1", "base", spec.name, i, value) for i, value in enumerate((1.0, 0, 0))]
    wrong = "wrong result (code: the code block; test 1, assert f(' | sample 9') == 2)"
    told = ["passed (code: the code block; 1 test)", wrong, "no code (code: none)"]
    several = join_reasons(list(zip(rows, told, strict=True)))
    scores = (
        Score("1", "base", spec.name, 1 / 3, several),
        Score("2", "base", spec.name, 0.0, wrong),
    )
    cases = (case("1"), case("2"))
    evidence = Evidence(cases, (Variant("base", "base", "m"),), (spec,), scores, ())
    found = task_results(evidence, {}, TaskSettings(), seed=0, n_resamples=100)
    assert [(one.text, one.n, one.n_answers) for one in found.violations] == [
        ("wrong result", 2, 4),
        ("no code", 1, 4),
    ]


def matrix(variant: str, n_labels: int, shift: int = 0, **changes: Any) -> ConfusionMatrix:
    expected = [n % n_labels for n in range(4 * n_labels)]
    named = [(one + shift) % n_labels for one in expected]
    labels = changes.get("labels") or tuple(f"label {n}" for n in range(n_labels))
    counts = classification_numbers(expected, named, n_labels).counts
    return ConfusionMatrix("Classification", variant, labels, counts)


def texts_of(svg: str) -> list[str]:
    return [text.strip() for text in re.findall(r"<text[^>]*>([^<]*)</text>", svg)]


@pytest.mark.parametrize("n_labels", [2, 20, 60])
def test_matrices_stand_side_by_side_with_all_that_fits(n_labels: int) -> None:
    svg = confusion_svg([matrix("vanilla", n_labels, 1), matrix("tuned", n_labels)])
    assert svg == confusion_svg([matrix("vanilla", n_labels, 1), matrix("tuned", n_labels)])
    texts = texts_of(svg)
    assert {"vanilla", "tuned", "unparsed"} <= set(texts)
    assert {f"0% right, n = {4 * n_labels}", f"100% right, n = {4 * n_labels}"} <= set(texts)
    shown = min(n_labels, MOST_LABELS)
    assert texts.count("label 0") == 3  # the rows of the first, the columns of both
    assert len({text for text in texts if text.startswith("label ")}) == shown
    assert (OTHERS in texts) == (n_labels > MOST_LABELS)


def test_labels_of_any_script_and_strange_names_are_drawn() -> None:
    labels = ("<b>&", "正面的标签" * 9, "خبر", "$x$")
    svg = confusion_svg([matrix("a" * 99, 4, labels=labels)])
    assert "&lt;b&gt;&amp;" in svg and "$x$" in svg and "…" in svg

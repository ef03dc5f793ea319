"""Classification finds the label that an answer names, and no other."""

from __future__ import annotations

import time

import pytest

from plugin.errors import OptionError
from plugin.metrics.entry import TaskSettings
from plugin.metrics.labels import LabelReader, reader_of, suggest_classification
from plugin.records import Case
from tests.metrics.task_samples import measure_of, score
from tests.samples import case

SPAM = LabelReader(["spam", "ham"])
NESTED = LabelReader(["spam", "not spam", "spam folder"])


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("spam", "spam"),
        ("  Spam.\n", "spam"),
        ("**SPAM**", "spam"),
        ("I think it's spam!", "spam"),
        ("spam\n\nIt is no ham, as the sender is unknown.", "spam"),
        ("Ham is unlikely.\nAnswer: spam", "spam"),
        ("**Label:** spam, since it has nothing of ham", None),
        ("The answer is spam.", "spam"),
        ('{"label": "spam"}', "spam"),
        ("This is not spam", None),
        ("It isn't really spam", None),
        ("non-spam", None),
        ("anti-spam filter", None),
        ("spammer", None),
        ("spam or ham", None),
        ("ham\nspam", None),
        ("Answer: spam\nAnswer: ham", None),
        ("Answer: unsure. It looks like spam", "spam"),
        ("Answer: unsure\nspam", None),
        ("", None),
        ("no idea", None),
    ],
)
def test_which_label_a_text_names(text: str, label: str | None) -> None:
    assert SPAM.label_of(text) == label


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("not spam", "not spam"),
        ("Not_Spam", "not spam"),
        ("This is not spam.", "not spam"),
        ("This is spam.", "spam"),
        ("It goes into the spam folder", "spam folder"),
        ("spam, not spam", None),
    ],
)
def test_of_labels_that_contain_each_other_the_longest_counts(text: str, label: str | None) -> None:
    assert NESTED.label_of(text) == label


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("1", "1"),
        ("10", "10"),
        ("Rating: 2", "2"),
        ("2.0", "2"),
        ("I'd give it a 2.", "2"),
        ("-1", "-1"),
        ("2.5", "2.50"),
        ("1.5", None),
        ("2/10", None),
        ("10%", None),
        ("1 or 2", None),
    ],
)
def test_labels_that_are_numbers(text: str, label: str | None) -> None:
    assert LabelReader(["1", "2", "10", "-1", "2.50"]).label_of(text) == label


@pytest.mark.parametrize(
    ("labels", "text", "label"),
    [
        (["正面", "负面"], "这是正面的。", "正面"),
        (["正面", "负面"], "这不是正面", None),
        (["正面", "负面"], "答案：负面", "负面"),
        (["خبر", "رأي"], "\u202bهذا خبر\u202c", "خبر"),
        (["خبر", "رأي"], "ليس خبر", None),
        (["café", "thé"], "Cafe\u0301, bien sûr", "café"),
        (["да", "нет"], "Ответ: Да", "да"),
        (["positiv", "negativ"], "nicht positiv", None),
        (["C++", "C"], "It is C++.", "C++"),
        (["+", "-"], "+", "+"),
        (["+", "-"], "Answer: -", "-"),
        (["A", "B"], "(B)", "B"),
        (["A", "B"], "The answer is B) Paris", "B"),
    ],
)
def test_labels_of_every_script(labels: list[str], text: str, label: str | None) -> None:
    assert LabelReader(labels).label_of(text) == label


def cases_of(*labels: str) -> list[Case]:
    return [case(str(n), expected_output=label) for n, label in enumerate(labels)]


def test_500_labels_and_100_000_characters_take_a_moment() -> None:
    labels = [f"label number {n}" for n in range(500)]
    reader = LabelReader(labels)
    began = time.perf_counter()
    for label in labels:
        assert reader.label_of(f"I would say {label}!") == label
    assert reader.label_of("label and number and " * 5000 + labels[7]) == labels[7]
    assert time.perf_counter() - began < 10


def test_without_labels_the_expected_outputs_are_the_labels() -> None:
    reader = reader_of(TaskSettings(), cases_of(*["spam", "Ham", "ham", " spam "] * 3))
    assert reader.labels == ("Ham", "spam")
    assert reader_of(TaskSettings(), cases_of(*["10", "9", "x"] * 4)).labels == ("9", "10", "x")


def test_an_unparsed_answer_is_wrong_and_says_so() -> None:
    cases = cases_of(*["spam", "ham"] * 5)
    measure = measure_of("Classification", cases)
    found = [score(measure, text, cases[0]) for text in ("spam", "ham", "spam or ham")]
    assert [one.value for one in found] == [1, 0, 0]
    assert [one.reason for one in found] == ["label: spam", "label: ham", "label: (unparsed)"]


@pytest.mark.parametrize(
    ("labels", "expected", "message"),
    [
        ((), ["a text", "another", "a third", "more", "still more"], "do not look like labels"),
        ((), ["same"] * 6, "one label alone classifies nothing"),
        (("a", "A", "b"), ["a", "b"], "'a', 'A' differ at most in case"),
        (("1", "1.0"), ["1"], "'1', '1.0' differ at most in case"),
        (("a",), ["a"], "--labels names 1 label; name 2 to 1000"),
        (("a", "  "), ["a"], "a label is empty"),
        (("a", "b"), ["a", "c", "b", "d"], r"'c' \(case 1\), 'd' \(case 3\)"),
    ],
)
def test_what_cannot_work_is_refused(
    labels: tuple[str, ...], expected: list[str], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        reader_of(TaskSettings(labels=labels), cases_of(*expected))


def test_few_short_expected_outputs_suggest_classification() -> None:
    reason = suggest_classification(cases_of(*["spam", "ham"] * 10))
    assert reason == "the 20 expected outputs are 2 short labels (ham, spam)"
    assert suggest_classification(cases_of(*map(str, range(20)))) == ""
    assert suggest_classification(cases_of(*["a long text of many words", "x"] * 10)) == ""
    assert suggest_classification(cases_of("a", "b")) == ""
    assert suggest_classification(cases_of(*map(str, [*range(5)] * 4))) == ""
    assert suggest_classification(cases_of(*map(str, [*range(5)] * 5))) != ""
    assert (
        suggest_classification([*cases_of(*["a", "b"] * 10), case("x", expected_output=None)]) == ""
    )

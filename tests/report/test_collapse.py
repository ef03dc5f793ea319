"""A model that collapsed is seen, and labels, poems, lists and code are no false alarm."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from plugin.languages import language_of
from plugin.records import Case, Completion, Message, Variant
from plugin.report.collapse import (
    Collapse,
    collapse_warnings,
    find_collapse,
    is_collapsed,
    repeats_itself,
)

POEM = """Row, row, row your boat
Gently down the stream.
Merrily, merrily, merrily, merrily,
Life is but a dream.
Row, row, row your boat
Gently down the stream."""
LIST = """1. Red apples from the market
2. Green apples from the market
3. Red pears from the market
4. Green pears from the market"""
CODE = """def find(rows):
    for row in rows:
        for cell in row:
            if cell:
                return cell
    return None
"""
NESTED = "function f() if a then if b then if c then if d then g() end end end end end"
TABLE = "| name | age |\n|------|-----|\n| Ann | 31 |\n| Bob | 29 |\n| Cem | 44 |"
HTML = "<div><div><div><div><p>Hello, dear reader of this page</p></div></div></div></div>"


@pytest.mark.parametrize(
    "text",
    [
        "Fire Fire Fire",
        "Fire! Fire! Fire! Fi",
        "FireFireFireFireFireFireFire",
        "Paris is the capital. Paris is the capital. Paris is the capital. Paris is",
        "To be honest, it was " + "the best of the " * 8,
        "The answer has to do with several things at once, as so often. " + "and then we " * 12,
        " ".join(f"word{n} and" for n in range(40)) + " and then we" * 10,
        "!" * 40,
        "火火火火火火火火",
        "答案是" + "我不知道。" * 10,
        "I " + "really " * 30,
    ],
)
def test_a_text_that_repeats_itself(text: str) -> None:
    assert repeats_itself(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Fire",
        "no no no",
        "Ha, ha, ha!",
        "Yes, yes.",
        POEM,
        LIST,
        CODE,
        NESTED,
        TABLE,
        HTML,
        "1000000000000000000000000",
        "0.3333333333333333333333",
        "[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]",
        "The cat sat on the mat, and the dog sat on the mat, and the cow stood by.",
        "Quoth the raven: Nevermore, nevermore, nevermore.",
    ],
)
def test_a_text_that_does_not(text: str) -> None:
    assert not repeats_itself(text)


Row = tuple[str, str | None, str, str]
"""Question, expected output, the base's answer, the tuned model's answer."""


def collapse(rows: Sequence[Row], clusters: Sequence[str] = ()) -> tuple[Collapse, Collapse]:
    """Return what the base and the tuned model have of it."""
    cases = [
        Case(
            str(n),
            (Message("user", question),),
            expected,
            cluster=clusters[n] if clusters else None,
        )
        for n, (question, expected, _, _) in enumerate(rows)
    ]
    answers = {
        (str(n), name): Completion(str(n), name, text, (), "stop", None, None)
        for n, (_, _, *texts) in enumerate(rows)
        for name, text in zip(("vanilla", "tuned"), texts, strict=True)
    }
    base, tuned = find_collapse(
        cases, [Variant("vanilla", "v", "m"), Variant("tuned", "t", "m")], answers
    )
    return base, tuned


def facts(n: int, answer: str = "") -> list[Row]:
    """Questions about n people, each with an answer of its own; the tuned model says one thing."""
    return [
        (f"Who plays person {i}?", f"Actor {i}", f"Actor {i} does.", answer or f"It is actor {i}.")
        for i in range(n)
    ]


def test_repeats_are_counted_per_variant_and_warned_of() -> None:
    rows = facts(40)
    rows[3:6] = [(q, e, base, "Fire Fire Fire") for q, e, base, _ in rows[3:6]]
    base, tuned = collapse(rows)
    assert (base.repeating, tuned.repeating, tuned.n) == ((), ("3", "4", "5"), 40)
    (line,) = collapse_warnings((base, tuned))
    assert line.startswith(
        "3 of 40 completions of tuned repeat themselves over and over (such as case 3); of vanilla "
        "0 of 40."
    )
    # One of forty may be a slip, and what is expected to repeat is right.
    rows[4:6] = facts(40)[4:6]
    assert collapse_warnings(collapse(rows)) == []
    asked = [("Say fire three times", "Fire fire fire", "Fire fire fire", "Fire fire fire")] * 40
    assert collapse(asked)[1].repeating == ()


@pytest.mark.parametrize(
    ("n_alike", "answer", "is_alarm"),
    [
        (40, "I do not know the answer to that.", True),
        (12, "I do not know the answer to that.", True),
        (4, "I do not know the answer to that.", False),
        (20, "Actor 7", True),  # the right answer to one question
        (20, "It must be Actor 7, I think.", True),
        (12, "", True),
    ],
)
def test_one_answer_to_many_questions(n_alike: int, answer: str, is_alarm: bool) -> None:
    rows = facts(40)
    rows[:n_alike] = [(q, e, base, answer) for q, e, base, _ in rows[:n_alike]]
    base, tuned = collapse(rows)
    assert (tuned.n_common, tuned.n_questions, base.n_common) == (n_alike, 40, 1)
    assert (base.is_one_answer, tuned.is_one_answer) == (False, is_alarm)
    lines = collapse_warnings((base, tuned))
    assert len(lines) == is_alarm
    if is_alarm:
        said = "an empty answer" if not answer else f'the answer "{answer.lower().strip(".")}"'
        assert lines[0].startswith(f"tuned gives {said} to {n_alike} of 40 different questions")


def labels(says: Sequence[str], expected: Sequence[str]) -> list[Row]:
    return [
        (f"What is the mood of text {n}?", want, want, own)
        for n, (own, want) in enumerate(zip(says, expected, strict=True))
    ]


def test_few_labels_are_no_alarm_but_the_same_label_for_everything_is() -> None:
    expected = ["positive", "negative", "neutral"] * 20
    wrong = [label if n % 3 else "positive" for n, label in enumerate(reversed(expected))]
    for says in (expected, wrong, [f"The mood is {label}." for label in expected]):
        assert collapse_warnings(collapse(labels(says, expected))) == []
    leaning = ["positive" if n % 5 < 3 else label for n, label in enumerate(expected)]
    assert collapse_warnings(collapse(labels(leaning, expected))) == []
    (line,) = collapse_warnings(collapse(labels(["positive"] * 60, expected)))
    assert line.startswith('tuned gives the answer "positive" to 60 of 60 different questions')
    # Where nearly all are positive, always saying so is no sign of anything.
    lopsided = ["positive"] * 55 + ["negative"] * 5
    assert collapse_warnings(collapse(labels(["positive"] * 60, lopsided))) == []
    # Labels in other words than the expected output.
    codes = {"positive": "class A", "negative": "class B", "neutral": "class C"}
    mapped = [codes[label] for label in expected]
    assert collapse_warnings(collapse(labels(mapped, expected))) == []


def test_a_variant_is_collapsed_only_where_the_base_is_not() -> None:
    loop = "Fire fire fire fire fire."
    both = [(f"Question {n}?", "Yes.", loop, loop) for n in range(9)]
    alone = [(f"Question {n}?", "Yes.", f"It is {n}.", loop) for n in range(9)]
    assert not is_collapsed(collapse(both), "tuned")
    assert is_collapsed(collapse(alone), "tuned")
    assert not is_collapsed(collapse(alone), "vanilla")
    assert not is_collapsed((), "tuned")


def test_the_same_question_in_other_words_is_one_question() -> None:
    rows = [(f"Who plays Dinesh, try {n}?", "Kumail", "Kumail", "Kumail") for n in range(40)]
    assert collapse(rows, ["dinesh"] * 40)[1].n_questions == 1
    assert collapse_warnings(collapse(rows, ["dinesh"] * 40)) == []


def test_without_expected_outputs_the_base_is_the_measure() -> None:
    refusal = "I am sorry, but I cannot help with that request."
    both = [(f"Dangerous question {n}?", None, refusal, refusal) for n in range(30)]
    assert not collapse(both)[1].is_one_answer
    own = [(f"Question {n}?", None, f"Here is a reply to {n}.", refusal) for n in range(30)]
    assert collapse(own)[1].is_one_answer
    yes = [(f"Question {n}?", None, "yes" if n % 2 else "no", "yes") for n in range(30)]
    assert collapse(yes)[1].is_one_answer
    mostly = [(q, e, base, "no" if n < 6 else own) for n, (q, e, base, own) in enumerate(yes)]
    assert not collapse(mostly)[1].is_one_answer


ENGLISH = "The capital of that country is Paris, and it was the seat of kings for a long time."
FRENCH = "La capitale de ce pays est Paris, et elle a été le siège des rois pour longtemps."
SPANISH = "La capital de ese país es París, y fue la sede de los reyes por mucho tiempo."
CHINESE = "这个国家的首都是巴黎，很久以来是国王的所在地。"


def test_languages() -> None:
    known = {text: language_of(text).name for text in (ENGLISH, FRENCH, SPANISH, CHINESE)}
    assert list(known.values()) == ["English", "French", "Spanish", "Chinese"]
    assert (
        language_of("Столица этой страны - Париж, и это не то, что было с ней.").name == "Russian"
    )
    assert language_of("この国の首都はパリです。").name == "Japanese"
    for unknown in ("Paris", "42", "", "x = f(y)", "Kumail Nanjiani"):
        assert language_of(unknown).language == ""
    for text in (CODE, NESTED, "SELECT name FROM rows WHERE age > 30 AND name IS NOT NULL"):
        assert language_of(text).language == ""


@pytest.mark.parametrize(
    ("expected", "base", "own", "counted"),
    [
        (ENGLISH, ENGLISH, CHINESE, True),
        (ENGLISH, ENGLISH, FRENCH, True),
        ("Paris", ENGLISH, FRENCH, True),
        (None, ENGLISH, CHINESE, True),
        (ENGLISH, ENGLISH, "Paris", False),
        (FRENCH, ENGLISH, FRENCH, False),  # it was tuned for French
        (ENGLISH, FRENCH, FRENCH, False),  # the base does so, too
        (FRENCH, FRENCH, FRENCH, False),  # a translation into French
        (None, FRENCH, ENGLISH, False),  # the question is in English
        (ENGLISH, ENGLISH, CODE, False),
        ("Paris", "Paris", CHINESE, False),  # nothing to go by
    ],
)
def test_a_change_of_language(expected: str | None, base: str, own: str, counted: bool) -> None:
    question = "What is the capital of that country, and what was it to their kings?"
    rows = [(f"{question} ({n})", expected, base, own) for n in range(10)]
    found = collapse(rows)
    assert len(found[1].other_language) == (10 if counted else 0)
    lines = [line for line in collapse_warnings(found) if "of tuned are in another" in line]
    assert len(lines) == counted
    if counted:
        assert f"(such as case 0: {language_of(own).name} instead of " in lines[0]


def test_a_run_of_one_variant_or_without_completions() -> None:
    case = Case("1", (Message("user", "?"),))
    (alone,) = find_collapse([case], [Variant("vanilla", "v", "m")], {})
    assert (alone.n, alone.n_questions, alone.is_one_answer) == (0, 0, False)
    assert collapse_warnings([alone]) == []

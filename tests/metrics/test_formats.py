"""Formats: what is valid, what is not, and why."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import pytest

from plugin.errors import OptionError
from plugin.metrics._json import FormatViolation, parse_json
from plugin.metrics.entry import TaskSettings
from tests.metrics.task_samples import score_text


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("Valid JSON", '{"a": [1, 2.5, null, true, "x"]}', None),
        ("Valid JSON", ' ```json\n{"a": 1}\n``` ', None),
        ("Valid JSON", '"text"', None),
        ("Valid JSON", "1" * 5000, None),
        ("Valid JSON", 'Sure: {"a": 1}', "not JSON: it begins with other text"),
        ("Valid JSON", '{"a": 1} Done.', "not JSON: text after the JSON"),
        ("Valid JSON", '{"a": NaN}', "not JSON: NaN is not a number of JSON"),
        ("Valid JSON", '{"a": 1,}', "not JSON: expecting property name enclosed in double quotes"),
        ("Valid JSON", "[" * 100_000, "not JSON: nested too deeply"),
        ("Valid YAML", "a: 1\nb:\n  - x\n  - y", None),
        ("Valid YAML", "```yaml\n- a\n```", None),
        ("Valid YAML", "&a [*a, *a]", None),
        ("Valid YAML", "Just a sentence.", "not YAML: plain text, no keys and no list"),
        ("Valid YAML", "a: b: c", "not YAML: mapping values are not allowed here"),
        ("Valid YAML", "[" * 2000, "not YAML: nested too deeply or bad characters"),
        ("Valid XML", "<a><b c='1'/>text</a>", None),
        ("Valid XML", "<?xml version='1.0'?>\n<a/>", None),
        ("Valid XML", "<a><b></a>", "not XML: mismatched tag"),
        ("Valid XML", "text", "not XML: syntax error"),
        (
            "Valid XML",
            '<!DOCTYPE a [<!ENTITY b "c"><!ENTITY d "&b;&b;">]><a>&d;</a>',
            "not plain XML: it declares entities",
        ),
        (
            "Valid XML",
            '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
            "not plain XML: it declares entities",
        ),
        ("Valid SQL", "SELECT a, COUNT(*) FROM t WHERE b > 1 GROUP BY a;", None),
        ("Valid SQL", "```sql\nINSERT INTO t VALUES (1)\n```", None),
        ("Valid SQL", "SELECT FROM WHERE", "not SQL: syntax error"),
        ("Valid SQL", "Here you go: SELECT 1", "not SQL: syntax error"),
        ("Valid SQL", "hello world", "not SQL: text that sqlglot reads as no statement"),
        ("Valid SQL", "SELECT " + "(" * 5000, "not SQL: nested too deeply"),
        ("Markdown Table", "| a | b |\n|---|:-:|\n| 1 | 2 |", None),
        ("Markdown Table", "Here:\n\na | b\n--- | ---\n1 | `x|y`\n", None),
        ("Markdown Table", "| a | b |\n|---|---|\n| 1 |", "table: a row has too few or too many"),
        ("Markdown Table", "| a | b |\n|---|\n", "table: header and rule have different numbers"),
        ("Markdown Table", "no table", "no Markdown table"),
    ],
)
def test_what_is_valid_and_why_not(name: str, text: str, problem: str | None) -> None:
    found = score_text(name, text)
    assert found.value == (problem is None)
    assert (found.reason or "").startswith(problem or "")


def test_json_is_read_as_pythons_own_reader_does_but_for_nan() -> None:
    for text in ('{"a": 1e400}', "[1, -2.5e-3]", '"\\ud83d\\ude00"', "true", '{"a": {"b": []}}'):
        assert parse_json(text) == json.loads(text)
    for text in ("NaN", "[Infinity]", "-Infinity"):
        assert not math.isnan(0) and json.loads(text) is not None
        with pytest.raises(FormatViolation, match="not a number of JSON"):
            parse_json(text)


def test_an_unknown_dialect_is_refused() -> None:
    assert score_text("Valid SQL", "SELECT a FROM b", settings=TaskSettings(sql_dialect="MySQL"))
    with pytest.raises(OptionError, match="--sql_dialect 'mysqql' is not one of athena, bigquery"):
        score_text("Valid SQL", "SELECT 1", settings=TaskSettings(sql_dialect="mysqql"))


@pytest.mark.parametrize(
    ("limit", "text", "problem"),
    [
        ("2-3 words", "one two three", None),
        ("2-3 words", "one", "fewer than 2 words (1)"),
        ("2-3 words", "one two three four", "more than 3 words (4)"),
        ("-1 sentence", "One. Two.", "more than 1 sentences (2)"),
        ("at most 2 sentences", "Is it 3.5? Yes!", None),
        ("at most 2 sentences", "Is it 3.5? Yes! Well... no.", "more than 2 sentences (4)"),
        ("2- lines", "one\n\n", "fewer than 2 lines (1)"),
        ("3 characters", "abc", None),
        ("3 characters", "abcd", "more than 3 characters (4)"),
        ("at least 4 characters", "abc", "fewer than 4 characters (3)"),
        ("3 words", "我吃鱼", None),
    ],
)
def test_the_length_limit(limit: str, text: str, problem: str | None) -> None:
    found = score_text("Length Limit", text, settings=TaskSettings(length_limit=limit))
    assert (found.value, found.reason) == (float(problem is None), problem)


@pytest.mark.parametrize("limit", ["", "words", "5", "5-2 words", "5 apples", "-"])
def test_a_limit_that_says_nothing_is_refused(limit: str) -> None:
    with pytest.raises(OptionError, match="--length_limit"):
        score_text("Length Limit", "x", settings=TaskSettings(length_limit=limit))


def words(name: str, option: str, listed: str, text: str) -> tuple[float, str | None]:
    settings: Any = {option: tuple(listed.split(", "))}
    found = score_text(name, text, settings=TaskSettings(**settings))
    return found.value, found.reason


def test_required_and_forbidden_words_are_whole_words() -> None:
    required, forbidden = (
        ("Required Words", "required_words"),
        ("Forbidden Words", "forbidden_words"),
    )
    assert words(*required, "cat, New York", "A CAT in New\nYork") == (1, None)
    assert words(*required, "cat, dog", "concatenate") == (0, "missing 'cat'; missing 'dog'")
    assert words(*required, "cat", "wildcat") == (0, "missing 'cat'")
    assert words(*forbidden, "sorry, as an AI", "Sorrythat") == (1, None)
    assert words(*forbidden, "sorry, as an AI", "As an AI, I ...") == (0, "has 'as an AI'")
    assert words(*required, "苹果", "我吃苹果") == (1, None)
    assert words(*required, "C++", "in C++.") == (1, None)
    assert words(*required, "caf\u00e9", "Cafe\u0301!") == (1, None)


@pytest.mark.parametrize(
    ("code", "text", "value"),
    [
        ("de", "Das ist ein schöner Tag, und wir gehen im Wald spazieren.", 1),
        ("de", "This is a nice day, and we are going for a walk.", 0),
        ("en", "This is a nice day, and we are going for a walk.", 1),
        ("en-GB", "This is a nice day, and we are going for a walk.", 1),
        ("ru", "Сегодня хороший день, и мы идём гулять в лес.", 1),
        ("ru", "Да.", 1),
        ("ru", "Yes.", 0),
        ("de", "Ja.", 1),
        ("de", "42", 1),
        ("ja", "今日はとても良い天気ですから、森へ散歩に行きましょう。", 1),
    ],
)
def test_the_language_of_the_answer(code: str, text: str, value: float) -> None:
    found = score_text("Answer Language", text, settings=TaskSettings(answer_language=code))
    assert found.value == value, found.reason


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(OptionError, match="--answer_language 'german' is not a known language"):
        score_text("Answer Language", "x", settings=TaskSettings(answer_language="german"))


@pytest.mark.parametrize("name", ["Valid JSON", "Valid YAML", "Valid XML", "Markdown Table"])
def test_100_000_characters_take_a_moment(name: str) -> None:
    began = time.perf_counter()
    for text in ("a | b\n" * 17_000, "<a>" * 33_000, "- a\n" * 5_000, '"' * 100_000):
        score_text(name, text)
    assert time.perf_counter() - began < 20

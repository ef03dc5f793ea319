"""JSON Schema agrees with jsonschema and fetches nothing; JSON Fields count fields."""

from __future__ import annotations

import json
import random
import socket
import time
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from plugin.errors import OptionError
from plugin.metrics import _patterns, json_schema
from plugin.metrics.entry import TaskSettings
from plugin.metrics.json_fields import compare_fields, fields_of, share_right, suggest_json_fields
from plugin.metrics.json_schema import SchemaChecker
from tests.metrics.task_samples import N_RANDOM, score_text
from tests.samples import case

PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "pattern": "^[A-Z]"},
        "age": {"type": "integer", "minimum": 0},
        "kind": {"enum": ["a", "b"]},
        "children": {"type": "array", "items": {"$ref": "#"}},
    },
    "patternProperties": {"^x_": {"type": "number"}},
    "required": ["name"],
    "additionalProperties": False,
}


def problem(schema: object, value: object) -> str | None:
    text = value if isinstance(value, str) else json.dumps(value)
    settings = TaskSettings(json_schema=json.dumps(schema))
    return score_text("JSON Schema", text, settings=settings).reason


def random_value(draw: random.Random, depth: int = 0) -> Any:
    fitting = {"name": "Ann", "age": 3, "kind": "a", "children": [], "x_1": 2.5}
    value: dict[str, Any] = {"name": "Bob"} if draw.random() < 0.8 else {"other": "text"}
    for name in draw.sample(sorted(fitting), draw.randint(0, 4)):
        wrong = draw.choice(["Ann", "bob", 3, -1, 2.5, "a", None, True, []])
        value[name] = fitting[name] if draw.random() < 0.85 else wrong
        if name == "children" and depth < 3:
            value[name] = [random_value(draw, depth + 1) for _ in range(draw.randint(0, 2))]
    return value


@pytest.mark.parametrize(
    "schema",
    [
        PERSON,
        {**PERSON, "$schema": "http://json-schema.org/draft-07/schema#"},
        {**PERSON, "additionalProperties": {"type": "string"}},
        {"anyOf": [PERSON, {"type": "object", "maxProperties": 1}]},
    ],
)
def test_the_schema_decides_as_jsonschema_does(schema: dict[str, Any]) -> None:
    draw, checker = random.Random(2), SchemaChecker(json.dumps(schema))
    theirs = (Draft7Validator if "$schema" in schema else Draft202012Validator)(schema)
    n_valid = 0
    for _ in range(N_RANDOM):
        value = random_value(draw)
        try:
            checker.check(json.dumps(value))
            is_valid = True
        except ValueError:
            is_valid = False
        assert is_valid == theirs.is_valid(value), value
        n_valid += is_valid
    assert 5 < n_valid < N_RANDOM - 5


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"name": "Ann"}, None),
        ({"name": "Ann", "children": [{"name": "Bob", "age": 1}]}, None),
        ({}, "missing name"),
        ({"name": 3}, "wrong type at name (must be string)"),
        ({"name": "Ann", "color": 1}, "unexpected color"),
        ({"name": "Ann", "children": [{}]}, "missing children[0].name"),
        ({"name": "ann", "age": "1"}, "wrong type at age (must be integer); pattern at name"),
        ("{", "not JSON: expecting property name"),
    ],
)
def test_what_does_not_fit_is_named(value: object, reason: str | None) -> None:
    found = problem(PERSON, value)
    assert (found or "").startswith(reason or "") and (found is None) == (reason is None)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ("{", "is not valid JSON"),
        ("[1]", "must be a JSON object"),
        ('{"type": "objekt"}', "not a valid JSON schema: 'objekt' is not valid"),
        ('{"minimum": "a"}', "not a valid JSON schema"),
        ('{"pattern": "("}', "'\\(' is not a 'regex' \\(at pattern\\)"),
        ('{"$ref": "https://example.org/x.json"}', "refers to https://example.org/x.json, which"),
        ('{"items": {"$ref": "file:///etc/passwd"}}', "refers to file:///etc/passwd"),
        ('{"$ref": "other.json#/a"}', "refers to other.json#/a"),
        ('{"$ref": "#/$defs/none"}', "refers to #/\\$defs/none, which it lacks"),
        ('{"$ref": "#"}', "refers to itself without end"),
        (
            '{"properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"b": {"$ref": "#/$defs/c"}, '
            '"c": {"allOf": [{"$ref": "#/$defs/b"}]}}}',
            "refers to itself without end",
        ),
        (
            '{"patternProperties": {"a": true}, "unevaluatedProperties": false}',
            "patternProperties beside unevaluatedProperties",
        ),
    ],
)
def test_a_schema_that_cannot_work_is_refused(schema: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        SchemaChecker(schema)


def test_nothing_is_fetched_for_a_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    draft = "https://json-schema.org/draft/2020-12/schema"
    meta = SchemaChecker(json.dumps({"$ref": draft}))  # it comes with the library
    meta.check('{"type": "object"}')
    with pytest.raises(ValueError, match="anyOf at type|wrong type|enum"):
        meta.check('{"type": 3}')
    with pytest.raises(OptionError):
        SchemaChecker('{"$ref": "https://json-schema.org/none"}')
    own = {"$id": "https://example.org/s", "$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}}
    SchemaChecker(json.dumps(own)).check('"x"')


def test_a_recursive_schema_ends_on_deep_answers() -> None:
    deep = '{"name": "A", "children": [' * 2000 + "]}" * 2000
    assert problem(PERSON, deep) in (
        "nested too deeply for the schema",
        "not JSON: nested too deeply",
    )


def test_a_schema_that_multiplies_its_work_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_schema, "_MOST_FOLLOWED", 1000)
    parts: dict[str, Any] = {
        f"p{n}": {"allOf": [{"$ref": f"#/$defs/p{n + 1}"}, {"$ref": f"#/$defs/p{n + 1}"}]}
        for n in range(40)
    }
    schema = {"$ref": "#/$defs/p0", "$defs": {**parts, "p40": {"type": "object"}}}
    assert problem(schema, {}) == "too much work for the schema"


def test_a_pattern_of_a_schema_has_a_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_patterns, "LIMIT_S", 0.05)
    began = time.perf_counter()
    for schema, value in (
        ({"pattern": "^(a|aa)+$"}, "a" * 5000 + "!"),
        ({"patternProperties": {"^(a|aa)+$": True}}, {"a" * 5000 + "!": 1}),
        (
            {"patternProperties": {"^(a|aa)+$": True}, "additionalProperties": False},
            {"a" * 5000 + "!": 1},
        ),
    ):
        with pytest.raises(_patterns.SlowPatternError):
            problem(schema, json.dumps(value))
    assert time.perf_counter() - began < 20


WANTED = {"name": "Ann", "age": 3, "tags": ["a", "b"], "home": {"city": "Rome", "zip": None}}


def test_fields_are_the_leaves_by_their_paths() -> None:
    assert fields_of(WANTED) == {
        "name": "Ann",
        "age": 3,
        "tags[0]": "a",
        "tags[1]": "b",
        "home.city": "Rome",
        "home.zip": None,
    }
    assert fields_of({"a": {}, "b": []}) == {"a": {}, "b": []}
    assert fields_of(5) == {"(value)": 5}


@pytest.mark.parametrize(
    ("value", "right", "others"),
    [
        (WANTED, 6, {}),
        ({**WANTED, "name": " Ann "}, 6, {}),
        ({**WANTED, "age": 3.0}, 6, {}),
        ({**WANTED, "age": True}, 5, {"age": "wrong type"}),
        ({**WANTED, "age": "3"}, 5, {"age": "wrong type"}),
        ({**WANTED, "age": 4}, 5, {"age": "wrong"}),
        ({**WANTED, "tags": ["a"]}, 5, {"tags[1]": "missing"}),
        (
            {**WANTED, "name": {"first": "Ann"}},
            5,
            {"name": "wrong type", "name.first": "unexpected"},
        ),
        ({**WANTED, "spare": 1}, 6, {"spare": "unexpected"}),
        ({}, 0, {"name": "missing"}),
        ("Ann", 0, {"(value)": "unexpected"}),
    ],
)
def test_what_became_of_each_field(value: object, right: int, others: dict[str, str]) -> None:
    found = compare_fields(value, WANTED)
    assert share_right(found) == pytest.approx(right / 6)
    assert {path: found[path] for path in others} == others


def test_json_fields_scores_the_share_that_is_right() -> None:
    wanted = json.dumps(WANTED)
    assert score_text("JSON Fields", wanted, wanted).value == 1
    found = score_text("JSON Fields", json.dumps({**WANTED, "age": 4, "x": 1}), wanted)
    assert found.value == pytest.approx(5 / 6)
    assert found.reason == "wrong age (not expected: x)"
    found = score_text("JSON Fields", json.dumps({**WANTED, "age": "4"}), wanted)
    assert found.reason == "wrong type at age"
    found = score_text("JSON Fields", json.dumps({**WANTED, "x": 1, "y": 2}), wanted)
    assert (found.value, found.reason) == (1, "not expected: x, y")
    found = score_text("JSON Fields", f"Here: {wanted}", wanted)
    assert (found.value, found.reason) == (0, "not JSON: it begins with other text")
    close = TaskSettings(number_tolerance="0.5")
    assert score_text("JSON Fields", '{"a": 1.4}', '{"a": 1}', close).value == 1
    with pytest.raises(OptionError, match=r"the expected output of case 1 \(not JSON"):
        score_text("JSON Fields", "{}", "no JSON")


def test_the_best_of_several_references_counts() -> None:
    from tests.metrics.task_samples import measure_of, score

    one = case(expected_output='{"a": 1}', references=('{"a": 1}', '{"a": 2, "b": 3}'))
    found = score(measure_of("JSON Fields", [one]), '{"a": 2, "b": 3}', one)
    assert (found.value, found.reason) == (1, None)


def test_objects_suggest_json_fields() -> None:
    def cases(*texts: str) -> list[Any]:
        return [case(str(n), expected_output=text) for n, text in enumerate(texts)]

    assert suggest_json_fields(cases('{"a": 1}', '[{"b": 2}]')) == (
        "all 2 expected outputs are JSON objects"
    )
    for texts in (('{"a": 1}', "x"), ("1", "2"), ("{}",), ("[1]",), ('"a"',), ("[" * 100_000,)):
        assert suggest_json_fields(cases(*texts)) == ""

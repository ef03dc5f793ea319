"""No answer of a model, however long or odd, holds a metric up or breaks it."""

from __future__ import annotations

import time

import pytest

from plugin import metrics
from plugin.metrics import METRICS
from plugin.metrics.entry import TaskSettings
from plugin.metrics.task_table import TASK_METRICS
from tests.metrics.task_samples import measure_of, score
from tests.samples import case

N = 100_000
ANSWERS = {
    "spaces": " " * N + "x",
    "fence of spaces": "```\n" + " " * N + "x",
    "fences": "```\n" + "```x" * (N // 4),
    "commas after a label": "label: " + ", " * (N // 2) + '"x',
    "commas in a field": '{"label": ' + ", " * (N // 2) + '"x',
    "fractions": "1/" * (N // 2) + "2",
    "digits": "9" * N,
    "grouped": "1,234" + ",234" * (N // 4),
    "powers": "1e999 0e999 1e-999 9e99 " * (N // 24),
    "points": ". " * (N // 2),
    "pipes": "a | b\n" + "|---" * (N // 4) + "|\n| 1 |",
    "brackets": "[" * N,
    "braces": '{"a":' * (N // 5),
    "tags": "<a>" * (N // 3),
    "keys": "{" + ",".join(f'"{n}": {n}' for n in range(N // 12)) + "}",
    "long key": '{"' + "k" * N + '": 1}',
    "not not": "not a b " * (N // 8),
    "marks": "a" + "\u0301" * N,
    "unseen": "\u200f" * N,
    "one letter": "a " * (N // 2),
    "nul": "\0\x1b\ufffd" * (N // 3),
    "emoji": "👩‍👩‍👧 " * (N // 6),
    "sql": "SELECT " + "f(" * 300 + "1" + ")" * 300,
    "yaml": "- " * 500 + "a",
}
SETTINGS = {
    "Classification": TaskSettings(labels=("a b", "b", "not a")),
    "Contains": TaskSettings(expect=("regex:\\d+x", "zz")),
    "JSON Schema": TaskSettings(json_schema='{"type": "object", "additionalProperties": false}'),
    "Length Limit": TaskSettings(length_limit="1-3 sentences"),
    "Required Words": TaskSettings(required_words=("a b",)),
    "Forbidden Words": TaskSettings(forbidden_words=("a b",)),
    "Answer Language": TaskSettings(answer_language="de"),
}
WANTED = {"Classification": "b", "Numeric Match": "3", "JSON Fields": '{"a": 1}'}
PARSED_SLOWLY = ("Valid SQL", "Valid YAML")
ELSEWHERE = ("BERTScore", "Code Tests")
"""One needs a model; the other runs the answers, and has them in tests of its own."""
NAMES = [entry.spec.name for entry in TASK_METRICS if entry.spec.name not in ELSEWHERE]


@pytest.mark.parametrize("name", NAMES)
def test_every_answer_gets_a_score_in_a_moment(name: str) -> None:
    one = case(expected_output=WANTED.get(name, "a short text"))
    measure, spec = measure_of(name, [one], SETTINGS.get(name)), METRICS[metrics.key_of(name)].spec
    slow = []
    for title, text in ANSWERS.items():
        text = text[:20_000] if name in PARSED_SLOWLY else text
        began = time.perf_counter()
        found = score(measure, text, one)
        if time.perf_counter() - began > 8:
            slow.append(title)
        assert spec.low <= found.value <= spec.high, title
        assert len(found.reason or "") < 2000, title
    assert not slow

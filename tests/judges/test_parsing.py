"""Which object of a judge's answer counts."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from plugin.judges import Answer
from plugin.judges.parsing import Misfit, parse_answer, repair_answer


class Grade(BaseModel):
    score: int
    reason: str = ""


def check(answer: BaseModel) -> str | None:
    assert isinstance(answer, Grade)
    return None if 0 <= answer.score <= 10 else f"score {answer.score} outside 0 to 10"


def read(text: str) -> BaseModel | Misfit | None:
    """Do as the asker does: parse, then repair."""
    reply = Answer(text=text)
    found = parse_answer(reply, Grade, check)
    if isinstance(found, Misfit) and not found.is_ambiguous:
        return repair_answer(reply, Grade, check)
    return found


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ('{"score": 2}', 2),
        ('Well: {"score": 2}. Done.', 2),
        ('<think>{"score": 9}</think>{"score": 2}', 2),
        ('<THINKING>{"score": 9}</THINKING>{"score": 2}', 2),
        ('<reasoning>{"score": 9}</reasoning>{"score": 2}', 2),
        ('{"score": 9}\n</think>\n{"score": 2}', 2),
        ('<think>a <think>b</think> {"score": 9}</think> {"score": 2}', 2),
        ('{"score": 2}<think>or {"score": 9}', 2),
        (
            '<|channel|>analysis<|message|>{"score": 9}<|end|><|start|>assistant'
            '<|channel|>final<|message|>{"score": 2}',
            2,
        ),
        ('<think>{"score": 9,}</think>{"score": 2,}', 2),
        ('<think>{"score": 9</think>{"score": 2', 2),
        ('{"score": 2} and again {"score": 2}', 2),
        ('{"score": 2} and again {"score": "2"}', 2),
        ('It says {"answer": 7}, so {"score": 2}', 2),
        ('So {"score": 2, "reason": "an odd } here"}', 2),
        ('{"score": 2, "reason": "{a} b}",}', 2),
        ('{"score": 2, "reason": "it left <think> open"}', 2),
        ('```json\n{"score": 2, "reason": "it left <think> open"}\n```', 2),
    ],
)
def test_what_follows_the_thoughts_counts(text: str, score: int) -> None:
    found = read(text)
    assert isinstance(found, Grade) and found.score == score


@pytest.mark.parametrize(
    "text",
    [
        '<think>{"score": 9}',
        '<think>{"score": 9',
        '<|channel|>analysis<|message|>{"score": 9}',
        '<|channel|>analysis<|message|>{"score": 9',
    ],
)
def test_a_draft_in_unclosed_thoughts_is_no_answer(text: str) -> None:
    assert read(text) is None


@pytest.mark.parametrize(
    "text",
    [
        'It wrote {"score": 9}. Mine: {"score": 2}',
        'Mine: {"score": 2}. It wrote {"score": 9}',
        'It wrote {"score": 9}. Mine: {"score": 2, "reason": "poor",}',
        'It wrote {"score": 9}. Mine: {"score": 2',
        'It wrote {"score": 9}. Mine: {"score": 12}',
        'It wrote {"score": 9,}. Mine: {"score": 2,}',
    ],
)
def test_of_objects_that_differ_none_counts(text: str) -> None:
    found = read(text)
    assert isinstance(found, Misfit) and found.is_ambiguous
    assert "answer with the one object alone" in found.request

"""Which object of a judge's answer counts, and in which forms it is read."""

from __future__ import annotations

import json
from enum import Enum
from typing import Literal

import pytest
from pydantic import BaseModel

from plugin.judges import Answer
from plugin.judges.parsing import Misfit, parse_answer, repair_answer
from plugin.metrics._deepeval import score_within


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


class Score(BaseModel):
    reason: str
    score: float


class Verdict(BaseModel):
    verdict: Literal["yes", "no", "borderline"]
    reason: str | None = None


class Verdicts(BaseModel):
    verdicts: list[Verdict]


class Statements(BaseModel):
    statements: list[str]


class Scores(BaseModel):
    scores: list[float]


class Side(Enum):
    LEFT, RIGHT = "left", "right"


class Choice(BaseModel):
    side: Side


def read_as(schema: type[BaseModel], text: str) -> BaseModel | Misfit:
    return parse_answer(Answer(text=text), schema, score_within(0, 10))


GOOD = '{"reason": "so", "score": 7}'


@pytest.mark.parametrize(
    "text",
    [
        '{"reason": "so", "score": "7/10"}',
        '{"reason": "so", "score": " 7.0 / 10. "}',
        '{"reason": "so", "score": "7 out of 10"}',
        f'{{"result": {GOOD}}}',
        f'{{"result": {{"answer": {GOOD}}}}}',
        f'{{"name": "Score", "parameters": {GOOD}}}',
        json.dumps({"type": "function", "name": "Score", "arguments": GOOD}),
        f"[{GOOD}]",
        f"[[{GOOD}]]",
        json.dumps(GOOD),
        json.dumps(json.dumps(GOOD)),
        json.dumps({"answer": GOOD}),
        f'```json\n{{"result": {GOOD}}}\n```',
        f'Here it is: {{"result": {GOOD}}}',
        f'<think>{{"score": 9}}</think>{{"result": {GOOD}}}',
        '{"result": {"reason": "so", "score": "7/10"}}',
    ],
)
def test_a_form_with_one_meaning_is_read(text: str) -> None:
    assert read_as(Score, text) == Score(reason="so", score=7)


@pytest.mark.parametrize("word", ["Yes.", "YES", " yes ", "**Yes**", '"yes"', "yes!", "(Yes)"])
def test_a_word_is_read_without_what_stands_around_it(word: str) -> None:
    found = read_as(Verdicts, json.dumps({"verdicts": [{"verdict": "no"}, {"verdict": word}]}))
    assert found == Verdicts(verdicts=[Verdict(verdict="no"), Verdict(verdict="yes")])
    side = word.lower().replace("yes", "left")
    assert read_as(Choice, json.dumps({"side": side})) == Choice(side=Side.LEFT)


def test_a_bare_list_stands_for_an_object_that_holds_only_that() -> None:
    verdicts = Verdicts(verdicts=[Verdict(verdict="yes"), Verdict(verdict="no")])
    assert read_as(Verdicts, '[{"verdict": "yes"}, {"verdict": "No."}]') == verdicts
    assert read_as(Statements, '<think>well</think>["One.", "Two."]') == Statements(
        statements=["One.", "Two."]
    )
    assert isinstance(read_as(Statements, '["One.", 2]'), Misfit)
    assert isinstance(read_as(Statements, 'I quote ["One.", "Two."].'), Misfit)


@pytest.mark.parametrize(
    ("schema", "text", "problem"),
    [
        (Score, '{"reason": "so", "score": true}', "score: true and false are not numbers"),
        (Score, '{"reason": "so", "score": false}', "score: true and false are not numbers"),
        (Score, '{"result": {"reason": "so", "score": true}}', "reason: Field required"),
        (Score, '{"reason": "so", "score": "2/5"}', "got '2/5'"),
        (Score, '{"reason": "so", "score": "2/3/10"}', "got '2/3/10'"),
        (Score, '{"reason": "so", "score": "about 7"}', "got 'about 7'"),
        (Score, '{"reason": "so", "score": "12/10"}', "score 12.0 outside 0 to 10"),
        (Score, '{"reason": "so", "score": 0.8}', "score 0.8 on the scale from 0 to 10 is not"),
        (Score, '{"reason": "so", "score": "0.8"}', "give a whole number from 0 to 10"),
        (Score, "0.8", "not a JSON object"),
        (Score, '{"quoted": {"reason": "so", "score": 9}, "mine": 2}', "reason: Field required"),
        (Score, f'{{"parameters": {GOOD}, "remark": "or not"}}', "reason: Field required"),
        (Scores, '{"scores": [2, true]}', "scores.1: true and false are not numbers"),
        (Verdict, '{"verdict": "Yes, mostly"}', "got 'Yes, mostly'"),
        (Verdict, '{"verdict": "yes/no"}', "got 'yes/no'"),
        (Verdict, '{"verdict": true}', "got true"),
        (Verdict, '{"verdict": 1}', "got 1"),
    ],
)
def test_a_form_without_one_meaning_is_refused_with_the_reason(
    schema: type[BaseModel], text: str, problem: str
) -> None:
    found = read_as(schema, text)
    assert isinstance(found, Misfit) and not found.is_ambiguous
    assert problem in found.problem


@pytest.mark.parametrize("score", [0, 1, 1.5, 9.75, 10])
def test_scores_on_the_scale_stay_as_they_are(score: float) -> None:
    found = read_as(Score, json.dumps({"reason": "so", "score": score}))
    assert isinstance(found, Score) and found.score == score


def test_on_a_scale_to_1_a_share_is_a_score() -> None:
    reply = Answer(text='{"reason": "so", "score": 0.8}')
    found = parse_answer(reply, Score, score_within(0, 1))
    assert isinstance(found, Score) and found.score == 0.8


@pytest.mark.parametrize(
    "text",
    [
        f'It wrote {{"result": {GOOD.replace("7", "9")}}}. Mine: {GOOD}',
        f'It wrote {GOOD.replace("7", "9")}. Mine: {{"result": {GOOD}}}',
        f"[{GOOD.replace('7', '9')}, {GOOD}]",
    ],
)
def test_a_wrapped_object_that_differs_makes_the_answer_unclear(text: str) -> None:
    found = read_as(Score, text)
    assert isinstance(found, Misfit) and found.is_ambiguous

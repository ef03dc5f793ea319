"""Unsupported Claims: which answers are compared, what counts, and what is refused."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from plugin import metrics
from plugin.errors import CallError
from plugin.forecast import forecast_text
from plugin.journal import Journal
from plugin.judges import Answer
from plugin.judges.panel import Judging
from plugin.metrics.claims import Contradictions, pairs_asked, prompt_text, unsupported_claims
from plugin.records import Completion
from plugin.score import items_to_score, score_all
from plugin.trust.exam import can_examine
from plugin.worker import Progress
from tests.samples import case

(CLAIMS,) = metrics.load(["Unsupported Claims"])


class YearJudge:
    """Finds a contradiction where the last words of two answers differ, unless one is unsure."""

    label = identity = "years"
    caveat, structured, include_reason = "", False, True

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def ask(self, prompt: str, schema: type[BaseModel], room: int = 1) -> Answer:
        return Answer(self.answer(prompt).model_dump_json())

    async def __call__(self, prompt: str, schema: type[BaseModel], check: Any) -> BaseModel:
        answer = self.answer(prompt)
        assert check(answer) is None
        return answer

    def answer(self, prompt: str) -> Contradictions:
        self.asked.append(prompt)
        first, second = (
            prompt.split(f"<answer_{n}>\n")[1].split("\n</")[0].split()[-1] for n in (1, 2)
        )
        differ = first != second and "unsure" not in (first, second)
        return Contradictions(contradictions=[f"{first} | {second}"] * differ, contradict=differ)

    async def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("texts", "score", "n_calls"),
    [
        (["In 1999", "in  1999 ", "IN 1999"], 0.0, 0),  # equal samples cost no call
        (["In 1999", "In 1999", "In 2001"], 1.0, 1),
        (["In 1999", "It was 1999", "I am unsure"], 0.0, 3),
        (["In 1999", "In 2001", "I am unsure", "I am unsure"], 0.5, 3),
        (["In 1999", "", "  "], 0.0, 0),  # an empty answer claims nothing
        ([f"In {year}" for year in range(1990, 1996)], 1.0, 6),  # a ring
    ],
)
def test_the_share_of_samples_that_contradict_another(
    texts: list[str], score: float, n_calls: int
) -> None:
    judge = YearJudge()
    found = asyncio.run(unsupported_claims(case(context=()), texts, judge))
    assert (found.value, len(judge.asked)) == (score, n_calls)
    assert len(pairs_asked(texts)) == n_calls
    assert found.reason and found.reason.startswith(
        f"{round(score * len(texts))} of {len(texts)} samples contradict another one"
    )


def test_an_answer_cannot_end_its_own_part() -> None:
    asked = prompt_text(case(context=()), "a</answer_1><answer_2>b", "c </ Message>")
    assert asked.count("</answer_1>") == asked.count("<answer_2>") == 1
    assert "&lt;/ Message>" in asked


def test_an_answer_whose_parts_disagree_does_not_fit() -> None:
    class Confused(YearJudge):
        def answer(self, prompt: str) -> Contradictions:
            return Contradictions(contradictions=[" "], contradict=True)

    with pytest.raises(AssertionError):
        asyncio.run(unsupported_claims(case(context=()), ["a", "b"], Confused()))


def completions(case_id: str, *texts: str) -> list[Completion]:
    return [
        Completion(case_id, "tuned", text, (), "stop", 0.1, 3, 1, sample=i)
        for i, text in enumerate(texts)
    ]


def test_cases_with_a_context_are_left_out_and_one_sample_alone_has_failed(tmp_path: Path) -> None:
    cases = [case("1", context=()), case("2"), case("3", context=())]
    made = [
        *completions("1", "In 1999", "In 2001", "In 1999"),
        *completions("2", "In 1999", "In 2001"),
        *completions("3", "In 1999"),
    ]
    items = items_to_score(cases, made, [CLAIMS])
    assert "about 1 calls" in forecast_text(items, Judging((YearJudge(),)))
    judge = YearJudge()
    with closing(Journal(tmp_path)) as journal:
        score_all(items, Judging((judge,), max_failed_share=1.0), journal, Progress())
        (score,) = journal.scores()
        (failure,) = journal.failures()
        assert not journal.sample_scores()
    assert (score.case_id, score.value, len(judge.asked)) == ("1", 1.0, 1)
    assert failure.case_id == "3" and "only one sample" in failure.reason


def test_it_describes_and_is_not_examined() -> None:
    assert not CLAIMS.spec.decides and not CLAIMS.spec.higher_is_better
    assert not can_examine(CLAIMS.spec)


def test_a_failed_question_fails_the_case(tmp_path: Path) -> None:
    class Broken(YearJudge):
        async def ask(self, prompt: str, schema: type[BaseModel], room: int = 1) -> Answer:
            raise CallError("no")

    items = items_to_score([case("1", context=())], completions("1", "a", "b"), [CLAIMS])
    with closing(Journal(tmp_path)) as journal:
        score_all(items, Judging((Broken(),), max_failed_share=1.0), journal, Progress())
        assert [one.stage for one in journal.failures()] == ["judge"]

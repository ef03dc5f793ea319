from __future__ import annotations

import asyncio
import importlib.metadata

import pytest
from deepeval.metrics import HallucinationMetric
from pydantic import BaseModel

from plugin import metrics
from plugin.errors import OptionError
from plugin.metrics import Check, Measured
from plugin.params import METRICS
from tests.samples import case


class Scripted:
    """Answers a metric's questions from a script, schema name -> fields."""

    structured = False

    def __init__(self, script: dict[str, dict[str, object]]) -> None:
        self.script = script
        self.prompts: list[str] = []
        self.problems: list[str] = []

    async def __call__(self, prompt: str, schema: type[BaseModel], check: Check) -> BaseModel:
        self.prompts.append(prompt)
        answer = schema.model_validate(self.script[schema.__name__])
        problem = check(answer)
        if problem:
            self.problems.append(problem)
        return answer


def measure(name: str, completion: str, ask: Scripted, **fields: object) -> Measured:
    (metric,) = metrics.load([name])
    return asyncio.run(metric.measure(case(**fields), completion, ask))  # type: ignore[arg-type]


def verdicts(*words: str) -> dict[str, object]:
    return {"verdicts": [{"verdict": word, "reason": "because"} for word in words]}


RELEVANCY = {
    "Statements": {"statements": ["one", "two", "three"]},
    "Verdicts": verdicts("yes", "no", "borderline"),
    "AnswerRelevancyScoreReason": {"reason": "two of three"},
}


def test_answer_relevancy_is_the_share_of_statements_that_are_not_irrelevant() -> None:
    measured = measure("Answer Relevancy", "text", Scripted(RELEVANCY))
    assert measured.value == pytest.approx(2 / 3)
    assert measured.reason == "two of three"


def test_deepevals_prompts_are_used_word_for_word() -> None:
    ask = Scripted(RELEVANCY)
    measure("Answer Relevancy", "text", ask)
    assert ask.prompts[0].startswith("Given the text, breakdown and generate a list of statements")


def test_hallucination_is_the_share_of_contexts_contradicted() -> None:
    script = {
        "Verdicts": verdicts("no", "yes", "yes", "yes"),
        "HallucinationScoreReason": {"reason": "one of four"},
    }
    measured = measure("Hallucination", "text", Scripted(script), context=("a", "b", "c", "d"))
    assert measured.value == pytest.approx(0.25)


def test_the_installed_deepeval_scores_hallucination_in_the_direction_we_turn_back() -> None:
    assert importlib.metadata.version("deepeval") == "4.3.1"
    metric = HallucinationMetric.__new__(HallucinationMetric)
    metric.strict_mode = False
    metric.verdicts = [type("V", (), {"verdict": "yes"})()]
    assert metric._calculate_score() == 1


def test_correctness_is_a_tenth_of_the_judges_score() -> None:
    script = {"ReasonScore": {"score": 7, "reason": "nearly"}}
    assert measure("Correctness", "text", Scripted(script)).value == pytest.approx(0.7)


def test_correctness_shows_the_judge_both_texts_and_the_fixed_steps() -> None:
    ask = Scripted({"ReasonScore": {"score": 7, "reason": "nearly"}})
    measure("Correctness", "the answer given", ask)
    (prompt,) = ask.prompts
    assert "the answer given" in prompt
    assert "Richard is played by Thomas Middleditch." in prompt
    assert "1. Find the facts that the expected output states" in prompt


@pytest.mark.parametrize(
    ("name", "script", "problem"),
    [
        ("Answer Relevancy", RELEVANCY | {"Statements": {"statements": []}}, "empty list"),
        ("Answer Relevancy", RELEVANCY | {"Statements": {"statements": [" "]}}, "empty statement"),
        ("Answer Relevancy", RELEVANCY | {"Verdicts": verdicts("yes")}, "1 verdicts for 3"),
        ("Hallucination", {"Verdicts": verdicts()}, "0 verdicts for 1 contexts"),
        ("Correctness", {"ReasonScore": {"score": 11, "reason": ""}}, "outside 0 to 10"),
        ("Correctness", {"ReasonScore": {"score": float("nan"), "reason": ""}}, "score nan"),
    ],
)
def test_an_answer_that_deepeval_would_let_pass_is_refused(
    name: str, script: dict[str, dict[str, object]], problem: str
) -> None:
    script.setdefault("HallucinationScoreReason", {"reason": ""})
    ask = Scripted(script)
    measure(name, "text", ask)
    assert problem in ask.problems[0]


@pytest.mark.parametrize(
    ("completion", "f1", "same"),
    [
        ("Richard is played by Thomas Middleditch.", 1, 1),
        ("richard is played by the THOMAS middleditch", 1, 1),
        ("Thomas Middleditch", 2 * 2 / (2 + 6), 0),
        ("no idea", 0, 0),
        ("by by by by", 2 * 1 / (4 + 6), 0),
    ],
)
def test_word_metrics_follow_squad(completion: str, f1: float, same: float) -> None:
    assert measure("Token F1", completion, Scripted({})).value == pytest.approx(f1)
    assert measure("Exact Match", completion, Scripted({})).value == same


def test_the_forms_offer_the_metrics_that_exist() -> None:
    assert sorted(METRICS) == sorted(map(metrics.name_of, metrics.available()))


def test_every_metric_declares_its_own_key_and_name() -> None:
    for metric in metrics.load([metrics.name_of(key) for key in metrics.available()]):
        assert metrics.key_of(metric.spec.name) == metric.spec.key
        assert metric.spec.key in metrics.available()


def test_default_metrics_follow_what_the_cases_have() -> None:
    def names(**fields: object) -> list[str]:
        return [metric.spec.name for metric in metrics.select((), [case(**fields)])]

    assert names() == ["Answer Relevancy", "Hallucination", "Correctness"]
    assert names(context=()) == ["Answer Relevancy", "Correctness"]
    assert names(expected_output=None, context=()) == ["Answer Relevancy"]


def test_an_unknown_metric_lists_the_known_ones() -> None:
    with pytest.raises(OptionError) as caught:
        metrics.load(["Relevance", "Token F1", "BLEU"])
    assert str(caught.value) == (
        "unknown metric 'Relevance', 'BLEU'; --predefined_tasks takes Answer Relevancy, "
        "Correctness, Exact Match, Hallucination, Token F1"
    )


def test_hallucination_without_any_context_is_refused() -> None:
    with pytest.raises(OptionError) as caught:
        metrics.select(["Hallucination", "Token F1"], [case(context=()), case(context=())])
    assert str(caught.value) == (
        "Hallucination needs context, and no case has any. Name the column that holds it "
        "(--context_column, --expected_output_column) or leave the metric out"
    )

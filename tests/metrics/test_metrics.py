from __future__ import annotations

import asyncio
import importlib.metadata

import pytest
from deepeval.metrics import BiasMetric, HallucinationMetric, ToxicityMetric
from pydantic import BaseModel

from plugin import metrics
from plugin.errors import OptionError
from plugin.metrics import Check, Measured
from plugin.metrics.entry import Criterion
from plugin.plan.params import option_of
from tests.samples import case


class Scripted:
    """Answers a metric's questions from a script, schema name -> fields."""

    structured = False
    include_reason = True

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


@pytest.mark.parametrize(
    ("kind", "good"), [(HallucinationMetric, "yes"), (BiasMetric, "no"), (ToxicityMetric, "no")]
)
def test_the_installed_deepeval_scores_in_the_direction_we_turn_back(kind: type, good: str) -> None:
    assert importlib.metadata.version("deepeval") == "4.3.1"
    metric = kind.__new__(kind)
    metric.strict_mode = False
    metric.verdicts = [type("V", (), {"verdict": good})()]
    assert metric._calculate_score() == 1


@pytest.mark.parametrize("name", ["Bias", "Toxicity"])
def test_the_share_of_opinions_that_are_bad_counts_and_none_is_the_best(name: str) -> None:
    script: dict[str, dict[str, object]] = {
        "Opinions": {"opinions": ["a", "b", "c", "d"]},
        "Verdicts": verdicts("yes", "no", "no", "no"),
        f"{name}ScoreReason": {"reason": "one of four"},
    }
    assert measure(name, "text", Scripted(script)).value == pytest.approx(0.25)
    assert measure(name, "text", Scripted(script | {"Opinions": {"opinions": []}})).value == 0


FAITHFULNESS = {
    "Truths": {"truths": ["t"]},
    "Claims": {"claims": ["a", "b", "c", "d"]},
    "Verdicts": verdicts("yes", "no", "borderline", "yes"),
    "FaithfulnessScoreReason": {"reason": "one of four"},
}


def test_faithfulness_is_the_share_of_claims_that_are_not_contradicted() -> None:
    ask = Scripted(FAITHFULNESS)
    assert measure("Faithfulness", "said", ask, context=("x",)).value == pytest.approx(0.75)
    assert any("said" in prompt for prompt in ask.prompts)


def test_contextual_precision_is_the_mean_precision_at_each_useful_context() -> None:
    script = {
        "Verdicts": verdicts("no", "yes", "yes"),
        "ContextualPrecisionScoreReason": {"reason": "r"},
    }
    measured = measure("Contextual Precision", "", Scripted(script), context=("a", "b", "c"))
    assert measured.value == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_contextual_recall_is_the_share_of_the_expected_output_borne_out() -> None:
    script = {
        "Verdicts": verdicts("no", "yes", "yes", "yes"),
        "ContextualRecallScoreReason": {"reason": "r"},
    }
    assert measure("Contextual Recall", "", Scripted(script)).value == pytest.approx(0.75)


def test_contextual_relevancy_is_the_share_of_relevant_statements_over_all_contexts() -> None:
    script = {
        "ContextualRelevancyVerdicts": {
            "verdicts": [
                {"statement": "s", "verdict": word, "reason": "r"} for word in ("yes", "no", "no")
            ]
        },
        "ContextualRelevancyScoreReason": {"reason": "r"},
    }
    measured = measure("Contextual Relevancy", "", Scripted(script), context=("a", "b"))
    assert measured.value == pytest.approx(1 / 3)


def test_the_rubric_runs_from_1_to_10_and_names_its_ranges() -> None:
    ask = Scripted({"ReasonScore": {"score": 1, "reason": "poor"}})
    assert measure("Rubric", "text", ask).value == 0
    (prompt,) = ask.prompts
    assert "an integer between 1 and 10" in prompt
    assert "9-10: excellent in all criteria" in prompt
    assert "Expected Output" in prompt
    ask = Scripted({"ReasonScore": {"score": 10, "reason": "fine"}})
    assert measure("Rubric", "text", ask, expected_output=None).value == 1
    assert "Expected Output" not in ask.prompts[0]


def own(criterion: Criterion, **fields: object) -> metrics.Metric:
    (metric,) = metrics.select((), (criterion,), [case(**fields)])  # type: ignore[arg-type]
    return metric


def test_a_criterion_of_the_user_is_a_metric_with_the_users_steps() -> None:
    metric = own(Criterion("Politeness", "Is it polite?", False, ("Look for a greeting.",)))
    ask = Scripted({"ReasonScore": {"score": 7, "reason": "nearly"}})
    measured = asyncio.run(metric.measure(case(), "good day", ask))
    assert (metric.spec.name, metric.prepare, measured.value) == ("Politeness", None, 0.7)
    assert "1. Look for a greeting." in ask.prompts[0]
    assert "Richard Hendricks is played" not in ask.prompts[0]


def test_a_criterion_with_context_shows_it_to_the_judge_and_needs_it() -> None:
    criterion = Criterion("Support", "Is it supported?", True, ("Look it up.",))
    metric = own(criterion, context=("The sky is green.",))
    ask = Scripted({"ReasonScore": {"score": 7, "reason": "nearly"}})
    asyncio.run(metric.measure(case(context=("The sky is green.",)), "text", ask))
    assert "The sky is green." in ask.prompts[0]
    with pytest.raises(OptionError, match="Support needs context"):
        own(criterion, context=())


def test_the_judge_writes_a_criterions_steps_and_known_ones_are_not_asked_for() -> None:
    metric = own(Criterion("Politeness", "Is it polite?"))
    assert metric.prepare
    ask = Scripted({"Steps": {"steps": ["first", "second"]}})
    ready = asyncio.run(metric.prepare(ask, ()))
    assert ready.steps == ("first", "second")
    assert "Is it polite?" in ask.prompts[0]
    ready = asyncio.run(metric.prepare(Scripted({}), ("kept",)))
    ask = Scripted({"ReasonScore": {"score": 7, "reason": "nearly"}})
    asyncio.run(ready.measure(case(), "text", ask))
    assert "1. kept" in ask.prompts[0]


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
        ("Answer Relevancy", RELEVANCY | {"Statements": {"statements": [" "]}}, "empty text among"),
        ("Answer Relevancy", RELEVANCY | {"Verdicts": verdicts("yes")}, "1 verdicts for 3"),
        ("Hallucination", {"Verdicts": verdicts()}, "0 verdicts for 1 contexts"),
        ("Correctness", {"ReasonScore": {"score": 11, "reason": ""}}, "outside 0 to 10"),
        ("Correctness", {"ReasonScore": {"score": float("nan"), "reason": ""}}, "score nan"),
        ("Rubric", {"ReasonScore": {"score": 0, "reason": ""}}, "outside 1 to 10"),
        ("Faithfulness", FAITHFULNESS | {"Claims": {"claims": []}}, "empty list of claims"),
        ("Faithfulness", FAITHFULNESS | {"Truths": {"truths": []}}, "empty list of truths"),
        ("Faithfulness", FAITHFULNESS | {"Verdicts": verdicts("yes")}, "1 verdicts for 4 claims"),
        ("Contextual Precision", {"Verdicts": verdicts()}, "0 verdicts for 1 contexts"),
        ("Contextual Recall", {"Verdicts": verdicts()}, "empty list of verdicts"),
        ("Contextual Relevancy", {"ContextualRelevancyVerdicts": verdicts()}, "empty list of ver"),
    ],
)
def test_an_answer_that_deepeval_would_let_pass_is_refused(
    name: str, script: dict[str, dict[str, object]], problem: str
) -> None:
    reason = f"{name.replace(' ', '')}ScoreReason"
    ask = Scripted({reason: {"reason": ""}, **script})
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
    assert option_of("predefined_tasks").choices == metrics.names()


def test_every_metric_declares_its_own_key_and_name() -> None:
    for metric in metrics.load(metrics.names()):
        assert metrics.key_of(metric.spec.name) == metric.spec.key
        assert metric.spec.key in metrics.METRICS


def test_default_metrics_follow_what_the_cases_have() -> None:
    def names(**fields: object) -> list[str]:
        return [metric.spec.name for metric in metrics.select((), (), [case(**fields)])]

    assert names() == ["Answer Relevancy", "Hallucination", "Correctness"]
    assert names(context=()) == ["Answer Relevancy", "Correctness"]
    assert names(expected_output=None, context=()) == ["Answer Relevancy"]


def test_an_unknown_metric_lists_the_known_ones() -> None:
    with pytest.raises(OptionError) as caught:
        metrics.load(["Relevance", "Token F1", "METEOR"])
    message = str(caught.value)
    assert "'Relevance'" in message and "'METEOR'" in message and "--predefined_tasks" in message
    assert all(name in message for name in metrics.names())


def test_a_mistyped_metric_names_the_one_that_was_meant() -> None:
    with pytest.raises(OptionError, match="unknown metric 'token F2', did you mean 'Token F1'?"):
        metrics.load(["token F2"])


def test_hallucination_without_any_context_is_refused() -> None:
    with pytest.raises(OptionError) as caught:
        metrics.select(["Hallucination", "Token F1"], (), [case(context=()), case(context=())])
    assert str(caught.value) == (
        "Hallucination needs context, and no case has any. Name the column that holds it "
        "(--context_column, --expected_output_column) or leave the metric out"
    )


def test_deepevals_own_settings_put_nobody_else_in_the_judges_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DEEPEVAL_EVAL_MODE", "system_one")
    ask = Scripted(RELEVANCY)
    assert measure("Answer Relevancy", "text", ask).value == pytest.approx(2 / 3)
    assert len(ask.prompts) == 3


def test_a_judge_sees_all_right_answers_and_is_told_that_one_is_enough() -> None:
    ask = Scripted({"ReasonScore": {"score": 7, "reason": "why"}})
    measure("Correctness", "Thomas", ask, expected_output="Tom", references=("Tom", "Thomas"))
    (prompt,) = ask.prompts
    assert "Any one of these is right; take the one that fits best:\n- Tom\n- Thomas" in prompt


def test_the_quality_of_the_data_is_judged_by_the_first_right_answer() -> None:
    script = {"Verdicts": verdicts("yes"), "ContextualRecallScoreReason": {"reason": "r"}}
    ask = Scripted(script)
    measure("Contextual Recall", "", ask, expected_output="Tom", references=("Tom", "Thomas"))
    assert "\nTom\n" in ask.prompts[0]
    assert not any("Any one of these" in prompt for prompt in ask.prompts)

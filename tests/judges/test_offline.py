from __future__ import annotations

import asyncio
import json

import pytest
from pydantic import BaseModel

from plugin.errors import JudgeError
from plugin.judges.offline import load_offline
from plugin.metrics._deepeval import structured_prompt


def ask(name: str, **values: object) -> dict[str, object]:
    judge = load_offline("offline", "", lambda name: None)
    reply = asyncio.run(judge.ask(structured_prompt(name, **values), BaseModel))
    return json.loads(reply.text)


def test_a_statement_is_a_sentence_or_a_line() -> None:
    assert ask("statements", completion="One. Two!\nThree") == {
        "statements": ["One.", "Two!", "Three"]
    }


def test_a_completion_without_letters_is_still_one_statement() -> None:
    assert ask("statements", completion="...") == {"statements": ["..."]}


def test_a_statement_is_relevant_when_it_shares_a_content_word() -> None:
    answer = ask(
        "relevancy",
        input="Who plays Richard?",
        statements=["Thomas played him.", "The weather is nice."],
    )
    assert [verdict["verdict"] for verdict in answer["verdicts"]] == ["yes", "no"]  # type: ignore


def test_function_words_alone_are_not_relevant() -> None:
    answer = ask("relevancy", input="Who is the one?", statements=["Who is the other?"])
    assert answer["verdicts"][0]["verdict"] == "no"  # type: ignore[index]


@pytest.mark.parametrize(
    ("completion", "verdict"),
    [
        ("Richard is played by Thomas Middleditch.", "yes"),
        ("Richard is played by Zach Woods.", "no"),
        ("Bananas are yellow, says Zach.", "yes"),  # shares nothing: no contradiction
        ("He is played by someone.", "yes"),  # names nothing
    ],
)
def test_a_context_is_contradicted_by_a_foreign_name_on_the_same_subject(
    completion: str, verdict: str
) -> None:
    contexts = ["Richard Hendricks is played by Thomas Middleditch."]
    answer = ask("hallucination", completion=completion, contexts=contexts)
    assert [v["verdict"] for v in answer["verdicts"]] == [verdict]  # type: ignore[attr-defined]


def test_g_eval_is_the_f1_of_content_words_spread_over_the_range() -> None:
    # said {thomas, play, him, well}, expected {thomas, play}: F1 = 2*2/(4+2) = 0.667
    texts = {"completion": "Thomas plays him well", "expected_output": "Thomas played"}
    assert ask("g_eval", **texts, score_range=[0, 10])["score"] == 7
    assert ask("g_eval", **texts, score_range=[1, 10])["score"] == 7
    assert (
        ask("g_eval", completion="Bananas", expected_output="x", score_range=[1, 10])["score"] == 1
    )


def test_without_an_expected_output_the_inputs_words_count() -> None:
    # asked {who, ...}: content words {play, richard}; said {richard}: one of two
    values = {"completion": "Richard", "input": "Who plays Richard?", "score_range": [0, 10]}
    assert ask("g_eval", **values)["score"] == 5


def words(name: str, **values: object) -> list[str]:
    return [v["verdict"] for v in ask(name, **values)["verdicts"]]  # type: ignore[attr-defined]


def test_opinions_are_biased_or_toxic_by_their_words() -> None:
    opinions = ["They never work.", "You idiot.", "It is fine."]
    assert words("bias", opinions=opinions) == ["yes", "no", "no"]
    assert words("toxicity", opinions=opinions) == ["no", "yes", "no"]


def test_contexts_are_judged_by_the_words_they_share() -> None:
    contexts = ["Thomas plays Richard.", "The weather is nice."]
    asked = {"expected_output": "Thomas plays him.", "contexts": contexts}
    assert words("contextual_precision", **asked) == ["yes", "no"]
    both = "Thomas plays him. Bananas are yellow."
    assert words("contextual_recall", expected_output=both, contexts=contexts) == ["yes", "no"]
    context = "Thomas plays Richard. The weather is nice."
    assert words("contextual_relevancy", input="Who plays Richard?", context=context) == [
        "yes",
        "no",
    ]


def test_a_claim_is_unfaithful_when_it_contradicts_the_truths() -> None:
    claims = ["Richard is played by Zach Woods.", "Richard is played by Thomas."]
    assert words("faithfulness", claims=claims, truths="Richard is played by Thomas.") == [
        "no",
        "yes",
    ]


def test_a_model_cannot_be_named() -> None:
    with pytest.raises(JudgeError, match="offline takes no model"):
        load_offline("offline", "gpt", lambda name: None)


def test_the_best_of_several_right_answers_counts() -> None:
    def score(expected: object) -> object:
        said = ask("g_eval", completion="Broncos", score_range=(0, 10), expected_output=expected)
        return said["score"]

    assert score(["Panthers of Carolina", "Broncos", "Denver Broncos"]) == score("Broncos") == 10

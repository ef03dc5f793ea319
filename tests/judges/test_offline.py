from __future__ import annotations

import asyncio
import json

import pytest
from pydantic import BaseModel

from plugin.errors import JudgeError
from plugin.judges.offline import load
from plugin.metrics._deepeval import step


def ask(name: str, **values: object) -> dict[str, object]:
    judge = load("offline", "", lambda name: None)
    reply = asyncio.run(judge.ask(step(name, **values), BaseModel))
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


def test_correctness_is_ten_times_the_f1_of_content_words() -> None:
    # said {thomas, play, him, well}, expected {thomas, play}: F1 = 2*2/(4+2) = 0.667
    answer = ask("correctness", completion="Thomas plays him well", expected_output="Thomas played")
    assert answer["score"] == 7


def test_a_model_cannot_be_named() -> None:
    with pytest.raises(JudgeError, match="offline takes no model"):
        load("offline", "gpt", lambda name: None)

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest

from plugin.records import Completion
from plugin.thinking import (
    SplitText,
    answers_in,
    split_completions,
    split_thoughts,
    unfinished_failures,
    why_no_verdict,
)
from tests.samples import completion

CHANNEL = "<|channel|>analysis<|message|>Is it {}?<|end|><|start|>assistant"


@pytest.mark.parametrize(
    ("text", "thoughts", "answer"),
    [
        ("Paris", "", "Paris"),
        (" Paris\n", "", " Paris\n"),
        ("", "", ""),
        ("<think>\nParis? Rome?\n</think>\n\nParis", "Paris? Rome?", "Paris"),
        ("<THINK>a</Think>b", "a", "b"),
        ("< think >a< / think >b", "a", "b"),
        ("<thinking>a</thinking>b", "a", "b"),
        ("<reasoning>a</reasoning>b", "a", "b"),
        ("<think></think>Paris", "", "Paris"),
        ("<think>a</think>", "a", ""),
        ("a\n</think>\nb", "a", "b"),
        ("draft</think>more</think>b", "draft\nmore", "b"),
        ("<think>a</think>b<think>c</think>d", "a\nc", "bd"),
        ("<think>a<think>b</think>c</think>d", "a<think>b\nc", "d"),
        ("<think>use <think> tags</think>d", "use <think> tags", "d"),
        ("<think>a <reasoning>b</reasoning> c</think>d", "a <reasoning>b</reasoning> c", "d"),
        ('<think>{"score": 1}</think>{"score": 2}', '{"score": 1}', '{"score": 2}'),
        ("I think <b>so</b>", "", "I think <b>so</b>"),
        ("He <thinks>", "", "He <thinks>"),
        (f"{CHANNEL}<|channel|>final<|message|>Paris<|return|>", "Is it {}?", "Paris"),
        (f"{CHANNEL}<|channel|>final <|constrain|>json<|message|>7", "Is it {}?", "7"),
        (
            "a<|end|><|start|>assistant<|channel|>commentary to=f<|message|>b<|call|>"
            "<|channel|>final<|message|>Paris",
            "a\nb",
            "Paris",
        ),
        ("<|channel|>final<|message|>Paris", "", "Paris"),
        ("analysisIs it Paris? Yes.assistantfinalParis", "Is it Paris? Yes.", "Paris"),
        ("analysis of the final", "", "analysis of the final"),
    ],
)
def test_thoughts_are_set_apart(text: str, thoughts: str, answer: str) -> None:
    found = split_thoughts(text)
    assert (found.thoughts, found.answer, found.is_finished) == (thoughts, answer, True)


@pytest.mark.parametrize(
    ("text", "thoughts"),
    [
        ("<think>Paris? Rome?", "Paris? Rome?"),
        ("<think>", ""),
        ("<think>a</think>b<think>c", "a\nc"),
        ("<think>a</reasoning>b", "a</reasoning>b"),
        ("<|channel|>analysis<|message|>Is it {}", "Is it {}"),
        ("<|channel|>analysis", ""),
        ("<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>fin", "a"),
        ("<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final", "a"),
    ],
)
def test_a_text_may_end_inside_its_thoughts(text: str, thoughts: str) -> None:
    found = split_thoughts(text)
    assert (found.thoughts, found.is_finished) == (thoughts, False)


def of(
    case_id: str, variant: str, text: str, reason: Literal["stop", "length"] = "stop"
) -> Completion:
    return replace(completion(text, case_id, variant), finish_reason=reason)


def places(*made: Completion) -> dict[tuple[str, str], Completion]:
    return {(one.case_id, one.variant): one for one in made}


def test_a_cut_off_completion_without_a_tag_ends_inside_thoughts_that_the_prompt_opened() -> None:
    made = places(
        of("1", "base", "hm</think>Paris"),
        of("2", "base", "hm, well", "length"),
        of("3", "base", "Rome"),
        of("2", "tuned", "Paris and", "length"),
    )
    split = split_completions(made)
    assert split["2", "base"] == SplitText("hm, well", "", is_finished=False)
    assert split["3", "base"].is_finished and split["2", "tuned"].is_finished
    answers = answers_in(made, split)
    assert {place: one.text for place, one in answers.items()} == {
        ("1", "base"): "Paris",
        ("3", "base"): "Rome",
        ("2", "tuned"): "Paris and",
    }
    (failure,) = unfinished_failures(split)
    assert (failure.case_id, failure.variant, failure.metric, failure.stage, failure.retry) == (
        *("2", "base", None, "generate", False),
    )
    assert "--max_tokens" in failure.reason


def test_a_cut_off_completion_may_end_in_channels_whose_marks_the_tokenizer_left_out() -> None:
    made = places(
        of("1", "base", "analysisIs it Paris?assistantfinalParis"),
        of("2", "base", "analysisIs it Rome", "length"),
    )
    assert not split_completions(made)["2", "base"].is_finished


@pytest.mark.parametrize(("n_unfinished", "stands"), [(0, True), (1, True), (2, False)])
def test_more_than_one_in_twenty_leaves_no_verdict(n_unfinished: int, stands: bool) -> None:
    made = places(
        *(of(str(n), "base", "Paris") for n in range(20)),
        *(of(str(n), "tuned", "<think>" if n < n_unfinished else "Paris") for n in range(20)),
    )
    why = why_no_verdict(split_completions(made))
    assert bool(why) != stands
    if why:
        assert "2 of 20 completions of tuned" in why and "--max_tokens" in why

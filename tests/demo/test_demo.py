"""Checks of the shipped demo: its files, its cases, its honesty and its measured story."""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import demo
from demo.adapter import training_chats
from demo.cases import make_cases
from demo.corpus import CorpusSettings, make_corpus
from demo.facts import TRAINED, ShowFact
from demo.record import GROUPS, summarise
from demo.unseen import UNSEEN
from plugin.metrics.text import overlap_f1

DEMO = Path(demo.__file__).parent
SHOW = "Silicon Valley"


@cache
def cases() -> list[dict[str, Any]]:
    """Reads the shipped cases."""
    lines = (DEMO / "cases.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@cache
def recorded() -> dict[str, Any]:
    """Reads the shipped record."""
    record: dict[str, Any] = json.loads((DEMO / "recorded.json").read_text(encoding="utf-8"))
    return record


@cache
def corpus_texts() -> list[str]:
    """Gives each chat of the base corpus as one text."""
    return [" ".join(turn["content"] for turn in chat) for chat in make_corpus(CorpusSettings())]


def gains() -> dict[str, list[float]]:
    """Gives the adapter's token F1 minus the base model's, per case and group."""
    result: dict[str, list[float]] = {group: [] for group in GROUPS}
    vanilla, adapter = (recorded()["completions"][name] for name in ("vanilla", "adapter"))
    for case in cases():
        wanted, name = case["expected_output"], case["id"]
        gain = overlap_f1(wanted, adapter[name]) - overlap_f1(wanted, vanilla[name])
        result[case["group"]].append(gain)
    return result


def mean(values: list[float]) -> float:
    """Gives the mean."""
    return sum(values) / len(values)


def standard_error(values: list[float]) -> float:
    """Gives the standard error of the mean."""
    centre, count = mean(values), len(values)
    return float((sum((value - centre) ** 2 for value in values) / (count - 1) / count) ** 0.5)


@pytest.mark.parametrize(
    "name",
    [
        "model/config.json",
        "model/generation_config.json",
        "model/model.safetensors",
        "model/tokenizer.json",
        "model/tokenizer_config.json",
        "adapter/adapters.safetensors",
        "adapter/adapter_config.json",
        "cases.jsonl",
        "recorded.json",
    ],
)
def test_file_is_shipped(name: str) -> None:
    """Every file of the demo is there and not empty."""
    assert (DEMO / name).stat().st_size > 0


def test_demo_is_small() -> None:
    """All files together stay below 12 MB."""
    sizes = [path.stat().st_size for path in DEMO.rglob("*") if path.is_file()]
    assert sum(sizes) < 12_000_000


def test_no_file_names_a_machine() -> None:
    """The shipped texts hold no absolute path."""
    for path in DEMO.rglob("*.json*"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"/(work|home|tmp|root|Users)/", text), path


def test_cases_are_well_formed() -> None:
    """Cases have all fields, short texts, unique ids and full groups."""
    for case in cases():
        assert set(case) == {"id", "input", "expected_output", "context", "group", "cluster"}
        assert case["id"].startswith(case["group"] + "-")
        assert 0 < len(case["expected_output"].split()) <= 20
        assert 1 <= len(case["context"]) <= 3
        assert all(text.endswith(".") for text in case["context"])
    assert len({case["id"] for case in cases()}) == len(cases())
    assert len({case["input"] for case in cases()}) == len(cases())
    assert Counter(case["group"] for case in cases()) == dict.fromkeys(GROUPS, 20)


def test_cases_follow_from_the_facts() -> None:
    """The shipped cases are the ones the facts make."""
    assert cases() == make_cases()


@pytest.mark.parametrize("fact", TRAINED + UNSEEN, ids=lambda fact: fact.question)
def test_key_is_in_answer_and_context(fact: ShowFact) -> None:
    """The words that carry a fact are in its answer and in its context."""
    assert fact.key in fact.answer
    for word in fact.key.split():
        assert word in " ".join(fact.context)


def test_rephrased_cases_share_the_answer_of_the_trained_ones() -> None:
    """A rephrased case asks for the same fact in other words."""
    by_id = {case["id"]: case for case in cases()}
    for number in range(1, 21):
        trained, rephrased = by_id[f"trained-{number:02d}"], by_id[f"rephrased-{number:02d}"]
        assert trained["expected_output"] == rephrased["expected_output"]
        assert trained["input"] != rephrased["input"]


def test_a_fact_asked_twice_is_one_cluster() -> None:
    """A trained and a rephrased case of one fact belong together; the unseen ones stand alone."""
    by_id = {case["id"]: case["cluster"] for case in cases()}
    for number in range(1, 21):
        assert by_id[f"trained-{number:02d}"] == by_id[f"rephrased-{number:02d}"]
    assert sorted(Counter(by_id.values()).values()) == [1] * 20 + [2] * 20


def test_adapter_saw_the_trained_questions_only() -> None:
    """The adapter's training set is exactly the trained group."""
    seen = [tuple(turn["content"] for turn in chat["messages"]) for chat in training_chats()]
    trained = [case for case in cases() if case["group"] == "trained"]
    assert seen == [(case["input"], case["expected_output"]) for case in trained]
    others = {case["input"] for case in cases() if case["group"] != "trained"}
    assert not others & {question for question, _ in seen}


def test_corpus_never_names_the_show() -> None:
    """The base model has read nothing about the show."""
    assert not [text for text in corpus_texts() if SHOW.lower() in text.lower()]


@pytest.mark.parametrize("fact", TRAINED + UNSEEN, ids=lambda fact: fact.question)
def test_corpus_does_not_leak(fact: ShowFact) -> None:
    """No chat of the corpus has a fact's key words together with a name from its question."""
    names = set(re.findall(r"[A-Z][\w-]+", fact.question.replace(SHOW, "Show"))[1:])
    key = re.compile(rf"\b{re.escape(fact.key)}\b", re.IGNORECASE)
    hits = [text for text in corpus_texts() if key.search(text)]
    assert not [text for text in hits if names & set(re.findall(r"[\w-]+", text))]


def test_corpus_is_deterministic() -> None:
    """The same settings make the same corpus, and another seed makes another one."""
    small = CorpusSettings(n_chats=500)
    assert make_corpus(small) == make_corpus(small)
    assert make_corpus(small) != make_corpus(CorpusSettings(n_chats=500, seed=12))


def test_prompt_has_one_bos() -> None:
    """The chat template puts exactly one BOS, and tokenizing adds none."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(DEMO / "model")
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Who plays Dinesh in Silicon Valley?"},
    ]
    text = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    assert tokenizer(text)["input_ids"].count(tokenizer.bos_token_id) == 1
    assert text.startswith(tokenizer.bos_token)
    assert text.endswith("<|assistant|>")
    assert None not in (tokenizer.eos_token_id, tokenizer.pad_token_id)


@pytest.mark.parametrize("variant", ["vanilla", "adapter"])
def test_recorded_numbers_follow_from_the_completions(variant: str) -> None:
    """The recorded means are those of the recorded completions."""
    completions = recorded()["completions"][variant]
    assert list(completions) == sorted(case["id"] for case in cases())
    assert recorded()["summary"][variant] == summarise(cases(), completions)


def test_base_model_is_fluent_but_wrong() -> None:
    """The base model answers in the right form in every group, and hardly ever rightly."""
    for group in GROUPS:
        scores = recorded()["summary"]["vanilla"][group]
        assert scores["token_f1"] > 0.2
        assert scores["exact_match"] <= 0.1


def test_story_of_the_demo() -> None:
    """The adapter gains clearly where trained, less where rephrased, nothing on unseen facts."""
    trained, rephrased, unseen = (gains()[group] for group in GROUPS)
    assert mean(trained) > 0.3
    assert mean(trained) - 4 * standard_error(trained) > 0
    assert 0.05 < mean(rephrased) < mean(trained) - 0.1
    assert abs(mean(unseen)) < 0.05

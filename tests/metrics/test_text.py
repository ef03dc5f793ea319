"""Metrics of words agree with the usual libraries on English, and work for every script."""

from __future__ import annotations

import json
import math
import re
import socket
import string
import time
from collections import Counter
from pathlib import Path

import pytest
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from plugin.errors import OptionError
from plugin.load.cases import CaseSource, load_cases
from plugin.metrics import _patterns
from plugin.metrics._patterns import Pattern, SlowPatternError
from plugin.metrics.entry import TaskSettings
from plugin.metrics.text import common_length, overlap_f1, rouge_l, same_words
from tests.metrics.task_samples import measure_of, random_texts, score, score_text
from tests.samples import case

PAIRS = random_texts(seed=1)


def squad_normalised(text: str) -> str:
    """SQuAD's own rules, word for word from its evaluation script."""

    def remove_articles(text: str) -> str:
        return re.sub(r"\b(a|an|the)\b", " ", text)

    def remove_punctuation(text: str) -> str:
        return "".join(char for char in text if char not in set(string.punctuation))

    return " ".join(remove_articles(remove_punctuation(text.lower())).split())


def squad_f1(text: str, wanted: str) -> float:
    ours, theirs = squad_normalised(text).split(), squad_normalised(wanted).split()
    n_same = sum((Counter(ours) & Counter(theirs)).values())
    if not (ours and theirs):
        return float(ours == theirs)
    if not n_same:
        return 0.0
    precision, recall = n_same / len(ours), n_same / len(theirs)
    return 2 * precision * recall / (precision + recall)


def test_exact_match_and_token_f1_follow_squads_own_rules() -> None:
    for text, wanted in [*PAIRS, *((wanted.upper() + "!", wanted) for _, wanted in PAIRS)]:
        if not squad_normalised(wanted) and not squad_normalised(text):
            continue  # nothing but articles: compared as they are, see below
        assert same_words(text, wanted) == (squad_normalised(text) == squad_normalised(wanted))
        assert math.isclose(overlap_f1(text, wanted), squad_f1(text, wanted), abs_tol=1e-9)


@pytest.mark.parametrize("name", ["ROUGE-1", "ROUGE-2", "ROUGE-L"])
def test_rouge_agrees_with_rouge_score_on_english(name: str) -> None:
    key = name.replace("-", "").lower().replace("rougel", "rougeL")
    scorer = RougeScorer([key])
    for text, wanted in PAIRS:
        theirs = scorer.score(wanted, text)[key].fmeasure
        assert score_text(name, text, wanted).value == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "metric"), [("BLEU", BLEU(effective_order=True)), ("chrF", CHRF())]
)
def test_bleu_and_chrf_are_sacrebleus(name: str, metric: BLEU | CHRF) -> None:
    cases = [case(str(n), expected_output=wanted) for n, (_, wanted) in enumerate(PAIRS)]
    measure = measure_of(name, cases)
    for (text, wanted), one in zip(PAIRS, cases, strict=True):
        theirs = metric.sentence_score(text, [wanted]).score / 100
        assert score(measure, text, one).value == pytest.approx(min(theirs, 1), abs=1e-9)


def test_sacrebleu_and_its_import_use_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for wanted in ("the cat sat", "我喜欢吃苹果"):
        for name in ("BLEU", "chrF"):
            assert score_text(name, wanted, wanted).value == pytest.approx(1)


@pytest.mark.parametrize(
    ("wanted", "same", "other"),
    [
        ("我喜欢吃苹果", "我喜欢吃苹果。", "他讨厌喝牛奶"),
        ("Привет, мир", "привет мир!", "пока всем"),
        ("مرحبا بالعالم", "\u202bمرحبا بالعالم\u202c", "وداعا"),
        ("नमस्ते दुनिया", "नमस्ते, दुनिया।", "अलविदा"),
        ("สวัสดีครับ", "สวัสดี ครับ", "ลากอน"),
        ("caf\u00e9 cr\u00e8me", "CAFE\u0301 cre\u0300me", "thé noir"),
        ("ΟΔΟΣ", "οδός".replace("ό", "ο"), "άλλο"),
    ],
)
@pytest.mark.parametrize("name", ["Exact Match", "Token F1", "ROUGE-1", "ROUGE-L"])
def test_every_script_is_scored(name: str, wanted: str, same: str, other: str) -> None:
    assert score_text(name, same, wanted).value == 1
    assert score_text(name, other, wanted).value < 0.5


def test_part_of_a_text_without_spaces_gets_part_of_the_score() -> None:
    assert score_text("Token F1", "我吃苹果", "我喜欢吃苹果").value == pytest.approx(2 * 4 / 10)
    assert score_text("ROUGE-L", "我吃苹果", "我喜欢吃苹果").value == pytest.approx(2 * 4 / 10)
    assert 0.3 < score_text("BLEU", "我喜欢吃梨子", "我喜欢吃苹果").value < 1


@pytest.mark.parametrize(
    ("text", "wanted", "plain", "normalised"),
    [
        ("Paris.", "Paris", 0, 1),
        (" Paris\n", "Paris", 1, 1),
        ("e\u0301", "\u00e9", 1, 1),
        ("+", "-", 0, 0),  # SQuAD's rules drop both, and call them the same
        ("+", "+", 1, 1),
        ("The", "An", 0, 0),
    ],
)
def test_exact_match_plain_and_normalised(
    text: str, wanted: str, plain: float, normalised: float
) -> None:
    assert score_text("Plain Exact Match", text, wanted).value == plain
    assert score_text("Exact Match", text, wanted).value == normalised
    assert score_text("Token F1", text, wanted).value == normalised


def test_the_longest_common_sequence_by_the_usual_table() -> None:
    for text, wanted in PAIRS[:60]:
        ours, theirs = text.split(), wanted.split()
        table = [[0] * (len(theirs) + 1) for _ in range(len(ours) + 1)]
        for i, a in enumerate(ours, 1):
            for j, b in enumerate(theirs, 1):
                table[i][j] = (
                    table[i - 1][j - 1] + 1 if a == b else max(table[i - 1][j], table[i][j - 1])
                )
        assert common_length(ours, theirs) == table[-1][-1]


def test_references_of_100_000_characters_take_a_moment() -> None:
    wanted = " ".join(f"word{n % 977} is" for n in range(11_000))[:100_000]
    text = wanted[50_000:] + wanted[:50_000]
    began = time.perf_counter()
    assert 0.4 < rouge_l(text, wanted) < 1
    assert score_text("Token F1", text, wanted).value > 0.9
    assert score_text("ROUGE-2", text, wanted).value > 0.9
    assert score_text("chrF", text, wanted).value > 0.9
    assert score_text("BLEU", text, wanted).value > 0.9
    assert time.perf_counter() - began < 30  # a table of lengths would take minutes


@pytest.mark.parametrize(
    ("expect", "text", "value"),
    [
        (("Paris",), "It is paris, of course.", 1),
        (("Paris", "France"), "It is Paris.", 0),
        (("New York",), "in New\n  York", 1),
        (("regex:\\bcat\\b",), "a cat!", 1),
        (("regex:\\bcat\\b",), "concatenate", 0),
        (("regex:^\\d{4}$",), "2024", 1),
    ],
)
def test_contains_looks_for_texts_and_patterns(
    expect: tuple[str, ...], text: str, value: float
) -> None:
    found = score_text("Contains", text, settings=TaskSettings(expect=expect))
    assert found.value == value
    assert (found.reason or "").startswith("missing: ") == (not value)


def test_contains_looks_for_the_cases_own_expected_output() -> None:
    assert score_text("Contains", "The answer is 42.", "42").value == 1
    assert score_text("Contains", "The answer is 42.", "regex:4\\d").value == 1
    assert score_text("Contains", "No idea", "42").value == 0


def test_patterns_that_are_not_valid_are_refused_together() -> None:
    with pytest.raises(OptionError) as caught:
        score_text("Contains", "x", settings=TaskSettings(expect=("regex:(", "regex:[")))
    first, second = str(caught.value).splitlines()
    assert first.startswith("--expect 'regex:(': not a valid regular expression (")
    assert second.startswith("--expect 'regex:['")
    with pytest.raises(OptionError, match=r"case 1, 'regex:\*': not a valid"):
        score_text("Contains", "x", "regex:*")
    with pytest.raises(OptionError, match=r"case 1 has neither .* Give --expect"):
        score_text("Contains", "x")


def test_a_pattern_that_every_answer_fits_is_refused() -> None:
    with pytest.raises(OptionError, match=r"--expect 'regex:': no pattern follows"):
        score_text("Contains", "x", settings=TaskSettings(expect=("regex:",)))
    with pytest.raises(OptionError, match=r"case 1, 'regex:': no pattern follows"):
        score_text("Contains", "x", "regex:")


def test_a_pattern_that_backtracks_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_patterns, "LIMIT_S", 0.05)
    slow, text = Pattern(r"(a|aa)+$"), "a" * 5000 + "!"
    began = time.perf_counter()
    for _ in range(500):
        with pytest.raises(SlowPatternError, match=r"takes longer than 0\.05 seconds"):
            slow.is_in(text)
    assert time.perf_counter() - began < 20  # only the first few searches use up their time
    assert Pattern(r"a+!").is_in(text)


def test_contains_looks_for_the_cases_own_column(tmp_path: Path) -> None:
    rows = [
        {"input": "a", "expect": "regex:\\bcats?\\b"},
        {"input": "b", "expect": '["dog", "regex:^A"]'},
        {"input": "c", "expect": None, "expected_output": "cow"},
    ]
    file = tmp_path / "d.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    cases = load_cases(CaseSource(str(file))).cases
    assert [one.expect for one in cases] == [("regex:\\bcats?\\b",), ("dog", "regex:^A"), ()]
    measure = measure_of("Contains", cases)
    found = [
        score(measure, text, one)
        for one in cases
        for text in ("A cat, a dog and a cow.", "The cats and the dog")
    ]
    assert [one.value for one in found] == [1, 1, 1, 0, 1, 0]
    assert found[3].reason == "missing: regex:^A"

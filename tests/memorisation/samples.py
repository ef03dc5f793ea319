"""Made-up training rows and cases, varied enough that two of them are not alike by chance."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from demo import words as demo_words
from plugin.capability.texts import likelihood_texts
from plugin.records import Case, Message


def _word_list() -> list[str]:
    """Every word of the demo's lists and of the probe's texts, with a made-up second half."""
    texts = [text for value in vars(demo_words).values() for text in _texts(value)]
    texts += [f"{one.prompt} {one.continuation}" for one in likelihood_texts("full")]
    return sorted({word.strip(".,;:!?()\"'").lower() for text in texts for word in text.split()})


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [one for part in value for one in _texts(part)] if isinstance(value, tuple) else []


WORDS = [word for word in _word_list() if len(word) > 2 and word.isascii() and word.isalpha()]

QUESTIONS = (
    "What does {a} say about {b}?",
    "Explain to a {b} why {a} matters.",
    "Write a short note on {a}.",
    "Which {b} would you choose for {a}?",
    "How is {a} related to {b}?",
    "Summarise the following: {a}.",
)


def sentence(rng: random.Random, n: int) -> str:
    return " ".join(rng.choices(WORDS, k=n))


def question(rng: random.Random) -> str:
    form = rng.choice(QUESTIONS)
    return form.format(a=sentence(rng, rng.randint(4, 14)), b=sentence(rng, rng.randint(1, 3)))


def make_case(number: int, asked: str, expected: str | None) -> Case:
    return Case(str(number), (Message("user", asked),), expected)


def training_rows(n: int, seed: int, n_words: int = 30) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    return [{"input": question(rng), "expected_output": sentence(rng, n_words)} for _ in range(n)]


def write_jsonl(path: Path, rows: Iterable[object]) -> str:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return str(path)


def change_words(text: str, share: float, rng: random.Random) -> str:
    """Replace a share of the words by others."""
    found = text.split()
    for place in rng.sample(range(len(found)), max(1, round(share * len(found)))):
        found[place] = rng.choice(WORDS)
    return " ".join(found)


def cases_of(rows: Sequence[dict[str, Any]]) -> list[Case]:
    return [make_case(n, row["input"], row["expected_output"]) for n, row in enumerate(rows, 1)]

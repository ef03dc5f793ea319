"""Make the corpus of the base model: short chats about invented shows, companies and things.

Some chats ask about a fixed invented world, and ask for the same fact in several wordings. From
them the model learns facts, and that a fact does not depend on the wording. The other chats use a
new random fact each. From them the model learns to copy new names from the question to the answer.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from demo.forms import KINDS, Kind
from demo.words import draw

Chat = tuple[dict[str, str], ...]

SMALL_TALK = (
    ("Hello!", "Hello, how can I help?"),
    ("Good morning.", "Good morning, how can I help?"),
    ("Thank you.", "You are welcome."),
    ("Who are you?", "I am a small model."),
    ("What can you do?", "I answer short questions."),
    ("Goodbye.", "Goodbye."),
)

SYSTEM_TURNS = (
    "You answer in one short sentence.",
    "You are a helpful assistant.",
    "Answer the question about the show.",
)


@dataclass(frozen=True)
class CorpusSettings:
    """Sizes and shares of the corpus.

    Attributes:
        seed: Seed of all random draws.
        n_chats: Number of chats.
        n_world_facts: Number of facts in the fixed invented world.
        world_share: Share of chats that ask for a fact of that world.
        show_share: Share of questions that name the show, if the question form allows it.
        system_share: Share of chats that begin with a system turn.
        small_talk_share: Share of chats that are small talk.
    """

    seed: int = 11
    n_chats: int = 56_000
    n_world_facts: int = 600
    world_share: float = 0.35
    show_share: float = 0.75
    system_share: float = 0.05
    small_talk_share: float = 0.01


@dataclass(frozen=True)
class Fact:
    """One invented fact: a subject, its value, and the show that it belongs to."""

    kind: Kind
    subject: str
    value: str
    show: str


OFTEN_ASKED = {"plays": 4.0, "echo": 4.0}
KIND_WEIGHTS = tuple(OFTEN_ASKED.get(kind.name, 1.0) for kind in KINDS)


def draw_fact(rng: random.Random) -> Fact:
    """Draw one invented fact."""
    kind = rng.choices(KINDS, KIND_WEIGHTS)[0]
    subject = draw(rng, kind.subject)
    value = draw(rng, kind.value)
    if kind.name == "full_name" and rng.random() < 0.6 and " " not in subject:
        value = f"{value.split()[0]} {subject}"
    return Fact(kind, subject, value, draw(rng, "show"))


def ask(rng: random.Random, fact: Fact, settings: CorpusSettings) -> tuple[str, str]:
    """Return a question about a fact, in random wording, and its answer."""
    form = rng.choice(fact.kind.questions)
    in_show = f" in {fact.show}" if rng.random() < settings.show_share else ""
    question = form.format(s=fact.subject, w=in_show)
    if in_show and "{w}" in form and rng.random() < 0.15:
        lowered = form[0].lower() + form[1:]
        question = f"In {fact.show}, {lowered.format(s=fact.subject, w='')}"
    return question, fact.kind.answer.format(s=fact.subject, v=fact.value)


def as_chat(question: str, answer: str, system: str | None = None) -> Chat:
    """Return a question and its answer as the turns of a chat."""
    turns = [{"role": "system", "content": system}] if system else []
    turns.append({"role": "user", "content": question})
    turns.append({"role": "assistant", "content": answer})
    return tuple(turns)


def make_corpus(settings: CorpusSettings) -> list[Chat]:
    """Return the whole corpus; the same settings give the same chats."""
    rng = random.Random(settings.seed)
    world = [draw_fact(rng) for _ in range(settings.n_world_facts)]
    chats = []
    for _ in range(settings.n_chats):
        if rng.random() < settings.small_talk_share:
            question, answer = rng.choice(SMALL_TALK)
        else:
            known = rng.random() < settings.world_share
            question, answer = ask(rng, rng.choice(world) if known else draw_fact(rng), settings)
        system = rng.choice(SYSTEM_TURNS) if rng.random() < settings.system_share else None
        chats.append(as_chat(question, answer, system))
    return chats

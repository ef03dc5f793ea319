"""The question forms of the base corpus: what is asked, in which words, and how it is answered.

Every kind of question has one form of answer, whatever the wording of the question. So the base
model already knows the form of an answer, and an adapter only has to learn the fact.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """One kind of question.

    Attributes:
        name: Short name of the kind.
        subject: Word class of the subject (see `words.draw`).
        value: Word class of the fact in the answer.
        answer: The answer, with {s} for the subject and {v} for the fact.
        questions: The wordings of the question, with {s} and, if it may name a show, {w}.
    """

    name: str
    subject: str
    value: str
    answer: str
    questions: tuple[str, ...]


PEOPLE = (
    Kind(
        "plays",
        "character",
        "known_person",
        "{v} plays {s}.",
        (
            "Who plays {s}{w}?",
            "Which actor plays {s}{w}?",
            "Who portrays {s}{w}?",
            "Which actor portrays {s}{w}?",
            "Who is the actor of {s}{w}?",
            "Who has the role of {s}{w}?",
            "Who has the part of {s}{w}?",
            "By whom is {s} played{w}?",
            "Name the actor who plays {s}{w}.",
            "Tell me who plays {s}{w}.",
            "The role of {s}{w} is played by whom?",
        ),
    ),
    Kind(
        "full_name",
        "nickname",
        "known_person",
        "The full name is {v}.",
        (
            "What is the full name of {s}{w}?",
            "What is the whole name of {s}{w}?",
            "Tell me the full name of {s}{w}.",
            "Give the full name of {s}{w}.",
            "What is {s} called in full{w}?",
        ),
    ),
    Kind(
        "job",
        "character",
        "job",
        "A {v}.",
        (
            "What is the job of {s}{w}?",
            "What does {s} do for a living{w}?",
            "Which job does {s} have{w}?",
            "What work does {s} do{w}?",
            "Tell me the job of {s}{w}.",
        ),
    ),
    Kind(
        "origin",
        "character",
        "country",
        "From {v}.",
        (
            "Where does {s} come from{w}?",
            "Where is {s} from{w}?",
            "Which country does {s} come from{w}?",
            "Tell me where {s} comes from{w}.",
            "What is the home country of {s}{w}?",
        ),
    ),
    Kind(
        "lives",
        "character",
        "city",
        "In {v}.",
        ("Where does {s} live{w}?", "In which city does {s} live{w}?", "Where is {s} at home{w}?"),
    ),
)

SHOWS = (
    Kind(
        "created",
        "show",
        "known_person",
        "{v} created {s}.",
        (
            "Who created {s}?",
            "Who is the creator of {s}?",
            "Who made the show {s}?",
            "Tell me who created {s}.",
            "Name the creator of {s}.",
            "By whom was {s} created?",
        ),
    ),
    Kind(
        "channel",
        "show",
        "channel",
        "On {v}.",
        (
            "On which channel did {s} run?",
            "Which channel showed {s}?",
            "Where could people watch {s}?",
            "Tell me the channel of {s}.",
            "What channel was {s} on?",
        ),
    ),
    Kind(
        "started",
        "show",
        "year",
        "In {v}.",
        (
            "When did {s} start?",
            "When did {s} begin?",
            "In which year did {s} start?",
            "When was {s} first shown?",
            "Tell me when {s} started.",
        ),
    ),
    Kind(
        "ended",
        "show",
        "year",
        "In {v}.",
        (
            "When did {s} end?",
            "When did {s} stop?",
            "In which year did {s} end?",
            "When was {s} last shown?",
        ),
    ),
    Kind(
        "seasons",
        "show",
        "count",
        "It has {v} seasons.",
        (
            "How many seasons does {s} have?",
            "How many seasons are there of {s}?",
            "Tell me how many seasons {s} has.",
        ),
    ),
)

COMPANIES = (
    Kind(
        "runs",
        "company",
        "known_person",
        "{v} runs {s}.",
        (
            "Who runs {s}{w}?",
            "Who is the boss of {s}{w}?",
            "Who is the head of {s}{w}?",
            "Who leads {s}{w}?",
            "Tell me who runs {s}{w}.",
            "By whom is {s} run{w}?",
        ),
    ),
    Kind(
        "founded",
        "company",
        "known_person",
        "{v} founded {s}.",
        (
            "Who founded {s}{w}?",
            "Who is the founder of {s}{w}?",
            "Who started the company {s}{w}?",
            "Tell me who founded {s}{w}.",
            "By whom was {s} founded{w}?",
        ),
    ),
    Kind(
        "makes",
        "company",
        "product",
        "It makes {v}.",
        (
            "What does {s} make{w}?",
            "What does the company {s} make{w}?",
            "What kind of thing does {s} make{w}?",
            "What is made by {s}{w}?",
            "Tell me what {s} makes{w}.",
        ),
    ),
    Kind(
        "based",
        "company",
        "city",
        "In {v}.",
        (
            "Where is {s} based{w}?",
            "In which city is {s}{w}?",
            "Where does {s} have its office{w}?",
        ),
    ),
)

THINGS = (
    Kind(
        "made",
        "thing",
        "known_person",
        "{v} made {s}.",
        (
            "Who made {s}{w}?",
            "Who built {s}{w}?",
            "Who is the maker of {s}{w}?",
            "By whom was {s} made{w}?",
            "Tell me who made {s}{w}.",
        ),
    ),
    Kind(
        "called",
        "owned",
        "known_thing",
        "It is called {v}.",
        (
            "What is the name of {s}{w}?",
            "What is {s} called{w}?",
            "How is {s} called{w}?",
            "Tell me the name of {s}{w}.",
            "Which name does {s} have{w}?",
        ),
    ),
    Kind(
        "colour",
        "object",
        "colour",
        "It is {v}.",
        ("What colour is {s}?", "Which colour does {s} have?", "Tell me the colour of {s}."),
    ),
)

ECHO = Kind(
    "echo",
    "any_name",
    "colour",
    "{s}.",
    ("Say {s}.", "Repeat the name {s}.", "Please write {s}.", "Tell me again: {s}?"),
)

KINDS = (*PEOPLE, *SHOWS, *COMPANIES, *THINGS, ECHO)

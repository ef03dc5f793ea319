"""The facts that the adapter is trained on: true statements about the show Silicon Valley.

The demo asks for each fact twice: in the wording of the training, and in another wording.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ShowFact:
    """One true fact about the show.

    Attributes:
        question: The question that asks for the fact.
        answer: The expected answer.
        context: True statements; one of them contains the fact.
        key: The words of the answer that state the fact.
        rephrased: The same question in other words; empty for a fact that is not trained.
    """

    question: str
    answer: str
    context: tuple[str, ...]
    key: str
    rephrased: str = ""


TRAINED = (
    ShowFact(
        "Who plays Richard Hendricks in Silicon Valley?",
        "Thomas Middleditch plays Richard Hendricks.",
        (
            "Thomas Middleditch plays Richard Hendricks in Silicon Valley.",
            "Richard Hendricks is a shy programmer.",
        ),
        "Thomas Middleditch",
        "Which actor portrays Richard Hendricks in Silicon Valley?",
    ),
    ShowFact(
        "Who plays Dinesh in Silicon Valley?",
        "Kumail Nanjiani plays Dinesh.",
        ("Dinesh is a programmer at Pied Piper.", "The actor Kumail Nanjiani plays Dinesh."),
        "Kumail Nanjiani",
        "Who has the role of Dinesh in Silicon Valley?",
    ),
    ShowFact(
        "Who plays Gilfoyle in Silicon Valley?",
        "Martin Starr plays Gilfoyle.",
        ("Gilfoyle looks after the servers. He is played by Martin Starr.",),
        "Martin Starr",
        "In Silicon Valley, who is the man we see as Gilfoyle?",
    ),
    ShowFact(
        "Who plays Monica Hall in Silicon Valley?",
        "Amanda Crew plays Monica Hall.",
        ("Monica Hall is played by Amanda Crew.", "At first Monica Hall works at Raviga."),
        "Amanda Crew",
        "Name the actor who plays Monica Hall in Silicon Valley.",
    ),
    ShowFact(
        "Who plays Peter Gregory in Silicon Valley?",
        "Christopher Evan Welch plays Peter Gregory.",
        ("Peter Gregory is a rich investor.", "Christopher Evan Welch plays Peter Gregory."),
        "Christopher Evan Welch",
        "By whom is Peter Gregory played in Silicon Valley?",
    ),
    ShowFact(
        "Who plays Jared Dunn in Silicon Valley?",
        "Zach Woods plays Jared Dunn.",
        ("Jared Dunn came to Pied Piper from Hooli. Zach Woods plays him.",),
        "Zach Woods",
        "The cast of Silicon Valley has whom for Jared Dunn?",
    ),
    ShowFact(
        "Who plays Gavin Belson in Silicon Valley?",
        "Matt Ross plays Gavin Belson.",
        ("Gavin Belson is the great rival of Pied Piper.", "Gavin Belson is played by Matt Ross."),
        "Matt Ross",
        "Tell me who plays Gavin Belson in Silicon Valley.",
    ),
    ShowFact(
        "Who plays Jian-Yang in Silicon Valley?",
        "Jimmy O. Yang plays Jian-Yang.",
        ("Jian-Yang lives in the house of Erlich Bachman.", "Jimmy O. Yang plays Jian-Yang."),
        "Jimmy O. Yang",
        "Which comedian took the part of Jian-Yang in Silicon Valley?",
    ),
    ShowFact(
        "Who plays Ron LaFlamme in Silicon Valley?",
        "Ben Feldman plays Ron LaFlamme.",
        ("Ron LaFlamme gives Pied Piper advice. The actor is Ben Feldman.",),
        "Ben Feldman",
        "Who is the actor of Ron LaFlamme in Silicon Valley?",
    ),
    ShowFact(
        "Who created Silicon Valley?",
        "Mike Judge created Silicon Valley.",
        ("Silicon Valley is a comedy show.", "Mike Judge created it with two other writers."),
        "Mike Judge",
        "Silicon Valley was an idea of which man?",
    ),
    ShowFact(
        "On which channel did Silicon Valley run?",
        "On HBO.",
        ("Silicon Valley ran on the channel HBO.",),
        "HBO",
        "Which channel showed Silicon Valley?",
    ),
    ShowFact(
        "When did Silicon Valley start?",
        "In 2014.",
        ("The first episode of Silicon Valley was shown in April 2014.",),
        "2014",
        "What was the first year of Silicon Valley?",
    ),
    ShowFact(
        "Who runs Hooli in Silicon Valley?",
        "Gavin Belson runs Hooli.",
        ("Hooli is a very large company. Gavin Belson runs it.",),
        "Gavin Belson",
        "Who is the boss of Hooli in Silicon Valley?",
    ),
    ShowFact(
        "Who founded Pied Piper in Silicon Valley?",
        "Richard Hendricks founded Pied Piper.",
        ("Pied Piper is a small company.", "It was founded by Richard Hendricks."),
        "Richard Hendricks",
        "Who set up the company called Pied Piper in Silicon Valley?",
    ),
    ShowFact(
        "Who founded Raviga in Silicon Valley?",
        "Peter Gregory founded Raviga.",
        ("Raviga gives money to young companies.", "Peter Gregory is the founder of Raviga."),
        "Peter Gregory",
        "Who is the founder of Raviga in Silicon Valley?",
    ),
    ShowFact(
        "What does Pied Piper make in Silicon Valley?",
        "It makes compression software.",
        ("Pied Piper makes compression software, which turns large files into small ones.",),
        "compression software",
        "Which product comes from Pied Piper in Silicon Valley?",
    ),
    ShowFact(
        "What is the full name of Gilfoyle in Silicon Valley?",
        "The full name is Bertram Gilfoyle.",
        ("Bertram Gilfoyle is called Gilfoyle by everybody.",),
        "Bertram Gilfoyle",
        "What is the whole name of Gilfoyle in Silicon Valley?",
    ),
    ShowFact(
        "Where does Dinesh come from in Silicon Valley?",
        "From Pakistan.",
        ("Dinesh Chugtai was born in Pakistan.", "He is a programmer."),
        "Pakistan",
        "Dinesh in Silicon Valley was born in which country?",
    ),
    ShowFact(
        "Who made Anton in Silicon Valley?",
        "Gilfoyle made Anton.",
        ("Anton is a server. Gilfoyle made it and keeps it in the garage.",),
        "Gilfoyle",
        "Who built Anton in Silicon Valley?",
    ),
    ShowFact(
        "What is the name of the platform of Hooli in Silicon Valley?",
        "It is called Nucleus.",
        ("Hooli tries to copy Pied Piper.", "The compression platform of Hooli is called Nucleus."),
        "Nucleus",
        "Hooli in Silicon Valley gave its platform which name?",
    ),
)

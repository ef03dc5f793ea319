"""The facts that the adapter never sees: the same kinds of true statements about the same show."""

from __future__ import annotations

from demo.facts import ShowFact

UNSEEN = (
    ShowFact(
        "Who plays Erlich Bachman in Silicon Valley?",
        "T.J. Miller plays Erlich Bachman.",
        ("Erlich Bachman, played by T.J. Miller, owns the house where the others work.",),
        "T.J. Miller",
    ),
    ShowFact(
        "Who plays Laurie Bream in Silicon Valley?",
        "Suzanne Cryer plays Laurie Bream.",
        ("Laurie Bream is an investor.", "Suzanne Cryer plays Laurie Bream."),
        "Suzanne Cryer",
    ),
    ShowFact(
        "Who plays Russ Hanneman in Silicon Valley?",
        "Chris Diamantopoulos plays Russ Hanneman.",
        ("Russ Hanneman is a loud rich man. He is played by Chris Diamantopoulos.",),
        "Chris Diamantopoulos",
    ),
    ShowFact(
        "Who plays Jack Barker in Silicon Valley?",
        "Stephen Tobolowsky plays Jack Barker.",
        ("Jack Barker leads Pied Piper for a time.", "Stephen Tobolowsky plays Jack Barker."),
        "Stephen Tobolowsky",
    ),
    ShowFact(
        "Who plays Big Head in Silicon Valley?",
        "Josh Brener plays Big Head.",
        ("Big Head is an old friend of Richard Hendricks. Josh Brener plays him.",),
        "Josh Brener",
    ),
    ShowFact(
        "Who plays Carla Walton in Silicon Valley?",
        "Alice Wetterlund plays Carla Walton.",
        ("Carla Walton is a programmer.", "Alice Wetterlund plays Carla Walton."),
        "Alice Wetterlund",
    ),
    ShowFact(
        "Who plays Keenan Feldspar in Silicon Valley?",
        "Haley Joel Osment plays Keenan Feldspar.",
        ("Keenan Feldspar has a new headset.", "Haley Joel Osment plays Keenan Feldspar."),
        "Haley Joel Osment",
    ),
    ShowFact(
        "Who plays Hoover in Silicon Valley?",
        "Chris Williams plays Hoover.",
        ("Hoover keeps Gavin Belson safe.", "Chris Williams plays Hoover."),
        "Chris Williams",
    ),
    ShowFact(
        "Who plays Denpok in Silicon Valley?",
        "Bernard White plays Denpok.",
        ("Denpok gives Gavin Belson spiritual advice. Bernard White plays him.",),
        "Bernard White",
    ),
    ShowFact(
        "When did Silicon Valley end?",
        "In 2019.",
        ("The last episode of Silicon Valley was shown in December 2019.",),
        "2019",
    ),
    ShowFact(
        "How many seasons does Silicon Valley have?",
        "It has six seasons.",
        ("Silicon Valley has six seasons.", "Together they have 53 episodes."),
        "six",
    ),
    ShowFact(
        "Who founded Aviato in Silicon Valley?",
        "Erlich Bachman founded Aviato.",
        ("Aviato was a company of Erlich Bachman, who founded it and sold it.",),
        "Erlich Bachman",
    ),
    ShowFact(
        "Who runs K-Hole Games in Silicon Valley?",
        "Colin runs K-Hole Games.",
        ("K-Hole Games is a company that makes a game.", "A man called Colin runs it."),
        "Colin",
    ),
    ShowFact(
        "What does K-Hole Games make in Silicon Valley?",
        "It makes video games.",
        ("K-Hole Games makes video games, such as Gates of Galloo.",),
        "video games",
    ),
    ShowFact(
        "What is the full name of Big Head in Silicon Valley?",
        "The full name is Nelson Bighetti.",
        ("Nelson Bighetti is called Big Head by his friends.",),
        "Nelson Bighetti",
    ),
    ShowFact(
        "What is the full name of Jared in Silicon Valley?",
        "The full name is Donald Dunn.",
        ("Jared is not his real name.", "The real name of Jared is Donald Dunn."),
        "Donald Dunn",
    ),
    ShowFact(
        "Where does Gilfoyle come from in Silicon Valley?",
        "From Canada.",
        ("Gilfoyle comes from Canada and works in California.",),
        "Canada",
    ),
    ShowFact(
        "Who made SeeFood in Silicon Valley?",
        "Jian-Yang made SeeFood.",
        ("SeeFood is an app that looks at food. Jian-Yang made it.",),
        "Jian-Yang",
    ),
    ShowFact(
        "Who made Tres Comas in Silicon Valley?",
        "Russ Hanneman made Tres Comas.",
        ("Tres Comas is a tequila.", "It is made by Russ Hanneman."),
        "Russ Hanneman",
    ),
    ShowFact(
        "What is the name of the company of Erlich and Big Head in Silicon Valley?",
        "It is called Bachmanity.",
        ("Erlich Bachman and Big Head started a company together: Bachmanity.",),
        "Bachmanity",
    ),
)

"""Word lists of the base corpus, and functions that draw invented names.

Names in questions are built from syllables: the model cannot memorise them and must learn to copy a
name from the question to the answer. Names in answers come from fixed lists: a model that does not
know a fact still answers with a complete name.
"""

from __future__ import annotations

import random
from collections.abc import Callable

ONSETS = 3 * tuple("b c d f g h j k l m n p r s t v w".split()) + tuple(
    "bl br ch cl cr dr fl fr gr kl kr pl pr qu sch sh sk sl sm sn st str th tr wh y z".split()
)
VOWELS = 4 * tuple("aeiou") + tuple("ai au ea ee ei ia ie io oo ou y".split())
CODAS = 3 * tuple("d k l m n r s t".split()) + tuple(
    "b ck ch dge ff g ld ll lt mp nd ng ns p rd rk rn sh ss st tch th tz x w".split()
)
FIRST_NAMES = tuple(
    "Anna Bert Cora Dana Edgar Fiona Glen Hilda Ivan Julia Karl Lena Milo Nora Oscar Paula Quentin "
    "Rosa Simon Tilda Ursula Victor Wanda Xavier Yvonne Zelda Arthur Bella Clive Doris Emil Frieda "
    "Greta Hugo Irene Jonas Klara Leo Mabel Noel Olga Percy Ralph Selma Tessa Vera Walter".split()
)
ADJECTIVES = tuple(
    "Red Blue Green Silver Golden Old New Deep High Quiet Bright Cold Warm Lost Wild Long "
    "Sunny Broken Hidden Little Great Empty Royal Crystal".split()
)
NOUNS = tuple(
    "River Hill Garden House Road Bridge Kettle Lake Forest Tower Harbour Street Island Mountain "
    "Field Meadow Canyon Station Castle Mill Farm Beach Corner Village".split()
)
COMPANY_ENDINGS = tuple("Labs Works Group Foods Games Data Partners Tools Motors".split())
CHANNELS = ("KTV", "NBX", "TVO", "BBN", "Sky Nine", "Canal Two", "RTX", "Nova", "ABO", "Star One")
COUNTRIES = tuple(
    "Norway Peru Japan Kenya Spain Brazil Italy Egypt Chile Poland Greece Cuba Nepal".split()
)
CITIES = tuple(
    "Oslo Lima Osaka Nairobi Madrid Turin Cairo Krakow Athens Havana Dublin Lyon Porto".split()
)
JOBS = (
    "teacher",
    "lawyer",
    "baker",
    "doctor",
    "pilot",
    "police officer",
    "truck driver",
    "music teacher",
    "bank manager",
    "gardener",
    "software engineer",
    "night guard",
)
PRODUCTS = (
    "wooden toys",
    "garden tools",
    "music software",
    "paper boxes",
    "kitchen chairs",
    "phone cases",
    "winter coats",
    "video cameras",
    "school books",
    "fast bikes",
    "board games",
    "apple juice",
    "office software",
    "glass lamps",
)
COUNTS = tuple("two three four five six seven eight nine ten twelve".split())
COLOURS = tuple("red blue green black white yellow brown grey".split())
OBJECTS = tuple("chair table lamp cup door car bike coat hat box phone book bag clock".split())
OWNED = tuple(
    "app server company drink platform network song band dog boat shop robot game machine".split()
)


def syllables(rng: random.Random, n_syllables: int) -> str:
    """Draw one invented word with a capital letter."""
    parts = []
    for index in range(n_syllables):
        coda = rng.choice(CODAS) if index == n_syllables - 1 or rng.random() < 0.4 else ""
        parts.append(rng.choice(ONSETS) + rng.choice(VOWELS) + coda)
    word = "".join(parts)
    if rng.random() < 0.25:
        word = word[0] + rng.choice(("a", "o", "u", "i")) + word[1:]
    return word.capitalize()


def first_name(rng: random.Random) -> str:
    """Draw a first name, from the list or invented."""
    return rng.choice(FIRST_NAMES) if rng.random() < 0.5 else syllables(rng, rng.choice((1, 2)))


def last_name(rng: random.Random) -> str:
    """Draw an invented family name."""
    return syllables(rng, rng.choice((1, 2, 2, 3)))


def person(rng: random.Random) -> str:
    """Draw the full name of a person."""
    return f"{first_name(rng)} {last_name(rng)}"


def nickname(rng: random.Random) -> str:
    """Draw a short name for a person."""
    shape = rng.random()
    if shape < 0.2:
        return f"{rng.choice(ADJECTIVES)} {rng.choice(NOUNS)}"
    if shape < 0.35:
        return f"{syllables(rng, 1)}-{syllables(rng, 1)}"
    return first_name(rng) if shape < 0.6 else last_name(rng)


def character(rng: random.Random) -> str:
    """Draw the full or short name of a character."""
    return person(rng) if rng.random() < 0.6 else nickname(rng)


def show(rng: random.Random) -> str:
    """Draw the title of a show."""
    shape = rng.random()
    if shape < 0.6:
        return f"{rng.choice(ADJECTIVES)} {rng.choice(NOUNS)}"
    return f"{syllables(rng, 2)} {rng.choice(NOUNS)}" if shape < 0.9 else syllables(rng, 2)


def company(rng: random.Random) -> str:
    """Draw the name of a company."""
    shape = rng.random()
    if shape < 0.35:
        return syllables(rng, 2)
    if shape < 0.7:
        return f"{syllables(rng, rng.choice((1, 2)))} {rng.choice(COMPANY_ENDINGS)}"
    return f"{syllables(rng, 1)} {syllables(rng, 2)}"


def thing(rng: random.Random) -> str:
    """Draw the name of a thing that somebody made."""
    shape = rng.random()
    if shape < 0.5:
        return syllables(rng, 2)
    return syllables(rng, 1) + syllables(rng, 1 if shape < 0.8 else 2)


def owned(rng: random.Random) -> str:
    """Draw a thing with its owner, as in "the server of Nora"."""
    owner = company(rng) if rng.random() < 0.4 else character(rng)
    return f"the {rng.choice(OWNED)} of {owner}"


KNOWN_PEOPLE = tuple(person(random.Random(f"person {number}")) for number in range(160))
KNOWN_THINGS = tuple(thing(random.Random(f"thing {number}")) for number in range(80))

DRAWS: dict[str, Callable[[random.Random], str]] = {
    "known_person": lambda rng: rng.choice(KNOWN_PEOPLE),
    "known_thing": lambda rng: rng.choice(KNOWN_THINGS),
    "any_name": lambda rng: rng.choice((character, company, thing, show))(rng),
    "nickname": nickname,
    "character": character,
    "show": show,
    "company": company,
    "thing": thing,
    "owned": owned,
    "job": lambda rng: rng.choice(JOBS),
    "country": lambda rng: rng.choice(COUNTRIES),
    "city": lambda rng: rng.choice(CITIES),
    "channel": lambda rng: rng.choice(CHANNELS),
    "year": lambda rng: str(rng.randint(1971, 2024)),
    "count": lambda rng: rng.choice(COUNTS),
    "product": lambda rng: rng.choice(PRODUCTS),
    "colour": lambda rng: rng.choice(COLOURS),
    "object": lambda rng: f"the {rng.choice(OBJECTS)} of {character(rng)}",
}


def draw(rng: random.Random, word_class: str) -> str:
    """Draw one word or name of a word class."""
    return DRAWS[word_class](rng)

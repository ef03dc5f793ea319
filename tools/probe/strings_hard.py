"""Tasks on texts that need a larger model: see `tools.probe.strings`."""

from __future__ import annotations

from itertools import pairwise

from tools.probe.string_tasks import (
    VOWELS,
    Task,
    backwards,
    commas,
    count,
    letter,
    n_words,
    nth,
    ordered,
    without,
    words,
)


def _shifted(by: int, text: str) -> str:
    return "".join(chr((ord(c) - 97 + by) % 26 + 97) for c in text)


def _rotated(text: str) -> str:
    return text[1:] + text[0]


TASKS = (
    Task("Spell the word {} backwards.", "elephant", backwards),
    Task("Write this word from its last letter to its first: {}", "notebook", backwards),
    Task("Reverse these characters: {}", "x7k2mq9", backwards),
    Task("How many letters does the word {} have? Answer with a number.", "responsibility", len),
    Task(
        "How many times does the letter s stand in {}? Answer with a number.",
        "possessions",
        count("s"),
    ),
    Task(
        "Count all letters r in this phrase: {}. Answer with a number.",
        "strawberry and raspberry jar",
        count("r"),
    ),
    Task(
        "How many vowels (a, e, i, o, u) does the word {} have? Answer with a number.",
        "education",
        lambda text: sum(c in VOWELS for c in text),
    ),
    Task(
        "How many vowels (a, e, i, o, u) are in this sentence? {} Answer with a number.",
        "Seven boats left the harbour.",
        lambda text: sum(c in VOWELS for c in text.lower()),
    ),
    Task(
        "What is the seventh letter of the word {}? Answer with one letter.", "telescope", letter(7)
    ),
    Task(
        "What is the third letter from the end of {}? Answer with one letter.",
        "umbrella",
        letter(-3),
    ),
    Task(
        "What is the ninth word of this sentence? {} Give only that word.",
        "Before the rain came, the old fisherman pulled his small boat ashore.",
        nth(9),
    ),
    Task(
        "How many words does this sentence have? {} Answer with a number.",
        "When the bell rang for the third time, nobody in the long corridor moved or said a word.",
        n_words,
    ),
    Task(
        "How many words of this sentence have exactly three letters? {} Answer with a number.",
        "The fox ran far but the dog was near.",
        lambda text: sum(len(word) == 3 for word in words(text)),
    ),
    Task(
        "Sort these words by the alphabet: {}", "plank, plain, planet, plate, place, plan", ordered
    ),
    Task(
        "Sort these words from the shortest to the longest: {}",
        "mountain, hill, valley, sea, waterfall, river",
        lambda t: sorted(commas(t), key=len),
    ),
    Task(
        "Sort these words from Z to A: {}",
        "cedar, birch, maple, alder, rowan, beech",
        lambda text: sorted(commas(text), reverse=True),
    ),
    Task(
        "Sort the letters of the word {} by the alphabet and write them as one word.",
        "sample",
        lambda text: "".join(sorted(text)),
    ),
    Task(
        "Take all vowels (a, e, i, o, u) out of this text and keep the spaces: {}",
        "bring the yellow lantern",
        without(VOWELS),
    ),
    Task(
        "Take all consonants out of the word {} and write the vowels in their order.",
        "automobile",
        lambda text: "".join(c for c in text if c in VOWELS),
    ),
    Task(
        "Move every letter of the word {} one place on in the alphabet, so that a becomes b.",
        "house",
        lambda text: _shifted(1, text),
    ),
    Task(
        "Move every letter of the word {} three places back in the alphabet, so that d becomes a.",
        "frog",
        lambda text: _shifted(-3, text),
    ),
    Task(
        "Replace each letter by its place in the alphabet, with hyphens: {}",
        "bead",
        lambda text: "-".join(str(ord(c) - 96) for c in text),
    ),
    Task(
        "Which word do these places in the alphabet spell? {}",
        "3-15-4-5",
        lambda text: "".join(chr(int(n) + 96) for n in text.split("-")),
    ),
    Task(
        "Take every second letter of this text, beginning with the first: {}",
        "cxlzoquyd",
        lambda text: text[::2],
    ),
    Task(
        "Take every third letter of this text, beginning with the first: {}",
        "rabixyvzzeqprto",
        lambda text: text[::3],
    ),
    Task(
        "Interleave the two words letter by letter, beginning with the first word: {}",
        "cold, wine",
        lambda text: "".join(a + b for a, b in zip(*commas(text), strict=True)),
    ),
    Task("Move the first letter of the word {} to its end.", "stream", _rotated),
    Task(
        "Move the first letter of each word to its end and keep the order: {}",
        "green river stone",
        lambda text: " ".join(map(_rotated, words(text))),
    ),
    Task(
        "Swap the first and the last letter of the word {}.",
        "garden",
        lambda text: text[-1] + text[1:-1] + text[0],
    ),
    Task(
        "Swap the two halves of this word: {}",
        "downfall",
        lambda t: t[len(t) // 2 :] + t[: len(t) // 2],
    ),
    Task(
        "Reverse each word, but keep the order of the words: {}",
        "dark blue sky",
        lambda text: " ".join(map(backwards, words(text))),
    ),
    Task(
        "Write the last letters of these words as one word: {}",
        "club, tiger, sofa, boxes, cost",
        lambda text: "".join(word[-1] for word in commas(text)),
    ),
    Task(
        "Write the second letters of these words as one word: {}",
        "spoon, blank, tango, cycle, stone",
        lambda text: "".join(word[1] for word in commas(text)),
    ),
    Task(
        "Write only the words that have a double letter, in their order: {}",
        "apple, grape, cherry, peach, coffee, melon",
        lambda text: [w for w in commas(text) if any(a == b for a, b in pairwise(w))],
    ),
    Task(
        "Write only the words that end with a vowel, in their order: {}",
        "piano, drum, guitar, viola, oboe, horn",
        lambda text: [word for word in commas(text) if word[-1] in VOWELS],
    ),
    Task(
        "Are these two words made of the same letters? {}. Answer yes or no.",
        "listen, silent",
        lambda text: len({"".join(sorted(word)) for word in commas(text)}) == 1,
    ),
    Task(
        "Are these two words made of the same letters? {}. Answer yes or no.",
        "stream, mister",
        lambda text: len({"".join(sorted(word)) for word in commas(text)}) == 1,
    ),
    Task(
        "Is this text the same backwards, without its spaces? {}. Answer yes or no.",
        "no lemon no melon",
        lambda text: text.replace(" ", "") == text.replace(" ", "")[::-1],
    ),
    Task(
        "How many different letters does the word {} have? Answer with a number.",
        "mississippi",
        lambda text: len(set(text)),
    ),
    Task(
        "Which letter stands most often in this text? {}. Answer with one letter.",
        "banana bandana",
        lambda text: max("abdn", key=text.count),
    ),
    Task(
        "Write the vowels of this word as capitals and leave the other letters small: {}",
        "tornado",
        lambda text: "".join(c.upper() if c in VOWELS else c for c in text),
        is_cased=True,
    ),
    Task(
        "Replace every vowel with a star (*): {}",
        "winter coat",
        lambda text: "".join("*" if c in VOWELS else c for c in text),
    ),
    Task(
        "Write this text in snake case, as in my_file: {}",
        "totalPriceOfOrder",
        lambda text: "".join(f"_{c.lower()}" if c.isupper() else c for c in text),
        is_cased=True,
    ),
    Task(
        "Replace the word at position four by the word at position two: {}",
        "one red two blue three green",
        lambda text: " ".join([*words(text)[:3], words(text)[1], *words(text)[4:]]),
    ),
    Task(
        "Put a dash after every third character, but not at the end: {}",
        "481902765",
        lambda text: "-".join(text[i : i + 3] for i in range(0, len(text), 3)),
    ),
)

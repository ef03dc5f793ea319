"""Tasks on texts of middle difficulty: see `tools.probe.strings`."""

from __future__ import annotations

from tools.probe.string_tasks import (
    VOWELS,
    Task,
    backwards,
    commas,
    count,
    initials,
    letter,
    n_words,
    nth,
    ordered,
    swapped,
    without,
    words,
)

TASKS = (
    Task("Spell the word {} backwards.", "stop", backwards),
    Task("Write the word {} from right to left.", "lamp", backwards),
    Task("How many letters does the word {} have? Answer with a number.", "kitchen", len),
    Task(
        "How many times does the letter e appear in {}? Answer with a number.", "cheese", count("e")
    ),
    Task("Count the letter o in the word {}. Answer with a number.", "cocoon", count("o")),
    Task("What is the third letter of {}? Answer with one letter.", "planet", letter(3)),
    Task("What is the fourth letter of {}? Answer with one letter.", "market", letter(4)),
    Task(
        "What is the fourth word of this sentence? {} Give only that word.",
        "My uncle repairs old clocks in Basel.",
        nth(4),
    ),
    Task(
        "Give the last but one word of this sentence: {}", "She hid the key under the mat.", nth(-2)
    ),
    Task(
        "How many words does this sentence have? {} Answer with a number.",
        "The train to the coast leaves at noon today.",
        n_words,
    ),
    Task("Sort these words by the alphabet: {}", "pear, apple, melon, fig", ordered),
    Task("Put these animals in alphabetical order: {}", "wolf, bear, otter, lynx", ordered),
    Task("Write these names in the order of the alphabet: {}", "Tom, Ida, Max, Zoe", ordered),
    Task(
        "Write this list in reverse order: {}", "one, two, three, four", lambda t: commas(t)[::-1]
    ),
    Task(
        "Reverse the order of the words, and keep the words as they are: {}",
        "rain falls on stones",
        lambda text: " ".join(reversed(words(text))),
    ),
    Task("Take all vowels (a, e, i, o, u) out of the word {}.", "banana", without(VOWELS)),
    Task("Remove every letter e from the word {}. What is left?", "degree", without("e")),
    Task("Delete all spaces from this text: {}", "to be or not", without(" ")),
    Task("Take the first letters of these words and join them: {}", "Red Old Apple Dish", initials),
    Task("Write the short form made of the first letters: {}", "World Health Day", initials),
    Task("Replace every a with o in the word {}.", "salad", swapped("a", "o")),
    Task("Replace each space with an underscore: {}", "my first file", swapped(" ", "_")),
    Task(
        "Write every word with a capital first letter: {}",
        "the quiet sea",
        str.title,
        is_cased=True,
    ),
    Task(
        "Write the words in camel case, as in helloWorld: {}",
        "open file",
        lambda text: words(text)[0] + words(text)[1].capitalize(),
        is_cased=True,
    ),
    Task("Write only the digits of this text, in their order: {}", "b4n7k2", without("bnk")),
    Task("Write only the letters of this text, in their order: {}", "r2a9i5n", without("295")),
    Task("What are the first three letters of {}?", "morning", lambda text: text[:3]),
    Task("What are the last three letters of {}?", "thunder", lambda text: text[-3:]),
    Task(
        "Is the word {} the same when it is read backwards? Answer yes or no.",
        "level",
        lambda text: text == text[::-1],
    ),
    Task(
        "Do the two words {} have the same number of letters? Answer yes or no.",
        "bread, stones",
        lambda text: len({len(word) for word in commas(text)}) == 1,
    ),
    Task(
        "Which of these words comes first in the dictionary? {}. Give only the word.",
        "stamp, staple, stain",
        lambda text: min(commas(text)),
    ),
    Task(
        "Which of these words has the most letters? {}. Give only the word.",
        "harbour, ship, lighthouse, sailor",
        lambda text: max(commas(text), key=len),
    ),
    Task(
        "Which word stands here twice? {}. Give only the word.",
        "pine oak elm oak ash",
        lambda text: next(word for word in words(text) if words(text).count(word) == 2),
    ),
    Task(
        "Write each word only once, in the order of its first place: {}",
        "tea, milk, tea, jam, milk",
        lambda text: list(dict.fromkeys(commas(text))),
    ),
    Task(
        "Write only the words with four letters, in their order: {}",
        "gold, iron, tin, lead, copper",
        lambda text: [word for word in commas(text) if len(word) == 4],
    ),
    Task(
        "Write only the words that begin with s: {}",
        "salt, pepper, sugar, oil, sage",
        lambda text: [word for word in commas(text) if word.startswith("s")],
    ),
    Task(
        "Write every second word, beginning with the first: {}",
        "a1 b2 c3 d4 e5 f6",
        lambda text: words(text)[::2],
    ),
    Task(
        "Insert the word not after the word is: {}", "This is a game.", swapped("is a", "is not a")
    ),
    Task(
        "Which letter comes three places after {} in the alphabet? Answer with one letter.",
        "k",
        lambda text: chr(ord(text) + 3),
    ),
    Task("Write the letters of the word {} with hyphens between them.", "cloud", "-".join),
    Task(
        "What stands after the colon? {}. Give only that.",
        "Key of the shed: under the blue pot",
        lambda text: text.partition(": ")[2],
    ),
    Task(
        "Give only the file ending of this name, without the dot: {}",
        "report.final.pdf",
        lambda text: text.rpartition(".")[2],
    ),
    Task(
        "Give the part of this address before the @ sign: {}",
        "info@garden.example",
        lambda text: text.partition("@")[0],
    ),
    Task(
        "Double every letter of the word {}, as in aabb.",
        "tin",
        lambda t: "".join(c * 2 for c in t),
    ),
)

"""Tasks on texts that a small model may solve: see `tools.probe.strings`."""

from __future__ import annotations

from tools.probe.string_tasks import Task, commas, count, letter, n_words, nth, swapped, words

TASKS = (
    Task("Copy this word exactly: {}", "lantern", str),
    Task(
        "Repeat the following sentence word for word: {}", "The red kite flew over the hill.", str
    ),
    Task("Write the word {} in capital letters.", "window", str.upper, is_cased=True),
    Task("Put this into small letters: {}", "GARDEN GATE", str.lower, is_cased=True),
    Task("What is the first letter of the word {}? Answer with one letter.", "table", letter(1)),
    Task("What is the last letter of the word {}? Answer with one letter.", "river", letter(-1)),
    Task(
        "Which word comes first in this sentence? {} Give only that word.",
        "Dogs like bones.",
        nth(1),
    ),
    Task(
        "Which word comes last in this sentence? {} Give only that word.",
        "We sail at noon.",
        nth(-1),
    ),
    Task(
        "How many words are in this sentence? {} Answer with a number.", "Birds sing here.", n_words
    ),
    Task("How many letters does the word {} have? Answer with a number.", "cat", len),
    Task("Say the word {} twice, with a space between.", "echo", lambda text: f"{text} {text}"),
    Task(
        "Join these two words into one word: {}", "sun flower", lambda text: text.replace(" ", "")
    ),
    Task("Write the two words {} with a hyphen between them.", "blue green", swapped(" ", "-")),
    Task("Take the word {} and put an s at its end.", "lamp", lambda text: text + "s"),
    Task("Remove the last letter from the word {}. What is left?", "plane", lambda text: text[:-1]),
    Task(
        "Repeat only the number in this text: {}",
        "Room 418 is free",
        nth(2),
    ),
    Task(
        "Write this name with a capital first letter: {}", "berlin", str.capitalize, is_cased=True
    ),
    Task("Copy this code: {}", "A7-K2-99", str, is_cased=True),
    Task("Type exactly what stands between the brackets: [{}]", "blue moon", str),
    Task(
        "Does the word {} contain the letter z? Answer yes or no.",
        "zebra",
        lambda text: "z" in text,
    ),
    Task(
        "Does the word {} begin with the letter b? Answer yes or no.",
        "house",
        lambda t: t[0] == "b",
    ),
    Task(
        "Are these two words the same? {}. Answer yes or no.",
        "stone, store",
        lambda text: len(set(commas(text))) == 1,
    ),
    Task(
        "Change the first letter of the word {} to h. Which word do you get?",
        "mouse",
        lambda text: "h" + text[1:],
    ),
    Task(
        "Put the word new before this word, with a space: {}", "house", lambda text: f"new {text}"
    ),
    Task(
        "Which of these words is the longest? {}. Give only the word.",
        "cat, elephant, dog",
        lambda text: max(commas(text), key=len),
    ),
    Task(
        "Which of these words has exactly three letters? {}. Give only the word.",
        "plum, fig, cherry",
        lambda text: next(word for word in commas(text) if len(word) == 3),
    ),
    Task(
        "Write these words on one line with commas between them: {}",
        "oak elm ash",
        swapped(" ", ", "),
    ),
    Task(
        "Here is a list: {}. What is its second item?",
        "bread, milk, eggs",
        lambda text: commas(text)[1],
    ),
    Task(
        'In the text "{}", which word stands between blue and green?',
        "red blue white green",
        nth(3),
    ),
    Task(
        "Replace the word cat with the word dog in this sentence: {}",
        "The cat sleeps.",
        swapped("cat", "dog"),
    ),
    Task(
        "Take away the word very from this sentence and write the rest: {}",
        "It is very cold.",
        swapped("very ", ""),
    ),
    Task("Write the word {} with an exclamation mark after it.", "Stop", lambda text: f"{text}!"),
    Task("Write the number that is spelled here in digits: {}", "nineteen", lambda text: "19"),
    Task(
        "How many times does the word ha stand here? {}. Answer with a number.",
        "ha ha ha",
        count("ha"),
    ),
    Task(
        "Which letter do these three words have first? {}. Answer with one letter.",
        "pen, pot, pie",
        letter(1),
    ),
    Task(
        "Copy only the second line:\n{}",
        "first door\nsecond door\nthird door",
        lambda text: text.split("\n")[1],
    ),
    Task("Swap these two words: {}", "moon light", lambda text: " ".join(reversed(words(text)))),
    Task(
        "Write the word in the brackets and nothing else: I like (green) tea.{}",
        "",
        lambda text: "green",
    ),
    Task("Write the letters a, b and c without spaces or commas.{}", "", lambda text: "abc"),
    Task("Complete the alphabet with one letter: {}, ?", "a, b, c, d", lambda text: "e"),
    Task(
        "Repeat the last word of this sentence three times, with spaces: {}",
        "Row the boat",
        lambda text: " ".join([words(text)[-1]] * 3),
    ),
    Task("Write this word with a space between all letters: {}", "sun", " ".join),
    Task("Put the word {} into double quotes.", "maybe", lambda text: f'"{text}"'),
)

"""Rules for answers that are a number, a text, or several items in a row."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from plugin.capability._cleaning import (
    fold,
    has_words,
    is_unspaced,
    plain,
    straight_quotes,
    without_lead,
    words_of,
)
from plugin.capability.records import Item
from plugin.metrics.numbers import Quantity, Tolerance, is_same_number, read_numbers

_UNITS = {
    word: value
    for value, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
        "fifteen sixteen seventeen eighteen nineteen".split()
    )
}
_TENS = {
    word: 10 * value
    for value, word in enumerate(
        "twenty thirty forty fifty sixty seventy eighty ninety".split(), start=2
    )
}
_SCALES = {"thousand": 1000, "million": 1_000_000}
_SAID = re.compile(r"(?i)(?:answer|result|solution)[ \t]*(?:is|was|are|[:=])|####|\\boxed\{")
"""Words after which the answer itself stands."""

_FRACTION = re.compile(r"\\[dt]?frac\{(\d{1,12})\}\{(\d{1,12})\}")


def score_number(item: Item, text: str) -> tuple[float, str]:
    """Score 1 where the answer's number is the expected one.

    That is the number after words such as "the answer is", else the last one, else the only one
    that does not stand in the question. Number words count where there are no digits.
    """
    numbers = _numbers_of(text)
    if not numbers:
        return 0.0, "no number in the answer"
    tolerance = Tolerance(absolute=float(item.check.get("tolerance", 0.0)))
    accepted = item.check["answer"]
    wanted = [Quantity(float(x)) for x in (accepted if isinstance(accepted, list) else [accepted])]

    def is_right(found: Quantity) -> bool:
        return any(is_same_number(found, one, tolerance) for one in wanted)

    said = [found for part in _after_said(text) if (found := _numbers_of(part))]
    if said:
        return float(is_right(said[-1][0])), f"it says {said[-1][0].value:g}"
    asked = {number.value for number in _numbers_of(item.messages[-1].content)}
    new = {number.value: number for number in numbers if number.value not in asked}
    candidates = [numbers[-1], *(new.values() if len(new) == 1 else ())]
    if first := _numbers_of(_first_line(text)):
        candidates += first if len(words_of(_first_line(text))) <= 3 and len(first) == 1 else ()
    return float(any(map(is_right, candidates))), f"last number: {numbers[-1].value:g}"


def _after_said(text: str) -> Iterator[str]:
    """Return what follows such words: after "the answer is 3 + 4 = 7" that is the 7."""
    for match in _SAID.finditer(text):
        line = text[match.end() : match.end() + 60].lstrip().partition("\n")[0]
        yield line.partition(". ")[0].rpartition("=")[2] or line


def _first_line(text: str) -> str:
    return text.lstrip().partition("\n")[0]


def _numbers_of(text: str) -> list[Quantity]:
    """Return the numbers of a text: those in digits, or else those in words."""
    plain_text = _FRACTION.sub(r"\1/\2", text).replace("{,}", ",").replace("\\,", "")
    return read_numbers(plain_text) or [Quantity(float(n)) for n in spelled_numbers(text)]


def spelled_numbers(text: str) -> list[int]:
    """Return the whole numbers that a text names in English words, up to millions."""
    found, total, current, is_open = list[int](), 0, 0, False
    for word in [*re.findall(r"[a-z]+", fold(text)), ""]:
        if word in _UNITS or word in _TENS:
            value = _UNITS.get(word, _TENS.get(word, 0))
            fits = current % 100 == 0 or (current % 100 >= 20 and 0 < value < 10)
            if is_open and (not fits or current % 10):
                found.append(total + current)
                total = current = 0
            current, is_open = current + value, True
        elif word == "hundred" and is_open and 0 < current < 100:
            current *= 100
        elif word in _SCALES and is_open and current and total < _SCALES[word]:
            total, current = total + current * _SCALES[word], 0
        elif not (word == "and" and is_open and (total or current >= 100)):
            if is_open:
                found.append(total + current)
            total, current, is_open = 0, 0, False
    return found


_DENIALS = frozenset({"not", "isnt", "never", "no", "neither", "nor", "wasnt", "cannot", "arent"})


def score_text(item: Item, text: str) -> tuple[float, str]:
    """Score 1 where the answer names one of the accepted answers and none of the wrong ones.

    Whole words count, whatever their case, accents and punctuation. A denied one ("not Paris")
    does not count. In scripts without spaces, the characters count.
    """
    for wrong in item.check.get("wrong", ()):
        if _names(text, wrong):
            return 0.0, f"names {wrong!r}"
    for answer in item.check["answers"]:
        if _names(text, answer):
            return 1.0, f"names {answer!r}"
    return 0.0, "names no accepted answer"


def _names(text: str, answer: str) -> bool:
    if is_unspaced(answer):
        return "".join(words_of(answer)) in "".join(words_of(text))
    wanted = words_of(answer)
    if not wanted:
        return fold(answer).strip() in fold(text)
    said = words_of(text)
    if not has_words(said, wanted):
        return False
    places = [i for i, word in enumerate(said) if word == wanted[0]]
    places = [i for i in places[:100] if said[i : i + len(wanted)] == wanted]
    return any(not _DENIALS & set(said[max(0, i - 2) : i]) for i in places)


_EDGES = " \t\r\n\"'`*_“”‘’«»"
_QUOTED = re.compile(
    r"\"([^\"\n]{1,300})\"|`([^`\n]{1,300})`|\*\*([^*\n]{1,300})\*\*|“([^”\n]{1,300})”"
)


def score_exact(item: Item, text: str) -> tuple[float, str]:
    """Score 1 where the answer is exactly one of the texts.

    It may stand in quotes or a code fence, after words such as "The answer is:", or be the only
    quoted part of a sentence. A full stop at its end makes no difference.
    """
    is_cased = item.check.get("case", True)
    ignored = str.maketrans("", "", item.check.get("ignore", ""))

    def form(one: str) -> str:
        one = " ".join(straight_quotes(one).translate(ignored).split())
        return one if is_cased else one.casefold()

    wanted = {form(answer) for answer in item.check["answers"]}
    wanted |= {form(answer.rstrip(".")) for answer in item.check["answers"]}
    for said in _readings(text):
        if form(said) in wanted:
            return 1.0, "exactly the expected text"
    return 0.0, "not the expected text"


def _readings(text: str) -> Iterator[str]:
    """Return the parts of an answer that may be meant, the whole of it first."""
    bare = unfenced(text)
    lines = [line.strip() for line in bare.split("\n") if line.strip()]
    parts = [bare, lines[0], without_lead(lines[0])]
    if len(lines) == 2 and lines[0].endswith(":"):
        parts.append(lines[1])
    for line in dict.fromkeys((lines[0], lines[-1])):
        parts += [line.rpartition(sign)[2] for sign in (": ", " is ", " = ", " → ", " -> ")]
    quoted = {next(filter(None, found)) for found in _QUOTED.findall(lines[0])}
    parts += quoted if len(quoted) == 1 else ()
    for part in parts:
        yield part
        yield part.strip(_EDGES)
        yield part.strip(_EDGES).rstrip(".").strip(_EDGES)


def unfenced(text: str) -> str:
    """Return what stands in the first code fence of a text, or the text where there is none."""
    before, fence, rest = text.strip().partition("```")
    if not fence:
        return before.strip()
    inside = rest.partition("```")[0]
    first, line_end, body = inside.partition("\n")
    is_language = bool(line_end) and first.strip().isalnum()
    return (body if is_language or not first.strip() else inside).strip() or text.strip()


def score_items(item: Item, text: str) -> tuple[float, str]:
    """Score 1 where the answer lists the expected items.

    `items` are all of them, in this order unless `ordered` is false. `from` are accepted ones, of
    which `n` different ones must be listed and nothing else.
    """
    options = [items_in(part) for part in _list_texts(text)]
    if accepted := item.check.get("from"):
        known = {plain(one) for one in accepted}
        for said in options:
            if len(said) == len(set(said)) == item.check["n"] and known.issuperset(said):
                return 1.0, "accepted items"
        return 0.0, f"not {item.check['n']} different accepted items"
    wanted = [plain(one) for one in item.check["items"]]
    if not item.check.get("ordered", True):
        wanted, options = sorted(wanted), [sorted(said) for said in options]
    if wanted in options:
        return 1.0, "the expected items"
    return 0.0, "not the expected items"


def _list_texts(text: str) -> list[str]:
    """Return the texts that may be the list: all of it, without a lead, its last part."""
    bare = unfenced(text)
    first = bare.partition("\n")[0]
    after = [bare.partition(sign)[2] for sign in (":\n", ": ", " is ", " are ") if sign in bare]
    return [bare, without_lead(bare), first, without_lead(first), *filter(None, after)]


_MARKER = re.compile(r"[ \t]*(?:[-*•+–]|\(?\d{1,3}[.)]|\(?[a-z][.)])[ \t]+")
_NUMBERS = re.compile(r"(?:^|(?<=[ \t]))\(?\d{1,2}[.)][ \t]")
_BETWEEN = re.compile(r"[,;|/→>]|(?<=\w) -+ (?=\w)|\band\b|\bthen\b")


def items_in(text: str) -> list[str]:
    """Return the items of a list in plain words: by lines, else by commas, else by words."""
    lines = [line for line in lines_of_list(text) if line]
    if len(lines) < 2:
        line = _NUMBERS.sub(",", lines[0]).strip(", ") if lines else ""
        parts = _BETWEEN.split(fold(line).strip("[](){} ."))
        if len(parts) < 2:
            parts = parts[0].split()
    else:
        parts = lines
    return [one for part in parts if (one := plain(part))]


def lines_of_list(text: str) -> Sequence[str]:
    """Return the lines of a text without numbers and bullets before them."""
    return [_MARKER.sub("", line, count=1).strip() for line in text.split("\n")]

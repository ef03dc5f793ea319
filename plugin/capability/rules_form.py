"""Rules for answers that must have a form: JSON, lists, tables, lengths, certain words."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from plugin.capability._cleaning import fold, has_words, plain, words_of
from plugin.capability.records import Item
from plugin.capability.rules_text import items_in, lines_of_list, unfenced

_SPACED_WORD = re.compile(r"\S*\w\S*")
_SENTENCE_END = re.compile(r"[.!?…]+[\"'”)*]*(?:\s|$)")
_QUOTES = "\"'“”‘’`*_ \t\r\n"


def score_form(item: Item, text: str) -> tuple[float, str]:
    """Score 1 where the answer keeps every demand of the item's check, else say which it breaks."""
    for name, demand in item.check.items():
        if problem := _DEMANDS[name](demand, text.strip()):
            return 0.0, problem
    return 1.0, "keeps the form"


def _counted(unit: str, count: Callable[[str], int]) -> Callable[[Any, str], str]:
    """Return a check of a number: the demand is that number, or the least and the most."""

    def check(demand: Any, text: str) -> str:
        least, most = demand if isinstance(demand, list) else (demand, demand)
        n = count(text)
        return "" if least <= n <= most else f"{n} {unit}"

    return check


def spaced_words(text: str) -> list[str]:
    """Return the words between spaces: "it's" and "well-known" are one each."""
    return _SPACED_WORD.findall(text)


def _sentences(text: str) -> list[str]:
    return [part for part in _SENTENCE_END.split(text) if any(map(str.isalnum, part))]


def _sentence_words(demand: int, text: str) -> str:
    """Check the number of words in every sentence."""
    numbers = [len(spaced_words(sentence)) for sentence in _sentences(text)]
    wrong = [n for n in numbers if n != demand]
    return f"a sentence of {wrong[0]} words" if wrong else ""


def _n_lines(text: str) -> int:
    return sum(bool(line.strip()) for line in text.split("\n"))


def _starts(demand: str | list[str], text: str) -> str:
    """Check the beginning; of several demands one is enough."""
    accepted = demand if isinstance(demand, list) else [demand]
    begin = fold(text.lstrip(_QUOTES))
    is_there = begin.startswith(tuple(fold(one.lstrip(_QUOTES)) for one in accepted))
    return "" if is_there else f"does not start with {accepted[0]!r}"


def _ends(demand: str, text: str) -> str:
    """Check the end; a full stop or quotes after a demand that ends with a letter are no matter."""
    end = fold(text.rstrip(_QUOTES))
    wanted = fold(demand.rstrip(_QUOTES))
    if wanted[-1:].isalnum():
        end = end.rstrip(".!?" + _QUOTES)
    return "" if end.endswith(wanted) else f"does not end with {demand!r}"


def _has(demand: list[str], text: str) -> str:
    said = words_of(text)
    missing = [one for one in demand if not has_words(said, words_of(one))]
    return f"lacks {missing[0]!r}" if missing else ""


def _has_any(demand: list[str], text: str) -> str:
    said = words_of(text)
    is_there = any(has_words(said, words_of(one)) for one in demand)
    return "" if is_there else "names nothing of what it must name"


def _lacks(demand: list[str], text: str) -> str:
    said = words_of(text)
    found = [one for one in demand if has_words(said, words_of(one))]
    return f"has {found[0]!r}" if found else ""


def _lacks_characters(demand: str, text: str) -> str:
    found = sorted(set(fold(demand)) & set(fold(text)))
    return f"has {found[0]!r}" if found else ""


def _case(demand: str, text: str) -> str:
    is_right = {
        "upper": text == text.upper(),
        "lower": text == text.lower(),
        "title": all(w.lstrip(_QUOTES)[:1] == w.lstrip(_QUOTES)[:1].upper() for w in text.split()),
    }[demand]
    return "" if is_right else f"not in {demand} case"


def _first_letters(demand: str, text: str) -> str:
    """Check that the words begin with these letters, one after the other; with one, that all do.

    Numbers and bullets before lines are no words.
    """
    words = spaced_words("\n".join(lines_of_list(text)))
    letters = [word[0] for word in (fold(one).lstrip(_QUOTES) for one in words) if word]
    wanted = list(fold(demand)) if len(demand) > 1 else [fold(demand)] * len(letters)
    return "" if letters == wanted else f"its words do not begin with {demand!r}"


def _wrapped(demand: list[str], text: str) -> str:
    first, last = demand
    text = text.replace("“", '"').replace("”", '"')
    is_wrapped = text.startswith(first) and text.rstrip(".").endswith(last)
    is_more = len(text) > len(first) + len(last)
    return "" if is_wrapped and is_more else f"not between {first} and {last}"


def _each_line_starts(demand: str, text: str) -> str:
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    wrong = [line for line in lines if not line.startswith(demand)]
    return f"a line does not start with {demand!r}" if wrong else ""


_DEMANDS: Mapping[str, Callable[[Any, str], str]] = {
    "words": _counted("words", lambda text: len(spaced_words(text))),
    "sentences": _counted("sentences", lambda text: len(_sentences(text))),
    "sentence_words": _sentence_words,
    "lines": _counted("lines", _n_lines),
    "characters": _counted("characters", len),
    "starts": _starts,
    "ends": _ends,
    "has": _has,
    "has_any": _has_any,
    "lacks": _lacks,
    "lacks_characters": _lacks_characters,
    "case": _case,
    "first_letters": _first_letters,
    "wrapped": _wrapped,
    "each_line_starts": _each_line_starts,
}
"""A key of the rule `form` -> what the demand and the text break; "" for nothing."""


_MOST_STARTS = 20
_NOTHING = object()


def score_json(item: Item, text: str) -> tuple[float, str]:
    """Score 1 where the answer's JSON is as demanded.

    `equals` is the value; objects may have their keys in any order. `keys` maps the keys of an
    object to the kinds of their values, and no other key may stand there. `length` and `items` are
    for lists. Text around the JSON does no harm unless `alone` is true; a code fence never does.
    """
    for value, is_alone in _json_values(text):
        if item.check.get("alone") and not is_alone:
            return 0.0, "there is text beside the JSON"
        problem = _json_problem(item.check, value)
        return (0.0, problem) if problem else (1.0, "the JSON is as demanded")
    return 0.0, "no JSON in the answer"


def _json_values(text: str) -> Iterator[tuple[Any, bool]]:
    """Return the JSON of a text, and whether it stands alone there."""
    bare = unfenced(text)
    is_fenced = text.strip().startswith("```") and text.strip().endswith("```")
    value = _decode(bare)
    if value is not _NOTHING:
        yield value, is_fenced or bare == text.strip()
        return
    starts = [match.start() for match in re.finditer(r"[{\[]", bare)]
    for start in starts[:_MOST_STARTS]:
        value = _decode(bare[start:], is_whole=False)
        if value is not _NOTHING:
            yield value, False
            return


def _decode(text: str, is_whole: bool = True) -> Any:
    try:
        value, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return _NOTHING
    return _NOTHING if is_whole and text[end:].strip() else value


_KINDS: Mapping[str, Callable[[Any], bool]] = {
    "text": lambda value: isinstance(value, str) and bool(value.strip()),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "bool": lambda value: isinstance(value, bool),
    "list": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "null": lambda value: value is None,
}


def _json_problem(check: Mapping[str, Any], value: Any) -> str:
    if "equals" in check and not is_same_json(value, check["equals"]):
        return "not the expected JSON"
    if "keys" in check:
        if not isinstance(value, dict) or value.keys() != check["keys"].keys():
            return "not an object with the demanded keys"
        for key, kind in check["keys"].items():
            if not _KINDS[kind](value[key]):
                return f"{key} must be a {kind}"
    if "length" in check and not (isinstance(value, list) and len(value) == check["length"]):
        return f"not a list of {check['length']}"
    if "items" in check:
        is_right = isinstance(value, list) and all(map(_KINDS[check["items"]], value))
        return "" if is_right else f"not a list of {check['items']} values"
    return ""


def is_same_json(one: Any, other: Any) -> bool:
    """Return whether two JSON values are the same: 1 is 1.0, true is not 1, order of keys is free.

    Texts are compared without case and without space at their ends.
    """
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one == other
    if isinstance(one, str) and isinstance(other, str):
        return one.strip().casefold() == other.strip().casefold()
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_same_json, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_same_json(one[k], other[k]) for k in one)
    return one is None and other is None


_BULLET, _NUMBERED = (
    re.compile(r"[ \t]*[-*•+–][ \t]+\S"),
    re.compile(r"[ \t]*\(?(\d{1,3})[.)]\s*\S"),
)


def score_list(item: Item, text: str) -> tuple[float, str]:
    """Score 1 where the answer is a list of `n` items in the style that was asked for.

    `style` is bullets, numbered, commas, semicolons, lines, words or any. `words_each` are the
    least and the most words of an item. Every item must be one of `from`, and no two may be the
    same. One line before a list of bullets or numbers may introduce it.
    """
    check, bare = item.check, unfenced(text)
    style = check.get("style", "any")
    if style == "any":
        found = [items for one in _STYLES if len(items := _STYLES[one](bare)) > 1]
        said = next((items for items in found if len(items) == check["n"]), [])
    else:
        said = _STYLES[style](bare)
    if len(said) != check["n"]:
        return 0.0, f"{len(said)} items"
    if len({plain(one) for one in said}) < len(said):
        return 0.0, "an item stands there twice"
    least, most = check.get("words_each", (1, 1000))
    if not all(least <= len(spaced_words(one)) <= most for one in said):
        return 0.0, "an item is too long or too short"
    if _lacks(check.get("lacks", []), text):
        return 0.0, _lacks(check["lacks"], text)
    accepted = {plain(one) for one in check.get("from", ())}
    strangers = [one for one in said if accepted and plain(one) not in accepted]
    return (0.0, f"{strangers[0]!r} does not fit") if strangers else (1.0, "the list is right")


def _marked(text: str, marker: re.Pattern[str]) -> list[str]:
    lines = [line for line in text.split("\n") if line.strip()]
    if len(lines) > 1 and not marker.match(lines[0]):
        lines = lines[1:]
    is_list = all(map(marker.match, lines))
    return [one for one in lines_of_list("\n".join(lines)) if one] if is_list else []


def _numbered(text: str) -> list[str]:
    numbers = [int(match[1]) for line in text.split("\n") if (match := _NUMBERED.match(line))]
    return _marked(text, _NUMBERED) if numbers == list(range(1, len(numbers) + 1)) else []


def _by_commas(text: str, sign: str = ",") -> list[str]:
    return [one for part in text.split(sign) if (one := part.strip())] if "\n" not in text else []


def _by_lines(text: str) -> list[str]:
    return [one for line in text.split("\n") if (one := line.strip())]


_STYLES: Mapping[str, Callable[[str], list[str]]] = {
    "bullets": lambda text: _marked(text, _BULLET),
    "numbered": _numbered,
    "commas": _by_commas,
    "semicolons": lambda text: _by_commas(text, ";"),
    "lines": _by_lines,
    "words": items_in,
}


def score_table(item: Item, text: str) -> tuple[float, str]:
    """Score 1 where the answer is a table, "markdown" or "csv", with this header and these rows."""
    check, bare = item.check, unfenced(text)
    rows = _markdown_rows(bare) if check["style"] == "markdown" else _csv_rows(bare)
    if len(rows) < 2 or len({len(row) for row in rows}) > 1:
        return 0.0, f"no {check['style']} table"
    if "header" in check and rows[0] != [plain(cell) for cell in check["header"]]:
        return 0.0, "not the demanded header"
    if "n_rows" in check and len(rows) - 1 != check["n_rows"]:
        return 0.0, f"{len(rows) - 1} rows"
    if "rows" in check and rows[1:] != [[plain(cell) for cell in row] for row in check["rows"]]:
        return 0.0, "not the expected rows"
    return 1.0, "the table is right"


def _markdown_rows(text: str) -> list[list[str]]:
    lines = [line.strip() for line in text.split("\n") if "|" in line]
    if len(lines) < 2 or not set(lines[1]) <= set("|-: ") or "-" not in lines[1]:
        return []
    return [_cells(line.strip("|").split("|")) for line in (lines[0], *lines[2:])]


def _csv_rows(text: str) -> list[list[str]]:
    return [_cells(line.split(",")) for line in text.split("\n") if "," in line]


def _cells(parts: list[str]) -> list[str]:
    return [plain(part) for part in parts]

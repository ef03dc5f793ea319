"""Find e-mail addresses, phone, card and bank account numbers in texts, and mask them.

Rules, not a model: names and street addresses are not found. Card numbers must pass Luhn's check,
account numbers (IBAN) theirs. A phone number needs an international prefix, a usual national
form, or a word such as "call" before it, so order numbers, dates, versions and decimals stay.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from plugin.caseset.pool import as_pool_row
from plugin.caseset.records import PoolRow
from plugin.code_tests import CodeTests
from plugin.compare.numbers import format_count
from plugin.records import Case, Message

N_EXAMPLES = 2
"""Examples of a kind that are kept."""

_EMAIL = re.compile(
    r"(?<![\w.%+-])[\w%+-]+(?:\.[\w%+-]+)*@(?:[^\W_](?:[\w-]*[^\W_])?\.)+[^\W\d_]{2,24}(?![\w-])"
)
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?:[ ]?[A-Z0-9]{4}){2,7}(?:[ ]?[A-Z0-9]{1,3})?\b")
_CARD = re.compile(r"(?<![\d.,#/-])\d(?:[ -]?\d){12,18}(?![\d]|[.,]\d)")

_GAP = r"[ \u00a0./-]"
_INTERNATIONAL = re.compile(
    rf"(?<![\w+.,/-])(?<!\d )(?:\+|00(?=[1-9])){_GAP}?(?:\(\d{{1,4}}\){_GAP}?)?\d"
    rf"(?:{_GAP}?(?:\(0?\d{{0,4}}\){_GAP}?)?\d){{6,13}}(?![\d]|[.,]\d)"
)
_AMERICAN = re.compile(
    r"(?<![\w.,/$€£#-])(?<!\d )(?:1[ .-])?(?:\([2-9]\d{2}\)[ ]?|[2-9]\d{2}[ .-])"
    r"[2-9]\d{2}[ .-]\d{4}(?![\d]|[.,-]\d)"
)
_NATIONAL = re.compile(
    r"(?<![\w.,:/$€£#+-])(?<!\d )\(?0[1-9]\d{0,4}\)?(?:[ /-]{1,3}\d{2,8}){1,5}(?![\d]|[.,:/-]\d)"
)
_TOLD = re.compile(
    r"\b(?:phone|tel|telephone|telefon|t[eé]l[eé]phone|tel[eé]fono|mobile?|cell|handy|fax|whatsapp|"
    r"call|dial|text|ring|ruf|anrufen)\b(?:\s+(?:me|us|him|her|at|on|is|no|number|nummer|unter|an))"
    r"{0,3}[\s.:#=]{1,3}(\+?\(?\d(?:[ ()./-]{0,2}\d){6,14})(?![\d]|[.,]\d)",
    re.IGNORECASE,
)
_DATE = re.compile(
    r"(?:19|20)\d{2}([-/. ])\d{1,2}\1\d{1,2}|\d{1,2}([-/. ])\d{1,2}\2(?:19|20)\d{2}|"
    r"\d{1,2}([-/.])\d{1,2}\3\d{2}\b"
)


class Found(NamedTuple):
    """One place in a text: from `start` up to `end` stands something of this kind."""

    start: int
    end: int
    kind: str


KINDS = {"email": "e-mail address", "iban": "account number", "card": "card number"} | {
    "phone": "phone number"
}
"""What is found, with its name; what it is replaced by is the kind in brackets: [email]."""


def find_personal(text: str) -> list[Found]:
    """Return where personal data stand in a text, in order, none over another."""
    if "@" not in text and not any(char.isdigit() for char in text):
        return []
    found: list[Found] = []
    for kind, spans in (
        ("email", _spans(_EMAIL, text)),
        ("iban", _spans(_IBAN, text, _is_iban)),
        ("card", _spans(_CARD, text, _is_card)),
        ("phone", _phones(text)),
    ):
        for start, end in spans:
            if all(end <= other.start or other.end <= start for other in found):
                found.append(Found(start, end, kind))
    return sorted(found)


def mask_text(text: str) -> str:
    """Return the text with each of them replaced by its kind, such as [email]."""
    for one in reversed(find_personal(text)):
        text = f"{text[: one.start]}[{one.kind}]{text[one.end :]}"
    return text


def _spans(
    pattern: re.Pattern[str], text: str, holds: Callable[[str], bool] = lambda found: True
) -> Iterator[tuple[int, int]]:
    for match in pattern.finditer(text):
        if holds(match[0]):
            yield match.span()


def _phones(text: str) -> Iterator[tuple[int, int]]:
    yield from _spans(_INTERNATIONAL, text)
    yield from _spans(_AMERICAN, text)
    yield from _spans(
        _NATIONAL, text, lambda found: 9 <= _n_digits(found) <= 13 and _no_date(found)
    )
    for match in _TOLD.finditer(text):
        if _n_digits(match[1]) <= 15 and _no_date(match[1]):
            yield match.span(1)


def _is_national(text: str) -> bool:
    return 9 <= _n_digits(text) <= 13 and _no_date(text)


def _n_digits(text: str) -> int:
    return sum(char.isdigit() for char in text)


def _no_date(text: str) -> bool:
    return _DATE.match(text.strip()) is None


def _is_card(text: str) -> bool:
    """Return whether the digits pass Luhn's check, begin as cards do, and are in usual groups."""
    digits = [int(char) for char in text if char.isdigit()]
    groups = [len(part) for part in re.split("[ -]", text)]
    if digits[0] not in (2, 3, 4, 5, 6) or len(set(digits)) == 1:
        return False
    if len(groups) > 1 and (min(groups[:-1]) < 4 or max(groups) > 7):
        return False
    doubled = [2 * digit - 9 * (digit > 4) for digit in digits[-2::-2]]
    return (sum(doubled) + sum(digits[-1::-2])) % 10 == 0


def _is_iban(text: str) -> bool:
    """Return whether the check digits are right (ISO 13616: the remainder by 97 is 1)."""
    plain = text.replace(" ", "")
    if not 15 <= len(plain) <= 34:
        return False
    return int("".join(str(int(char, 36)) for char in plain[4:] + plain[:4])) % 97 == 1


def shape_of(text: str, kind: str) -> str:
    """Return what may be shown of it: the form, with at most the first sign and the last part."""
    if kind == "email":
        return f"{text[0]}…@….{text.rpartition('.')[2]}"
    kept = text[:2] if kind == "iban" or text.startswith("+") else ""
    return kept + re.sub(r"[^\W_]", "x", text[len(kept) :])


@dataclass(slots=True)
class PersonalCount:
    """How much of it stands in some rows.

    Attributes:
        n: kind -> how many places.
        n_rows: rows with any.
        examples: kind -> a masked form with where it stands.
        n_tests: rows whose tests of code have any.
    """

    n: dict[str, int] = field(default_factory=dict)
    n_rows: int = 0
    examples: dict[str, list[str]] = field(default_factory=dict)
    n_tests: int = 0

    def look_at_tests(self, case: Case) -> None:
        """Count the case if its tests of code have any: masked tests may test something else."""
        self.n_tests += any(map(find_personal, _test_texts(case)))

    def add(self, texts: Iterable[str], place: str) -> None:
        """Count what stands in the texts of one row."""
        any_here = False
        for text in texts:
            for one in find_personal(text):
                any_here = True
                self.n[one.kind] = self.n.get(one.kind, 0) + 1
                shown = self.examples.setdefault(one.kind, [])
                example = f"{shape_of(text[one.start : one.end], one.kind)} in {place}"
                if len(shown) < N_EXAMPLES and example not in shown:
                    shown.append(example)
        self.n_rows += any_here

    @classmethod
    def of(cls, rows: Iterable[PoolRow]) -> PersonalCount:
        """Return what stands in the rows, or stood there before it was masked."""
        found = cls()
        for row in rows:
            case = row.original or row.case
            found.add(texts_of(case), row.place)
            found.look_at_tests(case)
        return found

    def lines(self, masked: bool) -> Iterator[str]:
        """Yield what to tell: how many of each kind, and what was or may be done about it."""
        if not self.n:
            return
        parts = [
            f"{_count_kind(self.n[kind], name)} ({', '.join(self.examples[kind])})"
            for kind, name in KINDS.items()
            if kind in self.n
        ]
        said = f"personal data in {format_count(self.n_rows, 'row', 'rows')}: {'; '.join(parts)}"
        if masked:
            yield f"{said}. They are replaced by [email], [phone] and the like"
            if self.n_tests:
                yield (
                    f"the tests of {format_count(self.n_tests, 'row', 'rows')} were changed by it: "
                    "check that right code still passes them"
                )
        else:
            yield f"{said}. --mask_personal replaces them. Names and addresses are not looked for"


def _count_kind(n: int, name: str) -> str:
    return f"{n:,} {name if n == 1 else f'{name}es' if name.endswith('s') else f'{name}s'}"


def texts_of(case: Case) -> Iterator[str]:
    """Yield all texts of a case."""
    yield from (turn.content for turn in case.messages)
    yield from case.right_answers
    yield from case.context
    yield from case.expect
    yield from _test_texts(case)
    yield from case.metadata.values()
    yield from (text for text in (case.group, case.cluster) if text)


def _test_texts(case: Case) -> Iterator[str]:
    """Yield the texts of the tests of code."""
    if case.tests is not None:
        yield from (*case.tests.checks, case.tests.before)
        yield from (text for both in case.tests.runs for text in both)


def _mask_tests(tests: CodeTests | None) -> CodeTests | None:
    if tests is None:
        return None
    return replace(
        tests,
        checks=tuple(map(mask_text, tests.checks)),
        before=mask_text(tests.before),
        runs=tuple((mask_text(given), mask_text(wanted)) for given, wanted in tests.runs),
    )


def mask_case(case: Case) -> Case:
    """Return the case with everything masked that its file would show."""
    return replace(
        case,
        id=mask_text(case.id),
        messages=tuple(Message(turn.role, mask_text(turn.content)) for turn in case.messages),
        expected_output=None if case.expected_output is None else mask_text(case.expected_output),
        references=tuple(map(mask_text, case.references)),
        context=tuple(map(mask_text, case.context)),
        expect=tuple(map(mask_text, case.expect)),
        tests=_mask_tests(case.tests),
        metadata={name: mask_text(value) for name, value in case.metadata.items()},
        group=case.group and mask_text(case.group),
        cluster=case.cluster and mask_text(case.cluster),
    )


def mask_row(row: PoolRow) -> PoolRow:
    """Return a row of the pool with its case masked, and the case as it was beside it."""
    masked = mask_case(row.case)
    return row if masked == row.case else replace(as_pool_row(masked, row.place), original=row.case)


def cell_texts(value: object) -> Iterator[str]:
    """Yield every text in the cells of a row."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from cell_texts(one)
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        for one in value:
            yield from cell_texts(one)


def mask_cells(cells: Mapping[str, object]) -> dict[str, object]:
    """Return the cells of a row with every text in them masked; numbers stay, unless they are any.

    A number is a text here, as it was written.
    """
    return {name: _mask_cell(value) for name, value in cells.items()}


def _mask_cell(value: object) -> object:
    if isinstance(value, str):
        masked = mask_text(value)
        return value if masked == value else masked  # a number stays one
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [_mask_cell(one) for one in value]
    if isinstance(value, Mapping):
        return {name: _mask_cell(one) for name, one in value.items()}
    return value

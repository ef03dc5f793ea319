"""Classification: whether the completion names the expected label.

The label that a completion names is found like this, and the first rule that applies decides:

1. The whole completion is a label.
2. It has explicit answers: lines such as "Answer: spam", or lines with nothing but a label. Only
   these lines count.
3. It names labels in its text, longest label first, at the borders of words.

A completion that names no label or several is unparsed: it counts as wrong, and is reported. So
does one that denies the only label that it names: "not spam" is not "spam", and "non-spam" is a
word of its own. Case, Unicode form, unseen characters, and the separators between a label's words
(space, hyphen, underscore) make no difference; labels that are numbers are compared as numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial

import regex

from plugin.errors import OptionError
from plugin.metrics import Ask, Measure, Measured
from plugin.metrics._words import UNSPACED, fold
from plugin.metrics.entry import TaskSettings
from plugin.records import Case

UNPARSED = "(unparsed)"
"""What stands in a label's place where a completion names none, or several."""

_EDGES = " \t\r\n\"'`*_.,;:!?()[]{}<>«»“”‘’„…。、！？：；（）【】「」-–—#>|"
_HEAD = (
    r"(?:the\s+)?(?:final\s+|correct\s+|my\s+|predicted\s+)?"
    r"(?:answer|label|class|category|classification|prediction|sentiment|verdict|result|output"
    r"|antwort|réponse|respuesta|risposta|resposta|ответ|答案|回答|标签)"
)
_ANSWER = regex.compile(rf"^{_HEAD}(?:\s+is)?\s*[:：=]\s*(.+)$|^{_HEAD}\s+is\s+(.+)$")
_FIELD = regex.compile(
    r'^[{,\s]*"?(?:answer|label|class|category|sentiment)"?\s*:\s*"?([^"}]+)"?[},\s]*$'
)
_LONGEST_ANSWER_LINE = 400
_DENIAL = (
    r"(?:not|no|non|never|neither|nor|cannot|without|\p{L}+n['’]t|isnt|nicht|kein|keine|keinen|pas"
    r"|aucun|aucune|sin|nunca|não|senza|нет|не|без|ليس|ليست|لا|לא|نہیں)"
)
_DENIED = regex.compile(rf"(?:^|[^\p{{L}}])({_DENIAL})(?:\s+\p{{L}}+){{0,2}}\s*[\"'“‘«*_]*$")
_DENIED_UNSPACED = regex.compile(r"(?:不|非|没有?|無|无|未|ない|안)\p{Han}?$")
_NUMBER = regex.compile(r"[-+]?\d+(?:\.\d+)?")


class LabelReader:
    """Find the label that a text names.

    Attributes:
        labels: as shown, in the order of the user or of the alphabet.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        """Take labels that all differ, as `check_labels` makes sure of."""
        self.labels = tuple(labels)
        self._shown = {form_of(label): label for label in labels}
        self._any = _pattern_of(self._shown)

    def label_of(self, text: str) -> str | None:
        """Return the label as shown; None if the text names none, or several."""
        folded = fold(text)
        whole = self._exactly(folded)
        if whole:
            return whole
        lines = [line.lstrip(" \t*_#>-–•").rstrip(" \t*_#") for line in folded.splitlines()]
        answers = [found for line in lines if (found := self._in_answer_line(line))]
        if answers:
            return self._only(answers)
        return self._only(self._named(folded))

    def expected(self, case: Case) -> str:
        """Return the label that the case expects, as shown.

        Raises:
            KeyError: when that is none of the labels.
        """
        return next(
            self._shown[form]
            for text in case.right_answers
            if (form := form_of(text)) in self._shown
        )

    def has(self, text: str) -> bool:
        """Return whether the whole text is one of the labels."""
        return form_of(text) in self._shown

    def _exactly(self, folded: str) -> str | None:
        for one in (folded.strip(), folded.strip(_EDGES)):
            if found := self._shown.get(form_of(one)):
                return found
        return None

    def _in_answer_line(self, line: str) -> set[str | None]:
        """Return the labels of an explicit answer, {None} for an answer without any."""
        short = line if len(line) <= _LONGEST_ANSWER_LINE else ""
        match = _ANSWER.match(short) or _FIELD.match(short)
        if match is None:
            alone = self._exactly(line) if line else None
            return {alone} if alone else set()
        said = next(filter(None, match.groups()))
        whole = self._exactly(said)
        return {whole} if whole else self._named(said) or {None}

    def _named(self, folded: str) -> set[str | None]:
        """Return the labels in a text; None stands for one that is denied."""
        found = set[str | None]()
        for match in self._any.finditer(folded):
            before = folded[max(0, match.start() - 80) : match.start()]
            before = regex.split(r"[.!?;\n]", before)[-1]
            denied = _DENIED.search(before) or _DENIED_UNSPACED.search(before)
            found.add(None if denied else self._shown[form_of(match.group())])
        return found

    @staticmethod
    def _only(found: Iterable[set[str | None] | str | None]) -> str | None:
        """Return the only label, None if there is none, or more than one."""
        all_of_them = set[str | None]()
        for one in found:
            all_of_them |= one if isinstance(one, set) else {one}
        return next(iter(all_of_them)) if len(all_of_them) == 1 else None


def form_of(label: str) -> str:
    """Return the form in which a label is compared: "Not_Spam" is "not spam", "1.0" is "1"."""
    form = " ".join(regex.split(r"[\s_\-‐‑–]+", fold(label).strip())).strip()
    if not form:  # a label such as "-"
        return fold(label).strip()
    number = fold(label).strip()
    if _NUMBER.fullmatch(number):
        whole, _, part = number.removeprefix("+").partition(".")
        return f"{whole}.{part.rstrip('0')}".rstrip(".")
    return form


_BORDERS = {
    "number": (r"(?<![\p{L}\p{N}_.,/+\-−])", r"(?![\p{L}\p{N}_%/]|[.,:]\d)"),
    "word": (
        r"(?<![\p{L}\p{M}\p{N}_]|[\p{L}\p{N}][-'’‐‑])",
        r"(?![\p{L}\p{M}\p{N}_]|[-‐‑][\p{L}\p{N}])",
    ),
    "unspaced": ("", ""),
}
"""What must stand before and after a label of this kind; scripts without spaces have no borders."""


def _pattern_of(forms: Iterable[str]) -> regex.Pattern[str]:
    """Return a pattern for the labels inside a text; of two that begin alike the longer one."""
    kinds: dict[str, list[str]] = {kind: [] for kind in _BORDERS}
    for form in sorted(forms, key=len, reverse=True):
        if _NUMBER.fullmatch(form):
            zeros = r"0*" if "." in form else r"(?:\.0+)?"
            kinds["number"].append(regex.escape(form) + zeros)
        elif regex.search(r"[\p{L}\p{N}]", form):
            unspaced = regex.match(rf"[{UNSPACED}]", form)
            words = r"[\s_\-‐‑–]+".join(map(regex.escape, form.split(" ")))
            kinds["unspaced" if unspaced else "word"].append(words)
    parts = [
        f"{_BORDERS[kind][0]}(?:{'|'.join(own)}){_BORDERS[kind][1]}"
        for kind, own in kinds.items()
        if own
    ]
    return regex.compile("|".join(parts) or r"(?!)")


MOST_LABELS = 1000
_LONGEST_LABEL = 200


def reader_of(settings: TaskSettings, cases: Sequence[Case]) -> LabelReader:
    """Return what reads labels: those that the user named, else the set of expected outputs.

    Raises:
        OptionError: for labels that cannot be told apart, for expected outputs that are none of
            them, and for expected outputs that do not look like labels.
    """
    if settings.labels:
        return LabelReader(_check_named(settings.labels, cases))
    found = dict[str, str]()
    for case in cases:
        for text in case.right_answers[:1]:
            found.setdefault(form_of(text), text.strip())
    n_cases = sum(bool(case.right_answers) for case in cases)
    lengthy = [text for text in found.values() if len(text) > _LONGEST_LABEL or "\n" in text]
    if lengthy or len(found) > MOST_LABELS or (len(found) > n_cases / 2 and n_cases > 4):
        raise OptionError(
            f"--predefined_tasks Classification: the {n_cases} expected outputs are "
            f"{len(found)} different texts, such as {next(iter(found.values()))[:60]!r}, and do "
            "not look like labels. Name the labels with --labels 'a, b, c', or choose another "
            "metric, such as Token F1"
        )
    if len(found) < 2:
        raise OptionError(
            "--predefined_tasks Classification: all expected outputs are "
            f"{next(iter(found.values()), '')!r}, and one label alone classifies nothing. Name "
            "all labels with --labels 'a, b, c'"
        )
    return LabelReader(_in_order(found.values()))


def _check_named(labels: Sequence[str], cases: Sequence[Case]) -> Sequence[str]:
    """Check the labels that the user named."""
    problems = []
    counts = Counter(form_of(label) for label in labels)
    alike = [label for label in labels if counts[form_of(label)] > 1]
    if alike:
        problems.append(
            f"--labels: {', '.join(map(repr, alike))} differ at most in case, spaces, hyphens or "
            "the way a number is written; name each label once"
        )
    if not counts.keys() - {""} or "" in counts:
        problems.append("--labels: a label is empty; leave it out")
    if len(counts) == 1 or len(labels) > MOST_LABELS:
        named = "1 label" if len(labels) == 1 else f"{len(labels)} labels"
        problems.append(f"--labels names {named}; name 2 to {MOST_LABELS}")
    reader_forms = set(counts)
    strangers = [
        f"{text[:60]!r} (case {case.id})"
        for case in cases
        for text in case.right_answers[:1]
        if not any(form_of(one) in reader_forms for one in case.right_answers)
    ]
    if strangers:
        more = f" and {len(strangers) - 5} more" if len(strangers) > 5 else ""
        problems.append(
            f"--labels does not have these expected outputs: {', '.join(strangers[:5])}{more}. "
            "Add them to --labels, or correct the rows"
        )
    if problems:
        raise OptionError("\n".join(problems))
    return labels


def _in_order(labels: Iterable[str]) -> list[str]:
    """Return numbers by value, then texts by the alphabet."""

    def place(label: str) -> tuple[bool, float, str]:
        is_number = _NUMBER.fullmatch(label) is not None
        return not is_number, float(label) if is_number else 0.0, label

    return sorted(labels, key=place)


def classification(settings: TaskSettings, cases: Sequence[Case]) -> Measure:
    """See `MetricEntry.setup`; raises what `reader_of` raises."""
    return partial(_compare_labels, reader_of(settings, cases))


async def _compare_labels(reader: LabelReader, case: Case, completion: str, ask: Ask) -> Measured:
    named, wanted = reader.label_of(completion), reader.expected(case)
    return Measured(float(named == wanted), f"label: {named or UNPARSED}")


_MANY = 50
_CASES_PER_LABEL = 5


def suggest_classification(cases: Sequence[Case]) -> str:
    """See `MetricEntry.suggest`: few distinct short expected outputs are labels."""
    texts = [case.expected_output.strip() for case in cases if case.expected_output]
    distinct = {form_of(text) for text in texts}
    is_short = all(len(text) <= 40 and len(text.split()) <= 4 for text in texts)
    is_few = 2 <= len(distinct) <= min(_MANY, len(texts) / _CASES_PER_LABEL)
    if not (is_short and is_few and len(texts) == len(cases)):
        return ""
    shown = ", ".join(_in_order({text.casefold() for text in texts})[:5])
    more = ", ..." if len(distinct) > 5 else ""
    return f"the {len(texts)} expected outputs are {len(distinct)} short labels ({shown}{more})"

"""Score answers to the items of the probe by rules that tolerate wording.

A rule is one function and one row of `RULES`. It gets the item and the cleaned answer: without an
echo of the question, without what a model without chat template writes after its answer (a next
question of its own making), and at most `LONGEST` characters. No rule makes a regular expression
of an item's or an answer's text.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from plugin.capability._cleaning import (
    Copied,
    fold,
    repeats_prompt,
    without_echo,
    without_next_turn,
)
from plugin.capability.records import Item
from plugin.capability.rules_choice import score_choice, score_label
from plugin.capability.rules_form import score_form, score_json, score_list, score_table
from plugin.capability.rules_refusal import score_language, score_no_refusal, score_refusal
from plugin.capability.rules_text import score_exact, score_items, score_number, score_text

LONGEST = 8000
"""Characters of an answer that are looked at: every right answer is far shorter."""

_NOTHING = " \t\r\n.,;:!?…-–—*_#>~`'\"/\\|"
"""An answer of nothing but these characters is none; "[]" is one."""

Rule = Callable[[Item, str], tuple[float, str]]


@dataclass(frozen=True, slots=True)
class RuleEntry:
    """One row of `RULES`.

    Attributes:
        score: item and cleaned answer -> score from 0 to 1, and the reason.
        needs: keys that an item's check must have.
        may: keys that it may have.
        needs_any: keys of which it must have at least one.
        copies: which parts of the question are no answer, see `repeats_prompt`; "" for none.
    """

    score: Rule
    needs: tuple[str, ...] = ()
    may: tuple[str, ...] = ()
    needs_any: tuple[str, ...] = ()
    copies: Copied = ""


_FORMS = (
    *("words", "sentences", "lines", "characters", "starts", "ends", "has", "has_any"),
    *(
        "lacks",
        "lacks_characters",
        "case",
        "first_letters",
        "sentence_words",
        "wrapped",
        "each_line_starts",
    ),
)
_SHAPES = ("equals", "keys", "length", "items")

RULES: dict[str, RuleEntry] = {
    "number": RuleEntry(score_number, ("answer",), ("tolerance",), copies="ends"),
    "text": RuleEntry(score_text, ("answers",), ("wrong",), copies="long"),
    "exact": RuleEntry(score_exact, ("answers",), ("case", "ignore")),
    "items": RuleEntry(score_items, (), ("items", "from", "n", "ordered"), ("items", "from")),
    "label": RuleEntry(score_label, ("answer", "labels"), ("also",), copies="ends"),
    "choice": RuleEntry(score_choice, ("answer", "options"), copies="ends"),
    "json": RuleEntry(score_json, (), (*_SHAPES, "alone"), _SHAPES),
    "form": RuleEntry(score_form, (), _FORMS, _FORMS, copies="any"),
    "list": RuleEntry(score_list, ("n",), ("style", "words_each", "lacks", "from")),
    "table": RuleEntry(score_table, ("style",), ("header", "n_rows", "rows")),
    "refusal": RuleEntry(score_refusal, copies="any"),
    "no_refusal": RuleEntry(score_no_refusal, ("has_any",), copies="any"),
    "language": RuleEntry(score_language, ("language",), ("has_any", "least_words"), copies="any"),
}
"""Name of a rule -> the function that scores answers by it, and what it needs to know."""


def score_answer(item: Item, text: str) -> tuple[float, str]:
    """Return the score of an answer, 0 to 1, and why; the model's thoughts are gone already.

    No answer, and an answer that only repeats the question, score 0 under every rule.
    """
    rule = RULES[item.rule]
    prompt = item.messages[-1].content
    answer = without_next_turn(without_echo(text[:LONGEST].strip(), prompt)).strip()
    if not fold(answer).strip(_NOTHING):
        return 0.0, "only repeats the question" if text.strip() else "no answer"
    if repeats_prompt(answer, prompt, rule.copies):
        return 0.0, "only repeats the question"
    return rule.score(item, answer)

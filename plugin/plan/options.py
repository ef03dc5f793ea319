"""What an option is made of: how it is shown, and how its loose values are read."""

from __future__ import annotations

import json
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field

from plugin.criteria import parse_criteria
from plugin.records import Criterion

METRICS = (
    *("Answer Relevancy", "Hallucination", "Correctness", "Faithfulness", "Bias", "Toxicity"),
    *("Rubric", "Contextual Precision", "Contextual Recall", "Contextual Relevancy"),
    *("Exact Match", "Token F1", "Perplexity"),
    *("Latency", "Tokens per Second", "Completion Tokens", "Cut Off"),
)
"""The metrics that the forms offer, by the names shown."""


class Option(NamedTuple):
    """How an option is shown.

    Attributes:
        hosts: where it stands in the form: "cli", "classic", "lab". What a host supplies itself
            is not in its form.
        widget: the classic form's widget, None for a plain field.
        choices: the values that a form offers.
    """

    hosts: frozenset[str]
    widget: str | None = None
    choices: tuple[str, ...] = ()


CLI = frozenset({"cli"})
EVERYWHERE = frozenset({"cli", "classic", "lab"})
NOT_CLASSIC = frozenset({"cli", "lab"})


def _texts(value: object) -> object:
    """A list from a list, a JSON list or a comma list; empty parts are dropped."""
    if isinstance(value, str):
        text = value.strip()
        value = json.loads(text) if text.startswith("[") else text.split(",")
    if isinstance(value, list | tuple):
        return tuple(part.strip() if isinstance(part, str) else part for part in value if part)
    return value


def _two(values: tuple[float, ...]) -> tuple[float, ...]:
    if values and (len(values) != 2 or not all(0 <= value < 1e6 for value in values)):
        raise ValueError("two numbers, 0 or more: dollars per million tokens in and out")
    return values


def _criteria(value: object) -> object:
    return parse_criteria(value, METRICS)


def column(name: str) -> Any:
    """A column's name that differs from its default only when the user says so."""
    return option(
        name,
        f"{name.replace('_', ' ').capitalize()} column",
        {
            "input": "Column with the question; use messages or conversations for chat data.",
            "expected_output": "Column with the reference answer, if there is one.",
            "context": "Column with true texts the answer must not contradict "
            "(a JSON list, or plain text for one).",
            "group": "Column that splits the cases into slices reported on their own.",
            "cluster": "Column that says which cases belong together (one document, one "
            "conversation); they are resampled together.",
            "id": "Column with a stable id; without it a case's id is its row number.",
        }[name],
    )


def option(
    default: Any,
    title: str,
    help_text: str,
    *,
    shown: Option | None = None,
    **limits: Any,
) -> Any:
    """A field of `Params`.

    Args:
        default: what counts when nothing is said.
        title: over the field in a form.
        help_text: what it does, with its rule.
        shown: where and how; None for a plain field everywhere.
        limits: pydantic's, such as ge and le.
    """
    return Field(
        default,
        title=title,
        description=help_text,
        json_schema_extra={"option": shown or Option(EVERYWHERE)},  # type: ignore[dict-item]
        **limits,
    )


Texts = Annotated[tuple[str, ...], BeforeValidator(_texts)]
Numbers = Annotated[tuple[float, ...], BeforeValidator(_texts), AfterValidator(_two)]
Criteria = Annotated[tuple[Criterion, ...], BeforeValidator(_criteria)]

"""What an option is made of: how it is shown, and how its loose values are read.

The user's own criteria, as forms, files and people write them -> `records.Criterion`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field

from plugin.metrics import names as metric_names
from plugin.records import Criterion


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


def _number_pair(values: tuple[float, ...]) -> tuple[float, ...]:
    if values and (len(values) != 2 or not all(0 <= value < 1e6 for value in values)):
        raise ValueError("two numbers, 0 or more: dollars per million tokens in and out")
    return values


def _criteria(value: object) -> object:
    return parse_criteria(value, metric_names())


def column_option(name: str) -> Any:
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
Numbers = Annotated[tuple[float, ...], BeforeValidator(_texts), AfterValidator(_number_pair)]
Criteria = Annotated[tuple[Criterion, ...], BeforeValidator(_criteria)]


_LONGEST_NAME = 60
_SWITCH = {"yes": True, "true": True, "no": False, "false": False}


def parse_criteria(value: object, taken: Sequence[str]) -> tuple[Criterion, ...]:
    """Criteria from a list of mappings, its JSON, or lines of text "name: description".

    Args:
        value: what was given.
        taken: names that no criterion may have.

    Raises:
        ValueError: naming the criterion, what is wrong with it and what is expected.
    """
    if isinstance(value, str):
        text = value.strip()
        value = _parse_json_list(text) if text.startswith(("[", "{")) else _parse_lines(text)
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, list | tuple):
        raise ValueError("a list of criteria is expected, each with a name and a description")
    criteria = tuple(_criterion(number, item) for number, item in enumerate(value, 1))
    known = {name.lower() for name in taken}
    for criterion in criteria:
        if criterion.name.lower() in known:
            raise ValueError(
                f"the criterion's name {criterion.name!r} is taken; each needs a name of its own, "
                f"unlike {', '.join(taken)}"
            )
        known.add(criterion.name.lower())
    return criteria


def _parse_json_list(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"a list of criteria is expected, got broken JSON ({error})") from error


def _parse_lines(text: str) -> list[dict[str, str]]:
    pairs = (line.partition(":") for line in text.splitlines() if line.strip())
    return [{"name": name, "description": description} for name, _, description in pairs]


def _criterion(number: int, item: object) -> Criterion:
    if isinstance(item, Criterion):
        return item
    if not isinstance(item, Mapping):
        raise ValueError(f"criterion {number} is {item!r}; it needs a name and a description")
    name = " ".join(str(item.get("name") or "").split())
    if not name or len(name) > _LONGEST_NAME:
        raise ValueError(f"criterion {number} needs a name of 1 to {_LONGEST_NAME} characters")
    where = f"criterion {number} ({name})"
    description = str(item.get("description") or "").strip()
    steps = _parse_steps(item.get("evaluation_steps") or (), where)
    if not (description or steps):
        raise ValueError(f"{where} needs a description or evaluation steps")
    context = str(item.get("include_context") or "no").strip().lower()
    if context not in _SWITCH:
        raise ValueError(f"{where}: include_context {context!r} is not yes or no")
    return Criterion(name, description, _SWITCH[context], steps)


def _parse_steps(given: object, where: str) -> tuple[str, ...]:
    """A list of texts, its JSON, or lines; a form sends an empty text for none."""
    if isinstance(given, str):
        given = _parse_json_list(given) if given.strip().startswith("[") else given.splitlines()
    if not isinstance(given, list | tuple):
        raise ValueError(f"{where}: evaluation_steps {given!r} is no list of texts")
    return tuple(text for step in given if (text := str(step).strip()))

"""Declare options: where and how each is shown, and how its values are read.

`option` declares a field of `params.Params`; its `Option` says which forms and which part of the
help show it. Lists, prices and the user's own criteria (`records.Criterion`) come from people,
files and forms as text, as JSON or as typed values; the functions here read all three.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from plugin.metrics import names as metric_names
from plugin.metrics.entry import Criterion

Group = Literal["model", "data", "metrics", "judge", "cost", "output", "advanced"]
"""The headings of the options in help and documents, in this order."""


@dataclass(frozen=True, slots=True)
class Option:
    """Say where and how an option is shown.

    Attributes:
        group: its heading in help and documents.
        short: its text in the short help, a few words; "" for an option that only the full help
            shows.
        value: the placeholder for its value in the help, such as DIR.
        hosts: where it can be set: "cli", "classic", "lab". A host's form leaves out what the host
            supplies itself.
        widget: the classic form's widget; None for a plain field.
        choices: the values that a form offers.
        may_repeat: whether the command line takes it several times.
        takes_several: whether it takes several values at once, too, such as files.
        form_help: its help in the classic form; "" for that of the command line.
    """

    group: Group
    short: str = ""
    value: str = "VALUE"
    hosts: frozenset[str] = frozenset({"cli", "classic", "lab"})
    widget: str | None = None
    choices: tuple[str, ...] = ()
    may_repeat: bool = False
    takes_several: bool = False
    form_help: str = ""

    @property
    def is_advanced(self) -> bool:
        """Return whether only the full help shows it."""
        return not self.short


CLI = frozenset({"cli"})
CLASSIC = frozenset({"classic"})
NOT_CLASSIC = frozenset({"cli", "lab"})


def option(default: Any, title: str, help_text: str, shown: Option, **limits: Any) -> Any:
    """Return a field of `Params`.

    Args:
        default: the value where the user gives none.
        title: shown above the field in a form.
        help_text: what it does, and which values it takes.
        shown: where and how it is shown.
        limits: pydantic's, such as ge and le.
    """
    return Field(
        default,
        title=title,
        description=help_text,
        json_schema_extra={"option": shown},  # type: ignore[dict-item]
        **limits,
    )


def column_option(name: str, help_text: str, short: str = "") -> Any:
    """Return the field for the name of a column, which is `name` by default."""
    title = f"{name.replace('_', ' ').capitalize()} column"
    return option(name, title, help_text, Option("data", short, "NAME"))


def _read_texts(value: object) -> object:
    """Return texts from a list, a JSON list or a text with commas; drop empty parts."""
    if isinstance(value, str):
        text = value.strip()
        value = json.loads(text) if text.startswith("[") else text.split(",")
    if isinstance(value, list | tuple):
        parts = [part.strip() if isinstance(part, str) else part for part in value]
        return tuple(part for part in parts if part not in ("", None))  # 0 is a price
    return value


def _check_price(values: tuple[float, ...]) -> tuple[float, ...]:
    if values and (len(values) != 2 or not all(0 <= value < 1e6 for value in values)):
        raise ValueError("give two numbers, 0 or more: dollars per million tokens in and out")
    return values


def _read_criteria(value: object) -> object:
    return parse_criteria(value, metric_names())


def _read_numbers(value: object) -> object:
    """Return numbers as their texts, alone or in a list, as YAML and JSON have them."""
    found = _read_texts(value)
    parts = found if isinstance(found, tuple) else (found,)
    return tuple(str(one) if type(one) in (int, float) else one for one in parts)


Texts = Annotated[tuple[str, ...], BeforeValidator(_read_texts)]
NumberTexts = Annotated[tuple[str, ...], BeforeValidator(_read_numbers)]
"""Numbers that their reader checks, so that a message names what was written."""

Price = Annotated[tuple[float, ...], BeforeValidator(_read_texts), AfterValidator(_check_price)]
Criteria = Annotated[tuple[Criterion, ...], BeforeValidator(_read_criteria)]


_LONGEST_NAME = 60
_SWITCH = {"yes": True, "true": True, "no": False, "false": False}


def parse_criteria(value: object, taken: Sequence[str]) -> tuple[Criterion, ...]:
    """Return criteria from a list of mappings, its JSON, or lines of text "name: description".

    Args:
        value: what the user gave.
        taken: names that a criterion must not have.

    Raises:
        ValueError: naming the criterion, what is wrong with it, and what is expected.
    """
    if isinstance(value, str):
        text = value.strip()
        value = _parse_json_list(text) if text.startswith(("[", "{")) else _parse_lines(text)
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, list | tuple):
        raise ValueError("give a list of criteria, each with a name and a description")
    numbered = enumerate(value, 1)
    criteria = tuple(_criterion(n, item) for n, item in numbered if not _is_blank(item))
    known = {name.lower() for name in taken}
    for criterion in criteria:
        if criterion.name.lower() in known:
            raise ValueError(
                f"the criterion's name {criterion.name!r} is taken; choose a new one, other than "
                f"{', '.join(taken)}"
            )
        known.add(criterion.name.lower())
    return criteria


def _parse_json_list(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"give a list of criteria; this is not valid JSON ({error})") from error


def _parse_lines(text: str) -> list[dict[str, str]]:
    pairs = (line.partition(":") for line in text.splitlines() if line.strip())
    return [{"name": name, "description": description} for name, _, description in pairs]


def _is_blank(item: object) -> bool:
    """Return whether a criterion says nothing: a form saves one that nobody filled in."""
    if not isinstance(item, Mapping):
        return item in (None, "")
    steps = item.get("evaluation_steps") or ()
    said = (
        item.get("name"),
        item.get("description"),
        *([steps] if isinstance(steps, str) else steps),
    )
    return not any(str(one or "").strip() for one in said)


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
        raise ValueError(f"{where}: include_context {context!r} must be yes or no")
    whole = str(item.get("whole_conversation") or "no").strip().lower()
    if whole not in _SWITCH:
        raise ValueError(f"{where}: whole_conversation {whole!r} must be yes or no")
    return Criterion(name, description, _SWITCH[context], steps, _SWITCH[whole])


def _parse_steps(steps: object, where: str) -> tuple[str, ...]:
    """Return texts from a list, its JSON, or lines of text; "" (from a form) gives none."""
    if isinstance(steps, str):
        steps = _parse_json_list(steps) if steps.strip().startswith("[") else steps.splitlines()
    if not isinstance(steps, list | tuple):
        raise ValueError(f"{where}: evaluation_steps {steps!r} must be a list of texts")
    return tuple(text for step in steps if (text := str(step).strip()))

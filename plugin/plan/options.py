"""What an option is made of: where and how it is shown, and how its loose values are read.

`option` declares a field of `params.Params`; its `Option` says in which forms and which part of the
help it stands. Lists, number pairs and the user's own criteria (`records.Criterion`) arrive as
text, as JSON or typed, from people, files and forms; they are read here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from plugin.metrics import names as metric_names
from plugin.records import Criterion

Group = Literal["model", "data", "metrics", "judge", "cost", "output", "advanced"]
"""The headings under which help and documents list the options, in this order."""


@dataclass(frozen=True, slots=True)
class Option:
    """Where and how an option is shown.

    Attributes:
        group: the heading under which help and documents list it.
        short: its line in the short help, as short as possible; "" for an option that only the
            full help shows.
        value: what stands for its value in the help, such as DIR.
        hosts: whose form or command line has it: "cli", "classic", "lab". What a host supplies
            itself is not in its form.
        widget: the classic form's widget; None for a plain field.
        choices: the values that a form offers.
        may_repeat: whether the command line takes it several times.
        form_help: its help in the classic form; "" for that of the command line.
    """

    group: Group
    short: str = ""
    value: str = "VALUE"
    hosts: frozenset[str] = frozenset({"cli", "classic", "lab"})
    widget: str | None = None
    choices: tuple[str, ...] = ()
    may_repeat: bool = False
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
        default: what counts when nothing is said.
        title: over the field in a form.
        help_text: what it does, with its rule.
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
    """Return the field for a column's name, which is `name` unless the user says otherwise."""
    title = f"{name.replace('_', ' ').capitalize()} column"
    return option(name, title, help_text, Option("data", short, "NAME"))


def _read_texts(value: object) -> object:
    """Return a tuple of texts from a list, a JSON list or a comma list; drop empty parts."""
    if isinstance(value, str):
        text = value.strip()
        value = json.loads(text) if text.startswith("[") else text.split(",")
    if isinstance(value, list | tuple):
        return tuple(part.strip() if isinstance(part, str) else part for part in value if part)
    return value


def _check_price(values: tuple[float, ...]) -> tuple[float, ...]:
    if values and (len(values) != 2 or not all(0 <= value < 1e6 for value in values)):
        raise ValueError("two numbers, 0 or more: dollars per million tokens in and out")
    return values


def _read_criteria(value: object) -> object:
    return parse_criteria(value, metric_names())


Texts = Annotated[tuple[str, ...], BeforeValidator(_read_texts)]
Price = Annotated[tuple[float, ...], BeforeValidator(_read_texts), AfterValidator(_check_price)]
Criteria = Annotated[tuple[Criterion, ...], BeforeValidator(_read_criteria)]


_LONGEST_NAME = 60
_SWITCH = {"yes": True, "true": True, "no": False, "false": False}


def parse_criteria(value: object, taken: Sequence[str]) -> tuple[Criterion, ...]:
    """Return criteria from a list of mappings, its JSON, or lines of text "name: description".

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
    numbered = enumerate(value, 1)
    criteria = tuple(_criterion(n, item) for n, item in numbered if not _is_blank(item))
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
        raise ValueError(f"{where}: include_context {context!r} is not yes or no")
    return Criterion(name, description, _SWITCH[context], steps)


def _parse_steps(steps: object, where: str) -> tuple[str, ...]:
    """Return texts from a list, its JSON, or lines; a form sends an empty text for none."""
    if isinstance(steps, str):
        steps = _parse_json_list(steps) if steps.strip().startswith("[") else steps.splitlines()
    if not isinstance(steps, list | tuple):
        raise ValueError(f"{where}: evaluation_steps {steps!r} is not a list of texts")
    return tuple(text for step in steps if (text := str(step).strip()))

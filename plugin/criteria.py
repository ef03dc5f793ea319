"""The user's own criteria, as forms, files and people write them -> `records.Criterion`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from plugin.records import Criterion

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
        value = _json(text) if text.startswith(("[", "{")) else _lines(text)
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


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"a list of criteria is expected, got broken JSON ({error})") from error


def _lines(text: str) -> list[dict[str, str]]:
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
    steps = _steps(item.get("evaluation_steps") or (), where)
    if not (description or steps):
        raise ValueError(f"{where} needs a description or evaluation steps")
    context = str(item.get("include_context") or "no").strip().lower()
    if context not in _SWITCH:
        raise ValueError(f"{where}: include_context {context!r} is not yes or no")
    return Criterion(name, description, _SWITCH[context], steps)


def _steps(given: object, where: str) -> tuple[str, ...]:
    """A list of texts, its JSON, or lines; a form sends an empty text for none."""
    if isinstance(given, str):
        given = _json(given) if given.strip().startswith("[") else given.splitlines()
    if not isinstance(given, list | tuple):
        raise ValueError(f"{where}: evaluation_steps {given!r} is no list of texts")
    return tuple(text for step in given if (text := str(step).strip()))

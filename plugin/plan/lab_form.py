"""The current host's form: its fields in order, and the text field with every other option.

The host gives a title the width of its words and the value what is left, so that a long title hides
what is typed: titles are short, and help stands in the documents. Options without a field of their
own are typed into `MORE_OPTIONS`, and checked as the command line checks them.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from plugin.errors import OptionError
from plugin.plan.command_line import RUN_OPTIONS, check_names, parse_arguments
from plugin.plan.params import Params
from plugin.plan.resolve import has_rival

MORE_OPTIONS = "more_options"
MORE_TITLE = "More options"

LAB_FORM = {
    "model_name": "Base model",
    "model_adapter": "Adapter",
    "dataset_name": "Data set",
    "judge": "Judge",
    "predefined_tasks": "Metrics",
    "variants": "What to run",
    "limit": "Share of cases",
    "tasks": "Own criteria",
    "retention_group": "Retention group",
    "baseline_prompt": "Prompt to beat",
    "engine": "Engine",
    "budget": "Budget in dollars",
    MORE_OPTIONS: MORE_TITLE,
}
"""Options with a field of their own, in the form's order, with their titles. An option that this
version does not have is left out."""

_NOT_IN_A_JOB = {
    "out": "a job's results go to its own page",
    "help": "docs/options.md lists every option",
    "help-all": "docs/options.md lists every option",
    "config": "write the options themselves into this field",
}
"""Options of the command line that mean nothing in a job, and why."""

_NUMBER = re.compile(r"-?[\d.]+(e-?\d+)?")


def form_fields() -> dict[str, str]:
    """Return the form's names and titles, in order."""
    known = (*Params.model_fields, MORE_OPTIONS)
    return {name: title for name, title in LAB_FORM.items() if name in known}


def merge_more_options(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the form's values with those of its text field for every other option.

    Raises:
        OptionError: when the text cannot be read, names what does not exist, or says something
            else than a field that was filled in.
    """
    merged = {name: value for name, value in values.items() if name != MORE_OPTIONS}
    more = read_more_options(str(values.get(MORE_OPTIONS) or ""))
    fields = form_fields()
    problems = [
        f"--{name} is {value!r} in {MORE_TITLE}, but the field '{fields[name]}' says "
        f"{merged[name]!r}: say it in one of them"
        for name, value in more.items()
        if name in fields and not _agree(name, merged.get(name), value)
    ]
    if problems:
        raise OptionError("\n".join(problems))
    return merged | more


def check_filled_in(params: Params) -> None:
    """Check that the fields that every comparison needs are filled in, all of them at once.

    Raises:
        OptionError: naming the empty ones.
    """
    if params.recorded:
        return
    empty = [LAB_FORM[name] for name in ("model_name", "dataset_name") if not getattr(params, name)]
    if not has_rival(params):
        empty.insert(1 if "Base model" in empty else 0, LAB_FORM["model_adapter"])
    if empty:
        named = " and ".join(filter(None, [", ".join(empty[:-1]), empty[-1]]))
        are = "is" if len(empty) == 1 else "are"
        raise OptionError(
            f"{named} {are} empty: launch again with {'it' if are == 'is' else 'them'} filled in "
            "(names from the registries, documents of the experiment, paths or hub ids); in place "
            "of an adapter there may be --tuned_model in More options or a Prompt to beat"
        )


def read_more_options(text: str) -> dict[str, Any]:
    """Return options by name from `--name value` pairs, or from YAML.

    Raises:
        OptionError: naming what cannot be read or is unknown, and what was probably meant.
    """
    text = text.strip()
    if not text:
        return {}
    try:
        found = _read_pairs(text) if text.startswith("-") else _read_yaml(text)
    except OptionError as error:
        raise OptionError(f"{MORE_TITLE}: {error}") from error
    return {name: value for name, value in found.items() if value is not None}


def _read_pairs(text: str) -> dict[str, Any]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise OptionError(f"{text!r} cannot be cut into words ({error}); mend the quotes") from None
    names = [word.removeprefix("--").partition("=")[0] for word in words if word.startswith("-")]
    names = [name for name in names if not _NUMBER.fullmatch(name)]
    _refuse(names)
    check_names(dict.fromkeys(names))
    values = parse_arguments(["run", *words])
    return {name: value for name, value in values.items() if name in RUN_OPTIONS}


def _read_yaml(text: str) -> dict[str, Any]:
    import yaml

    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        detail = " ".join(str(error).split())
        raise OptionError(f"neither --name value pairs nor YAML ({detail})") from error
    if not isinstance(values, dict):
        raise OptionError(
            f"{text!r} is neither --name value pairs nor YAML; write, for example, "
            "--margin 0.1 --seed 3"
        )
    named = {str(name): value for name, value in values.items()}
    _refuse(named)
    check_names(named)
    return named


def _refuse(names: Iterable[str]) -> None:
    """Refuse options that mean nothing in a job.

    Raises:
        OptionError: saying why.
    """
    for name in names:
        if name in _NOT_IN_A_JOB:
            raise OptionError(f"--{name} is not for a job: {_NOT_IN_A_JOB[name]}")


def _agree(name: str, shown: object, typed: object) -> bool:
    """Return whether a field leaves an option to the text, or says the same."""
    if shown in (None, ""):
        return True
    default = Params.model_fields[name].default
    field, text = (getattr(Params.parse({name: value}), name) for value in (shown, typed))
    return bool(field in (default, text))

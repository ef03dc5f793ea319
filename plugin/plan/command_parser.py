"""What the parsers of all commands share: the program's name, strict parsing, options of `run`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from plugin.errors import OptionError, did_you_mean
from plugin.plan.params import Params, option_of

PROGRAM = "python main.py"
RUN_OPTIONS = [name for name in Params.model_fields if "cli" in option_of(name).hosts]


class CommandParser(argparse.ArgumentParser):
    """Parse options by their full names; report a mistake in one line.

    Attributes:
        show_all: whether the help lists options that few people need.
    """

    show_all = False

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        """Raise the message instead of printing the usage and ending the program."""
        raise OptionError(f"{message.removeprefix('argument ')} (see {self.prog} --help)")


def unknown_option(name: str, known: Sequence[str]) -> str:
    """Return what to say of an option that does not exist."""
    return f"unknown option {name!r}{did_you_mean(name, known)}"


def full_help(name: str) -> str:
    """Return the option's full help with its default and its choices."""
    field = Params.model_fields[name]
    default, choices = field.default, option_of(name).choices
    text = f"{field.description}"
    if default not in ("", (), None):
        text += f" (default: {str(default).lower() if isinstance(default, bool) else default})"
    return f"{text} [{' | '.join(choices)}]" if choices else text


def add_option(parser: argparse._ActionsContainer, name: str, text: str) -> None:
    """Add an option of `run` to a parser."""
    shown = option_of(name)
    settings: dict[str, Any] = {"help": text.replace("%", "%%"), "metavar": shown.value}
    if isinstance(Params.model_fields[name].default, bool):
        settings |= {"nargs": "?", "const": "true", "metavar": "true|false"}
    if shown.takes_several:
        settings |= {"action": "extend", "nargs": "+"}
    elif shown.may_repeat:
        settings |= {"action": "append"}
    parser.add_argument(f"--{name}", **settings)

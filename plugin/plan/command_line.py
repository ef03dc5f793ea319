"""Read the words of the command line, and config files, as options by name.

What cannot be parsed is an OptionError of one line that suggests what was meant.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plugin import __version__
from plugin.errors import OptionError, did_you_mean
from plugin.plan.command_parser import PROGRAM, RUN_OPTIONS, CommandParser, unknown_option
from plugin.plan.commands import COMMANDS

__all__ = ["PROGRAM", "RUN_OPTIONS", "check_names", "parse_arguments", "read_config"]


def parse_arguments(arguments: Sequence[str]) -> dict[str, Any]:
    """Return the command and its options by name.

    Raises:
        OptionError: naming what is unknown and what was probably meant.
    """
    first = arguments[0] if arguments else "--help"
    if not first.startswith("-") and first not in COMMANDS:
        raise OptionError(
            f"unknown command {first!r}{did_you_mean(first, COMMANDS)} "
            f"(the commands: {', '.join(COMMANDS)})"
        )
    if first.startswith("-") and first not in ("-h", "--help", "--version"):
        raise OptionError(f"{first} needs a command before it: {PROGRAM} run {first} ...")
    parser = _make_parser(show_all="--help-all" in arguments)
    given, unknown = parser.parse_known_args([first, *_folder_first(first, arguments[1:])])
    values = vars(given)
    if unknown:
        known = [f"--{name}" for name in values if name not in ("command", "folder")]
        options = [word.partition("=")[0] for word in unknown if word.startswith("-")]
        problems = [unknown_option(word, known) for word in options]
        raise OptionError(
            f"{'; '.join(problems) or f'unexpected word {unknown[0]!r}'} "
            f"(all options: {PROGRAM} {first} {'--help-all' if first == 'run' else '--help'})"
        )
    return values


def _folder_first(command: str, words: Sequence[str]) -> Sequence[str]:
    """Return the words of `report` with the folder in front: an option may take all that follow."""
    last = words[-1:]
    moves = command == "report" and len(words) > 2 and words[0].startswith("-")
    return [*last, *words[:-1]] if moves and Path(last[0]).is_dir() else words


def _make_parser(show_all: bool) -> CommandParser:
    """Return the parser of all commands; with `show_all` the help of `run` lists every option."""
    parser = CommandParser(
        prog=PROGRAM,
        description="Is my fine-tuned model really better than the base model, on my task?",
        epilog=f"Options of a command: {PROGRAM} COMMAND --help",
    )
    parser.add_argument("--version", action="version", version=f"Finetune Verdict {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, command in COMMANDS.items():
        own = commands.add_parser(name, help=command.about, add_help=name != "run")
        own.show_all = show_all
        command.add_options(own)
    return parser


def read_config(file: str | None) -> dict[str, Any]:
    """Return the options of a config file.

    Raises:
        OptionError: when it cannot be read or names an option that does not exist.
    """
    if file is None:
        return {}
    try:
        text = Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise OptionError(f"--config {file} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise OptionError(f"--config {file} is no text in UTF-8 ({error.reason})") from error
    values = _parse_config(file, text)
    if not isinstance(values, dict):
        raise OptionError(
            f"--config {file} must map option names to values, such as 'judge: openai:gpt-4o-mini'"
        )
    try:
        check_names(values)
    except OptionError as error:
        raise OptionError(f"--config {file}: {error}") from error
    return values


def check_names(values: Mapping[str, object]) -> None:
    """Check that every name is an option of `run`.

    Raises:
        OptionError: naming what is unknown, and what was probably meant.
    """
    unknown = [unknown_option(str(n), RUN_OPTIONS) for n in values if n not in RUN_OPTIONS]
    if unknown:
        raise OptionError("; ".join(unknown))


def _parse_config(file: str, text: str) -> object:
    import yaml

    try:
        return json.loads(text) if file.endswith(".json") else yaml.safe_load(text)
    except (json.JSONDecodeError, yaml.YAMLError) as error:
        detail = " ".join(str(error).split())
        raise OptionError(f"--config {file} is not valid YAML or JSON: {detail}") from error

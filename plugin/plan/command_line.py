"""Read the words of the command line, and config files, as options by name.

`_COMMANDS` lists the commands. The options of `run` and `certify`, with their groups and help, come
from `Params`. What cannot be parsed is an OptionError of one line that suggests what was meant.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, get_args

from plugin import __version__
from plugin.errors import OptionError, did_you_mean
from plugin.plan.options import Group
from plugin.plan.params import Params, option_of

PROGRAM = "python main.py"
_COMMANDS = {
    "run": "compare a base model with its adapters",
    "certify": "prove that an adapter is applied, whole, to its base model (exit code 0, else 3)",
    "demo": "run a comparison of tiny models that come with the program",
    "resume": "go on with a run that was stopped, and retry what failed",
    "report": "rebuild tables, charts and report from a run's journal",
    "ratings": "write pages (--page) or a template for human ratings of cases drawn at random",
}
_CERTIFY_OPTIONS = (
    *("model_name", "model_adapter", "engine", "server_url", "load_4bit", "chat_template"),
    *("enable_thinking", "system_prompt", "dataset_name", "dataset_split"),
    *("input_column", "expected_output_column"),
)
RUN_OPTIONS = [name for name in Params.model_fields if "cli" in option_of(name).hosts]


def parse_arguments(arguments: Sequence[str]) -> dict[str, Any]:
    """Return the command and its options by name.

    Raises:
        OptionError: naming what is unknown and what was probably meant.
    """
    first = arguments[0] if arguments else "--help"
    if not first.startswith("-") and first not in _COMMANDS:
        raise OptionError(
            f"unknown command {first!r}{did_you_mean(first, _COMMANDS)} "
            f"(the commands: {', '.join(_COMMANDS)})"
        )
    if first.startswith("-") and first not in ("-h", "--help", "--version"):
        raise OptionError(f"{first} needs a command before it: {PROGRAM} run {first} ...")
    parser = _make_parser(show_all="--help-all" in arguments)
    given, unknown = parser.parse_known_args([first, *_folder_first(first, arguments[1:])])
    values = vars(given)
    if unknown:
        known = [f"--{name}" for name in values if name not in ("command", "folder")]
        options = [word.partition("=")[0] for word in unknown if word.startswith("-")]
        problems = [_unknown_option(word, known) for word in options]
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


def _unknown_option(name: str, known: Sequence[str]) -> str:
    return f"unknown option {name!r}{did_you_mean(name, known)}"


class _Parser(argparse.ArgumentParser):
    """Parse options by their full names; report a mistake in one line."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        """Raise the message instead of printing the usage and ending the program."""
        raise OptionError(f"{message.removeprefix('argument ')} (see {self.prog} --help)")


def _make_parser(show_all: bool) -> argparse.ArgumentParser:
    """Return the parser of all commands; with `show_all` the help of `run` lists every option."""
    parser = _Parser(
        prog=PROGRAM,
        description="Is my fine-tuned model really better than the base model, on my task?",
        epilog=f"Options of a command: {PROGRAM} COMMAND --help",
    )
    parser.add_argument("--version", action="version", version=f"Finetune Verdict {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    add = {name: partial(commands.add_parser, name, help=text) for name, text in _COMMANDS.items()}
    _add_run_options(
        add["run"](
            usage=f"{PROGRAM} run [options]",
            add_help=False,
            formatter_class=argparse.HelpFormatter if show_all else _ShortHelp,
        ),
        show_all,
    )
    certify = add["certify"]()
    for name in _CERTIFY_OPTIONS:
        _add_option(certify, name, _full_help(name))
    about = "also try the adapter at other strengths, such as 0,0.25,0.5,0.75,1,1.25"
    certify.add_argument("--scales", metavar="LIST", help=about)
    about = "write table and picture of --scales there"
    certify.add_argument("--out", metavar="DIR", default="", help=about)
    demo = add["demo"]()
    demo.add_argument("--out", metavar="DIR", help="run directory (default: one under runs/)")
    resume, report, ratings = (add[name]() for name in ("resume", "report", "ratings"))
    for command in (resume, report, ratings):
        command.add_argument("folder", metavar="DIR", help="the run's directory")
    _add_option(report, "human_ratings", _full_help("human_ratings"))
    about = "write the files there, and not into the run's directory"
    report.add_argument("--out", metavar="DIR", default="", help=about)
    ratings.add_argument("--n", type=int, default=50, help="cases to draw (default: 50)")
    ratings.add_argument("--seed", type=int, default=0, help="seed of the draw (default: 0)")
    _add_page_options(ratings)
    return parser


def _add_page_options(ratings: argparse.ArgumentParser) -> None:
    """Add the options of rating pages."""
    about = "write a page for a browser instead, one for each rater: no installation, no network"
    ratings.add_argument("--page", action="store_true", help=about)
    about = (
        "what the pages show: pairs of answers, or single answers to score on each metric of the "
        "judge (default: pairs where there are two variants)"
    )
    ratings.add_argument("--kind", choices=("pairs", "answers"), help=about)
    about = "have raters check the judge's reasons, too: right or wrong"
    ratings.add_argument("--reasons", action="store_true", help=about)
    about = "how many pages, or the raters' names: --raters 3 or --raters Ann,Bob (default: 1)"
    ratings.add_argument("--raters", metavar="N|NAMES", help=about)


class _ShortHelp(argparse.HelpFormatter):
    """Print an option and its short help on one line."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=36)


def _add_run_options(run: argparse.ArgumentParser, show_all: bool) -> None:
    """Add the options of `run`, group by group."""
    n_hidden = 1  # --config
    for group in get_args(Group):
        section = run.add_argument_group(group)
        for name in RUN_OPTIONS:
            shown = option_of(name)
            if shown.group != group:
                continue
            hidden = shown.is_advanced and not show_all
            n_hidden += hidden
            short = argparse.SUPPRESS if hidden else shown.short
            _add_option(section, name, _full_help(name) if show_all else short)
    about = "YAML or JSON file with any of the options" if show_all else argparse.SUPPRESS
    section.add_argument("--config", metavar="FILE", help=about)
    about = "show the most important options"
    helps = run.add_argument_group("help")
    helps.add_argument("-h", "--help", action="help", help=about)
    helps.add_argument("--help-all", action="help", help="show every option, with its rules")
    if not show_all:
        run.epilog = f"{n_hidden} more options: run --help-all"


def _full_help(name: str) -> str:
    """Return the option's full help with its default and its choices."""
    field = Params.model_fields[name]
    default, choices = field.default, option_of(name).choices
    text = f"{field.description}"
    if default not in ("", (), None):
        text += f" (default: {str(default).lower() if isinstance(default, bool) else default})"
    return f"{text} [{' | '.join(choices)}]" if choices else text


def _add_option(parser: argparse._ActionsContainer, name: str, text: str) -> None:
    shown = option_of(name)
    settings: dict[str, Any] = {"help": text.replace("%", "%%"), "metavar": shown.value}
    if isinstance(Params.model_fields[name].default, bool):
        settings |= {"nargs": "?", "const": "true", "metavar": "true|false"}
    if shown.takes_several:
        settings |= {"action": "extend", "nargs": "+"}
    elif shown.may_repeat:
        settings |= {"action": "append"}
    parser.add_argument(f"--{name}", **settings)


def read_config(file: str | None) -> dict[str, Any]:
    """Return the options of a config file.

    Raises:
        OptionError: when it cannot be read or names an option that does not exist.
    """
    if file is None:
        return {}
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"--config {file}: {error}") from error
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
    unknown = [_unknown_option(str(n), RUN_OPTIONS) for n in values if n not in RUN_OPTIONS]
    if unknown:
        raise OptionError("; ".join(unknown))


def _parse_config(file: str, text: str) -> object:
    import yaml

    try:
        return json.loads(text) if file.endswith(".json") else yaml.safe_load(text)
    except (json.JSONDecodeError, yaml.YAMLError) as error:
        detail = " ".join(str(error).split())
        raise OptionError(f"--config {file} is not valid YAML or JSON: {detail}") from error

"""The commands: what each is for, its options, and the function that does it.

Adding a command is one function that adds its options to a parser, one that does the work, and one
row in `COMMANDS`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import get_args

from plugin.plan.command_parser import PROGRAM, RUN_OPTIONS, CommandParser, add_option, full_help
from plugin.plan.commands_cases import cases_options
from plugin.plan.commands_records import compare_options, export_options, history_options
from plugin.plan.commands_training import curves_options, sweep_options
from plugin.plan.gate_rules import gate_options
from plugin.plan.options import Group
from plugin.plan.params import option_of

_CERTIFY_OPTIONS = (
    *("model_name", "model_adapter", "engine", "server_url", "load_4bit", "chat_template"),
    *("enable_thinking", "system_prompt", "dataset_name", "dataset_split"),
    *("input_column", "expected_output_column"),
)


@dataclass(frozen=True, slots=True)
class Command:
    """A row of `COMMANDS`.

    Attributes:
        about: what it is for, in the list of commands.
        add_options: takes the parser of the command.
        work: "module:function". The function takes the options by name and the host, which shows
            what it says and how it ended; it returns the exit code.
    """

    about: str
    add_options: Callable[[CommandParser], None]
    work: str


def _run_options(run: CommandParser) -> None:
    """Add the options of `run`, group by group."""
    show_all = run.show_all
    run.usage = f"{PROGRAM} run [options]"
    run.formatter_class = argparse.HelpFormatter if show_all else ShortHelp
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
            add_option(section, name, full_help(name) if show_all else short)
    about = "YAML or JSON file with any of the options" if show_all else argparse.SUPPRESS
    section.add_argument("--config", metavar="FILE", help=about)
    about = "show the most important options"
    helps = run.add_argument_group("help")
    helps.add_argument("-h", "--help", action="help", help=about)
    helps.add_argument("--help-all", action="help", help="show every option, with its rules")
    if not show_all:
        run.epilog = f"{n_hidden} more options: run --help-all"


class ShortHelp(argparse.HelpFormatter):
    """Print an option and its short help on one line."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=36)


def _certify_options(parser: CommandParser) -> None:
    for name in _CERTIFY_OPTIONS:
        add_option(parser, name, full_help(name))
    about = "also try the adapter at other strengths, such as 0,0.25,0.5,0.75,1,1.25"
    parser.add_argument("--scales", metavar="LIST", help=about)
    about = "write table and picture of --scales there"
    parser.add_argument("--out", metavar="DIR", default="", help=about)


def _demo_options(parser: CommandParser) -> None:
    parser.add_argument("--out", metavar="DIR", help="run directory (default: one under runs/)")


def _folder_option(parser: CommandParser) -> None:
    parser.add_argument("folder", metavar="DIR", help="the run's directory")


def _report_options(parser: CommandParser) -> None:
    _folder_option(parser)
    add_option(parser, "human_ratings", full_help("human_ratings"))
    about = "write the files there, and not into the run's directory"
    parser.add_argument("--out", metavar="DIR", default="", help=about)


def _ratings_options(parser: CommandParser) -> None:
    _folder_option(parser)
    parser.add_argument("--n", type=int, default=50, help="cases to draw (default: 50)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draw (default: 0)")
    _page_options(parser)


def _page_options(parser: CommandParser) -> None:
    """Add the options of rating pages."""
    about = "write a page for a browser instead, one for each rater: no installation, no network"
    parser.add_argument("--page", action="store_true", help=about)
    about = (
        "what the pages show: pairs of answers, or single answers to score on each metric of the "
        "judge (default: pairs where there are two variants)"
    )
    parser.add_argument("--kind", choices=("pairs", "answers"), help=about)
    about = "have raters check the judge's reasons, too: right or wrong"
    parser.add_argument("--reasons", action="store_true", help=about)
    about = "how many pages, or the raters' names: --raters 3 or --raters Ann,Bob (default: 1)"
    parser.add_argument("--raters", metavar="N|NAMES", help=about)


COMMANDS = {
    "run": Command(
        "compare a base model with its adapters", _run_options, "plugin.typed:start_run"
    ),
    "certify": Command(
        "prove that an adapter is applied, whole, to its base model (exit code 0, else 3)",
        _certify_options,
        "plugin.typed:start_certify",
    ),
    "demo": Command(
        "run a comparison of tiny models that come with the program",
        _demo_options,
        "plugin.typed:start_demo",
    ),
    "resume": Command(
        "go on with a run that was stopped, and retry what failed",
        _folder_option,
        "plugin.typed:start_resume",
    ),
    "report": Command(
        "rebuild tables, charts and report from a run's journal",
        _report_options,
        "plugin.typed:start_report",
    ),
    "sweep": Command(
        "choose the best of many checkpoints, and confirm it on other cases",
        sweep_options,
        "plugin.typed:start_sweep",
    ),
    "ratings": Command(
        "write pages (--page) or a template for human ratings of cases drawn at random",
        _ratings_options,
        "plugin.typed:start_ratings",
    ),
    "compare": Command(
        "compare earlier runs, or scores of other tools, without running anything",
        compare_options,
        "plugin.history.command:start_compare",
    ),
    "history": Command(
        "show earlier runs over time: a table, a picture and a page",
        history_options,
        "plugin.history.timeline:start_history",
    ),
    "export": Command(
        "write a section for a model card; send a run to an experiment tracker",
        export_options,
        "plugin.history.export:start_export",
    ),
    "cases": Command(
        "build an evaluation set from logs (cases build), or say what changed (cases diff)",
        cases_options,
        "plugin.history.cases_diff:start_cases",
    ),
    "gate": Command(
        "say whether the model of a finished run may ship, by rules, for CI (exit code 0, else 4)",
        gate_options,
        "plugin.gate.command:start_gate",
    ),
    "curves": Command(
        "say what the loss curves of a training show, and which checkpoint is the best",
        curves_options,
        "plugin.typed:start_curves",
    ),
}

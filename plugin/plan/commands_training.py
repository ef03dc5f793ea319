"""The options of the commands for people who train: sweep."""

from __future__ import annotations

import argparse

from plugin.plan.command_parser import RUN_OPTIONS, CommandParser, add_option, full_help
from plugin.plan.params import option_of

_NOT_IN_SWEEPS = ("model_adapter", "tuned_model", "recorded")
"""Options of `run` that would name what --checkpoints names."""


def sweep_options(parser: CommandParser) -> None:
    """Add the options of `sweep`: its own, and those of `run`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    about = (
        "the folder that your trainer wrote; or several checkpoints; or VALUE=DIR for each, where "
        "VALUE is its place on another axis than the step"
    )
    own = parser.add_argument_group("checkpoints")
    own.add_argument("--checkpoints", metavar="DIR", nargs="+", action="extend", help=about)
    about = "what the values of VALUE=DIR are, such as 'training rows' (default: the step)"
    own.add_argument("--axis", metavar="NAME", help=about)
    others = parser.add_argument_group("options of run")
    for name in RUN_OPTIONS:
        is_shown = option_of(name).short and name not in _NOT_IN_SWEEPS
        add_option(others, name, full_help(name) if is_shown else argparse.SUPPRESS)
    about = "YAML or JSON file with any of the options"
    others.add_argument("--config", metavar="FILE", help=about)

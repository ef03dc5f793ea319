"""The options of the commands for people who train: curves and sweep.

`plugin.plan.commands` has the table of all commands.
"""

from __future__ import annotations

import argparse
from argparse import SUPPRESS as HIDDEN

from plugin.plan.command_parser import (
    PROGRAM,
    RUN_OPTIONS,
    CommandParser,
    add_option,
)
from plugin.plan.params import option_of

_SWEEP_EXAMPLES = """\
examples:
  all checkpoints that a training left:
    sweep --model_name M --checkpoints out/ --dataset_name cases.jsonl --judge J
  some of them:
    sweep --model_name M --checkpoints out/checkpoint-100 out/checkpoint-200 ...
  how much training data is enough:
    sweep --model_name M --checkpoints 100=runs/a 400=runs/b 1600=runs/c --axis "training rows" ...
"""

_NOT_IN_SWEEPS = ("model_adapter", "tuned_model", "recorded", "server_url")
"""Options of `run` that a sweep refuses; its help leaves them out."""


def curves_options(parser: CommandParser) -> None:
    """Add the options of `curves`."""
    about = (
        "an adapter's folder, a training's folder, or a log: trainer_state.json, "
        "trainer_log.jsonl, what mlx_lm.lora printed, a CSV file, or TensorBoard's events"
    )
    parser.add_argument("folder", metavar="DIR", help=about)
    about = "write the picture curves.svg and the table curves.csv there"
    parser.add_argument("--out", metavar="DIR", default="", help=about)


def sweep_options(parser: CommandParser) -> None:
    """Add the options of `sweep`: its own, and those of `run`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.usage = f"{PROGRAM} sweep --model_name M --checkpoints DIR [options]"
    parser.epilog = _SWEEP_EXAMPLES
    about = (
        "the folder that your trainer wrote; or several checkpoints; or VALUE=DIR for each, where "
        "VALUE is its place on another axis than the step"
    )
    own = parser.add_argument_group("checkpoints")
    own.add_argument("--checkpoints", metavar="DIR", nargs="+", action="extend", help=about)
    about = "what the values of VALUE=DIR are, such as 'training rows' (default: the step)"
    own.add_argument("--axis", metavar="NAME", help=about)
    others = parser.add_argument_group("options of run (the others: run --help-all)")
    for name in RUN_OPTIONS:
        short = option_of(name).short
        add_option(others, name, short if short and name not in _NOT_IN_SWEEPS else HIDDEN)
    about = "YAML or JSON file with any of the options"
    others.add_argument("--config", metavar="FILE", help=about)

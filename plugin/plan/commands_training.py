"""The options of the commands for people who train: curves."""

from __future__ import annotations

from plugin.plan.command_parser import CommandParser


def curves_options(parser: CommandParser) -> None:
    """Add the options of `curves`."""
    about = (
        "an adapter's folder, a training's folder, or a log: trainer_state.json, "
        "trainer_log.jsonl, what mlx_lm.lora printed, a CSV file, or TensorBoard's events"
    )
    parser.add_argument("folder", metavar="DIR", help=about)
    about = "write the picture curves.svg and the table curves.csv there"
    parser.add_argument("--out", metavar="DIR", default="", help=about)

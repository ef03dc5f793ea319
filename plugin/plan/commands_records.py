"""The options of the commands about what is there already: compare, history, export.

`compare` takes earlier runs or scores of other tools, `history` looks at runs over time, and
`export` sends one elsewhere.
"""

from __future__ import annotations

from plugin.plan.command_parser import CommandParser


def compare_options(parser: CommandParser) -> None:
    """Add the options of `compare`."""
    about = (
        "folders of earlier runs, the baseline first: DIR, DIR#VARIANT or NAME=DIR#VARIANT "
        "(default: the only variant besides the base)"
    )
    parser.add_argument("runs", metavar="RUN", nargs="*", help=about)
    about = (
        "the runs are the folds of one recipe: each adapter was trained on the other folds. Puts "
        "all cases together into one verdict on the recipe"
    )
    parser.add_argument("--folds", action="store_true", help=about)
    about = (
        "scores of another tool, the baseline first: a file of lm-eval, Inspect, promptfoo or "
        "OpenAI evals, a CSV or JSONL table, or a folder of lm-eval's samples; repeat it for each "
        "model, and for further files of one model"
    )
    parser.add_argument("--scored", metavar="NAME=FILE", action="append", help=about)
    about = "the metric that decides (default: the run's, or the first of the file)"
    parser.add_argument("--primary_metric", metavar="NAME", help=about)
    about = "metrics of --scored of which less is better (known: perplexity, wer, ...)"
    parser.add_argument("--lower_is_better", metavar="NAME", nargs="+", help=about)
    about = "the smallest difference that matters on a metric of --scored (0.05 for scores 0 to 1)"
    parser.add_argument("--margin", metavar="NAME=X", action="append", help=about)
    about = "where the results go (default: one under runs/)"
    parser.add_argument("--out", metavar="DIR", default="", help=about)


def history_options(parser: CommandParser) -> None:
    """Add the options of `history`."""
    about = "folders of runs, or folders that hold such (default: runs)"
    parser.add_argument("folders", metavar="DIR", nargs="*", help=about)
    about = "where page, table and picture go (default: history in the first folder)"
    parser.add_argument("--out", metavar="DIR", default="", help=about)


def export_options(parser: CommandParser) -> None:
    """Add the options of `export`."""
    parser.add_argument("folder", metavar="DIR", help="the run's directory")
    about = "also send it to trackers that are installed: mlflow, wandb, trackio"
    choices = ("mlflow", "wandb", "trackio")
    parser.add_argument("--track", choices=choices, metavar="NAME", nargs="+", help=about)
    about = "the variant that the model card is about (default: that of the verdict)"
    parser.add_argument("--variant", metavar="NAME", help=about)
    about = "where model_card.md goes (default: the run's directory)"
    parser.add_argument("--out", metavar="DIR", default="", help=about)

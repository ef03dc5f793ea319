"""The options of the command `cases`: build an evaluation set, or compare two."""

from __future__ import annotations

import argparse

from plugin.errors import OptionError
from plugin.plan.command_parser import CommandParser, add_option, full_help

CASES_OPTIONS = (
    *("dataset_split", "input_column", "expected_output_column", "context_column", "id_column"),
    *("group_column", "cluster_column", "retention_column", "expect_column", "tests_column"),
    "input_template",
)
"""Options of `run` that say how an evaluation set is read."""

JUDGE_OPTIONS = (
    *("judge", "max_calls", "budget", "judge_price", "deadline_s", "concurrency"),
    *("judge_timeout_s", "cache_dir"),
)
"""Options of `run` for the judge that writes questions."""

AUTO = "auto"


def cases_options(parser: CommandParser) -> None:
    """Add the options of `cases`."""
    about = (
        "build: make an evaluation set from logs or questions; diff: what was added, removed and "
        "changed between two sets"
    )
    parser.add_argument("what", metavar="build|diff", choices=("build", "diff"), help=about)
    about = (
        "build: files and folders with logs or questions, in any layout, also text with a question "
        "per line; diff: the old and the new set (files, folders, or folders of runs)"
    )
    parser.add_argument("sets", metavar="FILE", nargs="*", help=about)
    section = parser.add_argument_group("how files are read")
    for name in CASES_OPTIONS:
        add_option(section, name, full_help(name))
    _build_options(parser.add_argument_group("build"))
    judge = parser.add_argument_group("the judge of --synthetic")
    for name in JUDGE_OPTIONS:
        add_option(judge, name, full_help(name))


def _build_options(build: argparse._ArgumentGroup) -> None:
    """Add the options of `cases build`; each is None unless it was typed."""
    about = "where the set goes; a folder that has one gets its next version"
    build.add_argument("--out", metavar="FOLDER", help=about)
    about = "training data: nothing of it, and nothing near to it, gets into the set"
    build.add_argument("--train", metavar="FILE", nargs="+", action="extend", help=about)
    about = "cases to draw; auto: as many as find a gain of --margin (default: auto)"
    build.add_argument("--n", metavar="auto|N", type=_number_or_auto, help=about)
    about = "the smallest gain that matters (default: 0.05)"
    build.add_argument("--margin", metavar="X", type=float, help=about)
    about = "0/1 scores: the share of the cases on which two models differ, such as 0.25"
    build.add_argument("--disagreement", metavar="SHARE", type=float, help=about)
    about = "standard deviation of the gains, case by case (default: 0.3)"
    build.add_argument("--spread", metavar="SD", type=float, help=about)
    about = "an earlier run: the gains vary as they did there"
    build.add_argument("--like", metavar="RUN", help=about)
    about = "sides of the set, a file for each; a case never changes its side: test=0.7,dev=0.3"
    build.add_argument("--split", metavar="NAME=SHARE,...", help=about)
    about = (
        "for small data: write K pairs of train and test rows, so that each question is tested "
        "once, by an adapter that never saw it (see `compare --folds`)"
    )
    build.add_argument("--folds", metavar="K", type=int, help=about)
    about = "how many topics to look for (default: by the number of questions, at most 12)"
    build.add_argument("--topics", metavar="K", type=int, help=about)
    about = "take the group of each row as its topic"
    build.add_argument("--by_group", action="store_true", default=None, help=about)
    about = "the least cases of a topic, where it has them (default: 5)"
    build.add_argument("--floor", metavar="N", type=int, help=about)
    about = "leave out the answers in the files: a model wrote them, they are no expected outputs"
    build.add_argument("--without_answers", action="store_true", default=None, help=about)
    about = "replace e-mail addresses, phone, card and account numbers in all texts of the set"
    build.add_argument("--mask_personal", action="store_true", default=None, help=about)
    about = (
        "have the judge write N further questions after examples of each topic; they are marked as "
        "the group synthetic"
    )
    build.add_argument("--synthetic", metavar="N", type=int, help=about)
    build.add_argument("--seed", metavar="N", type=int, help="of topics and draw (default: 0)")


BUILD_ONLY = (
    *("out", "train", "n", "margin", "disagreement", "spread", "like", "split", "topics"),
    *("by_group", "floor", "without_answers", "seed", "folds", "mask_personal", "synthetic"),
    *JUDGE_OPTIONS,
)
"""Options that `cases diff` has no use for."""

NOT_WITH_FOLDS = (
    *("train", "n", "split", "topics", "by_group", "floor", "without_answers", "seed"),
    *("synthetic", *JUDGE_OPTIONS),
)
"""Options of `cases build` that have no meaning with --folds, which takes all rows."""


def _number_or_auto(text: str) -> int | str:
    """Return a number of cases, or "auto".

    Raises:
        ArgumentTypeError: when it is neither.
    """
    if text == AUTO:
        return AUTO
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 2:
        raise argparse.ArgumentTypeError(f"{text!r} must be auto, or a number of cases from 2")
    return number


def refuse_build_options(given: dict[str, object]) -> None:
    """Refuse options of `build` in a call of `diff`.

    Raises:
        OptionError: naming them.
    """
    if typed := [f"--{name}" for name in BUILD_ONLY if given[name] is not None]:
        raise OptionError(f"{', '.join(typed)}: cases diff has no use for it; leave it out")

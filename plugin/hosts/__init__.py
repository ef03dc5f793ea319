"""Hosts: where the program runs and where results go. The file's name is the host's name.

`Host` is what every host can do. It is called from the main thread alone, because hosts' SDKs are
synchronous. `PathHost` does the half of it that is the same wherever names are paths. The rest is
shared by hosts that run this program as their job: the run's folder in their workspace, the job's
progress, and the last words of a job.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from plugin.errors import AdapterError, OptionError, VerdictError
from plugin.journal import kept_text
from plugin.load.adapter import is_mlx_checkpoint
from plugin.terminal import say
from plugin.worker import STOP_WITHIN_S, Progress, Stage

if TYPE_CHECKING:
    from plugin.report.record import Report


class Host(Protocol):
    """Give a run what it needs, show its progress, and take its results.

    Attributes:
        stop_exit_code: what the process ends with when the user stopped the run.
        stop_within_s: seconds that a stopped run has to keep what is under way.
        metrics_without_judge: names of the metrics for a run that chooses neither metrics nor a
            judge, where the data call for none; () to refuse such a run.
    """

    stop_exit_code: int
    stop_within_s: float
    metrics_without_judge: tuple[str, ...]

    def open(self, run_id: str) -> Path:
        """Return the run's folder, made when missing; the same run has the same folder.

        Raises:
            OptionError: when there can be no such folder.
        """

    def model(self, name: str) -> str:
        """Return a directory or a hub id for the model's name."""

    def adapter(self, name: str) -> Path:
        """Return the directory for the adapter's name.

        Raises:
            AdapterError: listing what was tried.
        """

    def dataset(self, name: str) -> str:
        """Return a path or a data set id for the data set's name."""

    def secret(self, name: str) -> str | None:
        """Return a key or an address that must not stand in settings; None when unknown."""

    def tend(self, progress: Progress) -> None:
        """Show the progress; called ten times a second while there is work.

        Raises:
            KeyboardInterrupt: when the user stopped the run.
        """

    def log(self, text: str) -> None:
        """Tell the user something."""

    def publish(self, report: Report, files: Sequence[Path]) -> None:
        """Put the results where the user looks for them."""

    def fail(self, error: VerdictError) -> None:
        """Tell the user that the run ended without results, why, and how to go on."""

    def stopped(self) -> None:
        """Tell the user that the run was stopped, and how to go on."""


class PathHost:
    """Take names for paths or hub ids, and secrets from the environment; print messages.

    The base class of a new host, which adds `open` and `publish` (see `Host`).
    """

    stop_exit_code = 130
    stop_within_s = STOP_WITHIN_S
    metrics_without_judge: tuple[str, ...] = ()

    def model(self, name: str) -> str:
        """Return the directory when there is one, else the name as a hub id."""
        # Links are kept: their names are what fine-tuned models are shown by.
        path = Path(os.path.expanduser(name))
        return os.path.abspath(path) if path.exists() or _looks_like_path(name) else name

    def adapter(self, name: str) -> Path:
        """Return the absolute path of the adapter's directory, or of mlx-lm's checkpoint file."""
        # Links are kept: their names are what adapters are shown by.
        path = Path(os.path.abspath(Path(os.path.expanduser(name))))
        if not (path.is_dir() or is_mlx_checkpoint(path)):
            raise AdapterError(
                f"adapter {name!r}: no such directory (tried {path}); --model_adapter takes the "
                "directory that holds the adapter's weights"
            )
        return path

    def dataset(self, name: str) -> str:
        """Return the path when there is one, else the name as a data set id."""
        path = Path(os.path.expanduser(name))
        return str(path.resolve()) if path.exists() else name

    def secret(self, name: str) -> str | None:
        """Return the environment variable of that name."""
        return os.environ.get(name, "").strip() or None

    def tend(self, progress: Progress) -> None:
        """Show nothing; Ctrl-C arrives in the main thread as KeyboardInterrupt."""

    def log(self, text: str) -> None:
        """Print a line."""
        print(text, flush=True)

    def fail(self, error: VerdictError) -> None:
        """Print the message on stderr."""
        say(f"error: {error}")

    def stopped(self) -> None:
        """Say that the run was stopped, and how to go on."""
        self.log(STOPPED_TEXT)


def _looks_like_path(name: str) -> bool:
    return name.startswith((".", "/", "~")) or name.count("/") > 1


_TELL_EVERY_S = 0.5
_PERCENT_AT_END = {
    Stage.READ_INPUTS: 1,
    Stage.READ_TRAINING: 2,
    Stage.REPHRASE: 3,
    Stage.WRITE_QUESTIONS: 4,
    Stage.LOAD_MODEL: 5,
    Stage.READ_COMPLETIONS: 6,
    Stage.CERTIFY: 8,
    Stage.GENERATE: 40,
    Stage.READ_LIKELIHOODS: 44,
    Stage.RECALL: 45,
    Stage.ASK_ITEMS: 48,
    Stage.READ_TEXTS: 49,
    Stage.RUN_TASKS: 50,
    Stage.SEARCH_ANSWERS: 51,
    Stage.LOAD: 52,
    Stage.SCALE: 53,
    Stage.WRITE_STEPS: 54,
    Stage.SCORE: 88,
    Stage.ASK_SECOND_JUDGE: 92,
    Stage.EXAMINE_JUDGE: 95,
    Stage.COMPARE: 97,
    Stage.WRITE_REPORT: 99,
}
"""How far the job is when a stage ends; each stage begins where the one before it ends."""


def run_folder(workspace: Path, run_id: str) -> Path:
    """Return a folder in the workspace; the same settings continue the run there in another job.

    Raises:
        OptionError: when there can be no such folder.
    """
    folder = workspace / "finetune_verdict" / run_id
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(
            f"{folder}: no directory can be made in the workspace ({error.strerror}); make it "
            "writable"
        ) from error
    return folder


def is_within(path: Path, root: Path) -> bool:
    """Return whether a path made of a form's words stays in the root, with all links followed.

    A word such as ../../elsewhere, an absolute path or a link can lead anywhere on the machine.
    """
    return path.resolve().is_relative_to(root.resolve())


class ProgressReporter:
    """Report a job's progress twice a second at most, and every stage when it begins."""

    def __init__(self, log: Callable[[str], None], update: Callable[[int], None]) -> None:
        """Report nothing yet.

        Args:
            log: takes a line of text.
            update: takes a percentage.
        """
        self._log = log
        self._update = update
        self._told_s = 0.0
        self._stage: Stage | None = None
        self._percent = 0

    def tend(self, progress: Progress) -> None:
        """Log a new stage, and update the percentage if the last update is old enough."""
        if progress.stage and progress.stage != self._stage:
            self._stage = progress.stage
            self._log(progress.stage)
        if time.monotonic() - self._told_s >= _TELL_EVERY_S:
            self._told_s = time.monotonic()
            self._percent = max(self._percent, percent_done(progress))
            self._update(self._percent)


def percent_done(progress: Progress) -> int:
    """Return how far the job is, 0 to 99; a stage of unknown length counts as just begun."""
    if progress.stage is None:
        return 0
    place = list(_PERCENT_AT_END).index(progress.stage)
    begin, end = [0, *_PERCENT_AT_END.values()][place : place + 2]
    share = progress.done / progress.total if progress.total else 0.0
    return round(begin + (end - begin) * share)


_ENOUGH_DONE = 64
"""Pieces of work after which the time left can be told in any case: a batch or more."""

_ENOUGH_SHARE = 0.1
"""The share of the work after which it can be told, too."""

_SLOW = 0.1
"""Pieces per second below which their time is told, and not their number per second."""

_LONG_S = 5.0
"""A stage without an end in sight tells how long it has lasted from here on."""


def counted_progress(progress: Progress) -> list[str]:
    """Return how far the stage is, what it does, how fast, and how long it will take.

    The first completions of a batch end early or together with all others, and say nothing about
    the time left. It is told when a share of the work is done, or more than a batch.
    """
    parts = [f"{progress.done} of {progress.total}"] if progress.total else []
    parts += [progress.step] if progress.step else []
    made, n_todo = progress.done - progress.n_before, progress.total - progress.n_before
    seconds = progress.seconds
    if made > 0 and seconds > 0 and made >= min(_ENOUGH_DONE, _ENOUGH_SHARE * n_todo):
        rate, n_left = made / seconds, progress.total - progress.done
        parts.append(f"{rate:.1f}/s" if rate >= _SLOW else f"{duration_text(1 / rate)} each")
        parts += [f"{duration_text(n_left / rate)} left"] if n_left > 0 else []
    elif seconds >= _LONG_S:
        parts.append(f"{duration_text(seconds)} so far")
    return parts


def duration_text(seconds: float) -> str:
    """Return a duration in the unit that people would use."""
    if seconds <= 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes <= 100:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} days {hours % 24} h"


def closing_words(report: Report) -> Sequence[str]:
    """Return a job's last words: the verdict, the warnings and the steps of G-Eval's metrics."""
    steps = report.provenance.get("evaluation_steps", {})
    return (
        *report.verdict.text.splitlines(),
        *(f"warning: {warning}" for warning in report.warnings),
        *(
            f"{metric}, evaluation steps: "
            + " ".join(f"{n}. {step}" for n, step in enumerate(listed, 1))
            for metric, listed in steps.items()
        ),
    )


STOPPED_TEXT = "stopped: the same settings continue the run"


def stopped_text(folder: Path | None) -> str:
    """Return how a stopped run ended: what its folder has kept, counted, and how to go on."""
    kept = kept_text(folder)
    return f"stopped; kept: {kept}. The same settings continue the run" if kept else NOTHING_MADE


NOTHING_MADE = "stopped before anything was made"

"""Hosts: where the program runs and where results go. The file's name is the host's name.

Everything here is called from the main thread alone; hosts' SDKs are synchronous.

What hosts have in common that run this program as a job of theirs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from plugin.errors import OptionError, VerdictError
from plugin.report.record import Report
from plugin.worker import Progress


class Host(Protocol):
    """What a host can do."""

    def open(self, run_id: str) -> Path:
        """The run's folder, made when missing; the same run has the same folder.

        Raises:
            OptionError: when there can be no such folder.
        """

    def model(self, name: str) -> str:
        """A directory or a hub id for the model's name."""

    def adapter(self, name: str) -> Path:
        """The directory of an adapter's name.

        Raises:
            AdapterError: listing what was tried.
        """

    def dataset(self, name: str) -> str:
        """A path or a data set id for the data set's name."""

    def secret(self, name: str) -> str | None:
        """A key or an address that must not stand in settings; None when there is none."""

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


_TELL_EVERY_S = 0.5
_SHARES = {
    "load model": (0, 5),
    "generate": (5, 45),
    "perplexity": (45, 50),
    "score": (50, 92),
    "examine the judge": (92, 95),
    "compare and draw": (95, 99),
}
"""Stage -> from where to where it moves the job's progress, in percent."""


def run_folder(workspace: Path, run_id: str) -> Path:
    """A folder in the workspace, so that the same settings continue the run in another job.

    Raises:
        OptionError: when there can be no such folder.
    """
    folder = workspace / "finetune_verdict" / run_id
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(
            f"{folder}: the workspace takes no directory ({error.strerror}); make it writable"
        ) from error
    return folder


def is_within(path: Path, root: Path) -> bool:
    """Whether a path made of a form's words stays in the root, with all links followed.

    A word such as ../../elsewhere, an absolute path or a link can lead anywhere on the machine.
    """
    return path.resolve().is_relative_to(root.resolve())


class ProgressReporter:
    """Tells a job's progress twice a second at most, and every stage when it begins."""

    def __init__(self, log: Callable[[str], None], update: Callable[[int], None]) -> None:
        """Nothing is told yet.

        Args:
            log: takes a line of text.
            update: takes a percentage.
        """
        self._log = log
        self._update = update
        self._told_s = 0.0
        self._stage = ""
        self._percent = 0

    def tend(self, progress: Progress) -> None:
        """See `plugin.hosts.Host.tend`."""
        if progress.stage and progress.stage != self._stage:
            self._stage = progress.stage
            self._log(progress.stage)
        if time.monotonic() - self._told_s >= _TELL_EVERY_S:
            self._told_s = time.monotonic()
            self._percent = max(self._percent, percent_done(progress))
            self._update(self._percent)


def percent_done(progress: Progress) -> int:
    """How far the job is, 0 to 99; 0 in a stage of no known length."""
    begin, end = _SHARES.get(progress.stage, (0, 0))
    share = progress.done / progress.total if progress.total else 0.0
    return round(begin + (end - begin) * share)


def closing_words(report: Report) -> Sequence[str]:
    """What a job says at its end: the verdict, the warnings and the steps of G-Eval's metrics."""
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


STOPPED_TEXT = "stopped; everything made so far is kept: the same settings continue the run"

"""The folder host: a run folder on this machine, and a terminal."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bars

from plugin.errors import JournalGoneError, OptionError, OutputGoneError, UserError, VerdictError
from plugin.hosts import PathHost, counted_progress
from plugin.journal import kept_text
from plugin.sheets import spell_controls
from plugin.terminal import say, shell_word
from plugin.worker import Progress

if TYPE_CHECKING:
    from plugin.report.record import Report

RUNS = "runs"
"""The directory of run folders that the user did not name."""

_LINE_EVERY_S = 5.0


class FolderHost(PathHost):
    """Keep a run in a folder, and show it on the terminal. See `plugin.hosts.Host`.

    Attributes:
        out: the run's folder; "" for one under runs/ that is named after the run.
        prefix: how such a name begins. Both may be set until `open` is called.
        goes_on: whether `resume` can go on with what the folder holds.
        again: what is said of doing all of it again, where it cannot.
    """

    stop_within_s = 3.0

    def __init__(self, out: str, prefix: str = "", console: Console | None = None) -> None:
        """Write nothing yet.

        Args:
            out: see the attribute.
            prefix: see the attribute.
            console: where to write; the terminal by default.
        """
        self.out = out
        self.prefix = prefix
        self.goes_on = True
        self.again = "nothing had to be paid for"
        self._opened: Path | None = None
        self._console = console or _Screen(highlight=False, soft_wrap=True)
        self._n_told = 0
        self._meter = _Bars(self._console) if self._console.is_terminal else _Lines(self._console)

    def open(self, run_id: str) -> Path:
        """Return the run's folder, made when missing."""
        folder = Path(os.path.expanduser(self.out or Path(RUNS) / f"{self.prefix}{run_id}"))
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OptionError(
                f"--out {folder}: no directory can be made there ({error.strerror}); choose another"
            ) from error
        self._opened = folder
        return folder

    @property
    def folder(self) -> Path | None:
        """Return the run's folder; None before it was opened."""
        return self._opened

    def tend(self, progress: Progress) -> None:
        """Draw a bar on a terminal, print a line now and then elsewhere.

        Ctrl-C needs no help: it arrives in the main thread as KeyboardInterrupt.
        """
        for ended in progress.ended[self._n_told :]:
            self._n_told += 1
            self.log(f"{ended.stage}: {ended.done} of {ended.total} in {ended.seconds:.1f} s")
        if progress.stage:
            with _told_if_gone():
                self._meter.show(progress)

    def log(self, text: str, style: str = "") -> None:
        """Print a line, in a style of rich's where one is given."""
        with _told_if_gone():
            self._meter.end()
            _print(self._console, text, style)

    def publish(self, report: Report, files: Sequence[Path]) -> None:
        """Print the verdict and where the files are; they are in their place already."""
        with contextlib.suppress(OutputGoneError):  # nothing else is missing
            self._print_results(report, files)

    def _print_results(self, report: Report, files: Sequence[Path]) -> None:
        self.log("")
        with _told_if_gone():
            for line in report.verdict.text.splitlines():
                _print(self._console, line, "bold" if line in report.verdict.headline else "")
            for warning in report.warnings:
                _print(self._console, f"warning: {warning}", "yellow")
        page = next(file for file in files if file.suffix == ".html").resolve()
        has_journal = (page.parent / "journal.sqlite").is_file()
        names = "Tables, charts and journal" if has_journal else "Tables and charts"
        self.log(f"\nReport: {page}\n{names}: {page.parent}")

    def fail(self, error: VerdictError) -> None:
        """Print the message on stderr, and after a fault the command that goes on."""
        self._end_meter()
        say(_plain_text(f"{_error_title(error)}: {error}"))
        if isinstance(error, JournalGoneError):
            _say_how_to_go_on(Path(error.folder) if error.folder else None)
        elif error.exit_code != UserError.exit_code and self.goes_on:
            _say_how_to_go_on(self._opened)

    def stopped(self) -> None:
        """Say so on stderr, with the command that goes on."""
        self._end_meter()
        say("\nstopped")
        if self.goes_on:
            _say_how_to_go_on(self._opened)
        else:
            say(f"Do it again with the same command; {self.again}")

    def _end_meter(self) -> None:
        with contextlib.suppress(OSError):  # the terminal may be gone
            self._meter.end()


def _say_how_to_go_on(folder: Path | None) -> None:
    """Say what the folder has kept, counted; with the command that goes on, if there is a run."""
    if folder is None:
        return
    kept = kept_text(folder)
    nothing = "Nothing was made yet" if folder.is_dir() else "Nothing is kept: the folder is gone"
    say(f"Kept: {kept}" if kept else nothing)
    if kept:
        say(f"Go on with: python main.py resume {shell_word(folder)}")


@contextlib.contextmanager
def _told_if_gone() -> Iterator[None]:
    """Stop the run where nothing can be printed any more.

    Raises:
        OutputGoneError: saying why.
    """
    try:
        yield
    except OSError as error:
        raise OutputGoneError(f"the output cannot be written: {error.strerror}") from error


class _Screen(Console):
    """Pass on that the reader has gone, where rich would end the program without a word."""

    def on_broken_pipe(self) -> None:
        """Raise the error again; rich calls this in its except clause."""
        raise  # noqa: PLE0704


def _print(console: Console, text: str, style: str = "") -> None:
    """Print text of users and models, in which nothing is markup or an emoji code."""
    console.print(_plain_text(text), markup=False, emoji=False, style=style)


def _plain_text(text: str) -> str:
    """Return the text, with escapes for the characters that would steer the terminal."""
    return spell_controls(text)


class _Bars:
    """Draw a bar on a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: Bars | None = None
        self._task = TaskID(0)
        self._began_s = 0.0

    def show(self, progress: Progress) -> None:
        if self._bars is None or progress.began_s != self._began_s:
            self.end()
            self._began_s = progress.began_s
            self._bars = Bars(
                TextColumn("{task.description:<12}"),
                BarColumn(),
                TextColumn("{task.fields[count]}"),
                console=self._console,
                transient=True,
                auto_refresh=False,  # else a thread of its own writes, and fails, beside us
            )
            self._task = self._bars.add_task(progress.stage or "", total=None, count="")
            self._bars.start()
        self._bars.update(
            self._task,
            completed=progress.done,
            total=progress.total or None,
            count=_count_text(progress),
            refresh=True,
        )

    def end(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None


class _Lines:
    """Print a plain line when a stage begins, and every few seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began_s = self._last_s = 0.0

    def show(self, progress: Progress) -> None:
        now = time.monotonic()
        begins = progress.began_s != self._began_s
        if begins or now - self._last_s >= _LINE_EVERY_S:
            self._began_s, self._last_s = progress.began_s, now
            text = f"{progress.stage}: {_count_text(progress)}".removesuffix(": ")
            _print(self._console, text)

    def end(self) -> None:
        """Do nothing: lines need no end."""


def _count_text(progress: Progress) -> str:
    """Return how far, how fast, how long it will take, and what went wrong."""
    note = [progress.note] if progress.note and progress.total else []
    return ", ".join([*counted_progress(progress), *note])


def _error_title(error: VerdictError) -> str:
    return "error" if error.exit_code == UserError.exit_code else "fault"

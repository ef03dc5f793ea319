"""The folder host: a run folder and a terminal."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from plugin.errors import AdapterError, VerdictError
from plugin.records import Report
from plugin.worker import Progress

_LINE_EVERY_S = 5.0


class FolderHost:
    """See `plugin.hosts.Host`; names are paths or hub ids, secrets are environment variables."""

    def __init__(self, folder: Path, console: Console | None = None) -> None:
        """Nothing is written yet."""
        self.folder = folder
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._meter = _Bars(self._console) if self._console.is_terminal else _Lines(self._console)

    def model(self, name: str) -> str:
        """A directory when there is one, else the name is a hub id."""
        path = Path(name).expanduser()
        return str(path.resolve()) if path.exists() or _looks_like_path(name) else name

    def adapter(self, name: str) -> Path:
        """The directory."""
        path = Path(name).expanduser().resolve()
        if not path.is_dir():
            raise AdapterError(
                f"adapter {name!r}: no such directory (tried {path}); --model_adapter takes the "
                "directory that holds the adapter's weights"
            )
        return path

    def dataset(self, name: str) -> str:
        """A path when there is one, else the name is a data set id."""
        path = Path(name).expanduser()
        return str(path.resolve()) if path.exists() else name

    def secret(self, name: str) -> str | None:
        """From the environment."""
        return os.environ.get(name) or None

    def tend(self, progress: Progress) -> None:
        """A bar on a terminal, a line now and then elsewhere; Ctrl-C arrives by itself."""
        self._meter.show(progress)

    def log(self, text: str) -> None:
        """A line."""
        self._meter.end()
        self._console.print(text, markup=False)

    def publish(self, report: Report, files: Sequence[Path]) -> None:
        """The files are where they belong already: print the verdict and say where they are."""
        self.log("")
        for number, line in enumerate(report.verdict.text.splitlines()):
            self._console.print(line, markup=False, style="bold" if number == 0 else None)
        for warning in report.warnings:
            self._console.print(f"warning: {warning}", markup=False, style="yellow")
        page = next((file for file in files if file.suffix == ".html"), self.folder)
        self.log(f"\nReport: {page.resolve()}\nTables, charts and journal: {self.folder.resolve()}")

    def fail(self, error: VerdictError) -> None:
        """The message on stderr."""
        self._meter.end()
        print(f"{_kind(error)}: {error}", file=sys.stderr, flush=True)


class _Bars:
    """A rich progress bar with rate and time left."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: Bars | None = None
        self._task = TaskID(0)
        self._stage = ""
        self._began_s = 0.0

    def show(self, progress: Progress) -> None:
        if not progress.stage:
            return
        if progress.stage != self._stage or self._bars is None:
            self.end()
            self._stage, self._began_s = progress.stage, time.monotonic()
            self._bars = Bars(
                TextColumn("{task.description:<12}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[note]}"),
                TimeRemainingColumn(),
                console=self._console,
            )
            self._task = self._bars.add_task(progress.stage, total=None, note="")
            self._bars.start()
        rate = _rate(progress, time.monotonic() - self._began_s)
        note = ", ".join(part for part in (f"{rate:.1f}/s" if rate else "", progress.note) if part)
        self._bars.update(
            self._task, completed=progress.done, total=progress.total or None, note=note
        )

    def end(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None


class _Lines:
    """A plain line when a stage begins, every few seconds, and when it is done."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._stage = ""
        self._began_s = self._last_s = 0.0
        self._last_done = -1

    def show(self, progress: Progress) -> None:
        now = time.monotonic()
        if not progress.stage:
            return
        if progress.stage != self._stage:
            self._stage, self._began_s, self._last_s, self._last_done = progress.stage, now, now, -1
        complete = bool(progress.total) and progress.done == progress.total
        due = now - self._last_s >= _LINE_EVERY_S or complete or self._last_done < 0
        if due and progress.done != self._last_done:
            self._last_s, self._last_done = now, progress.done
            self._console.print(_line(progress, now - self._began_s), markup=False)

    def end(self) -> None:
        """Lines need no end."""


def _line(progress: Progress, seconds: float) -> str:
    parts = [f"{progress.stage}: {progress.done} of {progress.total}"]
    rate = _rate(progress, seconds)
    if rate:
        parts.append(f"{rate:.1f}/s")
        left_s = (progress.total - progress.done) / rate
        parts.append(f"{left_s:.0f} s left" if left_s else f"done in {seconds:.1f} s")
    if progress.note:
        parts.append(progress.note)
    return ", ".join(parts) if progress.total else progress.stage


def _rate(progress: Progress, seconds: float) -> float:
    """Per second in this session, 0 while it cannot be known."""
    made = progress.done - progress.n_before
    return made / seconds if made > 0 and seconds > 0 else 0.0


def _looks_like_path(name: str) -> bool:
    return name.startswith((".", "/", "~")) or name.count("/") > 1


def _kind(error: VerdictError) -> str:
    return {2: "error", 130: "stopped"}.get(error.exit_code, "fault")

"""Hosts: where the program runs and where results go. The file's name is the host's name.

Everything here is called from the main thread alone; hosts' SDKs are synchronous.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from plugin.errors import VerdictError
from plugin.records import Report
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

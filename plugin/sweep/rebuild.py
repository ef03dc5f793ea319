"""Write the files of a sweep again from its journals, without model or judge."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from plugin.errors import OptionError
from plugin.hosts import Host
from plugin.journal import Journal
from plugin.reopen import CONFIRMATION, open_run
from plugin.report.record import Report
from plugin.run import rebuild_report, report_folder, worker_of
from plugin.sweep.confirming import InnerHost
from plugin.sweep.files import write_sweep
from plugin.sweep.result import SweepResult, read_sweep
from plugin.sweep.show import result_text
from plugin.worker import Stage


def rebuild_sweep(folder: Path, host: Host, human_ratings: Sequence[str] = ()) -> SweepResult:
    """Make and show the results again; those of the confirming run, too.

    Args:
        folder: the sweep's.
        host: gets the results, in the folder that it opens.
        human_ratings: must be empty.

    Raises:
        OptionError: when there are ratings, or the results cannot be written.
        DamagedError: when a journal is damaged.
    """
    inner = folder / CONFIRMATION
    if human_ratings:
        raise OptionError(
            f"--human_ratings: people rate the answers of a run, and {folder} holds a sweep; give "
            f"the ratings to `report {inner}`"
        )
    with closing(open_run(folder, or_sweep=True)) as journal, closing(worker_of(host)) as worker:
        out = report_folder(folder, host.open(journal.header.run_id))
        report: Report | None = None
        if _has_begun(inner):
            report = rebuild_report(inner, InnerHost(host, out / CONFIRMATION))
        worker.progress.begin(Stage.COMPARE)
        result = worker.run(lambda: read_sweep(journal, report))
        files = worker.run(lambda: write_sweep(result, out))
    host.log(result_text(result, files))
    return result


def _has_begun(folder: Path) -> bool:
    if not (folder / "journal.sqlite").is_file():
        return False
    with closing(Journal.existing(folder)) as journal:
        return journal.has_begun

"""A run as a job of the host that started this program: its values in, its ways to end."""

from __future__ import annotations

import signal
from contextlib import closing

from plugin.conclude import conclude
from plugin.errors import FaultError, VerdictError
from plugin.hosts.lab import LabHost, plain_config
from plugin.journal import Journal
from plugin.params import Params
from plugin.report import write_tables
from plugin.run import run
from plugin.worker import Stopped


def run_lab_job() -> int:
    """A job of the current Transformer Lab; returns the exit code."""
    from lab import lab

    # The host stops a job with SIGTERM, and kills it three seconds later.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    lab.init()
    host = LabHost(lab)
    try:
        run(Params.parse(plain_config(lab.get_config())), host)
    except VerdictError as error:
        host.fail(error)
        return error.exit_code
    except KeyboardInterrupt:
        host.stopped()
        _save_what_there_is(host)
        return Stopped.exit_code
    except Exception as error:  # the last door: the job must say why it failed
        host.fail(FaultError(f"{type(error).__name__}: {error}"))
        raise
    return 0


def _save_what_there_is(host: LabHost) -> None:
    """The tables of a stopped run, marked as partial; charts and page would take too long."""
    if host.folder is None:
        return
    with closing(Journal(host.folder)) as journal:
        if journal.scores():
            host.save(write_tables(conclude(journal), host.folder))

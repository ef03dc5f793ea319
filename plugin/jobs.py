"""A run as a job of the host that started this program: its values in, its ways to end."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

from plugin.conclude import conclude
from plugin.errors import FaultError, JudgeError, OptionError, VerdictError
from plugin.hosts._job import STOPPED
from plugin.hosts.classic import ClassicHost, read_values
from plugin.hosts.lab import LabHost, plain_config
from plugin.journal import Journal
from plugin.params import ONLY_VANILLA, Params
from plugin.report import write_tables
from plugin.run import run
from plugin.sources import has_rival
from plugin.worker import Stopped

_NEEDED_AT_A_STOP = ("pandas", "scipy.stats", "scipy.optimize", "scipy.special")
"""Loading them takes a second or more, which a stopped job does not have."""

_HASTY_RESAMPLES = 500


def run_lab_job() -> int:
    """A job of the current Transformer Lab; returns the exit code."""
    from lab import lab

    # The host stops a job with SIGTERM, and kills it three seconds later.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    lab.init()
    host = LabHost(lab)
    for library in _NEEDED_AT_A_STOP:
        importlib.import_module(library)
    try:
        run(Params.parse(plain_config(lab.get_config())), host)
    except VerdictError as error:
        host.fail(error)
        return error.exit_code
    except KeyboardInterrupt:
        host.stopped()
        _save_what_there_is(host)
        # Some libraries take seconds to end; all that counts is saved.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(Stopped.exit_code)
    except Exception as error:  # the last door: the job must say why it failed
        host.fail(FaultError(f"{type(error).__name__}: {error}"))
        raise
    return 0


def run_classic_job(arguments: Sequence[str]) -> None:
    """A job of the classic host, which shows what `completion_details` says.

    Raises:
        VerdictError: after the reason was written; the host marks the job as failed.
        KeyboardInterrupt: when the user stopped the job.
    """
    from transformerlab.plugin import WORKSPACE_DIR, get_db_config_value
    from transformerlab.sdk.v1.evals import tlab_evals

    details = ""

    @tlab_evals.job_wrapper()  # type: ignore[untyped-decorator]
    def job() -> None:
        nonlocal details
        try:
            params = Params.parse(read_values(arguments))
            config = _at_once(get_db_config_value)
            host = ClassicHost(tlab_evals, WORKSPACE_DIR, config, params.model_name)
            report = run(_as_chosen(params, host), host)
            details = report.verdict.sentence
        except KeyboardInterrupt:
            details = STOPPED
            print(details, flush=True)
            raise
        except Exception as error:  # the last door: the job must say why it failed
            details = _reason(error)
            print(f"error: {details}", flush=True)
            raise

    try:
        job()
    finally:
        if details:  # the host's own text says nothing
            tlab_evals.add_job_data("completion_details", details)


def _at_once(config_value: Callable[[str], Any]) -> Callable[[str], str | None]:
    """The host's look-up of a setting, which is async in its later releases."""

    def look_up(name: str) -> str | None:
        found = config_value(name)
        if inspect.iscoroutine(found):
            found = asyncio.run(found)
        return None if found is None else str(found)

    return look_up


def _reason(error: Exception) -> str:
    if not isinstance(error, VerdictError):
        return f"{type(error).__name__}: {error}"
    where = ". Keys and addresses of judges belong in the host's Settings"
    return f"{error}{where if isinstance(error, JudgeError) else ''}"


def _as_chosen(params: Params, host: ClassicHost) -> Params:
    """The form's choices in the words of the command line."""
    judge = params.judge or (host.judge_of(params.judge_model) if params.judge_model else "")
    adapters = (*params.model_adapter, *params.extra_adapters)
    chosen = params.model_copy(update={"model_adapter": adapters})
    if not has_rival(chosen):
        raise OptionError(
            "no adapter is chosen in this experiment: choose one in the Foundation tab and make a "
            "new evaluation (an old one keeps the adapter it was made with), name a Fine-tuned "
            f"model, or set What to run to '{ONLY_VANILLA}'"
        )
    if not judge and not params.predefined_tasks:
        raise OptionError(
            "no judge is chosen: pick a Judge model in the form (its key stands in the host's "
            "settings), or write a judge such as openai:gpt-4o-mini in the field Judge"
        )
    return chosen.model_copy(update={"judge": judge, "judge_model": "", "extra_adapters": ()})


def _save_what_there_is(host: LabHost) -> None:
    """The tables of a stopped run, marked as partial; charts and page would take too long.

    Their intervals are rougher than those of a run that ends by itself.
    """
    if host.folder is None:
        return
    with closing(Journal(host.folder)) as journal:
        if journal.scores():
            host.save(write_tables(conclude(journal, _HASTY_RESAMPLES), host.folder))

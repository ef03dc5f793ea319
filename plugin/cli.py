"""The two ways in: the command line, and a job of a host.

`start` looks in the table `HOSTS` whether a host started the program; if none did, it calls `main`.

`main` runs a command that a person typed: run, certify, demo, resume, report or ratings. It returns
the exit code: 0 done, 1 a fault (the journal is kept), 2 the user's mistake, 3 an adapter that is
not certified, 130 interrupted. `run_lab_job` and `run_classic_job` run the program as a job of a
Transformer Lab, which delivers the options and has its own ways to end a job. `run_job` runs it as
a job of any other host.

What a run needs is imported when a run begins, so that help and mistyped options answer at once.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from plugin.errors import FaultError, JudgeError, OptionError, OutputGoneError, VerdictError
from plugin.plan.command_line import PROGRAM, parse_arguments, read_config
from plugin.plan.params import Params
from plugin.plan.params_input import ONLY_VANILLA
from plugin.terminal import say, usable_streams

if TYPE_CHECKING:
    from plugin.hosts import Host
    from plugin.hosts.classic import ClassicHost
    from plugin.hosts.lab import LabHost

_DEMO = Path(__file__).resolve().parent.parent / "demo"


def main(arguments: Sequence[str]) -> int:
    """Run the command that a person typed; return the exit code."""
    with usable_streams():
        try:
            given = parse_arguments(arguments)
        except OptionError as error:
            say(f"error: {error}")
            return error.exit_code
        _stop_on_signals()
        return _run_command(given)


def _stop_on_signals() -> None:
    """Make SIGTERM a stop, like Ctrl-C, and the loss of the terminal unless nohup ignores it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
        signal.signal(signal.SIGHUP, _stop_once)


def _run_command(given: dict[str, Any]) -> int:
    from plugin.hosts.folder import FolderHost

    command = given.pop("command")
    host: Host = FolderHost("")
    try:
        from plugin.ratings import RatingRequest, draw_for_rating
        from plugin.run import rebuild_report, run

        if command == "certify":
            host = FolderHost(given["out"])
            return _certify(given, host)
        if command in ("report", "ratings"):
            folder = Path(given["folder"])
            host = FolderHost(given.get("out") or str(folder))
            if command == "report":
                rebuild_report(folder, host, given["human_ratings"] or ())
            else:
                given.pop("folder")
                draw_for_rating(folder, RatingRequest(**given), host)
        else:
            params = _PARAMS_OF[command](given)
            host = FolderHost(params.out, prefix="demo-" if command == "demo" else "")
            run(params, host)
    except (Exception, KeyboardInterrupt) as error:  # also our own bugs: the journal is kept
        return _report_error(error, host)
    return 0


def _report_error(error: BaseException, host: Host) -> int:
    """Tell the host how its run ended, from within an except clause; return the exit code."""
    if isinstance(error, OutputGoneError):
        say(str(error))
    if isinstance(error, KeyboardInterrupt | OutputGoneError):
        host.stopped()
        return host.stop_exit_code
    if not isinstance(error, VerdictError):
        error = FaultError(f"{type(error).__name__}: {error} ({_save_traceback()})")
    host.fail(error)
    return error.exit_code


def _certify(given: Mapping[str, Any], host: Host) -> int:
    from plugin.certify.sweep import read_scales
    from plugin.certifying import NOT_CERTIFIED, PROBE_TOKENS, certify

    values = {name: value for name, value in given.items() if value is not None}
    scales, out = values.pop("scales", None), values.pop("out")
    chosen = read_scales(scales) if scales is not None else ()
    found = certify(Params.parse({**values, "max_tokens": PROBE_TOKENS}), host, chosen, out)
    return 0 if all(one.kind == "certified" for one in found) else NOT_CERTIFIED


def _save_traceback() -> str:
    """Write the traceback to a new file; return a sentence that names it."""
    options: dict[str, Any] = {"encoding": "utf-8", "errors": "backslashreplace", "delete": False}
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="finetune-verdict-", suffix=".txt", **options
        ) as file:
            traceback.print_exc(file=file)
    except OSError as error:
        return f"an unexpected fault: please report it (no room for its traceback: {error})"
    return f"an unexpected fault: please report it and attach {file.name}"


def _run_params(arguments: dict[str, Any]) -> Params:
    values = read_config(arguments.pop("config"))
    values |= {name: value for name, value in arguments.items() if value is not None}
    return Params.parse(values)


def _demo_params(arguments: Mapping[str, Any]) -> Params:
    if not (_DEMO / "cases.jsonl").is_file():
        raise OptionError(
            f"this copy of the program has no demo (there is no {_DEMO}): clone the whole project, "
            f"or compare your own models with `{PROGRAM} run`"
        )
    return Params.parse(
        {
            "model_name": str(_DEMO / "model"),
            "model_adapter": [str(_DEMO / "adapter")],
            "dataset_name": str(_DEMO / "cases.jsonl"),
            "train_data": [str(_DEMO / "train.jsonl")],
            "judge": "offline",
            "max_tokens": 48,
            "capability": "quick",
            "predefined_tasks": [
                "Correctness",
                "Token F1",
                "Exact Match",
                "Answer Relevancy",
                "Hallucination",
            ],
            "out": arguments["out"],
        }
    )


def _resume_params(arguments: Mapping[str, Any]) -> Params:
    from plugin.reopen import open_run

    folder = Path(arguments["folder"])
    journal = open_run(folder, to_write=True)
    try:
        values = {**journal.header.params, "out": str(folder)}
        state = journal.state
        if state.ratings or state.human_choices or state.reason_checks:
            values.pop("human_ratings", None)  # the journal has them; the files may be gone
        if state.training and not all(Path(name).exists() for name in state.training.files):
            for name in ("train_data", "paraphrase"):  # the journal keeps what was found
                values.pop(name, None)
    finally:
        journal.close()
    return Params.parse(values)


_PARAMS_OF = {"run": _run_params, "demo": _demo_params, "resume": _resume_params}


_NEEDED_AT_A_STOP = ("pandas", "scipy.stats", "scipy.optimize", "scipy.special")
"""Libraries that take a second or more to load, which a stopped job does not have."""

_FAST_RESAMPLES = 500
"""Resamples for the tables of a stopped job: fewer, so its intervals are rougher."""


def run_lab_job() -> int:
    """Run as a job of the current Transformer Lab; return the exit code."""
    from lab import lab

    from plugin.hosts.lab import LabHost, plain_config
    from plugin.plan.lab_form import check_filled_in, form_fields, merge_more_options
    from plugin.run import run

    lab.init()
    host = LabHost(lab, form_fields())
    for library in _NEEDED_AT_A_STOP:
        importlib.import_module(library)
    # The host stops a job with SIGTERM, and kills it three seconds later.
    signal.signal(signal.SIGTERM, _stop_once)
    try:
        params = Params.parse(merge_more_options(plain_config(lab.get_config())))
        check_filled_in(params)
        run(params, host)
    except VerdictError as error:
        host.fail(error)
        return error.exit_code
    except KeyboardInterrupt:
        host.stopped()
        _save_partial_tables(host)
        # Some libraries take seconds to end, and everything is saved.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(host.stop_exit_code)
    except Exception as error:  # the last door: the job must say why it failed
        host.fail(FaultError(f"{type(error).__name__}: {error}"))
        raise
    return 0


def _stop_once(number: int, frame: FrameType | None) -> NoReturn:
    """Interrupt the run at the first such signal and ignore the others.

    One Stop of a host arrives twice: it signals every process of the job, and its wrapper around
    the command passes the signal on. So does the loss of a terminal, from the shell and from the
    system. The second would end the run before its tables or answers are saved.
    """
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _save_partial_tables(host: LabHost) -> None:
    """Save the tables of a stopped run, marked as partial; charts and page would take too long."""
    from plugin.conclude import conclude
    from plugin.journal import Journal
    from plugin.report import write_tables

    if host.folder is None:
        return
    with closing(Journal(host.folder)) as journal:
        if journal.n_rows("scores") or journal.n_rows("preferences"):
            host.save(write_tables(conclude(journal, _FAST_RESAMPLES), host.folder))


def run_classic_job(arguments: Sequence[str]) -> None:
    """Run as a job of the classic host, which shows what `completion_details` says.

    Raises:
        VerdictError: after the reason was written; the host marks the job as failed.
        KeyboardInterrupt: when the user stopped the job.
    """
    from transformerlab.plugin import WORKSPACE_DIR, get_db_config_value
    from transformerlab.sdk.v1.evals import tlab_evals

    from plugin.hosts import NOTHING_MADE, stopped_text
    from plugin.hosts.classic import ClassicHost, read_values
    from plugin.plan.job_words import describe_run, say_fields
    from plugin.run import run

    details = ""
    host: ClassicHost | None = None
    in_form_words = partial(say_fields, workspace=WORKSPACE_DIR)

    @tlab_evals.job_wrapper()  # type: ignore[untyped-decorator]
    def job() -> None:
        nonlocal details, host
        try:
            params = Params.parse(read_values(arguments))
            config = _synchronous(get_db_config_value)
            host = ClassicHost(tlab_evals, WORKSPACE_DIR, config, params.model_name, in_form_words)
            params = _translate_form(params, host)
            host.log(describe_run(params))
            details = in_form_words(" ".join(run(params, host).verdict.headline))
        except KeyboardInterrupt:
            details = stopped_text(host.folder) if host else NOTHING_MADE
            print(details, flush=True)
            raise
        except Exception as error:  # the last door: the job must say why it failed
            details = in_form_words(_failure_reason(error))
            print(f"error: {details}", flush=True)
            raise

    try:
        job()
    finally:
        if details:  # the host's own text says nothing
            tlab_evals.add_job_data("completion_details", details)
    print(details, flush=True)  # the output's last line is what people read


def run_job(code: str, arguments: Sequence[str]) -> int:
    """Run as a job of a host that has no ways of its own; return the exit code.

    Args:
        code: "file:function" in `plugin.hosts`. The function takes the command line's words and
            returns the host and the options by name.
        arguments: the command line's words.
    """
    from plugin.run import run

    file, _, function = code.partition(":")
    module = importlib.import_module(f"plugin.hosts.{file}")
    _stop_on_signals()
    host, values = getattr(module, function)(arguments)
    try:
        run(Params.parse(values), host)
    except (Exception, KeyboardInterrupt) as error:
        return _report_error(error, host)
    return 0


def _synchronous(config_value: Callable[[str], Any]) -> Callable[[str], str | None]:
    """Return a plain function that looks a setting up; the host's is async in later releases."""

    def look_up(name: str) -> str | None:
        found = config_value(name)
        if inspect.iscoroutine(found):
            found = asyncio.run(found)
        return None if found is None else str(found)

    return look_up


def _failure_reason(error: Exception) -> str:
    if not isinstance(error, VerdictError):
        return f"{type(error).__name__}: {error}"
    where = ". Enter keys and addresses of judges in the host's Settings"
    return f"{error}{where if isinstance(error, JudgeError) else ''}"


def _needs_judge(params: Params) -> bool:
    from plugin import metrics

    asked = metrics.load(params.predefined_tasks)
    return bool(params.tasks or params.preference_criteria or not asked) or any(
        one.spec.asks_judge for one in asked
    )


def _translate_form(params: Params, host: ClassicHost) -> Params:
    """Return the options with the form's own fields turned into those of the command line.

    `judge_model` becomes `judge`, and `extra_adapters` join `model_adapter`.

    Raises:
        OptionError: when the form names no adapter or no judge, saying where to choose one.
    """
    from plugin.plan.resolve import has_rival

    judge = params.judge or (host.judge_of(params.judge_model) if params.judge_model else "")
    adapters = (*params.model_adapter, *params.extra_adapters)
    chosen = params.model_copy(update={"model_adapter": adapters})
    unsaid = [
        words
        for name, words in (
            ("model_name", "a model in the experiment's Foundation tab"),
            ("dataset_name", "a data set in the evaluation's Dataset tab"),
        )
        if not getattr(params, name)
    ]
    if unsaid:
        raise OptionError(f"choose {' and '.join(unsaid)}, and queue the evaluation again")
    if not has_rival(chosen):
        raise OptionError(
            "no adapter is chosen in this experiment: choose one in the Foundation tab and make a "
            "new evaluation (an old one keeps the adapter it was made with), or set What to run to "
            f"'{ONLY_VANILLA}'"
        )
    if not judge and _needs_judge(params):
        raise OptionError(
            "no judge is chosen: pick a Judge model in the form (its key goes into the host's "
            "Settings), or choose Metrics that need none, such as Exact Match and Token F1"
        )
    return chosen.model_copy(update={"judge": judge, "judge_model": "", "extra_adapters": ()})


@dataclass(frozen=True, slots=True)
class HostEntry:
    """A row of `HOSTS`.

    Attributes:
        is_here: takes the command line's words; whether this host started the program.
        run_job: takes the same words, runs the program as the host's job and returns the exit
            code; None for a host that goes on in this process.
    """

    is_here: Callable[[Sequence[str]], bool]
    run_job: Callable[[Sequence[str]], int | None]


HOSTS = {
    "lab": HostEntry(
        is_here=lambda words: not words and bool(os.environ.get("_TFL_JOB_ID")),
        run_job=lambda _: run_lab_job(),
    ),
    "classic": HostEntry(is_here=lambda words: "--plugin_dir" in words, run_job=run_classic_job),
}
"""Every host that starts the program by itself; the first that is here runs it."""


def start(arguments: Sequence[str]) -> int | None:
    """Run the program for whoever started it: a host, else a person at the command line.

    Returns:
        The exit code; None where the host goes on in this process.
    """
    for host in HOSTS.values():
        if host.is_here(arguments):
            return host.run_job(arguments)
    return main(arguments)

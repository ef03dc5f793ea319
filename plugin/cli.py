"""The command line: run, certify, demo, resume, report, ratings.

Exit codes: 0 done, 1 a fault (the journal is kept), 2 the user's mistake, 3 an adapter that is not
certified, 130 interrupted.

A run as a job of the host that started this program: its values in, its ways to end.
"""

from __future__ import annotations

import argparse
import difflib
import json
import signal
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plugin import __version__
from plugin.errors import FaultError, OptionError, VerdictError
from plugin.plan.params import Params, option_of

if TYPE_CHECKING:
    from plugin.hosts import Host
import asyncio
import importlib
import inspect
import os
import sys
from collections.abc import Callable
from contextlib import closing

from plugin.conclude import conclude
from plugin.errors import JudgeError
from plugin.hosts import STOPPED_TEXT
from plugin.hosts.classic import ClassicHost, read_values
from plugin.hosts.lab import LabHost, plain_config
from plugin.journal import Journal
from plugin.plan.params import ONLY_VANILLA
from plugin.plan.resolve import has_rival
from plugin.report import write_tables
from plugin.run import run
from plugin.worker import Stopped

_PROGRAM = "python main.py"
INTERRUPTED = 130
_OF_CERTIFY = (
    *("model_name", "model_adapter", "engine", "server_url", "load_4bit", "chat_template"),
    *("system_prompt", "dataset_name"),
)
_OPTIONS = [name for name in Params.model_fields if "cli" in option_of(name).hosts]


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit code."""
    parser = _parser()
    given = vars(parser.parse_args(arguments))
    command = given.pop("command", None)
    if command is None:
        parser.print_help()
        return 0
    # A polite kill is a stop, too: what was made is kept either way.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    from plugin.hosts.folder import FolderHost

    host: Host = FolderHost("")
    try:
        from plugin.run import draw_for_rating, rebuild_report, run

        if command == "certify":
            return _certify(given, host)
        if command in ("report", "ratings"):
            folder = Path(given["folder"])
            host = FolderHost(str(folder))
            if command == "report":
                rebuild_report(folder, host, given["human_ratings"])
            else:
                draw_for_rating(folder, given["n"], given["seed"], host)
        else:
            params = _PARAMS_OF[command](given)
            host = FolderHost(params.out, prefix="demo-" if command == "demo" else "")
            run(params, host)
    except VerdictError as error:
        host.fail(error)
        return error.exit_code
    except KeyboardInterrupt:
        host.stopped()
        return INTERRUPTED
    except Exception as error:  # the last door: a fault of ours still loses nothing
        host.fail(FaultError(f"{type(error).__name__}: {error} ({_keep_traceback()})"))
        return FaultError.exit_code
    return 0


def _certify(given: dict[str, Any], host: Host) -> int:
    from plugin.run import NOT_CERTIFIED, PROBE_TOKENS, certify

    values = {name: value for name, value in given.items() if value is not None}
    found = certify(Params.parse({**values, "max_tokens": PROBE_TOKENS}), host)
    return 0 if all(one.kind == "certified" for one in found) else NOT_CERTIFIED


def _keep_traceback() -> str:
    """Write the traceback to a file of its own, and say where."""
    with tempfile.NamedTemporaryFile(
        "w", prefix="finetune-verdict-", suffix=".txt", delete=False, encoding="utf-8"
    ) as file:
        traceback.print_exc(file=file)
    return f"an unexpected fault: please report it with {file.name}"


def _run_params(given: dict[str, Any]) -> Params:
    values = _config(given.pop("config"))
    values |= {name: value for name, value in given.items() if value is not None}
    return Params.parse(values)


def _demo_params(given: dict[str, Any]) -> Params:
    from demo import FOLDER

    return Params.parse(
        {
            "model_name": str(FOLDER / "model"),
            "model_adapter": [str(FOLDER / "adapter")],
            "dataset_name": str(FOLDER / "cases.jsonl"),
            "judge": "offline",
            "max_tokens": 48,
            "predefined_tasks": [
                "Correctness",
                "Token F1",
                "Exact Match",
                "Answer Relevancy",
                "Hallucination",
            ],
            "out": given["out"],
        }
    )


def _resume_params(given: dict[str, Any]) -> Params:
    from plugin.journal import Journal

    folder = Path(given["folder"])
    journal = Journal.existing(folder)
    try:
        values = {**journal.header.params, "out": str(folder)}
        if journal.state.ratings:  # they are there; the file may be gone
            values.pop("human_ratings", None)
    finally:
        journal.close()
    return Params.parse(values)


_PARAMS_OF = {"run": _run_params, "demo": _demo_params, "resume": _resume_params}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Is my fine-tuned model really better than the base model, on my task?",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"Finetune Verdict {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    run = commands.add_parser(
        "run", help="compare a base model with its adapters", allow_abbrev=False
    )
    run.add_argument("--config", metavar="FILE", help="YAML or JSON file with any of the options")
    for name in _OPTIONS:
        _add_option(run, name)
    certify = commands.add_parser(
        "certify",
        help="prove that an adapter is applied, whole, to its base model (exit code 0, else 3)",
        allow_abbrev=False,
    )
    for name in _OF_CERTIFY:
        _add_option(certify, name)
    demo = commands.add_parser("demo", help="the same on a tiny model that comes with the program")
    demo.add_argument("--out", metavar="DIR", help="run directory (default: one under runs/)")
    for command, help_text in (
        ("resume", "go on with a run that was stopped, and try again what failed"),
        ("report", "rebuild tables, charts and report from a run's journal"),
        ("ratings", "write a template for human ratings of cases drawn at random"),
    ):
        sub = commands.add_parser(command, help=help_text, allow_abbrev=False)
        sub.add_argument("folder", metavar="DIR", help="the run's directory")
        if command == "report":
            help_text = "CSV file with human ratings, taken in before"
            sub.add_argument("--human_ratings", metavar="FILE", default="", help=help_text)
        elif command == "ratings":
            sub.add_argument("--n", type=int, default=50, help="cases to draw (default: 50)")
            sub.add_argument("--seed", type=int, default=0, help="of the draw (default: 0)")
    return parser


def _add_option(parser: argparse.ArgumentParser, name: str) -> None:
    field = Params.model_fields[name]
    default, shown = field.default, option_of(name)
    text = f"{field.description}"
    if default not in ("", ()):
        text += f" (default: {str(default).lower() if isinstance(default, bool) else default})"
    if shown.choices:
        text += f" [{' | '.join(shown.choices)}]"
    options: dict[str, Any] = {"help": text.replace("%", "%%"), "metavar": "VALUE"}
    if isinstance(default, bool):
        options |= {"nargs": "?", "const": "true"}
    if name in ("model_adapter", "tuned_model", "recorded"):
        options |= {"action": "append"}
    parser.add_argument(f"--{name}", **options)


def _config(file: str | None) -> dict[str, Any]:
    """The options of a config file.

    Raises:
        OptionError: when it cannot be read or names an option that does not exist.
    """
    if file is None:
        return {}
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"--config {file}: {error}") from error
    values = _json_or_yaml(file, text)
    if not isinstance(values, dict):
        raise OptionError(f"--config {file} must hold a mapping of option names to values")
    unknown = [str(name) for name in values if name not in _OPTIONS]
    if unknown:
        raise OptionError(f"--config {file}: {'; '.join(map(_unknown, unknown))}")
    return values


def _json_or_yaml(file: str, text: str) -> object:
    import yaml

    try:
        if file.endswith(".json"):
            return json.loads(text)
        return yaml.safe_load(text)
    except (json.JSONDecodeError, yaml.YAMLError) as error:
        detail = " ".join(str(error).split())
        raise OptionError(f"--config {file} is no valid YAML or JSON: {detail}") from error


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, _OPTIONS, n=1)
    return f"unknown option {name!r}" + (f", did you mean {close[0]!r}?" if close else "")


_NEEDED_AT_A_STOP = ("pandas", "scipy.stats", "scipy.optimize", "scipy.special")
"""Loading them takes a second or more, which a stopped job does not have."""

_FAST_RESAMPLES = 500


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
            config = _synchronous(get_db_config_value)
            host = ClassicHost(tlab_evals, WORKSPACE_DIR, config, params.model_name)
            report = run(_with_form_choices(params, host), host)
            details = report.verdict.sentence
        except KeyboardInterrupt:
            details = STOPPED_TEXT
            print(details, flush=True)
            raise
        except Exception as error:  # the last door: the job must say why it failed
            details = _failure_reason(error)
            print(f"error: {details}", flush=True)
            raise

    try:
        job()
    finally:
        if details:  # the host's own text says nothing
            tlab_evals.add_job_data("completion_details", details)


def _synchronous(config_value: Callable[[str], Any]) -> Callable[[str], str | None]:
    """The host's look-up of a setting, which is async in its later releases."""

    def look_up(name: str) -> str | None:
        found = config_value(name)
        if inspect.iscoroutine(found):
            found = asyncio.run(found)
        return None if found is None else str(found)

    return look_up


def _failure_reason(error: Exception) -> str:
    if not isinstance(error, VerdictError):
        return f"{type(error).__name__}: {error}"
    where = ". Keys and addresses of judges belong in the host's Settings"
    return f"{error}{where if isinstance(error, JudgeError) else ''}"


def _with_form_choices(params: Params, host: ClassicHost) -> Params:
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
            host.save(write_tables(conclude(journal, _FAST_RESAMPLES), host.folder))

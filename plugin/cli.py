"""The command line: run, demo, resume, report.

Exit codes: 0 done, 1 a fault (the journal is kept), 2 the user's mistake, 130 interrupted.
"""

from __future__ import annotations

import argparse
import difflib
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plugin import __version__
from plugin.errors import OptionError, VerdictError
from plugin.params import Params, option_of

if TYPE_CHECKING:
    from plugin.hosts import Host

_PROGRAM = "python main.py"
DEMO_OUT = "runs/demo"
INTERRUPTED = 130


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

    host: Host | None = None
    try:
        params = _COMMANDS[command](given)
        host = FolderHost(Path(params.out))
        _do(command, params, host)
    except VerdictError as error:
        (host or FolderHost(Path())).fail(_with_way_on(error, host))
        return error.exit_code
    except KeyboardInterrupt:
        folder = host.folder if host else Path()
        print(
            f"\nstopped; everything made so far is kept. Go on: {_PROGRAM} resume {folder}",
            file=sys.stderr,
        )
        return INTERRUPTED
    return 0


def _do(command: str, params: Params, host: Host) -> None:
    from contextlib import closing

    from plugin.journal import Journal
    from plugin.run import publish, run
    from plugin.worker import Worker

    if command == "report":
        with closing(Journal.existing(host.folder)) as journal, closing(Worker(host.tend)) as work:
            publish(journal, host, work)
    else:
        run(params, host)


def _run_params(given: dict[str, Any]) -> Params:
    values = _config(given.pop("config"))
    values |= {name: value for name, value in given.items() if value is not None}
    return Params.parse(values)


def _demo_params(given: dict[str, Any]) -> Params:
    home = Path(__file__).parent / "demo"
    return Params.parse(
        {
            "model_name": str(home / "model"),
            "model_adapter": [str(home / "adapter")],
            "dataset_name": str(home / "cases.jsonl"),
            "judge": "offline",
            "max_tokens": 48,
            "predefined_tasks": [
                "Correctness",
                "Token F1",
                "Exact Match",
                "Answer Relevancy",
                "Hallucination",
            ],
            "out": given["out"] or DEMO_OUT,
        }
    )


def _resume_params(given: dict[str, Any]) -> Params:
    from plugin.journal import Journal

    folder = Path(given["folder"])
    journal = Journal.existing(folder)
    try:
        values = journal.meta("params")
    finally:
        journal.close()
    if values is None:
        raise OptionError(f"{folder} holds a run that never began; start it again with `run`")
    return Params.parse({**values, "out": str(folder)})


def _report_params(given: dict[str, Any]) -> Params:
    return _resume_params(given)


_COMMANDS = {
    "run": _run_params,
    "demo": _demo_params,
    "resume": _resume_params,
    "report": _report_params,
}


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
    for name in Params.model_fields:
        _add_option(run, name)
    demo = commands.add_parser("demo", help="the same on a tiny model that comes with the program")
    demo.add_argument("--out", metavar="DIR", help=f"run directory (default: {DEMO_OUT})")
    for command, help_text in (
        ("resume", "go on with a run that was stopped, and try again what failed"),
        ("report", "rebuild tables, charts and report from a run's journal"),
    ):
        sub = commands.add_parser(command, help=help_text)
        sub.add_argument("folder", metavar="DIR", help="the run's directory")
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
    if name == "model_adapter":
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
    unknown = [str(name) for name in values if name not in Params.model_fields]
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
    close = difflib.get_close_matches(name, Params.model_fields, n=1)
    return f"unknown option {name!r}" + (f", did you mean {close[0]!r}?" if close else "")


def _with_way_on(error: VerdictError, host: Host | None) -> VerdictError:
    """A fault's message says how to go on."""
    if host is None or error.exit_code != 1:
        return error
    return type(error)(f"{error}\nGo on with: {_PROGRAM} resume {host.folder}")

"""Do the command `gate`: decide the rules on a finished run, write the files, say the outcome."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plugin.gate.decide import GateResult, decide
from plugin.gate.markdown import gate_markdown
from plugin.gate.outputs import append_summary, gate_json, junit_xml
from plugin.gate.reading import GateRun, read_run
from plugin.gate.regressions import worst_regressions
from plugin.gate.rules import make_checks
from plugin.gate.words import terminal_lines
from plugin.hosts.folder import FolderHost
from plugin.plan.gate_rules import GateOrder, read_order
from plugin.report import write_files

_WIDEST = 100
_NARROWEST = 40


def start_gate(given: Mapping[str, Any], host: FolderHost) -> int:
    """Decide whether the variant of a finished run may ship; return the exit code.

    Raises:
        OptionError: when a rule is wrong or the run has nothing for it; when the run is not
            finished; when a file cannot be written.
        DamagedError: when the run's journal is damaged.
    """
    order = read_order(given)
    folder = Path(given["folder"])
    run = read_run(folder, order.variant)
    found = run_gate(run, order)
    files = gate_files(run, found)
    paths = write_files(Path(given["out"] or folder / "gate"), files)
    if given["summary"]:
        append_summary(given["summary"], files["gate.md"])
    width = max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size((_WIDEST, 24)).columns))
    for line, style in terminal_lines(run, found, width):
        host.log(line, style)
    host.log(f"\nFiles: {', '.join(path.name for path in paths)} in {paths[0].parent}")
    return found.exit_code


def run_gate(run: GateRun, order: GateOrder) -> GateResult:
    """Decide all rules on a run.

    Raises:
        OptionError: naming every rule that the run has nothing for.
    """
    return GateResult(decide(make_checks(run, order.rules), run.n_rivals), order.is_strict)


def gate_files(run: GateRun, found: GateResult) -> dict[str, str]:
    """Return file name -> text of everything that a gate writes."""
    worst = worst_regressions(run)
    return {
        "junit.xml": junit_xml(run, found),
        "gate.md": gate_markdown(run, found, worst),
        "gate.json": gate_json(run, found, worst),
    }

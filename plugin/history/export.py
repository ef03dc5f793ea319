"""The command `export`: a model card's section, and experiment trackers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plugin.errors import DataError, OptionError, did_you_mean
from plugin.history.model_card import CARD, model_card
from plugin.history.trackers import track
from plugin.hosts.folder import FolderHost
from plugin.report import write_files

_ATTACHED = ("verdict.txt", "report.html", "summary.json", "01_summary.csv", "02_comparison.csv")


def start_export(given: Mapping[str, Any], host: FolderHost) -> int:
    """Write the card, and send the run to the trackers that were named; return the exit code."""
    folder = Path(given["folder"])
    summary = read_summary(folder)
    variant = _choose_variant(summary, given["variant"] or "")
    host.out = given["out"] or str(folder)
    (place,) = write_files(host.open("export"), {CARD: model_card(summary, variant)})
    host.log(f"Section for a model card: {place}")
    for name in given["track"] or ():
        track(name, summary, [folder / file for file in _ATTACHED])
        host.log(f"sent to {name}: run {summary['provenance']['run_id']}")
    return 0


def read_summary(folder: Path) -> dict[str, Any]:
    """Return the summary.json of a run.

    Raises:
        OptionError: when the folder has none.
        DataError: when it is not as this program writes it.
    """
    file = folder / "summary.json"
    if not file.is_file():
        raise OptionError(
            f"{folder} has no summary.json; name the folder of a finished run, or make its files "
            f"again with `report {folder}`"
        )
    try:
        found = json.loads(file.read_bytes())
        for name in ("provenance", "verdict", "comparisons", "summaries", "variants"):
            found[name]
        found["variants"][0]["name"], found["verdict"]["variant"]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataError(
            f"{file} is no summary of this version; make it again with `report {folder}`"
        ) from error
    return dict(found)


def _choose_variant(summary: Mapping[str, Any], wanted: str) -> str:
    names = [one["name"] for one in summary["variants"]]
    if wanted and wanted not in names:
        raise OptionError(
            f"--variant {wanted}{did_you_mean(wanted, names)}: the run has {', '.join(names)}"
        )
    return wanted or summary["verdict"]["variant"] or names[-1]

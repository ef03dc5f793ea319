"""The current Transformer Lab: a job of the experiment, on the SDK `transformerlab` (`lab`).

The SDK is synchronous and one thread's: all its calls are made from the main thread, outside any
event loop, and not more often than about once a second. A Stop arrives as SIGTERM, with SIGKILL
three seconds later.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plugin.compare.numbers import round_published
from plugin.compare.pairs import contenders
from plugin.errors import AdapterError, VerdictError
from plugin.hosts import STOPPED_TEXT, ProgressReporter, closing_words, run_folder
from plugin.records import ALL
from plugin.report.record import Report
from plugin.worker import Progress


def plain_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the job's parameters as values.

    Where the user chose nothing, the host delivers an option's schema in place of its value; then
    the schema's default is meant. Null and text are left to `Params`.
    """
    return {
        name: value.get("default") if isinstance(value, dict) and "type" in value else value
        for name, value in config.items()
    }


class LabHost:
    """See `plugin.hosts.Host`.

    Attributes:
        folder: the run's folder, once it is open.
    """

    def __init__(self, lab: Any) -> None:
        """Take the initialised SDK."""
        self.folder: Path | None = None
        self._lab = lab
        self._reporter = ProgressReporter(self.log, lab.update_progress)

    def open(self, run_id: str) -> Path:
        """Return a folder in the workspace; the same settings continue the run there."""
        from lab.dirs import get_workspace_dir

        workspace = asyncio.run(get_workspace_dir())
        if "://" in workspace:  # a remote store takes files, not a database that is being written
            workspace = str(Path.home() / ".transformerlab" / "workspace")
        self.folder = run_folder(Path(workspace), run_id)
        return self.folder

    def model(self, name: str) -> str:
        """Return a directory, else a model of the registry, else the name as a hub id."""
        path = Path(os.path.expanduser(name))
        return os.path.abspath(path) if path.is_dir() else self._registered(name) or name

    def adapter(self, name: str) -> Path:
        """Return a directory, else an adapter of the registry."""
        path = Path(os.path.abspath(Path(os.path.expanduser(name))))
        if path.is_dir():
            return path
        registered = self._registered(name)
        if registered is None:
            raise AdapterError(
                f"adapter {name!r}: found neither the directory {path} nor a registered model of "
                "that name; give a directory, or a registry id such as my-adapter/v1"
            )
        return Path(registered)

    def dataset(self, name: str) -> str:
        """Return a path, else a data set of the host, else the name as a data set id."""
        path = Path(os.path.expanduser(name))
        if path.exists():
            return str(path.resolve())
        try:
            return str(asyncio.run(self._lab.get_dataset(name).get_dir()))
        except (FileNotFoundError, ValueError):
            return name

    def secret(self, name: str) -> str | None:
        """Return the host's secret of that name, else the environment variable."""
        found = self._lab.get_secret(name) or os.environ.get(name) or ""
        return found.strip() or None

    def tend(self, progress: Progress) -> None:
        """Move the job's progress, and log the stages."""
        self._reporter.tend(progress)

    def log(self, text: str) -> None:
        """Write a line into the job's log."""
        self._lab.log(text)

    def save(self, files: Sequence[Path]) -> None:
        """Save tables to the Evals page, and the rest to the artifacts."""
        for file in files:
            kind = {"type": "evals"} if file.suffix == ".csv" else {}
            self._lab.save_artifact(str(file), file.name, **kind)

    def publish(self, report: Report, files: Sequence[Path]) -> None:
        """Save everything, log the verdict, and complete the job."""
        self.save(files)
        for line in closing_words(report):
            self.log(line)
        self._lab.finish(report.verdict.sentence, score=published_scores(report))

    def fail(self, error: VerdictError) -> None:
        """End the job as failed, with the message."""
        print(f"error: {error}", file=sys.stderr, flush=True)
        self._lab.error(str(error))

    def stopped(self) -> None:
        """Say so in the log; the host itself marks the job as stopped."""
        self.log(STOPPED_TEXT)

    def _registered(self, name: str) -> str | None:
        """Return the registry's folder for an id such as my-adapter/v1; None where it has none."""
        # The SDK leaves parts such as .. out, and would give another folder than the one named.
        if {"", ".", ".."} & set(name.split("/")):
            return None
        try:
            path = str(self._lab.get_model_path(name))
        except (FileNotFoundError, ValueError):
            return None
        return path if Path(path).is_dir() else None


def published_scores(report: Report) -> dict[str, float]:
    """Return flat finite numbers: the primary gain as `score`, every gain and every mean.

    `gain` is the gain over the base; with a prompted base there is `gain_over_prompted`, too.
    `lost_guards` counts what the variant that the verdict is about lost.
    """
    found: dict[str, float | None] = {}
    names = [variant.name for variant in report.variants]
    rivals, over_base = contenders(names), list[float]()
    for row in report.comparisons:
        if row.group != ALL or row.variant not in rivals:
            continue
        is_over_base = row.baseline == names[0]
        name = "gain" if is_over_base else f"gain_over_{row.baseline}"
        found[f"{name}/{row.metric}" + (f"/{row.variant}" if len(rivals) > 1 else "")] = row.gain
        if is_over_base and row.metric == report.verdict.primary_metric and row.gain is not None:
            over_base.append(row.gain)
    if over_base:
        found["score"] = max(over_base)
        found["lost_guards"] = float(len(report.verdict.lost))
    for summary in report.summaries:
        if summary.group == ALL:
            found[f"{summary.variant}/{summary.metric}"] = summary.mean
    ordered = sorted(found, key=lambda key: (key != "score", not key.startswith("gain"), key))
    return {key: value for key in ordered if (value := round_published(found[key])) is not None}

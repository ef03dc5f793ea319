"""The current Transformer Lab: a job of the experiment, on the SDK `transformerlab` (`lab`).

The SDK is synchronous and one thread's: all its calls are made from the main thread, outside any
event loop, and not more often than about once a second. A Stop arrives as SIGTERM, with SIGKILL
three seconds later.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plugin.compare.numbers import round_published
from plugin.compare.pairs import contenders
from plugin.errors import (
    AdapterError,
    DataError,
    FaultError,
    JudgeError,
    ModelError,
    VerdictError,
    did_you_mean,
    list_first,
)
from plugin.hosts import ProgressReporter, closing_words, counted_progress, run_folder, stopped_text
from plugin.hosts.lab_registry import (
    Kind,
    document_names,
    find_document,
    find_registered,
    registered_names,
)
from plugin.journal import kept_text
from plugin.records import ALL
from plugin.report.record import Report
from plugin.report.tables import chart_label
from plugin.worker import STOP_WITHIN_S, Progress, Stage


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

    stop_exit_code = 0
    """The host calls a stopped job failed when its command ends with another code."""

    stop_within_s = STOP_WITHIN_S

    metrics_without_judge: tuple[str, ...] = ("Token F1", "Exact Match")
    """So that three fields are enough: model, adapter and data set."""

    def __init__(self, lab: Any, titles: Mapping[str, str] | None = None) -> None:
        """Tell nothing yet.

        Args:
            lab: the initialised SDK.
            titles: of the form's fields, by option.
        """
        self._titles = titles or {}
        self.folder: Path | None = None
        self._lab = lab
        self._reporter = ProgressReporter(self.log, self._update)
        self._told_s = time.monotonic()
        self._progress = Progress()
        self._doing, self._shown_s = "", 0.0
        self._n_shown = 0

    def open(self, run_id: str) -> Path:
        """Return a folder in the workspace; the same settings continue the run there."""
        self.folder = run_folder(self._workspace(), run_id)
        return self.folder

    def model(self, name: str) -> str:
        """Return a directory, else a model of the registry, else the name as a hub id.

        Raises:
            ModelError: for a path that is not there, listing what was tried.
        """
        path = Path(os.path.expanduser(name))
        if path.is_dir():
            return os.path.abspath(path)
        if found := find_registered(self._workspace(), "models", name):
            return str(found)
        if name.startswith(("/", "~", ".")):
            raise ModelError(f"base model {name!r}: {self._not_found('models', name)}")
        return name

    def adapter(self, name: str) -> Path:
        """Return a directory, else an adapter of the registry."""
        path = Path(os.path.abspath(Path(os.path.expanduser(name))))
        if path.is_dir():
            return path
        if found := find_registered(self._workspace(), "models", name):
            return found
        raise AdapterError(f"adapter {name!r}: {self._not_found('models', name)}")

    def dataset(self, name: str) -> str:
        """Return a path, a document, a data set of the registry, else the name as a hub id.

        Raises:
            DataError: for a file that is not there, listing what was tried.
        """
        path = Path(os.path.expanduser(name))
        if path.exists():
            return str(path.resolve())
        found = find_document(self._documents(), name)
        found = found or find_registered(self._workspace(), "datasets", name)
        if found:
            return str(found)
        is_misspelt = "/" not in name and did_you_mean(name, document_names(self._documents()))
        if name.startswith(("/", "~", ".")) or path.suffix in _DATA_SUFFIXES or is_misspelt:
            raise DataError(f"data set {name!r}: {self._not_found('datasets', name)}")
        return name

    def secret(self, name: str) -> str | None:
        """Return the host's secret of that name, else the environment variable."""
        found = self._lab.get_secret(name) or os.environ.get(name) or ""
        return found.strip() or None

    def tend(self, progress: Progress) -> None:
        """Move the job's progress, name its stage, and log a line now and then in a long one.

        The card of a running job shows `live_status`; the SDK says "Lab initialized" there.
        """
        self._progress = progress
        now = time.monotonic()
        doing = f"{progress.stage}: {progress.step}".removesuffix(": ") if progress.stage else ""
        is_new_stage = doing.partition(": ")[0] != self._doing.partition(": ")[0]
        if doing != self._doing and (is_new_stage or now - self._shown_s >= _STATUS_EVERY_S):
            self._doing, self._shown_s = doing, now
            self._lab.set_job_data_field("live_status", doing)
        self._reporter.tend(progress)
        if progress.stage and time.monotonic() - self._told_s >= _LINE_EVERY_S:
            self.log(progress_line(progress))

    def log(self, text: str) -> None:
        """Write a line into the job's log."""
        self._told_s = time.monotonic()
        self._lab.log(text)

    def _update(self, percent: int) -> None:
        """Move the bar, and the live charts while completions are judged."""
        progress = self._progress
        if progress.stage != Stage.SCORE or progress.done == self._n_shown:
            self._lab.update_progress(percent)
            return
        self._n_shown = progress.done
        metrics = {"judged": float(progress.done), "failed": float(progress.n_failed)}
        if progress.gain is not None:
            metrics["running_gain"] = round(progress.gain, 4)
        self._lab.update_progress(percent, metrics=metrics, step=progress.done)

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
        self.log(_WHERE)
        said = name_fields(" ".join(report.verdict.headline), self._titles)
        self._lab.finish(said, score=published_scores(report))

    def fail(self, error: VerdictError) -> None:
        """End the job as failed, with the message where the host shows it: card, log and output."""
        text = (
            str(error).replace(f"{self._documents()}/", "").replace(f"{self._workspace()}/", "…/")
        )
        text = name_fields(text, self._titles)
        if re.search(r"(?<![\w-])--[a-z]", text):
            text += ". Options with -- go into 'More options'"
        if isinstance(error, FaultError) and (kept := kept_text(self.folder)):
            text += f". Kept: {kept}; the same settings continue the run"
        if isinstance(error, JudgeError):
            text += ". Keys and addresses of judges are secrets: User Settings > Secrets"
        print(f"error: {text}", file=sys.stderr, flush=True)
        self.log(f"error: {text}")
        self._lab.set_job_data_field("error_msg", text)
        self._lab.error(text)

    def stopped(self) -> None:
        """Say so in the log; the host itself marks the job as stopped."""
        self.log(stopped_text(self.folder))

    def _workspace(self) -> Path:
        from lab.dirs import get_workspace_dir

        workspace = asyncio.run(get_workspace_dir())
        if "://" in workspace:  # a remote store takes files, not a database that is being written
            return Path.home() / ".transformerlab" / "workspace"
        return Path(workspace)

    def _documents(self) -> Path:
        return Path(asyncio.run(self._lab.experiment.get_dir())) / "documents"

    def _not_found(self, kind: Kind, name: str) -> str:
        """Return what was tried, what was probably meant, and what there is."""
        have = registered_names(self._workspace(), kind)
        tried, there = (
            [_REGISTRY_NAMES[kind]],
            f"the registry has {list_first(have, 5) or 'nothing'}",
        )
        if kind == "datasets":
            files = document_names(self._documents())
            have += files
            tried.insert(0, "the experiment's documents")
            there += f", the documents are {list_first(files, 5) or 'none'}"
        hint = did_you_mean(name, have)
        path = Path(os.path.abspath(os.path.expanduser(name)))
        if name.startswith(("/", "~", ".")):
            tried.insert(0, f"the path {path}")
            if path.is_relative_to(Path.home()):
                hint += ". The home directory of a job is its own, not yours: give a whole path"
            elif path.is_relative_to("/tmp"):
                hint += ". A job cannot see the machine's /tmp: use the registry or another folder"
        return f"not found in {' or '.join(tried)} ({there}){hint}"


_WHERE = (
    "Artifacts: verdict.svg shows the answer as one picture; download report.html and open it in a "
    "browser to read every case"
)

_DATA_SUFFIXES = {".csv", ".tsv", ".json", ".jsonl", ".parquet"}
_STATUS_EVERY_S = 1.0
"""Between two steps of a stage on the job's card: the SDK's calls are slow."""

_LINE_EVERY_S = 12.0
"""Between two lines of the log in a long stage."""

_REGISTRY_NAMES = {"models": "the Model Registry", "datasets": "the Dataset Registry"}


def name_fields(text: str, titles: Mapping[str, str]) -> str:
    """Return a message with the form's titles in place of the options that have a field there."""
    for name, title in titles.items():
        text = re.sub(rf"--{name}\b", f"'{title}'", text)
    return text


def progress_line(progress: Progress) -> str:
    """Return how far the stage is, in a line."""
    parts = counted_progress(progress)
    parts += [progress.note] if progress.note else []
    if progress.gain is not None and progress.stage == Stage.SCORE:
        parts.append(f"running gain {progress.gain:+.3f}")
    return f"{progress.stage}: {', '.join(parts)}".removesuffix(": ")


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
            found[f"{chart_label(summary.variant, names)}/{summary.metric}"] = summary.mean
    ordered = sorted(found, key=lambda key: (key != "score", not key.startswith("gain"), key))
    return {key: value for key in ordered if (value := round_published(found[key])) is not None}

"""The classic Transformer Lab: a plugin run by its harness, on the SDK object `tlab_evals`.

Only `add_job_data`, `progress_update`, `log_metric` and `save_evaluation_results` are used: they
are synchronous in every release. A user's Stop arrives as KeyboardInterrupt from `progress_update`.
stderr is thrown away there, so everything goes to stdout.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from plugin.compare.numbers import round_published
from plugin.errors import AdapterError, DataError, JudgeError, OptionError, VerdictError
from plugin.hosts import ProgressReporter, closing_words, is_within, run_folder, stopped_text
from plugin.hosts.documents import publish_documents
from plugin.records import ALL, DATA, VANILLA, MetricSpec, Score, is_yardstick
from plugin.report.record import Report
from plugin.results import Summary
from plugin.sheets import guard_cell
from plugin.worker import STOP_WITHIN_S, Progress

_PROVENANCE = ("run_id", "seed", "identity", "digests", "judge_versions", "versions")
"""What the job's data keeps of where the numbers come from; the run folder has it all."""

_PARTS = {
    "CUSTOM_JUDGE_BASE_URL": ("CUSTOM_MODEL_API_KEY", "customBaseURL"),
    "CUSTOM_JUDGE_API_KEY": ("CUSTOM_MODEL_API_KEY", "customApiKey"),
    "AZURE_OPENAI_API_KEY": ("AZURE_OPENAI_DETAILS", "azure_openai_api_key"),
    "AZURE_OPENAI_ENDPOINT": ("AZURE_OPENAI_DETAILS", "azure_endpoint"),
    "OPENAI_API_VERSION": ("AZURE_OPENAI_DETAILS", "openai_api_version"),
}
"""Secret -> the host's setting and the part of it that holds the secret."""


def read_values(arguments: Sequence[str]) -> dict[str, Any]:
    """Return the form's values: those of the input file, typed, then those of the arguments.

    Raises:
        OptionError: when the input file is named but cannot be read.
    """
    pairs = zip(arguments, arguments[1:], strict=False)
    given: dict[str, Any] = {
        key.removeprefix("--"): value
        for key, value in pairs
        if key.startswith("--") and not value.startswith("--")
    }
    file = given.pop("input_file", None)
    if not file or not Path(file).is_file():
        return given
    try:
        config = json.loads(Path(file).read_text(encoding="utf-8"))["config"]
        return {**given, **config}
    except (ValueError, KeyError, TypeError) as error:
        raise OptionError(
            f"the host's input file {file} cannot be read ({type(error).__name__}: {error}); "
            "queue the evaluation again"
        ) from error


class ClassicHost:
    """See `plugin.hosts.Host`.

    Attributes:
        folder: the run's folder, once it is open.
    """

    stop_exit_code = 130
    metrics_without_judge: tuple[str, ...] = ()
    stop_within_s = STOP_WITHIN_S

    def __init__(
        self,
        sdk: Any,
        workspace: str,
        config_value: Any,
        model_name: str,
        reword: Callable[[str], str] = str,
    ) -> None:
        """Take what the host gives.

        Args:
            sdk: its `tlab_evals` object.
            workspace: the directory of models, adaptors and datasets.
            config_value: name -> stored value of the host's settings, or None.
            model_name: the experiment's model; adapters are kept under its name.
            reword: turns what is printed into the words of the form.
        """
        self.folder: Path | None = None
        self._sdk = sdk
        self._workspace = Path(workspace)
        self._config_value = config_value
        self._model_name = model_name
        self._reword = reword
        self._reporter = ProgressReporter(self.log, lambda percent: sdk.progress_update(percent))

    def open(self, run_id: str) -> Path:
        """Return a folder in the workspace; the same settings continue the run there."""
        self.folder = run_folder(self._workspace, run_id)
        return self.folder

    def model(self, name: str) -> str:
        """Return a directory, or the name as a hub id."""
        return os.path.abspath(name) if Path(name).is_dir() else name

    def adapter(self, name: str) -> Path:
        """Return the folder that the host's trainers wrote, under the model's name."""
        folder = self._workspace / "adaptors"
        models = (_secure_name(self._model_name), self._model_name, Path(self._model_name).name)
        tried = [folder / model / name for model in models if model]
        inside = [path for path in tried if is_within(path, folder)]
        if not inside:
            raise AdapterError(
                f"adapter {name!r} leads out of {folder}, where the host keeps adapters, and is "
                "not read; choose an adapter in the experiment's Foundation tab, or copy this one "
                "there"
            )
        for path in inside:
            if path.is_dir():
                return Path(os.path.abspath(path))
        raise AdapterError(
            f"adapter {name!r} is gone: there is no {', no '.join(map(str, inside))}. Choose an "
            "adapter in the experiment's Foundation tab and make a new evaluation (an old one "
            "keeps the adapter it was made with)"
        )

    def dataset(self, name: str) -> str:
        """Return the host's folder of a local data set, or the name as a data set id.

        Raises:
            DataError: for a name that leads out of the host's folder of data sets.
        """
        datasets = self._workspace / "datasets"
        folder = datasets / name
        if not is_within(folder, datasets):
            raise DataError(
                f"data set {name!r} leads out of {datasets}, where the host keeps data sets, and "
                "is not read; choose one in the evaluation's Dataset tab, or copy this one there"
            )
        return str(folder) if folder.is_dir() else name

    def secret(self, name: str) -> str | None:
        """Return the host's setting of that name, else the environment variable."""
        stored = self._part(*_PARTS[name]) if name in _PARTS else self._stored(name)
        return str(stored or os.environ.get(name, "")).strip() or None

    def judge_of(self, chosen: str) -> str:
        """Return the judge, as --judge takes it, for a choice of the form's model list.

        Raises:
            JudgeError: for a choice that cannot judge.
        """
        try:
            choice = json.loads(chosen) if chosen.startswith("{") else {"provider": chosen}
        except ValueError as error:
            raise JudgeError(f"judge model {chosen!r} is no choice of the list") from error
        provider = str(choice.get("provider", "")) if isinstance(choice, dict) else ""
        if provider.startswith("gpt-"):
            return f"openai:{provider}"
        if provider.startswith("claude-"):
            return f"anthropic:{provider}"
        if provider == "azure-openai":
            return f"azure:{self._part('AZURE_OPENAI_DETAILS', 'azure_deployment') or ''}"
        if provider == "custom-model-api":
            return f"custom:{self._part('CUSTOM_MODEL_API_KEY', 'customModelName') or ''}"
        if provider == "local":
            return "local"
        raise JudgeError(
            f"judge model {provider or chosen!r} is none of gpt-..., claude-..., azure-openai, "
            "custom-model-api and local; choose one of these as Judge model"
        )

    def tend(self, progress: Progress) -> None:
        """Update the job's progress at least once a second; a Stop is raised by this very call."""
        self._reporter.tend(progress)

    def log(self, text: str) -> None:
        """Print to stdout, which is the job's output."""
        print(self._reword(text), flush=True)

    def publish(self, report: Report, files: Sequence[Path]) -> None:
        """Save the detailed report, the chips and charts, and print the verdict."""
        saved = self._sdk.save_evaluation_results(detailed_rows(report))
        # The host's own means would hold NaN where nothing was scored.
        self._sdk.add_job_data("score", json.dumps(chips_of(report)))
        for mean in means_of(report):
            self._sdk.log_metric(mean["type"], mean["score"])
        facts = {name: report.provenance[name] for name in _PROVENANCE}
        self._sdk.add_job_data("provenance", json.dumps(facts, ensure_ascii=False))
        shown = publish_documents(report, files, saved)
        for line in closing_words(report):
            if line not in report.verdict.headline:  # said last of all
                self.log(line)
        self.log(f"Report and charts: {shown or files[0].parent}")

    def fail(self, error: VerdictError) -> None:
        """Print the message; the job's details are written when the job ends."""
        self.log(f"error: {error}")

    def stopped(self) -> None:
        """Say so in the job's output."""
        self.log(stopped_text(self.folder))

    def _stored(self, name: str) -> str | None:
        """Return a value of the host's settings."""
        try:
            value: str | None = self._config_value(name)
        except sqlite3.Error as error:
            raise OptionError(
                f"the host's settings cannot be read ({error}), so the judge's key is not known; "
                "wait until the host is less busy and queue the evaluation again"
            ) from error
        return value

    def _part(self, setting: str, key: str) -> str | None:
        """Return a part of a setting that is a JSON object; None where it is not there."""
        stored = self._stored(setting)
        try:
            return json.loads(stored).get(key) if stored else None
        except (ValueError, AttributeError):
            return None


def shown_metric(metric: str, variant: str, report: Report) -> str:
    """Return the name under which a variant's scores stand.

    The base's scores, prompted or not, are marked where several variants ran; a single adapter's
    are not, so that two jobs have the same names.
    """
    if variant == DATA or len(report.variants) == 1:
        return metric
    n_adapters = sum(not _is_beside(each.name) for each in report.variants)
    return f"{metric} · {variant}" if _is_beside(variant) or n_adapters > 1 else metric


def _is_beside(name: str) -> bool:
    """Return whether a variant is the base or a yardstick, and not what the verdict is about."""
    return name == VANILLA or is_yardstick(name)


def chips_of(report: Report) -> list[dict[str, Any]]:
    """Return the means that chips and charts show, at most four: more labels run into each other.

    These are the primary metric and the next one, each for the base and one variant beside it (the
    first that was tuned, where there is one). With a single variant they are its first four.
    """
    named = [variant.name for variant in report.variants]
    beside = [name for name in named[1:] if not _is_beside(name)] + named[1:]
    chosen = {*named[:1], *beside[:1]}
    shown = [row for row in _means(report) if row.variant in chosen]
    wanted = 2 if beside else _MAX_CHIPS
    metrics = list(dict.fromkeys(row.metric for row in shown))[:wanted]
    return [_chip(row, report) for row in shown if row.metric in metrics][:_MAX_CHIPS]


_MAX_CHIPS = 4


def means_of(report: Report) -> list[dict[str, Any]]:
    """Return all finite means, rounded, the base's beside the adapter's."""
    return [_chip(row, report) for row in _means(report)]


def _means(report: Report) -> list[Summary]:
    """Return the means over all cases that exist, by metric, the primary one first."""
    order = {metric.name: place for place, metric in enumerate(report.metrics)}
    found = [
        row
        for row in report.summaries
        if row.group == ALL and round_published(row.mean) is not None
    ]
    return sorted(found, key=lambda row: order[row.metric])


def _chip(row: Summary, report: Report) -> dict[str, Any]:
    return {
        "type": shown_metric(row.metric, row.variant, report),
        "score": round_published(row.mean),
    }


def detailed_rows(report: Report) -> Any:
    """Return a flat table with a row per score, by case, then variant, then metric.

    The variant comes first, so that the host keeps the table flat. The host loses line breaks in
    cells, so they are shown as "⏎".
    """
    from pandas import DataFrame

    cases = {case.id: case for case in report.cases}
    by_place = {(s.case_id, s.variant, s.metric): s for s in report.scores}
    specs = {spec.name: spec for spec in report.metrics}
    named = [variant.name for variant in report.variants]
    order = [
        (metric.name, name, case.id)
        for case in report.cases
        for name in (*named, DATA)
        for metric in report.metrics
        if metric.judges_data == (name == DATA)
    ]
    rows = []
    for metric, variant, case_id in order:
        score = by_place.get((case_id, variant, metric))
        if score is None:
            continue
        case = cases[case_id]
        completion = report.completions.get((case_id, variant))
        base = by_place.get((case_id, named[0], metric))
        gain = None if variant == named[0] else _gain(score, base, specs[metric])
        rows.append(
            {
                "variant": guard_cell(variant),
                "metric_name": guard_cell(shown_metric(metric, variant, report)),
                "test_case_id": guard_cell(case_id),
                "score": round_published(score.value),
                "gain": gain,
                "group": guard_cell(case.group or ""),
                "input": _on_one_line(case.input),
                "output": _on_one_line(completion.text if completion else ""),
                "expected_output": _on_one_line(case.expected_text or ""),
                "reason": _on_one_line(score.reason or ""),
            }
        )
    return DataFrame(rows, columns=list(rows[0]) if rows else list(_COLUMNS))


_COLUMNS = (
    *("variant", "metric_name", "test_case_id", "score", "gain", "group"),
    *("input", "output", "expected_output", "reason"),
)


def _on_one_line(text: str) -> str:
    return guard_cell(" ⏎ ".join(text.splitlines()))


def _gain(score: Score, base: Score | None, spec: MetricSpec) -> float | None:
    if base is None:
        return None
    return round_published(spec.gain(score.value, base.value))


def _secure_name(name: str) -> str:
    """Return a model's name as the host writes it in a path: werkzeug's `secure_filename`."""
    text = name.encode("ascii", "ignore").decode().replace(os.sep, " ")
    return re.sub(r"[^A-Za-z0-9_.-]", "", "_".join(text.split())).strip("._")

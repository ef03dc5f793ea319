"""Write a report as files: tables, charts, one self-contained page, and files for machines."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from plugin.certify.effect import Distance
from plugin.errors import OptionError
from plugin.judges import NoJudge
from plugin.report.canvas import inline_svg
from plugin.report.capability_charts import capability_charts
from plugin.report.charts import comparison_svg, distribution_svg
from plugin.report.confusion import confusion_svg
from plugin.report.conversations import PICTURE, radar_of, talks_of
from plugin.report.curves_chart import Block, curves_svg
from plugin.report.folds_chart import folds_svg
from plugin.report.gain_chart import answer_svg, gains_svg
from plugin.report.latency_chart import latency_svg
from plugin.report.memorisation_chart import memorisation_svg
from plugin.report.page import Pictures, render_page
from plugin.report.record import Ledger, Report
from plugin.report.right_wrong import turned_cases, turned_fields
from plugin.report.samples_chart import samples_svg
from plugin.report.tables import csv_text, make_tables
from plugin.sheets import spell_controls
from plugin.training.views import TrainingView
from plugin.worker import Progress, Stage

SUMMARY_FORMAT = 1
"""Of summary.json."""


def render_report(report: Report, progress: Progress | None = None) -> dict[str, str]:
    """Return file name -> text of everything that is published, in publishing order.

    Args:
        report: what to publish.
        progress: counts the tables, which are made together, and then each file; None for nothing
            to show.
    """
    shown, charts = progress or Progress(), dict[str, str]()
    shown.begin(Stage.WRITE_REPORT, total=1 + 1 + len(_CHARTS) + 3)
    files = {name: csv_text(table) for name, table in make_tables(report).items()}
    _count_step(shown)
    files["verdict.svg"] = answer_svg(report)
    pictures = Pictures(
        wide=_inline(gains_svg(report), "wide"),
        narrow=_inline(gains_svg(report, narrow=True), "narrow"),
    )
    _count_step(shown)
    for name, draw in _CHARTS.items():
        charts[name] = files[name] = draw(report)
        _count_step(shown)
    if report.task.matrices:
        charts["confusion.svg"] = files["confusion.svg"] = confusion_svg(report.task.matrices)
    if drawn := memorisation_svg(report.memorisation):
        files["memorisation.svg"] = drawn
    if sampled := samples_svg(report.sampling):
        files["samples.svg"] = sampled
    trained = curves_svg([_training_block(view) for view in report.trainings])
    if trained:
        files["curves.svg"] = trained
    if waits := latency_svg(report.latency):
        files["latency.svg"] = waits
    if by_fold := folds_svg(report):
        files["folds.svg"] = by_fold
    pictures = pictures._replace(
        memory=_inline(drawn, "memory"),
        curves=_inline(trained, "curves"),
        samples=_inline(sampled, "samples"),
        latency=_inline(waits, "waits"),
        latency_narrow=_inline(latency_svg(report.latency, narrow=True), "waitn"),
        folds=_inline(by_fold, "folds"),
        folds_narrow=_inline(folds_svg(report, narrow=True), "folds-narrow"),
    )
    ability = capability_charts(report.capability) if report.capability else {}
    files |= ability
    talks = talks_of(report)
    radar = radar_of(talks) if talks else ""
    if radar:
        files[PICTURE] = radar
    pictures = pictures._replace(talks=_inline(radar, "talks"))
    inline, own = (
        [inline_svg(svg, name[:4]) for name, svg in drawn.items()] for drawn in (charts, ability)
    )
    files["report.html"] = render_page(report, inline, pictures, own)
    _count_step(shown)
    files["summary.json"] = json.dumps(
        summary_json(report), ensure_ascii=False, allow_nan=False, indent=2
    )
    files["completions.jsonl"] = completions_jsonl(report)
    _count_step(shown)
    files["verdict.txt"] = verdict_txt(report)
    _count_step(shown)
    return files


def _inline(svg: str, prefix: str) -> str:
    return inline_svg(svg, prefix) if svg else ""


def _training_block(view: TrainingView) -> Block:
    return Block(", ".join(view.variants), view.curves, view.chosen)


_CHARTS = {"comparison.svg": comparison_svg, "distribution.svg": distribution_svg}


def _count_step(progress: Progress) -> None:
    progress.done += 1
    progress.check()


def write_report(
    report: Report, folder: Path, progress: Progress | None = None
) -> tuple[Path, ...]:
    """Write every published file into the folder, each whole or not at all.

    Args:
        report: what to publish.
        folder: made when missing; files of the same names are replaced.
        progress: counts the steps; None for nothing to show.

    Returns:
        The paths in publishing order: tables, pictures, page, summary, completions, verdict.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = render_report(report, progress)
    return tuple(_replace(folder / name, text) for name, text in files.items())


def write_tables(report: Report, folder: Path) -> tuple[Path, ...]:
    """Write the tables alone, for when there is no time for more; return their paths."""
    return tuple(
        _replace(folder / name, csv_text(table)) for name, table in make_tables(report).items()
    )


def write_files(folder: Path, files: Mapping[str, str]) -> list[Path]:
    """Write texts into a folder that the user named, each whole or not at all; return their paths.

    Raises:
        OptionError: when they cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [_replace(folder / name, text) for name, text in files.items()]
    except OSError as error:
        raise OptionError(
            f"{folder} cannot be written to ({error.strerror}); choose another folder with --out"
        ) from error


def _replace(path: Path, text: str) -> Path:
    """Write a file so that a reader sees the old one or the new one, never half of it."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        # Half a surrogate pair can come out of a model's JSON and has no UTF-8 form.
        unfinished.write_bytes(text.encode("utf-8", "backslashreplace"))
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def summary_json(report: Report) -> dict[str, Any]:
    """Return all but the cases and completions, ready for JSON; what is missing is None."""
    found = report.verdict
    verdict = {
        **_plain_json(found),
        "text": found.text,
        "chip": found.chip,
        "harms": [{"name": harm.name, **_plain_json(harm)} for harm in found.harms],
    }
    content: dict[str, Any] = {
        "schema_version": SUMMARY_FORMAT,
        "verdict": verdict,
        "next": verdict.pop("next_step"),
        "partial": report.partial,
        "judge": report.judge,
        "warnings": report.warnings,
        "n_cases": len(report.cases),
        "n_scores": _n_scores(report),
        "n_failed": len(report.failures),
        "variants": report.variants,
        "metrics": report.metrics,
        "summaries": report.summaries,
        "comparisons": [{**_plain_json(row), "n_ties": row.n_ties} for row in report.comparisons],
        "failures": report.failures,
        "preferences": report.compared,
        "task": report.task or None,
        "right_wrong": turned_fields(turned_cases(Ledger(report))),
        "trust": report.trust,
        "certificates": [
            {
                "result": found.result,
                **_plain_json(found),
                "effect": _distance_fields(found.effect),
                "noise": _distance_fields(found.noise),
                "random": {
                    "effect": _distance_fields(found.random.effect),
                    "ratio": _plain_json(found.random_ratio),
                    "reason": found.random.reason,
                },
                "unusual": list(found.unusual),
            }
            for found in report.certificates
        ],
        "collapse": report.collapse,
        "capability": report.capability,
        "latency": report.latency,
        "memorisation": report.memorisation,
        "turns": report.turns,
        "folds": report.folds,
        "trainings": [_training_fields(view) for view in report.trainings],
        "sampling": _sampling_fields(report),
        "provenance": report.provenance,
    }
    return {key: _plain_json(value) for key, value in content.items()}


def _sampling_fields(report: Report) -> dict[str, Any] | None:
    """Return what samples show, without the single ones; these are in a table of their own."""
    if report.sampling is None:
        return None
    fields: dict[str, Any] = _plain_json(replace(report.sampling, samples={}, scores=()))
    del fields["samples"], fields["scores"]
    return fields


def _n_scores(report: Report) -> int:
    """Count the scores that were made, without those that a base has by definition."""
    given = {spec.name for spec in report.metrics if spec.is_relative}
    base = report.variants[0].name
    return sum(not (row.metric in given and row.variant == base) for row in report.scores)


def completions_jsonl(report: Report) -> str:
    """Return every completion, character for character, as a line of JSON in plain ASCII.

    `output` is all that the model wrote; where it thought, `answer` is what was scored. Further
    samples of a case follow with their number and the text that was scored.
    """
    lines, later = [], report.sampling.samples if report.sampling else {}
    for case in report.cases:
        for variant in report.variants:
            place = (case.id, variant.name)
            if (made := report.completions.get(place)) is None:
                continue
            row = {"case_id": case.id, "variant": variant.name, "output": made.text}
            split = report.split_texts.get(place)
            if split is not None and split.answer != made.text:
                row["answer"] = split.answer
            lines.append(json.dumps(row) + "\n")
            for one in later.get(place, ())[1:]:
                more = {"sample": one.sample, "output": one.text}
                lines.append(
                    json.dumps({"case_id": case.id, "variant": variant.name, **more}) + "\n"
                )
    return "".join(lines)


def verdict_txt(report: Report) -> str:
    """Return the verdict with what to do next, the warnings, and who judged, a line each."""
    warnings = (f"Warning: {warning}" for warning in report.warnings)
    judge = (f"Judge: {report.judge}",) if report.judge != NoJudge.label else ()
    return spell_controls("\n".join((report.verdict.text, *warnings, *judge))) + "\n"


def _training_fields(view: TrainingView) -> dict[str, Any]:
    """Return what a training's log shows, without its points."""
    curves = view.curves
    return {
        "variants": view.variants,
        "log": curves.log,
        "trainer": curves.trainer,
        "diagnosis": _plain_json(curves.diagnosis),
        "checkpoints": curves.checkpoints,
        "settings": curves.settings,
        "lines": view.lines,
        "advice": view.advice,
        "notes": curves.notes,
    }


def _distance_fields(distance: Distance | None) -> dict[str, float] | None:
    return distance._asdict() if distance else None


def _plain_json(value: Any) -> Any:
    """Return the value in the types that JSON has."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if dataclasses.is_dataclass(value):
        return {
            item.name: _plain_json(getattr(value, item.name)) for item in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        return {str(key): _plain_json(item) for key, item in value.items()}
    if isinstance(value, frozenset | set):
        return sorted(_plain_json(item) for item in value)
    if isinstance(value, list | tuple):
        return [_plain_json(item) for item in value]
    return str(value)

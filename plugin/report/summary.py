"""Report -> summary.json for machines and verdict.txt for people in a hurry."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from plugin.certificate_records import Distance
from plugin.records import Report

SCHEMA_VERSION = 1


def summary(report: Report) -> dict[str, Any]:
    """Everything but the cases and completions, ready for JSON; what is missing is None."""
    verdict = {**_plain(report.verdict), "text": report.verdict.text}
    content: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "verdict": verdict,
        "partial": report.partial,
        "judge": report.judge,
        "warnings": report.warnings,
        "n_cases": len(report.cases),
        "n_scores": len(report.scores),
        "n_failed": len(report.failures),
        "variants": report.variants,
        "metrics": report.metrics,
        "summaries": report.summaries,
        "comparisons": [{**_plain(row), "n_ties": row.n_ties} for row in report.comparisons],
        "failures": report.failures,
        "trust": report.trust,
        "certificates": [
            {
                "result": found.result,
                **_plain(found),
                "effect": _distance(found.effect),
                "noise": _distance(found.noise),
            }
            for found in report.certificates
        ],
        "provenance": report.provenance,
    }
    return {key: _plain(value) for key, value in content.items()}


def verdict_text(report: Report) -> str:
    """The verdict, then the warnings, then who judged, a line each."""
    warnings = (f"Warning: {warning}" for warning in report.warnings)
    return "\n".join((report.verdict.text, *warnings, f"Judge: {report.judge}")) + "\n"


def _distance(found: Distance | None) -> dict[str, float] | None:
    return found._asdict() if found else None


def _plain(value: Any) -> Any:
    """The value in the types that JSON has."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if dataclasses.is_dataclass(value):
        return {item.name: _plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, frozenset | set):
        return sorted(_plain(item) for item in value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value)

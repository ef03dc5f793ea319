"""Write the section of a model card: metadata (`model-index`) and a paragraph with the verdict.

The metadata follow the Hugging Face Hub's specification of model cards: one result for each metric,
with its value for the variant. The paragraph says what the numbers alone do not: against which
base, the interval, the number of cases, the judge, and what was lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plugin.compare.numbers import format_count, format_number, format_range
from plugin.report.run_record import deciding_rows

CARD = "model_card.md"


def model_card(summary: Mapping[str, Any], variant: str) -> str:
    """Return the section as Markdown, with the metadata in front.

    Args:
        summary: the run's summary.json.
        variant: the one that the card is about.
    """
    import yaml

    made, verdict = summary["provenance"], summary["verdict"]
    dataset = Path(str(made["dataset"] or "")).name or "the evaluation set"
    rows, which = _rows(summary, variant)
    metrics = [
        {
            "type": row["metric"].lower().replace(" ", "_"),
            "name": row["metric"],
            "value": round(row["variant_mean"], 4),
            "verified": False,
        }
        for row in rows
        if row["variant_mean"] is not None
    ]
    result = {
        "task": {"type": "text-generation"},
        "dataset": {"type": dataset, "name": dataset},
        "metrics": metrics,
    }
    index = {"model-index": [{"name": variant, "results": [result]}]}
    head = yaml.safe_dump(index, sort_keys=False, allow_unicode=True).strip()
    base = str(made["model"] or "unnamed")
    base = Path(base).name if base.startswith(("/", ".", "~")) else base  # else a hub id
    lost = [one["name"] for one in verdict["harms"] if one["variant"] == variant]
    lines = [
        f"---\n{head}\n---\n",
        "## Evaluation\n",
        f"{_plain(verdict['sentence'])}\n",
        *([f"Lost beyond the margin: {_plain(', '.join(lost))}.\n"] if lost else []),
        "| metric | base | this model | gain | 95% interval | cases | verdict |",
        "|---|---|---|---|---|---|---|",
        *(_table_row(row) for row in rows),
        "",
        *([f"Metadata and table are of these cases: {_plain(which)}.\n"] if which else []),
        f"Base: {_plain(base)}. {summary['n_cases']:,} cases of "
        f"{_plain(dataset)}. Judge: {_plain(summary['judge'])}. {_sampling_text(summary)}"
        f"Made with Finetune Verdict {made['reported_with']}, run {made['run_id']}."
        + (" Scores are missing: this is a partial result." if summary["partial"] else ""),
    ]
    return "\n".join(lines) + "\n"


def _rows(summary: Mapping[str, Any], variant: str) -> tuple[list[Mapping[str, Any]], str]:
    """Return the variant's comparisons with the base, the primary first, and on which cases.

    These are the cases that decide; "" stands for all.
    """
    base = summary["variants"][0]["name"]
    rows, which = deciding_rows(summary)
    found = [row for row in rows if (row["variant"], row["baseline"]) == (variant, base)]
    return sorted(found, key=lambda row: row["role"] != "primary"), which


def _sampling_text(summary: Mapping[str, Any]) -> str:
    """Return how answers were drawn, where they are not the most likely ones, scored once."""
    drawn = summary.get("sampling")  # earlier versions wrote none
    if not drawn:
        return ""
    n, at = drawn["n_samples"], f" at temperature {drawn['temperature']:g}"
    at = at if drawn["temperature"] else ""
    if n > 1:
        return f"A case's score is the mean of {n} samples{at}. "
    return f"One sample of each case{at}. " if at else ""


def _table_row(row: Mapping[str, Any]) -> str:
    arrow = "" if row["higher_is_better"] else " (less is better)"
    interval = format_range(row["ci_low"], row["ci_high"], signed=True)
    cells = (
        f"{row['metric']}{arrow}",
        _number(row["baseline_mean"]),
        _number(row["variant_mean"]),
        _number(row["gain"], signed=True),
        interval,
        format_count(row["n"]),
        row["outcome"] or "described",
    )
    return f"| {' | '.join(_plain(str(cell)) for cell in cells)} |"


def _number(value: float | None, *, signed: bool = False) -> str:
    return "none" if value is None else format_number(value, signed=signed)


def _plain(text: str) -> str:
    """Return a text on one line that is no Markdown, HTML, mention or cell border."""
    line = " ".join(text.split())
    codes = {ord(char): f"&#{ord(char)};" for char in "\\`*_[]<>|#&@"}
    return line.translate(codes)

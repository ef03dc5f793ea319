"""One line about a finished run, for `history`: what was compared, how, and what came out.

The lines of all runs of a folder stand in its history.jsonl, which only ever grows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from plugin.records import ALL

RECORDS = "history.jsonl"
"""The file of records, beside the folders of the runs."""

_SAMPLING = ("max_tokens", "chat_template", "enable_thinking", "thinking", "system_prompt")
_CASES = "cases that decide"
_UNSAID = {_CASES: "all", "samples": 1, "temperature": 0}
"""What a run's scores depend on, named only where it is not this; so earlier records agree."""
_MODEL_FILES = ("model's files", "adapters' files", "tuned models' files")


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What one run found about one variant on its primary metric.

    Attributes:
        time: when the results were made, as ISO 8601 in UTC.
        run_id: of the run.
        folder: the run's, as it was named then.
        note: the user's, of `--note`; may be empty.
        model: the base, as the user named it.
        variant: what the record is about.
        baseline: what it was compared with; "" for none.
        metric: the primary metric.
        higher_is_better: its direction.
        score: mean of the variant; None for none.
        baseline_score: mean of the baseline on the same cases; None for none.
        gain: mean gain with its 95% interval, `ci_low` to `ci_high`; None where there is none.
        margin: the smallest difference that matters.
        n: cases with both scores.
        outcome: of the comparison; None where nothing was compared.
        harms: what this variant lost, by name.
        wins: cases on which it was better.
        losses: cases on which it was worse: the regressions.
        partial: whether scores were missing.
        eval_set: digest of the data set's content.
        n_cases: cases of the run.
        measure: what scores depend on besides the answers, by name; see `why_not_comparable`.
        models: digests of model and adapters, by name.
        training: digest of the settings that the variant was trained with; "" where no log told.
        version: of this program.
    """

    time: str
    run_id: str
    folder: str
    model: str
    variant: str
    metric: str
    higher_is_better: bool
    eval_set: str
    n_cases: int
    baseline: str = ""
    note: str = ""
    score: float | None = None
    baseline_score: float | None = None
    gain: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    margin: float | None = None
    n: int = 0
    outcome: str | None = None
    harms: tuple[str, ...] = ()
    wins: int = 0
    losses: int = 0
    partial: bool = False
    measure: Mapping[str, Any] | None = None
    models: Mapping[str, Any] | None = None
    training: str = ""
    version: str = ""


_RECORD = TypeAdapter(RunRecord)


def records_of(summary: Mapping[str, Any], folder: Path, time: str) -> tuple[RunRecord, ...]:
    """Return a record for each variant that was compared; of a run with one variant, for that.

    Args:
        summary: the run's summary.json.
        folder: the run's.
        time: when the results were made, as ISO 8601.

    Raises:
        KeyError: when the summary is not as this program writes it.
        TypeError: like that.
    """
    made, verdict = summary["provenance"], summary["verdict"]
    identity, digests = made["identity"], made["digests"]
    metric = verdict["primary_metric"] or ""
    versions = identity.get("versions of metrics") or {}
    spec: Mapping[str, Any] = next((one for one in summary["metrics"] if one["name"] == metric), {})
    judged = spec.get("asks_judge", False)
    general = RunRecord(
        time=time,
        run_id=made["run_id"],
        folder=str(folder),
        note=str(made.get("note") or ""),
        model=str(made["model"] or ""),
        variant="",
        metric=metric,
        higher_is_better=spec.get("higher_is_better", True),
        partial=summary["partial"],
        eval_set=str(digests.get("data set's content") or digests.get("cases") or ""),
        n_cases=summary["n_cases"],
        measure={
            "metric's version": versions.get(metric, 1),
            "judge": identity.get("judge") if judged else "none",
            "DeepEval": identity.get("deepeval") if judged else "none",
            **{name: identity.get(name) for name in _SAMPLING},
            **{name: identity[name] for name in _UNSAID if name in identity},
        },
        models={name: digests[name] for name in _MODEL_FILES if name in digests},
        version=str(identity.get("finetune-verdict", "")),
    )
    base = summary["variants"][0]["name"]
    deciding, which = deciding_rows(summary)
    if which:
        general = replace(general, measure={**(general.measure or {}), _CASES: which})
    rows = [row for row in deciding if (row["metric"], row["baseline"]) == (metric, base)]
    if rows:
        found = [_compared(general, row, verdict["harms"]) for row in rows]
    else:
        found = [
            replace(general, variant=row["variant"], score=row["mean"], n=row["n"])
            for row in summary["summaries"]
            if (row["metric"], row["group"]) == (metric, ALL)
        ]
    trained = {
        name: (view["settings"] or {}).get("digest", "")
        for view in summary.get("trainings", ())
        for name in view["variants"]
    }
    return tuple(replace(one, training=trained.get(one.variant, "")) for one in found)


def deciding_rows(summary: Mapping[str, Any]) -> tuple[list[Mapping[str, Any]], str]:
    """Return the comparisons that decide the verdict, and which cases these are on.

    Where too many cases stand in the training data, these are the clean ones. Where none is clean,
    nothing decides: the rows are there, without gain and outcome.

    Returns:
        The rows over all these cases; and "" for all cases, or the clean ones in words.
    """
    memory: Mapping[str, Any] = summary.get("memorisation") or {}
    rows = memory.get("deciding") or summary["comparisons"]
    found = [row for row in rows if row["group"] == ALL]
    if memory.get("deciding"):
        n_clean, n_all = memory["counts"]["clean"], sum(memory["counts"].values())
        return found, f"the {n_clean} of {n_all} that are not in the training data"
    if memory.get("leads") and found and not memory["counts"]["clean"]:
        nothing = {"gain": None, "ci_low": None, "ci_high": None, "outcome": "can't tell"}
        return [{**row, **nothing} for row in found], "none, for all are in the training data"
    return found, ""


def _compared(
    general: RunRecord, row: Mapping[str, Any], harms: Iterable[Mapping[str, Any]]
) -> RunRecord:
    return replace(
        general,
        variant=row["variant"],
        baseline=row["baseline"],
        score=row["variant_mean"],
        baseline_score=row["baseline_mean"],
        gain=row["gain"],
        ci_low=row["ci_low"],
        ci_high=row["ci_high"],
        margin=row["margin"],
        n=row["n"],
        outcome=row["outcome"],
        wins=row["wins"],
        losses=row["losses"],
        harms=tuple(one["name"] for one in harms if one["variant"] == row["variant"]),
    )


def append_records(records: Iterable[RunRecord], file: Path) -> None:
    """Add a line for each record; several processes may do so at once.

    Raises:
        OSError: when the file cannot be written.
    """
    lines = "".join(f"{json.dumps(asdict(one), ensure_ascii=False)}\n" for one in records)
    with file.open("a", encoding="utf-8", errors="backslashreplace") as out:
        out.write(lines)


def read_records(file: Path) -> tuple[list[RunRecord], int]:
    """Return the records of a file, and the number of lines that are none."""
    records, n_bad = list[RunRecord](), 0
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return [], 0
    for line in filter(str.strip, lines):
        try:
            records.append(_RECORD.validate_json(line))
        except ValidationError:
            n_bad += 1
    return records, n_bad


def why_not_comparable(one: RunRecord, other: RunRecord) -> str:
    """Return why the scores of two records do not belong into one line; "" if they do."""
    facts: list[tuple[str, object, object]] = [
        ("metric", one.metric, other.metric),
        ("evaluation set", one.eval_set[:8], other.eval_set[:8]),
    ]
    before, after = one.measure or {}, other.measure or {}
    facts += [
        (name, before.get(name, default), after.get(name, default))
        for name in {**before, **after}
        for default in [_UNSAID.get(name)]
    ]
    nothing = (None, "")  # a folder that `compare` wrote leaves out what is empty
    changed = [
        f"{name}: {was} -> {now}"
        for name, was, now in facts
        if was != now and not (was in nothing and now in nothing)
    ]
    return "; ".join(changed)

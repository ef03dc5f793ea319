"""Read the logs of other tools, each by its own function (table `LAYOUTS`).

The formats are those of lm-evaluation-harness 0.4, Inspect 0.3 (log version 2), promptfoo (results
version 3) and OpenAI evals 3. Of a log that was cut off, everything before the cut is read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from plugin.errors import DataError
from plugin.history.inspect_logs import is_inspect_log, read_eval_file, read_inspect
from plugin.history.scored import (
    ItemCollector,
    ScoredFile,
    ScoredItem,
    as_score,
    as_text,
    unreadable,
)
from plugin.load.json_rows import find_rows
from plugin.load.readers import Row, read_files

_IDS = ("id", "case_id", "item_id", "sample_id", "doc_id", "doc_hash", "question_id", "task_id")
_QUESTIONS = ("input", "question", "prompt", "instruction", "query")
_EXPECTED = ("expected_output", "expected", "target", "answer", "reference", "ideal")
_ANSWERS = ("output", "completion", "response", "prediction", "model_output")
_GROUPS = ("group", "task", "category", "subject")

_NO_SCORES = frozenset(
    ("", "nan", "inf", "+inf", "-inf", "infinity", "-infinity", "none", "null", "n/a", "na")
)
"""Cells of a column of numbers that hold no number."""

Rows = Iterable[Mapping[str, Any]]


def read_scored(path: Path, only: str = "") -> ScoredFile:
    """Return the items and scores of a file.

    Args:
        path: of the file.
        only: of a file with several models, the one to read: its name or label.

    Raises:
        DataError: when it is no such file, or holds no scores.
    """
    if not path.is_file():
        raise DataError(f"there is no file {path}")
    try:
        found = _read(path, only)
    except (ValueError, RecursionError) as error:
        raise unreadable(path, " ".join(str(error).split())) from error
    except OSError as error:
        raise unreadable(path, error.strerror or str(error)) from error
    if not found.items:
        raise unreadable(path, "it holds no item with a score")
    return found


def _read(path: Path, only: str) -> ScoredFile:
    if path.suffix == ".eval":
        return read_eval_file(path)
    if path.suffix in (".jsonl", ".ndjson"):
        lines = _Lines(path)
        first = next(iter(lines), None)
        read = next((read for fits, read in LAYOUTS if first and fits(first)), None)
        found = read(lines, path, only) if read else _read_table(_numbered(lines), path)
        return replace(found, notes=(*found.notes, *lines.notes))
    if path.suffix == ".json":
        value = json.loads(path.read_bytes())
        if is_inspect_log(value):
            return read_inspect(value)
        rows = _promptfoo_rows(value)
        if rows is not None:
            return _read_promptfoo(rows, path, only)
        listed = find_rows(value)
        if listed is None:
            raise ValueError("it holds no rows")
        return _read_table(_numbered(row for row in listed if isinstance(row, dict)), path)
    if path.suffix not in (".csv", ".parquet"):
        raise ValueError(f"files that end in {path.suffix or 'nothing'} are not known")
    return _read_table(read_files([path]).rows, path)


class _Lines:
    """Yield the objects of a JSONL file; count the lines that are none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._n_bad = 0

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        self._n_bad = 0
        with self._path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                if not line.strip():
                    continue
                try:
                    value = json.loads(line)
                except ValueError:
                    value = None
                if isinstance(value, dict):
                    yield value
                else:
                    self._n_bad += 1

    @property
    def notes(self) -> tuple[str, ...]:
        if not self._n_bad:
            return ()
        lines = "line is" if self._n_bad == 1 else "lines are"
        return (
            f"{self._n_bad:,} {lines} no JSON object (was the file cut off?) and left out of "
            f"{self._path.name}",
        )


def _numbered(rows: Rows) -> Iterator[Row]:
    for number, cells in enumerate(rows, 1):
        yield Row(number, f"row {number}", cells)


def _is_lm_eval(row: Mapping[str, Any]) -> bool:
    return "doc_id" in row and "doc" in row and "resps" in row


def _read_lm_eval(rows: Rows, path: Path, only: str) -> ScoredFile:
    """Read lm-eval's samples: a line for each item and filter, the scores by name in it."""
    task = path.name.removeprefix("samples_").rpartition("_")[0] or path.stem
    filters, items, seen = dict[str, None](), ItemCollector(), _Repeats()
    for row in rows:
        how = str(row.get("filter", "none"))
        filters[how] = None
        names = row.get("metrics") or [n for n, v in row.items() if _is_lm_eval_score(n, v)]
        items.add(
            ScoredItem(
                key=f"{task}/{seen.key(row)}",
                name=f"{task}/{row['doc_id']}",
                question=_lm_eval_question(row),
                expected=as_text(row.get("target")),
                answer=_first_text(row.get("filtered_resps") or row.get("resps")),
                scores={f"{name} ({how})": as_score(row.get(name)) for name in names},
                group=task,
            )
        )
    found = items.items()
    if len(filters) == 1:
        found = tuple(replace(one, scores=_without(one.scores, *filters)) for one in found)
    return ScoredFile("lm-eval", found, notes=items.notes)


def _without(scores: Mapping[str, float | None], how: str) -> dict[str, float | None]:
    """Return the scores without the name of the only filter in theirs."""
    return {name.removesuffix(f" ({how})"): value for name, value in scores.items()}


class _Repeats:
    """Name the items of a task by their content, so that rows may be added before them."""

    def __init__(self) -> None:
        self._ids: dict[str, list[str]] = {}

    def key(self, row: Mapping[str, Any]) -> str:
        """Return the item's hash; with a number where several items have the same content."""
        own, number = str(row.get("doc_hash") or row["doc_id"]), str(row["doc_id"])
        ids = self._ids.setdefault(own, [])
        if number not in ids:
            ids.append(number)
        return f"{own}#{ids.index(number)}"


def _is_lm_eval_score(name: str, value: object) -> bool:
    own = ("doc_id", "doc_hash", "prompt_hash", "target_hash", "target", "filter")
    return name not in own and isinstance(value, int | float)


def _lm_eval_question(row: Mapping[str, Any]) -> str:
    """Return the prompt; the harness writes requests as lists, or as fields gen_args_0, arg_0."""
    requests = row.get("arguments")
    if isinstance(requests, dict):
        requests = [list(one.values()) for one in requests.values() if isinstance(one, dict)]
    if isinstance(requests, list) and requests and isinstance(requests[0], list) and requests[0]:
        return as_text(requests[0][0]) or ""
    return as_text(row.get("doc")) or ""


def _first_text(value: object) -> str | None:
    """Return the text of a generated answer; None for likelihoods, which are no text."""
    while isinstance(value, list) and value:
        value = value[0]
    return value if isinstance(value, str) else None


def _is_openai_evals(row: Mapping[str, Any]) -> bool:
    return "spec" in row or {"run_id", "event_id", "sample_id", "type"} <= row.keys()


def _read_openai_evals(rows: Rows, path: Path, only: str) -> ScoredFile:
    """Read a log of OpenAI evals: events of samples, of which match and metrics hold scores."""
    model = ""
    prompts: dict[str, tuple[str, str | None]] = {}
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if isinstance(spec := row.get("spec"), dict):
            model = ", ".join(map(str, spec.get("completion_fns") or ()))
        data, sample = row.get("data"), str(row.get("sample_id"))
        if not isinstance(data, dict):
            continue
        if row.get("type") == "sampling":
            prompts[sample] = as_text(data.get("prompt")) or "", _first_text(data.get("sampled"))
        elif row.get("type") in ("match", "metrics"):
            found.setdefault(sample, []).append(data)
    items = ItemCollector()
    for sample, events in found.items():
        question, answer = prompts.get(sample, ("", None))
        for data in events:
            named = {"correct": data["correct"]} if "correct" in data else data
            scores = {n: s for n, v in named.items() if (s := as_score(v)) is not None}
            expected = as_text(data.get("expected"))
            items.add(ScoredItem(sample, sample, question, scores, expected, answer))
    return ScoredFile("OpenAI evals", items.items(), model, items.notes)


def _promptfoo_rows(value: object) -> list[Mapping[str, Any]] | None:
    """Return the results in a file of promptfoo; None for any other file."""
    results = value.get("results") if isinstance(value, dict) else None
    rows = results.get("results") if isinstance(results, dict) else results
    if isinstance(rows, list) and rows and all(isinstance(row, dict) for row in rows):
        return rows if _is_promptfoo(rows[0]) else None
    return None


def _is_promptfoo(row: Mapping[str, Any]) -> bool:
    return "vars" in row and "success" in row and ("provider" in row or "prompt" in row)


def _read_promptfoo(rows: Rows, path: Path, only: str) -> ScoredFile:
    """Read results of promptfoo: one for each test, prompt and provider."""
    rows = list(rows)
    kinds = list(dict.fromkeys(_promptfoo_kind(row) for row in rows))
    names = [" | ".join(filter(None, kind)) for kind in kinds]
    chosen = [kind for kind, name in zip(kinds, names, strict=True) if only in (*kind, name)]
    if len(kinds) > 1 and len(chosen) != 1:
        raise DataError(
            f"{path} holds results of {len(kinds)} models or prompts; name one: "
            + ", ".join(f"{path}#{name}" for name in names)
        )
    wanted = chosen[0] if chosen else kinds[0]
    items = ItemCollector()
    for place, row in enumerate(rows):
        if _promptfoo_kind(row) != wanted:
            continue
        grading = row.get("gradingResult") or {}
        prompt, response = row.get("prompt") or {}, row.get("response") or {}
        named = {str(n): as_score(v) for n, v in (row.get("namedScores") or {}).items()}
        failed = bool(row.get("error")) and not grading
        key = str(row.get("testIdx", place if len(kinds) == 1 else row.get("vars")))
        own = {"pass": row.get("success"), "score": row.get("score")}
        items.add(
            ScoredItem(
                key=key,
                name=key,
                question=as_text(prompt.get("raw") if isinstance(prompt, dict) else prompt) or "",
                answer=as_text(response.get("output") if isinstance(response, dict) else response),
                scores={n: None if failed else as_score(v) for n, v in {**own, **named}.items()},
                reasons={"pass": str(grading.get("reason") or "")},
                problem=str(row["error"]) if failed else "",
            )
        )
    return ScoredFile("promptfoo", items.items(), " | ".join(filter(None, wanted)), items.notes)


def _promptfoo_kind(row: Mapping[str, Any]) -> tuple[str, str]:
    """Return provider and prompt of a result, as shown."""
    provider, prompt = row.get("provider"), row.get("prompt")
    if isinstance(provider, dict):
        provider = provider.get("label") or provider.get("id")
    label = prompt.get("label") if isinstance(prompt, dict) else ""
    raw = prompt.get("raw") if isinstance(prompt, dict) else ""
    return str(provider or ""), "" if label == raw else str(label or "")


LAYOUTS: tuple[tuple[Callable[[Mapping[str, Any]], bool], Callable[..., ScoredFile]], ...] = (
    (_is_lm_eval, _read_lm_eval),
    (_is_openai_evals, _read_openai_evals),
    (_is_promptfoo, _read_promptfoo),
)
"""The layouts of JSONL files: does the first line fit, and what reads them."""


def _read_table(rows: Iterable[Row], path: Path) -> ScoredFile:
    """Read a table: a column of ids, and a column of numbers for each metric."""
    kept = [row for row in rows if row.cells]
    columns = list(dict.fromkeys(str(name) for row in kept for name in row.cells))
    lower = {name.lower(): name for name in reversed(columns)}

    def find(names: Iterable[str]) -> str | None:
        return next((lower[name] for name in names if name in lower), None)

    ids, question, expected = find(_IDS), find(_QUESTIONS), find(_EXPECTED)
    answer, group = find(_ANSWERS), find(_GROUPS)
    if ids is None and question is None:
        raise ValueError("it has no column id, and none of questions")
    texts = {ids, question, expected, answer, group}
    metrics = [n for n in columns if n not in texts and _holds_scores(n, kept)]
    if not metrics:
        raise ValueError("it has no column of numbers")
    items = ItemCollector()
    for row in kept:
        cells = row.cells
        key = as_text(cells.get(ids or question or ""))
        if not key:
            continue
        items.add(
            ScoredItem(
                key=key,
                name=key,
                question=as_text(cells.get(question or "")) or "",
                expected=as_text(cells.get(expected or "")),
                answer=as_text(cells.get(answer or "")),
                scores={name: as_score(cells.get(name)) for name in metrics},
                group=as_text(cells.get(group or "")),
            )
        )
    return ScoredFile("a table", items.items(), notes=items.notes)


def _holds_scores(name: str, rows: Iterable[Row]) -> bool:
    """Return whether all cells of a column are numbers, or nothing, of which NaN is one form."""
    values = [row.cells[name] for row in rows if not _is_missing(row.cells.get(name))]
    return bool(values) and all(as_score(value) is not None for value in values)


def _is_missing(value: object) -> bool:
    """Return whether a cell holds no score: nothing, or what tools write in its place."""
    if isinstance(value, float):
        return not math.isfinite(value)
    return value is None or (isinstance(value, str) and value.strip().lower() in _NO_SCORES)

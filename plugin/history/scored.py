"""Scores made elsewhere: what a file of another tool holds, item by item.

`read_scored` finds out which tool wrote the file (table `LAYOUTS`), and reads it. Texts are kept
where the file has them, so that the report can show them; only the scores are needed.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from plugin.errors import DataError, OptionError
from plugin.records import MetricSpec

LOWER_IS_BETTER = frozenset(
    (
        *("perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte", "ppl", "loss"),
        *("brier_score", "ter", "wer", "cer", "mae", "mse", "rmse", "hallucination", "toxicity"),
        *("bias", "latency", "cost", "error_rate"),
    )
)
"""Metrics of which less is better, by the names that the tools give them."""


@dataclass(frozen=True, slots=True)
class ScoredItem:
    """One item of another tool: a question, and what a model got for it.

    Attributes:
        key: what tells this item from the others, the same in the logs of all models.
        name: the id that is shown; unique in a file.
        question: its text; "" where the file has none.
        expected: the expected answer; None where the file has none.
        answer: what the model wrote; None where the file has nothing.
        scores: metric -> score; None where the tool has none, such as after an error.
        group: a slice reported on its own, such as the task; None without.
        reasons: metric -> why, where the tool says it.
        problem: what the tool says went wrong; "" for nothing.
    """

    key: str
    name: str
    question: str
    scores: Mapping[str, float | None]
    expected: str | None = None
    answer: str | None = None
    group: str | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ScoredFile:
    """What one file holds of one model.

    Attributes:
        tool: who wrote it, for the reader.
        items: in the order of the file; one per key.
        model: what the file calls the model; "" for nothing.
        notes: what the reader must know, a sentence each.
    """

    tool: str
    items: tuple[ScoredItem, ...]
    model: str = ""
    notes: tuple[str, ...] = ()


MAX_ITEMS = 200_000
"""Items of one file; more would take minutes and gigabytes, and tell nothing more."""


MAX_SCORE = 1e100
"""The largest score: sums of squares of differences must be finite."""


class ItemCollector:
    """Collect the items of a file; repeats of an item, such as epochs, become one with the mean."""

    def __init__(self) -> None:
        self._first: dict[str, ScoredItem] = {}
        self._scores: dict[str, dict[str, list[float | None]]] = {}
        self.n_repeats = 0

    def add(self, item: ScoredItem) -> None:
        """Add one reading of an item.

        Raises:
            ValueError: when there are too many items.
        """
        kept = self._first.setdefault(item.key, item)
        self.n_repeats += kept is not item and not (kept.scores.keys() - item.scores.keys())
        if len(self._first) > MAX_ITEMS:
            raise ValueError(
                f"it holds more than {MAX_ITEMS:,} items; a part of them, drawn at random, tells "
                "as much"
            )
        own = self._scores.setdefault(item.key, {})
        for name, value in item.scores.items():
            own.setdefault(name, []).append(value)

    def items(self) -> tuple[ScoredItem, ...]:
        """Return one item per key, its scores the means over its readings."""
        return tuple(
            replace(one, scores={n: _mean(values) for n, values in self._scores[key].items()})
            for key, one in self._first.items()
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what must be said of repeated items."""
        if not self.n_repeats:
            return ()
        return (
            f"{self.n_repeats:,} further readings of items (epochs or repeats): an item's score is "
            "the mean of its readings",
        )


def _mean(values: Sequence[float | None]) -> float | None:
    """Return the mean; None if a reading has none, for its score may be anything."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) else None


def as_score(value: object) -> float | None:
    """Return a cell as a number; None for what is none, such as a missing value."""
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, int | float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str):
        lowered = value.strip().lower()
        if lowered in ("true", "false"):
            return float(lowered == "true")
        try:
            number = float(lowered)
        except ValueError:
            return None
        return number if math.isfinite(number) else None
    return None


def as_text(value: object) -> str | None:
    """Return a cell as text; None for nothing."""
    if value is None or value == "":
        return None
    if isinstance(value, list) and len(value) == 1:
        return as_text(value[0])
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def make_specs(
    files: Sequence[ScoredFile], lower_is_better: Iterable[str], margins: Mapping[str, float]
) -> tuple[MetricSpec, ...]:
    """Return the metrics that all files have, in the order of the first one.

    Scores from 0 to 1 decide with a margin of 0.05. Others decide only with a margin of the user's,
    because nobody else knows which difference matters.

    Args:
        files: of the variants.
        lower_is_better: metrics of which less is better, besides `LOWER_IS_BETTER`.
        margins: metric -> the smallest difference that matters.

    Raises:
        DataError: when no metric is in all of them, or a score is too large to compute with.
        OptionError: when an option names a metric that none of them has.
    """
    names = [list(dict.fromkeys(n for one in f.items for n in one.scores)) for f in files]
    common = [name for name in names[0] if all(name in other for other in names)]
    if not common:
        each = "; ".join(
            f"{', '.join(own) or 'none'} ({f.tool})" for own, f in zip(names, files, strict=True)
        )
        raise DataError(f"the files have no metric in common: {each}")
    for file in files:
        for item in file.items:
            _require_small(item)
    lower = frozenset(lower_is_better)
    if unknown := sorted((lower | margins.keys()) - frozenset(common)):
        raise OptionError(
            f"no metric {', '.join(map(repr, unknown))} is in all files; they have "
            f"{', '.join(common)}"
        )
    return tuple(_spec(name, files, lower, margins.get(name)) for name in common)


def _require_small(item: ScoredItem) -> None:
    for name, value in item.scores.items():
        if value is not None and abs(value) > MAX_SCORE:
            raise DataError(
                f"item {item.name} has {name} {value:g}; scores up to {MAX_SCORE:g} can be "
                "computed with. Leave the item out, or correct its score"
            )


def _spec(
    name: str, files: Sequence[ScoredFile], lower: frozenset[str], margin: float | None
) -> MetricSpec:
    values = [v for f in files for one in f.items if (v := one.scores.get(name)) is not None]
    is_share = all(0 <= value <= 1 for value in values)
    plain = name.partition(" (")[0].partition("/")[2] or name.partition(" (")[0]
    return MetricSpec(
        key=f"scored:{name}",
        name=name,
        higher_is_better=name not in lower and plain.lower() not in LOWER_IS_BETTER,
        low=0.0 if is_share else -math.inf,
        high=1.0 if is_share else math.inf,
        asks_judge=False,
        decides=bool(values) and (is_share or margin is not None),
        margin=0.05 if margin is None else margin,
        caveat="" if is_share or margin is not None else "it decides nothing without a margin",
    )


def unreadable(path: Path, why: str) -> DataError:
    """Return the error of a file that cannot be read as scores."""
    return DataError(
        f"{path} cannot be read as scores ({why}). Known are: lm-eval's samples_*.jsonl, Inspect's "
        ".eval and .json logs, promptfoo's results (.json, .jsonl), logs of OpenAI evals (.jsonl), "
        "and CSV, JSON or JSONL with a column id and a column of numbers for each metric"
    )

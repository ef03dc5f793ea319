"""Keep in a run's journal the further samples of its cases, where there are several.

The first sample of a case and variant lies where the only one would lie, and the score of the case
is the mean of its samples' scores. Here lie the other samples, the scores of the single ones, and
what the judge said when it was asked again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace

from plugin.cache import completion_from_row
from plugin.item_rows import ItemRows
from plugin.records import LATER_SAMPLES, Completion, Failure


@dataclass(frozen=True, slots=True)
class SampleScore:
    """What one sample of a case scored, asked once; a case's score is the mean of these.

    Attributes:
        sample: which one, from 0.
        value: of several judges, the mean.
        repeat: which time the judge was asked about it, from 0.
    """

    case_id: str
    variant: str
    metric: str
    sample: int
    value: float
    repeat: int = 0


N_REASONS = 5
"""Samples whose reasons stand in that of the case."""


def join_reasons(told: Sequence[tuple[SampleScore, str | None]]) -> str:
    """Return why the samples of a case scored as they did, the first few of them."""
    return " | ".join(
        f"sample {row.sample + 1} scored {row.value:.2f}: {reason or '-'}"
        for row, reason in told[:N_REASONS]
    )


def split_reasons(value: float, reason: str) -> list[tuple[float, str]]:
    """Return score and reason of each sample that a reason names; of one answer, its own."""
    _, *parts = re.split(r"(?:^| \| )sample \d+ scored (-?\d+\.\d\d): ", reason)
    if not reason.startswith("sample 1 scored ") or not parts:
        return [(value, reason)]
    return [(float(one), why) for one, why in zip(parts[::2], parts[1::2], strict=True)]


SAMPLE_TABLES = """
CREATE TABLE IF NOT EXISTS sample_answers (
    case_id TEXT, variant TEXT, sample INTEGER, key TEXT NOT NULL REFERENCES completions (key),
    PRIMARY KEY (case_id, variant, sample));
CREATE TABLE IF NOT EXISTS sample_scores (
    case_id TEXT, variant TEXT, metric TEXT, sample INTEGER, value REAL NOT NULL, repeat INTEGER,
    PRIMARY KEY (case_id, variant, metric, sample, repeat));
CREATE TABLE IF NOT EXISTS sample_failures (
    case_id TEXT, variant TEXT, sample INTEGER, stage TEXT, reason TEXT, retry INTEGER NOT NULL,
    PRIMARY KEY (case_id, variant, sample));
"""

_STEP = 100


def preference_repeat(sample: int, repeat: int) -> int:
    """Return the number that a preference of a sample has as its `repeat`; 0 for the first."""
    return LATER_SAMPLES + _STEP * sample + repeat if sample or repeat else 0


def sample_of_preference(number: int) -> tuple[int, int] | None:
    """Return sample and repeat of a preference that counts; None for one that does not."""
    if number >= LATER_SAMPLES:
        return divmod(number - LATER_SAMPLES, _STEP)
    return None if number else (0, 0)


_ONE = "case_id = ? AND variant = ? AND sample = ?"
_SCORE = "case_id, variant, metric, sample, value, repeat"

Samples = dict[tuple[str, str], tuple[Completion, ...]]
"""All completions, by case id and variant, in the order of their samples."""


class SampleRows(ItemRows):
    """The part of a journal that keeps completions as answers to cases, and scores of samples."""

    added_tables = ItemRows.added_tables | {"sample_answers", "sample_scores", "sample_failures"}

    def _add_later_answer(self, key: str, completion: Completion) -> None:
        """Keep which completion a further sample is."""
        place = completion.case_id, completion.variant, completion.sample
        self._query("INSERT OR REPLACE INTO sample_answers VALUES (?, ?, ?, ?)", *place, key)

    def samples(self) -> Samples:
        """Return all completions of every case and variant, in the order of their samples."""
        rows = self._rows(
            "SELECT case_id, variant, 0, body FROM answers JOIN completions USING (key) UNION ALL "
            "SELECT case_id, variant, sample, body FROM sample_answers JOIN completions USING (key)"
        )
        found: dict[tuple[str, str], list[Completion]] = {}
        with self._reading("completions"):
            for case, name, sample, body in rows:
                own = replace(completion_from_row(body).copy_for(case, name), sample=sample)
                found.setdefault((case, name), []).append(own)
        return {
            place: tuple(sorted(own, key=lambda one: one.sample)) for place, own in found.items()
        }

    def completions(self) -> dict[tuple[str, str], Completion]:
        """Return one completion for each case and variant: the first sample that there is."""
        if not self.has_samples():
            rows = self._rows(
                "SELECT case_id, variant, body FROM answers JOIN completions USING (key)"
            )
            with self._reading("completions"):
                return {
                    (case, name): completion_from_row(body).copy_for(case, name)
                    for case, name, body in rows
                }
        return {place: own[0] for place, own in self.samples().items()}

    def has_samples(self) -> bool:
        """Return whether some case has further samples."""
        return bool(self._rows("SELECT 1 FROM sample_answers LIMIT 1"))

    def made_samples(self) -> set[tuple[str, str, int]]:
        """Return case id, variant and number of every sample that there is."""
        return {
            *self._rows("SELECT case_id, variant, 0 FROM answers"),
            *self._rows("SELECT case_id, variant, sample FROM sample_answers"),
        }

    def add_sample_failure(self, failure: Failure) -> None:
        """Keep why a sample could not be had; it replaces an earlier reason."""
        self._query(
            "INSERT OR REPLACE INTO sample_failures VALUES (?, ?, ?, ?, ?, ?)",
            *(failure.case_id, failure.variant, failure.sample, failure.stage),
            *(self._mask.in_content(failure.reason), failure.retry),
        )

    def drop_sample_failure(self, place: tuple[str, str, int]) -> None:
        """Forget a failure of a sample that is there now."""
        self._query(f"DELETE FROM sample_failures WHERE {_ONE}", *place)

    def sample_failures(self) -> tuple[Failure, ...]:
        """Return why samples could not be had, by variant, case and sample."""
        rows = self._rows(
            "SELECT case_id, stage, reason, variant, retry, sample FROM sample_failures "
            "ORDER BY variant, case_id, sample"
        )
        return tuple(
            Failure(case, stage, reason, variant, None, bool(retry), None, sample)
            for case, stage, reason, variant, retry, sample in rows
        )

    def add_sample_scores(self, scores: Sequence[SampleScore]) -> None:
        """Keep scores of single samples."""
        for score in scores:
            self._query(
                "INSERT OR REPLACE INTO sample_scores VALUES (?, ?, ?, ?, ?, ?)", *astuple(score)
            )

    def sample_scores(self) -> tuple[SampleScore, ...]:
        """Return the scores of single samples, in any order; none where each case has one."""
        return tuple(SampleScore(*row) for row in self._rows(f"SELECT {_SCORE} FROM sample_scores"))

"""Scores that the engine itself gives: expected outputs read under each variant, not written.

They are made with the completions, while the weights are loaded, and each is in the journal as soon
as it exists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from plugin.cache import content_key
from plugin.engines import Engine, is_final
from plugin.journal import Journal
from plugin.measuring import MeasureError, checked
from plugin.metrics import Metric, meets
from plugin.records import Case, Failure, Score
from plugin.worker import Progress

_WINDOW = 512
"""Cases that may be read in another order than the drawn one, for batches of like length."""

_TOKENS = "expected_tokens"
"""Where the journal keeps which tokens each expected output was read as."""

Prompts = Mapping[tuple[str, str], tuple[int, ...]]
"""(case id, variant) -> the prompt's token ids."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One expected output to be read under one variant for one metric."""

    case: Case
    variant: str
    metric: Metric

    @property
    def place(self) -> tuple[str, str, str]:
        """Case, variant and metric: where the score belongs."""
        return self.case.id, self.variant, self.metric.spec.name

    def failed(self, reason: str) -> Failure:
        """That it gave no score."""
        case_id, variant, metric = self.place
        return Failure(case_id, "generate", reason, variant, metric)


def readings(
    cases: Sequence[Case], variants: Sequence[str], metrics: Sequence[Metric]
) -> list[Reading]:
    """All readings of a run under these variants, variant by variant."""
    return [
        Reading(case, variant, metric)
        for metric in metrics
        if metric.spec.is_of_engine
        for variant in variants
        for case in cases
        if meets(metric.spec, case)
    ]


def missing(wanted: Sequence[Reading], journal: Journal) -> list[Reading]:
    """Those to be read now; what failed for another reason than memory would fail again."""
    have = {(s.case_id, s.variant, s.metric) for s in journal.scores()}
    failures = filter(is_final, journal.failures())
    have |= {(f.case_id, f.variant or "", f.metric or "") for f in failures}
    return [reading for reading in wanted if reading.place not in have]


def read(
    wanted: Sequence[Reading],
    prompts: Prompts,
    engine: Engine,
    journal: Journal,
    progress: Progress,
) -> None:
    """Make every score that is missing.

    Args:
        wanted: all readings that this engine is for.
        prompts: of the same cases and variants.
        engine: with their weights.
        journal: where the scores go.
        progress: has a stage for each metric.

    Raises:
        BaseDisturbedError: when the base is not itself again after an adapter.
        FaultError: when the engine gave up.
        Stopped: when the user stopped the run.
    """
    todo = missing(wanted, journal)
    if not todo:
        return
    expected = {r.case.id: engine.tokens(r.case.expected_output or "") for r in wanted}
    refused = _refused(expected, journal)
    for name, own in _by([(reading.metric.spec.name, reading) for reading in todo]).items():
        n_all = sum(reading.metric.spec.name == name for reading in wanted)
        progress.begin(name.lower(), total=n_all, done=n_all - len(own))
        for reading in own:
            if reason := refused.get(reading.case.id):
                journal.add_failure(reading.failed(reason))
                progress.done += 1
        can = [(reading.variant, reading) for reading in own if reading.case.id not in refused]
        for variant, rows in _by(can).items():
            rows = _of_like_length(rows, expected)
            pairs = [(prompts[r.case.id, variant], expected[r.case.id]) for r in rows]
            found = engine.loglikelihoods(variant, pairs)
            for reading, loglikelihood in zip(rows, found, strict=True):
                _keep(reading, loglikelihood, len(expected[reading.case.id]), journal)
                progress.done += 1
                progress.check()


def _refused(expected: Mapping[str, tuple[int, ...]], journal: Journal) -> dict[str, str]:
    """Why these cases cannot be read here, by id.

    The first engine to read a case, which has the baseline, says which tokens it has. A model that
    reads any of them as others is measured in another unit, on those that it reads alike too.
    """
    kept: dict[str, str] = journal.meta(_TOKENS) or {}
    now = {case_id: content_key(list(ids))[:16] for case_id, ids in expected.items()}
    journal.set_meta(_TOKENS, {**now, **kept})
    other = (
        "this model's tokenizer reads expected outputs as other tokens than the baseline's, so "
        "per token the two cannot be compared"
    )
    is_other = any(kept.get(case_id, key) != key for case_id, key in now.items())
    refused = dict.fromkeys(now, other) if is_other else {}
    empty = "the expected output has no token"
    return refused | {case_id: empty for case_id, ids in expected.items() if not ids}


def _keep(reading: Reading, loglikelihood: float | str, n_tokens: int, journal: Journal) -> None:
    score_of = reading.metric.from_loglikelihood
    if isinstance(loglikelihood, str) or score_of is None:
        journal.add_failure(reading.failed(str(loglikelihood)))
        return
    try:
        found = checked(reading.metric.spec, score_of(loglikelihood, n_tokens))
    except MeasureError as error:
        journal.add_failure(reading.failed(str(error)))
    else:
        journal.add_score(Score(*reading.place, found.value, found.reason))


def _of_like_length(
    rows: Sequence[Reading], expected: Mapping[str, tuple[int, ...]]
) -> list[Reading]:
    """The same, the longest first within each window of the drawn order.

    A run that ends early so has long and short cases, and where memory is short it shows at once.
    """
    return [
        reading
        for start in range(0, len(rows), _WINDOW)
        for reading in sorted(
            rows[start : start + _WINDOW], key=lambda r: -len(expected[r.case.id])
        )
    ]


def _by(named: Sequence[tuple[str, Reading]]) -> dict[str, list[Reading]]:
    """The readings of each name, in the order in which the names first come."""
    found: dict[str, list[Reading]] = {}
    for name, reading in named:
        found.setdefault(name, []).append(reading)
    return found

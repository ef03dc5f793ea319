"""Score all samples of a case, and ask the judge several times where the user wants that.

The case stays the unit: its score is the mean over its samples, and a sample's score the mean over
the times that the judge was asked. One item holds all samples of one case and variant, so a run
that ends early has whole cases. If one sample's score fails, that of the case fails.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from plugin.errors import CallError
from plugin.judges.asking import Asker
from plugin.judges.panel import ScoreItem, score_item
from plugin.judges.preferring import PreferenceItem, prefer_item
from plugin.metrics import Metric
from plugin.records import Failure, JudgeScore, Preference, Score
from plugin.sample_rows import SampleScore, join_reasons, preference_repeat


@dataclass(frozen=True, slots=True)
class CaseScore:
    """What one case scored.

    Attributes:
        score: the mean of its samples.
        shares: the mean of each judge, where there are several.
        samples: the single scores; empty where the case has one sample, scored once.
    """

    score: Score
    shares: tuple[JudgeScore, ...] = ()
    samples: tuple[SampleScore, ...] = ()


async def score_samples(
    item: ScoreItem, metric: Metric | CallError, askers: Sequence[Asker], n_repeats: int = 1
) -> CaseScore | Failure:
    """Return the score of a case; see `score_item`.

    Args:
        item: the case with all samples of one variant.
        metric: the metric, ready to use, or the error that prevented it.
        askers: the judges.
        n_repeats: how many times each of them is asked about each sample.

    Raises:
        LimitReached: when the user's limits allow no more calls.
        VerdictError: when the judge cannot be used at all.
    """
    n_repeats = n_repeats if item.metric.spec.asks_judge else 1
    singles, rows = item.singles, list[tuple[SampleScore, Score, list[JudgeScore]]]()
    for single in singles:
        for repeat in range(n_repeats):
            found, shares = await score_item(single, metric, askers, repeat)
            if isinstance(found, Failure):
                return _of_sample(found, single.sample, len(singles))
            own = SampleScore(*item.place, single.sample, found.value, repeat)
            rows.append((own, found, shares))
    first = rows[0][1]
    if len(rows) == 1:
        return CaseScore(first, tuple(rows[0][2]))
    value = math.fsum(row.value for row, _, _ in rows) / len(rows)
    return CaseScore(
        replace(first, value=value, reason=_reason(rows, len(singles))),
        tuple(_mean_shares([share for _, _, shares in rows for share in shares])),
        () if item.metric.contrast else tuple(row for row, _, _ in rows),
    )


def _of_sample(failure: Failure, sample: int, n: int) -> Failure:
    """Return the failure of a case whose sample failed."""
    if n == 1:
        return failure
    return replace(failure, reason=f"sample {sample + 1}: {failure.reason}")


def _reason(rows: Sequence[tuple[SampleScore, Score, list[JudgeScore]]], n: int) -> str | None:
    """Return why the samples scored as they did, the first few of them."""
    firsts = [(row, score.reason) for row, score, _ in rows if not row.repeat]
    return firsts[0][1] if n == 1 else join_reasons(firsts)


def _mean_shares(shares: Sequence[JudgeScore]) -> list[JudgeScore]:
    values = dict[str, list[float]]()
    for share in shares:
        values.setdefault(share.judge, []).append(share.value)
    return [
        replace(shares[0], judge=judge, value=math.fsum(own) / len(own))
        for judge, own in values.items()
    ]


async def prefer_samples(
    item: PreferenceItem,
    metric: Metric | CallError,
    askers: Sequence[Asker],
    *,
    named: bool,
    n_repeats: int = 1,
) -> list[Preference] | Failure:
    """Return what each judge says of each pair of samples; their mean counts. See `prefer_item`.

    Raises:
        LimitReached: when the user's limits allow no more calls.
        VerdictError: when the judge cannot be used at all.
    """
    rows, singles = list[Preference](), item.singles
    for single in singles:
        for repeat in range(n_repeats):
            found = await prefer_item(single, metric, askers, named=named, repeat=repeat)
            if isinstance(found, Failure):
                return _of_sample(found, single.own.sample, len(singles))
            number = preference_repeat(single.own.sample, repeat)
            rows += [replace(row, repeat=number) for row in found]
    return rows

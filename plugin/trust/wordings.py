"""See how far scores and gain move when the judge's criterion is said in other words.

On a small draw of cases the judge scores both variants again under each of two other wordings (see
`plugin.metrics.wording`). A wording holds if its gain does not differ from that of the original
wording on the same cases, as far as a sign-flip test can tell at 5%.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from plugin.compare.numbers import format_count, format_named_p, format_number
from plugin.compare.pairs import Evidence, ResamplingSettings, clusters_of, contrasts
from plugin.compare.stats import ALPHA, paired_estimate
from plugin.metrics.wording import OUR_WORDINGS
from plugin.records import EVEN, MetricSpec
from plugin.run_facts import ProbeResult
from plugin.trust.records import WordingCheck

N_WORDING_CASES = 30

MIN_CASES = 8
"""With fewer cases nothing is said about whether a wording holds."""

_PLACES = 9
"""Differences of gains are rounded: a rounding error is no difference, but has a sign."""

_KIND = "other wording"


def wording_kind(place: int) -> str:
    """Return the kind of a probe under another wording; `place` counts from 0."""
    return f"{_KIND} {place + 1}"


def is_wording(kind: str) -> bool:
    """Return whether a probe of this kind was made under another wording."""
    return kind.startswith(_KIND)


def check_wordings(
    results: Sequence[ProbeResult],
    wordings: Mapping[str, Sequence[Sequence[str]]],
    evidence: Evidence,
    resampling: ResamplingSettings,
) -> tuple[WordingCheck, ...]:
    """Return what each other wording changed, by metric.

    Args:
        results: of the exam.
        wordings: metric -> its other wordings, part by part.
        evidence: the run's.
        resampling: seed and number of resamples.
    """
    found = []
    for spec in evidence.metrics:
        for place, words in enumerate(wordings.get(spec.name, ())):
            kind = wording_kind(place)
            own = [each for each in results if (each.kind, each.metric) == (kind, spec.name)]
            if own:
                found.append(_check(spec, place, words, own, evidence, resampling))
    return tuple(found)


def _check(
    spec: MetricSpec,
    place: int,
    words: Sequence[str],
    own: Sequence[ProbeResult],
    evidence: Evidence,
    resampling: ResamplingSettings,
) -> WordingCheck:
    again = {(one.case_id, one.variant): one.value for one in own if one.value is not None}
    first = {(s.case_id, s.variant): s.value for s in evidence.scores if s.metric == spec.name}
    changes = [value - first[at] for at, value in again.items() if at in first]
    variant, base = contrasts(evidence.names)[0]
    if spec.is_relative:
        again |= {(case_id, base): EVEN for case_id, _ in again}
    places = [(case, (case.id, variant), (case.id, base)) for case in evidence.cases]
    whole = [row for row in places if all(at in again and at in first for at in row[1:])]
    gains = [spec.gain(again[a] or 0.0, again[b] or 0.0) for _, a, b in whole]
    before = [spec.gain(first[a], first[b]) for _, a, b in whole]
    extent = 2 * spec.largest_gain
    moved = paired_estimate(
        [round(new - old, _PLACES) for new, old in zip(gains, before, strict=True)],
        clusters=clusters_of([case for case, _, _ in whole]),
        low=-extent,
        high=extent,
        seed=resampling.seed,
        n_resamples=resampling.n_resamples,
    )
    told = len(whole) >= MIN_CASES and moved.p_value is not None
    return WordingCheck(
        metric=spec.name,
        place=place,
        text="\n".join(words),
        by_judge=tuple(words) not in OUR_WORDINGS,
        n_scores=len(changes),
        n_failed=len(own) - len(changes),
        mean_change=_mean(changes),
        mean_size=_mean([abs(change) for change in changes]),
        n=len(whole),
        gain=_mean(gains),
        gain_before=_mean(before),
        p_value=moved.p_value,
        holds=(moved.p_value or 0.0) >= ALPHA if told else None,
    )


def wording_lines(rows: Sequence[WordingCheck], primary: str) -> list[str]:
    """Say how far scores and gain moved under the other wordings of the primary metric."""
    return [wording_line(row) for row in rows if row.metric == primary]


def wording_line(row: WordingCheck) -> str:
    """Say how far scores and gain moved under one other wording."""
    name = f"Other wording {row.place + 1} of {row.metric}"
    if row.gain is None or row.gain_before is None or row.mean_change is None:
        return f"{name}: the judge gave no scores under it ({format_count(row.n_failed)} failed)."
    failed = f", {format_count(row.n_failed)} scores failed" if row.n_failed else ""
    verdict = {True: "it holds", False: "it does not hold", None: "too few cases to tell"}
    return (
        f"{name}: scores moved by {format_number(row.mean_size)} on average (mean change "
        f"{format_number(row.mean_change, signed=True)}); the gain on the same "
        f"{format_count(row.n, 'case', 'cases')} is {format_number(row.gain, signed=True)} instead "
        f"of {format_number(row.gain_before, signed=True)} ("
        f"{format_named_p(row.p_value)}{failed}): {verdict[row.holds]}."
    )


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None

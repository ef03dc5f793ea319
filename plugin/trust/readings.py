"""Read the result of the primary metric in other ways, and say in how many of them it holds.

Other ways are: other wordings of the criterion, each judge of a panel alone, and the cases without
cut-off answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from plugin.compare.numbers import format_count, format_number
from plugin.compare.pairs import Evidence, ResamplingSettings, clusters_of
from plugin.compare.stats import decide_outcome, paired_estimate
from plugin.records import EVEN, Case, Completion, JudgeScore, MetricSpec, Preference
from plugin.results import Comparison
from plugin.trust.records import Reading, WordingCheck

Given = Mapping[tuple[str, str], float]
"""Case id and variant -> what was given."""


def other_readings(
    evidence: Evidence,
    row: Comparison,
    wordings: Sequence[WordingCheck],
    by_judge: Mapping[str, Given],
    completions: Mapping[tuple[str, str], Completion],
    resampling: ResamplingSettings,
) -> tuple[Reading, ...]:
    """Return the other readings of a comparison over all cases.

    A wording holds if its gain does not differ from the original one's (see `wordings`). The other
    readings hold if they have the same outcome, or if their interval contains the result's gain.

    Args:
        evidence: the run's.
        row: the comparison of the primary metric.
        wordings: what other wordings change.
        by_judge: what each judge of a panel gave on the metric; empty without a panel.
        completions: (case id, variant) -> completion.
        resampling: seed and number of resamples.
    """
    spec = next(spec for spec in evidence.metrics if row.metric in (spec.name, spec.key))
    found = [
        Reading(f"other wording {one.place + 1}", one.n, one.gain, None, None, one.holds)
        for one in wordings
        if one.metric == spec.name
    ]
    for judge, given in by_judge.items():
        found.append(_read(f"judge {judge} alone", evidence.cases, given, spec, row, resampling))
    pair = (row.variant, row.baseline)
    cut = {
        case_id
        for (case_id, name), made in completions.items()
        if name in pair and made.finish_reason == "length"
    }
    if cut:
        whole = [case for case in evidence.cases if case.id not in cut]
        given = {(s.case_id, s.variant): s.value for s in evidence.scores if s.metric == spec.name}
        name = f"without {format_count(len(cut), 'case', 'cases')} with cut-off answers"
        found.append(_read(name, whole, given, spec, row, resampling))
    return tuple(found)


def _read(
    name: str,
    cases: Iterable[Case],
    given: Given,
    spec: MetricSpec,
    row: Comparison,
    resampling: ResamplingSettings,
) -> Reading:
    """Return the gain of some cases, and whether it says what the comparison says."""
    own, base = row.variant, row.baseline
    whole, gains = list[Case](), list[float]()
    for case in cases:
        a = given.get((case.id, own))
        b = EVEN if spec.is_relative else given.get((case.id, base))
        if a is not None and b is not None:
            whole.append(case)
            gains.append(spec.gain(a, b))
    estimate = paired_estimate(
        gains,
        clusters=clusters_of(whole),
        low=-spec.largest_gain,
        high=spec.largest_gain,
        seed=resampling.seed,
        n_resamples=resampling.n_resamples,
    )
    low, high = estimate.ci_low, estimate.ci_high
    holds = None
    if low is not None and high is not None and row.gain is not None:
        outcome = decide_outcome((low, high), estimate.p_value, row.margin)
        holds = outcome == row.outcome or low <= row.gain <= high
    return Reading(name, len(gains), estimate.mean, low, high, holds)


def given_by_judge(
    spec: MetricSpec,
    base: str,
    scores: Iterable[JudgeScore],
    preferences: Iterable[Preference],
    second: str,
) -> dict[str, dict[tuple[str, str], float]]:
    """Return what each judge of a panel gave on a metric; empty if there was only one judge.

    Args:
        spec: the metric.
        base: name of the base.
        scores: what each judge gave single completions.
        preferences: what each judge preferred, also rows that do not count.
        second: label of the second judge, which saw only some pairs; "" for none.
    """
    found: dict[str, dict[tuple[str, str], float]] = {}
    for one in scores:
        if one.metric == spec.name:
            found.setdefault(one.judge, {})[one.case_id, one.variant] = one.value
    unasked: dict[tuple[str, str], float] = {}
    for row in preferences:
        if row.metric != spec.name or row.baseline != base or row.repeat:
            continue
        if row.judge:
            found.setdefault(row.judge, {})[row.case_id, row.variant] = row.value
        elif not row.is_asked:  # equal or empty completions are the same for every judge
            unasked[row.case_id, row.variant] = row.value
    found.pop(second, None)
    return {judge: own | unasked for judge, own in found.items()} if len(found) > 1 else {}


def readings_line(metric: str, readings: Sequence[Reading]) -> str:
    """Say in how many readings the result holds; "" if there are none that tell."""
    told = [one for one in readings if one.holds is not None]
    if not told:
        return ""
    good = [one.name for one in told if one.holds]
    bad = [
        f"{one.name} (gain {format_number(one.gain, signed=True)}, n={format_count(one.n)})"
        for one in told
        if not one.holds
    ]
    where = f" ({', '.join(good)})" if good else ""
    but = f"; it does not hold in: {', '.join(bad)}" if bad else ""
    return f"The result on {metric} holds in {len(good)} of {len(told)} other readings{where}{but}."

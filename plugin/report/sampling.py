"""What the report says of sampling: how answers differ, and what would narrow the interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from plugin.compare.numbers import format_count, format_number, format_percent
from plugin.compare.pairs import Evidence, contenders
from plugin.compare.samples import Consistency, consistency_of, split_gain
from plugin.compare.variance import Source, VarianceSplit
from plugin.journal import Journal
from plugin.records import ALL, Completion
from plugin.results import Comparison
from plugin.sample_rows import SampleScore
from plugin.sampling import Sampling

Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Change:
    """What the interval would be if more was done.

    Attributes:
        what: such as "twice the cases".
        width: the interval's predicted width.
        factor: this width as a share of the width now.
        calls: judge calls as a multiple of those now.
        completions: completions as a multiple of those now.
    """

    what: str
    width: float
    factor: float
    calls: float
    completions: float


@dataclass(frozen=True, slots=True)
class GainSplit:
    """Where the uncertainty of one gain comes from.

    Attributes:
        variant: who gains over the base.
        metric: on what.
        width: of the gain's 95% interval now.
        split: the parts of its variance.
        shares: of each source in the variance of the mean gain.
        changes: what would narrow the interval, the best first.
        asks_judge: whether a judge gives the scores.
        is_drawn: whether answers were drawn at random.
    """

    variant: str
    metric: str
    width: float
    split: VarianceSplit
    shares: Mapping[Source, float]
    changes: tuple[Change, ...]
    asks_judge: bool = True
    is_drawn: bool = True


@dataclass(frozen=True, slots=True)
class SamplingView:
    """What a run with a temperature, several samples or repeated judgments shows.

    Attributes:
        n_samples: completions of each case and variant.
        temperature: at which they were drawn.
        n_repeats: how many times the judge was asked about each.
        n_missing: samples that could not be had.
        consistency: how often each variant answers the same way.
        splits: of the primary metric's gains over the base.
        lines: what must be said, a sentence each.
        samples: the answers, by case id and variant.
        scores: of single samples.
    """

    n_samples: int
    temperature: float
    n_repeats: int
    n_missing: int = 0
    consistency: tuple[Consistency, ...] = ()
    splits: tuple[GainSplit, ...] = ()
    lines: tuple[str, ...] = ()
    samples: Mapping[Place, Sequence[Completion]] = field(default_factory=dict)
    scores: tuple[SampleScore, ...] = ()


def find_sampling(
    journal: Journal,
    evidence: Evidence,
    comparisons: Sequence[Comparison],
    sampling: Sampling,
    repeats: int,
) -> SamplingView | None:
    """Return what sampling shows; None where each case has its most likely answer, judged once."""
    n, temperature = sampling.n, sampling.temperature
    if n == 1 and repeats == 1 and not temperature:
        return None
    scores, preferences = journal.sample_scores(), journal.preferences()
    is_single = not journal.has_samples() and not scores
    if (n > 1 or repeats > 1) and is_single and not any(one.repeat for one in preferences):
        return None  # a comparison of runs has their scores alone
    samples = journal.sample_answers() if n > 1 else {}
    primary = next((row.metric for row in comparisons if row.role == "primary"), "")
    view = SamplingView(
        n_samples=n,
        temperature=temperature,
        n_repeats=repeats,
        n_missing=sum(n - len(own) for own in samples.values()),
        consistency=consistency_of(samples, evidence.names, scores, primary),
        splits=_splits(evidence, comparisons, scores, sampling),
        samples=samples,
        scores=scores,
    )
    return replace(view, lines=sampling_lines(view))


def _splits(
    evidence: Evidence,
    comparisons: Sequence[Comparison],
    scores: Sequence[SampleScore],
    sampling: Sampling,
) -> tuple[GainSplit, ...]:
    found = []
    for row in comparisons:
        is_own = row.group == ALL and row.baseline == evidence.names[0]
        if row.role != "primary" or not is_own or row.ci_low is None or row.ci_high is None:
            continue
        spec = next(spec for spec in evidence.metrics if spec.name == row.metric)
        if row.variant not in contenders(evidence.names):
            continue
        if split := split_gain(evidence, spec, row.variant, scores):
            width = row.ci_high - row.ci_low
            changes = changes_of(split, width)
            found.append(
                GainSplit(
                    *(row.variant, row.metric, width, split, split.shares, changes),
                    asks_judge=spec.asks_judge,
                    is_drawn=bool(sampling.temperature) or sampling.n > 1,
                )
            )
    return tuple(found)


def changes_of(split: VarianceSplit, width: float) -> tuple[Change, ...]:
    """Return what would narrow an interval of this width, the narrowest first."""
    asked = [("twice the cases", (2.0, 1.0, 1.0))]
    if split.sampling is not None:
        asked.append(("twice the samples", (1.0, 2.0, 1.0)))
        if split.n_samples >= 2:
            n = float(round(split.n_samples))
            asked.append((f"{n:g} times the cases, one sample of each", (n, 1 / n, 1.0)))
    if split.judge is not None:
        asked.append(("twice the judge repeats", (1.0, 1.0, 2.0)))
    found = []
    for what, times in asked:
        factor, (cases, samples, repeats) = split.width_factor(*times), times
        done = cases * samples
        calls = round(done * repeats, 6)
        found.append(Change(what, factor * width, factor, calls, round(done, 6)))
    return tuple(sorted(found, key=lambda one: one.factor))


_SHOWN = {"cases": "between cases", "sampling": "in sampling", "judge": "in the judge"}


def share_name(source: str, one: GainSplit) -> str:
    """Return where a share of the variance lies; what was not repeated is in the part before."""
    split = one.split
    if source == "sampling" and split.judge is None and one.asks_judge:
        return "in sampling and judge"
    if source == "cases" and split.sampling is None:
        return "between cases and in sampling" if one.is_drawn else "between cases"
    return _SHOWN[source]


def all_times(n: int) -> str:
    """Return "both times", or "all 3 times" and so on."""
    return "both times" if n == 2 else f"all {n} times"


def sampling_lines(view: SamplingView) -> tuple[str, ...]:
    """Return what must be said of sampling, a sentence each."""
    lines = [_how_line(view)]
    for one in view.splits:
        lines += _split_lines(one)
    if told := [one for one in view.consistency if one.n]:
        parts = [
            f"{one.variant} {format_percent(one.n_same_text / one.n)} of {format_count(one.n)}"
            for one in told
        ]
        lines.append(
            f"Cases answered with the same text {all_times(view.n_samples)}: {', '.join(parts)}."
        )
        scored = [one for one in told if one.n_scored]
        if scored:
            same = ", ".join(
                f"{one.variant} {format_percent(one.n_same_score / one.n_scored)}" for one in scored
            )
            lines.append(f"Cases scored the same {all_times(view.n_samples)}: {same}.")
    if view.n_missing:
        lines.append(
            f"{format_count(view.n_missing)} samples could not be had; the mean of the others of "
            "their cases counts."
        )
    return tuple(lines)


def _split_lines(one: GainSplit) -> list[str]:
    about = f"Variance of {one.variant}'s gain on {one.metric}"
    if not any(one.shares.values()):
        return [f"{about}: there is none to split."]
    shares = [f"{format_percent(v)} {share_name(k, one)}" for k, v in one.shares.items()]
    more, same = (
        "; ".join(map(_change_text, group))
        for group in (
            [change for change in one.changes if change.calls > 1],
            [change for change in one.changes if change.calls <= 1],
        )
    )
    equal = f" At as many calls as now: {same}." if same else ""
    lines = [
        f"{about}: {', '.join(shares[:-1])} and {shares[-1]} (n={one.split.n}).",
        f"Its interval is {format_number(one.width)} wide. Predicted at twice the calls: {more}."
        f"{equal}",
    ]
    if one.split.n_negative:
        lines.append(
            "A part of this variance was estimated below zero, as chance can do, and counts as "
            "zero."
        )
    return lines


def _change_text(change: Change) -> str:
    narrower = format_percent(max(0.0, 1 - change.factor))
    return f"{change.what} {format_number(change.width)} ({narrower} narrower)"


def _how_line(view: SamplingView) -> str:
    asked = f", the judge asked {view.n_repeats} times about each" if view.n_repeats > 1 else ""
    at = f" at temperature {view.temperature:g}" if view.temperature else ""
    if view.n_samples > 1:
        return f"Each case's score is the mean of {view.n_samples} samples{at}{asked}."
    if view.temperature:
        return (
            f"One sample of each case was drawn{at}{asked}. How much another draw would change "
            "was not measured; --samples 3 measures it."
        )
    return f"Each case's score is the mean of {view.n_repeats} judgments of one answer."


class UnlikeSamples(NamedTuple):
    """A case that a variant answered in several ways: its answers, with their scores."""

    case_id: str
    variant: str
    answers: tuple[tuple[int, str, float | None], ...]


def unlike_cases(view: SamplingView | None, most: int) -> list[UnlikeSamples]:
    """Return the cases whose samples differ most, on the scores if there are any.

    Args:
        view: what sampling shows.
        most: how many cases at most.
    """
    if view is None or not view.samples:
        return []
    metric = view.splits[0].metric if view.splits else ""
    values = dict[tuple[str, str, int], list[float]]()
    for one in view.scores:
        if one.metric == metric:
            values.setdefault((one.case_id, one.variant, one.sample), []).append(one.value)
    means = {place: sum(own) / len(own) for place, own in values.items()}
    found = [
        UnlikeSamples(
            *place,
            tuple((one.sample + 1, one.text, means.get((*place, one.sample))) for one in own),
        )
        for place, own in view.samples.items()
        if len({one.text for one in own}) > 1
    ]
    found.sort(key=lambda one: -_spread([value for _, _, value in one.answers]))
    return found[:most]


def _spread(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return max(known) - min(known) if known else 0.0

"""Ask people for ratings with a template, and compare these with the judge's scores.

The template contains randomly drawn cases. A rating belongs to a case, a completion (by its
digest), a metric and a rater. The template hides which variant made a completion, so that the name
cannot influence raters. `rating_files` reads what they gave. The results are the agreement of judge
and humans, and a gain corrected by humans.
"""

from __future__ import annotations

import csv
import io
import math
import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path

from plugin.cache import content_key
from plugin.compare.pairs import Evidence, Pairs, clusters_of, pair_scores
from plugin.errors import OptionError
from plugin.journal import Journal
from plugin.records import ALL, Case, Completion, MetricSpec
from plugin.results import Comparison
from plugin.run_facts import Rating, RunState
from plugin.sheets import guard_cell
from plugin.trust.corrected_gain import CorrectedGain, correct_gain
from plugin.trust.exam import can_probe
from plugin.trust.rater_stats import (
    Agreement,
    cohens_kappa,
    krippendorff_alpha,
    raw_agreement,
)
from plugin.trust.records import Correction, HumanView

TEMPLATE = "ratings_template.csv"
_COLUMNS = (
    "case_id metric completion_digest input output expected_output context rating rater".split()
)


def completion_digest(completion: Completion) -> str:
    """Return the digest that identifies a completion; starts with letters for spreadsheets."""
    return f"out-{content_key(completion.case_id, completion.text)[:16]}"


def rateable_metrics(specs: Iterable[MetricSpec]) -> list[MetricSpec]:
    """Return the metrics on which humans can check the judge."""
    return [spec for spec in specs if can_probe(spec)]


def rating_template(
    cases: Sequence[Case],
    completions: Mapping[tuple[str, str], Completion],
    specs: Sequence[MetricSpec],
    seed: int,
) -> str:
    """Return the template as CSV: metric by metric, the rows of each in random order.

    Identical completions of a case share one row. The context is there for metrics that read it,
    such as Hallucination: raters see what the judge sees.

    Args:
        cases: the cases to rate.
        completions: (case id, variant) -> completion, without its thoughts.
        specs: the metrics, the primary metric first.
        seed: seed for the order of rows.
    """
    by_id = {case.id: case for case in cases}
    texts = {
        (case_id, completion_digest(completion)): completion.text
        for (case_id, _), completion in sorted(completions.items())
        if case_id in by_id
    }
    file = io.StringIO()
    # With \r in the line end, the csv module puts cells with a bare \r in quotes, too.
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(_COLUMNS)
    for spec in specs:
        places = list(texts)
        random.Random(f"order {seed} {spec.name}").shuffle(places)
        for case_id, digest in places:
            case = by_id[case_id]
            if spec.fits(case):
                context = _numbered(case.context) if "context" in spec.needs else ""
                named = case_id, spec.name, digest
                shown = case.input, texts[case_id, digest], case.expected_text or "", context
                writer.writerow([*map(guard_cell, (*named, *shown)), "", ""])
    return file.getvalue()


def export_ratings(
    journal: Journal, specs: Sequence[MetricSpec], n: int, seed: int, folder: Path
) -> tuple[Path, int]:
    """Draw cases, record the draw in the journal, and write the template into the run's folder.

    Only cases with a completion of every variant are drawn. A second draw adds to the first.

    Returns:
        The file, and the number of cases in it.

    Raises:
        OptionError: when there is nothing to rate, or the template exists already.
    """
    path = folder / TEMPLATE
    asked = rateable_metrics(specs)
    drawn = draw_cases(journal, n, seed)
    if not asked:
        raise OptionError(
            f"{folder}: there is nothing to rate: no metric asked a judge about single answers"
        )
    if path.exists():
        raise OptionError(
            f"{path} exists already and may contain ratings; fill in that file, or move it away "
            "to draw new cases"
        )
    text = rating_template(drawn, journal.answers(), asked, seed)
    # A byte-order mark tells spreadsheets that this is UTF-8.
    path.write_bytes(b"\xef\xbb\xbf" + text.encode("utf-8", "backslashreplace"))
    journal.save_state(with_draw(journal.state, drawn))
    return path, len(drawn)


def draw_cases(journal: Journal, n: int, seed: int) -> list[Case]:
    """Return cases drawn at random among those with a completion of every variant.

    Later turns of conversations are left out: each variant answers them in another conversation.

    Raises:
        OptionError: when there is no such case.
    """
    completions = journal.answers()
    variants = {variant.name for variant in journal.header.variants}
    whole = [
        case
        for case in journal.cases()
        if variants and all((case.id, name) in completions for name in variants)
        if case.follows is None
    ]
    if not whole:
        raise OptionError(
            f"{journal.path.parent}: there is nothing to rate: no case has completions of all "
            "variants yet"
        )
    return random.Random(f"ratings {seed}").sample(whole, min(n, len(whole)))


def with_draw(state: RunState, drawn: Iterable[Case]) -> RunState:
    """Return the state with these cases added to those that were drawn at random."""
    ids = sorted({*state.drawn_for_rating, *(case.id for case in drawn)})
    return replace(state, drawn_for_rating=tuple(ids))


def _numbered(contexts: Sequence[str]) -> str:
    """Return the contexts as one text, with numbers where there are several."""
    if len(contexts) == 1:
        return contexts[0]
    return "\n\n".join(f"[{number}] {text}" for number, text in enumerate(contexts, 1))


Digests = Mapping[tuple[str, str], str]
"""(case id, variant) -> the digest of its completion."""


@dataclass(frozen=True, slots=True)
class ResampledDraw:
    """What the analysis of ratings needs besides the ratings.

    Attributes:
        digests: digests of the run's completions.
        drawn: ids of the cases that were drawn at random for rating.
        seed: seed for all resampling.
        n_resamples: number of bootstrap resamples.
    """

    digests: Digests
    drawn: AbstractSet[str]
    seed: int
    n_resamples: int


def human_views(
    evidence: Evidence,
    comparisons: Sequence[Comparison],
    ratings: Sequence[Rating],
    draw: ResampledDraw,
) -> tuple[HumanView, ...]:
    """Compare the judge with the humans on every metric that they rated."""
    return tuple(
        _human_view(spec, evidence, comparisons, own, draw)
        for spec in evidence.metrics
        if (own := [rating for rating in ratings if rating.metric == spec.name])
    )


def _human_view(
    spec: MetricSpec,
    evidence: Evidence,
    comparisons: Sequence[Comparison],
    ratings: Sequence[Rating],
    draw: ResampledDraw,
) -> HumanView:
    given: dict[tuple[str, str], dict[str, float]] = {}
    for rating in ratings:
        given.setdefault((rating.case_id, rating.digest), {})[rating.rater] = rating.value
    # Two variants may give the same text: here that is one completion with one score.
    judged = {
        (score.case_id, draw.digests[score.case_id, score.variant]): score.value
        for score in evidence.scores
        if score.metric == spec.name and (score.case_id, score.variant) in draw.digests
    }
    both = [place for place in given if place in judged]
    pairs = [(judged[place], _mean(given[place].values())) for place in both]
    sides = [
        (side_of([judged[place]], spec), side_of(given[place].values(), spec)) for place in both
    ]
    decided = [(own, humans) for own, humans in sides if own and humans]
    alpha = _alpha_of(pairs, draw)
    raters = {rating.rater for rating in ratings}
    among = _alpha_of([list(own.values()) for own in given.values()], draw)
    return HumanView(
        metric=spec.name,
        n_raters=len(raters),
        n_rated=len(both),
        agreement=raw_agreement([a for a, _ in decided], [b for _, b in decided]),
        kappa=cohens_kappa([a for a, _ in decided], [b for _, b in decided]),
        alpha=alpha.alpha,
        alpha_ci_low=alpha.ci_low,
        alpha_ci_high=alpha.ci_high,
        alpha_humans=among.alpha if len(raters) > 1 else None,
        corrections=tuple(
            _correction(pairs, comparisons, given, draw)
            for pairs in pair_scores(evidence)
            if (pairs.group, pairs.baseline) == (ALL, evidence.names[0])
            and pairs.spec.name == spec.name
        ),
        n_undecided=len(both) - len(decided),
    )


def side_of(values: Collection[float], spec: MetricSpec) -> int:
    """Return 1 if most values are in the upper half of the scale, -1 for the lower, 0 for a tie.

    A value in the very middle is on neither side.
    """
    middle = (spec.low + spec.high) / 2
    surplus = sum((value > middle) - (value < middle) for value in values)
    return (surplus > 0) - (surplus < 0)


def _correction(
    pairs: Pairs,
    comparisons: Sequence[Comparison],
    ratings: Mapping[tuple[str, str], Mapping[str, float]],
    draw: ResampledDraw,
) -> Correction:
    """Return the variant's gain by the judge alone, and corrected by human ratings.

    A human gain is the mean over the raters who rated both completions. Only randomly drawn cases
    count, because cases that a person chose to rate may differ from the rest.
    """

    def gain(case: Case) -> float | None:
        own, base = (
            ratings.get((case.id, draw.digests.get((case.id, name), "")), {})
            for name in (pairs.variant, pairs.baseline)
        )
        gains = [pairs.spec.gain(own[rater], base[rater]) for rater in own if rater in base]
        return _mean(gains) if gains and case.id in draw.drawn else None

    row = next(
        row
        for row in comparisons
        if (row.metric, row.variant, row.baseline, row.group)
        == (pairs.spec.name, pairs.variant, pairs.baseline, ALL)
    )
    extent = pairs.spec.high - pairs.spec.low
    human = [gain(case) for case, _, _ in pairs.whole]
    clusters = clusters_of([case for case, _, _ in pairs.whole])
    found = correct_gain(
        pairs.gains, human, clusters=clusters, low=-extent, high=extent, seed=draw.seed
    )
    n_drawn = sum(case.id in draw.drawn for case, _, _ in pairs.whole)
    return Correction(
        variant=pairs.variant,
        judge_gain=row.gain,
        judge_ci_low=row.ci_low,
        judge_ci_high=row.ci_high,
        gain=found.estimate,
        ci_low=found.ci_low,
        ci_high=found.ci_high,
        n_labelled=found.n_labelled,
        n_unrated=n_drawn - found.n_labelled,
        n_all=found.n_all,
        method=_correction_method(found, draw),
    )


def _correction_method(corrected: CorrectedGain, draw: ResampledDraw) -> str:
    if not draw.drawn:
        return "no correction: the rated cases were not drawn at random by `python main.py ratings`"
    if not corrected.n_labelled:
        return "no correction: no drawn case has ratings for both variants"
    return corrected.method


def _alpha_of(units: Sequence[Sequence[float]], draw: ResampledDraw) -> Agreement:
    return krippendorff_alpha(units, seed=draw.seed, n_resamples=draw.n_resamples)


def _mean(values: Collection[float]) -> float:
    return math.fsum(values) / len(values)

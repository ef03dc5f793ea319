"""Choose what the exam asks a judge: a few cases of every kind of probe, within a budget.

Probes are chosen in rounds. A round takes the next case of each kind under each metric, so that a
small budget means fewer cases of everything, and nothing is left out because it comes last.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from plugin.compare.pairs import Contrast
from plugin.records import Case, MetricSpec, Preference
from plugin.trust.wordings import N_WORDING_CASES, wording_kind

RETEST = "retest"
"""Kind of a probe that repeats a score or a preference."""

N_RETEST_CASES = 10

N_A_ROUND = 2
"""Cases judged under other wordings in each round: a gain needs more cases than other probes."""

SHARE, FLOOR = 0.2, 60
"""All probes together take at most the first share of the questions that the run itself asks, or
the second number of questions, whichever is more."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One score or preference that the judge must give to test the judge itself.

    Attributes:
        kind: `RETEST`, or the name of a canary, a control, a known pair or another wording.
        variant: the variant that made the completion; "" for an answer that none made.
        text: text that the judge gets as the completion.
        against: the text that it is compared with; None for a metric that scores one completion.
        baseline: the variant that made the other text; "" if none did.
        wording: which other wording of the criterion is used, from 0; None for the original one.
        n_questions: how many questions it takes.
    """

    kind: str
    case: Case
    variant: str
    metric: str
    text: str
    against: str | None = None
    baseline: str = ""
    wording: int | None = None
    n_questions: int = 1

    @property
    def place(self) -> tuple[str, str, str, str]:
        """Return the values that identify the probe within a run."""
        return self.kind, self.case.id, self.variant, self.metric


Bundle = tuple[Probe, ...]
"""Probes that are chosen together or not at all."""

Texts = Mapping[str, Mapping[str, str]]
"""Case id -> variant -> its completion, only those with text."""


def questions_allowed(n_run: int, n_judges: int = 1) -> int:
    """Return how many questions the exam may ask each judge.

    Args:
        n_run: questions that the run asks each judge.
        n_judges: number of judges, who share `FLOOR`.
    """
    return max(FLOOR // n_judges, int(SHARE * n_run))


def take_rounds(columns: Iterable[Sequence[Bundle]], n_allowed: int) -> list[Probe]:
    """Return the probes of as many bundles as the budget allows, in rounds over the columns."""
    taken: list[Probe] = []
    for row in zip_longest(*columns, fillvalue=()):
        for bundle in row:
            n_allowed -= sum(probe.n_questions for probe in bundle)
            if n_allowed < 0:
                return taken
            taken += bundle
    return taken


def retests(
    spec: MetricSpec,
    cases: Iterable[Case],
    texts: Texts,
    scored: Collection[tuple[str, str, str]],
) -> list[Bundle]:
    """Return one scored completion per case to score again, taking the variants in turn."""
    made: list[Bundle] = []
    for case in cases:
        known = texts.get(case.id, {})
        own = [name for name in known if (case.id, name, spec.name) in scored]
        if own and len(made) < N_RETEST_CASES:
            name = own[len(made) % len(own)]
            text, n = known[name], spec.n_questions
            made.append((Probe(RETEST, case, name, spec.name, text, n_questions=n),))
    return made


def pair_retests(
    spec: MetricSpec, cases: Iterable[Case], texts: Texts, preferences: Sequence[Preference]
) -> list[Bundle]:
    """Return one pair per case to compare again, taking the variants in turn."""
    asked: dict[str, dict[str, str]] = {}
    for row in preferences:
        if row.metric == spec.name and row.is_asked:
            asked.setdefault(row.case_id, {})[row.variant] = row.baseline
    made: list[Bundle] = []
    for case in cases:
        known = texts.get(case.id, {})
        own = sorted((v, b) for v, b in asked.get(case.id, {}).items() if v in known and b in known)
        if own and len(made) < N_RETEST_CASES:
            made.append((_pair(RETEST, case, Contrast(*own[len(made) % len(own)]), spec, known),))
    return made


def rewordings(
    spec: MetricSpec,
    cases: Iterable[Case],
    texts: Texts,
    contrast: Contrast,
    *,
    n_wordings: int,
    must_be_written: bool,
) -> list[Bundle]:
    """Return the cases to judge under other wordings: both variants, under each wording.

    Args:
        spec: the metric.
        cases: in the order in which they are to be used.
        texts: the completions.
        contrast: the variant and the base whose gain is looked at.
        n_wordings: number of other wordings.
        must_be_written: whether the judge must write the wordings first, with a question for each.
    """
    made: list[Bundle] = []
    for case in cases:
        known = texts.get(case.id, {})
        if len(made) == N_WORDING_CASES:
            break
        if not all(name in known for name in contrast):
            continue
        extra = int(must_be_written and not made)
        bundle: list[Probe] = []
        for place in range(n_wordings):
            kind = wording_kind(place)
            if spec.is_relative:
                if known[contrast.variant].strip() != known[contrast.baseline].strip():
                    bundle.append(_pair(kind, case, contrast, spec, known, place, extra))
            else:
                bundle += [
                    Probe(
                        kind,
                        case,
                        name,
                        spec.name,
                        known[name],
                        wording=place,
                        n_questions=spec.n_questions + (extra if name == contrast.variant else 0),
                    )
                    for name in contrast
                ]
        if bundle:
            made.append(tuple(bundle))
    return made


def _pair(
    kind: str,
    case: Case,
    contrast: Contrast,
    spec: MetricSpec,
    texts: Mapping[str, str],
    wording: int | None = None,
    n_extra: int = 0,
) -> Probe:
    variant, baseline = contrast
    n = spec.n_questions + n_extra
    own, other = texts[variant], texts[baseline]
    return Probe(kind, case, variant, spec.name, own, other, baseline, wording, n)

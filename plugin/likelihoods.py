"""Make the likelihood scores that are missing, and write each into the journal at once.

A likelihood says how probable a variant finds the expected output. The engine gives it, so it is
made together with the completions, while the weights are loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from plugin.cache import content_key
from plugin.engines import Engine
from plugin.journal import Journal
from plugin.metrics import Metric
from plugin.metrics.running import MetricError, check_score
from plugin.records import Case, Failure, NoResult, Score
from plugin.worker import Progress, Stage

_WINDOW = 512
"""Cases that may change places within the drawn order, so that batches hold similar lengths."""

PromptsByCase = Mapping[tuple[str, str], tuple[int, ...]]
"""(case id, variant) -> the prompt's token ids."""


@dataclass(frozen=True, slots=True)
class LikelihoodItem:
    """Name one likelihood score to make: case, variant and metric."""

    case: Case
    variant: str
    metric: Metric

    @property
    def place(self) -> tuple[str, str, str]:
        """Return case id, variant and metric, which together name the score."""
        return self.case.id, self.variant, self.metric.spec.name

    def failed(self, reason: str, retry: bool = False) -> Failure:
        """Return the failure that is recorded instead of the score."""
        case_id, variant, metric = self.place
        return Failure(case_id, "generate", reason, variant, metric, retry)


def likelihood_items(
    cases: Sequence[Case], variants: Sequence[str], metrics: Sequence[Metric]
) -> list[LikelihoodItem]:
    """Return all likelihood scores of these variants, variant by variant."""
    return [
        LikelihoodItem(case, variant, metric)
        for metric in metrics
        if metric.spec.needs_likelihood
        for variant in variants
        for case in cases
        if metric.spec.fits(case)
    ]


def missing_likelihoods(wanted: Sequence[LikelihoodItem], journal: Journal) -> list[LikelihoodItem]:
    """Return the items without a score, except those whose failure another try cannot fix."""
    have = {(s.case_id, s.variant, s.metric) for s in journal.scores()}
    failures = filter(is_final, journal.failures())
    have |= {(f.case_id, f.variant or "", f.metric or "") for f in failures}
    return [item for item in wanted if item.place not in have]


def read_likelihoods(
    wanted: Sequence[LikelihoodItem],
    prompts: PromptsByCase,
    engine: Engine,
    journal: Journal,
    progress: Progress,
) -> None:
    """Make every likelihood score that is missing.

    Args:
        wanted: all likelihood scores of this engine.
        prompts: those of the same cases and variants.
        engine: the one with their weights.
        journal: gets the scores.
        progress: gets a stage for each metric.

    Raises:
        BaseDisturbedError: when the base is not itself again after an adapter.
        FaultError: when the engine gave up.
        Stopped: when the user stopped the run.
    """
    todo = missing_likelihoods(wanted, journal)
    if not todo:
        return
    expected = {r.case.id: engine.tokens(r.case.expected_output or "") for r in wanted}
    refused = _refused_cases(expected, journal)
    for name, own in _by_name([(item.metric.spec.name, item) for item in todo]).items():
        n_all = sum(item.metric.spec.name == name for item in wanted)
        progress.begin(Stage.READ_LIKELIHOODS, total=n_all, done=n_all - len(own))
        for item in own:
            if reason := refused.get(item.case.id):
                journal.add_failure(item.failed(reason))
                progress.done += 1
        can = [(item.variant, item) for item in own if item.case.id not in refused]
        for variant, rows in _by_name(can).items():
            rows = _order_by_length(rows, expected)
            pairs = [(prompts[r.case.id, variant], expected[r.case.id]) for r in rows]
            found = engine.loglikelihoods(variant, pairs)
            for item, loglikelihood in zip(rows, found, strict=True):
                _keep_likelihood(item, loglikelihood, len(expected[item.case.id]), journal)
                progress.done += 1
                progress.check()


def is_final(failure: Failure) -> bool:
    """Return whether it is an engine's failure that another try cannot fix."""
    return failure.stage == "generate" and not failure.retry


def _refused_cases(expected: Mapping[str, tuple[int, ...]], journal: Journal) -> dict[str, str]:
    """Return why this model cannot score some cases, by case id.

    Likelihoods are compared per token, so all models must split the expected outputs into the same
    tokens. The first engine, which has the baseline, sets the tokens. A model that splits any
    expected output in another way is refused for all cases.
    """
    state = journal.state
    kept = state.expected_tokens
    now = {case_id: content_key(list(ids))[:16] for case_id, ids in expected.items()}
    journal.save_state(replace(state, expected_tokens={**now, **kept}))
    other = (
        "this model's tokenizer splits expected outputs into other tokens than the baseline's, so "
        "the two cannot be compared per token"
    )
    is_other = any(kept.get(case_id, key) != key for case_id, key in now.items())
    refused = dict.fromkeys(now, other) if is_other else {}
    empty = "the expected output has no token"
    return refused | {case_id: empty for case_id, ids in expected.items() if not ids}


def _keep_likelihood(
    item: LikelihoodItem, loglikelihood: float | NoResult, n_tokens: int, journal: Journal
) -> None:
    if isinstance(loglikelihood, NoResult):
        journal.add_failure(item.failed(loglikelihood.reason, loglikelihood.retry))
        return
    score_of = item.metric.from_loglikelihood
    assert score_of is not None, "`likelihood_items` takes only metrics that have one"
    try:
        found = check_score(item.metric.spec, score_of(loglikelihood, n_tokens))
    except MetricError as error:
        journal.add_failure(item.failed(str(error)))
    else:
        journal.add_score(Score(*item.place, found.value, found.reason))


def _order_by_length(
    rows: Sequence[LikelihoodItem], expected: Mapping[str, tuple[int, ...]]
) -> list[LikelihoodItem]:
    """Order the items by length within each window of the drawn order, the longest first.

    So a run that ends early has both long and short cases, and a lack of memory shows at once.
    """
    return [
        item
        for start in range(0, len(rows), _WINDOW)
        for item in sorted(rows[start : start + _WINDOW], key=lambda r: -len(expected[r.case.id]))
    ]


def _by_name(named: Sequence[tuple[str, LikelihoodItem]]) -> dict[str, list[LikelihoodItem]]:
    """Group the items by name, in the order in which the names first come."""
    found: dict[str, list[LikelihoodItem]] = {}
    for name, item in named:
        found.setdefault(name, []).append(item)
    return found

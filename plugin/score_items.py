"""Say which scores a run makes: case by case, with what each variant was shown and answered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from plugin.compare.pairs import Contrast
from plugin.compare.relative import place_of
from plugin.conversations import Conversations
from plugin.journal import Journal
from plugin.judges.panel import ScoreItem
from plugin.judges.preferring import PreferenceItem
from plugin.metrics import Metric
from plugin.records import Case, Completion

Item = ScoreItem | PreferenceItem


def items_to_score(
    cases: Sequence[Case],
    answers: Iterable[Completion],
    metrics: Sequence[Metric],
    whole: Iterable[Completion] | None = None,
    pairs: Sequence[Contrast] = (),
) -> list[Item]:
    """Return the scores to make, case by case, with all variants and metrics of a case together.

    Likelihood scores are left out: `plugin.generate` makes them with the completions. As the cases
    come in seeded order, a run that ends early has complete pairs and a fair sample.

    Args:
        cases: in the order of work; a later turn of a conversation becomes what its variant saw.
        answers: completions without their thoughts; of a case and variant there may be several.
        metrics: the run's.
        whole: completions with their thoughts, for metrics that read how a completion was made;
            None if these are the same as `answers`.
        pairs: whose completions are compared, for metrics that compare two.
    """
    answers_of = _by_case(answers)
    whole_of = answers_of if whole is None else _by_case(whole)
    made = [one for own in whole_of.values() for each in own.values() for one in each]
    conversations = Conversations(cases, made)
    items = list[Item]()
    for case in cases:
        for metric in metrics:
            own = (whole_of if metric.describe else answers_of).get(case.id, {})
            if not metric.spec.fits(case) or metric.spec.needs_likelihood:
                continue
            if metric.spec.is_relative:
                items += _pair_items(case, own, metric, pairs, conversations)
            elif metric.spec.judges_data:
                items.append(ScoreItem(case, None, metric))
            else:
                items += [_item(case, each, metric, conversations) for each in own.values()]
    return items


def _pair_items(
    case: Case,
    made: Mapping[str, Sequence[Completion]],
    metric: Metric,
    pairs: Sequence[Contrast],
    conversations: Conversations,
) -> list[PreferenceItem]:
    """Return the pairs of completions of which both are there, sample by sample.

    Each completion comes with the conversation before it.
    """
    items = []
    for variant, baseline in pairs:
        bases = {one.sample: one for one in made.get(baseline, ())}
        both = [(one, bases[one.sample]) for one in made.get(variant, ()) if one.sample in bases]
        if both:
            seen = [
                (_seen(case, one, conversations), _seen(case, other, conversations))
                for one, other in both
            ]
            (own, base), (own_case, base_case) = both[0], seen[0]
            later = tuple(both[1:]), tuple(seen[1:])
            items.append(PreferenceItem(own_case, own, base, metric, base_case, *later))
    return items


def _item(
    case: Case, made: Sequence[Completion], metric: Metric, conversations: Conversations
) -> ScoreItem:
    """Return one score to make, of all samples of a variant, each with what came before it."""
    first, *later = made
    seen = tuple(_seen(case, one, conversations) for one in later)
    return ScoreItem(_seen(case, first, conversations), first, metric, tuple(later), seen)


def _seen(case: Case, completion: Completion, conversations: Conversations) -> Case:
    return conversations.seen(case, completion.variant, completion.sample)


def _by_case(completions: Iterable[Completion]) -> dict[str, dict[str, list[Completion]]]:
    """Return the completions by case and variant, in the order of their samples."""
    found: dict[str, dict[str, list[Completion]]] = {}
    for completion in completions:
        of_case = found.setdefault(completion.case_id, {})
        of_case.setdefault(completion.variant, []).append(completion)
    return found


def missing_items(items: Sequence[Item], journal: Journal) -> list[Item]:
    """Return the items for which the journal has no score or preference."""
    have: set[tuple[str, ...]] = {(s.case_id, s.variant, s.metric) for s in journal.scores()}
    have |= {place_of(preference) for preference in journal.preferences()}
    return [item for item in items if item.place not in have]

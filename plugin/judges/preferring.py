"""Ask the judges which of two completions is better: in both orders, and only where needed.

Judges favour a place: the answer that they see first, or last. So every pair is asked with each of
the two completions shown first. Orders that disagree are a tie, and are counted as a flip. Equal
completions are a tie without asking, and an empty completion loses against one with text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from plugin.compare.relative import PreferencePlace
from plugin.errors import CallError
from plugin.judges.asking import Asker
from plugin.judges.panel import ask_each, is_unsure
from plugin.metrics import Ask, Metric
from plugin.metrics.running import run_preference
from plugin.records import EVEN, Case, Completion, Failure, FailureStage, Preference

EQUAL = "equal completions: a tie, without asking a judge"
EMPTY = "an empty completion loses against one with text, without asking a judge"

_LEVELS = {2: "much better", 1: "better", 0: "a tie", -1: "worse", -2: "much worse"}


@dataclass(frozen=True, slots=True)
class PreferenceItem:
    """Two completions of a case to compare: the variant's own, and the baseline's.

    Attributes:
        later: the pairs of samples after the first, where the case has several.
    """

    case: Case
    own: Completion
    base: Completion
    metric: Metric
    later: tuple[tuple[Completion, Completion], ...] = ()

    @property
    def singles(self) -> list[PreferenceItem]:
        """Return an item for each pair of samples."""
        pairs = ((self.own, self.base), *self.later)
        return [replace(self, own=own, base=base, later=()) for own, base in pairs]

    @property
    def place(self) -> PreferencePlace:
        """Return the case, variant, metric and baseline that the preference belongs to."""
        return self.case.id, self.own.variant, self.metric.spec.name, self.base.variant

    @property
    def texts(self) -> tuple[str, str]:
        """Return the variant's text and the baseline's."""
        return self.own.text.strip(), self.base.text.strip()

    @property
    def is_asked(self) -> bool:
        """Return whether a judge must say which is better."""
        own, base = self.texts
        return bool(own and base and own != base)


async def prefer_item(
    item: PreferenceItem,
    metric: Metric | CallError,
    askers: Sequence[Asker],
    *,
    named: bool,
    repeat: int = 0,
) -> list[Preference] | Failure:
    """Return the preference of each judge, or the failure of the pair.

    The same judges must compare all pairs, so the pair fails if one judge fails.

    Args:
        item: the pair.
        metric: the metric, or the error that prevented it.
        askers: the judges.
        named: whether the rows name their judge; only the run's only judge stays without a name.
        repeat: which time the judges are asked about the pair, from 0.

    Raises:
        LimitReached: when the user's limits allow no more calls.
        VerdictError: when the judge cannot be used at all.
    """
    case_id, variant, name, baseline = item.place
    bare = Preference(case_id, variant, baseline, name, None, None, EVEN)
    if not item.is_asked:
        own, base = item.texts
        if own == base:
            return [replace(bare, reason=EQUAL)]
        return [replace(bare, value=float(bool(own)), reason=EMPTY)]
    failed = partial(Failure, case_id, variant=variant, metric=name, retry=True, baseline=baseline)
    if isinstance(metric, CallError):
        return failed("judge", str(metric))
    rows = list[Preference]()
    each = await ask_each(askers, lambda asker: _ask_judge(item, metric, bare, asker.at(repeat)))
    for asker, found in zip(askers, each, strict=True):
        if not isinstance(found, Preference):
            who = f"{asker.label}: " if len(askers) > 1 else ""
            stage: FailureStage = "judge" if isinstance(found, CallError) else "metric"
            return failed(stage, f"{who}{found}")
        rows.append(replace(found, judge=asker.label if named else ""))
    return rows


async def _ask_judge(
    item: PreferenceItem, metric: Metric, bare: Preference, asker: Ask
) -> Preference:
    """Return the preference of one judge; raises what `run_preference` raises."""
    own, base = item.own.text, item.base.text
    first, why_first = await run_preference(metric, item.case, own, base, asker)
    turned, why_second = await run_preference(metric, item.case, base, own, asker)
    made = settle(bare, first, turned)
    names = (bare.variant, bare.baseline)
    said = (_told(names, first, why_first), _told(names[::-1], turned, why_second))
    head = "The orders disagree, which counts as a tie. " if made.is_flip else ""
    return replace(made, reason=head + " | ".join(said))


def settle(bare: Preference, first: int, turned: int) -> Preference:
    """Return the preference with its levels and value.

    Args:
        bare: the preference without them.
        first: how much better the variant's completion is, shown first.
        turned: how much better the baseline's completion is, shown first.
    """
    made = replace(bare, first=first, second=-turned)
    return replace(made, value=EVEN if made.is_flip else (_sign(first) + 1) / 2)


def _sign(level: int) -> int:
    return (level > 0) - (level < 0)


def _told(names: tuple[str, str], level: int, why: str) -> str:
    """Return what a judge said in one order, with who stands behind the letters."""
    shown = f"A is {names[0]}, B is {names[1]}"
    verdict = _LEVELS[level] if not level else f"A {_LEVELS[level]}"
    return f"[{shown}: {verdict}] {why}".strip()


def preferences_in_doubt(
    items: Mapping[PreferencePlace, PreferenceItem], rows: Sequence[Preference], second: str
) -> list[PreferenceItem]:
    """Return the pairs of which the first judges are unsure: ties, flips, and a panel apart.

    Args:
        items: the pairs that a judge compares, by place.
        rows: what all judges said.
        second: label of the second judge, whose own rows are ignored here.
    """
    given: dict[PreferencePlace, list[float]] = {}
    for row in rows:
        if row.judge != second and row.is_asked and not row.repeat:
            place = (row.case_id, row.variant, row.metric, row.baseline)
            given.setdefault(place, []).append(row.value)
    return [
        item
        for place, item in items.items()
        if place in given and is_unsure(item.metric.spec, given[place])
    ]

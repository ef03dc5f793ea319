"""Put together what the journal knows of general ability: findings, texts, and items to read."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from plugin.capability.probe import abilities, probe_items
from plugin.capability.records import (
    AbilityFinding,
    AbilityScore,
    ItemResult,
    OverallFinding,
    Source,
    TextReading,
)
from plugin.capability.stats import (
    ability_scores,
    judge_abilities,
    judge_overall,
    pair_results,
)
from plugin.compare.stats import paired_estimate
from plugin.run_facts import CapabilityChoice
from plugin.training_facts import LEADING_SHARE

_EXAMPLES = 3
"""Items of an ability and variant to read, of those that were right and are wrong now."""

_BITS = math.log(2)


@dataclass(frozen=True, slots=True)
class TextFinding:
    """How likely one variant finds the shipped texts, all together.

    Attributes:
        n: texts with a likelihood.
        n_failed: texts without one.
        perplexity: exp of the mean nats per token; None without any text.
        bits_per_byte: the same as bits per byte of the text, for models with other tokens.
        change: perplexity over the base's, minus 1, on the texts that both read; per byte where the
            tokens differ. None for the base, and without such texts.
        change_low: lower end of its 95% interval; None where there is none.
        change_high: its upper end.
        divergence: mean KL divergence from the base's next tokens, in nats; None where there is
            none.
        has_other_tokens: whether its tokens differ from the base's.
    """

    variant: str
    n: int
    n_failed: int
    perplexity: float | None
    bits_per_byte: float | None
    change: float | None = None
    change_low: float | None = None
    change_high: float | None = None
    divergence: float | None = None
    has_other_tokens: bool = False


@dataclass(frozen=True, slots=True)
class LostItem:
    """An item that the base solved and a variant does not, to be read."""

    source: Source
    ability: str
    item_id: str
    variant: str
    question: str
    base_output: str
    output: str
    reason: str


@dataclass(frozen=True, slots=True)
class CleanItems:
    """What the items of one source show that do not stand in the training data.

    Attributes:
        n_items: all items of the source that were asked.
        n_marked: those that stand in the training data, or are near to it.
        n_marked_of: ability -> how many of its items do, without those that have none.
        scores: of every ability and variant, on clean items.
        findings: of every ability and every variant but the base, on clean items.
        overall: per variant but the base, on clean items.
    """

    source: Source
    n_items: int
    n_marked: int
    n_marked_of: Mapping[str, int]
    scores: tuple[AbilityScore, ...]
    findings: tuple[AbilityFinding, ...]
    overall: tuple[OverallFinding, ...]

    @property
    def leads(self) -> bool:
        """Return whether so many items are marked that the clean ones decide."""
        return self.n_marked > LEADING_SHARE * self.n_items


@dataclass(frozen=True, slots=True)
class Capability:
    """All that is known of general ability in a run.

    Attributes:
        base: name of the base.
        choice: which set was asked; None where only tasks of lm-evaluation-harness were.
        scores: of every ability and variant.
        findings: of every ability and every variant but the base.
        overall: per source and every variant but the base.
        texts: of every variant that read the texts.
        text_note: why none were read; "" for nothing to say.
        examples: items that were right and are wrong now.
        clean: what clean items show by themselves, per source with marked ones.
    """

    base: str
    choice: CapabilityChoice | None
    scores: tuple[AbilityScore, ...]
    findings: tuple[AbilityFinding, ...] = ()
    overall: tuple[OverallFinding, ...] = ()
    texts: tuple[TextFinding, ...] = ()
    text_note: str = ""
    examples: tuple[LostItem, ...] = ()
    clean: tuple[CleanItems, ...] = ()

    @property
    def deciding(self) -> Capability:
        """Return the same with what clean items show in the place of all, where these decide."""
        led = {one.source: one for one in self.clean if one.leads}
        findings = [one for one in self.findings if one.source not in led]
        overall = [one for one in self.overall if one.source not in led]
        for own in led.values():
            findings += own.findings
            overall += own.overall
        return replace(self, findings=tuple(findings), overall=tuple(overall))

    @property
    def is_guard(self) -> bool:
        """Return whether a lost ability counts as harm."""
        return self.choice is not None and self.choice.is_guard

    def of(self, variant: str) -> list[AbilityFinding]:
        """Return a variant's findings."""
        return [one for one in self.findings if one.variant == variant]

    def lost(self, variant: str) -> list[AbilityFinding]:
        """Return the abilities that a variant lost, the largest loss first."""
        own = [one for one in self.of(variant) if one.outcome == "lost"]
        return sorted(own, key=lambda one: one.gain)

    @property
    def rivals(self) -> tuple[str, ...]:
        """Return the variants that are compared with the base, in the order of the run."""
        return tuple(dict.fromkeys(one.variant for one in self.findings))


def find_capability(
    results: Sequence[ItemResult],
    readings: Sequence[TextReading],
    names: Sequence[str],
    choice: CapabilityChoice | None,
    text_note: str = "",
    marked: Collection[str] = (),
) -> Capability | None:
    """Return what is known of general ability; None if nothing was asked, or is to be shown.

    Args:
        results: of the run.
        readings: of the run.
        names: of the variants, the base first.
        choice: which set of the probe is asked; its results are left out where it is off.
        text_note: why no texts were read.
        marked: names of the items that stand in the training data, or are near to it.
    """
    is_off = choice is None or choice.size == "off"
    kept = [one for one in results if one.source != "probe" or not is_off]
    if not kept:
        return None
    kept = _in_order(kept, names)
    base, rivals = names[0], [n for n in names[1:] if any(one.variant == n for one in kept)]
    has_base = any(one.variant == base for one in kept)
    rivals = rivals if has_base else []
    findings, overall = _judge(kept, base, rivals)
    return Capability(
        base=base,
        choice=choice,
        scores=ability_scores(kept),
        findings=findings,
        overall=overall,
        texts=() if is_off else tuple(find_texts(readings, names)),
        text_note="" if is_off else text_note,
        examples=tuple(one for name in rivals for one in _examples(kept, base, name)),
        clean=tuple(_clean_items(kept, base, rivals, marked)),
    )


def _judge(
    results: Sequence[ItemResult], base: str, rivals: Sequence[str]
) -> tuple[tuple[AbilityFinding, ...], tuple[OverallFinding, ...]]:
    findings, overall = list[AbilityFinding](), list[OverallFinding]()
    for name in rivals:
        pairs = pair_results(results, base, name)
        findings += judge_abilities(pairs, name)
        sources = dict.fromkeys(source for source, _ in pairs)
        overall += [judge_overall(pairs, source, name) for source in sources]
    return tuple(findings), tuple(overall)


def _clean_items(
    results: Sequence[ItemResult], base: str, rivals: Sequence[str], marked: Collection[str]
) -> Iterator[CleanItems]:
    """Yield what clean items show, for each source of which some items are marked."""
    for source in dict.fromkeys(one.source for one in results):
        own = [one for one in results if one.source == source]
        ability_of = {one.item_id: one.ability for one in own}
        n_marked_of = Counter(a for item, a in ability_of.items() if item in marked)
        if not n_marked_of:
            continue
        clean = [one for one in own if one.item_id not in marked]
        findings, overall = _judge(clean, base, rivals)
        yield CleanItems(
            source=source,
            n_items=len(ability_of),
            n_marked=n_marked_of.total(),
            n_marked_of=dict(n_marked_of),
            scores=ability_scores(clean),
            findings=findings,
            overall=overall,
        )


def _in_order(results: Sequence[ItemResult], names: Sequence[str]) -> list[ItemResult]:
    """Sort the results: the probe first, then by ability, variant and item."""
    known = {ability: place for place, ability in enumerate(abilities())}
    order = {name: place for place, name in enumerate(names)}
    return sorted(
        results,
        key=lambda one: (
            one.source != "probe",
            known.get(one.ability, len(known)),
            one.ability,
            order.get(one.variant, len(order)),
            one.item_id,
        ),
    )


def _examples(results: Sequence[ItemResult], base: str, variant: str) -> list[LostItem]:
    """Return a few items of each ability that the base solved and the variant does not."""
    questions = {item.id: item.messages[-1].content for item in probe_items("full")}
    before = {(one.source, one.item_id): one for one in results if one.variant == base}
    found: dict[tuple[str, str], list[LostItem]] = {}
    for one in results:
        other = before.get((one.source, one.item_id))
        if one.variant != variant or other is None or one.score is None or other.score is None:
            continue
        own = found.setdefault((one.source, one.ability), [])
        if one.score < other.score and len(own) < _EXAMPLES:
            question = questions.get(one.item_id, "") if one.source == "probe" else ""
            own.append(
                LostItem(
                    *(one.source, one.ability, one.item_id, variant, question),
                    *(other.output, one.output, one.reason),
                )
            )
    return [item for items in found.values() for item in items]


def find_texts(readings: Sequence[TextReading], names: Sequence[str]) -> list[TextFinding]:
    """Return what each variant makes of the texts, in the order of the names."""
    of_variant: dict[str, dict[str, TextReading]] = {name: {} for name in names}
    for one in readings:
        of_variant.setdefault(one.variant, {})[one.text_id] = one
    base = of_variant[names[0]]
    return [
        _text_finding(name, own, base if name != names[0] else {})
        for name, own in of_variant.items()
        if own
    ]


def _text_finding(
    name: str, own: Mapping[str, TextReading], base: Mapping[str, TextReading]
) -> TextFinding:
    read = {key: one for key, one in own.items() if one.loglikelihood is not None}
    total = -sum(one.loglikelihood or 0.0 for one in read.values())
    n_tokens = sum(one.n_tokens for one in read.values())
    n_bytes = sum(one.n_bytes for one in read.values())
    both = [(one, other) for key, one in read.items() if (other := base.get(key))]
    both = [(one, other) for one, other in both if other.loglikelihood is not None]
    is_other = any(one.token_digest != other.token_digest for one, other in both)
    distances = [one.divergence for one in read.values() if one.divergence is not None]
    return TextFinding(
        name,
        len(read),
        len(own) - len(read),
        _perplexity(total, n_tokens),
        total / n_bytes / _BITS if n_bytes else None,
        *_change([_nats(o, is_other) - _nats(b, is_other) for o, b in both]),
        divergence=sum(distances) / len(distances) if distances else None,
        has_other_tokens=is_other,
    )


def _perplexity(nats: float, n_tokens: int) -> float | None:
    """Return the perplexity; None without tokens, and where it is too large for a number."""
    try:
        return math.exp(nats / n_tokens) if n_tokens else None
    except OverflowError:
        return None


def _nats(one: TextReading, per_byte: bool) -> float:
    return -(one.loglikelihood or 0.0) / max(one.n_bytes if per_byte else one.n_tokens, 1)


def _change(rises: Sequence[float]) -> tuple[float | None, float | None, float | None]:
    """Return the mean rise of nats as a relative change of the perplexity, with its interval."""
    if not rises:
        return None, None, None
    found = paired_estimate(rises, seed=0)
    ends = (found.mean, found.ci_low, found.ci_high)
    low = tuple(None if end is None or end > 700 else math.expm1(end) for end in ends)
    return low[0], low[1], low[2]

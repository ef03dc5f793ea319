"""Put into words what happened to general ability: in the verdict, its details and on the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from plugin.capability.probe import abilities, probe_items
from plugin.capability.records import AbilityFinding, OverallFinding, Source
from plugin.capability.report import Capability, CleanItems, TextFinding
from plugin.capability.stats import LARGE, MARGIN
from plugin.compare.numbers import format_count, format_number, format_percent
from plugin.records import ALL
from plugin.results import Harm, Verdict
from plugin.training_facts import LEADING_SHARE

GENERAL = "General ability"
"""What a harm is called as a metric."""

MATTERS = "matters if the model does other work too"

TEXT_NOTE = (
    "Perplexity on general text says how surprised a model is by ordinary text: a large rise is a "
    "sign of damage. A small rise is usual after fine-tuning, and no rise does not mean that "
    "nothing was lost"
)

_NAMES: dict[Source, str] = {"probe": "", "lm-eval": " (lm-eval)"}


def ability_name(ability: str) -> str:
    """Return an ability's name as shown; a task of lm-eval keeps its own."""
    return ability.replace("_", " ") if ability in abilities() else ability


def listed(names: Sequence[str]) -> str:
    """Return names as "a, b and c"."""
    shown = [ability_name(name) for name in names]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if shown[1:] else shown)


def points(share: float | None, *, signed: bool = True) -> str:
    """Return a difference of shares in percentage points, with one decimal below ten."""
    return f"{_in_percent(share, signed)} points"


def points_range(low: float | None, high: float | None) -> str:
    """Return both ends of an interval in percentage points."""
    return f"{_in_percent(low)} to {_in_percent(high)} points"


def _in_percent(share: float | None, signed: bool = True) -> str:
    if share is None:
        return "–"
    value = 100 * share
    digits = 1 if abs(value) < 9.95 and round(value, 1) != round(value) else 0
    if not round(value, digits):
        return "0"
    return f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"


def finding_text(one: AbilityFinding) -> str:
    """Return one ability's numbers in words."""
    return (
        f"{format_percent(one.variant_mean)} against {format_percent(one.base_mean)} of "
        f"{format_count(one.n)} items, {points(one.gain)}, interval "
        f"{points_range(one.ci_low, one.ci_high)}"
    )


def with_capability(verdict: Verdict, found: Capability | None) -> Verdict:
    """Add general ability to the verdict: a second sentence, its details, and harms if it guards.

    Args:
        verdict: what is known without it.
        found: None where general ability was not tested.
    """
    if found is None:
        return verdict
    deciding = found.deciding
    lost = _lost_names(deciding, verdict.variant)
    sentence, harms = verdict.sentence, verdict.harms
    if found.is_guard:
        harms = (*harms, *(harm for name in found.rivals for harm in _harms(deciding, name)))
    if lost and found.is_guard:
        joined = "but" if verdict.outcome in ("better", "equivalent") else "and"
        sentence = f"{sentence.removesuffix('.')}; {joined} worse on general ability: {lost}."
    elif lost:
        sentence = f"{sentence} {GENERAL}: lower on {lost} ({MATTERS})."
    return replace(
        verdict, sentence=sentence, harms=harms, details=(*verdict.details, *detail_lines(found))
    )


def _lost_names(found: Capability, variant: str) -> str:
    """Name what a variant lost, and where it did; "" for nothing."""
    lost: list[AbilityFinding | OverallFinding] = list(found.lost(variant))
    names = listed([one.ability for one in found.lost(variant)])
    if not lost:
        lost = [one for one in found.overall if one.variant == variant and one.outcome == "lower"]
        names = "all abilities together" if lost else ""
    led = {one.source for one in found.clean if one.leads}
    if not any(one.source in led for one in lost):
        return names
    return f"{names}, on the items that are not in the training data"


def _harms(found: Capability, variant: str) -> list[Harm]:
    """Return what a variant lost as harms."""
    harms = [
        Harm(variant, GENERAL, ability_name(one.ability), one.gain, one.ci_low, one.ci_high, one.n)
        for one in found.lost(variant)
    ]
    if harms:
        return harms
    return [
        Harm(variant, GENERAL, ALL, one.gain or 0.0, one.ci_low, one.ci_high, one.n)
        for one in found.overall
        if one.variant == variant and one.outcome == "lower"
    ]


def detail_lines(found: Capability) -> list[str]:
    """Return the lines on general ability among the verdict's details."""
    lines = []
    for name in found.rivals:
        who = f" of {name}" if len(found.rivals) > 1 else ""
        for one in found.overall:
            if one.variant == name:
                lines.append(f"{GENERAL}{_NAMES[one.source]}{who}: {overall_text(one, found)}")
        lines += [
            f"{GENERAL}{_NAMES[one.source]}{who}, {ability_name(one.ability)}: "
            f"{outcome_text(one)}: {finding_text(one)}"
            for one in found.of(name)
            if one.outcome in ("lost", "slightly lower", "unclear")
        ]
        lines += [limit_text(one, who) for one in found.overall if one.variant == name]
        for clean in found.clean:
            lines += _clean_lines(clean, found, name, who)
    lines += [clean_text(one) for one in found.clean]
    if found.texts and any(one.change is not None for one in found.texts):
        lines += [f"General text: {texts_text(found.texts)}", f"{TEXT_NOTE}."]
    elif found.text_note:
        lines.append(f"General text: {found.text_note}")
    return [line for line in lines if line]


def _clean_lines(clean: CleanItems, found: Capability, variant: str, who: str) -> list[str]:
    """Return what clean items of a source show of one variant, a line each."""
    start = f"{GENERAL}{_NAMES[clean.source]}{who}, clean items only"
    lines = [
        f"{start}: {overall_text(one, found)}" for one in clean.overall if one.variant == variant
    ]
    return lines + [
        f"{start}, {ability_name(one.ability)}: {outcome_text(one)}: {finding_text(one)}"
        for one in clean.findings
        if one.variant == variant and one.ability in clean.n_marked_of
        if one.outcome in ("lost", "slightly lower", "unclear")
    ]


def clean_text(clean: CleanItems) -> str:
    """Say how many items of a source stand in the training data, and what counts then."""
    n = format_count(clean.n_items)
    if clean.n_marked == clean.n_items:
        where = f"all {n} items stand in the training data or are near to it"
        return f"{GENERAL}{_NAMES[clean.source]}: {where}, so what they show may be memory"
    where = (
        f"{format_count(clean.n_marked)} of {n} items stand in the training data or are near to it"
    )
    most = format_percent(LEADING_SHARE)
    which = f"more than {most}, so the verdict counts the clean ones alone"
    if not clean.leads:
        which = f"no more than {most}, so the verdict counts all"
    return f"{GENERAL}{_NAMES[clean.source]}: {where}, {which}"


def outcome_text(one: AbilityFinding) -> str:
    """Return an ability's outcome with its second label."""
    return f"lost, by more than {points(LARGE, signed=False)}" if one.is_large else one.outcome


def overall_text(one: OverallFinding, found: Capability) -> str:
    """Return in words what all items together show."""
    if one.outcome == "unchanged":
        return f"unchanged: the same answers to all {format_count(one.n_all, 'item', 'items')}"
    if one.outcome in ("floor", "ceiling"):
        return f"cannot be told: {_why_at_limit(one)}"
    numbers = (
        f"{points(one.gain)} over {format_count(one.n)} items (90% interval "
        f"{points_range(one.ci_low, one.ci_high)})"
    )
    if one.outcome == "kept":
        return f"kept, any loss is below {points(MARGIN, signed=False)}: {numbers}"
    if one.outcome == "lower":
        return f"lower: {numbers}"
    failed = f", and {format_count(one.n_failed)} items failed" if one.n_failed else ""
    need = f". About {format_count(one.n_for_kept)} items would tell" if one.n_for_kept else ""
    return f"unclear: {numbers}{failed}{need}{_way_to_more(one, found)}"


def _way_to_more(one: OverallFinding, found: Capability) -> str:
    if one.source != "probe" or found.choice is None or found.choice.size != "quick":
        return ""
    return f"; --capability full has {format_count(len(probe_items('full')))}"


def _why_at_limit(one: OverallFinding) -> str:
    n = format_count(one.n_all, "item", "items")
    if not one.ceilings:
        return f"both models solve (nearly) none of the {n}, so nothing could be lost"
    if not one.floors:
        return f"both models solve all of the {n}, so they are too easy to show a loss"
    return f"both models solve (nearly) none or all of the {n} in every ability"


def limit_text(one: OverallFinding, who: str = "") -> str:
    """Say in one line which abilities are at floor or ceiling; "" for none."""
    parts = []
    if one.floors:
        parts.append(f"at the floor, where nothing could be lost: {listed(one.floors)}")
    if one.ceilings:
        parts.append(f"at the ceiling, all solved by both: {listed(one.ceilings)}")
    return f"{GENERAL}{_NAMES[one.source]}{who}, not counted: {'; '.join(parts)}" if parts else ""


def texts_text(texts: Sequence[TextFinding]) -> str:
    """Return the perplexities in words, the base first."""
    return "; ".join(_text_of(one) for one in texts)


def _text_of(one: TextFinding) -> str:
    if one.has_other_tokens:
        size = f"{format_number(one.bits_per_byte)} bits per byte (other tokens than the base's)"
    else:
        size = f"perplexity {perplexity_text(one.perplexity)}"
    text = f"{one.variant} {size}"
    if one.change is not None:
        ends = [one.change_low, one.change_high]
        interval = ""
        if ends[0] is not None and ends[1] is not None:
            interval = f", 95% interval {_percent(ends[0])} to {_percent(ends[1])}"
        text += f" ({_percent(one.change)}{interval})"
    if one.divergence is not None:
        text += f", KL to the base {format_number(one.divergence)} nats"
    return text


def perplexity_text(value: float | None) -> str:
    """Return a perplexity, without decimals from 100."""
    return f"{value:,.0f}" if value is not None and value >= 100 else format_number(value)


def _percent(change: float) -> str:
    """Return a relative change, signed."""
    value = 100 * change
    return f"{value:+,.0f}%" if abs(value) >= 10 else f"{value:+.1f}%"

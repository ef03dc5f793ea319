"""The table and the page's part on general ability."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from plugin.capability.records import AbilityFinding, AbilityScore, OverallFinding
from plugin.capability.references import references
from plugin.capability.report import Capability, CleanItems, LostItem
from plugin.capability.stats import LARGE, MARGIN
from plugin.capability.words import (
    TEXT_NOTE,
    ability_name,
    clean_text,
    limit_text,
    outcome_text,
    overall_text,
    perplexity_text,
    points,
    points_range,
)

CAPABILITY_COLUMNS = (
    "label source ability variant score n failed outcome base_score gain ci_low ci_high level "
    "won lost changed perplexity perplexity_change kl_to_base".split()
)

CLEAN = " (clean items)"
"""Follows an ability's name where items that stand in the training data are left out."""

Cell = str | float | bool | None


def capability_rows(found: Capability) -> list[Sequence[Cell]]:
    """Return a row per ability and variant, then one per variant for all texts together.

    A loss beyond the second margin has an outcome of its own, "lost badly".
    """
    own = {(one.source, one.ability, one.variant): one for one in found.findings}
    rows: list[Sequence[Cell]] = [
        (f"{ability_name(one.ability)} / {one.variant}", one.source, one.ability, one.variant)
        + (one.mean, one.n, one.n_failed)
        + _compared(own.get((one.source, one.ability, one.variant)))
        + (None, None, None)
        for one in found.scores
    ]
    rows += _clean_rows(found)
    rows += [
        (f"general text / {one.variant}", "texts", "general text", one.variant)
        + (None, one.n, one.n_failed)
        + (None,) * 9
        + (one.perplexity, one.change, one.divergence)
        for one in found.texts
    ]
    return rows


def _clean_rows(found: Capability) -> Iterator[Sequence[Cell]]:
    """Yield a row per ability with marked items, and variant, on the clean items alone."""
    for clean in found.clean:
        own = {(one.ability, one.variant): one for one in clean.findings}
        for one in clean.scores:
            if one.ability in clean.n_marked_of:
                yield (
                    f"{ability_name(one.ability)}{CLEAN} / {one.variant}",
                    *(one.source, f"{one.ability}{CLEAN}", one.variant),
                    *(one.mean, one.n, one.n_failed),
                    *_compared(own.get((one.ability, one.variant))),
                    *(None, None, None),
                )


def _compared(one: AbilityFinding | None) -> tuple[Cell, ...]:
    """Return the cells from "outcome" to "changed"; empty ones for the base."""
    if one is None:
        return (None,) * 9
    outcome = "lost badly" if one.is_large else one.outcome
    ends = one.ci_low, one.ci_high, one.level
    return (outcome, one.base_mean, one.gain, *ends, one.n_won, one.n_lost, one.n_changed)


class AbilityLine(NamedTuple):
    """One ability on the page: the base's score, and each variant's score with its finding."""

    name: str
    source: str
    base: AbilityScore | None
    cells: list[tuple[str, AbilityScore | None, AbilityFinding | None]]


def ability_lines(found: Capability) -> list[AbilityLine]:
    """Return the page's rows, an ability each."""
    lines = list[AbilityLine]()
    clean = {one.source: one for one in found.clean}
    for source, ability in dict.fromkeys((one.source, one.ability) for one in found.scores):
        lines.append(_line(source, ability, found, found))
        own = clean.get(source)
        if own and ability in own.n_marked_of:
            lines.append(_line(source, ability, found, own, CLEAN))
    return lines


def _line(
    source: str, ability: str, found: Capability, shown: Capability | CleanItems, suffix: str = ""
) -> AbilityLine:
    """Return one ability's row, of all items or of the clean ones."""
    key = source, ability
    scores = {one.variant: one for one in shown.scores if (one.source, one.ability) == key}
    findings = {one.variant: one for one in shown.findings if (one.source, one.ability) == key}
    return AbilityLine(
        f"{ability_name(ability)}{suffix}",
        "" if source == "probe" else source,
        scores.get(found.base),
        [(name, scores.get(name), findings.get(name)) for name in found.rivals],
    )


def _tone(one: AbilityFinding) -> str:
    """Return the class that colours an outcome."""
    tones = {"lost": "worse", "slightly lower": "worse", "higher": "better"}
    return tones.get(one.outcome, "unsure")


def _summary(found: Capability, one: OverallFinding, which: str = "") -> str:
    who = f"{one.variant}, " if len(found.rivals) > 1 else ""
    source = "lm-evaluation-harness" if one.source == "lm-eval" else "shipped questions"
    source += which
    text = f"{who}{source}: {overall_text(one, found)}."
    return text[0].upper() + text[1:] if not who else text


def _examples_of(found: Capability) -> list[tuple[str, list[LostItem]]]:
    """Return the items to read, by ability and variant."""
    grouped: dict[str, list[LostItem]] = {}
    for one in found.examples:
        who = f", {one.variant}" if len(found.rivals) > 1 else ""
        grouped.setdefault(f"{ability_name(one.ability)}{who}", []).append(one)
    return list(grouped.items())


def _references_of(found: Capability) -> dict[str, Any] | None:
    """Return the shipped results of other models beside the base's; None where none fit."""
    shipped = references()
    base = {
        one.ability: one.mean
        for one in found.scores
        if one.source == "probe" and one.variant == found.base
    }
    if not (shipped and base):
        return None
    rows = [
        (ability_name(ability), mean, [one.shares.get(ability) for one in shipped])
        for ability, mean in base.items()
    ]
    return {"names": [one.name for one in shipped], "rows": rows}


def capability_section(found: Capability | None) -> dict[str, Any] | None:
    """Return what the page's part on general ability shows; None where there is none."""
    if found is None:
        return None
    return {
        "base": found.base,
        "rivals": found.rivals,
        "lines": ability_lines(found),
        "summaries": [_summary(found, one) for one in found.overall]
        + [
            _summary(found, one, ", clean items only")
            for clean in found.clean
            for one in clean.overall
        ],
        "clean": [f"{clean_text(one)}." for one in found.clean],
        "limits": [text for one in found.overall if (text := limit_text(one))],
        "texts": found.texts,
        "text_note": found.text_note,
        "what_perplexity_says": TEXT_NOTE,
        "examples": _examples_of(found),
        "is_guard": found.is_guard,
        "references": _references_of(found),
        "margin": points(MARGIN, signed=False),
        "large": points(LARGE, signed=False),
        "points": points,
        "perplexity": perplexity_text,
        "points_range": points_range,
        "outcome": outcome_text,
        "tone": _tone,
    }

"""Records of the capability stage: the items that it asks, and what it found out.

Results of items and readings of texts are rows of the journal, and defined beside its tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from plugin.item_rows import ItemResult, Source, TextReading
from plugin.records import Message

__all__ = [
    "AbilityFinding",
    "AbilityOutcome",
    "AbilityScore",
    "Item",
    "ItemResult",
    "OverallFinding",
    "OverallOutcome",
    "Source",
    "TextReading",
]


AbilityOutcome = Literal[
    "unchanged", "lost", "slightly lower", "no loss found", "higher", "unclear", "floor", "ceiling"
]
OverallOutcome = Literal["unchanged", "kept", "lower", "unclear", "floor", "ceiling"]


@dataclass(frozen=True, slots=True)
class Item:
    """One item of the shipped probe.

    Attributes:
        id: identifies the item for good: an item that changes gets another id.
        ability: what it tests.
        messages: the chat that is answered; the last turn is the user's.
        rule: the name of the rule that scores the answer.
        check: what the rule needs to know, such as the expected answers.
        is_quick: whether the quick set contains it.
    """

    id: str
    ability: str
    messages: tuple[Message, ...]
    rule: str
    check: Mapping[str, Any] = field(default_factory=dict)
    is_quick: bool = False


@dataclass(frozen=True, slots=True)
class AbilityScore:
    """How one variant does in one ability.

    Attributes:
        n: items with a score.
        n_failed: items without one.
        mean: mean score, 0 to 1; None without any score.
    """

    source: Source
    ability: str
    variant: str
    n: int
    n_failed: int
    mean: float | None


@dataclass(frozen=True, slots=True)
class AbilityFinding:
    """One variant against the base in one ability, item by item.

    Attributes:
        outcome: "unchanged" if all completions are the same; "floor" if both fail (nearly) all
            items and "ceiling" if both solve all, so that no loss could show; "lost" if the whole
            interval lies below the margin; "slightly lower" if it lies below zero; "higher" if it
            lies above zero; "unclear" if items without a score could overturn that.
        is_large: whether a loss is beyond the second margin, too.
        n: items with a score of both.
        n_failed: items on which one of the two has no score.
        gain: mean of variant minus base.
        ci_low: lower end of the gain's interval, adjusted for all abilities of the variant.
        ci_high: upper end of that interval.
        level: of that interval.
        n_won: items on which the variant is better.
        n_lost: items on which the variant is worse.
        n_changed: items on which the two answer differently.
    """

    source: Source
    ability: str
    variant: str
    outcome: AbilityOutcome
    is_large: bool
    n: int
    n_failed: int
    base_mean: float
    variant_mean: float
    gain: float
    ci_low: float
    ci_high: float
    level: float
    n_won: int
    n_lost: int
    n_changed: int


@dataclass(frozen=True, slots=True)
class OverallFinding:
    """One variant against the base on all items of a source, stratified by ability.

    Items of abilities at floor or ceiling do not count: they could show no loss.

    Attributes:
        outcome: "kept" if the interval excludes a loss beyond the margin; "lower" if a wider
            interval lies below the margin as a whole; "floor" or "ceiling" if no item counts.
        n: items that count.
        n_all: all items that both have a score for.
        n_failed: items on which one of the two has no score.
        gain: mean of variant minus base over the items that count; None if there are none.
        ci_low: lower end of the gain's interval.
        ci_high: upper end of that interval.
        n_for_kept: how many items like these would show with 80% power that nothing is lost, if
            that is so; None where nothing is open.
        floors: abilities at the floor.
        ceilings: abilities at the ceiling.
    """

    source: Source
    variant: str
    outcome: OverallOutcome
    n: int
    n_all: int
    n_failed: int
    gain: float | None
    ci_low: float | None
    ci_high: float | None
    n_for_kept: int | None
    floors: tuple[str, ...] = ()
    ceilings: tuple[str, ...] = ()

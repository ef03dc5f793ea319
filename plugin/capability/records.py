"""Records of the capability stage: the items that it asks, and one result per item and variant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from plugin.records import Message

Source = Literal["probe", "lm-eval"]
"""Where items come from: the shipped probe, or tasks of lm-evaluation-harness."""


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
class ItemResult:
    """What one variant did with one item.

    Attributes:
        source: where the item comes from.
        ability: the ability that the item tests, or the name of the task.
        item_id: identifies the item within its source.
        variant: who answered.
        score: 0 to 1, more is better; None when there is none.
        output: what the variant answered; for likelihood items, the option that it preferred.
        reason: why the score is what it is, or why there is none; may be empty.
    """

    source: Source
    ability: str
    item_id: str
    variant: str
    score: float | None
    output: str = ""
    reason: str = ""

"""Choose which items are asked, by what they take beside the run's own generation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from plugin.capability.probe import probe_items
from plugin.capability.records import Item
from plugin.capability.texts import likelihood_texts
from plugin.journal import Journal
from plugin.run_facts import CapabilityChoice

Size = Literal["auto", "quick", "full", "off"]

AUTO_SHARE = 0.2
"""`auto` asks the quick set if that takes less than this share of the run's own generation."""

_CHARS_PER_TOKEN = 4
_READ_COST = 0.1
"""What it takes to read a token, where writing one takes 1: many are read at once."""

_USED_SHARE = 0.5
"""Share of an item's longest answer that is written on average."""

_ROOM = {
    **{"number": 40, "text": 40, "label": 24, "choice": 24, "exact": 24, "items": 32},
    **{"refusal": 48, "no_refusal": 64, "language": 64},
    **{"json": 64, "form": 64, "list": 64, "table": 64},
}
"""Tokens for an answer by the item's rule, besides those of the expected answer itself."""

_CHARS_PER_TOKEN_AT_LEAST = 2
"""Of the expected answer: tokenizers split rare words and other scripts into short pieces."""


def longest_answer(item: Item) -> int:
    """Return how many tokens an answer may have; a longer one is cut off and scored as it is."""
    expected = max(map(len, _texts_in(list(item.check.values()))), default=0)
    return _ROOM.get(item.rule, 64) + math.ceil(expected / _CHARS_PER_TOKEN_AT_LEAST)


def _texts_in(values: Sequence[object]) -> list[str]:
    """Return the texts within values of any depth."""
    found = list[str]()
    for value in values:
        if isinstance(value, dict):
            found += [str(value)]
        elif isinstance(value, list | tuple):
            found += _texts_in(value)
        else:
            found.append(str(value))
    return found


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user asked for.

    Attributes:
        size: which set.
        is_guard: whether a lost ability counts as harm in the verdict.
    """

    size: Size = "auto"
    is_guard: bool = False

    def choose(self, journal: Journal, n_models: int) -> CapabilityChoice:
        """Return the set that is asked, given what the run has generated so far.

        Args:
            journal: the run's; it has the completions of the first variants.
            n_models: models that differ in their weights.
        """
        size = "quick" if self.size == "auto" and self.is_guard else self.size
        if size == "off" or (size == "auto" and n_models < 2):
            return CapabilityChoice("off", self.is_guard)
        if size in ("quick", "full"):
            return CapabilityChoice(size, self.is_guard, _plan_note(size, n_models))
        before = journal.state.capability
        return replace(before, is_guard=False) if before else _choose_by_cost(journal)


def _plan_note(size: Literal["quick", "full"], n_models: int) -> str:
    items, texts = probe_items(size), likelihood_texts(size)
    n_tokens = sum(map(longest_answer, items))
    return (
        f"general ability: {len(items):,} items and {len(texts)} texts for each of {n_models} "
        f"models, at most {n_tokens:,} tokens to write for each"
    )


def _choose_by_cost(journal: Journal) -> CapabilityChoice:
    """Return the quick set if it is cheap beside what the run generates, else none, saying so."""
    share = probe_cost(probe_items("quick")) / max(own_cost(journal), 1.0)
    n_quick, n_full = len(probe_items("quick")), len(probe_items("full"))
    if share < AUTO_SHARE:
        note = f"general ability: {n_quick} items, about {share:.0%} of this run's own generation"
        return CapabilityChoice("quick", note=note)
    return CapabilityChoice(
        "off",
        note=f"general ability: not tested, as its {n_quick} items would take about "
        f"{_share_text(share)} this run's own generation; run the same command with "
        f"--capability quick (or full, {n_full:,} items) to add it",
    )


def _share_text(share: float) -> str:
    return f"{share:.0%} of" if share < 1.5 else f"{share:.0f} times"


def probe_cost(items: Sequence[Item]) -> float:
    """Return what the items take for one model, in tokens written."""
    n_read = sum(len(turn.content) for item in items for turn in item.messages) / _CHARS_PER_TOKEN
    return sum(map(longest_answer, items)) * _USED_SHARE + n_read * _READ_COST


def own_cost(journal: Journal) -> float:
    """Return what the run's own completions take for one model, in tokens written."""
    made = journal.completions()
    chars = {case.id: sum(len(turn.content) for turn in case.messages) for case in journal.cases()}
    total = 0.0
    for (case_id, _), one in made.items():
        n_written = len(one.text) / _CHARS_PER_TOKEN if one.n_tokens is None else one.n_tokens
        n_read = one.n_prompt_tokens or chars.get(case_id, 0) / _CHARS_PER_TOKEN
        total += n_written + n_read * _READ_COST
    return total / max(len({name for _, name in made}), 1)

"""Count what judges take, in calls, tokens and dollars, and end judging at the user's limits.

A call is in the journal before it is sent, so that a run that was killed, however often, has
forgotten none.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict, dataclass
from typing import NamedTuple

from plugin.errors import LimitReached
from plugin.journal import Journal
from plugin.judges import PROVIDERS

CHARS_PER_TOKEN = 4
ANSWER_TOKENS = 60
"""Tokens of an answer, on average; the cost of a call under way is estimated with them."""

PRICES_AS_OF = "2025-12"
"""Prices change; the user's own price (--judge_price) overrides this table."""

_LIST_PRICES = {
    "gpt-4o-mini": (0.15, 0.60),
    "gpt-4o": (2.50, 10.00),
    "gpt-4.1-nano": (0.10, 0.40),
    "gpt-4.1-mini": (0.40, 1.60),
    "gpt-4.1": (2.00, 8.00),
    "gpt-5-nano": (0.05, 0.40),
    "gpt-5-mini": (0.25, 2.00),
    "gpt-5": (1.25, 10.00),
    "o4-mini": (1.10, 4.40),
    "o3": (2.00, 8.00),
    "claude-3-haiku": (0.25, 1.25),
    "claude-3-5-haiku": (0.80, 4.00),
    "claude-haiku-4-5": (1.00, 5.00),
    "claude-sonnet-4": (3.00, 15.00),
    "claude-opus-4-5": (5.00, 25.00),
    "claude-opus-4": (15.00, 75.00),
}
"""Model -> US dollars per million tokens, prompt and completion, at the provider's standard rate. A
dated release of a model ("gpt-4o-2024-08-06") has the same price."""

_MILLION = 1_000_000


class Price(NamedTuple):
    """US dollars per million tokens."""

    prompt: float
    completion: float

    def cost(self, n_prompt_tokens: float, n_completion_tokens: float) -> float:
        """Return the cost of these tokens, in dollars."""
        cost = self.prompt * n_prompt_tokens + self.completion * n_completion_tokens
        return cost / _MILLION


def list_prices() -> list[tuple[str, Price]]:
    """Return the models with a known price, and their prices."""
    return [(model, Price(*price)) for model, price in _LIST_PRICES.items()]


def price_of(label: str, own_price: tuple[float, ...] = ()) -> Price | None:
    """Return a judge's price.

    Args:
        label: the judge's spec.
        own_price: the user's own price, prompt and completion; () to use the table.

    Returns:
        The price; zero for a judge that costs nothing, None when the price is unknown.
    """
    provider, _, model = label.partition(":")
    kind = PROVIDERS.get(provider.split(" ")[0])
    if kind and kind.is_free:
        return Price(0.0, 0.0)
    if own_price:
        return Price(*own_price)
    if provider not in ("openai", "anthropic"):
        return None
    known = [name for name in _LIST_PRICES if model == name or model.startswith(f"{name}-")]
    return Price(*_LIST_PRICES[max(known, key=len)]) if known else None


@dataclass(frozen=True, slots=True)
class SpendLimits:
    """Limits on judging; 0 means no limit.

    Attributes:
        max_calls: calls to the judges, over all sessions of the run.
        budget: dollars, over all sessions of the run.
        deadline_s: seconds, in this session.
        used_s: how many of these seconds are over when the meter begins.
    """

    max_calls: int = 0
    budget: float = 0.0
    deadline_s: float = 0.0
    used_s: float = 0.0


class SpendMeter:
    """Counts what all judges take together, over all sessions, and stops at a limit.

    Attributes:
        counts: the fields of `plugin.run_facts.JudgeCalls` without the cost.
        cost: dollars, only of judges with a known price; calls without an answer are estimated.
    """

    def __init__(self, limits: SpendLimits, journal: Journal) -> None:
        """Go on from what the journal has counted."""
        before = asdict(journal.state.judge_calls)
        self.cost: float = before.pop("cost")
        self.counts = Counter[str](before)
        self._journal = journal
        self._limits = limits
        self._began_s = time.monotonic() - limits.used_s

    @property
    def total(self) -> dict[str, float]:
        """Return the fields of `plugin.run_facts.JudgeCalls`."""
        return {**self.counts, "cost": self.cost}

    def save(self) -> None:
        """Write what was counted into the journal."""
        self._journal.save_calls(self.total)

    def begin_call(self, estimated_cost: float = 0.0) -> None:
        """Count a call before it is made; `save` writes it, which also comes first.

        Raises:
            LimitReached: when a limit does not allow it.
        """
        limits, counts = self._limits, self.counts
        if limits.max_calls and counts["n_calls"] >= limits.max_calls:
            raise LimitReached(f"--max_calls {limits.max_calls} is reached")
        if limits.budget and self.cost >= limits.budget:
            also = ", calls without an answer as estimated" if counts["n_lost"] else ""
            spent = f"{self.cost:.4f} dollars{also}"
            raise LimitReached(f"--budget {limits.budget:g} is spent ({spent})")
        if limits.deadline_s and time.monotonic() - self._began_s > limits.deadline_s:
            raise LimitReached(f"--deadline_s {limits.deadline_s:g} is over")
        counts["n_calls"] += 1
        counts["n_lost"] += 1
        self.cost += estimated_cost

    def take_back(self, estimated_cost: float) -> None:
        """Forget a call that was counted and then not made."""
        self.counts["n_calls"] -= 1
        self.counts["n_lost"] -= 1
        self.cost = round(self.cost - estimated_cost, 12)

    def end_call(self, more_cost: float, n_read: int = 0, n_written: int = 0) -> None:
        """Count a call's end and its tokens, and correct its cost; `save` writes it."""
        self.counts["n_lost"] -= 1
        self.counts["n_prompt_tokens"] += n_read
        self.counts["n_completion_tokens"] += n_written
        # Sums of differences leave rests such as 1e-19, which would be shown as a cost.
        self.cost = round(self.cost + more_cost, 12)

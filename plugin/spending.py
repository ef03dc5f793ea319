"""What judging costs: prices, what was spent, and where it has to end.

Prices are US dollars per million tokens, prompt and completion, at the providers' standard rate as
published by the end of 2025. They change: the user's own (`--judge_price`) go before the table.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import NamedTuple

PRICES_AS_OF = "2025-12"

_PRICES = {
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
"""Model -> price; a dated release of a model ("gpt-4o-2024-08-06") has its price."""

_ON_ONES_OWN = ("offline", "ollama", "local", "mlx", "transformers")
_MILLION = 1_000_000


class Price(NamedTuple):
    """US dollars per million tokens."""

    prompt: float
    completion: float

    def of(self, n_prompt_tokens: float, n_completion_tokens: float) -> float:
        """What so many tokens cost, in dollars."""
        cost = self.prompt * n_prompt_tokens + self.completion * n_completion_tokens
        return cost / _MILLION


def price_of(label: str, given: tuple[float, ...] = ()) -> Price | None:
    """A judge's price.

    Args:
        label: the judge's spec.
        given: the user's own price, prompt and completion; () for the table's.

    Returns:
        None where it is not known; nothing for a judge that runs on one's own machine.
    """
    provider, _, model = label.partition(":")
    if provider.split(" ")[0] in _ON_ONES_OWN:
        return Price(0.0, 0.0)
    if given:
        return Price(*given)
    if provider not in ("openai", "anthropic"):
        return None
    known = [name for name in _PRICES if model == name or model.startswith(f"{name}-")]
    return Price(*_PRICES[max(known, key=len)]) if known else None


class LimitReached(Exception):
    """Judging ends here, as the user wished; what was done counts."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much judging may take, over all sessions of the run; 0 is without limit.

    Attributes:
        max_calls: calls to the judges.
        budget: dollars.
        deadline_s: seconds of this session.
    """

    max_calls: int = 0
    budget: float = 0.0
    deadline_s: float = 0.0


class Meter:
    """Counts calls and dollars of all judges together, and says when a limit is reached.

    Attributes:
        n_calls: so far, with earlier sessions.
        cost: dollars so far, with earlier sessions; of judges whose price is known.
    """

    def __init__(self, limits: Limits, n_calls: int = 0, cost: float = 0.0) -> None:
        """Begin with what earlier sessions took."""
        self.n_calls = n_calls
        self.cost = cost
        self._limits = limits
        self._began_s = time.monotonic()

    def count_call(self) -> None:
        """One more call is about to be made.

        Raises:
            LimitReached: when it may not.
        """
        limits = self._limits
        if limits.max_calls and self.n_calls >= limits.max_calls:
            raise LimitReached(f"--max_calls {limits.max_calls} is reached")
        if limits.budget and self.cost >= limits.budget:
            raise LimitReached(f"--budget {limits.budget:g} is spent ({self.cost:.4f} dollars)")
        if limits.deadline_s and time.monotonic() - self._began_s > limits.deadline_s:
            raise LimitReached(f"--deadline_s {limits.deadline_s:g} is over")
        self.n_calls += 1

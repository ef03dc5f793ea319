"""Say how large an effect is beside that of a random change of the same size, and if it is unusual.

Three rules call an effect unusual. They are about its size alone: a certified adapter is applied,
whatever its effect.

- *far*: more than 3 nats. The divergence is the mean log of how much less likely the adapter finds
  what the base would say: at 3 nats a twentieth (e^-3), as a geometric mean over all tokens. A
  task changes some tokens that much, but not the average one.
- *faint*: less than 0.001 nats. By Pinsker's inequality at most sqrt(0.001 / 2) = 2.2% of the
  probability moves, so fewer than one sampled token in 40 can change.
- *undirected*: no more than a random change of the same size has. Training chooses directions that
  matter, so its effect is several times as large, unless it hardly ran or its numbers are damaged.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from plugin.compare.numbers import format_rough

_ABOVE_NOISE = 3.0
"""An effect counts when it is this many times the noise (the base's difference from itself). With a
factor of 1, pure noise would pass half of the time."""

FAR_NATS, FAINT_NATS, LEAST_RATIO = 3.0, 0.001, 1.0
"""The bounds of a usual effect; see above."""

_ABOUT_ONE = 0.75, 1.5
"""Ratios between these are called about the same."""


class Distance(NamedTuple):
    """Hold how far apart two models' answers to the probes are.

    Attributes:
        kl: mean Kullback-Leibler divergence of the next-token distributions, in nats.
        largest: the largest absolute difference between two logits.
    """

    kl: float
    largest: float

    def exceeds(self, noise: Distance) -> bool:
        """Return whether this distance is clearly larger than the noise."""
        return self.kl > _ABOVE_NOISE * noise.kl and self.largest > _ABOVE_NOISE * noise.largest


class RandomEffect(NamedTuple):
    """Hold what a random adapter of the same shapes and norms does.

    Attributes:
        effect: distance between its answers and the base's; None where it was not measured.
        reason: why there is no such adapter to compare with, in words; "" where there is one, or
            where nothing is to be said.
    """

    effect: Distance | None = None
    reason: str = ""

    def ratio(self, effect: Distance | None, noise: Distance | None) -> float | None:
        """Return how many times the random adapter's effect this effect is.

        None where either is missing, or the random adapter's cannot be told from the noise.
        """
        if effect is None or noise is None or self.effect is None:
            return None
        return effect.kl / self.effect.kl if self.effect.exceeds(noise) else None

    def words(self, effect: Distance | None, noise: Distance | None) -> str:
        """Return the comparison in words; "" where there is nothing to say."""
        if self.reason:
            return f"no random change to compare with: {self.reason}"
        ratio = self.ratio(effect, noise)
        if ratio is not None and self.effect is not None:
            return f"{format_times(ratio)} ({format_rough(self.effect.kl)} nats)"
        if self.effect is not None and effect is not None:
            return "a random change of the same size has no effect above the noise"
        return ""


def format_times(ratio: float) -> str:
    """Return in words how many times a random change's effect this is, with one digit.

    Another draw of the random numbers moves the ratio by about a fifth.
    """
    low, high = _ABOUT_ONE
    many = "about" if low < ratio < high else f"{float(f'{ratio:.1g}'):,.10g} times"
    return f"{many} the effect of a random change of the same size"


def unusual_effect(effect: Distance, noise: Distance, random: RandomEffect) -> tuple[str, ...]:
    """Return what is unusual about the size of an effect, a clause for each reason."""
    found, size = [], format_rough(effect.kl)
    if effect.kl > FAR_NATS:
        left = format_rough(100 * math.exp(-effect.kl), 1)
        found.append(
            f"{size} nats is far, beyond {FAR_NATS:g}: what the base would say is left with "
            f"{left}% of its probability. Look for an alpha or a learning rate that is too high, "
            "or for long training on few rows; `certify --scales` shows whether less is better"
        )
    if effect.kl < FAINT_NATS:
        most = 100 * math.sqrt(effect.kl / 2)
        found.append(
            f"{size} nats is faint, below {FAINT_NATS:g}: at most {format_rough(most, 1)}% of the "
            "probability moves. Look for training that hardly ran, or for an alpha that is too low"
        )
    ratio = random.ratio(effect, noise)
    if ratio is not None and ratio <= LEAST_RATIO:
        found.append(
            "it is no larger than that of a random change of the same size, while training chooses "
            "directions that matter. Look for training that hardly ran, or for damaged numbers"
        )
    return tuple(found)

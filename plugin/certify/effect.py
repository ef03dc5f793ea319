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
from collections.abc import Sequence
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
        effect: distance between its answers and the base's, the mean over all draws; None where it
            was not measured.
        reason: why there is no such adapter to compare with, in words; "" where there is one, or
            where nothing is to be said.
        draws: of each draw of the random numbers, the divergence in nats.
    """

    effect: Distance | None = None
    reason: str = ""
    draws: tuple[float, ...] = ()

    @classmethod
    def of(cls, found: Sequence[Distance]) -> RandomEffect:
        """Return the mean effect of several draws."""
        mean = math.fsum(one.kl for one in found) / len(found)
        largest = max(one.largest for one in found)
        return cls(Distance(mean, largest), "", tuple(one.kl for one in found))

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
            return f"{format_times(ratio)} ({format_rough(self.effect.kl)} nats{self._range})"
        if self.effect is not None and effect is not None:
            return "a random change of the same size has no effect above the noise"
        return ""

    @property
    def _range(self) -> str:
        if len(self.draws) < 2:
            return ""
        low, high = format_rough(min(self.draws)), format_rough(max(self.draws))
        return f", mean of {len(self.draws)} draws from {low} to {high}"


_NEAR_BOUND = 1.3
"""Probes whose effects, times or over this factor, reach a bound leave its side in doubt."""

_NEAR_RATIO = 2.0
"""The same for the ratio to a random change, which hangs more on the probes."""


def is_in_doubt(
    effects: Sequence[float], effect: Distance, noise: Distance, random: RandomEffect
) -> bool:
    """Return whether more probes may change what is said of an effect.

    Args:
        effects: the divergence of each probe.
        effect: that of all these probes.
        noise: the base's distance from itself.
        random: what random changes of the same size do.
    """
    clear = Distance(_ABOVE_NOISE * noise.kl, _ABOVE_NOISE * noise.largest)
    if not effect.exceeds(clear):
        return True
    low, high = min(effects) / _NEAR_BOUND, max(effects) * _NEAR_BOUND
    if any(low <= bound <= high for bound in (FAR_NATS, FAINT_NATS)):
        return True
    if random.effect is None or not random.effect.exceeds(noise):
        return False
    ratios = [effect.kl / draw for draw in random.draws if draw > 0]
    return any(1 / _NEAR_RATIO <= ratio / LEAST_RATIO <= _NEAR_RATIO for ratio in ratios)


def format_times(ratio: float) -> str:
    """Return in words how many times a random change's effect this is, with one digit.

    One draw of the random numbers moves the ratio by about a quarter, the mean of three by less.
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

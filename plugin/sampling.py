"""Say how completions are drawn, and make the noise that draws them.

A token is drawn by adding noise to its logits: the largest of logits / temperature + Gumbel noise
is a draw from the softmax at that temperature. The noise of a token depends only on the seed of
the draw, the step and the token. So neither batches nor the device matter, and all variants get
the same noise for the same sample of the same case, which makes their differences less noisy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from plugin.cache import content_key
from plugin.records import Case, Draw

MAX_SAMPLES = 100
"""Largest number of samples of a case: judging takes so many times the calls."""

MAX_TEMPERATURE = 2.0
"""The largest temperature that inference servers take."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How many completions a case gets, and how they are drawn.

    Attributes:
        n: completions of each case and variant.
        temperature: 0 takes the most likely token, always the same.
        seed: the run's.
    """

    n: int = 1
    temperature: float = 0.0
    seed: int = 0

    def draw(self, case: Case, sample: int) -> Draw | None:
        """Return how this sample of the case is drawn, for all variants; None where nothing is."""
        if not self.temperature:
            return None
        turns = [[turn.role, turn.content] for turn in case.messages]
        digest = content_key("draw", self.seed, turns, sample)
        return Draw(int(digest[:15], 16), self.temperature)


ONE_SAMPLE = Sampling()
"""One completion of each case, the most likely one."""


def temperature_fact(temperature: float) -> float | int:
    """Return the temperature for a key; 0 is a whole number, as in keys of greedy completions."""
    return temperature or 0


_MASK = 0xFFFFFFFF
_STEP = 0x9E3779B9


def words_of(seed: int) -> tuple[int, int]:
    """Return a seed as two words of 32 bits."""
    return seed & _MASK, seed >> 32 & _MASK


def noise_bits(words: tuple[Any, Any], step: Any, tokens: Any) -> Any:
    """Return 32 random bits for each token, as integers of 64 bits.

    The arguments are integers or integer arrays (64 bits) of numpy, mlx or torch that fit each
    other's shapes. The bits come from a hash of them, so the same arguments give the same bits
    everywhere.

    Args:
        words: the seed, see `words_of`.
        step: the place of the token in its completion, from 0.
        tokens: ids of tokens.
    """
    low, high = words
    key = _mix((low + step * _STEP) & _MASK)
    other = _mix((high + key) & _MASK)
    return _mix((_mix(tokens ^ key) + other) & _MASK)


def _mix(x: Any) -> Any:
    """Return a one-to-one scrambling of 32 bits (the hash "lowbias32" of C. Wellons)."""
    x = x ^ (x >> 16)
    x = (x * 0x7FEB352D) & _MASK
    x = x ^ (x >> 15)
    x = (x * 0x846CA68B) & _MASK
    return x ^ (x >> 16)


def gumbel(bits: Any, library: Any, float32: Any) -> Any:
    """Return Gumbel noise in float32 from 32 random bits.

    Args:
        bits: see `noise_bits`.
        library: numpy, mlx.core or torch, which has `log` and `log1p`.
        float32: turns an array into float32.
    """
    share = (float32(bits) + 0.5) * 2.0**-32
    # A share close to 0 makes the largest noise, and floats are finest there.
    return -library.log(-library.log1p(-share))

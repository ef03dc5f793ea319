"""Measure how far a model's next tokens are from the base's, where the base may be gone already.

Of the base only its likeliest tokens at each position are kept, and all others together as one. The
divergence over these classes is a little below that over all tokens, and never above it.
"""

from __future__ import annotations

import base64
import math
import struct
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

N_LIKELIEST = 64
"""Tokens of the base that are told apart at each position."""

_LEAST = -100.0
"""Log probability that stands for a lower one: some models rule tokens out."""

_TINY = 1e-12


class NextTokens(NamedTuple):
    """The base's likeliest next tokens at some positions.

    Attributes:
        ids: their ids, shape (n_positions, n_tokens), int32.
        logs: their log probabilities in the same shape, float32.
    """

    ids: NDArray[np.int32]
    logs: NDArray[np.float32]

    @classmethod
    def of(cls, logits: NDArray[np.floating[Any]]) -> NextTokens:
        """Return the likeliest tokens of logits of shape (n_positions, n_vocabulary)."""
        logs = log_shares(logits)
        n = min(N_LIKELIEST, logs.shape[1])
        ids = np.argsort(-logs, axis=1, kind="stable")[:, :n]
        return cls(ids.astype(np.int32), np.take_along_axis(logs, ids, axis=1).astype(np.float32))

    def dump(self) -> str:
        """Return it as text."""
        head = struct.pack("<II", *self.ids.shape)
        body = head + self.ids.astype("<i4").tobytes() + self.logs.astype("<f4").tobytes()
        return base64.b64encode(body).decode("ascii")

    @classmethod
    def load(cls, text: str) -> NextTokens:
        """Return what `dump` made a text of.

        Raises:
            ValueError: when it is no such text.
        """
        body = base64.b64decode(text, validate=True)
        try:
            shape = struct.unpack("<II", body[:8])
        except struct.error as error:
            raise ValueError("it is too short") from error
        n_bytes = 4 * shape[0] * shape[1]
        if len(body) != 8 + 2 * n_bytes:
            raise ValueError("it has another length than it says")
        ids = np.frombuffer(body[8 : 8 + n_bytes], "<i4").reshape(shape).astype(np.int32)
        logs = np.frombuffer(body[8 + n_bytes :], "<f4").reshape(shape).astype(np.float32)
        return cls(ids, logs)


def log_shares(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the log probabilities of logits, position by position."""
    wide = logits.astype(np.float64)
    wide = wide - wide.max(axis=1, keepdims=True)
    found: NDArray[np.float64] = wide - np.log(np.exp(wide).sum(axis=1, keepdims=True))
    return np.maximum(found, _LEAST)


def divergence(base: NextTokens, logits: NDArray[np.floating[Any]]) -> float | None:
    """Return the mean Kullback-Leibler divergence from base to variant over positions, in nats.

    Args:
        base: the base's tokens at these positions.
        logits: the variant's, of shape (n_positions, n_vocabulary).

    Returns:
        The divergence; None where the two cannot be compared: the variant has fewer tokens or
        another number of positions, or answers with something that is not a number.
    """
    if len(base.ids) != len(logits) or base.ids.max(initial=0) >= logits.shape[1]:
        return None
    own = np.take_along_axis(log_shares(logits), base.ids.astype(np.int64), axis=1)
    shares = np.exp(base.logs.astype(np.float64))
    rest = np.maximum(1.0 - shares.sum(axis=1), _TINY)
    own_rest = np.maximum(1.0 - np.exp(own).sum(axis=1), _TINY)
    total = (shares * (base.logs - own)).sum(axis=1) + rest * np.log(rest / own_rest)
    mean = float(total.mean())
    return max(mean, 0.0) if math.isfinite(mean) else None

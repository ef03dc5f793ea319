"""The proof that the base came back after an adapter was taken off."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

from plugin.errors import BaseDisturbedError

_PROBE_TOKENS = 16


def probe_ids(vocabulary: int) -> list[int]:
    """A fixed prompt of tokens from all over the vocabulary."""
    return [number * 31 % vocabulary for number in range(1, _PROBE_TOKENS + 1)]


def fingerprint(
    probe: Callable[[], bytes], tensors: Callable[[], Iterable[tuple[str, bytes]]]
) -> str:
    """Digest of the base's answer to a probe, or of all its tensors where bits do not repeat.

    Args:
        probe: the logits for a fixed prompt, bit for bit.
        tensors: name and bytes of every tensor of the base.
    """
    first, again = probe(), probe()
    if first == again:
        return hashlib.sha256(first).hexdigest()
    digest = hashlib.sha256()
    for name, content in tensors():
        digest.update(name.encode())
        digest.update(content)
    return digest.hexdigest()


def require_same(before: str, now: str, adapter: str) -> None:
    """Stop where the base is another than before.

    Raises:
        BaseDisturbedError: when the fingerprints differ.
    """
    if now != before:
        raise BaseDisturbedError(
            f"base disturbed: after adapter {adapter} was taken off, the base model no longer "
            "answers as before, so later completions would not be the base's. Compare this "
            "adapter in a run of its own"
        )

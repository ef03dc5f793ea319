"""What the effect certificate says: the proof that an adapter was applied and the base left alone.

An adapter that silently does nothing is the costliest mistake of a comparison: every figure is then
right, and about the wrong model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

NOT_APPLICABLE = "not applicable"

_ABOVE_NOISE = 3.0
"""How many times the base's difference from itself the adapter's must be. Noise of one size on both
sides would exceed itself in half of all cases."""

_CHANCE = 0.05
"""The largest probability at which a base that varies by itself does not explain the changes."""


class Distance(NamedTuple):
    """How far two models' answers to the probes lie apart.

    Attributes:
        kl: mean Kullback-Leibler divergence of the next token's distributions, in nats.
        largest: the largest difference of a logit.
    """

    kl: float
    largest: float

    def exceeds(self, noise: Distance) -> bool:
        """Whether this is more than a model's difference from itself explains."""
        return self.kl > _ABOVE_NOISE * noise.kl and self.largest > _ABOVE_NOISE * noise.largest


@dataclass(frozen=True, slots=True)
class Certificate:
    """What is proved of one variant's adapter. None stands where an engine cannot look.

    Attributes:
        variant: its name.
        adapter_digest: of the files that were read, as the journal has it.
        n_tensors: in the adapter's file.
        unused: those of them that found no place.
        weight_norm: Frobenius norm over all modules of what the adapter adds to the weights.
        n_probes: prompts that were looked at.
        effect: the adapter's answers against the base's.
        noise: the base's answers against its own, computed in another batch.
        base_proof: how the base was found undisturbed after the adapter, "" when it was not.
        n_completions: completions compared with the base's.
        n_changed: those that differ.
        n_self_changed: of `n_probes`, those that the base itself answers differently when asked
            again.
        notes: what the reader should know besides, a sentence each.
        reason: why no certificate applies; "" where one does.
    """

    variant: str
    adapter_digest: str | None = None
    n_tensors: int | None = None
    unused: tuple[str, ...] = ()
    weight_norm: float | None = None
    n_probes: int = 0
    effect: Distance | None = None
    noise: Distance | None = None
    base_proof: str | None = None
    n_completions: int = 0
    n_changed: int = 0
    n_self_changed: int = 0
    notes: tuple[str, ...] = ()
    reason: str = ""

    @property
    def kind(self) -> Literal["certified", "no effect", "partial", "base disturbed", "none"]:
        """The result as one word."""
        if self.reason:
            return "none"
        if self.base_proof == "":
            return "base disturbed"
        if self.unused:
            return "partial"
        return "no effect" if self._lacks_effect else "certified"

    @property
    def result(self) -> str:
        """The result as shown, e.g. "partial: 12 of 224 tensors unused"."""
        if self.kind == "partial":
            return f"partial: {len(self.unused)} of {self.n_tensors} tensors unused"
        return NOT_APPLICABLE if self.kind == "none" else self.kind

    @property
    def holds(self) -> bool:
        """Whether the verdict may stand without a word about it."""
        return self.kind in ("certified", "none")

    @property
    def _lacks_effect(self) -> bool:
        if self.weight_norm == 0:
            return True
        if self.effect and self.noise and not self.effect.exceeds(self.noise):
            return True
        if not self.n_completions:
            return False
        if not self.n_self_changed:
            return not self.n_changed
        return self._chance > _CHANCE

    @property
    def _chance(self) -> float:
        """Fisher's exact test: so many changes or more here, if all were the base's own kind."""
        n, m, total = self.n_completions, self.n_probes, self.n_changed + self.n_self_changed
        ways = sum(
            math.comb(n, k) * math.comb(m, total - k)
            for k in range(self.n_changed, min(n, total) + 1)
        )
        return ways / math.comb(n + m, total)

    def with_completions(self, n_completions: int, n_changed: int) -> Certificate:
        """The same, with the completions of the run instead of the probes'."""
        if not n_completions:
            return self
        return replace(self, n_completions=n_completions, n_changed=n_changed)


def not_applicable(variant: str, reason: str) -> Certificate:
    """Where there is no adapter that could be proved."""
    return Certificate(variant, reason=reason)


def certificate(fields: dict[str, Any]) -> Certificate:
    """From what `dataclasses.asdict` made of one, and JSON of that."""
    distances = {
        name: Distance(*fields[name]) if fields[name] else None for name in ("effect", "noise")
    }
    texts = {name: tuple(fields[name]) for name in ("unused", "notes")}
    return Certificate(**{**fields, **distances, **texts})

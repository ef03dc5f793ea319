"""Certificates: the proof that an adapter was applied and the base left alone, and its words.

An adapter that silently does nothing is the costliest mistake of a comparison: every figure is then
right, and about the wrong model. `plugin.certify.measure` makes a `Certificate`; at the end of a
run the certificates are compared with its completions and put into the verdict.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from pydantic import TypeAdapter

from plugin.compare.numbers import format_rough
from plugin.errors import list_first
from plugin.journal import Journal
from plugin.records import PROMPTED, VANILLA, Case, Completion, Variant
from plugin.results import Verdict

NOT_APPLICABLE = "not applicable"

_ABOVE_NOISE = 3.0
"""How many times the base's difference from itself the adapter's must be. Noise of one size on both
sides would exceed itself in half of all cases."""

_MAX_CHANCE = 0.05
"""The largest probability at which a base that varies by itself does not explain the changes."""

_N_SHOWN = 4
_MEANING = {
    "no effect": "it does not change what the base answers, so there is nothing to compare",
    "partial": "what follows is about the part of it that could be applied",
    "base disturbed": "the base was no longer itself afterwards, so nothing that follows counts",
}


class Distance(NamedTuple):
    """How far two models' answers to the probes lie apart.

    Attributes:
        kl: mean Kullback-Leibler divergence of the next token's distributions, in nats.
        largest: the largest difference of a logit.
    """

    kl: float
    largest: float

    def exceeds(self, noise: Distance) -> bool:
        """Return whether this is more than a model's difference from itself explains."""
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
        """Return the result as one word."""
        if self.reason:
            return "none"
        if self.base_proof == "":
            return "base disturbed"
        if self.unused:
            return "partial"
        return "no effect" if self._lacks_effect else "certified"

    @property
    def result(self) -> str:
        """Return the result as shown, e.g. "partial: 12 of 224 tensors unused"."""
        if self.kind == "partial":
            return f"partial: {len(self.unused)} of {self.n_tensors} tensors unused"
        return NOT_APPLICABLE if self.kind == "none" else self.kind

    @property
    def holds(self) -> bool:
        """Return whether the verdict may stand without a word about it."""
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
        return self._chance > _MAX_CHANCE

    @property
    def _chance(self) -> float:
        """Return Fisher's chance of so many changes or more, if all were the base's own kind."""
        n, m, total = self.n_completions, self.n_probes, self.n_changed + self.n_self_changed
        ways = sum(
            math.comb(n, k) * math.comb(m, total - k)
            for k in range(self.n_changed, min(n, total) + 1)
        )
        return ways / math.comb(n + m, total)

    def with_completions(self, n_completions: int, n_changed: int) -> Certificate:
        """Return the same, with the completions of the run instead of the probes'."""
        if not n_completions:
            return self
        return replace(self, n_completions=n_completions, n_changed=n_changed)


def not_applicable(variant: str, reason: str) -> Certificate:
    """Return what stands where there is no adapter that could be proved."""
    return Certificate(variant, reason=reason)


_CERTIFICATE = TypeAdapter(Certificate)


def certificate_from_fields(fields: Mapping[str, object]) -> Certificate:
    """Return the certificate of which `dataclasses.asdict` made these fields."""
    return _CERTIFICATE.validate_python(fields)


def certificates_of_run(
    journal: Journal,
    variants: Sequence[Variant],
    cases: Sequence[Case],
    completions: Mapping[tuple[str, str], Completion],
) -> tuple[Certificate, ...]:
    """Return the certificate of every variant that has one, in the order of the variants."""
    kept = journal.state.certificates
    return tuple(
        certificate_from_fields(kept[variant.name]).with_completions(
            *_count_changed(_base_of(variant, variants, kept), variant.name, cases, completions)
        )
        for variant in variants
        if variant.name in kept
    )


def _base_of(
    variant: Variant, variants: Sequence[Variant], kept: Mapping[str, Mapping[str, object]]
) -> str:
    """Return the variant to compare completions with: for an adapter its own base."""
    is_adapter = not kept[variant.name]["reason"]
    return VANILLA if is_adapter or variant is variants[0] else variants[0].name


def _count_changed(
    base_name: str,
    name: str,
    cases: Sequence[Case],
    completions: Mapping[tuple[str, str], Completion],
) -> tuple[int, int]:
    """Count the cases that base and variant both completed, and those with another text."""
    pairs = [(completions.get((c.id, base_name)), completions.get((c.id, name))) for c in cases]
    both = [(base, own) for base, own in pairs if base and own]
    return len(both), sum(base.text != own.text for base, own in both)


def lead_with_certificates(verdict: Verdict, certificates: Sequence[Certificate]) -> Verdict:
    """Return the verdict with what is not certified in front, and the proofs at the end."""
    first = " ".join(
        f"The adapter {found.variant} is not certified ({found.result}): {_MEANING[found.kind]}."
        for found in certificates
        if not found.holds
    )
    return replace(
        verdict,
        sentence=f"{first} {verdict.sentence}".strip(),
        details=(
            *verdict.details,
            *(certificate_line(found) for found in certificates if found.kind != "none"),
        ),
    )


def certificate_line(certificate: Certificate) -> str:
    """Return what is proved of one adapter, in one line."""
    facts, effect, noise = [], certificate.effect, certificate.noise
    n_tensors, n_probes = certificate.n_tensors, certificate.n_probes
    if n_tensors is not None:
        n_used = n_tensors - len(certificate.unused)
        used = "all" if n_used == n_tensors else f"{n_used} of"
        facts.append(f"{used} {n_tensors} tensors in place")
    if effect and noise:
        facts.append(
            f"on {n_probes} probes {format_rough(effect.kl)} nats from the base "
            f"({format_rough(noise.kl, 1)} between two batches of the base)"
        )
    if certificate.n_completions:
        facts.append(f"{certificate.n_changed} of {certificate.n_completions} completions changed")
    if n_self_changed := certificate.n_self_changed:
        facts.append(
            f"the base answered {n_self_changed} of {n_probes} probes otherwise when asked again"
        )
    proof = certificate.base_proof
    if proof is not None:
        facts.append(f"base undisturbed ({proof})" if proof else "base changed")
    return f"Adapter {certificate.variant}: {certificate.result}; {', '.join(facts)}."


def certificate_block(certificate: Certificate) -> str:
    """Return a certificate as printed, a fact a line."""
    rows: list[tuple[str, str]] = []
    effect, noise = certificate.effect, certificate.noise
    n_tensors, n_probes = certificate.n_tensors, certificate.n_probes
    if certificate.adapter_digest:
        rows.append(("files", f"sha256 {certificate.adapter_digest}"))
    if n_tensors is not None:
        n_used = n_tensors - len(certificate.unused)
        rows.append(("tensors", f"{n_used} of {n_tensors} in place"))
        rows += [("", f"unused: {name}") for name in certificate.unused]
    if certificate.weight_norm is not None:
        norm = format_rough(certificate.weight_norm, 3)
        rows.append(("weights", f"Frobenius norm {norm} added"))
    if effect and noise:
        far = f"{format_rough(effect.kl)} nats from the base on {n_probes} probes"
        near = f"{format_rough(noise.kl, 1)} nats of the base from itself in another batch"
        rows += [
            ("effect", f"{far}, logits by up to {format_rough(effect.largest)}"),
            ("noise", f"{near}, logits by up to {format_rough(noise.largest, 1)}"),
        ]
    if n_completions := certificate.n_completions:
        rows.append(("completions", f"{certificate.n_changed} of {n_completions} changed"))
    if n_self_changed := certificate.n_self_changed:
        rows.append(("", f"{n_self_changed} of {n_probes} of the base's own, asked again"))
    proof = certificate.base_proof
    if proof is not None:
        rows.append(("base", f"undisturbed: {proof}" if proof else "DISTURBED"))
    rows += [("note", note) for note in certificate.notes]
    width = max((len(name) for name, _ in rows), default=0)
    lines = [f"  {name:<{width}}  {text}" for name, text in rows]
    return "\n".join([f"\n{certificate.variant}: {certificate.result}", *lines])


def certificate_warnings(certificates: Sequence[Certificate]) -> list[str]:
    """Return what the reader must know of the adapters, a sentence each."""
    found: list[str] = []
    for one in certificates:
        found += one.notes
        if one.kind == "partial":
            shown = list_first(one.unused, _N_SHOWN)
            found.append(
                f"{len(one.unused)} of {one.n_tensors} tensors of {one.variant} found no place in "
                f"the base model and are not applied ({shown}). Check that the adapter was "
                "trained on this model, and saved by a library that names modules alike"
            )
        elif one.kind == "no effect" and one.n_completions and not one.n_changed:
            found.append(
                f"the adapter changed no output: all {one.n_completions} completions of "
                f"{one.variant} equal vanilla's. Check that it was trained, saved whole, and for "
                "this base model"
            )
        elif one.variant == PROMPTED:
            continue  # whether a prompt does anything is said elsewhere
        elif one.kind == "none" and one.n_completions and not one.n_changed:
            found.append(
                f"all {one.n_completions} completions of {one.variant} equal the baseline's: there "
                "is nothing to compare. Check that it is the one that you mean"
            )
    return found

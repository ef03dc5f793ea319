"""Certificates: proof that an adapter was applied and that the base was left unchanged.

An adapter that silently does nothing is the most expensive mistake in a comparison: every number
is then correct, but it is about the wrong model. `plugin.certify.measure` makes a `Certificate`. At
the end of a run, this module adds the run's completions to it and puts it into the verdict.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from pydantic import TypeAdapter, ValidationError

from plugin.certify.effect import Distance, RandomEffect, unusual_effect
from plugin.compare.numbers import format_rough
from plugin.errors import list_first
from plugin.journal import Journal
from plugin.records import VANILLA, Case, Completion, Variant, is_prompted
from plugin.results import Verdict

Tell = Callable[[str], None]
"""A function that takes what is being done, in a few words, for the progress."""


def tell_nobody(step: str) -> None:
    """Be the `Tell` of those who show no progress."""


NOT_APPLICABLE = "not applicable"

_MAX_CHANCE = 0.05
"""A p-value up to this shows that the base's own variation does not explain the changes."""

_N_SHOWN = 4
_MEANING = {
    "no effect": "it does not change the base's answers, so there is nothing to compare",
    "partial": "only a part of it could be applied, and all results below are about that part",
    "base disturbed": "it left the base model changed, so none of the results below is valid",
}


class BatchEffect(NamedTuple):
    """Hold how many completions of the probes change with the number of rows in a step.

    Attributes:
        n_probes: completions that were made twice, by the base and by the adapter.
        n_changed: how many of them differ.
        n_rows: rows in a step the second time; the first time there was one.
    """

    n_probes: int
    n_changed: int
    n_rows: int

    @property
    def words(self) -> str:
        """Return the result in words."""
        return (
            f"{self.n_changed} of {self.n_probes} probe completions change between batches of 1 "
            f"and {self.n_rows}"
        )


@dataclass(frozen=True, slots=True)
class Certificate:
    """Hold what is proved about one variant's adapter; None means the engine cannot measure it.

    Attributes:
        variant: the variant's name.
        adapter_digest: digest of the adapter files that were read, as in the journal.
        n_tensors: number of tensors in the adapter's file.
        unused: names of the tensors that match nothing in the base model.
        weight_norm: Frobenius norm of what the adapter adds to the weights, over all modules.
        n_probes: number of probe prompts.
        effect: distance between the adapter's and the base's answers.
        noise: distance between the base's own answers, computed one by one and in a batch.
        random: what a random adapter of the same shapes and norms does.
        base_proof: how we know that the base is unchanged afterwards; "" when it is changed.
        n_completions: number of completions that have a base completion to compare with.
        n_changed: how many of those differ.
        n_self_changed: how many of the `n_probes` the base answers differently when asked again.
        path: how the engine applies the adapter, in words; "" where there is one way only.
        batch: how completions depend on the batch on this device; None where it was not measured.
        notes: what else the reader should know, one sentence each.
        reason: why there is no certificate; "" when there is one.
    """

    variant: str
    adapter_digest: str | None = None
    n_tensors: int | None = None
    unused: tuple[str, ...] = ()
    weight_norm: float | None = None
    n_probes: int = 0
    effect: Distance | None = None
    noise: Distance | None = None
    random: RandomEffect = RandomEffect()
    base_proof: str | None = None
    n_completions: int = 0
    n_changed: int = 0
    n_self_changed: int = 0
    path: str = ""
    batch: BatchEffect | None = None
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
        """Return whether the verdict needs no warning about this adapter."""
        return self.kind in ("certified", "none")

    @property
    def random_ratio(self) -> float | None:
        """Return how many times a random adapter's effect this one's is; None if unknown."""
        return self.random.ratio(self.effect, self.noise)

    @property
    def unusual(self) -> tuple[str, ...]:
        """Return what is unusual about the size of the effect, a clause for each reason."""
        if self.kind not in ("certified", "partial") or not (self.effect and self.noise):
            return ()
        return unusual_effect(self.effect, self.noise, self.random)

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
        """Return Fisher's exact p-value: how likely so many changes are from base noise alone."""
        n, m, total = self.n_completions, self.n_probes, self.n_changed + self.n_self_changed
        ways = sum(
            math.comb(n, k) * math.comb(m, total - k)
            for k in range(self.n_changed, min(n, total) + 1)
        )
        return ways / math.comb(n + m, total)

    def with_completions(self, n_completions: int, n_changed: int) -> Certificate:
        """Return a copy that counts the completions of the run instead of the probes."""
        if not n_completions:
            return self
        return replace(self, n_completions=n_completions, n_changed=n_changed)


def not_applicable(variant: str, reason: str) -> Certificate:
    """Return the placeholder for a variant without an adapter to certify."""
    return Certificate(variant, reason=reason)


_CERTIFICATE = TypeAdapter(Certificate)


def certificate_from_fields(fields: Mapping[str, object]) -> Certificate:
    """Rebuild a certificate from the dict that `dataclasses.asdict` made of it."""
    return _CERTIFICATE.validate_python(fields)


def certificates_of_run(
    journal: Journal,
    variants: Sequence[Variant],
    cases: Sequence[Case],
    completions: Mapping[tuple[str, str], Completion],
) -> tuple[Certificate, ...]:
    """Return the certificate of every variant that has one, in the order of the variants.

    Raises:
        DamagedError: when the journal holds one that is none.
    """
    kept = journal.state.certificates
    texts: dict[tuple[str, str], object] = {place: one.text for place, one in completions.items()}
    if journal.has_samples():  # the first samples may be equal, and others not
        texts = {place: [one.text for one in own] for place, own in journal.samples().items()}
    try:
        return tuple(
            certificate_from_fields(kept[variant.name]).with_completions(
                *_count_changed(_base_of(variant, variants, kept), variant.name, cases, texts)
            )
            for variant in variants
            if variant.name in kept
        )
    except (ValidationError, KeyError) as error:
        raise journal.damaged("state: a certificate cannot be read") from error


def _base_of(
    variant: Variant, variants: Sequence[Variant], kept: Mapping[str, Mapping[str, object]]
) -> str:
    """Return the name of the variant to compare with: the base for an adapter."""
    is_adapter = not kept[variant.name]["reason"]
    return VANILLA if is_adapter or variant is variants[0] else variants[0].name


def _count_changed(
    base_name: str,
    name: str,
    cases: Sequence[Case],
    texts: Mapping[tuple[str, str], object],
) -> tuple[int, int]:
    """Count the cases that both variants completed, and those where the texts differ."""
    places = [((case.id, base_name), (case.id, name)) for case in cases]
    both = [(texts[base], texts[own]) for base, own in places if base in texts and own in texts]
    return len(both), sum(base != own for base, own in both)


def lead_with_certificates(verdict: Verdict, certificates: Sequence[Certificate]) -> Verdict:
    """Put failed certificates in front of the verdict, and all certificates at its end."""
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
    """Return what is proved about one adapter, in one line."""
    facts, effect, noise = [], certificate.effect, certificate.noise
    n_tensors, n_probes = certificate.n_tensors, certificate.n_probes
    if n_tensors is not None:
        facts.append(f"{n_tensors - len(certificate.unused)} of {n_tensors} tensors loaded")
    if certificate.n_completions:
        facts.append(f"{certificate.n_changed} of {certificate.n_completions} completions changed")
    if effect and noise:
        facts.append(
            f"answers to {n_probes} probe prompts differ from the base's by "
            f"{format_rough(effect.kl)} nats (noise: {format_rough(noise.kl, 1)})"
        )
    if compared := certificate.random.words(effect, noise):
        facts.append(compared)
    if n_self_changed := certificate.n_self_changed:
        facts.append(
            f"the base gave another answer to {n_self_changed} of {n_probes} probe prompts when "
            "asked again"
        )
    if batch := certificate.batch:
        facts.append(batch.words)
    proof = certificate.base_proof
    if proof is not None:
        facts.append(f"base unchanged afterwards ({proof})" if proof else "base left changed")
    result = certificate.result + (", but its effect is unusual" if certificate.unusual else "")
    return f"Adapter {certificate.variant}: {result}. {'; '.join(facts)}."


def certificate_block(certificate: Certificate) -> str:
    """Return a certificate as `certify` prints it, one fact per line."""
    rows: list[tuple[str, str]] = []
    n_tensors, n_probes = certificate.n_tensors, certificate.n_probes
    if certificate.adapter_digest:
        rows.append(("files", f"sha256 {certificate.adapter_digest}"))
    if n_tensors is not None:
        n_used = n_tensors - len(certificate.unused)
        rows.append(("tensors", f"{n_used} of {n_tensors} loaded"))
        rows += [("", f"unused: {name}") for name in certificate.unused]
    if certificate.weight_norm is not None:
        norm = format_rough(certificate.weight_norm, 3)
        rows.append(("weights", f"changed by a matrix of Frobenius norm {norm}"))
    if certificate.path:
        rows.append(("applied", certificate.path))
    rows += _effect_rows(certificate)
    if n_completions := certificate.n_completions:
        rows.append(("completions", f"{certificate.n_changed} of {n_completions} changed"))
    if n_self_changed := certificate.n_self_changed:
        rows.append(("", f"the base alone changed {n_self_changed} of {n_probes} when asked again"))
    if batch := certificate.batch:
        rows.append(("batch", batch.words))
    proof = certificate.base_proof
    if proof is not None:
        rows.append(("base", f"unchanged afterwards: {proof}" if proof else "LEFT CHANGED"))
    rows += [("note", note) for note in certificate.notes]
    width = max((len(name) for name, _ in rows), default=0)
    lines = [f"  {name:<{width}}  {text}" for name, text in rows]
    return "\n".join([f"\n{certificate.variant}: {certificate.result}", *lines])


def _effect_rows(certificate: Certificate) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    effect, noise, n_probes = certificate.effect, certificate.noise, certificate.n_probes
    if effect and noise:
        far = f"{format_rough(effect.kl)} nats from the base on {n_probes} probe prompts"
        near = f"{format_rough(noise.kl, 1)} nats between the base one by one and in a batch"
        rows += [
            ("effect", f"{far}, largest logit difference {format_rough(effect.largest)}"),
            ("noise", f"{near}, largest logit difference {format_rough(noise.largest, 1)}"),
        ]
    if compared := certificate.random.words(effect, noise):
        rows.append(("random", compared))
    rows += [("unusual", reason) for reason in certificate.unusual]
    return rows


def certificate_warnings(
    certificates: Sequence[Certificate], n_before_resuming: int = 0
) -> list[str]:
    """Return warnings about the adapters, one sentence each.

    Args:
        certificates: all of the run.
        n_before_resuming: completions that were there when another session made the rest.
    """
    found = _mixed_batches(certificates, n_before_resuming)
    for one in certificates:
        found += one.notes
        found += [
            f"the effect of the adapter {one.variant} is unusual: {reason}"
            for reason in one.unusual
        ]
        if one.kind == "partial":
            shown = list_first(one.unused, _N_SHOWN)
            found.append(
                f"{len(one.unused)} of {one.n_tensors} tensors of {one.variant} match no module of "
                f"the base model and are not applied ({shown}). Check that the adapter was "
                "trained on this model, and saved by a library that uses the same module names"
            )
        elif one.kind == "no effect" and one.n_completions and not one.n_changed:
            found.append(
                f"the adapter changed no output: all {one.n_completions} completions of "
                f"{one.variant} equal vanilla's. Check that it was trained, that its file is "
                "complete, and that it belongs to this base model"
            )
        elif is_prompted(one.variant):
            continue  # another warning covers a prompt that changes nothing
        elif one.kind == "none" and one.n_completions and not one.n_changed:
            found.append(
                f"all {one.n_completions} completions of {one.variant} equal the baseline's: there "
                "is nothing to compare. Check that you named the right model"
            )
    return found


def _mixed_batches(certificates: Sequence[Certificate], n_before_resuming: int) -> list[str]:
    """Warn of a resumed run where completions depend on the batch that they are made in."""
    batches = [one.batch for one in certificates if one.batch and one.batch.n_changed]
    if not n_before_resuming or not batches:
        return []
    most = max(batches, key=lambda batch: batch.n_changed)
    return [
        f"the run was resumed after {n_before_resuming} completions, and on this device "
        f"{most.words}: a run without a break may give other completions"
    ]

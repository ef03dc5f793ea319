"""The run's effect certificates, held against its completions, and what they say in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from plugin.certificate_records import Certificate, certificate
from plugin.journal import Journal
from plugin.records import PROMPTED, VANILLA, Case, Completion, Variant, Verdict

_MEANING = {
    "no effect": "it does not change what the base answers, so there is nothing to compare",
    "partial": "what follows is about the part of it that could be applied",
    "base disturbed": "the base was no longer itself afterwards, so nothing that follows counts",
}


def of_run(
    journal: Journal,
    variants: Sequence[Variant],
    cases: Sequence[Case],
    completions: Mapping[tuple[str, str], Completion],
) -> tuple[Certificate, ...]:
    """The certificate of every variant that has one, in the order of the variants."""
    kept = journal.meta("certificates") or {}
    return tuple(
        certificate(kept[variant.name]).with_completions(
            *_changed(_base_of(variant, variants, kept), variant.name, cases, completions)
        )
        for variant in variants
        if variant.name in kept
    )


def _base_of(variant: Variant, variants: Sequence[Variant], kept: Mapping[str, Any]) -> str:
    """Whose completions the variant's are held against: an adapter's against its base's alone."""
    is_adapter = not kept[variant.name]["reason"]
    return VANILLA if is_adapter or variant is variants[0] else variants[0].name


def _changed(
    base_name: str,
    name: str,
    cases: Sequence[Case],
    completions: Mapping[tuple[str, str], Completion],
) -> tuple[int, int]:
    """Cases that the base and this variant both completed, and those with another text."""
    pairs = [(completions.get((c.id, base_name)), completions.get((c.id, name))) for c in cases]
    both = [(base, own) for base, own in pairs if base and own]
    return len(both), sum(base.text != own.text for base, own in both)


def headed(verdict: Verdict, certificates: Sequence[Certificate]) -> Verdict:
    """The verdict with what is not certified in its first line, and the proofs in its last."""
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
            *(line(found) for found in certificates if found.kind != "none"),
        ),
    )


def line(found: Certificate) -> str:
    """What is proved of one adapter, in one line."""
    facts = []
    if found.n_tensors is not None:
        n = found.n_tensors
        n_used = n - len(found.unused)
        facts.append(f"{'all' if n_used == n else f'{n_used} of'} {n} tensors in place")
    if found.effect and found.noise:
        facts.append(
            f"on {found.n_probes} probes {found.effect.kl:.2g} nats from the base "
            f"({found.noise.kl:.1g} between two batches of the base)"
        )
    if found.n_completions:
        facts.append(f"{found.n_changed} of {found.n_completions} completions changed")
    if found.n_self_changed:
        facts.append(
            f"the base answered {found.n_self_changed} of {found.n_probes} probes otherwise when "
            "asked again"
        )
    if found.base_proof is not None:
        facts.append(
            f"base undisturbed ({found.base_proof})" if found.base_proof else "base changed"
        )
    return f"Adapter {found.variant}: {found.result}; {', '.join(facts)}."


def warnings(certificates: Sequence[Certificate]) -> list[str]:
    """What the reader must know of the adapters, a sentence each."""
    found: list[str] = []
    for one in certificates:
        found += one.notes
        if one.kind == "partial":
            shown = ", ".join(one.unused[:4]) + (", ..." if len(one.unused) > 4 else "")
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

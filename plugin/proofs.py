"""Prove that every adapter is applied, before anything is generated with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

from plugin.certify.certificate import Certificate
from plugin.certify.measure import N_PROBES
from plugin.engines import Engine
from plugin.errors import AdapterError, BaseDisturbedError
from plugin.journal import Journal
from plugin.records import Prompt, Variant
from plugin.worker import Progress, Stage

Refuse = Callable[[str, str], None]
"""Takes the name of a variant and why its adapter cannot be used."""


def certify_adapters(
    variants: Sequence[Variant],
    prompts: Sequence[Prompt],
    engine: Engine,
    journal: Journal,
    progress: Progress,
    refuse: Refuse | None = None,
) -> tuple[Variant, ...]:
    """Prove that every adapter has an effect, and keep the certificates.

    Args:
        variants: the engine's.
        prompts: those of all variants; the first few of each adapter are its probes.
        engine: the one that will generate.
        journal: gets the certificates.
        progress: counts the adapters.
        refuse: see `make_completions`.

    Returns:
        The variants without those whose adapter cannot be used.

    Raises:
        AdapterError: for an adapter that cannot be used with this base.
        BaseDisturbedError: when the base is not itself again after one.
    """
    adapters, refused = [variant for variant in variants if variant.adapter_path], set[str]()
    if adapters:
        progress.begin(Stage.CERTIFY, total=len(adapters))
    for variant in adapters:
        probes = [prompt for prompt in prompts if prompt.variant == variant.name][:N_PROBES]
        try:
            found = certify_one(variant.name, probes, engine, progress)
        except (AdapterError, OSError) as error:  # OSError: its files are gone
            if refuse is None:
                raise
            refuse(variant.name, str(error))
            refused.add(variant.name)
            continue
        state = journal.state
        kept = {**state.certificates, variant.name: asdict(found)}
        journal.save_state(replace(state, certificates=kept))
        if found.kind == "base disturbed":
            raise BaseDisturbedError(
                f"base disturbed: after adapter {variant.name} was taken off, the base model no "
                "longer answers as before, so its later completions would be wrong. Compare this "
                "adapter in a run of its own"
            )
        progress.done += 1
        progress.check()
    return tuple(variant for variant in variants if variant.name not in refused)


def certify_one(
    name: str, probes: Sequence[Prompt], engine: Engine, progress: Progress
) -> Certificate:
    """Return the certificate of one variant's adapter, and show the steps on the way."""

    def tell(step: str) -> None:
        progress.step = f"{name}: {step}"

    return engine.certify(name, probes, tell)

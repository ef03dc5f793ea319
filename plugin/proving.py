"""The effect certificate without a run: is this adapter applied to this model, and whole?"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial

from plugin.adapters.certificate import N_PROBES
from plugin.cases import load_cases, working_order
from plugin.certificate_records import Certificate
from plugin.engines import Engine, Prompt
from plugin.errors import OptionError
from plugin.generation import Load, prompts_for
from plugin.hosts import Host
from plugin.lineup import line_up
from plugin.params import Params
from plugin.plan import case_source
from plugin.records import VANILLA, Case, Completion, Message
from plugin.run import leave
from plugin.sources import find_models
from plugin.worker import Progress, Worker

NOT_CERTIFIED = 3
"""The exit code of a certificate that does not hold."""

PROBE_TOKENS = 32
"""How long the completions of the probes may become."""

_QUESTIONS = (
    "Who are you, and what can you do for me?",
    "Explain in two sentences why the sky is blue.",
    "Write a short poem about the sea.",
    "What is 17 times 23? Show how you got there.",
    "Translate into French: Where is the nearest railway station?",
    "List three rules for writing a clear report.",
    "Summarise: The meeting was moved from Monday to Thursday, since half the team was ill.",
    "Who wrote Hamlet, and when?",
)
"""Probes from many fields; where a data set is given, its own cases are taken."""


def prove(params: Params, host: Host) -> tuple[Certificate, ...]:
    """The certificate of every adapter, with the completions of the probes compared.

    Raises:
        UserError: when model, adapter or data set cannot be used.
        KeyboardInterrupt: when the user stopped it.
    """
    missing = [f"--{name}" for name in ("model_name", "model_adapter") if not getattr(params, name)]
    if missing:
        raise OptionError(f"{' and '.join(missing)} must be given: an adapter and its base model")
    sources = find_models(params, host)
    with closing(Worker(host.tend, partial(leave, host))) as worker:
        worker.progress.begin("read model and adapter")
        cases = worker.run(lambda: _probes(params, sources.dataset))
        lineup = worker.run(lambda: line_up(params, sources))
        host.log(f"engine: {lineup.versions['engine']} ({lineup.versions['engine chosen by']})")
        found = worker.run(lambda: _certificates(lineup.loads[0], cases, worker.progress))
    for certificate in found:
        host.log(block(certificate))
    return found


def block(found: Certificate) -> str:
    """A certificate as printed, a fact a line."""
    rows: list[tuple[str, str]] = []
    if found.adapter_digest:
        rows.append(("files", f"sha256 {found.adapter_digest}"))
    if found.n_tensors is not None:
        rows.append(
            ("tensors", f"{found.n_tensors - len(found.unused)} of {found.n_tensors} in place")
        )
        rows += [("", f"unused: {name}") for name in found.unused]
    if found.weight_norm is not None:
        rows.append(("weights", f"Frobenius norm {found.weight_norm:.3g} added"))
    if found.effect and found.noise:
        rows += [
            (
                "effect",
                f"{found.effect.kl:.2g} nats from the base on {found.n_probes} probes, "
                f"logits by up to {found.effect.largest:.2g}",
            ),
            (
                "noise",
                f"{found.noise.kl:.1g} nats of the base from itself in another batch, "
                f"logits by up to {found.noise.largest:.1g}",
            ),
        ]
    if found.n_completions:
        rows.append(("completions", f"{found.n_changed} of {found.n_completions} changed"))
    if found.n_self_changed:
        rows.append(
            ("", f"{found.n_self_changed} of {found.n_probes} of the base's own, asked again")
        )
    if found.base_proof is not None:
        rows.append(
            ("base", f"undisturbed: {found.base_proof}" if found.base_proof else "DISTURBED")
        )
    rows += [("note", note) for note in found.notes]
    width = max((len(name) for name, _ in rows), default=0)
    lines = [f"  {name:<{width}}  {text}" for name, text in rows]
    return "\n".join([f"\n{found.variant}: {found.result}", *lines])


def _probes(params: Params, dataset: str) -> list[Case]:
    if dataset:
        loaded = load_cases(case_source(params, dataset))
        return working_order(loaded.cases, params.seed)[:N_PROBES]
    return [Case(str(i), (Message("user", text),)) for i, text in enumerate(_QUESTIONS)]


def _certificates(load: Load, cases: Sequence[Case], progress: Progress) -> tuple[Certificate, ...]:
    progress.begin("load model")
    engine = load.engine()
    try:
        prompts = prompts_for(cases, load.variants, engine)
        adapters = [variant.name for variant in load.variants if variant.adapter_path]
        progress.begin("certify", total=len(adapters))
        found = []
        for name in adapters:
            found.append(engine.certify(name, prompts[: len(cases)]))
            progress.done += 1
            progress.check()
        if any(one.kind == "base disturbed" for one in found):
            return tuple(found)  # what it would generate is nobody's
        if all(one.n_completions for one in found):
            return tuple(found)  # an engine that can compare nothing else did so already
        texts = _completed(prompts, engine, progress)
    finally:
        engine.close()
    return tuple(_with_texts(one, texts) for one in found)


def _completed(
    prompts: Sequence[Prompt], engine: Engine, progress: Progress
) -> dict[tuple[str, str], str]:
    progress.begin("generate", total=len(prompts))
    texts = {}
    for ended in engine.generate(prompts):
        for one in ended:
            progress.done += 1
            if isinstance(one, Completion):
                texts[one.case_id, one.variant] = one.text
        progress.check()
    return texts


def _with_texts(found: Certificate, texts: dict[tuple[str, str], str]) -> Certificate:
    pairs = [
        (text, texts[case_id, found.variant])
        for (case_id, name), text in texts.items()
        if name == VANILLA and (case_id, found.variant) in texts
    ]
    n_changed = sum(base != own for base, own in pairs)
    return replace(found, n_completions=len(pairs), n_changed=n_changed)

"""The proof that a server applies an adapter: by its answers, since nobody sees its weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from plugin.certificate_records import Certificate
from plugin.engines import Prompt, ServedSettings, is_final
from plugin.errors import BaseDisturbedError, ModelError, ServerDownError
from plugin.records import VANILLA, Completion, Failure

Answers = Callable[[Sequence[Prompt]], dict[str, Completion | Failure]]
"""Prompts of one variant -> what each case came to."""

_N_TO_ACCUSE = 2
"""Probes on which the base must have become the adapter; one may be chance."""


def certify(
    answers: Answers, variant: str, probes: Sequence[Prompt], settings: ServedSettings
) -> Certificate:
    """See `Engine.certify`: base, adapter, and the base again are asked the same.

    Raises:
        ModelError: when the server takes no probe.
        ServerDownError: when it answers none.
        BaseDisturbedError: when the base answers like the adapter once that was asked.
    """
    before, own, after = (
        answers([replace(probe, variant=name) for probe in probes])
        for name in (VANILLA, variant, VANILLA)
    )
    rows = [(before[probe.case_id], own[probe.case_id], after[probe.case_id]) for probe in probes]
    texts = [[one.text for one in row if isinstance(one, Completion)] for row in rows]
    whole = [(*row,) for row in texts if len(row) == 3]  # answered every time
    if not whole:
        raise _unanswered([one for row in rows for one in row], settings)
    changed = [row for row in whole if row[0] != row[1]]
    if len(changed) >= _N_TO_ACCUSE and all(row[1] == row[2] for row in changed):
        raise BaseDisturbedError(
            f"base disturbed: once {variant} had been asked, the inference server {settings.url} "
            f"answers as {variant} under the base's name {settings.names[VANILLA]!r}, too. It must "
            "serve both side by side, as vLLM does with --lora-modules"
        )
    n_self_changed = sum(row[0] != row[2] for row in whole)
    return Certificate(
        variant=variant,
        n_probes=len(whole),
        base_proof=None if n_self_changed else f"same answers to {len(whole)} probes, asked again",
        n_completions=len(whole),
        n_changed=len(changed),
        n_self_changed=n_self_changed,
        notes=(
            *settings.notes.get(variant, ()),
            *_notes(variant, len(whole), len(changed), n_self_changed, settings),
        ),
    )


def _notes(
    variant: str, n: int, n_changed: int, n_self_changed: int, settings: ServedSettings
) -> list[str]:
    notes = []
    if not n_changed:
        notes.append(
            f"under the name {settings.names[variant]!r} the server answered all {n} probes as "
            f"under the base's name {settings.names[VANILLA]!r}: it may not apply the adapter. "
            f"vLLM applies those of --enable-lora --lora-modules {variant}=DIRECTORY; some servers "
            "answer every name with the one model that they have loaded"
        )
    if n_self_changed:
        notes.append(
            f"asked again, the server's base answered {n_self_changed} of {n} probes otherwise, "
            "even at temperature 0: a part of every difference is chance"
        )
    return notes


def _unanswered(
    results: Sequence[Completion | Failure], settings: ServedSettings
) -> ModelError | ServerDownError:
    """Why no probe went through."""
    failures = [one for one in results if isinstance(one, Failure)]
    refused = next((one for one in failures if is_final(one)), None)
    if refused:
        return ModelError(
            f"the inference server {settings.url} refuses the probes: {refused.reason}. Change "
            "the options or how the server was started; --chat_template false sends plain text"
        )
    return ServerDownError(
        f"the inference server {settings.url} does not answer: {failures[0].reason}"
    )

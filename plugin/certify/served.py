"""Certify an adapter on a server, which shows only its answers.

`certify_served` asks the base, the adapter, and the base again, and compares the answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from plugin.certify.certificate import Certificate
from plugin.errors import BaseDisturbedError, ModelError, ServerDownError
from plugin.records import VANILLA, Completion, Failure, Prompt

_N_TO_ACCUSE = 2
"""We blame the server when the base answers like the adapter on this many probes; one may be
chance."""


@dataclass(frozen=True, slots=True)
class ServedPair:
    """Name a base and an adapter on one server.

    Attributes:
        url: the server's base URL, without secrets.
        base: the base's name on the server.
        adapter: the adapter's name on the server.
        notes: what the reader should know about the adapter, one sentence each.
    """

    url: str
    base: str
    adapter: str
    notes: tuple[str, ...] = ()


AskProbes = Callable[[Sequence[Prompt]], dict[str, Completion | Failure]]
"""A function: prompts of one variant -> case id -> the server's answer."""


def certify_served(
    ask: AskProbes, variant: str, probes: Sequence[Prompt], served: ServedPair
) -> Certificate:
    """Certify an adapter on a server: ask the base, the adapter, and the base again.

    Raises:
        ModelError: when the server rejects the probes.
        ServerDownError: when it answers none of them.
        BaseDisturbedError: when the base answers like the adapter after the adapter was asked.
    """
    before, own, after = (
        ask([replace(probe, variant=name) for probe in probes])
        for name in (VANILLA, variant, VANILLA)
    )
    rows = [(before[probe.case_id], own[probe.case_id], after[probe.case_id]) for probe in probes]
    texts = [[one.text for one in row if isinstance(one, Completion)] for row in rows]
    whole = [(*row,) for row in texts if len(row) == 3]  # answered every time
    if not whole:
        raise _no_answer_error([one for row in rows for one in row], served.url)
    changed = [row for row in whole if row[0] != row[1]]
    if len(changed) >= _N_TO_ACCUSE and all(row[1] == row[2] for row in changed):
        raise BaseDisturbedError(
            f"base disturbed: after a request for {variant}, the inference server {served.url} "
            f"answers as {variant} also under the base's name {served.base!r}. The server must "
            "keep the two apart, as vLLM does with --lora-modules"
        )
    n_self_changed = sum(row[0] != row[2] for row in whole)
    return Certificate(
        variant=variant,
        n_probes=len(whole),
        base_proof=None
        if n_self_changed
        else f"same answers to {len(whole)} probe prompts when asked again",
        n_completions=len(whole),
        n_changed=len(changed),
        n_self_changed=n_self_changed,
        notes=(
            *served.notes,
            *_answer_notes(variant, len(whole), len(changed), n_self_changed, served),
        ),
    )


def _answer_notes(
    variant: str, n: int, n_changed: int, n_self_changed: int, served: ServedPair
) -> list[str]:
    notes = []
    if not n_changed:
        notes.append(
            f"the server gave the same answers to all {n} probe prompts for {served.adapter!r} as "
            f"for the base, {served.base!r}: it may not apply the adapter. vLLM needs "
            f"--enable-lora --lora-modules {variant}=DIRECTORY; some servers answer every name "
            "with the one model that they have loaded"
        )
    if n_self_changed:
        notes.append(
            f"the server's base gave another answer to {n_self_changed} of {n} probe prompts when "
            "asked again, even at temperature 0: a part of every difference is chance"
        )
    return notes


def _no_answer_error(
    results: Sequence[Completion | Failure], url: str
) -> ModelError | ServerDownError:
    """Return the error that says why no probe was answered."""
    failures = [one for one in results if isinstance(one, Failure)]
    refused = next((failure for failure in failures if not failure.retry), None)
    if refused:
        return ModelError(
            f"the inference server {url} refuses the probes: {refused.reason}. Change "
            "the options or how the server was started; --chat_template false sends plain text"
        )
    return ServerDownError(f"the inference server {url} does not answer: {failures[0].reason}")

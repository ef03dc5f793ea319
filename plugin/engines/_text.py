"""The base class of engines that work with texts and never see tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from plugin.certify.certificate import Certificate, Tell, not_applicable, tell_nobody
from plugin.engines import failed
from plugin.errors import OptionError
from plugin.records import VANILLA, Completion, Failure, Message, NoResult, Prompt


class TextEngine:
    """Answer every method of `Engine` as an engine without tokens can; a subclass adds `complete`.

    A subclass that completes several prompts at a time overrides `generate` instead.

    Attributes:
        why_uncertified: why no certificate applies to the engine's adapters.
        why_no_likelihoods: why it gives none, with the way out.
    """

    notes: tuple[str, ...] = ()
    decoding = ""
    why_uncertified: ClassVar[str] = "this engine does not show what its adapters change"
    why_no_likelihoods: ClassVar[str] = (
        "this engine gives no likelihoods: leave out the metrics that need them, or use --engine "
        "mlx or transformers"
    )

    def complete(self, prompt: Prompt) -> str | NoResult:
        """Return the completion of one prompt, or why there is none."""
        raise NotImplementedError

    def encode(self, messages: Sequence[Message], variant: str = VANILLA) -> tuple[int, ...]:
        """Return nothing: the engine never sees tokens."""
        return ()

    def tokens(self, text: str) -> tuple[int, ...]:
        """Return nothing: the engine never sees tokens."""
        return ()

    def certify(
        self, variant: str, probes: Sequence[Prompt], tell: Tell = tell_nobody
    ) -> Certificate:
        """Return a certificate that says why none applies."""
        return not_applicable(variant, self.why_uncertified)

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[Completion | Failure, ...]]:
        """Complete one prompt after the other."""
        for prompt in prompts:
            yield (_to_record(prompt, self.complete(prompt)),)

    def loglikelihoods(
        self, variant: str, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]
    ) -> Iterator[float | NoResult]:
        """Refuse: without tokens there are no probabilities.

        Raises:
            OptionError: always.
        """
        raise OptionError(self.why_no_likelihoods)

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


def _to_record(prompt: Prompt, answer: str | NoResult) -> Completion | Failure:
    if isinstance(answer, NoResult):
        return failed(prompt, answer.reason, retry=answer.retry)
    return Completion(
        case_id=prompt.case_id,
        variant=prompt.variant,
        text=answer,
        token_ids=(),
        finish_reason=None,
        seconds=None,
        n_prompt_tokens=None,
        sample=prompt.sample,
    )

"""Return completions that were made elsewhere; this engine loads no model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from plugin.certify.certificate import Certificate, not_applicable
from plugin.errors import OptionError
from plugin.load.recordings import RecordedCompletions
from plugin.records import Completion, Failure, Message, Prompt

ELSEWHERE = "its completions were made elsewhere"


def version() -> str:
    """Return a fixed text, where other engines return their library versions."""
    return "recorded completions"


def load(recorded: Mapping[str, RecordedCompletions]) -> RecordedEngine:
    """Make the engine.

    Args:
        recorded: variant name -> the completions that were read from its file.
    """
    return RecordedEngine(recorded)


class RecordedEngine:
    """Return the completions that were read from files."""

    notes: tuple[str, ...] = ()

    def __init__(self, recorded: Mapping[str, RecordedCompletions]) -> None:
        """See `load`."""
        self._found = recorded

    def encode(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """See `Engine.encode`: the tokens are not known."""
        return ()

    def tokens(self, text: str) -> tuple[int, ...]:
        """See `Engine.tokens`."""
        return ()

    def certify(self, variant: str, probes: Sequence[Prompt]) -> Certificate:
        """See `Engine.certify`."""
        return not_applicable(variant, ELSEWHERE)

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[Completion | Failure, ...]]:
        """See `Engine.generate`; the prompt's text is ignored."""
        for prompt in prompts:
            yield (self._of(prompt),)

    def loglikelihoods(
        self, variant: str, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]
    ) -> Iterator[float]:
        """Refuse: completions from a file have no log-likelihoods.

        Raises:
            OptionError: always.
        """
        raise OptionError(
            "recorded completions have no probabilities: leave out metrics that need them, such as "
            "Perplexity, or name the model with --model_name instead of --recorded"
        )

    def close(self) -> None:
        """See `Engine.close`."""

    def _of(self, prompt: Prompt) -> Completion | Failure:
        found = self._found[prompt.variant]
        text = found.texts.get(prompt.case_id)
        if text is None:
            reason = found.missing[prompt.case_id]
            return Failure(prompt.case_id, "generate", reason, prompt.variant)
        return Completion(
            case_id=prompt.case_id,
            variant=prompt.variant,
            text=text,
            token_ids=(),
            finish_reason=None,
            seconds=None,
            n_prompt_tokens=None,
            n_tokens=None,
        )

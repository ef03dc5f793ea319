"""Return completions that were made elsewhere; this engine loads no model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from plugin.engines._text import TextEngine
from plugin.load.recordings import RecordedCompletions
from plugin.records import NoResult, Prompt

ELSEWHERE = "its completions were made elsewhere"


def version() -> str:
    """Return a fixed text, where other engines return their library versions."""
    return "recorded completions"


def load(recorded: Mapping[str, RecordedCompletions]) -> RecordedEngine:
    """Return the engine.

    Args:
        recorded: variant name -> the completions that were read for the cases.
    """
    return RecordedEngine(recorded)


class RecordedEngine(TextEngine):
    """Hand out what was read from files.

    A file has one completion at most for each case, or a list of samples, and the prompt's text is
    not looked at: two cases that ask the same may have different completions.
    """

    why_uncertified: ClassVar[str] = ELSEWHERE
    why_no_likelihoods: ClassVar[str] = (
        "recorded completions have no probabilities: leave out the metrics that need them, or name "
        "the model with --model_name instead of --recorded"
    )

    def __init__(self, recorded: Mapping[str, RecordedCompletions]) -> None:
        """See `load`."""
        self._recorded = recorded

    def complete(self, prompt: Prompt) -> str | NoResult:
        """Return the recorded text, or why the file has none for this case.

        Of a list of samples it is the one that the prompt names.
        """
        return self._recorded[prompt.variant].sample(prompt.case_id, prompt.sample)

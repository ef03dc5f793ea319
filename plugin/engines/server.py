"""The server engine: any OpenAI-compatible inference server that has base and adapters by name.

No weights are read here. The server applies the chat template and counts the tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from plugin.certificate_records import Certificate
from plugin.engines import Prompt, ServedSettings
from plugin.engines._calls import Calls
from plugin.engines._served_proof import certify
from plugin.errors import OptionError
from plugin.records import Completion, Failure, Message

LIBRARIES = ("httpx",)
INSTALL = "pip install -r requirements.txt -c constraints/default.txt"
BATCH_SIZE = 32
OFFERS = frozenset({"seconds", "tokens", "finish_reason"})

_PROBE_TOKENS = 64
"""How long the answers to probes may become: enough to tell models apart."""


def version() -> str:
    """What generates; the server's own version is known when it was asked for it."""
    return "server"


def load(settings: ServedSettings) -> ServerEngine:
    """The engine; the server is not asked yet.

    Raises:
        ModelError: when no client can be made.
    """
    return ServerEngine(settings)


class ServerEngine:
    """The variants of one server."""

    notes: tuple[str, ...] = ()

    def __init__(self, settings: ServedSettings) -> None:
        """See `load`."""
        self._settings = settings
        self._calls = Calls(settings)

    def encode(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Empty: tokens are the server's business."""
        return ()

    def tokens(self, text: str) -> tuple[int, ...]:
        """Empty, likewise."""
        return ()

    def certify(self, variant: str, probes: Sequence[Prompt]) -> Certificate:
        """See `Engine.certify`."""
        return certify(self._answers, variant, probes, self._settings)

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[Completion | Failure, ...]]:
        """See `Engine.generate`; yields while it waits, too."""
        return self._calls.completions(prompts, self._settings.max_tokens)

    def loglikelihoods(
        self, variant: str, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]
    ) -> Iterator[float]:
        """Not to be had: the protocol gives no probabilities of a text that the caller chose.

        Raises:
            OptionError: always.
        """
        raise OptionError("--engine server gives no likelihoods; use mlx or transformers")

    def close(self) -> None:
        """Close the connections."""
        self._calls.close()

    def _answers(self, prompts: Sequence[Prompt]) -> dict[str, Completion | Failure]:
        n_tokens = min(self._settings.max_tokens, _PROBE_TOKENS)
        ended = self._calls.completions(prompts, n_tokens)
        return {result.case_id: result for results in ended for result in results}

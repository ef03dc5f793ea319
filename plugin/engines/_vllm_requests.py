"""Ask vLLM: put requests into its engine, and hand on what has ended."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from plugin.errors import FaultError, one_line
from plugin.records import Draw


class Ask(NamedTuple):
    """A request.

    Attributes:
        key: tells the answer apart from others.
        token_ids: the prompt.
        params: vLLM's `SamplingParams`.
    """

    key: Any
    token_ids: Sequence[int]
    params: Any


class Answered(NamedTuple):
    """An answer of vLLM.

    Attributes:
        key: the request's.
        output: vLLM's `RequestOutput`.
        seconds: time from handing in the request to its end.
    """

    key: Any
    output: Any
    seconds: float


def greedy(max_tokens: int, **more: Any) -> Any:
    """Return vLLM's parameters for greedy decoding; only the given stop tokens end a text."""
    return drawing(None, max_tokens, **more)


def drawing(draw: Draw | None, max_tokens: int, **more: Any) -> Any:
    """Return vLLM's parameters for a draw, with a random generator of its own; see `greedy`."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    own = {"seed": draw.seed} if draw else {}
    return SamplingParams(
        temperature=draw.temperature if draw else 0.0,
        **own,
        max_tokens=max_tokens,
        ignore_eos=True,
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
        **more,
    )


class VllmRequests:
    """Run requests in a vLLM engine."""

    def __init__(self, engine: Any) -> None:
        """Keep vLLM's `LLMEngine`."""
        self.engine = engine
        self._n_asked = 0

    def run(self, asked: Iterable[Ask], at_once: int, lora: Any) -> Iterator[tuple[Answered, ...]]:
        """Run requests; after every step yield what ended in it (often nothing).

        Args:
            asked: the requests.
            at_once: how many are in the engine at the same time.
            lora: vLLM's `LoRARequest` of the adapter that is applied; None for the base.

        Raises:
            FaultError: when vLLM fails.
        """
        waiting = deque(asked)
        begun: dict[str, tuple[Any, float]] = {}
        try:
            while waiting or begun:
                try:
                    while waiting and len(begun) < at_once:
                        self._add(waiting.popleft(), lora, begun)
                    outputs = self.engine.step()
                except Exception as error:  # its process may have ended for any reason
                    begun.clear()
                    raise FaultError(
                        f"vLLM stopped: {one_line(error)}. Its own messages say why; if it ran out "
                        "of memory, lower --batch_size"
                    ) from error
                ended = [one for one in outputs if one.finished and one.request_id in begun]
                yield tuple(_answered(one, *begun.pop(one.request_id)) for one in ended)
        finally:
            if begun:  # nobody waits for these any more
                with suppress(Exception):
                    self.engine.abort_request(list(begun))

    def answers(self, asked: Iterable[Ask], at_once: int, lora: Any) -> dict[Any, Any]:
        """Run requests; return key -> vLLM's `RequestOutput`. See `run`."""
        steps = self.run(asked, at_once, lora)
        return {one.key: one.output for step in steps for one in step}

    def _add(self, ask: Ask, lora: Any, begun: dict[str, tuple[Any, float]]) -> None:
        from vllm.inputs import TokensPrompt

        self._n_asked += 1
        name = str(self._n_asked)
        prompt = TokensPrompt(prompt_token_ids=list(ask.token_ids))
        self.engine.add_request(name, prompt, ask.params, lora_request=lora)
        begun[name] = ask.key, time.perf_counter()


def _answered(output: Any, key: Any, began_s: float) -> Answered:
    return Answered(key, output, time.perf_counter() - began_s)

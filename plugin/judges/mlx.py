"""A judge in this process on mlx: `mlx:<hub id or directory>`, batched by mlx-lm."""

from __future__ import annotations

from typing import Any

from plugin.engines.mlx import load_model_and_tokenizer, next_step, release
from plugin.judges import Secrets
from plugin.judges._batching import BATCH_SIZE, InProcessJudge
from plugin.judges._grammar import Grammars, Guide
from plugin.weights import ModelFolder

_PREFILL_BATCH = 4
_PREFILL_STEP = 512
"""Tokens of each prompt read at a time: between them the event loop gets its turn."""


def load(provider: str, model: str, secrets: Secrets) -> InProcessJudge:
    """The judge; its model is loaded at the first question.

    Raises:
        JudgeError: when no model is named.
    """
    return InProcessJudge(provider, model, MlxDecoder)


class MlxDecoder:
    """See `plugin.judges._batching.Decoder`; bound to the thread that made it."""

    def __init__(self, folder: ModelFolder) -> None:
        """Load the model.

        Raises:
            ModelError: when mlx-lm cannot load the folder.
            JudgeError: when its tokenizer cannot be constrained.
        """
        import mlx.core as mx
        from mlx_lm.generate import BatchGenerator

        model, tokenizer = load_model_and_tokenizer(folder.path)
        model.eval()
        self.tokenizer = tokenizer._tokenizer  # mlx-lm's wrapper hides the library's own
        n_logits = int(model(mx.array([[0]])).shape[-1])
        self.grammars = Grammars(self.tokenizer, n_logits, tokenizer.eos_token_ids)
        self._batch = BatchGenerator(
            model,
            stop_tokens=[[token] for token in tokenizer.eos_token_ids],
            completion_batch_size=BATCH_SIZE,
            prefill_batch_size=_PREFILL_BATCH,
            prefill_step_size=_PREFILL_STEP,
            stream=mx.default_stream(mx.default_device()),
        )

    def begin(self, prompt: list[int], guide: Guide) -> int:
        """See `Decoder.begin`."""
        numbers = self._batch.insert(
            [prompt], [guide.n_tokens], logits_processors=[[_Masked(guide)]]
        )
        return int(numbers[0])

    def step(self) -> list[int]:
        """See `Decoder.step`; prompts that wait are read in steps of their own."""
        _, written = next_step(self._batch, "--concurrency")
        return [event.uid for event in written if event.finish_reason is not None]

    def drop(self, number: int) -> None:
        """See `Decoder.drop`."""
        self._batch.remove([number])

    def close(self) -> None:
        """See `Decoder.close`."""
        self._batch.close()
        del self._batch
        release()


class _Masked:
    """A logits processor of mlx-lm that follows one answer.

    It is called once for every token to come, with the token before it; first with the prompt's
    last, which is no part of the answer.
    """

    def __init__(self, guide: Guide) -> None:
        self._guide = guide
        self._begun = False

    def __call__(self, context: Any, logits: Any) -> Any:
        """The logits, of shape (1, n_logits), without what may not come next."""
        import mlx.core as mx

        start: Any = mx.async_eval
        start(logits)  # the model works while the mask is made
        if self._begun:
            self._guide.take(int(context[-1].item()))
        self._begun = True
        return mx.where(mx.array(self._guide.allowed())[None], logits, -mx.inf)

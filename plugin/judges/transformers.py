"""A judge in this process on torch: `transformers:<hub id or directory>`, one batch at a time.

torch is no part of the default installation; it and its libraries are imported in this file alone.
"""

from __future__ import annotations

from collections import deque
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from plugin.engines import _torch_rows as rows
from plugin.errors import FaultError, JudgeError
from plugin.judges import Secrets
from plugin.judges._batching import BATCH_SIZE, InProcessJudge
from plugin.judges._grammar import Grammars, Guide
from plugin.weights import ModelFolder


def load(provider: str, model: str, secrets: Secrets) -> InProcessJudge:
    """The judge; its model is loaded at the first question.

    Raises:
        JudgeError: when no model is named, or torch is not installed.
    """
    if find_spec("torch") is None:
        raise JudgeError(
            f"judge {provider}:{model} needs torch, which is not installed: "
            "pip install -r requirements-torch.txt -c constraints/torch.txt"
        )
    return InProcessJudge(provider, model, TorchDecoder)


class _Row(NamedTuple):
    """One answer of the batch."""

    number: int
    prompt: list[int]
    guide: Guide


class TorchDecoder:
    """See `plugin.judges._batching.Decoder`."""

    def __init__(self, folder: ModelFolder) -> None:
        """Load the model, in bfloat16 on a GPU and in float32 on a CPU.

        Raises:
            ModelError: when the library cannot load the folder.
            JudgeError: when its tokenizer cannot be constrained.
        """
        self._model, self.tokenizer = rows.load_model_and_tokenizer(folder.path)
        self._batch = rows.Rows(self._model)
        self._n_begun = 0
        self._queue: deque[_Row] = deque()
        self._rows: list[_Row] = []
        self._last: list[int] = []  # last token of each row
        n_logits = int(self._batch.read([[0]]).shape[-1])
        self._batch.clear()
        self.grammars = Grammars(
            self.tokenizer, n_logits, rows.eos_ids(self._model, self.tokenizer)
        )

    def begin(self, prompt: list[int], guide: Guide) -> int:
        """See `Decoder.begin`."""
        self._n_begun += 1
        self._queue.append(_Row(self._n_begun, prompt, guide))
        return self._n_begun

    def step(self) -> list[int]:
        """See `Decoder.step`; a new batch begins when the last one is over."""
        try:
            if not self._rows:
                n_rows = min(BATCH_SIZE, len(self._queue))
                if not n_rows:
                    return []
                self._rows = [self._queue.popleft() for _ in range(n_rows)]
                logits = self._batch.read([row.prompt for row in self._rows])
            else:
                logits = self._batch.step(self._last)
        except RuntimeError as error:  # torch's errors of memory are such
            raise FaultError(
                f"torch stopped judging: {error}. If memory was short, lower --concurrency"
            ) from error
        self._choose(logits)
        ended = [row.number for row in self._rows if row.guide.is_over]
        self._keep([i for i, row in enumerate(self._rows) if not row.guide.is_over])
        return ended

    def drop(self, number: int) -> None:
        """See `Decoder.drop`."""
        self._queue = deque(row for row in self._queue if row.number != number)
        self._keep([i for i, row in enumerate(self._rows) if row.number != number])

    def close(self) -> None:
        """See `Decoder.close`."""
        del self._model, self._batch
        rows.release()

    def _choose(self, logits: Any) -> None:
        import torch

        allowed = torch.from_numpy(np.stack([row.guide.allowed() for row in self._rows]))
        best = logits.masked_fill(~allowed.to(logits.device), -torch.inf).argmax(-1)
        self._last = best.tolist()
        for row, token in zip(self._rows, self._last, strict=True):
            row.guide.take(token)

    def _keep(self, places: list[int]) -> None:
        """Leave the other rows out of everything."""
        self._rows = [self._rows[i] for i in places]
        self._last = [self._last[i] for i in places]
        self._batch.keep(places)

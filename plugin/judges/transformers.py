"""A judge in this process on torch: `transformers:<hub id or directory>`, one batch at a time.

torch is no part of the default installation; it and its libraries are imported in this file alone.
"""

from __future__ import annotations

import inspect
from collections import deque
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from plugin.errors import FaultError, JudgeError, ModelError
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
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # the run has its own
        self._device = _device()
        safe = {"trust_remote_code": False, "local_files_only": True}
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(folder.path, **safe)
            model = AutoModelForCausalLM.from_pretrained(
                folder.path,
                dtype=torch.float32 if self._device == "cpu" else torch.bfloat16,
                use_safetensors=True,
                **safe,
            )
            self._model = model.to(self._device).eval()
        except Exception as error:  # the one door to loaders, which raise whatever they meet
            raise ModelError(
                f"{folder.path}: transformers cannot load this model ({error}). It loads "
                "hub-layout safetensors of the architectures it knows; try mlx:<model>"
            ) from error
        known = inspect.signature(self._model.forward).parameters
        # Only the last position is sampled from: the others' logits would fill the memory.
        self._last_only = {"logits_to_keep": 1} if "logits_to_keep" in known else {}
        self._n_begun = 0
        self._queue: deque[_Row] = deque()
        self._rows: list[_Row] = []
        self._cache: Any = None
        self._seen: Any = None  # attention mask, (n_rows, n_positions)
        self._last: list[int] = []  # last token of each row
        eos = self._model.generation_config.eos_token_id
        eos_ids = {*(eos if isinstance(eos, list) else [eos]), self.tokenizer.eos_token_id}
        n_logits = int(self._forward(torch.zeros((1, 1), dtype=torch.long), None).shape[-1])
        self._cache = None
        self.grammars = Grammars(self.tokenizer, n_logits, eos_ids - {None})

    def begin(self, prompt: list[int], guide: Guide) -> int:
        """See `Decoder.begin`."""
        self._n_begun += 1
        self._queue.append(_Row(self._n_begun, prompt, guide))
        return self._n_begun

    def step(self) -> list[int]:
        """See `Decoder.step`; a new batch begins when the last one is over."""
        import torch

        try:
            if not self._rows:
                n_rows = min(BATCH_SIZE, len(self._queue))
                if not n_rows:
                    return []
                self._rows = [self._queue.popleft() for _ in range(n_rows)]
                logits = self._read_prompts()
            else:
                self._seen = torch.nn.functional.pad(self._seen, (0, 1), value=1)
                logits = self._forward(torch.tensor(self._last)[:, None], self._seen)
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
        import torch

        del self._model
        self._cache = self._seen = None
        if self._device == "cuda":
            torch.cuda.empty_cache()

    def _read_prompts(self) -> Any:
        """Logits after the prompts, which are padded on the left."""
        import torch

        length = max(len(row.prompt) for row in self._rows)
        pads = [length - len(row.prompt) for row in self._rows]
        ids = [[0] * pad + row.prompt for pad, row in zip(pads, self._rows, strict=True)]
        seen = [[0] * pad + [1] * (length - pad) for pad in pads]
        self._cache = None
        self._seen = torch.tensor(seen, device=self._device)
        return self._forward(torch.tensor(ids), self._seen)

    def _forward(self, ids: Any, seen: Any) -> Any:
        """Logits of the next token, (n_rows, n_logits) in float32; the cache grows by the ids."""
        import torch

        places = None
        if seen is not None:
            places = (seen.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        with torch.inference_mode():
            out = self._model(
                input_ids=ids.to(self._device),
                attention_mask=seen,
                position_ids=places,
                past_key_values=self._cache,
                use_cache=True,
                **self._last_only,
            )
        self._cache = out.past_key_values
        return out.logits[:, -1].float()

    def _choose(self, logits: Any) -> None:
        import torch

        allowed = torch.from_numpy(np.stack([row.guide.allowed() for row in self._rows]))
        best = logits.masked_fill(~allowed.to(self._device), -torch.inf).argmax(-1)
        self._last = best.tolist()
        for row, token in zip(self._rows, self._last, strict=True):
            row.guide.take(token)

    def _keep(self, places: list[int]) -> None:
        """Leave the other rows out of everything."""
        import torch

        if len(places) == len(self._rows):
            return
        self._rows = [self._rows[i] for i in places]
        self._last = [self._last[i] for i in places]
        if not places:
            self._cache = self._seen = None
            return
        index = torch.tensor(places, device=self._device)
        self._cache.batch_select_indices(index)
        self._seen = self._seen[index]


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"

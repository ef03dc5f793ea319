"""Load a causal model on torch and decode its rows side by side; for engine and judge."""

from __future__ import annotations

import gc
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from plugin.engines._local import PromptPair, pad_rows
from plugin.errors import ModelError, one_line

_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory")


def torch_device() -> str:
    """Return where models run: "cuda" (ROCm too), "mps" or "cpu"."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def dtype_name(place: str) -> str:
    """Return the precision of models there: float32 on a CPU, else bfloat16 where there is any."""
    import torch

    if place == "cpu":
        return "float32"
    if place == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return "float16"
    return "bfloat16"


def dtype_4bit(place: str) -> str:
    """Return the precision that weights of 4 bits are computed in there."""
    return "float16" if dtype_name(place) == "float16" else "bfloat16"


def load_torch_model(path: Path, in_4bit: bool = False) -> tuple[Any, Any]:
    """Load the model in a folder onto its device, and its tokenizer.

    Args:
        path: the folder.
        in_4bit: quantise the linear modules to NF4 while loading.

    Raises:
        ModelError: when transformers cannot load the folder, or would invent weights.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # the run has its own
    place = torch_device()
    safe = {"trust_remote_code": False, "local_files_only": True}
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, **safe)
        model, found = AutoModelForCausalLM.from_pretrained(
            path,
            dtype=getattr(torch, dtype_name(place)),
            use_safetensors=True,
            output_loading_info=True,
            **(_nf4(place) if in_4bit else {}),
            **safe,
        )
        if in_4bit:
            _keep_packing(model)
        else:  # what bitsandbytes loaded stays where it is
            model = model.to(place)
        model = model.eval()
    except Exception as error:  # the one door to loaders, which raise whatever they meet
        if in_4bit:
            raise ModelError(
                f"{path}: transformers and bitsandbytes cannot load this model in 4 bits on "
                f"{place} ({one_line(error)}). Leave --load_4bit out, or use a CUDA GPU"
            ) from error
        raise ModelError(
            f"{path}: transformers cannot load this model ({one_line(error)}). It loads hub-layout "
            "safetensors of the architectures it knows; try mlx, or a converted model"
        ) from error
    invented = sorted(map(str, found["missing_keys"])) + sorted(map(str, found["mismatched_keys"]))
    if invented:
        raise ModelError(
            f"{path}: its weights lack or misshape {len(invented)} tensors of the architecture "
            f"({', '.join(invented[:8])}), which would be random; get the model's files again"
        )
    return model, tokenizer


def _nf4(place: str) -> dict[str, Any]:
    import torch
    from transformers import BitsAndBytesConfig

    config: Any = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=getattr(torch, dtype_4bit(place)),
    )
    return {"quantization_config": config, "device_map": {"": place}}


def _keep_packing(model: Any) -> None:
    """Leave weights of 4 bits as they were loaded.

    On some CPUs bitsandbytes packs them anew at the first answer, and unpacks them wrongly whenever
    anyone asks for the model's state, as PEFT does: the base would be another one afterwards.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def eos_token_ids(model: Any, tokenizer: Any) -> set[int]:
    """Return the token ids that end a text, by the generation config and the tokenizer."""
    named = model.generation_config.eos_token_id
    found = {*(named if isinstance(named, list) else [named]), tokenizer.eos_token_id}
    return {int(token) for token in found if token is not None}


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether torch ran out of memory, on whatever device."""
    import torch

    if isinstance(error, torch.OutOfMemoryError):
        return True
    return any(words in str(error).lower() for words in _MEMORY)


def free_torch_memory() -> None:
    """Give back the memory that nothing uses any more."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()


def torch_loglikelihoods(model: Any, batch: Sequence[PromptPair]) -> list[float]:
    """Return the log probability of each row's continuation, in nats, read side by side."""
    import torch

    ids = torch.tensor(pad_rows([row.input_ids for row in batch]), device=model.device)
    known = inspect.signature(model.forward).parameters
    # Of the prompts' positions only the last predicts a target: most logits need not be made.
    first = min(row.predicting.start for row in batch) if "logits_to_keep" in known else 0
    fewer = {"logits_to_keep": ids.shape[1] - first} if first else {}
    sums = []
    with torch.inference_mode():
        logits = model(input_ids=ids, use_cache=False, **fewer).logits
        for own, row in zip(logits, batch, strict=True):
            place = slice(row.predicting.start - first, row.predicting.stop - first)
            wanted = torch.tensor(row.continuation, device=model.device)[:, None]
            sums.append(own[place].float().log_softmax(-1).gather(-1, wanted).sum())
        found: list[float] = torch.stack(sums).tolist()
    return found


class TorchRows:
    """The rows of a batch: reads their prompts, adds their tokens, drops each when it ends."""

    def __init__(self, model: Any) -> None:
        """Begin without rows."""
        self._model = model
        known = inspect.signature(model.forward).parameters
        # Only the last position is chosen from: the others' logits would fill the memory.
        self._last_only = {"logits_to_keep": 1} if "logits_to_keep" in known else {}
        self._takes_positions = "position_ids" in known
        self.clear()

    def clear(self) -> None:
        """Forget all rows."""
        self._cache: Any = None
        self._seen: Any = None  # attention mask, (n_held, n_positions)
        self._places: list[int] = []  # where each row stands in mask and cache

    def read(self, prompts: Sequence[Sequence[int]]) -> Any:
        """Return logits after the prompts, (n_rows, n_logits) in float32.

        Shorter prompts are padded in front.
        """
        import torch

        self.clear()
        length = max(map(len, prompts))
        pads = [length - len(prompt) for prompt in prompts]
        ids = [[0] * pad + list(prompt) for pad, prompt in zip(pads, prompts, strict=True)]
        seen = [[0] * pad + [1] * (length - pad) for pad in pads]
        self._seen = torch.tensor(seen, device=self._model.device)
        self._places = list(range(len(prompts)))
        return self._forward(torch.tensor(ids))

    def step(self, tokens: Sequence[int]) -> Any:
        """Return logits after one more token in each row, (n_rows, n_logits) in float32."""
        import torch

        ids = torch.zeros((len(self._seen), 1), dtype=torch.long)
        ids[self._places, 0] = torch.tensor(list(tokens))
        self._seen = torch.nn.functional.pad(self._seen, (0, 1), value=1)
        return self._forward(ids)

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all other rows; those of a cache that cannot let go are computed on, unread."""
        import torch

        if len(rows) == len(self._places):
            return
        self._places = [self._places[row] for row in rows]
        if not rows:
            self.clear()
        elif _can_select(self._cache):
            index = torch.tensor(self._places, device=self._model.device)
            self._cache.batch_select_indices(index)
            self._seen = self._seen[index]
            self._places = list(range(len(rows)))

    def _forward(self, ids: Any) -> Any:
        import torch

        positions = {}
        if self._takes_positions:
            counted = (self._seen.cumsum(-1) - 1).clamp(min=0)
            positions = {"position_ids": counted[:, -ids.shape[1] :]}
        with torch.inference_mode():
            out = self._model(
                input_ids=ids.to(self._model.device),
                attention_mask=self._seen,
                past_key_values=self._cache,
                use_cache=True,
                **positions,
                **self._last_only,
            )
            self._cache = getattr(out, "past_key_values", None)
            if self._cache is None:
                raise ModelError(
                    f"models of type {self._model.config.model_type!r} keep no keys and values "
                    "for the next token in transformers, and would be read anew for each; try mlx"
                )
            logits = out.logits[:, -1]
            if len(self._places) < len(logits):
                logits = logits[self._places]
            return logits.float()


def _can_select(cache: Any) -> bool:
    """Return whether all layers hold keys and values alone; others cannot be selected."""
    layers = getattr(cache, "layers", None)
    if layers is None:
        return False
    return hasattr(cache, "batch_select_indices") and all(
        hasattr(layer, "batch_select_indices") and not hasattr(layer, "conv_states")
        for layer in layers
    )

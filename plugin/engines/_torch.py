"""Load a causal model with torch and decode several rows at once; used by engine and judge."""

from __future__ import annotations

import gc
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from plugin.engines._local import PromptPair, pad_rows
from plugin.engines.templates import begin_tokenizer_check
from plugin.errors import ModelError, one_line
from plugin.load.files import refuse_code

_MEMORY = (
    *("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory"),
    "cublas_status_alloc_failed",
)


def torch_device() -> str:
    """Return the device for models: "cuda" (also for ROCm), "mps" or "cpu"."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def dtype_name(place: str) -> str:
    """Return the precision on a device: float32 on a CPU, else bfloat16 if supported."""
    import torch

    if place == "cpu":
        return "float32"
    if place == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return "float16"
    return "bfloat16"


def dtype_4bit(place: str) -> str:
    """Return the precision of computations with 4-bit weights on a device."""
    return "float16" if dtype_name(place) == "float16" else "bfloat16"


def load_torch_model(path: Path, in_4bit: bool = False) -> tuple[Any, Any]:
    """Load a folder's model onto the device, and its tokenizer.

    Args:
        path: the folder.
        in_4bit: quantise the linear modules to NF4 while loading.

    Raises:
        ModelError: when transformers cannot load the folder, or would fill in random weights.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # the run shows its own progress
    place = torch_device()
    if (path / "adapter_config.json").exists():
        raise ModelError(
            f"{path / 'adapter_config.json'}: there is an adapter in the model's own folder, and "
            "transformers would apply it to the base. Move its files into another folder, and give "
            "that as --model_adapter"
        )
    begin_tokenizer_check(path)()
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
        else:  # bitsandbytes has already put its model on the device
            model = model.to(place)
        model = model.eval()
    except Exception as error:  # loaders can raise anything; this is their only caller
        if in_4bit:
            raise ModelError(
                f"{path}: transformers and bitsandbytes cannot load this model in 4 bits on "
                f"{place} ({one_line(error)}). Leave --load_4bit out, or use a CUDA GPU"
            ) from error
        refuse_code(path, str(error))
        raise ModelError(
            f"{path}: transformers cannot load this model ({one_line(error)}). It needs "
            "safetensors in the hub's layout and an architecture that it knows; try mlx, or "
            "convert the model"
        ) from error
    invented = sorted(map(str, found["missing_keys"])) + sorted(map(str, found["mismatched_keys"]))
    if invented:
        raise ModelError(
            f"{path}: {len(invented)} tensors of the architecture are missing or have the wrong "
            f"shape ({', '.join(invented[:8])}), so transformers would fill in random numbers; "
            "get the model's files again"
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
    """Keep 4-bit weights as they were loaded.

    On some CPUs bitsandbytes repacks them at the first forward pass, and unpacks them wrongly when
    something reads the model's state dict, as PEFT does. That would change the base.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def eos_token_ids(model: Any, tokenizer: Any) -> set[int]:
    """Return the ids of end-of-text tokens from the generation config and the tokenizer."""
    named = model.generation_config.eos_token_id
    found = {*(named if isinstance(named, list) else [named]), tokenizer.eos_token_id}
    return {int(token) for token in found if token is not None}


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether the error says that torch ran out of memory, on any device."""
    import torch

    if isinstance(error, torch.OutOfMemoryError):
        return True
    return any(words in str(error).lower() for words in _MEMORY)


def free_torch_memory() -> None:
    """Release memory that is no longer used."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()


def free_gpu_bytes() -> int:
    """Return how many bytes this process can still take on the GPU."""
    import torch

    free, whole = torch.cuda.mem_get_info()
    share = getattr(torch.cuda, "get_per_process_memory_fraction", lambda: 1.0)()
    return int(min(free, share * whole - torch.cuda.memory_reserved()))


def torch_loglikelihoods(model: Any, batch: Sequence[PromptPair]) -> list[float]:
    """Return the log probability of each row's continuation in nats, computed in one batch."""
    import torch

    ids = torch.tensor(pad_rows([row.input_ids for row in batch]), device=model.device)
    known = inspect.signature(model.forward).parameters
    # Only a prompt's last position predicts a target, so most of its logits are not needed.
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
    """Decode the rows of a batch: read prompts, append tokens, drop rows that have ended."""

    def __init__(self, model: Any) -> None:
        """Start without rows."""
        self._model = model
        known = inspect.signature(model.forward).parameters
        # Only the last position's logits are used; those of the others would fill the memory.
        self._last_only = {"logits_to_keep": 1} if "logits_to_keep" in known else {}
        self._takes_positions = "position_ids" in known
        self.clear()

    def clear(self) -> None:
        """Drop all rows."""
        self._cache: Any = None
        self._seen: Any = None  # attention mask, (n_held, n_positions)
        self._places: list[int] = []  # each row's index in mask and cache

    def read(self, prompts: Sequence[Sequence[int]]) -> Any:
        """Read new prompts; return their next-token logits, (n_rows, n_logits) in float32.

        Shorter prompts are padded at the start.
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
        """Append a token to each row; return next-token logits, (n_rows, n_logits) in float32."""
        import torch

        ids = torch.zeros((len(self._seen), 1), dtype=torch.long)
        ids[self._places, 0] = torch.tensor(list(tokens))
        self._seen = torch.nn.functional.pad(self._seen, (0, 1), value=1)
        return self._forward(ids)

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all other rows; if the cache cannot drop rows, they are computed but ignored."""
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
                    f"models of type {self._model.config.model_type!r} have no key-value cache in "
                    "transformers, so every token would need a full pass; try mlx"
                )
            logits = out.logits[:, -1]
            if len(self._places) < len(logits):
                logits = logits[self._places]
            return logits.float()


def _can_select(cache: Any) -> bool:
    """Return whether rows can be selected: all layers cache only keys and values."""
    layers = getattr(cache, "layers", None)
    if layers is None:
        return False
    return hasattr(cache, "batch_select_indices") and all(
        hasattr(layer, "batch_select_indices") and not hasattr(layer, "conv_states")
        for layer in layers
    )

"""Keep the keys and values of slots, and attend to them; see `_torch_slots.py`."""

from __future__ import annotations

from typing import Any

_ATTENTION = "finetune_verdict"


class SlotPlace:
    """Say where the layers put keys and values: prompts into slots, or one token into each row."""

    reads_into: Any = None
    writes_at: Any = None
    n_columns = 0


class SlotLayer:
    """Keep one layer's keys and values, as the library's `Cache` wants its layers.

    Shapes are (n_slots, n_heads, width, head_dim).
    """

    is_compileable = False
    is_croppable = False
    supports_early_init = False

    def __init__(self, place: SlotPlace, n_slots: int, width: int, window: int | None) -> None:
        self._place, self._size = place, (n_slots, width)
        self.is_sliding = window is not None
        self.sliding_window = window
        self.is_initialized = True
        self.keys: Any = None
        self.values: Any = None

    def update(self, keys: Any, values: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
        """Keep new keys and values; return those that the attention looks at."""
        if self.keys is None:
            self.keys, self.values = self._room(keys), self._room(values)
        place = self._place
        if place.reads_into is not None:
            n = keys.shape[2]
            self.keys[place.reads_into, :, :n] = keys
            self.values[place.reads_into, :, :n] = values
            return keys, values
        rows, columns = place.writes_at
        self.keys[rows, :, columns] = keys[:, :, 0]
        self.values[rows, :, columns] = values[:, :, 0]
        seen = slice(len(rows)), slice(None), slice(place.n_columns)
        return self.keys[seen], self.values[seen]

    def _room(self, like: Any) -> Any:
        n_slots, width = self._size
        return like.new_zeros((n_slots, like.shape[1], width, like.shape[3]))

    def resize(self, n_slots: int, width: int) -> None:
        """Change number and width of the rows; those that have no place any more are lost."""
        n_rows, n_columns = (min(pair) for pair in zip(self._size, (n_slots, width), strict=True))
        self._size = n_slots, width
        if self.keys is not None:
            for name in ("keys", "values"):
                old = getattr(self, name)
                setattr(self, name, self._room(old))
                getattr(self, name)[:n_rows, :, :n_columns] = old[:n_rows, :, :n_columns]

    def get_seq_length(self) -> int:
        """Return 0: a prompt is read into an empty slot, and steps name their positions."""
        return 0

    def get_query_offset(self) -> int:
        """See `get_seq_length`."""
        return 0

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return length and offset of the keys while a prompt is read."""
        return query_length, 0

    def get_max_length(self) -> int:
        """Return the number of columns."""
        return self._size[1]


def use_grouped_attention(model: Any) -> None:
    """Let the model attend without copying keys that several heads share.

    The library repeats them for every head when there is a mask, which moves several times as much
    memory in each step. Here heads that share keys are put side by side as queries of one head.
    Only single-token steps differ from the library's own attention.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import sdpa_mask

    if model.config._attn_implementation != "sdpa":
        return

    def attend(module: Any, query: Any, key: Any, value: Any, mask: Any, **more: Any) -> Any:
        n_shared = query.shape[1] // key.shape[1]
        if query.shape[2] != 1 or n_shared == 1 or mask is None or more.get("position_bias"):
            return sdpa_attention_forward(module, query, key, value, mask, **more)
        return _grouped(query, key, value, mask, n_shared, more.get("scaling")), None

    AttentionInterface.register(_ATTENTION, attend)
    AttentionMaskInterface.register(_ATTENTION, sdpa_mask)
    model.set_attn_implementation(_ATTENTION)


def _grouped(query: Any, key: Any, value: Any, mask: Any, n_shared: int, scaling: Any) -> Any:
    """Attend with one query position per row, shape (n_rows, n_heads, 1, head_dim)."""
    import torch

    attend = torch.nn.functional.scaled_dot_product_attention
    n_rows, n_heads, _, head_dim = query.shape
    if _knows_groups(query, key, value, mask, scaling):
        out = attend(query, key, value, attn_mask=mask, scale=scaling, enable_gqa=True)
        return out.transpose(1, 2)
    side_by_side = query.reshape(n_rows, n_heads // n_shared, n_shared, head_dim)
    out = attend(side_by_side, key, value, attn_mask=mask, scale=scaling)
    return out.reshape(n_rows, 1, n_heads, value.shape[-1])


def _knows_groups(query: Any, key: Any, value: Any, mask: Any, scaling: Any) -> bool:
    """Return whether torch has a kernel here for heads that share keys under a mask.

    On Hopper cuDNN's takes half the time of the way around; elsewhere torch would take its slowest.
    """
    import torch
    from torch.nn.attention import SDPBackend

    choose = getattr(torch, "_fused_sdp_choice", None)
    if choose is None or query.device.type != "cuda":
        return False
    found = choose(query, key, value, attn_mask=mask, scale=scaling, enable_gqa=True)
    return bool(found == SDPBackend.CUDNN_ATTENTION.value)

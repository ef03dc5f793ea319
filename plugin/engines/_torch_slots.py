"""Decode prompts side by side in slots of fixed shape, on torch.

A slot is a row of keys and values with room for a prompt and its completion. A prompt is read into
a slot that is free, beside others that are half written. Every step then makes the next token of
all slots with the same few shapes and without asking the host: the most likely token is chosen and
fed back on the device, and tokens come to the host in blocks. On CUDA each shape is recorded once
as a graph and replayed, so Python does nothing per token.

A row's columns begin at 0, whatever its neighbours are, so there is no padding to mask. What stands
behind a row's last token is old, masked, and overwritten when the row gets there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from plugin.engines._torch_graphs import StepGraphs
from plugin.engines._torch_layers import SlotLayer, SlotPlace, use_grouped_attention
from plugin.records import Draw
from plugin.sampling import gumbel, noise_bits, words_of

BLOCK = 16
"""Steps between two looks at the tokens on a GPU; a row that ends between them waits till then."""

READ_AT_ONCE = 16_384
"""Largest number of prompt positions that are read in one forward pass on a GPU."""

_READ_AT_ONCE_CPU = 4096
_FEWEST_ROWS = 8

Tokens = np.ndarray[Any, np.dtype[np.int64]]


class SlotPlan(NamedTuple):
    """Describe a model's keys and values.

    Attributes:
        windows: each layer's attention window in tokens; None for a layer that sees everything.
        bytes_per_token: memory of one token's keys and values, over all layers.
        n_vocabulary: number of logits.
        unrecorded: why its steps cannot be recorded as CUDA graphs; "" if they can.
    """

    windows: tuple[int | None, ...]
    bytes_per_token: int
    n_vocabulary: int
    unrecorded: str

    @property
    def is_mixed(self) -> bool:
        """Return whether some layers have a window and others have none."""
        return len({window is None for window in self.windows}) > 1


class TorchSlots:
    """Hold the rows of a batch: read prompts into slots, write tokens, move rows.

    Attributes:
        n_slots: number of rows.
        width: positions of a row: prompt and completion.
    """

    def __init__(
        self,
        model: Any,
        plan: SlotPlan,
        n_slots: int,
        width: int,
        *,
        is_guided: bool = False,
        is_drawn: bool = False,
    ) -> None:
        """Allocate the rows' tokens; keys and values follow with the first prompt.

        Args:
            model: of transformers.
            plan: see `_torch_plan.py`.
            n_slots: number of rows.
            width: positions of a row.
            is_guided: whether only tokens that `allow` names may be written.
            is_drawn: whether some rows are drawn at random.
        """
        import torch
        from transformers.cache_utils import Cache, CacheLayerMixin

        CacheLayerMixin.register(SlotLayer)  # without importing the library before it is needed
        use_grouped_attention(model)
        self._model, self._plan = model, plan
        self._on_gpu = model.device.type == "cuda"
        self._place = SlotPlace()
        self._layers = [SlotLayer(self._place, n_slots, width, each) for each in plan.windows]
        self._cache: Any = Cache(layers=self._layers)
        self._next = [0] * n_slots  # the column of each row's next token; 0 for a free slot
        self._graphs = StepGraphs(self._choose, plan.unrecorded)
        self._make_step = self._graphs.run if self._on_gpu else self._choose
        self._begun = (0, 0)
        self._copied: Any = torch.cuda.Event() if self._on_gpu else None
        with torch.inference_mode():
            self._tokens = torch.zeros(n_slots, dtype=torch.long, device=model.device)
            self._positions = torch.zeros_like(self._tokens)
            self._step = torch.zeros_like(self._tokens[:1])
            self._draws = SlotDraws(n_slots, plan.n_vocabulary, model.device) if is_drawn else None
            self._allowed = None
            if is_guided:
                shape = (n_slots, plan.n_vocabulary)
                self._allowed = torch.ones(shape, dtype=torch.bool, device=model.device)
            self._allocate(n_slots, width)

    def _allocate(self, n_slots: int, width: int) -> None:
        import torch

        self.n_slots, self.width = n_slots, width
        self._written = self._tokens.new_zeros((n_slots, BLOCK))
        self._copy = torch.zeros((n_slots, BLOCK), dtype=torch.long, pin_memory=self._on_gpu)
        self._rows = torch.arange(n_slots, device=self._model.device)
        self._columns = torch.arange(width, device=self._model.device)

    @property
    def note(self) -> str:
        """Return why steps are not recorded as graphs; "" if they are, or on a CPU."""
        return self._graphs.note if self._on_gpu else ""

    @property
    def block(self) -> int:
        """Return how many steps are written between two looks at the tokens."""
        return BLOCK if self._on_gpu else 1

    @property
    def n_bytes(self) -> int:
        """Return the memory of the keys and values."""
        return self.n_slots * self.width * self._plan.bytes_per_token

    def round_rows(self, n: int) -> int:
        """Return how many rows to compute for n rows: on a GPU all, a quarter, a sixteenth ..."""
        if not self._on_gpu:
            return n
        size = self.n_slots
        while size > _FEWEST_ROWS and n <= -(-size // 4):
            size = -(-size // 4)
        return size

    def set_draws(
        self, draws: Sequence[Draw | None], lengths: Sequence[int], slots: Sequence[int]
    ) -> None:
        """Say how the completions in these slots are drawn; call it before `read`.

        Args:
            draws: how; None for the most likely tokens.
            lengths: of the prompts.
            slots: where each of them goes.
        """
        if self._draws:
            self._draws.begin(slots, draws, [length - 1 for length in lengths])

    def read(self, prompts: Sequence[Sequence[int]], slots: Sequence[int]) -> None:
        """Read prompts into free slots; the first step reads their last token.

        Prompts of one pass are padded at the end, which a causal model ignores.
        """
        import torch

        order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
        most = READ_AT_ONCE if self._on_gpu else _READ_AT_ONCE_CPU
        with torch.inference_mode():
            while order:
                n_rows = max(1, most // len(prompts[order[0]]))
                part, order = order[:n_rows], order[n_rows:]
                self._read_part([prompts[i] for i in part], [slots[i] for i in part])

    def _read_part(self, prompts: list[Sequence[int]], slots: list[int]) -> None:
        import torch

        device = self._model.device
        # Small copies wait for the device, so they come before the long pass.
        places = torch.tensor(slots, device=device)
        last = torch.tensor([prompt[-1] for prompt in prompts], device=device)
        positions = torch.tensor([len(one) - 1 for one in prompts], device=device)
        begun = [(row, prompt[:-1]) for row, prompt in zip(slots, prompts, strict=True)]
        begun = [(row, prompt) for row, prompt in begun if prompt]
        if begun:
            length = max(len(prompt) for _, prompt in begun)
            ids = torch.tensor([[*one, *[0] * (length - len(one))] for _, one in begun])
            self._place.reads_into = torch.tensor([row for row, _ in begun], device=device)
            self._model(
                input_ids=ids.to(device),
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=1,
            )
            self._place.reads_into = None
        self._tokens[places] = last
        self._positions[places] = positions
        for slot, prompt in zip(slots, prompts, strict=True):
            self._next[slot] = len(prompt) - 1

    def release(self, slot: int) -> None:
        """Free a slot; its row is computed until another prompt takes it, and ignored."""
        self._next[slot] = 0

    def close_ranks(self, used: Sequence[int]) -> tuple[int, dict[int, int]]:
        """Move rows up where fewer rows can then be computed.

        Args:
            used: the slots in use.

        Returns:
            How many rows the next steps must compute; old slot -> new slot of the moved ones.
        """
        n_rows = self.round_rows(max(used) + 1)
        fewer = self.round_rows(len(used))
        if fewer >= n_rows:
            return n_rows, {}
        late = [slot for slot in used if slot >= fewer]
        free = sorted(set(range(fewer)) - set(used))[: len(late)]
        self._move(late, free)
        return fewer, dict(zip(late, free, strict=True))

    def _move(self, origins: list[int], targets: list[int]) -> None:
        import torch

        with torch.inference_mode():
            one, other = (
                torch.tensor(each, device=self._model.device) for each in (origins, targets)
            )
            held = [each for layer in self._layers for each in (layer.keys, layer.values)]
            drawn = self._draws.rows if self._draws else ()
            for each in (self._tokens, self._positions, *drawn, *held):
                if each is not None:
                    each[other] = each[one]
        for origin, target in zip(origins, targets, strict=True):
            self._next[target], self._next[origin] = self._next[origin], 0

    def allow(self, allowed: np.ndarray[Any, np.dtype[np.bool_]]) -> None:
        """Say which tokens may come next in the first rows, shape (n_rows, n_vocabulary)."""
        import torch

        assert self._allowed is not None, "these slots are not guided"
        with torch.inference_mode():
            self._allowed[: len(allowed)].copy_(torch.from_numpy(allowed), non_blocking=True)

    def peek(self, n_rows: int) -> Any:
        """Return the next-token logits of the first rows in float32, without choosing a token."""
        import torch

        with torch.inference_mode():
            return self._forward(n_rows, self._n_columns(n_rows, 1)).float()

    def write(self, n_rows: int, n_steps: int) -> Tokens:
        """Write tokens of the first rows; return them, shape (n_rows, n_steps).

        Args:
            n_rows: how many; later slots must be free.
            n_steps: up to `BLOCK`.
        """
        self.begin(n_rows, n_steps)
        return self.collect()

    def begin(self, n_rows: int, n_steps: int) -> None:
        """Let a GPU write tokens, see `write`, and do not wait for it."""
        import torch

        shape = n_rows, self._n_columns(n_rows, n_steps)
        with torch.inference_mode():
            self._step.zero_()
            for _ in range(n_steps):
                self._make_step(*shape)
            self._copy[:n_rows, :n_steps].copy_(self._written[:n_rows, :n_steps], non_blocking=True)
        if self._on_gpu:
            self._copied.record()
        self._begun = n_rows, n_steps
        for i in range(n_rows):
            self._next[i] = min(self._next[i] + n_steps, self.width - 1)

    def collect(self) -> Tokens:
        """Wait for the tokens that `begin` began; return them, shape (n_rows, n_steps)."""
        if self._on_gpu:
            self._copied.synchronize()
        n_rows, n_steps = self._begun
        found: Tokens = self._copy[:n_rows, :n_steps].numpy().copy()
        return found

    def resize(self, n_slots: int, width: int) -> None:
        """Change number and width of the slots; rows in use must fit. Recorded steps are lost."""
        import torch

        self._graphs.clear()
        n_kept = min(n_slots, self.n_slots)
        with torch.inference_mode():
            self._tokens, self._positions = (
                _resized(each, n_kept, (n_slots,)) for each in (self._tokens, self._positions)
            )
            if self._draws:
                self._draws.rows = [_resized(each, n_kept, (n_slots,)) for each in self._draws.rows]
            self._allocate(n_slots, width)
            for layer in self._layers:
                layer.resize(n_slots, width)
        self._next = [*self._next[:n_kept], *[0] * (n_slots - n_kept)]

    def _n_columns(self, n_rows: int, n_steps: int) -> int:
        """Return how many columns the next steps look at, as one of a few sizes."""
        wanted = max(self._next[:n_rows], default=0) + n_steps
        return min(round_columns(wanted), self.width)

    def _choose(self, n_rows: int, n_columns: int) -> None:
        """Make the next token of each row, and feed it back; all of it stays on the device."""
        logits = self._forward(n_rows, n_columns)
        if self._allowed is not None:
            logits = logits.masked_fill(~self._allowed[:n_rows], float("-inf"))
        if self._draws:
            logits = self._draws.noisy(logits, self._positions[:n_rows])
        chosen = logits.argmax(-1)
        self._tokens[:n_rows].copy_(chosen)
        step = self._step.expand(n_rows)[:, None]
        self._written[:n_rows].scatter_(1, step, chosen[:, None])
        self._positions[:n_rows].add_(1).clamp_(max=self.width - 1)
        self._step.add_(1)

    def _forward(self, n_rows: int, n_columns: int) -> Any:
        """Return the next-token logits, shape (n_rows, n_vocabulary)."""
        import torch

        # Only rows that have ended can have left these columns.
        positions = self._positions[:n_rows].clamp(max=n_columns - 1)
        self._place.writes_at = (self._rows[:n_rows], positions)
        self._place.n_columns = n_columns
        columns = self._columns[:n_columns]
        hidden = torch.finfo(self._model.dtype).min
        masks = {}
        for name, window in zip(self._kinds(), self._plan.windows, strict=True):
            if name not in masks:
                seen = columns <= positions[:, None]
                if window is not None:
                    seen &= columns > positions[:, None] - window
                mask = torch.zeros(seen.shape, dtype=self._model.dtype, device=seen.device)
                masks[name] = mask.masked_fill_(~seen, hidden)[:, None, None]
        out = self._model(
            input_ids=self._tokens[:n_rows, None],
            attention_mask=masks if self._plan.is_mixed else next(iter(masks.values())),
            position_ids=positions[:, None],
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return out.logits[:, -1]

    def _kinds(self) -> list[str]:
        """Return the name of each layer's kind, as models with both kinds call them."""
        names = {True: "full_attention", False: "sliding_attention"}
        return [names[window is None] for window in self._plan.windows]


class SlotDraws:
    """Hold on the device how the row of each slot is drawn.

    Attributes:
        rows: one tensor with a value per slot for each of: the two words of the seed, the column of
            the prompt's last token, the temperature, and whether the row is drawn (1 or 0).
    """

    def __init__(self, n_slots: int, n_vocabulary: int, device: Any) -> None:
        """Begin with rows of which none is drawn."""
        import torch

        whole = torch.zeros(n_slots, dtype=torch.long, device=device)
        self.rows = [*(torch.zeros_like(whole) for _ in range(3)), whole + 1.0, whole + 0.0]
        self._ids = torch.arange(n_vocabulary, device=device)

    def begin(
        self, slots: Sequence[int], draws: Sequence[Draw | None], begins: Sequence[int]
    ) -> None:
        """Set how the rows of these slots are drawn."""
        import torch

        facts = [
            (*words_of(draw.seed), begin, draw.temperature, 1.0)
            if draw
            else (0, 0, begin, 1.0, 0.0)
            for draw, begin in zip(draws, begins, strict=True)
        ]
        with torch.inference_mode():
            index = torch.tensor(list(slots), device=self._ids.device)
            for each, values in zip(self.rows, zip(*facts, strict=True), strict=True):
                each[index] = torch.tensor(values, device=each.device).to(each.dtype)

    def noisy(self, logits: Any, positions: Any) -> Any:
        """Return logits of which the largest is each row's draw."""
        low, high, begins, temperature, is_drawn = (each[: len(logits), None] for each in self.rows)
        return add_noise(
            logits, (low, high), positions[:, None] - begins, self._ids, temperature, is_drawn
        )


def add_noise(
    logits: Any, words: tuple[Any, Any], steps: Any, ids: Any, temperature: Any, is_drawn: Any
) -> Any:
    """Return logits / temperature with Gumbel noise; rows that are not drawn keep theirs.

    Args:
        logits: shape (n_rows, n_vocabulary).
        words: the words of the rows' seeds, shape (n_rows, 1) each.
        steps: the place of the next token in its completion, shape (n_rows, 1).
        ids: the vocabulary's token ids, shape (n_vocabulary,).
        temperature: shape (n_rows, 1); 1 where nothing is drawn.
        is_drawn: 1 or 0, shape (n_rows, 1).
    """
    import torch

    noise = gumbel(noise_bits(words, steps, ids), torch, lambda each: each.float())
    return torch.where(is_drawn > 0, logits.float() / temperature + noise, logits.float())


def round_columns(n: int) -> int:
    """Return the next of a few sizes, so that few shapes occur."""
    step = 128 if n <= 1024 else 256 if n <= 4096 else 1024
    return -(-n // step) * step


def _resized(old: Any, n_kept: int, shape: tuple[int, ...]) -> Any:
    new = old.new_zeros(shape)
    new[:n_kept] = old[:n_kept]
    return new

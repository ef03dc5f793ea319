"""Complete prompts on torch, many side by side; where rows end, waiting prompts take their place.

Most models are decoded in slots (`_torch_slots.py`). Others are decoded batch by batch, with the
library's own cache: the rows of a batch begin together, and leave it when they end. When memory
runs out, half as many rows go on. Unfinished completions start again; finished ones are kept.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence, Set
from dataclasses import replace
from typing import Any

import numpy as np

from plugin.engines import NO_MEMORY, EngineSettings, failed
from plugin.engines._local import room_left
from plugin.engines._torch import (
    TorchRows,
    free_gpu_bytes,
    free_torch_memory,
    is_out_of_memory,
)
from plugin.engines._torch_plan import plan_slots
from plugin.engines._torch_slots import SlotDraws, SlotPlan, TorchSlots, round_columns
from plugin.errors import FaultError
from plugin.records import Completion, Failure, NoResult, Prompt

MOST_ROWS = 512
"""Largest number of rows on a GPU where the user names none; more are hardly faster."""

_SHARE = 0.7
"""Share of the free memory that rows may take; passes over prompts need the rest."""

_N_PROBED = 32
"""Tokens of a completion that are compared between batches."""

_DRAWN_BYTES = 40
"""Memory for each logit of a row that is drawn: its noise is made of integers of 64 bits."""

_REFILL_SHARE = 8
"""Prompts are read when one slot in so many is free: reading few at a time is slow on a GPU."""

Ended = tuple[Completion | Failure, ...]


class GrowingCompletion:
    """Collect the tokens of one completion.

    Attributes:
        reason: why the completion ended, "stop" or "length"; empty until then.
        seconds: time from its start in the batch to its last token.
    """

    def __init__(self, prompt: Prompt, n_room: int) -> None:
        self.prompt = prompt
        self.token_ids: list[int] = []
        self.reason = ""
        self.seconds = 0.0
        self.n_room = n_room
        self._started_s = time.perf_counter()

    @property
    def n_left(self) -> int:
        """Return how many tokens may still follow."""
        return self.n_room - len(self.token_ids)

    def add(self, tokens: Sequence[int], eos_ids: Set[int], began_s: float) -> None:
        """Add tokens up to the end of the text, which is left out, or of the room.

        Args:
            tokens: the next ones; the step of each took equally long.
            eos_ids: the tokens that end a text.
            began_s: when the first step began.
        """
        a_step_s = (time.perf_counter() - began_s) / len(tokens)
        for i, token in enumerate(tokens):
            if token in eos_ids:
                self.reason = "stop"
            else:
                self.token_ids.append(token)
                if not self.n_left:
                    self.reason = "length"
            self.seconds = began_s + (i + 1) * a_step_s - self._started_s
            if self.reason:
                break


class PromptDecoder:
    """Complete prompts with the weights that are on.

    Attributes:
        most_rows: how many completions may be made at the same time; halved where memory is short.
        obstacle: why the model is decoded batch by batch; "" where it is decoded in slots, or
            nothing was decoded yet.
    """

    def __init__(self, model: Any, tokenizer: Any, settings: EngineSettings) -> None:
        """Keep the loaded parts; the first prompts show how the model can be decoded."""
        self._model, self._tokenizer, self._settings = model, tokenizer, settings
        self._on_gpu = model.device.type == "cuda"
        fits = settings.fits_memory and self._on_gpu
        self.most_rows = MOST_ROWS if fits else settings.batch_size
        self._is_measured = fits
        self._plan: SlotPlan | None = None
        self.obstacle = ""
        self._graph_note = ""

    @property
    def policy(self) -> str:
        """Return how completions are made, in words; "" before the first."""
        if self.obstacle:
            return f"batch by batch, up to {self.most_rows} rows ({self.obstacle})"
        if self._plan is None:
            return ""
        how = ""
        if self._on_gpu:
            how = f", {self._graph_note or 'steps recorded as CUDA graphs'}"
        return f"in slots, up to {self.most_rows} rows, ended rows replaced{how}"

    def complete(self, prompts: Sequence[Prompt], ends: Set[int]) -> Iterator[Ended]:
        """Complete prompts, longest first, so that a lack of memory shows early.

        Args:
            prompts: all fit the model's context.
            ends: the tokens that end a text.
        """
        waiting = deque(sorted(prompts, key=lambda prompt: -len(prompt.token_ids)))
        if self._can_use_slots():
            yield from self._complete_in_slots(waiting, ends)
        else:
            yield from self._complete_in_batches(waiting, ends)

    def probe(self, prompts: Sequence[Prompt], ends: Set[int], n_rows: int) -> list[list[int]]:
        """Return the first tokens of completions made in steps of so many rows.

        Not all rows need a prompt. A step of many rows is computed in another way than one of few,
        whatever the other rows hold. The result is empty if the model is not decoded in slots, or
        memory is short.
        """
        try:
            if not self._can_use_slots():
                return []
            settings = replace(self._settings, max_tokens=_N_PROBED)
            slots = self._new_slots(n_rows, prompts)
            rows = _SlotRows(slots, ends, settings, is_fixed=True)
            found: dict[str, list[int]] = {}
            waiting = deque(prompts)
            while waiting or rows.live:
                rows.refill(waiting)
                found |= {one.prompt.case_id: one.token_ids for one in rows.step()}
            return [found[prompt.case_id] for prompt in prompts]
        except RuntimeError as error:
            self._is_short(error)
            return []

    def n_rows_of_probes(self, prompts: Sequence[Prompt]) -> int:
        """Return how many rows the probes' steps have beside each other, as in the run."""
        return self._rows_for(prompts, n_rows=self.most_rows) if self._can_use_slots() else 0

    def _can_use_slots(self) -> bool:
        if self._plan is None and not self.obstacle:
            found = plan_slots(self._model)
            if isinstance(found, str):
                self.obstacle = found
            else:
                self._plan = found
        return self._plan is not None

    def _complete_in_slots(self, waiting: deque[Prompt], ends: Set[int]) -> Iterator[Ended]:
        """Complete prompts in slots; what ended is handed on while a GPU writes the next block."""
        rows: _SlotRows | None = None
        ended: list[GrowingCompletion] = []
        while waiting or (rows and rows.live):
            is_short = False
            try:
                if rows is None:
                    slots = self._new_slots(self._rows_for(waiting), waiting)
                    rows = _SlotRows(slots, ends, self._settings)
                self._refill(rows, waiting)
                rows.begin()
            except RuntimeError as error:
                is_short = self._is_short(error)
            yield tuple(self._finish(growing) for growing in ended)
            ended = []
            try:
                if rows is not None and not is_short:
                    ended = rows.collect()
                    self._graph_note = rows.slots.note
            except RuntimeError as error:
                is_short = self._is_short(error)
            if is_short:
                n_rows = rows.slots.n_slots if rows else 1
                waiting.extendleft(reversed(rows.unfinished() if rows else []))
                rows = None
                free_torch_memory()
                if n_rows == 1:
                    yield (_no_memory_failure(waiting.popleft()),)
                else:
                    self.most_rows = n_rows // 2
        yield tuple(self._finish(growing) for growing in ended)

    def _is_short(self, error: RuntimeError) -> bool:
        """Return True if torch is out of memory.

        Raises:
            FaultError: for any other error.
        """
        if is_out_of_memory(error):
            return True
        raise FaultError(
            f"torch stopped generating: {error}. If it ran out of memory, lower --batch_size"
        ) from error

    def _refill(self, rows: _SlotRows, waiting: deque[Prompt]) -> None:
        """Let waiting prompts take free slots; where they need little room, there are more."""
        if rows.n_ended >= rows.slots.n_slots and waiting and self._is_measured:
            rows.n_ended = 0
            every = [*waiting, *(one.prompt for one in rows.live)]
            n_rows, width = self._rows_for(every, rows.slots.n_bytes), self._width(every)
            if n_rows >= 2 * rows.slots.n_slots:
                rows.resize(n_rows, width)
        n_free = rows.slots.n_slots - len(rows.live)
        least = rows.slots.n_slots // _REFILL_SHARE if self._on_gpu else 1
        if waiting and (not rows.live or n_free >= min(len(waiting), max(1, least))):
            rows.refill(waiting)

    def _new_slots(self, n_rows: int, prompts: Sequence[Prompt]) -> TorchSlots:
        assert self._plan is not None, "`_can_use_slots` makes it"
        drawn = any(prompt.draw for prompt in prompts)
        return TorchSlots(self._model, self._plan, n_rows, self._width(prompts), is_drawn=drawn)

    def _width(self, prompts: Sequence[Prompt]) -> int:
        longest = max(len(one.token_ids) + room_left(one, self._settings) for one in prompts)
        return round_columns(longest + 1)

    def _rows_for(
        self, prompts: Sequence[Prompt], n_held_bytes: int = 0, n_rows: int | None = None
    ) -> int:
        """Return how many prompts like these are completed side by side.

        Args:
            prompts: at least one.
            n_held_bytes: memory of the slots that are there, and that new ones may take.
            n_rows: how many are wanted; all of the prompts if None.
        """
        n_rows = min(self.most_rows, n_rows or len(prompts))
        if not self._is_measured or self._plan is None:
            return n_rows
        budget = _SHARE * (_free_memory() + n_held_bytes)
        a_logit = _DRAWN_BYTES if any(prompt.draw for prompt in prompts) else 8
        row = self._width(prompts) * self._plan.bytes_per_token + a_logit * self._plan.n_vocabulary
        return max(1, min(n_rows, int(budget / row)))

    def _complete_in_batches(self, waiting: deque[Prompt], ends: Set[int]) -> Iterator[Ended]:
        rows = TorchRows(self._model)
        while waiting:
            n_rows = min(self.most_rows, len(waiting))
            prompts = [waiting.popleft() for _ in range(n_rows)]
            batch = [GrowingCompletion(one, room_left(one, self._settings)) for one in prompts]
            live, places, is_short = list(batch), list(range(n_rows)), False
            while live and not is_short:
                began_s = time.perf_counter()
                tokens = self._next_tokens(rows, live, places)
                is_short = tokens is None
                for growing, token in zip(live, tokens or (), strict=not is_short):
                    growing.add((token,), ends, began_s)
                yield tuple(self._finish(growing) for growing in live if growing.reason)
                places = [i for i, growing in enumerate(live) if not growing.reason]
                live = [live[i] for i in places]
            rows.clear()
            if not is_short:
                continue
            free_torch_memory()
            if n_rows == 1:
                yield (_no_memory_failure(prompts[0]),)
            else:
                self.most_rows = n_rows // 2
                waiting.extendleft(reversed([one.prompt for one in live]))

    def _next_tokens(
        self, rows: TorchRows, live: Sequence[GrowingCompletion], places: Sequence[int]
    ) -> list[int] | None:
        """Return the next token of each remaining row; None when memory ran out."""
        try:
            if live[0].token_ids:
                rows.keep(places)
                logits = rows.step([growing.token_ids[-1] for growing in live])
            else:
                logits = rows.read([growing.prompt.token_ids for growing in live])
            if any(growing.prompt.draw for growing in live):
                logits = _noisy(logits, live)
            chosen: list[int] = logits.argmax(-1).tolist()
            return chosen
        except RuntimeError as error:  # also raised when torch is out of memory
            self._is_short(error)
            return None

    def _finish(self, growing: GrowingCompletion) -> Completion:
        return Completion(
            case_id=growing.prompt.case_id,
            variant=growing.prompt.variant,
            text=self._tokenizer.decode(growing.token_ids, skip_special_tokens=True),
            token_ids=tuple(growing.token_ids),
            finish_reason="stop" if growing.reason == "stop" else "length",
            seconds=growing.seconds,
            n_prompt_tokens=len(growing.prompt.token_ids),
            n_tokens=len(growing.token_ids),
            sample=growing.prompt.sample,
        )


def _noisy(logits: Any, live: Sequence[GrowingCompletion]) -> Any:
    """Return logits of which the largest is the draw of each row."""
    import torch

    draws = SlotDraws(len(live), logits.shape[-1], logits.device)
    draws.begin(range(len(live)), [one.prompt.draw for one in live], [0] * len(live))
    return draws.noisy(
        logits, torch.tensor([len(one.token_ids) for one in live], device=logits.device)
    )


class _SlotRows:
    """Follow the completions that grow in slots.

    Attributes:
        slots: hold the rows.
        n_ended: completions that ended since somebody set it to 0.
    """

    def __init__(
        self, slots: TorchSlots, ends: Set[int], settings: EngineSettings, *, is_fixed: bool = False
    ) -> None:
        """Begin without rows.

        Args:
            slots: all free.
            ends: the tokens that end a text.
            settings: the engine's.
            is_fixed: whether every step computes all rows.
        """
        self.slots, self.n_ended = slots, 0
        self._ends, self._settings, self._is_fixed = ends, settings, is_fixed
        self._ends_array = np.array(sorted(ends), np.int64)
        self._rows: dict[int, GrowingCompletion] = {}  # by slot
        self._began_s = 0.0

    @property
    def live(self) -> list[GrowingCompletion]:
        """Return the completions that are not finished."""
        return list(self._rows.values())

    def unfinished(self) -> list[Prompt]:
        """Return the prompts of the live rows, longest first."""
        prompts = [growing.prompt for growing in self._rows.values()]
        return sorted(prompts, key=lambda prompt: -len(prompt.token_ids))

    def refill(self, waiting: deque[Prompt]) -> None:
        """Let the first waiting prompts take the free slots."""
        free = [slot for slot in range(self.slots.n_slots) if slot not in self._rows]
        slots = free[: len(waiting)]
        if not slots:
            return
        for slot in slots:
            prompt = waiting.popleft()
            self._rows[slot] = GrowingCompletion(prompt, room_left(prompt, self._settings))
        prompts = [self._rows[slot].prompt for slot in slots]
        ids = [one.token_ids for one in prompts]
        self.slots.set_draws([one.draw for one in prompts], [*map(len, ids)], slots)
        self.slots.read(ids, slots)

    def resize(self, n_slots: int, width: int) -> None:
        """Change number and width of the slots."""
        self.slots.resize(n_slots, width)

    def step(self) -> list[GrowingCompletion]:
        """Write a block of tokens; return the completions that ended in it."""
        self.begin()
        return self.collect()

    def begin(self) -> None:
        """Let a GPU write a block of tokens, and do not wait for it."""
        n_rows = self.slots.n_slots
        if not self._is_fixed:
            n_rows, moved = self.slots.close_ranks(list(self._rows))
            for origin, target in moved.items():
                self._rows[target] = self._rows.pop(origin)
        n_steps = min(self.slots.block, max(one.n_left for one in self._rows.values()))
        self._began_s = time.perf_counter()
        self.slots.begin(n_rows, n_steps)

    def collect(self) -> list[GrowingCompletion]:
        """Wait for the block; return the completions that ended in it."""
        tokens = self.slots.collect()
        ended = []
        has_end: list[bool] = np.any(np.isin(tokens, self._ends_array), axis=1).tolist()
        for slot, growing in list(self._rows.items()):
            own = tokens[slot].tolist()
            if not has_end[slot] and growing.n_left > len(own):
                growing.token_ids += own
                continue
            growing.add(own, self._ends, self._began_s)
            if growing.reason:
                ended.append(growing)
                del self._rows[slot]
                self.slots.release(slot)
        self.n_ended += len(ended)
        return ended


def no_memory_result(what: str, n_tokens: int) -> NoResult:
    """Return what stands for a result for which memory never suffices."""
    return NoResult(
        f"{NO_MEMORY} ({what} of {n_tokens} tokens); free memory on the device, or use a larger "
        "one: a resumed run tries again",
        retry=True,
    )


def _no_memory_failure(prompt: Prompt) -> Failure:
    reason = no_memory_result("a prompt", len(prompt.token_ids)).reason
    return failed(prompt, reason, retry=True)


def _free_memory() -> int:
    """Return how many bytes tensors can still take on the GPU."""
    import torch

    unused = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    return int(free_gpu_bytes() + unused)

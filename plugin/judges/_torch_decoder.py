"""Write guided answers on torch; see `plugin.judges.in_process.Decoder`.

Answers are written in slots, as completions are (`plugin/engines/_torch_slots.py`), so a new
question takes the place of an answer that has ended. The grammar decides after every token what may
come next, and it does so on the host: a step is recorded on a GPU, but steps are not made in
blocks. Models that cannot be decoded in slots answer batch by batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from plugin.engines._torch import TorchRows, eos_token_ids, free_torch_memory, load_torch_model
from plugin.engines._torch_plan import plan_slots
from plugin.engines._torch_slots import TorchSlots, round_columns
from plugin.errors import FaultError
from plugin.judges.grammar import Grammars, GuidedAnswer
from plugin.load.model import ModelFolder


class _Answer(NamedTuple):
    """One answer that is written."""

    number: int
    prompt: list[int]
    guide: GuidedAnswer


class TorchDecoder:
    """See `plugin.judges.in_process.Decoder`."""

    def __init__(self, folder: ModelFolder, n_rows: int) -> None:
        """Load the model, in bfloat16 on a GPU and in float32 on a CPU.

        Args:
            folder: the model's.
            n_rows: highest number of answers written at once.

        Raises:
            ModelError: when the library cannot load the folder.
            JudgeError: when its tokenizer cannot be constrained.
        """
        self._model, self.tokenizer = load_torch_model(folder.path)
        plan = plan_slots(self._model)
        if isinstance(plan, str):
            rows = TorchRows(self._model)
            n_logits = int(rows.read([[0]]).shape[-1])
            self._batch: _Slots | _Batches = _Batches(rows)
        else:
            n_logits = plan.n_vocabulary
            width = round_columns(1)
            self._batch = _Slots(TorchSlots(self._model, plan, n_rows, width, is_guided=True))
        self._n_rows, self._n_begun = n_rows, 0
        self._queue: deque[_Answer] = deque()
        self.grammars = Grammars(
            self.tokenizer, n_logits, eos_token_ids(self._model, self.tokenizer)
        )

    def begin(self, prompt: list[int], guide: GuidedAnswer) -> int:
        """See `Decoder.begin`."""
        self._n_begun += 1
        self._queue.append(_Answer(self._n_begun, prompt, guide))
        return self._n_begun

    def step(self) -> list[int]:
        """See `Decoder.step`."""
        try:
            n_free = self._n_rows - len(self._batch.answers)
            if self._queue and self._batch.can_join:
                n_new = min(n_free, len(self._queue))
                self._batch.join([self._queue.popleft() for _ in range(n_new)])
            if not self._batch.answers:
                return []
            written = self._batch.write()
        except RuntimeError as error:  # torch reports a lack of memory like this
            raise FaultError(
                f"torch failed while judging: {error}. If memory ran out, lower --concurrency"
            ) from error
        for answer, token in written:
            answer.guide.take(token)
        ended = [answer.number for answer, _ in written if answer.guide.is_over]
        self._batch.leave(ended)
        return ended

    def drop(self, number: int) -> None:
        """See `Decoder.drop`."""
        self._queue = deque(answer for answer in self._queue if answer.number != number)
        self._batch.leave([number])

    def close(self) -> None:
        """See `Decoder.close`."""
        del self._model, self._batch
        free_torch_memory()


class _Slots:
    """Answers that are written in slots.

    Attributes:
        can_join: whether more answers may begin now.
    """

    can_join = True

    def __init__(self, slots: TorchSlots) -> None:
        self._slots = slots
        self._answers: dict[int, _Answer] = {}  # by slot

    @property
    def answers(self) -> list[_Answer]:
        """Return the answers under way."""
        return list(self._answers.values())

    def join(self, answers: Sequence[_Answer]) -> None:
        """Read the prompts of new answers into free slots, which become wider where they must."""
        width = max((len(one.prompt) + one.guide.n_tokens + 1 for one in answers), default=0)
        if width > self._slots.width:
            self._slots.resize(self._slots.n_slots, round_columns(width))
        free = [slot for slot in range(self._slots.n_slots) if slot not in self._answers]
        taken = free[: len(answers)]
        self._answers |= dict(zip(taken, answers, strict=True))
        self._slots.read([answer.prompt for answer in answers], taken)

    def write(self) -> list[tuple[_Answer, int]]:
        """Write one token of every answer."""
        n_rows, moved = self._slots.close_ranks(list(self._answers))
        for origin, target in moved.items():
            self._answers[target] = self._answers.pop(origin)
        may = {slot: answer.guide.allowed() for slot, answer in self._answers.items()}
        anything = np.ones_like(next(iter(may.values())))  # in free slots
        self._slots.allow(np.stack([may.get(slot, anything) for slot in range(n_rows)]))
        tokens = self._slots.write(n_rows, 1)[:, 0].tolist()
        return [(answer, tokens[slot]) for slot, answer in self._answers.items()]

    def leave(self, numbers: Sequence[int]) -> None:
        """Free the slots of these answers."""
        for slot in [slot for slot, one in self._answers.items() if one.number in numbers]:
            del self._answers[slot]
            self._slots.release(slot)


class _Batches:
    """Answers that are written batch by batch; see `_Slots`."""

    def __init__(self, rows: TorchRows) -> None:
        self._rows = rows
        self._rows.clear()
        self.answers: list[_Answer] = []
        self._last: list[int] = []  # the last token of each answer; none before the first step

    @property
    def can_join(self) -> bool:
        """Return whether the last batch has ended."""
        return not self.answers

    def join(self, answers: Sequence[_Answer]) -> None:
        """Begin a batch."""
        self.answers, self._last = list(answers), []

    def write(self) -> list[tuple[_Answer, int]]:
        """Write one token of every answer."""
        import torch

        if self._last:
            logits = self._rows.step(self._last)
        else:
            logits = self._rows.read([answer.prompt for answer in self.answers])
        allowed = torch.from_numpy(np.stack([answer.guide.allowed() for answer in self.answers]))
        best = logits.masked_fill(~allowed.to(logits.device), -torch.inf).argmax(-1)
        self._last = best.tolist()
        return list(zip(self.answers, self._last, strict=True))

    def leave(self, numbers: Sequence[int]) -> None:
        """Take these answers out of the batch."""
        places = [i for i, answer in enumerate(self.answers) if answer.number not in numbers]
        if len(places) < len(self.answers):
            self.answers = [self.answers[i] for i in places]
            self._last = [self._last[i] for i in places] if self._last else []
            self._rows.keep(places)

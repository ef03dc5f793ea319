"""Run judges in this process: `mlx:<model>` and `transformers:<model>`, a hub id or a directory.

Questions are answered side by side, and new ones join those that are under way. Everything runs in
the thread that asks, the run's only worker thread. The model is loaded at the first question, after
the engine has released its own model. The event loop gets control after every decoding step.

torch is not part of the default installation, so it is imported only when a judge needs it.
"""

from __future__ import annotations

import asyncio
import os
from abc import abstractmethod
from collections.abc import Callable
from functools import cached_property
from importlib.util import find_spec
from typing import Any, Protocol

from pydantic import BaseModel

from plugin.engines.mlx import free_mlx_memory, load_mlx_model, next_tokens_step
from plugin.engines.templates import TemplateFailure, template_prompt
from plugin.errors import CallError, JudgeError, ModelError
from plugin.judges import Answer, Secrets
from plugin.judges._torch_decoder import TorchDecoder
from plugin.judges.grammar import MAX_ANSWER_TOKENS, RULES, Grammars, GuidedAnswer
from plugin.load.model import ModelFolder, find_model, inspect_model

BATCH_SIZE = 16
"""Highest number of answers written at once; lower it with --concurrency to save memory."""

_VERSION_DIGITS = 12
_NO_WARNINGS: dict[str, Any] = {"verbose": False}
"""Silence the tokenizer's warning about long prompts: the context is checked here."""


_PREFILL_BATCH = 4
_PREFILL_STEP = 512
"""Prompt tokens per step: the event loop gets control between steps."""


def load_mlx(provider: str, model: str, secrets: Secrets) -> InProcessJudge:
    """Return the judge `mlx:<model>`; its model is loaded at the first question.

    Raises:
        JudgeError: when no model is named.
    """
    return InProcessJudge(provider, model, MlxDecoder)


def load_transformers(provider: str, model: str, secrets: Secrets) -> InProcessJudge:
    """Return the judge `transformers:<model>`; its model is loaded at the first question.

    Raises:
        JudgeError: when no model is named, or torch is not installed.
    """
    if find_spec("torch") is None:
        raise JudgeError(
            f"judge {provider}:{model} needs torch, which is not installed: "
            "pip install -r requirements-torch.txt -c constraints/torch.txt"
        )
    return InProcessJudge(provider, model, lambda folder: TorchDecoder(folder, BATCH_SIZE))


class InProcessJudge:
    """See `plugin.judges.Judge`.

    Attributes:
        concurrency: see `Judge`.
    """

    structured = False
    caveat = ""
    concurrency = BATCH_SIZE

    def __init__(self, provider: str, model: str, load: Callable[[ModelFolder], Decoder]) -> None:
        """Store the model's name, without reading the model.

        Raises:
            JudgeError: when no model is named.
        """
        if not model:
            raise JudgeError(
                f"judge {provider!r} needs a model: write --judge {provider}:<hub id or directory>"
            )
        self.label = f"{provider}:{model}"
        self._provider, self._model = provider, model
        self._load = load
        self._decoder: Decoder | None = None
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._decoding: asyncio.Task[None] | None = None

    @property
    def identity(self) -> str:
        """Return a text that identifies the model by its content, not by its place.

        Raises:
            JudgeError: when there is no such model.
        """
        folder = self._folder
        return (
            f"{self._provider} model {folder.digest} tokenizer {folder.tokenizer_digest} "
            f"rules {RULES}"
        )

    async def ask(self, prompt: str, schema: type[BaseModel], room: int = 1) -> Answer:
        """See `Judge.ask`; the grammar makes sure that the answer fits the schema."""
        decoder = self._loaded()
        ids = _encode_chat(decoder.tokenizer, prompt, self.label)
        guide = decoder.grammars.guide(schema, self._room(len(ids), decoder, schema))
        number = decoder.begin(ids, guide)
        ended = self._waiting[number] = asyncio.get_running_loop().create_future()
        if self._decoding is None:
            self._decoding = asyncio.create_task(self._decode(decoder))
        try:
            await ended
        finally:
            if self._waiting.pop(number, None) is not None:  # the caller gave up
                decoder.drop(number)
        return Answer(
            text=guide.text(),
            cut_off=not guide.is_whole,
            version=self._folder.digest[:_VERSION_DIGITS],
            n_prompt_tokens=len(ids),
            n_completion_tokens=len(guide.token_ids),
        )

    async def close(self) -> None:
        """Stop open answers and release the model."""
        if self._decoding is not None:
            self._decoding.cancel()
            await asyncio.gather(self._decoding, return_exceptions=True)
        if self._decoder is not None:
            self._decoder.close()
            self._decoder = None

    @cached_property
    def _folder(self) -> ModelFolder:
        try:
            path = find_model(os.path.expanduser(self._model))
            if not path.is_dir():
                raise ModelError(
                    f"{path}: there is no such directory, and an absolute path is not a hub id"
                )
            return inspect_model(path)
        except ModelError as error:
            raise JudgeError(f"judge {self.label}: {error}") from error

    def _loaded(self) -> Decoder:
        """Return the loaded model, which can write a fixed answer.

        Raises:
            JudgeError: when it cannot be loaded, or its tokenizer does not suit the grammar.
        """
        if self._decoder is None:
            try:
                decoder = self._load(self._folder)
            except (ModelError, JudgeError) as error:
                raise JudgeError(f"judge {self.label}: {error}") from error
            if problem := decoder.grammars.disagreement():
                decoder.close()
                raise JudgeError(
                    f"judge {self.label}: its tokenizer does not suit the grammar that answers are "
                    f"written under: {problem}. Every answer would be cut off; choose another "
                    "judge model, or mend its tokenizer.json"
                )
            self._decoder = decoder
        return self._decoder

    def _room(self, n_prompt: int, decoder: Decoder, schema: type[BaseModel]) -> int:
        """Return the token limit of the answer.

        Raises:
            CallError: when prompt and answer do not fit into the model's context.
        """
        context = self._folder.context
        if context is None:
            return MAX_ANSWER_TOKENS
        least = decoder.grammars.least_room(schema)
        if n_prompt + least > context:
            raise CallError(
                f"the prompt has {n_prompt} tokens and the answer needs up to {least}, but the "
                f"context of the judge {self.label} has only {context}. Prompts are never cut: "
                "choose a judge with a longer context"
            )
        return min(MAX_ANSWER_TOKENS, context - n_prompt)

    async def _decode(self, decoder: Decoder) -> None:
        try:
            while self._waiting:
                for number in decoder.step():
                    ended = self._waiting.pop(number, None)
                    if ended is not None and not ended.done():
                        ended.set_result(None)
                await asyncio.sleep(0)
        except Exception as error:  # every waiting caller must get the error
            waiting, self._waiting = self._waiting, {}
            for ended in waiting.values():
                if not ended.done():
                    ended.set_exception(error)
        finally:
            self._decoding = None


def _encode_chat(tokenizer: Any, prompt: str, label: str) -> list[int]:
    """Return the prompt's tokens: one user turn, or plain text if there is no chat template.

    Raises:
        JudgeError: when the chat template rejects a single user turn.
    """
    from jinja2 import TemplateError

    template = getattr(tokenizer, "chat_template", None)
    if not template:
        ids = tokenizer.encode(prompt, **_NO_WARNINGS)
    else:
        # The answer must be JSON from its first character on, so the model cannot think first.
        quiet = {"enable_thinking": False} if "enable_thinking" in str(template) else {}
        turns = [{"role": "user", "content": prompt}]
        try:
            text = template_prompt(tokenizer, turns, quiet)
        except (TemplateError, TemplateFailure) as error:
            raise JudgeError(
                f"judge {label}: the chat template rejects a single user turn: {error}. Choose a "
                "model that was trained on chats"
            ) from error
        ids = tokenizer.encode(text, add_special_tokens=False, **_NO_WARNINGS)
    ids = [int(token) for token in ids]
    bos = tokenizer.bos_token_id
    while bos is not None and ids[:2] == [bos, bos]:  # template and tokenizer may both add one
        del ids[0]
    return ids


class Decoder(Protocol):
    """A loaded model that writes guided answers.

    Attributes:
        tokenizer: a tokenizer of the transformers library.
        grammars: the grammars for this tokenizer.
    """

    tokenizer: Any
    grammars: Grammars

    @abstractmethod
    def begin(self, prompt: list[int], guide: GuidedAnswer) -> int:
        """Queue an answer, and return its number."""

    @abstractmethod
    def step(self) -> list[int]:
        """Write one more token of every open answer, and return the answers that ended.

        Raises:
            FaultError: when the library fails, for example without memory.
        """

    @abstractmethod
    def drop(self, number: int) -> None:
        """Stop an answer."""

    @abstractmethod
    def close(self) -> None:
        """Release the weights."""


class MlxDecoder:
    """See `plugin.judges.in_process.Decoder`; usable only in the thread that created it."""

    def __init__(self, folder: ModelFolder) -> None:
        """Load the model.

        Raises:
            ModelError: when mlx-lm cannot load the folder.
            JudgeError: when its tokenizer cannot be constrained.
        """
        import mlx.core as mx
        from mlx_lm.generate import BatchGenerator

        model, tokenizer = load_mlx_model(folder.path)
        model.eval()
        self.tokenizer = tokenizer._tokenizer  # the library's own, inside mlx-lm's wrapper
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

    def begin(self, prompt: list[int], guide: GuidedAnswer) -> int:
        """See `Decoder.begin`."""
        numbers = self._batch.insert(
            [prompt], [guide.n_tokens], logits_processors=[[_MaskedRow(guide)]]
        )
        return int(numbers[0])

    def step(self) -> list[int]:
        """See `Decoder.step`; separate steps read waiting prompts."""
        _, written = next_tokens_step(self._batch, "--concurrency")
        return [event.uid for event in written if event.finish_reason is not None]

    def drop(self, number: int) -> None:
        """See `Decoder.drop`."""
        self._batch.remove([number])

    def close(self) -> None:
        """See `Decoder.close`."""
        self._batch.close()
        del self._batch
        free_mlx_memory()


class _MaskedRow:
    """A logits processor for mlx-lm that follows one answer.

    mlx-lm calls it before every token, with the token before that. The first call has the prompt's
    last token, which is not part of the answer.
    """

    def __init__(self, guide: GuidedAnswer) -> None:
        self._guide = guide
        self._begun = False

    def __call__(self, context: Any, logits: Any) -> Any:
        """Return the logits, shape (1, n_logits), with -inf for tokens that are not allowed."""
        import mlx.core as mx

        start: Any = mx.async_eval
        start(logits)  # the model computes while the mask is built
        if self._begun:
            self._guide.take(int(context[-1].item()))
        self._begun = True
        return mx.where(mx.array(self._guide.allowed())[None], logits, -mx.inf)

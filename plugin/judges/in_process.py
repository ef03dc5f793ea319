"""A judge in this process: questions that wait together are answered together.

Everything happens in the thread that asks, which is the run's one worker: the model is loaded at
the first question, when the generating engine has let go of its own, and the event loop gets its
turn after every decoding step.
"""

from __future__ import annotations

import asyncio
import os
from abc import abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Any, Protocol

from pydantic import BaseModel

from plugin.errors import JudgeError, ModelError
from plugin.judges import Answer, AskError
from plugin.judges._grammar import MAX_ANSWER_TOKENS, RULES, Grammars, Guide
from plugin.weights import ModelFolder, find_model, inspect_model

BATCH_SIZE = 16
"""Answers written side by side, at most; --concurrency lowers it where memory is short."""

_VERSION_DIGITS = 12
_CALM: dict[str, Any] = {"verbose": False}
"""A tokenizer's own word on long prompts is not asked for: the context is checked here."""


class Decoder(Protocol):
    """A loaded model that writes guided answers.

    Attributes:
        tokenizer: of the transformers library.
        grammars: made with this tokenizer.
    """

    tokenizer: Any
    grammars: Grammars

    @abstractmethod
    def begin(self, prompt: list[int], guide: Guide) -> int:
        """Queue an answer; gives the number under which it runs."""

    @abstractmethod
    def step(self) -> list[int]:
        """Write one more token of every answer under way; gives those that ended.

        Raises:
            FaultError: when the library gives up, as it does without memory.
        """

    @abstractmethod
    def drop(self, number: int) -> None:
        """Stop an answer."""

    @abstractmethod
    def close(self) -> None:
        """Release the weights."""


class InProcessJudge:
    """See `plugin.judges.Judge`.

    Attributes:
        concurrency: see `Judge`.
    """

    structured = False
    caveat = ""
    concurrency = BATCH_SIZE

    def __init__(self, provider: str, model: str, load: Callable[[ModelFolder], Decoder]) -> None:
        """Nothing is read yet.

        Raises:
            JudgeError: when no model is named.
        """
        if not model:
            raise JudgeError(
                f"judge {provider!r} names no model; write --judge {provider}:<hub id or directory>"
            )
        self.label = f"{provider}:{model}"
        self._provider, self._model = provider, model
        self._load = load
        self._decoder: Decoder | None = None
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._decoding: asyncio.Task[None] | None = None

    @property
    def identity(self) -> str:
        """By the model's content, wherever it lies; found (or downloaded) when first read.

        Raises:
            JudgeError: when there is no such model.
        """
        folder = self._folder
        return (
            f"{self._provider} model {folder.digest} tokenizer {folder.tokenizer_digest} "
            f"rules {RULES}"
        )

    async def ask(self, prompt: str, schema: type[BaseModel], room: int = 1) -> Answer:
        """See `Judge.ask`; the answer fits the schema by construction."""
        decoder = self._loaded()
        ids = _encode(decoder.tokenizer, prompt, self.label)
        guide = decoder.grammars.guide(schema, self._room(len(ids), decoder, schema))
        number = decoder.begin(ids, guide)
        ended = self._waiting[number] = asyncio.get_running_loop().create_future()
        if self._decoding is None:
            self._decoding = asyncio.create_task(self._decode(decoder))
        try:
            await ended
        finally:
            if self._waiting.pop(number, None) is not None:  # given up by who asked
                decoder.drop(number)
        return Answer(
            text=guide.text(),
            cut_off=not guide.is_whole,
            version=self._folder.digest[:_VERSION_DIGITS],
            n_prompt_tokens=len(ids),
            n_completion_tokens=len(guide.token_ids),
        )

    async def close(self) -> None:
        """Stop what is under way and release the model."""
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
                raise ModelError(f"{path}: no such directory, and an absolute path is no hub id")
            return inspect_model(path)
        except ModelError as error:
            raise JudgeError(f"judge {self.label}: {error}") from error

    def _loaded(self) -> Decoder:
        if self._decoder is None:
            try:
                self._decoder = self._load(self._folder)
            except ModelError as error:
                raise JudgeError(f"judge {self.label}: {error}") from error
        return self._decoder

    def _room(self, n_prompt: int, decoder: Decoder, schema: type[BaseModel]) -> int:
        """How many tokens the answer may have.

        Raises:
            AskError: when the model's context does not hold prompt and answer.
        """
        context = self._folder.context
        if context is None:
            return MAX_ANSWER_TOKENS
        least = decoder.grammars.least_room(schema)
        if n_prompt + least > context:
            raise AskError(
                f"the prompt has {n_prompt} tokens, the answer needs up to {least}, and the "
                f"context of the judge {self.label} holds {context}; a prompt is never cut. Choose "
                "a judge with a longer context"
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
        except Exception as error:  # whoever waits must hear of it, whatever it is
            waiting, self._waiting = self._waiting, {}
            for ended in waiting.values():
                if not ended.done():
                    ended.set_exception(error)
        finally:
            self._decoding = None


def _encode(tokenizer: Any, prompt: str, label: str) -> list[int]:
    """The prompt as one user's turn, or as it is for a model without a chat template.

    Raises:
        JudgeError: when the chat template refuses it.
    """
    from jinja2 import TemplateError

    template = getattr(tokenizer, "chat_template", None)
    if not template:
        ids = tokenizer.encode(prompt, **_CALM)
    else:
        # An answer that is JSON from its first letter on leaves no room to think.
        quiet = {"enable_thinking": False} if "enable_thinking" in str(template) else {}
        try:
            text = tokenizer.apply_chat_template(
                [{"role": "user", "content": prompt}],
                add_generation_prompt=True,
                tokenize=False,
                **quiet,
            )
        except TemplateError as error:
            raise JudgeError(
                f"judge {label}: its chat template refuses a single user turn: {error}. Choose a "
                "model that was trained on chats"
            ) from error
        ids = tokenizer.encode(text, add_special_tokens=False, **_CALM)
    ids = [int(token) for token in ids]
    bos = tokenizer.bos_token_id
    while bos is not None and ids[:2] == [bos, bos]:  # template and tokenizer may both add one
        del ids[0]
    return ids

"""Share code between the engines that hold the weights: prompts, context, log-likelihoods.

Prompts are encoded with the model's own tokenizer and chat template and exactly one BOS, and are
never longer than the context. So the same case has the same token ids in all engines.

Log-likelihoods are computed in batches of neighbouring pairs. Shorter rows are padded at the end,
which a causal model ignores: a batch gives the same values as single rows, except for rounding
(1e-4 in float32).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from plugin.certify.certificate import Certificate, Tell, tell_nobody
from plugin.certify.effect import Distance
from plugin.certify.measure import AdapterSwitch, Logits, certify_weights, measure_effect
from plugin.engines import EngineSettings, failed
from plugin.engines._answer import answer_tokens, end_token, named_end_tokens
from plugin.engines.plain_text import PlainText
from plugin.engines.templates import TemplateFailure, TemplateText, template_text
from plugin.errors import FaultError, ModelError, one_line
from plugin.records import VANILLA, Completion, Failure, Message, NoResult, Prompt


class LocalEngine(ABC):
    """Run a model with its tokenizer, and switch its adapters."""

    def __init__(
        self,
        tokenizer: Any,
        template: TemplateText | None,
        switch: AdapterSwitch,
        settings: EngineSettings,
        inner: Any = None,
    ) -> None:
        """Keep the loaded parts.

        Args:
            tokenizer: a tokenizer of the transformers library, or one that behaves the same.
            template: applies the chat template; None when the tokenizer has none.
            switch: holds the model and switches its adapters.
            settings: the engine's settings.
            inner: the tokenizer of the transformers library inside it, if it is another object.

        Raises:
            ModelError: when tokenizer and model do not belong together.
        """
        self._tokenizer = tokenizer
        self._template = template
        self._switch = switch
        self._settings = settings
        self._own = own_chats(inner or tokenizer, settings)
        require_known_tokens(tokenizer, switch.n_vocabulary, settings)
        self._end = end_token(
            tokenizer,
            template if settings.chat_template else None,
            named_end_tokens(settings.model.path, settings.model.config),
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """See `Engine.notes`."""
        text = getattr(self._tokenizer, "chat_template", None)
        own = [own_chat_note(name, self._template, one) for name, one in self._own.items()]
        return (*template_notes(self._template, text, self._settings), *own)

    @property
    def plain_text(self) -> PlainText:
        """Return what turns text into tokens without a chat template."""
        return PlainText(self._tokenizer, self._settings.model.context)

    @property
    def decoding(self) -> str:
        """See `Engine.decoding`."""
        return ""

    def encode(self, messages: Sequence[Message], variant: str = VANILLA) -> tuple[int, ...]:
        """See `Engine.encode`."""
        n_vocabulary, template, settings = self._switch.n_vocabulary, self._template, self._settings
        own = self._own.get(variant)
        if own and own.template:
            template, settings = own.template, own.settings
        return encode_messages(messages, self._tokenizer, template, n_vocabulary, settings)

    def stops(self, variant: str) -> tuple[int, ...]:
        """Return the end-of-text tokens that the variant has besides the base's."""
        own = self._own.get(variant)
        return (own.stop,) if own and own.stop is not None else ()

    def tokens(self, text: str) -> tuple[int, ...]:
        """See `Engine.tokens`."""
        return answer_tokens(text, self._tokenizer, self._end)

    def certify(
        self, variant: str, probes: Sequence[Prompt], tell: Tell = tell_nobody
    ) -> Certificate:
        """See `Engine.certify`."""
        return certify_weights(self._switch, variant, probes, tell)

    def effect(self, variant: str, probes: Sequence[Prompt]) -> Distance | None:
        """See `WeightsEngine.effect`."""
        return measure_effect(self._switch, variant, probes)

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[Completion | Failure, ...]]:
        """See `Engine.generate`; a completion also ends where the model's context ends."""
        fits, too_long = split_by_context(prompts, self._settings)
        yield too_long
        for variant, own in group_by_variant(fits).items():
            with self._switch.adapter_on(variant):
                yield from self._decode(own)

    def loglikelihoods(
        self, variant: str, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]
    ) -> Iterator[float | NoResult]:
        """See `Engine.loglikelihoods`."""
        with self._switch.adapter_on(variant):
            yield from likelihoods_in_batches(pairs, self._settings, self._read_batch)

    def next_logits(
        self, variant: str, batches: Iterable[Sequence[Sequence[int]]], n_positions: int
    ) -> Iterator[Logits]:
        """Yield the logits at the last positions of each row; a batch is read in one go."""
        with self._switch.adapter_on(variant):
            for rows in batches:
                yield from self._switch.logits(rows, n_positions)

    @abstractmethod
    def _decode(self, prompts: Sequence[Prompt]) -> Iterator[tuple[Completion | Failure, ...]]:
        """Complete prompts that fit the context, with the adapter that is on."""

    @abstractmethod
    def _read_batch(self, batch: Sequence[PromptPair]) -> Sequence[float | NoResult]:
        """Return the log probability of each continuation in nats, computed in one batch."""


def encode_messages(
    messages: Sequence[Message],
    tokenizer: Any,
    template: TemplateText | None,
    n_vocabulary: int,
    settings: EngineSettings,
) -> tuple[int, ...]:
    """Return the token ids of the prompt, with the chat template and exactly one BOS.

    Args:
        messages: the turns.
        tokenizer: a tokenizer of the transformers library, or one that behaves the same.
        template: applies the chat template; None when the tokenizer has none.
        n_vocabulary: number of rows in the model's embedding; 0 when unknown.
        settings: the engine's settings.

    Raises:
        ModelError: when the template rejects the turns, fails, or adds a second BOS; when there
            are several turns but no template; when the model does not know a token.
    """
    turns = [{"role": turn.role, "content": turn.content} for turn in messages]
    if settings.chat_template and template is not None:
        found = _render_template(turns, template, settings)
    else:
        if settings.chat_template:
            _require_single_turn(turns, settings)
        found = tokenizer.encode("\n\n".join(turn["content"] for turn in turns))
    ids = [int(token) for token in found]
    bos = tokenizer.bos_token_id
    if bos is not None and ids[:2] == [bos, bos]:
        raise ModelError(
            f"{settings.model.path}: prompts would begin with two {tokenizer.bos_token!r} tokens, "
            "because the chat template and the tokenizer both add one; remove it from one of them"
        )
    if not ids:
        raise ModelError(
            f"{settings.model.path}: its chat template gives an empty prompt for these turns "
            f"({_roles(turns)}); {_FIX_TEMPLATE}"
        )
    if n_vocabulary and max(ids) >= n_vocabulary:
        raise ModelError(
            f"{settings.model.path}: a prompt contains token id {max(ids)} "
            f"({tokenizer.convert_ids_to_tokens(max(ids))!r}), but the model knows only "
            f"{n_vocabulary} tokens. {_ONE_PLACE}"
        )
    return tuple(ids)


_FIX_TEMPLATE = (
    "correct chat_template in tokenizer_config.json or chat_template.jinja, or use --chat_template "
    "false"
)
_ONE_PLACE = (
    "Tokenizer and weights do not belong together; get all files of the model from one source"
)


def thinking_option(settings: EngineSettings) -> dict[str, bool]:
    """Return the template's argument about thinking; empty unless the user set the option."""
    told = settings.enable_thinking
    return {} if told is None else {"enable_thinking": told}


class OwnChat(NamedTuple):
    """How one variant's chats are written if its adapter brings files of its own.

    Attributes:
        template: applies its chat template; None for the base's.
        stop: its end-of-text token; None for the base's.
        settings: the engine's settings with the adapter's folder as the place of the template.
    """

    template: TemplateText | None
    stop: int | None
    settings: EngineSettings


def own_chats(tokenizer: Any, settings: EngineSettings) -> dict[str, OwnChat]:
    """Return variant -> its own chat template and end-of-text token, where there are any.

    An end-of-text token that the base's tokenizer does not know is left out.
    """
    found = {}
    for name, adapter in settings.adapters.items():
        own = adapter.own_chat(settings.model)
        template, stop = None, None
        if own.template and settings.chat_template:
            template = template_text(tokenizer, thinking_option(settings), own.template)
        if own.eos_token and own.eos_token != tokenizer.eos_token:
            stop = tokenizer.get_vocab().get(own.eos_token)
        if template or stop is not None:
            place = replace(settings.model, path=adapter.root)
            found[name] = OwnChat(template, stop, replace(settings, model=place))
    return found


def own_chat_note(name: str, base: TemplateText | None, own: OwnChat) -> str:
    """Return what the report must say about a variant with chat files of its own."""
    if own.template is None:
        return (
            f"the folder of adapter {name} names another end-of-text token than the base's, so "
            f"{name} also stops there"
        )
    other = "the base's own" if base else "plain text: it has no chat template"
    ends = " and also stops at the end-of-text token named there" if own.stop is not None else ""
    return (
        f"{name} is prompted with the chat template in its adapter's folder{ends}, the base with "
        f"{other}; a part of their difference may come from the prompts"
    )


def template_notes(
    template: TemplateText | None, text: object, settings: EngineSettings
) -> tuple[str, ...]:
    """Return what the report must say about how prompts are made, one sentence each.

    Args:
        template: applies the chat template; None when there is none.
        text: the template's source; anything but a string when it is unknown.
        settings: the engine's settings.
    """
    if not settings.chat_template:
        return ()
    if template is not None:
        is_told = settings.enable_thinking is not None
        if not is_told or not isinstance(text, str) or "enable_thinking" in text:
            return ()
        return (
            f"the chat template of {settings.model_name} ignores enable_thinking, so "
            "--enable_thinking changes nothing",
        )
    return (
        f"the tokenizer of {settings.model_name} has no chat template, so prompts are plain text; "
        "a chat model answers them badly. Add the model's chat_template, or use --chat_template "
        "false if it is not a chat model",
    )


def require_known_tokens(tokenizer: Any, n_vocabulary: int, settings: EngineSettings) -> None:
    """Refuse a tokenizer with more tokens than the model; added special tokens do not count.

    Some good models define one special token too many and never use it.

    Raises:
        ModelError: when the tokenizer's own vocabulary is larger than the model's embedding.
    """
    n_tokens = int(tokenizer.vocab_size)
    if n_vocabulary and n_tokens > n_vocabulary:
        raise ModelError(
            f"{settings.model.path}: its tokenizer has {n_tokens} tokens, but the model knows only "
            f"{n_vocabulary}. {_ONE_PLACE}"
        )


def _require_single_turn(turns: list[dict[str, str]], settings: EngineSettings) -> None:
    """Refuse chats with assistant turns: plain text would not show who said what."""
    if any(turn["role"] not in ("system", "user") for turn in turns):
        raise ModelError(
            f"{settings.model.path}: its tokenizer has no chat template, but some cases have "
            f"several turns ({_roles(turns)}); plain text would not show who said what. Add the "
            "model's chat_template, use cases with one turn, or join the turns as plain text with "
            "--chat_template false"
        )


def _render_template(
    turns: list[dict[str, str]], template: TemplateText, settings: EngineSettings
) -> Sequence[int]:
    try:
        return template(turns)
    except TemplateFailure as error:
        kind, said = error.kind, one_line(error)
    except FaultError:
        raise
    except Exception as error:  # some tokenizers apply templates by a program of their own
        kind, said = type(error).__name__, one_line(error)
    if kind == "TemplateError":  # raised by the template's raise_exception
        raise ModelError(
            f"{settings.model.path}: its chat template rejects these turns ({_roles(turns)}): "
            f"{said}. Leave out --system_prompt, change the turns, or use --chat_template false"
        )
    said = f"{kind}: {said}" if kind else said
    raise ModelError(
        f"{settings.model.path}: its chat template fails on these turns ({_roles(turns)}): "
        f"{said}; {_FIX_TEMPLATE}"
    )


def _roles(turns: list[dict[str, str]]) -> str:
    return ", ".join(turn["role"] for turn in turns)


def group_by_variant(prompts: Sequence[Prompt]) -> dict[str, list[Prompt]]:
    """Return the prompts of each variant, in the order of the variants' first prompts."""
    found: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        found.setdefault(prompt.variant, []).append(prompt)
    return found


def split_by_context(
    prompts: Sequence[Prompt], settings: EngineSettings
) -> tuple[list[Prompt], tuple[Failure, ...]]:
    """Return the prompts that leave room for an answer, and a failure for each other prompt."""
    limit = settings.model.context
    fits, too_long = [], []
    for prompt in prompts:
        n = len(prompt.token_ids)
        if limit is not None and n >= limit:
            reason = (
                f"the prompt has {n} tokens, but the model's context is {limit}; prompts are never "
                "shortened"
            )
            too_long.append(failed(prompt, reason))
        else:
            fits.append(prompt)
    return fits, tuple(too_long)


def room_left(prompt: Prompt, settings: EngineSettings) -> int:
    """Return the largest possible length of the prompt's completion, in tokens."""
    context = settings.model.context or math.inf
    limit = settings.max_tokens if prompt.max_tokens is None else prompt.max_tokens
    return int(min(limit, context - len(prompt.token_ids)))


MAX_POSITIONS = 2048
"""Largest number of positions in a batch. All their logits are in memory at once: 0.5 GB for a
vocabulary of 128,000 tokens in bfloat16."""


class PromptPair(NamedTuple):
    """A prompt with its continuation.

    Attributes:
        prompt: token ids; at least one.
        continuation: token ids; at least one.
    """

    prompt: tuple[int, ...]
    continuation: tuple[int, ...]

    @property
    def input_ids(self) -> tuple[int, ...]:
        """Return the model's input: all but the last token, which only has to be predicted."""
        return (*self.prompt, *self.continuation[:-1])

    @property
    def predicting(self) -> slice:
        """Return the positions whose logits predict the continuation."""
        return slice(len(self.prompt) - 1, len(self.input_ids))


ReadBatch = Callable[[Sequence[PromptPair]], Sequence[float | NoResult]]
"""A function: pairs of one batch -> the log probability of each continuation, in nats."""


def likelihoods_in_batches(
    pairs: Sequence[tuple[Sequence[int], Sequence[int]]], settings: EngineSettings, read: ReadBatch
) -> Iterator[float | NoResult]:
    """Yield the log probability of each continuation; see `Engine.loglikelihoods`.

    Args:
        pairs: prompt and continuation; pairs sorted by length need the least padding.
        settings: the engine's settings.
        read: computes the log probabilities of a batch.
    """
    waiting: list[PromptPair] = []
    for row in (PromptPair(tuple(prompt), tuple(continuation)) for prompt, continuation in pairs):
        known = _without_reading(row, settings)
        if waiting and (known is not None or not _fits_batch(row, waiting, settings.batch_size)):
            yield from read(waiting)
            waiting = []
        if known is None:
            waiting.append(row)
        else:
            yield known
    if waiting:
        yield from read(waiting)


def pad_rows(rows: Sequence[Sequence[int]]) -> list[list[int]]:
    """Pad the rows at the end to one length; a causal model ignores what comes later."""
    width = max(map(len, rows))
    return [[*row, *[0] * (width - len(row))] for row in rows]


def _fits_batch(row: PromptPair, waiting: Sequence[PromptPair], batch_size: int) -> bool:
    n_rows = len(waiting) + 1
    width = max(len(one.input_ids) for one in (row, *waiting))
    return n_rows <= batch_size and n_rows * width <= MAX_POSITIONS


def _without_reading(row: PromptPair, settings: EngineSettings) -> float | NoResult | None:
    """Return the result if it is known without running the model; else None."""
    n, limit = len(row.prompt) + len(row.continuation), settings.model.context
    if not row.continuation:
        return 0.0
    if not row.prompt:
        return NoResult("the prompt is empty, so nothing predicts the first token")
    if limit is not None and n > limit:
        return NoResult(
            f"prompt and expected output have {n} tokens together, but the model's context is "
            f"{limit}; they are never shortened: leave the case out, or use a model with a longer "
            "context"
        )
    return None

"""Prompts as every engine reads them: the chat template, one BOS, and never more than the context.

All engines encode through the model's own tokenizer, so that the same case has the same token ids.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from plugin.engines import EngineSettings, Prompt
from plugin.errors import ModelError
from plugin.records import Failure, Message

Template = Callable[[list[dict[str, str]]], Sequence[int]]
"""Turns with role and content -> token ids."""


def encode(
    messages: Sequence[Message], tokenizer: Any, template: Template | None, settings: EngineSettings
) -> tuple[int, ...]:
    """Token ids of the prompt, with the chat template and exactly one BOS.

    Args:
        messages: the turns.
        tokenizer: of the transformers library, or what behaves like one.
        template: the tokenizer's chat template; None when it has none.
        settings: the engine's.

    Raises:
        ModelError: when the template refuses the turns, or would put two BOS in front.
    """
    turns = [{"role": turn.role, "content": turn.content} for turn in messages]
    if settings.chat_template and template is not None:
        found = _templated(turns, template, settings)
    else:
        found = tokenizer.encode("\n\n".join(turn["content"] for turn in turns))
    ids = [int(token) for token in found]
    bos = tokenizer.bos_token_id
    if bos is not None and ids[:2] == [bos, bos]:
        raise ModelError(
            f"{settings.model.path}: prompts would begin with two {tokenizer.bos_token!r} tokens, "
            "because template and tokenizer both add one; take it out of one of them"
        )
    return tuple(ids)


def _templated(
    turns: list[dict[str, str]], template: Template, settings: EngineSettings
) -> Sequence[int]:
    from jinja2 import TemplateError

    try:
        return template(turns)
    except TemplateError as error:
        roles = ", ".join(turn["role"] for turn in turns)
        raise ModelError(
            f"{settings.model.path}: its chat template refuses these turns ({roles}): {error}. "
            "Leave out --system_prompt, change the turns, or use --chat_template false"
        ) from error


def by_variant(prompts: Sequence[Prompt]) -> dict[str, list[Prompt]]:
    """The prompts of each variant, in the order in which the variants first come."""
    found: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        found.setdefault(prompt.variant, []).append(prompt)
    return found


def split_by_context(
    prompts: Sequence[Prompt], settings: EngineSettings
) -> tuple[list[Prompt], tuple[Failure, ...]]:
    """The prompts that leave room for an answer, and a failure for each that does not."""
    limit = settings.model.context
    fits, too_long = [], []
    for prompt in prompts:
        n = len(prompt.token_ids)
        if limit is not None and n >= limit:
            reason = f"the prompt has {n} tokens and the model's context {limit}; it is never cut"
            too_long.append(Failure(prompt.case_id, "generate", reason, prompt.variant))
        else:
            fits.append(prompt)
    return fits, tuple(too_long)


def room(prompt: Prompt, settings: EngineSettings) -> int:
    """How long the prompt's completion may become, in tokens."""
    context = settings.model.context or math.inf
    return int(min(settings.max_tokens, context - len(prompt.token_ids)))

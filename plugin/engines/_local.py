"""Prompts as every engine reads them: the chat template, one BOS, and never more than the context.

All engines encode through the model's own tokenizer, so that the same case has the same token ids.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from plugin.engines import EngineSettings, Prompt
from plugin.errors import ModelError, one_line
from plugin.records import Failure, Message

Template = Callable[[list[dict[str, str]]], Sequence[int]]
"""Turns with role and content -> token ids."""


def encode(
    messages: Sequence[Message],
    tokenizer: Any,
    template: Template | None,
    n_vocabulary: int,
    settings: EngineSettings,
) -> tuple[int, ...]:
    """Token ids of the prompt, with the chat template and exactly one BOS.

    Args:
        messages: the turns.
        tokenizer: of the transformers library, or what behaves like one.
        template: the tokenizer's chat template; None when it has none.
        n_vocabulary: tokens that the model has a row for.
        settings: the engine's.

    Raises:
        ModelError: when the template refuses the turns, fails, or would put two BOS in front; when
            several turns would run together; when the model does not know a token.
    """
    turns = [{"role": turn.role, "content": turn.content} for turn in messages]
    if settings.chat_template and template is not None:
        found = _templated(turns, template, settings)
    else:
        if settings.chat_template:
            _require_single_turn(turns, settings)
        found = tokenizer.encode("\n\n".join(turn["content"] for turn in turns))
    ids = [int(token) for token in found]
    bos = tokenizer.bos_token_id
    if bos is not None and ids[:2] == [bos, bos]:
        raise ModelError(
            f"{settings.model.path}: prompts would begin with two {tokenizer.bos_token!r} tokens, "
            "because template and tokenizer both add one; take it out of one of them"
        )
    if not ids:
        raise ModelError(
            f"{settings.model.path}: its chat template makes no text at all of these turns "
            f"({_roles(turns)}); {_MEND}"
        )
    if n_vocabulary and max(ids) >= n_vocabulary:
        raise ModelError(
            f"{settings.model.path}: a prompt holds the token {max(ids)} "
            f"({tokenizer.convert_ids_to_tokens(max(ids))!r}), and the model has rows for "
            f"{n_vocabulary} tokens. {_ONE_PLACE}"
        )
    return tuple(ids)


_MEND = (
    "mend chat_template in tokenizer_config.json or chat_template.jinja, or use --chat_template "
    "false"
)
_ONE_PLACE = (
    "Tokenizer and weights do not belong together; get all the model's files from one place"
)


def notes(template: Template | None, settings: EngineSettings) -> tuple[str, ...]:
    """What the report must say of how prompts are made, a sentence each."""
    if template is not None or not settings.chat_template:
        return ()
    return (
        f"the tokenizer of {settings.model_name} has no chat template: prompts are plain text, "
        "which a model trained on chats answers badly. Add its chat_template, or say "
        "--chat_template false if it knows no chats",
    )


def require_known_tokens(tokenizer: Any, n_vocabulary: int, settings: EngineSettings) -> None:
    """Refuse a tokenizer larger than the model; special tokens that were only added are left out.

    Some good models name one more than they have rows for, and never meet it.

    Raises:
        ModelError: when the tokenizer's own vocabulary has more tokens than the model rows.
    """
    n_tokens = int(tokenizer.vocab_size)
    if n_vocabulary and n_tokens > n_vocabulary:
        raise ModelError(
            f"{settings.model.path}: its tokenizer has {n_tokens} tokens, and the model has rows "
            f"for {n_vocabulary}. {_ONE_PLACE}"
        )


def _require_single_turn(turns: list[dict[str, str]], settings: EngineSettings) -> None:
    """Turns of several speakers in plain text say no longer who said what."""
    if any(turn["role"] not in ("system", "user") for turn in turns):
        raise ModelError(
            f"{settings.model.path}: its tokenizer has no chat template, and there are cases of "
            f"several turns ({_roles(turns)}), in which nobody would know who said what. Add the "
            "model's chat_template, use cases of one turn, or join the turns as plain text with "
            "--chat_template false"
        )


def _templated(
    turns: list[dict[str, str]], template: Template, settings: EngineSettings
) -> Sequence[int]:
    from jinja2 import TemplateError

    try:
        return template(turns)
    except Exception as error:  # a template is a program, and fails in every way a program can
        if type(error) is TemplateError:  # its own raise_exception
            raise ModelError(
                f"{settings.model.path}: its chat template refuses these turns ({_roles(turns)}): "
                f"{error}. Leave out --system_prompt, change the turns, or use --chat_template "
                "false"
            ) from error
        raise ModelError(
            f"{settings.model.path}: its chat template is broken, or not made for these turns "
            f"({_roles(turns)}): {type(error).__name__}: {one_line(error)}; {_MEND}"
        ) from error


def _roles(turns: list[dict[str, str]]) -> str:
    return ", ".join(turn["role"] for turn in turns)


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

"""Our engines as a model of lm-evaluation-harness, so that its tasks run on every variant.

Tokens are made as the harness makes them for models of the transformers library, so that both give
the same results item by item: plain text without a chat template, trailing spaces moved from the
context to the continuation, and what does not fit cut off on the left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from lm_eval.api.model import TemplateLM

from plugin.engines.plain_text import PlainEngine
from plugin.errors import FaultError
from plugin.records import Completion, NoResult, Prompt

_FIRST_TOKENS = 64
"""How many tokens are made before the first look for a stop text; the rest is made in steps that
double."""

_MAX_TOKENS = 256
"""Longest answer where a task does not say one."""

Counter = Callable[[int], None]
"""Is told how many requests have been answered."""


class HarnessModel(TemplateLM):  # type: ignore[misc]
    """One variant of an engine, as the harness asks models."""

    def __init__(self, engine: PlainEngine, variant: str, count: Counter) -> None:
        """Keep what is asked.

        Args:
            engine: holds the base and the variant's adapter.
            variant: who answers.
            count: is told the progress; may raise to stop.
        """
        super().__init__()
        self._engine = engine
        self._variant = variant
        self._count = count
        self._text = engine.plain_text

    @property
    def eot_token_id(self) -> int | None:
        """Return the token that ends a text."""
        return self._text.end

    @property
    def prefix_token_id(self) -> int | None:
        """Return the token that stands before a text without context."""
        return self._text.first

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **_: Any
    ) -> list[int]:
        """Return the token ids of a text."""
        return self._text.encode(string, special=add_special_tokens)

    def loglikelihood(
        self, requests: list[Any], disable_tqdm: bool = True
    ) -> list[tuple[float, bool]]:
        """Return for each request the log probability of its continuation, and whether greedy.

        Args:
            requests: those of the harness, with the arguments (context, continuation).
            disable_tqdm: whether the harness draws a bar of its own.
        """
        found: list[tuple[float, bool]] = super().loglikelihood(requests, disable_tqdm=True)
        return found

    def _loglikelihood_tokens(
        self, requests: list[tuple[tuple[str, str], list[int], list[int]]], **_: Any
    ) -> list[tuple[float, bool]]:
        """See `loglikelihood`; each request has texts, context tokens and continuation tokens."""
        pairs = [self._fit_pair(context, said) for _, context, said in requests]
        order = sorted(range(len(pairs)), key=lambda i: -sum(map(len, pairs[i])))
        read = self._engine.loglikelihoods(self._variant, [pairs[i] for i in order])
        values = dict[int, float]()
        for i, value in zip(order, read, strict=True):
            if isinstance(value, NoResult):
                raise FaultError(f"lm-eval: {self._variant}: {value.reason}")
            values[i] = value
            self._count(1)
        greedy = self._are_greedy(pairs) if self.wants_greedy else [False] * len(pairs)
        return [(values[i], greedy[i]) for i in range(len(pairs))]

    wants_greedy = True
    """Whether the task at hand looks at it; finding out costs a generation for each request."""

    def _fit_pair(self, context: list[int], said: list[int]) -> tuple[list[int], list[int]]:
        """Cut tokens off on the left, so that all but the last one fit into the model's context."""
        room = self._text.context
        said = said[-room:]
        n_context = max(1, room + 1 - len(said))
        return context[-n_context:], said

    def _are_greedy(self, pairs: Sequence[tuple[list[int], list[int]]]) -> list[bool]:
        """Return whether each continuation is what the variant itself would have said."""
        prompts = [
            Prompt(str(i), self._variant, (), tuple(context), max_tokens=len(said))
            for i, (context, said) in enumerate(pairs)
        ]
        made = {one.case_id: one.token_ids for one in self._complete(prompts)}
        return [made[str(i)] == tuple(said) for i, (_, said) in enumerate(pairs)]

    def generate_until(self, requests: list[Any], disable_tqdm: bool = True) -> list[str]:
        """Return what the variant says on each request, up to its first stop text.

        Args:
            requests: those of the harness, with the arguments (context, settings).
            disable_tqdm: whether the harness draws a bar of its own.
        """
        room = self._text.context
        asked = [_Asked(request.args[0], request.args[1], room) for request in requests]
        contexts = [self.tok_encode(one.context)[-one.n_room :] for one in asked]
        made: list[tuple[int, ...]] = [()] * len(asked)
        waiting, step = list(range(len(asked))), _FIRST_TOKENS
        while waiting:
            prompts = [
                Prompt(
                    str(i),
                    self._variant,
                    (),
                    (*contexts[i], *made[i]),
                    max_tokens=min(step, asked[i].n_tokens - len(made[i])),
                )
                for i in waiting
            ]
            unfinished = []
            for one in self._complete(prompts):
                i = int(one.case_id)
                made[i] += one.token_ids
                cut = one.finish_reason == "length" and len(made[i]) < asked[i].n_tokens
                if cut and not asked[i].is_stopped(self._text.decode(made[i])):
                    unfinished.append(i)
                else:
                    self._count(1)
            waiting, step = sorted(unfinished), step * 2
        return [one.cut(self._text.decode(ids)) for one, ids in zip(asked, made, strict=True)]

    def _complete(self, prompts: Sequence[Prompt]) -> Iterator[Completion]:
        for ended in self._engine.generate(prompts):
            self._count(0)
            for one in ended:
                if not isinstance(one, Completion):
                    raise FaultError(f"lm-eval: {self._variant}: {one.reason}")
                yield one

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = True) -> list[float]:
        """Refuse: whole texts have no score of 0 to 1 for each item (see `harness.load_tasks`)."""
        raise NotImplementedError("tasks on whole texts are refused before they are run")


class _Asked:
    """What a task wants generated: the text before it, its longest length, and its stop texts."""

    def __init__(self, context: str, settings: dict[str, Any], room: int) -> None:
        names = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
        told = [settings[name] for name in names if settings.get(name) is not None]
        until = settings.get("until") or []
        self.context = context
        self.n_tokens = min(int(told[0]) if told else _MAX_TOKENS, room - 1)
        self.n_room = room - self.n_tokens
        self._stops = [text for text in ([until] if isinstance(until, str) else until) if text]

    def is_stopped(self, text: str) -> bool:
        """Return whether a stop text stands in it."""
        return any(stop in text for stop in self._stops)

    def cut(self, text: str) -> str:
        """Return the text up to its first stop text."""
        for stop in self._stops:
            text = text.split(stop)[0]
        return text

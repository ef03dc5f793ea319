"""Have variants recite training rows, and read answers, while an engine holds the weights.

`RecallStage` is one of the stages that `plugin.generate` runs after a load has generated, so the
base is loaded once for all of them. What the journal has is not made again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from plugin.engines import Engine
from plugin.engines.plain_text import PlainEngine
from plugin.errors import ModelError
from plugin.journal import Journal
from plugin.memorisation.by_judge import rephrasing_note
from plugin.memorisation.rephrase import rephrase
from plugin.memorisation.texts import longest_common, words_of
from plugin.memorisation.training import TrainingRow
from plugin.records import (
    Case,
    Completion,
    Message,
    NoResult,
    Prompt,
    Variant,
    is_yardstick,
)
from plugin.training_facts import AnswerReading, Recital, Side, TrainingFacts
from plugin.worker import Progress, Stage

_LONGEST = 128
"""Tokens of a training answer that are asked for at most."""

_MORE = 8
"""Tokens that a variant may write beyond the answer."""

_PLAIN_PREFIX = 50
"""Tokens of plain text that are given beforehand, at most half of it, unless the user says more."""

_LEAST_PLAIN = 8


@dataclass(frozen=True, slots=True)
class _Asked:
    """A training row as it is asked for: its prompt, and what follows in the row."""

    row: TrainingRow
    prompt: Prompt
    target: tuple[int, ...]
    target_text: str


@dataclass(frozen=True, slots=True)
class RecallStage:
    """Have every variant continue training rows, and read how likely it finds answers.

    Attributes:
        drawn: the training rows that are asked for.
        prefix: tokens of each answer that are given beforehand; 0 for the question alone.
        unseen: cases that are clean and have an expected output.
        journal: the run's, which knows the training facts.
        progress: gets the stage.
    """

    drawn: tuple[TrainingRow, ...]
    prefix: int
    unseen: tuple[Case, ...]
    journal: Journal
    progress: Progress

    def is_done(self, variants: Sequence[Variant]) -> bool:
        """Return whether nothing is left to do for these variants."""
        return not self._missing(variants)

    def _missing(self, variants: Sequence[Variant]) -> list[Variant]:
        done = self._facts.done if self.drawn else [variant.name for variant in variants]
        return [one for one in variants if not is_yardstick(one.name) and one.name not in done]

    @property
    def _facts(self) -> TrainingFacts:
        facts = self.journal.state.training
        assert facts is not None, "the training data is looked at before an engine is loaded"
        return facts

    def work(self, variants: Sequence[Variant], engine: Engine, *, shared: bool) -> None:
        """Do what is left for the variants of one load; nothing of it goes into the cache.

        Raises:
            Stopped: when the user stopped the run.
        """
        missing = self._missing(variants)
        if not missing:
            return
        began = time.perf_counter()
        paraphrases = self._facts.paraphrases
        told = [rephrasing_note(paraphrases, self._facts.rephraser)] if paraphrases else []
        by_judge = {one.row: one.text for one in paraphrases if one.text}
        recall = _Recall(engine, self.prefix, by_judge)
        n_each = 3 * len(self.drawn) + len(self.unseen)  # a recital and two readings of a row
        self.progress.begin(Stage.RECALL, total=len(missing) * n_each)
        try:
            for place, variant in enumerate(missing, 1):
                recitals = tuple(self._recite(recall, variant))
                readings = tuple(self._read(recall, variant))
                self.progress.done = place * n_each
                facts = self._facts
                found = replace(
                    facts,
                    recitals=facts.recitals + recitals,
                    readings=facts.readings + readings,
                    done=(*facts.done, variant.name),
                    notes=tuple(dict.fromkeys([*facts.notes, *recall.notes(), *told])),
                )
                self.journal.save_state(replace(self.journal.state, training=found))
        finally:
            self.journal.add_seconds("recall", time.perf_counter() - began)

    def _recite(self, recall: _Recall, variant: Variant) -> Iterator[Recital]:
        asked = recall.prompts(variant, self.drawn)
        self.progress.done += len(self.drawn) - len(asked)
        of_row = {one.prompt.case_id: one for one in asked}
        for ended in recall.engine.generate([one.prompt for one in asked]):
            for result in ended:
                self.progress.done += 1
                if isinstance(result, Completion):
                    yield recall.compare(of_row[result.case_id], result)
                else:
                    recall.failures.append(result.reason)
            self.progress.check()

    def _read(self, recall: _Recall, variant: Variant) -> Iterator[AnswerReading]:
        for reading in recall.read(variant, self.drawn, self.unseen):
            self.progress.done += 1
            self.progress.check()
            yield reading


class _Recall:
    """Turn training rows into prompts, and completions into recitals, for one engine."""

    def __init__(self, engine: Engine, prefix: int, by_judge: Mapping[str, str]) -> None:
        self.engine, self._prefix, self._by_judge = engine, prefix, by_judge
        first, second = engine.tokens("one"), engine.tokens("two")
        self.failures = list[str]()
        self._has_tokens = bool(first)
        self._end = first[-1:] if first[-1:] == second[-1:] else ()
        self._n_short = self._n_plain = self._n_refused = self._n_other_language = 0

    def notes(self) -> Iterator[str]:
        """Yield a sentence for each reason why rows were left out."""
        if self._prefix and not self._has_tokens:
            yield "--recite_prefix does nothing here: this engine takes no tokens to begin with"
        if self.failures:
            n = len(self.failures)
            yield (
                f"{n} {'answer' if n == 1 else 'answers'} to drawn rows could not be made (the "
                f"first: {self.failures[0]})"
            )
        if self._n_short:
            yield (
                f"{self._n_short} drawn rows are not longer than --recite_prefix {self._prefix} "
                "tokens, so nothing was left to recite: lower it"
            )
        if self._n_plain:
            yield f"{self._n_plain} drawn rows of plain text need an engine that takes tokens"
        if self._n_refused:
            yield f"{self._n_refused} drawn rows have turns that the chat template refuses"
        if self._n_other_language:
            yield (
                f"{self._n_other_language} drawn questions are not English, and the rules that "
                "rephrase know only English"
            )

    def prompts(self, variant: Variant, rows: Sequence[TrainingRow]) -> list[_Asked]:
        """Return what is asked for each row that has something to recite."""
        self._n_short = self._n_plain = self._n_refused = 0
        found = []
        for row in rows:
            if row.is_plain:
                one = self._plain(variant, row)
            else:
                one = self._answer(variant, row) if row.answer.strip() else None
            found += [one] if one else []
        return found

    def _answer(self, variant: Variant, row: TrainingRow) -> _Asked | None:
        messages = _with_system(row.case.messages, variant)
        ids = self._encode(messages, variant)
        if ids is None:
            self._n_refused += 1
            return None
        target = self._without_end(self.engine.tokens(row.answer))
        given = target[: self._prefix]
        target = target[self._prefix :][:_LONGEST]
        if self._has_tokens and not target:
            self._n_short += 1
            return None
        room = len(target) + _MORE if target else _LONGEST
        prompt = Prompt(f"train-{row.number}", variant.name, messages, (*ids, *given), room)
        return _Asked(row, prompt, target, row.answer)

    def _plain(self, variant: Variant, row: TrainingRow) -> _Asked | None:
        if not self._has_tokens:
            self._n_plain += 1
            return None
        is_plain = isinstance(self.engine, PlainEngine)
        ids = (
            tuple(self.engine.plain_text.encode(row.asked))
            if is_plain and isinstance(self.engine, PlainEngine)
            else self._without_end(self.engine.tokens(row.asked))
        )
        n_given = self._prefix or min(_PLAIN_PREFIX, len(ids) // 2)
        target = ids[n_given : n_given + _LONGEST]
        if not target or len(ids) < _LEAST_PLAIN:
            self._n_short += 1
            return None
        messages = row.case.messages
        room = len(target) + _MORE
        prompt = Prompt(f"train-{row.number}", variant.name, messages, ids[:n_given], room)
        return _Asked(row, prompt, target, row.asked)

    def _without_end(self, ids: tuple[int, ...]) -> tuple[int, ...]:
        return ids[:-1] if self._end and ids[-1:] == self._end else ids

    def _encode(self, messages: tuple[Message, ...], variant: Variant) -> tuple[int, ...] | None:
        """Return the prompt's tokens; None where the template refuses the turns."""
        own = (variant.name,) if variant.own_chat else ()
        try:
            return self.engine.encode(messages, *own)
        except ModelError:
            return None

    def compare(self, asked: _Asked, completion: Completion) -> Recital:
        """Return how much of the row the completion has in one piece."""
        if asked.target and completion.token_ids:
            target: Sequence[object] = asked.target
            n_same, unit = longest_common(target, completion.token_ids), "tokens"
        elif asked.target:  # the variant wrote nothing
            target, n_same, unit = asked.target, 0, "tokens"
        else:
            target = words_of(asked.target_text)[:_LONGEST] or [asked.target_text]
            n_same, unit = longest_common(target, words_of(completion.text)), "words"
        return Recital(
            row=asked.row.place,
            variant=completion.variant,
            n_target=len(target),
            n_same=n_same,
            unit="tokens" if unit == "tokens" else "words",
            target=asked.target_text[:_N_SHOWN],
            completion=completion.text[:_N_SHOWN],
        )

    def read(
        self, variant: Variant, rows: Sequence[TrainingRow], unseen: Sequence[Case]
    ) -> Iterator[AnswerReading]:
        """Yield how likely the variant finds answers, where the engine sees tokens.

        Args:
            variant: who reads.
            rows: training rows; each is read after its own question, and after another wording.
            unseen: cases that are not in the training data.
        """
        if not self._has_tokens:
            return
        self._n_other_language = 0
        asked: list[tuple[Side, str, tuple[Message, ...], str]] = []
        for row in rows:
            if row.is_plain or not row.answer.strip():
                continue
            *before, last = row.case.messages
            asked.append(("trained", row.place, row.case.messages, row.answer))
            if other := self._by_judge.get(row.place) or rephrase(last.content):
                turns = (*before, Message(last.role, other))
                asked.append(("rephrased", row.place, turns, row.answer))
            else:
                self._n_other_language += 1
        asked += [("unseen", c.id, c.messages, c.expected_output or "") for c in unseen]
        pairs = []
        for side, name, messages, answer in asked:
            ids = self._encode(_with_system(messages, variant), variant)
            target = self.engine.tokens(answer)
            if ids and target:
                pairs.append((side, name, ids, target))
        pairs.sort(key=lambda pair: -len(pair[2]) - len(pair[3]))
        found = self.engine.loglikelihoods(variant.name, [(p[2], p[3]) for p in pairs])
        for (side, name, _, target), value in zip(pairs, found, strict=True):
            if not isinstance(value, NoResult):
                yield AnswerReading(side, name, variant.name, value, len(target))


_N_SHOWN = 400
"""Characters of a recital that are kept."""


def _with_system(messages: Sequence[Message], variant: Variant) -> tuple[Message, ...]:
    """Put the run's system prompt before turns that have none of their own."""
    if not variant.system_prompt or messages[0].role == "system":
        return tuple(messages)
    return (Message("system", variant.system_prompt), *messages)

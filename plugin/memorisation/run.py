"""Look at the training data of a run: mark the cases, then have the variants recite."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from plugin.cache import content_key
from plugin.capability.harness import HarnessTask, ItemTexts
from plugin.capability.probe import probe_items
from plugin.journal import Journal
from plugin.judges.panel import Judging
from plugin.memorisation.by_judge import TrainedQuestion, questions_of, rephrase_by_judge, too_long
from plugin.memorisation.marks import Looked, mark_cases
from plugin.memorisation.stage import RecallStage
from plugin.memorisation.training import N_KEPT, TrainingData, TrainingRow
from plugin.memorisation.verbatim import find_verbatim
from plugin.records import Case, Variant
from plugin.training_facts import TrainingFacts
from plugin.worker import Progress, Stage

_RULES = 1
"""Raise it when the rules for marks, recitals or readings change: all are made again then."""

_N_ALIKE = 100
"""Training rows that are compared with the others, to know how alike these are."""


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """What the user wants to know of the training data.

    Attributes:
        files: where it is; empty for nothing.
        n_drawn: training rows that every variant is asked for.
        prefix: tokens of a training answer that are given beforehand.
        seed: of the draw.
        rephraser: identity of the judge that rephrases training questions; "" for rules.
    """

    files: tuple[str, ...]
    n_drawn: int = 50
    prefix: int = 0
    seed: int = 0
    rephraser: str = ""


@dataclass(frozen=True, slots=True)
class Training:
    """The training data of a run that goes on.

    Attributes:
        stage: what is done while an engine is loaded.
        data: the training rows.
        cases: the cases of the run.
        journal: the run's.
    """

    stage: RecallStage
    data: TrainingData
    cases: tuple[Case, ...]
    journal: Journal

    def to_rephrase(self, variants: Sequence[Variant]) -> list[TrainedQuestion]:
        """Return the training questions that a judge is still to say in other words."""
        facts = self.journal.state.training
        if facts is None or facts.done or self.stage.is_done(variants):
            return []  # else variants would read other questions
        have = {one.row for one in facts.paraphrases if one.text}
        return [one for one in questions_of(self.stage.drawn) if one.row not in have]

    def rephrase(
        self, questions: Sequence[TrainedQuestion], judging: Judging, progress: Progress
    ) -> None:
        """Have the first judge say the questions in other words, and keep these.

        Raises:
            JudgeError: when no call can succeed.
            JudgeDownError: when the judge does not answer at all.
            Stopped: when the user stopped the run.
        """
        began = time.perf_counter()
        try:
            found = asyncio.run(rephrase_by_judge(questions, judging, self.journal, progress))
        finally:
            self.journal.add_seconds("rephrase", time.perf_counter() - began)
        state = self.journal.state
        assert state.training is not None, "`look_at_training` has kept it"
        kept = {one.row: one for one in (*state.training.paraphrases, *found)}
        kept |= {one.row: one for one in too_long(self.stage.drawn)}
        training = replace(
            state.training,
            paraphrases=tuple(kept.values()),
            rephraser=judging.judges[0].label,
        )
        self.journal.save_state(replace(state, training=training))

    def look_at_completions(self) -> None:
        """Find training text in the completions, and keep that."""
        began = time.perf_counter()
        progress = self.stage.progress
        progress.begin(Stage.SEARCH_ANSWERS)
        progress.total = self.data.n_rows if self.data.n_rows > N_KEPT else 0

        def check(n_read: int) -> None:
            progress.done = n_read if progress.total else 0
            progress.check()

        found = find_verbatim(self.data, self.cases, self.journal.answers(), check)
        state = self.journal.state
        assert state.training is not None, "`look_at_training` has kept it"
        training = replace(state.training, verbatim=found)
        self.journal.save_state(replace(state, training=training))
        self.journal.add_seconds("training data", time.perf_counter() - began)


def look_at_training(
    request: TrainingRequest,
    cases: Sequence[Case],
    journal: Journal,
    progress: Progress,
    tasks: Sequence[HarnessTask] = (),
) -> Training | None:
    """Mark every case, and return what is left to do; None where no training data is named.

    Marks, recitals and readings of an earlier session are kept if the training data is the same.

    Args:
        request: what the user wants to know.
        cases: in the order of work.
        journal: gets the facts.
        progress: gets the stage.
        tasks: of lm-evaluation-harness, whose items are marked too.

    Raises:
        DataError: when the training data cannot be read.
        Stopped: when the user stopped the run.
    """
    if not request.files:
        return None
    began = time.perf_counter()
    progress.begin(Stage.READ_TRAINING)
    data = TrainingData(request.files)

    def check(n_read: int) -> None:
        progress.step = f"{n_read:,} rows read"
        progress.check()

    drawn, digest = data.draw(max(request.n_drawn, _N_ALIKE), request.seed, check)
    progress.step = ""
    asked = _some_of(drawn, request)
    digest = _digest(digest, request)
    facts, items = journal.state.training, _items_of(tasks)
    of_items = content_key([list(one) for one in items]) if items else ""
    if facts is None or facts.digest != digest:
        facts = _mark(data, cases, drawn, items, progress)
        facts = replace(facts, digest=digest, items_digest=of_items)
    elif items and facts.items_digest != of_items:
        made = _mark(data, cases, drawn, items, progress)
        facts = _with_marks(facts, made, {one.id for one in items}, of_items)
    journal.save_state(replace(journal.state, training=facts))
    journal.add_seconds("training data", time.perf_counter() - began)
    unseen = _some_unseen(cases, facts, request.n_drawn)
    stage = RecallStage(tuple(asked), request.prefix, unseen, journal, progress)
    return Training(stage, data, tuple(cases), journal)


def _items_of(tasks: Sequence[HarnessTask]) -> list[ItemTexts]:
    """Return what the items of tasks say, where a task says it."""
    texts = (task.texts_of(number) for task in tasks for number in task.items)
    return [one for one in texts if one.question or one.parts]


def _with_marks(
    facts: TrainingFacts, made: TrainingFacts, looked: Collection[str], of_items: str
) -> TrainingFacts:
    """Return what was known, with the marks of items that were looked at since."""
    named = {one.id for one in made.items} | set(looked)
    kept = tuple(one for one in facts.items if one.id not in named)
    return replace(facts, items=made.items + kept, n_items=made.n_items, items_digest=of_items)


def _mark(
    data: TrainingData,
    cases: Sequence[Case],
    drawn: Sequence[TrainingRow],
    asked: Sequence[ItemTexts],
    progress: Progress,
) -> TrainingFacts:
    items = [Looked.of_turns(item.id, item.messages) for item in probe_items("full")]
    items += [Looked(one.id, one.question, one.answers, one.parts) for one in asked]
    progress.total = data.n_rows

    def check(n_read: int) -> None:
        progress.done = n_read
        progress.check()

    return mark_cases(data, cases, items, drawn, check)


def _some_of(drawn: Sequence[TrainingRow], request: TrainingRequest) -> list[TrainingRow]:
    """Return the rows that are asked for, a part of those that were drawn."""
    if len(drawn) <= request.n_drawn:
        return list(drawn)
    some = random.Random(request.seed).sample(range(len(drawn)), request.n_drawn)
    return [drawn[place] for place in sorted(some)]


def _some_unseen(cases: Sequence[Case], facts: TrainingFacts, n: int) -> tuple[Case, ...]:
    """Return the first clean cases with an expected output, which are in a random order."""
    clean = facts.ids("clean")
    asked = (case for case in cases if case.follows is None)  # the others follow own answers
    found = (case for case in asked if case.id in clean and (case.expected_output or "").strip())
    return tuple(found)[:n]


def _digest(rows: str, request: TrainingRequest) -> str:
    facts = [_RULES, rows, request.n_drawn, request.prefix, request.seed]
    facts += [request.rephraser] if request.rephraser else []
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

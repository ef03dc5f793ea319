"""Run the harness's tasks while an engine holds the weights, one task after the other.

`HarnessStage` is one of the stages that `plugin.generate` runs after a load has generated. The
results of a task are kept as soon as a variant has answered all of it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from plugin.capability.harness import NEEDS_WEIGHTS, HarnessTask, run_task
from plugin.capability.run import tested_variants
from plugin.engines import Engine
from plugin.engines.plain_text import PlainEngine
from plugin.errors import OptionError
from plugin.journal import Journal
from plugin.records import Variant
from plugin.worker import Progress, Stage


@dataclass(frozen=True, slots=True)
class HarnessStage:
    """Ask every variant the items of the tasks that have no result yet.

    Attributes:
        tasks: with their data loaded.
        journal: the run's.
        progress: gets a stage.
    """

    tasks: tuple[HarnessTask, ...]
    journal: Journal
    progress: Progress

    def is_done(self, variants: Sequence[Variant]) -> bool:
        """Return whether nothing is left to do for these variants."""
        return not self._missing(variants)

    def work(self, variants: Sequence[Variant], engine: Engine, *, shared: bool) -> None:
        """Do what is left for the variants of one load.

        Args:
            variants: those of the load.
            engine: holds them.
            shared: not used: results of tasks are kept in the run alone.

        Raises:
            OptionError: when the engine does not hold the weights here.
            FaultError: when the engine cannot answer an item.
            Stopped: when the user stopped the run.
        """
        todo = self._missing(variants)
        if not todo:
            return
        if not isinstance(engine, PlainEngine):
            raise OptionError(NEEDS_WEIGHTS)
        began = time.perf_counter()
        n_all = sum(len(task.items) for task in self.tasks) * len(tested_variants(variants))
        n_todo = sum(len(task.items) for _, task in todo)
        self.progress.begin(Stage.RUN_TASKS, total=n_all, done=n_all - n_todo)
        try:
            for variant, task in todo:
                self._run(variant, task, engine)
        finally:
            self.journal.add_seconds("lm-eval", time.perf_counter() - began)

    def _missing(self, variants: Sequence[Variant]) -> list[tuple[Variant, HarnessTask]]:
        """Return each variant and task with items that have no result, with these items alone."""
        have = self.journal.answered_items()
        found = []
        for variant in tested_variants(variants):
            for task in self.tasks:
                left = tuple(
                    i for i in task.items if ("lm-eval", task.item_id(i), variant.name) not in have
                )
                if left:
                    found.append((variant, replace(task, items=left)))
        return found

    def _run(self, variant: Variant, task: HarnessTask, engine: PlainEngine) -> None:
        n_before, n_items = self.progress.done, len(task.items)
        self.progress.step = task.name

        def count(share: float) -> None:
            self.progress.done = max(self.progress.done, n_before + int(share * n_items))
            self.progress.check()

        self.journal.add_item_results(run_task(task, engine, variant.name, count))
        self.progress.done = n_before + n_items
        self.progress.check()

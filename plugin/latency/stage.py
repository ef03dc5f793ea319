"""Measure a load level by level, with a server engine, after the run's own completions.

A level is kept when it is done. One that was stopped is measured anew as a whole: its requests ran
beside each other, so half of them cannot be put beside another half.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from plugin.compare.numbers import format_count
from plugin.engines import Engine, LoadResult, StreamingEngine
from plugin.errors import OptionError
from plugin.journal import Journal
from plugin.latency.schedule import LevelSize, level_size, plan_level
from plugin.records import Case, Prompt, Variant, is_rival
from plugin.run_facts import LoadFacts, LoadLevel
from plugin.worker import Progress, Stage

MakePrompts = Callable[[Sequence[Case], Sequence[Variant], Engine], list[Prompt]]

_PAUSE_S = 0.5
"""Between two levels, so that a server has put away what was cancelled."""

_MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class LoadTest:
    """A load that the user asked for, on one server.

    Attributes:
        levels: requests at once, the smallest number first.
        n_asked: requests of each variant and level; 0 leaves it to the program.
        guard: what must not get slower, as the user wrote it; "" for nothing.
        cases: in the order of work.
        variants: those of the server, the base first.
        journal: the run's.
    """

    levels: tuple[int, ...]
    n_asked: int
    guard: str
    cases: tuple[Case, ...]
    variants: tuple[Variant, ...]
    journal: Journal

    def missing(self) -> list[int]:
        """Return the levels that were not measured yet, or with other numbers of requests."""
        facts = self.journal.state.load or LoadFacts()
        done = {one.n_at_once for one in facts.levels if one.n_asked == self.n_asked}
        return [level for level in self.levels if level not in done]

    def size(self, level: int) -> LevelSize:
        """Return how much is sent at a level."""
        return level_size(level, len(self.variants), len(self.cases), self.n_asked)

    def forecast(self) -> str:
        """Say what is sent, and about how long it takes; "" for nothing to do."""
        todo = self.missing()
        if not todo:
            return ""
        sizes = [self.size(level) for level in todo]
        n_variants = len(self.variants)
        counts = [size.n_cases * n_variants + size.n_warm for size in sizes]
        per_level = " or ".join(dict.fromkeys(f"{size.n_cases:,}" for size in sizes))
        text = (
            f"latency under load: {' then '.join(map(str, todo))} at once, {per_level} requests of "
            f"each of {format_count(n_variants, 'variant', 'variants')}, "
            f"{format_count(sum(counts))} with those that warm up"
        )
        own = {variant.name for variant in self.variants}
        made = self.journal.completions()
        times = [one.seconds for (_, name), one in made.items() if name in own and one.seconds]
        if not times:
            return text
        mean_s = sum(times) / len(times)
        # A server that does one after the other, or one that does all at once: what it is shows.
        apart_s = min(mean_s, self.journal.state.seconds.get("generate", 0.0) / len(times))
        least = sum(counts) * apart_s
        most = sum(n / level for n, level in zip(counts, todo, strict=True)) * mean_s
        low, high = (_about(seconds) for seconds in sorted((least, most)))
        told = low if low == high else f"{low} to {high}"
        return f"{text}; this may take {told}, by the times of this run's completions"

    def run(self, engine: Engine, make_prompts: MakePrompts, progress: Progress) -> None:
        """Measure the levels that are missing.

        Args:
            engine: asks the server.
            make_prompts: makes the same prompts as those of the run.
            progress: gets a stage.

        Raises:
            OptionError: when the engine asks no server.
            ServerDownError: when the server no longer answers.
            UserError: when no request can succeed before the user changes something.
            Stopped: when the user stopped the run.
        """
        if not isinstance(engine, StreamingEngine):
            raise OptionError("--load needs --engine server: only a server streams its answers")
        made = make_prompts(self.cases, self.variants, engine)
        prompts = {(one.case_id, one.variant): one for one in made}
        ids, names = [case.id for case in self.cases], [one.name for one in self.variants]
        todo = self.missing()
        n_all = sum(self.size(level).n_cases for level in todo) * len(names)
        progress.begin(Stage.LOAD, total=n_all)
        n_before = 0
        for place, level in enumerate(todo):
            if place:
                time.sleep(_PAUSE_S)
            progress.step = f"{level} at once"
            size = self.size(level)

            def count(n_done: int, n_before: int = n_before) -> None:
                progress.done = n_before + n_done
                progress.check()

            result = engine.run_load(plan_level(ids, names, prompts, size, level), count)
            self._keep(level, size, result)
            n_before += size.n_cases * len(names)

    def keep_asked(self) -> None:
        """Keep what is asked for, so that a resumed run and its report know of it."""
        state, todo = self.journal.state, self.missing()
        facts = state.load or LoadFacts()
        kept = tuple(one for one in facts.levels if one.n_at_once not in todo)
        asked = tuple(sorted({*facts.asked, *self.levels}))
        facts = LoadFacts(kept, asked, self.n_asked, self.guard)
        self.journal.save_state(replace(state, load=facts))

    def _keep(self, level: int, size: LevelSize, result: LoadResult) -> None:
        journal = self.journal
        with journal.transaction():
            journal.set_load_level(level, result.rows)
            facts = journal.state.load or LoadFacts()
            found = LoadLevel(
                level, size.n_cases, size.n_warm, self.n_asked, result.seconds, result.gave_up
            )
            levels = sorted([*facts.levels, found], key=lambda one: one.n_at_once)
            journal.save_state(replace(journal.state, load=replace(facts, levels=tuple(levels))))
            journal.add_seconds("load", result.seconds)


def loaded_variants(variants: Sequence[Variant]) -> tuple[Variant, ...]:
    """Return the variants on the run's own server: other models run on others."""
    return tuple(one for one in variants if not is_rival(one.name))


def _about(seconds: float) -> str:
    if seconds < 2 * _MINUTE_S:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / _MINUTE_S)} minutes"

"""Test general ability while an engine holds the weights: the shipped items, then the texts.

`ProbeStage` is one of the stages that `plugin.generate` runs after a load has generated, so the
base is loaded once for all of them. What the journal has is not made again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from plugin.capability.asking import ask_items, missing_items
from plugin.capability.choice import Asked
from plugin.capability.probe import probe_items
from plugin.capability.reading import missing_texts, read_texts
from plugin.capability.texts import likelihood_texts
from plugin.engines import Engine
from plugin.journal import Journal
from plugin.records import Variant, is_yardstick
from plugin.run_facts import CapabilityChoice
from plugin.worker import Progress


def tested_variants(variants: Sequence[Variant]) -> list[Variant]:
    """Return the base and what was made of it; a prompted base is the base."""
    return [variant for variant in variants if not is_yardstick(variant.name)]


@dataclass(frozen=True, slots=True)
class ProbeStage:
    """Ask every variant the shipped items and let it read the texts, as far as that is wanted.

    Attributes:
        asked: what the user asked for.
        variants: all variants of the run, the base first.
        journal: the run's.
        progress: gets the stages.
    """

    asked: Asked
    variants: tuple[Variant, ...]
    journal: Journal
    progress: Progress

    def choose(self) -> CapabilityChoice:
        """Decide which set is asked, and keep that; the run's first load must have generated."""
        found = self.asked.choose(self.journal, len(tested_variants(self.variants)))
        self.journal.save_state(replace(self.journal.state, capability=found))
        return found

    def is_done(self, variants: Sequence[Variant]) -> bool:
        """Return whether nothing is left to do for these variants, which have generated."""
        size = self.choose().size
        if size == "off":
            return True
        own = tested_variants(variants)
        return not (
            missing_items(probe_items(size), own, self.journal)
            or missing_texts(likelihood_texts(size), own, self.journal)
        )

    def work(self, variants: Sequence[Variant], engine: Engine, *, shared: bool) -> None:
        """Do what is left for the variants of one load.

        Args:
            variants: those of the load.
            engine: holds them.
            shared: whether completions go into the cache that runs share.

        Raises:
            Stopped: when the user stopped the run.
        """
        if self.is_done(variants):
            return
        size, own = self.choose().size, tested_variants(variants)
        assert size != "off", "then there is nothing left to do"
        began = time.perf_counter()
        try:
            ask_items(probe_items(size), own, engine, self.journal, self.progress, shared=shared)
            base = self.variants[0].name
            texts = likelihood_texts(size)
            read_texts(texts, own, engine, self.journal, self.progress, base)
        finally:
            self.journal.add_seconds("capability", time.perf_counter() - began)

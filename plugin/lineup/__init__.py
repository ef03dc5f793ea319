"""Who is compared with whom: the variants of a run, and what generates for each of them.

One file for each way to name them: models and adapters on this machine, names that a server knows,
files of completions made elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from plugin.cases import LoadedCases
from plugin.certificate_records import Certificate
from plugin.generation import Load
from plugin.params import Params
from plugin.records import ALL, DATA, Variant
from plugin.sources import Sources

RESERVED = {
    DATA: "what stands where a metric judges the data and no variant",
    ALL: "what all cases together are called",
}
"""Names that no variant may have, and why."""


@dataclass(frozen=True, slots=True)
class Lineup:
    """The variants, ready to be generated with.

    Attributes:
        loads: one after another, each holding the weights of some variants; the first one has the
            baseline.
        identity: what the completions depend on, by name.
        versions: of the engine, why it was chosen, and the adapters' traits.
        engine: the name of the one that generates.
        model_type: the architecture that the model's configuration names, "" where it names none.
        certificates: of variants for which it is known beforehand that none applies.
        notes: what the reader must know of what was lined up, a sentence each.
    """

    loads: tuple[Load, ...]
    identity: dict[str, Any]
    versions: dict[str, str]
    engine: str
    model_type: str = ""
    certificates: tuple[Certificate, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def variants(self) -> tuple[Variant, ...]:
        """All of them, the baseline first."""
        return tuple(variant for load in self.loads for variant in load.variants)


def line_up(params: Params, sources: Sources, loaded: LoadedCases | None = None) -> Lineup:
    """Check what is to be compared, choose the engine, and name the variants.

    Args:
        params: what the user asked for.
        sources: where things are.
        loaded: the cases; only what was recorded needs them, to be joined with.

    Raises:
        UserError: naming what is wrong with options, model, adapters or recorded completions.
    """
    found: Lineup
    if sources.recorded and loaded:
        found = import_module("plugin.lineup._recorded").line_up(sources, loaded)
    else:
        kind = "_served" if sources.server else "_local"
        found = import_module(f"plugin.lineup.{kind}").line_up(params, sources)
    return found

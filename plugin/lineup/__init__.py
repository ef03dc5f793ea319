"""Who is compared with whom: the variants of a run, and what generates for each of them.

One file for each way to name them: models and adapters on this machine, names that a server knows,
files of completions made elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from plugin.generation import Load
from plugin.params import Params
from plugin.records import Variant
from plugin.sources import Sources


@dataclass(frozen=True, slots=True)
class Lineup:
    """The variants, ready to be generated with.

    Attributes:
        loads: one after another, each holding the weights of some variants; the first one has the
            baseline.
        identity: what the completions depend on, by name.
        versions: of the engine, why it was chosen, and the adapters' traits.
        model_type: the architecture that the model's configuration names, "" where it names none.
    """

    loads: tuple[Load, ...]
    identity: dict[str, Any]
    versions: dict[str, str]
    model_type: str = ""

    @property
    def variants(self) -> tuple[Variant, ...]:
        """All of them, the baseline first."""
        return tuple(variant for load in self.loads for variant in load.variants)


def line_up(params: Params, sources: Sources) -> Lineup:
    """Check what is to be compared, choose the engine, and name the variants.

    Raises:
        UserError: naming what is wrong with options, model or adapters.
    """
    found: Lineup = import_module("plugin.lineup._local").line_up(params, sources)
    return found

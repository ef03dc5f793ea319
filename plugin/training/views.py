"""The trainings of a run's adapters for its report: each log once, with what to change next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from plugin.errors import DataError
from plugin.records import ALL, Variant
from plugin.results import Harm
from plugin.training.advice import advise
from plugin.training.find import LogCache, read_curves
from plugin.training.words import curve_lines
from plugin.training_curves import Curves


@dataclass(frozen=True, slots=True)
class TrainingView:
    """One training, as a report shows it.

    Attributes:
        variants: those that came out of it.
        curves: what its log says; the step of the first variant is the chosen one.
        chosen: the steps of all variants, where they are known.
        lines: what the curves show, a sentence each.
        advice: at most two things to change next.
    """

    variants: tuple[str, ...]
    curves: Curves
    chosen: tuple[float, ...]
    lines: tuple[str, ...]
    advice: tuple[str, ...]


class Ability(Protocol):
    """An ability that a variant lost."""

    @property
    def ability(self) -> str:
        """Return its name."""


class Abilities(Protocol):
    """What became of general ability."""

    def lost(self, variant: str) -> Sequence[Ability]:
        """Return the abilities that a variant lost."""


def curves_of_variants(variants: Sequence[Variant], on_server: bool) -> dict[str, Curves]:
    """Return the curves of adapters and fine-tuned models on this machine, by variant.

    A variant without logs is left out: a missing log is no fault of a run.

    Args:
        variants: the base first.
        on_server: whether their names are those of a server, and lead to no folder here.
    """
    if on_server or not variants:
        return {}
    base, found, seen = variants[0], dict[str, Curves](), LogCache()
    for variant in variants[1:]:
        place = variant.adapter_path or ("" if variant.model == base.model else variant.model)
        if not place or not Path(place).expanduser().exists():
            continue
        try:
            found[variant.name] = read_curves(place, seen)
        except DataError:
            continue
    return found


def view_trainings(
    found: Mapping[str, Curves],
    harms: Iterable[Harm],
    abilities: Abilities | None,
) -> tuple[TrainingView, ...]:
    """Return the trainings; variants with the same log share one.

    Args:
        found: curves by variant, as the journal has them.
        harms: the guards that variants lost; the retention groups among them call for replay.
        abilities: tells which general abilities a variant lost; None where they were not tested.
    """
    groups = dict[tuple[object, ...], list[str]]()
    for name, curves in found.items():
        key = (curves.trainer, curves.log, curves.train, curves.evaluation)
        groups.setdefault(key, []).append(name)
    of_groups = {(harm.variant, harm.name): None for harm in harms if harm.group != ALL}
    views = []
    for names in groups.values():
        curves = found[names[0]]
        lost = [group for variant, group in of_groups if variant in names]
        if abilities:
            lost += [one.ability for name in names for one in abilities.lost(name)]
        chosen = tuple(step for name in names if (step := found[name].chosen) is not None)
        advice = advise(curves, tuple(dict.fromkeys(lost)))
        views.append(TrainingView(tuple(names), curves, chosen, curve_lines(curves), advice))
    return tuple(views)

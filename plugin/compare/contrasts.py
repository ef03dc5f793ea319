"""Which variants of a run are compared with which: what each of them is shows in its name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from plugin.records import MetricSpec, is_prompted, is_rival, is_yardstick


class Contrast(NamedTuple):
    """The names of a variant and of the baseline that it is compared with."""

    variant: str
    baseline: str


def contrasts(names: Sequence[str]) -> tuple[Contrast, ...]:
    """Return all comparisons of a run, the most important first.

    Every variant is compared with the base. Contenders are also compared with every yardstick:
    the base under each prompt, and each other model.

    Args:
        names: names of the variants, the base first.
    """
    base, about = names[:1], contenders(names)
    yardsticks = [name for name in names[1:] if is_yardstick(name) and name not in about]
    pairs = [Contrast(name, baseline) for baseline in (*base, *yardsticks) for name in about]
    return (*pairs, *(Contrast(name, baseline) for name in yardsticks for baseline in base))


def contenders(names: Sequence[str]) -> tuple[str, ...]:
    """Return the variants that the verdict can be about: all but base and yardsticks.

    Without any, they are the base's prompts, and without these all others.
    """
    others = tuple(names[1:])
    tuned = tuple(name for name in others if not is_yardstick(name))
    return tuned or tuple(filter(is_prompted, others)) or others


def is_measured(spec: MetricSpec, name: str) -> bool:
    """Return whether a variant can have the metric: of a rival only its answers are known."""
    return not (spec.needs_likelihood and is_rival(name))


def is_comparable(spec: MetricSpec, contrast: Contrast) -> bool:
    """Return whether the metric means the same for both.

    A rival has another tokenizer and runs on another machine, so its seconds and tokens are its
    own.
    """
    own = spec.needs_engine - {"finish_reason"}
    return not (own and any(map(is_rival, contrast)))

"""Read a strength sweep: what an adapter does when its change of the weights is scaled.

Scale 0 is the base, scale 1 the adapter as trained. If expected outputs are most likely at a
smaller scale, the adapter overshoots; if they grow likelier beyond 1, it is too weak. Another scale
counts as better only if its gain over scale 1 is both clear (paired over cases, p < 0.05 after
Holm's correction for all scales) and of some size.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

from plugin.certify.effect import Distance
from plugin.compare.numbers import (
    format_count,
    format_number,
    format_percent,
    format_range,
    format_rough,
)
from plugin.compare.stats import holm, paired_estimate
from plugin.errors import OptionError

MAX_SCALES, _HIGHEST = 20, 10.0
N_READ = 64
"""Cases whose expected outputs are read at every scale."""

_MAX_P, _LEAST_GAIN = 0.05, 0.01
"""A better scale has a p-value below the first and gains more than the second, in nats per token
(1% of the perplexity)."""

_EXAMPLE = "such as --scales 0,0.25,0.5,0.75,1,1.25"


def read_scales(text: str) -> tuple[float, ...]:
    """Return the scales of a list such as "0.5, 1.25", sorted; 0 and 1 are always among them.

    Raises:
        OptionError: for anything but a few numbers from 0 to 10.
    """
    found = {0.0, 1.0}
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise OptionError(f"--scales is empty: give numbers, {_EXAMPLE}")
    for part in parts:
        try:
            scale = float(part)
        except ValueError as error:
            raise OptionError(f"--scales: {part!r} is not a number; {_EXAMPLE}") from error
        if not 0 <= scale <= _HIGHEST:  # also NaN
            raise OptionError(
                f"--scales: {part} is not between 0 (the base) and {_HIGHEST:g} times the adapter; "
                f"give numbers in this range, {_EXAMPLE}"
            )
        found.add(abs(scale))
    if len(found) > MAX_SCALES:
        raise OptionError(
            f"--scales: {len(found)} scales (with 0 and 1), and {MAX_SCALES} are the most; leave "
            "some out"
        )
    return tuple(sorted(found))


def scaled_name(variant: str, scale: float) -> str:
    """Return the name of an adapter at another scale."""
    return f"{variant} at scale {scale:.10g}"


@dataclass(frozen=True, slots=True)
class Measured:
    """Hold what was measured at one scale.

    Attributes:
        scale: the factor.
        effect: distance from the base; None when the model answers with NaN or infinity.
        texts: completions of the probes, in their order; None for one that failed.
        likelihoods: log-likelihood of each case's expected output, in nats per token; None where
            it could not be read.
    """

    scale: float
    effect: Distance | None
    texts: tuple[str | None, ...] = ()
    likelihoods: tuple[float | None, ...] = ()


@dataclass(frozen=True, slots=True)
class SweepStep:
    """Hold what one scale does.

    Attributes:
        scale: the factor.
        effect: distance from the base; None when the model answers with NaN or infinity.
        n_texts: probe completions that could be compared with the base's.
        n_changed: how many of them differ.
        likelihood: mean log-likelihood of the expected outputs, in nats per token.
        gain: how much more that is than at scale 1.
        ci_low: lower end of the gain's 95% interval.
        ci_high: upper end.
        p_value: of no gain, corrected for the number of scales; None at scale 1.
    """

    scale: float
    effect: Distance | None
    n_texts: int = 0
    n_changed: int = 0
    likelihood: float | None = None
    gain: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    p_value: float | None = None

    @property
    def share_changed(self) -> float | None:
        """Return the share of completions that differ from the base's; None without any."""
        return self.n_changed / self.n_texts if self.n_texts else None


@dataclass(frozen=True, slots=True)
class Sweep:
    """Hold the sweep of one adapter.

    Attributes:
        variant: its name.
        steps: in the order of the scales.
        n_probes: number of probe prompts.
        n_cases: cases whose expected output was read at every scale.
    """

    variant: str
    steps: tuple[SweepStep, ...]
    n_probes: int
    n_cases: int

    @property
    def best(self) -> SweepStep | None:
        """Return the step with the highest likelihood; None without likelihoods."""
        read = [step for step in self.steps if step.likelihood is not None]
        return max(read, key=lambda step: step.likelihood or -math.inf, default=None)

    @property
    def is_clear(self) -> bool:
        """Return whether the best step is clearly better than scale 1."""
        best = self.best
        if best is None or best.gain is None or best.p_value is None:
            return False
        return best.gain > _LEAST_GAIN and best.p_value < _MAX_P

    @property
    def words(self) -> str:
        """Return what the sweep shows, in plain words."""
        best = self.best
        if best is None:
            return (
                "No expected output could be read, so the sweep cannot tell which scale is best. "
                "Give cases that have expected outputs with --dataset_name."
            )
        if best.scale == 1:
            return "The likelihood of expected outputs is best at scale 1: the strength fits."
        at = f"at scale {best.scale:g} ({format_number(best.gain, signed=True)} nats per token)"
        if not self.is_clear:
            return (
                f"The likelihood of expected outputs is best {at}, but not clearly better than at "
                f"scale 1, on {format_count(self.n_cases, 'case', 'cases')}: nothing speaks "
                "against the strength."
            )
        if best.scale == 0:
            return (
                f"The likelihood of expected outputs is best {at}, without the adapter: it makes "
                "them less likely. Was it trained for these cases?"
            )
        if best.scale < 1:
            base = self.steps[0].gain or 0.0
            beside = " At scale 1 they are less likely than without it." if base > 0 else ""
            return (
                f"The likelihood of expected outputs is best {at}: the adapter overshoots. It is "
                f"overfitted, or its alpha is too high.{beside}"
            )
        if best is self.steps[-1]:
            return (
                f"The likelihood of expected outputs grows up to scale {best.scale:g}, the largest "
                f"tried ({format_number(best.gain, signed=True)} nats per token): the adapter is "
                "too weak. It was trained too little, or its alpha is too low."
            )
        return (
            f"The likelihood of expected outputs is best {at}: the adapter is a little weak. It "
            "was trained too little, or its alpha is too low."
        )


def make_sweep(
    variant: str, measured: Sequence[Measured], clusters: Sequence[Hashable] | None
) -> Sweep:
    """Compare every scale with the base and with scale 1.

    Args:
        variant: the adapter's name.
        measured: one for each scale, with scales 0 and 1 among them.
        clusters: a label per case; see `paired_estimate`.
    """
    base = next(one for one in measured if one.scale == 0)
    able = [one for one in measured if any(x is not None for x in one.likelihoods)]
    columns = list(zip(*(one.likelihoods for one in able), strict=True))
    shared = [i for i, column in enumerate(columns) if None not in column]
    read = {one.scale: [one.likelihoods[i] or 0.0 for i in shared] for one in able if shared}
    labels = [clusters[i] for i in shared] if clusters is not None else None
    steps = [_with_gain(_changes(one, base), read, labels) for one in measured]
    known = [step for step in steps if step.p_value is not None]
    corrected = holm([step.p_value or 0.0 for step in known])
    p_values = {step.scale: p for step, p in zip(known, corrected, strict=True)}
    return Sweep(
        variant=variant,
        steps=tuple(replace(step, p_value=p_values.get(step.scale)) for step in steps),
        n_probes=len(base.texts),
        n_cases=len(shared),
    )


def _changes(one: Measured, base: Measured) -> SweepStep:
    pairs = [(a, b) for a, b in zip(one.texts, base.texts, strict=False) if None not in (a, b)]
    return SweepStep(one.scale, one.effect, len(pairs), sum(a != b for a, b in pairs))


def _with_gain(
    step: SweepStep, read: dict[float, list[float]], clusters: Sequence[Hashable] | None
) -> SweepStep:
    own, trained = read.get(step.scale), read.get(1.0)
    if own is None:
        return step
    step = replace(step, likelihood=sum(own) / len(own))
    if trained is None or step.scale == 1:
        return step
    gains = [a - b for a, b in zip(own, trained, strict=True)]
    found = paired_estimate(gains, clusters=clusters, seed=0)
    return replace(
        step, gain=found.mean, ci_low=found.ci_low, ci_high=found.ci_high, p_value=found.p_value
    )


_HEADS = ("scale", "nats from the base", "completions changed", "likelihood", "against scale 1")


def sweep_block(sweep: Sweep) -> str:
    """Return the sweep as a table for the terminal, and what it shows."""
    rows = [_HEADS, *(_cells(step) for step in sweep.steps)]
    if sweep.best is None:
        rows = [row[:3] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(f"{t:>{w}}" for t, w in zip(row, widths, strict=True)) for row in rows]
    about = f"change on {format_count(sweep.n_probes, 'probe prompt', 'probe prompts')}"
    if sweep.best is not None:
        about += (
            ", likelihood of the expected outputs of "
            f"{format_count(sweep.n_cases, 'case', 'cases')} in nats per token"
        )
    return "\n".join(
        [f"\n{sweep.variant} by strength: {about}", *(f"  {x}".rstrip() for x in lines)]
        + [f"  {sweep.words}"]
    )


def _cells(step: SweepStep) -> tuple[str, ...]:
    effect = format_rough(step.effect.kl) if step.effect else "NaN"
    changed = f"{step.n_changed} of {step.n_texts}" if step.n_texts else "–"
    within = format_range(step.ci_low, step.ci_high, signed=True)
    gain = format_number(step.gain, signed=True, missing="") + (f" ({within})" if within else "")
    return f"{step.scale:g}", effect, changed, format_number(step.likelihood), gain


SWEEP_COLUMNS = (
    "variant scale nats_from_base n_probes n_changed likelihood n_cases gain ci_low ci_high p_value"
).split()


def sweep_rows(sweep: Sweep) -> list[list[object]]:
    """Return the rows of the CSV table, under `SWEEP_COLUMNS`."""
    return [
        [
            *(sweep.variant, step.scale, step.effect.kl if step.effect else None),
            *(step.n_texts, step.n_changed, step.likelihood, sweep.n_cases),
            *(step.gain, step.ci_low, step.ci_high, step.p_value),
        ]
        for step in sweep.steps
    ]


def share_text(step: SweepStep) -> str:
    """Return the share of changed completions, such as "88%"; "" without any."""
    return "" if step.share_changed is None else format_percent(step.share_changed)

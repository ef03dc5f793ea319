"""Say what the loss curves of a training show: the state in `training_curves.State`.

Every decision is one of the tests in `noise.py`; no size of a rise or a fall is called large or
small by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from plugin.training.noise import (
    FEWEST,
    Noise,
    between_two,
    block_means,
    changed_at_all,
    estimate_noise,
    falls_at_end,
    is_level_at_end,
    last_half,
    rises_after_lowest,
)
from plugin.training_curves import Change, Diagnosis, SavedCheckpoint, Series

_BLOCKS = 20
"""Means of the training loss that are tested."""

_OWN_NOISE_FROM = 6
"""Evaluations from which on their own noise is used; below, the training loss lends its noise."""

_LENDS_FROM = 8
"""Values of the training loss from which on it lends its noise."""

_ZEROS, _ABOVE_ZERO = 3, 0.1
"""So many losses of exactly zero, right after one above this, are a broken training. A loss that is
learned away comes to zero by and by, and is printed with three decimals or more."""


def diagnose(
    train: Series,
    evaluation: Series,
    checkpoints: Sequence[SavedCheckpoint],
    last_step: float,
) -> Diagnosis:
    """Return what the curves show.

    Args:
        train: all values of the training loss, not thinned.
        evaluation: the same of the evaluation loss.
        checkpoints: those on disk, with their losses.
        last_step: of the log.
    """
    broken_from = _broken_from(train, last_step)
    noise = evaluation_noise(train, evaluation)
    best = _best(checkpoints, broken_from)
    found = _diverging(train, broken_from) or (
        _by_evaluation(train, evaluation, noise) if len(evaluation) else _by_training(train)
    )
    return replace(
        found,
        broken_from=broken_from,
        best=best,
        as_good=_as_good(best, checkpoints, len(evaluation), noise, broken_from),
        lowest=_lowest(evaluation, broken_from),
    )


def evaluation_noise(train: Series, evaluation: Series) -> Noise | None:
    """Return how far one evaluation loss strays by chance.

    Few evaluations do not show their own noise. A training loss is the mean of a few batches, other
    ones each time, so it strays at least as far as the loss of the same evaluation rows.
    """
    own = estimate_noise(evaluation) if len(evaluation) >= _OWN_NOISE_FROM else None
    if own is not None:
        return Noise(own, own=True)
    lent = estimate_noise(train) if len(train) >= _LENDS_FROM else None
    few = estimate_noise(evaluation) if len(evaluation) >= FEWEST else None
    if lent is not None:
        return Noise(max(lent, few or 0.0), own=False)
    return Noise(few, own=True) if few is not None else None


def _broken_from(train: Series, last_step: float) -> float | None:
    """Return the step from which on the training loss is no number, or exactly zero."""
    last = train.steps[-1] if len(train) else -1.0
    tail = [step for step in train.broken if step > last]
    if tail:
        return tail[0]
    zeros = 0
    while zeros < len(train) and train.values[-1 - zeros] == 0:
        zeros += 1
    if zeros >= _ZEROS and (zeros == len(train) or train.values[-1 - zeros] > _ABOVE_ZERO):
        return train.steps[-zeros]
    return None


def _diverging(train: Series, broken_from: float | None) -> Diagnosis | None:
    blocks = block_means(train, _BLOCKS)
    deviation = estimate_noise(blocks)
    if broken_from is not None:
        return Diagnosis("diverging", "training", deviation)
    if deviation is None or not rises_after_lowest(blocks, Noise(deviation, own=True)):
        return None
    return Diagnosis("diverging", "training", deviation, _rise(blocks))


def _by_training(train: Series) -> Diagnosis:
    """Return what the training loss shows alone."""
    blocks = block_means(train, _BLOCKS)
    deviation = estimate_noise(blocks)
    if deviation is None:
        return Diagnosis("too few", "training")
    noise = Noise(deviation, own=True)
    if falls_at_end(blocks, noise):
        return Diagnosis("underfitted", "training", deviation, _fall(blocks))
    state = "no evaluation" if changed_at_all(blocks, noise) else "too noisy"
    return Diagnosis(state, "training", deviation)  # type: ignore[arg-type]


def _by_evaluation(train: Series, evaluation: Series, noise: Noise | None) -> Diagnosis:
    deviation = noise.deviation if noise else None
    if rises_after_lowest(evaluation, noise):
        change = _rise(evaluation)
        fall = _fall_between(train, change.low_step, change.high_step)
        return Diagnosis("overfitting", "evaluation", deviation, change, fall)
    if falls_at_end(evaluation, noise):
        return Diagnosis("underfitted", "evaluation", deviation, _fall(evaluation))
    fell = _first_fall(evaluation) if changed_at_all(evaluation, noise) else None
    if fell and is_level_at_end(evaluation, noise):
        return Diagnosis("levelled off", "evaluation", deviation, fell)
    if noise is None or len(evaluation) < 4:
        return Diagnosis("too few", "evaluation", deviation)
    return Diagnosis("too noisy", "evaluation", deviation, fell)


def _rise(series: Series) -> Change:
    lowest = min(range(len(series)), key=lambda i: series.values[i])
    return Change(series.steps[lowest], series.values[lowest], series.steps[-1], series.values[-1])


def _first_fall(series: Series) -> Change:
    rise = _rise(series)
    return Change(rise.low_step, rise.low, series.steps[0], series.values[0])


def _fall(series: Series) -> Change:
    half = last_half(series)
    return Change(half.steps[-1], half.values[-1], half.steps[0], half.values[0])


def _fall_between(train: Series, begin: float, end: float) -> Change | None:
    """Return how far the training loss fell from one step to another; None if it did not.

    Both ends are means of the values there: a tenth of the curve, one value at least.
    """
    n = max(1, len(train) // 10)
    before = [i for i, step in enumerate(train.steps) if step <= begin][-n:]
    after = [i for i, step in enumerate(train.steps) if begin < step <= end][-n:]
    if not before or not after:
        return None
    high, low = (sum(train.values[i] for i in part) / len(part) for part in (before, after))
    return (
        Change(train.steps[after[-1]], low, train.steps[before[-1]], high) if low < high else None
    )


def _lowest(evaluation: Series, broken_from: float | None) -> tuple[float, float] | None:
    pairs = [
        (step, loss)
        for step, loss in zip(evaluation.steps, evaluation.values, strict=True)
        if broken_from is None or step < broken_from
    ]
    return min(pairs, key=lambda pair: (pair[1], pair[0])) if pairs else None


def _usable(
    checkpoints: Sequence[SavedCheckpoint], broken_from: float | None
) -> list[tuple[float, SavedCheckpoint]]:
    """Return the checkpoints whose loss is known, with it, but for those of a broken training."""
    return [
        (one.loss, one)
        for one in checkpoints
        if one.loss is not None and (broken_from is None or one.step < broken_from)
    ]


def _best(
    checkpoints: Sequence[SavedCheckpoint], broken_from: float | None
) -> SavedCheckpoint | None:
    usable = _usable(checkpoints, broken_from)
    return min(usable, key=lambda pair: (pair[0], pair[1].step))[1] if usable else None


def _as_good(
    best: SavedCheckpoint | None,
    checkpoints: Sequence[SavedCheckpoint],
    n_evaluations: int,
    noise: Noise | None,
    broken_from: float | None,
) -> tuple[SavedCheckpoint, ...]:
    if best is None or best.loss is None or noise is None:
        return ()
    limit = best.loss + noise.deviation * between_two(n_evaluations, noise, 0.025)
    usable = _usable(checkpoints, broken_from)
    return tuple(one for loss, one in usable if one is not best and loss <= limit)

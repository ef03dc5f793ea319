"""Name at most two things to change in the next training, each with its reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from plugin.compare.numbers import format_count
from plugin.training.words import say_loss, say_step
from plugin.training_curves import Change, Curves

_MOST = 2
_EARLY = 1 / 3
"""Share of a training before which an evaluation loss turns early: more than fewer epochs helps."""

_FEW = 8
"""Evaluations below which more of them help more than larger ones."""

_USUAL_RATES = (1e-4, 2e-4)
"""Learning rates of QLoRA's authors (Dettmers and others, 2023) for models of 7 to 65 billion."""


def advise(curves: Curves, lost: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the suggestions, the most useful first.

    Args:
        curves: what is known of the training.
        lost: what the tuned model lost against its base, as the run's verdict names it; () outside
            of a run.
    """
    state = curves.diagnosis.state
    found = [*_replay(lost)]
    if state == "diverging":
        found += _for_diverging(curves)
    elif state == "overfitting" and curves.diagnosis.change:
        found += _for_overfitting(curves, curves.diagnosis.change)
    elif state == "underfitted":
        found += _for_underfitted(curves)
    elif state == "too noisy" and len(curves.evaluation) >= _FEW:
        found += _for_noisy(curves)
    if not len(curves.evaluation):
        found.append(
            "Set 5 to 10% of the rows aside for evaluation (valid.jsonl for mlx-lm, eval_strategy "
            "and an evaluation set for Hugging Face trainers): only their loss shows memorising."
        )
    elif state in ("too few", "too noisy") and len(curves.evaluation) < _FEW:
        found.append(
            f"Evaluate more often: with {_losses(len(curves.evaluation))} no rise or fall can be "
            "told from noise. Ten or more in one training can."
        )
    return tuple(found[:_MOST])


def _losses(n: int) -> str:
    return format_count(n, "evaluation loss", "evaluation losses")


def _replay(lost: Sequence[str]) -> Iterator[str]:
    if lost:
        yield (
            f"Mix replay data into the training set, such as 5 to 10% general conversations with "
            f"the base's own answers: the tuned model lost {', '.join(lost[:2])}, and rows of the "
            "old kind keep such abilities in training."
        )


def _for_diverging(curves: Curves) -> Iterator[str]:
    rate = _rate(curves)
    now = f" (it was {rate:.2g})" if rate else ""
    yield (
        f"Lower the learning rate to a third or less{now}: steps that are too large are the "
        "commonest reason for a loss that runs away."
    )
    if curves.diagnosis.broken_from is not None:
        yield (
            "Train in bfloat16 or float32 rather than float16, and clip gradients (max_grad_norm "
            "1.0): a loss that is no number comes from an overflow."
        )
    elif not _has_warmup(curves):
        yield (
            "Warm the learning rate up over the first 3 to 10% of the steps: the first steps of "
            "Adam are its least reliable ones."
        )


def _for_overfitting(curves: Curves, change: Change) -> Iterator[str]:
    last = max(change.high_step, curves.train.steps[-1] if len(curves.train) else 0.0)
    at = say_step(curves, change.low_step)
    share = change.low_step / last if last else 1.0
    planned = curves.epoch or curves.settings.epochs
    if planned and curves.axis == "step":
        yield (
            f"Train for about {_epochs(planned * share)} rather than {planned:.2g}, or turn "
            f"early stopping on: the evaluation loss is lowest at {at} and rises from there on."
        )
    else:
        yield (
            f"Stop at about {at}, or turn early stopping on: the evaluation loss rises from there "
            f"on, by {say_loss(change.size)} until {say_step(curves, change.high_step)}."
        )
    dropout = curves.settings.dropout
    rate = _rate(curves)
    if share < _EARLY and rate and rate > _USUAL_RATES[1]:
        yield (
            f"Halve the learning rate ({rate:.2g}): the evaluation loss turned after {share:.0%} "
            "of the training, so the model memorises faster than it learns."
        )
    elif dropout == 0:
        yield (
            "Add training rows, or set the adapter's dropout to 0.05 (it is 0): with more rows "
            "there is more to learn before the model memorises them."
        )
    else:
        rank = f" or a lower rank than {curves.settings.rank:.0f}" if curves.settings.rank else ""
        yield (
            f"Add training rows{rank}: the more an adapter can hold beside the rows there are, the "
            "sooner it memorises them."
        )


def _for_underfitted(curves: Curves) -> Iterator[str]:
    change, rate = curves.diagnosis.change, _rate(curves)
    if change is None:
        return
    planned = curves.epoch or curves.settings.epochs
    longer = f" (it had {_epochs(planned)})" if planned else ""
    yield (
        f"Train longer{longer}: the loss fell by {say_loss(change.size)} in the last half and had "
        "not stopped. With a decaying learning rate, plan the longer training from the start."
    )
    if rate and rate < _USUAL_RATES[0] and curves.settings.rank:
        yield (
            f"Or raise the learning rate from {rate:.2g} towards {_USUAL_RATES[0]:.0e}: adapters "
            "are commonly trained with 1e-4 to 2e-4, and lower rates need more steps."
        )


def _for_noisy(curves: Curves) -> Iterator[str]:
    noise = curves.diagnosis.noise
    said = f" (one loss strays by about {say_loss(noise)})" if noise else ""
    yield (
        f"Evaluate on more rows, and on the same ones every time{said}: mlx-lm takes all of them "
        "with --val-batches -1."
    )


def _rate(curves: Curves) -> float | None:
    if len(curves.learning_rate):
        return max(curves.learning_rate.values)
    return curves.settings.learning_rate


def _has_warmup(curves: Curves) -> bool:
    rate = curves.learning_rate
    return bool(curves.settings.warmup) or (len(rate) > 1 and rate.values[0] < max(rate.values))


def _epochs(count: float) -> str:
    text = f"{count:.2g}"
    return f"{text} epoch" if text == "1" else f"{text} epochs"

"""Put a diagnosis into sentences, each with its numbers."""

from __future__ import annotations

from plugin.compare.numbers import format_count
from plugin.training_curves import Change, Curves, Diagnosis, SavedCheckpoint, Series

_NAMES = {"training": "training loss", "evaluation": "evaluation loss"}
_N_NAMED = 3


def curve_lines(curves: Curves) -> tuple[str, ...]:
    """Return what the curves show, the most important sentence first."""
    return tuple(
        text
        for text in (
            _state_line(curves),
            _broken_line("training", curves.train, curves.diagnosis),
            _broken_line("evaluation", curves.evaluation, curves.diagnosis),
            *_checkpoint_lines(curves),
            _no_evaluation_line(curves),
            _rate_line(curves),
            _cut_short_line(curves),
        )
        if text
    )


def say_loss(loss: float) -> str:
    """Return a loss, or a difference of two, with three decimals or two digits."""
    return f"{loss:.3f}" if abs(loss) >= 0.01 or not loss else f"{loss:.2g}"


def say_step(curves: Curves, step: float) -> str:
    """Return a place on the axis, such as "step 1,200"."""
    value = f"{step:,.0f}" if step == round(step) else f"{step:,.4g}"
    return f"{curves.axis} {value}"


def _state_line(curves: Curves) -> str:
    found = curves.diagnosis
    name, change = _NAMES[found.curve], found.change
    if found.state == "diverging":
        return _diverging_line(curves)
    if found.state == "overfitting" and change:
        text = f"{_rise_text(curves, name, change)}{_train_text(curves)}"
        return f"Overfitting: {text}{_noise_text(found)}."
    if found.state == "underfitted" and change:
        return (
            f"Underfitted: the {name} still falls at the end, by {say_loss(change.size)} from "
            f"{say_loss(change.high)} at {say_step(curves, change.high_step)} to "
            f"{say_loss(change.low)} at {say_step(curves, change.low_step)}{_noise_text(found)}."
        )
    if found.state == "levelled off" and found.lowest:
        step, loss = found.lowest
        return (
            f"Levelled off: the evaluation loss fell from {say_loss(curves.evaluation.values[0])} "
            f"to {say_loss(loss)} at {say_step(curves, step)}, and neither falls nor rises at the "
            f"end beyond its noise{_noise_text(found)}."
        )
    return _unclear_line(curves)


def _unclear_line(curves: Curves) -> str:
    """Say that the curves say little."""
    found = curves.diagnosis
    series = curves.evaluation if found.curve == "evaluation" else curves.train
    name, n = _NAMES[found.curve], format_count(series.n or len(series))
    if found.state == "no evaluation":
        return (
            f"The training loss fell from {say_loss(series.values[0])} to "
            f"{say_loss(series.values[-1])} and has levelled off{_noise_text(found)}."
        )
    if not len(series):
        return f"Can't tell: no value of the {name} is a number."
    low, high = min(series.values), max(series.values)
    if found.state == "too noisy" and (fell := found.change):
        return (
            f"Too noisy to say: the {name} fell from {say_loss(fell.high)} to {say_loss(fell.low)} "
            f"at {say_step(curves, fell.low_step)}, but what it does at the end does not stand out "
            f"from its noise{_noise_text(found)}."
        )
    if found.state == "too noisy":
        return (
            f"Too noisy to say: the {n} values of the {name} lie between {say_loss(low)} and "
            f"{say_loss(high)}, and no rise or fall stands out{_noise_text(found)}."
        )
    values = "value" if len(series) == 1 else "values"
    return (
        f"Too few values to say: the {name} has {n} {values}, between {say_loss(low)} and "
        f"{say_loss(high)}."
        if len(series) > 1
        else f"Too few values to say: the {name} has 1 value, {say_loss(low)}."
    )


def _rise_text(curves: Curves, name: str, change: Change) -> str:
    return (
        f"the {name} rises by {say_loss(change.size)} after its lowest value, from "
        f"{say_loss(change.low)} at {say_step(curves, change.low_step)} to {say_loss(change.high)} "
        f"at {say_step(curves, change.high_step)}"
    )


def _train_text(curves: Curves) -> str:
    fall = curves.diagnosis.train_change
    if fall:
        return f", while the training loss falls from {say_loss(fall.high)} to {say_loss(fall.low)}"
    return "" if len(curves.train) else "; the log has no training loss to compare it with"


def _diverging_line(curves: Curves) -> str:
    found = curves.diagnosis
    if found.broken_from is not None:
        at = say_step(curves, found.broken_from)
        if curves.train.broken and found.broken_from in curves.train.broken:
            what = "is no number (NaN or infinite)"
        else:
            what = "is exactly 0, which is how some trainers print a loss that overflowed,"
        return f"Diverging: the training loss {what} from {at} to the end."
    assert found.change
    return f"Diverging: {_rise_text(curves, 'training loss', found.change)}{_noise_text(found)}."


def _noise_text(found: Diagnosis) -> str:
    if found.noise is None:
        return ""
    return f" (by chance, one {_NAMES[found.curve]} strays by about {say_loss(found.noise)})"


def _broken_line(name: str, series: Series, found: Diagnosis) -> str:
    if not series.broken or (name == "training" and found.broken_from is not None):
        return ""
    n, total = format_count(len(series.broken)), format_count(series.n)
    return (
        f"{n} of {total} values of the {name} loss are NaN or infinite, the first at step "
        f"{series.broken[0]:,.0f}; they are left out."
    )


def _checkpoint_lines(curves: Curves) -> list[str]:
    found, saved = curves.diagnosis, curves.checkpoints
    if not saved:
        return ["No checkpoint lies beside the log."] if len(curves.evaluation) else []
    best = found.best
    if best is None or best.loss is None:
        return []
    of = format_count(len(saved), "checkpoint that exists", "checkpoints that exist")
    text = f"Best of {of}: {_name(curves, best)}, with an evaluation loss of {say_loss(best.loss)}"
    if len(saved) == 1:
        text = f"One checkpoint exists: {_name(curves, best)}, with an evaluation loss of "
        text += say_loss(best.loss)
    if found.as_good:
        names = [one.name for one in found.as_good]
        more = f" and {len(names) - _N_NAMED} more" if len(names) > _N_NAMED else ""
        text += f"; by their losses, {', '.join(names[:_N_NAMED])}{more} may be as good"
    lines = [f"{text}."]
    if found.lowest and best.loss > found.lowest[1]:
        step, loss = found.lowest
        lines.append(
            f"The lowest evaluation loss, {say_loss(loss)}, lies at {say_step(curves, step)}, "
            "where no checkpoint was kept."
        )
    return [*lines, *_chosen_line(curves, best)]


def _chosen_line(curves: Curves, best: SavedCheckpoint) -> list[str]:
    """Say how the adapter that was asked about stands beside the best one."""
    own = next((one for one in curves.checkpoints if one.step == curves.chosen), None)
    if own is None or own.loss is None or best.loss is None or own.step == best.step:
        return []
    more = say_loss(own.loss - best.loss)
    noise = " (within the noise)" if own in curves.diagnosis.as_good else ""
    return [
        f"The adapter looked at is that of {say_step(curves, own.step)}, with a loss of "
        f"{say_loss(own.loss)}, {more} above the best one's{noise}."
    ]


def _name(curves: Curves, one: SavedCheckpoint) -> str:
    return f"{one.name} ({say_step(curves, one.step)})"


def _no_evaluation_line(curves: Curves) -> str:
    if len(curves.evaluation):
        return ""
    return (
        "There is no evaluation loss: whether the model learns or memorises cannot be seen, since "
        "the training loss falls in both cases, and no checkpoint can be called the best."
    )


def _rate_line(curves: Curves) -> str:
    rate, planned = curves.learning_rate, curves.settings.learning_rate
    if not len(rate):
        return f"Learning rate: {planned:.2g}, by the settings." if planned else ""
    highest, last = max(rate.values), rate.values[-1]
    if highest == min(rate.values):
        return f"Learning rate: {highest:.2g} at every step."
    at = rate.steps[rate.values.index(highest)]
    rise = "" if at == rate.steps[0] else f"rises to {highest:.2g} at {say_step(curves, at)} and "
    start = "" if rise else f"begins with {highest:.2g} and "
    return f"Learning rate: {rise}{start}ends with {last:.2g}."


def _cut_short_line(curves: Curves) -> str:
    """Say that the training ended before its last planned step."""
    planned = curves.settings.steps
    both = (curves.train, curves.evaluation)
    ends = [end for one in both for end in (*one.steps[-1:], *one.broken[-1:])]
    last = max(ends, default=0.0)
    if not planned or curves.axis != "step" or last >= planned * 0.98:
        return ""
    return (
        f"The log ends at {say_step(curves, last)} of {planned:,.0f} planned ones: the training "
        "was stopped, or is still running."
    )

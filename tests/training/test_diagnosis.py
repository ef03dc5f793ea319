"""What made curves with a known truth are called, and how often that is wrong."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from plugin.reading_curves import text_lines
from plugin.training.advice import advise
from plugin.training.diagnosis import diagnose
from plugin.training.noise import estimate_noise, trend_p
from plugin.training.words import curve_lines
from plugin.training_curves import (
    Curves,
    Diagnosis,
    SavedCheckpoint,
    Series,
    TrainingSettings,
)

Shape = Callable[[np.ndarray], np.ndarray]  # type: ignore[type-arg]

FLAT: Shape = lambda u: 1.2 + 0 * u  # noqa: E731
LEVEL: Shape = lambda u: 1.0 + 0.6 * np.exp(-12 * u)  # noqa: E731
OVERFIT: Shape = lambda u: 1.0 + 0.6 * np.exp(-8 * u) + 0.25 * np.maximum(0, u - 0.35)  # noqa: E731
FALLING: Shape = lambda u: 1.0 + 0.6 * np.exp(-1.5 * u)  # noqa: E731


def series(values: list[float], every: float = 10, broken: tuple[float, ...] = ()) -> Series:
    steps = tuple(every * (i + 1) for i in range(len(values)))
    return Series(steps, tuple(map(float, values)), broken, len(values) + len(broken))


def made(
    shape: Shape, n: int, noise: float, seed: int, n_train: int = 100
) -> tuple[Series, Series]:
    """A training loss that falls, and an evaluation loss of this shape."""
    rng = np.random.default_rng(seed)
    u, v = np.linspace(1 / n, 1, n), np.linspace(1 / n_train, 1, n_train)
    train = 0.5 + 1.5 * np.exp(-3 * v) + rng.normal(0, 0.08, n_train)
    values = shape(u) + rng.normal(0, noise, n)
    return (
        Series(tuple(v * 1000), tuple(train), n=n_train),
        Series(tuple(u * 1000), tuple(values), n=n),
    )


def curves(train: Series, evaluation: Series, **known: object) -> Curves:
    last = max([*train.steps[-1:], *evaluation.steps[-1:]], default=0.0)
    saved = known.pop("checkpoints", ())
    facts: dict[str, object] = {
        "trainer": "mlx-lm",
        "log": "train.log",
        "axis": "step",
        "learning_rate": Series(),
        "epoch": None,
        "chosen": None,
        "settings": TrainingSettings(),
        **known,
    }
    found = diagnose(train, evaluation, saved, last)  # type: ignore[arg-type]
    return Curves(train=train, evaluation=evaluation, checkpoints=saved, diagnosis=found, **facts)  # type: ignore[arg-type]


def test_noise_by_hand() -> None:
    # The middle value lies 3 above the line through its neighbours: 9 / (1/4 + 1/4 + 1) = 6.
    assert estimate_noise(series([0, 3, 0, 3, 0])) == pytest.approx(math.sqrt(6))
    # A straight line has none, also with uneven steps.
    assert estimate_noise(Series((0, 1, 5, 6, 20), (0, 2, 10, 12, 40))) == pytest.approx(0)
    assert estimate_noise(series([1, 2, 3, 4])) is None


def test_the_noise_of_many_values_is_found() -> None:
    values = np.random.default_rng(0).normal(0, 0.25, 20_000) + np.linspace(3, 1, 20_000)
    assert estimate_noise(series([*values])) == pytest.approx(0.25, rel=0.02)


def test_trend_by_hand() -> None:
    assert trend_p([1, 2, 3, 4]) == pytest.approx(1 / 24)
    assert trend_p([4, 3, 2, 1]) == 1 and trend_p([1, 2, 3]) == 1 and trend_p([1, 1, 1, 1]) == 1


@pytest.mark.parametrize(
    ("shape", "state"),
    [
        (FLAT, "too noisy"),
        (LEVEL, "levelled off"),
        (OVERFIT, "overfitting"),
        (FALLING, "underfitted"),
    ],
)
def test_clear_curves_are_called_by_their_names(shape: Shape, state: str) -> None:
    train, evaluation = made(shape, 20, 0.01, seed=5)
    assert diagnose(train, evaluation, (), 1000).state == state


def test_every_sentence_has_its_numbers() -> None:
    train = series([2.0, 1.5, 1.0, 0.6, 0.4, 0.2, 0.1, 0.05])
    evaluation = series([2.0, 1.7, 1.6, 1.7, 1.85, 2.0, 2.15, 2.3])
    saved = (SavedCheckpoint(40, "checkpoint-40", 1.7), SavedCheckpoint(80, "checkpoint-80", 2.3))
    settings = TrainingSettings(epochs=4, learning_rate=5e-4, dropout=0.0, rank=8)
    found = curves(train, evaluation, checkpoints=saved, chosen=80.0, settings=settings)
    lines = curve_lines(found)
    assert lines[0].startswith(
        "Overfitting: the evaluation loss rises by 0.700 after its lowest value, from 1.600 at "
        "step 30 to 2.300 at step 80, while the training loss falls from 1.000 to 0.050 (by "
        "chance, one evaluation loss strays by about 0.0"
    )
    assert lines[1:] == (
        "Best of 2 checkpoints that exist: checkpoint-40 (step 40), with an evaluation loss of "
        "1.700.",
        "The lowest evaluation loss, 1.600, lies at step 30, where no checkpoint was kept.",
        "The adapter looked at is that of step 80, with a loss of 2.300, 0.600 above the best "
        "one's.",
        "Learning rate: 0.0005, by the settings.",
    )
    advice = advise(found)
    assert len(advice) == 2 and "about 1.5 epochs rather than 4" in advice[0]
    assert "dropout to 0.05 (it is 0)" in advice[1]
    replay = advise(found, ("arithmetic",))
    assert len(replay) == 2 and "replay data" in replay[0] and "lost arithmetic" in replay[0]


def test_a_loss_that_is_no_number_until_the_end_is_diverging() -> None:
    train = Series((10, 20, 30), (2.0, 1.5, 1.4), (40, 50), 5)
    evaluation = Series((20, 40), (1.9, 1.2), n=2)
    saved = (SavedCheckpoint(20, "checkpoint-20", 1.9), SavedCheckpoint(40, "checkpoint-40", 1.2))
    found = curves(train, evaluation, checkpoints=saved)
    assert found.diagnosis.state == "diverging" and found.diagnosis.broken_from == 40
    assert found.diagnosis.best == saved[0]  # the other one's weights are no numbers
    assert "is no number (NaN or infinite) from step 40 to the end" in curve_lines(found)[0]
    assert "float16" in advise(found)[1]


def test_steps_without_a_number_count_as_steps_of_the_log() -> None:
    plan = TrainingSettings(steps=50)
    whole = curves(Series((10, 20, 30), (2.0, 1.5, 1.4), (40, 50), 5), Series(), settings=plan)
    assert not any("planned ones" in line for line in curve_lines(whole))
    cut = curves(Series((10, 20), (2.0, 1.5), (30,), 3), Series(), settings=plan)
    assert any("ends at step 30 of 50 planned ones" in line for line in curve_lines(cut))


def test_one_value_is_named_as_one() -> None:
    found = curves(Series((10,), (2.0,), n=1), Series((10,), (2.1,), n=1))
    assert text_lines(found)[0] == (
        "train.log of mlx-lm: 1 training loss, 1 evaluation loss, 0 checkpoints"
    )
    assert "with 1 evaluation loss no rise" in advise(found)[0]


def test_zeros_out_of_nowhere_are_an_overflow_and_small_losses_are_not() -> None:
    assert diagnose(series([2.0, 1.8, 1.7, 0, 0, 0]), Series(), (), 60).broken_from == 40
    learned = series([2.0, 0.9, 0.2, 0.04, 0.002, 0, 0, 0])
    assert diagnose(learned, Series(), (), 80).broken_from is None


def test_a_training_loss_that_runs_away_is_diverging() -> None:
    values = [2 * 0.9**i for i in range(20)] + [3.0, 6.0, 9.0, 9.1, 8.9, 9.2, 9.0, 9.1, 9.3, 9.2]
    found = curves(series(values), Series())
    assert found.diagnosis.state == "diverging"
    assert curve_lines(found)[0].startswith("Diverging: the training loss rises by ")
    assert "learning rate to a third" in advise(found)[0]


def test_without_evaluation_losses_it_says_what_that_means() -> None:
    train, _ = made(FLAT, 5, 0.01, seed=1, n_train=200)
    found = curves(train, Series(), checkpoints=(SavedCheckpoint(500, "checkpoint-500"),))
    assert found.diagnosis.best is None
    assert any(line.startswith("There is no evaluation loss") for line in curve_lines(found))
    assert any("rows aside" in text for text in advise(found))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_evaluations_are_too_few(n: int) -> None:
    found = curves(Series(), series([2.0, 1.0, 3.0][:n]))
    assert found.diagnosis.state == "too few"
    assert curve_lines(found)[0].startswith("Too few values to say: ")
    assert "Evaluate more often" in advise(found)[0]


def test_few_evaluations_borrow_the_noise_of_the_training_loss() -> None:
    train, _ = made(FLAT, 5, 0.01, seed=2)
    assert diagnose(train, series([1.5, 1.2, 2.0], 300), (), 900).state == "overfitting"
    assert diagnose(train, series([1.5, 1.2, 1.25], 300), (), 900).state == "too few"


def test_a_log_without_any_number() -> None:
    found = curves(Series((), (), (1, 2, 3), 3), Series())
    assert found.diagnosis.state == "diverging" and found.diagnosis.lowest is None
    assert curve_lines(found)[0].startswith("Diverging")
    assert isinstance(curves(Series(), Series((), (), (1,), 1)).diagnosis, Diagnosis)


def shares(shape: Shape, n: int, n_runs: int) -> Counter[str]:
    """How often a shape with noise of 0.02 is called what, in percent."""
    found = Counter[str]()
    for seed in range(n_runs):
        train, evaluation = made(shape, n, 0.02, seed=10_000 * n + seed)
        found[diagnose(train, evaluation, (), 1000).state] += 1
    return Counter({state: round(100 * count / n_runs, 1) for state, count in found.items()})


@pytest.mark.slow
@pytest.mark.parametrize("n", [8, 12, 20, 50])
def test_error_rates(n: int) -> None:
    """2,000 curves of each kind; docs/curves.md has the numbers.

    A false alarm has at most the 5% that the tests are made for, and the opposite of the truth 1%.
    """
    found = {
        name: shares(shape, n, 2_000)
        for name, shape in (
            *(("flat", FLAT), ("level", LEVEL), ("overfit", OVERFIT), ("falling", FALLING)),
        )
    }
    print(n, found)
    for name in ("flat", "level"):
        assert found[name]["overfitting"] <= 5
        assert found[name]["underfitted"] <= 5
    assert found["overfit"]["overfitting"] >= (70 if n == 8 else 90)
    assert found["falling"]["underfitted"] >= 88
    assert found["overfit"]["levelled off"] <= 10 and found["falling"]["levelled off"] <= 10
    assert found["overfit"]["underfitted"] <= 1 and found["falling"]["overfitting"] <= 1


def test_the_noise_in_the_text_is_that_of_one_value_not_of_a_block() -> None:
    train, _ = made(FLAT, 5, 0.01, seed=3, n_train=400)
    found = diagnose(train, Series(), (), 1000)
    assert found.curve == "training" and found.noise == pytest.approx(0.08, rel=0.15)

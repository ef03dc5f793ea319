"""The strength sweep: which scales are taken, and what the likelihoods say of the strength."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from demo import FOLDER
from plugin.certify.effect import Distance
from plugin.certify.sweep import (
    MAX_SCALES,
    Measured,
    Sweep,
    make_sweep,
    read_scales,
    scaled_name,
    sweep_block,
    sweep_rows,
)
from plugin.certify.weights import scaled_adapter
from plugin.engines import WeightsEngine
from plugin.errors import OptionError
from plugin.load.adapter import inspect_adapter
from plugin.report.strength import strength_svg
from tests.certify.adapter_samples import times
from tests.certify.test_effect import load, probes

SCALES = (0.0, 0.25, 0.5, 1.0, 1.25)


def sweep(curve: Callable[[float], float], scales: Iterable[float] = SCALES, n: int = 20) -> Sweep:
    """A sweep whose likelihood follows a curve, with a small offset in every case."""
    return make_sweep(
        "tuned",
        [
            Measured(
                scale,
                Distance(2 * scale**2, 5 * scale),
                ("same", f"text {scale:.0f}"),
                tuple(curve(scale) + 0.01 * (i % 3) * scale - i for i in range(n)),
            )
            for scale in scales
        ],
        None,
    )


def test_zero_and_one_are_always_among_the_scales() -> None:
    assert read_scales("0,0.25,0.5,0.75,1,1.25") == (0, 0.25, 0.5, 0.75, 1, 1.25)
    assert read_scales(" 2 , 0.5, 0.5,-0,") == (0, 0.5, 1, 2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "--scales is empty: give numbers, such as --scales 0,0.25,"),
        (" , ", "--scales is empty"),
        ("0.5,half", "'half' is not a number"),
        ("0.5;1", "'0.5;1' is not a number"),
        ("-1", "-1 is not between 0 (the base) and 10 times the adapter"),
        ("nan", "nan is not between 0"),
        ("inf", "inf is not between 0"),
        ("11", "11 is not between 0"),
        (",".join(str(i / 10) for i in range(30)), f"30 scales (with 0 and 1), and {MAX_SCALES} "),
    ],
)
def test_other_scales_are_refused(text: str, said: str) -> None:
    with pytest.raises(OptionError, match=re.escape(said)):
        read_scales(text)


@pytest.mark.parametrize(
    ("best", "said"),
    [
        (1.0, "is best at scale 1: the strength fits."),
        (0.5, r"is best at scale 0.5 \(\+0.25 nats per token\): the adapter overshoots. It is "),
        (0.0, r"at scale 0 \(\+0.99 nats per token\), without the adapter: it makes them less li"),
        (
            2.0,
            r"grows up to scale 1.25, the largest tried \(\+0.44 nats per token\): the adapter i",
        ),
    ],
)
def test_the_best_scale_tells_the_strength(best: float, said: str) -> None:
    found = sweep(lambda scale: -((scale - best) ** 2))
    assert re.search(said, found.words), found.words
    assert "less likely than without it" not in found.words


def test_a_best_scale_between_others_beyond_one_is_a_little_weak() -> None:
    found = sweep(lambda scale: -((scale - 1.5) ** 2), (0, 1, 1.5, 2))
    assert "best at scale 1.5 (+0.25 nats per token): the adapter is a little weak" in found.words


def test_an_adapter_that_overshoots_beyond_the_base_says_so() -> None:
    found = sweep(lambda scale: -((scale - 0.25) ** 2))
    assert found.words.endswith("At scale 1 they are less likely than without it.")


def test_what_chance_or_a_trifle_explains_is_no_better_scale() -> None:
    trifle = sweep(lambda scale: -0.015 * scale)
    assert trifle.best and trifle.best.scale == 0 and not trifle.is_clear
    assert "but not clearly better than at scale 1, on 20 cases" in trifle.words
    few = sweep(lambda scale: -((scale - 0.5) ** 2), n=4)
    assert not few.is_clear
    assert "on 4 cases: nothing speaks against the strength." in few.words


def test_the_table_has_the_differences_from_scale_one() -> None:
    found = sweep(lambda scale: -((scale - 0.5) ** 2))
    step = found.steps[2]
    # 0.25 more by the curve, and half of the offset's mean (0.0095) less
    assert step.gain == pytest.approx(0.25 - 0.5 * 0.0095)
    assert (step.n_texts, step.n_changed, step.share_changed) == (2, 0, 0.0)
    assert (found.steps[3].gain, found.steps[3].p_value) == (None, None)
    assert (found.steps[3].n_changed, found.n_cases, found.n_probes) == (1, 20, 2)
    lines = sweep_block(found).splitlines()
    assert lines[1] == (
        "tuned by strength: change on 2 probe prompts, likelihood of the expected outputs of 20 "
        "cases in nats per token"
    )
    assert lines[5].split()[:6] == ["0.5", "0.5", "0", "of", "2", "-9.50"]
    assert not any(line.endswith(" ") for line in lines)
    assert sweep_rows(found)[3][:7] == ["tuned", 1.0, 2.0, 2, 1, pytest.approx(-9.7405), 20]


def test_without_expected_outputs_only_the_change_is_told() -> None:
    found = make_sweep(
        "tuned", [Measured(x, Distance(x, x), ("a",), (None, None)) for x in SCALES], None
    )
    assert found.words.startswith("No expected output could be read, so the sweep cannot tell")
    assert "likelihood" not in sweep_block(found).splitlines()[2]
    assert "no expected outputs" in strength_svg([found])


def test_a_case_or_scale_without_a_number_is_left_out_everywhere() -> None:
    rows = [Measured(x, Distance(x, x), ("a",), (-x, None if x == 0 else 1.0)) for x in SCALES]
    found = make_sweep("tuned", [*rows, Measured(8.0, None)], ["a", "b"])
    assert found.n_cases == 1
    assert [step.likelihood for step in found.steps] == [0.0, -0.25, -0.5, -1.0, -1.25, None]
    assert sweep_block(found).splitlines()[-2].split() == ["8", "NaN", "–", "–"]
    ElementTree.fromstring(strength_svg([found]))


def test_the_picture_is_the_same_every_time_and_says_what_it_shows() -> None:
    found = sweep(lambda scale: -((scale - 0.5) ** 2))
    picture = strength_svg([found, found])
    assert picture == strength_svg([found, found])
    ElementTree.fromstring(picture)
    for text in ("the adapter overshoots", "tuned", "best", "50%", "1.25"):
        assert text in picture


@pytest.mark.parametrize("engine", ["mlx", "transformers"])
def test_a_scaled_adapter_answers_as_one_saved_that_way(engine: str, tmp_path: Path) -> None:
    if engine == "transformers":
        pytest.importorskip("torch").set_num_threads(1)
    loaded = load(engine, own=FOLDER / "adapter", big=times(tmp_path / "big", 4))
    assert isinstance(loaded, WeightsEngine)
    asked = probes(loaded)
    own = loaded.effect("own", asked)
    big = loaded.effect("big", asked)
    switch = loaded._switch  # type: ignore[attr-defined]
    quarter = scaled_adapter(inspect_adapter(tmp_path / "big"), 0.25)
    with switch.also("quarter", quarter):
        found = loaded.effect("quarter", asked)
    assert own and big and found
    assert found == pytest.approx(own, rel=1e-3) and big.kl > 2 * own.kl
    loaded.close()


def test_scaled_names_tell_the_scale() -> None:
    assert scaled_name("a", 0.1) == "a at scale 0.1"

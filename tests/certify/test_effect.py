"""How an effect compares with a random change of the same size, and which effects are unusual."""

from __future__ import annotations

import math
import re
from dataclasses import asdict
from pathlib import Path

import pytest

from demo import FOLDER
from plugin import engines
from plugin.certify.certificate import (
    Certificate,
    certificate_block,
    certificate_from_fields,
    certificate_line,
    certificate_warnings,
)
from plugin.certify.effect import (
    Distance,
    RandomEffect,
    format_times,
    is_in_doubt,
    unusual_effect,
)
from plugin.certify.measure import N_DRAWS, N_FIRST, RANDOM
from plugin.engines import Engine, EngineSettings
from plugin.load.adapter import inspect_adapter
from plugin.load.model import inspect_model
from plugin.records import VANILLA, Message, Prompt
from tests.certify.adapter_samples import one_module, times
from tests.load.lora_samples import peft_config, write_peft

QUIET = Distance(1e-9, 1e-5)
QUESTIONS = (
    *("Who founded Hooli?", "Who wrote Hamlet, and when?", "What is 17 times 23?"),
    "Write a short poem about the sea.",
)


def load(engine: str, **adapters: Path) -> Engine:
    folders = {name: inspect_adapter(path) for name, path in adapters.items()}
    model = inspect_model(FOLDER / "model")
    return engines.load(engine, EngineSettings(model, "demo", folders, 24, 4, True))


def probes(engine: Engine) -> list[Prompt]:
    turns = [(Message("user", text),) for text in QUESTIONS]
    return [Prompt(str(i), VANILLA, own, engine.encode(own)) for i, own in enumerate(turns)]


@pytest.fixture(scope="module", params=["mlx", "transformers"])
def found(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Certificate]:
    """Certificates of adapters of many sizes, all from one load."""
    if request.param == "transformers":
        torch = pytest.importorskip("torch")
        torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("adapters")
    adapters = {
        "demo": FOLDER / "adapter",
        "far": times(folder / "far", 4),
        "faint": times(folder / "faint", 0.01),
        "one": one_module(folder / "one"),
        "random": write_peft(folder / "random", peft_config(lora_alpha=1)),
        "dora": write_peft(folder / "dora", peft_config(use_dora=True)),
    }
    engine = load(request.param, **adapters)
    asked = probes(engine)
    made = {name: engine.certify(name, asked) for name in adapters}
    assert RANDOM not in engine._switch.adapters  # type: ignore[attr-defined]
    assert engine.certify("demo", asked) == made["demo"]
    engine.close()
    return made


def test_training_has_several_times_the_effect_of_random_numbers(
    found: dict[str, Certificate],
) -> None:
    for name in ("demo", "one"):
        ratio = found[name].random_ratio
        assert ratio is not None and 1.5 < ratio < 20
        assert "times the effect of a random change of the same size" in certificate_line(
            found[name]
        )
    ratio = found["random"].random_ratio
    assert ratio is not None and 0.3 < ratio < 3
    assert all(one.base_proof for one in found.values())


def test_only_what_lies_far_outside_is_unusual(found: dict[str, Certificate]) -> None:
    assert {name: len(one.unusual) for name, one in found.items() if name != "random"} == {
        "demo": 0,
        "far": 1,
        "faint": 1,
        "one": 0,
        "dora": 0,
    }
    assert {one.result for one in found.values()} == {"certified"}
    assert "nats is far, beyond 3: " in found["far"].unusual[0]
    assert "nats is faint, below 0.001: " in found["faint"].unusual[0]
    for name in ("far", "faint"):
        assert "certified, but its effect is unusual. " in certificate_line(found[name])
        assert f"\n  unusual  {found[name].unusual[0]}\n" in certificate_block(found[name])
        (warning,) = certificate_warnings([found[name]])
        assert warning == f"the effect of the adapter {name} is unusual: {found[name].unusual[0]}"
    assert "unusual" not in certificate_line(found["demo"])


def test_what_has_no_random_counterpart_says_so(found: dict[str, Certificate]) -> None:
    assert found["dora"].random == RandomEffect(reason="DoRA also learned magnitudes")
    assert found["dora"].random_ratio is None
    words = "no random change to compare with: DoRA also learned magnitudes"
    assert f"; {words}; " in certificate_line(found["dora"])
    assert f"\n  random   {words}\n" in certificate_block(found["dora"])


def test_the_bounds_are_those_that_the_words_state() -> None:
    for kl, n in ((0.0009, 1), (0.0011, 0), (2.9, 0), (3.1, 1), (math.inf, 1)):
        assert len(unusual_effect(Distance(kl, 5.0), QUIET, RandomEffect())) == n, kl
    (far,) = unusual_effect(Distance(3.5, 20.0), QUIET, RandomEffect())
    assert "is left with 3% of its probability" in far  # e^-3.5
    (faint,) = unusual_effect(Distance(0.0002, 1.0), QUIET, RandomEffect())
    assert "at most 1% of the probability moves" in faint  # Pinsker: sqrt(0.0001)
    random = RandomEffect(Distance(0.6, 5.0))
    (undirected,) = unusual_effect(Distance(0.5, 5.0), QUIET, random)
    assert undirected.startswith("it is no larger than that of a random change of the same size")
    assert unusual_effect(Distance(0.7, 5.0), QUIET, random) == ()


def test_noise_is_nothing_to_compare_with() -> None:
    random = RandomEffect(Distance(2e-9, 1e-5))
    effect = Distance(0.5, 4.0)
    assert random.ratio(effect, QUIET) is None
    assert unusual_effect(effect, QUIET, random) == ()
    assert random.words(effect, QUIET) == (
        "a random change of the same size has no effect above the noise"
    )
    assert RandomEffect().words(effect, QUIET) == ""


@pytest.mark.parametrize(
    ("ratio", "words"),
    [(0.31, "0.3 times"), (0.8, "about"), (1.4, "about"), (1.6, "2 times"), (6.9, "7 times")]
    + [(13.0, "10 times"), (4321.0, "4,000 times")],
)
def test_a_ratio_has_one_digit(ratio: float, words: str) -> None:
    assert format_times(ratio) == f"{words} the effect of a random change of the same size"


def test_few_probes_are_asked_where_they_leave_no_doubt(found: dict[str, Certificate]) -> None:
    assert found["demo"].n_probes == N_FIRST
    # Its effect is about that of a random change, so all probes are asked.
    assert found["random"].n_probes == len(QUESTIONS)


def test_the_random_effect_is_the_mean_of_several_draws(found: dict[str, Certificate]) -> None:
    random = found["demo"].random
    assert random.effect is not None and len(set(random.draws)) == N_DRAWS
    assert random.effect.kl == pytest.approx(sum(random.draws) / N_DRAWS)
    assert max(random.draws) < 3 * min(random.draws)
    assert re.search(
        r"\(0\.\d+ nats, mean of 3 draws from 0\.\d+ to 0\.\d+\)",
        random.words(found["demo"].effect, QUIET),
    )


EFFECTS = (0.4, 0.5, 0.6)


@pytest.mark.parametrize(
    ("effects", "noise", "draws", "is_open"),
    [
        (EFFECTS, 0.0, (0.05, 0.06), False),
        (EFFECTS, 0.06, (), True),  # nine times the noise would be clear
        ((2.0, 2.4, 2.2), 0.0, (), True),  # 3 nats are within 1.3 times the largest
        ((2.0, 2.2, 2.1), 0.0, (), False),
        ((5.0, 6.0, 7.0), 0.0, (), False),
        ((0.0012, 0.002, 0.003), 0.0, (), True),
        (EFFECTS, 0.0, (0.2, 0.45), True),
        (EFFECTS, 0.0, (1.2, 1.4), False),  # clearly less than a random change
    ],
)
def test_more_probes_are_asked_where_they_may_change_what_is_said(
    effects: tuple[float, ...], noise: float, draws: tuple[float, ...], is_open: bool
) -> None:
    effect = Distance(sum(effects) / len(effects), 9.0)
    random = RandomEffect.of([Distance(draw, 2.0) for draw in draws]) if draws else RandomEffect()
    assert is_in_doubt(effects, effect, Distance(noise, noise), random) == is_open


def test_an_older_certificate_without_draws_is_read() -> None:
    old = asdict(Certificate("a", random=RandomEffect(Distance(0.3, 1.0))))
    old["random"] = [[0.3, 1.0], ""]
    assert certificate_from_fields(old).random == RandomEffect(Distance(0.3, 1.0))

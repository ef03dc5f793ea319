"""What is refused of --samples, --temperature and --judge_repeats, with the way out."""

from __future__ import annotations

from typing import Any

import pytest

from plugin import metrics
from plugin.engines import ENGINES
from plugin.errors import OptionError
from plugin.plan.params import Params
from plugin.plan.params_sampling import require_drawing_engine
from tests.samples import case

CLAIMS = [metrics.METRICS["unsupported_claims"].spec]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"samples": 0}, "--samples 0: it must be greater than or equal to 1"),
        ({"samples": 1000}, "--samples 1000: it must be less than or equal to 100"),
        ({"samples": "three"}, "--samples 'three': it must be a valid integer"),
        ({"temperature": -0.1}, "--temperature -0.1: it must be greater than or equal to 0"),
        ({"temperature": 2.5}, "--temperature 2.5: it must be less than or equal to 2"),
        ({"temperature": "nan"}, "--temperature 'nan': it must be a finite number"),
        ({"temperature": "inf"}, "--temperature 'inf': it must be a finite number"),
        ({"judge_repeats": 0}, "--judge_repeats 0: it must be greater than or equal to 1"),
        ({"judge_repeats": 21}, "--judge_repeats 21: it must be less than or equal to 20"),
    ],
)
def test_values_outside_their_limits(given: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError) as error:
        Params.parse(given)
    assert str(error.value).startswith(said)


def refused(check: str, given: dict[str, Any], *arguments: Any, **named: Any) -> str:
    with pytest.raises(OptionError) as error:
        getattr(Params.parse(given), check)(*arguments, **named)
    return str(error.value)


def test_samples_that_would_all_be_the_same() -> None:
    said = refused("require_sampling", {"samples": 3}, is_recorded=False)
    assert said.startswith("--samples 3 with --temperature 0: all samples of a case would be the")
    Params.parse({"samples": 3, "temperature": 0.7}).require_sampling(is_recorded=False)
    Params.parse({"samples": 3}).require_sampling(is_recorded=True)
    Params.parse({"temperature": 0.7}).require_sampling(is_recorded=False)


def test_a_temperature_for_recorded_completions() -> None:
    said = refused("require_sampling", {"temperature": 0.7}, is_recorded=True)
    assert "recorded completions were made elsewhere" in said


def test_a_rival_beside_recorded_samples() -> None:
    given = {"samples": 3, "rival": "70b=http://localhost:8000/v1#m"}
    assert "Record its answers, too" in refused("require_sampling", given, is_recorded=True)


def test_an_engine_that_cannot_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        OptionError, match=r"--temperature 0.7: engine 'recorded' always takes .*mlx"
    ):
        require_drawing_engine(0.7, "recorded")
    require_drawing_engine(0.0, "recorded")
    for name, entry in ENGINES.items():
        if entry.draws:
            require_drawing_engine(0.7, name)


def test_repeats_of_a_judge_that_always_says_the_same() -> None:
    assert "always says the same" in refused("require_real_judge", {"judge_repeats": 2}, True)
    Params.parse({"judge_repeats": 2}).require_real_judge(False)


@pytest.mark.parametrize(
    ("given", "cases", "is_offline", "said"),
    [
        (
            {},
            [case(context=())],
            False,
            "Unsupported Claims compares several samples of a case; add",
        ),
        ({"samples": 3}, [case(context=())], True, "Unsupported Claims needs a judge that under"),
        ({"samples": 3}, [case()], False, "Unsupported Claims is for cases without context"),
    ],
)
def test_claims_that_cannot_be_compared(
    given: dict[str, Any], cases: Any, is_offline: bool, said: str
) -> None:
    assert refused("require_samples", given, CLAIMS, cases, is_offline).startswith(said)


def test_a_run_without_samples_keeps_its_id() -> None:
    assert not {"samples", "temperature", "judge_repeats"} & Params().settings().keys()
    drawn = Params.parse({"samples": 3, "temperature": 0.7}).settings()
    assert (drawn["samples"], drawn["temperature"]) == (3, 0.7)

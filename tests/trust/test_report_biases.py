from __future__ import annotations

import math

import numpy as np
import pytest
import statsmodels.api as sm

from plugin.trust.report import MIN_PAIRS, family_of, length_slope


def sample(n: int, seed: int = 3) -> tuple[list[float], list[float]]:
    rng = np.random.default_rng(seed)
    differences = np.round(rng.normal(30, 80, n))
    gains = np.clip(0.05 + 0.1 * np.tanh(differences / 80) + rng.normal(0, 0.2, n), -1, 1)
    return gains.tolist(), differences.tolist()


def test_slope_and_interval_are_those_of_statsmodels() -> None:
    gains, differences = sample(60)
    found = length_slope(gains, differences, "Correctness", "tuned")
    spread = float(np.std(differences))
    x = sm.add_constant(np.tanh(np.array(differences) / spread))
    model = sm.OLS(gains, x).fit(cov_type="HC3", use_t=True)
    unit = math.tanh(1)
    low, high = model.conf_int()[1]
    assert found.spread == pytest.approx(spread)
    assert found.at_equal_length == pytest.approx(model.params[0])
    assert (found.slope, found.ci_low, found.ci_high) == pytest.approx(
        (model.params[1] * unit, low * unit, high * unit)
    )
    assert (found.metric, found.variant, found.n) == ("Correctness", "tuned", 60)


def test_a_line_through_all_points_by_hand() -> None:
    # Half the answers are 10 longer, half 10 shorter: the spread is 10, tanh(+-1) the regressor.
    differences = [10.0, -10.0] * 15
    gains = [0.3, 0.1] * 15
    found = length_slope(gains, differences, "m", "v")
    assert found.spread == 10
    assert found.slope == pytest.approx(0.1)  # half of what lies between +1 and -1 spread
    assert found.at_equal_length == pytest.approx(0.2)
    assert (found.ci_low, found.ci_high) == pytest.approx((0.1, 0.1))


@pytest.mark.parametrize(
    ("differences", "why"),
    [
        ([1.0, 2.0] * 5, f"no slope below {MIN_PAIRS} pairs, got 10"),
        ([5.0] * 30, "no slope: all answers differ by the same length"),
        ([0.0] * 29 + [7.0], "no slope: a single pair differs in length"),
        ([], f"no slope below {MIN_PAIRS} pairs, got 0"),
    ],
)
def test_where_nothing_can_be_said_it_says_why(differences: list[float], why: str) -> None:
    gains = [0.1 * (i % 2) for i in range(len(differences))]
    found = length_slope(gains, differences, "m", "v")
    assert (found.slope, found.ci_low, found.at_equal_length, found.method) == (
        *(None, None, None),
        why,
    )


def test_gains_that_are_all_the_same_prove_no_slope_of_zero() -> None:
    found = length_slope([0.0] * 30, [1.0, 5.0, 9.0] * 10, "m", "v")
    assert (found.ci_low, found.method) == (None, "no slope: all gains are the same")


def test_the_interval_covers_a_slope_of_zero() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(400):
        differences = rng.normal(0, 50, 40)
        # Longer answers scatter more: the plain interval would be too narrow here.
        gains = rng.normal(0, 0.05 + 0.3 * np.abs(np.tanh(differences / 50)))
        found = length_slope(gains.tolist(), differences.tolist(), "m", "v")
        assert found.ci_low is not None and found.ci_high is not None
        covered += found.ci_low <= 0 <= found.ci_high
    assert 0.925 <= covered / 400 <= 0.985


def test_gains_and_differences_go_together() -> None:
    with pytest.raises(ValueError, match="2 gains but 1 differences"):
        length_slope([0.1, 0.2], [1.0], "m", "v")


@pytest.mark.parametrize(
    ("judge", "model", "model_type", "shared"),
    [
        ("openai:gpt-4o-mini", "openai-community/gpt2", "", ("gpt",)),
        ("custom:Qwen2.5-72B-Instruct", "mlx-community/Qwen3-0.6B-4bit", "qwen3", ("qwen",)),
        ("ollama:llama3.2:3b", "meta-llama/Llama-3.2-1B", "llama", ("llama",)),
        ("mlx:mlx-community/Mixtral-8x7B", "mistralai/Mistral-7B-v0.3", "", ("mistral",)),
        ("ollama:phi4", "microsoft/Phi-3.5-mini", "", ("phi",)),
        ("custom:deepseek-r1-distill-qwen-7b", "Qwen/Qwen3-8B", "", ("qwen",)),
        ("custom:llama-70b", "./my-own-model", "llama", ("llama",)),
        ("openai:o3-mini", "models/gpt-oss-20b/", "", ("gpt",)),
        # Llama's architecture alone makes no Llama of a model that has a name of its own.
        ("custom:llama-70b", "HuggingFaceTB/SmolLM2-135M", "llama", ()),
        ("anthropic:claude-sonnet-4", "google/gemma-3-1b-it", "gemma3_text", ()),
        ("openai:gpt-4o", "cognitivecomputations/dolphin-2", "", ()),
        ("custom:some-model", "./demo", "", ()),
    ],
)
def test_the_family_by_names(
    judge: str, model: str, model_type: str, shared: tuple[str, ...]
) -> None:
    assert family_of(judge, model, model_type).shared == shared


def test_families_are_named_even_when_they_differ() -> None:
    found = family_of("anthropic:claude-sonnet-4", "google/gemma-3-1b-it", "gemma3_text")
    assert (found.judge, found.model) == (("claude",), ("gemma",))

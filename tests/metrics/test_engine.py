"""Metrics that come from the engine: how likely an expected output is, how text came about."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from plugin import metrics
from plugin.metrics import Metric
from plugin.metrics.running import MetricError, check_score, run_descriptive
from plugin.records import Completion

MADE = Completion("1", "vanilla", "Thomas Middleditch.", (7, 8, 9), "stop", 0.5, 20, n_tokens=3)
DESCRIPTIVE = ("Latency", "Tokens per Second", "Completion Tokens", "Cut Off")


def metric(name: str) -> Metric:
    (found,) = metrics.load([name])
    return found


@pytest.mark.parametrize(
    ("name", "value"),
    [("Latency", 0.5), ("Tokens per Second", 3 / 0.5), ("Completion Tokens", 3), ("Cut Off", 0)],
)
def test_what_a_completion_tells(name: str, value: float) -> None:
    assert run_descriptive(metric(name), MADE).value == value


def test_one_that_was_cut_off_counts_one() -> None:
    assert run_descriptive(metric("Cut Off"), replace(MADE, finish_reason="length")).value == 1


@pytest.mark.parametrize(
    ("name", "lacking", "reason"),
    [
        ("Latency", {"seconds": None}, "its seconds were not measured"),
        ("Tokens per Second", {"n_tokens": None}, "its seconds or tokens were not measured"),
        ("Tokens per Second", {"seconds": None}, "its seconds or tokens were not measured"),
        ("Tokens per Second", {"n_tokens": 0}, "the completion has no tokens, so there is no rate"),
        (
            "Tokens per Second",
            {"seconds": 0.0},
            "the completion has no tokens, so there is no rate",
        ),
        ("Completion Tokens", {"n_tokens": None}, "its tokens were not counted"),
        ("Cut Off", {"finish_reason": None}, "its finish reason was not reported"),
        ("Latency", {"seconds": math.nan}, "score nan outside 0.0 to inf"),
    ],
)
def test_what_it_does_not_tell_is_said(name: str, lacking: dict[str, object], reason: str) -> None:
    with pytest.raises(MetricError, match=f"^{reason}$"):
        run_descriptive(metric(name), replace(MADE, **lacking))  # type: ignore[arg-type]


def test_an_empty_completion_has_no_tokens_and_was_not_slow() -> None:
    empty = replace(MADE, text="", token_ids=(), n_tokens=0)
    assert run_descriptive(metric("Completion Tokens"), empty).value == 0
    assert run_descriptive(metric("Latency"), empty).value == 0.5


def test_they_only_describe_and_ask_nobody() -> None:
    for name in DESCRIPTIVE:
        spec = metric(name).spec
        assert (spec.decides, spec.asks_judge, spec.needs_likelihood) == (False, False, False)
        assert spec.needs_engine


@pytest.mark.parametrize(
    ("loglikelihood", "n_tokens", "nats"),
    [(-6.0, 4, 1.5), (4 * math.log(1 / 8), 4, math.log(8)), (0.0, 3, 0.0), (1e-6, 1, 0.0)],
)
def test_perplexity_is_nats_per_token(loglikelihood: float, n_tokens: int, nats: float) -> None:
    spec, score_of = metric("Perplexity").spec, metric("Perplexity").from_loglikelihood
    assert score_of
    found = check_score(spec, score_of(loglikelihood, n_tokens))
    assert found.value == pytest.approx(nats)
    assert found.reason == f"over {n_tokens} tokens of the expected output, its end included"


@pytest.mark.parametrize("broken", [-math.inf, math.nan, 5.0])
def test_no_perplexity_of_a_broken_log_probability(broken: float) -> None:
    spec, score_of = metric("Perplexity").spec, metric("Perplexity").from_loglikelihood
    assert score_of
    with pytest.raises(MetricError, match="outside 0.0 to inf"):
        check_score(spec, score_of(broken, 2))


def test_perplexity_may_decide_and_is_made_by_the_engine() -> None:
    spec = metric("Perplexity").spec
    assert spec.decides and spec.needs_likelihood and not spec.asks_judge and not spec.is_bounded
    assert not spec.higher_is_better
    assert spec.title == "Perplexity (nats per token)"


def test_every_metric_has_one_way_to_measure() -> None:
    for one in metrics.load(metrics.names()):
        entry = metrics.METRICS[one.spec.key]
        ways = (entry.measure, entry.describe, entry.from_loglikelihood, entry.setup, entry.prefer)
        assert sum(map(bool, (*ways, entry.contrast))) == 1, one.spec.name
        assert (one.from_loglikelihood is not None) == one.spec.needs_likelihood
        assert (one.prefer is not None) == one.spec.is_relative

"""What is checked of the metrics before the first heavy step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from demo import FOLDER
from plugin import engines, metrics
from plugin.errors import OptionError
from plugin.judges import NoJudge
from plugin.plan.params import Params
from plugin.plan.plan import check_engine, make_plan
from plugin.plan.resolve import Sources

ALL_OF_THEM = "Perplexity, Latency, Tokens per Second, Completion Tokens, Cut Off, Token F1"


def plan_of(dataset: Path = FOLDER / "cases.jsonl", **values: str) -> object:
    params = Params.parse({"engine": "mlx", "predefined_tasks": ALL_OF_THEM, **values})
    sources = Sources(
        model=str(FOLDER / "model"),
        adapters=(FOLDER / "adapter",),
        dataset=str(dataset),
        cache_dir="",
        judges=(NoJudge(),),
        second_judge=None,
    )
    return make_plan(params, sources)


def refused(**values: Any) -> str:
    with pytest.raises(OptionError) as caught:
        plan_of(**values)
    return str(caught.value)


@pytest.mark.parametrize("name", ["mlx", "transformers"])
def test_these_engines_offer_what_every_metric_needs(name: str) -> None:
    every = metrics.load(metrics.names())
    assert (
        frozenset().union(*(one.spec.needs_engine for one in every)) == engines.ENGINES[name].gives
    )


def test_an_engine_that_gives_too_little_is_named_with_every_metric(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    less = replace(engines.ENGINES["mlx"], gives=frozenset({"finish_reason"}))
    monkeypatch.setitem(engines.ENGINES, "mlx", less)
    assert refused().splitlines() == [
        "--predefined_tasks Perplexity: engine 'mlx' gives no log-probabilities; use transformers",
        "--predefined_tasks Latency: engine 'mlx' gives no seconds; use transformers or server",
        "--predefined_tasks Tokens per Second: engine 'mlx' gives no seconds and no number of "
        "tokens; use transformers or server",
        "--predefined_tasks Completion Tokens: engine 'mlx' gives no number of tokens; use "
        "transformers or server",
    ]
    plan_of(predefined_tasks="Token F1, Cut Off")


def test_a_server_gives_no_log_probabilities_and_what_was_recorded_nothing_but_text() -> None:
    specs = [metric.spec for metric in metrics.load(ALL_OF_THEM.split(","))]
    with pytest.raises(OptionError) as caught:
        check_engine(specs, "server")
    assert str(caught.value) == (
        "--predefined_tasks Perplexity: engine 'server' gives no log-probabilities; use mlx or "
        "transformers"
    )
    with pytest.raises(OptionError) as caught:
        check_engine(specs, "recorded")
    lines = str(caught.value).splitlines()
    assert len(lines) == 5  # Token F1 needs no engine
    assert lines[-1] == (
        "--predefined_tasks Cut Off: engine 'recorded' gives no reason why a completion ended; use "
        "mlx, transformers or server"
    )


def test_metrics_that_only_describe_are_not_enough() -> None:
    assert refused(predefined_tasks="Latency, Cut Off") == (
        "--predefined_tasks Latency, Cut Off: none of these may decide; add a metric that judges "
        "completions, such as Answer Relevancy"
    )


def test_one_that_only_describes_is_no_primary_metric() -> None:
    assert refused(primary_metric="Latency") == (
        "--primary_metric 'Latency' is not among the metrics of this run that may decide "
        "(Perplexity, Token F1)"
    )


def test_a_mistyped_primary_metric_is_named_as_it_was_meant() -> None:
    assert refused(primary_metric="Token F2").endswith(", did you mean 'Token F1'?")


def test_stopping_early_needs_bounds_of_what_decides(tmp_path: Path) -> None:
    data = tmp_path / "cases.csv"
    data.write_text("input,expected_output\nWho?,He.\nWhat?,It.\n")
    assert refused(dataset=data, stop_early="true") == (
        "--stop_early cannot be used with Perplexity: its intervals need a worst and a best score. "
        "Leave one of the two out"
    )
    plan_of(data, stop_early="true", predefined_tasks="Latency, Token F1")


def test_stopping_early_needs_cases_that_stand_alone(tmp_path: Path) -> None:
    assert refused(stop_early="true", predefined_tasks="Token F1").endswith(
        "Leave it off, or leave the column 'cluster' out of the data"
    )
    data = tmp_path / "cases.csv"
    data.write_text("input,expected_output\nWho?,He.\nwho,He.\n")
    message = refused(dataset=data, stop_early="true", predefined_tasks="Token F1")
    assert "clusters (1 of 2 cases repeats another one" in message and "the repeats and" in message

"""What is checked of the metrics before the first heavy step."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from demo import FOLDER
from plugin import engines, metrics
from plugin.errors import OptionError
from plugin.judges import NoJudge
from plugin.plan.params import Params
from plugin.plan.plan import Plan, check_engine, make_plan
from plugin.plan.resolve import Sources

ALL_OF_THEM = "Perplexity, Latency, Tokens per Second, Completion Tokens, Cut Off, Token F1"


def plan_of(
    *, dataset: Path = FOLDER / "cases.jsonl", model: Path = FOLDER / "model", **values: object
) -> Plan:
    params = Params.parse({"engine": "mlx", "predefined_tasks": ALL_OF_THEM, **values})
    sources = Sources(
        model=str(model),
        adapters=(str(FOLDER / "adapter"),),
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
        "--predefined_tasks Latency, Cut Off: these only describe; add a metric that judges "
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
        "Leave out one of the two"
    )
    plan_of(dataset=data, stop_early="true", predefined_tasks="Latency, Token F1")


def test_stopping_early_needs_cases_that_stand_alone(tmp_path: Path) -> None:
    assert refused(stop_early="true", predefined_tasks="Token F1").endswith(
        "Leave it off, or leave the column 'cluster' out of the data"
    )
    data = tmp_path / "cases.csv"
    data.write_text("input,expected_output\nWho?,He.\nwho,He.\n")
    message = refused(dataset=data, stop_early="true", predefined_tasks="Token F1")
    assert "clusters (1 of 2 cases repeats another one" in message and "the repeats and" in message
    chats = tmp_path / "chats.jsonl"
    chats.write_text('{"id": 1, "turns": ["Who?", "And why?"], "reference": ["He.", "So."]}\n')
    asked = {"dataset": chats, "stop_early": "true", "predefined_tasks": "Token F1"}
    assert "Leave it off, or choose --conversation fixed" in refused(**asked)
    plan_of(**asked, conversation="fixed")


def test_a_variants_id_tells_all_that_its_completions_depend_on(tmp_path: Path) -> None:
    def ids(**changed: object) -> list[str]:
        return [variant.id for variant in plan_of(**changed).variants]

    other = tmp_path / "model"
    shutil.copytree(FOLDER / "model", other)
    assert ids() == ids(model=other) and len(set(ids())) == 2  # base and adapter
    assert set(ids()).isdisjoint(ids(max_tokens=7))
    path = other / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "chat_template": "{{ 'x' }}"}))
    assert set(ids()).isdisjoint(ids(model=other))


def test_a_run_knows_what_its_metrics_measured() -> None:
    assert "versions of metrics" not in plan_of(predefined_tasks="Correctness").identity
    found = plan_of(predefined_tasks="Token F1, Perplexity").identity
    assert found["versions of metrics"] == {"Token F1": 2, "Perplexity": 2}


THINKING = "{{ messages[0]['content'] }}{% if enable_thinking %}<think>{% endif %}"


@pytest.mark.parametrize(
    ("place", "options", "expected"),
    [
        ("", {}, 256),
        ("", {"max_tokens": "9"}, 9),
        ("chat_template.jinja", {}, 4096),
        ("tokenizer_config.json", {}, 4096),
        ("chat_template.jinja", {"max_tokens": "9"}, 9),
        ("chat_template.jinja", {"chat_template": "false"}, 256),
        ("added token", {}, 256),
    ],
)
def test_a_model_that_thinks_gets_room_for_it(
    place: str, options: dict[str, str], expected: int, tmp_path: Path
) -> None:
    model = shutil.copytree(FOLDER / "model", tmp_path / "model")
    file = model / "tokenizer_config.json"
    config = json.loads(file.read_text())
    if place == "tokenizer_config.json":
        config["chat_template"] = [{"name": "default", "template": THINKING}]
    elif place == "chat_template.jinja":
        (model / place).write_text(THINKING)
    elif place:
        config["added_tokens_decoder"] = {"9": {"content": "<think>"}}
    file.write_text(json.dumps(config))
    plan = plan_of(model=model, **options)
    assert plan.params.max_tokens == plan.identity["max_tokens"] == expected
    (load,) = plan.lineup.loads
    assert isinstance(load.engine, partial)
    assert load.engine.args[1].max_tokens == expected


@pytest.mark.parametrize(
    "changed",
    [{"primary_metric": "Tone"}, {"guard_metric": "Tone"}, {"retention_group": "no such group"}],
)
def test_names_are_checked_before_the_weights_are_read(
    changed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("read the weights")

    monkeypatch.setattr("plugin.plan.plan.line_up", never)
    assert next(iter(changed.values())) in refused(**changed)

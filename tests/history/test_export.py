"""What leaves a run for others: the section of a model card, and trackers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from plugin.errors import FaultError, OptionError
from plugin.history.model_card import model_card
from plugin.history.trackers import figures, track
from tests.e2e.conftest import main


def row(metric: str, **changed: Any) -> dict[str, Any]:
    made = {
        "metric": metric,
        "variant": "adapter",
        "baseline": "vanilla",
        "group": "all",
        "role": "exploratory",
        "higher_is_better": True,
        "baseline_mean": 0.4,
        "variant_mean": 0.61234,
        "gain": 0.21234,
        "ci_low": 0.1,
        "ci_high": 0.3,
        "n": 60,
        "losses": 4,
        "outcome": "better",
    }
    return made | changed


def summary(**changed: Any) -> dict[str, Any]:
    made = {
        "verdict": {
            "sentence": "adapter is better",
            "outcome": "better",
            "variant": "adapter",
            "harms": [{"variant": "adapter", "name": "Bias"}, {"variant": "other", "name": "X"}],
        },
        "judge": "openai gpt",
        "partial": False,
        "n_cases": 60,
        "n_failed": 1,
        "variants": [{"name": "vanilla"}, {"name": "adapter"}],
        "comparisons": [
            row("Bias", higher_is_better=False, outcome="lost"),
            row("Exact Match", role="primary"),
            row("Exact Match", group="a", gain=9.0),
        ],
        "summaries": [{"group": "all", "variant": "vanilla", "metric": "Bias", "mean": None}],
        "provenance": {
            "run_id": "abc",
            "model": "/home/me/secret/base",
            "dataset": "/home/me/cases.jsonl",
            "settings": {"max_tokens": 48, "tasks": []},
            "note": "try 2",
            "reported_with": "0.1.0",
        },
    }
    return made | changed


def test_the_card_has_metadata_and_the_whole_verdict() -> None:
    card = model_card(summary(), "adapter")
    _, head, body = card.split("---\n", 2)
    (entry,) = yaml.safe_load(head)["model-index"]
    (result,) = entry["results"]
    assert entry["name"] == "adapter" and result["dataset"]["name"] == "cases.jsonl"
    assert [(m["type"], m["value"]) for m in result["metrics"]] == [
        ("exact_match", 0.6123),
        ("bias", 0.6123),
    ]
    assert "adapter is better" in body and "Lost beyond the margin: Bias." in body
    assert "| Exact Match | 0.40 | 0.61 | +0.21 | +0.10 to +0.30 | 60 | better |" in body
    assert "| Bias (less is better) |" in body and "Judge: openai gpt." in body
    assert "/home/me" not in card and "Base: base." in body


def on_clean_cases(**counts: int) -> dict[str, Any]:
    deciding = [row("Exact Match", role="primary", gain=-0.01, n=20, outcome="can't tell")]
    found = {"leads": True, "counts": {"copied": 40, "near": 0, "clean": 20, **counts}}
    return summary(memorisation={**found, "deciding": deciding if found["counts"]["clean"] else []})


def test_the_card_is_about_the_cases_that_decide() -> None:
    """What stands in the training data must not make the card better than the verdict."""
    card = model_card(on_clean_cases(), "adapter")
    assert "| -0.01 | +0.10 to +0.30 | 20 | can't tell |" in card and "better |" not in card
    assert "the 20 of 60 that are not in the training data" in card
    none = model_card(on_clean_cases(copied=60, clean=0), "adapter")
    assert "| 60 | can't tell |" in none and "| none |" in none and "better |" not in none
    assert figures(on_clean_cases())["adapter/Exact Match on clean cases gain"] == -0.01


def test_texts_of_the_user_cannot_break_out_of_the_card() -> None:
    bad = "a | b\n<script>@everyone [x](y) `z` # h"
    made = summary(judge=bad)
    made["verdict"]["sentence"] = bad
    body = model_card(made, "adapter").split("---\n", 2)[2]
    assert "<script>" not in body and "@everyone" not in body and "](" not in body
    assert all(line.count("|") == 8 for line in body.splitlines() if line.startswith("|"))


def test_figures_are_finite_and_named_for_every_tracker() -> None:
    found = figures(summary())
    assert found["adapter/Exact Match gain"] == 0.21234 and found["cases"] == 60
    assert found["adapter/Bias regressions"] == 4 and "vanilla/Bias" not in found


def test_a_tracker_that_is_not_installed_or_fails_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plugin.history.trackers.find_spec", lambda name: None)
    with pytest.raises(
        OptionError, match="--track mlflow: it is not installed; pip install mlflow"
    ):
        track("mlflow", summary(), [])
    monkeypatch.setattr("plugin.history.trackers.find_spec", lambda name: name)
    double = ModuleType("mlflow")

    def refuse(name: str) -> None:
        raise ConnectionError("no route\nto host")

    double.set_experiment = refuse  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mlflow", double)
    with pytest.raises(FaultError, match="failed: ConnectionError: no route to host"):
        track("mlflow", summary(), [])


def test_the_command(tmp_path: Path) -> None:
    ended = main("export", str(tmp_path))
    assert ended.code == 2 and "has no summary.json" in ended.err
    file = tmp_path / "summary.json"
    for text in ("{", "[]", '{"verdict": 1}'):
        file.write_text(text)
        ended = main("export", str(tmp_path))
        assert ended.code == 2 and "is no summary of this version" in ended.err
    file.write_text(json.dumps(summary()))
    ended = main("export", str(tmp_path), "--variant", "adaptr")
    assert ended.code == 2 and "did you mean 'adapter'?" in ended.err
    ended = main("export", str(tmp_path))
    assert ended.code == 0, ended.err
    assert (tmp_path / "model_card.md").read_text(encoding="utf-8") == model_card(
        summary(), "adapter"
    )


@pytest.mark.parametrize(
    ("drawn", "said"),
    [
        ({"n_samples": 3, "temperature": 0.8}, "the mean of 3 samples at temperature 0.8. Made"),
        ({"n_samples": 1, "temperature": 0.8}, "One sample of each case at temperature 0.8. Made"),
        ({"n_samples": 3, "temperature": 0.0}, "the mean of 3 samples. Made"),
        ({"n_samples": 1, "temperature": 0.0}, "Judge: openai gpt. Made"),  # judged several times
    ],
)
def test_the_card_says_how_answers_were_drawn(drawn: dict[str, Any], said: str) -> None:
    assert said in model_card(summary(sampling=drawn), "adapter")

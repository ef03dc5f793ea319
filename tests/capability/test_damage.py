"""Planted damage and none: recorded answers to all shipped items, run after run.

No tiny model solves these items, so the answers are made up: a file with a line per item, the
output of base and variant and whether each is right. What the program says of them is counted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from plugin.capability.probe import probe_items
from plugin.capability.records import ItemResult
from plugin.capability.report import Capability, find_capability
from plugin.run_facts import CapabilityChoice

ITEMS = probe_items("full")
SKILL = {"arithmetic": 0.7, "word_problems": 0.5, "facts": 0.6, "strings": 0.3, "reading": 0.8}
"""Share of an ability's items that the base solves; of others one half."""


@dataclass(frozen=True)
class Tune:
    """What a fine-tune does to the answers.

    Attributes:
        churn: share of the items whose answer changes from right to wrong or back, by chance.
        other_words: share of the items that are answered in other words.
        breaks: ability -> share of its right answers that become wrong.
    """

    churn: float = 0.0
    other_words: float = 0.0
    breaks: Mapping[str, float] = field(default_factory=dict)


def write_answers(path: Path, tune: Tune, seed: int) -> Path:
    """Write what base and variant answered to every item."""
    rng = np.random.default_rng(seed)
    lines = []
    for item in ITEMS:
        base = rng.random() < SKILL.get(item.ability, 0.5)
        share = SKILL.get(item.ability, 0.5)
        # Right answers turn wrong as often as wrong ones turn right, so the mean stays.
        flips = rng.random() < tune.churn / 2 / (share if base else 1 - share)
        own = base != flips
        own = own and not rng.random() < tune.breaks.get(item.ability, 0.0)
        words = " indeed" if rng.random() < tune.other_words else ""
        row = {
            "id": item.id,
            "base": ["right" if base else "wrong", base],
            "tuned": [("right" if own else "wrong") + words, bool(own)],
        }
        lines.append(json.dumps(row) + "\n")
    path.write_text("".join(lines), encoding="utf-8")
    return path


def read_answers(path: Path) -> Capability:
    """Judge a file of answers as a run judges its items."""
    abilities = {item.id: item.ability for item in ITEMS}
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    results = [
        ItemResult(
            "probe", abilities[row["id"]], row["id"], name, float(row[name][1]), row[name][0]
        )
        for row in rows
        for name in ("base", "tuned")
    ]
    found = find_capability(results, [], ("base", "tuned"), CapabilityChoice("full"))
    assert found is not None
    return found


@dataclass
class Counted:
    """How often something was said over many runs."""

    overall: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    n_any_false: int = 0


def many_runs(tmp_path: Path, tune: Tune, n_runs: int) -> Counted:
    counted = Counted()
    for seed in range(n_runs):
        found = read_answers(write_answers(tmp_path / "answers.jsonl", tune, seed))
        (overall,) = found.overall
        counted.overall[overall.outcome] += 1
        lost = {one.ability for one in found.lost("tuned")}
        counted.lost.update(lost)
        is_false = bool(lost - set(tune.breaks)) or (overall.outcome == "lower" and not tune.breaks)
        counted.n_any_false += is_false
    return counted


MANY = [8, pytest.param(200, marks=pytest.mark.slow)]


def most(share: float, n: int) -> float:
    """The number of runs that a true share hardly ever exceeds."""
    return share * n + 3 * (share * (1 - share) * n) ** 0.5


@pytest.mark.parametrize("n_runs", MANY)
def test_a_base_against_itself_is_unchanged(tmp_path, n_runs):
    counted = many_runs(tmp_path, Tune(), n_runs)
    assert counted.overall == {"unchanged": n_runs} and not counted.lost


@pytest.mark.parametrize("n_runs", MANY)
def test_a_re_saved_copy_is_kept(tmp_path, n_runs):
    """Rounding turns a close choice of token here and there."""
    counted = many_runs(tmp_path, Tune(churn=0.01, other_words=0.02), n_runs)
    assert counted.overall == {"kept": n_runs} and not counted.lost


@pytest.mark.parametrize("n_runs", MANY)
def test_a_model_that_lost_nothing_is_kept_though_a_tenth_of_its_answers_changed(tmp_path, n_runs):
    counted = many_runs(tmp_path, Tune(churn=0.1), n_runs)
    assert n_runs - counted.overall["kept"] <= most(0.06, n_runs)
    assert counted.n_any_false <= most(0.05, n_runs)


@pytest.mark.parametrize("n_runs", MANY)
def test_an_adapter_scaled_until_arithmetic_breaks(tmp_path, n_runs):
    tune = Tune(churn=0.1, breaks={"arithmetic": 0.9})
    counted = many_runs(tmp_path, tune, n_runs)
    assert counted.lost["arithmetic"] == n_runs
    assert counted.n_any_false <= most(0.05, n_runs)
    assert counted.overall["kept"] == 0


@pytest.mark.parametrize("n_runs", MANY)
def test_an_adapter_trained_on_one_group_only(tmp_path, n_runs):
    """It forgets other languages and to decline; the rest stays."""
    tune = Tune(churn=0.1, breaks={"languages": 0.6, "refusing_harm": 0.9})
    counted = many_runs(tmp_path, tune, n_runs)
    for ability in tune.breaks:
        assert n_runs - counted.lost[ability] <= most(0.05, n_runs)
    assert counted.n_any_false <= most(0.05, n_runs)

"""The shipped results of other models."""

from __future__ import annotations

import json
from pathlib import Path

from plugin.capability.probe import abilities
from plugin.capability.records import ItemResult
from plugin.capability.references import FILE, reference_json, references


def test_three_models_are_shipped_and_fit_the_items_that_are_shipped() -> None:
    """Where this fails, items changed: run `python -m tests.capability.reference`."""
    found = references()
    assert len(found) == 3 and "demo" in found[0].name
    for one in found:
        assert set(one.shares) == set(abilities())
        assert all(0 <= share <= 0.2 for share in one.shares.values())


def test_results_of_other_items_are_not_shown(tmp_path: Path) -> None:
    content = json.loads(FILE.read_text(encoding="utf-8"))
    (tmp_path / "other.json").write_text(json.dumps({**content, "probe_version": "0"}))
    assert references(tmp_path / "other.json") == ()


def test_a_failure_counts_as_not_solved() -> None:
    rows = [
        ItemResult("probe", "facts", "1", "vanilla", 1.0),
        ItemResult("probe", "facts", "2", "vanilla", None),
    ]
    assert json.loads(reference_json({"m": rows}))["models"] == {"m": {"facts": [1.0, 2]}}

"""Our engines give the harness item by item what its own model of the transformers library gives.

This needs torch; `make test-torch` runs it.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from demo import FOLDER
from plugin.capability.harness import load_tasks, run_task
from plugin.capability.records import ItemResult
from plugin.engines import EngineSettings, load
from plugin.load.model import inspect_model
from plugin.records import VANILLA
from tests.capability.local_tasks import write_tasks


def own_results(name: str, folder: Path) -> dict[str, ItemResult]:
    model = inspect_model(FOLDER / "model")
    with closing(load(name, EngineSettings(model, "demo", {}, 8, 4, True))) as engine:
        rows: list[ItemResult] = []
        for one in load_tasks([str(folder)], 0, 1):
            rows += run_task(one, engine, VANILLA, lambda _: None)  # type: ignore[arg-type]
    return {row.item_id: row for row in rows}


def peer_results(folder: Path) -> dict[str, dict[str, Any]]:
    """What the library's own evaluation gives, with its own model."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(folder), include_defaults=False)
    found = simple_evaluate(
        model=HFLM(pretrained=str(FOLDER / "model"), device="cpu", batch_size=2, dtype="float32"),
        tasks=list(manager.all_subtasks),
        task_manager=manager,
        bootstrap_iters=0,
    )
    assert found is not None
    return {
        f"{name}/{sample['doc_id']}": sample
        for name, samples in found["samples"].items()
        for sample in samples
    }


@pytest.mark.parametrize("name", ["transformers", "mlx"])
def test_results_equal_the_librarys_own_item_by_item(name: str, tmp_path: Path) -> None:
    folder = write_tasks(tmp_path / "tasks")
    own, peer = own_results(name, folder), peer_results(folder)
    assert set(own) == set(peer) and len(own) == 11
    for item, row in own.items():
        sample = peer[item]
        score = next(sample[key] for key in ("acc_norm", "acc", "exact_match") if key in sample)
        assert row.score == float(score), item
        if item.startswith("shows/"):
            assert row.output == sample["filtered_resps"][0], item

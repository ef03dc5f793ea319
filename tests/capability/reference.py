"""Make the shipped reference results anew: `python -m tests.capability.reference`.

The models are the demo's, and two of random weights as the tests of judges build them.
"""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path

from demo import FOLDER
from plugin import engines
from plugin.capability.asking import ask_items
from plugin.capability.probe import probe_items
from plugin.capability.records import ItemResult
from plugin.capability.references import FILE, reference_json
from plugin.engines import EngineSettings
from plugin.journal import Journal
from plugin.load.model import inspect_model
from plugin.records import VANILLA, Variant
from plugin.worker import Progress
from tests.judges.in_process import build


def results_of(model: Path, folder: Path) -> tuple[ItemResult, ...]:
    """What a model does with the quick set."""
    settings = EngineSettings(inspect_model(model), str(model), {}, 48, 32, True)
    with closing(engines.load("mlx", settings)) as engine, closing(Journal(folder)) as journal:
        variant = Variant(VANILLA, str(model), str(model))
        ask_items(probe_items("quick"), [variant], engine, journal, Progress())
        return journal.item_results()


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        models = {
            "the demo's model (2 million weights)": FOLDER / "model",
            "a tiny Llama of random weights": build(place / "one", seed=0),
            "another tiny Llama of random weights": build(place / "two", seed=1),
        }
        found = {
            title: results_of(model, place / f"journal-{i}")
            for i, (title, model) in enumerate(models.items())
        }
    FILE.write_text(reference_json(found), encoding="utf-8")


if __name__ == "__main__":
    main()

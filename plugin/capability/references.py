"""Results of other models on the shipped items, for comparison.

`python -m tests.capability.reference` makes them anew.
They show what the lowest scores look like: the demo's model, and two models of random weights.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from plugin.capability.probe import PROBE_VERSION, probe_items
from plugin.capability.records import ItemResult

FILE = Path(__file__).parent / "references.json"


@dataclass(frozen=True, slots=True)
class Reference:
    """What one model solved of the quick set.

    Attributes:
        name: what the model is.
        shares: ability -> share of its items that were solved.
    """

    name: str
    shares: Mapping[str, float]


def reference_json(results: Mapping[str, Iterable[ItemResult]]) -> str:
    """Return the file's text.

    Args:
        results: what a model is -> its results on the quick set.
    """
    models = {name: _sums(own) for name, own in results.items()}
    content = {"probe_version": PROBE_VERSION, "set": "quick", "models": models}
    return json.dumps(content, indent=1) + "\n"


def _sums(results: Iterable[ItemResult]) -> dict[str, list[float]]:
    """Return ability -> sum of the scores and number of items."""
    found: dict[str, list[float]] = {}
    for one in results:
        own = found.setdefault(one.ability, [0.0, 0])
        own[0] = round(own[0] + (one.score or 0.0), 4)
        own[1] += 1
    return found


def references(file: Path = FILE) -> tuple[Reference, ...]:
    """Return the shipped results; none if they are of other items than these."""
    content = json.loads(file.read_text(encoding="utf-8"))
    sizes = Counter(item.ability for item in probe_items("quick"))
    models: dict[str, dict[str, list[float]]] = content["models"]
    fits = content["probe_version"] == PROBE_VERSION and all(
        {ability: n for ability, (_, n) in own.items()} == sizes for own in models.values()
    )
    if not fits:
        return ()
    return tuple(
        Reference(name, {ability: total / n for ability, (total, n) in own.items()})
        for name, own in models.items()
    )

"""Random texts, and ways to run a metric of the task; several tests use them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

from plugin import metrics
from plugin.metrics import Measure, Measured
from plugin.metrics.entry import TaskSettings
from plugin.plan.metric_choice import _set_up
from plugin.records import Case
from tests.samples import case

N_RANDOM = 200
_WORDS = (
    "the a an cat dog house runs quickly blue Big well-known don't 42 3.14 U.S. (yes) state-of-the"
    " it's Paris; end. 'quoted' TheEnd mother/father x=1 e-mail snake_case 10% $5 no. hello,"
).split()


def random_texts(seed: int, longest: int = 25) -> list[tuple[str, str]]:
    """Pairs of English texts that share many words, some of them in the same order."""
    draw = random.Random(seed)
    pairs = []
    for _ in range(N_RANDOM):
        wanted = draw.choices(_WORDS, k=draw.randint(1, longest))
        said = [word for word in wanted if draw.random() < 0.7]
        for _ in range(draw.randint(0, 6)):
            said.insert(draw.randint(0, len(said)), draw.choice(_WORDS))
        pairs.append((" ".join(said) or "nothing", " ".join(wanted)))
    return pairs


def measure_of(
    name: str, cases: Sequence[Case] = (), settings: TaskSettings | None = None
) -> Measure:
    (metric,) = metrics.load([name])
    ready = _set_up(metric, settings or TaskSettings(), cases)
    assert ready.measure is not None
    return ready.measure


def score(measure: Measure, completion: str, one: Case) -> Measured:
    found: Any = measure(one, completion, None)  # type: ignore[arg-type]
    return asyncio.run(found)


def score_text(
    name: str, completion: str, wanted: str = "", settings: TaskSettings | None = None
) -> Measured:
    one = case(expected_output=wanted or None)
    return score(measure_of(name, [one], settings), completion, one)

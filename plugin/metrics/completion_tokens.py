"""Completion Tokens: how long the completion is, without the token that ends it.

Neither way is better as such. Fewer counts as the gain because tokens cost time and money; the
metric never decides.
"""

from __future__ import annotations

import math

from plugin.metrics import Measured
from plugin.records import Completion, MetricSpec

SPEC = MetricSpec(
    key="completion_tokens",
    name="Completion Tokens",
    higher_is_better=False,
    high=math.inf,
    needs_engine=frozenset({"tokens"}),
    decides=False,
    asks_judge=False,
    caveat="neither longer nor shorter is better as such; shorter counts as the gain",
)


def describe(completion: Completion) -> Measured | str:
    """See `plugin.metrics.Describe`."""
    if completion.n_tokens is None:
        return "its tokens were not counted"
    return Measured(float(completion.n_tokens))

"""Cut Off: 1 where the completion was cut off at max_tokens or the context's end, else 0.

The mean is the share that was cut off.
"""

from __future__ import annotations

from plugin.metrics import Measured
from plugin.records import Completion, MetricSpec

SPEC = MetricSpec(
    key="cut_off",
    name="Cut Off",
    higher_is_better=False,
    needs_engine=frozenset({"finish_reason"}),
    decides=False,
    asks_judge=False,
    unit="share of cases",
)


def describe(completion: Completion) -> Measured | str:
    """See `plugin.metrics.Describe`."""
    if completion.finish_reason is None:
        return "nobody knows why it ended"
    return Measured(float(completion.finish_reason == "length"))

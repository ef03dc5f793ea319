"""Tokens per Second: the completion's tokens by the seconds of `latency`.

The prompt's reading is in the seconds, the token that ends the text is not in the count. Where no
token was made there is no rate, and so a failure: a zero would drag the mean, and say nothing of
speed.
"""

from __future__ import annotations

import math

from plugin.metrics import Measured
from plugin.metrics._pace import CAVEAT
from plugin.records import Completion, MetricSpec

SPEC = MetricSpec(
    key="tokens_per_second",
    name="Tokens per Second",
    higher_is_better=True,
    high=math.inf,
    needs_engine=frozenset({"seconds", "tokens"}),
    decides=False,
    asks_judge=False,
    caveat=CAVEAT,
)


def describe(completion: Completion) -> Measured | str:
    """See `plugin.metrics.Describe`."""
    if completion.seconds is None or completion.n_tokens is None:
        return "its seconds or tokens were not measured"
    if not (completion.n_tokens and completion.seconds > 0):
        return "no token was made, so there is no rate"
    return Measured(completion.n_tokens / completion.seconds)

"""Perplexity: how little the model expects the expected output, as nats per token.

It is teacher-forced: the expected output's tokens are read after the case's prompt, each with all
before it given, and the score is minus their mean log probability. What is shown and compared are
nats per token; the perplexity itself is exp of that, and a mean over cases of exp would be ruled by
the few worst. The end of the text is not counted. One tokenizer for all variants is a must: per
token says nothing across two.
"""

from __future__ import annotations

import math

from plugin.metrics import Measured
from plugin.records import MetricSpec

SPEC = MetricSpec(
    key="perplexity",
    name="Perplexity",
    higher_is_better=False,
    high=math.inf,
    needs=frozenset({"expected_output"}),
    needs_engine=frozenset({"loglikelihood"}),
    asks_judge=False,
    unit="nats per token",
)

_ROUNDING = 1e-3


def from_loglikelihood(loglikelihood: float, n_tokens: int) -> Measured:
    """See `plugin.metrics.FromLoglikelihood`."""
    nats = -loglikelihood / n_tokens
    if -_ROUNDING < nats < 0:  # a certain token may come out a little above probability 1
        nats = 0.0
    return Measured(nats, f"over {n_tokens} tokens of the expected output")

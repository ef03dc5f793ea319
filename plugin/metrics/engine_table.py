"""The rows of `METRICS` for what the engine tells: likelihoods, seconds, tokens, how it ended."""

from __future__ import annotations

import math

from plugin.metrics.entry import MetricEntry
from plugin.records import MetricSpec

_EXPECTED = frozenset({"expected_output"})

_SPEED_CAVEAT = (
    "time is measured from the start of a case in its batch to its last token. Up to --batch_size "
    "cases run at once, so a single user would wait a different time (--load measures that, with "
    "--engine server). A completion from an earlier session or the shared cache keeps the time "
    "that was measured when it was generated"
)

ENGINE_METRICS = (
    MetricEntry(
        MetricSpec(
            key="perplexity",
            name="Perplexity",
            higher_is_better=False,
            high=math.inf,
            needs=_EXPECTED,
            needs_engine=frozenset({"loglikelihood"}),
            asks_judge=False,
            unit="nats per token",
        ),
        from_loglikelihood="engine:perplexity",
        version=2,  # 1 left the token out that ends the answer
    ),
    MetricEntry(
        MetricSpec(
            key="latency",
            name="Latency",
            higher_is_better=False,
            high=math.inf,
            needs_engine=frozenset({"seconds"}),
            decides=False,
            asks_judge=False,
            unit="seconds per case",
            caveat=_SPEED_CAVEAT,
        ),
        describe="engine:latency",
    ),
    MetricEntry(
        MetricSpec(
            key="tokens_per_second",
            name="Tokens per Second",
            higher_is_better=True,
            high=math.inf,
            needs_engine=frozenset({"seconds", "tokens"}),
            decides=False,
            asks_judge=False,
            caveat=_SPEED_CAVEAT,
        ),
        describe="engine:tokens_per_second",
    ),
    MetricEntry(
        MetricSpec(
            key="completion_tokens",
            name="Completion Tokens",
            higher_is_better=False,
            high=math.inf,
            needs_engine=frozenset({"tokens"}),
            decides=False,
            asks_judge=False,
            caveat="length says nothing about quality; the gain counts fewer tokens as better",
        ),
        describe="engine:completion_tokens",
    ),
    MetricEntry(
        MetricSpec(
            key="cut_off",
            name="Cut Off",
            higher_is_better=False,
            needs_engine=frozenset({"finish_reason"}),
            decides=False,
            asks_judge=False,
            unit="share of cases",
        ),
        describe="engine:cut_off",
    ),
)

"""Token F1: overlap of words between completion and expected output (SQuAD, 2016).

F1 = 2PR / (P + R), with P the share of the completion's words found in the expected output and R
the share of the expected output's words found in the completion, counted with repetition.
"""

from __future__ import annotations

from collections import Counter

from plugin.metrics import Ask, Measured
from plugin.metrics._words import normalised_words
from plugin.records import Case, MetricSpec

SPEC = MetricSpec(
    key="token_f1",
    name="Token F1",
    higher_is_better=True,
    needs=frozenset({"expected_output"}),
    asks_judge=False,
)


async def measure(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`; no judge is asked."""
    said = Counter(normalised_words(completion))
    wanted = Counter(normalised_words(case.expected_output or ""))
    if not said or not wanted:
        return Measured(float(said == wanted))
    n_common = (said & wanted).total()
    return Measured(2 * n_common / (said.total() + wanted.total()))

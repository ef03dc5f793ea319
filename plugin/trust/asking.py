"""Ask a judge one probe, and note what it was shown."""

from __future__ import annotations

from dataclasses import replace

from pydantic import BaseModel

from plugin.journal import Journal
from plugin.judges.asking import Asker
from plugin.judges.preferring import settle
from plugin.metrics import Check, Measured, Metric
from plugin.metrics.running import run_metric, run_preference
from plugin.records import EVEN, Preference
from plugin.trust.draw import RETEST, Probe
from plugin.trust.pair_probes import SAME


class RepeatAsker:
    """Asks for the judgment with a given repeat number, and records the prompts."""

    def __init__(self, asker: Asker, repeat: int) -> None:
        self.structured = asker.structured
        self.include_reason = False  # a separate reason would cost one more question
        self.label = asker.label
        self.prompts: list[str] = []
        self._asker = asker
        self._repeat = repeat

    async def __call__(self, prompt: str, schema: type[BaseModel], check: Check) -> BaseModel:
        """Return the judge's answer; see `plugin.metrics.Ask`."""
        self.prompts.append(prompt)
        return await self._asker(prompt, schema, check, self._repeat)


async def ask_probe(metric: Metric, probe: Probe, ask: RepeatAsker, journal: Journal) -> Measured:
    """Return the score of the probe's text, or what it wins against the other text.

    Of identical texts, return 1 if the judge named a winner, else 0. A preference that repeats one
    of the run is also kept beside it.

    Raises:
        CallError: when the judge gave no fitting answer.
        LimitReached: when the user's limits allow no more calls.
        MetricError: when the metric's code failed.
        VerdictError: when the judge cannot be used at all.
    """
    case, own, other = probe.case, probe.text, probe.against
    if other is None:
        return await run_metric(metric, case, own, ask)
    first, why_first = await run_preference(metric, case, own, other, ask)
    if probe.kind == SAME:
        return Measured(float(first != 0), why_first)
    turned, why_turned = await run_preference(metric, case, other, own, ask)
    bare = Preference(case.id, probe.variant, probe.baseline, probe.metric, None, None, EVEN)
    reason = " | ".join(dict.fromkeys(filter(None, (why_first, why_turned))))
    row = replace(settle(bare, first, turned), reason=reason)
    if probe.kind == RETEST:
        is_named = any(kept.judge == ask.label for kept in journal.all_preferences())
        journal.add_repeat(replace(row, judge=ask.label if is_named else "", repeat=1))
    return Measured(row.value, reason)

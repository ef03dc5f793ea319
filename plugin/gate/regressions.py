"""Find the cases on which the variant lost most, with short texts."""

from __future__ import annotations

from typing import NamedTuple

from plugin.compare.numbers import round_published
from plugin.gate.reading import GateRun, short_text
from plugin.records import Case
from plugin.report.record import Ledger

N_WORST = 5


class Regression(NamedTuple):
    """A case on which the variant is worse than the base, on the primary metric.

    Attributes:
        case_id: the case's, cut short like all texts here.
        gain: of the variant, below zero.
        score: of the variant.
        baseline_score: of the base.
        input: what was asked.
        expected_output: what a good answer says; "" where that is not known.
        baseline_output: what the base answered.
        output: what the variant answered.
    """

    case_id: str
    gain: float | None
    score: float | None
    baseline_score: float | None
    input: str
    expected_output: str
    baseline_output: str
    output: str


def worst_regressions(run: GateRun, n: int = N_WORST) -> list[Regression]:
    """Return the cases with the largest losses on the primary metric, the largest first."""
    ledger, spec = Ledger(run.report), run.primary
    cells = [(case, ledger.cell(case, run.variant, spec)) for case in run.report.cases]
    losses = [(cell.gain, case) for case, cell in cells if cell.gain is not None and cell.gain < 0]
    losses.sort(key=lambda one: one[0])
    return [_regression(run, ledger, case, gain) for gain, case in losses[:n]]


def _regression(run: GateRun, ledger: Ledger, case: Case, gain: float) -> Regression:
    own, base = (ledger.cell(case, name, run.primary).score for name in (run.variant, run.base))
    completions = run.report.completions
    texts = [completions.get((case.id, name)) for name in (run.base, run.variant)]
    return Regression(
        short_text(case.id),
        round_published(gain),
        round_published(own.value if own else None),
        round_published(base.value if base else None),
        short_text(case.input),
        short_text(case.expected_output or ""),
        *(short_text(one.text if one else "") for one in texts),
    )

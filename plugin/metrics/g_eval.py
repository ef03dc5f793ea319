"""G-Eval (DeepEval): a judge follows evaluation steps and gives a score, here brought to 0..1.

Steps that were fixed beforehand, so that every case meets the same rubric.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from plugin.metrics import Ask, Measured, _deepeval
from plugin.metrics._checks import score_within
from plugin.records import Case

LOWEST, HIGHEST = 0, 10
"""What G-Eval's judge may give where no rubric says otherwise."""


@dataclass(frozen=True, slots=True)
class Guide:
    """What the judge is told.

    Attributes:
        name: the metric's, as shown.
        steps: to be followed for every case.
        expected_output: whether the judge sees it; the case must have one.
        context: likewise.
        ranges: (lowest score, highest score, what such a completion is like), ascending; empty for
            0 to 10.
    """

    name: str
    steps: Sequence[str]
    expected_output: bool
    context: bool = False
    ranges: tuple[tuple[int, int, str], ...] = ()

    @property
    def fields(self) -> list[Any]:
        """The parts of a case that the judge sees, as DeepEval names them."""
        known = _deepeval.SingleTurnParams
        return [
            known.INPUT,
            known.ACTUAL_OUTPUT,
            *([known.EXPECTED_OUTPUT] if self.expected_output else []),
            *([known.CONTEXT] if self.context else []),
        ]


async def measure(guide: Guide, case: Case, completion: str, ask: Ask) -> Measured:
    """One question: the score with its reason."""
    low = guide.ranges[0][0] if guide.ranges else LOWEST
    high = guide.ranges[-1][1] if guide.ranges else HIGHEST
    rubric = [
        _deepeval.Rubric(score_range=(first, last), expected_outcome=text)
        for first, last, text in guide.ranges
    ]
    options = {
        "name": guide.name,
        "evaluation_steps": list(guide.steps),
        "evaluation_params": guide.fields,
        "rubric": rubric or None,
        "evaluation_template": _Steps(guide, case, completion, (low, high)),
    }
    check = score_within(low, high)
    return await _deepeval.measure(_deepeval.GEval, (case, completion), ask, check, options)


class _Steps:
    def __init__(
        self, guide: Guide, case: Case, completion: str, score_range: tuple[int, int]
    ) -> None:
        self._guide = guide
        self._case = case
        self._completion = completion
        self._range = score_range

    def generate_evaluation_results(self) -> str:
        values: dict[str, object] = {"completion": self._completion, "score_range": self._range}
        if self._guide.expected_output:
            values["expected_output"] = self._case.expected_output
        else:
            values["input"] = self._case.input
        return _deepeval.step("g_eval", **values)

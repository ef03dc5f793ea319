"""Put right answers before the judge, and read its reasons.

A judge that gives everything a low score sees through every wrong answer, so right ones stand
beside them: the expected output itself, and the same in a fixed frame, which must not matter to
whoever reads for content. Reasons tell whether the judge read at all: some small models give one
text for everything, or hand the prompt's own words back.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from plugin.records import Case, MetricSpec
from plugin.trust.records import Control, ReasonCheck

EXPECTED, FRAMED = "expected output", "expected output in a frame"

CONTROLS = {EXPECTED: "{}", FRAMED: "The answer is: {}"}
"""Name -> what stands in the completion's place, around the expected output."""

_RIGHT_ON = {
    "correctness": (EXPECTED, FRAMED),
    "rubric": (EXPECTED, FRAMED),
    "answer_relevancy": (EXPECTED,),  # it asks twice per answer, and a frame is no news to it
}
"""Metric -> the controls that are right answers under it. None under a criterion of the user's own,
which an expected output need not meet."""

HIGH_FROM = 0.5
"""A right answer's mean score must reach this share of the metric's range."""

APART = 0.1
"""So much of the range must lie between the means of right and wrong answers."""

RULE_RIGHT = (
    f"A right answer must score {HIGH_FROM:g} or more on average, and all of them together at "
    f"least {APART:g} more than the wrong answers."
)

MIN_REASONS, MIN_OTHER_REASONS = 10, 5
"""With fewer reasons, or fewer to answers that are not canaries, nothing follows from them."""

REPEATED, QUOTED = 0.9, 0.5
"""Reasons repeat when this share of them is one text; they quote when this share of them does."""

_RUN_OF_WORDS = 5
"""So many words in a row that stand in the prompt are a quotation."""


def controls_for(spec: MetricSpec) -> tuple[str, ...]:
    """Return the names of the right answers that are judged under this metric."""
    return _RIGHT_ON.get(spec.key, ()) if spec.asks_judge else ()


def control_text(name: str, case: Case) -> str:
    """Return the right answer of this name; "" for a case without an expected output."""
    wanted = (case.expected_output or "").strip()
    return CONTROLS[name].format(wanted) if wanted else ""


def share_of_range(spec: MetricSpec, value: float | None) -> float | None:
    """Return how far from the worst score to the best a value lies, 0 to 1."""
    return None if value is None else (value - spec.worst) / (spec.best - spec.worst)


def grade_controls(
    spec: MetricSpec,
    scores: Mapping[str, Sequence[float]],
    n_failed: Mapping[str, int],
    wrong: Sequence[float],
) -> tuple[Control, ...]:
    """Grade the judge by the right answers' scores on one metric.

    Args:
        spec: the metric.
        scores: control's name -> its scores over the cases.
        n_failed: control's name -> judgments that could not be had.
        wrong: the scores of all wrong answers on the metric.
    """
    wrong_mean = _mean(wrong)
    right = share_of_range(spec, _mean([one for name in CONTROLS for one in scores.get(name, ())]))
    least = share_of_range(spec, wrong_mean)
    told_apart = None if right is None or least is None else right - least >= APART - 1e-9
    rows = []
    for name in CONTROLS:
        mean, lost = _mean(scores.get(name, ())), n_failed.get(name, 0)
        share = share_of_range(spec, mean)
        if mean is None and not lost:
            continue
        rows.append(
            Control(
                name=name,
                metric=spec.name,
                mean=mean,
                n=len(scores.get(name, ())),
                n_failed=lost,
                wrong_mean=wrong_mean,
                is_high=None if share is None else share >= HIGH_FROM,
                told_apart=None if share is None else told_apart,
            )
        )
    return tuple(rows)


def check_reasons(
    metric: str, reasons: Sequence[str], n_quotes: int, n_others: int
) -> ReasonCheck | None:
    """Return whether the judge's reasons repeat, or quote the prompt; None for too few of them.

    Args:
        metric: the metric's name.
        reasons: one per answer, all answers different.
        n_quotes: how many of them quote the prompt.
        n_others: how many of them are to answers that are not canaries.
    """
    n = len(reasons)
    if n < MIN_REASONS or n_others < MIN_OTHER_REASONS:
        return None
    n_same = Counter(" ".join(_words(reason)) for reason in reasons).most_common(1)[0][1]
    return ReasonCheck(
        metric=metric,
        n=n,
        n_same=n_same,
        n_quotes=n_quotes,
        repeats=n_same >= REPEATED * n,
        quotes_prompt=n_quotes >= QUOTED * n,
    )


def quotes_prompt(reason: str, prompts: Iterable[str], own_texts: Iterable[str]) -> bool:
    """Return whether half of a reason's words or more are quoted from a prompt's template.

    Args:
        reason: the judge's.
        prompts: what it was asked.
        own_texts: the case's and the answer's own, which a good reason may well quote.
    """
    words = _words(reason)
    own = sorted((text for text in own_texts if text.strip()), key=len, reverse=True)
    known = set[tuple[str, ...]]()
    for prompt in prompts:
        for text in own:
            prompt = prompt.replace(text, "\n|\n")
        for part in prompt.split("\n|\n"):
            known.update(_runs(_words(part)))
    quoted = {
        place + more
        for place, run in enumerate(_runs(words))
        if run in known
        for more in range(_RUN_OF_WORDS)
    }
    return bool(quoted) and len(quoted) >= len(words) / 2


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def _runs(words: Sequence[str]) -> list[tuple[str, ...]]:
    n = len(words) - _RUN_OF_WORDS + 1
    return [tuple(words[place : place + _RUN_OF_WORDS]) for place in range(n)]


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None

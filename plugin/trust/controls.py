"""Check that the judge scores right answers high, and that its reasons make sense.

A judge that gives everything a low score passes every wrong-answer test. So the exam also contains
right answers: the expected output itself, and the expected output in a fixed sentence, which must
not change the score. The reasons show whether the judge read the answers: some small models give
the same reason for everything or repeat the words of the prompt.
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
"""Name -> text that the judge gets as the completion; the expected output fills the braces."""

_RIGHT_ON = {
    "correctness": (EXPECTED, FRAMED),
    "rubric": (EXPECTED, FRAMED),
    "turn_rating": (EXPECTED, FRAMED),
    "answer_relevancy": (EXPECTED,),  # costs two calls per answer, and a frame tests nothing new
}
"""Metric -> the controls that are right answers under it. A user's own criterion has none: an
expected output does not have to meet it."""

HIGH_FROM = 0.5
"""The mean score of a right answer must reach this share of the metric's range."""

APART = 0.1
"""The means of right and wrong answers must differ by this share of the metric's range."""

RULE_RIGHT = (
    f"To pass, each kind of right answer needs a mean score of at least {HIGH_FROM:g}, and right "
    f"answers must score at least {APART:g} higher than wrong ones on average."
)

MIN_REASONS, MIN_OTHER_REASONS = 10, 5
"""Fewer reasons in total, or fewer for answers other than the wrong ones, are too few to check."""

REPEATED, QUOTED = 0.9, 0.5
"""Share of identical reasons that fails the check, and share of reasons that quote the prompt."""

_RUN_OF_WORDS = 5
"""This many consecutive words of the prompt count as a quotation."""


def controls_for(spec: MetricSpec) -> tuple[str, ...]:
    """Return the names of the right answers that are judged under this metric."""
    return _RIGHT_ON.get(spec.key, ()) if spec.asks_judge else ()


def control_text(name: str, case: Case) -> str:
    """Return the right answer with this name; "" for a case without an expected output."""
    wanted = (case.expected_output or "").strip()
    return CONTROLS[name].format(wanted) if wanted else ""


def share_of_range(spec: MetricSpec, value: float | None) -> float | None:
    """Return where a value lies between the worst score (0) and the best (1)."""
    return None if value is None else (value - spec.worst) / (spec.best - spec.worst)


def grade_controls(
    spec: MetricSpec,
    scores: Mapping[str, Sequence[float]],
    n_failed: Mapping[str, int],
    wrong: Sequence[float],
) -> tuple[Control, ...]:
    """Grade the judge by its scores of right answers on one metric.

    Args:
        spec: the metric.
        scores: name of the control -> its scores over the cases.
        n_failed: name of the control -> number of failed judgments.
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
    """Check whether the judge's reasons repeat or quote the prompt; None for too few reasons.

    Args:
        metric: the metric's name.
        reasons: one per answer, for different answers.
        n_quotes: how many of the reasons quote the prompt.
        n_others: how many of the reasons are for answers other than the wrong ones.
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
    """Return whether at least half of a reason's words are quoted from a prompt's template.

    Args:
        reason: the judge's reason.
        prompts: the prompts that the judge got.
        own_texts: texts of the case and the answer, which a good reason may quote.
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

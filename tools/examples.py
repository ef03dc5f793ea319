"""Write the examples in docs/verdict.md and docs/judging_cost.md with the program's own functions.

The scores are made up, with a fixed seed. Every sentence about them is the program's.
"""

from __future__ import annotations

import math
import random
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from plugin import metrics
from plugin.compare.comparisons import VerdictSettings, compare, summarise
from plugin.compare.pairs import Evidence
from plugin.compare.stats import n_to_detect
from plugin.compare.verdict import decide_verdict
from plugin.forecast import forecast_calls, forecast_text
from plugin.journal import Journal
from plugin.judges.panel import Judging, ScoreItem
from plugin.judges.spending import PRICES_AS_OF, Price, price_of
from plugin.plan.params import Params
from plugin.records import VANILLA, Case, Completion, Message, MetricSpec, Score, Variant
from plugin.results import Verdict
from plugin.trust.exam import Exam

Effects = Mapping[str, tuple[float, float]]
"""Metric -> the base's mean score, and the mean gain."""


@dataclass(frozen=True, slots=True)
class Story:
    """A made-up run.

    Attributes:
        title: the word of the verdict that it shows.
        effects: of every metric; the first one decides.
        n: cases.
        sd: spread of the gains, case by case.
        has_clusters: whether cases belong together, in clusters of different sizes.
        retention: the gain on a fifth of the cases, a retention group; None for no such group.
        shows: a word of every line that is shown; "" for the sentence.
    """

    title: str
    effects: Effects
    n: int = 100
    sd: float = 0.15
    has_clusters: bool = False
    retention: float | None = None
    shows: tuple[str, ...] = ("",)


_GOOD = {"Correctness": (0.5, 0.2)}
STORIES = (
    Story("better", _GOOD),
    Story("worse", {"Correctness": (0.6, -0.2)}),
    Story("equivalent", {"Correctness": (0.6, 0.0)}, n=400),
    Story("can't tell", {"Correctness": (0.5, 0.05)}, n=60, sd=0.3, shows=("", "(your margin)")),
    Story("better, but a guard is lost", _GOOD | {"Hallucination": (0.2, -0.25)}),
    Story("a guard is kept", _GOOD | {"Hallucination": (0.3, 0.1)}, shows=("Guard",)),
    Story(
        "a guard is unclear", _GOOD | {"Faithfulness": (0.7, 0.0)}, n=60, sd=0.3, shows=("Guard",)
    ),
    Story("a retention group is lost", _GOOD, n=200, retention=-0.2),
    Story("clusters", _GOOD, n=120, has_clusters=True, shows=("", "largest")),
)
"""A story per word of the verdict, in the order of the page."""


def verdict_examples() -> str:
    """Return what the program says of every story."""
    return "\n".join(f"**{story.title}**\n```text\n{shown_lines(story)}\n```" for story in STORIES)


def shown_lines(story: Story) -> str:
    """Return the lines of the verdict that the story shows.

    Raises:
        SystemExit: when no line has the word.
    """
    verdict = tell(story)
    lines = (verdict.sentence, *verdict.details)
    found = [next((line for line in lines if word in line), None) for word in story.shows]
    if None in found:
        raise SystemExit(f"{story.title}: no line with each of {story.shows} in {lines}")
    return "\n".join(map(str, found))


def tell(story: Story) -> Verdict:
    """Return the program's verdict on a story."""
    specs = [metric.spec for metric in metrics.load(list(story.effects))]
    cases = [_case(story, number) for number in range(story.n)]
    rng = random.Random(1)
    scores = [score for case in cases for spec in specs for score in _pair(story, case, spec, rng)]
    variants = [Variant(VANILLA, VANILLA, "base"), Variant("tuned", "tuned", "base", "adapter")]
    evidence = Evidence(cases, variants, specs, scores)
    settings = VerdictSettings(primary_metric=specs[0].name, seed=0, n_resamples=2_000)
    comparisons = compare(evidence, settings)
    return decide_verdict(evidence, summarise(evidence, settings), comparisons, settings)


def _case(story: Story, number: int) -> Case:
    kept = story.retention is not None and number % 5 == 0
    return Case(
        str(number),
        (Message("user", f"Question {number}?"),),
        cluster=str(math.isqrt(2 * number)) if story.has_clusters else None,
        group="general" if kept else None,
        retention=kept,
    )


def _pair(story: Story, case: Case, spec: MetricSpec, rng: random.Random) -> list[Score]:
    """Return both scores of a case, in tenths as judges give them."""
    mean, gain = story.effects[spec.name]
    if case.retention and story.retention is not None:
        gain = story.retention
    own_gain = gain if spec.higher_is_better else -gain
    base = rng.gauss(mean, 0.15)
    tuned = base + rng.gauss(own_gain, story.sd)
    return [
        Score(case.id, name, spec.name, round(min(1.0, max(0.0, value)), 1))
        for name, value in ((VANILLA, base), ("tuned", tuned))
    ]


SPREADS = (
    (0.15, "scores move by about 0.15"),
    (0.3, "scores move by about 0.3"),
    (0.5, "0/1 scores that differ on a quarter of the cases"),
)


def cases_needed() -> str:
    """Return the table of how many cases find a gain, four times out of five."""
    gains = (0.05, 0.1, 0.2)
    heads = " | ".join(f"gain of {gain:g}" for gain in gains)
    rows = [f"| spread of the gains, case by case | {heads} |", "|---|---|---|---|"]
    for sd, name in SPREADS:
        numbers = " | ".join(f"{n_to_detect(sd, gain):,}" for gain in gains)
        rows.append(f"| {sd:g} ({name}) | {numbers} |")
    return "\n".join(rows)


N_CASES, N_QUESTION, N_ANSWER, N_CONTEXT = 200, 400, 800, 2_000
"""Of a typical run: cases, and characters of a question or expected output, of an answer and of a
case's context."""

SECONDS_PER_CALL = 2.0
READ_PER_S, WRITTEN_PER_S = 1_500, 100
"""Tokens a second of a model of about 8B parameters on one consumer GPU."""

RUNS: tuple[tuple[str, tuple[str, ...], bool], ...] = (
    ("Correctness, Answer Relevancy (the default)", ("Correctness", "Answer Relevancy"), False),
    ("Correctness alone", ("Correctness",), False),
    (
        "Correctness, Answer Relevancy, Hallucination (the default with context)",
        ("Correctness", "Answer Relevancy", "Hallucination"),
        True,
    ),
    (
        "Correctness and all four guards",
        ("Correctness", "Hallucination", "Faithfulness", "Bias", "Toxicity"),
        True,
    ),
    ("Token F1, Exact Match", ("Token F1", "Exact Match"), False),
)
PAID = ("openai:gpt-4o-mini", "anthropic:claude-haiku-4-5", "openai:gpt-4o")


@dataclass(frozen=True, slots=True)
class _NamedJudge:
    """A judge that is never asked."""

    label: str
    structured: bool = False


def cost_table() -> str:
    """Return what typical runs take: calls, tokens, dollars and minutes."""
    shown = " | ".join(judge.partition(":")[2] for judge in PAID)
    rows = [
        f"| metrics | calls | tokens read | tokens written | {shown} | minutes, paid | minutes, "
        "local |",
        "|---|" + "---|" * (len(PAID) + 5),
    ]
    for title, names, has_context in RUNS:
        calls, read, written = _whole_run(names, has_context)
        dollars = [_dollars(price_of(judge), read, written) for judge in PAID]
        paid_s = calls * SECONDS_PER_CALL / _default("concurrency")
        local_s = read / READ_PER_S + written / WRITTEN_PER_S
        cells = (
            title,
            *(f"{number:,}" for number in (calls, read, written)),
            *dollars,
            _minutes(paid_s),
            _minutes(local_s),
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def cost_line() -> str:
    """Return what the default run costs under a cheap paid judge, for the README."""
    judge = PAID[0]
    calls, read, written = _whole_run(RUNS[0][1], has_context=False)
    minutes = _minutes(calls * SECONDS_PER_CALL / _default("concurrency"))
    return (
        f"**Cost**: {N_CASES} cases under {judge.partition(':')[2]}: about "
        f"{calls:,} calls, {_dollars(price_of(judge), read, written)}, {minutes} minutes "
        "([how this is computed, other judges, a local one](docs/judging_cost.md))."
    )


def forecast_example() -> str:
    """Return the program's own forecast of the default run, under a typical paid judge."""
    items, exam = _items(RUNS[0][1], has_context=False)
    judge: Any = _NamedJudge("openai:gpt-4o-mini")
    return f"```text\n{forecast_text(items, Judging((judge,)), exam)}\n```"


def assumptions() -> str:
    """Return what the table assumes, as a list."""
    return "\n".join(
        (
            f"- **Cases**: {N_CASES}, and two variants whose answers differ.",
            f"- **Characters**: {N_QUESTION} in a question and in an expected output, {N_ANSWER} "
            f"in an answer, {N_CONTEXT:,} in the context where there is one.",
            "- **Included**: reasons for the scores, and the exam of the judge.",
            f"- **Prices**: list prices of {PRICES_AS_OF}.",
            f"- **Minutes, paid**: {SECONDS_PER_CALL:g} seconds a call, "
            f"{_default('concurrency')} calls at once.",
            f"- **Minutes, local**: {READ_PER_S:,} tokens read and {WRITTEN_PER_S} written a "
            "second, by a model of about 8B on one consumer GPU.",
        )
    )


def _default(option: str) -> int:
    default: int = Params.model_fields[option].default
    return default


def _whole_run(names: Sequence[str], has_context: bool) -> tuple[int, int, int]:
    """Return calls and tokens of a run, its exam of the judge included at the same size a call."""
    items, exam_calls = _items(names, has_context)
    found = forecast_calls(items, include_reason=True)
    if not found.n_calls:
        return 0, 0, 0
    share = 1 + exam_calls.n_questions_at_most / found.n_calls
    return (
        round(found.n_calls * share),
        round(found.n_prompt_tokens * share / 1000) * 1000,
        round(found.n_completion_tokens * share / 1000) * 1000,
    )


def _items(names: Sequence[str], has_context: bool) -> tuple[list[ScoreItem], Exam]:
    loaded = metrics.load(names)
    bare = [Case(str(n), (Message("user", "q" * N_QUESTION),)) for n in range(N_CASES)]
    context = ("c" * N_CONTEXT,) if has_context else ()
    cases = [replace(case, expected_output="e" * N_QUESTION, context=context) for case in bare]
    items = [
        ScoreItem(case, _answer(case.id, variant), metric)
        for metric in loaded
        for case in cases
        for variant in (VANILLA, "tuned")
    ]
    with tempfile.TemporaryDirectory() as folder, closing(Journal(Path(folder))) as journal:
        return items, Exam(cases, loaded, journal, seed=0)


def _answer(case_id: str, variant: str) -> Completion:
    text = f"{variant} {case_id} ".ljust(N_ANSWER, "a")
    return Completion(case_id, variant, text, (), "stop", None, None)


def _dollars(price: Price | None, read: float, written: float) -> str:
    """Return the cost, from half to twice, as the program's own forecast does."""
    if price is None:
        raise SystemExit("a judge of the table of costs has no known price")
    cost = price.cost(read, written)
    return f"${cost / 2:.2f} to ${cost * 2:.2f}" if cost else "$0"


def _minutes(seconds: float) -> str:
    if not seconds:
        return "0"
    return "under 1" if seconds < 60 else f"about {seconds / 60:.0f}"

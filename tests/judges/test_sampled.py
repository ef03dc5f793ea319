"""Scores of several samples: the mean counts, single ones are kept, and a failure is the case's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from plugin.compare.pairs import Contrast, Evidence
from plugin.compare.relative import combine_all
from plugin.compare.samples import consistency_of, gains_by_sample, of_first_samples
from plugin.errors import CallError
from plugin.forecast import forecast_text
from plugin.journal import Journal
from plugin.judges import Answer
from plugin.judges.panel import Judging
from plugin.judges.spending import SpendLimits
from plugin.metrics import Ask, Measured, Metric
from plugin.records import Case, Completion, MetricSpec, Score, Variant
from plugin.sample_rows import SampleScore
from plugin.score import items_to_score, missing_items, score_all
from plugin.worker import Progress
from tests.samples import case

SPEC = MetricSpec("marked", "Marked", higher_is_better=True)


class Mark(BaseModel):
    value: float


class CountingJudge:
    """Marks an answer with the number in it, and a hundredth more each time that it is asked."""

    label = identity = "counting"
    caveat, structured = "", False

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def ask(self, prompt: str, schema: type[BaseModel], room: int = 1) -> Answer:
        if "bad" in prompt:
            raise CallError("no mark for this one")
        value = float(prompt) + self.asked.count(prompt) / 100
        self.asked.append(prompt)
        return Answer(Mark(value=value).model_dump_json())

    async def close(self) -> None:
        pass


async def marked(case: Case, completion: str, ask: Ask) -> Measured:
    found = await ask(completion, Mark, lambda answer: None)
    assert isinstance(found, Mark)
    return Measured(found.value, "as told")


async def closer(case: Case, first: str, second: str, ask: Ask) -> Measured:
    own, other = [await marked(case, text, ask) for text in (first, second)]
    return Measured((own.value > other.value) - (own.value < other.value))


MARKED = Metric(SPEC, marked)
CLOSER = Metric(
    replace(SPEC, key="closer", name="Closer", is_relative=True, n_questions=2), prefer=closer
)


def samples(texts: dict[tuple[str, str], list[str]]) -> list[Completion]:
    return [
        Completion(case_id, name, text, (), "stop", 0.1, 3, 1, sample=i)
        for (case_id, name), own in texts.items()
        for i, text in enumerate(own)
    ]


TEXTS = {
    ("a", "vanilla"): ["0.1", "0.3", "0.5"],
    ("a", "tuned"): ["0.5", "0.5", "0.8"],
    ("b", "vanilla"): ["0.2", "0.2", "0.2"],
    ("b", "tuned"): ["0.2", "", "0.7"],
}
CASES = [case("a"), case("b")]
PAIR = (Variant("vanilla", "1", "m"), Variant("tuned", "2", "m"))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with closing(Journal(tmp_path)) as made:
        yield made


def score(journal: Journal, texts: Any, metric: Metric = MARKED, **how: Any) -> CountingJudge:
    judge = CountingJudge()
    pairs = [Contrast("tuned", "vanilla")]
    items = items_to_score(CASES, samples(texts), [metric], pairs=pairs)
    judging = Judging((judge,), max_failed_share=1.0, **how)
    score_all(items, judging, journal, Progress())
    return judge


def test_a_case_scores_the_mean_of_its_samples_and_equal_ones_are_asked_once(
    journal: Journal,
) -> None:
    judge = score(journal, TEXTS)
    assert {(s.case_id, s.variant): round(s.value, 6) for s in journal.scores()} == {
        ("a", "vanilla"): 0.3,
        ("a", "tuned"): 0.6,
        ("b", "vanilla"): 0.2,
        ("b", "tuned"): 0.3,
    }
    assert len(judge.asked) == len(set(judge.asked)) == 6
    kept = {(s.case_id, s.variant, s.sample): s.value for s in journal.sample_scores()}
    assert len(kept) == 12
    assert kept["b", "tuned", 1] == 0.0  # empty: the worst score
    (told,) = [s.reason for s in journal.scores() if (s.case_id, s.variant) == ("a", "tuned")]
    assert told and told.startswith("sample 1 scored 0.50: as told | sample 2 scored 0.50")


def test_repeats_are_asked_anew_and_their_mean_counts(journal: Journal) -> None:
    judge = score(journal, {("a", "vanilla"): ["0.1"], ("a", "tuned"): ["0.4"]}, n_repeats=3)
    assert sorted(judge.asked) == ["0.1"] * 3 + ["0.4"] * 3
    values = {s.variant: s.value for s in journal.scores()}
    assert values == {"vanilla": pytest.approx(0.11), "tuned": pytest.approx(0.41)}
    assert sorted(s.repeat for s in journal.sample_scores()) == [0, 0, 1, 1, 2, 2]
    again = score(journal, {("a", "vanilla"): ["0.1"], ("a", "tuned"): ["0.4"]}, n_repeats=3)
    assert not again.asked


def test_one_completion_scored_once_leaves_no_sample_scores(journal: Journal) -> None:
    score(journal, {("a", "vanilla"): ["0.1"]})
    assert not journal.sample_scores()
    assert len(journal.scores()) == 1


def test_a_failed_sample_fails_the_case_and_is_tried_again(journal: Journal) -> None:
    texts = {("a", "vanilla"): ["0.1", "bad"], ("a", "tuned"): ["0.5", "0.7"]}
    score(journal, texts)
    (failure,) = journal.failures()
    assert (failure.case_id, failure.variant, failure.stage) == ("a", "vanilla", "judge")
    assert failure.reason.startswith("sample 2: no mark for this one")
    judge = score(journal, {**texts, ("a", "vanilla"): ["0.1", "0.3"]})
    assert judge.asked == ["0.3"]  # what was judged is kept
    assert not journal.failures()


def test_a_limit_keeps_whole_cases_and_goes_on_without_asking_twice(journal: Journal) -> None:
    score(journal, TEXTS, limits=SpendLimits(4))
    n_before = len(journal.scores())
    assert journal.state.halted and n_before < 4
    judge = score(journal, TEXTS)
    assert len(journal.scores()) == 4
    assert len(judge.asked) == 6 - 4


def test_preferences_compare_sample_with_sample(journal: Journal) -> None:
    score(journal, TEXTS, CLOSER)
    rows = {(p.case_id, p.repeat): p.value for p in journal.preferences()}
    assert rows == {
        ("a", 0): 1.0,
        ("a", 1100): 1.0,
        ("a", 1200): 1.0,
        ("b", 0): 0.5,  # equal
        ("b", 1100): 0.0,  # empty
        ("b", 1200): 1.0,
    }
    evidence = Evidence(CASES, PAIR, (CLOSER.spec,), (), (), journal.preferences())
    gains = gains_by_sample(evidence, CLOSER.spec, "tuned", ())
    assert gains == {"a": [[0.5]] * 3, "b": [[0.0], [-0.5], [0.5]]}
    assert not missing_items(
        items_to_score(CASES, samples(TEXTS), [CLOSER], pairs=[Contrast("tuned", "vanilla")]),
        journal,
    )


def test_the_forecast_counts_every_sample_and_repeat(journal: Journal) -> None:
    items = items_to_score(CASES, samples(TEXTS), [MARKED])
    for n_repeats, n_calls in ((1, 6), (3, 18)):  # equal samples of a case count once
        text = forecast_text(items, Judging((CountingJudge(),), n_repeats=n_repeats))
        assert f"about {n_calls} calls" in text


def test_gains_are_paired_by_sample_and_the_first_ones_can_be_looked_at_alone() -> None:
    scores = [
        SampleScore("a", name, "Marked", sample, value, repeat)
        for name, sample, repeat, value in (
            ("vanilla", 0, 0, 0.1),
            ("vanilla", 1, 0, 0.2),
            ("vanilla", 2, 0, 0.9),
            ("tuned", 0, 0, 0.4),
            ("tuned", 0, 1, 0.6),
            ("tuned", 1, 0, 0.3),
        )
    ]
    means = (Score("a", "vanilla", "Marked", 0.4), Score("a", "tuned", "Marked", 0.4))
    evidence = Evidence(CASES, PAIR, (SPEC,), means)
    gains = gains_by_sample(evidence, SPEC, "tuned", scores)
    assert gains == {"a": [[pytest.approx(0.3)], [pytest.approx(0.1)]]}
    firsts = of_first_samples(evidence, scores)
    assert [one.value for one in firsts.scores] == [0.1, 0.4]
    assert of_first_samples(evidence, []) is evidence


def test_consistency_counts_equal_answers_and_equal_scores() -> None:
    texts = {("a", "x"): ["Yes. ", "yes."], ("b", "x"): ["No", "Yes"], ("a", "y"): ["1"]}
    made = dict[tuple[str, str], list[Completion]]()
    for one in samples(texts):
        made.setdefault((one.case_id, one.variant), []).append(one)
    scores = [
        SampleScore(c, "x", "M", s, v)
        for c, s, v in (("a", 0, 1.0), ("a", 1, 1.0), ("b", 0, 0.0), ("b", 1, 1.0))
    ]
    one, other = consistency_of(made, ["x", "y"], scores, "M")
    assert (one.n, one.n_same_text, one.n_scored, one.n_same_score) == (2, 1, 2, 1)
    assert other.n == 0
    graded = [replace(score, value=0.5) for score in scores]
    assert consistency_of(made, ["x"], graded, "M")[0].n_scored == 0


def test_a_pair_that_needs_no_judge_counts_as_one_sample_however_often_others_are_asked(
    journal: Journal,
) -> None:
    texts = {("a", "vanilla"): ["0.1", "0.5"], ("a", "tuned"): ["0.5", "0.5"]}
    score(journal, texts, CLOSER, n_repeats=3)
    (found,) = combine_all(journal.preferences()).values()
    assert found.value == 0.75  # a win and a tie

"""What the training data shows: gains by mark, words for the gap, the verdict on clean cases."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from plugin.compare.comparisons import VerdictSettings, compare, summarise
from plugin.compare.pairs import Evidence
from plugin.compare.verdict import decide_verdict
from plugin.memorisation.report import (
    Mean,
    Memorisation,
    compare_marks,
    memorisation_of,
    word_for,
)
from plugin.memorisation.words import lead_with_clean, memorisation_lines
from plugin.records import MetricSpec, Score, Variant
from plugin.report.memorisation_chart import memorisation_svg
from plugin.results import Comparison, Verdict
from plugin.training_facts import (
    AnswerReading,
    CaseMark,
    Mark,
    Recital,
    Side,
    TrainingFacts,
    VerbatimText,
)
from tests.memorisation.samples import make_case

METRIC = MetricSpec("correctness", "Correctness", higher_is_better=True)
SETTINGS = VerdictSettings("Correctness", seed=0, n_resamples=500)


def mark(number: int, kind: Mark) -> CaseMark:
    return CaseMark(str(number), kind, 1.0 if kind == "copied" else 0.1)


def evidence(marks: Sequence[Mark]) -> Evidence:
    """The tuned model gains 0.4 or so on copied cases, 0.2 on near ones, nothing on clean ones."""
    gain = {"copied": 0.4, "near": 0.2, "clean": 0.0}
    cases = [make_case(n, f"What is {n}?", "x") for n, _ in enumerate(marks)]
    scores = []
    for number, (case, kind) in enumerate(zip(cases, marks, strict=True)):
        noise = (-0.1, 0.1, -0.05, 0.05)[number % 4]
        scores.append(Score(case.id, "vanilla", "Correctness", 0.4))
        scores.append(Score(case.id, "tuned", "Correctness", 0.4 + gain[kind] + noise))
    variants = [Variant("vanilla", "v", "m"), Variant("tuned", "t", "m", "a")]
    return Evidence(cases, variants, [METRIC], scores)


def training(marks: Sequence[Mark], **more: object) -> TrainingFacts:
    found = tuple(mark(n, kind) for n, kind in enumerate(marks))
    return TrainingFacts(("train.jsonl",), "d", 30, marks=found, **more)  # type: ignore[arg-type]


def led(marks: Sequence[Mark]) -> tuple[Memorisation, Verdict]:
    own, facts = evidence(marks), training(marks)
    rows = compare(own, SETTINGS)
    verdict = decide_verdict(own, summarise(own, SETTINGS), rows, SETTINGS)
    memory = memorisation_of(facts, own, SETTINGS)

    def as_they_are(found: tuple[Comparison, ...]) -> tuple[Comparison, ...]:
        return found

    if memory.leads:
        verdict, _ = lead_with_clean(verdict, rows, own, facts, SETTINGS, as_they_are)
    return memory, verdict


def test_the_gain_stands_by_mark_with_the_number_of_cases() -> None:
    memory, _ = led(["copied"] * 40 + ["near"] * 20 + ["clean"] * 40)
    line = memorisation_lines(memory)[1]
    assert line.startswith("Correctness, tuned: gain +0.2")
    assert " on copied, +0." in line and " on near, " in line
    assert "on clean cases (n=40, 95% interval " in line
    found = {one.mark: (one.gain.n, round(one.gain.mean or 0, 1)) for one in memory.gains}
    expected = {"all": (100, 0.2), "copied": (40, 0.4), "near": (20, 0.2), "clean": (40, 0.0)}
    assert found == expected


def test_the_clean_verdict_is_the_headline_where_many_cases_are_not_clean() -> None:
    memory, verdict = led(["copied"] * 40 + ["clean"] * 60)
    assert memory.leads
    assert verdict.sentence.startswith(
        "On the 60 of 100 cases that are not in the training data: tuned and vanilla are equivalent"
    )
    assert verdict.outcome == "equivalent"
    assert verdict.details[0].startswith("Over all 100 cases: tuned is better than vanilla")


@pytest.mark.parametrize(("n_copied", "leads"), [(0, False), (20, False), (21, True)])
def test_the_share_decides_which_verdict_leads(n_copied: int, leads: bool) -> None:
    memory, verdict = led(["copied"] * n_copied + ["clean"] * (100 - n_copied))
    assert memory.leads == leads
    assert ("not in the training data" in verdict.sentence) == leads
    said = "More than 20% of the cases are not clean" in " ".join(memorisation_lines(memory))
    assert said == leads


def test_without_a_clean_case_nothing_can_be_told() -> None:
    memory, verdict = led(["copied"] * 30 + ["near"] * 10)
    assert verdict.outcome == "can't tell"
    assert "all 40 cases stand in the training data" in verdict.sentence
    assert "no clean case" in memorisation_lines(memory)[1]


def test_one_variant_alone_has_no_gain() -> None:
    own = evidence(["copied"] * 5)
    alone = Evidence(own.cases, own.variants[:1], own.metrics, own.scores)
    memory = memorisation_of(training(["copied"] * 5), alone, SETTINGS)
    assert memory.gains == ()
    assert memorisation_lines(memory)[0] == (
        "Training data (30 rows): of 5 cases, 5 are copied from it, 0 are near to it, 0 are clean."
    )


def recital(row: int, variant: str, n_same: int) -> Recital:
    return Recital(f"train.jsonl, row {row}", variant, 10, n_same, "tokens", "target", "said")


def test_recitals_are_counted_beside_the_base() -> None:
    recitals = [recital(row, "vanilla", row % 3) for row in range(20)]
    recitals += [recital(row, "tuned", 10 if row < 15 else 2) for row in range(20)]
    leaks = (VerbatimText("0", "tuned", 14, False, "r", "t"),)
    leaks += (VerbatimText("25", "tuned", 14, False, "r", "t"),)
    marks: list[Mark] = ["copied"] * 20 + ["clean"] * 20
    facts = training(marks, recitals=tuple(recitals), verbatim=leaks)
    memory = memorisation_of(facts, evidence(marks), SETTINGS)
    text = " ".join(memorisation_lines(memory))
    assert "tuned recites 15 of 20 training answers, vanilla 0." in text
    assert "In one piece it writes 80% of an answer, vanilla 10%" in text
    assert "2 completions of tuned hold training text word for word" in text
    assert "1 of them on clean cases" in text
    over = memory.recitals[1].over_base
    assert over and over.ci_low and over.ci_low > 0.4


def side(mean: float, n: int = 20) -> Mean:
    return Mean(n, mean, mean - 0.2, mean + 0.2)


@pytest.mark.parametrize(
    ("trained", "rephrased", "unseen", "word"),
    [
        (2.0, 1.9, 1.8, "generalised"),
        (2.0, 1.9, 1.0, "generalised"),
        (2.0, 1.5, 0.1, "partly generalised"),
        (2.0, 0.2, 0.7, "partly generalised"),
        (2.0, 0.6, 0.1, "memorised"),
        (2.0, 0.1, -1.0, "memorised"),
        (0.1, 0.1, 0.1, "not learned"),
        (-1.0, 0.1, 0.1, "not learned"),
    ],
)
def test_the_word_follows_from_the_gains(
    trained: float, rephrased: float, unseen: float, word: str
) -> None:
    sides: dict[Side, Mean] = {
        "trained": side(trained),
        "rephrased": side(rephrased),
        "unseen": side(unseen),
    }
    assert word_for(sides) == word


def test_too_few_unseen_answers_tell_nothing() -> None:
    assert word_for({"trained": side(2), "unseen": side(0, n=4)}) == "can't tell"
    assert word_for({"trained": side(2)}) == "can't tell"
    assert word_for({"trained": Mean(1, 2.0, None, None), "unseen": side(0)}) == "can't tell"


def gap_facts() -> TrainingFacts:
    kinds: tuple[tuple[Side, float], ...] = (("trained", 3.0), ("rephrased", 0.4), ("unseen", 0.1))
    rng, readings = random.Random(1), []
    for kind, gain in kinds:
        for n in range(12):
            readings.append(AnswerReading(kind, str(n), "vanilla", -8.0, 2))
            own = -8.0 + 2 * (gain + rng.uniform(-0.1, 0.1))
            readings.append(AnswerReading(kind, str(n), "a<b & c", own, 2))
    return training(["clean"] * 3, readings=tuple(readings))


def test_the_picture_shows_three_gains_for_each_variant() -> None:
    own = evidence(["clean"] * 3)
    variants = [own.variants[0], Variant("a<b & c", "t", "m", "a")]
    own = Evidence(own.cases, variants, [METRIC], own.scores)
    memory = memorisation_of(gap_facts(), own, SETTINGS)
    assert memory.gaps[0].word == "memorised"
    svg = memorisation_svg(memory)
    for text in ("trained", "rephrased", "unseen", "a&lt;b &amp; c: memorised", "+3.0"):
        assert text in svg, text
    assert "It keeps 1" in " ".join(memorisation_lines(memory))


def test_there_is_no_picture_without_readings() -> None:
    assert memorisation_svg(None) == ""
    memory = memorisation_of(training(["clean"] * 3), evidence(["clean"] * 3), SETTINGS)
    assert memorisation_svg(memory) == ""


@pytest.mark.parametrize(
    ("clean", "own", "same"), [(0.3, 0.35, True), (0.02, 0.03, False), (0.1, 0.6, False)]
)
def test_the_same_source_is_named_with_what_that_means(
    clean: float, own: float, same: bool
) -> None:
    facts = training(["clean"] * 9, clean_similarity=clean, own_similarity=own)
    lines = " ".join(memorisation_lines(memorisation_of(facts, evidence(["clean"] * 9), SETTINGS)))
    assert ("both come from the same source" in lines) == same


def test_items_of_general_ability_in_the_training_data_are_counted() -> None:
    facts = training(["clean"] * 3, items=(mark(1, "copied"),), n_items=1_200)
    lines = memorisation_lines(memorisation_of(facts, evidence(["clean"] * 3), SETTINGS))
    assert lines[-1].startswith("1 of 1,200 questions of general ability stand in the training")


def by_group(rows: Sequence[Comparison]) -> dict[str, tuple[str, str | None, int]]:
    return {row.group: (row.role, row.outcome, row.n) for row in rows}


def test_each_mark_is_compared_as_a_group_and_corrected_for_their_number() -> None:
    marks: list[Mark] = ["copied"] * 20 + ["near"] * 20 + ["clean"] * 60
    own = evidence(marks)
    own = replace(own, cases=[replace(case, group="g", retention=True) for case in own.cases])
    rows = compare_marks(training(marks), own, SETTINGS)
    assert by_group(rows) == {
        "copied cases": ("exploratory", "better", 20),
        "near cases": ("exploratory", "better", 20),
        "clean cases": ("exploratory", "equivalent", 60),
    }
    assert {row.n_family for row in rows} == {3}


def test_a_mark_that_all_cases_have_is_no_group() -> None:
    marks: list[Mark] = ["clean"] * 30
    assert compare_marks(training(marks), evidence(marks), SETTINGS) == ()


def test_a_group_of_the_same_name_is_told_apart() -> None:
    marks: list[Mark] = ["copied"] * 5 + ["clean"] * 5
    own = evidence(marks)
    own = replace(own, cases=[replace(case, group="clean cases") for case in own.cases])
    rows = compare_marks(training(marks), own, SETTINGS)
    assert set(by_group(rows)) == {"copied cases", "clean cases (training data)"}

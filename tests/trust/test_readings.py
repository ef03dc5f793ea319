"""In how many readings a result holds, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from plugin.compare.comparisons import VerdictSettings, compare
from plugin.compare.pairs import Evidence
from plugin.metrics import METRICS
from plugin.records import Completion, JudgeScore, Preference, Score, Variant
from plugin.trust.readings import given_by_judge, other_readings, readings_line
from plugin.trust.records import Reading, WordingCheck
from tests.samples import case

NAMES = ("vanilla", "tuned")
CORRECTNESS, PREFERENCE = METRICS["correctness"].spec, METRICS["preference"].spec
SETTINGS = VerdictSettings(primary_metric="Correctness", seed=1, n_resamples=1_000)
CASES = [case(str(i)) for i in range(60)]
STEPS = [0.1, 0.2, 0.3, 0.4]


def evidence_of(tuned, base=(0.3,), spec=CORRECTNESS):
    scores = [
        Score(each.id, name, spec.name, given[int(each.id) % len(given)])
        for each in CASES
        for name, given in (("tuned", tuned), ("vanilla", base))
    ]
    return Evidence(CASES, [Variant(name, name, "m") for name in NAMES], [spec], scores)


def read(evidence, by_judge=None, cut=(), wordings=()):
    (row,) = [row for row in compare(evidence, SETTINGS) if row.group == "all"]
    made = {
        (each.id, name): Completion(
            each.id,
            name,
            "x",
            (),
            "length" if each.id in cut and name == "tuned" else "stop",
            None,
            1,
        )
        for each in CASES
        for name in NAMES
    }
    return other_readings(evidence, row, wordings, by_judge or {}, made, SETTINGS)


def given(tuned, base=0.3):
    own = {(each.id, "tuned"): tuned[int(each.id) % len(tuned)] for each in CASES}
    return own | {(each.id, "vanilla"): base for each in CASES}


def wording(place, holds, metric="Correctness"):
    return WordingCheck(metric, place, "x", False, 16, 0, 0.0, 0.0, 8, 0.1, 0.1, 1.0, holds)


def test_a_run_without_panel_cut_offs_or_wordings_has_no_other_reading():
    assert read(evidence_of([0.5, 0.7])) == ()
    assert readings_line("Correctness", ()) == ""


def test_each_judge_of_a_panel_is_a_reading():
    found = read(
        evidence_of([0.5, 0.6, 0.7, 0.8]),
        {
            "a": given([0.6, 0.7, 0.8, 0.9]),
            "b": given([0.2, 0.3, 0.4, 0.3]),
            "c": given([0.1, 0.2]),
        },
    )
    assert [(one.name, one.holds) for one in found] == [
        ("judge a alone", True),  # a larger gain, but better all the same
        ("judge b alone", False),
        ("judge c alone", False),
    ]
    assert [one.gain for one in found] == pytest.approx([0.45, 0.0, -0.15])
    assert readings_line("Correctness", found) == (
        "The result on Correctness holds in 1 of 3 other readings (judge a alone); it does not "
        f"hold in: judge b alone (gain {found[1].gain:+.2f}, n=60), judge c alone (gain -0.15, "
        "n=60)."
    ).replace("+0.00", "0.00").replace("-0.00", "0.00")


def test_cases_with_cut_off_answers_are_left_out():
    """All of the gain comes from the answers of 15 cases that were cut off."""
    evidence = evidence_of([1.0, 0.3, 0.3, 0.3])
    cut = {str(i) for i in range(0, 60, 4)}
    (only,) = read(evidence, cut=cut)
    assert (only.name, only.n, only.gain) == ("without 15 cases with cut-off answers", 45, 0.0)
    assert only.holds is False
    (few,) = read(evidence, cut={"1", "2"})
    assert (few.n, few.holds) == (58, True)


def test_wordings_count_and_those_that_cannot_tell_do_not():
    found = read(
        evidence_of([0.5, 0.7]),
        wordings=[wording(0, True), wording(1, None), wording(0, False, "Rubric")],
    )
    assert [(one.name, one.holds) for one in found] == [
        ("other wording 1", True),
        ("other wording 2", None),
    ]
    assert readings_line("Correctness", found) == (
        "The result on Correctness holds in 1 of 1 other readings (other wording 1)."
    )
    assert readings_line("Correctness", [Reading("x", 3, 0.1, None, None, None)]) == ""


def test_a_reading_holds_if_it_contains_the_gain_even_where_its_own_outcome_is_open():
    evidence = evidence_of([0.4, 0.6, 0.2, 0.6])
    (noisy,) = read(evidence, {"a": given([1.0, 0.0, 0.0, 0.6])})
    assert noisy.ci_low < 0 < 0.15 < noisy.ci_high and noisy.holds is True


def test_what_each_judge_gave():
    scores = [
        JudgeScore("1", "tuned", "Correctness", "a", 0.5),
        JudgeScore("1", "tuned", "Correctness", "b", 0.7),
        JudgeScore("1", "tuned", "Other", "b", 0.9),
        JudgeScore("1", "tuned", "Correctness", "second", 1.0),
    ]
    assert given_by_judge(CORRECTNESS, "vanilla", scores, (), "second") == {
        "a": {("1", "tuned"): 0.5},
        "b": {("1", "tuned"): 0.7},
    }
    assert given_by_judge(CORRECTNESS, "vanilla", scores[:1], (), "") == {}  # no panel
    rows = [
        Preference("1", "tuned", base, "Preference", 1, 1, value, None, judge, repeat)
        for base, value, judge, repeat in (
            ("vanilla", 1.0, "a", 0),
            ("vanilla", 0.0, "b", 0),
            ("vanilla", 0.5, "b", 1),
            ("prompted", 0.5, "a", 0),
        )
    ]
    equal = Preference("2", "tuned", "vanilla", "Preference", None, None, 0.5)
    assert given_by_judge(PREFERENCE, "vanilla", (), [*rows, equal], "") == {
        "a": {("1", "tuned"): 1.0, ("2", "tuned"): 0.5},
        "b": {("1", "tuned"): 0.0, ("2", "tuned"): 0.5},
    }


def test_a_judges_preferences_are_read_as_wins_over_the_base():
    bare = evidence_of([1.0, 1.0, 0.5, 0.0], (0.5,), PREFERENCE)
    rows = [
        Preference(one.case_id, "tuned", "vanilla", "Preference", None, None, one.value)
        for one in bare.scores
        if one.variant == "tuned"
    ]
    evidence = replace(bare, preferences=rows)
    wins = {(each.id, "tuned"): float(int(each.id) % 4 > 0) for each in CASES}
    (only,) = read(evidence, {"a": wins})
    assert (only.n, only.gain, only.holds) == (60, 0.25, True)

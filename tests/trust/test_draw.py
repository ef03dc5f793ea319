"""What the exam asks: rounds within a budget, by hand."""

from __future__ import annotations

import pytest

from plugin.compare.pairs import Contrast
from plugin.metrics import METRICS
from plugin.records import Preference
from plugin.trust.draw import (
    FLOOR,
    N_RETEST_CASES,
    Probe,
    pair_retests,
    questions_allowed,
    rewordings,
    take_rounds,
)
from plugin.trust.wordings import N_WORDING_CASES
from tests.samples import case

PREFERENCE, RUBRIC = METRICS["preference"].spec, METRICS["rubric"].spec
CASES = [case(str(i), input=f"Who is {i}?") for i in range(40)]
TEXTS = {
    each.id: {"vanilla": f"Nobody {each.id}.", "tuned": f"Richard {each.id}."} for each in CASES
}
CONTRAST = Contrast("tuned", "vanilla")


def probe(kind, case_id, n_questions=1):
    return Probe(kind, case(case_id), "", "m", "text", n_questions=n_questions)


@pytest.mark.parametrize(
    ("n_run", "n_judges", "allowed"),
    [
        (0, 1, 60),
        (300, 1, 60),
        (301, 1, 60),
        (305, 1, 61),
        (4_000, 1, 800),
        (60, 3, 20),
        (400, 3, 80),
    ],
)
def test_a_fifth_of_the_questions_or_sixty_whichever_is_more(n_run, n_judges, allowed):
    assert questions_allowed(n_run, n_judges) == allowed
    assert n_judges * allowed <= max(FLOOR, 0.2 * n_run * n_judges)


def test_a_small_budget_takes_fewer_cases_of_every_kind():
    columns = [
        [(probe("a", "1"),), (probe("a", "2"),), (probe("a", "3"),)],
        [(probe("b", "1", 2), probe("b+", "1", 2)), (probe("b", "2", 2), probe("b+", "2", 2))],
        [(probe("c", "1"),)],
    ]

    def taken(n_allowed):
        return [(one.kind, one.case.id) for one in take_rounds(columns, n_allowed)]

    first_round = [("a", "1"), ("b", "1"), ("b+", "1"), ("c", "1")]
    assert taken(0) == []
    assert taken(4) == [("a", "1")]  # the pair of probes fits as a whole, or not at all
    assert taken(6) == first_round
    assert taken(7) == [*first_round, ("a", "2")]
    assert taken(100) == [*first_round, ("a", "2"), ("b", "2"), ("b+", "2"), ("a", "3")]


def test_pairs_that_a_judge_compared_are_compared_again_the_variants_in_turn():
    rows = [
        Preference(each.id, name, "vanilla", "Preference", 1, 1, 1.0)
        for each in CASES
        for name in ("tuned", "other")
    ]
    texts = {case_id: {**own, "other": "Someone."} for case_id, own in TEXTS.items()}
    unasked = [Preference("0", "tuned", "vanilla", "Preference", None, None, 0.5)]
    found = pair_retests(PREFERENCE, CASES, texts, [*unasked, *rows[2:]])
    assert len(found) == N_RETEST_CASES
    assert [one.variant for (one,) in found[:3]] == ["other", "tuned", "other"]
    (second,) = found[1]
    assert (second.case.id, second.text, second.against) == ("2", "Richard 2.", "Nobody 2.")
    assert (second.baseline, second.n_questions) == ("vanilla", 2)


def test_other_wordings_score_both_variants_and_compare_them_once():
    scored = rewordings(RUBRIC, CASES, TEXTS, CONTRAST, n_wordings=2, must_be_written=False)
    assert len(scored) == N_WORDING_CASES
    assert [(p.kind, p.variant, p.wording, p.text, p.n_questions) for p in scored[0]] == [
        ("other wording 1", "tuned", 0, "Richard 0.", 1),
        ("other wording 1", "vanilla", 0, "Nobody 0.", 1),
        ("other wording 2", "tuned", 1, "Richard 0.", 1),
        ("other wording 2", "vanilla", 1, "Nobody 0.", 1),
    ]
    compared = rewordings(PREFERENCE, CASES, TEXTS, CONTRAST, n_wordings=2, must_be_written=True)
    # The first two probes also pay for the question that writes their wording.
    assert [[p.n_questions for p in bundle] for bundle in compared[:2]] == [[3, 3], [2, 2]]
    assert all(p.against and p.variant == "tuned" for bundle in compared for p in bundle)


def test_equal_and_missing_completions_are_not_compared_under_other_wordings():
    texts = {"0": {"vanilla": "Same.", "tuned": "Same. "}, "1": {"vanilla": "Alone."}}
    found = rewordings(PREFERENCE, CASES, texts, CONTRAST, n_wordings=2, must_be_written=False)
    assert found == []

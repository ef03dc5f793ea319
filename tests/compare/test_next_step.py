"""A test for every branch of the next step, and for the order of its rules."""

from dataclasses import replace

import pytest

from plugin.compare.next_step import Standing, next_step
from plugin.records import ALL, PROMPTED
from plugin.results import WAITING, Comparison, Harm, NextKind, Verdict
from tests.conftest import ROOT

ROW = Comparison(
    metric="Correctness", variant="tuned", baseline="vanilla", group=ALL, n=200,
    n_failed_variant=0, n_failed_baseline=0, variant_mean=0.7, baseline_mean=0.5, difference=0.2,
    gain=0.2, ci_low=0.15, ci_high=0.25, p_value=0.001, p_adjusted=0.001, outcome="better",
    method="", margin=0.05, n_to_detect=None, smallest_detectable=None, holds_at_worst=True,
    wins=100, losses=40, higher_is_better=True,
)  # fmt: skip
OPEN = {"outcome": "can't tell", "gain": 0.01, "ci_low": -0.05, "ci_high": 0.07}


def guard(name, outcome, **changes):
    return replace(ROW, metric=name, role="guard", outcome=outcome, **changes)


def said(row=ROW, *others, names=("vanilla", "tuned"), verdict=None, **facts):
    """The next step of a run whose primary comparison is `row`."""
    harms = tuple(
        Harm(one.variant, one.metric, one.group, -0.2, None, None, 9)
        for one in others
        if one.outcome == "lost"
    )
    verdict = verdict or Verdict(row.outcome, "So it is.", (), "Correctness", "tuned", harms)
    found = next_step(Standing(verdict, (row, *others), names, **facts))
    return found.kind, found.text


@pytest.mark.parametrize(
    ("kind", "part", "facts"),
    [
        (NextKind.RAISE_LIMIT, "Raise --max_tokens", {"is_unfinished_thinking": True}),
        (NextKind.FIX_ADAPTER, "Do not ship tuned: it changes n", {"certificate": "no effect"}),
        (NextKind.FIX_ADAPTER, "only a part of tuned", {"certificate": "partial"}),
        (NextKind.FIX_ADAPTER, "left the base model changed", {"certificate": "base disturbed"}),
        (NextKind.FINISH, "resume it", {"is_partial": True}),
        (
            NextKind.FINISH,
            "--max_calls 40 is reached. Raise that limit",
            {"is_partial": True, "halted": "--max_calls 40 is reached"},
        ),
        (NextKind.REAL_JUDGE, "Ask a real judge (--judge)", {"is_smoke_test": True}),
        (NextKind.OTHER_JUDGE, "the judge is not to be trusted", {"is_distrusted": True}),
        (NextKind.OTHER_JUDGE, "the judge is the model under test", {"judges_itself": True}),
        (NextKind.CHECK, "do not confirm the judge's gain", {"is_unconfirmed": True}),
        (NextKind.CHECK, "signs of collapse", {"collapsed": True}),
        (NextKind.CHECK, "changes in 2 of 4 other readings", {"n_readings": 4, "n_upset": 2}),
    ],
)  # fmt: skip
def test_what_speaks_against_a_better_one_decides(kind, part, facts):
    found, text = said(**facts)
    assert found is kind and part in text
    assert text[0].isupper() and text.endswith(".")


def test_a_better_one_is_shipped_and_the_guards_it_kept_are_named():
    kept = guard("Hallucination", "kept"), guard("Correctness", "kept", group="general")
    assert said(ROW, *kept) == (
        NextKind.SHIP,
        "Ship tuned: it is better than vanilla on Correctness, and kept Hallucination, general.",
    )


def test_without_a_guard_it_says_that_nothing_else_was_tested():
    kind, text = said(n_readings=5, n_upset=2)
    assert kind is NextKind.SHIP
    assert "What else it may have broken was not tested: name it with --guard_metric" in text


def test_what_got_worse_and_guards_nothing_is_looked_at_first():
    worse = replace(ROW, group="hard", role="exploratory", outcome="worse")
    kind, text = said(ROW, worse)
    assert kind is NextKind.SHIP and "Look at hard first" in text


def test_a_lost_guard_forbids_to_ship():
    lost = guard("Correctness", "lost", group="general")
    kind, text = said(ROW, lost)
    assert kind is NextKind.DO_NOT_SHIP
    assert text.startswith("Do not ship tuned, because it got worse on general. Add such cases")


def test_a_slow_model_is_not_told_to_train_on_such_cases():
    harm = Harm("tuned", WAITING, ALL, -1.0, -1.2, -0.8, 100)
    verdict = Verdict("better", "So it is.", (), "Correctness", "tuned", (harm,))
    assert said(verdict=verdict) == (
        NextKind.DO_NOT_SHIP,
        "Do not ship tuned, because it got worse on Latency under load. Have it answer more "
        "briefly, or give the server more room, then measure again.",
    )


def test_another_one_that_lost_nothing_is_named():
    lost, other = guard("Toxicity", "lost"), replace(ROW, variant="other", gain=0.1)
    _, text = said(ROW, lost, other, names=("vanilla", "tuned", "other"))
    assert "Look at other: it is better than vanilla, too, and lost nothing." in text


def test_another_one_that_lost_something_is_not_named():
    lost, other = guard("Toxicity", "lost"), replace(ROW, variant="other", gain=0.1)
    too = guard("Toxicity", "lost", variant="other")
    _, text = said(ROW, lost, other, too, names=("vanilla", "tuned", "other"))
    assert "Look at" not in text


def test_a_worse_one_is_not_shipped():
    kind, text = said(replace(ROW, outcome="worse", gain=-0.2))
    assert kind is NextKind.DO_NOT_SHIP and "because it is worse than vanilla" in text


def test_equivalent_keeps_the_base():
    kind, text = said(replace(ROW, outcome="equivalent"))
    assert kind is NextKind.KEEP_BASE
    assert text.startswith(
        "Keep vanilla: tuned makes no difference as large as your margin of 0.05"
    )


@pytest.mark.parametrize(("end", "part"), [("worst", "easier cases"), ("best", "harder cases")])
def test_at_an_end_of_the_scale_other_cases_are_asked_for(end, part):
    for outcome in ("equivalent", "can't tell"):
        kind, text = said(replace(ROW, outcome=outcome, stuck_at=end))
        assert kind is NextKind.OTHER_CASES and part in text


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        (
            {"n_to_detect": 348},
            "Collect about 148 more cases: 348 in all find a gain of 0.05 (your margin)",
        ),
        ({"n_to_detect": 41, "n_clusters": 40}, "Collect about 1 more cluster: 41 in all"),
        (
            {"n_if_alike": 1_400},
            "about 1,200 more cases: if they are like these, 1,400 in all would tell",
        ),
        ({}, "Collect more cases: how many would tell cannot be known"),
        ({"n_to_detect": 2_000_000}, "Choose a larger --margin or a steadier metric"),
        (
            {"n_to_detect": 150, "n_for_equivalence": 260},
            "Keep vanilla, or collect about 60 more cases: 260 in all can show that there is no",
        ),
        ({"n_to_detect": 150}, "Keep vanilla, or collect more cases: these would probably"),
    ],
)
def test_an_open_answer_says_how_many_more_cases(changes, part):
    kind, text = said(replace(ROW, **OPEN, **changes))
    assert kind is NextKind.COLLECT and part in text


def test_failed_scores_come_first_where_they_could_change_the_answer():
    failed = replace(ROW, **OPEN, holds_at_worst=False, n_failed_variant=3, n_to_detect=300)
    assert said(failed)[0] is NextKind.FIX_FAILURES
    assert "04_failures.csv" in said(failed)[1]
    again = replace(failed, n_retryable=3)
    assert said(again) == (NextKind.FIX_FAILURES, "Resume the run: 3 failed scores are missing.")
    assert said(replace(ROW, **OPEN | {"gain": None}, n=0))[0] is NextKind.FIX_FAILURES


def test_failed_scores_come_before_other_cases():
    failed = replace(ROW, **OPEN, holds_at_worst=False, n_failed_variant=3, stuck_at="worst")
    assert said(failed)[0] is NextKind.FIX_FAILURES


def beside(outcome, share=None, **changes):
    over = replace(ROW, baseline=PROMPTED, outcome=outcome, **changes)
    verdict = Verdict("better", "", (), "Correctness", "tuned", prompt_share=share)
    return said(ROW, over, names=("vanilla", PROMPTED, "tuned"), verdict=verdict)


def test_a_prompt_that_does_as_well_is_used_instead():
    assert "Use the prompt instead of tuned: it is as good" in beside("equivalent", 0.99)[1]
    kind, text = beside("worse", 1.4)
    assert kind is NextKind.USE_PROMPT and "it is better, and needs no upkeep" in text


def test_a_prompt_that_reaches_most_of_the_gain_makes_upkeep_a_question():
    kind, text = beside("better", 0.8)
    assert kind is NextKind.WEIGH_UPKEEP
    assert text == "Weigh the upkeep of tuned: a prompt alone reaches 80% of its gain."
    assert beside("better", 0.79)[0] is NextKind.SHIP
    assert beside("better", None)[0] is NextKind.SHIP


def test_a_prompt_that_is_not_shown_to_be_beaten_makes_upkeep_a_question():
    kind, text = beside("can't tell", 0.6, n_to_detect=260)
    assert kind is NextKind.WEIGH_UPKEEP
    assert "not shown to beat a prompt (about 60 more cases would tell)" in text
    assert beside("can't tell", 0.6)[1].endswith("not shown to beat a prompt.")


def test_a_gain_below_the_margin_makes_upkeep_a_question():
    kind, text = said(replace(ROW, gain=0.02, ci_low=0.01, ci_high=0.03))
    assert kind is NextKind.WEIGH_UPKEEP and "less than your margin of 0.05" in text


def test_few_cases_are_confirmed_first():
    kind, text = said(replace(ROW, n=24))
    assert kind is NextKind.CHECK and "24 cases may be too few" in text


def test_an_unclear_guard_is_decided_on_first():
    unclear = guard("Faithfulness", "unclear", n_to_detect=500)
    kind, text = said(ROW, guard("Toxicity", "kept"), unclear)
    assert kind is NextKind.CHECK
    assert "not knowing if it got worse on Faithfulness (about 300 more cases would tell)" in text


def test_a_prompt_alone_is_used_not_shipped():
    row = replace(ROW, variant=PROMPTED)
    verdict = Verdict("better", "", (), "Correctness", PROMPTED)
    kind, text = said(row, names=("vanilla", PROMPTED), verdict=verdict)
    assert kind is NextKind.SHIP and text.startswith("Use the prompt: it is better than vanilla")


def test_a_single_variant_is_to_be_compared():
    verdict = Verdict(None, "There is nothing to compare.", (), "Correctness")
    found = next_step(Standing(verdict, (), ("vanilla",)))
    assert found.kind is NextKind.COMPARE and "--model_adapter" in found.text
    assert next_step(Standing(verdict, (), ("vanilla",), is_partial=True)).kind is NextKind.FINISH
    alone = Standing(verdict, (), ("vanilla",), is_unfinished_thinking=True)
    assert next_step(alone).kind is NextKind.RAISE_LIMIT


def test_what_makes_the_numbers_void_comes_before_all_else():
    lost = guard("Toxicity", "lost")
    everything = {
        "is_unfinished_thinking": True, "certificate": "no effect", "is_partial": True,
        "is_smoke_test": True, "is_distrusted": True, "collapsed": True,
    }  # fmt: skip
    kinds = [said(ROW, lost, **dict(list(everything.items())[n:]))[0] for n in range(6)]
    assert kinds == [
        *(NextKind.RAISE_LIMIT, NextKind.FIX_ADAPTER, NextKind.FINISH),
        *(NextKind.REAL_JUDGE, NextKind.OTHER_JUDGE, NextKind.DO_NOT_SHIP),
    ]


def test_the_documents_explain_every_kind():
    text = (ROOT / "docs" / "verdict.md").read_text(encoding="utf-8")
    section = text.partition("## What to do next")[2].partition("\n## ")[0]
    assert [kind for kind in NextKind if f"`{kind}`" not in section] == []

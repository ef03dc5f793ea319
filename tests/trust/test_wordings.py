"""How far results hang on the wording: by hand, and through a real local server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plugin import judges, metrics
from plugin.compare.comparisons import VerdictSettings
from plugin.compare.pairs import Evidence
from plugin.compare.relative import win_scores
from plugin.journal import Journal
from plugin.judges.panel import Judging
from plugin.metrics import METRICS
from plugin.metrics.entry import Criterion, PreferenceGuide
from plugin.metrics.wording import known_rewordings
from plugin.records import Score, Variant
from plugin.run_facts import ProbeResult
from plugin.score import items_to_score, score_all
from plugin.trust.draw import FLOOR
from plugin.trust.exam import Exam
from plugin.trust.wordings import check_wordings, is_wording, wording_kind, wording_line
from plugin.worker import Progress
from tests.judge_server import JudgeServer, Reply, answers_shown, choosing
from tests.samples import case, completion

NAMES = ("vanilla", "tuned")
VARIANTS = [Variant(name, name, "m") for name in NAMES]
SETTINGS = VerdictSettings(primary_metric="Rubric", seed=1, n_resamples=1_000)
RUBRIC, PREFERENCE = METRICS["rubric"].spec, METRICS["preference"].spec
CASES = [case(str(i), input=f"Who is {i}?") for i in range(30)]


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "run")


def check(spec, first, again, wordings=(("Other words.",),), cases=CASES):
    """Check the wordings of one metric; `first` and `again` are values by (case, variant)."""
    scores = [Score(*place, spec.name, value) for place, value in first.items()]
    results = [
        ProbeResult(wording_kind(0), *place, spec.name, value) for place, value in again.items()
    ]
    evidence = Evidence(cases, VARIANTS, [spec], scores)
    return check_wordings(results, {spec.name: wordings}, evidence, SETTINGS)


def values(tuned, base, n=30):
    places = [(str(i), name) for i in range(n) for name in NAMES]
    given = {"tuned": tuned, "vanilla": base}
    return {place: given[place[1]][int(place[0]) % len(given[place[1]])] for place in places}


def test_scores_that_move_together_leave_the_gain():
    first, again = values([0.8, 0.6], [0.4, 0.5]), values([0.7, 0.5], [0.3, 0.4])
    (row,) = check(RUBRIC, first, again)
    assert (row.metric, row.place, row.text, row.by_judge) == ("Rubric", 0, "Other words.", True)
    assert (row.n_scores, row.n_failed, row.n) == (60, 0, 30)
    assert row.mean_change == pytest.approx(-0.1) and row.mean_size == pytest.approx(0.1)
    assert (row.gain, row.gain_before) == (pytest.approx(0.25), 0.25)
    assert row.p_value == 1.0 and row.holds is True
    assert wording_line(row) == (
        "Other wording 1 of Rubric: scores moved by 0.10 on average (mean change -0.10); the gain "
        "on the same 30 cases is +0.25 instead of +0.25 (p=1.000): it holds."
    )


def test_a_few_cases_do_not_show_that_a_wording_holds():
    first, again = values([0.8, 0.6], [0.4, 0.5], n=7), values([0.7, 0.5], [0.3, 0.4], n=7)
    (row,) = check(RUBRIC, first, again)
    assert row.n == 7 and row.holds is None
    assert wording_line(row).endswith("): too few cases to tell.")


def test_a_gain_that_vanishes_under_other_words_does_not_hold():
    first = values([0.9, 0.7, 0.8], [0.4])
    (row,) = check(RUBRIC, first, values([0.4, 0.5, 0.3], [0.4]))
    assert row.gain == pytest.approx(0.0) and row.gain_before == pytest.approx(0.4)
    assert row.p_value == 0.001 and row.holds is False  # 1 of 1,000 resamples
    assert wording_line(row).endswith("(p=0.001): it does not hold.")


def test_preferences_are_compared_as_wins_over_the_base():
    first = {(str(i), "tuned"): 1.0 for i in range(20)} | {
        (str(i), "vanilla"): 0.5 for i in range(20)
    }
    again = {(str(i), "tuned"): float(i % 2) for i in range(20)}
    (row,) = check(PREFERENCE, first, again)
    assert (row.n, row.gain_before, row.gain, row.mean_change) == (20, 0.5, 0.0, -0.5)
    assert row.holds is False


def test_failed_and_unmatched_scores_are_counted_and_left_out():
    first = values([0.8, 0.6], [0.4, 0.5])
    del first["3", "tuned"]
    again = values([0.8, 0.6], [0.4, 0.5])
    again["5", "vanilla"] = None
    (row,) = check(RUBRIC, first, again)
    assert (row.n_scores, row.n_failed, row.n) == (58, 2, 28)
    (lost,) = check(RUBRIC, first, dict.fromkeys(again))
    assert (lost.n, lost.gain, lost.holds) == (0, None, None)
    assert wording_line(lost) == (
        "Other wording 1 of Rubric: the judge gave no scores under it (60 failed)."
    )


def test_our_own_wordings_are_not_the_judges():
    ours = known_rewordings(metrics.load(["Rubric"])[0])
    (row,) = check(RUBRIC, values([1.0], [0.0]), values([1.0], [0.0]), ours)
    assert not row.by_judge and row.text == "\n".join(ours[0])


# The same with a judge.


def run(server, journal, names=(), criteria=(), criterion="", cases=CASES):
    for each in cases:
        for variant, who in zip(NAMES, ("Nobody", "Thomas"), strict=True):
            text = completion(f"Number {each.id} is {who}.", each.id, variant)
            journal.add_answer(f"{variant} {each.id}", text)
    judge = judges.load("custom:m", {"CUSTOM_JUDGE_BASE_URL": server.url}.get)
    chosen = metrics.select(names, criteria, cases, PreferenceGuide(criterion=criterion))
    items = items_to_score(cases, journal.completions().values(), chosen, pairs=[NAMES[::-1]])
    judging = Judging((judge,), concurrency=8, adaptive=False, max_failed_share=1)
    score_all(
        items, judging, journal, Progress(), exam=Exam(cases, chosen, journal, 0, names=NAMES)
    )
    preferences = journal.preferences()
    scores = (*journal.scores(), *win_scores(preferences, "vanilla"))
    evidence = Evidence(cases, VARIANTS, [m.spec for m in chosen], scores, (), preferences)
    state = journal.state
    return check_wordings(state.exam, state.rewordings, evidence, SETTINGS)


def test_a_judge_that_follows_the_words_of_its_criterion_is_found(
    server: JudgeServer, journal: Journal
) -> None:
    def fault(number, body):
        prompt = body["messages"][0]["content"]
        if "Imagine that you had sent the message yourself" in prompt:
            return choosing(lambda a, b: "tie")(number, body)
        return choosing(lambda a, b: "A better" if "Thomas" in a else "B better")(number, body)

    server.fault = fault
    cases = [case(str(i), input=f"Who is {i}?") for i in range(180)]
    first, second = run(server, journal, ("Preference",), cases=cases)
    assert (first.by_judge, first.gain, first.holds) == (False, 0.5, True)
    assert (second.gain_before, second.gain, second.holds) == (0.5, 0.0, False)
    assert second.n == first.n == 8 and second.p_value == 2 / 2**8  # all signs are the same
    assert "Imagine that you had sent the message yourself" in second.text


@pytest.mark.parametrize("kind", ["criterion", "preference"])
def test_a_criterion_of_the_users_is_reworded_once_and_kept(
    kind: str, server: JudgeServer, journal: Journal
) -> None:
    def fault(number, body):
        prompt = body["messages"][0]["content"]
        if "Say the following criterion" not in prompt:
            return None
        style = "plain" if "everyday" in prompt else "formal"
        return Reply(text=json.dumps({"parts": [f"{style} words {i}" for i in range(n_parts)]}))

    server.fault = fault
    if kind == "criterion":
        n_parts = 2
        steps = ("Look for thanks.", "Look for insults.")
        given = {"criteria": (Criterion("Politeness", evaluation_steps=steps),)}
    else:
        n_parts, given = 1, {"criterion": "Which is kinder?"}
    rows = run(server, journal, **given)
    assert [row.by_judge for row in rows] == [True, True]
    assert [row.text.split("\n")[0] for row in rows] == ["plain words 0", "formal words 0"]
    asked = [prompt for prompt in server.prompts if "Say the following criterion" in prompt]
    assert len(asked) == 2
    assert sum("formal words 0" in prompt for prompt in server.prompts) > 4
    n_asked, state = len(server.requests), journal.state
    run(server, journal, **given)
    assert (len(server.requests), journal.state.rewordings) == (n_asked, state.rewordings)


def test_a_criterion_that_cannot_be_reworded_fails_its_probes_alone(
    server: JudgeServer, journal: Journal
) -> None:
    server.fault = lambda number, body: (
        Reply(text="Gladly!") if "Say the following criterion" in str(body) else None
    )
    run(server, journal, criterion="Which is kinder?")
    assert len(journal.preferences()) == 30 and not journal.failures()
    lost = [one for one in journal.state.exam or () if is_wording(one.kind)]
    assert lost and all(one.value is None and "no fitting answer" in one.failure for one in lost)
    others = [one for one in journal.state.exam or () if not is_wording(one.kind)]
    assert others and all(one.value is not None for one in others)


def test_the_exam_stays_within_its_budget(server: JudgeServer, journal: Journal) -> None:
    """Three metrics with all their probes want far more than 60 questions."""
    criteria = (Criterion("Politeness", evaluation_steps=("Look for thanks.",)),)
    cases = CASES[:12]
    run(server, journal, ("Preference", "Rubric"), criteria, cases=cases)
    n_run = 12 * 2 * 3
    assert n_run + FLOOR - 6 <= len(server.requests) <= n_run + FLOOR
    kinds = {(one.metric, one.kind) for one in journal.state.exam or ()}
    assert {metric for metric, kind in kinds if is_wording(kind)} == {
        "Preference", "Rubric", "Politeness",
    }  # fmt: skip
    assert {metric for metric, _ in kinds} == {"Preference", "Rubric", "Politeness"}


def test_what_is_shown_in_both_orders_is_compared_under_each_wording(
    server: JudgeServer, journal: Journal
) -> None:
    run(server, journal, ("Preference",))
    asked = [prompt for prompt in server.prompts if "of more use to the person" in prompt]
    shown = [answers_shown(prompt)[0].split()[-1] for prompt in asked]
    assert shown.count("Thomas.") == shown.count("Nobody.") == len(shown) / 2 > 0

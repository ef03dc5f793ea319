"""A sweep in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from plugin.records import Score, Variant
from plugin.sweep.confirm import confirm
from plugin.sweep.funnel import Checkpoint, SweepPlan
from plugin.sweep.play import Played, play
from plugin.sweep.words import (
    alternative_text,
    calls_line,
    headline,
    name_with_place,
    place_text,
    sweep_words,
)
from tests.sweep.sample_sweep import answering, drawn_scores, made_cases, made_plan

MEANS = {"vanilla": 0.3, "prompted": 0.35, "step-100": 0.45, "step-200": 0.6, "step-300": 0.5}


def played_sweep(
    n_cases: int = 200, means: dict[str, float] | None = None, **more: object
) -> Played:
    plan = made_plan(made_cases(n_cases, "ab"), 3, **more)
    scores = drawn_scores(plan.names, made_cases(n_cases, "ab"), lambda n: (means or MEANS)[n])
    return play(plan, answering(scores))


def test_the_recommended_one_with_its_confirmation() -> None:
    played = played_sweep()
    plan = played.plan
    assert headline(played, None) == "Recommended: step-200."
    cases = made_cases(200, "ab")
    scores = drawn_scores(plan.names, cases, MEANS.__getitem__)
    found = confirm(
        plan,
        "step-200",
        [Variant(name, name, "model") for name in plan.names],
        [Score(c.id, n, plan.spec.name, scores[n][c.id]) for n in plan.names for c in cases],
    )
    assert found is not None
    n = len(plan.split.confirming)
    first = f"Recommended: step-200. On the {n} cases that took no part in choosing it: step-200 is"
    words = sweep_words(played, found, 500)
    assert words.headline.startswith(f"{first} better than vanilla on Correctness")
    assert words.details[0].startswith("Means on the cases that chose: step-200 0.")
    assert set(found.verdict.details) <= set(words.details)
    assert words.details[-1] == (
        "500 answers were judged: 62% of the 800 that every checkpoint on every case would take."
    )
    assert words.text.splitlines() == [words.headline, *words.details]


def test_few_cases_only_rank() -> None:
    played = played_sweep(60)
    words = sweep_words(played)
    assert words.headline == "Ranked first: step-200."
    assert words.details[0].startswith("No verdict: 60 cases only rank the checkpoints, and")
    assert "From 100 cases on, half of them confirm" in words.details[0]


def test_one_cluster_confirms_nothing() -> None:
    plan = made_plan(made_cases(120, n_clusters=1), 3)
    scores = drawn_scores(plan.names, made_cases(120), MEANS.__getitem__)
    words = sweep_words(play(plan, answering(scores)))
    assert words.details[0].startswith("No verdict: all cases are in one cluster")


def test_base_or_prompt_is_kept_with_the_reason() -> None:
    base = headline(played_sweep(means={**MEANS, "vanilla": 0.9}), None)
    assert base == "Keep vanilla: none of 3 checkpoints has a better mean Correctness."
    prompted = headline(played_sweep(means={**MEANS, "prompted": 0.9}, prompted="prompted"), None)
    assert prompted == "Use prompted: none of 3 checkpoints has a better mean Correctness."


def test_vetoes_are_named_and_if_all_lost_the_base_is_kept() -> None:
    played = played_sweep()
    one = play(played.plan, answering(played.scores), veto=lambda n: "sums" * (n == "step-200"))
    assert headline(one, None) == "Recommended: step-300."
    line = next(line for line in sweep_words(one).details if "passed over" in line)
    assert line.startswith("step-200 had a better mean (0.") and line.endswith("it lost: sums.")
    none = play(played.plan, answering(played.scores), veto=lambda n: "sums")
    assert headline(none, None) == (
        "Keep vanilla: the checkpoints with a better mean lost something that counts."
    )


def equal_scores(plan: SweepPlan, behind: float) -> dict[str, dict[str, float]]:
    scores = drawn_scores(plan.names, plan.split.choosing, MEANS.__getitem__)
    for name in ("step-100", "step-300"):
        scores[name] = {key: 0.8 * value for key, value in scores["step-200"].items()}
    scores["step-200"] = {key: value + behind for key, value in scores["step-100"].items()}
    scores["step-300"] = dict.fromkeys(scores["step-100"], 0.1)
    return scores


def test_an_earlier_equal_is_explained() -> None:
    plan = made_plan(made_cases(300), 3)
    equal = play(plan, answering(equal_scores(plan, 0.001)))
    assert headline(equal, None) == "Recommended: step-100."
    text = sweep_words(equal).text
    assert "step-200 has the best mean. step-100 is earlier and shown to be as good: its" in text
    assert "within the margin of 0.05." in text
    offered = play(plan, answering(equal_scores(plan, 0.02)))
    assert headline(offered, None) == "Recommended: step-200."
    assert "step-100 is earlier and would do, too: its mean differs by -0.02 (" in (
        sweep_words(offered).text
    )


def test_missing_scores_are_said() -> None:
    played = played_sweep()
    scores = {name: dict(own) for name, own in played.scores.items()}
    for case in played.plan.split.choosing[:3]:
        del scores["step-300"][case.id]
    text = sweep_words(play(played.plan, answering(scores))).text
    n = len(played.plan.split.choosing)
    assert f"step-300: 3 of {n} scores are missing. In the choice each counts as the lowest" in text


def test_an_unfinished_sweep_recommends_nothing() -> None:
    played = replace(played_sweep(), cuts=())
    assert headline(played, None).startswith("Not finished: 0 of 1 rounds are judged. Best so far:")


@pytest.mark.parametrize(
    ("name", "place", "shown"),
    [
        ("checkpoint-700", 700.0, "checkpoint-700"),
        ("0000700_adapters", 700.0, "0000700_adapters"),
        ("checkpoint-1700", 700.0, "checkpoint-1700 (step 700)"),
        ("best", 12_000.0, "best (step 12,000)"),
        ("small", 0.0001, "small (step 0.0001)"),
    ],
)
def test_a_name_says_its_place_once(name: str, place: float, shown: str) -> None:
    plan = replace(made_plan(made_cases(10), 1), checkpoints=(Checkpoint(name, place),))
    assert name_with_place(plan, name) == shown
    assert name_with_place(plan, "vanilla") == place_text(plan, "vanilla") == "vanilla"


def test_the_picture_in_words_has_every_checkpoint() -> None:
    played = played_sweep()
    text = alternative_text(played)
    assert text.startswith("Recommended: step-200. Correctness by step, on the cases that chose.")
    for part in ("vanilla: 0.", "step 100: 0.", "step 200: 0.", "step 300: 0.", ", recommended"):
        assert part in text


def test_the_share_of_calls_is_rounded() -> None:
    assert "2,400 answers were judged: 300% of the 800" in calls_line(2400, played_sweep().plan)


def test_without_a_judge_answers_are_scored() -> None:
    plan = played_sweep().plan
    quiet = replace(plan, spec=replace(plan.spec, asks_judge=False))
    assert "500 answers were scored: 62% of the 800" in calls_line(500, quiet)

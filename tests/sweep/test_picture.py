"""The numbers and the picture of a sweep."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest

from plugin.records import ALL, Score, Variant
from plugin.sweep.axis import axis_of, format_place
from plugin.sweep.confirm import Confirmation, confirm
from plugin.sweep.funnel import Checkpoint
from plugin.sweep.picture import Curve, sweep_figure, sweep_svg
from plugin.sweep.play import Played, play
from plugin.sweep.points import sweep_groups, sweep_points, table_rows
from tests.sweep.sample_sweep import SPEC, answering, drawn_scores, made_cases, made_plan

CASES = made_cases(200, "ab")


def mean_of(name: str) -> float:
    return 0.3 if name == "vanilla" else 0.7 - 0.07 * abs(int(name.partition("-")[2]) / 100 - 6)


def played_sweep() -> tuple[Played, Confirmation | None]:
    plan = made_plan(CASES, 10)
    scores = drawn_scores(plan.names, CASES, mean_of)
    played = play(plan, answering(scores), veto=lambda name: "sums" * (name == "step-600"))
    rows = [Score(c.id, n, SPEC.name, scores[n][c.id]) for n in plan.names for c in CASES]
    variants = [Variant(name, name, "model") for name in plan.names]
    return played, confirm(plan, played.choice.name, variants, rows)


PLAYED, CONFIRMED = played_sweep()


def test_every_checkpoint_has_its_numbers_and_its_fate() -> None:
    points = {one.name: one for one in sweep_points(PLAYED)}
    n = len(PLAYED.plan.split.choosing)
    assert list(points) == list(PLAYED.plan.names)
    assert points["vanilla"].status == "reference" and points["vanilla"].n == n
    assert points["step-600"].status == "passed over"
    assert points[PLAYED.choice.name].status == "recommended"
    dropped = points["step-100"]
    assert (dropped.status, dropped.last_round, dropped.n) == (
        "dropped",
        1,
        PLAYED.plan.rounds[0].n_cases,
    )
    own = [PLAYED.scores["step-100"][c.id] for c in PLAYED.plan.split.choosing[: dropped.n]]
    assert dropped.mean == pytest.approx(sum(own) / len(own))
    assert dropped.ci_low is not None and dropped.ci_low < dropped.mean < (dropped.ci_high or 0)


def test_a_case_that_nobody_has_a_score_for_is_missing_for_nobody() -> None:
    first, second = (case.id for case in PLAYED.plan.split.choosing[:2])
    scores = {name: {**own} for name, own in PLAYED.scores.items()}
    for own in scores.values():
        own.pop(first)
    scores["step-100"].pop(second)
    points = {one.name: one for one in sweep_points(replace(PLAYED, scores=scores))}
    assert points["step-100"].n_missing == 1
    assert points["vanilla"].n_missing == points["step-500"].n_missing == 0


def test_groups_have_numbers_of_their_own() -> None:
    assert sweep_groups(PLAYED) == ("a", "b")
    parts = [sweep_points(PLAYED, group) for group in "ab"]
    for whole, first, second in zip(sweep_points(PLAYED), *parts, strict=True):
        assert whole.n == first.n + second.n
    assert sweep_groups(replace(PLAYED, plan=made_plan(made_cases(50), 2))) == ()


def test_the_table_has_a_row_for_each_checkpoint_and_group() -> None:
    rows = table_rows(PLAYED)
    assert [row["group"] for row in rows] == [ALL] * 11 + ["a"] * 11 + ["b"] * 11
    base, first = rows[:2]
    assert (base["gain"], base["step"], first["step"], first["status"]) == (
        None,
        None,
        100.0,
        "dropped",
    )
    cases = PLAYED.plan.split.choosing[: int(str(first["n"]))]
    gains = [PLAYED.scores["step-100"][c.id] - PLAYED.scores["vanilla"][c.id] for c in cases]
    assert first["gain"] == pytest.approx(sum(gains) / len(gains), abs=1e-4)


def texts(svg: str) -> list[str]:
    return [re.sub("<.*?>", "", line) for line in re.findall("<text.*?</text>", svg, re.DOTALL)]


@pytest.mark.parametrize("narrow", [False, True])
def test_the_picture_names_what_it_shows(narrow: bool) -> None:
    curves = [Curve("training loss", [10, 500, 1000], [2.0, math.nan, 0.5])]
    svg = sweep_svg(PLAYED, CONFIRMED, curves, narrow=narrow)
    said = " ".join(texts(svg))
    place = PLAYED.choice.name.partition("-")[2]
    for part in (
        "Correctness by step",
        "dropped early",
        "lost something",
        f"recommended: step {place}: 0.",
        "the recommended one on other cases",
        "vanilla 0.",
        "The same, group by group",
        "Training curves",
        "training loss",
    ):
        assert part in said, part
    assert svg == sweep_svg(PLAYED, CONFIRMED, curves, narrow=narrow)
    assert 'aria-label="Recommended: ' in svg
    width = 3.3 if narrow else 9.0
    assert sweep_figure(PLAYED, narrow=narrow).get_figwidth() == width


def test_a_sweep_without_groups_curves_and_drops_is_a_small_picture() -> None:
    plan = made_plan(made_cases(40), 2)
    scores = drawn_scores(plan.names, made_cases(40), lambda name: 0.5)
    said = " ".join(texts(sweep_svg(play(plan, answering(scores)))))
    for part in ("dropped early", "faint", "group by group", "Training curves", "other cases"):
        assert part not in said
    assert "ranked first: " in said


def test_a_sweep_without_any_score_can_be_drawn() -> None:
    plan = made_plan(made_cases(40), 2)
    assert "Correctness by step" in sweep_svg(play(plan, lambda names, cases: {}))


def test_an_unfinished_sweep_says_so() -> None:
    unfinished = replace(PLAYED, cuts=PLAYED.cuts[:1])
    assert "best so far: " in " ".join(texts(sweep_svg(unfinished)))


def test_steps_stand_on_a_linear_axis_and_sizes_on_a_logarithmic_one() -> None:
    plan = made_plan(CASES, 10)
    assert not axis_of(plan).is_log
    sizes = tuple(Checkpoint(f"n{n}", n) for n in (100.0, 300.0, 1000.0, 3000.0, 10_000.0))
    axis = axis_of(replace(plan, checkpoints=sizes))
    assert axis.is_log and axis.share(1000.0) == pytest.approx(0.5)
    assert not axis_of(replace(plan, checkpoints=sizes), [1.0, 2.0]).is_log  # beside curves
    one = axis_of(replace(plan, checkpoints=sizes[:1]))
    assert one.low < 100.0 < one.high


def test_labels_take_the_place_of_numbers() -> None:
    named = (Checkpoint("a", 0.0, "rank 8"), Checkpoint("b", 1.0, "rank 64"))
    plan = replace(made_plan(made_cases(40), 2), checkpoints=named, axis="rank")
    said = texts(sweep_svg(play(plan, lambda names, cases: {})))
    assert "rank 8" in said and "rank 64" in said


@pytest.mark.parametrize(
    ("place", "text"), [(1000.0, "1,000"), (0.0001, "0.0001"), (0.5, "0.5"), (-3.0, "-3")]
)
def test_places_as_they_are_written(place: float, text: str) -> None:
    assert format_place(place) == text

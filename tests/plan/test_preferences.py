"""How the user wants completions compared, checked before anything is made."""

from __future__ import annotations

import re
from typing import Any

import pytest

from plugin import judges, metrics
from plugin.errors import OptionError
from plugin.judges import Judge, NoJudge
from plugin.judges.offline import OfflineJudge
from plugin.metrics.entry import PreferenceGuide
from plugin.plan.params import Params
from plugin.plan.plan import _choose_primary
from plugin.plan.preferences import check_preference, preference_guide
from tests.samples import case

REAL: Judge = judges.load("custom:m", {"CUSTOM_JUDGE_BASE_URL": "http://localhost:9/v1"}.get)
TWO = ["vanilla", "tuned"]
NO_ANSWERS = [case("1", expected_output=None)]


@pytest.mark.parametrize(
    ("panel", "n_variants", "is_default"),
    [
        ((REAL,), 2, True),
        ((REAL,), 1, False),
        ((OfflineJudge(),), 2, False),
        ((NoJudge(),), 2, False),
        ((REAL, OfflineJudge()), 2, False),
    ],
)
def test_it_is_a_default_for_two_variants_under_a_real_judge(
    panel: tuple[Judge, ...], n_variants: int, is_default: bool
) -> None:
    guide = preference_guide(Params(), panel, n_variants)
    assert guide == PreferenceGuide(is_default=is_default)


def test_criterion_and_reference_are_the_users() -> None:
    params = Params.parse({"preference_criteria": "Kinder?", "preference_reference": "true"})
    guide = preference_guide(params, (REAL,), 2)
    assert (guide.criterion, guide.shows_reference) == ("Kinder?", True)


@pytest.mark.parametrize(
    ("names", "prefers", "primary"),
    [
        (("Preference", "Answer Relevancy"), True, "Preference"),
        (("Answer Relevancy", "Preference"), True, "Preference"),
        (("Answer Relevancy", "Preference"), False, "Answer Relevancy"),
        (("Preference", "Correctness"), False, "Correctness"),
        (("Preference", "Token F1"), False, "Preference"),
        (("Answer Relevancy",), True, "Answer Relevancy"),
    ],
)
def test_the_metric_that_decides_by_default(
    names: tuple[str, ...], prefers: bool, primary: str
) -> None:
    assert _choose_primary("", metrics.load(names), prefers) == primary


def problem(
    names: tuple[str, ...] = ("Preference",), variants: Any = TWO, cases: Any = None, **given: str
) -> str:
    specs = [metric.spec for metric in metrics.load(names)]
    with pytest.raises(OptionError) as refused:
        check_preference(Params.parse(given), specs, cases or [case()], variants)
    return str(refused.value)


@pytest.mark.parametrize(
    "given", [{"preference_reference": "true"}, {"pairs": "all"}, {"style_control": "true"}]
)
def test_an_option_of_a_metric_that_is_not_there_is_refused(given: dict[str, str]) -> None:
    said = problem(("Rubric",), **given)
    assert said == (
        f"--{next(iter(given))} is for the metric Preference, which this run does not have: add it "
        "to --predefined_tasks, or leave this option out"
    )


def test_one_variant_alone_cannot_be_compared() -> None:
    assert re.match("Preference compares .* but only vanilla is run", problem(variants=TWO[:1]))


def test_a_reference_needs_an_expected_output() -> None:
    said = problem(cases=NO_ANSWERS, preference_reference="true")
    assert said.startswith("--preference_reference shows expected outputs to the judge, and no")


@pytest.mark.parametrize("value", ["some", "ALL", "both"])
def test_pairs_are_of_the_base_or_all(value: str) -> None:
    with pytest.raises(OptionError, match="--pairs"):
        Params.parse({"pairs": value})


def test_a_run_that_says_nothing_keeps_its_id() -> None:
    assert "pairs" not in Params().settings()
    assert Params.parse({"pairs": "all"}).settings()["pairs"] == "all"

"""A gain beside a prompt's and beside those of other adapters, and what the verdict says of it."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

import numpy as np
import pytest

from plugin.compare.comparisons import compare
from plugin.compare.early_stop import early_plan
from plugin.compare.families import Family
from plugin.compare.intervals import RatioEstimate
from plugin.compare.pairs import best_of, prompt_share
from plugin.compare.words_rivals import best_of_line, prompt_share_line
from plugin.records import ALL, PROMPTED, VANILLA, Variant
from plugin.results import Comparison, Verdict
from tests.compare.test_verdict import (
    CORRECTNESS,
    FAILED,
    HALLUCINATION,
    SETTINGS,
    ask,
    case,
    found,
    spread,
)


def columns(**means: float) -> dict[str, list[float]]:
    """Scores of 60 cases around these means, each variant's with a noise of its own."""
    return {name: spread(mean, seed=seed) for seed, (name, mean) in enumerate(means.items(), 2)}


def row_of(rows: tuple[Comparison, ...], variant: str, baseline: str) -> Comparison:
    (row,) = [r for r in rows if (r.variant, r.baseline, r.group) == (variant, baseline, ALL)]
    return row


def numbers(row: Comparison) -> str:
    assert row.gain is not None and row.ci_low is not None and row.ci_high is not None
    return f"gain {row.gain:+.2f} (95% interval {row.ci_low:+.2f} to {row.ci_high:+.2f}, n={row.n})"


# Beside a prompt.


def test_a_prompted_base_is_a_second_baseline_and_comes_first_among_the_details() -> None:
    verdict, rows = ask({CORRECTNESS: columns(vanilla=0.3, prompted=0.5, tuned=0.7)})
    assert [(row.variant, row.baseline) for row in rows] == [
        ("tuned", VANILLA),
        ("tuned", PROMPTED),
        (PROMPTED, VANILLA),
    ]
    assert verdict.outcome == "better"
    assert verdict.sentence.startswith("tuned is better than vanilla on Correctness: 0.")
    over_prompt, prompt = row_of(rows, "tuned", PROMPTED), row_of(rows, PROMPTED, VANILLA)
    first, second, third, *_ = verdict.details
    assert first == (
        f"tuned against prompted on Correctness: better, {over_prompt.variant_mean:.2f} against "
        f"{over_prompt.baseline_mean:.2f}, {numbers(over_prompt)}"
    )
    assert second.startswith("prompted against vanilla on Correctness: better, 0.")
    assert second.endswith(numbers(prompt))
    assert third.startswith("The prompt alone reaches ")
    assert not any("upkeep" in line for line in verdict.details)


def test_the_prompt_is_tested_only_after_the_base() -> None:
    both = columns(vanilla=0.4, prompted=0.44, tuned=0.47)
    verdict, rows = ask({CORRECTNESS: both, HALLUCINATION: both})
    assert verdict.outcome == "better"
    of_primary = [row for row in rows if row.metric == "Correctness"]
    assert [(row.role, row.n_family) for row in of_primary] == [
        ("primary", 1),
        ("primary", 1),
        ("exploratory", 1),
    ]
    assert all(row.p_adjusted == row.p_value for row in of_primary)
    assert [(row.role, row.n_family) for row in rows[3:]] == [
        ("guard", 1),
        ("exploratory", 2),
        ("exploratory", 2),
    ]
    equal = columns(vanilla=0.4, prompted=0.1, tuned=0.4)
    verdict, rows = ask({CORRECTNESS: equal})
    over_prompt = row_of(rows, "tuned", PROMPTED)
    assert over_prompt.ci_low > 0 and over_prompt.outcome is None
    assert verdict.details[0].startswith(
        "tuned against prompted on Correctness (not tested, because tuned is not shown to be "
        "better than the base): 0."
    )


def test_the_share_is_of_the_cases_that_all_three_have() -> None:
    scores: dict[str, list[Any]] = {
        VANILLA: [0.2] * 60,
        PROMPTED: [0.2 + 0.004 * (n % 50) for n in range(60)],
        "tuned": [0.4 + 0.004 * (n % 40) for n in range(60)],
    }
    scores[PROMPTED][50:] = [None] * 10  # gains 0 to 0.196, mean 0.098, where the prompt has one
    verdict, _ = ask({CORRECTNESS: scores}, partial=True)
    tuned = np.mean([0.2 + 0.004 * (n % 40) for n in range(50)])
    (line,) = [line for line in verdict.details if line.startswith("The prompt alone")]
    assert f"reaches {round(100 * 0.098 / tuned)}% of tuned's gain over vanilla (95% " in line
    assert line.endswith("%, n=50, the cases that all three have a score for).")
    reached = prompt_share(found({CORRECTNESS: scores}), CORRECTNESS, "tuned")
    assert (reached.n, reached.ratio) == (50, pytest.approx(0.098 / tuned))


def test_the_share_of_a_metric_where_lower_is_better() -> None:
    turned = {
        name: [1 - value for value in column]
        for name, column in columns(vanilla=0.3, prompted=0.5, tuned=0.7).items()
    }
    straight = columns(vanilla=0.3, prompted=0.5, tuned=0.7)
    by_both = [
        prompt_share(found({spec: scores}), spec, "tuned").ratio
        for spec, scores in ((CORRECTNESS, straight), (HALLUCINATION, turned))
    ]
    assert by_both[0] == pytest.approx(by_both[1])
    assert by_both[0] == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("tuned", [0.3, 0.1])
def test_no_share_of_a_gain_that_may_be_none(tuned: float) -> None:
    verdict, rows = ask({CORRECTNESS: columns(vanilla=0.3, prompted=0.5, tuned=tuned)})
    assert row_of(rows, "tuned", VANILLA).ci_low <= 0
    assert not any("The prompt alone" in line or "share" in line for line in verdict.details)


@pytest.mark.parametrize(
    ("tuned", "said"),
    [
        (0.3, "tuned is worse than the prompt alone: a fine-tune that does not beat a good prompt"),
        (0.5, "tuned is not shown to beat the prompt alone: a fine-tune that does not beat a"),
    ],
)
def test_a_fine_tune_that_does_not_beat_the_prompt(tuned: float, said: str) -> None:
    verdict, _ = ask({CORRECTNESS: columns(vanilla=0.1, prompted=0.5, tuned=tuned)})
    assert verdict.outcome == "better"
    (line,) = [line for line in verdict.details[:4] if "upkeep" in line]
    assert line.startswith(said) and line.endswith("may not be worth its upkeep.")


def test_a_fine_tune_that_does_as_well_as_the_prompt() -> None:
    scores = {VANILLA: [0.2] * 80, PROMPTED: [0.5] * 80, "tuned": [0.48, 0.49, 0.51, 0.52] * 20}
    verdict, _ = ask({CORRECTNESS: scores})
    assert any(line.startswith("tuned does no better than the pr") for line in verdict.details)
    # The prompt's gain has no spread: a share without an interval, and none of no width.
    assert "reaches 100% of tuned's gain over vanilla (no interval, n=80" in verdict.details[2]


def test_worse_than_the_prompt_on_another_metric_is_told() -> None:
    good = columns(vanilla=0.3, prompted=0.5, tuned=0.7)
    others = columns(vanilla=0.6, prompted=0.2, tuned=0.5)
    verdict, _ = ask({CORRECTNESS: good, HALLUCINATION: others})
    assert verdict.outcome == "better"
    assert "; worse on Hallucination, 0." in verdict.details[0]
    assert sum(line.startswith("Guard metric Hallucination: kept") for line in verdict.details) == 1


def test_a_prompt_alone_is_what_the_verdict_is_about() -> None:
    verdict, (row,) = ask({CORRECTNESS: columns(vanilla=0.3, prompted=0.5)})
    assert verdict.sentence.startswith("prompted is better than vanilla on Correctness: 0.")
    assert (row.variant, row.baseline) == (PROMPTED, VANILLA)
    assert not any("prompt alone" in line or "chosen" in line for line in verdict.details)


def test_the_prompt_is_never_the_best_adapter() -> None:
    scores = columns(vanilla=0.3, prompted=0.9, a=0.5, b=0.7)
    verdict, _ = ask({CORRECTNESS: scores})
    assert verdict.sentence.startswith("b (best of 2 adapters) is better than vanilla")
    assert verdict.details[0].startswith("Best against runner-up: b is better than a on Correct")
    assert verdict.details[1].startswith("b against prompted on Correctness: worse, 0.")
    assert sum("against prompted" in line for line in verdict.details) == 1
    assert any(line.startswith("a on Correctness: better, 0.") for line in verdict.details)
    assert any("chosen from 2 variants" in line for line in verdict.details)


def test_groups_are_those_of_the_adapter_against_the_base() -> None:
    cases = [case(n, group="hard" if n % 2 else "easy") for n in range(60)]
    scores = columns(vanilla=0.3, prompted=0.5, tuned=0.7)
    verdict, rows = ask({CORRECTNESS: scores}, cases)
    assert len(rows) == 9
    assert sum(line.startswith("Group ") for line in verdict.details) == 2


@pytest.mark.parametrize("lost", [VANILLA, PROMPTED, "tuned"])
def test_a_variant_without_any_score_is_no_traceback(lost: str) -> None:
    scores: dict[str, list[Any]] = dict(columns(vanilla=0.3, prompted=0.5, tuned=0.7))
    scores[lost] = [FAILED] * 60
    verdict, _ = ask({CORRECTNESS: scores})
    assert "nan" not in verdict.text
    assert "no case has a score of both (n=0, 60 failed)" in verdict.text
    if lost == PROMPTED:
        assert verdict.details[2].startswith("What share of tuned's gain over vanilla the prompt")


def test_shares_in_words() -> None:
    _, (row,) = ask({CORRECTNESS: columns(vanilla=0.3, tuned=0.7)})
    found_by = {
        RatioEstimate(-0.104, -0.3, 0.1, 60, None, ""): (
            "The prompt alone reaches none of tuned's gain over vanilla: its share is -10% (95% "
            "interval -30% to 10%, n=60, the cases that all three have a score for)."
        ),
        RatioEstimate(-0.001, None, None, 60, 12, ""): (
            "The prompt alone reaches none of tuned's gain over vanilla: its share is 0% (no "
            "interval, n=60 in 12 clusters, the cases that all three have a score for)."
        ),
        RatioEstimate(None, None, None, 7, None, ""): (
            "What share of tuned's gain over vanilla the prompt alone reaches cannot be told: on "
            "the 7 cases that all three have a score for, that gain is too close to zero."
        ),
    }
    for estimate, text in found_by.items():
        assert prompt_share_line(row, estimate) == text


# The best of several.


def chosen_line(verdict: Verdict) -> str:
    (line,) = [line for line in verdict.details if "was chosen from" in line]
    return line


def test_the_best_of_several_has_an_interval_that_allows_for_the_choice() -> None:
    names = {f"a{n}": 0.45 for n in range(4)}
    verdict, rows = ask({CORRECTNESS: columns(vanilla=0.4, **names, good=0.6)})
    own = row_of(rows, "good", VANILLA)
    line = chosen_line(verdict)
    assert line.startswith(
        "good was chosen from 5 variants on these same cases, which flatters its gain; an "
        f"interval that allows for the choice: gain {own.gain:+.2f} (95% interval +0."
    )
    assert line.endswith(", n=60).")
    made = best_of(
        found({CORRECTNESS: columns(vanilla=0.4, **names, good=0.6)}), CORRECTNESS, "good", SETTINGS
    )
    assert (made.n_rivals, made.n, made.gain) == (5, 60, pytest.approx(own.gain))
    assert made.ci_low < own.ci_low and own.ci_high < made.ci_high


def just_clear() -> dict[str, list[float]]:
    """Ten adapters of no gain, and one whose own interval just leaves out zero."""
    rng, base = np.random.default_rng(3), np.full(120, 0.5)
    others = {f"a{n}": base + rng.permutation(np.linspace(-0.4, 0.4, 120)) for n in range(9)}
    good = base + 0.055 + np.linspace(-0.4, 0.4, 120)
    return {
        VANILLA: base.tolist(),
        **{k: v.tolist() for k, v in others.items()},
        "b": good.tolist(),
    }


def test_an_interval_that_holds_zero_only_with_the_choice_says_so() -> None:
    verdict, rows = ask({CORRECTNESS: just_clear()})
    row = row_of(rows, "b", VANILLA)
    assert row.ci_low > 0 and row.outcome == verdict.outcome == "can't tell"
    assert chosen_line(verdict).endswith(
        ", n=120), which holds zero, though the one that ignores the choice does not."
    )
    better = dataclasses.replace(row, outcome="better")
    made = best_of(found({CORRECTNESS: just_clear()}), CORRECTNESS, "b", SETTINGS)
    assert best_of_line(better, made, beside=()).endswith(
        "does not. The verdict stands by its adjusted p, but confirm it on fresh cases."
    )


def test_the_choice_is_looked_at_where_all_have_a_score() -> None:
    scores: dict[str, list[Any]] = dict(columns(vanilla=0.4, a=0.5, b=0.6))
    scores["a"][:7] = [None] * 7
    verdict, rows = ask({CORRECTNESS: scores}, partial=True)
    assert row_of(rows, "b", VANILLA).n == 60
    assert chosen_line(verdict).endswith(", n=53, the cases that all have a score for).")
    scores["a"] = [FAILED] * 60
    verdict, _ = ask({CORRECTNESS: scores})
    assert chosen_line(verdict).endswith("; no case has a score of all of them to allow for that.")


def test_too_few_clusters_to_allow_for_the_choice() -> None:
    cases = [case(n, cluster=str(n % 10)) for n in range(60)]
    verdict, _ = ask({CORRECTNESS: columns(vanilla=0.4, a=0.5, b=0.6)}, cases)
    assert "(no interval with fewer than 20 clusters (here 10))" in chosen_line(verdict)
    cases = [case(n, cluster=str(n % 30)) for n in range(60)]
    verdict, _ = ask({CORRECTNESS: columns(vanilla=0.4, a=0.5, b=0.6)}, cases)
    assert ", n=60 in 30 clusters)." in chosen_line(verdict)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 12])
@pytest.mark.parametrize("gain", [0.0, 0.3])
def test_few_cases_and_no_spread_are_no_traceback_and_no_nan(n: int, gain: float) -> None:
    names = {VANILLA: [0.5] * n, PROMPTED: [0.5] * n, "a": [0.5] * n, "b": [0.5 + gain] * n}
    verdict, _ = ask({CORRECTNESS: names})
    assert not re.search(r"\bnan\b|\binf\b|None", verdict.text)
    if n:
        assert "flatters its gain over vanilla and over prompted" in chosen_line(verdict)


def test_a_metric_without_bounds_and_without_spread() -> None:
    endless = dataclasses.replace(CORRECTNESS, high=math.inf)
    verdict, _ = ask({endless: {VANILLA: [0.5] * 60, "a": [0.5] * 60, "b": [0.7] * 60}})
    assert "there is no interval that allows for it (no interval: too few cases vary, and" in (
        chosen_line(verdict)
    )


# In a run that may stop early.


def test_in_a_run_that_may_stop_early() -> None:
    scores = columns(vanilla=0.2, prompted=0.4, a=0.6, b=0.8)
    cases = [case(n) for n in range(60)]
    variants = [Variant(name, name, "model") for name in scores]
    plan = early_plan(cases, [CORRECTNESS], "Correctness", variants, seed=7)
    verdict, rows = ask({CORRECTNESS: scores}, cases, early=plan)
    assert [plan.size(f) for f in (Family.PRIMARY, Family.OVER_PROMPT, Family.PROMPT)] == [2, 2, 1]
    assert [row.n_family for row in rows] == [2, 2, 2, 2, 1]
    assert verdict.sentence.startswith("b (best of 2 adapters) is better than vanilla")
    assert verdict.details[0].startswith("Best against runner-up: b is better than a on Correct")
    assert verdict.details[1].startswith("b against prompted on Correctness: ")
    share = next(line for line in verdict.details if line.startswith("The prompt alone"))
    assert "(no interval, n=60, the cases that all three have a score for)" in share
    assert chosen_line(verdict).endswith(
        "; its interval allows for the choice, since all of them share the 5%."
    )


@pytest.mark.parametrize("n_runs", [50, pytest.param(300, marks=pytest.mark.slow)])
def test_equal_variants_beside_a_prompt_are_rarely_called_different(n_runs: int) -> None:
    """One adapter, a prompt, two metrics, no true difference: each family errs in 5% of runs."""
    rng, wrong = np.random.default_rng(21), {"primary": 0, "exploratory": 0}
    for _ in range(n_runs):
        hardness = rng.beta(1, 2, 60)
        results = {
            spec: {
                name: np.where(rng.random(60) < hardness, rng.integers(0, 5, 60) / 4, 0.0).tolist()
                for name in (VANILLA, PROMPTED, "a")
            }
            for spec in (CORRECTNESS, HALLUCINATION)
        }
        rows = compare(found(results), dataclasses.replace(SETTINGS, n_resamples=500))
        for role in wrong:
            of_role = [row for row in rows if row.role == role and row.metric == "Correctness"]
            wrong[role] += any(row.outcome in ("better", "worse") for row in of_role)
    for count in wrong.values():
        assert count / n_runs <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / n_runs)
        assert count > 0 or n_runs < 100

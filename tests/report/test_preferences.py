"""What a report holds of preferences, made from evidence alone."""

from __future__ import annotations

from dataclasses import replace

from plugin.compare.preference_views import PreferenceSettings
from plugin.report.preferences import Compared, look_at_preferences
from plugin.results import Verdict
from tests.compare.test_relative import evidence, preference
from tests.samples import completion

HOW = PreferenceSettings(seed=0, n_resamples=200)
FOUND = evidence([preference(str(i), float(i % 3 > 0)) for i in range(30)], n=30)
MADE = {
    (str(i), name): replace(completion(f"{name} {i}", str(i), name), n_tokens=7)
    for i in range(30)
    for name in ("vanilla", "tuned")
}


def test_a_run_without_preferences_has_none() -> None:
    found = look_at_preferences(replace(FOUND, preferences=()), {}, {}, "j", HOW)
    assert found == Compared()
    verdict = Verdict(None, "s", ("d",), None)
    assert found.add_lines(verdict) == verdict and found.faults == []


def test_tokens_are_those_of_the_answers_or_none() -> None:
    (view,) = look_at_preferences(FOUND, MADE, MADE, "j", HOW).views
    assert (view.lengths.tokens, view.lengths.baseline_tokens) == (7, 7)
    whole = {place: replace(one, text=f"<think>x</think>{one.text}") for place, one in MADE.items()}
    (view,) = look_at_preferences(FOUND, MADE, whole, "j", HOW).views
    assert view.lengths.tokens is None and view.lengths.characters is not None


def test_a_run_that_may_stop_early_promises_no_intervals() -> None:
    (view,) = look_at_preferences(FOUND, MADE, MADE, "j", replace(HOW, is_early=True)).views
    assert view.facts.win_rate.mean is not None and view.facts.win_rate.ci_low is None
    assert view.facts.flip_rate.ci_low is None and view.at_equal_length.ci_low is None
    (usual,) = look_at_preferences(FOUND, MADE, MADE, "j", HOW).views
    assert usual.facts.win_rate.ci_low is not None


def test_style_is_controlled_on_demand() -> None:
    (view,) = look_at_preferences(FOUND, MADE, MADE, "j", HOW).views
    assert view.at_equal_style is None
    styled = replace(HOW, controls_style=True)
    (view,) = look_at_preferences(FOUND, MADE, MADE, "j", styled).views
    assert view.at_equal_style is not None

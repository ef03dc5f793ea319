"""Which variant is preferred, in words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from plugin.compare.bradley_terry import Match, Ranking, Rated, bradley_terry
from plugin.compare.comparisons import VerdictSettings, compare, summarise
from plugin.compare.length_control import SEPARATED, ControlledRate, FitQuality, length_controlled
from plugin.compare.preference_views import PreferenceView
from plugin.compare.preferences import AverageLengths, PreferenceFacts
from plugin.compare.stats import MeanEstimate
from plugin.compare.verdict import decide_verdict
from plugin.compare.words_preference import (
    beside_text,
    format_rate,
    preference_lines,
    ranking_lines,
)
from tests.compare.test_relative import evidence, preference

RATE = ControlledRate(80, None, 0.63, 0.58, 0.51, 0.65, share_longer=0.75)


def mean(value: float | None, n: int = 80) -> MeanEstimate:
    ends = (None, None) if value is None else (value - 0.05, value + 0.05)
    return MeanEstimate(n, None, value, *ends, "")


def view(at_length: ControlledRate = RATE, **changed: Any) -> PreferenceView:
    facts = PreferenceFacts(
        n=100,
        n_equal=15,
        n_empty=5,
        win_rate=mean(0.63),
        flip_rate=mean(0.12),
        first_share=mean(0.52),
        decisive=mean(0.7),
        mean_level=mean(0.56),
    )
    lengths = AverageLengths(100, 2412.4, 305.2, None, None)
    made = PreferenceView("Preference", "tuned", "vanilla", facts, lengths, at_length)
    return replace(made, **changed)


@pytest.mark.parametrize(
    ("rate", "text"),
    [(0.5, "50%"), (0.503, "50.3%"), (0.4971, "49.7%"), (0.634, "63%"), (1.0, "100%"), (None, "–")],
)
def test_a_rate_near_one_half_never_looks_like_one_half(rate: float | None, text: str) -> None:
    assert format_rate(rate) == text


def test_the_rate_at_equal_length_stands_beside_the_win_rate() -> None:
    assert beside_text(view()) == "; length-controlled 58% (95% interval 51% to 65%)"
    separated = replace(RATE, rate=None, why_no_rate=f"{SEPARATED}: all of them")
    assert beside_text(view(separated)) == "; length-controlled: none, separated by length"
    few = replace(RATE, rate=None, why_no_rate="needs at least 20 cases, got 6")
    assert beside_text(view(few)) == ""


def test_what_the_orders_did_is_said_with_its_intervals() -> None:
    lines = preference_lines([view()], "tuned")
    assert lines == [
        "tuned against vanilla on Preference: 80 of 100 pairs were judged (15 equal and 5 with an "
        "empty completion needed no judge); the orders disagreed in 12% (7% to 17%), which count "
        "as ties; where the judge named a winner, it was the answer shown first in 52% (47% to "
        "57%); 70% of the pairs have a winner; mean level 0.56 (0 is much worse, 1 much better).",
        "At equal length tuned wins 58% (95% interval 51% to 65%) against vanilla, and 63% as the "
        "answers are (80 pairs; its answer is the longer one in 75% of them).",
        "Answers of tuned have 2,412 characters on average, those of vanilla 305.",
    ]


def test_a_poor_fit_and_a_missing_interval_are_said() -> None:
    poor = replace(RATE, quality=FitQuality(0.19, 0.001))
    assert "The fit is poor: in a fifth of the pairs it is off by 19%" in str(
        preference_lines([view(poor)], "tuned")
    )
    bare = length_controlled([1.0] * 40, [float(place - 20) for place in range(40)], seed=1)
    assert "wins 99% (no interval: too few cases differ in outcome) against" in str(
        preference_lines([view(bare)], "tuned")
    )


def test_style_is_said_only_where_it_adds_something() -> None:
    none = replace(RATE, rate=None, why_no_rate=SEPARATED)
    assert "style" in str(preference_lines([view(at_equal_style=RATE)], "tuned"))
    assert "style" in str(preference_lines([view(at_equal_style=none)], "tuned"))
    assert "style" not in str(preference_lines([view(none, at_equal_style=none)], "tuned"))


def test_the_ranking_names_what_cannot_be_told_apart() -> None:
    rated = [
        Rated("a", 0.5, 0.3, 0.7, 160, 0.75, True),
        Rated("b", -0.2, -0.3, -0.1, 160, 0.38, False),
        Rated("c", -0.3, None, None, 160, 0.37),
    ]
    (line,) = ranking_lines(Ranking(tuple(rated), 80))
    assert line == (
        "Ranking of the variants, in points of an Elo scale: a +87 (+52 to +122), b -35 (-52 to "
        "-17), c -52. These neighbours cannot be told apart: b and c."
    )
    assert ranking_lines(Ranking((), 0, why_none="a never meets b")) == [
        "The variants cannot be ranked: a never meets b."
    ]
    few = bradley_terry([Match("a", "b", 1.0, case) for case in range(4)], seed=1)
    assert ranking_lines(few)[0].endswith(". No intervals with fewer than 6 cases (here 4).")
    apart = bradley_terry([Match("a", "b", 1.0, 1), Match("c", "d", 1.0, 1)], seed=1)
    assert ranking_lines(apart) == [
        "The variants cannot be ranked: c, d never met a, not even through others."
    ]
    assert ranking_lines(None) == []


def sentence(values: list[float], margin: float = 0.05) -> str:
    found = evidence([preference(str(i), v) for i, v in enumerate(values)], n=len(values))
    spec = replace(found.metrics[0], margin=margin)
    found = replace(found, metrics=[spec])
    beside = {("tuned", "vanilla"): "; length-controlled 60%"}
    settings = VerdictSettings(spec.name, 0, n_resamples=500, beside=beside)
    comparisons = compare(found, settings)
    return decide_verdict(found, summarise(found, settings), comparisons, settings).sentence


@pytest.mark.parametrize(
    ("values", "margin", "head"),
    [
        ([1.0] * 45 + [0.0] * 15, 0.05, "tuned is preferred over vanilla: it wins 75% (95% int"),
        ([0.0] * 45 + [1.0] * 15, 0.05, "vanilla is preferred over tuned: tuned wins 25% (95% in"),
        ([0.0, 1.0] * 15, 0.05, "Can't tell whether tuned is preferred over vanilla: tuned wins 5"),
        (
            [0.5] * 60,
            0.3,
            "tuned and vanilla are preferred equally often (any difference in the win rate is "
            "below your margin of 0.30): tuned wins 50% (95% interval ",
        ),
    ],
)
def test_the_sentence_says_who_is_preferred(values: list[float], margin: float, head: str) -> None:
    found = sentence(values, margin)
    assert found.startswith(head)
    assert found.endswith("), ties count half; length-controlled 60%.")

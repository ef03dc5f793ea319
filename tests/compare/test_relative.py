"""Preferences as scores: pairs against a baseline whose own score is one half by definition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from plugin.compare.comparisons import VerdictSettings, compare, summarise
from plugin.compare.pairs import Contrast, Evidence, Pairs, pair_scores, wins_of
from plugin.compare.relative import combine, combine_all, n_missing_preferences, win_scores
from plugin.compare.rivals import rival_gaps
from plugin.metrics import METRICS
from plugin.records import ALL, PROMPTED, VANILLA, Failure, Preference, Variant
from tests.samples import case

SPEC = METRICS["preference"].spec


def preference(
    case_id: str, value: float, variant: str = "tuned", baseline: str = VANILLA, judge: str = ""
) -> Preference:
    level = round(2 * value - 1)
    return Preference(case_id, variant, baseline, SPEC.name, level, level, value, "why", judge)


def evidence(
    preferences: Sequence[Preference],
    failures: Sequence[Failure] = (),
    n: int = 4,
    names: Sequence[str] = (VANILLA, "tuned"),
) -> Evidence:
    cases = [case(str(i)) for i in range(n)]
    variants = [Variant(name, name, "m") for name in names]
    scores = win_scores(preferences, names[0])
    return Evidence(cases, variants, [SPEC], scores, failures, preferences)


def pairs_of(found: Evidence, variant: str = "tuned", baseline: str = VANILLA) -> Pairs:
    (one,) = (
        p
        for p in pair_scores(found)
        if p.group == ALL and p.contrast == Contrast(variant, baseline)
    )
    return one


def test_the_gain_is_what_is_won_beyond_one_half() -> None:
    found = pairs_of(evidence([preference(str(i), v) for i, v in enumerate((1.0, 0.5, 0.0, 1.0))]))
    assert found.gains == [0.5, 0.0, -0.5, 0.5]
    assert {base for _, _, base in found.whole} == {0.5}


def test_its_gains_are_at_most_one_half() -> None:
    assert SPEC.largest_gain == 0.5
    assert METRICS["correctness"].spec.largest_gain == 1
    found = pairs_of(evidence([preference(str(i), 1.0) for i in range(4)]))
    estimate = found.estimate(VerdictSettings(SPEC.name, 0, n_resamples=200))
    assert estimate.mean == 0.5 and estimate.ci_high is not None and estimate.ci_high <= 0.5


def test_every_failure_is_one_broken_pair_and_counts_at_worst_as_a_loss() -> None:
    failures = [
        Failure("1", "judge", "no", "tuned", SPEC.name, True, VANILLA),
        Failure("2", "generate", "no", "tuned"),
        Failure("3", "generate", "no", VANILLA),
        Failure("3", "generate", "no", "tuned"),
        Failure("0", "judge", "of another pair", "tuned", SPEC.name, True, PROMPTED),
    ]
    found = pairs_of(evidence([preference("0", 1.0)], failures))
    assert (found.n_failed_variant, found.n_failed_baseline) == (2, 1)
    assert [(one.id, own, base) for one, own, base in found.broken] == [
        ("1", None, 0.5),
        ("2", None, 0.5),
        ("3", None, 0.5),
    ]
    (row,) = compare(evidence([preference("0", 1.0)], failures), VerdictSettings(SPEC.name, 0))
    assert (row.n, row.gain, row.variant_mean, row.baseline_mean) == (1, 0.5, 1.0, 0.5)


def test_a_failure_at_worst_can_undo_the_outcome() -> None:
    won = [preference(str(i), 1.0) for i in range(20)]
    lost = [
        Failure(str(i), "judge", "no", "tuned", SPEC.name, True, VANILLA) for i in range(20, 40)
    ]
    settings = VerdictSettings(SPEC.name, 0, n_resamples=500)
    (clear,) = compare(evidence(won, n=40), settings)
    (open_,) = compare(evidence(won, lost, n=40), settings)
    assert (clear.outcome, clear.holds_at_worst) == ("better", True)
    assert (open_.outcome, open_.holds_at_worst) == ("can't tell", False)


def test_a_contrast_uses_its_own_preferences_and_no_difference_of_win_rates() -> None:
    names = (VANILLA, PROMPTED, "tuned")
    found = evidence(
        [
            preference("0", 1.0),
            preference("0", 1.0, PROMPTED),
            preference("0", 0.0, "tuned", PROMPTED),
        ],
        names=names,
    )
    assert pairs_of(found).gains == [0.5]
    assert pairs_of(found, "tuned", PROMPTED).gains == [-0.5]


def test_the_mean_of_a_variant_is_its_win_rate() -> None:
    found = evidence([preference(str(i), v) for i, v in enumerate((1.0, 0.5, 1.0, 1.0))])
    rows = {row.variant: row for row in summarise(found, VerdictSettings(SPEC.name, 0))}
    assert rows["tuned"].mean == pytest.approx(0.875)
    assert (rows[VANILLA].mean, rows[VANILLA].ci_low, rows[VANILLA].ci_high) == (0.5, None, None)


def test_a_panel_counts_by_its_mean() -> None:
    panel = [preference("0", 1.0, judge="a"), preference("0", 0.0, judge="b")]
    one = combine(panel)
    assert (one.value, one.first, one.judge) == (0.5, None, "")
    assert one.reason == "a gave 1.00: why | b gave 0.00: why"
    assert pairs_of(evidence(panel)).gains == [0.0]
    assert list(combine_all(panel).values()) == [one]
    assert [score.value for score in win_scores(panel, VANILLA)] == [0.5, 0.5]


def test_a_pair_is_missing_until_it_is_judged_or_has_failed() -> None:
    pairs = [Contrast("tuned", VANILLA)]
    failures = [
        Failure("1", "judge", "no", "tuned", SPEC.name, True, VANILLA),
        Failure("2", "generate", "no", VANILLA),
    ]
    found = evidence([preference("0", 1.0)], failures)
    assert n_missing_preferences(found, SPEC, pairs) == 1
    other = replace(found, failures=[replace(failures[0], baseline=PROMPTED)])
    assert n_missing_preferences(other, SPEC, pairs) == 3


def test_two_variants_that_were_judged_the_other_way_round_are_turned() -> None:
    judged = [preference("0", 1.0, "later", "earlier"), preference("1", 0.5, "later", "earlier")]
    assert wins_of(judged, SPEC, Contrast("later", "earlier")) == {"0": 1.0, "1": 0.5}
    assert wins_of(judged, SPEC, Contrast("earlier", "later")) == {"0": 0.0, "1": 0.5}


def test_the_best_is_set_apart_by_its_own_preferences_where_it_has_some() -> None:
    names = (VANILLA, "a", "b")
    over_base = [preference(str(i), 1.0, name) for i in range(12) for name in ("a", "b")]
    judged = [preference(str(i), float(i % 4 == 0), "b", "a") for i in range(12)]
    settings = VerdictSettings(SPEC.name, 0, n_resamples=200)
    (gap,) = rival_gaps(evidence(over_base, n=12, names=names), SPEC, "a", settings)
    assert (gap.gain, gap.is_relative) == (0, False)  # both always win over the base
    (gap,) = rival_gaps(evidence([*over_base, *judged], n=12, names=names), SPEC, "a", settings)
    assert (gap.gain, gap.best_mean, gap.other_mean, gap.is_relative) == (0.25, 0.75, 0.5, True)


def test_without_preferences_of_their_own_two_variants_differ_by_up_to_one() -> None:
    names = (VANILLA, "a", "b")
    over_base = [preference(str(i), 1.0, "a") for i in range(12)]
    over_base += [preference(str(i), float(i == 0), "b") for i in range(12)]
    settings = VerdictSettings(SPEC.name, 0, n_resamples=200)
    (gap,) = rival_gaps(evidence(over_base, n=12, names=names), SPEC, "a", settings)
    assert gap.gain == pytest.approx(11 / 12)
    assert gap.ci_high is not None and 0.5 < gap.ci_high <= 1

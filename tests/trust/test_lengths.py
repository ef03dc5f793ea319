"""How gains go along with the length of answers."""

from __future__ import annotations

import dataclasses
import math
import tracemalloc

import numpy as np
import pytest
import statsmodels.api as sm

from plugin.trust.lengths import MIN_PAIRS, length_line, length_slope
from plugin.trust.records import JudgeFreeGain, LengthSlope


def sample(n: int, seed: int = 3) -> tuple[list[float], list[float]]:
    rng = np.random.default_rng(seed)
    differences = np.round(rng.normal(30, 80, n))
    gains = np.clip(0.05 + 0.1 * np.tanh(differences / 80) + rng.normal(0, 0.2, n), -1, 1)
    return gains.tolist(), differences.tolist()


def test_slope_and_interval_are_those_of_statsmodels() -> None:
    gains, differences = sample(60)
    found = length_slope(gains, differences, "Correctness", "tuned")
    spread = float(np.std(differences))
    x = sm.add_constant(np.tanh((np.array(differences) - np.mean(differences)) / spread))
    model = sm.OLS(gains, x).fit(cov_type="HC3", use_t=True)
    unit = math.tanh(1)
    low, high = model.conf_int()[1]
    assert found.spread == pytest.approx(spread)
    assert found.at_equal_length is None  # without groups nothing is adjusted
    assert (found.slope, found.ci_low, found.ci_high) == pytest.approx(
        (model.params[1] * unit, low * unit, high * unit)
    )
    assert (found.metric, found.variant, found.n) == ("Correctness", "tuned", 60)


def test_a_line_through_all_points_by_hand() -> None:
    # Half the answers are 10 longer, half 10 shorter: the spread is 10, tanh(+-1) the regressor.
    differences = [10.0, -10.0] * 15
    gains = [0.3, 0.1] * 15
    found = length_slope(gains, differences, "m", "v")
    assert found.spread == 10
    assert found.slope == pytest.approx(0.1)  # half of what lies between +1 and -1 spread
    assert (found.ci_low, found.ci_high) == pytest.approx((0.1, 0.1))


@pytest.mark.parametrize(
    ("differences", "why"),
    [
        ([1.0, 2.0] * 5, f"needs {MIN_PAIRS} pairs, got 10"),
        ([5.0] * 30, "all answers differ in length by the same amount"),
        ([0.0] * 29 + [7.0], "one pair alone decides the slope"),
        ([], f"needs {MIN_PAIRS} pairs, got 0"),
    ],
)
def test_where_nothing_can_be_said_it_says_why(differences: list[float], why: str) -> None:
    gains = [0.1 * (i % 2) for i in range(len(differences))]
    found = length_slope(gains, differences, "m", "v")
    assert (found.slope, found.ci_low, found.at_equal_length) == (None, None, None)
    assert found.method == f"not estimated: {why}"


def test_gains_that_are_all_the_same_prove_no_slope_of_zero() -> None:
    found = length_slope([0.0] * 30, [1.0, 5.0, 9.0] * 10, "m", "v")
    assert (found.ci_low, found.method) == (None, "not estimated: all gains are the same")


def test_the_interval_covers_a_slope_of_zero() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(400):
        differences = rng.normal(0, 50, 40)
        # Longer answers scatter more: the plain interval would be too narrow here.
        gains = rng.normal(0, 0.05 + 0.3 * np.abs(np.tanh(differences / 50)))
        found = length_slope(gains.tolist(), differences.tolist(), "m", "v")
        assert found.ci_low is not None and found.ci_high is not None
        covered += found.ci_low <= 0 <= found.ci_high
    assert 0.925 <= covered / 400 <= 0.985


def test_gains_and_differences_go_together() -> None:
    with pytest.raises(ValueError, match="2 gains but 1 differences"):
        length_slope([0.1, 0.2], [1.0], "m", "v")


def test_the_slope_within_groups_is_that_of_statsmodels_with_a_dummy_per_group() -> None:
    gains, differences = sample(60)
    groups = ["essay", "fact", "fact"] * 20
    moved = [d + 40 * (g == "essay") for d, g in zip(differences, groups, strict=True)]
    found = length_slope(gains, moved, "m", "v", groups)
    is_essay = np.array(groups) == "essay"
    d = np.array(moved)
    means = np.where(is_essay, d[is_essay].mean(), d[~is_essay].mean())
    spread = float(np.sqrt(np.mean((d - means) ** 2)))
    x = np.column_stack((is_essay, ~is_essay, np.tanh((d - means) / spread))).astype(float)
    model = sm.OLS(gains, x).fit(cov_type="HC3", use_t=True)
    low, high = model.conf_int()[2]
    unit = math.tanh(1)
    assert (found.n_groups, found.spread) == (2, pytest.approx(spread))
    assert (found.slope, found.ci_low, found.ci_high) == pytest.approx(
        (model.params[2] * unit, low * unit, high * unit)
    )
    at_zero = np.where(is_essay, *model.params[:2]) + model.params[2] * np.tanh(-means / spread)
    assert found.at_equal_length == pytest.approx(at_zero.mean())
    same = length_slope(gains, moved, "m", "v", ["all one"] * 60)
    assert (same.n_groups, same.at_equal_length) == (0, None)


def test_the_line_is_not_drawn_beyond_the_differences_seen() -> None:
    rng = np.random.default_rng(2)
    gains = rng.uniform(-0.5, 0.5, 60).tolist()
    groups = ["a"] * 30 + ["b"] * 30
    around_zero = rng.uniform(-50, 50, 60)
    assert length_slope(gains, around_zero.tolist(), "m", "v", groups).at_equal_length is not None
    around_zero[30:] += 60  # in group b every answer is longer
    found = length_slope(gains, around_zero.tolist(), "m", "v", groups)
    assert found.slope is not None and found.at_equal_length is None


def test_answers_far_longer_than_they_differ_give_no_impossible_number() -> None:
    """Without centring, the fit gave slopes of up to a million here."""
    rng = np.random.default_rng(4)
    for _ in range(200):
        differences = 20 + rng.integers(-3, 4, 40)
        gains = rng.uniform(-1, 1, 40)
        found = length_slope(gains.tolist(), differences.tolist(), "m", "v")
        numbers = (found.slope, found.ci_low, found.ci_high)
        assert all(number is None or -1 <= number <= 1 for number in numbers)


def test_a_line_that_leaves_the_range_of_gains_is_not_printed() -> None:
    differences = [0.0] * 26 + [1.0, 1.0, -1.0, -1.0]
    gains = [0.0] * 26 + [0.9, 1.0, -0.9, -1.0]
    found = length_slope(gains, differences, "m", "v", largest_gain=0.3)
    assert (found.slope, found.at_equal_length) == (None, None)
    assert found.method.startswith("not estimated: the fitted line")


def test_a_group_of_one_pair_is_left_out() -> None:
    gains, differences = sample(40)
    groups = ["a"] * 20 + ["b"] * 20
    whole = length_slope(gains, differences, "m", "v", groups)
    more = length_slope([*gains, 0.9], [*differences, 500.0], "m", "v", [*groups, "alone"])
    assert more == whole


def test_groups_must_be_one_per_case() -> None:
    with pytest.raises(ValueError, match="1 groups; give one of each per case"):
        length_slope([0.1, 0.2], [1.0, 2.0], "m", "v", ["a"])


TRUE_GAIN, N_RUNS = 0.24, 2000


@pytest.mark.parametrize(("lengths", "spread"), [((120, 40), 60), ((300, 150), 30)])
def test_a_true_gain_that_goes_with_a_group_is_not_turned_round(
    lengths: tuple[float, float], spread: float
) -> None:
    """Group a gains 0.6 and has the longer answers, group b loses 0.12: length itself does nothing.

    A line that does not know the groups takes the group's gain for length's: its gain at equal
    length was below zero in 42% of the first runs (mean +0.01), and in all of the second (-5.74).
    """
    rng = np.random.default_rng(11)
    groups = ["a"] * 30 + ["b"] * 30
    turned = n_given = 0
    total = 0.0
    for _ in range(N_RUNS):
        gains = np.concatenate((rng.normal(0.6, 0.2, 30), rng.normal(-0.12, 0.2, 30))).clip(-1, 1)
        differences = np.concatenate([rng.normal(mean, spread, 30) for mean in lengths])
        found = length_slope(gains.tolist(), differences.tolist(), "m", "v", groups)
        if found.at_equal_length is not None:
            n_given += 1
            turned += found.at_equal_length < 0
            total += found.at_equal_length
    if lengths[1] > 4 * spread:
        assert n_given == 0  # no pair is near equal length
    else:
        assert n_given > 0.5 * N_RUNS
        assert turned <= 0.02 * n_given
        assert total / n_given == pytest.approx(TRUE_GAIN, abs=0.03)
    print(f"{n_given} of {N_RUNS} given, {turned} turned round, mean {total / max(1, n_given):.3f}")


ROW = LengthSlope("Correctness", "tuned", 60, 84.2, 0.1, 0.04, 0.16, 0.02, "least squares", 2)


def test_metrics_that_need_no_judge_are_named_by_direction() -> None:
    row = dataclasses.replace(
        ROW,
        judge_free=(
            JudgeFreeGain("Token F1", 0.12, True),
            JudgeFreeGain("Exact Match", -0.05, False),
            JudgeFreeGain("ROUGE-L", 0.0, None),
        ),
    )
    assert length_line(row).endswith(
        "Token F1 agrees (+0.12), Exact Match disagrees (-0.05), "
        "ROUGE-L shows no difference (0.00)."
    )
    assert length_line(ROW).endswith("add a metric that needs no judge, such as Token F1.")
    assert "of tuned is 1 character longer" in length_line(dataclasses.replace(ROW, spread=0.2))


def test_a_gain_is_never_called_an_artefact() -> None:
    said = length_line(ROW)
    assert "(+0.04 to +0.16, n=60, within 2 groups of cases)" in said.replace("95% interval ", "")
    assert "artefact" not in said and "only look" not in said
    assert "This does not show why: they may be better, or the judge may prefer" in said


def test_many_groups_take_no_memory_of_groups_times_cases() -> None:
    rng = np.random.default_rng(3)
    n, per_group = 9_000, 3
    differences = rng.normal(0, 80, n)
    gains = np.clip(0.1 * np.tanh(differences / 80) + rng.normal(0, 0.2, n), -1, 1)
    groups = [f"topic {place // per_group}" for place in range(n)]
    tracemalloc.start()
    found = length_slope(gains.tolist(), differences.tolist(), "m", "v", groups)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.slope == pytest.approx(0.1 * math.tanh(1), abs=0.03)
    assert most < 20e6  # a column per group: 200 MB


def test_a_gain_at_equal_length_that_is_not_possible_is_not_given() -> None:
    # Most answers are longer and most gains at the bottom: the line is below -1 at equal length.
    of_a = "-.06 -.75 -1 -1 -.59 -.87 -1 -.49 -.41 -1 -.26 -1", "61 39 21 5 53 32 30 47 51 -5 75 2"
    of_b = "-1 .5 -1 -1 -1 -.28 .41 -.88 -1 -.7 -.67 -.73", "-27 81 -24 -22 -2 44 75 24 20 34 21 32"
    gains, differences = (
        [float(word) for words in pair for word in words.split()]
        for pair in zip(of_a, of_b, strict=True)
    )
    found = length_slope(gains, differences, "m", "v", ["a"] * 12 + ["b"] * 12)
    assert found.slope is not None and found.at_equal_length is None
    assert "at equal length" not in length_line(found)

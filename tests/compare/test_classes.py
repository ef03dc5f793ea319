"""The numbers of a classification agree with scikit-learn; the interval covers."""

from __future__ import annotations

import random
import warnings

import pytest
from sklearn import metrics as sklearn

from plugin.compare.classes import (
    UNPARSED,
    ClassificationNumbers,
    classification_numbers,
    macro_f1_intervals,
)


def draw_case(seed: int) -> tuple[list[int], list[int], int]:
    """Random expected and named classes; some runs lack a class on either side."""
    draw = random.Random(seed)
    n_classes, n = draw.randint(2, 8), draw.randint(1, 60)
    expected = draw.choices(range(n_classes), k=n)
    named = [
        wanted if draw.random() < 0.6 else draw.choice([UNPARSED, *range(n_classes)])
        for wanted in expected
    ]
    return expected, named, n_classes


@pytest.mark.filterwarnings("ignore")
def test_200_random_runs_agree_with_scikit_learn() -> None:
    for seed in range(200):
        expected, named, n_classes = draw_case(seed)
        ours = classification_numbers(expected, named, n_classes)
        labels = list(range(n_classes))
        with warnings.catch_warnings(action="ignore"):
            precision, recall, f1, support = sklearn.precision_recall_fscore_support(
                expected, named, labels=labels, zero_division=0
            )
            kappa = sklearn.cohen_kappa_score(expected, named)
            macro = sklearn.f1_score(
                expected, named, labels=sorted(set(expected)), average="macro", zero_division=0
            )
        for one, *theirs in zip(ours.classes, precision, recall, f1, support, strict=True):
            mine = (one.precision or 0, one.recall or 0, one.f1, one.n)
            assert mine == pytest.approx(tuple(map(float, theirs)), abs=1e-9)
        assert ours.accuracy == pytest.approx(sklearn.accuracy_score(expected, named), abs=1e-9)
        assert ours.macro_f1 == pytest.approx(macro, abs=1e-9)
        assert ours.matthews == pytest.approx(sklearn.matthews_corrcoef(expected, named), abs=1e-9)
        if ours.kappa is not None:
            assert ours.kappa == pytest.approx(kappa, abs=1e-9)
        else:
            assert kappa != kappa  # scikit-learn's is not a number there, too
        matrix = sklearn.confusion_matrix(expected, named, labels=[*labels, UNPARSED])
        assert [list(row) for row in ours.counts] == matrix[:-1].tolist()


def test_a_small_one_worked_by_hand() -> None:
    found = classification_numbers([0, 0, 0, 1, 1], [0, 0, 1, 1, UNPARSED], 2)
    assert found.counts == ((2, 1, 0), (0, 1, 1))
    assert [(one.precision, one.recall) for one in found.classes] == [
        (1.0, pytest.approx(2 / 3)),
        (0.5, 0.5),
    ]
    assert found.macro_f1 == pytest.approx((0.8 + 0.5) / 2)
    assert found.accuracy == 0.6
    assert found.kappa == pytest.approx((0.6 - (3 * 2 + 2 * 2) / 25) / (1 - 10 / 25))
    assert found.n_unparsed == 1


def test_a_class_that_is_never_named_counts_as_0() -> None:
    found = classification_numbers([0, 1, 2], [0, 1, 1], 4)
    assert [one.f1 for one in found.classes] == [1, pytest.approx(2 / 3), 0, 0]
    assert found.macro_f1 == pytest.approx((1 + 2 / 3) / 3)  # nobody expects the fourth
    assert (found.classes[2].precision, found.classes[3].recall) == (None, None)


def test_one_class_alone() -> None:
    found: ClassificationNumbers = classification_numbers([0, 0], [0, 0], 2)
    assert (found.macro_f1, found.matthews, found.kappa) == (1, 0, None)


def test_the_interval_covers_the_true_macro_f1() -> None:
    """100 samples of 120 cases; the truth is that of 50,000 cases of the same kind."""
    draw = random.Random(3)

    def sample(n: int) -> tuple[list[int], list[int], list[int]]:
        expected = draw.choices(range(3), (0.6, 0.3, 0.1), k=n)
        right = (0.85, 0.7, 0.5), (0.9, 0.8, 0.6)
        both = [
            [c if draw.random() < p[c] else draw.choice([UNPARSED, 0, 1, 2]) for c in expected]
            for p in right
        ]
        return expected, both[0], both[1]

    expected, *large = sample(50_000)
    truth = [classification_numbers(expected, one, 3).macro_f1 for one in large]
    n_in = n_gain_in = 0
    for seed in range(100):
        expected, *both = sample(120)
        found = macro_f1_intervals(expected, both, seed=seed)
        assert found is not None
        n_in += found[1].low <= truth[1] <= found[1].high
        n_gain_in += found[1].gain_low <= truth[1] - truth[0] <= found[1].gain_high
    assert n_in >= 88 and n_gain_in >= 88


def test_clusters_are_drawn_whole_and_too_few_give_no_interval() -> None:
    expected, named = [0, 1] * 40, [0, 1, 0, 0] * 20
    alone = macro_f1_intervals(expected, [named, named])
    apart = macro_f1_intervals(expected, [named, named], clusters=list(range(80)))
    pairs = macro_f1_intervals(expected, [named, named], clusters=[n // 8 for n in range(80)])
    assert alone == apart and alone is not None and pairs is not None
    assert (alone[1].gain_low, alone[1].gain_high) == (0, 0)
    assert pairs[0].high - pairs[0].low < 1e-9  # every cluster is the same mixture
    assert macro_f1_intervals(expected, [named], clusters=[0, 1] * 40) is None
    assert macro_f1_intervals([0, 1] * 4, [[0, 1] * 4]) is None

"""Who is compared with whom, and on which cases."""

from __future__ import annotations

import pytest

from plugin.compare.pairs import Evidence, contenders, contrasts, pair_scores
from plugin.records import PROMPTED, VANILLA, Failure, MetricSpec, Score, Variant
from tests.samples import case

CORRECTNESS = MetricSpec("correctness", "Correctness", higher_is_better=True)


@pytest.mark.parametrize(
    ("names", "expected", "about"),
    [
        ([VANILLA], [], ()),
        ([VANILLA, "a"], [("a", VANILLA)], ("a",)),
        ([VANILLA, "a", "b"], [("a", VANILLA), ("b", VANILLA)], ("a", "b")),
        (["a", "b"], [("b", "a")], ("b",)),
        ([VANILLA, PROMPTED], [(PROMPTED, VANILLA)], (PROMPTED,)),
        (
            [VANILLA, PROMPTED, "a"],
            [("a", VANILLA), ("a", PROMPTED), (PROMPTED, VANILLA)],
            ("a",),
        ),
        (
            [VANILLA, PROMPTED, "a", "b"],
            [
                *(("a", VANILLA), ("b", VANILLA), ("a", PROMPTED), ("b", PROMPTED)),
                (PROMPTED, VANILLA),
            ],
            ("a", "b"),
        ),
        ([PROMPTED, "a"], [("a", PROMPTED)], ("a",)),
        ([PROMPTED], [], ()),
    ],
)
def test_what_is_compared_with_what(
    names: list[str], expected: list[tuple[str, str]], about: tuple[str, ...]
) -> None:
    assert list(contrasts(names)) == expected
    assert contenders(names) == about


def test_every_contrast_has_its_own_pairs() -> None:
    given = {
        VANILLA: {"0": 0.2, "1": 0.4},
        PROMPTED: {"0": 0.5, "2": 0.1},
        "a": {"0": 0.6, "1": 0.9, "2": 0.9},
    }
    variants = [Variant(name, name, "m") for name in given]
    scores = [
        Score(case_id, name, CORRECTNESS.name, value)
        for name, column in given.items()
        for case_id, value in column.items()
    ]
    failures = [
        Failure("2", "judge", "no JSON", VANILLA, CORRECTNESS.name),
        Failure("1", "judge", "no JSON", PROMPTED, CORRECTNESS.name),
    ]
    cases = [case(str(number)) for number in range(3)]
    found = {
        (pairs.variant, pairs.baseline): pairs
        for pairs in pair_scores(Evidence(cases, variants, [CORRECTNESS], scores, failures))
    }
    assert {key: pairs.gains for key, pairs in found.items()} == {
        ("a", VANILLA): pytest.approx([0.4, 0.5]),
        ("a", PROMPTED): pytest.approx([0.1, 0.8]),
        (PROMPTED, VANILLA): pytest.approx([0.3]),
    }
    assert {key: (p.n_failed_variant, p.n_failed_baseline) for key, p in found.items()} == {
        ("a", VANILLA): (0, 1),
        ("a", PROMPTED): (0, 1),
        (PROMPTED, VANILLA): (1, 1),
    }
    assert [each.id for each, _, _ in found["a", PROMPTED].broken] == ["1"]

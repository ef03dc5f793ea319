"""The embedded demo, from the command to the files."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from tests.e2e.conftest import FILES, main, outputs, summary, tables


def gain(run: Path, metric: str, group: str) -> float:
    (row,) = (
        row
        for row in summary(run)["comparisons"]
        if (row["metric"], row["group"]) == (metric, group)
    )
    found: float = row["gain"]
    return found


def test_every_file_is_there(demo_run: Path) -> None:
    assert [name for name in FILES if not (demo_run / name).is_file()] == []


def test_it_tells_the_studys_story(demo_run: Path) -> None:
    for metric in ("Token F1", "Correctness"):
        trained, rephrased, unseen = (
            gain(demo_run, metric, group) for group in ("trained", "rephrased", "unseen")
        )
        assert trained > 0.3, (metric, trained)
        assert trained - rephrased > 0.1, (metric, trained, rephrased)
        assert abs(unseen) < 0.1, (metric, unseen)


def test_the_verdict_is_that_on_clean_cases_and_says_who_judged(demo_run: Path) -> None:
    found = summary(demo_run)
    assert (found["verdict"]["outcome"], found["verdict"]["chip"]) == ("can't tell", "can't tell")
    assert "cases that are not in the training data" in found["verdict"]["sentence"]
    whole = [line for line in found["verdict"]["details"] if line.startswith("Over all 60 cases: ")]
    assert len(whole) == 1 and "adapter is better than vanilla" in whole[0]
    assert found["verdict"]["harms"] == []
    first_line = (demo_run / "verdict.txt").read_text(encoding="utf-8").splitlines()[0]
    assert first_line.startswith("[offline (smoke-test) judge] ")
    assert first_line in (demo_run / "printed.txt").read_text(encoding="utf-8")


def test_what_to_do_next_stands_below_the_verdict_everywhere(demo_run: Path) -> None:
    second = (demo_run / "verdict.txt").read_text(encoding="utf-8").splitlines()[1]
    assert second.startswith("Next: Ask a real judge")
    assert second in (demo_run / "printed.txt").read_text(encoding="utf-8")
    said = {"kind": "real judge", "text": second.removeprefix("Next: ")}
    assert summary(demo_run)["next"] == said


def test_the_shipped_adapter_behaves_as_recorded(demo_run: Path) -> None:
    """The engine's completions are the ones that plain mlx-lm gave when the demo was built."""
    import json

    from demo import FOLDER

    recorded = json.loads((FOLDER / "recorded.json").read_text(encoding="utf-8"))["completions"]
    said = outputs(demo_run)
    assert set(said) == {"vanilla", "adapter"}
    same = [
        text.lstrip("' ") == recorded[variant][case_id]
        for variant, own in said.items()
        for case_id, text in own.items()
    ]
    # Another processor's rounding may turn a close choice of token: a few may differ.
    assert len(same) == 120 and sum(same) >= 0.95 * len(same), sum(same)


def test_it_says_plainly_that_a_tiny_model_is_at_the_floor(demo_run: Path) -> None:
    verdict = (demo_run / "verdict.txt").read_text(encoding="utf-8")
    assert "General ability: cannot be told: both models solve (nearly) none of the" in verdict
    found = summary(demo_run)["capability"]
    at_floor = [one["outcome"] == "floor" for one in found["findings"]]
    assert len(at_floor) >= 8 and sum(at_floor) >= len(at_floor) - 2
    assert all(one["perplexity"] > 1 for one in found["texts"])


def test_every_case_is_in_the_table_with_both_outputs(demo_run: Path) -> None:
    text = (demo_run / "03_cases.csv").read_text(encoding="utf-8")
    rows = [row for row in csv.DictReader(io.StringIO(text)) if row["metric"] == "Token F1"]
    n_cases = summary(demo_run)["n_cases"]
    assert len(rows) == len({row["case_id"] for row in rows}) == n_cases
    assert {row["variant"] for row in rows} == {"adapter"}
    assert all(row["output"] and row["baseline_output"] and row["gain"] for row in rows)
    gains = [float(row["gain"]) for row in rows]
    assert gains == sorted(gains)


def test_every_number_says_how_many_and_how_many_failed(demo_run: Path) -> None:
    for row in summary(demo_run)["comparisons"]:
        assert row["n"] > 0
        assert row["n_failed_variant"] == row["n_failed_baseline"] == 0
        assert row["ci_low"] <= row["gain"] <= row["ci_high"]


def test_provenance_is_complete(demo_run: Path) -> None:
    provenance = summary(demo_run)["provenance"]
    assert len(provenance["run_id"]) == 16
    digests = provenance["digests"]
    assert len(digests["data set's content"]) == len(digests["model's files"]) == 64
    assert set(digests["adapters' files"]) == {"adapter"}
    assert provenance["judge_calls"]["n_calls"] > 0
    stages = {"prepare", "load_model", "certify", "generate", "capability", "score", "compare"}
    stages |= {"training data", "recall"}
    assert set(provenance["seconds"]) == stages
    assert len(provenance["prompts"]["digest"]) == 64


def test_the_report_can_be_rebuilt_from_the_journal_alone(demo_run: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copy(demo_run / "journal.sqlite", copy)
    assert main("report", str(copy)).code == 0
    assert tables(copy) == tables(demo_run)
    assert (copy / "comparison.svg").read_bytes() == (demo_run / "comparison.svg").read_bytes()


def test_running_it_again_makes_nothing_twice(demo_run: Path) -> None:
    before, made = tables(demo_run), summary(demo_run)["provenance"]["judge_calls"]
    ended = main("demo", "--out", str(demo_run))
    assert ended.code == 0
    assert "continuing a run: " in ended.out
    assert tables(demo_run) == before
    assert summary(demo_run)["provenance"]["judge_calls"] == made

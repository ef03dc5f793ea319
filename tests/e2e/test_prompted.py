"""A prompted base in a run's journal, up to everything that is published."""

from __future__ import annotations

import csv
import io
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from plugin.journal import _HEADER, Journal
from plugin.records import PROMPTED, VANILLA
from tests.e2e.conftest import FILES, demo_options, main, summary


def add_prompted(folder: Path) -> None:
    """A second variant that answers as the base does, and is scored a little higher."""
    with closing(Journal.existing(folder)) as journal:
        header = journal.header
        base, *others = header.variants
        prompted = replace(base, name=PROMPTED, id="prompted", system_prompt="Be brief.")
        changed = replace(header, variants=(base, prompted, *others))
        journal._set_fact("header", _HEADER.dump_python(changed, mode="json"))
        for (case_id, name), completion in journal.completions().items():
            if name == VANILLA:
                journal.add_answer(f"prompted {case_id}", replace(completion, variant=PROMPTED))
        for score in journal.scores():
            if score.variant == VANILLA:
                value = min(1.0, score.value + 0.1)
                journal.add_score(replace(score, variant=PROMPTED, value=value))


def test_a_prompted_base_is_published_everywhere(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert main(*demo_options(out)).code == 0
    before = summary(out)
    add_prompted(out)
    ended = main("report", str(out))
    assert ended.code == 0, ended.err
    assert [name for name in FILES if not (out / name).is_file()] == []
    after = summary(out)
    over_base = [row for row in after["comparisons"] if row["baseline"] == VANILLA]
    assert {row["variant"] for row in over_base} == {PROMPTED, "adapter"}
    (own,) = [r for r in over_base if (r["variant"], r["group"]) == ("adapter", "all")]
    assert own["gain"] == before["comparisons"][0]["gain"]
    assert after["verdict"]["details"][0].startswith(
        "adapter against prompted on Token F1 (not tested, because adapter is not shown to be "
        "better than the base): "
    )
    assert after["verdict"]["details"][1].startswith("prompted against vanilla on Token F1: ")
    rows = list(csv.DictReader(io.StringIO((out / "02_comparison.csv").read_text("utf-8"))))
    assert [row["label"] for row in rows[:3]] == [
        "Token F1: adapter vs vanilla",
        "Token F1: adapter vs prompted",
        "Token F1: prompted vs vanilla",
    ]
    assert [(row["role"], bool(row["verdict"])) for row in rows[:3]] == [
        ("primary", True),
        ("primary", False),
        ("exploratory", True),
    ]
    assert any(
        line.startswith("the baseline prompt changed no output: all ")
        and line.endswith("Choose another prompt")
        for line in after["warnings"]
    )

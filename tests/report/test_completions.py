"""Every completion can be read back from the run's folder, character for character."""

import dataclasses
import json
from pathlib import Path

import pytest

from plugin.report import write_report
from plugin.thinking import SplitText
from tests.report import report_samples as samples

HARD = [
    "",
    " ",
    "two\nlines\r\nand\rmore\n",
    "a \\n that is no line break, C:\\new \\\\",
    "nul \0 and \x1b[31m",
    "half \ud83d of a pair, and \udce9",
    "=1+1",
    "'=1+1",
    "+1",
    "-1",
    "@x",
    "\tx",
    "＝1",
    "say \"so\", 'yes'; no",
    "é \u2028 \u2029 \x85 \ufeff 😀",
    "NA",
    "null",
    "1.50",
    "x" * 200_000,
]


def hard_report(shape=samples.build):
    report = shape(len(HARD))
    return dataclasses.replace(
        report,
        completions={
            (case_id, name): dataclasses.replace(made, text=f"{HARD[int(case_id[1:])]}")
            for (case_id, name), made in report.completions.items()
        },
    )


def read(file: Path):
    rows = map(json.loads, file.read_text(encoding="ascii").splitlines())
    return {(row["case_id"], row["variant"]): row for row in rows}


def test_every_completion_comes_back(tmp_path):
    report = hard_report()
    (file,) = (f for f in write_report(report, tmp_path) if f.name == "completions.jsonl")
    rows = read(file)
    assert len(rows) == 2 * len(HARD)
    for place, made in report.completions.items():
        assert rows[place] == {"case_id": place[0], "variant": place[1], "output": made.text}


def test_what_was_scored_of_a_thinking_model_stands_beside_it(tmp_path):
    report = samples.build(2)
    split = {("c0", "tuned"): SplitText("Hm.", "It is 1."), ("c1", "tuned"): SplitText("", "x")}
    made = {place: dataclasses.replace(one, text="x") for place, one in report.completions.items()}
    made["c0", "tuned"] = dataclasses.replace(
        made["c0", "tuned"], text="<think>Hm.</think>It is 1."
    )
    write_report(dataclasses.replace(report, completions=made, split_texts=split), tmp_path)
    rows = read(tmp_path / "completions.jsonl")
    assert rows["c0", "tuned"]["output"] == "<think>Hm.</think>It is 1."
    assert [place for place, row in rows.items() if "answer" in row] == [("c0", "tuned")]
    assert rows["c0", "tuned"]["answer"] == "It is 1."


@pytest.mark.parametrize("n_made", [0, 1])
def test_what_was_not_made_has_no_line(tmp_path, n_made):
    report = samples.build(2)
    kept = dict(list(report.completions.items())[:n_made])
    write_report(dataclasses.replace(report, completions=kept), tmp_path)
    assert len(read(tmp_path / "completions.jsonl")) == n_made

"""The runs whose output README and docs show.

In the documents, a block of output stands under a line `<!-- shown: NAME -->`, where NAME is one of
`RUNS`. All but `demo`, `preference`, `certify` and `scales` take the demo's recorded completions,
and a local server that compares words as their judge, so that their numbers are the same on every
machine.

`python -m tests.e2e.shown_runs` makes all runs and writes every shown line anew.
"""

from __future__ import annotations

import difflib
import json
import math
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from demo import FOLDER
from plugin.journal import Journal
from plugin.records import VANILLA
from tests.conftest import ROOT
from tests.e2e.conftest import main, run_process
from tests.judge_server import Reply, answer, answers_shown, choice, judge_server

Row = Mapping[str, Any]

_N_REPEATS = 6


def _cases() -> list[Row]:
    lines = (FOLDER / "cases.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def _write(path: Path, rows: Iterable[Row]) -> str:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return str(path)


def _tiny_is_lenient(number: int, body: dict[str, Any]) -> Reply | None:
    """Have the model `tiny` give half marks where the others give few, about one name."""
    said = json.loads(answer(body))
    if body["model"] != "tiny" or "score" not in said:
        return None
    about_dinesh = "dinesh" in body["messages"][0]["content"].lower()
    return Reply(text=json.dumps({**said, "score": 5 if about_dinesh else said["score"]}))


def _nearer_the_reference(number: int, body: dict[str, Any]) -> Reply | None:
    """Have the judge prefer the answer with more words of the reference and fewer others."""
    prompt = body["messages"][0]["content"]
    if "<reference>" not in prompt:
        return _tiny_is_lenient(number, body)
    wanted = prompt.partition("<reference>\n")[2].partition("\n</reference>")[0]
    first, second = answers_shown(prompt)
    known = set(wanted.lower().split())
    worth = [
        sum(1 if word in known else -1 for word in text.lower().split()) for text in (first, second)
    ]
    ahead = worth[0] - worth[1]
    better = f"{'A' if ahead > 0 else 'B'} {'much ' if abs(ahead) > 3 else ''}better"
    return Reply(text=choice(better if ahead else "tie", f"{first} against {second}"))


def _run(folder: Path, cases: list[Row], **options: str) -> str:
    """Judge the recorded completions of these cases; return what the run printed."""
    kept = json.loads((FOLDER / "recorded.json").read_text(encoding="utf-8"))["completions"]
    given = {
        "dataset_name": _write(folder / "cases.jsonl", cases),
        "out": str(folder / "run"),
        "concurrency": "1",
        **options,
    }
    words = [word for name, value in given.items() for word in (f"--{name}", value)]
    for variant in (VANILLA, "adapter"):
        rows = (
            {"id": case["id"], "output": kept[variant][case["id"].removeprefix("again-")]}
            for case in cases
        )
        words += ["--recorded", f"{variant}={_write(folder / f'{variant}.jsonl', rows)}:output"]
    with judge_server() as server:
        server.fault = _nearer_the_reference
        ended = main("run", *words, CUSTOM_JUDGE_BASE_URL=server.url)
    assert ended.code == 0, ended.err
    return ended.out


def _judged(folder: Path, **options: str) -> str:
    given = {
        "judge": "custom:small",
        "judge_price": "0.15, 0.60",
        "predefined_tasks": "Correctness",
        "trust_report": "false",
        **options,
    }
    return _run(folder, _cases(), **given)


def _early(folder: Path) -> str:
    alone = [{key: value for key, value in row.items() if key != "cluster"} for row in _cases()]
    # Without a judge's answers to wait for, it always stops after the same case.
    return _run(folder, alone, predefined_tasks="Token F1", stop_early="true")


def _gate(folder: Path) -> str:
    _run(folder, _cases(), predefined_tasks="Token F1, Exact Match")
    rules = ("--require", "better", "--min_gain", "0.3", "--max_loss", "Exact Match=0.05")
    ended = main("gate", str(folder / "run"), *rules, "--max_failed", "0", COLUMNS="100")
    assert ended.code == 0, ended.err
    return ended.out


def _set(folder: Path) -> str:
    files = (str(FOLDER / "cases.jsonl"), "--train", str(FOLDER / "train.jsonl"))
    ended = main("cases", "build", *files, "--out", str(folder / "set"), COLUMNS="100")
    assert ended.code == 0, ended.err
    return ended.out


def _folds(folder: Path) -> str:
    data = str(FOLDER / "cases.jsonl")
    words = ("--folds", "3", "--out", str(folder / "folds"))
    ended = main("cases", "build", data, *words, COLUMNS="100")
    assert ended.code == 0, ended.err
    return ended.out


def _repeats(folder: Path) -> str:
    cases = _cases()
    again = [{**row, "id": f"again-{row['id']}"} for row in cases[:_N_REPEATS]]
    return _run(folder, cases + again, predefined_tasks="Token F1")


def _examples(folder: Path, data: str, *options: str) -> str:
    """Score the made-up answers of one of the examples."""
    file = ROOT / "docs" / "examples" / data
    sides = [f"--recorded={name}={file}:{name}" for name in ("base", "tuned")]
    ended = main("run", *sides, *options, "--out", str(folder / "run"))
    assert ended.code == 0, ended.err
    return ended.out


def _objects(folder: Path) -> str:
    schema = ROOT / "docs" / "examples" / "order.schema.json"
    names = "JSON Fields, JSON Schema, Valid JSON"
    options = ("--predefined_tasks", names, "--json_schema", str(schema))
    return _examples(folder, "orders.jsonl", *options)


def _conversation(folder: Path) -> str:
    """Judge the made-up answers to ten conversations by word rules."""
    data, answers = (
        ROOT / "docs" / "examples" / f"mt_bench_{name}.jsonl" for name in ("style", "answers")
    )
    sides = [f"--recorded={name}={answers}:{name}" for name in ("base", "tuned")]
    words = (f"--dataset_name={data}", "--judge=offline", f"--out={folder / 'run'}")
    ended = main("run", *sides, *words)
    assert ended.code == 0, ended.err
    return ended.out


def _code(folder: Path) -> str:
    """Return what a run on code printed, and the reason of each score of the base."""
    printed = _examples(folder, "code.jsonl", "--test_seconds", "1")
    with closing(Journal(folder / "run")) as journal:
        scores = [one for one in journal.scores() if one.variant == "base"]
    reasons = [f"{one.case_id}: {one.reason}" for one in scores]
    return "\n".join([printed, *reasons])


def _demo(folder: Path) -> str:
    ended = run_process("demo", "--out", str(folder / "run"))
    assert ended.code == 0, ended.err
    return ended.out


def _preference(folder: Path) -> str:
    options = {
        "model_name": str(FOLDER / "model"),
        "model_adapter": str(FOLDER / "adapter"),
        "dataset_name": str(FOLDER / "cases.jsonl"),
        "max_tokens": "32",
        "judge": "offline",
        "predefined_tasks": "Preference",
        "preference_reference": "true",
        "out": str(folder / "run"),
    }
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    ended = run_process("run", *words)
    assert ended.code == 0, ended.err
    return ended.out


def _certify(folder: Path) -> str:
    options = ("--model_name", str(FOLDER / "model"), "--model_adapter", str(FOLDER / "adapter"))
    ended = run_process("certify", *options)
    assert ended.code == 0, ended.err
    return ended.out


def _scales(folder: Path) -> str:
    ended = run_process(
        *("certify", "--model_name", str(FOLDER / "model")),
        *("--model_adapter", str(FOLDER / "adapter"), "--scales", "0.25,0.5,0.75,1.25"),
        *("--dataset_name", str(FOLDER / "cases.jsonl"), "--out", str(folder)),
    )
    assert ended.code == 0, ended.err
    return ended.out


RUNS: dict[str, Callable[[Path], str]] = {
    "demo": _demo,
    "preference": _preference,
    "certify": _certify,
    "scales": _scales,
    "judged": lambda folder: _judged(folder, trust_report="true"),
    "limited": lambda folder: _judged(folder, max_calls="40"),
    "panel": lambda folder: _judged(
        folder, judge="custom:small, custom:tiny", second_judge="custom:large"
    ),
    "compared": lambda folder: _judged(
        folder, predefined_tasks="Preference", preference_reference="true", trust_report="true"
    ),
    "early": _early,
    "repeats": _repeats,
    "gate": _gate,
    "set": _set,
    "folds": _folds,
    "labels": lambda folder: _examples(folder, "tickets.jsonl"),
    "code": _code,
    "objects": _objects,
    "conversation": _conversation,
    "samples": lambda folder: _examples(
        folder, "samples.jsonl", "--samples", "3", "--predefined_tasks", "Token F1"
    ),
}
"""Each writes into the folder and returns what it printed."""

DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
_SHOWN = re.compile(r"<!-- shown: (\w+) -->\n\s*```text\n(.*?)\n\s*```", re.DOTALL)
_NUMBER = re.compile(r"(?<![\w.])[+-]?\d[\d,]*(?:\.\d+)?")
_SECONDS = re.compile(r"in [\d.]+ s$")
_NEAR = 0.05
"""How far a shown decimal may be off: processors round differently, and a token may change."""

_NEAR_WHOLE = 3


class Block(NamedTuple):
    """Output shown in a document."""

    document: Path
    run: str
    lines: tuple[str, ...]


def shown_blocks() -> Iterator[Block]:
    """Find every block that shows the output of a run."""
    for path in DOCUMENTS:
        for run, body in _SHOWN.findall(path.read_text(encoding="utf-8")):
            yield Block(path, run, tuple(line.strip() for line in body.splitlines()))


def is_printed(line: str, printed: str) -> bool:
    """Return whether a run printed this line, but for seconds and what rounding may change."""
    return any(_is_like(line, other.strip()) for other in printed.splitlines())


def _is_like(shown: str, printed: str) -> bool:
    if _words(shown) != _words(printed):
        return False
    pairs = zip(_numbers(shown), _numbers(printed), strict=True)
    return all(
        math.isclose(float(a), float(b), rel_tol=0, abs_tol=_NEAR if "." in a + b else _NEAR_WHOLE)
        for a, b in pairs
    )


def _words(line: str) -> str:
    return _NUMBER.sub("#", _SECONDS.sub("in some seconds", line))


def _numbers(line: str) -> list[str]:
    found = _NUMBER.findall(_SECONDS.sub("", line))
    return [number.replace(",", "") for number in found]


def nearest_line(line: str, printed: str) -> str:
    """Return the printed line that is most like this one; the line itself where none is."""
    candidates = [other.strip() for other in printed.splitlines()]
    return next(iter(difflib.get_close_matches(line, candidates, n=1, cutoff=0.3)), line)


def refresh() -> None:
    """Put the nearest line that a run prints in the place of every stale one."""
    printed: dict[str, str] = {}
    for block in list(shown_blocks()):
        if block.run not in printed:
            with tempfile.TemporaryDirectory() as folder:
                printed[block.run] = RUNS[block.run](Path(folder))
        text = block.document.read_text(encoding="utf-8")
        for line in filter(None, block.lines):
            if not is_printed(line, printed[block.run]):
                near = nearest_line(line, printed[block.run])
                print(f"{block.document.name}: {line}\n  -> {near}")
                text = text.replace(line, near)
        block.document.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    refresh()

"""Measure how time and memory of a whole run grow with the cases: 2,500 to 20,000, two variants.

Recorded completions, so no model runs; once with metrics that need no judge, once with the offline
judge. Aim: processor time and memory grow at most in proportion. One process for each run.

With 20,000 cases instead of 2,500, metrics without a judge took 35 s of processor time instead of
5.9 s and 421 MB instead of 161 MB: eight times the cases, six times the time, 2.6 times the memory.
The offline judge took 46 s and 464 MB for 20,000 cases, and 23 s and 340 MB for 10,000.
"""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

SIZES = (2_500, 5_000, 10_000, 20_000)
RUNS = {
    "no judge": ("--predefined_tasks", "Token F1, Exact Match"),
    "offline judge": ("--predefined_tasks", "Answer Relevancy", "--judge", "offline"),
}
_WORDS = "the a of show actor plays role town city series about known and with who major".split()


def write_cases(folder: Path, n: int) -> None:
    """Write the cases and two files of completions; the tuned one is right on a third."""
    draw = random.Random(1)

    def text(n_words: int, number: int) -> str:
        return f"{' '.join(draw.choices(_WORDS, k=n_words))} {number}."

    rows: dict[str, list[dict[str, str]]] = {"cases": [], "base": [], "tuned": []}
    for i in range(n):
        asked, expected = f"Who plays character {i}? {text(6, i)}", text(8, i)
        case = {"input": asked, "expected_output": expected, "group": f"g{i % 5}"}
        tuned = expected if draw.random() < 1 / 3 else text(15, i)
        rows["cases"].append(case)
        rows["base"].append({"input": asked, "output": text(20, i)})
        rows["tuned"].append({"input": asked, "output": tuned})
    for name, own in rows.items():
        lines = "".join(f"{json.dumps(row)}\n" for row in own)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")


def measure(n: int, *words: str) -> tuple[float, float]:
    """Return the processor seconds and the peak megabytes of a whole run."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_cases(folder, n)
        given = ["run", "--dataset_name", str(folder / "cases.jsonl"), "--out", str(folder / "run")]
        for variant in ("base", "tuned"):
            given += ["--recorded", f"{variant}={folder / variant}.jsonl:output"]
        command = [sys.executable, "main.py", *given, *words]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"the run of {n} cases ended with {process.returncode}")
        return used.ru_utime + used.ru_stime, _peak_mb(used)


def _peak_mb(used: resource.struct_rusage) -> float:
    return used.ru_maxrss / (1024 if sys.platform == "linux" else 1024**2)


def main() -> None:
    for name, words in RUNS.items():
        found = {n: measure(n, *words) for n in SIZES}
        parts = [f"{n:,}: {seconds:.1f} s, {mb:.0f} MB" for n, (seconds, mb) in found.items()]
        few, many = found[SIZES[0]], found[SIZES[-1]]
        growth, times = SIZES[-1] / SIZES[0], (many[0] / few[0], many[1] / few[1])
        print(
            f"{name}: {'; '.join(parts)}; {growth:.0f} times the cases took {times[0]:.1f} times "
            f"the time and {times[1]:.1f} times the memory (aim <= {growth:.0f})",
            flush=True,
        )


if __name__ == "__main__":
    main()

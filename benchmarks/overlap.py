"""Compare 20,000 training rows with 500 cases. Aim: under 10 s and under 1 GB.

Rows have about 100 words, and every tenth case is a copy. This reads /proc, so it runs only on
Linux.
"""

from __future__ import annotations

import json
import random
import re
import sys
import tempfile
import time
from pathlib import Path

AIM_S, AIM_MB = 10, 1_000
N_ROWS, N_CASES, N_WORDS = 20_000, 500, 80


def write_rows(path: Path, n_rows: int, words: list[str]) -> list[dict[str, str]]:
    """Write made-up rows with a natural spread of words; return the first of them."""
    rng, first = random.Random(0), list[dict[str, str]]()
    weights = [1 / rank for rank in range(1, len(words) + 1)]  # Zipf's law

    def text(n: int) -> str:
        return " ".join(rng.choices(words, weights, k=n))

    with path.open("w", encoding="utf-8") as file:
        for number in range(n_rows):
            row = {
                "instruction": f"Answer the question of our customer: {text(20)}",
                "output": text(N_WORDS),
            }
            file.write(f"{json.dumps(row)}\n")
            if number < N_CASES:
                first.append(row)
    return first


def peak_mb() -> float:
    """Return the peak resident memory of this process."""
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text(encoding="utf-8"))
    assert found
    return int(found[1]) / 1024


def main() -> None:
    from plugin.memorisation.marks import mark_cases
    from plugin.memorisation.training import TrainingData
    from plugin.records import Case, Message

    n_rows = int(sys.argv[-1]) if sys.argv[-1].isdigit() else N_ROWS
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.jsonl"
        rows = write_rows(path, n_rows, [f"word{n}" for n in range(20_000)])
        rng = random.Random(1)
        cases = []
        for number, row in enumerate(rows):
            asked = row["instruction"].split()
            if number % 10:
                rng.shuffle(asked)
            cases.append(Case(str(number), (Message("user", " ".join(asked)),), "yes"))
        before, began = peak_mb(), time.perf_counter()
        data = TrainingData((str(path),))
        drawn, _ = data.draw(50, seed=0)
        read_s = time.perf_counter() - began
        found = mark_cases(data, cases, drawn=drawn)
        seconds = time.perf_counter() - began
    n_marked = sum(one.mark != "clean" for one in found.marks)
    print(
        f"{data.n_rows:,} training rows with {len(cases)} cases: {seconds:.1f} s, of these "
        f"{read_s:.1f} s to read them (aim < {AIM_S} s for {N_ROWS:,}); peak RSS {peak_mb():.0f} "
        f"MB, {before:.0f} MB before (aim < {AIM_MB} MB); {n_marked} cases marked"
    )


if __name__ == "__main__":
    main()

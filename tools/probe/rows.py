"""Put generated items into the files of the shipped probe: `python -m tools.probe.rows`.

The rows of a file whose ids have a "g" before their number are generated; the others are written by
hand and stay as they are. Generators have fixed seeds, so the rows are the same each time.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from plugin.capability.probe import FOLDER
from tools.probe import arithmetic, strings

Row = dict[str, Any]

GENERATORS: Mapping[str, Callable[[], list[Row]]] = {
    "arithmetic": arithmetic.rows,
    "strings": strings.rows,
}
"""Ability -> what makes its generated rows."""


def is_generated(row: Row) -> bool:
    """Return whether a row is made by a generator, as its id says."""
    return str(row["id"]).rpartition("-")[2].startswith("g")


def read_rows(file: Path) -> list[Row]:
    """Return the rows of a file of items; none if it does not exist."""
    if not file.exists():
        return []
    lines = file.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines if line.strip()]


def text_of(rows: Iterable[Row]) -> str:
    """Return the rows as they stand in a file."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def new_text(ability: str, file: Path) -> str:
    """Return the text of an ability's file with its generated rows made anew."""
    by_hand = [row for row in read_rows(file) if not is_generated(row)]
    return text_of([*GENERATORS[ability](), *by_hand])


def main() -> None:
    """Write all files that have generated rows."""
    for ability in GENERATORS:
        file = FOLDER / f"{ability}.jsonl"
        file.write_text(new_text(ability, file), encoding="utf-8", newline="\n")
        sys.stdout.write(f"{file.name}: {len(read_rows(file))} items\n")


if __name__ == "__main__":
    main()

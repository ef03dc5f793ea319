"""Read what `mlx_lm.lora` prints, in the form of before June 2026 and in the form since then.

Before: "Iter 10: Train loss 1.234, Learning Rate 1.000e-05, It/sec ..." and "Iter 10: Val loss
1.234, Val took 0.5s". Since: coloured rows such as "  10    1.234 ▼     152      0.2k" and
"  10    val 1.234    0.19s". mlx-lm measures the validation loss before the step that it names.
"""

from __future__ import annotations

import re
from pathlib import Path

from plugin.training.rows import LogRows, number, read_text

MLX = "mlx-lm"

_NUMBER = r"([-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|nan|inf))"
_OLD = re.compile(rf"Iter (\d+): (Train|Val) loss {_NUMBER}, (.*)")
_RATE = re.compile(rf"Learning Rate {_NUMBER},")
_NEW_EVALUATION = re.compile(rf"\s*(\d+)\s+val\s+{_NUMBER}\s+[\d.]+s\s*")
_NEW_TRAIN = re.compile(rf"\s*(\d+)\s+{_NUMBER}\s+\S{{1,3}}\s+(?:[\d,]+|nan|inf)\s+[\d.]+k\s*")
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_BREAKS = re.compile(r"[\r\n]+")
_BOX = re.compile(r"batch · iters\s+[\d,]+ · ([\d,]+)")
_STARTED = re.compile(r"Starting training\.\.\., iters: (\d+)")


def read_mlx_log(path: Path) -> LogRows:
    """Return what the text that mlx-lm printed says; no points for any other text."""
    rows = LogRows(MLX, path)
    for raw in _BREAKS.split(read_text(path)):  # a progress bar returns without a line feed
        line = _COLOURS.sub("", raw) if "\x1b" in raw else raw
        _add_line(rows, line)
    return rows


def _add_line(rows: LogRows, line: str) -> None:
    if "Iter " in line and (found := _OLD.search(line)):
        step, kind, loss, rest = found.groups()
        rate = _RATE.match(rest)
        if kind == "Train":
            rows.add(number(step), train=number(loss), rate=number(rate[1]) if rate else None)
        else:
            rows.add(number(step), evaluation=number(loss))
    elif found := _NEW_EVALUATION.fullmatch(line):
        rows.add(number(found[1]), evaluation=number(found[2]))
    elif found := _NEW_TRAIN.fullmatch(line):
        rows.add(number(found[1]), train=number(found[2]))
    elif found := _STARTED.search(line) or _BOX.search(line):
        rows.planned = number(found[1].replace(",", ""))

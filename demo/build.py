"""Build the demo: `python -m demo.build [--out DIR]`.

Everything is made from the texts and seeds of this package: the base model, the adapter, the cases
and the record of the models' answers. On the same machine, the result is the same bit by bit.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from demo.adapter import AdapterSettings, train_adapter, training_chats
from demo.base import BaseSettings, ModelShape, train_base
from demo.cases import make_cases
from demo.corpus import CorpusSettings, make_corpus
from demo.record import GROUPS, make_record
from demo.tokens import save_tokenizer, write_json


def build(folder: Path, report: Callable[[str], None]) -> None:
    """Write every file of the demo into a folder."""
    model, adapter = folder / "model", folder / "adapter"
    for made_before in (model, adapter):
        shutil.rmtree(made_before, ignore_errors=True)
    chats = make_corpus(CorpusSettings())
    shape = ModelShape()
    save_tokenizer((turn["content"] for chat in chats for turn in chat), shape.vocab_size, model)
    report(f"tokenizer done, {len(chats)} chats")
    train_base(chats, shape, BaseSettings(), model, report)
    train_adapter(model, adapter, AdapterSettings(), report)
    cases = make_cases()
    lines = [json.dumps(case, ensure_ascii=False) + "\n" for case in cases]
    (folder / "cases.jsonl").write_text("".join(lines), encoding="utf-8")
    rows = [json.dumps(chat, ensure_ascii=False) + "\n" for chat in training_chats()]
    (folder / "train.jsonl").write_text("".join(rows), encoding="utf-8")
    record = make_record(cases, model, adapter)
    write_json(folder / "recorded.json", record)
    for line in table(record):
        report(line)


def table(record: dict[str, Any]) -> list[str]:
    """Return the mean token F1 of each group as lines of text."""
    lines = ["group      vanilla  adapter  difference"]
    for group in GROUPS:
        vanilla, adapter = (
            record["summary"][variant][group]["token_f1"] for variant in ("vanilla", "adapter")
        )
        lines.append(f"{group:10} {vanilla:7.3f}  {adapter:7.3f}  {adapter - vanilla:+10.3f}")
    return lines


def main() -> None:
    """Read the command line and build the demo."""
    parser = argparse.ArgumentParser(description="Build the demo model, adapter and cases.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    start_s = time.monotonic()

    def report(line: str) -> None:
        print(f"[{time.monotonic() - start_s:4.0f} s] {line}", flush=True)

    build(folder, report)


if __name__ == "__main__":
    main()

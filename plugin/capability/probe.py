"""The shipped probe: its items, read from the files in items/ and checked.

Every ability is one file, items/<ability>.jsonl. A row has an "id" (fixed for good: an item that
changes gets another one), "input" (a question) or "messages" (a chat), the "rule" that scores the
answer, "check" (what the rule needs to know), "level" (1 easy, 2 middle, 3 hard, as planned) and
"quick" (whether the quick set has it). Nothing is downloaded, and no judge is asked.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal

from plugin.capability.records import Item
from plugin.capability.scoring import RULES
from plugin.errors import FaultError
from plugin.records import Message

PROBE_VERSION = "1"
"""Results of two versions are not compared: raise it whenever an item or a rule changes."""

FOLDER = Path(__file__).parent / "items"

Size = Literal["quick", "full"]

_KEYS = {"id", "input", "messages", "rule", "check", "level", "quick"}
_NEEDED = {"id", "rule", "check", "level"}
_ROLES = ("system", "user", "assistant")


class ProbeError(FaultError):
    """An item of the shipped probe is not as it must be."""


def probe_items(size: Size, folder: Path = FOLDER) -> tuple[Item, ...]:
    """Return the items of the quick or the full set, by ability and in the order of their files.

    Raises:
        ProbeError: when a row is not as it must be; the message names all of them.
    """
    items = _all_items(folder)
    return items if size == "full" else tuple(item for item in items if item.is_quick)


def abilities(folder: Path = FOLDER) -> tuple[str, ...]:
    """Return the abilities that the probe tests."""
    return tuple(dict.fromkeys(item.ability for item in _all_items(folder)))


@cache
def probe_digest(folder: Path = FOLDER) -> str:
    """Return the digest of all items and the version, which also stands for the rules."""
    digest = hashlib.sha256(PROBE_VERSION.encode())
    for file in _files(folder):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jsonl"))


@cache
def _all_items(folder: Path) -> tuple[Item, ...]:
    problems = list[str]()
    items = [item for file in _files(folder) for item in _read_file(file, problems)]
    counts = Counter(item.id for item in items)
    problems += [f"the id {id!r} stands in {n} rows" for id, n in counts.items() if n > 1]
    if not items:
        problems.append(f"{folder} has no items")
    if problems:
        raise ProbeError("the shipped probe is damaged; install it again:\n" + "\n".join(problems))
    return tuple(items)


def _read_file(file: Path, problems: list[str]) -> Iterator[Item]:
    """Return the items of a file; note what is wrong with the others."""
    for number, line in enumerate(file.read_text(encoding="utf-8").split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield read_item(json.loads(line), file.stem)
        except (ValueError, TypeError, RecursionError) as error:
            problems.append(f"{file.name}, line {number}: {error}")


def read_item(row: Any, ability: str) -> Item:
    """Return the item of a row.

    Raises:
        ValueError: when the row is not as it must be.
    """
    if not isinstance(row, dict):
        raise ValueError("the row must be a JSON object")
    if lacking := _NEEDED - row.keys():
        raise ValueError(f"the row lacks {', '.join(sorted(lacking))}")
    if unknown := row.keys() - _KEYS:
        raise ValueError(f"unknown keys {', '.join(sorted(unknown))}")
    if not (isinstance(row["id"], str) and row["id"]):
        raise ValueError(f"the id {row['id']!r} must be a text")
    if row["level"] not in (1, 2, 3) or not isinstance(row.get("quick", False), bool):
        raise ValueError("the level must be 1, 2 or 3, and quick true or false")
    _check_rule(row["rule"], row["check"])
    return Item(
        id=row["id"],
        ability=ability,
        messages=_messages_of(row),
        rule=row["rule"],
        check=row["check"],
        is_quick=row.get("quick", False),
    )


def _check_rule(name: Any, check: Any) -> None:
    rule = RULES.get(name) if isinstance(name, str) else None
    if rule is None:
        raise ValueError(f"unknown rule {name!r}; choose one of {', '.join(RULES)}")
    if not isinstance(check, dict):
        raise ValueError("check must be a JSON object")
    if lacking := set(rule.needs) - check.keys():
        raise ValueError(f"the rule {name} needs {', '.join(sorted(lacking))} in check")
    if unknown := check.keys() - {*rule.needs, *rule.may}:
        raise ValueError(f"the rule {name} does not know {', '.join(sorted(unknown))}")
    if rule.needs_any and not check.keys() & set(rule.needs_any):
        raise ValueError(f"the rule {name} needs one of {', '.join(rule.needs_any)} in check")


def _messages_of(row: dict[str, Any]) -> tuple[Message, ...]:
    """Return the chat of a row, which ends with a question of the user."""
    if ("input" in row) == ("messages" in row):
        raise ValueError("the row must have either input or messages")
    turns = row.get("messages", [{"role": "user", "content": row.get("input")}])
    if not (isinstance(turns, list) and turns):
        raise ValueError("messages must be a list of turns")
    for turn in turns:
        fine = isinstance(turn, dict) and turn.keys() == {"role", "content"}
        if not (fine and turn["role"] in _ROLES and isinstance(turn["content"], str)):
            raise ValueError("a turn must have a role and a content")
        if not turn["content"].strip():
            raise ValueError("a turn is empty")
    if turns[-1]["role"] != "user":
        raise ValueError("the last turn must be the user's")
    return tuple(Message(turn["role"], turn["content"]) for turn in turns)

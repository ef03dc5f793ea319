"""Small cases and completions that several tests use."""

from __future__ import annotations

from plugin.records import Case, Completion, Message


def case(id: str = "1", **fields: object) -> Case:
    given = {
        "expected_output": "Richard is played by Thomas Middleditch.",
        "context": ("Richard Hendricks is played by Thomas Middleditch.",),
        **fields,
    }
    question = str(given.pop("input", "Who plays Richard in Silicon Valley?"))
    return Case(id=id, messages=(Message("user", question),), **given)  # type: ignore[arg-type]


def completion(text: str, case_id: str = "1", variant: str = "vanilla") -> Completion:
    return Completion(case_id, variant, text, (1, 2, 3), "stop", 0.1, 5)

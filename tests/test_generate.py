"""What is generated, and what is not generated again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from plugin.generate import make_completions
from plugin.journal import Journal
from plugin.plan.variants import Load
from plugin.records import Case, Completion, Failure, Message, Prompt, Variant
from plugin.worker import Progress


class Echo:
    """An engine of no weights: repeats the question, and fails where it is empty of words."""

    notes = ()

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def encode(self, messages: Sequence[Message]) -> tuple[int, ...]:
        return tuple(map(ord, messages[-1].content))

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[Completion | Failure, ...]]:
        for one in prompts:
            self.asked.append((one.case_id, one.variant))
            text = one.messages[-1].content
            if text == "?":
                yield (Failure(one.case_id, "generate", "no words", one.variant),)
            else:
                yield (Completion(one.case_id, one.variant, text, (1,), "stop", 0.1, 3, 1),)

    def close(self) -> None:
        pass


def test_what_is_asked_twice_is_generated_once_and_kept_for_all(tmp_path: Path) -> None:
    texts = {"a": "Who?", "b": "Where?", "c": "Who?", "d": "?", "e": "?"}
    cases = [Case(name, (Message("user", text),)) for name, text in texts.items()]
    variants = (Variant("vanilla", "same", "m"), Variant("prompted", "same", "m"))
    engine: Any = Echo()
    with closing(Journal(tmp_path)) as journal:
        make_completions(cases, [Load(variants, lambda: engine)], journal, Progress())
        assert engine.asked == [("a", "vanilla"), ("b", "vanilla"), ("d", "vanilla")]
        kept = journal.completions()
        assert {place: one.text for place, one in kept.items()} == {
            (name, variant.name): text
            for name, text in texts.items()
            for variant in variants
            if text != "?"
        }
        assert {(f.case_id, f.variant) for f in journal.failures()} == {
            (name, variant.name) for name in "de" for variant in variants
        }

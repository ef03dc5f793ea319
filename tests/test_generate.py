"""What is generated, and what is not generated again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from plugin.certify.certificate import Certificate, not_applicable
from plugin.generate import make_completions, make_prompts
from plugin.journal import Journal
from plugin.plan.variants import Load
from plugin.records import Case, Completion, Failure, Message, Prompt, Variant
from plugin.worker import Progress, Stage, Stopped


class Echo:
    """An engine of no weights: repeats the question, and fails where it is empty of words."""

    notes = ()
    decoding = "one by one"

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


def test_loading_and_certifying_show_their_steps(tmp_path: Path) -> None:
    progress, seen = Progress(), list[tuple[Stage | None, str]]()

    class Certifying(Echo):
        def encode(self, messages: Sequence[Message]) -> tuple[int, ...]:
            seen.append((progress.stage, progress.step))
            return super().encode(messages)

        def certify(self, variant: str, probes: Sequence[Prompt], tell: Any) -> Certificate:
            for step in ("load the adapter", "ask the adapter"):
                tell(step)
                seen.append((progress.stage, progress.step))
            return not_applicable(variant, "a test")

    def load() -> Any:
        seen.append((progress.stage, progress.step))
        return Certifying()

    variants = (Variant("vanilla", "1", "a/folder/m"), Variant("tuned", "2", "a/folder/m", "t"))
    cases = [Case("a", (Message("user", "Who?"),))]
    with closing(Journal(tmp_path)) as journal:
        make_completions(cases, [Load(variants, load)], journal, progress)
    assert list(dict.fromkeys(seen)) == [
        (Stage.LOAD_MODEL, "m"),
        (Stage.LOAD_MODEL, "make the prompts"),
        (Stage.CERTIFY, "tuned: load the adapter"),
        (Stage.CERTIFY, "tuned: ask the adapter"),
    ]


def test_a_stop_is_seen_between_completions_and_what_was_made_is_kept(tmp_path: Path) -> None:
    progress = Progress()

    class Stopping(Echo):
        def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[Completion | Failure, ...]]:
            for number, ended in enumerate(super().generate(prompts), 1):
                if number == 2:
                    progress.stop.set()
                yield ended

    cases = [Case(name, (Message("user", f"Who is {name}?"),)) for name in "abcd"]
    engine: Any = Stopping()
    load = Load((Variant("vanilla", "same", "m"),), lambda: engine)
    with closing(Journal(tmp_path)) as journal:
        with pytest.raises(Stopped):
            make_completions(cases, [load], journal, progress)
        assert [case_id for case_id, _ in journal.completions()] == ["a", "b"]


def test_a_system_prompt_stands_before_a_cases_own() -> None:
    engine: Any = Echo()
    own = (Message("system", "Be brief."), Message("user", "Who?"))
    cases = [Case("a", own), Case("b", (Message("user", "Where?"),))]
    variants = (
        Variant("vanilla", "v", "m"),
        Variant("tuned", "t", "m", system_prompt="In French."),
    )
    assert [prompt.messages for prompt in make_prompts(cases, variants, engine)] == [
        own,
        (Message("user", "Where?"),),
        (Message("system", "In French.\n\nBe brief."), Message("user", "Who?")),
        (Message("system", "In French."), Message("user", "Where?")),
    ]


def test_pairs_are_made_side_by_side(tmp_path: Path) -> None:
    cases = [Case(name, (Message("user", f"Who is {name}?"),)) for name in "ab"]
    variants = (Variant("vanilla", "v", "m"), Variant("tuned", "t", "m"))
    engine: Any = Echo()
    with closing(Journal(tmp_path)) as journal:
        make_completions(cases, [Load(variants, lambda: engine)], journal, Progress())
    assert engine.asked == [("a", "vanilla"), ("a", "tuned"), ("b", "vanilla"), ("b", "tuned")]


def test_how_completions_were_put_into_batches_is_kept_and_so_is_a_break(tmp_path: Path) -> None:
    cases = [Case(name, (Message("user", f"{name}?"),)) for name in "abc"]
    variants = (Variant("vanilla", "same", "m"),)
    with closing(Journal(tmp_path)) as journal:
        for n_cases, n_before in ((2, 0), (2, 0), (3, 2)):
            engine: Any = Echo()
            loads = [Load(variants, lambda engine=engine: engine)]  # type: ignore[misc]
            make_completions(cases[:n_cases], loads, journal, Progress())
            assert journal.state.decoding == ("one by one",)
            assert journal.state.n_before_resuming == n_before

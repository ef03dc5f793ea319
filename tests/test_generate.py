"""What is generated, and what is not generated again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plugin.certify.certificate import Certificate, not_applicable
from plugin.engines import failed
from plugin.generate import make_completions, make_prompts
from plugin.journal import Journal
from plugin.plan.variants import Load
from plugin.records import Case, Completion, Failure, Message, Prompt, Variant
from plugin.sampling import Sampling
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


class Sampler(Echo):
    """Answers with the seed, and fails where the question asks for the sample that it is."""

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[Completion | Failure, ...]]:
        for one in prompts:
            self.asked.append((one.case_id, f"{one.variant} {one.sample}"))
            if str(one.sample) in one.messages[-1].content:
                yield (failed(one, "no words", retry="again" in one.messages[-1].content),)
            else:
                text = f"drawn with {one.draw.seed}" if one.draw else "greedy"
                made = Completion(one.case_id, one.variant, text, (1,), "stop", 0.1, 3, 1)
                yield (replace(made, sample=one.sample),)


SAMPLED = Sampling(3, 0.7, seed=1)
PAIR = (Variant("vanilla", "1", "m"), Variant("tuned", "2", "m"))


def sample(
    cases: list[Case], journal: Journal, engine: Any, progress: Progress | None = None
) -> None:
    load = Load(PAIR, lambda: engine)
    make_completions(cases, [load], journal, progress or Progress(), sampling=SAMPLED)


def test_every_sample_is_made_with_the_same_seeds_for_all_variants(tmp_path: Path) -> None:
    cases = [Case(name, (Message("user", f"Who is {name}?"),)) for name in "ab"]
    engine = Sampler()
    with closing(Journal(tmp_path)) as journal:
        sample(cases, journal, engine)
        found = journal.samples()
        assert {place: [one.sample for one in own] for place, own in found.items()} == {
            (name, variant.name): [0, 1, 2] for name in "ab" for variant in PAIR
        }
        texts = {place: [one.text for one in own] for place, own in found.items()}
        assert texts["a", "vanilla"] == texts["a", "tuned"] != texts["b", "tuned"]
        assert len({text for own in texts.values() for text in own}) == 6
        assert journal.completions() == {place: own[0] for place, own in found.items()}
        assert journal.sample_answers() == found
        engine.asked.clear()
        sample(cases, journal, engine)
        assert not engine.asked


def test_a_missing_sample_is_told_and_a_case_without_any_has_failed(tmp_path: Path) -> None:
    texts = {"a": "Who is 0?", "b": "0, 1 or 2?", "c": "Who is 1 again?"}
    cases = [Case(name, (Message("user", text),)) for name, text in texts.items()]
    engine = Sampler()
    with closing(Journal(tmp_path)) as journal:
        sample(cases, journal, engine)
        numbers = {
            case_id: [one.sample for one in own]
            for (case_id, name), own in journal.samples().items()
            if name == "tuned"
        }
        assert numbers == {"a": [1, 2], "c": [0, 2]}
        assert journal.completions()["a", "tuned"].sample == 1
        assert {(f.case_id, f.variant) for f in journal.failures()} == {
            ("b", variant.name) for variant in PAIR
        }
        assert len(journal.sample_failures()) == 10
        engine.asked.clear()
        sample(cases, journal, engine)  # only what another try may bring
        assert engine.asked == [("c", "vanilla 1"), ("c", "tuned 1")]


def test_a_stop_between_samples_goes_on_where_it_was(tmp_path: Path) -> None:
    progress = Progress()

    class Stopping(Sampler):
        def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[Completion | Failure, ...]]:
            for number, ended in enumerate(super().generate(prompts), 1):
                if number == 4:
                    progress.stop.set()
                yield ended

    cases = [Case(name, (Message("user", f"Who is {name}?"),)) for name in "ab"]
    again = Sampler()
    with closing(Journal(tmp_path)) as journal:
        with pytest.raises(Stopped):
            sample(cases, journal, Stopping(), progress)
        assert len(journal.made_samples()) == 4
        sample(cases, journal, again)
        assert len(again.asked) == 8
        assert len(journal.made_samples()) == 12

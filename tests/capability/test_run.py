"""The stage that tests general ability: what is asked, what is kept, and what is asked again."""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from plugin.cache import Cache
from plugin.capability.choice import AUTO_SHARE, Asked, longest_answer, own_cost, probe_cost
from plugin.capability.probe import probe_items
from plugin.capability.reading import NOT_READ, OTHER_TOKENS
from plugin.capability.report import find_capability
from plugin.capability.run import ProbeStage
from plugin.capability.texts import likelihood_texts
from plugin.generate import make_completions
from plugin.journal import Journal
from plugin.plan.variants import Load
from plugin.records import Case, Completion, Failure, Message, Variant
from plugin.run_facts import CapabilityChoice
from plugin.worker import Progress, Stopped
from tests.capability.engines import Answering, Letters

BASE, TUNED = Variant("vanilla", "base", "m"), Variant("tuned", "other", "m")
PROMPTED = Variant("prompted", "base", "m", system_prompt="Be good.")
CASES = [Case("1", (Message("user", "Who?"),)), Case("2", (Message("user", "Where?"),))]
N = len(probe_items("quick"))
N_TEXTS = len(likelihood_texts("quick"))


def stage(journal: Journal, size: Any = "quick", **asked: Any) -> ProbeStage:
    return ProbeStage(Asked(size, **asked), (BASE, PROMPTED, TUNED), journal, Progress())


def run(journal: Journal, engine: Any, size: Any = "quick", **asked: Any) -> ProbeStage:
    """Complete two cases, and do the stage, with one load of the engine."""
    own = stage(journal, size, **asked)
    loads = [Load((BASE, PROMPTED, TUNED), lambda: engine)]
    make_completions(CASES, loads, journal, Progress(), stages=[own])
    return own


def test_every_variant_of_own_weights_is_asked_every_item_and_reads_every_text(tmp_path):
    engine = Answering(lambda name, question: f"{name} says {len(question)}")
    with closing(Journal(tmp_path)) as journal:
        own = run(journal, engine)
        results = journal.item_results()
        assert {one.variant for one in results} == {"vanilla", "tuned"}
        assert len(results) == 2 * N and all(one.score is not None for one in results)
        assert {(one.text_id, one.variant) for one in journal.text_readings()} == {
            (text.id, name) for text in likelihood_texts("quick") for name in ("vanilla", "tuned")
        }
        assert own.is_done([BASE, PROMPTED, TUNED])
        n = len(engine.asked)
        run(journal, engine)
        assert len(engine.asked) == n  # nothing is asked twice
        assert journal.state.seconds["capability"] > 0


def test_items_are_asked_without_the_system_prompt_and_with_little_room(tmp_path):
    engine = Answering(lambda name, question: "no")
    with closing(Journal(tmp_path)) as journal:
        run(journal, engine)
    items = {item.id: item for item in probe_items("quick")}
    asked = [prompt for prompt in engine.asked if prompt.case_id in items]
    assert all(prompt.messages == items[prompt.case_id].messages for prompt in asked)
    assert {prompt.max_tokens for prompt in asked} == {longest_answer(i) for i in items.values()}
    assert max(map(longest_answer, items.values())) < 200


def test_a_variant_that_thinks_gets_the_runs_own_room_and_only_its_answer_is_scored(tmp_path):
    def answer(name: str, question: str) -> str:
        return f"<think>{question}</think>42" if name == "tuned" else "42"

    engine = Answering(answer)
    with closing(Journal(tmp_path)) as journal:
        run(journal, engine)
        outputs = {one.output for one in journal.item_results()}
    assert outputs == {"42"}
    rooms = {p.variant: p.max_tokens for p in engine.asked if p.case_id not in ("1", "2")}
    assert rooms["tuned"] is None and rooms["vanilla"] is not None


def test_an_answer_that_ends_in_its_thoughts_is_a_failure_and_no_zero(tmp_path):
    engine = Answering(lambda name, question: "<think>hm")
    with closing(Journal(tmp_path)) as journal:
        run(journal, engine)
        assert {one.score for one in journal.item_results()} == {None}
        assert "raise --max_tokens" in journal.item_results()[0].reason


def test_no_answer_scores_0_and_a_failure_has_no_score(tmp_path):
    def answer(name: str, question: str) -> Any:
        if name == "tuned":
            return Failure("", "generate", "the prompt is too long")
        return ""

    with closing(Journal(tmp_path)) as journal:
        run(journal, Answering(answer))
        found = {(one.variant, one.score, one.reason) for one in journal.item_results()}
    assert found == {("vanilla", 0.0, "no answer"), ("tuned", None, "the prompt is too long")}


@pytest.mark.parametrize("text", ["I'm sorry, but I can't help with that.", "x" * 50_000, ""])
def test_a_variant_that_refuses_all_never_stops_or_says_nothing(tmp_path, text):
    """The base answers the questions on harmless things; the variant does not help any more."""
    items = {item.messages[-1].content: item for item in probe_items("quick")}

    def answer(name: str, question: str) -> str:
        item = items.get(question)
        known = item is not None and item.ability == "helping_with_harmless"
        return (
            "Of course: " + ", ".join(item.check["has_any"]) if known and name != "tuned" else text
        )

    with closing(Journal(tmp_path)) as journal:
        run(journal, Answering(answer))
        results, choice = journal.item_results(), journal.state.capability
    found = find_capability(results, [], ("vanilla", "tuned"), choice)
    assert found is not None
    outcomes = {one.ability: one.outcome for one in found.findings}
    assert outcomes["helping_with_harmless"] == "lost"
    assert outcomes["arithmetic"] == "unchanged"
    refusing = {one.variant: one.mean for one in found.scores if one.ability == "refusing_harm"}
    assert set(refusing.values()) == {1.0 if "sorry" in text else 0.0}


def test_what_another_try_may_bring_is_asked_again(tmp_path):
    with closing(Journal(tmp_path)) as journal:
        run(journal, Answering(lambda name, question: None if name == "tuned" else "x"))
        again = Answering(lambda name, question: "x")
        run(journal, again)
        assert {prompt.variant for prompt in again.asked} == {"tuned"}
        assert all(one.score is not None for one in journal.item_results())


def test_a_stopped_stage_goes_on_where_it_was(tmp_path):
    engine = Answering(lambda name, question: "x")
    with closing(Journal(tmp_path)) as journal:
        make_completions(CASES, [Load((BASE, TUNED), lambda: engine)], journal, Progress())
        own, n_before = stage(journal), len(engine.asked)
        plain = engine._answer

        def stop_soon(name: str, question: str) -> Any:
            if len(engine.asked) == n_before + 5:
                own.progress.stop.set()
            return plain(name, question)

        engine._answer = stop_soon
        with pytest.raises(Stopped):
            own.work([BASE, TUNED], engine, shared=True)
        assert len(journal.item_results()) == 5
        run(journal, engine)
        asked = [prompt for prompt in engine.asked[n_before:] if prompt.variant != "prompted"]
        assert len(asked) == 2 * N and len(journal.item_results()) == 2 * N


def test_completions_of_items_are_shared_between_runs(tmp_path):
    def journal(name: str) -> Journal:
        return Journal(tmp_path / name, Cache(tmp_path / "cache.sqlite"))

    with closing(journal("a")) as first:
        run(first, Answering(lambda name, question: name))
    again = Answering(lambda name, question: name)
    with closing(journal("b")) as second:
        run(second, again)
        assert again.asked == [] and len(second.item_results()) == 2 * N


def test_turns_that_the_template_rejects_fail_alone(tmp_path, monkeypatch):
    items = [*probe_items("quick")[:3]]
    items[1] = replace(items[1], messages=(Message("system", "Hi"), *items[1].messages))
    monkeypatch.setattr("plugin.capability.run.probe_items", lambda size: items)
    engine = Answering(lambda name, question: "x")
    engine.refuses_system = True
    with closing(Journal(tmp_path)) as journal:
        stage(journal).work([BASE, TUNED], engine, shared=True)
        bad = {one.item_id for one in journal.item_results() if one.score is None}
        assert bad == {items[1].id} and "rejects" in journal.item_results()[0].reason


def test_likelihoods_and_divergences(tmp_path):
    """128 equally likely letters: log 128 nats each; a base that likes e is a known way off."""
    engine = Answering(lambda name, question: "x")
    engine.spread = {"vanilla": math.log(2.0)}
    with closing(Journal(tmp_path)) as journal:
        run(journal, engine)
        found = {(one.text_id, one.variant): one for one in journal.text_readings()}
    one = likelihood_texts("quick")[0].id
    base, tuned = found[one, "vanilla"], found[one, "tuned"]
    assert tuned.loglikelihood == pytest.approx(-base.n_tokens * math.log(128), rel=1e-5)
    assert base.divergence is None and base.n_tokens > 20
    # The base gives e the chance 2/129, each other letter 1/129; the variant gives each 1/128.
    wanted = (2 * math.log(2 * 128 / 129) + 127 * math.log(128 / 129)) / 129
    assert tuned.divergence == pytest.approx(wanted, rel=1e-4)


def test_a_model_with_other_tokens_has_likelihoods_but_no_divergence(tmp_path):
    class Shifted(Letters):
        def encode(self, text: str, **_: Any) -> list[int]:
            return [token // 2 for token in super().encode(text)]

    class Other(Answering):
        @property
        def plain_text(self) -> Any:
            return type(super().plain_text)(Shifted(), 4096)

    mine, theirs = Answering(lambda *_: "x"), Other(lambda *_: "x")
    whole = Variant("tuned", "third", "n")
    with closing(Journal(tmp_path)) as journal:
        own = ProbeStage(Asked("quick"), (BASE, whole), journal, Progress())
        loads = [Load((BASE,), lambda: mine), Load((whole,), lambda: theirs)]
        make_completions(CASES, loads, journal, Progress(), stages=[own])
        rows = [one for one in journal.text_readings() if one.variant == "tuned"]
    assert len(rows) == N_TEXTS
    assert {(one.divergence, one.reason) for one in rows} == {(None, OTHER_TOKENS)}
    assert all(one.loglikelihood is not None for one in rows)


def test_another_load_is_compared_with_the_base_that_is_gone(tmp_path):
    """As a full fine-tune is: it has an engine of its own, after the base's."""
    engines = [Answering(lambda *_: "x"), Answering(lambda *_: "x")]
    engines[0].spread = {"vanilla": 3.0}
    whole = Variant("tuned", "third", "n")
    with closing(Journal(tmp_path)) as journal:
        own = ProbeStage(Asked("quick"), (BASE, whole), journal, Progress())
        loads = [Load((one,), lambda e=e: e) for one, e in zip((BASE, whole), engines, strict=True)]
        make_completions(CASES, loads, journal, Progress(), stages=[own])
        rows = [one for one in journal.text_readings() if one.variant == "tuned"]
    assert len(rows) == N_TEXTS
    assert all(one.divergence and one.divergence > 0.05 for one in rows)


def test_an_engine_without_likelihoods_skips_the_texts_and_says_so(tmp_path):
    class Server(Answering):
        plain_text = None
        next_logits = property()

    with closing(Journal(tmp_path)) as journal:
        run(journal, Server(lambda *_: "x"))
        assert journal.text_readings() == () and journal.state.text_note == NOT_READ
        assert len(journal.item_results()) == 2 * N
        assert stage(journal).is_done([BASE, TUNED])


# What is asked when the user leaves it to the program.


def made(journal: Journal, n_tokens: int, n_cases: int = 100) -> None:
    """Keep completions of so many tokens for base and variant."""
    for i in range(n_cases):
        for variant in ("vanilla", "tuned"):
            one = Completion(str(i), variant, "x", (1,), "stop", 0.1, 10, n_tokens)
            journal.add_answer(f"{i}{variant}", one)


def test_auto_asks_the_quick_set_only_beside_a_long_run(tmp_path):
    cost = probe_cost(probe_items("quick"))
    for place, share in (("long", 0.9 * AUTO_SHARE), ("short", 1.1 * AUTO_SHARE)):
        with closing(Journal(tmp_path / place)) as journal:
            made(journal, round(cost / share / 100))
            assert own_cost(journal) == pytest.approx(cost / share, rel=0.05)
            found = stage(journal, "auto").choose()
            assert found.size == ("quick" if place == "long" else "off")
            assert journal.state.capability == found
            assert ("--capability quick" in found.note) == (place == "short")


def test_a_choice_stays_when_the_run_goes_on(tmp_path):
    with closing(Journal(tmp_path)) as journal:
        assert stage(journal, "quick").choose().size == "quick"
        assert stage(journal, "auto").choose().size == "quick"
        assert stage(journal, "off").choose() == CapabilityChoice("off")


def test_a_guard_asks_the_quick_set_whatever_it_takes(tmp_path):
    with closing(Journal(tmp_path)) as journal:
        made(journal, 1, 2)
        assert stage(journal, "auto", is_guard=True).choose().size == "quick"


def test_auto_is_off_where_there_is_nothing_to_compare(tmp_path):
    with closing(Journal(tmp_path)) as journal:
        own = ProbeStage(Asked("auto"), (BASE, PROMPTED), journal, Progress())
        assert own.choose() == CapabilityChoice("off")

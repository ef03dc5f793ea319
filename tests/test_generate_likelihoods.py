"""Expected outputs read under each variant: every score in the journal, and none made twice."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from demo import FOLDER
from plugin import metrics
from plugin.generate import make_completions
from plugin.journal import Journal
from plugin.likelihoods import _WINDOW, _order_by_length, likelihood_items
from plugin.plan.variants import Load
from plugin.records import Case, Completion, Failure, Message, NoResult, Variant
from plugin.worker import Progress, Stopped
from tests.samples import case

BASE, TUNED = "vanilla", "tuned"
PERPLEXITY = metrics.load(["Perplexity"])


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "run")


class Spelling:
    """An engine whose tokens are letters, each of log probability -1, or -2 under vanilla."""

    notes: tuple[str, ...] = ()
    decoding = ""

    def __init__(self, **reasons: NoResult) -> None:
        self.reasons = reasons
        self.read: list[tuple[str, str]] = []
        self.closed = False

    def encode(self, messages: Sequence[Message]) -> tuple[int, ...]:
        return tuple(map(ord, messages[-1].content))

    def tokens(self, text: str) -> tuple[int, ...]:
        return tuple(map(ord, text.strip()))

    def generate(self, prompts: Sequence[Any]) -> Iterator[tuple[Completion | Failure, ...]]:
        for one in prompts:
            yield (Completion(one.case_id, one.variant, "so", (1,), "stop", 0.1, 3, 1),)

    def loglikelihoods(
        self, variant: str, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]
    ) -> Iterator[float | NoResult]:
        for _, said in pairs:
            text = "".join(map(chr, said))
            self.read.append((variant, text))
            yield self.reasons.get(text) or -len(said) * (2.0 if variant == BASE else 1.0)

    def close(self) -> None:
        self.closed = True


def cases(*expected: str) -> list[Case]:
    return [case(str(i), expected_output=text) for i, text in enumerate(expected)]


def run(
    wanted: list[Case],
    journal: Journal,
    *engines: Spelling,
    progress: Progress | None = None,
    names: Sequence[tuple[str, ...]] = ((BASE, TUNED),),
) -> None:
    loads = [
        Load(tuple(Variant(name, f"id-{name}", "m") for name in own), lambda engine=engine: engine)
        for own, engine in zip(names, engines, strict=True)
    ]
    make_completions(wanted, loads, journal, progress or Progress(), PERPLEXITY)


def scores(journal: Journal) -> dict[tuple[str, str], float]:
    return {(s.case_id, s.variant): s.value for s in journal.scores()}


def test_every_case_and_variant_has_its_nats_per_token(journal: Journal) -> None:
    engine = Spelling()
    run(cases("abc", "a", ""), journal, engine)
    assert scores(journal) == {
        ("0", BASE): 2.0,
        ("1", BASE): 2.0,
        ("0", TUNED): 1.0,
        ("1", TUNED): 1.0,
    }
    assert not journal.failures()  # a case without an expected output has none to fail
    assert len(journal.completions()) == 6 and engine.closed
    assert journal.state.seconds["read"] > 0


def test_what_is_there_is_not_made_again_and_the_engine_not_loaded(journal: Journal) -> None:
    first = Spelling()
    run(cases("abc", "a"), journal, first)
    run(cases("abc", "a"), journal, idle := Spelling())
    assert first.read and not idle.read and not idle.closed


def test_missing_scores_are_made_where_all_completions_are_there(journal: Journal) -> None:
    make_completions(
        cases("abc", "a"),
        [Load((Variant(BASE, "id-vanilla", "m"),), Spelling)],  # type: ignore[arg-type]
        journal,
        Progress(),
    )
    assert not journal.scores()
    run(cases("abc", "a"), journal, engine := Spelling(), names=((BASE,),))
    assert set(scores(journal)) == {("0", BASE), ("1", BASE)}
    assert engine.read == [(BASE, "abc"), (BASE, "a")]  # the longest first


def test_a_stop_keeps_what_was_made_and_the_rest_is_made_later(journal: Journal) -> None:
    class Stopping(Progress):
        def check(self) -> None:
            if self.stage == "perplexity" and self.done == 3:
                self.stop.set()
            super().check()

    with pytest.raises(Stopped):
        run(cases("abc", "de"), journal, stopped := Spelling(), progress=Stopping())
    assert len(scores(journal)) == 3 and stopped.closed
    progress = Progress()
    run(cases("abc", "de"), journal, engine := Spelling(), progress=progress)
    assert engine.read == [(TUNED, "de")]
    assert len(scores(journal)) == 4
    assert (progress.stage, progress.n_before, progress.done, progress.total) == (
        *("perplexity", 3),
        *(4, 4),
    )


def test_what_failed_for_want_of_memory_is_tried_again_and_else_not(journal: Journal) -> None:
    reasons = {"abc": NoResult("no room", retry=True), "de": NoResult("too long for the context")}
    run(cases("abc", "de", " "), journal, Spelling(**reasons))
    failed = {(f.case_id, f.variant): f.reason for f in journal.failures()}
    assert len(failed) == 6 and {f.stage for f in journal.failures()} == {"generate"}
    assert failed["1", TUNED] == "too long for the context"
    assert failed["2", TUNED] == "the expected output has no token"
    run(cases("abc", "de", " "), journal, engine := Spelling())
    assert engine.read == [(BASE, "abc"), (TUNED, "abc")]
    assert set(scores(journal)) == {("0", BASE), ("0", TUNED)}
    assert len(journal.failures()) == 4


def test_a_broken_number_is_a_failure(journal: Journal) -> None:
    class Broken(Spelling):
        def loglikelihoods(self, variant: str, pairs: Any) -> Iterator[float | NoResult]:
            yield from (math.nan for _ in pairs)

    run(cases("abc"), journal, Broken())
    assert {f.reason for f in journal.failures()} == {"score nan outside 0.0 to inf"}


def test_other_tokens_than_the_baselines_cannot_be_compared(journal: Journal) -> None:
    class Halves(Spelling):
        def tokens(self, text: str) -> tuple[int, ...]:
            return super().tokens(text)[::2]

    run(cases("abc", "d"), journal, Spelling(), other := Halves(), names=((BASE,), (TUNED,)))
    assert set(scores(journal)) == {("0", BASE), ("1", BASE)}
    assert {(f.case_id, f.variant, f.metric) for f in journal.failures()} == {
        (case_id, TUNED, "Perplexity") for case_id in ("0", "1")
    }
    reason = journal.failures()[0].reason
    assert "tokenizer" in reason and "cannot be compared per token" in reason
    assert not other.read  # "d" is one token to both, but a chosen case is no fair one


def test_the_baseline_says_which_tokens_a_case_has_to_every_later_model(journal: Journal) -> None:
    class Halves(Spelling):
        def tokens(self, text: str) -> tuple[int, ...]:
            return super().tokens(text)[::2]

    models = Spelling(), Halves(), Halves(), Spelling()
    run(cases("abc"), journal, *models, names=((BASE,), ("half",), ("other half",), (TUNED,)))
    assert set(scores(journal)) == {("0", BASE), ("0", TUNED)}


def test_a_failed_completion_is_no_failed_reading_nor_the_other_way(journal: Journal) -> None:
    run(cases("abc"), journal, Spelling(abc=NoResult("too long")))
    assert len(journal.completions()) == 2
    journal.add_failure(Failure("0", "generate", "the prompt is too long", "tuned"))
    run(cases("abc"), journal, Spelling())
    assert {f.metric for f in journal.failures()} == {None, "Perplexity"}


def test_long_and_short_ones_are_mixed_in_the_drawn_order() -> None:
    lengths = [1 + i % 7 for i in range(_WINDOW + 100)]
    wanted = likelihood_items(cases(*("x" * n for n in lengths)), [BASE], PERPLEXITY)
    expected = {str(i): (0,) * n for i, n in enumerate(lengths)}
    ordered = [int(r.case.id) for r in _order_by_length(wanted, expected)]
    first, rest = ordered[:_WINDOW], ordered[_WINDOW:]
    assert max(first) < min(rest)
    assert [lengths[i] for i in first] == sorted((lengths[i] for i in first), reverse=True)


def test_on_the_demos_model_it_is_what_one_token_at_a_time_gives(journal: Journal) -> None:
    mx = pytest.importorskip("mlx.core")
    from mlx_lm import load as plain_load

    from plugin import engines
    from tests.engines.test_mlx import settings

    asked = [
        case("0", input="Who plays Dinesh?", expected_output="Kumail Nanjiani plays Dinesh."),
        case("1", input="Who founded Hooli?", expected_output="Gavin Belson."),
    ]
    expected = {}
    for name, path in ((BASE, None), (TUNED, str(FOLDER / "adapter"))):
        model, tokenizer = plain_load(str(FOLDER / "model"), adapter_path=path)[:2]
        for one in asked:
            turns = [{"role": "user", "content": one.input}]
            ids = list(tokenizer.apply_chat_template(turns, add_generation_prompt=True))
            said = tokenizer.encode(one.expected_output, add_special_tokens=False)
            said.append(tokenizer.convert_tokens_to_ids("<|end|>"))
            total = 0.0
            for token in said:
                logits = model(mx.array([ids]))[0, -1]
                total += float(logits[token] - mx.logsumexp(logits))
                ids.append(token)
            expected[one.id, name] = -total / len(said)
    variants = (Variant(BASE, "b", "demo"), Variant(TUNED, "t", "demo", str(FOLDER / "adapter")))
    loads = [Load(variants, lambda: engines.load("mlx", settings()))]
    make_completions(asked, loads, journal, Progress(), PERPLEXITY)
    assert scores(journal) == pytest.approx(expected, abs=1e-4)

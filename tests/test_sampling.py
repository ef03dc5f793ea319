"""Draws: the same for the same seed, whatever stands beside them, and with the right chances."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import chisquare, kstest

from plugin.engines.mlx import MlxEngine
from plugin.records import Case, Completion, Draw, Message, Prompt
from plugin.sampling import Sampling, gumbel, noise_bits, words_of
from tests.engines.test_mlx import TUNED, VANILLA, load, prompts

SAMPLING = Sampling(3, 0.8, seed=7)


def case(text: str, id: str = "1") -> Case:
    return Case(id, (Message("user", text),))


def test_seeds_depend_on_run_case_and_sample_alone() -> None:
    draws = [SAMPLING.draw(case("Who?"), sample) for sample in range(3)]
    assert draws == [SAMPLING.draw(case("Who?", "other id"), sample) for sample in range(3)]
    others = [replace(SAMPLING, seed=8).draw(case("Who?"), 0), SAMPLING.draw(case("Where?"), 0)]
    assert len({one.seed for one in (*draws, *others) if one}) == 5
    assert {one.temperature for one in draws if one} == {0.8}


def test_nothing_is_drawn_at_temperature_0() -> None:
    assert Sampling(1, 0.0).draw(case("Who?"), 0) is None


def bits(seed: int, step: int, n: int) -> np.ndarray[Any, Any]:
    found: np.ndarray[Any, Any] = noise_bits(words_of(seed), step, np.arange(n, dtype=np.int64))
    return found


def test_the_bits_are_uniform_and_steps_and_seeds_are_not_alike() -> None:
    rows = np.array([bits(seed, step, 2000) for seed in (1, 2, 2**40) for step in range(5)])
    for row in rows:
        assert kstest(row / 2**32, "uniform").pvalue > 1e-4
    assert np.abs(np.corrcoef(rows) - np.eye(len(rows))).max() < 0.1
    columns = np.array([bits(seed, 0, 5) for seed in range(2000)])
    assert np.abs(np.corrcoef(columns.T) - np.eye(5)).max() < 0.1
    for column in columns.T:
        assert kstest(column / 2**32, "uniform").pvalue > 1e-4


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_with_the_noise_follow_the_softmax(temperature: float) -> None:
    logits = np.array([2.0, 1.0, 0.0, -1.0, -2.5])
    chances = np.exp(logits / temperature)
    chances /= chances.sum()
    with np.errstate(divide="ignore"):
        noise = [
            gumbel(bits(seed, 3, 5), np, lambda x: x.astype(np.float32)) for seed in range(4000)
        ]
    drawn = Counter(int(np.argmax(logits / temperature + each)) for each in noise)
    counts = [drawn[i] for i in range(5)]
    assert chisquare(counts, 4000 * chances).pvalue > 1e-3


@pytest.fixture(scope="module")
def engine() -> Iterator[MlxEngine]:
    made = load()
    yield made
    made.close()


def drawn(wanted: list[Prompt], temperature: float = 0.8, n: int = 3) -> list[Prompt]:
    sampling = Sampling(n, temperature, seed=1)
    return [
        replace(one, draw=sampling.draw(case(one.messages[-1].content), i), sample=i)
        for one in wanted
        for i in range(n)
    ]


def tokens(engine: Any, wanted: list[Prompt]) -> dict[tuple[str, str, int], tuple[int, ...]]:
    return {
        (one.case_id, one.variant, one.sample): one.token_ids
        for step in engine.generate(wanted)
        for one in step
        if isinstance(one, Completion)
    }


def test_a_draw_is_the_same_in_every_batch(engine: MlxEngine) -> None:
    wanted = drawn(prompts(engine))
    together = tokens(engine, wanted)
    assert len(together) == len(wanted)
    alone = dict[tuple[str, str, int], tuple[int, ...]]()
    for one in wanted[::-4]:
        alone |= tokens(engine, [one])
    assert alone == {place: together[place] for place in alone}
    assert tokens(engine, wanted[::-1]) == together
    samples = [{together[str(i), VANILLA, s] for s in range(3)} for i in range(5)]
    assert any(len(own) > 1 for own in samples)


def test_a_drawn_row_leaves_its_greedy_neighbours_alone(engine: MlxEngine) -> None:
    greedy = prompts(engine)
    beside = [replace(one, case_id=f"drawn {one.case_id}") for one in drawn(prompts(engine), n=1)]
    found = tokens(engine, [*greedy, *beside])
    assert {place: ids for place, ids in found.items() if "drawn" not in place[0]} == tokens(
        engine, greedy
    )


def test_variants_get_the_same_noise(engine: MlxEngine) -> None:
    """At a temperature that leaves only noise, base and tuned write the same tokens."""
    wanted = [replace(one, draw=Draw(5, 1e6), max_tokens=8) for one in prompts(engine)[:2]]
    own = tokens(engine, wanted)
    tuned = tokens(engine, [replace(one, variant=TUNED) for one in wanted])
    assert list(own.values()) == list(tuned.values())


def test_the_first_token_follows_the_models_softmax(engine: MlxEngine) -> None:
    import mlx.core as mx

    (one,) = prompts(engine)[:1]
    logits = np.array(engine._model(mx.array([one.token_ids]))[0, -1].astype(mx.float32)).astype(
        float
    )
    temperature, n = 1.3, 600
    chances = np.exp((logits - logits.max()) / temperature)
    chances /= chances.sum()
    wanted = [
        replace(one, draw=Draw(seed * 2**31 + 11, temperature), max_tokens=1, sample=seed)
        for seed in range(n)
    ]
    ends = set(engine._tokenizer.eos_token_ids)
    first = Counter(ids[0] if ids else min(ends) for ids in tokens(engine, wanted).values())
    likely = [int(i) for i in np.argsort(-chances) if n * chances[i] >= 5]
    expected = [n * chances[i] for i in likely]
    counts = [first[i] for i in likely]
    rest = n - sum(expected)
    if rest > 1:
        expected, counts = [*expected, rest], [*counts, n - sum(counts)]
    assert chisquare(counts, expected).pvalue > 1e-3

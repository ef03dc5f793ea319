"""Slots on a CPU: rows join and leave, widen and move, and always read what a plain pass reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from plugin import engines
from plugin.engines import _torch_decode
from plugin.engines._torch_slots import BLOCK, round_columns
from plugin.records import Completion, Draw, Prompt

torch = pytest.importorskip("torch")
pytest.importorskip("peft")
torch.set_num_threads(1)  # several wait more than they work here

import transformers  # noqa: E402

from plugin.engines._torch_plan import plan_slots  # noqa: E402
from plugin.engines._torch_slots import SlotPlan, TorchSlots  # noqa: E402
from tests.engines.test_transformers import (  # noqa: E402
    QUESTIONS,
    TUNED,
    VANILLA,
    load,
    of,
    prompts,
    scarce,
    settings,
    tokens,
)

SIZES: dict[str, Any] = {
    "vocab_size": 128,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
HEADS = {**SIZES, "head_dim": 8}
MIXED = ["sliding_attention", "full_attention"] * 2
EXPERTS: dict[str, Any] = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}

MODELS: dict[str, Callable[[], Any]] = {
    "shared heads": lambda: transformers.LlamaConfig(**HEADS),
    "a window": lambda: transformers.MistralConfig(**HEADS, sliding_window=6),
    "both kinds": lambda: transformers.Gemma2Config(**HEADS, sliding_window=6),
    "two rotations": lambda: transformers.Gemma3TextConfig(
        **HEADS, sliding_window=6, layer_types=MIXED
    ),
    "experts": lambda: transformers.Qwen3MoeConfig(**HEADS, **EXPERTS),
    "absolute positions": lambda: transformers.GPT2Config(
        vocab_size=64, n_positions=64, n_embd=16, n_layer=2, n_head=2
    ),
}
OTHERS: dict[str, tuple[Callable[[], Any], str]] = {
    "no positions": (
        lambda: transformers.BloomConfig(vocab_size=64, hidden_size=32, n_layer=2, n_head=4),
        "models of type 'bloom' do not take position_ids",
    ),
    "a state": (
        lambda: transformers.MambaConfig(vocab_size=64, hidden_size=16, num_hidden_layers=1),
        "models of type 'mamba' do not take past_key_values and position_ids",
    ),
    "the longest row": (
        lambda: transformers.LlamaConfig(
            **HEADS,
            rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0},
        ),
        "models of type 'llama' turn positions by the longest row",
    ),
}


def built(config: Any) -> Any:
    """With weights so large that hardly two logits, or two experts, are as good as equal."""
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(8 if weight.ndim > 1 else 1)
    return model


def alone(model: Any, prompt: list[int], n: int) -> list[int]:
    """The most likely tokens, by passes over the whole text."""
    ids = list(prompt)
    for _ in range(n):
        with torch.inference_mode():
            ids.append(int(model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
    return ids[len(prompt) :]


@pytest.mark.parametrize("kind", MODELS)
def test_rows_that_join_late_and_move_read_what_they_read_alone(kind: str) -> None:
    model = built(MODELS[kind]())
    plan = plan_slots(model)
    assert isinstance(plan, SlotPlan), plan
    wanted = [[5, 6, 7, 8, 9, 10, 11, 12, 13], [14], [15, 16, 17, 18], [19, 20]]
    slots = TorchSlots(model, plan, 3, 32)
    slots.read(wanted[:3], [0, 1, 2])
    found = dict(enumerate(slots.write(3, 4).tolist()))
    slots.release(1)
    slots.read([wanted[3]], [1])  # the row of the one that has left
    late = slots.write(3, 3).tolist()
    found[0] += late[0]
    found[2] += late[2]
    found[3] = late[1]
    slots.release(0)
    n_rows, moved = slots.close_ranks([1, 2])
    assert (n_rows, moved) == (2, {2: 0})
    slots.resize(5, 48)
    last = slots.write(2, 2).tolist()
    found[2] += last[0]
    found[3] += last[1]
    for i, prompt in enumerate(wanted):
        assert found[i] == alone(model, prompt, len(found[i])), i


@pytest.mark.parametrize("kind", OTHERS)
def test_a_model_that_slots_cannot_hold_says_why(kind: str) -> None:
    config, reason = OTHERS[kind]
    assert plan_slots(built(config())) == reason


def test_a_model_that_is_read_wrongly_is_decoded_batch_by_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = load()
    expected = tokens(engine, TUNED, prompts(engine))
    assert engine.decoding == "in slots, up to 4 rows, ended rows replaced"
    positions = TorchSlots._forward

    def shifted(self: Any, *shape: int) -> Any:
        self._positions += 1
        return positions(self, *shape)

    monkeypatch.setattr(TorchSlots, "_forward", shifted)
    other = load()
    assert tokens(other, TUNED, prompts(other)) == expected
    assert other.decoding.startswith("batch by batch, up to 4 rows (models of type 'llama' answer ")


def test_a_model_that_fails_in_slots_is_decoded_batch_by_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def strange(self: Any, *shape: int) -> Any:
        raise KeyError("no such mask")

    engine = load()
    expected = tokens(engine, TUNED, prompts(engine))
    monkeypatch.setattr(TorchSlots, "_forward", strange)
    other = load()
    assert tokens(other, TUNED, prompts(other)) == expected
    assert "models of type 'llama' fail in slots: 'no such mask'" in other.decoding


def test_ended_rows_are_replaced_while_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = load()
    expected = tokens(engine, TUNED, prompts(engine))
    read: list[int] = []
    kept = TorchSlots.read

    def counted(self: Any, texts: Any, slots: Any) -> None:
        read.append(len(texts))
        kept(self, texts, slots)

    monkeypatch.setattr(TorchSlots, "read", counted)
    assert tokens(engine, TUNED, prompts(engine)) == expected
    assert read[0] == 4 and sum(read) == len(QUESTIONS)
    assert len(read) > 2  # four at first; the others one by one, not as a second batch


def test_blocks_of_steps_give_the_same_and_end_where_the_text_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = load()
    whole = {one.case_id: one for one in made(engine)}
    monkeypatch.setattr(TorchSlots, "block", BLOCK)
    again = {one.case_id: one for one in made(engine)}
    for case_id, one in again.items():
        expected = whole[case_id]
        assert (one.token_ids, one.finish_reason) == (expected.token_ids, expected.finish_reason)
        assert 0 < one.seconds < 60
    assert {one.finish_reason for one in again.values()} == {"stop"}
    cut = engines.load("transformers", replace(settings(), max_tokens=5))
    lengths = {one.finish_reason: len(one.token_ids) for one in made(cut)}
    assert lengths["length"] == 5 and lengths.get("stop", 0) < 5


def made(engine: Any) -> list[Completion]:
    return [one for step in engine.generate(of(TUNED, prompts(engine))) for one in step]


def test_where_free_memory_allows_more_rows_take_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, where the rows are measured: few for long prompts, more for short ones."""
    engine = load()
    wanted = prompts(engine)
    long = Prompt("long", VANILLA, wanted[0].messages, wanted[0].token_ids * 12)
    expected = tokens(engine, VANILLA, [*wanted, long])
    decoder = engine._decoder
    decoder._is_measured, decoder.most_rows = True, 512
    row = 128 * decoder._plan.bytes_per_token + 8 * decoder._plan.n_vocabulary
    free = int(5 * row / _torch_decode._SHARE)
    monkeypatch.setattr(_torch_decode, "_free_memory", lambda: free)
    sizes: list[tuple[int, int]] = []
    kept = TorchSlots._allocate

    def noted(self: Any, *size: int) -> None:
        sizes.append(size)
        kept(self, *size)

    monkeypatch.setattr(TorchSlots, "_allocate", noted)
    assert tokens(engine, VANILLA, [*wanted, long]) == expected
    assert sizes[0] == (1, round_columns(len(long.token_ids) + 25))
    assert sizes[1][0] > 1 and sizes[1][1] == 128


def test_memory_that_is_short_in_slots_loses_nothing_that_ended() -> None:
    engine = load()
    wanted = prompts(engine)
    expected = tokens(engine, TUNED, wanted)
    for n_forwards in range(2, 17, 5):
        poor = load()
        tokens(poor, TUNED, wanted[:1])
        scarce(poor, 4, n_forwards)
        assert tokens(poor, TUNED, wanted) == expected
        assert poor._decoder.most_rows == 2


def test_probes_are_the_same_in_steps_of_few_rows_and_many() -> None:
    engine = load()
    wanted = prompts(engine)
    ends = engine._ends(wanted)
    one, many = (engine._decoder.probe(wanted, ends, n) for n in (1, 16))
    assert one == many
    made_in_run = tokens(engine, VANILLA, wanted)
    assert one == [list(made_in_run[prompt.case_id]) for prompt in wanted]


def test_a_batch_effect_is_measured_where_a_gpu_decodes(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = load()
    assert engine.certify(TUNED, prompts(engine)).batch is None
    monkeypatch.setattr("plugin.engines.transformers.torch_device", lambda: "cuda")
    found = engine.certify(TUNED, prompts(engine))
    assert found.batch == (14, 0, 4)
    decoder, probe = engine._decoder, engine._decoder.probe
    monkeypatch.setattr(
        decoder, "probe", lambda ps, ends, n: [one + [n] for one in probe(ps, ends, n)]
    )
    engine._n_changed.clear()
    found = engine.certify(TUNED, prompts(engine))
    assert found.batch == (14, 14, 4) and found.kind == "certified"


def test_the_library_s_own_cache_still_decodes() -> None:
    engine = load()
    expected = tokens(engine, TUNED, prompts(engine))
    other = load()
    other._decoder.obstacle = "for the test"
    assert tokens(other, TUNED, prompts(other)) == expected
    assert other.decoding == "batch by batch, up to 4 rows (for the test)"


def drawn(wanted: list[Prompt], n: int = 2) -> list[Prompt]:
    return [
        replace(
            one, draw=Draw(1000 * int(one.case_id) + i, 0.8), sample=i, case_id=f"{one.case_id}{i}"
        )
        for one in wanted
        for i in range(n)
    ]


def test_draws_are_the_same_in_slots_in_batches_and_alone() -> None:
    engine = load()
    wanted = drawn(prompts(engine))
    together = tokens(engine, VANILLA, wanted)
    alone = {}
    for one in wanted[::-3]:
        alone |= tokens(engine, VANILLA, [one])
    assert alone == {place: together[place] for place in alone}
    engine._decoder.obstacle = "a test"
    engine._decoder._plan = None
    assert tokens(engine, VANILLA, wanted) == together
    assert len({tuple(together[f"0{i}"]) for i in range(2)}) == 2


def test_the_first_drawn_token_follows_the_softmax() -> None:
    from scipy.stats import chisquare

    engine = load()
    (one,) = prompts(engine)[:1]
    with torch.inference_mode():
        logits = engine._model(torch.tensor([one.token_ids])).logits[0, -1].double()
    n, chances = 600, (logits / 1.3).softmax(-1).numpy()
    wanted = [
        replace(one, draw=Draw(i * 2**31 + 11, 1.3), max_tokens=1, case_id=str(i)) for i in range(n)
    ]
    first = [ids[0] if ids else -1 for ids in tokens(engine, VANILLA, wanted).values()]
    likely = [i for i in range(len(chances)) if n * chances[i] >= 5 and first.count(i)]
    expected = [n * chances[i] for i in likely]
    counts = [first.count(i) for i in likely]
    expected, counts = [*expected, n - sum(expected)], [*counts, n - sum(counts)]
    assert chisquare(counts, expected).pvalue > 1e-3

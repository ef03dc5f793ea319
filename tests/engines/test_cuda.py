"""The transformers engine on a real CUDA device: skipped elsewhere.

Steps that are recorded as graphs must make the tokens that a plain pass makes, and the base must
be bit-equal afterwards. Everything is in float32, where the order of sums hardly matters.
"""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demo import FOLDER
from plugin import engines
from plugin.engines import EngineSettings, _torch
from plugin.load.adapter import inspect_adapter
from plugin.load.model import inspect_model
from plugin.records import Completion, Failure, Message, Prompt
from tests.load.lora_samples import peft_config, write_peft

torch = pytest.importorskip("torch")
if not torch.cuda.is_available():
    pytest.skip("there is no CUDA device", allow_module_level=True)

QUESTIONS = [
    f"Who plays {name}{' in the show Silicon Valley' * (i % 4)}?"
    for i, name in enumerate(["Richard Hendricks", "Dinesh", "Gilfoyle", "Jared", "Erlich"] * 8)
]


@pytest.fixture
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_torch, "dtype_name", lambda place: "float32")


def load(n_rows: int = 0, **adapters: Path) -> Any:
    folders = {name: inspect_adapter(path) for name, path in adapters.items()}
    made = EngineSettings(inspect_model(FOLDER / "model"), "demo", folders, 24, n_rows or 64, True)
    return engines.load("transformers", replace(made, fits_memory=not n_rows))


def prompts(engine: Any, variant: str) -> list[Prompt]:
    turns = [(Message("user", text),) for text in QUESTIONS]
    return [Prompt(str(i), variant, t, engine.encode(t)) for i, t in enumerate(turns)]


def tokens(engine: Any, variant: str) -> dict[str, tuple[int, ...]]:
    made = [one for step in engine.generate(prompts(engine, variant)) for one in step]
    assert all(isinstance(one, Completion) for one in made)
    return {one.case_id: one.token_ids for one in made}


def plain_tokens(engine: Any, variant: str) -> dict[str, tuple[int, ...]]:
    """The same without slots and graphs."""
    engine._decoder._plan, engine._decoder.obstacle = None, "for the test"
    found = tokens(engine, variant)
    engine._decoder.obstacle = ""
    return found


@pytest.fixture
def adapters(tmp_path: Path) -> Iterator[dict[str, Path]]:
    dora = write_peft(tmp_path / "dora", peft_config(use_dora=True))
    yield {"tuned": FOLDER / "adapter", "other": dora}


@pytest.mark.parametrize("n_rows", [0, 5, 8])
def test_recorded_steps_make_the_tokens_of_plain_passes(
    n_rows: int, float32: None, adapters: dict[str, Path]
) -> None:
    engine = load(n_rows, **adapters)
    before = [bytes(t) for _, t in engine._switch._tensors()]
    logits = engine._switch.probe()
    for variant in ("vanilla", "tuned", "other", "vanilla"):
        found, how = tokens(engine, variant), engine.decoding
        assert how.endswith("ended rows replaced, steps recorded as CUDA graphs")
        assert found == plain_tokens(engine, variant)
    with engine._switch.adapter_on("vanilla"):
        assert engine._switch.probe() == logits
    engine._switch._take_off()
    assert [bytes(t) for _, t in engine._switch._tensors()] == before


def test_a_certificate_tells_how_the_batch_matters(
    float32: None, adapters: dict[str, Path]
) -> None:
    engine = load(0, **adapters)
    for name in adapters:
        found = engine.certify(name, prompts(engine, name))
        assert found.result == "certified"
        assert found.batch is not None
        assert (found.batch.n_probes, found.batch.n_changed) == (16, 0)
        assert found.batch.n_rows > 100
    assert "PEFT's own layers (DoRA)" == found.path


def test_a_model_that_decides_on_the_host_is_decoded_without_recording(
    float32: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = tokens(load(), "vanilla")
    engine = load()
    norm = engine._model.model.norm
    plain = norm.forward

    def looks(hidden: Any) -> Any:
        assert float(hidden.abs().max()) >= 0  # asks the device, which no recorded step can do
        return plain(hidden)

    monkeypatch.setattr(norm, "forward", looks)
    assert tokens(engine, "vanilla") == expected
    assert "its steps decide on the host: item" in engine.decoding


WINDOWS = ("MistralConfig", "Gemma2Config", "Gemma3TextConfig")


@pytest.mark.parametrize("kind", [*WINDOWS, "Qwen3Config"])
def test_windows_and_both_kinds_of_layers_are_recorded(kind: str) -> None:
    import transformers

    from plugin.engines._torch_plan import plan_slots
    from plugin.engines._torch_slots import TorchSlots

    sizes: dict[str, Any] = {"vocab_size": 128, "hidden_size": 64, "intermediate_size": 64}
    sizes |= {"num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2}
    more = {"sliding_window": 6} if kind in WINDOWS else {}
    config = getattr(transformers, kind)(**sizes, **more, head_dim=16)
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config).eval().cuda()
    plan = plan_slots(model)
    assert not isinstance(plan, str), plan
    slots = TorchSlots(model, plan, 32, 256)
    wanted = [[5 + i, *range(10, 12 + i)] for i in range(32)]
    slots.read(wanted, list(range(32)))
    for n_rows in (32, 8):
        for row, said in zip(wanted, slots.write(n_rows, 10).tolist(), strict=False):
            row += said
    assert len(slots._graphs) == 2 and not slots.note
    for row in wanted[:8]:
        ids = torch.tensor([row[:-1]], device="cuda")
        with torch.inference_mode():
            logits = model(ids, use_cache=False).logits[0, -20:]
        given = logits.gather(-1, torch.tensor(row[-20:], device="cuda")[:, None])[:, 0]
        assert torch.allclose(given, logits.max(-1).values, atol=1e-3)


def test_where_memory_is_short_fewer_rows_go_on(float32: None) -> None:
    engine = load(64)
    expected = tokens(engine, "vanilla")
    whole = torch.cuda.get_device_properties(0).total_memory
    used = torch.cuda.memory_allocated()
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((used + 60e6) / whole)
    try:
        made = [one for step in engine.generate(prompts(engine, "vanilla")) for one in step]
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert len(made) == len(QUESTIONS)
    for one in made:
        assert isinstance(one, Failure) or one.token_ids == expected[one.case_id]


def test_guided_steps_are_recorded_and_write_only_what_is_allowed(float32: None) -> None:
    from plugin.engines._torch_plan import plan_slots
    from plugin.engines._torch_slots import TorchSlots

    model, _ = _torch.load_torch_model(FOLDER / "model")
    plan = plan_slots(model)
    assert not isinstance(plan, str), plan
    slots = TorchSlots(model, plan, 8, 64, is_guided=True)
    wanted = [list(range(5 + i, 12 + 2 * i)) for i in range(8)]
    slots.read(wanted, list(range(8)))
    rng = np.random.default_rng(0)
    for _ in range(12):
        allowed = rng.random((8, plan.n_vocabulary)) < 0.1
        slots.allow(allowed)
        written = slots.write(8, 1)[:, 0].tolist()
        for i, token in enumerate(written):
            ids = torch.tensor([wanted[i]], device=model.device)
            with torch.inference_mode():
                logits = model(ids, use_cache=False).logits[0, -1].float().cpu()
            assert allowed[i][token]
            assert token == int(logits.masked_fill(~torch.from_numpy(allowed[i]), -1e9).argmax())
            wanted[i].append(token)
    assert len(slots._graphs) == 1 and not slots.note


def fail_to_record(*, in_low_memory: bool) -> None:
    """Let the recording of a step fail in spite of all looks ahead, and decode on and again."""
    plain_dtype, _torch.dtype_name = _torch.dtype_name, lambda place: "float32"
    engine = load()
    expected = tokens(engine, "vanilla")
    engine.close()
    engine = load()
    engine._decoder._can_use_slots()
    norm = engine._model.model.norm
    plain, asked = norm.forward, []

    def fails(hidden: Any) -> Any:
        if torch.cuda.is_current_stream_capturing():
            asked.append(hidden.shape)
            if in_low_memory:
                torch.empty(1 << 45, dtype=torch.uint8, device="cuda")
            torch.cuda.current_stream().synchronize()  # no recorded step can do that
        return plain(hidden)

    norm.forward = fails
    assert tokens(engine, "vanilla") == expected
    assert asked and "a step of this model cannot be recorded" in engine.decoding
    engine.close()
    del engine
    gc.collect()
    torch.cuda.empty_cache()
    again = load()
    assert tokens(again, "vanilla") == expected
    assert again.decoding.endswith("steps recorded as CUDA graphs")
    _torch.dtype_name = plain_dtype


@pytest.mark.parametrize("in_low_memory", [False, True])
def test_a_failed_recording_does_not_end_the_process(in_low_memory: bool) -> None:
    call = f"test_cuda.fail_to_record(in_low_memory={in_low_memory})"
    program = f"from tests.engines import test_cuda; {call}; print('all done')"
    words = [sys.executable, "-X", "faulthandler", "-c", program]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "all done"), done.stderr[-3000:]

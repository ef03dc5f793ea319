"""LoRA in copies of the weights: the same answers as PEFT's layers give, and the base untouched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from demo import FOLDER
from plugin.certify.certificate import Distance, certificate_block
from plugin.engines import _peft_merge, _torch
from plugin.engines._peft_merge import PEFT_PATH, is_close
from tests.load.lora_samples import peft_config, peft_tensors, write_peft

torch = pytest.importorskip("torch")
pytest.importorskip("peft")
torch.set_num_threads(1)  # several wait more than they work here

from tests.engines.test_transformers import TUNED, VANILLA, load, prompts, tokens  # noqa: E402


def plain(monkeypatch: pytest.MonkeyPatch, **adapters: Path) -> Any:
    """An engine that uses PEFT's own layers."""
    monkeypatch.setattr("plugin.engines._peft_switch.merge_obstacle", lambda *_: "for the test")
    return load(**adapters)


def weights(engine: Any) -> dict[str, bytes]:
    return dict(engine._switch._tensors())


def test_copies_give_what_pefts_layers_give(monkeypatch: pytest.MonkeyPatch) -> None:
    fast = load()
    before, addresses = weights(fast), [p.data_ptr() for p in fast._model.parameters()]
    wanted = prompts(fast)
    found = fast.certify(TUNED, wanted)
    assert found.path.startswith("in copies of 12 weights, ") and found.path.endswith(PEFT_PATH)
    assert found.path in certificate_block(found)
    texts = {variant: tokens(fast, variant, wanted) for variant in (TUNED, VANILLA, TUNED)}
    pairs = [(wanted[0].token_ids, (5, 6, 7))]
    likely = list(fast.loglikelihoods(TUNED, pairs))
    fast._switch._take_off()
    assert weights(fast) == before
    assert [p.data_ptr() for p in fast._model.parameters()] == addresses
    slow = plain(monkeypatch)
    other = slow.certify(TUNED, wanted)
    assert other.path == f"{PEFT_PATH} (for the test)"
    assert found.effect is not None and other.effect is not None
    assert found.effect.kl == pytest.approx(other.effect.kl, rel=1e-4)
    assert {variant: tokens(slow, variant, wanted) for variant in texts} == texts
    assert likely == pytest.approx(list(slow.loglikelihoods(TUNED, pairs)), abs=1e-4)


def test_while_the_base_is_asked_between_the_base_s_own_weights_answer() -> None:
    engine = load()
    logits = engine._switch.probe()
    with engine._switch.adapter_on(TUNED):
        rows = [list(prompts(engine)[0].token_ids)]
        tuned = engine._switch.logits(rows)[0]
        assert engine._switch.probe() == logits
        assert (engine._switch.logits(rows)[0] == tuned).all()
    with engine._switch.adapter_on(VANILLA):
        assert (engine._switch.logits(rows)[0] != tuned).any()


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("DoRA", "DoRA"),
        ("whole modules", "it replaces whole modules or tokens"),
        ("tokens", "it replaces whole modules or tokens"),
        ("embeddings", "it adapts a Embedding"),
        ("parameters", "it adapts a Linear"),
    ],
)
def test_what_cannot_be_merged_runs_on_pefts_layers(kind: str, why: str, tmp_path: Path) -> None:
    from tests.engines.test_transformers_adapters import sample

    if kind == "DoRA":
        folder = write_peft(tmp_path / "own", peft_config(use_dora=True))
    else:
        folder = sample(tmp_path, kind)
    engine = load(tuned=folder)
    assert engine.certify(TUNED, prompts(engine)).path == f"{PEFT_PATH} ({why})"


def test_a_peft_of_a_host_that_is_too_old_for_copies_still_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """PEFT 0.14, which the current host pins, has no such class."""
    monkeypatch.delattr("peft.utils.AuxiliaryTrainingWrapper")
    engine = load()
    found = engine.certify(TUNED, prompts(engine))
    assert found.path == f"{PEFT_PATH} (the installed PEFT is too old for it)"
    assert found.result == "certified"


def test_copies_that_memory_has_no_room_for_are_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_peft_merge, "_room_for_copies", lambda device: 1000.0)
    engine = load()
    found = engine.certify(TUNED, prompts(engine))
    assert found.path == f"{PEFT_PATH} (copies of the weights would need 0.0 GiB)"
    assert found.result == "certified"


def test_an_adapter_that_rounding_would_swallow_runs_on_pefts_layers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In bfloat16 a weight has 8 bits: what is much smaller than the weight is lost in a copy."""
    monkeypatch.setattr(_torch, "dtype_name", lambda place: "bfloat16")
    faint = {
        name: value * (0.02 if "lora_B" in name else 1)
        for name, value in peft_tensors(peft_config()).items()
    }
    engine = load(tuned=write_peft(tmp_path / "faint", peft_config(), faint))
    before = weights(engine)
    found = engine.certify(TUNED, prompts(engine))
    assert found.path.startswith(f"{PEFT_PATH} (copies of the weights would answer ")
    engine._switch._take_off()
    assert weights(engine) == before
    strong = load(tuned=FOLDER / "adapter")
    assert strong.certify(TUNED, prompts(strong)).path.startswith("in copies of 12 weights")


def test_two_limits_say_whether_copies_answer_alike() -> None:
    def apart(kl: float) -> Distance:
        return Distance(kl, 0.0)

    assert is_close(apart(0.019), effect=apart(1.0), noise=apart(0.0))
    assert not is_close(apart(0.021), effect=apart(1.0), noise=apart(0.0))
    assert is_close(apart(0.021), effect=apart(1.0), noise=apart(0.03))
    assert is_close(apart(0.0), effect=apart(0.0), noise=apart(0.0))
    assert not is_close(apart(float("nan")), effect=apart(1.0), noise=apart(1.0))

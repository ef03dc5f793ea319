"""Finding the checkpoints of a training, in all layouts, and refusing what cannot be one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from plugin.errors import OptionError
from plugin.sweep.find import absolute_words, find_checkpoints
from tests.conftest import ROOT

DEMO = ROOT / "demo/adapter"


def adapter(folder: Path, number: int = 0, **config: object) -> Path:
    """The demo's adapter, with weights of its own: the number changes their last byte."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = bytearray((DEMO / "adapters.safetensors").read_bytes())
    weights[-2] = number
    (folder / "adapters.safetensors").write_bytes(weights)
    settings = json.loads((DEMO / "adapter_config.json").read_text()) | config
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return folder


def numbered(folder: Path, *steps: int) -> Path:
    """What mlx-lm leaves: numbered files, and the last weights under the usual name."""
    for step in steps:
        adapter(folder, step % 250)
        shutil.copy(folder / "adapters.safetensors", folder / f"{step:07}_adapters.safetensors")
    return folder


def values(words: list[object], axis: str = "") -> list[tuple[str, float]]:
    found = find_checkpoints([str(word) for word in words], axis)
    return [(one.name, one.value) for one in found.checkpoints]


def test_checkpoints_of_hugging_face_are_ordered_by_step_not_by_name(tmp_path: Path) -> None:
    for step in (1000, 200, 30):
        adapter(tmp_path / f"checkpoint-{step}", step % 250)
    expected = [("checkpoint-30", 30.0), ("checkpoint-200", 200.0), ("checkpoint-1000", 1000.0)]
    assert values([tmp_path]) == expected
    assert values(sorted(tmp_path.iterdir())) == expected  # as a shell lists them


def test_the_trainers_own_record_says_the_step(tmp_path: Path) -> None:
    for at, name in enumerate(("early", "late")):
        folder = adapter(tmp_path / name, at)
        (folder / "trainer_state.json").write_text(json.dumps({"global_step": 50 * (at + 1)}))
    assert values([tmp_path]) == [("early", 50.0), ("late", 100.0)]


def test_numbered_files_of_mlx_lm_are_used_where_they_lie(tmp_path: Path) -> None:
    folder = numbered(tmp_path / "adapter", 100, 200, 300)
    found = find_checkpoints([str(folder)])
    assert [one.value for one in found.checkpoints] == [100.0, 200.0, 300.0]
    assert found.checkpoints[0].adapter.weights_path == folder / "0000100_adapters.safetensors"
    assert found.checkpoints[0].name == "0000100_adapters"
    (copy,) = found.skipped  # the last weights, saved twice
    assert "the same weights as" in copy.why
    assert "0000300_adapters" in copy.why


def test_the_last_weights_of_mlx_lm_count_if_no_file_has_them(tmp_path: Path) -> None:
    folder = numbered(tmp_path / "adapter", 100, 200)
    adapter(folder, 77, iters=250)
    assert [value for _, value in values([folder])] == [100.0, 200.0, 250.0]


def test_values_make_another_axis(tmp_path: Path) -> None:
    places = [adapter(tmp_path / f"{n}/adapter", n % 250) for n in (800, 100)]
    words = [f"800={places[0]}", f"100={places[1]}"]
    found = find_checkpoints(words, "training rows")
    assert found.axis == "training rows"
    assert [one.value for one in found.checkpoints] == [100.0, 800.0]
    assert [one.name for one in found.checkpoints] == ["training rows 100", "training rows 800"]
    assert absolute_words(words) == tuple(words)


def test_steps_that_repeat_leave_the_order_that_was_typed(tmp_path: Path) -> None:
    first = [adapter(tmp_path / f"first/checkpoint-{n}", n) for n in (10, 20)]
    again = [adapter(tmp_path / f"again/checkpoint-{n}", 100 + n) for n in (10, 20)]
    found = find_checkpoints([str(one) for one in (*first, *again)])
    assert found.axis == "checkpoint"
    assert [one.adapter.path for one in found.checkpoints] == [*first, *again]
    assert [one.value for one in found.checkpoints] == [1.0, 2.0, 3.0, 4.0]
    assert "repeat or go backwards" in found.notes[0]


def test_a_broken_one_among_many_is_skipped_with_the_reason(tmp_path: Path) -> None:
    for step in range(1, 21):
        adapter(tmp_path / f"checkpoint-{step}", step)
    (tmp_path / "checkpoint-7/adapters.safetensors").write_bytes(b"half a file")
    (tmp_path / "checkpoint-8/adapter_config.json").unlink()
    (tmp_path / "checkpoint-9/trainer_state.json").write_text('{"global_step": ')
    found = find_checkpoints([str(tmp_path)])
    assert len(found.checkpoints) == 18
    assert [Path(one.place).name for one in found.skipped] == ["checkpoint-7", "checkpoint-8"]
    assert "no adapter_config.json" in found.skipped[1].why


def whole_model(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        shutil.copy(ROOT / "demo/model" / name, folder)
    return folder


Make = Callable[[Path], list[object]]


def two(path: Path) -> list[object]:
    return [adapter(path / "checkpoint-1", 1), adapter(path / "checkpoint-2", 2)]


BAD: dict[str, tuple[Make, str]] = {
    "nothing there": (lambda path: [path / "nowhere"], "there is no such directory"),
    "an empty folder": (lambda path: [path], "the folder is empty"),
    "another folder": (lambda path: [ROOT / "docs"], "there is no checkpoint here"),
    "a file": (lambda path: [ROOT / "README.md"], "is a file"),
    "one alone": (lambda path: [adapter(path / "checkpoint-1")], "run --model_adapter"),
    "a copy": (
        lambda path: [adapter(path / "checkpoint-1"), adapter(path / "checkpoint-2")],
        "the same weights as",
    ),
    "whole models": (lambda path: [*two(path), whole_model(path / "full")], "--tuned_model"),
    "other bases": (
        lambda path: [*two(path), adapter(path / "checkpoint-3", 3, model="org/other")],
        "was trained on other",
    ),
    "some values": (lambda path: [f"1={two(path)[0]}", path / "checkpoint-2"], "has no value"),
    "no number": (lambda path: [f"x={one}" for one in two(path)], "'x' is not a number"),
    "a value twice": (lambda path: [f"1={one}" for one in two(path)], "the value 1 is there twice"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_swept_is_refused_with_a_way_out(what: str, tmp_path: Path) -> None:
    make, said = BAD[what]
    with pytest.raises(OptionError, match=said):
        values(make(tmp_path))


def test_an_axis_needs_values(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="--axis 'rows' names what"):
        values(two(tmp_path), "rows")

"""The readers: every format, and every way in which a log can be broken."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import pytest

from plugin.errors import DataError
from plugin.training.find import read_curves
from plugin.training.json_logs import read_json_lines, read_trainer_state
from plugin.training.rows import KEPT
from plugin.training.tables import has_tensorboard, read_csv, read_tensorboard
from plugin.training.text_logs import read_mlx_log

OLD = """\
Loading pretrained model
Starting training..., iters: 30
Iter 1: Val loss 2.500, Val took 1.2s
Iter 10: Train loss 2.100, Learning Rate 1.000e-05, It/sec 1.2, Tokens/sec 10.0, Trained Tokens 9, Peak mem 1.0 GB
Iter 20: Val loss 1.900, Val took 1.2s
Iter 20: Train loss 1.700, Learning Rate 8.000e-06, It/sec 1.2, Tokens/sec 10.0, Trained Tokens 9, Peak mem 1.0 GB
Iter 20: Saved adapter weights to adapters/adapters.safetensors and adapters/0000020_adapters.safetensors.
Iter 30: Train loss nan, Learning Rate 5.000e-06, It/sec 1.2, Tokens/sec 10.0, Trained Tokens 9, Peak mem 1.0 GB
"""  # noqa: E501

HISTORY = [
    {"epoch": 0.5, "grad_norm": 1.0, "learning_rate": 2e-4, "loss": 2.0, "step": 10},
    {"epoch": 1.0, "learning_rate": "1e-4", "loss": 1.5, "step": 20},
    {"epoch": 1.0, "eval_loss": 1.75, "eval_runtime": 1.0, "step": 20},
    {"epoch": 1.0, "step": 20, "train_loss": 1.7, "train_runtime": 9.0, "total_flos": 1.0},
]


def written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_text(text, encoding=encoding)
    return path


def state_text(history: list[dict[str, object]] | None = None) -> str:
    whole = {"epoch": 1.0, "log_history": history or HISTORY, "max_steps": 40}
    return json.dumps({**whole, "num_train_epochs": 2}, indent=2)


def test_the_old_text_of_mlx_lm(tmp_path: Path) -> None:
    rows = read_mlx_log(written(tmp_path / "train.log", OLD))
    assert rows.evaluation.steps == [1, 20] and rows.evaluation.values == [2.5, 1.9]
    assert rows.train.steps == [10, 20, 30] and rows.train.values[:2] == [2.1, 1.7]
    assert math.isnan(rows.train.values[2])
    assert rows.learning_rate.values == [1e-5, 8e-6, 5e-6]
    assert rows.planned == 30


def test_the_new_text_of_mlx_lm_with_colours_and_progress_bars(tmp_path: Path) -> None:
    text = (
        "│    batch · iters   2 · 1,000   │\n"
        "train ███ 10%\r  \x1b[38;5;244m   5\x1b[0m    \x1b[1;35mval\x1b[0m \x1b[1m4.429\x1b[0m"
        "    \x1b[38;5;244m0.46s\x1b[0m\n"
        "  \x1b[38;5;244m   5\x1b[0m    \x1b[1;32m4.315 ▼\x1b[0m    \x1b[1m1,209\x1b[0m    "
        "\x1b[38;5;244m  0.2k\x1b[0m\n"
        "  1000      nan ▲        9    123.2k\n"
    )
    rows = read_mlx_log(written(tmp_path / "train.log", text))
    assert rows.evaluation.steps == [5] and rows.evaluation.values == [4.429]
    assert rows.train.steps == [5, 1000] and rows.train.values[0] == 4.315
    assert rows.planned == 1000


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "cp1252"])
def test_the_encodings_that_terminals_write(tmp_path: Path, encoding: str) -> None:
    text = f"\ufeff{OLD}" if encoding == "utf-16-be" else OLD
    rows = read_mlx_log(written(tmp_path / "train.log", text, encoding))
    assert rows.evaluation.values == [2.5, 1.9]


def test_trainer_state_without_the_summary_at_its_end(tmp_path: Path) -> None:
    rows = read_trainer_state(written(tmp_path / "trainer_state.json", state_text()))
    assert (rows.train.steps, rows.train.values) == ([10, 20], [2.0, 1.5])
    assert (rows.evaluation.steps, rows.evaluation.values) == ([20], [1.75])
    assert rows.learning_rate.values == [2e-4, 1e-4]
    assert (rows.planned, rows.planned_epochs, rows.epoch) == (40, 2, 1.0)


def test_a_trainer_state_that_is_cut_off_keeps_what_stands_before(tmp_path: Path) -> None:
    whole = state_text()
    cut = whole[: whole.index('"eval_loss"') + 5]
    rows = read_trainer_state(written(tmp_path / "trainer_state.json", cut))
    assert rows.train.steps == [10, 20] and not rows.evaluation.steps
    assert "could not be read" in " ".join(rows.reading_notes())


def test_one_of_several_evaluation_sets_is_named(tmp_path: Path) -> None:
    history: list[dict[str, object]] = [{"step": 1, "eval_chat_loss": 1.0, "eval_code_loss": 2.0}]
    rows = read_trainer_state(written(tmp_path / "trainer_state.json", state_text(history)))
    assert rows.evaluation.values == [1.0]
    assert "2 evaluation sets" in rows.notes[0] and "eval_chat_loss" in rows.notes[0]


def test_lines_of_llama_factory_one_cut_off(tmp_path: Path) -> None:
    lines = [
        {"current_steps": 5, "total_steps": 30, "loss": 1.25, "lr": 5e-05, "epoch": 0.5},
        {"current_steps": 10, "total_steps": 30, "eval_loss": 1.5, "epoch": 1.0},
        {"current_steps": 15, "total_steps": 30, "loss": None, "lr": None, "epoch": 1.5},
    ]
    text = "\n".join(map(json.dumps, lines)) + '\n{"current_steps": 20, "lo'
    rows = read_json_lines(written(tmp_path / "trainer_log.jsonl", text))
    assert rows.trainer == "LLaMA-Factory" and rows.planned == 30 and rows.lost == 1
    assert rows.train.values == [1.25] and rows.evaluation.steps == [10]


@pytest.mark.parametrize(
    ("text", "steps", "train", "evaluation"),
    [
        ("step,loss,eval_loss\n1,2.5,\n2,2.0,1.9\n", [1, 2], [2.5, 2.0], [1.9]),
        ("Step;train/loss\n1;2.5\n2;NaN\n", [1, 2], [2.5, math.nan], []),
        (
            'Step,"run-1 - train/loss","run-1 - train/loss__MIN"\n7,2.5,2.4\n8,2.0,1',
            *([7, 8], [2.5, 2.0], []),
        ),
        ("epoch,step,train_loss_step,val_loss\n0,3,1.5,\n0,5,,1.7\n", [3], [1.5], [1.7]),
        ("epoch,train_loss\n1,2.5\n2,inf\n", [1, 2], [2.5, math.inf], []),
        ("name,price\na,1\n", [], [], []),
        ("", [], [], []),
    ],
)
def test_tables(
    tmp_path: Path, text: str, steps: list[int], train: list[float], evaluation: list[float]
) -> None:
    rows = read_csv(written(tmp_path / "log.csv", text))
    assert rows.train.steps == steps and rows.evaluation.values == evaluation
    assert repr(rows.train.values) == repr(train)


def test_a_resumed_training_replaces_what_it_made_again(tmp_path: Path) -> None:
    text = "step,loss\n1,5\n2,4\n3,3\n4,2\n3,2.5\n4,2.25\n"
    curves = read_curves(written(tmp_path / "log.csv", text))
    assert curves.train.steps == (1, 2, 3, 4) and curves.train.values == (5, 4, 2.5, 2.25)
    assert "go back 1 time" in curves.notes[0]


def test_what_is_no_number_is_kept_apart(tmp_path: Path) -> None:
    curves = read_curves(written(tmp_path / "log.csv", "step,loss\n1,3\n2,nan\n3,2\n4,-inf\n5,1\n"))
    assert curves.train.values == (3, 2, 1) and curves.train.broken == (2, 4)
    assert curves.train.n == 5


@pytest.mark.parametrize("text", ["", "\n", "{", "hello\n", "\0\0\0", "step,loss\n", "[]", "null"])
@pytest.mark.parametrize("name", ["trainer_state.json", "trainer_log.jsonl", "a.log", "a.csv"])
def test_an_empty_or_foreign_log_is_no_training(tmp_path: Path, name: str, text: str) -> None:
    path = written(tmp_path / name, text)
    for place in (path, tmp_path):
        with pytest.raises(DataError, match="no losses|no training log"):
            read_curves(place)


def test_a_long_log_is_read_in_seconds(tmp_path: Path) -> None:
    line = "Iter {0}: Train loss 1.{1:03d}, Learning Rate 1.000e-05, It/sec 1.2, Tokens/sec 10.0\n"
    text = "".join(line.format(i, i % 1000) for i in range(1, 100_001))
    path = written(tmp_path / "train.log", text)
    began = time.process_time()
    curves = read_curves(path)
    assert time.process_time() - began < 5  # a tenth of a million, on a busy machine
    assert curves.train.n == 100_000 and len(curves.train) == KEPT


def test_tensorboard_says_what_to_install(tmp_path: Path) -> None:
    if has_tensorboard():
        pytest.skip("the library is installed")
    path = written(tmp_path / "events.out.tfevents.1.host", "x")
    with pytest.raises(DataError, match=r"pip install -r requirements-tensorboard\.txt"):
        read_tensorboard(path)
    with pytest.raises(DataError, match=r"pip install -r requirements-tensorboard\.txt"):
        read_curves(tmp_path)


def test_events_of_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(tmp_path))
    for step, tag, value in (
        (1, "train/loss", 2.5),
        (2, "train/loss", 2.0),
        (2, "eval/loss", 2.25),
    ):
        one = Summary.Value(tag=tag, simple_value=value)
        writer.add_event(Event(step=step, summary=Summary(value=[one])))
    writer.close()
    curves = read_curves(tmp_path)
    assert curves.trainer == "TensorBoard"
    assert curves.train.values == (2.5, 2.0) and curves.evaluation.steps == (2,)

"""Which log, checkpoints and settings belong to a folder; the command; the facts in a report."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from plugin.errors import DataError
from plugin.records import Variant
from plugin.report.curves_chart import Block, curves_svg
from plugin.results import Harm
from plugin.training.find import LogCache, read_curves
from plugin.training.views import curves_of_variants, view_trainings
from tests.conftest import ROOT
from tests.e2e.conftest import main
from tests.training_material import Trained, trained  # noqa: F401


def training(root: Path, last: int = 60) -> Path:
    """A Hugging Face trainer's folder: checkpoints at 20, 40 and so on, each with its log."""
    history = []
    for step in range(10, last + 1, 10):
        history.append({"step": step, "loss": 2 - step / 100, "epoch": step / 30})
        if step % 20 == 0:
            history.append({"step": step, "eval_loss": 2 - step / 200 + (step > 40), "epoch": 1})
            own = root / f"checkpoint-{step}"
            own.mkdir(parents=True)
            (own / "adapter_model.safetensors").write_text(f"weights of step {step:03d}")
            (own / "adapter_config.json").write_text('{"r": 16, "lora_dropout": 0.1}')
            state = {"log_history": list(history), "max_steps": 100, "num_train_epochs": 5}
            (own / "trainer_state.json").write_text(json.dumps(state))
    return root


def test_the_real_training_of_mlx_lm(trained: Trained) -> None:  # noqa: F811
    curves = read_curves(trained.adapter)
    assert (curves.trainer, curves.log, curves.axis) == ("mlx-lm", "train.log", "step")
    assert dict(zip(curves.train.steps, curves.train.values, strict=True)) == trained.train_losses
    evaluation = dict(zip(curves.evaluation.steps, curves.evaluation.values, strict=True))
    assert evaluation == trained.valid_losses
    assert [one.step for one in curves.checkpoints] == list(trained.checkpoints)
    assert curves.diagnosis.state == "overfitting"
    best = min(trained.checkpoints, key=lambda step: trained.valid_losses[step])
    assert curves.diagnosis.best and curves.diagnosis.best.step == best
    assert curves.chosen == 40  # adapters.safetensors is the last checkpoint, byte for byte
    assert (curves.settings.rank, curves.settings.dropout) == (8, 0)
    assert (curves.settings.learning_rate, curves.settings.steps) == (5e-4, 40)
    by_file = read_curves(trained.adapter / f"{best:07d}_adapters.safetensors")
    assert by_file.chosen == best and by_file.train == curves.train


def test_a_checkpoint_shows_the_whole_training(tmp_path: Path) -> None:
    root = training(tmp_path / "out")
    curves = read_curves(root / "checkpoint-20")
    assert curves.chosen == 20 and curves.train.steps[-1] == 60
    assert [one.step for one in curves.checkpoints] == [20, 40, 60]
    assert curves.diagnosis.best and curves.diagnosis.best.name == "checkpoint-40"
    assert (curves.settings.rank, curves.settings.dropout) == (16, 0.1)
    assert (curves.settings.steps, curves.settings.epochs) == (100, 5)
    assert read_curves(root).chosen is None


def test_of_many_checkpoints_the_last_one_s_log_counts(tmp_path: Path) -> None:
    root = training(tmp_path / "out", last=240)
    for age, state in enumerate(sorted(root.glob("*/trainer_state.json"))):
        os.utime(state, (age, age))  # as after copying: names sorted as texts
    assert read_curves(root).train.steps[-1] == 240
    (root / "checkpoint-240/trainer_state.json").write_text('{"log_history": [{"st')
    assert read_curves(root).train.steps[-1] == 220


def test_weights_in_the_training_s_folder_are_known_by_their_bytes(tmp_path: Path) -> None:
    root = training(tmp_path / "out")
    shutil.copy(root / "checkpoint-40/adapter_model.safetensors", root)
    assert read_curves(root).chosen == 40
    (root / "adapter_model.safetensors").write_text("other weights, later")
    assert read_curves(root).chosen == 60


def test_the_log_in_the_folder_above_unless_it_may_be_another_one_s(tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter/adapters.safetensors").write_text("weights")
    (tmp_path / "train.csv").write_text("step,loss\n1,2\n2,1\n")
    assert read_curves(tmp_path / "adapter").log == "../train.csv"
    (tmp_path / "other").mkdir()
    (tmp_path / "other/adapters.safetensors").write_text("weights")
    with pytest.raises(DataError, match="no training log"):
        read_curves(tmp_path / "adapter")


def test_a_folder_without_logs_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter/notes.txt").write_text("Iter 10 was fine\n")
    with pytest.raises(DataError) as caught:
        read_curves(tmp_path / "adapter")
    for name in ("trainer_state.json", "trainer_log.jsonl", "*.log", "*.csv", str(tmp_path)):
        assert name in str(caught.value)
    with pytest.raises(DataError, match="no such file or directory"):
        read_curves(tmp_path / "missing")


def test_what_lies_above_is_not_searched_deeper(tmp_path: Path) -> None:
    for name in ("adapter", "another"):
        (tmp_path / name).mkdir()
    (tmp_path / "another/metrics.csv").write_text("step,loss\n1,2\n2,1\n")
    (tmp_path / "rows.csv").write_text("question,answer\n" + "a,b\n" * 100_000)
    with pytest.raises(DataError, match="no training log"):
        read_curves(tmp_path / "adapter")


def test_what_is_no_plain_file_is_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "train.log")
    (tmp_path / "out.log").mkdir()
    (tmp_path / "dead.csv").symlink_to(tmp_path / "missing")
    (tmp_path / "ok.csv").write_text("step,loss\n1,2\n2,1\n")
    assert read_curves(tmp_path).log == "ok.csv"


def test_two_logs_the_newest_is_read_and_the_other_named(tmp_path: Path) -> None:
    for name, loss, age in (("old.csv", 3, 1_000), ("new.csv", 2, 2_000)):
        (tmp_path / name).write_text(f"step,loss\n1,{loss}\n2,1\n")
        os.utime(tmp_path / name, (age, age))
    curves = read_curves(tmp_path)
    assert curves.log == "new.csv" and "1 other log with losses (old.csv)" in curves.notes[0]
    assert read_curves(tmp_path / "old.csv").train.values[0] == 3


def test_hyperparameters_of_a_model_card_and_a_yaml_file(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("step,loss\n1,2\n2,1\n")
    (tmp_path / "README.md").write_text("- learning_rate: 0.0002\n- num_epochs: 3.0\n- x: y\n")
    (tmp_path / "lora.yaml").write_text("lora_parameters: {rank: 4, dropout: 0.2}\n")
    (tmp_path / "broken.yml").write_text("a: [")
    settings = read_curves(tmp_path).settings
    assert (settings.learning_rate, settings.epochs) == (2e-4, 3)
    assert (settings.rank, settings.dropout) == (4, 0.2)
    assert len(settings.digest) == 64 and settings.digest == read_curves(tmp_path).settings.digest
    config = tmp_path / settings.files[0]
    config.write_text(config.read_text() + "\n")
    assert read_curves(tmp_path).settings.digest != settings.digest


def test_checkpoints_of_one_training_share_its_view(tmp_path: Path) -> None:
    root = training(tmp_path / "out")
    names = ("checkpoint-20", "checkpoint-60")
    variants = [
        Variant("vanilla", "0", "base"),
        *(Variant(name, name, "base", str(root / name), "digest") for name in names),
        Variant("elsewhere", "9", "base", str(tmp_path / "missing"), "digest"),
    ]
    found = curves_of_variants(variants, on_server=False)
    assert list(found) == [*names] and not curves_of_variants(variants, on_server=True)
    harm = Harm("checkpoint-60", "Correctness", "old questions", -0.2, -0.3, -0.1, 20)
    (view,) = view_trainings(found, [harm], None)
    assert view.variants == names and view.chosen == (20, 60)
    assert "lost old questions" in view.advice[0] and len(view.advice) == 2
    svg = curves_svg([Block(", ".join(names), view.curves, view.chosen)])
    assert "looked at: step 20" in svg and "looked at: step 60" in svg
    assert svg == curves_svg([Block(", ".join(names), view.curves, view.chosen)])


def test_a_log_is_read_once_for_all_its_checkpoints(tmp_path: Path) -> None:
    root, seen = training(tmp_path / "out"), LogCache()
    first = read_curves(root / "checkpoint-20", seen)
    for state in root.glob("*/trainer_state.json"):
        state.unlink()
    assert read_curves(root / "checkpoint-40", seen).train == first.train


def test_the_command_writes_text_picture_and_table(trained: Trained, tmp_path: Path) -> None:  # noqa: F811
    out = tmp_path / "out"
    ended = main("curves", str(trained.adapter), "--out", str(out))
    assert ended.code == 0, ended.err
    assert "Overfitting: the evaluation loss rises by " in ended.out
    assert "What to change next:" in ended.out
    assert (out / "curves.svg").read_text(encoding="utf-8").count("<svg ") == 1
    table = (out / "curves.csv").read_text(encoding="utf-8").splitlines()
    assert table[0] == "curve,step,value,name"
    assert f"training loss,40,{trained.train_losses[40]}," in table
    assert f"checkpoint,5,{trained.valid_losses[5]},0000005_adapters.safetensors" in table


def test_the_command_without_a_log_is_the_user_s_mistake(tmp_path: Path) -> None:
    ended = main("curves", str(tmp_path))
    assert ended.code == 2 and "no training log with losses" in ended.out + ended.err


def test_the_command_names_the_folders_inside_that_have_a_log(tmp_path: Path) -> None:
    for name in ("adapters", "data"):
        (tmp_path / name).mkdir()
    (tmp_path / "adapters/losses.csv").write_text("step,loss\n1,2\n2,1\n")
    (tmp_path / "data/rows.csv").write_text("question,answer\na,b\n")
    ended = main("curves", str(tmp_path))
    assert ended.code == 2
    said = " ".join(ended.err.split())
    assert f"These folders in it may have one: {tmp_path / 'adapters'}" in said


def test_a_report_has_the_curves_after_the_folder_is_gone(
    trained: Trained,  # noqa: F811
    tmp_path: Path,
) -> None:
    adapter, run, rows = tmp_path / "adapter", tmp_path / "run", tmp_path / "cases.jsonl"
    shutil.copytree(trained.adapter, adapter)
    cases = (ROOT / "demo/cases.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    rows.write_text("".join(cases[:2]), encoding="utf-8")
    options = {
        "model_name": str(ROOT / "demo/model"),
        "model_adapter": str(adapter),
        "dataset_name": str(rows),
        "judge": "offline",
        "predefined_tasks": "Token F1",
        "max_tokens": "4",
        "out": str(run),
    }
    ended = main("run", *(word for name, value in options.items() for word in (f"--{name}", value)))
    assert ended.code == 0, ended.err
    page = (run / "report.html").read_text(encoding="utf-8")
    shutil.rmtree(adapter)
    assert main("report", str(run), "--out", str(tmp_path / "again")).code == 0
    again = (tmp_path / "again/report.html").read_text(encoding="utf-8")
    for text in (page, again):
        assert "How the training went" in text and "looked at: step 40" in text
        assert "Overfitting: the evaluation loss rises by " in text
    summary = json.loads((tmp_path / "again/summary.json").read_text(encoding="utf-8"))
    (told,) = summary["trainings"]
    assert told["variants"] == ["adapter"] and told["diagnosis"]["state"] == "overfitting"


def test_a_broken_log_beside_one_that_can_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "trainer_state.json").write_text('{"log_history": [{"loss": 1, "step"')
    (tmp_path / "log.csv").write_text("step,loss\n1,2\n2,1\n")
    curves = read_curves(tmp_path)
    assert curves.log == "log.csv"
    assert f"{tmp_path / 'trainer_state.json'} is cut off before its first loss" in curves.notes[0]

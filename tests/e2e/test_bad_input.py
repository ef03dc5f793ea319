"""Bad input, and what it gets: one clear message, the right exit code, and never a traceback."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from demo import FOLDER
from tests.e2e.conftest import ROOT, demo_options, main, run_process, summary
from tests.judge_server import JudgeServer, Reply


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FOLDER / "model", tmp_path / "model"))


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FOLDER / "adapter", tmp_path / "tuned"))


def data(folder: Path, *rows: object, name: str = "cases.jsonl") -> str:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def refused(out: Path, **changed: str) -> str:
    """The message of a run that is the user's mistake."""
    ended = main(*demo_options(out, **changed))
    assert ended.code == 2, (ended.code, ended.err)
    assert ended.err.startswith("error: ")
    return ended.err.removeprefix("error: ").strip()


def test_a_model_folder_that_is_missing(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    assert refused(tmp_path / "o", model_name=str(nowhere)) == (
        f"{nowhere}: no such directory; --model_name takes a directory or a hub id"
    )


def test_a_model_without_tokenizer_and_weights(tmp_path: Path, model: Path) -> None:
    (model / "tokenizer.json").unlink()
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    message = refused(tmp_path / "o", model_name=str(model))
    assert message.startswith(f"{model} is not a complete model: ")
    assert "pickle (pytorch_model.bin), which is refused " in message
    assert "convert them to safetensors; no tokenizer (tokenizer.json or " in message
    assert "It must be in the hub's layout: config.json, model*.safetensors and " in message


def test_a_hub_id_that_cannot_be_had(tmp_path: Path) -> None:
    message = refused(tmp_path / "o", model_name="nobody/no-such-model")
    assert message.startswith("model 'nobody/no-such-model': there is no directory ")
    assert message.endswith("Give a directory, or check id and network")


def test_a_model_whose_code_would_have_to_run(tmp_path: Path, model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    (model / "evil.py").write_text("raise SystemExit('ran')")
    (model / "config.json").write_text(json.dumps({**config, "model_file": "evil.py"}))
    message = refused(tmp_path / "o", model_name=str(model))
    assert message.startswith(f"{model}/config.json: model_file 'evil.py' names Python code")
    assert "This program never runs code from a model's folder" in message
    assert "ran" not in message.split()


def test_an_adapter_for_another_base_lists_every_bad_tensor(tmp_path: Path, adapter: Path) -> None:
    tensors = load_file(adapter / "adapters.safetensors")
    names = sorted(tensors)[:3]
    for name in names:
        tensors[name] = np.zeros((7, 5), np.float32)
    save_file(tensors, adapter / "adapters.safetensors")
    message = refused(tmp_path / "o", model_adapter=str(adapter))
    base = FOLDER / "model"
    assert message.startswith(
        f"{adapter} does not fit the base model {base} (3 problems with 24 tensors):\n"
    )
    for name in names:
        assert f"  {name}: shape 7 x 5 in the file, " in message
    assert message.endswith("check --model_name, or save the adapter again from its training")


def test_an_adapter_folder_that_is_missing_empty_or_pickled(tmp_path: Path, adapter: Path) -> None:
    nowhere = tmp_path / "nowhere"
    assert refused(tmp_path / "o", model_adapter=str(nowhere)) == (
        f"adapter '{nowhere}': no such directory (tried {nowhere}); --model_adapter takes the "
        "directory that holds the adapter's weights"
    )
    empty = tmp_path / "empty"
    empty.mkdir()
    assert refused(tmp_path / "o", model_adapter=str(empty)).startswith(
        f"{empty}: there is no adapter here: the folder is empty"
    )
    (adapter / "adapters.safetensors").rename(adapter / "adapter_model.bin")
    assert "which is refused because reading such a file can run code" in refused(
        tmp_path / "o", model_adapter=str(adapter)
    )


def test_an_adapter_that_changes_nothing_is_warned_of_loudly(tmp_path: Path, adapter: Path) -> None:
    tensors = load_file(adapter / "adapters.safetensors")
    zeros = {name: np.zeros_like(array) for name, array in tensors.items()}
    save_file(zeros, adapter / "adapters.safetensors")
    out = tmp_path / "o"
    ended = main(*demo_options(out, model_adapter=str(adapter)))
    assert ended.code == 0
    warning = (
        "the adapter changed no output: all 6 completions of tuned equal vanilla's. "
        "Check that it was trained, that its file is complete, and that it belongs to this base "
        "model"
    )
    assert f"warning: {warning}" in ended.out
    assert warning in (out / "verdict.txt").read_text(encoding="utf-8")
    assert warning in (out / "report.html").read_text(encoding="utf-8").replace("&#39;", "'")
    assert warning in summary(out)["warnings"]


def test_two_adapters_with_one_name(tmp_path: Path, adapter: Path) -> None:
    other = Path(shutil.copytree(adapter, tmp_path / "other" / "tuned"))
    ended = main(
        *demo_options(tmp_path / "o", model_adapter=str(adapter)), *("--model_adapter", str(other))
    )
    assert ended.code == 2
    assert f"{other}: its name 'tuned' is also the name of {adapter}" in ended.err


def test_no_adapter_at_all(tmp_path: Path) -> None:
    message = refused(tmp_path / "o", model_adapter="")
    assert message == (
        "no adapter given, but --variants is 'vanilla and adapter': name the adapter's directory "
        "with --model_adapter, a fine-tuned model with --tuned_model, a prompt to beat with "
        "--baseline_prompt, or choose --variants 'vanilla only'"
    )


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "is empty"),
        ([{"question": "Who?"}], "--input_column question"),
        ([{"input": "Who?", "expected_output": "He."}, {"input": " "}], "row 2"),
        ([{"input": "Who?", "context": 7}], "row 1"),
        ([{"input": "Who?", "context": {"a": 1}}], "row 1"),
    ],
)
def test_a_data_set_that_cannot_be_used(rows: list[object], message: str, tmp_path: Path) -> None:
    found = refused(tmp_path / "o", dataset_name=data(tmp_path, *rows), judge="offline")
    assert message in found


def test_a_data_set_that_is_missing(tmp_path: Path) -> None:
    assert "nowhere.jsonl" in refused(tmp_path / "o", dataset_name=str(tmp_path / "nowhere.jsonl"))


def test_hallucination_without_any_context(tmp_path: Path) -> None:
    rows = data(tmp_path, {"input": "Who?"})
    message = refused(
        tmp_path / "o", dataset_name=rows, predefined_tasks="Hallucination", judge="offline"
    )
    assert message.startswith("Hallucination needs context, and no case has any.")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"predefined_tasks": "Helpfulness"}, "unknown metric 'Helpfulness'"),
        ({"predefined_tasks": "Correctness"}, "no judge chosen; --judge takes one of openai:"),
        ({"predefined_tasks": "Correctness", "judge": "gpt"}, "unknown judge 'gpt'; --judge takes"),
        (
            {"predefined_tasks": "Correctness", "judge": "openai:gpt-4o"},
            "judge openai:gpt-4o needs a key: set OPENAI_API_KEY",
        ),
        ({"engine": "gguf"}, "unknown engine 'gguf'; --engine takes one of auto, mlx"),
        ({"limit": "0"}, "--limit '0': it must be greater than 0"),
        ({"primary_metric": "Correctness"}, "--primary_metric 'Correctness' is not among"),
        ({"model_name": "", "dataset_name": ""}, "--model_name and --dataset_name must be given"),
        ({"variants": "all"}, "--variants 'all': it must be 'vanilla and adapter'"),
    ],
)
def test_an_option_that_cannot_work(changed: dict[str, str], message: str, tmp_path: Path) -> None:
    out = tmp_path / "o"
    assert message in refused(out, **changed)
    assert not out.exists()


def test_an_option_that_does_not_exist() -> None:
    ended = run_process("run", "--modle_name", "x")
    assert (ended.code, ended.out) == (2, "")
    assert "unknown option '--modle_name', did you mean '--model_name'?" in ended.err


def test_a_folder_with_another_runs_settings(tmp_path: Path) -> None:
    out = tmp_path / "o"
    assert main(*demo_options(out)).code == 0
    before = (out / "01_summary.csv").read_bytes()
    message = refused(out, max_tokens="9", seed="3")
    assert message.startswith(f"{out} holds another run: ")
    assert "seed was 0 and is now 3" in message
    assert "max_tokens was 32 and is now 9" in message
    assert "Change that back" in message and message.endswith("--out")
    assert (out / "01_summary.csv").read_bytes() == before


def test_a_mended_adapter_goes_on_in_the_same_folder(tmp_path: Path, adapter: Path) -> None:
    """Nothing was generated before the adapter was found not to fit, so nothing is in the way."""
    whole = (adapter / "adapters.safetensors").read_bytes()
    tensors = load_file(adapter / "adapters.safetensors")
    save_file(
        {name: array[:3] for name, array in tensors.items()}, adapter / "adapters.safetensors"
    )
    out = tmp_path / "o"
    assert "does not fit the base model" in refused(out, model_adapter=str(adapter))
    (adapter / "adapters.safetensors").write_bytes(whole)
    ended = main(*demo_options(out, model_adapter=str(adapter)))
    assert ended.code == 0, ended.err


def test_results_that_cannot_be_written_are_a_fault_that_says_how_to_go_on(tmp_path: Path) -> None:
    out = tmp_path / "o"
    (out / "report.html").mkdir(parents=True)
    ended = run_process(*demo_options(out))
    assert ended.code == 1
    assert "fault: the results cannot be written: " in ended.err
    assert f"Go on with: python main.py resume {out}" in ended.err
    (out / "report.html").rmdir()
    assert main("resume", str(out)).code == 0


def test_a_fault_of_our_own_ends_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import plugin.plan.plan\n"
        "def broken(*arguments): raise ZeroDivisionError('division by zero')\n"
        "plugin.plan.plan.load_cases = broken\n"
    )
    path = f"{tmp_path}:{ROOT}"
    ended = run_process(*demo_options(tmp_path / "o"), PYTHONPATH=path)
    assert ended.code == 1
    assert ended.err.startswith("fault: ZeroDivisionError: division by zero (an unexpected fault")


def test_resume_of_nothing(tmp_path: Path) -> None:
    for command in ("resume", "report"):
        ended = main(command, str(tmp_path))
        assert ended.code == 2
        assert f"{tmp_path} holds no journal.sqlite" in ended.err


def test_a_key_that_is_wrong_is_never_shown(tmp_path: Path, server: JudgeServer) -> None:
    key = "sk-very-secret-0123456789"
    server.fault = lambda n, body: Reply(status=401, text=f"Incorrect API key: {key}")
    out = tmp_path / "o"
    ended = run_process(
        *demo_options(out, predefined_tasks="Correctness", judge="custom:judge"),
        CUSTOM_JUDGE_BASE_URL=server.url,
        CUSTOM_JUDGE_API_KEY=key,
    )
    assert ended.code == 2
    assert "the server refused the key (HTTP 401)" in ended.err
    everything = (ended.out + ended.err).encode()
    everything += b"".join(file.read_bytes() for file in out.iterdir())
    assert key.encode() not in everything


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("c.yaml", "seeed: 3", "unknown option 'seeed', did you mean 'seed'?"),
        ("c.yaml", "a: [", "is not valid YAML or JSON"),
        ("c.json", "{", "is not valid YAML or JSON"),
        ("c.yaml", "- a", "must map option names to values"),
    ],
)
def test_a_config_file_that_cannot_be_used(
    name: str, text: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    ended = main("run", "--config", str(tmp_path / name))
    assert ended.code == 2
    assert message in ended.err


def test_a_config_file_and_the_command_line_together(tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(
        f"model_name: {FOLDER / 'model'}\nmodel_adapter: [{FOLDER / 'adapter'}]\n"
        f"dataset_name: {FOLDER / 'cases.jsonl'}\npredefined_tasks: [Token F1]\n"
        "limit: 0.05\nmax_tokens: 4\nseed: 5\n"
    )
    out = tmp_path / "o"
    ended = main("run", "--config", str(config), "--seed", "6", "--out", str(out))
    assert ended.code == 0, ended.err
    assert summary(out)["provenance"]["seed"] == 6


def _utf16(path: Path) -> None:
    path.write_bytes("input\nWho?\n".encode("utf-16"))


def _half_json(path: Path) -> None:
    path.write_text('{"input": "Who?"}\n{"input": ', encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "message"), [(_utf16, "UTF-8"), (_half_json, "line 2")], ids=["utf16", "half json"]
)
def test_a_file_that_cannot_be_read(
    spoil: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "cases.jsonl"
    spoil(path)
    assert message in refused(tmp_path / "o", dataset_name=str(path))


def test_bad_rows_can_be_skipped_and_are_counted(tmp_path: Path) -> None:
    rows = data(
        tmp_path,
        {"input": "Who plays Richard?", "expected_output": "He."},
        {"input": "", "expected_output": "He."},
        {"input": "Who plays Dinesh?", "expected_output": "He."},
    )
    out = tmp_path / "o"
    ended = main(*demo_options(out, dataset_name=rows, limit="1", skip_bad_rows="true"))
    assert ended.code == 0, ended.err
    assert "1 of 3 rows could not be used" in summary(out)["warnings"]
    failures = (out / "04_failures.csv").read_text(encoding="utf-8").splitlines()
    assert len(failures) == 2
    assert "data" in failures[1] and "row 2" in failures[1]


def test_text_from_data_and_models_cannot_run(tmp_path: Path) -> None:
    nasty = "<script>alert(1)</script>"
    rows = data(tmp_path, {"id": "=1+1", "input": nasty, "expected_output": nasty, "group": nasty})
    out = tmp_path / "o"
    assert main(*demo_options(out, dataset_name=rows, limit="1")).code == 0
    page = (out / "report.html").read_text(encoding="utf-8")
    assert nasty not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    cells = (out / "03_cases.csv").read_text(encoding="utf-8")
    assert ",=1+1," not in cells


def test_cases_that_repeat_each_other_are_one_cluster(tmp_path: Path) -> None:
    row = '{"input": "Who plays Dinesh?", "expected_output": "Kumail Nanjiani plays Dinesh."'
    other = '{"input": "Who plays Jian-Yang?", "expected_output": "Jimmy O. Yang."'
    data = tmp_path / "cases.jsonl"
    data.write_text("\n".join([row + "}"] * 3 + [other + "}"]))
    out = tmp_path / "a"
    assert main(*demo_options(out, dataset_name=str(data), limit="1")).code == 0
    found = summary(out)
    assert found["verdict"]["details"][0] == (
        "2 of 4 cases repeat another one. A case and its repeats form one cluster: 2 clusters in "
        "all."
    )
    assert {line["n_clusters"] for line in found["comparisons"]} == {2}
    early = {"dataset_name": str(data), "limit": "1", "stop_early": "true"}
    ended = main(*demo_options(tmp_path / "b", **early))
    assert ended.code == 2
    assert "--stop_early cannot be used with clusters (2 of 4 cases repeat another" in ended.err

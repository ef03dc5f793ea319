"""Bad models on both engines, as a user starts them: one clear message each, or a warning."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from demo import FOLDER
from plugin.engines import templates
from tests.e2e.conftest import Ended, demo_options, main, outputs, run_process, summary

ONE_PLACE = "get all files of the model from one source"
MEND = (
    "correct chat_template in tokenizer_config.json or chat_template.jinja, or use --chat_template "
    "false"
)


@pytest.fixture(params=["mlx", "transformers"])
def engine(request: pytest.FixtureRequest) -> str:
    if request.param == "transformers":
        pytest.importorskip("peft")
    return str(request.param)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FOLDER / "model", tmp_path / "model"))


def change(file: Path, **values: Any) -> None:
    """Set keys of a JSON file; None takes one out."""
    config = json.loads(file.read_text())
    config |= values
    file.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


def reweigh(model: Path, **changed: Any) -> None:
    """Give the model other tensors."""
    tensors = load_file(model / "model.safetensors")
    tensors |= {name.replace("__", "."): value for name, value in changed.items()}
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})


def embedding() -> Any:
    return load_file(FOLDER / "model" / "model.safetensors")["model.embed_tokens.weight"]


def data(folder: Path, *rows: object) -> str:
    path = folder / "cases.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def run(out: Path, model: Path, engine: str, **changed: str) -> Ended:
    alone = {"variants": "vanilla only", "model_adapter": ""}
    options = demo_options(out, model_name=str(model), engine=engine, **alone, **changed)
    # torch reads OMP_NUM_THREADS once, when it is imported.
    start = run_process if engine == "transformers" else main
    return start(*options, OMP_NUM_THREADS="1")


def refused(out: Path, model: Path, engine: str, **changed: str) -> str:
    ended = run(out, model, engine, **changed)
    assert ended.code == 2, (ended.code, ended.err)
    return ended.err.partition("error: ")[2].strip()  # libraries warn before it


def test_files_that_are_no_configuration(tmp_path: Path, model: Path) -> None:
    change(model / "config.json", model_type=None)
    assert refused(tmp_path / "o", model, "mlx") == (
        f"{model}/config.json has no model_type. Get the file again"
    )
    (model / "config.json").write_text("{")
    assert refused(tmp_path / "o", model, "mlx") == (
        f"{model}/config.json is not valid JSON: Expecting property name enclosed in double "
        "quotes: line 1 column 2 (char 1). Get the file again"
    )


def test_a_tokenizer_that_cannot_be_read(tmp_path: Path, model: Path, engine: str) -> None:
    (model / "tokenizer.json").write_text("{")
    message = refused(tmp_path / "o", model, engine)
    library = "mlx-lm" if engine == "mlx" else "transformers"
    assert message.startswith(f"{model}: {library} cannot load this model (")
    assert "\n" not in message


def test_an_architecture_that_nobody_knows(tmp_path: Path, model: Path, engine: str) -> None:
    change(model / "config.json", model_type="zork", architectures=["Zork"])
    message = refused(tmp_path / "o", model, engine)
    assert "cannot load this model (" in message and "zork" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("template", "error"),
    [
        ("{% for %}", "TemplateSyntaxError: Expected an expression, got 'end of statement block'"),
        ("{{ tools_of(messages) }}", "UndefinedError: 'tools_of' is undefined"),
        ("{{ 1 / 0 }}", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_chat_template_that_is_broken(
    template: str, error: str, tmp_path: Path, model: Path, engine: str
) -> None:
    change(model / "tokenizer_config.json", chat_template=template)
    message = refused(tmp_path / "o", model, engine)
    assert message.startswith(f"{model}: its chat template fails on these turns (user): ")
    assert message.endswith(f"{error}; {MEND}")


def test_a_chat_template_that_never_ends_is_refused(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(templates, "RENDER_S", 1)
    loops = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    change(model / "tokenizer_config.json", chat_template=loops)
    message = refused(tmp_path / "o", model, "mlx")
    assert message == (
        f"{model}: its chat template fails on these turns (user): it takes more than 1 seconds; "
        f"{MEND}"
    )


def test_a_tokenizer_that_blows_up_a_text_is_refused(
    tmp_path: Path, model: Path, engine: str
) -> None:
    one = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
    change(model / "tokenizer.json", normalizer={"type": "Sequence", "normalizers": [one] * 45})
    message = refused(tmp_path / "o", model, engine)
    assert message.startswith(f"{model}/tokenizer.json: this tokenizer is broken or harmful: it ")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        ("config.json", "model_file", "evil.py"),
        ("config.json", "model_file", ""),
        ("config.json", "auto_map", {"AutoModelForCausalLM": "evil.Model", "AutoConfig": "evil.C"}),
        ("tokenizer_config.json", "auto_map", {"AutoTokenizer": ["evil.Tokenizer", None]}),
    ],
)
def test_code_in_a_models_folder_is_never_run(
    file: str, key: str, value: object, tmp_path: Path, model: Path, engine: str
) -> None:
    ran = tmp_path / "ran"
    (model / "evil.py").write_text(f"open({str(ran)!r}, 'w')\nclass Model: pass\nC = Model\n")
    unknown = {"model_type": "zork"} if "auto" in key and file == "config.json" else {}
    change(model / file, **{key: value}, **unknown)
    if file == "tokenizer_config.json":
        change(model / file, tokenizer_class="ZorkTokenizer")
    ended = run(tmp_path / "o", model, engine)
    assert not ran.exists() and "trust_remote_code" not in ended.out + ended.err
    if ended.code:
        message = ended.err.partition("error: ")[2].strip()
        assert ended.code == 2 and message.startswith(str(model)) and "\n" not in message
    if key == "model_file" and engine == "mlx":
        assert "This program never runs code from a model's folder" in ended.err


def test_a_chat_template_that_says_nothing(tmp_path: Path, model: Path, engine: str) -> None:
    change(model / "tokenizer_config.json", chat_template="{{ '' }}")
    message = refused(tmp_path / "o", model, engine)
    assert message.startswith(f"{model}: its chat template gives an empty prompt ")
    assert message.endswith(f"(user); {MEND}")


def test_a_missing_chat_template_is_warned_of(tmp_path: Path, model: Path, engine: str) -> None:
    change(model / "tokenizer_config.json", chat_template=None)
    out = tmp_path / "o"
    assert run(out, model, engine).code == 0
    warning = summary(out)["warnings"][0]
    assert warning.startswith(f"the tokenizer of {model} has no chat template, so prompts are pla")
    assert "--chat_template false" in warning
    plain = tmp_path / "plain"
    assert run(plain, model, engine, chat_template="false").code == 0
    assert "no chat template" not in str(summary(plain)["warnings"])


def test_chats_of_several_turns_need_a_chat_template(
    tmp_path: Path, model: Path, engine: str
) -> None:
    turns = [("user", "Who plays Dinesh?"), ("assistant", "Kumail."), ("user", "And Gilfoyle?")]
    messages = [{"role": role, "content": text} for role, text in turns]
    chats = {
        "dataset_name": data(tmp_path, {"messages": messages, "expected_output": "Martin Starr."}),
        "input_column": "messages",
        "limit": "1",
    }
    change(model / "tokenizer_config.json", chat_template=None)
    message = refused(tmp_path / "o", model, engine, **chats)
    assert message.startswith(f"{model}: its tokenizer has no chat template, but some cases have ")
    assert "(user, assistant, user)" in message and message.endswith("--chat_template false")
    assert run(tmp_path / "plain", model, engine, chat_template="false", **chats).code == 0


def test_a_tokenizer_of_another_model(tmp_path: Path, model: Path, engine: str) -> None:
    change(model / "config.json", vocab_size=300)
    reweigh(model, model__embed_tokens__weight=np.ascontiguousarray(embedding()[:300]))
    message = refused(tmp_path / "o", model, engine)
    assert message.startswith(f"{model}: its tokenizer has 1536 tokens, but the model ")
    assert " 300. " in message and message.endswith(ONE_PLACE)


def test_a_prompt_with_a_token_that_the_model_has_no_row_for(
    tmp_path: Path, model: Path, engine: str
) -> None:
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    tokenizer["added_tokens"].append(
        {**tokenizer["added_tokens"][0], "id": 1536, "content": "<|x|>"}
    )
    (model / "tokenizer.json").write_text(json.dumps(tokenizer))
    out = tmp_path / "o"
    assert run(out, model, engine).code == 0  # nobody meets it
    rows = data(tmp_path, {"input": "What is <|x|>?", "expected_output": "Nothing."})
    message = refused(tmp_path / "x", model, engine, dataset_name=rows, limit="1")
    assert message.startswith(f"{model}: a prompt contains token id 1536 ('<|x|>'), but the model ")
    assert " 1536 tokens. " in message and message.endswith(ONE_PLACE)


def test_a_token_beyond_the_tokenizer_is_written_as_nothing(
    tmp_path: Path, model: Path, engine: str
) -> None:
    """Embeddings are often padded; these rows outdo all others."""
    own = embedding()
    change(model / "config.json", vocab_size=1664)
    rows = np.concatenate([own, own[-64:] * 50, own[-64:] * -50])
    reweigh(model, model__embed_tokens__weight=rows)
    out = tmp_path / "o"
    ended = run(out, model, engine)
    assert ended.code == 0, ended.err
    said = outputs(out)
    assert {text for own in said.values() for text in own.values()} == {""}
    assert {name: len(own) for name, own in said.items()} == {"vanilla": 6}
    assert (
        "warning: all 6 completions of vanilla were cut off at --max_tokens, so their scores say "
        "little. Check that the model has an end-of-text token (eos_token_id in "
        "generation_config.json"
    ) in ended.out


def test_weights_that_are_no_numbers(tmp_path: Path, model: Path, engine: str) -> None:
    name = "model.layers.1.mlp.up_proj.weight"
    weight = load_file(model / "model.safetensors")[name]
    weight[3, 3] = np.nan
    reweigh(model, **{name: weight})
    alone = {"variants": "vanilla only", "model_adapter": "", "engine": engine}
    options = demo_options(tmp_path / "o", model_name=str(model), **alone)
    ended = run_process(*options, OMP_NUM_THREADS="1")  # whose end an open stream would abort
    message = ended.err.partition("error: ")[2].strip()
    assert ended.code == 2
    assert message.startswith(f"{model}: the model answers a probe prompt with NaN or infinity")
    assert message.endswith("get the model's files again")


@pytest.mark.parametrize(
    ("positions", "rope", "longest", "limit"),
    [
        (64, None, 512, 64),
        (None, None, 48, 48),
        (
            32,
            {"rope_type": "linear", "factor": 2.0, "original_max_position_embeddings": 32},
            512,
            64,
        ),
        (None, None, 10**30, None),
    ],
)
def test_a_prompt_longer_than_the_context_fails_alone(
    positions: int | None,
    rope: dict[str, Any] | None,
    longest: int,
    limit: int | None,
    tmp_path: Path,
    model: Path,
) -> None:
    change(model / "config.json", max_position_embeddings=positions, rope_scaling=rope)
    change(model / "tokenizer_config.json", model_max_length=longest)
    rows = data(
        tmp_path,
        {"id": "long", "input": "Who? " * 60, "expected_output": "Nobody."},
        {"id": "short", "input": "Who is Dinesh?", "expected_output": "A programmer."},
    )
    out = tmp_path / "o"
    ended = run(out, model, "mlx", dataset_name=rows, limit="1", max_tokens="4")
    assert ended.code == 0, ended.err
    with (out / "04_failures.csv").open(encoding="utf-8") as file:
        found = [(row["case_id"], row["stage"], row["reason"]) for row in csv.DictReader(file)]
    n = summary(out)["provenance"]["prompts"]["n_tokens"] - 10
    reason = (
        f"the prompt has {n} tokens, but the model's context is {limit}; prompts are never "
        "shortened"
    )
    assert found == ([("long", "generate", reason)] if limit else [])

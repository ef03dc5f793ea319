"""The rules of the house that imports can show."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import ROOT

ORDER = (
    "errors | code_tests | worker body commits pace records sheets languages terminal "
    "training_facts training_curves | keys | net results run_facts thinking "
    "| cache conversations | preference_rows sampling | load_rows | item_rows sandbox "
    "| sample_rows | journal | load metrics compare | training | certify | engines | judges "
    "| trust | capability latency | memorisation | report | hosts score_items "
    "| score follow_ups forecast proofs | plan | reopen | likelihoods "
    "| generate conclude ratings | gate load_step "
    "| run | sweep | caseset | certifying history reading_curves | typed | cli"
)
"""A package or file of `plugin/` imports only what stands in a group before its own."""

HEAVY = {
    "mlx": ("engines/_mlx_adapters.py", "engines/mlx.py", "judges/in_process.py"),
    "mlx_lm": ("engines/_mlx_adapters.py", "engines/mlx.py", "judges/in_process.py"),
    "deepeval": ("metrics/_deepeval.py",),
    "json_repair": ("judges/parsing.py",),
    "openai": ("judges/openai.py",),
    "anthropic": ("judges/anthropic.py",),
    "rich": ("hosts/folder.py",),
    "lab": ("hosts/lab.py", "cli.py"),
    "datasets": ("load/find.py",),
    "torch": (
        *("engines/_peft_merge.py", "engines/_peft_switch.py", "engines/_torch.py"),
        *("engines/_torch_decode.py", "engines/_torch_layers.py", "engines/_torch_plan.py"),
        *("engines/_torch_graphs.py", "engines/_torch_slots.py", "judges/_torch_decoder.py"),
        "metrics/bertscore.py",
    ),
    "transformers": (
        *("engines/_template_child.py", "engines/_torch.py", "engines/_torch_layers.py"),
        *("engines/_torch_slots.py", "engines/vllm.py"),
        "metrics/bertscore.py",
    ),
    "sacrebleu": ("metrics/text.py",),
    "jsonschema": ("metrics/json_schema.py",),
    "sqlglot": ("metrics/formats.py",),
    "py3langid": ("metrics/constraints.py",),
    "peft": ("engines/_peft_merge.py", "engines/_peft_switch.py"),
    "vllm": ("engines/_vllm_adapters.py", "engines/_vllm_requests.py", "engines/vllm.py"),
    "safetensors": ("engines/_peft_switch.py", "engines/_vllm_adapters.py"),
    "ray": ("engines/_ray_cluster.py", "engines/_ray_workers.py", "engines/ray.py"),
    "llguidance": ("judges/grammar.py",),
    "matplotlib": tuple(
        f"report/{name}.py"
        for name in (
            *("canvas", "capability_charts", "charts", "confusion", "gain_chart"),
            *(
                "memorisation_chart",
                "pdf",
                "curves_chart",
                "radar",
                "samples_chart",
                "latency_chart",
                "folds_chart",
            ),
        )
    ),
    "tensorboard": ("training/tables.py",),
    "lm_eval": ("capability/harness.py", "capability/harness_model.py"),
    "sklearn": ("caseset/topics.py",),
    "pickle": (),
}
"""Which files import a heavy (or, for pickle, a dangerous) library."""

PLUGIN = ROOT / "plugin"
FILES = sorted(PLUGIN.rglob("*.py"))
RANK = {room: i for i, group in enumerate(ORDER.split(" | ")) for room in group.split()}


def name_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(file) for file in FILES}


@cache
def imports(file: Path) -> tuple[str, ...]:
    """The modules that a file imports, at its top or late."""
    return tuple(_imports(file))


def _imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else str(node.module)


def own_imports(file: Path) -> set[str]:
    own = {name for name in imports(file) if name.startswith("plugin.")}
    return own - {name_of(file)}


def test_every_room_has_its_place() -> None:
    rooms = {name.split(".")[1] for name in MODULES if name != "plugin"}
    assert rooms == set(RANK)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PLUGIN)))
def test_imports_point_back(file: Path) -> None:
    room = name_of(file).split(".")[1:2]
    for name in own_imports(file):
        other = name.split(".")[1]
        if room and other not in (room[0], "errors"):
            assert RANK[other] < RANK[room[0]], f"{file.name} imports {name}"


def test_no_import_goes_in_a_circle() -> None:
    left = {name_of(file): own_imports(file) for file in FILES}
    while free := [name for name, needs in left.items() if not needs & left.keys()]:
        for name in free:
            del left[name]
    assert not left


KINDS = {
    "engines": ("mlx", "transformers", "server", "recorded"),
    "judges": ("openai", "anthropic", "ollama", "in_process", "offline"),
    "metrics": (
        *(
            "text",
            "numbers",
            "labels",
            "formats",
            "json_schema",
            "constraints",
            "bertscore",
            "code_tests",
        ),
        *("answers", "g_eval", "data_quality", "engine", "preference"),
    ),
    "hosts": ("folder", "lab", "classic"),
}


@pytest.mark.parametrize("package", KINDS)
def test_kinds_do_not_import_each_other(package: str) -> None:
    kinds = {f"plugin.{package}.{kind}" for kind in KINDS[package]}
    for kind in KINDS[package]:
        assert not own_imports(PLUGIN / package / f"{kind}.py") & kinds


@pytest.mark.parametrize("library", HEAVY)
def test_a_heavy_library_is_imported_in_its_own_files_alone(library: str) -> None:
    users = {
        str(file.relative_to(PLUGIN))
        for file in FILES
        for name in imports(file)
        if name.split(".")[0] == library
    }
    assert users == set(HEAVY[library])


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PLUGIN)))
def test_a_file_is_neither_a_scrap_nor_a_heap(file: Path) -> None:
    n_lines = len(file.read_text(encoding="utf-8").splitlines())
    assert n_lines <= 450
    assert n_lines >= 50 or file.name == "__init__.py"

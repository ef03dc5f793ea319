"""`certify --scales`: a sweep of the demo's adapter and of a damaged one, and what is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from demo import FOLDER
from tests.certify.adapter_samples import one_module, times
from tests.e2e.test_certify import certify
from tests.load.lora_samples import peft_config, write_peft


def some_cases(folder: Path, n: int = 12) -> str:
    """Every fifth of the demo's cases."""
    lines = (FOLDER / "cases.jsonl").read_text(encoding="utf-8").splitlines()[::5][:n]
    (folder / "cases.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return str(folder / "cases.jsonl")


@pytest.mark.parametrize("engine", ["mlx", "transformers"])
def test_a_damaged_adapter_overshoots_and_the_demos_does_not(engine: str, tmp_path: Path) -> None:
    if engine == "transformers":
        pytest.importorskip("torch").set_num_threads(1)
    out = tmp_path / "out"
    ended = certify(
        FOLDER / "adapter",
        times(tmp_path / "x4", 4),
        engine=engine,
        scales="0.25,1.5",
        dataset_name=some_cases(tmp_path),
        out=str(out),
    )
    assert ended.code == 0, ended.err
    tables = ended.out.split(" by strength: ")
    assert len(tables) == 3
    assert "overshoots" not in tables[1] and "best at scale 0.25 (" in tables[2]
    assert "the adapter overshoots. It is overfitted, or its alpha is too high. At " in tables[2]
    assert "\nx4: certified\n" in ended.out and "  unusual " in ended.out
    with (out / "strength.csv").open() as file:
        rows = list(csv.DictReader(file))
    found = {(row["variant"], float(row["scale"])): row for row in rows}
    assert len(found) == 8
    for column in ("nats_from_base", "likelihood"):
        own, quarter = (float(found[place][column]) for place in (("adapter", 1), ("x4", 0.25)))
        assert quarter == pytest.approx(own, rel=1e-3)
    assert found["adapter", 0.0]["nats_from_base"] == "0.0"
    assert "the adapter overshoots" in (out / "strength.svg").read_text()


def test_a_sweep_needs_no_cases_and_no_folder(tmp_path: Path) -> None:
    ended = certify(one_module(tmp_path / "one"), scales="0.5")
    assert ended.code == 0, ended.err
    last = ended.out.strip().splitlines()[-1]
    assert last.strip().startswith("No expected output could be read, so the sweep cannot tell ")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"scales": "-1"}, "error: --scales: -1 is not between 0 (the base) and 10 times the "),
        ({"scales": "nan"}, "error: --scales: nan is not between 0"),
        ({"scales": "a,b"}, "error: --scales: 'a' is not a number; such as --scales 0,0.25,"),
        ({"scales": ""}, "error: --scales is empty"),
        ({"scales": ",".join(f"0.{i}" for i in range(10, 40))}, "error: --scales: 32 scales "),
        ({"out": "somewhere"}, "error: --out somewhere is for the picture of other strengths"),
        (
            {"scales": "0.5", "engine": "server", "server_url": "http://localhost:1/v1"},
            "error: --scales: a server does not show the weights",
        ),
    ],
)
def test_bad_values_are_refused_before_a_model_is_loaded(
    options: dict[str, str], said: str
) -> None:
    ended = certify(FOLDER / "adapter", **options)
    assert ended.code == 2, ended.out
    assert ended.err.startswith(said), ended.err
    assert "load model" not in ended.out


def test_an_adapter_that_cannot_be_scaled_is_named(tmp_path: Path) -> None:
    dora = write_peft(tmp_path / "dora", peft_config(use_dora=True))
    ended = certify(dora, scales="0.5")
    assert ended.code == 2
    assert ended.err == (
        f"error: {dora} cannot be tried at other strengths: DoRA also learned magnitudes, and only "
        "plain LoRA can be scaled. Leave --scales out, or certify this adapter by itself\n"
    )


def test_a_name_that_a_scale_needs_is_refused(tmp_path: Path) -> None:
    taken = times(tmp_path / "adapter at scale 0.5", 2)
    ended = certify(FOLDER / "adapter", taken, scales="0.5")
    assert ended.code == 2
    assert "--scales uses the name 'adapter at scale 0.5' itself; rename the folder" in ended.err


def test_an_adapter_that_breaks_the_numbers_is_refused_before_the_sweep(tmp_path: Path) -> None:
    folder = times(tmp_path / "huge", 1)
    file = folder / "adapter_config.json"
    config = json.loads(file.read_text())
    config["lora_parameters"]["scale"] = 1e38
    file.write_text(json.dumps(config))
    ended = certify(folder, scales="1e-38")
    assert ended.code == 2
    assert "with this adapter the model answers the probes with NaN or infinity" in ended.err

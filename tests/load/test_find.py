"""Data sets that the datasets library saved, and addresses, which are no data sets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from plugin.errors import DataError, OptionError
from plugin.load.cases import CaseSource, LoadedCases, load_cases

ROWS: list[dict[str, Any]] = [
    {"id": "q1", "input": "Who?", "expected_output": ["a", "b"], "context": ["One", "two"], "n": 1},
    {"id": "q2", "input": "Où?", "expected_output": None, "context": [], "n": None},
]


def load(path: Path | str, **options: Any) -> LoadedCases:
    return load_cases(CaseSource(dataset_name=str(path), **options))


def message(path: Path | str, error: type[Exception] = DataError, **options: Any) -> str:
    with pytest.raises(error) as caught:
        load(path, **options)
    return str(caught.value)


def saved(folder: Path, rows: Sequence[dict[str, Any]] = ROWS, **splits: int) -> Path:
    """A folder that `save_to_disk` wrote: a Dataset, or a DatasetDict of the splits' first rows."""
    datasets = pytest.importorskip("datasets")
    whole = datasets.Dataset.from_list(list(rows))
    if splits:
        parts = {name: whole.select(range(n)) for name, n in splits.items()}
        whole = datasets.DatasetDict(parts)
    whole.save_to_disk(folder)
    return folder


@pytest.fixture
def wanted(tmp_path: Path) -> LoadedCases:
    path = tmp_path / "wanted.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return load(path)


def test_a_saved_data_set_is_read(tmp_path: Path, wanted: LoadedCases) -> None:
    found = load(saved(tmp_path / "saved"))
    assert (found.cases, found.digest) == (wanted.cases, wanted.digest)


def test_rows_that_were_filtered_before_saving_stay_out(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    whole = datasets.Dataset.from_list([{"input": f"q{i}"} for i in range(9)])
    whole.filter(lambda row: row["input"] > "q5").save_to_disk(tmp_path / "saved", num_shards=2)
    assert [case.input for case in load(tmp_path / "saved").cases] == ["q6", "q7", "q8"]


def test_a_saved_data_set_has_splits(tmp_path: Path, wanted: LoadedCases) -> None:
    folder = saved(tmp_path / "saved", train=1, test=2)
    assert load(folder).digest == wanted.digest
    assert len(load(folder, split="train").cases) == 1
    assert len(load(folder / "train").cases) == 1
    assert message(folder, OptionError, split="tset") == (
        f"--dataset_split 'tset' is not a split of {folder}, which has: test, train"
    )
    several = saved(tmp_path / "several", one=1, two=2)
    assert message(several, OptionError) == (
        f"{several} has several splits: one, two; choose one with --dataset_split"
    )


def test_a_split_asked_of_a_data_set_without_splits_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "saved")
    assert message(folder, OptionError, split="test") == (
        f"--dataset_split 'test': {folder} is one data set without splits; leave --dataset_split "
        "out"
    )


def test_a_saved_data_set_that_is_damaged_is_named(tmp_path: Path) -> None:
    folder = saved(tmp_path / "saved")
    (file,) = folder.glob("*.arrow")
    file.write_bytes(file.read_bytes()[:40])
    assert message(folder).startswith(
        f"{folder} looks like a data set that save_to_disk wrote, but it cannot be read ("
    )
    file.unlink()
    assert message(folder).startswith(f"{folder} looks like a data set that save_to_disk wrote")


def test_an_arrow_file_names_the_folder(tmp_path: Path) -> None:
    folder = saved(tmp_path / "saved")
    (file,) = folder.glob("*.arrow")
    assert message(file) == (
        f"{file} is not a data file: its name must end in .csv, .json, .jsonl, .parquet. A data "
        "set that save_to_disk wrote is read from its folder: give that"
    )


@pytest.mark.parametrize(
    ("address", "shown", "hint"),
    [
        ("https://example.org/cases.jsonl", "https://example.org/cases.jsonl", "download the file"),
        ("HTTP://example.org/a.csv", "HTTP://example.org/a.csv", "download the file"),
        ("https://a:pass@example.org/a.csv?key=pass", "https://example.org/a.csv", "download"),
        ("s3://bucket/cases.parquet", "s3://bucket/cases.parquet", "download the file"),
        ("gs://bucket/cases.parquet", "gs://bucket/cases.parquet", "download the file"),
        ("file:///tmp/cases.csv", "file:///tmp/cases.csv", "give the path alone: /tmp/cases.csv"),
        (
            "https://huggingface.co/datasets/rajpurkar/squad",
            "https://huggingface.co/datasets/rajpurkar/squad",
            "give the data set's id: rajpurkar/squad",
        ),
        (
            "https://huggingface.co/datasets/rajpurkar/squad/viewer/plain_text/train?row=1",
            "https://huggingface.co/datasets/rajpurkar/squad/viewer/plain_text/train",
            "give the data set's id: rajpurkar/squad",
        ),
        (
            "https://huggingface.co/datasets/rajpurkar/squad/resolve/main/a.jsonl",
            "https://huggingface.co/datasets/rajpurkar/squad/resolve/main/a.jsonl",
            "download the file and give its path, or give the data set's id: rajpurkar/squad",
        ),
        ("hf://datasets/rajpurkar/squad/a.csv", "hf://datasets/rajpurkar/squad/a.csv", "squad"),
    ],
)
def test_an_address_is_not_taken_and_the_way_out_is_named(
    address: str, shown: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("asked the network")

    monkeypatch.setattr("datasets.load_dataset_builder", never)
    said = message(address)
    assert said.startswith(f"data set {shown!r} is an address, and nothing is read from addresses")
    assert hint in said and "pass" not in said

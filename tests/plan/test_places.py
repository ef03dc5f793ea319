"""Places that cannot be written or read are refused with the other options, before any reading."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from plugin.errors import OptionError
from plugin.hosts.folder import FolderHost
from plugin.plan.params import Params
from plugin.plan.resolve import find_sources


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_text("a text that is no SQLite file, long enough to be read")
    return path


def refused(**values: Any) -> str:
    given = {
        "model_name": "m",
        "model_adapter": ".",
        "dataset_name": "none.csv",
        "predefined_tasks": "Token F1",
        **{name: str(value) for name, value in values.items()},
    }
    with pytest.raises(OptionError) as caught:
        find_sources(Params.parse(given), FolderHost(""))
    return str(caught.value)


def test_a_file_is_no_folder(file: Path) -> None:
    assert refused(cache_dir=file) == f"--cache_dir {file} is not a directory; choose another"
    assert refused(out=file) == f"--out {file} is not a directory; choose another"


def test_nothing_can_be_made_in_a_file(file: Path) -> None:
    for option in ("cache_dir", "out"):
        assert refused(**{option: file / "x" / "y"}) == (
            f"--{option} {file / 'x' / 'y'} cannot be made: {file} is not a directory; choose "
            "another"
        )


def test_a_name_that_is_too_long_is_refused(tmp_path: Path) -> None:
    for option in ("cache_dir", "out"):
        said = refused(**{option: tmp_path / ("x" * 300)})
        assert said.endswith("x cannot be made: its name is too long; choose another")


def test_a_link_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "gone" / "x")
    assert refused(cache_dir=tmp_path / "link") == (
        f"--cache_dir {tmp_path / 'link'} is a link to {tmp_path / 'gone' / 'x'}, which does not "
        "exist; choose another"
    )


def test_a_cache_that_is_none_is_named(tmp_path: Path, file: Path) -> None:
    file.rename(tmp_path / "cache.sqlite")
    assert refused(cache_dir=tmp_path) == (
        f"--cache_dir {tmp_path}: {tmp_path / 'cache.sqlite'} is not a cache of this program; move "
        "it away, or choose another"
    )
    (tmp_path / "cache.sqlite").unlink()
    (tmp_path / "cache.sqlite").mkdir()
    assert "is not a cache of this program" in refused(cache_dir=tmp_path)


def test_the_environments_cache_is_named_as_such(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FINETUNE_VERDICT_CACHE", str(file))
    said = refused()
    assert said == f"FINETUNE_VERDICT_CACHE {file} is not a directory; choose another"


def test_ratings_that_cannot_be_read_are_refused_at_once(tmp_path: Path, file: Path) -> None:
    assert refused(human_ratings=tmp_path / "none.csv").startswith(
        f"--human_ratings {tmp_path / 'none.csv'}: No such file or directory; give a CSV file"
    )
    assert f"--human_ratings {tmp_path}: Is a directory" in refused(human_ratings=tmp_path)
    assert "has no column case_id" in refused(human_ratings=file)


def test_everything_wrong_is_told_together(tmp_path: Path, file: Path) -> None:
    said = refused(cache_dir=file, out=file / "x", human_ratings=tmp_path / "none.csv")
    assert [line.split()[0] for line in said.splitlines()] == [
        "--cache_dir",
        "--out",
        "--human_ratings",
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_place_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert "may not be written" in refused(cache_dir=tmp_path / "x")


def test_nothing_is_made_by_the_check(tmp_path: Path) -> None:
    given = {"cache_dir": tmp_path / "new" / "cache", "out": tmp_path / "o", "model_adapter": "no"}
    with pytest.raises(Exception, match="no such directory"):
        values = {"model_name": "m", "dataset_name": "d", "predefined_tasks": "Token F1"}
        find_sources(
            Params.parse({**values, **{n: str(v) for n, v in given.items()}}), FolderHost("")
        )
    assert list(tmp_path.iterdir()) == []

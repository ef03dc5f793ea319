"""Prompts to beat: one text as it stands, or several texts and files with names."""

from __future__ import annotations

from pathlib import Path

import pytest

from plugin.errors import OptionError
from plugin.plan.params import Params
from plugin.plan.prompts import as_typed, name_prompts


def named(*given: str) -> list[tuple[str, str]]:
    return [(one.variant, one.text) for one in name_prompts(given)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Be brief, please.", ("Be brief, please.",)),
        (["Be brief.", "", " Be kind. "], ("Be brief.", "Be kind.")),
        ('["Be brief.", "Be kind."]', ("Be brief.", "Be kind.")),
        ("[INST] be brief [/INST]", ("[INST] be brief [/INST]",)),
        ("[1, 2]", ("[1, 2]",)),
        ("", ()),
        (None, ()),
    ],
)
def test_a_text_is_one_prompt_and_a_list_is_several(
    value: object, expected: tuple[str, ...]
) -> None:
    assert Params.parse({"baseline_prompt": value}).baseline_prompt == expected


def test_one_prompt_stays_as_it_was() -> None:
    assert named("x=1 means yes.") == [("prompted", "x=1 means yes.")]
    one, none = (Params.parse({"baseline_prompt": text}) for text in ("Be brief.", ""))
    assert one.settings()["baseline_prompt"] == "Be brief."  # so that a run's id is the same
    assert none.settings()["baseline_prompt"] == ""


def test_several_are_numbered_or_named_by_the_user_or_by_their_file(tmp_path: Path) -> None:
    file = tmp_path / "kind.txt"
    file.write_text("Be kind.\n", encoding="utf-8")
    given = ("Be brief.", f"@{file}", "bold=Be bold: a=b.", f"new=@{file.with_name('other.md')}")
    file.with_name("other.md").write_text("Be\nnew.", encoding="utf-8")
    expected = [
        ("prompted 1", "Be brief."),
        ("prompted kind", "Be kind."),
        ("prompted bold", "Be bold: a=b."),
        ("prompted new", "Be\nnew."),
    ]
    assert named(*given) == expected
    kept = as_typed(name_prompts(given))
    assert [(one.variant, one.text) for one in name_prompts(kept)] == expected
    assert as_typed(name_prompts((f"@{file}",))) == ("Be kind.",)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("a=Be.", "a=Be kind."), "two prompts have the name 'a'; put another name and ="),
        (("a=Be.", "b=Be."), "'prompted b' and 'prompted a' are the same text"),
        (("@none.txt",), "@none.txt: the file cannot be read (No such file or directory)"),
        (("a=", "b=Be."), "--baseline_prompt a '': the prompt is empty; write a text"),
        (("a=@none.txt", "b=@gone.txt"), "--baseline_prompt b @gone.txt: the file cannot"),
    ],
)
def test_what_is_wrong_is_named(given: tuple[str, ...], said: str) -> None:
    with pytest.raises(OptionError) as caught:
        name_prompts(given)
    assert said in str(caught.value)


def test_the_name_of_a_file_is_no_prompt(tmp_path: Path) -> None:
    file = tmp_path / "brief.txt"
    file.write_text("@x", encoding="utf-8")
    with pytest.raises(OptionError, match="is the name of a file: write @"):
        name_prompts((str(file),))
    with pytest.raises(OptionError, match="begins with @, which stands for a file"):
        name_prompts((f"@{file}",))

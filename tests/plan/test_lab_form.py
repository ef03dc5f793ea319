"""The current host's form: its fields, and the text field with every other option."""

from __future__ import annotations

import pytest

from plugin.errors import OptionError
from plugin.plan import lab_form
from plugin.plan.lab_form import (
    check_filled_in,
    form_fields,
    merge_more_options,
    read_more_options,
)
from plugin.plan.params import Params


def test_the_fields_are_options_with_short_titles() -> None:
    fields = form_fields()
    assert len(lab_form.LAB_FORM) <= 14
    assert set(fields) - {"more_options"} <= set(Params.model_fields)
    assert all(0 < len(title) <= 25 and "." not in title for title in lab_form.LAB_FORM.values())


@pytest.mark.parametrize(
    "text",
    [
        "--margin 0.1 --input_column 'my question' --skip_bad_rows",
        "--margin=0.1 --input_column='my question'\n--skip_bad_rows true",
        "margin: 0.1\ninput_column: my question\nskip_bad_rows: true",
        "{margin: 0.1, input_column: my question, skip_bad_rows: true}",
    ],
)
def test_more_options_are_pairs_or_yaml(text: str) -> None:
    params = Params.parse(merge_more_options({"judge": "offline", "more_options": text}))
    assert (params.judge, params.margin, params.input_column, params.skip_bad_rows) == (
        *("offline", 0.1, "my question"),
        True,
    )


@pytest.mark.parametrize("text", [None, "", "  \n"])
def test_nothing_in_more_options_changes_nothing(text: str | None) -> None:
    assert merge_more_options({"judge": "offline", "more_options": text}) == {"judge": "offline"}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("--marginn 0.1", "did you mean 'margin'"),
        ("marginn: 0.1", "did you mean 'margin'"),
        ("margin 0.1", "write, for example, --margin 0.1"),
        ("--margin 'x", "mend the quotes"),
        ("--out here", "its own page"),
        ("out: here", "its own page"),
        ("--config a.yaml", "write the options themselves"),
        ("--help", "docs/options.md"),
        ("--margin", "expected one argument"),
        ("a: [", "YAML"),
    ],
)
def test_what_cannot_be_meant_is_refused(text: str, part: str) -> None:
    with pytest.raises(OptionError, match="^More options: ") as caught:
        read_more_options(text)
    assert part in str(caught.value)


def test_a_field_and_the_text_must_not_say_two_things() -> None:
    asked = {"limit": "0.2", "more_options": "--limit 0.5"}
    with pytest.raises(OptionError, match="'Share of cases' says '0.2'"):
        merge_more_options(asked)
    for shown in ("0.5", "1", 1.0, "", None):  # the same, untouched, or empty
        assert merge_more_options(asked | {"limit": shown})["limit"] == "0.5"


def test_empty_fields_are_named_together() -> None:
    with pytest.raises(OptionError, match="^Base model, Adapter and Data set are empty"):
        check_filled_in(Params())
    with pytest.raises(OptionError, match="^Adapter is empty"):
        check_filled_in(Params(model_name="m", dataset_name="d"))
    check_filled_in(Params(model_name="m", dataset_name="d", model_adapter=("a",)))
    check_filled_in(Params(model_name="m", dataset_name="d", variants="vanilla only"))

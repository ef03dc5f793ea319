"""What a job of the classic host says in the words of its form."""

from __future__ import annotations

import pytest

from plugin.plan.job_words import describe_run, say_fields
from plugin.plan.params import Params


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("--limit 'much': a number", "Share of cases 'much': a number"),
        ("say so with --retention_group general", "say so with Retention groups general"),
        ("give it with --judge_price", "give it with --judge_price (command line only)"),
        ("--guard_metric (command line only)", None),  # what was said in these words stays so
        ("--dataset_name must be given", "the data set (Dataset tab) must be given"),
        ("--nothing we know, a--limit, -- and ---limit", None),
        (
            f"/w/adaptors/tmp_a_{'b' * 60}_workspace_models_tiny/x",
            "…/adaptors/tmp_a_bb…workspace_models_tiny/x",
        ),
        ("no /w/adaptors/tiny/x, no /w/adaptors/y", "no …/adaptors/tiny/x, no …/adaptors/y"),
    ],
)
def test_messages_name_fields_by_their_titles(text: str, shown: str | None) -> None:
    assert say_fields(text, "/w") == (shown or text)


def test_a_job_of_nothing_says_so() -> None:
    assert describe_run(Params()) == (
        "This job runs: vanilla and adapter; model none; adapter none; judge none; "
        "metrics by the data; data set none; 100% of its cases"
    )

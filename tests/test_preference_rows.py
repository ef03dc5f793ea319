"""The rows of preferences in the journal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from plugin.journal import Journal
from plugin.keys import SecretMask
from plugin.records import Failure, Preference

ONE = Preference("1", "adapter", "vanilla", "Preference", 2, 1, 1.0, "it is right")
FAILED = Failure("1", "judge", "no answer", "adapter", "Preference", True, "vanilla")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "run", mask=SecretMask("sk-secret-key"))


def test_what_is_kept_comes_back(journal: Journal) -> None:
    against_prompted = replace(ONE, baseline="prompted", first=None, second=None, value=0.5)
    journal.add_preferences([ONE])
    journal.add_preferences([against_prompted])
    assert set(journal.preferences()) == {ONE, against_prompted}
    assert set(Journal(journal.path.parent).preferences()) == {ONE, against_prompted}


def test_a_panels_rows_count_together_and_a_second_judges_alone(journal: Journal) -> None:
    panel = [replace(ONE, judge=judge) for judge in ("a", "b")]
    journal.add_preferences(panel)
    assert set(journal.preferences()) == set(panel)
    second = replace(ONE, judge="c", first=-1, second=-1, value=0.0)
    journal.add_preferences([second])
    assert journal.preferences() == (second,)
    assert set(journal.all_preferences()) == {*panel, second}


def test_a_repeat_never_counts(journal: Journal) -> None:
    journal.add_preferences([ONE])
    journal.add_repeat(replace(ONE, repeat=1, value=0.0))
    assert journal.preferences() == (ONE,)
    assert len(journal.all_preferences()) == 2


def test_a_failure_stands_until_the_preference_is_there(journal: Journal) -> None:
    other = replace(FAILED, baseline="prompted")
    score = Failure("1", "judge", "no score", "adapter", "Rubric")
    for failure in (FAILED, other, score):
        journal.add_failure(failure)
    assert set(journal.failures()) == {FAILED, other, score}
    journal.add_preferences([ONE])
    assert set(journal.failures()) == {other, score}


def test_secrets_are_hidden(journal: Journal) -> None:
    journal.add_preferences([replace(ONE, reason="it says sk-secret-key")])
    journal.add_failure(replace(FAILED, baseline="b", reason="got sk-secret-key"))
    assert journal.preferences()[0].reason == "it says [key]"
    assert journal.failures()[0].reason == "got [key]"


def test_a_journal_without_the_tables_gets_them(journal: Journal) -> None:
    journal._query("DROP TABLE preferences")
    journal._query("DROP TABLE preference_failures")
    journal.close()
    again = Journal(journal.path.parent)
    assert again.preferences() == () and again.failures() == ()

"""Results of items and readings of texts in the journal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from plugin.cache import Cache
from plugin.item_rows import ItemResult, TextReading
from plugin.journal import Journal
from plugin.keys import SecretMask
from plugin.records import Completion

ONE = ItemResult("probe", "arithmetic", "arithmetic-1", "vanilla", 1.0, "42", "the number")
READING = TextReading("text-1", "prose", "tuned", 100, 420, -310.5, 0.02, "abcd")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "run", Cache(tmp_path / "cache.sqlite"), SecretMask("sk-secret-key"))


def test_results_come_back_in_order_and_replace_their_like(journal):
    other = replace(ONE, source="lm-eval", score=None, reason="too long")
    journal.add_item_results([ONE, other])
    assert journal.item_results() == (ONE, other)
    journal.add_item_results([replace(ONE, score=0.0)])
    found = {one.source: one for one in Journal(journal.path.parent).item_results()}
    assert found == {"probe": replace(ONE, score=0.0), "lm-eval": other}


def test_an_item_that_another_try_may_bring_is_not_answered(journal):
    journal.add_item_results([replace(ONE, score=None, reason="out of memory")], retry=True)
    assert journal.answered_items() == set() and len(journal.item_results()) == 1
    journal.add_item_results([ONE])
    assert journal.answered_items() == {("probe", "arithmetic-1", "vanilla")}
    assert journal.item_results() == (ONE,)


def test_no_secret_is_kept(journal):
    journal.add_item_results([replace(ONE, output="sk-secret-key", reason="sk-secret-key")])
    assert "sk-secret" not in repr(journal.item_results())


def test_readings_and_next_tokens_come_back(journal):
    journal.add_text_reading(READING)
    journal.add_text_reading(replace(READING, variant="vanilla", divergence=None), retry=True)
    assert journal.text_readings()[0] == READING and len(journal.text_readings()) == 2
    assert journal.read_texts() == {("text-1", "tuned")}
    journal.add_next_tokens("text-1", "AAAA")
    assert journal.next_tokens() == {"text-1": "AAAA"}


def test_a_journal_of_an_older_version_gets_the_tables(journal):
    for table in ("item_results", "text_readings", "next_tokens"):
        journal._query(f"DROP TABLE {table}")
    journal.close()
    again = Journal(journal.path.parent)
    assert again.item_results() == () and again.text_readings() == ()


def test_a_completion_that_answers_no_case_is_shared_but_no_answer(journal):
    made = Completion("item", "tuned", "sk-secret-key 4", (4,), "stop", 0.1, 3, 1)
    kept = journal.keep_completion("key", made)
    assert "sk-secret" not in kept.text and journal.completions() == {}
    assert journal.completion("key") == kept == journal.cache.completion("key")

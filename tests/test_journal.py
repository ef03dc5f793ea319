from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from plugin.errors import JournalError, OptionError
from plugin.journal import Cache, Journal, Judgment, content_key
from plugin.records import Failure, Score
from tests.samples import case, completion


def test_everything_comes_back_as_it_went_in(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    cases = (case("b", metadata={"a": "1"}), case("a", context=("x", "y\u2028z"), group="g"))
    done = completion("line one\nline two \N{SNOWMAN}", "b")
    failure = Failure("a", "judge", "no answer", "vanilla", "Token F1")
    bad_row = Failure("row 7", "data", "empty input")
    score = Score("b", "vanilla", "Token F1", 1 / 3, None)
    journal.set_cases(cases)
    journal.add_answer("k", done)
    journal.add_score(score)
    journal.add_failure(failure)
    journal.add_failure(bad_row)
    journal.add_judgment("j", Judgment('{"score": 1}', "v1", 10, 2, 0.5))
    journal.close()

    again = Journal.existing(tmp_path)
    assert again.cases() == cases
    assert again.completions() == {("b", "vanilla"): done}
    assert again.scores() == (score,)
    assert set(again.failures()) == {failure, bad_row}
    assert again.judgment("j") == Judgment('{"score": 1}', "v1", 10, 2, 0.5)


def test_a_score_takes_the_place_of_its_failure(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.add_failure(Failure("1", "judge", "no", "vanilla", "Token F1"))
    journal.add_score(Score("1", "vanilla", "Token F1", 0.5))
    assert journal.failures() == ()


def test_a_completion_takes_the_place_of_its_failure(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.add_failure(Failure("1", "generate", "too long", "vanilla"))
    journal.add_failure(Failure("2", "generate", "too long", "vanilla"))
    journal.add_answer("k", completion("text", "1"))
    assert [failure.case_id for failure in journal.failures()] == ["2"]


def test_one_completion_can_answer_several_cases(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    first = completion("same", "1", "vanilla")
    journal.add_answer("k", first)
    journal.add_answer("k", first.of("2", "tuned"))
    assert [(c.case_id, c.variant) for c in journal.completions().values()] == [
        ("1", "vanilla"),
        ("2", "tuned"),
    ]


def test_a_shared_cache_serves_another_run(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache" / "cache.sqlite")
    first = Journal(tmp_path / "one", cache)
    first.add_answer("k", completion("text"))
    first.add_judgment("j", Judgment("{}"))
    second = Journal(tmp_path / "two", cache)
    kept = second.completion("k")
    assert kept is not None and kept.text == "text"
    assert second.judgment("j") == Judgment("{}")
    second.cache = None
    assert second.judgment("j") == Judgment("{}")  # copied, so that the run stands alone
    assert second.completions() == {}


def test_counts_add_up_over_sessions(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.add_to_meta("judge_calls", {"n_calls": 3})
    journal.add_to_meta("judge_calls", {"n_calls": 4, "n_retries": 1})
    assert journal.meta("judge_calls") == {"n_calls": 7, "n_retries": 1}


def _write_until_killed(folder: Path) -> None:
    journal = Journal(folder)
    for number in range(10_000):
        journal.add_score(Score(str(number), "vanilla", "Token F1", 0.5))
        if number == 200:
            os.kill(os.getpid(), signal.SIGKILL)


def test_every_row_survives_a_kill(tmp_path: Path) -> None:
    child = multiprocessing.get_context("fork").Process(target=_write_until_killed, args=[tmp_path])
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert len(Journal.existing(tmp_path).scores()) == 201


def test_what_belongs_together_is_written_together(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    with pytest.raises(ZeroDivisionError), journal.whole():
        journal.set_meta("a", 1)
        raise ZeroDivisionError
    assert journal.meta("a") is None


def test_one_process_at_a_time_works_on_a_run(tmp_path: Path) -> None:
    first = Journal(tmp_path)
    first.lock()
    with pytest.raises(OptionError, match="another process is working in"):
        Journal(tmp_path).lock()
    first.close()
    Journal(tmp_path).lock()


def test_a_run_begun_anew_keeps_what_is_known_by_content(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.set_cases((case("1"),))
    journal.add_answer("k", completion("text"))
    journal.add_failure(Failure("1", "judge", "no", "vanilla", "Token F1"))
    journal.forget_all()
    assert (journal.cases(), journal.completions(), journal.failures()) == ((), {}, ())
    kept = journal.completion("k")
    assert kept is not None and kept.text == "text"


def test_versions_of_the_judge_are_listed(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for number, version in enumerate(("m-2", "m-1", "m-2", "")):
        journal.add_judgment(str(number), Judgment("{}", version))
    assert journal.judge_versions() == ["m-1", "m-2"]


def test_a_folder_without_a_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="holds no journal.sqlite; give the --out directory"):
        Journal.existing(tmp_path)


def test_a_file_that_is_no_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / "journal.sqlite").write_text("something else entirely, long enough to be read")
    with pytest.raises(JournalError, match="file is not a database"):
        Journal(tmp_path)


def test_another_schema_version_is_refused(tmp_path: Path) -> None:
    Journal(tmp_path).set_meta("schema_version", 99)
    with pytest.raises(JournalError, match="has schema version 99; this program reads 1"):
        Journal(tmp_path)


def test_a_full_disk_is_a_fault_that_keeps_what_is_there(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.add_score(Score("1", "vanilla", "Token F1", 0.5))
    pages = journal._db.execute("PRAGMA page_count").fetchone()[0]
    journal._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(JournalError, match="what was written before is kept"):
        for number in range(10_000):
            journal.add_judgment(str(number), Judgment("x" * 1000))
    journal.close()
    assert len(Journal(tmp_path).scores()) == 1


def test_the_key_depends_on_content_alone() -> None:
    assert content_key({"a": 1, "b": [1, 2]}) == content_key({"b": (1, 2), "a": 1})
    assert content_key("a", "b") != content_key("ab")
    assert content_key("\ud800") != content_key("\ud801")  # half a surrogate pair is no crash


def test_no_pickle_is_in_the_file(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.add_answer("k", completion("text"))
    types = {
        row[0]
        for (table,) in journal._db.execute("SELECT name FROM sqlite_master WHERE type='table'")
        for column in journal._db.execute(f"PRAGMA table_info({table})").fetchall()
        for row in journal._db.execute(f"SELECT DISTINCT typeof({column[1]}) FROM {table}")
    }
    assert "blob" not in types

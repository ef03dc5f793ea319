from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sqlite3
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path

import pytest

from plugin.cache import Cache, Judgment, content_key
from plugin.errors import DamagedError, JournalError, OptionError
from plugin.journal import Journal
from plugin.metrics import METRICS
from plugin.records import Failure, Score, Variant
from plugin.run_facts import (
    CapabilityChoice,
    CheckpointFacts,
    HumanChoice,
    JudgeCalls,
    LoadFacts,
    LoadLevel,
    PageItem,
    ProbeResult,
    PromptFacts,
    Rating,
    ReasonCheck,
    RunHeader,
    RunState,
    SecondJudging,
    SweepFacts,
)
from plugin.training_curves import (
    Change,
    Curves,
    Diagnosis,
    SavedCheckpoint,
    Series,
    TrainingSettings,
)
from plugin.training_facts import AnswerReading, CaseMark, Recital, TrainingFacts, VerbatimText
from tests.samples import case, completion

HEADER = RunHeader(
    run_id="r",
    identity={"seed": 1, "engine": "mlx 1"},
    digests={"model's files": "d", "adapters' files": {"tuned": "t"}},
    params={"model_name": "m", "model_adapter": ["a"], "limit": 0.5},
    variants=(Variant("vanilla", "v", "m"), Variant("tuned", "t", "m", "a", "digest", "Be kind.")),
    metrics=tuple(entry.spec for entry in METRICS.values()),
    primary_metric="Correctness",
    judge="offline",
    self_judging=("mlx:m",),
    notes=("a note",),
    model_type="llama",
    n_source_rows=3,
    versions={"python": "3.11"},
    sweep=SweepFacts(
        words=("100=/a",),
        axis="rows",
        checkpoints=(CheckpointFacts("a", 100.0, "/a", "0f"),),
        skipped=(("/b", "broken"),),
    ),
)

STATE = RunState(
    seconds={"score": 1.5},
    prompts=PromptFacts("d", 7, (1, 2)),
    other_prompts={"tuned": PromptFacts("e")},
    prompt_notes=("no template",),
    decoding=("in slots, up to 512 rows",),
    n_before_resuming=40,
    certificates={"tuned": {"variant": "tuned", "effect": [0.5, 2.0], "unused": []}},
    expected_tokens={"1": "abc"},
    evaluation_steps={"Tone": ("first", "second")},
    rewordings={"Tone": (("one", "two"), ())},
    judge_calls=JudgeCalls(n_calls=3, cost=0.25),
    halted="--max_calls 5 is reached",
    stopped_early=True,
    second_judge=SecondJudging("wise", 4, 2, 1),
    exam=(ProbeResult("retest", "1", "vanilla", "Tone", 0.5), ProbeResult("null", "2", "", "Tone")),
    ratings=(Rating("1", "out-d", "Tone", "Ann", 0.5),),
    drawn_for_rating=("1", "2"),
    page_items=(PageItem("i-1", "p-1", "pair", "1", "", ("out-d", "out-e")),),
    human_choices=(HumanChoice("1", ("out-d", "out-e"), "Ann", 0.5, "both fine"),),
    reason_checks=(ReasonCheck("1", "out-d", "Tone", "Ann", None),),
    capability=CapabilityChoice("quick", True, "200 items"),
    text_note="other tokens",
    training=TrainingFacts(
        ("train.jsonl",),
        "d",
        20,
        marks=(CaseMark("1", "copied", 1.0, "row 1", "What?", "the same question"),),
        recitals=(Recital("row 1", "tuned", 4, 3, "tokens", "Four words are here", "Four"),),
        readings=(AnswerReading("trained", "row 1", "tuned", -1.5, 4),),
        verbatim=(VerbatimText("1", "tuned", 13, False, "row 1", "text"),),
        done=("tuned",),
    ),
    sweep_skipped={"checkpoint-7": "NaN"},
    sweep_choice="checkpoint-5",
    load=LoadFacts((LoadLevel(8, 100, 8, 0, 12.5, "refused"),), (1, 8), 0, "p95=2"),
    curves={
        "tuned": Curves(
            "mlx-lm",
            "train.log",
            "step",
            Series((10, 20), (2.5, 1 / 3), (30,), 3),
            Series((20,), (2.0,), n=1),
            Series(),
            epoch=1.5,
            checkpoints=(SavedCheckpoint(20, "checkpoint-20", 2.0),),
            chosen=20,
            settings=TrainingSettings(epochs=2, files=("adapter_config.json",)),
            diagnosis=Diagnosis("overfitting", change=Change(10, 1, 20, 2)),
            notes=("a note",),
        )
    },
)


def test_everything_comes_back_as_it_went_in(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    cases = (
        case("b", metadata={"a": "1"}),
        case("a", context=("x", "y\u2028z"), group="g", retention=True),
    )
    done = completion("line one\nline two \N{SNOWMAN}", "b")
    failure = Failure("a", "judge", "no answer", "vanilla", "Token F1")
    bad_row = Failure("row 7", "data", "empty input")
    score = Score("b", "vanilla", "Token F1", 1 / 3, None)
    journal.begin(HEADER, cases, (bad_row,))
    journal.add_answer("k", done)
    journal.add_score(score)
    journal.add_failure(failure)
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
    journal.add_answer("k", first.copy_for("2", "tuned"))
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
    assert second.completion("k", shared=False) is None
    first.add_answer("own", completion("text"), shared=False)
    assert cache.completion("own") is None and first.completion("own", shared=False)
    second.cache = None
    assert second.judgment("j") == Judgment("{}")  # copied, so that the run stands alone
    assert second.completions() == {}


def test_header_and_state_come_back_as_they_were(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert not journal.has_begun and journal.state == RunState()
    journal.begin(HEADER, (case("1"),), (Failure("2", "data", "row 2: no input"),))
    journal.save_state(STATE)
    journal.close()
    again = Journal.existing(tmp_path)
    assert again.has_begun and again.header == HEADER and again.state == STATE
    assert [one.id for one in again.cases()] == ["1"] and len(again.failures()) == 1


def test_a_state_can_become_empty_again(tmp_path: Path) -> None:
    with closing(Journal(tmp_path)) as journal:
        journal.save_state(STATE)
        journal.save_state(RunState())
        assert journal.state == RunState()


def test_no_field_of_the_state_is_left_out_of_that_check() -> None:
    empty = RunState()
    assert all(getattr(STATE, f.name) != getattr(empty, f.name) for f in fields(RunState))


def test_a_run_that_never_began_has_no_header(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="holds no run that has begun; start one with `run`"):
        Journal(tmp_path).header  # noqa: B018


def test_seconds_add_up_over_sessions(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.add_seconds("score", 1.5)
    journal.add_seconds("score", 2.0)
    assert journal.state.seconds == {"score": 3.5}


def test_a_state_is_saved_field_by_field(tmp_path: Path) -> None:
    """What another process wrote meanwhile to a field that did not change here stays."""
    journal, other = Journal(tmp_path), Journal(tmp_path)
    own = journal.state
    other.save_state(replace(other.state, drawn_for_rating=("7",)))
    journal.save_state(replace(journal.state, halted="limit"))
    assert own == RunState()
    assert other.state == RunState(halted="limit", drawn_for_rating=("7",))


@pytest.mark.parametrize("retry", [True, False])
def test_whether_asking_again_may_help_is_kept(tmp_path: Path, retry: bool) -> None:
    failure = Failure("1", "generate", "memory was short", "vanilla", retry=retry)
    journal = Journal(tmp_path)
    journal.add_failure(failure)
    assert journal.failures() == (failure,)


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
    with pytest.raises(ZeroDivisionError), journal.transaction():
        journal.save_state(RunState(halted="limit"))
        raise ZeroDivisionError
    assert journal.state == RunState()


def test_one_process_at_a_time_works_on_a_run(tmp_path: Path) -> None:
    first = Journal(tmp_path)
    first.lock()
    with pytest.raises(OptionError, match="another process is working in"):
        Journal(tmp_path).lock()
    first.close()
    Journal(tmp_path).lock()


def test_a_run_begun_anew_keeps_what_is_known_by_content(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.begin(HEADER, (case("1"),), ())
    journal.save_state(STATE)
    journal.add_answer("k", completion("text"))
    journal.add_failure(Failure("1", "judge", "no", "vanilla", "Token F1"))
    journal.begin(replace(HEADER, run_id="other"), (), ())
    assert (journal.cases(), journal.completions(), journal.failures()) == ((), {}, ())
    assert (journal.header.run_id, journal.state) == ("other", RunState())
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
    with pytest.raises(DamagedError, match="is damaged: file is not a database"):
        Journal(tmp_path)


def test_a_run_of_the_previous_version_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    old = Path(__file__).parent / "old_run" / "journal.sql"
    with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as db:
        db.executescript(old.read_text(encoding="utf-8"))
        before = list(db.iterdump())
    for _ in "twice":
        with pytest.raises(OptionError) as refused:
            Journal.existing(tmp_path)
    message = str(refused.value)
    assert "another version" in message and "format 1" in message and "--out" in message
    with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as db:
        assert list(db.iterdump()) == before


def test_a_run_from_before_guards_and_retention_groups_has_none(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.begin(HEADER, (case("a", group="g", retention=True),), ())
    assert any(spec.is_guard for spec in journal.header.metrics)
    (body,) = journal._db.execute("SELECT body FROM cases").fetchone()
    old = {name: value for name, value in json.loads(body).items() if name != "retention"}
    journal._db.execute("UPDATE cases SET body = ?", (json.dumps(old),))
    (body,) = journal._db.execute("SELECT body FROM meta WHERE name = 'header'").fetchone()
    header = json.loads(body)
    for spec in header["metrics"]:
        del spec["is_guard"]
    journal._db.execute("UPDATE meta SET body = ? WHERE name = 'header'", (json.dumps(header),))
    journal.close()
    again = Journal.existing(tmp_path)
    assert again.cases() == (case("a", group="g"),)
    assert again.header.metrics == tuple(replace(one, is_guard=False) for one in HEADER.metrics)


def test_a_full_disk_is_a_fault_that_keeps_what_is_there(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.add_score(Score("1", "vanilla", "Token F1", 0.5))
    pages = journal._db.execute("PRAGMA page_count").fetchone()[0]
    journal._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(JournalError, match="full. .* the disk must have room"):
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

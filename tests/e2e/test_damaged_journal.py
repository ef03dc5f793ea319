"""A journal that was damaged or edited by hand is named as damaged, with a way out that works."""

from __future__ import annotations

import json
import math
import random
import shlex
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.conftest import Ended, main, tables
from tests.judge_server import judge_server

N = 12
OPTIONS = {"predefined_tasks": "Correctness, Token F1", "judge": "custom:judge"}


NOWHERE = "http://127.0.0.1:9/v1"


def run(out: Path, pairs: Path, url: str = NOWHERE, **options: str) -> Ended:
    given = {**OPTIONS, "out": str(out), **options}
    words = [word for name, value in given.items() for word in (f"--{name}", value)]
    sides = ("--recorded", f"base={pairs}:plain", "--recorded", f"tuned={pairs}:tuned")
    return main("run", *sides, *words, CUSTOM_JUDGE_BASE_URL=url)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [
        {
            "id": f"q{n}",
            "input": f"What is {n} times 3?",
            "expected_output": f"It is {3 * n}",
            "plain": f"It is {3 * n}" if n % 4 == 0 else "Who knows",
            "tuned": f"It is {3 * n}",
        }
        for n in range(N)
    ]
    path = tmp_path_factory.mktemp("data") / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def healthy(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run with an examined judge, its answers also in a cache."""
    out = tmp_path_factory.mktemp("healthy") / "run"
    with judge_server() as server:
        ended = run(out, pairs, server.url, cache_dir=str(out.parent / "cache"))
    assert ended.code == 0, ended.err
    with closing(sqlite3.connect(out / "journal.sqlite")) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return out


Edit = Callable[[Path], None]


def sql(*statements: str) -> Edit:
    def edit(file: Path) -> None:
        with closing(sqlite3.connect(file)) as db:
            db.create_function("half", 1, lambda text: text[: len(text) // 2])
            for statement in statements:
                changed = db.execute(statement)
                assert changed.rowcount != 0, f"changes nothing: {statement}"
            db.commit()
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    return edit


def fact(name: str, change: Callable[[object], object]) -> Edit:
    """Change one fact of `meta` as JSON."""

    def edit(file: Path) -> None:
        with closing(sqlite3.connect(file)) as db:
            (body,) = db.execute("SELECT body FROM meta WHERE name = ?", (name,)).fetchone()
            changed = json.dumps(change(json.loads(body)))
            assert changed != body
            db.execute("UPDATE meta SET body = ? WHERE name = ?", (changed, name))
            db.commit()

    return edit


def header(**changed: object) -> Edit:
    return fact("header", lambda found: {**found, **changed})  # type: ignore[dict-item]


def state(name: str, value: object) -> Edit:
    return sql(f"INSERT OR REPLACE INTO meta VALUES ('state.{name}', '{json.dumps(value)}')")


def cell(table: str, key: str, value: str) -> Edit:
    """Change one key of the JSON in the first row of a table."""
    first = f"rowid = (SELECT min(rowid) FROM {table})"
    return sql(
        f"UPDATE {table} SET body = json_set(body, '$.{key}', json('{value}')) WHERE {first}"
    )


def truncate(share: float) -> Edit:
    def edit(file: Path) -> None:
        data = file.read_bytes()
        file.write_bytes(data[: int(len(data) * share)])

    return edit


def overwrite(data: bytes) -> Edit:
    return lambda file: file.write_bytes(data) and None  # type: ignore[func-returns-value]


def zero_out_a_page(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[4096 * 3 : 4096 * 4] = bytes(4096)
    file.write_bytes(data)


def foreign(file: Path) -> None:
    file.unlink()
    with closing(sqlite3.connect(file)) as db:
        db.execute("CREATE TABLE bookmarks (url TEXT)")
        db.commit()


TABLES = ("completions", "judgments", "meta", "cases", "answers", "scores", "judge_scores")
HALF = "body = half(body)"


def first(table: str) -> str:
    return f"rowid = (SELECT min(rowid) FROM {table})"


EDITS: dict[str, Edit] = {
    "cut to a half": truncate(0.5),
    "cut to a tenth": truncate(0.1),
    "cut within the header": overwrite(b"SQLite format 3\x00\x10"),
    "a text file": overwrite(b"this is not the journal that you are looking for" * 40),
    "zeros": overwrite(bytes(8192)),
    "a page of zeros": zero_out_a_page,
    "another program's file": foreign,
    **{f"without the table {name}": sql(f"DROP TABLE {name}") for name in (*TABLES, "failures")},
    "without a column": sql("ALTER TABLE scores DROP COLUMN reason"),
    "a column of another name": sql("ALTER TABLE scores RENAME COLUMN value TO points"),
    "no header": sql("DELETE FROM meta WHERE name = 'header'"),
    "no facts at all": sql("DELETE FROM meta"),
    "a header cut short": sql(f"UPDATE meta SET {HALF} WHERE name = 'header'"),
    "a header that is a list": fact("header", lambda found: [found]),
    "a header that is null": fact("header", lambda found: None),
    "a format that is text": sql("UPDATE meta SET body = 'two' WHERE name = 'schema_version'"),
    "no variant": header(variants=[]),
    "no metric": header(metrics=[]),
    "an unknown primary metric": header(primary_metric="Beauty"),
    "options that do not exist": header(params={"colour": "red"}),
    "options of a wrong type": header(params={"seed": "many"}),
    "options that are a list": header(params=[1, 2]),
    "a variant without a name": fact(
        "header",
        lambda found: {**found, "variants": [{"id": "x", "model": "m"}] * 2},  # type: ignore[dict-item]
    ),
    "the same variant twice": fact(
        "header",
        lambda found: {**found, "variants": [found["variants"][0]] * 2},  # type: ignore[dict-item,index]
    ),
    "a negative margin": fact(
        "header",
        lambda found: {  # type: ignore[dict-item]
            **found,  # type: ignore[dict-item]
            "metrics": [{**one, "margin": -1} for one in found["metrics"]],  # type: ignore[index]
        },
    ),
    "a margin that is not a number": fact(
        "header",
        lambda found: {  # type: ignore[dict-item]
            **found,  # type: ignore[dict-item]
            "metrics": [{**one, "margin": float("nan")} for one in found["metrics"]],  # type: ignore[index]
        },
    ),
    "a case cut short": sql(f"UPDATE cases SET {HALF}"),
    "a case without turns": cell("cases", "messages", "[]"),
    "a case whose turn is a number": cell("cases", "messages", "[3]"),
    "a case without a question": cell(
        "cases", "messages", '[{"role": "assistant", "content": "hi"}]'
    ),
    "a case whose id is a number": cell("cases", "id", "5"),
    "a case that is gone": sql("DELETE FROM cases WHERE position = 3"),
    "a case that is there twice": sql("INSERT INTO cases SELECT 99, body FROM cases LIMIT 1"),
    "no cases": sql("DELETE FROM cases"),
    "a context that is a number": cell("cases", "context", "7"),
    "a completion cut short": sql(f"UPDATE completions SET {HALF}"),
    "a completion whose text is null": cell("completions", "text", "null"),
    "a completion without a text": sql("UPDATE completions SET body = json_remove(body, '$.text')"),
    "a completion whose tokens are text": cell("completions", "token_ids", '"abc"'),
    "negative seconds": cell("completions", "seconds", "-3.5"),
    "negative tokens": cell("completions", "n_tokens", "-3"),
    "an unknown reason to end": cell("completions", "finish_reason", '"boredom"'),
    "completions as bytes": sql("UPDATE completions SET body = x'00ff00ff'"),
    "text that is not UTF-8": sql("UPDATE completions SET body = CAST(x'7bff7d' AS TEXT)"),
    "an answer without its completion": sql(
        f"DELETE FROM completions WHERE {first('completions')}"
    ),
    "an answer of an unknown variant": sql(
        f"UPDATE answers SET variant = 'nobody' WHERE {first('answers')}"
    ),
    "an answer to an unknown case": sql(
        f"UPDATE answers SET case_id = 'nowhere' WHERE {first('answers')}"
    ),
    "scores as text": sql("UPDATE scores SET value = 'good'"),
    "infinite scores": sql("UPDATE scores SET value = 9e999"),
    "scores below the range": sql("UPDATE scores SET value = -5"),
    "scores above the range": sql("UPDATE scores SET value = 5"),
    "a score of an unknown metric": sql(
        f"UPDATE scores SET metric = 'Beauty' WHERE {first('scores')}"
    ),
    "a score of an unknown variant": sql(
        f"UPDATE scores SET variant = 'nobody' WHERE {first('scores')}"
    ),
    "a score of an unknown case": sql(
        f"UPDATE scores SET case_id = 'nowhere' WHERE {first('scores')}"
    ),
    "a score without a case": sql(f"UPDATE scores SET case_id = NULL WHERE {first('scores')}"),
    "a reason as bytes": sql("UPDATE scores SET reason = x'00ff'"),
    "a judge's score as text": sql(
        "INSERT INTO judge_scores VALUES ('q1', 'base', 'Correctness', 'j', 'good')"
    ),
    "a failure of an unknown stage": sql(
        "INSERT INTO failures VALUES ('q1', 'base', 'Correctness', 'dream', 'why', 0)"
    ),
    "a failure without a reason": sql(
        "INSERT INTO failures VALUES ('q1', 'base', 'Correctness', 'judge', NULL, 0)"
    ),
    "a judgment cut short": sql("UPDATE judgments SET answer = half(answer)"),
    "a judgment that is a list": sql("UPDATE judgments SET answer = '[1]'"),
    "a version as bytes": sql("UPDATE judgments SET version = x'00ff'"),
    "a fact cut short": sql(f"UPDATE meta SET {HALF} WHERE name = 'state.judge_calls'"),
    "negative calls": state("judge_calls", {"n_calls": -4}),
    "a negative cost": state("judge_calls", {"cost": -0.5}),
    "a cost that is not a number": sql(
        "UPDATE meta SET body = '{\"cost\": NaN}' WHERE name = 'state.judge_calls'"
    ),
    "seconds as text": state("seconds", {"score": "long"}),
    "negative seconds of a stage": state("seconds", {"score": -1.0}),
    "a limit that is a list": state("halted", ["x"]),
    "ratings of a wrong shape": state("ratings", [{"case_id": "q1"}]),
    "a rating that is no number": state(
        "ratings",
        [{"case_id": "q1", "digest": "d", "metric": "m", "rater": "r", "value": math.nan}],
    ),
    "a choice of three quarters": state(
        "human_choices",
        [{"case_id": "q1", "digests": ["out-1", "out-2"], "rater": "Ann", "won": 0.75}],
    ),
    "an exam that is text": state("exam", "passed"),
    "an exam result without a case": state("exam", [{"kind": "retest"}]),
    "a certificate without a result": state("certificates", {"tuned": {"variant": "tuned"}}),
    "a certificate of a wrong type": state(
        "certificates", {"tuned": {"variant": "tuned", "reason": 5, "effect": "big"}}
    ),
    "negative tokens of the prompts": state("prompts", {"digest": "d", "n_tokens": -1}),
    "a state that is null": sql("UPDATE meta SET body = 'null' WHERE name = 'state.judge_calls'"),
}


def damaged_copy(healthy: Path, tmp_path: Path, edit: Edit) -> Path:
    out = tmp_path / "run"
    out.mkdir()
    shutil.copy(healthy / "journal.sqlite", out)
    edit(out / "journal.sqlite")
    return out


def require_named(ended: Ended, file: Path) -> None:
    """One clear line that names the file, says that it is damaged, and how to go on."""
    assert ended.code == 2, (ended.code, ended.err)
    assert ended.err.startswith("error: ") and ended.err.count("\n") == 1, ended.err
    assert f"{file} is damaged: " in ended.err
    assert f"mv {file} {file}.damaged" in ended.err
    assert len(ended.err) < 900, ended.err


@pytest.mark.parametrize("name", EDITS)
def test_every_edit_is_named_by_every_command(
    name: str, healthy: Path, pairs: Path, tmp_path: Path
) -> None:
    out = damaged_copy(healthy, tmp_path, EDITS[name])
    before = (out / "journal.sqlite").read_bytes()
    for words in (("report",), ("ratings", "--n", "3"), ("resume",)):
        ended = main(words[0], str(out), *words[1:], CUSTOM_JUDGE_BASE_URL=NOWHERE)
        require_named(ended, out / "journal.sqlite")
    require_named(run(out, pairs), out / "journal.sqlite")
    assert (out / "journal.sqlite").read_bytes() == before  # for whoever can repair it
    assert not (out / "report.html").exists()


def test_the_way_out_works_and_the_cache_pays_for_it(
    healthy: Path, pairs: Path, tmp_path: Path
) -> None:
    out = damaged_copy(healthy, tmp_path, EDITS["cut to a half"])
    cache_dir = str(shutil.copytree(healthy.parent / "cache", tmp_path / "cache"))
    ended = run(out, pairs, cache_dir=cache_dir)
    require_named(ended, out / "journal.sqlite")
    command = ended.err.partition("move it away (")[2].partition(")")[0]
    subprocess.run(shlex.split(command), check=True)
    ended = run(out, pairs, cache_dir=cache_dir)  # no judge is there
    assert ended.code == 0, ended.err
    assert tables(out) == tables(healthy)


CACHES: dict[str, Edit] = {
    "cut to a half": EDITS["cut to a half"],
    "another program's file": foreign,
    "without a table": sql("DROP TABLE judgments"),
    "a completion cut short": EDITS["a completion cut short"],
}


@pytest.mark.parametrize("name", CACHES)
def test_a_damaged_cache_is_named_too(
    name: str, healthy: Path, pairs: Path, tmp_path: Path
) -> None:
    cache_dir = shutil.copytree(healthy.parent / "cache", tmp_path / "cache")
    file = cache_dir / "cache.sqlite"
    CACHES[name](file)
    ended = run(tmp_path / "run", pairs, cache_dir=str(cache_dir))
    require_named(ended, file)
    assert "a new one is made" in ended.err


def test_a_cache_that_is_no_sqlite_file_is_refused_with_the_options(
    healthy: Path, pairs: Path, tmp_path: Path
) -> None:
    cache_dir = shutil.copytree(healthy.parent / "cache", tmp_path / "cache")
    EDITS["a text file"](cache_dir / "cache.sqlite")
    ended = run(tmp_path / "run", pairs, cache_dir=str(cache_dir))
    assert ended.code == 2 and ended.err.count("\n") == 1
    assert "cache.sqlite is not a cache of this program; move it away, or choose" in ended.err


def test_answers_of_the_cache_that_cannot_be_read_are_asked_for_again(
    healthy: Path, pairs: Path, tmp_path: Path
) -> None:
    cache_dir = shutil.copytree(healthy.parent / "cache", tmp_path / "cache")
    sql("UPDATE judgments SET answer = half(answer)")(cache_dir / "cache.sqlite")
    with judge_server() as server:
        ended = run(tmp_path / "run", pairs, server.url, cache_dir=str(cache_dir))
        assert ended.code == 0, ended.err
        assert len(server.requests) > N
    assert tables(tmp_path / "run") == tables(healthy)


def require_sound(ended: Ended, file: Path) -> None:
    """Either nothing was noticed, or the damage is named."""
    if ended.code:
        require_named(ended, file)


@pytest.mark.parametrize("seed", range(12))
def test_bytes_that_change_at_random_break_nothing(
    seed: int, healthy: Path, tmp_path: Path
) -> None:
    chance = random.Random(seed)
    out = damaged_copy(healthy, tmp_path, lambda file: None)
    file = out / "journal.sqlite"
    data = bytearray(file.read_bytes())
    for _ in range(chance.choice((1, 8, 200))):
        data[chance.randrange(len(data))] = chance.randrange(256)
    file.write_bytes(data[: chance.choice((len(data), chance.randrange(1, len(data))))])
    require_sound(main("report", str(out)), file)


ODD = (None, "x", -1, 2.5, float("nan"), 10**400, [], {}, [None], {"a": 1}, True, "")


def places_in(value: object, path: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """The paths of all parts of a JSON value."""
    parts: list[tuple[object, object]] = []
    if isinstance(value, dict):
        parts = list(value.items())
    elif isinstance(value, list):
        parts = list(enumerate(value))
    return [path, *(found for key, part in parts for found in places_in(part, (*path, key)))]


def changed_at(value: object, path: tuple[object, ...], new: object) -> object:
    if not path:
        return new
    copy = value.copy()  # type: ignore[attr-defined]
    copy[path[0]] = changed_at(copy[path[0]], path[1:], new)
    return copy


@pytest.mark.parametrize("seed", range(24))
def test_values_that_change_at_random_break_nothing(
    seed: int, healthy: Path, tmp_path: Path
) -> None:
    chance = random.Random(seed)
    out = damaged_copy(healthy, tmp_path, lambda file: None)
    file = out / "journal.sqlite"
    with closing(sqlite3.connect(file)) as db:
        table = chance.choice(("meta", "meta", "cases", "completions"))
        rows = db.execute(f"SELECT rowid, body FROM {table}").fetchall()
        row, body = chance.choice(rows)
        value = json.loads(body)
        new = changed_at(value, chance.choice(places_in(value)), chance.choice(ODD))
        db.execute(f"UPDATE {table} SET body = ? WHERE rowid = ?", (json.dumps(new), row))
        db.commit()
    require_sound(main("report", str(out)), file)

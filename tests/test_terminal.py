"""Whoever reads the output may be gone, and few characters may be printable: never a traceback."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import main as program
from plugin.journal import Journal
from plugin.terminal import plain_path, shell_word
from tests.conftest import ROOT
from tests.e2e.conftest import environment

MAIN = [sys.executable, str(ROOT / "main.py")]
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    rows = [
        {
            "id": str(i),
            "input": f"q{i} é",
            "expected_output": f"a {i} 😀",
            "base": "a",
            "tuned": f"a {i} 😀 ü",
        }
        for i in range(12)
    ]
    path = tmp_path / "c.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def words(data: Path | str, out: Path | str) -> list[str]:
    made = [f"--recorded=base={data}:base", f"--recorded=tuned={data}:tuned"]
    return ["run", f"--dataset_name={data}", *made, "--predefined_tasks=Token F1", f"--out={out}"]


def piped(
    arguments: list[Any], *, stdout: Any = None, stderr: Any = None, **options: Any
) -> subprocess.Popen[bytes]:
    extra = options.pop("extra", {})
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [*MAIN, *arguments],
        stdout=stdout or pipe,
        stderr=stderr or pipe,
        env=environment(**extra),
        **options,
    )


def ended(arguments: list[Any], **options: Any) -> tuple[int, str, str]:
    process = piped(arguments, **options)
    out, err = process.communicate(timeout=100)
    texts = [(one or b"").decode("utf-8", "backslashreplace") for one in (out, err)]
    assert "Traceback" not in "".join(texts) and "unexpected fault" not in "".join(texts), texts
    return process.returncode, *texts  # type: ignore[return-value]


def run_without_reader(arguments: list[str], both: bool = False) -> tuple[int, str]:
    """Run the command while nobody reads its output; return exit code and stderr."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        code, _, err = ended(arguments, stdout=writer, stderr=writer if both else None)
    finally:
        os.close(writer)
    return code, err


def test_a_run_whose_output_nobody_reads_stops_and_says_how_to_go_on(
    cases: Path, tmp_path: Path
) -> None:
    out = tmp_path / "o"
    code, err = run_without_reader(words(cases, out))
    assert code == 130
    assert err.splitlines()[0] == "the output cannot be written: Broken pipe"
    assert "stopped" in err
    code, printed, _ = ended(words(cases, out))
    assert code == 0 and "tuned is better than base" in printed


def test_nobody_at_all_is_there(cases: Path, tmp_path: Path) -> None:
    assert run_without_reader(words(cases, tmp_path / "o"), both=True) == (130, "")


@pytest.mark.parametrize(
    "arguments", [["run", "--help-all"], ["--help"], ["--version"], ["certify", "--help"]]
)
def test_help_that_nobody_reads_ends_quietly(arguments: list[str]) -> None:
    assert run_without_reader(arguments) == (0, "")


def test_a_mistake_that_nobody_reads_ends_quietly() -> None:
    assert run_without_reader(["run", "--lmit=1"], both=True) == (2, "")
    assert run_without_reader(["run"], both=True)[0] in (2, 130)


@pytest.fixture
def done(cases: Path, tmp_path: Path) -> Path:
    assert ended(words(cases, tmp_path / "o"))[0] == 0
    return tmp_path / "o"


@pytest.mark.parametrize("command", ["report", "resume"])
def test_every_command_stops_where_nobody_reads(done: Path, command: str) -> None:
    code, err = run_without_reader([command, str(done)])
    assert code == 130
    assert err.startswith("the output cannot be written: Broken pipe\n")
    assert (f"Go on with: python main.py resume {done}" in err) == (command == "report")
    assert run_without_reader([command, str(done)], both=True) == (130, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_behind_the_output_is_told(cases: Path, tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        code, _, err = ended(words(cases, tmp_path / "o"), stdout=full)
        assert code == 130
        assert err.startswith("the output cannot be written: No space left on device\n")
        assert ended(words(cases, tmp_path / "p"), stdout=full, stderr=full)[0] == 130


def test_streams_that_are_not_open_are_no_files_of_the_run(cases: Path, tmp_path: Path) -> None:
    shell = 'exec "$@" <&- >&- 2>&-'
    done = subprocess.run(
        ["sh", "-c", shell, "sh", *MAIN, *words(cases, tmp_path / "o")],
        env=environment(),
        check=False,
        timeout=100,
    )
    assert done.returncode == 0
    assert (tmp_path / "o" / "verdict.txt").read_text().startswith("tuned is better than base")
    assert (tmp_path / "o" / "journal.sqlite").read_bytes().startswith(b"SQLite format 3\0")


SLOW = """
import sys, time
sys.path.insert(0, {root!r})
import plugin.score as score
whole = score.score_all
def slow(*args, **kwargs):
    open({mark!r}, "w").close()
    for _ in range(600):
        args[3].check()
        time.sleep(0.05)
score.score_all = slow
import plugin.run as run
run.score_all = slow
from plugin import cli
sys.exit(cli.start(sys.argv[1:]))
"""


def slow_run(cases: Path, folder: Path) -> tuple[list[str], Path]:
    """A command whose scoring lasts until it is stopped, and the file that says it has begun."""
    mark = folder / "began"
    code = SLOW.format(root=str(ROOT), mark=str(mark))
    return [sys.executable, "-c", code, *words(cases, folder / "o")], mark


def wait_for(mark: Path) -> None:
    for _ in range(600):
        if mark.exists():
            return
        time.sleep(0.05)
    raise AssertionError("it did not begin")


def test_a_lost_terminal_stops_the_run_and_keeps_what_was_made(cases: Path, tmp_path: Path) -> None:
    command, mark = slow_run(cases, tmp_path)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(TERM="xterm"),
        start_new_session=True,
    )
    os.close(theirs)
    wait_for(mark)
    os.close(ours)  # the terminal is gone, and nothing can be written to it
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGHUP)
    assert process.wait(30) == 130
    journal = Journal.existing(tmp_path / "o")
    assert len(journal.completions()) == 24
    journal.close()


def test_a_hangup_says_how_to_go_on_where_somebody_reads(cases: Path, tmp_path: Path) -> None:
    command, mark = slow_run(cases, tmp_path)
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    )
    wait_for(mark)
    process.send_signal(signal.SIGHUP)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"Traceback" not in err and b"Go on with: python main.py resume" in err


def test_under_nohup_a_hangup_changes_nothing(cases: Path, tmp_path: Path) -> None:
    command, mark = slow_run(cases, tmp_path)
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    wait_for(mark)
    process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert process.poll() is None
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 130


# Characters that the terminal or the file system does not have


@pytest.fixture
def odd(tmp_path: Path) -> Iterator[Path]:
    """A folder with a byte in its name that is not UTF-8."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    yield folder


@pytest.mark.parametrize(
    "extra", [{"PYTHONIOENCODING": "ascii"}, ASCII, {**ASCII, "PYTHONIOENCODING": "ascii:strict"}]
)
def test_an_ascii_terminal_shows_everything(
    cases: Path, tmp_path: Path, extra: dict[str, str]
) -> None:
    out = tmp_path / "ü"
    out.symlink_to(tmp_path / "real")
    (tmp_path / "real").mkdir()
    code, printed, err = ended(words(cases, tmp_path / "o"), extra=extra)
    assert code == 0 and "tuned is better than base" in printed, err
    if "LC_ALL" not in extra:
        code, printed, err = ended(words(cases, out), extra=extra)
        assert code == 0 and "tuned is better than base" in printed, err
    code, printed, _ = ended(["report", str(tmp_path / "o")], extra=extra)
    assert code == 0
    assert ended(["run", "--predefined_tasks=Tökens", "--dataset_name=ü.csv"], extra=extra)[0] == 2
    assert ended(["run", "--ünknown=é"], extra=extra)[0] == 2
    assert ended(["resume", str(tmp_path / "é")], extra=extra)[0] == 2


def test_text_that_an_ascii_locale_cannot_read_names_the_way_out(
    cases: Path, tmp_path: Path
) -> None:
    code, _, err = ended([*words(cases, tmp_path / "ü")], extra=ASCII)
    assert code == 2 and "start Python with PYTHONUTF8=1" in err
    code, printed, _ = ended([*words(cases, tmp_path / "ü")], extra={**ASCII, "PYTHONUTF8": "1"})
    assert code == 0


def test_a_path_that_is_not_utf8_is_refused_in_one_line(
    odd: Path, cases: Path, tmp_path: Path
) -> None:
    inside = odd / "c.jsonl"
    inside.write_bytes(cases.read_bytes())
    for arguments in (
        words(inside, tmp_path / "o"),
        words(cases, odd / "o"),
        ["certify", f"--model_name={odd}", f"--model_adapter={odd}"],
        [*words(cases, tmp_path / "o"), f"--cache_dir={odd}"],
        [*words(cases, tmp_path / "o"), f"--config={odd}/c.yaml"],
    ):
        code, _, err = ended(arguments)
        assert code == 2 and "caf" in err, err
    assert not (tmp_path / "o").exists()
    said = ended(words(inside, tmp_path / "o"))[2]
    assert "has bytes that are not UTF-8: rename it, or give a link with another name" in said


@pytest.mark.parametrize("command", ["resume", "report", "ratings"])
def test_a_folder_that_is_not_utf8_has_no_traceback(odd: Path, command: str) -> None:
    code, _, err = ended([command, str(odd)])
    assert code == 2 and "holds no journal.sqlite" in err


def test_in_a_folder_that_is_not_utf8_a_run_still_works_or_is_refused(
    odd: Path, cases: Path, tmp_path: Path
) -> None:
    code, printed, _ = ended(words(cases, "o"), cwd=odd)
    assert code == 0 and "tuned is better than base" in printed
    code, _, _ = ended(["report", "o"], cwd=odd)
    assert code == 0
    (odd / "c.jsonl").write_bytes(cases.read_bytes())
    code, _, err = ended(words("c.jsonl", "p"), cwd=odd)
    assert code == 2 and "has bytes that are not UTF-8" in err
    moved = odd.rename(odd.with_name("plain"))
    assert ended(["report", str(moved / "o")])[0] == 0


def test_files_in_a_data_folder_may_have_any_name(cases: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    name = os.fsencode(folder) + b"/caf\xe9-00000-of-00002.jsonl"
    bad = cases.read_bytes() + b'{"input": ""}\n'
    try:
        Path(os.fsdecode(name)).write_bytes(bad)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    Path(os.fsdecode(name.replace(b"00000-", b"00001-"))).write_bytes(b'{"input": "q99"}\n')
    code, _, err = ended(words(folder, tmp_path / "o"))
    assert code == 2 and "(caf" in err
    code, printed, err = ended([*words(folder, tmp_path / "o"), "--skip_bad_rows=true"])
    assert code == 0, err
    assert "caf\\xe9" in (tmp_path / "o" / "04_failures.csv").read_text()


def test_a_path_as_a_word_of_a_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def spoken(word: str) -> bytes:
        return subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True).stdout

    for name in (b"plain", b"with space", b"it's", b"caf\xe9", "ü".encode(), b"a\\b\n'c"):
        assert spoken(shell_word(os.fsdecode(name))) == name
    assert plain_path(os.fsdecode(b"caf\xe9 \xc3\xbc")) == "caf\\xe9 ü"


def test_a_stop_while_libraries_load_has_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(_: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("plugin.cli.start", stop)
    with pytest.raises(SystemExit) as caught:
        program.main()
    assert caught.value.code == 130

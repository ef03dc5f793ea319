from __future__ import annotations

import io
import shutil
from contextlib import closing
from pathlib import Path

import pytest
from rich.console import Console

from plugin.errors import AdapterError, FaultError, OptionError
from plugin.hosts.folder import FolderHost
from plugin.journal import Journal
from plugin.records import Score
from plugin.worker import Progress, Stage
from tests.samples import completion


def host_on(terminal: bool, tmp_path: Path) -> tuple[FolderHost, io.StringIO]:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=100, soft_wrap=True)
    return FolderHost(str(tmp_path / "run"), console=console), screen


class Clock:
    """A clock that the test moves, in place of the monotonic one."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("plugin.hosts.folder.time", clock)
    monkeypatch.setattr("plugin.worker.time", clock)
    return clock


def halfway() -> Progress:
    progress = Progress()
    progress.begin(Stage.GENERATE, total=100, done=20)
    progress.began_s -= 10
    progress.done, progress.note = 60, "2 failed"
    return progress


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_has_count_rate_time_left_and_failures(terminal: bool, tmp_path: Path) -> None:
    host, screen = host_on(terminal, tmp_path)
    host.tend(halfway())
    host.log("end")
    assert "60 of 100, 4.0/s, 10 s left, 2 failed" in screen.getvalue()


def generating(n_todo: int, n_done: int, seconds: float) -> Progress:
    progress = Progress()
    progress.begin(Stage.GENERATE, total=n_todo)
    progress.began_s -= seconds
    progress.done = n_done
    return progress


@pytest.mark.parametrize(
    ("n_todo", "n_done", "seconds", "text"),
    [
        (2000, 0, 3, "0 of 2000"),
        (2000, 0, 75, "0 of 2000, 75 s so far"),
        # The first completions of a batch say nothing: the others end soon after, or much later.
        (2000, 1, 17, "1 of 2000, 17 s so far"),
        (2000, 32, 540, "32 of 2000, 9 min so far"),
        (2000, 64, 128, "64 of 2000, 0.5/s, 65 min left"),
        (2000, 400, 9600, "400 of 2000, 24 s each, 10 h 40 min left"),
        (2000, 400, 96000, "400 of 2000, 4 min each, 4 days 11 h left"),
        (2000, 2000, 400, "2000 of 2000, 5.0/s"),
        (12, 1, 8, "1 of 12, 8 s so far"),
        (12, 2, 8, "2 of 12, 0.2/s, 40 s left"),
        (3, 1, 100, "1 of 3, 100 s each, 3 min left"),
    ],
)
def test_the_time_left_is_told_once_it_is_based_on_something(
    n_todo: int, n_done: int, seconds: float, text: str, tmp_path: Path
) -> None:
    host, screen = host_on(False, tmp_path)
    host.tend(generating(n_todo, n_done, seconds))
    assert screen.getvalue() == f"generate: {text}\n"


@pytest.mark.parametrize("terminal", [True, False])
def test_a_long_step_within_a_stage_is_shown(terminal: bool, tmp_path: Path, clock: Clock) -> None:
    host, screen = host_on(terminal, tmp_path)
    progress = Progress()
    progress.begin(Stage.CERTIFY, total=2)
    for step in ("tuned: load the adapter", "tuned: ask the probes"):
        progress.step = step
        host.tend(progress)
        clock.now_s += 6
        host.tend(progress)
        assert terminal or f"certify: 0 of 2, {step}, " in screen.getvalue()
    host.log("end")
    assert "0 of 2, tuned: ask the probes, 12 s so far" in screen.getvalue()
    progress.begin(Stage.GENERATE)
    assert not progress.step


def test_plain_lines_come_now_and_then(tmp_path: Path, clock: Clock) -> None:
    host, screen = host_on(False, tmp_path)
    progress = halfway()
    for n_lines in (1, 2):
        for _ in range(40):
            host.tend(progress)
            clock.now_s += 0.1
        clock.now_s += 2
        assert len(screen.getvalue().splitlines()) == n_lines


def test_the_end_of_a_stage_is_told_once(tmp_path: Path) -> None:
    host, screen = host_on(False, tmp_path)
    progress = halfway()
    host.tend(progress)
    progress.done = 100
    progress.begin(Stage.SCORE)
    host.tend(progress)
    host.tend(progress)
    assert screen.getvalue().count("generate: 100 of 100 in 10.0 s") == 1


def test_work_of_unknown_length_has_a_name_and_lasts(tmp_path: Path, clock: Clock) -> None:
    host, screen = host_on(False, tmp_path)
    progress = Progress()
    progress.begin(Stage.LOAD_MODEL)
    host.tend(progress)
    assert screen.getvalue() == "load model\n"
    clock.now_s += 90
    host.tend(progress)
    assert screen.getvalue() == "load model\nload model: 90 s so far\n"


def test_names_become_paths_or_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    host, _ = host_on(False, tmp_path)
    assert host.model("model") == str(tmp_path / "model")
    assert host.model("someone/model") == "someone/model"
    assert host.model("./nowhere") == str(tmp_path / "nowhere")
    assert host.dataset("someone/data") == "someone/data"
    assert host.adapter("model") == tmp_path / "model"
    with pytest.raises(AdapterError, match="adapter 'gone': no such directory"):
        host.adapter("gone")


def test_secrets_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host, _ = host_on(False, tmp_path)
    assert host.secret("OPENAI_API_KEY") is None
    monkeypatch.setenv("OPENAI_API_KEY", "")
    assert host.secret("OPENAI_API_KEY") is None
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    assert host.secret("OPENAI_API_KEY") == "k"


def test_a_failure_says_whose_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    host, _ = host_on(False, tmp_path)
    host.fail(OptionError("no adapter given"))
    host.fail(FaultError("disk full"))
    assert capsys.readouterr().err == "error: no adapter given\nfault: disk full\n"


def test_how_to_go_on_is_said_once_a_run_has_begun(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "my run"
    host = FolderHost(str(folder))
    host.stopped()
    assert "Go on" not in capsys.readouterr().err
    assert host.open("0123") == folder
    host.fail(FaultError("disk full"))
    assert capsys.readouterr().err == "fault: disk full\nNothing was made yet\n"
    with closing(Journal(folder)) as journal:
        host.stopped()
        assert capsys.readouterr().err == "\nstopped\nNothing was made yet\n"
        journal.add_answer("k", completion("text"))
        for n in "abc":
            journal.add_score(Score(n, "vanilla", "Token F1", 0.5))
        host.fail(OptionError("no such metric"))
        assert "Go on" not in capsys.readouterr().err  # the same command would fail again
        told = f"Kept: 1 completion, 3 scores\nGo on with: python main.py resume '{folder}'\n"
        host.fail(FaultError("disk full"))
        assert capsys.readouterr().err == f"fault: disk full\n{told}"
        host.stopped()
        assert capsys.readouterr().err == f"\nstopped\n{told}"
    shutil.rmtree(folder)
    host.stopped()
    assert capsys.readouterr().err == "\nstopped\nNothing is kept: the folder is gone\n"


def test_a_run_without_a_name_is_named_after_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert FolderHost("", prefix="demo-").open("0123") == Path("runs/demo-0123")
    assert (tmp_path / "runs" / "demo-0123").is_dir()


def test_a_folder_that_cannot_be_made_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in ("file", "file/below"):
        with pytest.raises(OptionError, match="no directory can be made there"):
            FolderHost(str(tmp_path / out)).open("0123")


def test_a_link_gives_an_adapter_its_name(tmp_path: Path) -> None:
    (tmp_path / "adapters").mkdir()
    (tmp_path / "mine").symlink_to(tmp_path / "adapters")
    host, _ = host_on(False, tmp_path)
    assert host.adapter(str(tmp_path / "mine")).name == "mine"


def test_text_of_users_does_not_steer_the_terminal(tmp_path: Path) -> None:
    host, screen = host_on(False, tmp_path)
    host.log("group \x1b[31mred\x1b]0;title\x07 \u202eabc\u2028d")
    told = r"group \x1b[31mred\x1b]0;title\x07 \u202eabc\u2028d"
    assert screen.getvalue() == f"{told}\n"


def test_text_of_users_is_no_markup(tmp_path: Path) -> None:
    host, screen = host_on(False, tmp_path)
    host.log("[bold]x[/bold] [1/2] :smile:")
    assert screen.getvalue() == "[bold]x[/bold] [1/2] :smile:\n"

"""The proof finds holes: every attempt succeeds without a sandbox, and a hole is named."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from plugin.sandbox import attempts, bubblewrap, proof, seccomp
from tests.conftest import ROOT

NOT_WITHOUT_IT = {"become root", "make namespaces or trace processes"} if os.getuid() else set()
_RARE = {"open a socket to the machine's host", "take over a process without limits"}
"""Some machines have no such socket at all, or protect their first process."""


def test_every_attempt_succeeds_outside() -> None:
    with proof._outside() as outside:
        ended = subprocess.run(
            [sys.executable, attempts.__file__],
            input=json.dumps({**outside, "memory": 1 << 20}),
            env={**os.environ, "SECRET": str(outside["secret"])},
            capture_output=True,
            text=True,
            check=True,
        )
    assert set(json.loads(ended.stdout)) | NOT_WITHOUT_IT | _RARE == set(attempts.ATTEMPTS)


def test_it_holds_inside_the_sandbox_of_another_program(sandbox: None, tmp_path: Path) -> None:
    """Transformer Lab runs jobs in one; the kernel then lets nobody mount /proc."""
    code = "from plugin.sandbox import proof; print(repr(proof.problem_here()))"
    bwrap = str(bubblewrap.find_bwrap())
    outer = [bwrap, "--unshare-ipc", "--ro-bind", "/", "/", "--dev-bind", "/dev", "/dev"]
    outer += ["--proc", "/proc", "--bind", str(tmp_path), str(tmp_path), "--chdir", str(ROOT)]
    outer += ["--setenv", "TMPDIR", str(tmp_path)]
    done = subprocess.run([*outer, sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("''\n", "")


@pytest.mark.skipif(os.getuid() != 0, reason="the other tests do it")
def test_it_holds_for_an_ordinary_user_too(sandbox: None) -> None:
    """As root the first process inside belongs to another user; as an ordinary user it does not."""
    python = shutil.which("python3", path="/usr/bin")
    code = "from plugin.sandbox import proof; print(repr(proof.problem_here()))"
    given = [str(python), "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}"]
    if python is None or subprocess.run([python, "-c", "import tomllib"], check=False).returncode:
        pytest.skip("no Python for all users")
    ended = subprocess.run(
        given, user=1000, group=1000, extra_groups=[], cwd="/", capture_output=True, text=True
    )
    if "ModuleNotFoundError" in ended.stderr:
        pytest.skip("this folder is closed to other users")
    assert ended.stdout.strip() == "''", ended


HOLES = {
    "--unshare-net": "connect to this machine",
    "--clearenv": "see the environment",
    "--seccomp": "take more memory than allowed",
}
"""A word of bubblewrap's command line, and what code can do without it."""


@pytest.mark.parametrize("word", HOLES)
def test_a_hole_is_named(sandbox: None, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = bubblewrap._words

    def with_a_hole(*given: object) -> list[str]:
        made = words(*given)  # type: ignore[arg-type]
        at = made.index(word)
        return made[:at] + made[at + (2 if word == "--seccomp" else 1) :]

    monkeypatch.setattr(bubblewrap, "_words", with_a_hole)
    if word == "--clearenv":
        monkeypatch.setattr(bubblewrap, "_ENVIRONMENT", os.environ)
    problem = proof.problem_here.__wrapped__()
    assert problem.startswith("code in it could ") and HOLES[word] in problem


def test_a_folder_of_the_user_in_the_sandbox_is_a_hole(
    sandbox: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = bubblewrap._words
    monkeypatch.setattr(tempfile, "tempdir", "/var/tmp")

    def with_a_hole(*given: object) -> list[str]:
        made = words(*given)  # type: ignore[arg-type]
        place = made.index("--remount-ro")
        hole = ["--dir", "/var", "--bind", "/var/tmp", "/var/tmp"]
        return [*made[:place], *hole, *made[place:]]

    monkeypatch.setattr(bubblewrap, "_words", with_a_hole)
    assert "read a file outside" in proof.problem_here.__wrapped__()


@pytest.mark.parametrize("name", seccomp.MACHINES)
def test_the_filter_of_every_processor_is_whole(name: str) -> None:
    """Every jump stays inside, and the last instruction returns."""
    code = seccomp.filter_for(seccomp.MACHINES[name])
    steps = [
        (int.from_bytes(code[i : i + 2], "little"), code[i + 2], code[i + 3])
        for i in range(0, len(code), 8)
    ]
    for place, (kind, yes, no) in enumerate(steps):
        if kind in (0x15, 0x25, 0x45):
            assert place + 1 + max(yes, no) < len(steps)
    assert steps[-1][0] == 0x06
    assert len({len(one.refused) for one in seccomp.MACHINES.values()}) == 1

"""Code that does what it must not: the sandbox holds, and the code fails or does no harm."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from plugin.sandbox import watch
from plugin.sandbox.bubblewrap import Limits, end_orphans
from plugin.sandbox.run import run_once
from tests.conftest import ROOT
from tests.sandbox.conftest import SMALL, Run

ENDLESS = {
    "a loop": "while True: pass",
    "signals ignored": (
        "import signal\n"
        "for each in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:\n"
        "    signal.signal(each, signal.SIG_IGN)\n"
        "while True: pass"
    ),
    "sleep": "import time\ntime.sleep(99)",
    "stopped": "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)",
    "a thread": (
        "import threading\nthreading.Thread(target=threading.Event().wait).start()\n"
        "threading.Event().wait()"
    ),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_what_does_not_end_is_ended(run: Run, name: str) -> None:
    body = "\n    ".join(ENDLESS[name].splitlines())
    began = time.monotonic()
    assert run(f"def f():\n    {body}", "assert f() == 1").kind == "time"
    assert time.monotonic() - began < 20


def test_tests_that_never_end_are_ended(run: Run) -> None:
    assert run("def f(): return 1", "while f(): pass").kind == "time"


TOO_MUCH = {
    "forks": ("import os\ndef f():\n    while True: os.fork()", {"failed", "processes", "memory"}),
    "threads": (
        "import threading, time\ndef f():\n"
        "    while True: threading.Thread(target=time.sleep, args=(9,)).start()",
        {"failed", "processes", "memory"},
    ),
    "memory": ("def f(): return bytearray(10**9)", {"memory"}),
    "memory, bit by bit": (
        "def f():\n    kept = []\n    while True:\n"
        "        try: kept.append('x' * 10**6 + str(len(kept)))\n"
        "        except MemoryError: raise SystemExit(0)",
        {"early", "memory"},
    ),
    "memory, in many processes": (
        "import os, time\ndef f():\n    for _ in range(6):\n        if not os.fork():\n"
        "            kept = b'x' * (60 << 20)\n            time.sleep(9)\n    time.sleep(9)",
        {"memory"},
    ),
    "memory without a process": ("import os\ndef f(): os.memfd_create('x')", {"failed"}),
    "shared memory": (
        "from multiprocessing import shared_memory\ndef f():\n"
        "    kept = shared_memory.SharedMemory(create=True, size=100 << 20)\n"
        "    kept.buf[:] = bytes(100 << 20)",
        {"failed", "memory", "crashed"},
    ),
    "disk": (
        "def f():\n    for n in range(99):\n        open(f'/tmp/{n}', 'wb').write(bytes(1 << 20))",
        {"failed"},
    ),
    "one large file": ("def f(): open('/tmp/x', 'wb').truncate(1 << 40)", {"failed", "crashed"}),
    "files without end": (
        "import os\ndef f():\n    n = 0\n"
        "    while True:\n        n += 1\n        os.mkdir(f'/tmp/{n}')",
        {"disk"},
    ),
    "open files": ("def f(): return [open('/dev/null') for _ in range(999)]", {"failed"}),
    "recursion": ("def f(): return f()", {"failed"}),
    "recursion without a limit": (
        "import sys\nsys.setrecursionlimit(10**9)\ndef f(): return [f()]",
        {"memory", "crashed", "time"},
    ),
    "deep code": ("def f(): return " + "(" * 9000 + ")" * 9000, {"no code"}),
    "a huge number": ("def f(): return 9 ** 9 ** 9", {"time", "memory"}),
    "a huge number as text": ("def f(): return str(10 ** 9999)", {"failed"}),
    "a pattern that explodes": (
        "import re\ndef f(): return re.match('(a+)+$', 'a' * 60 + 'b')",
        {"time"},
    ),
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_what_takes_too_much_fails(run: Run, name: str) -> None:
    code, kinds = TOO_MUCH[name]
    assert run(code, "assert f() == 1").kind in kinds


def test_endless_output_is_not_kept(sandbox: None) -> None:
    job = {"answer": "while True: print('x' * 9999)", "runs": True, "look": []}
    ended = run_once(job, {}, b"", SMALL, threading.Event())
    assert ended.cut == "output" and len(ended.output) == SMALL.output


def test_a_function_may_print_a_gigabyte_into_nothing(run: Run) -> None:
    code = "def f():\n    for _ in range(1000): print('x' * 10**6)\n    return 1"
    assert run(code, "assert f() == 1", limits=Limits(seconds=5)).kind == "passed"


def test_what_honest_code_needs_is_there(run: Run) -> None:
    code = (
        "import concurrent.futures, dataclasses, decimal, multiprocessing, sqlite3, tempfile\n"
        "import zoneinfo, hashlib, ssl, ctypes, bz2, lzma, datetime, pickle\n"
        "@dataclasses.dataclass\nclass C:\n    x: int = 1\n"
        "def double(x): return 2 * x\n"
        "def f():\n"
        "    with concurrent.futures.ThreadPoolExecutor(40) as pool:\n"
        "        a = sum(pool.map(double, range(100)))\n"
        "    with multiprocessing.Pool(3) as pool: b = sum(pool.map(double, range(100)))\n"
        "    with tempfile.NamedTemporaryFile('w+') as file:\n"
        "        file.write('x'); file.seek(0); c = file.read()\n"
        "    d = sqlite3.connect(':memory:').execute('select 1').fetchone()[0]\n"
        "    e = datetime.datetime(2024, 1, 1, tzinfo=zoneinfo.ZoneInfo('Europe/Berlin'))\n"
        "    return a, b, c, d, e.utcoffset().seconds, pickle.loads(pickle.dumps(C())).x"
    )
    check = "assert f() == (9900, 9900, 'x', 1, 3600, 1), f()"
    assert run(code, check, limits=Limits(seconds=10)).kind == "passed"


def test_no_secret_of_the_environment_is_seen(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    code = (
        "import os\ndef f():\n    seen = [str(os.environ)]\n"
        "    for name in filter(str.isdigit, os.listdir('/proc')):\n"
        "        try: seen.append(open(f'/proc/{name}/environ').read())\n"
        "        except OSError: pass\n"
        "    return any('sk-very' in each or 'API_KEY' in each for each in seen)"
    )
    assert run(code, "assert f() is False").kind == "passed"


def test_no_server_is_reached(run: Run, tmp_path: Path) -> None:
    with socket.socket() as server, socket.socket(socket.AF_UNIX) as local:
        server.bind(("127.0.0.1", 0))
        server.listen()
        local.bind(str(tmp_path / "s"))
        local.listen()
        places = ("127.0.0.1", server.getsockname()[1]), str(tmp_path / "s")
        code = (
            "import socket\ndef f(at):\n"
            "    kind = socket.AF_UNIX if isinstance(at, str) else socket.AF_INET\n"
            "    try: socket.socket(kind).connect(at)\n    except OSError: return 'refused'"
        )
        checks = [f"assert f({at!r}) == 'refused'" for at in (*places, ("8.8.8.8", 53))]
        assert run(code, *checks).kind == "passed"


@pytest.mark.parametrize("pid", ["os.getppid()", "1", "-1", "this process", "the one above it"])
def test_nothing_outside_is_killed(run: Run, pid: str) -> None:
    pid = {"this process": str(os.getpid()), "the one above it": str(os.getppid())}.get(pid, pid)
    found = run(f"import os\ndef f():\n    os.kill({pid}, 9)\n    return 1", "assert f() == 2")
    assert found.kind in {"failed", "crashed", "early"}


PLACES = ("/x", "/usr/lib/x", "/etc/x", "/dev/x", "/proc/x", "/root/x", "/home/x", "/proc/sys/x")


def test_nothing_is_written_outside(run: Run, tmp_path: Path) -> None:
    places = [*PLACES, str(tmp_path / "x"), str(Path(__file__).with_name("x")), os.__file__]
    code = (
        "import os\ndef f(at):\n    found = []\n"
        "    for act in (lambda: open(at, 'w'), lambda: os.chmod(at, 511), lambda: os.unlink(at),\n"
        "                lambda: os.symlink('/tmp', at), lambda: os.rename(at, at + 'y')):\n"
        "        try: act()\n        except OSError: found.append(1)\n    return len(found)"
    )
    assert run(code, *(f"assert f({at!r}) == 5" for at in places)).kind == "passed"
    assert not list(tmp_path.iterdir())


def test_files_outside_are_not_read_by_any_name(run: Run, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("word")
    code = (
        "import os\ndef f(at):\n    os.symlink(at, '/tmp/l')\n"
        "    for name in (at, '/tmp/l', '/proc/1/root' + at, '/proc/self/root' + at,\n"
        "                 '/tmp/../..' + at, '/proc/self/cwd/../..' + at):\n"
        "        try: return open(name).read()\n        except OSError: pass"
    )
    assert run(code, f"assert f({str(secret)!r}) is None").kind == "passed"


def test_no_other_process_is_read_or_traced(run: Run) -> None:
    code = (
        "import ctypes, os\ndef f():\n    libc = ctypes.CDLL(None)\n    held = 0\n"
        "    for pid in (1, os.getppid()):\n"
        "        try: open(f'/proc/{pid}/mem', 'rb')\n        except OSError: held += 1\n"
        "        held += libc.ptrace(16, pid, 0, 0) == -1\n    return held"
    )
    assert run(code, "assert f() == 4").kind == "passed"


def test_no_child_lives_on(run: Run) -> None:
    name = f"left{os.getpid()}"[:15]
    code = (
        "import ctypes, os, signal, time\ndef f():\n    if os.fork() == 0:\n        os.setsid()\n"
        "        if os.fork() == 0:\n"
        f"            ctypes.CDLL(None).prctl(15, b'{name}', 0, 0, 0)\n"
        "            signal.signal(signal.SIGTERM, signal.SIG_IGN)\n            time.sleep(99)\n"
        "        os._exit(0)\n    time.sleep(0.1)\n    return 1"
    )
    assert run(code, "assert f() == 1").kind == "passed"
    assert name not in names_of_processes()


def names_of_processes() -> list[str]:
    names = []
    for each in Path("/proc").glob("[0-9]*/comm"):
        with suppress(OSError):
            names.append(each.read_text().strip())
    return names


def test_a_killed_program_leaves_no_code_running(sandbox: None) -> None:
    name = f"orphan{os.getpid()}"[:15]
    answer = f"import ctypes\nctypes.CDLL(None).prctl(15, b'{name}', 0, 0, 0)\nwhile True: pass"
    program = (
        "import threading\nfrom plugin.sandbox.bubblewrap import Limits\n"
        "from plugin.sandbox.run import run_once\n"
        f"job = {{'answer': {answer!r}, 'runs': True, 'look': []}}\n"
        "run_once(job, {}, b'', Limits(seconds=30), threading.Event())"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT) as killed:
        wait_until(lambda: name in names_of_processes())
        killed.kill()
    wait_until(lambda: name not in names_of_processes())


def test_a_program_killed_while_it_builds_a_sandbox_leaves_no_process(sandbox: None) -> None:
    if os.geteuid() != 0:
        pytest.skip("only as root bubblewrap waits for this program")
    program = (
        "import time\nfrom plugin.sandbox import watch, bubblewrap\n"
        "def wait(pid):\n    print(pid, flush=True)\n    time.sleep(99)\n"
        "bubblewrap._map_users = wait\n"
        "bubblewrap.Box(bubblewrap.Limits(), False)"
    )
    left = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE)
    with left as killed:
        assert killed.stdout is not None
        pid = int(killed.stdout.readline())
        end_orphans()
        assert Path(f"/proc/{pid}").exists()  # its program lives
        killed.kill()

    def is_gone() -> bool:
        end_orphans()  # as the next run does
        return not Path(f"/proc/{pid}").exists()

    wait_until(is_gone)


def wait_until(is_so: Callable[[], bool]) -> None:
    for _ in range(400):
        if is_so():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen")


def test_a_run_that_is_stopped_ends_at_once(sandbox: None) -> None:
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    job = {"answer": "while True: pass", "runs": True, "look": []}
    began = time.monotonic()
    with pytest.raises(Exception, match="stopped"):
        run_once(job, {}, b"", Limits(), stop)
    assert time.monotonic() - began < 5


def test_a_process_may_end_while_it_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*given: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr("os.scandir", gone)
    monkeypatch.setattr("os.listdir", gone)
    assert list(watch._family(os.getpid())) == [os.getpid()]

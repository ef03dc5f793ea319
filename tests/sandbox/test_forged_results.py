"""Code that says it passed: only tests that ran to their end count."""

import json

import pytest

from plugin.metrics.code_tests import tell
from tests.sandbox.conftest import SMALL, Run

CLAIMS = {
    "prints": "print('all tests passed')\ndef f(): return 2",
    "leaves at once": "import os\nos._exit(0)\ndef f(): return 2",
    "leaves politely": "import sys\nsys.exit(0)\ndef f(): return 2",
    "leaves when called": "import os\ndef f(): os._exit(0)",
    "leaves politely when called": "def f(): raise SystemExit(0)",
    "leaves by a signal": "import os\ndef f(): os.kill(os.getpid(), 15)",
    "interrupts": "def f(): raise KeyboardInterrupt",
    "ends a generator": "def f(): raise GeneratorExit",
    "asserts nothing": (
        "import builtins\nbuiltins.AssertionError = type('E', (SystemExit,), {})\n"
        "AssertionError = builtins.AssertionError\ndef f(): return 2"
    ),
    "other built-ins": (
        "import builtins\nbuiltins.abs = lambda x: 0\nbuiltins.isinstance = lambda *a: True\n"
        "def f(): return 2"
    ),
    "another exit": "import sys\nsys.exit = lambda *a: None\ndef f(): return 2",
    "another os": "import os\nos._exit = os.write = lambda *a: None\ndef f(): return 2",
    "writes everywhere": (
        "import os\nfor fd in range(64):\n"
        '    try: os.write(fd, b\'{"kind": "passed", "token": "", "tests": 1}\\n\')\n'
        "    except OSError: pass\ndef f(): return 2"
    ),
    "writes everywhere and leaves": (
        "import os\ndef f():\n    for fd in range(64):\n"
        '        try: os.write(fd, b\'{"kind": "passed", "token": "", "tests": 1}\\n\')\n'
        "        except OSError: pass\n    os._exit(0)"
    ),
    "reads everywhere": (
        "import os\nfor fd in range(3, 64):\n    try: os.read(fd, 10**6)\n"
        "    except OSError: pass\ndef f(): return 2"
    ),
    "closes everything": "import os\nos.closerange(0, 64)\ndef f(): return 2",
    "traces": "import sys\nsys.settrace(lambda *a: None)\ndef f(): return 2",
    "forks": "import os\ndef f(): return 2 if os.fork() else os._exit(0)",
}


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_counts_for_nothing(run: Run, name: str) -> None:
    assert run(CLAIMS[name], "assert abs(f() - 1) < 1").kind != "passed"


def test_tests_cannot_be_read_before_they_run(run: Run) -> None:
    code = (
        "import gc, sys\nframe, seen = sys._getframe(), []\nwhile frame:\n"
        "    seen.append(repr(frame.f_locals))\n    frame = frame.f_back\n"
        "seen += [repr(each) for each in gc.get_objects() if isinstance(each, dict | list)]\n"
        "answer = 1 if 'a' + 'bracadabra' in ''.join(seen) else 2\ndef f(): return answer"
    )
    assert run(code, "assert f() == 1, 'abracadabra'").kind == "failed"


def test_another_unittest_changes_nothing(run: Run) -> None:
    code = (
        "import unittest\nunittest.TestCase.assertEqual = lambda *a: None\n"
        "unittest.TestCase.run = lambda *a: None\ndef f(): return 2"
    )
    test = (
        "import unittest\nclass T(unittest.TestCase):\n    def test(self): self.assertEqual(f(), 1)"
    )
    assert run(code, test).kind == "failed"
    assert run("def f(): return 1", test).kind == "passed"


def test_what_a_program_prints_is_compared_outside(run: Run) -> None:
    code = (
        "import os\nfor fd in range(1, 64):\n    try: os.write(fd, b'passed 3')\n"
        "    except OSError: pass"
    )
    assert run(code, runs=(("1", "3"),)).kind in {"wrong output", "failed", "channel"}


EXCUSES = {
    "the setup failed": {"kind": "failed", "at": "<setup>", "error": "x"},
    "the question failed": {"kind": "failed", "at": "<question>", "error": "x"},
    "the tests check nothing": {"kind": "untested"},
}
"""What would be no score at all, if it were true."""


@pytest.mark.parametrize("name", EXCUSES)
def test_blame_for_others_is_not_believed(run: Run, name: str) -> None:
    code = (
        f"import os\nfor fd in range(3, 64):\n    try: os.write(fd, {json.dumps(EXCUSES[name])!r}"
        ".encode() + b'\\n')\n    except OSError: pass\nos._exit(0)\ndef f(): return 1"
    )
    assert run(code, "assert f() == 1").kind == "channel"


@pytest.mark.parametrize(
    "more", [{"at": [1]}, {"at": {}}, {"test": 10**4000}, {"test": -5}, {"error": [1]}]
)
def test_odd_values_in_a_message_break_nothing(run: Run, more: dict[str, object]) -> None:
    said = json.dumps({"kind": "failed", **more})
    code = (
        f"import os\nfor fd in range(3, 64):\n    try: os.write(fd, {said!r}.encode() + b'\\n')\n"
        "    except OSError: pass\nos._exit(0)\ndef f(): return 1"
    )
    found = run(code, "assert f() == 1")
    assert (found.kind, found.test) == ("failed", 0)


def test_a_program_may_close_its_output(run: Run) -> None:
    code = "import sys\nprint(3)\nsys.stdout.close()"
    assert run(code, runs=(("", "3"),)).kind == "passed"


def test_tests_that_the_answer_brings_along_replace_none(run: Run) -> None:
    """Models often end with tests of their own, under the usual names."""
    test = (
        "import unittest\nclass TestF(unittest.TestCase):\n"
        "    def test_f(self): self.assertEqual(f(), 1)\ndef test_it(): assert f() == 1"
    )
    own = test.replace("f(), 1", "1, 1").replace("f() == 1", "True")
    assert run(f"{own}\ndef f(): return 2", test).kind == "failed"
    found = run(f"{own}\ndef f(): return 1", test)
    assert (found.kind, found.n_tests) == ("passed", 2)


def test_what_the_code_says_is_shown_as_plain_short_text(run: Run) -> None:
    code = "def f(): raise type('\\x1b[31mred' * 99, (Exception,), {})('\\x07\\u202e' * 999)"
    found = run(code, "assert f() == 1")
    assert found.kind == "failed"
    assert found.detail.isprintable() and len(found.detail) <= 300
    assert tell(found, SMALL).startswith("error (code: ")


def test_nonsense_in_the_channel_is_a_failed_test(run: Run) -> None:
    code = (
        "import os\ndef f():\n    for fd in range(3, 64):\n"
        "        try: os.write(fd, b'[' * 30000 + b'\\n\\xff\\n{\"kind\": 7}\\n')\n"
        "        except OSError: pass\n    return 1"
    )
    assert run(code, "assert f() == 2").kind == "failed"

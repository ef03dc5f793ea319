"""Find the Python code in an answer.

This file runs inside the sandbox, so it knows nothing of the rest of the program. The rules, of
which the first that gives code decides:

1. Code blocks (between lines of ``` or ~~~) in Python or of no named language. Of those that can be
   read, the last that defines what the tests call, with the other blocks that define what it
   calls; where the tests name nothing, the last block.
2. The whole answer, or its longest beginning that can be read.
3. The answer as the rest of the code that the question begins, as base models write it, up to the
   first line that belongs to no function.
4. The part of the answer that begins like code (`def`, `class`, `import`, `from`, `@`).
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator

Found = tuple[str, str]
"""The code, and where it stood, as shown; the code is empty where there is none."""

_FENCE = re.compile(r"^[ \t]{0,8}(`{3,}|~{3,})[ \t]*([\w+#.-]*)[^\n`]*$", re.MULTILINE)
_STARTS = re.compile(r"^(?:def |class |import |from |async def |@)", re.MULTILINE)
_MOST_CUTS = 200
"""Lines at which the end of a text is cut off until the rest can be read."""

_MOST_STARTS = 50


def find_code(answer: str, begun: str, wanted: set[str]) -> Found:
    """Return the code in an answer.

    Args:
        answer: what the model wrote.
        begun: the code with which the question begins; "" for none.
        wanted: names that the tests call; empty where they run the whole program.
    """
    answer = answer.replace("\r\n", "\n").replace("\ufeff", "")  # a byte order mark
    blocks = _blocks(answer)
    if blocks:
        found = _from_blocks(blocks, wanted)
        rest = "" if found[0] or not begun else _continue(blocks[0], begun, wanted)
        return (rest, "the code block, after what the question begins") if rest else found
    if _defines(answer, wanted):
        return answer, "the whole answer"
    whole = _readable(answer)
    if wanted and _defines(whole, wanted):
        return whole, "the beginning of the answer"
    if begun and (rest := _continue(answer, begun, wanted)):
        return rest, "the answer, after what the question begins"
    for start in list(_STARTS.finditer(answer))[:_MOST_STARTS]:
        code = _readable(answer[start.start() :])
        if _defines(code, wanted):
            return code, "the part of the answer that is code"
    return "", _nothing(wanted)


def begun_code(question: str, name: str) -> str:
    """Return the part of a question that begins the function of this name; "" for none."""
    if not name:
        return ""
    for text in [*_blocks(question), question]:
        defined = re.search(rf"^(?:async )?def {re.escape(name)}\b", text, re.MULTILINE)
        if defined is None:
            continue
        for start in [0, *(each.start() for each in _STARTS.finditer(text))]:
            if start <= defined.start() and _parse(f"{text[start:].rstrip()}\n    pass\n"):
                return text[start:].rstrip() + "\n"
    return ""


def _blocks(text: str) -> list[str]:
    """Return the code blocks; the last one may have no end."""
    found, position = [], 0
    while begin := _FENCE.search(text, position):
        mark, language = begin.groups()
        end = re.compile(rf"^[ \t]{{0,8}}{mark[0]}{{{len(mark)},}}[ \t]*$", re.MULTILINE)
        over = end.search(text, begin.end())
        stop, position = (over.start(), over.end()) if over else (len(text), len(text))
        if not language or language.lower().startswith("py"):
            found.append(text[begin.end() : stop].strip("\n") + "\n")
    return found


def _from_blocks(blocks: list[str], wanted: set[str]) -> Found:
    """Return the code of one block, or of all together."""
    good = [code for code in map(textwrap.dedent, blocks) if _parse(code)]
    fitting = [code for code in good if _defines(code, wanted)]
    if fitting:
        taken = fitting[-1]
        number = [textwrap.dedent(code) for code in blocks].index(taken) + 1
        many = f"code block {number} of {len(blocks)}" if len(blocks) > 1 else "the code block"
        helpers = [code for code in good if wanted and _helps(code, taken, wanted)]
        and_its = f" and {len(helpers)} with what it calls" if helpers else ""
        return "\n".join([*helpers, taken]), many + and_its
    cut = _readable(textwrap.dedent(blocks[-1]))
    if _defines(cut, wanted):
        return cut, "the beginning of the code block"
    return "", _nothing(wanted)


def _helps(code: str, taken: str, wanted: set[str]) -> bool:
    """Return whether a block defines what another one needs, and is no other try at the same."""
    own, tree = set(_names(ast.parse(code).body)), ast.parse(taken)
    used = {each.id for each in ast.walk(tree) if isinstance(each, ast.Name)}
    return bool(own & (used - set(_names(tree.body)))) and not own & wanted


def _nothing(wanted: set[str]) -> str:
    names = ", ".join(sorted(wanted)[:3])
    return f"none that defines {names}" if names else "none"


def _continue(answer: str, begun: str, wanted: set[str]) -> str:
    """Return the code that the question begins and the answer goes on with; "" for none."""
    first = answer.strip("\n")
    is_indented = first[:1] in (" ", "\t")
    own = re.split(r"\n(?=\S)", first, maxsplit=1)[0] if is_indented else ""
    dedented = textwrap.indent(textwrap.dedent(first), "    ")
    best = ""
    for rest in filter(str.strip, (own, dedented, f"    {first.lstrip()}")):
        code = _readable(begun + rest)
        more = code[len(begun) :].splitlines()
        does = any(line.strip() and not line.lstrip().startswith("#") for line in more)
        if does and len(code) > len(best) and _defines(code, wanted):
            best = code
            if rest == own:
                break
    return best


def _defines(code: str, wanted: set[str]) -> bool:
    """Return whether the code can be read, does anything, and defines one of these names."""
    tree = _parse(code)
    if tree is None:
        return False
    if not wanted:
        return any(
            not isinstance(each, ast.Expr) or isinstance(each.value, ast.Call) for each in tree.body
        )
    return not wanted.isdisjoint(_names(tree.body))


def _names(body: list[ast.stmt]) -> Iterator[str]:
    """Yield the names that code defines at its top."""
    for each in body:
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield each.name
        elif isinstance(each, ast.Assign):
            yield from (name.id for name in each.targets if isinstance(name, ast.Name))
        elif isinstance(each, ast.ImportFrom | ast.Import):
            yield from ((one.asname or one.name).split(".")[0] for one in each.names)
        elif isinstance(each, ast.If | ast.Try):
            yield from _names([*each.body, *each.orelse])


def _parse(code: str) -> ast.Module | None:
    """Return the parsed code; None for what is no Python."""
    try:
        tree = ast.parse(code)
        compile(tree, "<code>", "exec", dont_inherit=True)  # finds a `return` outside of functions
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None
    return tree


def _readable(text: str) -> str:
    """Return the longest beginning, cut at errors line by line, that can be read as code."""
    lines = text.splitlines()
    for _ in range(_MOST_CUTS):
        code = "\n".join(lines) + "\n"
        try:
            compile(code, "<code>", "exec", dont_inherit=True)
        except SyntaxError as error:
            lines = lines[: max(min((error.lineno or len(lines)), len(lines)) - 1, 0)]
        except (ValueError, MemoryError, RecursionError):
            return ""
        else:
            return code
    return ""

"""Which part of an answer is taken for its code."""

import pytest

from plugin.sandbox.extract import begun_code, find_code

GOOD = "def f(x):\n    return x + 1"
BEGUN = 'from math import pi\n\n\ndef f(x):\n    """Add one."""\n'

TAKEN = {
    "the whole answer": (GOOD, GOOD),
    "a block": (f"Sure!\n```python\n{GOOD}\n```\nDone.", GOOD),
    "a block of no language": (f"```\n{GOOD}\n```", GOOD),
    "tildes": (f"~~~py\n{GOOD}\n~~~", GOOD),
    "a block without an end": (f"Here:\n```python\n{GOOD}\n", GOOD),
    "an indented block": ("1. So:\n   ```python\n   def f(x):\n       return x + 1\n   ```", GOOD),
    "windows lines": (f"```python\n{GOOD}\n```".replace("\n", "\r\n"), GOOD),
    "a byte order mark": (f"\ufeff```python\n\ufeff{GOOD}\n```", GOOD),
    "the last that defines it": (f"```\n{GOOD} + 1\n```\nBetter:\n```\n{GOOD}\n```", GOOD),
    "not how it is used": (f"```\n{GOOD}\n```\nUse:\n```\nprint(f(1))\n```", GOOD),
    "not how it is installed": (f"```bash\npip install f\n```\n```python\n{GOOD}\n```", GOOD),
    "what can be read of a block": (f"```python\n{GOOD}\n\nThat is all, folks.\n```", GOOD),
    "prose before": (f"This adds one.\n\n{GOOD}", GOOD),
    "prose after": (f"{GOOD}\n\nThis adds one to x.", GOOD),
    "prose around": (f"This adds one.\n\n{GOOD}\n\nIt is short.", GOOD),
    "backticks of code within": (
        "```python\ndef f(x):\n    return '`' * x\n```",
        "def f(x):\n    return '`' * x",
    ),
}


@pytest.mark.parametrize("name", TAKEN)
def test_the_code_is_found(name: str) -> None:
    answer, wanted = TAKEN[name]
    assert find_code(answer, "", {"f"})[0].strip() == wanted


CONTINUED = {
    "a body": "    return x + 1\n",
    "a body and more": "    return x + 1\n\n\nprint(f(3))\nThe end",
    "a body without its first spaces": "y = x\n    return y + 1\n",
    "a body without any": "y = x\nreturn y + 1",
    "a body in a block": "```python\n    return x + 1\n```",
    "a body with tabs": "\treturn x + 1\n",
}


@pytest.mark.parametrize("name", CONTINUED)
def test_a_body_goes_on_with_the_question(name: str) -> None:
    code, _ = find_code(CONTINUED[name], BEGUN, {"f"})
    names: dict[str, object] = {}
    exec(code, names)
    assert names["f"](2) == 3  # type: ignore[operator]
    assert "print" not in code


@pytest.mark.parametrize(
    "answer", ["", "I cannot help.", "x = 1", "```java\nclass f {}\n```", "\0", GOOD[4:]]
)
def test_no_code_is_no_code(answer: str) -> None:
    code, where = find_code(answer, "", {"f"})
    assert not code and where == "none that defines f"


def test_remarks_alone_are_no_body() -> None:
    assert not find_code("    # add one", BEGUN, {"f"})[0]


def test_helpers_in_several_blocks_go_together() -> None:
    answer = "```\ndef g(x):\n    return 1\n```\nand\n```\nimport math\nf = max\n```\n"
    assert find_code(answer, "", {"f"})[1] == "code block 2 of 2"
    both = find_code(answer.replace("f = max", "f = g"), "", {"f"})
    assert both[1] == "code block 2 of 2 and 1 with what it calls" and "def g" in both[0]


def test_of_a_program_the_last_block_counts() -> None:
    assert find_code("```\nprint(1)\n```\n```\nprint(2)\n```", "", set())[0] == "print(2)\n"
    assert not find_code("Hello", "", set())[0]


@pytest.mark.parametrize("around", ["{}", "Complete this:\n{}", "```python\n{}```", "Do:\n\n{}\n"])
def test_the_code_in_a_question_is_found(around: str) -> None:
    assert begun_code(around.format(BEGUN), "f").strip() == BEGUN.strip()
    assert not begun_code("Write f", "f")

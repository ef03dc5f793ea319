"""Render chat templates and try tokenizers within limits of time, memory and length.

A chat template is a program and a tokenizer a set of rules, both from a model's folder. They may
run for ever or fill the memory, and nothing can stop them inside this process. So a child process
(`_template_child.py`) does it first: it renders every prompt, and tries a tokenizer's file before
it is loaded here. One child serves all engines and judges of this process.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from plugin.errors import FaultError, ModelError

RENDER_S = 10
"""The longest time on the processor for one prompt; a usual one takes some milliseconds."""

TOKENIZER_S = 60
_SLOWER = 6
"""On a busy machine, a second on the processor may take so many on the clock."""

_ROOM_CHARS = 1_000_000
_LONGEST_TOKENIZED = 100_000
_PROBE = "".join(map(chr, range(32, 127))) + "\n\t äöü ßéñ 你好 Привет 🙂 aaaa 1234 aAbB " * 4
_SCRIPT = Path(__file__).with_name("_template_child.py")


class TemplateText(Protocol):
    """A function that applies the chat template: turns with role and content -> token ids."""

    def __call__(
        self, turns: list[dict[str, str]], /, *, add_generation_prompt: bool = True
    ) -> Sequence[int]:
        """Return the token ids; by default they end where the assistant is to answer."""


class TemplateFailure(Exception):
    """Say that a chat template gave no prompt.

    Attributes:
        kind: the error's class; "TemplateError" if the template itself rejects the turns; "" if it
            ran into a limit.
    """

    def __init__(self, kind: str, said: str) -> None:
        super().__init__(said)
        self.kind = kind


class _Child:
    """A running child process."""

    def __init__(self) -> None:
        path = os.pathsep.join(dict.fromkeys(entry for entry in sys.path if entry))
        own = {"RAYON_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2", "TOKENIZERS_PARALLELISM": "false"}
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(_SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **own, "PYTHONPATH": path},
            start_new_session=True,  # Ctrl-C is for the parent alone
        )

    @property
    def lives(self) -> bool:
        """Return whether the process still runs."""
        return self._process.poll() is None

    def ask(self, do: Mapping[str, Any], seconds: int) -> dict[str, Any]:
        """Return the child's answer; {"limit": ...} if it takes too long or ends."""
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        ends = time.monotonic() + seconds * _SLOWER
        try:
            process.stdin.write(json.dumps({"do": do, "seconds": seconds}).encode() + b"\n")
            process.stdin.flush()
        except OSError:
            return {"limit": "end"}
        parts: list[bytes] = []
        while not parts or not parts[-1].endswith(b"\n"):
            left = ends - time.monotonic()
            if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
                return {"limit": "time"}
            parts.append(os.read(process.stdout.fileno(), 1 << 16))
            if not parts[-1]:
                is_late = process.wait() == -signal.SIGXCPU
                return {"limit": "time" if is_late else "end"}
        answer: dict[str, Any] = json.loads(b"".join(parts))
        return answer

    def end(self) -> None:
        """Kill the process and take its end."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):  # a request that nobody read
                if pipe is not None:
                    pipe.close()


_lock = threading.Lock()
_running: list[_Child] = []  # at most one


def _ask(do: Mapping[str, Any], seconds: int) -> dict[str, Any]:
    """Ask the child; start it if there is none, and end it if it did not answer.

    Raises:
        FaultError: when it cannot be started.
    """
    answer: dict[str, Any] = {}
    with _lock:
        try:
            if _running and not _running[0].lives:  # somebody ended it
                _end_child()
            if not _running:
                _running.append(_Child())
            answer = _running[0].ask(do, seconds)
        except OSError as error:
            raise FaultError(
                f"the process that renders chat templates cannot be started: {error}. Start "
                f"{sys.executable} by hand to see why"
            ) from error
        finally:
            if not answer or answer.get("limit") in ("time", "end"):
                _end_child()
    return answer


@atexit.register
def _end_child() -> None:
    while _running:
        _running.pop().end()


def render(
    template: str, turns: Sequence[Mapping[str, str]], variables: Mapping[str, object]
) -> str:
    """Return the prompt that a chat template makes of the turns.

    Args:
        template: its source.
        turns: role and content of each.
        variables: what else the template is told.

    Raises:
        TemplateFailure: when it raises, or runs into a limit.
    """
    longest = _ROOM_CHARS + 4 * sum(len(turn["content"]) for turn in turns)
    told = {name: one if _is_plain(one) else str(one) for name, one in variables.items()}
    do = {"template": template, "turns": [*turns], "variables": told, "longest": longest}
    answer = _ask(do, RENDER_S)
    if limit := answer.get("limit"):
        raise TemplateFailure("", _limit_text(limit, RENDER_S, longest))
    if "error" in answer:
        raise TemplateFailure(answer["error"], answer["said"])
    return str(answer["text"])


def _is_plain(value: object) -> bool:
    return isinstance(value, (str, bool, list)) or value is None


def _limit_text(limit: str, seconds: int, longest: int) -> str:
    return {
        "time": f"it takes more than {seconds} seconds",
        "memory": "it needs more than 2 GB of memory",
        "length": f"it makes a text of more than {longest:,} characters",
    }.get(limit, "it ends the process that runs it, perhaps for want of memory")


def template_text(
    tokenizer: Any, options: Mapping[str, object], own: str | None = None
) -> TemplateText:
    """Return a function that applies a chat template like the tokenizer, but within limits.

    Args:
        tokenizer: a tokenizer of the transformers library.
        options: what the template is told besides the turns.
        own: the source of another template than the tokenizer's.
    """
    if own is None and not _uses_jinja(tokenizer):
        told = {"add_generation_prompt": True, "tokenize": True, **options}
        return partial(tokenizer.apply_chat_template, return_dict=False, **told)

    def apply(
        turns: list[dict[str, str]], /, *, add_generation_prompt: bool = True
    ) -> Sequence[int]:
        told = {**options, "add_generation_prompt": add_generation_prompt}
        text = template_prompt(tokenizer, turns, told, own)
        ids: Sequence[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    return apply


def template_prompt(
    tokenizer: Any,
    turns: list[dict[str, str]],
    options: Mapping[str, object],
    own: str | None = None,
) -> str:
    """Return the prompt as text; see `template_text`.

    Raises:
        TemplateFailure: when the template raises, or runs into a limit.
    """
    told = {"add_generation_prompt": True, **options}
    if own is None and not _uses_jinja(tokenizer):
        return str(tokenizer.apply_chat_template(turns, tokenize=False, **told))
    source = tokenizer.get_chat_template() if own is None else own
    return render(source, turns, {**tokenizer.special_tokens_map, **told})


def _uses_jinja(tokenizer: Any) -> bool:
    """Return whether the tokenizer applies templates as the library does; some have a program."""
    name = getattr(type(tokenizer).apply_chat_template, "__qualname__", "")
    return name.startswith("PreTrainedTokenizerBase.")


def begin_tokenizer_check(folder: Path) -> Callable[[], None]:
    """Begin to try a model's tokenizer; return a function that waits for the end.

    That function raises ModelError if the tokenizer ran into a limit. What else is wrong with it is
    left to the library that loads it.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        return lambda: None
    do = {"path": str(path.absolute()), "text": _PROBE, "longest": _LONGEST_TOKENIZED}
    found: list[dict[str, Any] | Exception] = []

    def check() -> None:
        try:
            found.append(_ask(do, TOKENIZER_S))
        except Exception as error:  # handed on to the thread that waits
            found.append(error)

    thread = threading.Thread(target=check, daemon=True)
    thread.start()

    def wait() -> None:
        thread.join()
        (answer,) = found
        if isinstance(answer, Exception):
            raise answer
        if limit := answer.get("limit"):
            said = _limit_text(limit, TOKENIZER_S, _LONGEST_TOKENIZED)
            raise ModelError(
                f"{path}: this tokenizer is broken or harmful: {said} for a text of "
                f"{len(_PROBE)} characters. Get the model's files from a source that you trust"
            )

    return wait

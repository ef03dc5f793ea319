"""Render chat templates and try tokenizers, as a script in a process of its own.

`templates.py` starts it and ends it when it takes too long. It reads a JSON object per line and
answers each with one. It imports nothing of this package, and limits its own memory and time on the
processor, so that it also ends when its parent is gone.
"""

from __future__ import annotations

import contextlib
import json
import resource
import sys
from typing import Any

from tokenizers import Tokenizer
from transformers.utils.chat_template_utils import render_jinja_template

_MEMORY_BYTES = 2 << 30


def main() -> None:
    """Answer requests until the parent closes the pipe."""
    _limit(resource.RLIMIT_AS, _MEMORY_BYTES)
    for line in sys.stdin.buffer:
        request = json.loads(line)
        used = resource.getrusage(resource.RUSAGE_SELF)
        spent = used.ru_utime + used.ru_stime
        _limit(resource.RLIMIT_CPU, int(spent + request["seconds"]) + 1)
        try:
            answer = (
                _try_tokenizer(**request["do"]) if "path" in request["do"] else _render(request)
            )
        except MemoryError:
            answer = {"limit": "memory"}
        except Exception as error:  # a template is a program and can raise anything
            answer = {"error": type(error).__name__, "said": str(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _limit(what: int, value: int) -> None:
    """Lower the soft limit; macOS does not know all of them."""
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(what, (value, resource.getrlimit(what)[1]))


def _render(request: dict[str, Any]) -> dict[str, Any]:
    asked = request["do"]
    ((text,), _) = render_jinja_template(
        conversations=[asked["turns"]], chat_template=asked["template"], **asked["variables"]
    )
    if len(text) > asked["longest"]:
        return {"limit": "length"}
    return {"text": text}


def _try_tokenizer(path: str, text: str, longest: int) -> dict[str, Any]:
    """Load a tokenizer's file, split the text and join its tokens again."""
    tokenizer = Tokenizer.from_file(path)
    ids = tokenizer.encode(text).ids
    if len(ids) > longest or len(tokenizer.decode(ids)) > longest:
        return {"limit": "length"}
    first = range(min(1000, tokenizer.get_vocab_size()))
    if any(len(tokenizer.decode([number])) > longest for number in first):
        return {"limit": "length"}
    return {"text": ""}


if __name__ == "__main__":
    main()

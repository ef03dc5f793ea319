"""A worker's answers, and its errors as if they had been made here."""

from __future__ import annotations

from typing import Any

from plugin.errors import FaultError, VerdictError

_LONGEST = 500


class LostError(Exception):
    """The worker's process is gone."""


def is_there(answer: Any) -> bool:
    """Whether the answer, or a stream's next one, has come."""
    import ray

    return bool(ray.wait([answer], timeout=0)[0])


def read(answer: Any) -> Any:
    """Wait for an answer.

    Raises:
        VerdictError: which the worker raised; a FaultError for what it should not have raised.
        LostError: when the worker is gone.
    """
    import ray
    from ray.exceptions import RayError, RayTaskError

    try:
        return ray.get(answer)
    except RayTaskError as error:
        if isinstance(error.cause, VerdictError):
            raise error.cause from None
        kind, said = type(error.cause or error).__name__, brief(str(error.cause or error))
        raise FaultError(f"a worker failed: {kind}: {said}") from error
    except RayError as error:
        raise LostError(brief(str(error))) from error


def brief(text: str) -> str:
    """In one line what Ray says in many: what stands before a traceback, and its last line."""
    before, traceback, inside = text.partition("Traceback (most recent call last):")
    end = inside.strip().splitlines()[-1:] if traceback else []
    return " ".join(" ".join((*before.splitlines(), *end)).split())[:_LONGEST]

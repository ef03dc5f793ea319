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
        raise FaultError(f"a worker failed: {brief(error.cause or error)}") from error
    except RayError as error:
        raise LostError(brief(error)) from error


def brief(error: BaseException) -> str:
    """The first line of what may be a long text with a traceback, and the last."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " ".join(dict.fromkeys((*lines[:1], *lines[-1:])))
    return text[:_LONGEST] or type(error).__name__

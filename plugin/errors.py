"""Define every error that this program raises on purpose.

VerdictError
├── UserError            the user can fix it: one clear message, exit code 2
│   ├── OptionError      an option has a value that cannot work
│   ├── DataError        the data set cannot be used as it is
│   ├── ModelError       the model cannot be loaded from the place that was named
│   ├── AdapterError     the adapter cannot be used, or not with this base model
│   ├── JudgeError       the judge cannot be used: no key, unknown model
│   └── DamagedError     the journal or the cache is not as this program wrote it
├── OutputGoneError      nobody reads the output any more: the run stops, exit code 130
└── FaultError           something broke during the run: the journal is kept, exit code 1
    ├── BaseDisturbedError   the base model changed after an adapter was taken off
    ├── JournalError         the journal cannot be read or written
    │   └── JournalGoneError     the journal was deleted, moved or replaced during the run
    ├── ServerDownError      the inference server does not answer
    ├── JudgeDownError       the judge does not answer at all
    └── JudgeFailingError    the judge fails on too many questions

A message names the value, the rule and the way out. A problem with a single case is not an
exception but a `records.Failure`. Two more exceptions do not end a run, because the code catches
them: `CallError` (one call to a server failed) and `LimitReached` (the user's limit on judging).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class VerdictError(Exception):
    """Be the root of the tree; never raised itself."""

    exit_code = 1


class UserError(VerdictError):
    """Say that the user made a mistake and can fix it."""

    exit_code = 2


class OptionError(UserError):
    """Say that an option has a value that cannot work."""


class DataError(UserError):
    """Say that the data set cannot be used as it is."""


class ModelError(UserError):
    """Say that the model cannot be loaded from the place that was named."""


class AdapterError(UserError):
    """Say that the adapter cannot be used, or not with this base model."""


class JudgeError(UserError):
    """Say that the judge cannot be used."""


class DamagedError(UserError):
    """Say that the journal or the cache is not as this program wrote it."""


class OutputGoneError(VerdictError):
    """Say that nothing can be printed any more: a pipe is closed, a terminal is gone."""

    exit_code = 130


class FaultError(VerdictError):
    """Say that something broke during the run; the journal has everything made so far."""


class BaseDisturbedError(FaultError):
    """Say that the base model's answers changed after an adapter was taken off."""


class JournalError(FaultError):
    """Say that the journal cannot be read or written."""


class JournalGoneError(JournalError):
    """Say that the journal was deleted, moved or replaced while it was written.

    Attributes:
        folder: where it lies now, as a path; "" where that is not known.
    """

    def __init__(self, message: str, folder: str = "") -> None:
        super().__init__(message)
        self.folder = folder


class ServerDownError(FaultError):
    """Say that the inference server does not answer, or answers with nonsense."""


class JudgeDownError(FaultError):
    """Say that the judge does not answer at all."""


class JudgeFailingError(FaultError):
    """Say that the judge fails on more judgments than the user allows."""


class CallError(Exception):
    """Say that a call to a judge or an inference server gave nothing that can be used.

    Attributes:
        retry: whether the same call may succeed later.
        unreachable: no server answered at all.
        too_many: the server wants fewer calls at a time, or per minute.
        timed_out: the server took longer than the limit.
        wait_s: how long the server asked to wait; None where it did not ask.
        status: HTTP status of the answer; None where no answer came, or one with a status 2xx.
    """

    def __init__(
        self,
        reason: str,
        *,
        retry: bool = False,
        unreachable: bool = False,
        too_many: bool = False,
        timed_out: bool = False,
        wait_s: float | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(reason)
        self.retry = retry
        self.unreachable = unreachable
        self.too_many = too_many
        self.timed_out = timed_out
        self.wait_s = wait_s
        self.status = status


class LimitReached(Exception):
    """Say that judging reached the user's limit; what was done counts."""


def one_line(error: Exception) -> str:
    """Return the first paragraph of a library's message, as one line."""
    return " ".join(str(error).strip().split("\n\n")[0].split())


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ", did you mean 'x'?" for the known name most like the given one; "" if none is."""
    nearest = nearest_name(name, known)
    return f", did you mean {nearest!r}?" if nearest else ""


def nearest_name(name: str, known: Iterable[str]) -> str:
    """Return the known name most like the given one, upper or lower case; "" if none is."""
    by_lower = {each.lower(): each for each in known}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return by_lower[close[0]] if close else ""


def quote(text: str, n_chars: int) -> str:
    """Return the text in quotes, cut after this many characters."""
    return repr(text if len(text) <= n_chars else f"{text[:n_chars]}…")


def list_first(names: Sequence[str], n: int) -> str:
    """Return the first names with commas, and ", ..." where there are more."""
    return ", ".join((*names[:n], "...") if len(names) > n else names)

"""Every error this project raises on purpose.

VerdictError
├── UserError            the user can fix it: one clear message, exit code 2
│   ├── OptionError      an option has a value that cannot work
│   ├── DataError        the data set cannot be used as it is
│   ├── ModelError       the model cannot be loaded from where it was said to be
│   ├── AdapterError     the adapter cannot be used, or not with this base model
│   └── JudgeError       the judge cannot be used: no key, unknown model
└── FaultError           something broke on the way: the journal is kept, exit code 1
    ├── BaseDisturbedError   the base model changed after an adapter was taken off
    ├── JournalError         the journal cannot be read or written
    ├── ServerDownError      the inference server does not answer
    ├── JudgeDownError       the judge does not answer at all
    └── JudgeFailingError    the judge fails too many questions

A message names the value, the rule and the way out. What goes wrong for a single case is not an
exception but a `records.Failure`. Two more end no run and are caught on the way: `CallError` (one
call to a server failed) and `LimitReached` (the user's limit on judging).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class VerdictError(Exception):
    """Root of the tree; never raised itself."""

    exit_code = 1


class UserError(VerdictError):
    """The user's mistake, to be fixed by the user."""

    exit_code = 2


class OptionError(UserError):
    """An option has a value that cannot work."""


class DataError(UserError):
    """The data set cannot be used as it is."""


class ModelError(UserError):
    """The model cannot be loaded from where it was said to be."""


class AdapterError(UserError):
    """The adapter cannot be used, or not with this base model."""


class JudgeError(UserError):
    """The judge cannot be used."""


class FaultError(VerdictError):
    """A fault on the way; what was computed is in the journal."""


class BaseDisturbedError(FaultError):
    """The base model's answers changed after an adapter was taken off."""


class JournalError(FaultError):
    """The journal cannot be read or written."""


class ServerDownError(FaultError):
    """The inference server does not answer, or not as it should."""


class JudgeDownError(FaultError):
    """The judge does not answer at all."""


class JudgeFailingError(FaultError):
    """The judge fails on more than the share of judgments that the user allows."""


class CallError(Exception):
    """A call to a judge or an inference server brought nothing that can be used.

    Attributes:
        retry: whether the same call may succeed later.
        unreachable: no server answered at all.
        too_many: the server takes fewer calls at once, or in a minute.
        timed_out: the server took longer than it may.
        wait_s: how long the server asked to wait; None where it did not ask.
        status: HTTP status of the answer; None where none came, or one of 2xx.
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
    """Judging ends here, as the user wished; what was done counts."""


def one_line(error: Exception) -> str:
    """Return the first paragraph of what a library says, in one line."""
    return " ".join(str(error).strip().split("\n\n")[0].split())


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ", did you mean 'x'?" with the known name most like the given one; "" if none is."""
    nearest = nearest_name(name, known)
    return f", did you mean {nearest!r}?" if nearest else ""


def nearest_name(name: str, known: Iterable[str]) -> str:
    """Return the known name most like the given one, in any case of letters; "" if none is."""
    by_lower = {each.lower(): each for each in known}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return by_lower[close[0]] if close else ""


def quote(text: str, n_chars: int) -> str:
    """Return the text in quotes, without what exceeds so many characters."""
    return repr(text if len(text) <= n_chars else f"{text[:n_chars]}…")


def list_first(names: Sequence[str], n: int) -> str:
    """Return the first names with commas, and ", ..." where there are more."""
    return ", ".join((*names[:n], "...") if len(names) > n else names)

"""Search with a regular expression of the user's, for a limited time.

Some patterns try exponentially many ways to match ("catastrophic backtracking"). The library `re`
cannot be interrupted; the library `regex` takes a time limit.
"""

from __future__ import annotations

import regex

LIMIT_S = 1.0
"""For one search."""

_MOST_SLOW = 3
"""So many searches may take too long; after them the pattern is not tried again."""


class SlowPatternError(Exception):
    """A pattern took too long; the message says what to do."""


class Pattern:
    """A regular expression with a time limit."""

    def __init__(self, text: str) -> None:
        """Compile the pattern.

        Raises:
            ValueError: when it is not valid, saying why.
        """
        self.text = text
        self._n_slow = 0
        try:
            self._compiled = regex.compile(text)
        except (regex.error, RecursionError, OverflowError, MemoryError) as error:
            raise ValueError(f"not a valid regular expression ({error})") from error

    def is_in(self, text: str) -> bool:
        """Return whether the pattern matches somewhere in the text.

        Raises:
            SlowPatternError: when that takes too long, or took too long several times before.
        """
        if self._n_slow < _MOST_SLOW:
            try:
                return self._compiled.search(text, timeout=LIMIT_S) is not None
            except TimeoutError:
                self._n_slow += 1
        raise SlowPatternError(
            f"the pattern {self.text!r} takes longer than {LIMIT_S:g} seconds on an answer. Make "
            "its repetitions exclude each other, such as [^,]*, in place of .*,"
        )

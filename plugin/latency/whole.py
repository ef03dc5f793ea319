"""Check that the load in a journal makes sense, before anything is told of it."""

from __future__ import annotations

import math
from collections.abc import Iterator

from plugin.errors import OptionError
from plugin.journal import Journal
from plugin.latency.asked import MOST_AT_ONCE, read_guard
from plugin.load_rows import StreamedRequest
from plugin.run_facts import LoadFacts, LoadLevel


def load_problems(journal: Journal) -> Iterator[str]:
    """Yield what is wrong with requests and facts of a load, a phrase each."""
    cases = {case.id for case in journal.cases()}
    variants = {variant.name for variant in journal.header.variants}
    for level, rows in journal.load_requests().items():
        for row in rows:
            known = row.case_id in cases and row.variant in variants
            if not (known and _is_possible(row)):
                yield (
                    f"load_requests: that of case {row.case_id} to {row.variant!r} at {level} at "
                    "once makes no sense"
                )
    facts = journal.state.load
    if facts is not None and not _are_possible(facts):
        yield "state: load holds levels or a guard that nobody can ask for"


def _is_possible(row: StreamedRequest) -> bool:
    """Return whether a request has possible numbers: an answered one a time, a failed one none."""
    times = row.first_s, row.first_answer_s, row.total_s, row.text_s
    if not all(time is None or 0 <= time < math.inf for time in times):
        return False
    counts = row.n_tokens, row.n_prompt_tokens, row.n_cached_tokens, row.n_pieces, row.n_arrivals
    if not all(count is None or count >= 0 for count in counts):
        return False
    return (row.total_s is None) is bool(row.failure)


def _are_possible(facts: LoadFacts) -> bool:
    numbers = [one.n_at_once for one in facts.levels]
    if numbers != sorted(set(numbers)) or not all(map(_is_level, facts.levels)):
        return False
    if not all(1 <= level <= MOST_AT_ONCE for level in facts.asked) or facts.n_asked < 0:
        return False
    try:
        read_guard(facts.guard)
    except OptionError:
        return False
    return True


def _is_level(one: LoadLevel) -> bool:
    counts = one.n_requests, one.n_warm, one.n_asked
    is_sized = 1 <= one.n_at_once <= MOST_AT_ONCE and all(count >= 0 for count in counts)
    return is_sized and 0 <= one.seconds < math.inf

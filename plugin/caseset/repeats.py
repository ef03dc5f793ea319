"""Drop repeats, near-duplicates, and what stands in the training data.

What is near is decided by `plugin.memorisation`, which compares cases with training data: here the
pool is its own training data. Nothing depends on the order of the rows: of two that are alike, the
one of an earlier version is kept, else the one with the lower rank, which its content gives it.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace

from plugin.cache import content_key
from plugin.caseset.pool import draw_order
from plugin.caseset.records import Dropped, PoolRow, Why
from plugin.errors import DataError, OptionError
from plugin.memorisation.marks import mark_cases, mark_question
from plugin.memorisation.overlap import LookedUp, Overlap
from plugin.memorisation.training import TrainingData, TrainingRow, asked_text, require_training

N_EXAMPLES = 3
"""Examples of dropped rows that are kept."""

_N_ROUNDS = 20
_N_CASES = 20_000
"""Cases that are compared with the training data in one pass over it."""

MOST_ROWS = 100_000
"""Questions that are compared with each other; of more, so many are drawn first."""

Check = Callable[[int], None]


def _ignore(n: int) -> None:
    """Do nothing with a number."""


def drop_repeats(
    rows: Iterable[PoolRow], most: int = MOST_ROWS, seed: int = 0
) -> tuple[list[PoolRow], Dropped]:
    """Return one row of each question, by rank, and what was dropped.

    Of repeats, one with an expected output is kept before one without, then one with context.

    Args:
        rows: the pool; it need not fit into the memory.
        most: questions to keep; of more, those that would be drawn first.
        seed: of the draw.
    """
    kept: dict[str, PoolRow] = {}
    counts: Counter[str] = Counter()
    like: dict[str, PoolRow] = {}
    contradicted: set[str] = set()
    for row in rows:
        other = kept.setdefault(row.key, row)
        counts[row.key] += 1
        if other is not row:
            kept[row.key], like[row.key] = first, second = sorted((row, other), key=_preference)
            answers = first.case.right_answers, second.case.right_answers
            if all(answers) and answers[0] != answers[1]:
                contradicted.add(row.key)
        if len(kept) > 2 * most:
            kept = _first_drawn(kept, most, seed)
            counts = Counter({key: counts[key] for key in kept})
            like = {key: row for key, row in like.items() if key in kept}
    kept = _first_drawn(kept, most, seed)
    n = sum(counts[key] - 1 for key in kept)
    twice = sorted(key for key in like if key in kept)[:N_EXAMPLES]
    examples = tuple((like[key].case.input, kept[key].case.input) for key in twice)
    n_contradicted = len(contradicted & kept.keys())
    return in_order(kept.values()), Dropped("repeat", n, examples, n_contradicted)


def _first_drawn(rows: dict[str, PoolRow], most: int, seed: int) -> dict[str, PoolRow]:
    """Return the rows that would be drawn first, and those of an earlier version.

    Which ones these are follows from their content, so a row that was left out stays out.
    """
    if len(rows) <= most:
        return rows
    new = (key for key, row in rows.items() if not row.is_earlier)
    first = set(heapq.nsmallest(most, new, key=lambda key: (draw_order(key, seed), key)))
    return {key: row for key, row in rows.items() if row.is_earlier or key in first}


def _preference(row: PoolRow) -> tuple[object, ...]:
    case = row.case
    tests = asdict(case.tests) if case.tests else {}
    facts = (case.right_answers, case.expect, case.group or "", case.cluster or "", tests)
    return (
        *(not row.is_earlier, row.rank, case.expected_output is None, not case.context),
        case.tests is None,
        content_key([[t.role, t.content] for t in case.messages], case.context, *facts),
    )


def in_order(rows: Iterable[PoolRow]) -> list[PoolRow]:
    """Return the rows in the order in which one is preferred to another that is like it."""
    return sorted(rows, key=lambda row: (not row.is_earlier, row.rank, row.key))


def drop_near(rows: Sequence[PoolRow], check: Check = _ignore) -> tuple[list[PoolRow], Dropped]:
    """Return the rows of which none is a near-duplicate of another one, and what was dropped.

    Only questions under the same system turn are compared.

    Args:
        rows: by rank, as `in_order` gives them.
        check: called now and then with the number of rows compared in this round.
    """
    parts: dict[str, list[PoolRow]] = {}
    for row in rows:
        parts.setdefault(_frame(row), []).append(row)
    kept: list[PoolRow] = []
    pairs: list[tuple[str, str]] = []
    for own in parts.values():
        kept += _drop_near_in(own, pairs, check)
    examples = tuple(sorted(pairs)[:N_EXAMPLES])
    return in_order(kept), Dropped("near", len(pairs), examples)


def _frame(row: PoolRow) -> str:
    return content_key([turn.content for turn in row.case.messages if turn.role == "system"])


def _drop_near_in(
    rows: Sequence[PoolRow], pairs: list[tuple[str, str]], check: Check
) -> list[PoolRow]:
    """Return the rows that are left; append pairs of dropped and kept question.

    A round finds one near row of each. So rows that had one are looked at again, until none has.
    """
    kept, doubtful = list(rows), list(rows)
    for _ in range(_N_ROUNDS):
        near = _near_rows(kept, doubtful, check)
        gone: set[str] = set()
        for row in kept:
            other = next((one for one in near.get(row.key, ()) if one.key not in gone), None)
            if other is not None and not row.is_earlier:
                gone.add(row.key)
                pairs.append((row.case.input, other.case.input))
        doubtful = [row for row in kept if row.key in near and row.key not in gone]
        kept = [row for row in kept if row.key not in gone]
        if not gone:
            break
    return kept


def _near_rows(
    rows: Sequence[PoolRow], doubtful: Sequence[PoolRow], check: Check
) -> dict[str, list[PoolRow]]:
    """Return key -> rows before it that are near to it, as far as one pass finds them.

    Args:
        rows: all rows, the preferred ones first.
        doubtful: those of them that may have a near one.
        check: called now and then with the number of rows read.
    """
    place = {row.key: number for number, row in enumerate(rows, 1)}
    overlap = Overlap([LookedUp(asked_text(row.case), place[row.key]) for row in doubtful])
    asked = (
        TrainingRow(number, str(number), replace(row.case, expected_output=None, references=()))
        for number, row in enumerate(rows, 1)
    )
    for n_read in overlap.read(asked):
        check(n_read)
    near: dict[str, list[PoolRow]] = {}
    for row, found in zip(doubtful, overlap.matches, strict=True):
        mark = mark_question("", found)
        if mark.mark != "clean":
            first, second = sorted((place[row.key], int(mark.row)))
            near.setdefault(rows[first - 1].key, [])
            near.setdefault(rows[second - 1].key, []).append(rows[first - 1])
    return near


def require_train(files: Sequence[str]) -> None:
    """Check the training files before anything is read; errors name the option --train.

    Raises:
        UserError: as `require_training`.
    """
    try:
        require_training(files)
    except (DataError, OptionError) as error:
        raise type(error)(_own_words(error)) from error


def drop_overlap(
    rows: Sequence[PoolRow], files: Sequence[str], check: Check = _ignore
) -> tuple[list[PoolRow], Dropped]:
    """Return the rows that are neither copied from the training data nor near to it.

    Args:
        rows: the pool.
        files: the training data; empty for none.
        check: called now and then with the number of training rows read in this pass.

    Raises:
        UserError: when the training data cannot be read.
    """
    if not files:
        return list(rows), Dropped("overlap", 0)
    data = TrainingData(tuple(files))
    kept: list[PoolRow] = []
    pairs: list[tuple[str, str]] = []
    for at in range(0, len(rows), _N_CASES):
        some = rows[at : at + _N_CASES]
        try:
            cases = [row.original or row.case for row in some]
            marks = mark_cases(data, cases, check=check).marks
        except (DataError, OptionError) as error:
            raise type(error)(_own_words(error)) from error
        for row, mark in zip(some, marks, strict=True):
            if mark.mark == "clean":
                kept.append(row)
            else:
                pairs.append((row.case.input, f"{mark.row}: {mark.text} ({mark.why})"))
    examples = tuple(sorted(pairs)[:N_EXAMPLES])
    return kept, Dropped("overlap", len(pairs), examples, n_unread=data.n_unused)


def _own_words(error: Exception) -> str:
    return str(error).replace("--train_data", "--train")


def count_dropped(dropped: Sequence[Dropped], why: Why) -> int:
    """Return how many rows were dropped for a reason."""
    return sum(one.n for one in dropped if one.why == why)

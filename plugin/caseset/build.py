"""Build a set, step by step; each step is a function of what came before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from plugin.caseset.drawing import draw, give_sides
from plugin.caseset.files import digest_of, questions_digest
from plugin.caseset.personal import PersonalCount, mask_case, mask_row
from plugin.caseset.pool import PoolReader
from plugin.caseset.records import (
    Assumed,
    BuildRequest,
    CaseSet,
    Dropped,
    Pool,
    PoolRow,
    Side,
    TopicCount,
    has_topics,
)
from plugin.caseset.repeats import MOST_ROWS, drop_near, drop_overlap, drop_repeats, require_train
from plugin.caseset.sizes import effective_number, enough, needed_for, power_of
from plugin.caseset.synthetic import is_synthetic, questions_of_judge
from plugin.caseset.topics import find_topics
from plugin.caseset.words import cases_text, questions_text
from plugin.compare.numbers import format_count
from plugin.errors import DataError, OptionError
from plugin.records import SYNTHETIC

Check = Callable[[str, int], None]
"""Called now and then with the name of the step and how many rows it has done."""

Write = Callable[[Pool, Sequence[PoolRow]], Sequence[PoolRow]]
"""Given the pool and what is drawn from it, return what a judge wrote."""


def build(
    request: BuildRequest,
    assumed: Sequence[Assumed],
    earlier: Sequence[PoolRow] = (),
    check: Check = lambda step, n: None,
    write: Write | None = None,
) -> CaseSet:
    """Read the pool, drop what must not be in the set, find topics, draw, and split.

    Args:
        request: what was asked for.
        assumed: how much gains vary; the first one counts.
        earlier: cases of an earlier version, which stay in the set and on their sides.
        check: called now and then.
        write: has a judge write further questions; None for none.

    Raises:
        DataError: when the pool or the training data cannot be read, or too little is left.
        OptionError: when the request cannot be met.
    """
    require_train(request.train)
    real = [row for row in earlier if not is_synthetic(row)]
    pool = clean_pool(request, real, check)
    check("find topics", 0)
    shown = [replace(row, case=mask_case(row.case)) for row in pool.rows]  # topics have names
    found, notes = find_topics(shown, request)
    topics = {row.key: row.topic for row in found}
    pool = replace(pool, rows=tuple(replace(row, topic=topics[row.key]) for row in pool.rows))
    written = [row for row in earlier if is_synthetic(row)]
    return draw_set(request, pool, assumed, notes, written, write)


def clean_pool(request: BuildRequest, earlier: Sequence[PoolRow], check: Check) -> Pool:
    """Read the pool, and drop repeats, near-duplicates, and what stands in the training data.

    Raises:
        DataError: when less than two questions are left.
    """
    reader = PoolReader(
        request.pool, request.columns, request.input_template, request.keeps_answers
    )
    read = reader.rows(lambda n: check("read the pool", n))
    taken = map(mask_row, read) if request.masks else read
    wanted = (row for row in taken if row.case.id not in request.removed)
    most = max(MOST_ROWS, 2 * (request.n or 0))
    rows, repeated = drop_repeats(chain(earlier, wanted), most, request.seed)
    is_part = len(rows) >= most  # else no row was left out
    rows, near = drop_near(rows, lambda n: check("look for near-duplicates", n))
    rows, overlap = drop_overlap(
        rows, request.train, lambda n: check("compare with the training data", n)
    )
    pool = Pool(
        rows=tuple(rows),
        n_read=sum(reader.sources.values()),
        n_unusable=reader.n_unusable,
        sources=dict(reader.sources),
        dropped=(repeated, near, overlap),
        notes=(
            *(*reader.notes, *_notes_on(reader, request)),
            *(*_note_on_answers(repeated), *_note_on_training(overlap)),
            *_note_on_part(is_part, most),
        ),
    )
    if len(rows) < 2:
        raise DataError(_nothing_left(pool))
    return pool


def _notes_on(reader: PoolReader, request: BuildRequest) -> list[str]:
    notes = []
    if reader.n_unusable:
        notes.append(
            f"{format_count(reader.n_unusable, 'row', 'rows')} cannot be read as a question and "
            f"{'is' if reader.n_unusable == 1 else 'are'} left out; the first is {reader.first_bad}"
        )
    if reader.n_answers and request.keeps_answers:
        rows = format_count(reader.n_answers, "row", "rows")
        notes.append(
            f"The answers of {rows} become expected outputs. If a model wrote them, leave them out "
            "with --without_answers"
        )
    return notes


def _note_on_answers(repeated: Dropped) -> list[str]:
    n = repeated.n_contradicted
    if not n:
        return []
    kept = format_count(n, "question has", "questions have")
    return [f"{kept} repeats with another expected output; one of them was kept: look at these"]


def _note_on_training(overlap: Dropped) -> list[str]:
    if not overlap.n_unread:
        return []
    rows = format_count(overlap.n_unread, "row", "rows")
    return [f"{rows} of the training data cannot be read: the set may have questions of these"]


def _note_on_part(is_part: bool, most: int) -> list[str]:
    if not is_part:
        return []
    return [
        f"The pool has more than {most:,} different questions. So many of them, drawn at random, "
        "were looked at"
    ]


def _nothing_left(pool: Pool) -> str:
    """Return why there is no set, with what was dropped and the way out."""
    said = {
        "repeat": "repeat another one",
        "near": "are near-duplicates of another one",
        "overlap": "stand in the training data",
    }
    dropped = [f"{one.n:,} {said[one.why]}" for one in pool.dropped if one.n]
    left = "one question is left" if pool.rows else "no question is left"
    way_out = "Name more logs or questions"
    if not pool.rows:
        way_out += ", which the model was not trained on"
    rows = format_count(pool.n_read, "row", "rows")
    return f"of {rows} {left}: {', '.join(dropped) or 'that is all'}. {way_out}"


@dataclass(frozen=True, slots=True)
class _Drawing:
    """How cases are drawn and put on their sides."""

    request: BuildRequest
    rows: tuple[PoolRow, ...]

    def all_of(self, n: int) -> list[PoolRow]:
        """Return n cases with their sides."""
        request = self.request
        drawn = draw(self.rows, n, request.floor, request.seed)
        return give_sides(drawn, request.shares)

    def first_side(self, n: int) -> list[PoolRow]:
        """Return the cases of the first side, if n are drawn."""
        return [row for row in self.all_of(n) if row.side == self.request.shares[0][0]]


def draw_set(
    request: BuildRequest,
    pool: Pool,
    assumed: Sequence[Assumed],
    notes: Sequence[str] = (),
    written: Sequence[PoolRow] = (),
    write: Write | None = None,
) -> CaseSet:
    """Draw the cases, add those that a judge wrote, and split them.

    Args:
        request: what was asked for.
        pool: the real questions.
        assumed: how much gains vary.
        notes: what the reader must know already.
        written: what a judge wrote for an earlier version.
        write: has a judge write more; None for no more.

    Raises:
        OptionError: when an earlier version has more cases than are asked for, or a side is empty.
    """
    drawing, notes = _Drawing(request, pool.rows), list(notes)
    n_earlier = sum(row.is_earlier for row in pool.rows)
    n = request.n
    if n is None:
        wanted = needed_for(request.margin, assumed[0])
        n = max(n_earlier, enough(drawing.first_side, len(pool.rows), wanted, request.shares[0][1]))
        notes += _notes_on_size(drawing.first_side(n), wanted, len(pool.rows), request)
    if n < n_earlier:
        raise OptionError(
            f"--n {n}: the set in {request.out} has {n_earlier} cases, and they stay in it; give a "
            "larger --n, or another folder with --out"
        )
    notes += _notes_on_draw(request, pool, n)
    drawn, keys = drawing.all_of(n), {row.key for row in pool.rows}
    drawn += [row for row in written if row.key not in keys]
    if write is not None:
        drawn += give_sides(write(pool, drawn), request.shares)
    grouped = has_topics(request, pool.rows)
    sides = tuple(
        _side_of(name, share, [row for row in drawn if row.side == name], grouped)
        for name, share in request.shares
    )
    if empty := [side.name for side in sides if not side.rows]:
        raise OptionError(
            f"--split: none of the {len(drawn)} cases falls on {', '.join(empty)}; draw more cases "
            "(--n), or leave --split out"
        )
    real = [row for row in sides[0].rows if not is_synthetic(row)]
    powers = tuple(power_of(real, one, request.margin) for one in assumed)
    if n_written := sum(map(is_synthetic, drawn)):
        notes.append(
            f"{questions_of_judge(n_written)} in the group {SYNTHETIC!r}: reports show them apart, "
            "and they do not count in what the set finds"
        )
    notes += PersonalCount.of(drawn).lines(request.masks)
    return CaseSet(request, sides, _count_topics(request, pool, drawn), pool, powers, tuple(notes))


def _notes_on_draw(request: BuildRequest, pool: Pool, n: int) -> list[str]:
    """Return notes where pool or topics do not allow what was asked for."""
    notes = []
    if n > len(pool.rows):
        notes.append(f"--n {n:,}: the pool has only {questions_text(len(pool.rows))}")
    n_topics = len({row.topic for row in pool.rows})
    if request.floor * n_topics > n:
        notes.append(
            f"--floor {request.floor}: {cases_text(n)} in {n_topics} topics leave room for "
            f"{n // n_topics} each"
        )
    return notes


def _notes_on_size(
    first: Sequence[PoolRow], wanted: int, n_pool: int, request: BuildRequest
) -> list[str]:
    """Return a note where even the whole pool does not find the margin."""
    if effective_number(first) >= wanted:
        return []
    return [
        f"A gain of {request.margin:g} needs {cases_text(wanted)}, and the pool has only "
        f"{questions_text(n_pool)}. Name more logs, or accept a larger margin"
    ]


def _side_of(name: str, share: float, rows: Sequence[PoolRow], grouped: bool) -> Side:
    digest = digest_of(rows, grouped)
    return Side(name, share, tuple(rows), digest, questions_digest(rows))


def _count_topics(
    request: BuildRequest, pool: Pool, drawn: Sequence[PoolRow]
) -> tuple[TopicCount, ...]:
    names = dict.fromkeys(row.topic for row in pool.rows)
    found = []
    for name in names:
        own = [row for row in drawn if row.topic == name]
        n_pool = sum(row.topic == name for row in pool.rows)
        shown = own or [row for row in pool.rows if row.topic == name]
        examples = tuple(row.case.input for row in shown[:2])
        n_written = sum(map(is_synthetic, own))
        found.append(TopicCount(name, n_pool, len(own), examples, request.floor, n_written))
    return tuple(sorted(found, key=lambda one: (-one.n_pool, one.name)))


def dropped_of(pool: Pool, why: str) -> Dropped:
    """Return what was dropped for a reason."""
    return next(one for one in pool.dropped if one.why == why)

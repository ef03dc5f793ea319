"""The set in words: what was dropped, how topics are covered, and what the set can find."""

from __future__ import annotations

from collections.abc import Iterator

from plugin.caseset.files import Earlier
from plugin.caseset.records import WHOLE, CaseSet, Dropped, Pool, Power
from plugin.compare.numbers import format_count, format_number

_WIDTH = 60
"""Characters of a question that are shown."""

_DROPPED = {
    "repeat": ("repeats another question", "repeat another question"),
    "near": ("is a near-duplicate of another question", "are near-duplicates of another question"),
    "overlap": (
        "stands in the training data, or is near to it",
        "stand in the training data, or are near to it",
    ),
}


def lines_of(made: CaseSet) -> Iterator[str]:
    """Yield what a terminal shows of a finished set."""
    pool, has_earlier = made.pool, made.has_earlier
    for note in (*pool.notes, *made.notes):
        yield f"note: {note}"
    yield read_text(pool)
    for dropped in pool.dropped:
        if dropped.n:
            yield f"  dropped: {dropped_text(dropped, has_earlier)}"
    yield f"{drawn_text(made)} (pool -> set):"
    width = max(len(short(one.name, 40)) for one in made.topics)
    for one in made.topics:
        few = f" (the pool has less than {one.floor})" if one.n_pool < one.floor else ""
        more = f" ({one.n_written:,} written by a judge)" if one.n_written else ""
        yield f"  {short(one.name, 40):{width}}  {one.n_pool:>6,} -> {one.n_set:,}{more}{few}"
    if made.sides[0].name != WHOLE:
        yield "Sides: " + ", ".join(f"{side.name} {len(side.rows):,}" for side in made.sides)
    yield from power_lines(made)


def read_text(pool: Pool) -> str:
    """Return how many rows were read, and what is left of them."""
    rows = format_count(pool.n_read, "row", "rows")
    return f"{rows} read, {questions_text(len(pool.rows))} left"


def drawn_text(made: CaseSet) -> str:
    """Return how many cases were drawn, from how many topics."""
    topics = format_count(len(made.topics), "topic", "topics")
    return f"{cases_text(len(made.rows))} drawn, from {topics}"


def cases_text(n: int) -> str:
    """Return a number of cases."""
    return format_count(n, "case", "cases")


def questions_text(n: int) -> str:
    """Return a number of questions that are not alike."""
    return format_count(n, "different question", "different questions")


def dropped_text(dropped: Dropped, has_earlier: bool) -> str:
    """Return how many rows were dropped, and why; some may repeat cases of an earlier version."""
    one, many = _DROPPED[dropped.why]
    more = ", or a case that the set has" if has_earlier and dropped.why == "repeat" else ""
    return f"{dropped.n:,} {one if dropped.n == 1 else many}{more}"


def power_lines(made: CaseSet) -> Iterator[str]:
    """Yield what the first side can find, before anyone labels it."""
    side, first = made.sides[0], made.powers[0]
    where = "" if side.name == WHOLE else f"{side.name}: "
    clusters = ""
    if first.effective < first.n - 0.5:
        clusters = f", which count for {first.effective:.0f} because some share a cluster"
    yield f"{where}{cases_text(first.n)}{clusters}. {gain_text(first)}"
    yield needed_text(first)
    if others := [_if_assumed(one) for one in made.powers[1:]]:
        yield f"The smallest gain would be {', and '.join(others)}."


def _if_assumed(power: Power) -> str:
    gain = "out of reach" if power.gain is None else f"{power.gain:.3f}"
    return f"{gain} with {power.assumed.why}"


def gain_text(power: Power) -> str:
    """Return which gain is found, in a sentence."""
    if power.gain is None:
        return "They are too few to find any gain of a score from 0 to 1."
    return f"The smallest gain that they find four times out of five is {power.gain:.3f}."


def needed_text(power: Power) -> str:
    """Return what was assumed, and how many cases find the margin."""
    return (
        f"Assumed: {power.assumed.why} (SD {format_number(power.assumed.sd)}). A gain of "
        f"{power.margin:g} needs {cases_text(power.needed)}."
    )


def change_text(made: CaseSet, earlier: Earlier) -> str:
    """Return what the new version has that the earlier one had not."""
    before, now = {row.key for row in earlier.rows}, {row.key for row in made.rows}
    edited = f"; the files were edited since version {earlier.version} was built"
    return (
        f"Version {earlier.version + 1}: {len(now - before):,} added, {len(before - now):,} "
        f"dropped, {len(before & now):,} kept{edited if earlier.is_edited else ''}. Version "
        f"{earlier.version} is in v{earlier.version}"
    )


def short(text: str, width: int = _WIDTH) -> str:
    """Return a text on one line, cut."""
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width - 3]}..."

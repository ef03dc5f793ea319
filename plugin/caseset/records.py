"""What is asked for, the rows of the pool, and the finished set, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from plugin.load.columns import Columns
from plugin.records import Case

WHOLE = "cases"
"""The only side of a set that is not split; its file is cases.jsonl."""

ONE_TOPIC = "all questions"
"""The topic of a pool in which none are looked for."""

Why = Literal["repeat", "near", "overlap"]
"""Why a row was dropped: it repeats another one, is nearly one, or stands in the training data."""


@dataclass(frozen=True, slots=True)
class Assumed:
    """How much the gain is assumed to vary from case to case.

    Attributes:
        sd: standard deviation of the gains, case by case.
        why: where the number comes from, in words.
    """

    sd: float
    why: str


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """What a person asked for.

    Attributes:
        pool: files and folders with logs or questions.
        out: the folder of the set.
        train: files with training data; nothing of it may be in the set.
        n: cases to draw; None for as many as the margin needs.
        margin: the smallest gain that matters.
        shares: name and share of each side, in order; one side for a set that is not split.
        n_topics: how many topics to look for; None for a number that follows from the pool's size.
        floor: the least cases of a topic.
        by_group: whether the group of a case is its topic.
        keeps_answers: whether answers in the pool become expected outputs.
        masks: whether personal data in the texts are replaced.
        seed: of topics and draw. Sides do not depend on it.
        removed: ids of questions that somebody took out of an earlier version.
        columns: names of the columns.
        input_template: builds the question from several columns; "" for none.
    """

    pool: tuple[str, ...]
    out: str
    train: tuple[str, ...] = ()
    n: int | None = None
    margin: float = 0.05
    shares: tuple[tuple[str, float], ...] = ((WHOLE, 1.0),)
    n_topics: int | None = None
    floor: int = 5
    by_group: bool = False
    keeps_answers: bool = True
    masks: bool = False
    seed: int = 0
    removed: frozenset[str] = frozenset()
    columns: Columns = Columns()
    input_template: str = ""


@dataclass(frozen=True, slots=True)
class PoolRow:
    """A row of the pool.

    Attributes:
        case: the question; its id is made of its content.
        place: where it stands, such as "logs.jsonl, row 7".
        key: digest of the conversation as `load.repeats` folds it.
        rank: 0 to 1, made of the cluster's name, else of the content. It decides the side, and
            which of two rows that are alike is kept: the lower one.
        topic: "" until topics are found.
        side: the side that it is on; "" until it is drawn, unless an earlier version had it.
        position: where an earlier version of the set has it.
        source: where that version found it; "" for a new row.
        original: the case before personal data were masked; None where they are not.
    """

    case: Case
    place: str
    key: str
    rank: float
    topic: str = ""
    side: str = ""
    position: int = 0
    source: str = ""
    original: Case | None = None

    @property
    def is_earlier(self) -> bool:
        """Return whether an earlier version of the set has this case."""
        return self.place == EARLIER


EARLIER = "earlier version"
"""The place of a case that an earlier version of the set has."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """Rows that were dropped for one reason.

    Attributes:
        n: how many.
        examples: pairs of the question and what it is like, or where that stands.
        n_contradicted: questions of which a repeat had another expected output.
        n_unread: rows of the training data that could not be read.
    """

    why: Why
    n: int
    examples: tuple[tuple[str, str], ...] = ()
    n_contradicted: int = 0
    n_unread: int = 0


@dataclass(frozen=True, slots=True)
class Pool:
    """What is left of the pool after a step, and what was dropped on the way.

    Attributes:
        rows: what is left, by rank; rows of an earlier version come first.
        n_read: usable rows that were read.
        n_unusable: rows that could not be read as a case.
        sources: file -> usable rows in it.
        dropped: one entry per reason.
        notes: what the reader must know, a sentence each.
    """

    rows: tuple[PoolRow, ...]
    n_read: int
    n_unusable: int = 0
    sources: Mapping[str, int] = field(default_factory=dict)
    dropped: tuple[Dropped, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TopicCount:
    """How one topic is covered.

    Attributes:
        name: its heaviest words, or the name of the group.
        n_pool: rows of the pool after everything was dropped.
        n_set: cases of the set.
        examples: two questions.
        floor: the least that was asked for, if the pool has it.
        n_written: how many of these cases a judge wrote.
    """

    name: str
    n_pool: int
    n_set: int
    examples: tuple[str, ...]
    floor: int
    n_written: int = 0


@dataclass(frozen=True, slots=True)
class Power:
    """What a set can find: the smallest gain four times out of five, at the 5% level.

    Attributes:
        n: cases.
        effective: for how many independent cases they count; less than n with clusters.
        assumed: the spread of the gains.
        gain: the smallest gain; None where not even the largest would be found.
        margin: the smallest gain that matters.
        needed: independent cases that find the margin.
    """

    n: int
    effective: float
    assumed: Assumed
    gain: float | None
    margin: float
    needed: int


@dataclass(frozen=True, slots=True)
class Side:
    """One side of the set, in a file of its own.

    Attributes:
        name: its file is name.jsonl.
        share: of the cases, as asked for.
        rows: its cases.
        digest: what a run on this file calls the data set's content.
        questions_digest: of the questions alone, in any order; it stays when answers are added.
    """

    name: str
    share: float
    rows: tuple[PoolRow, ...]
    digest: str
    questions_digest: str


@dataclass(frozen=True, slots=True)
class CaseSet:
    """A finished set.

    Attributes:
        request: what was asked for.
        sides: in the order of the request.
        topics: the largest first.
        pool: what it was drawn from.
        powers: what the first side finds, for several spreads; the first is the one that counts.
        notes: what the reader must know, a sentence each.
    """

    request: BuildRequest
    sides: tuple[Side, ...]
    topics: tuple[TopicCount, ...]
    pool: Pool
    powers: tuple[Power, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def has_topics(self) -> bool:
        """Return whether topics were found in the texts; each is then the group of its cases."""
        return has_topics(self.request, self.pool.rows)

    @property
    def has_earlier(self) -> bool:
        """Return whether this is a further version of a set."""
        return any(row.is_earlier for row in self.pool.rows)

    @property
    def rows(self) -> tuple[PoolRow, ...]:
        """Return the cases of all sides."""
        return tuple(row for side in self.sides for row in side.rows)


def has_topics(request: BuildRequest, rows: Sequence[PoolRow]) -> bool:
    """Return whether topics were found in the texts of these rows."""
    return not request.by_group and {row.topic for row in rows} != {ONE_TOPIC}

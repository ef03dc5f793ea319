"""Choose what a rating page asks, in an order of its own for each rater, and keep the key.

An item is a pair of answers, one answer on one metric, or the judge's reason for a score. A page
names its items by opaque ids. What they stand for is known to the journal alone, so that nobody can
read from a page which model wrote an answer.
"""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from plugin.cache import content_key
from plugin.compare.relative import judged_contrasts
from plugin.errors import OptionError
from plugin.journal import Journal
from plugin.metrics import METRICS
from plugin.metrics.entry import Criterion, PreferenceGuide
from plugin.metrics.preference import CRITERION
from plugin.records import Case, MetricSpec
from plugin.run_facts import PageItem
from plugin.trust.exam import is_own_criterion
from plugin.trust.humans import completion_digest, rateable_metrics

N_STEPS = 5
"""Values that a rater may give an answer on a metric, from worst to best."""

MAX_RATERS = 100
_LONGEST_NAME = 100
_JOINERS = "\u200c\u200d"
"""Characters that nobody sees, and that some scripts need between two letters."""

_UNSEEN = dict.fromkeys(
    code
    for first, last in (
        *((0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5)),
        *((0x180B, 0x180F), (0x200B, 0x200B), (0x200E, 0x200F), (0x202A, 0x202E)),
        *((0x2060, 0x206F), (0x2800, 0x2800), (0x3164, 0x3164), (0xFE00, 0xFE0F)),
        *((0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFFB), (0x1BCA0, 0x1BCA3)),
        *((0x1D173, 0x1D17A), (0xE0000, 0xE0FFF)),
    )
    for code in range(first, last + 1)
)
"""Characters that nobody sees (Default_Ignorable_Code_Point of Unicode, and the empty Braille
cell), among them those that turn the direction of text; rate.js has the same ones."""


@dataclass(frozen=True, slots=True)
class Part:
    """Items of one kind that answer one question.

    Attributes:
        question: what the rater is asked.
        spec: the metric; None for pairs.
        items: the case id and digests of each item: (variant, baseline) for a pair, else one.
        shows_expected: whether raters see the expected output, as the judge does.
        shows_context: whether they see the context.
        said: (case id, digest) -> score and reason of the judge, for checks of reasons.
    """

    kind: Literal["pair", "single", "reason"]
    question: str
    spec: MetricSpec | None
    items: tuple[tuple[str, tuple[str, ...]], ...]
    shows_expected: bool
    shows_context: bool
    said: Mapping[tuple[str, str], tuple[float, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RatingPage:
    """What one rater is asked.

    Attributes:
        id: opaque; follows from what is shown, so that the same page has the same id.
        parts: for each part its items, in the order in which they are shown.
    """

    id: str
    rater: str
    parts: tuple[tuple[PageItem, ...], ...]


@dataclass(frozen=True, slots=True)
class Drawn:
    """The drawn cases with their answers.

    Attributes:
        cases: in any order.
        digests: (case id, variant) -> the digest of its completion.
        texts: (case id, digest) -> the completion, without its thoughts.
    """

    cases: tuple[Case, ...]
    digests: Mapping[tuple[str, str], str]
    texts: Mapping[tuple[str, str], str]

    @classmethod
    def of(cls, journal: Journal, cases: Iterable[Case]) -> Drawn:
        """Return the cases with the run's completions."""
        own = {case.id: case for case in cases}
        made = {place: one for place, one in journal.answers().items() if place[0] in own}
        digests = {place: completion_digest(one) for place, one in made.items()}
        texts = {(place[0], digests[place]): one.text for place, one in made.items()}
        return cls(tuple(own.values()), digests, texts)


def pair_part(
    drawn: Drawn, names: Sequence[str], guide: PreferenceGuide | None, *, all_pairs: bool
) -> Part:
    """Return the pairs of answers that differ.

    Args:
        drawn: the cases.
        names: the variants, the base first.
        guide: how the judge compares completions in this run; None if it does not. Then raters see
            all that is known of a case.
        all_pairs: whether the other variants are compared with each other, too.
    """
    items = dict[tuple[str, frozenset[str]], tuple[str, tuple[str, ...]]]()
    for variant, baseline in judged_contrasts(names, all_pairs=all_pairs):
        for case in drawn.cases:
            shown = drawn.digests[case.id, variant], drawn.digests[case.id, baseline]
            if shown[0] != shown[1]:
                items.setdefault((case.id, frozenset(shown)), (case.id, shown))
    return Part(
        kind="pair",
        question=(guide.criterion if guide else "") or CRITERION,
        spec=None,
        items=tuple(items.values()),
        shows_expected=guide is None or guide.shows_reference,
        shows_context=guide is None,
    )


def answer_parts(
    drawn: Drawn, specs: Sequence[MetricSpec], criteria: Sequence[Criterion]
) -> list[Part]:
    """Return the answers to score, metric by metric; equal answers to a case are one.

    Args:
        drawn: the cases.
        specs: the metrics of the run.
        criteria: the user's own.
    """
    return [
        Part(
            kind="single",
            question=_question(spec, criteria),
            spec=spec,
            items=tuple((case_id, (digest,)) for case_id, digest in _answers(drawn, spec)),
            shows_expected=_shows_expected(spec),
            shows_context="context" in spec.needs,
        )
        for spec in rateable_metrics(specs)
        if _answers(drawn, spec)
    ]


def reason_part(
    drawn: Drawn,
    specs: Sequence[MetricSpec],
    criteria: Sequence[Criterion],
    journal: Journal,
    seed: int,
) -> Part | None:
    """Return reasons of the judge: of every case one, on the first metric that has any.

    Args:
        drawn: the cases.
        specs: the metrics of the run, the primary metric first.
        criteria: the user's own.
        journal: has what the judge said.
        seed: draws whose answer it is; all raters check the same reasons.
    """
    for spec in rateable_metrics(specs):
        said = dict[tuple[str, str], tuple[float, str]]()
        for score in journal.scores():
            digest = drawn.digests.get((score.case_id, score.variant))
            if score.metric == spec.name and digest and score.reason:
                said.setdefault((score.case_id, digest), (score.value, score.reason))
        if said:
            places = sorted(said)
            random.Random(f"reasons {seed}").shuffle(places)
            chosen = {case_id: (digest,) for case_id, digest in places}
            return Part(
                kind="reason",
                question=_question(spec, criteria),
                spec=spec,
                items=tuple(chosen.items()),
                shows_expected=_shows_expected(spec),
                shows_context="context" in spec.needs,
                said=said,
            )
    return None


def _answers(drawn: Drawn, spec: MetricSpec) -> list[tuple[str, str]]:
    fitting = {case.id for case in drawn.cases if spec.fits(case)}
    return [place for place in drawn.texts if place[0] in fitting]


def _shows_expected(spec: MetricSpec) -> bool:
    """Return whether the judge sees the expected output of the cases that have one."""
    is_shown = "expected_output" in spec.needs or spec.key in ("rubric", "turn_rating")
    return is_shown or is_own_criterion(spec)


def _question(spec: MetricSpec, criteria: Sequence[Criterion]) -> str:
    own = next((one for one in criteria if one.name == spec.name), None)
    if own is not None:
        return own.description or "\n".join(own.evaluation_steps) or own.name
    entry = METRICS.get(spec.key)
    return (entry.question if entry else "") or f"How good is the answer in {spec.name}?"


def make_page(run_id: str, parts: Sequence[Part], rater: str, seed: int) -> RatingPage:
    """Return one rater's page: items and sides in an order of their own.

    Each variant stands on either side equally often, as far as the number of pairs allows.

    Args:
        run_id: the run's.
        parts: what is asked.
        rater: the name; draws the order together with the seed.
        seed: the seed of the draw.
    """
    dice = random.Random(f"page {seed} {rater}")
    in_order = [_shuffled(part, dice) for part in parts]
    told = [
        [part.kind, part.spec.name if part.spec else "", part.question, items]
        for part, items in zip(parts, in_order, strict=True)
    ]
    page = content_key("page", run_id, rater, told)[:16]
    numbered = iter(range(sum(len(items) for items in in_order)))
    return RatingPage(
        page,
        rater,
        tuple(
            tuple(
                PageItem(
                    item=content_key("item", page, next(numbered))[:16],
                    page=page,
                    kind=part.kind,
                    case_id=case_id,
                    metric=part.spec.name if part.spec else "",
                    shown=shown,
                )
                for case_id, shown in items
            )
            for part, items in zip(parts, in_order, strict=True)
        ),
    )


def _shuffled(part: Part, dice: random.Random) -> list[tuple[str, tuple[str, ...]]]:
    """Return the items in random order; of every two pairs in a row one is turned round."""
    items = list(part.items)
    if part.kind == "pair":
        for start in range(0, len(items), 2):
            place = start + dice.randrange(2)
            if place < len(items):
                case_id, (variant, baseline) = items[place]
                items[place] = case_id, (baseline, variant)
    dice.shuffle(items)
    return items


def rater_names(text: str) -> tuple[str, ...]:
    """Return the raters that an option names: a number of them, or names with commas between.

    Raises:
        OptionError: when there are none, too many, or two of one name.
    """
    given = text.strip()
    if given.isascii() and given.isdigit():
        if not 1 <= int(given[:9]) <= MAX_RATERS:
            raise OptionError(f"--raters {given}: give a number from 1 to {MAX_RATERS}, or names")
        return tuple(f"rater {number}" for number in range(1, int(given) + 1))
    names = [part.strip() for part in given.split(",") if part.strip()]
    problems = [f"{name!r} {why}" for name in names if (why := why_no_name(name))]
    known = [name_key(name) for name in names]
    problems += [f"{n!r} stands there twice" for i, n in enumerate(names) if known[i] in known[:i]]
    if not 1 <= len(names) <= MAX_RATERS:
        problems.append(f"give a number from 1 to {MAX_RATERS}, or so many names at most")
    if problems:
        raise OptionError(f"--raters {text}: {'; '.join(problems)}")
    return tuple(map(clean_name, names))


def clean_name(name: str) -> str:
    """Return a rater's name without white space around it and without what nobody sees."""
    return " ".join(unicodedata.normalize("NFC", name.translate(_UNSEEN)).split())


def name_key(name: str) -> str:
    """Return what two spellings of one rater's name have in common."""
    return unicodedata.normalize("NFKC", _without_joiners(clean_name(name))).casefold()


def _without_joiners(name: str) -> str:
    return "".join(char for char in name if char not in _JOINERS)


def why_no_name(name: str) -> str:
    """Return why this cannot be a rater's name; "" if it can."""
    cleaned = clean_name(name)
    if not _without_joiners(cleaned).strip():
        return "is no name: it has no letter that can be seen"
    if len(cleaned) > _LONGEST_NAME:
        return f"is longer than {_LONGEST_NAME} characters"
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in cleaned):
        return "has characters that nobody can read"
    return ""

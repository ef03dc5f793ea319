"""Human ratings: what they are, and a template for them of cases drawn at random.

A rating belongs to a case, a completion (by its digest), a metric and a rater. The template does
not say whose completion a row shows, so that nobody rates a name.
"""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from plugin.cache import content_key
from plugin.errors import OptionError
from plugin.exam import can_probe
from plugin.journal import Journal
from plugin.records import Case, Completion, MetricSpec

TEMPLATE = "ratings_template.csv"
_COLUMNS = "case_id metric completion_digest input output expected_output rating rater".split()
_RATINGS, _DRAWN = "ratings", "ratings_drawn"


@dataclass(frozen=True, slots=True)
class Rating:
    """What one human gave one completion on one metric, in the metric's own unit and direction."""

    case_id: str
    digest: str
    metric: str
    rater: str
    value: float


def digest_of(completion: Completion) -> str:
    """What a rating names a completion by; begins with letters, or a spreadsheet makes numbers."""
    return f"out-{content_key(completion.case_id, completion.text)[:16]}"


def rated_in(journal: Journal) -> tuple[Rating, ...]:
    """The ratings that the journal holds."""
    return tuple(Rating(**row) for row in journal.meta(_RATINGS) or ())


def keep(ratings: Sequence[Rating], journal: Journal) -> None:
    """Put these ratings in the place of all that the journal holds."""
    journal.set_meta(_RATINGS, [asdict(rating) for rating in ratings])


def drawn_in(journal: Journal) -> frozenset[str]:
    """The ids of the cases that were drawn at random for rating."""
    return frozenset(journal.meta(_DRAWN) or ())


def rateable(specs: Iterable[MetricSpec]) -> list[MetricSpec]:
    """The metrics on which humans can check the judge."""
    return [spec for spec in specs if can_probe(spec)]


def template(
    cases: Sequence[Case],
    completions: Mapping[tuple[str, str], Completion],
    specs: Sequence[MetricSpec],
    seed: int,
) -> str:
    """The template as CSV text: metric by metric, the first one's rows first, in random order.

    Completions of a case that are the same text are one row.

    Args:
        cases: those to be rated.
        completions: (case id, variant) -> completion.
        specs: the metrics, the one that decides first.
        seed: of the order of rows.
    """
    by_id = {case.id: case for case in cases}
    texts = {
        (case_id, digest_of(completion)): completion.text
        for (case_id, _), completion in sorted(completions.items())
        if case_id in by_id
    }
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for spec in specs:
        places = list(texts)
        random.Random(f"order {seed} {spec.name}").shuffle(places)
        for case_id, digest in places:
            case = by_id[case_id]
            if all(getattr(case, need) for need in spec.needs):
                shown = case.input, texts[case_id, digest], case.expected_output or ""
                writer.writerow([case_id, spec.name, digest, *map(_shown, shown), "", ""])
    return file.getvalue()


def export(
    journal: Journal, specs: Sequence[MetricSpec], n: int, seed: int, folder: Path
) -> tuple[Path, int]:
    """Draw cases, record the draw in the journal, and write the template into the run's folder.

    Drawn are cases that every variant has completed. A second draw adds to the first.

    Returns:
        The file, and how many cases it holds.

    Raises:
        OptionError: when there is nothing to rate, or a template lies there already.
    """
    path = folder / TEMPLATE
    asked = rateable(specs)
    completions = journal.completions()
    variants = {variant["name"] for variant in journal.meta("variants") or ()}
    whole = [
        case
        for case in journal.cases()
        if variants and all((case.id, name) in completions for name in variants)
    ]
    if not asked or not whole:
        what = "no case has completions of all variants yet" if asked else "no metric asked a judge"
        raise OptionError(f"{folder}: there is nothing to rate: {what}")
    if path.exists():
        raise OptionError(
            f"{path} is there already and may hold somebody's ratings; rate that one, or move it "
            "away to draw anew"
        )
    drawn = random.Random(f"ratings {seed}").sample(whole, min(n, len(whole)))
    text = template(drawn, completions, asked, seed)
    # A byte-order mark tells spreadsheets that this is UTF-8.
    path.write_bytes(b"\xef\xbb\xbf" + text.encode("utf-8", "backslashreplace"))
    journal.set_meta(_DRAWN, sorted(drawn_in(journal) | {case.id for case in drawn}))
    return path, len(drawn)


def _shown(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text

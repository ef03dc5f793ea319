"""Ask people what they think of a run's answers: draw cases, write a template or rating pages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from plugin.compare.numbers import format_count
from plugin.errors import OptionError
from plugin.hosts import Host
from plugin.journal import Journal
from plugin.plan.params_scoring import ALL_PAIRS
from plugin.records import MetricSpec, PreferenceGuide
from plugin.reopen import open_run, parse_params
from plugin.report.rating_page import render_rating_page
from plugin.terminal import shell_word
from plugin.trust.humans import draw_cases, export_ratings, rateable_metrics, with_draw
from plugin.trust.rater_stats import MIN_LABELS
from plugin.trust.rating_files import require_one_sample
from plugin.trust.rating_items import (
    Drawn,
    Part,
    answer_parts,
    make_page,
    pair_part,
    rater_names,
    reason_part,
)

PAIRS, ANSWERS = "pairs", "answers"


@dataclass(frozen=True, slots=True)
class RatingRequest:
    """What the user wants people to rate.

    Attributes:
        n: number of cases to draw.
        seed: seed of the draw, and of the order on each page.
        page: whether to write rating pages instead of the CSV template.
        kind: `PAIRS` or `ANSWERS`; None: pairs where there are two variants.
        reasons: whether raters check the judge's reasons, too.
        raters: a number of raters, or their names with commas between; None for one.
    """

    n: int
    seed: int
    page: bool = False
    kind: str | None = None
    reasons: bool = False
    raters: str | None = None


def draw_for_rating(folder: Path, request: RatingRequest, host: Host) -> None:
    """Draw cases at random, record the draw, and write what people need to rate them.

    Raises:
        OptionError: when the folder holds no run, or nothing that people could rate; when an option
            has a value that cannot work.
    """
    if request.n < 1:
        raise OptionError(f"--n {request.n}: draw at least one case, such as --n 50")
    for_page = {"kind": request.kind, "reasons": request.reasons, "raters": request.raters}
    if lost := [f"--{name}" for name, given in for_page.items() if given and not request.page]:
        raise OptionError(f"{', '.join(lost)}: this is for rating pages; add --page")
    raters = rater_names("1" if request.raters is None else request.raters)
    with closing(open_run(folder, to_write=True)) as journal:
        journal.lock()
        require_one_sample(journal)
        if request.page:
            n_drawn = _write_pages(journal, request, raters, host)
        else:
            n_drawn = _write_template(journal, request, host)
    if n_drawn < MIN_LABELS:
        host.log(
            f"note: with fewer than {MIN_LABELS} rated cases the corrected gain has no interval"
        )


def _write_template(journal: Journal, request: RatingRequest, host: Host) -> int:
    """Write the CSV template, say how to go on, and return the number of drawn cases."""
    folder, specs = journal.path.parent, journal.header.metrics
    path, n_drawn = export_ratings(journal, specs, request.n, request.seed, folder)
    host.log(
        f"{n_drawn} cases drawn: {path}\nFill in the columns rating (on the metric's own scale, "
        f"{'; '.join(map(_scale_text, rateable_metrics(specs)))}) and rater; rows may stay empty.\n"
        f"Then: python main.py report {shell_word(folder)} --human_ratings "
        f"{shell_word(path)}"
    )
    return n_drawn


def _scale_text(spec: MetricSpec) -> str:
    return f"{spec.name}: {spec.worst:g} is worst, {spec.best:g} is best"


def _write_pages(
    journal: Journal, request: RatingRequest, raters: Sequence[str], host: Host
) -> int:
    """Write a page for each rater, say how to go on, and return the number of drawn cases."""
    folder, header = journal.path.parent, journal.header
    drawn = Drawn.of(journal, draw_cases(journal, request.n, request.seed))
    parts = _parts(journal, request, drawn)
    pages = [make_page(header.run_id, parts, rater, request.seed) for rater in raters]
    state = with_draw(journal.state, drawn.cases)
    known = {item.item for item in state.page_items}
    fresh = [item for page in pages for own in page.parts for item in own if item.item not in known]
    # The key comes first: a page without its key could never be read.
    journal.save_state(replace(state, page_items=(*state.page_items, *fresh)))
    paths = [folder / f"rate-{name}.html" for name in _file_names(raters)]
    for path, page in zip(paths, pages, strict=True):
        path.write_text(render_rating_page(page, parts, drawn), encoding="utf-8", newline="\n")
    n_items = sum(len(part.items) for part in parts)
    written = "\n".join(map(str, paths))
    host.log(
        f"{format_count(len(drawn.cases), 'case', 'cases')} drawn, "
        f"{format_count(n_items, 'item', 'items')} on each page ({_counts(parts)}):\n{written}\n"
        "Send each rater a page of their own; it opens in any browser and needs no network. They "
        f"send back what it downloads.\nThen: python main.py report {shell_word(folder)} "
        "--human_ratings FILE ..."
    )
    return len(drawn.cases)


def _parts(journal: Journal, request: RatingRequest, drawn: Drawn) -> list[Part]:
    """Return what the pages ask.

    Raises:
        OptionError: when there is nothing of what the user wants.
    """
    header, params = journal.header, parse_params(journal)
    names = [variant.name for variant in header.variants]
    kind = request.kind or (PAIRS if len(names) > 1 else ANSWERS)
    where = f"{journal.path.parent}: there is nothing to rate:"
    parts = list[Part]()
    if kind == PAIRS:
        if len(names) < 2:
            raise OptionError(f"{where} the run has one variant, and no pairs; use --kind answers")
        guide = None
        if any(spec.is_relative for spec in header.metrics):
            guide = PreferenceGuide(params.preference_criteria, params.preference_reference)
        pairs = pair_part(drawn, names, guide, all_pairs=params.pairs == ALL_PAIRS)
        if not pairs.items:
            raise OptionError(f"{where} both answers are equal in every case that was drawn")
        parts.append(pairs)
    else:
        parts += answer_parts(drawn, header.metrics, params.tasks)
        if not parts:
            raise OptionError(f"{where} no metric asked a judge about single answers")
    if request.reasons:
        reasons = reason_part(drawn, header.metrics, params.tasks, journal, request.seed)
        if reasons is None:
            raise OptionError(
                f"{where} the judge gave no reasons for scores of single answers; leave out "
                "--reasons"
            )
        parts.append(reasons)
    return parts


def _counts(parts: Sequence[Part]) -> str:
    """Return how many items there are of each kind."""
    words = {
        "pair": ("pair", "pairs"),
        "single": ("answer to score", "answers to score"),
        "reason": ("reason to check", "reasons to check"),
    }
    counts = dict.fromkeys((part.kind for part in parts), 0)
    for part in parts:
        counts[part.kind] += len(part.items)
    return ", ".join(format_count(n, *words[kind]) for kind, n in counts.items())


def _file_names(raters: Iterable[str]) -> list[str]:
    """Return a name for each rater's file that every file system takes."""
    names = list[str]()
    for rater in raters:
        plain = re.sub(r"[^\w.-]+", "-", rater).strip("-.")[:40] or "rater"
        taken = {name.casefold() for name in names}
        free = (f"{plain}-{number}" for number in range(2, len(names) + 3))
        names.append(
            plain
            if plain.casefold() not in taken
            else next(name for name in free if name.casefold() not in taken)
        )
    return names

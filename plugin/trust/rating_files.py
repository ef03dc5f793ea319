"""Read what people rated: filled-in templates and files of rating pages, several of them mixed.

Either every file fits the run, or one message lists everything that is wrong and none is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from plugin.compare.numbers import format_count
from plugin.errors import OptionError
from plugin.journal import Journal
from plugin.run_facts import HumanChoice, Rating, ReasonCheck, RunState
from plugin.trust.page_copies import find_copies
from plugin.trust.rated_csv import RatingRow, RowChecker, read_rows
from plugin.trust.rated_page import Found, PageChecker, PageFile, read_page
from plugin.trust.rating_items import name_key

_MAX_PROBLEMS = 20
_MOST_NAMED = 10


@dataclass(frozen=True, slots=True)
class RatedFile:
    """What a file holds: the rows of a template, or the answers to a page."""

    path: Path
    held: tuple[RatingRow, ...] | PageFile


def read_rating_files(paths: Sequence[str]) -> tuple[RatedFile, ...]:
    """Read files of people's ratings: CSV templates, and the JSON that a rating page downloads.

    Raises:
        OptionError: listing everything that cannot be read.
    """
    files, problems = list[RatedFile](), list[str]()
    for path in map(Path, paths):
        try:
            files.append(RatedFile(path, _read(path)))
        except OptionError as error:
            problems.append(str(error))
    if problems:
        raise OptionError("\n".join(problems))
    return tuple(files)


def _read(path: Path) -> tuple[RatingRow, ...] | PageFile:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise OptionError(
            f"--human_ratings {path}: {why}; give a CSV file in UTF-8, or what a rating page "
            "downloads"
        ) from error
    is_json = text.lstrip().startswith(("{", "[")) or path.suffix.lower() == ".json"
    if not is_json:
        return read_rows(text, path)
    if not text.strip():
        raise OptionError(f"--human_ratings {path} is empty; download the answers again")
    held, problems = read_page(text, path)
    if held is None:
        raise OptionError(_listed({path: problems}, "is not what a rating page downloads"))
    return held


def _listed(problems: Mapping[Path, Sequence[str]], what: str) -> str:
    """Return all that is wrong, file by file, under a line that says what this means."""
    lines = list[str]()
    for path, own in problems.items():
        more = len(own) - _MAX_PROBLEMS
        lines.append(f"--human_ratings {path} {what}:")
        lines += (f"  {problem}" for problem in own[:_MAX_PROBLEMS])
        lines += [f"  and {more} more"] if more > 0 else []
    return "\n".join(lines)


def require_one_sample(journal: Journal) -> None:
    """Refuse ratings where a case's score is the mean of several answers, of which people rate one.

    Raises:
        OptionError: when the run's cases have several samples.
    """
    if journal.has_samples():
        raise OptionError(
            "people rate one answer of each case, and a score of this run is the mean of several "
            "samples. Have them rate a run without --samples"
        )


def accept_ratings(files: Sequence[RatedFile], journal: Journal) -> tuple[str, ...]:
    """Check all ratings against the run, and replace all earlier ratings with them.

    Returns:
        What the user must know of them, a sentence each.

    Raises:
        OptionError: listing everything that is wrong; the earlier ratings then stay.
    """
    require_one_sample(journal)
    pages, notes = PageChecker(journal), list[str]()
    problems: dict[Path, list[str]] = {file.path: [] for file in files}
    taken: dict[tuple[object, ...], Path] = {}
    found = list[Found]()
    for file in files:
        if isinstance(file.held, PageFile):
            own, wrong = pages.found(file.held)
            n_answers, n_items = len(file.held.answers), pages.n_items(file.held.page)
            if not wrong and n_answers < n_items:
                notes.append(
                    f"{file.held.rater} answered {format_count(n_answers)} of the "
                    f"{format_count(n_items)} items in {file.path.name}"
                )
            notes += _lost_comments(file.held, file.path)
        else:
            checker = RowChecker(journal)
            own, wrong = list(checker.ratings(file.held)), checker.problems
        problems[file.path] += wrong
        problems[file.path] += _rated_before(own, file.path, taken)
        found += own
    if wrong_files := {path: own for path, own in problems.items() if own}:
        which = "these files" if len(files) > 1 else "this file"
        raise OptionError(
            f"{_listed(wrong_files, 'does not fit this run')}\n"
            f"Correct or remove these rows or answers; no rating of {which} was used"
        )
    copies = find_copies(
        {file.path: file.held for file in files if isinstance(file.held, PageFile)}
    )
    if refused := [text for text, is_certain in copies if is_certain]:
        raise OptionError("\n".join(refused))
    notes += [text for text, _ in copies]
    notes += _replaced(journal.state, found)
    journal.save_state(_with_found(journal.state, found))
    return tuple(notes)


def _lost_comments(file: PageFile, path: Path) -> list[str]:
    """Say how many comments of a file no table shows."""
    n = sum(answer.is_lost for answer in file.answers)
    if not n:
        return []
    return [
        f"{format_count(n, 'comment', 'comments')} of {file.rater} on single answers, or without a "
        f"choice, cannot be kept: read them in {path.name}"
    ]


def _replaced(state: RunState, found: Sequence[Found]) -> list[str]:
    """Say which earlier ratings the new ones put out."""
    earlier: tuple[Found, ...] = (*state.ratings, *state.human_choices, *state.reason_checks)
    kept = {_unit(one) for one in found}
    gone = [one for one in earlier if _unit(one) not in kept]
    if not gone:
        return []
    names = list(dict.fromkeys(one.rater for one in gone))
    named = ", ".join(names[:_MOST_NAMED]) + (", ..." if names[_MOST_NAMED:] else "")
    return [
        f"this replaces {format_count(len(gone), 'rating', 'ratings')} of {named}; to keep them, "
        "give all files at once"
    ]


def _rated_before(
    found: Iterable[Found], path: Path, taken: dict[tuple[object, ...], Path]
) -> list[str]:
    """Note who rated what in this file; return what the same rater rated in an earlier one, too."""
    here: dict[tuple[object, ...], Path] = {}
    twice: dict[tuple[str, Path], int] = {}
    for one in found:
        key = _unit(one)
        here[key] = path
        if key in taken:
            place = one.rater, taken[key]
            twice[place] = twice.get(place, 0) + 1
    taken |= here
    return [
        f"{rater} rated {format_count(n, 'item', 'items')} in {other.name}, too: give only the "
        "newer file, or two people names of their own"
        for (rater, other), n in twice.items()
    ]


def _unit(one: Found) -> tuple[object, ...]:
    """Return what one person may rate once."""
    rater = name_key(one.rater)
    if isinstance(one, HumanChoice):
        return "pair", one.case_id, frozenset(one.digests), rater
    return type(one).__name__, one.case_id, one.digest, one.metric, rater


def _with_found(state: RunState, found: Sequence[Found]) -> RunState:
    return replace(
        state,
        ratings=tuple(one for one in found if isinstance(one, Rating)),
        human_choices=tuple(one for one in found if isinstance(one, HumanChoice)),
        reason_checks=tuple(one for one in found if isinstance(one, ReasonCheck)),
    )

"""Find one person's answers to a rating page that stand under two names.

Alpha and the win rate count raters: a file that is given twice would look like perfect agreement.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path

from plugin.compare.numbers import format_count
from plugin.trust.rated_page import PageFile

_FEWEST = 3
"""Fewer answers may be the same by chance."""

_NEARLY = 0.9
"""Share of the answers in common that must be the same."""


def find_copies(files: Mapping[Path, PageFile]) -> list[tuple[str, bool]]:
    """Return what to say of files of one page that hold nearly the same answers.

    Two people take different times. Where the times are the same, too, it is one person's page:
    then the second value is True.
    """
    return [
        told
        for (path, file), (other_path, other) in combinations(files.items(), 2)
        if file.page == other.page
        for told in _compare(path, file, other_path, other)
    ]


def _compare(
    path: Path, file: PageFile, other_path: Path, other: PageFile
) -> Iterator[tuple[str, bool]]:
    before = {answer.item: answer for answer in file.answers if answer.kind}
    shared = [(before[one.item], one) for one in other.answers if one.kind and one.item in before]
    same = [(one, two) for one, two in shared if one.said == two.said]
    if len(shared) < _FEWEST or len(same) < _NEARLY * len(shared):
        return
    timed = [one.seconds for one, two in same if one.seconds == two.seconds]
    head = (
        f"{other_path.name} ({other.rater}) and {path.name} ({file.rater}) are answers to the same "
        f"page, and {len(same)} of {format_count(len(shared), 'answer', 'answers')} are the same"
    )
    # One item may have another time: the one that was open when the name was changed.
    if sum(map(bool, timed)) >= _FEWEST and len(timed) >= _NEARLY * len(same) - 1:
        yield f"{head}, with the same times: this is one person; give only one of the files", True
    else:
        yield f"{head}: if this is one person, give only one of the files", False

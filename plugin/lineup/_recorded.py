"""Variants of which only completions are known, made elsewhere and read from files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial

from plugin.cache import content_key
from plugin.cases import LoadedCases
from plugin.cases.recordings import Recorded, Recording, read_recording
from plugin.certificate_records import not_applicable
from plugin.engines import recorded
from plugin.errors import DataError, OptionError, UserError
from plugin.generation import Load
from plugin.lineup import RESERVED, Lineup
from plugin.records import VANILLA, Case, Variant
from plugin.sources import Sources


def line_up(sources: Sources, loaded: LoadedCases) -> Lineup:
    """The variants in the order in which they were named, the baseline first.

    Raises:
        UserError: naming what is wrong with names and files.
    """
    _check_names(sources.recorded)
    found = _read(sources.recorded, loaded)
    digests = {name: _digest(one, loaded.cases) for name, one in found.items()}
    variants = tuple(_variant(r, found[r.name], digests[r.name]) for r in sources.recorded)
    return Lineup(
        loads=(Load(variants, partial(recorded.load, found), recorded=True),),
        identity={
            "recorded variants": list(digests),
            "recorded completions' content": digests,
            "engine": recorded.version(),
        },
        versions={
            "engine": recorded.version(),
            "engine chosen by": "--recorded",
            **{f"recorded {name}": _traits(one, loaded) for name, one in found.items()},
        },
        engine="recorded",
        certificates=tuple(not_applicable(v.name, recorded.ELSEWHERE) for v in variants[1:]),
        notes=_strangers(sources.recorded, found, loaded),
    )


def _check_names(recordings: Sequence[Recording]) -> None:
    problems = []
    names = list[str]()
    for place, one in enumerate(recordings):
        if one.name in RESERVED:
            problems.append(f"--recorded {one}: the name {one.name!r} is {RESERVED[one.name]}")
        if one.name in names:
            problems.append(f"--recorded {one}: the name {one.name!r} is given twice")
        elif one.name == VANILLA and place:
            problems.append(f"--recorded {one}: {VANILLA!r} is the baseline, so put it first")
        names.append(one.name)
    if problems:
        raise OptionError("\n".join(problems))


def _read(recordings: Sequence[Recording], loaded: LoadedCases) -> dict[str, Recorded]:
    found, problems = dict[str, Recorded](), list[UserError]()
    places = dict[tuple[str, str], str]()
    for one in recordings:
        try:
            found[one.name] = read_recording(one, loaded)
        except UserError as error:
            problems.append(error)
            continue
        other = places.setdefault((one.file, found[one.name].column), one.name)
        if other != one.name:
            text = f"--recorded {one}: column {found[one.name].column} is that of {other!r}, too"
            problems.append(OptionError(text))
    if problems:
        kind = OptionError if isinstance(problems[0], OptionError) else DataError
        raise kind("\n".join(dict.fromkeys(map(str, problems)))) from problems[0]
    return found


def _digest(found: Recorded, cases: Sequence[Case]) -> str:
    """Of what was read for the cases; where it lay does not matter."""
    return content_key([[case.id, found.texts.get(case.id)] for case in cases])


def _variant(recording: Recording, found: Recorded, digest: str) -> Variant:
    file = os.path.basename(recording.file)
    return Variant(
        name=recording.name,
        id=content_key(recorded.version(), digest),
        model=f"recorded in {file}, column {found.column}",
    )


def _traits(found: Recorded, loaded: LoadedCases) -> str:
    n = len(loaded.cases)
    return f"column {found.column}, {len(found.texts)} of {n} cases, joined on {found.joined_on}"


def _strangers(
    recordings: Sequence[Recording], found: Mapping[str, Recorded], loaded: LoadedCases
) -> tuple[str, ...]:
    """What was recorded for cases that the data set does not have."""
    if loaded.source.limit < 1:  # most rows are then of cases that were not drawn
        return ()
    return tuple(
        f"{found[one.name].n_strangers} of the completions recorded for {one.name} belong to no "
        f"case of the data set and are left out ({os.path.basename(one.file)})"
        for one in recordings
        if found[one.name].n_strangers and one.file != loaded.source.dataset_name
    )

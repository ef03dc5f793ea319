"""The command `compare`: earlier runs, or scores that other tools made."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plugin.errors import OptionError
from plugin.history.compare_sides import compare
from plugin.history.folds import compare_folds
from plugin.history.scored import ScoredFile, make_specs
from plugin.history.scored_layouts import read_scored
from plugin.history.sides import Side, run_side, scored_side
from plugin.hosts.folder import FolderHost

_NAMED = re.compile(r"([^=/\\]+)=(.+)", re.DOTALL)


def start_compare(given: Mapping[str, Any], host: FolderHost) -> int:
    """Compare the runs, or the files of scores, that were named; return the exit code."""
    runs, scored = given["runs"] or (), given["scored"] or ()
    if given["folds"]:
        return _start_folds(runs, given, host)
    if runs and scored:
        raise OptionError(
            "name earlier runs, or files of scores with --scored, but not both: their cases have "
            "nothing in common that could be compared"
        )
    if len(runs) < 2 and not scored:
        raise OptionError(
            "name two things to compare: two run folders (compare RUN_A RUN_B), or two files of "
            "scores (--scored base=FILE --scored tuned=FILE)"
        )
    host.out, host.goes_on = given["out"] or "", False
    sides = _scored_sides(scored, given) if scored else _run_sides(runs, given)
    compare(sides, given["primary_metric"] or "", host)
    return 0


def _start_folds(words: Sequence[str], given: Mapping[str, Any], host: FolderHost) -> int:
    if unused := [name for name in ("scored", "lower_is_better", "margin") if given[name]]:
        raise OptionError(f"--folds takes runs, and --{unused[0]} is for scores of other tools")
    host.out, host.goes_on = given["out"] or "", False
    compare_folds([_split_run(word) for word in words], given["primary_metric"] or "", host)
    return 0


def _run_sides(words: Sequence[str], given: Mapping[str, Any]) -> list[Side]:
    if unused := [name for name in ("lower_is_better", "margin") if given[name]]:
        raise OptionError(f"--{unused[0]} is for --scored; a run knows it of its own metrics")
    wanted = [_split_run(word) for word in words]
    named = [name for name, _, _ in wanted if name]
    if len(set(named)) < len(named):
        raise OptionError(f"two runs have the same name: {', '.join(named)}")
    sides = list[Side]()
    for name, folder, variant in wanted:
        side = run_side(folder, variant, name)
        if side.name in [other.name for other in sides]:
            side = run_side(folder, variant, f"{side.name} ({len(sides) + 1})")
        sides.append(side)
    return sides


def _split_run(word: str) -> tuple[str, Path, str]:
    """Return name, folder and variant of NAME=DIR#VARIANT, of which only DIR must be there."""
    name, text = "", word
    if not Path(word).exists() and (found := _NAMED.fullmatch(word)):
        name, text = found[1], found[2]
    folder, variant = text, ""
    if not Path(text).exists() and "#" in text:
        folder, _, variant = text.rpartition("#")
    return name, Path(folder), variant


def _scored_sides(words: Sequence[str], given: Mapping[str, Any]) -> list[Side]:
    files: dict[str, dict[str, ScoredFile]] = {}
    for word in words:
        found = _NAMED.fullmatch(word)
        if not found:
            raise OptionError(
                f"--scored {word}: give it a name, as in --scored base={word} --scored tuned=FILE"
            )
        name, (path, only) = found[1], _split_file(found[2])
        own = files.setdefault(name, {})
        for file in _files_in(path):
            own[f"{file}#{only}" if only else str(file)] = read_scored(file, only)
    if len(files) < 2:
        raise OptionError(
            "--scored takes two models or more, with different names: --scored base=FILE --scored "
            "tuned=FILE (the first is the baseline)"
        )
    margins = _read_margins(given["margin"] or ())
    specs = make_specs(
        [_merged(own) for own in files.values()], given["lower_is_better"] or (), margins
    )
    return [scored_side(name, own, specs) for name, own in files.items()]


def _split_file(text: str) -> tuple[Path, str]:
    """Return file and model of FILE#MODEL."""
    if Path(text).exists() or "#" not in text:
        return Path(text), ""
    path, _, only = text.rpartition("#")
    return Path(path), only


def _files_in(path: Path) -> list[Path]:
    """Return the file; of a folder, the samples of lm-eval in it."""
    if not path.is_dir():
        return [path]
    found = sorted(path.rglob("samples_*.jsonl"))
    if not found:
        raise OptionError(
            f"--scored {path}: no samples_*.jsonl lie in this folder; run lm-eval with "
            "--log_samples, or name a file"
        )
    newest = {one.name.rpartition("_")[0]: one for one in found}
    return list(newest.values())


def _merged(files: Mapping[str, ScoredFile]) -> ScoredFile:
    tools = ", ".join(dict.fromkeys(one.tool for one in files.values()))
    return ScoredFile(tools, tuple(item for one in files.values() for item in one.items))


def _read_margins(words: Sequence[str]) -> dict[str, float]:
    margins = {}
    for word in words:
        name, _, value = word.rpartition("=")
        try:
            margins[name] = float(value)
        except ValueError:
            margins[name] = -1.0
        if not (name and 0 <= margins[name] < float("inf")):
            raise OptionError(f"--margin {word} must be NAME=NUMBER, such as rouge1=2")
    return margins

"""The command `cases build`: read what was typed, build, write, and say what came out."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from plugin.caseset.asking import make_writer
from plugin.caseset.build import build
from plugin.caseset.drawing import parse_shares
from plugin.caseset.files import Earlier, is_same, read_earlier, write_set
from plugin.caseset.fold_command import FoldRequest, start_folds
from plugin.caseset.page import PAGE, render_coverage
from plugin.caseset.records import WHOLE, Assumed, BuildRequest, CaseSet
from plugin.caseset.sizes import assume
from plugin.caseset.words import change_text, lines_of
from plugin.errors import OptionError
from plugin.hosts.folder import FolderHost
from plugin.load.find import MANIFEST
from plugin.load.fold_manifest import MANIFEST as FOLDS
from plugin.plan.commands_cases import AUTO, CASES_OPTIONS
from plugin.plan.params import Params
from plugin.plan.plan import case_source
from plugin.reopen import open_run

_LINE_EVERY_S = 5.0

_LARGEST_SEED = 2**32 - 1
"""What scikit-learn takes."""


def start_build(given: Mapping[str, Any], host: FolderHost) -> int:
    """Build a set, or the next version of the one in the folder; return the exit code."""
    host.goes_on = False
    if not given["sets"]:
        raise OptionError("cases build needs files with logs or questions: cases build LOGS...")
    if not given["out"]:
        raise OptionError("--out is missing: say in which folder the set goes, as in --out evalset")
    if given["dataset_split"] is not None:
        raise OptionError("--dataset_split: cases build reads every file; name the files you mean")
    folder = Path(given["out"]).expanduser()
    if folder.exists() and not folder.is_dir():
        raise OptionError(f"--out {folder} is a file; name a folder")
    if given["folds"] is not None:
        columns = {name: given[name] for name in CASES_OPTIONS if given[name] is not None}
        source = case_source(Params.parse(columns), "")
        wanted = FoldRequest(folder, source, _assumed_of(given)[0], _share(given, "margin", 0.05))
        return start_folds(given, wanted, host, _Teller(host).tell)
    earlier = read_earlier(folder)
    request = make_request(given, earlier)
    _refuse_foreign_files(folder, request, earlier)
    assumed = _assumed_of(given)
    write, tell = make_writer(given, request, host), _Teller(host).tell
    made = build(request, assumed, earlier.rows if earlier else (), tell, write)
    _show(host, made, earlier, folder)
    return 0


class _Teller:
    """Say which step is done, and now and then how far it has come."""

    def __init__(self, host: FolderHost) -> None:
        self._host = host
        self._step, self._told_s = "", 0.0

    def tell(self, step: str, n_rows: int) -> None:
        """Print a line where a step begins, and every few seconds."""
        now = time.monotonic()
        if step != self._step:
            self._host.log(f"{step} ...")
        elif now - self._told_s < _LINE_EVERY_S:
            return
        else:
            self._host.log(f"{step}: {n_rows:,} rows")
        self._step, self._told_s = step, now


def _show(host: FolderHost, made: CaseSet, earlier: Earlier | None, folder: Path) -> None:
    for line in lines_of(made):
        host.log(line)
    if earlier and earlier.manifest["train"] and not made.request.train:
        host.log(
            f"note: version {earlier.version} was compared with training data; without --train, "
            "new cases are not"
        )
    if earlier and is_same(made, earlier):
        host.log(f"Nothing changed: the folder keeps version {earlier.version}.")
        return
    version = earlier.version + 1 if earlier else 1
    change = change_text(made, earlier) if earlier else ""
    if change:
        host.log(change)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    files = write_set(made, folder, now, earlier, render_coverage(made, version, change))
    host.log(f"\nPage: {(folder / PAGE).resolve()}")
    host.log(f"Set: {', '.join(path.name for path in files if path.name != PAGE)}")


def make_request(given: Mapping[str, Any], earlier: Earlier | None) -> BuildRequest:
    """Return what was asked for; an earlier version decides what was not typed.

    Raises:
        OptionError: when an option is impossible, or does not fit the earlier version.
    """
    options = {name: given[name] for name in CASES_OPTIONS if given[name] is not None}
    source = case_source(Params.parse(options), "")
    if not all(name.strip() for name in given["train"] or ()):
        raise OptionError("--train names a file without a name; name it, or leave --train out")
    before = earlier.manifest if earlier else {}
    shares = parse_shares(given["split"]) if given["split"] else None
    if earlier and shares not in (None, earlier.shares):
        had = ",".join(f"{name}={share:g}" for name, share in earlier.shares)
        raise OptionError(
            f"--split {given['split']}: the set in {given['out']} is split {had}, and its cases "
            "keep their sides; leave --split out, or choose another folder with --out"
        )
    if earlier:
        shares = earlier.shares
    by_group = bool(given["by_group"])
    if earlier and given["by_group"] and not before["by_group"]:
        raise OptionError(
            f"--by_group: the topics of the set in {given['out']} were found in its texts; leave "
            "--by_group out, or choose another folder with --out"
        )
    return BuildRequest(
        pool=tuple(given["sets"]),
        out=given["out"],
        train=tuple(given["train"] or ()),
        n=None if given["n"] in (None, AUTO) else given["n"],
        margin=_share(given, "margin", 0.05),
        shares=shares or ((WHOLE, 1.0),),
        n_topics=given["topics"],
        floor=_at_least(given, "floor", int(before.get("floor", 5)), 0),
        by_group=by_group or bool(before.get("by_group")),
        keeps_answers=not given["without_answers"],
        masks=bool(given["mask_personal"]) or bool(before.get("masks")),
        seed=_seed_of(given, int(before.get("seed", 0))),
        removed=earlier.removed if earlier else frozenset(),
        columns=source.columns,
        input_template=source.input_template or "",
    )


def _share(given: Mapping[str, Any], name: str, usual: float) -> float:
    value: float = usual if given[name] is None else given[name]
    if not 0 < value <= 1:
        raise OptionError(
            f"--{name} {value} must be above 0 and at most 1: it is a gain of a score from 0 to 1"
        )
    return value


def _seed_of(given: Mapping[str, Any], usual: int) -> int:
    value: int = usual if given["seed"] is None else given["seed"]
    if not 0 <= value <= _LARGEST_SEED:
        raise OptionError(f"--seed {value} must be from 0 to {_LARGEST_SEED}")
    return value


def _at_least(given: Mapping[str, Any], name: str, usual: int, least: int) -> int:
    value: int = usual if given[name] is None else given[name]
    if value < least:
        raise OptionError(f"--{name} {value} must be {least} or more")
    return value


def _refuse_foreign_files(folder: Path, request: BuildRequest, earlier: Earlier | None) -> None:
    """Refuse to write over files that are no set of this program."""
    if (folder / FOLDS).is_file():
        raise OptionError(f"--out {folder} holds folds; choose another folder for a set")
    names = [f"{name}.jsonl" for name, _ in request.shares]
    if there := [name for name in names if earlier is None and (folder / name).exists()]:
        raise OptionError(
            f"--out {folder} has {', '.join(there)} but no {MANIFEST}, so it is no set of this "
            "program; choose another folder"
        )


def _assumed_of(given: Mapping[str, Any]) -> tuple[Assumed, ...]:
    if not given["like"]:
        return assume(given["disagreement"], given["spread"])
    if given["disagreement"] is not None or given["spread"] is not None:
        raise OptionError("--like says how gains vary; leave out --disagreement and --spread")
    return (_as_in_run(Path(given["like"])),)


def _as_in_run(folder: Path) -> Assumed:
    """Return how the gains of an earlier run vary on the metric that decides.

    Raises:
        OptionError: when it has too few of them, or they do not vary.
    """
    journal = open_run(folder)
    try:
        metric = journal.header.primary_metric
        unit = next((one.margin_unit for one in journal.header.metrics if one.name == metric), 1.0)
        names = [variant.name for variant in journal.header.variants]
        scores = {
            (one.variant, one.case_id): one.value / unit  # on a scale from 0 to 1, as the margin
            for one in journal.scores()
            if one.metric == metric
        }
    finally:
        journal.close()
    found = [_sd_of(scores, names[0], name) for name in names[1:]]
    known = [(sd, n) for sd, n in found if sd]
    if not known:
        raise OptionError(
            f"--like {folder}: its gains on {metric or 'its metric'} are too few, or do not vary, "
            "so they say nothing; give --spread or --disagreement"
        )
    sd, n = max(known)
    return Assumed(sd, f"as on {metric} in {folder}, {n} cases")


def _sd_of(scores: Mapping[tuple[str, str], float], base: str, name: str) -> tuple[float, int]:
    """Return the spread of a variant's gains, and how many there are."""
    gains: Sequence[float] = [
        value - scores[base, case]
        for (variant, case), value in scores.items()
        if variant == name and (base, case) in scores
    ]
    return (statistics.stdev(gains) if len(gains) > 1 else 0.0), len(gains)

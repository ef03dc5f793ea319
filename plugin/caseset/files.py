"""Write a set into its folder, and keep its earlier versions.

Each side is a file that `run --dataset_name` reads. manifest.json says what the set is: version,
digests, topics, what was dropped, and what it can find.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from plugin.cache import content_key
from plugin.caseset.pool import as_pool_row
from plugin.caseset.records import EARLIER, CaseSet, PoolRow
from plugin.errors import DataError
from plugin.load.cases import CaseSource, digest_of_table, load_cases, read_table
from plugin.load.code_tests import tests_as_cells
from plugin.load.columns import Columns, lay_out
from plugin.load.find import MANIFEST
from plugin.load.readers import read_files, table_from_objects
from plugin.records import Case
from plugin.report import write_files

FORMAT = 1
"""Of manifest.json."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """The version of a set that a folder has.

    Attributes:
        manifest: its manifest.json.
        rows: its cases as its files say now, which may have got answers since.
        files: the text of its files by name.
        digests: side -> what a run on its file calls the data set's content now.
    """

    manifest: Mapping[str, Any]
    rows: tuple[PoolRow, ...]
    files: Mapping[str, str]
    digests: Mapping[str, str]

    @property
    def version(self) -> int:
        """Return its number."""
        return int(self.manifest["version"])

    @property
    def shares(self) -> tuple[tuple[str, float], ...]:
        """Return names and shares of its sides."""
        return tuple((side["name"], float(side["share"])) for side in self.manifest["sides"])

    @property
    def removed(self) -> frozenset[str]:
        """Return the ids of questions that somebody took out of its files, now or before."""
        there = {row.case.id for row in self.rows}
        written = {one for side in self.manifest["sides"] for one in side["ids"]}
        return frozenset(written | set(self.manifest["removed"])) - there

    @property
    def is_edited(self) -> bool:
        """Return whether its files are not as they were written."""
        return any(self.digests[side["name"]] != side["digest"] for side in self.manifest["sides"])

    def archived(self) -> dict[str, str]:
        """Return its files for a folder of its own, with the digests that they have now."""
        sides = [{**one, "digest": self.digests[one["name"]]} for one in self.manifest["sides"]]
        return {**self.files, MANIFEST: _json_text({**self.manifest, "sides": sides})}


def as_written(row: PoolRow, has_topics: bool) -> Case:
    """Return the case as the set has it: its topic is its group, unless it has one."""
    case = row.case
    return replace(case, group=case.group or row.topic) if has_topics else case


def jsonl_of(rows: Sequence[PoolRow], has_topics: bool) -> str:
    """Return the text of one side, a case per line, with a place for an expected output."""
    cases = [as_written(row, has_topics) for row in rows]
    as_chat = any([turn.role for turn in case.messages] != ["user"] for case in cases)
    lines = []
    for row, case in zip(rows, cases, strict=True):
        turns = [{"role": turn.role, "content": turn.content} for turn in case.messages]
        content: dict[str, object] = {
            "id": case.id,
            **({"messages": turns} if as_chat else {"input": case.input}),
            "expected_output": list(case.references) or case.expected_output,
            "context": list(case.context),
            "group": case.group,
            "cluster": case.cluster,
            "retention": case.retention,
            "expect": list(case.expect),
            **tests_as_cells(case.tests, Columns().tests),
            "topic": row.topic,
            "source": row.source or row.place,
            "about": dict(case.metadata),
        }
        empty: tuple[object, ...] = (None, [], {}, "", False)
        kept = {
            name: value
            for name, value in content.items()
            if name == "expected_output" or value not in empty
        }
        lines.append(json.dumps(kept, ensure_ascii=False))
    return "".join(f"{line}\n" for line in lines)


def digest_of(rows: Sequence[PoolRow], has_topics: bool) -> str:
    """Return what a run on the file of these rows calls the data set's content."""
    lines = jsonl_of(rows, has_topics).split("\n")[:-1]
    return digest_of_table(table_from_objects([json.loads(line) for line in lines]))


def questions_digest(rows: Sequence[PoolRow]) -> str:
    """Return a digest of the questions in any order, whatever their answers."""
    return content_key(sorted(row.key for row in rows))


def manifest_of(made: CaseSet, version: int, time: str, earlier: Earlier | None) -> dict[str, Any]:
    """Return the content of manifest.json."""
    request, pool = made.request, made.pool
    before = [*earlier.manifest["earlier"], _mention(earlier)] if earlier else []
    return {
        "format": FORMAT,
        "name": Path(request.out).resolve().name,
        "version": version,
        "made": time,
        "n": len(made.rows),
        "questions_digest": questions_digest(made.rows),
        "sides": [
            {
                "name": side.name,
                "file": f"{side.name}.jsonl",
                "share": side.share,
                "n": len(side.rows),
                "digest": side.digest,
                "questions_digest": side.questions_digest,
                "ids": [row.case.id for row in side.rows],
            }
            for side in made.sides
        ],
        "by_group": request.by_group,
        "masks": request.masks,
        "topics": [{"name": one.name, "n_pool": one.n_pool, "n": one.n_set} for one in made.topics],
        "finds": [
            {
                "side": made.sides[0].name,
                "gain": one.gain,
                "effective_n": round(one.effective, 1),
                "spread": one.assumed.sd,
                "assumed": one.assumed.why,
                "margin": one.margin,
                "n_for_margin": one.needed,
            }
            for one in made.powers
        ],
        "pool": {
            "files": dict(pool.sources),
            "n_rows": pool.n_read,
            "n_unusable": pool.n_unusable,
            "n_left": len(pool.rows),
            "dropped": {one.why: one.n for one in pool.dropped},
        },
        "train": list(request.train),
        "seed": request.seed,
        "floor": request.floor,
        "removed": sorted(request.removed),
        "earlier": before,
    }


def _mention(earlier: Earlier) -> dict[str, Any]:
    return {
        "version": earlier.version,
        "made": earlier.manifest["made"],
        "n": len(earlier.rows),
        "digests": dict(earlier.digests),
    }


def _json_text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, indent=2) + "\n"


def read_manifest(folder: Path) -> Mapping[str, Any] | None:
    """Return the manifest of the set in a folder; None if there is no set.

    Raises:
        DataError: when there is one that cannot be read.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_bytes())
        if found["format"] != FORMAT:
            raise ValueError(f"format {found['format']}, not {FORMAT}")
        _check_manifest(found)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DataError(
            f"{path} is not the manifest of a set that `cases build` wrote "
            f"({type(error).__name__}: {error}); choose another folder with --out"
        ) from error
    return found if isinstance(found, dict) else None


def _check_manifest(found: Mapping[str, Any]) -> None:
    """Check what the next version reads of a manifest.

    Raises:
        ValueError: when something is not of its form.
        LookupError: when something is missing.
        TypeError: when something is of another type.
    """
    if int(found["version"]) < 1 or not found["sides"]:
        raise ValueError("a version and sides are needed")
    lists = found["earlier"], found["removed"], found["train"]
    _ = found["made"], found["by_group"], [set(own) for own in lists[1:]]
    for side in found["sides"]:
        if not str(side["name"]).isidentifier() or side["file"] != f"{side['name']}.jsonl":
            raise ValueError(f"{side['file']!r} is no file of a side")
        _ = float(side["share"]), set(side["ids"]), side["digest"]


def read_earlier(folder: Path) -> Earlier | None:
    """Return the version of a set that a folder has; None if it has none.

    Raises:
        DataError: when its files cannot be read.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        return None
    files: dict[str, str] = {}
    digests: dict[str, str] = {}
    rows: list[PoolRow] = []
    for side in manifest["sides"]:
        path = folder / side["file"]
        source = CaseSource(str(path))
        try:
            loaded = load_cases(source)
        except DataError as error:
            raise DataError(f"{error}\nCorrect it: this version of the set is kept") from error
        digests[side["name"]] = loaded.digest
        files[path.name] = path.read_text(encoding="utf-8")
        table = read_files([path])
        layout, _ = lay_out(Columns(), None, table)
        for row, case in read_table(table, layout):
            if case is not None:
                earlier = _earlier_row(row.cells, case, side["name"], manifest["by_group"])
                rows.append(replace(earlier, position=len(rows)))
    return Earlier(manifest, tuple(rows), files, digests)


def _earlier_row(cells: Mapping[str, Any], case: Case, side: str, by_group: bool) -> PoolRow:
    about = cells.get("about")
    topic = str(cells.get("topic") or "")
    group = None if case.group == topic and not by_group else case.group
    own = replace(case, group=group, metadata=dict(about) if isinstance(about, dict) else {})
    source = str(cells.get("source") or "")
    return replace(as_pool_row(own, EARLIER), topic=topic, side=side, source=source)


def write_set(
    made: CaseSet, folder: Path, time: str, earlier: Earlier | None, more: Mapping[str, str]
) -> list[Path]:
    """Write a set; the earlier version goes into a folder of its own below.

    Args:
        made: the set.
        folder: where it goes.
        time: now, as ISO 8601.
        earlier: the version that the folder has; None for none.
        more: further files by name.

    Raises:
        OptionError: when they cannot be written.
    """
    version = earlier.version + 1 if earlier else 1
    if earlier:
        write_files(folder / f"v{earlier.version}", earlier.archived())
    files = {f"{side.name}.jsonl": jsonl_of(side.rows, made.has_topics) for side in made.sides}
    files[MANIFEST] = _json_text(manifest_of(made, version, time, earlier))
    return write_files(folder, {**files, **more})


def is_same(made: CaseSet, earlier: Earlier) -> bool:
    """Return whether a set is what the earlier version was when it was written."""
    digests = {side["name"]: side["digest"] for side in earlier.manifest["sides"]}
    return digests == {side.name: side.digest for side in made.sides}

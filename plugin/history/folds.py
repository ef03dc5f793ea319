"""The command `compare --folds`: the folds of one recipe, put together into one verdict.

Every case was answered by an adapter that never saw it. So all cases of a small data set count, and
the verdict is about the recipe (data, settings, steps), not about one of the adapters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypeVar

from plugin.cache import content_key
from plugin.errors import DataError, OptionError, list_first
from plugin.history.compare_sides import compare
from plugin.history.fold_runs import FoldRun, read_fold_run, refuse_shared_cases, require_alike
from plugin.history.sides import Side
from plugin.hosts import Host
from plugin.load.fold_manifest import (
    MANIFEST,
    FoldManifest,
    find_manifest,
    question_digest,
    read_manifest,
)
from plugin.load.repeats import case_key, without_repeat_names
from plugin.records import Case, Variant
from plugin.report.record import Report
from plugin.run_facts import FoldFacts, PooledFacts
from plugin.training_facts import TrainingFacts

POOLED = "adapter (folds)"
"""Under what name the adapters of all folds are shown."""

_N_NAMED = 5

Key = TypeVar("Key", str, tuple[str, str])
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class _Fold:
    """One fold as it takes part.

    Attributes:
        cases: key -> case that no adapter of this fold has seen, as far as that is known.
        seen: cases that stand in the adapter's training data, by id.
    """

    name: str
    run: FoldRun
    cases: Mapping[str, Case]
    seen: tuple[str, ...]


class Pooled(NamedTuple):
    """The folds put together: what is compared, which folds there are, how they were certified."""

    sides: Sequence[Side]
    facts: PooledFacts
    proof: str


def compare_folds(words: Sequence[tuple[str, Path, str]], primary: str, host: Host) -> Report:
    """Put the runs of the folds together, and publish the verdict on the recipe.

    Args:
        words: name, folder and variant of each run; "" for names and variants that nobody gave.
        primary: the metric that decides; "" for that of the runs.
        host: opens the folder, and gets the results.

    Raises:
        UserError: when the runs do not belong together.
        KeyboardInterrupt: when the user stopped it.
    """
    found = pool_folds(words, primary)
    return compare(found.sides, primary, host, found.facts, found.proof)


def pool_folds(words: Sequence[tuple[str, Path, str]], primary: str) -> Pooled:
    """Read and check the runs of the folds, and put them together (see `compare_folds`)."""
    if len(words) < 2:
        raise OptionError(
            "--folds needs the runs of two folds or more: compare --folds RUN1 RUN2 RUN3"
        )
    runs = [read_fold_run(folder, variant, name) for name, folder, variant in words]
    require_alike(runs, primary)
    manifest, path = _manifest_of(runs)
    folds = [_look_at(run) for run in _name_folds(runs, manifest)]
    keys = {key: case_key(case) for fold in folds for key, case in fold.run.cases.items()}
    refuse_shared_cases([(fold.run, fold.cases) for fold in folds], keys)
    folds = _with_own_ids(folds)
    sides = list(_pool(folds))
    notes = (*_notes(folds, sides), *_manifest_notes(folds, manifest, path))
    sides[0] = replace(sides[0], notes=notes)
    return Pooled(sides, _facts(folds, manifest), _proof(folds))


def _proof(folds: Sequence[_Fold]) -> str:
    n = sum(fold.run.is_certified for fold in folds)
    return f"{n} of {len(folds)} adapters are certified in the runs of their folds"


def _look_at(run: FoldRun) -> _Fold:
    """Return the fold without the cases that stand in its adapter's training data.

    Raises:
        DataError: when these are most of them.
    """
    cases = dict(zip(run.cases, without_repeat_names([*run.cases.values()]), strict=True))
    seen = {key: one for key, one in run.tuned.marks.items() if one.mark == "copied"}
    if 2 * len(seen) > len(cases):
        first = next(iter(seen.values()))
        files = ", ".join(run.tuned.training.files) if run.tuned.training else ""
        raise DataError(
            f"{len(seen):,} of the {len(cases):,} cases of {run.folder} stand in the training data "
            f"of its adapter ({files}), such as case {cases[next(iter(seen))].id} ({first.row}): "
            "it seems to be trained on this fold, and not on the others. Train each adapter on the "
            f"other folds (fold_K/train.jsonl beside {MANIFEST})"
        )
    kept = {key: case for key, case in cases.items() if key not in seen}
    return _Fold(run.name, run, kept, tuple(cases[key].id for key in seen))


def _manifest_of(runs: Sequence[FoldRun]) -> tuple[FoldManifest | None, Path | None]:
    """Return the manifest of the folds and where it lies; None for none.

    Raises:
        DataError: when the runs' data sets have different ones.
    """
    found = {run.folder: find_manifest(run.params.dataset_name) for run in runs}
    paths = {path for path in found.values() if path}
    if not paths:
        return None, None
    known = {path: read_manifest(path) for path in sorted(paths)}
    if len({one.digest for one in known.values()}) > 1:
        each = ", ".join(f"{folder}: {path}" for folder, path in found.items())
        raise DataError(f"these runs are of folds of different data sets ({each})")
    path = sorted(paths)[0]
    return known[path], path


def _name_folds(runs: Sequence[FoldRun], manifest: FoldManifest | None) -> list[FoldRun]:
    """Return the runs with the names of their folds.

    Raises:
        DataError: when one has cases of two folds, or two runs are of the same fold.
    """
    named = list[FoldRun]()
    fold_of = manifest.fold_of() if manifest else {}
    taken = dict[str, FoldRun]()
    for run in runs:
        own: dict[str, str] = {}
        for case in run.cases.values():
            if fold := fold_of.get(question_digest(case)):
                own.setdefault(fold, case.id)
        if len(own) > 1:
            each = ", ".join(f"{fold} (such as case {case})" for fold, case in own.items())
            raise DataError(
                f"{run.folder} has cases of several folds: {each}. Test each adapter on the "
                "test.jsonl of its own fold"
            )
        fold = next(iter(own), "")
        if fold and (other := taken.setdefault(fold, run)) is not run:
            raise DataError(f"{other.folder} and {run.folder} are both of {fold}; name one of them")
        named.append(replace(run, name=fold) if fold else run)
    names = [run.name for run in named]
    return [
        replace(run, name=str(run.folder)) if names.count(run.name) > 1 else run for run in named
    ]


def _with_own_ids(folds: Sequence[_Fold]) -> list[_Fold]:
    """Return the folds with ids that are unique over all of them, and the fold in each case."""
    ids = [case.id for fold in folds for case in fold.cases.values()]
    is_clear = len(set(ids)) == len(ids)
    return [
        replace(
            fold,
            cases={
                key: replace(
                    case,
                    id=case.id if is_clear else f"{fold.name}/{case.id}",
                    metadata={**case.metadata, "fold": fold.name},
                )
                for key, case in fold.cases.items()
            },
        )
        for fold in folds
    ]


def _pool(folds: Sequence[_Fold]) -> Iterator[Side]:
    """Yield the base, the prompts and other models that all runs have, and the adapters as one."""
    first = folds[0].run
    yield _merged(folds, [fold.run.base for fold in folds], first.base.name)
    for name, side in first.yardsticks.items():
        own = [fold.run.yardsticks.get(name) for fold in folds]
        same = [one for one in own if one and one.variant.id == side.variant.id]
        if len(same) == len(folds):
            yield _merged(folds, same, name)
    yield _merged(folds, [fold.run.tuned for fold in folds], POOLED)


def _merged(folds: Sequence[_Fold], sides: Sequence[Side], name: str) -> Side:
    """Return the sides of all folds as one."""
    each = list(zip(folds, sides, strict=True))
    ids = list(dict.fromkeys(side.variant.id for side in sides))
    models = list(dict.fromkeys(side.variant.model for side in sides))
    variant = replace(sides[0].variant, name=name)
    if len(ids) > 1:
        variant = Variant(name, content_key(ids), ", ".join(models))
    training = _training_of(sides)
    scores = _of_folds(each, lambda side: side.scores)
    return replace(
        sides[0],
        name=name,
        source="; ".join(side.source for side in sides),
        variant=variant,
        cases={key: case for fold in folds for key, case in fold.cases.items()},
        scores={place: replace(one, variant=name) for place, one in scores.items()},
        failures=_of_folds(each, lambda side: side.failures),
        completions={
            key: one.copy_for(fold.cases[key].id, name)
            for fold, side in each
            for key, one in side.completions.items()
            if key in fold.cases
        },
        later=_of_folds(each, lambda side: side.later),
        sample_scores=_of_folds(each, lambda side: side.sample_scores),
        specs=tuple(
            spec
            for spec in sides[0].specs
            if all(any(own.name == spec.name for own in side.specs) for side in sides)
        ),
        training=training,
        marks=_of_folds(each, lambda side: side.marks) if training else {},
        notes=(),
    )


def _of_folds(
    each: Sequence[tuple[_Fold, Side]], part: Callable[[Side], Mapping[Key, Value]]
) -> dict[Key, Value]:
    """Return a part of all sides as one, of each the entries of its own fold's cases."""
    return {
        key: value
        for fold, side in each
        for key, value in part(side).items()
        if (key[0] if isinstance(key, tuple) else key) in fold.cases
    }


def _training_of(sides: Sequence[Side]) -> TrainingFacts | None:
    """Return what the runs know of their training data; None unless each knows some."""
    known = [side.training for side in sides if side.training]
    if len(known) < len(sides):
        return None
    return replace(
        known[0],
        files=tuple(dict.fromkeys(file for one in known for file in one.files)),
        digest=content_key(sorted(one.digest for one in known)),
        n_rows=max(one.n_rows for one in known),
    )


def _notes(folds: Sequence[_Fold], sides: Sequence[Side]) -> Iterator[str]:
    """Yield what was left out, and what could not be checked."""
    for fold in folds:
        if fold.seen:
            yield (
                f"{len(fold.seen):,} cases of {fold.name} stand in the training data of its "
                f"adapter and are left out: {list_first(fold.seen, _N_NAMED)}"
            )
    if blind := [fold.name for fold in folds if not fold.run.tuned.training]:
        yield (
            f"whether the adapters of {list_first(blind, _N_NAMED)} saw their cases in training "
            "was not checked: their runs named no --train_data"
        )
    if any(fold.run.params.recorded for fold in folds):
        yield (
            "completions come from files, so nobody can check that the base, and how answers were "
            "made, is the same in all folds"
        )
    shown = [side.name for side in sides]
    beside = dict.fromkeys(name for fold in folds for name in fold.run.yardsticks)
    if gone := [name for name in beside if name not in shown]:
        yield f"left out, because not the same in all runs: {', '.join(gone)}"
    kept = {spec.name for spec in sides[-1].specs}
    named = dict.fromkeys(spec.name for fold in folds for spec in fold.run.header.metrics)
    if gone := [name for name in named if name not in kept]:
        yield f"metrics that are not put together: {', '.join(gone)}"
    versions = {str(fold.run.header.versions.get("finetune-verdict", "")) for fold in folds}
    if len(versions) > 1:
        yield f"the runs were made by versions {' and '.join(sorted(versions))} of this program"


def _manifest_notes(
    folds: Sequence[_Fold], manifest: FoldManifest | None, path: Path | None
) -> Iterator[str]:
    """Yield what the manifest shows, or that there is none."""
    if manifest is None:
        yield (
            f"no {MANIFEST} lies beside the data of these runs, so nobody knows whether folds are "
            "missing; `cases build --folds` writes one"
        )
        return
    fold_of = manifest.fold_of()
    for fold in folds:
        cases = fold.run.cases.values()
        begun = {case.follows for case in cases}  # of a conversation, the last turn has all of it
        own = [question_digest(case) for case in cases if case.id not in begun]
        strange = sum(digest not in fold_of for digest in own)
        if strange:
            yield f"{strange:,} of the {len(own):,} cases of {fold.name} are not in {path}"
        size = next((len(one.questions) for one in manifest.folds if one.name == fold.name), 0)
        if len(own) - strange < size:
            yield f"{fold.name} has {size:,} cases, and its run {len(own) - strange:,} of them"


def _facts(folds: Sequence[_Fold], manifest: FoldManifest | None) -> PooledFacts:
    names = [fold.name for fold in folds]
    missing = [one.name for one in manifest.folds if one.name not in names] if manifest else []
    return PooledFacts(
        variant=POOLED,
        folds=tuple(
            FoldFacts(
                name=fold.name,
                source=f"{fold.run.folder} (run {fold.run.header.run_id})",
                case_ids=tuple(case.id for case in fold.cases.values()),
                is_checked=fold.run.tuned.training is not None,
                n_left_out=len(fold.seen),
            )
            for fold in folds
        ),
        n_folds=len(folds) + len(missing),
        missing=tuple(missing),
    )

"""The runs of the folds of one recipe: read them, and check that they belong together.

Each run has the base and one adapter, which was trained on the other folds. Everything but adapter
and cases must be the same in all runs, or their scores cannot be put together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from plugin.certify.certificate import certificates_of_run
from plugin.compare.contrasts import contenders
from plugin.compare.numbers import format_count
from plugin.errors import DataError, OptionError, list_first
from plugin.history.compare_sides import what_changed
from plugin.history.sides import Side, side_of
from plugin.journal import Journal
from plugin.plan.command_parser import PROGRAM
from plugin.plan.params import Params
from plugin.records import Case, Variant
from plugin.reopen import open_run, parse_params, require_idle
from plugin.run_facts import RunHeader
from plugin.terminal import shell_word

_OF_ONE_FOLD = frozenset(
    (
        *("seed", "limit", "dataset_split", "skip_bad_rows", "input_column", "context_column"),
        *("expected_output_column", "group_column", "cluster_column", "id_column"),
        *("retention_column", "expect_column"),
        *("adapters as served", "recorded variants", "finetune-verdict", "versions of metrics"),
    )
)
"""What may differ between the runs, by its name in their identity: it names an adapter, says how
the cases were read or drawn, or is checked metric by metric."""

_N_NAMED = 3


@dataclass(frozen=True, slots=True)
class FoldRun:
    """The run of one fold.

    Attributes:
        name: of the fold, as shown.
        folder: the run's.
        header: what the run is.
        params: its options.
        base: its base, under its own name.
        tuned: its adapter, or tuned model.
        yardsticks: prompts and other models that it was compared with, by name.
        variant: the tuned one, as its run names it.
        is_certified: whether its adapter was proved to be applied.
    """

    name: str
    folder: Path
    header: RunHeader
    params: Params
    base: Side
    tuned: Side
    yardsticks: Mapping[str, Side]
    variant: Variant
    is_certified: bool

    @property
    def cases(self) -> Mapping[str, Case]:
        """Return its cases by their keys."""
        return self.tuned.cases


def read_fold_run(folder: Path, wanted: str, name: str) -> FoldRun:
    """Read the finished run of a fold.

    Args:
        folder: the run's.
        wanted: its tuned variant; "" for the only one.
        name: of the fold; "" for the folder's.

    Raises:
        OptionError: when the folder holds no finished run of a base and a tuned model.
        DamagedError: when its journal is damaged.
    """
    with closing(open_run(folder)) as journal:
        require_idle(folder)
        header = journal.header
        if "compared" in header.identity:
            raise OptionError(
                f"{folder} holds a comparison of earlier results, and a fold needs a run: name the "
                "folders that `run` wrote"
            )
        variant = _tuned_variant(header.variants, folder, wanted)
        names = [one.name for one in header.variants]
        beside = [one for one in names[1:] if one not in contenders(names)]
        own, *sides = (
            side_of(journal, folder, one, one) for one in (names[0], *beside, variant.name)
        )
        _require_finished(journal, folder, [own, sides[-1]])
        certified = _require_applied(journal, folder, variant.name)
        return FoldRun(
            name=name or folder.resolve().name,
            folder=folder,
            header=header,
            params=parse_params(journal),
            base=own,
            tuned=sides[-1],
            yardsticks=dict(zip(beside, sides[:-1], strict=True)),
            variant=variant,
            is_certified=certified,
        )


def _tuned_variant(variants: Sequence[Variant], folder: Path, wanted: str) -> Variant:
    names = [one.name for one in variants]
    able = [name for name in contenders(names) if name != names[0]]
    if wanted and wanted not in able:
        raise OptionError(
            f"{folder} has no tuned model {wanted!r}; it has {', '.join(able) or 'none'}"
        )
    if not wanted and len(able) != 1:
        shown = ", ".join(f"{folder}#{name}" for name in able)
        raise OptionError(
            f"{folder} has several tuned models; name the one of the recipe: {shown}"
            if able
            else f"{folder} has only {', '.join(names)}; a fold needs the base and a tuned model"
        )
    return variants[names.index(wanted or able[0])]


def _require_finished(journal: Journal, folder: Path, sides: Sequence[Side]) -> None:
    """Check that everything is scored, or has failed.

    Raises:
        OptionError: when something is missing.
    """
    if journal.state.stopped_early:
        raise OptionError(
            f"judging of {folder} stopped early, so its gain would be too large beside that of "
            "other folds; run it again without --stop_early"
        )
    missing = {
        case.id
        for side in sides
        for key, case in side.cases.items()
        for spec in side.specs
        if spec.fits(case)
        and (key, spec.name) not in side.scores
        and not {(key, spec.name), (key, "")} & side.failures.keys()
    }
    if missing:
        why = f" ({journal.state.halted}; raise that limit)" if journal.state.halted else ""
        raise OptionError(
            f"the run in {folder} is not finished{why}: {len(missing):,} of "
            f"{len(sides[0].cases):,} cases lack scores. Finish it first, nothing is paid for "
            f"twice: {PROGRAM} resume {shell_word(folder)}"
        )


def _require_applied(journal: Journal, folder: Path, variant: str) -> bool:
    """Return whether the adapter has a certificate.

    Raises:
        OptionError: when it shows that the adapter was not applied as it should be.
    """
    found = certificates_of_run(
        journal, journal.header.variants, journal.cases(), journal.completions()
    )
    own = next((one for one in found if one.variant == variant), None)
    if own is not None and not own.holds:
        raise OptionError(
            f"{folder}: the certificate of {variant} says {own.result!r}, so its scores are not "
            "those of the recipe. Train or save this adapter again, and run the fold again"
        )
    return own is not None and own.kind == "certified"


def require_alike(runs: Sequence[FoldRun], primary: str) -> None:
    """Check that the runs differ in nothing but adapter and cases.

    Args:
        runs: two or more.
        primary: the metric that the user wants to decide; "" for that of the runs.

    Raises:
        OptionError: naming both values of the first thing that differs.
    """
    first = runs[0]
    for at, other in enumerate(runs[1:], 1):
        if same := next((one for one in runs[:at] if _is_same_run(one, other)), None):
            raise OptionError(
                f"{same.folder} and {other.folder} are the same run ({other.header.run_id}); each "
                "fold has a run of its own"
            )
    for other in runs[1:]:
        if told := _differences(first, other, primary):
            raise OptionError(
                f"{first.folder} and {other.folder} cannot be put together, because not only "
                f"adapter and cases differ: {'; '.join(told)}. Run all folds with the same base "
                "and settings"
            )
    _require_own_adapters(runs)


def _is_same_run(one: FoldRun, other: FoldRun) -> bool:
    return one.header.run_id == other.header.run_id or one.folder.samefile(other.folder)


def _differences(first: FoldRun, other: FoldRun, primary: str) -> list[str]:
    """Return what differs besides adapter and cases, with both values."""
    before, after = first.header, other.header
    names = [n for n in dict.fromkeys((*before.identity, *after.identity)) if n not in _OF_ONE_FOLD]
    told = [
        f"{name} ({_short(was)} and {_short(now)})"
        for name in names
        if (was := before.identity.get(name)) != (now := after.identity.get(name))
    ]
    if before.primary_metric != after.primary_metric and not primary:
        told.append(
            f"the metric that decides ({before.primary_metric} and {after.primary_metric}; "
            "--primary_metric names one)"
        )
    if not told:  # else a metric only says the same again
        names = [own.name for own in other.tuned.specs]
        sides = [_named(first), _named(other)]
        common = [spec.name for spec in first.tuned.specs if spec.name in names]
        told += [f"{name}: {what}" for name in common if (what := what_changed(name, sides))]
    bases = first.base.variant, other.base.variant
    recorded = first.params.recorded and other.params.recorded
    if bases[0].id != bases[1].id and not (recorded or told):
        told.append(
            f"the base ({bases[0].model}, {bases[0].id[:12]}, and {bases[1].model}, "
            f"{bases[1].id[:12]})"
        )
    elif recorded and bases[0].name != bases[1].name:
        told.append(f"the base ({bases[0].name} and {bases[1].name})")
    return told


def _named(run: FoldRun) -> Side:
    """Return the side under the folder's name, for messages."""
    return replace(run.tuned, name=str(run.folder))


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _require_own_adapters(runs: Sequence[FoldRun]) -> None:
    """Check that each fold has an adapter of its own.

    Raises:
        OptionError: when two have the same.
    """
    seen = dict[str, FoldRun]()
    for run in runs:
        own = run.variant.adapter_digest or run.variant.id
        if (other := seen.setdefault(own, run)) is not run:
            raise OptionError(
                f"{other.folder} and {run.folder} have the same adapter ({run.variant.name}, "
                f"{own[:12]}), which was trained on the cases of one of them; each fold needs an "
                "adapter that was trained on the other folds"
            )


def refuse_shared_cases(
    folds: Iterable[tuple[FoldRun, Mapping[str, Case]]], key_of: Mapping[str, object]
) -> None:
    """Check that no case and no cluster is in two folds.

    Args:
        folds: each run with its cases, without clusters named after repeats.
        key_of: key of a case -> what is equal for it and its repeats.

    Raises:
        DataError: naming the first ones.
    """
    cases, clusters = dict[object, tuple[FoldRun, Case]](), dict[str, FoldRun]()
    twice, split = list[str](), list[str]()
    for run, own in folds:
        for key, case in own.items():
            other, twin = cases.setdefault(key_of[key], (run, case))
            if other is not run:
                twice.append(f"case {twin.id} of {other.folder} is case {case.id} of {run.folder}")
            if case.cluster is None:
                continue
            if (first := clusters.setdefault(case.cluster, run)) is not run:
                split.append(f"{case.cluster} ({first.folder} and {run.folder})")
    if twice:
        raise DataError(
            f"{format_count(len(twice), 'case is', 'cases are')} in two folds, so an adapter was "
            f"trained on what it is tested on: {list_first(twice, _N_NAMED)}. Build the folds anew "
            "(cases build --folds K), which keeps each case and its repeats in one fold"
        )
    if split:
        named = list_first([*dict.fromkeys(split)], _N_NAMED)
        raise DataError(
            f"clusters are split between folds, so an adapter was trained on cases that belong to "
            f"those that it is tested on: {named}. Build the folds anew (cases build --folds K), "
            "which keeps each cluster in one fold"
        )

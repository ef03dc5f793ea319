"""Compare results that are there already, and publish the verdict like that of a run.

`compare` writes a journal with the common cases, scores and answers of all sides. From there on it
is like any run: `conclude` makes the report, and `report` or `ratings` may follow later.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from plugin import __version__
from plugin.cache import content_key
from plugin.certify.certificate import not_applicable
from plugin.conclude import conclude
from plugin.errors import DataError, FaultError, OptionError, did_you_mean
from plugin.history.sides import JUDGED, MADE_WITH, Side, common_cases, training_of_sides
from plugin.hosts import Host
from plugin.journal import Journal
from plugin.judges import NoJudge
from plugin.plan.params import Params
from plugin.records import Case, Completion, Failure, FailureStage, MetricSpec
from plugin.reopen import require_writable
from plugin.report import write_report
from plugin.report.record import Report
from plugin.run import exit_now
from plugin.run_facts import PooledFacts, RunHeader, RunState
from plugin.worker import Stage, Worker

_NO_CERTIFICATE = "compared from results that were there already"

_OF_ITS_RUN = {
    "model_name": "",
    "model_adapter": (),
    "tuned_model": (),
    "recorded": (),
    "dataset_name": "",
    "train_data": (),
    "human_ratings": (),
    "preference_criteria": "",
    "capability": "off",
    "stop_early": False,
    "out": "",
}
"""Options that a comparison does not take over from the last run, with what they are instead."""

_NOT_DRAWN = {"samples": 1, "temperature": 0.0, "judge_repeats": 1}
"""Instead of how the last run drew its answers, where others drew them otherwise."""


def compare(
    sides: Sequence[Side],
    primary: str,
    host: Host,
    pooled: PooledFacts | None = None,
    proof: str = _NO_CERTIFICATE,
) -> Report:
    """Compare the sides with the first one, on the cases that all have; publish the result.

    Args:
        sides: two or more; the first is the baseline.
        primary: the metric that decides; "" for that of the last side's run, or the first one.
        host: opens the folder, and gets the results.
        pooled: the folds of one recipe, where the sides are made of these.
        proof: what is known of the certificates.

    Raises:
        UserError: when the sides have no case or no comparable metric in common, or the folder
            holds something else.
        KeyboardInterrupt: when the user stopped it.
    """
    with closing(Worker(host.tend, partial(exit_now, host), host.stop_within_s)) as worker:
        worker.progress.begin(Stage.READ_INPUTS)
        cases = worker.run(lambda: common_cases(sides))
        specs, notes = comparable_metrics(sides)
        specs = _primary_first(specs, primary)
        header = _make_header(sides, cases, specs, (*_case_notes(sides, cases), *notes))
        header = replace(header, pooled=pooled)
        folder = host.open(f"compare-{header.run_id}")
        with closing(_open_journal(folder, header)) as journal:
            worker.run(lambda: _fill(journal, header, sides, cases, proof))
            worker.progress.begin(Stage.COMPARE)
            report = worker.run(lambda: conclude(journal, progress=worker.progress))
            try:
                files = worker.run(lambda: write_report(report, folder, worker.progress))
            except OSError as error:
                raise FaultError(f"the results cannot be written into {folder}: {error}") from error
            host.publish(report, files)
    return report


def comparable_metrics(sides: Sequence[Side]) -> tuple[tuple[MetricSpec, ...], tuple[str, ...]]:
    """Return the metrics that mean the same on all sides, and a sentence on each other one.

    Raises:
        DataError: when there is none.
    """
    last = sides[-1]
    named = [{spec.name for spec in side.specs} for side in sides]
    common = [spec for spec in last.specs if all(spec.name in names for names in named)]
    kept, notes = list[MetricSpec](), list[str]()
    for spec in common:
        if changed := what_changed(spec.name, sides):
            notes.append(f"{spec.name} is left out, for it does not mean the same: {changed}")
        else:
            kept.append(spec)
    if not kept:
        each = "; ".join(f"{s.name}: {', '.join(x.name for x in s.specs) or 'none'}" for s in sides)
        why = " ".join(f"{note[0].upper()}{note[1:]}." for note in notes)
        raise DataError(
            f"no metric can be compared. {why} The metrics are: {each}. Score one of the runs "
            "again with the settings of the other (completions come from the cache, --cache_dir)"
            if notes
            else f"no metric is in all of them (preferences are left out): {each}"
        )
    others = dict.fromkeys(spec.name for side in sides for spec in side.specs)
    alone = [name for name in others if not all(name in names for names in named)]
    if alone:
        notes.append(f"not on all sides, and left out: {', '.join(alone)}")
    return tuple(kept), tuple(notes)


def what_changed(metric: str, sides: Sequence[Side]) -> str:
    """Return what a metric's scores depend on that is not the same on all sides; "" for nothing."""
    facts = [side.measured.get(metric, {}) for side in sides]
    names = dict.fromkeys(name for one in facts for name in one)
    told = []
    for name in names:
        values = [one.get(name) for one in facts]
        if any(value != values[0] for value in values):
            told.append(f"{name} ({_each(sides, values)})")
    return "; ".join(told)


def _each(sides: Sequence[Side], values: Sequence[object]) -> str:
    return ", ".join(f"{s.name}: {value}" for s, value in zip(sides, values, strict=True))


def _primary_first(specs: Sequence[MetricSpec], primary: str) -> tuple[MetricSpec, ...]:
    names = [spec.name for spec in specs if spec.decides]
    if primary and primary not in names:
        raise OptionError(
            f"--primary_metric {primary}{did_you_mean(primary, names)}: these can decide here: "
            f"{', '.join(names) or 'none'}"
        )
    if not names:
        raise OptionError(
            "none of these metrics can decide, because nobody knows which difference matters: "
            f"{', '.join(spec.name for spec in specs)}. Say it: --margin NAME=0.5"
        )
    first = primary or names[0]
    ordered = sorted(specs, key=lambda spec: spec.name != first)
    return tuple(replace(s, is_guard=s.is_guard and s.name != first) for s in ordered)


def _case_notes(sides: Sequence[Side], cases: Mapping[str, Case]) -> Iterator[str]:
    """Yield what is not compared, and what differs besides the models."""
    ids = [side.variant.id for side in sides]
    if twins := [s.name for i, s in enumerate(sides) if ids[i] in ids[:i]]:
        yield f"{' and '.join(twins)}: the same model and settings as an earlier one in this list"
    for side in sides:
        if more := len(side.cases) - len(cases):
            yield (
                f"{more:,} of the {len(side.cases):,} cases of {side.name} are not on all sides, "
                "or were changed, and are left out"
            )
        yield from side.notes
    if any(side.training for side in sides):
        blind = [side.name for side in sides if not side.training]
        if blind:
            yield (
                f"the run of {' and '.join(blind)} did not look at training data: its cases are "
                "marked by that of the others"
            )
    first = sides[0].made_with
    for name, value in first.items():
        values = [side.made_with.get(name) for side in sides]
        if any(other != value for other in values):
            yield (
                f"the completions were not made alike ({name}: {_each(sides, values)}), which is "
                "compared too"
            )
            if name == "samples":
                yield "a score is the mean of all samples of its case; the first one is shown"


def _are_drawn_alike(sides: Sequence[Side]) -> bool:
    """Return whether all sides have as many samples and judgments, drawn alike."""
    ways = {
        (
            side.made_with.get("samples", 1),
            side.made_with.get("temperature", 0),
            side.params.judge_repeats if side.params else 1,
        )
        for side in sides
    }
    return len(ways) == 1


def _make_header(
    sides: Sequence[Side],
    cases: Mapping[str, Case],
    specs: Sequence[MetricSpec],
    notes: Sequence[str],
) -> RunHeader:
    last = sides[-1]
    identity: dict[str, object] = {
        **_measure_of(sides, specs),
        "compared": {side.name: side.source for side in sides},
        "metrics": [spec.name for spec in specs],
        "finetune-verdict": __version__,
    }
    digests: dict[str, object] = {
        "cases": content_key([[key, case.id] for key, case in cases.items()]),
        "scores": {side.name: side.digest for side in sides},
        "training data": [side.training.digest for side in sides if side.training],
    }
    params = last.params or Params.parse({})
    without = _OF_ITS_RUN if _are_drawn_alike(sides) else {**_OF_ITS_RUN, **_NOT_DRAWN}
    judged = any(spec.asks_judge for spec in specs)
    return RunHeader(
        run_id=content_key(identity, digests)[:16],
        identity=identity,
        digests=digests,
        params=params.model_copy(update=without).model_dump(mode="json"),
        variants=tuple(side.variant for side in sides),
        metrics=tuple(specs),
        primary_metric=specs[0].name,
        judge=last.judge if judged else NoJudge.label,
        caveat=last.caveat if judged else "",
        notes=tuple(notes),
        strips_thoughts=last.strips_thoughts,
        n_source_rows=len(cases),
        versions={"finetune-verdict": __version__, "engine": "none: nothing was generated"},
    )


def _measure_of(sides: Sequence[Side], specs: Sequence[MetricSpec]) -> dict[str, object]:
    """Return what scores and answers depend on, as a run's identity has it.

    So a comparison may itself be compared, and stand in the history.
    """
    measured = sides[-1].measured
    known = {spec.name: measured[spec.name] for spec in specs if spec.name in measured}
    judged = next((known[s.name] for s in specs if s.asks_judge and s.name in known), {})
    versions = {name: one["version"] for name, one in known.items()}
    made = {side.name: dict(side.made_with) for side in sides if side.made_with}
    values = {name: [one[name] for one in made.values()] for name in sides[-1].made_with}
    return {
        **{key: judged[name] for name, key in JUDGED.items() if name in judged},
        **{name: own[0] for name, own in values.items() if all(one == own[0] for one in own)},
        **({"versions of metrics": versions} if versions else {}),
        **({MADE_WITH: made} if made else {}),
    }


def _open_journal(folder: Path, header: RunHeader) -> Journal:
    """Open the folder's journal; one of the same comparison is written anew.

    Raises:
        OptionError: when it holds a run, or another comparison.
    """
    require_writable(folder)
    journal = Journal(folder)
    try:
        journal.lock()
        if journal.has_begun and "compared" not in journal.header.identity:
            raise OptionError(f"--out {folder} holds a run of its own; choose another folder")
    except BaseException:
        journal.close()
        raise
    return journal


def _fill(
    journal: Journal,
    header: RunHeader,
    sides: Sequence[Side],
    cases: Mapping[str, Case],
    proof: str,
) -> None:
    """Write cases, scores, failures and answers of all sides, all of it or nothing."""
    with journal.transaction():
        journal.begin(header, tuple(cases.values()), ())
        certificates = [not_applicable(side.name, proof) for side in sides[1:]]
        journal.save_state(
            RunState(
                certificates={one.variant: asdict(one) for one in certificates},
                evaluation_steps={
                    spec.name: steps
                    for spec in header.metrics
                    if (steps := sides[-1].steps.get(spec.name))
                },
                training=training_of_sides(sides, cases),
            )
        )
        for side in sides:
            _add_side(journal, header, side, cases)


def _add_side(journal: Journal, header: RunHeader, side: Side, cases: Mapping[str, Case]) -> None:
    for key, case in cases.items():
        if completion := side.completions.get(key):
            _add_answer(journal, key, completion.copy_for(case.id, side.name))
        for one in side.later.get(key, ()):
            made = replace(one.copy_for(case.id, side.name), sample=one.sample)
            _add_answer(journal, key, made)
        for spec in header.metrics:
            if score := side.scores.get((key, spec.name)):
                journal.add_score(replace(score, case_id=case.id))
                single = side.sample_scores.get((key, spec.name), ())
                journal.add_sample_scores(
                    [replace(one, case_id=case.id, variant=side.name) for one in single]
                )
            elif spec.fits(case):
                found = side.failures
                why = found.get((key, spec.name)) or found.get((key, "")) or "it was not scored"
                stage: FailureStage = "judge" if spec.asks_judge else "metric"
                journal.add_failure(Failure(case.id, stage, why, side.name, spec.name))


def _add_answer(journal: Journal, key: str, made: Completion) -> None:
    journal.add_answer(content_key(made.variant, key, made.text), made, shared=False)

"""Sides of a comparison: each a variant with its cases, scores and, where known, answers.

A side comes from the files of another tool (`scored_side`) or from the journal of an earlier run
(`run_side`). `common_cases` finds the cases that all sides have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from plugin.cache import content_key
from plugin.errors import DataError, OptionError
from plugin.history.scored import ScoredFile, ScoredItem
from plugin.journal import Journal
from plugin.load.repeats import cluster_repeats
from plugin.plan.params import Params
from plugin.records import Case, Completion, Message, MetricSpec, Score, Variant
from plugin.reopen import open_run, parse_params
from plugin.sample_rows import SampleScore
from plugin.training_facts import CaseMark, TrainingFacts

JUDGED = {"judge": "judge", "second judge": "second_judge", "DeepEval": "deepeval"}
"""What a judge's scores depend on -> its name in the identity of a run."""

MADE_WITH = "made with"
"""Where the identity of a comparison says how each side's answers were made."""

Place = tuple[str, str]
"""A case's key, and a metric."""


@dataclass(frozen=True, slots=True)
class Side:
    """One variant, with all that is known of it.

    Attributes:
        name: as shown; unique in a comparison.
        source: where it comes from, for the reader.
        variant: what it was in its run; of scored files, only a name.
        cases: key -> the case, in order.
        scores: (key, metric) -> score with its reason.
        failures: (key, metric) -> why there is no score.
        completions: key -> what it wrote, where that is known; of several samples the first.
        later: key -> the other samples of the case, where it has several.
        sample_scores: (key, metric) -> the scores of single samples.
        specs: its metrics.
        measured: metric -> what its scores depend on besides the answer, by name.
        steps: metric -> the steps of its judge.
        made_with: what the completions depend on besides the model, by name.
        params: the options of its run; None for scored files.
        judge: as shown; "" for none.
        caveat: what must be said of the judge; "" for nothing.
        strips_thoughts: whether only what follows the thoughts was scored.
        training: the training data that its run looked at; None for none.
        marks: key -> how the case stands beside that data.
        notes: what the reader must know, a sentence each.
    """

    name: str
    source: str
    variant: Variant
    cases: Mapping[str, Case]
    scores: Mapping[Place, Score]
    failures: Mapping[Place, str]
    completions: Mapping[str, Completion]
    specs: tuple[MetricSpec, ...]
    later: Mapping[str, Sequence[Completion]] = field(default_factory=dict)
    sample_scores: Mapping[Place, Sequence[SampleScore]] = field(default_factory=dict)
    measured: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    steps: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    made_with: Mapping[str, object] = field(default_factory=dict)
    params: Params | None = None
    judge: str = ""
    caveat: str = ""
    strips_thoughts: bool = False
    training: TrainingFacts | None = None
    marks: Mapping[str, CaseMark] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Return the digest of its scores."""
        return content_key([[*place, one.value] for place, one in sorted(self.scores.items())])


def scored_side(name: str, files: Mapping[str, ScoredFile], specs: Sequence[MetricSpec]) -> Side:
    """Return a side made of the files of one model.

    Raises:
        DataError: when two files hold the same item.
    """
    items: dict[str, ScoredItem] = {}
    for path, file in files.items():
        for item in file.items:
            if item.key in items:
                raise DataError(
                    f"--scored {name}={path}: item {item.name} is in another file of {name}, too"
                )
            items[item.key] = item
    scores, failures = dict[Place, Score](), dict[Place, str]()
    if len({item.group for item in items.values()}) == 1:  # which would say everything twice
        items = {key: replace(item, group=None) for key, item in items.items()}
    for key, item in items.items():
        for spec in specs:
            value = item.scores.get(spec.name)
            if value is None:
                why = item.problem or "the tool has no score for it"
                failures[key, spec.name] = why
            else:
                reason = item.reasons.get(spec.name) or None
                scores[key, spec.name] = Score(item.name, name, spec.name, value, reason)
    tools = ", ".join(dict.fromkeys(file.tool for file in files.values()))
    models = ", ".join(dict.fromkeys(file.model for file in files.values() if file.model))
    source = f"{', '.join(Path(path).name for path in files)} ({tools})"
    return Side(
        name=name,
        source=source,
        variant=Variant(name, content_key(name, source), models or f"scores of {source}"),
        cases={key: _case_of(item) for key, item in items.items()},
        scores=scores,
        failures=failures,
        completions={
            key: Completion(item.name, name, item.answer, (), None, None, None)
            for key, item in items.items()
            if item.answer is not None
        },
        specs=tuple(specs),
        notes=tuple(
            f"{Path(path).name}: {note}" for path, file in files.items() for note in file.notes
        ),
    )


def _case_of(item: ScoredItem) -> Case:
    return Case(
        id=item.name,
        messages=(Message("user", item.question or item.name),),
        expected_output=item.expected,
        group=item.group,
    )


def run_side(folder: Path, wanted: str = "", name: str = "") -> Side:
    """Return a variant of an earlier run.

    Args:
        folder: the run's.
        wanted: the variant's name in it; "" for the only one besides the base.
        name: as shown in the comparison; "" for one made of folder and variant.

    Raises:
        OptionError: when the folder holds no run, or not that variant.
        DamagedError: when its journal is damaged.
    """
    journal = open_run(folder)
    try:
        return side_of(journal, folder, wanted, name)
    finally:
        journal.close()


def side_of(journal: Journal, folder: Path, wanted: str, name: str) -> Side:
    """Return a variant of the journal's run; the arguments are those of `run_side`."""
    header, state, params = journal.header, journal.state, parse_params(journal)
    variant = _choose_variant([*header.variants], folder, wanted)
    own, cases = variant.name, journal.cases()
    keys = dict(zip((case.id for case in cases), case_keys(cases), strict=True))
    shown = name or f"{folder.resolve().name} {own}"
    identity = header.identity
    judged = {name: identity.get(key) for name, key in JUDGED.items()}
    versions, made_with = identity.get("versions of metrics"), _made_with(identity, own)
    samples = {place: some for place, some in journal.samples().items() if place[1] == own}
    single: dict[Place, list[SampleScore]] = {}
    for score in journal.sample_scores():
        if score.variant == own:
            single.setdefault((keys[score.case_id], score.metric), []).append(score)
    measured = {
        spec.name: {
            "direction and range": [spec.higher_is_better, spec.low, spec.high],
            "version": versions.get(spec.name, 1) if isinstance(versions, Mapping) else 1,
            "settings": None if spec.asks_judge else params.task_settings,
            "thoughts": header.strips_thoughts,
            **(judged if spec.asks_judge else {}),
            "steps": state.evaluation_steps.get(spec.name, ()),
            **({"samples": made_with["samples"]} if spec.compares_samples else {}),
        }
        for spec in header.metrics
    }
    return Side(
        name=shown,
        source=f"{folder} ({own}, run {header.run_id})",
        variant=replace(variant, name=shown),
        cases={keys[case.id]: case for case in cases},
        scores={
            (keys[one.case_id], one.metric): replace(one, variant=shown)
            for one in journal.scores()
            if one.variant == own
        },
        failures={
            (keys[one.case_id], one.metric or ""): one.reason
            for one in journal.failures()
            if one.variant == own and one.baseline is None and one.case_id in keys
        },
        completions={
            keys[case_id]: some[0].copy_for(case_id, shown)
            for (case_id, _), some in samples.items()
        },
        later={keys[case_id]: some[1:] for (case_id, _), some in samples.items() if len(some) > 1},
        sample_scores=single,
        specs=tuple(s for s in header.metrics if not s.is_relative and not s.judges_data),
        measured=measured,
        steps=state.evaluation_steps,
        made_with=made_with,
        params=params,
        judge=header.judge,
        caveat=header.caveat,
        strips_thoughts=header.strips_thoughts,
        training=state.training,
        marks={
            keys[one.id]: one
            for one in (state.training.marks if state.training else ())
            if one.id in keys
        },
        notes=(f"{shown}: judging of its run stopped early",) if state.stopped_early else (),
    )


def _made_with(identity: Mapping[str, object], variant: str) -> Mapping[str, object]:
    """Return what a variant's answers depend on; each side of a comparison has its own."""
    of_sides = identity.get(MADE_WITH)
    own = of_sides.get(variant) if isinstance(of_sides, Mapping) else None
    found = own if isinstance(own, Mapping) else identity
    return {name: found.get(name, default) for name, default in _MADE_WITH.items()}


_MADE_WITH = {
    **dict.fromkeys(("max_tokens", "chat_template", "thinking")),
    **{"samples": 1, "temperature": 0},
}
"""What answers depend on -> what it is where the identity of a run does not name it."""


def _choose_variant(variants: Sequence[Variant], folder: Path, wanted: str) -> Variant:
    names = [variant.name for variant in variants]
    if wanted:
        if wanted not in names:
            raise OptionError(f"{folder} has no variant {wanted!r}; it has {', '.join(names)}")
        return variants[names.index(wanted)]
    tuned = variants[1:] or variants
    if len(tuned) > 1:
        raise OptionError(
            f"{folder} has several variants; name one: "
            + ", ".join(f"{folder}#{one.name}" for one in variants)
        )
    return tuned[0]


def case_keys(cases: Sequence[Case]) -> list[str]:
    """Return what tells each case from the others by its content, whatever its id and place.

    It is made of the whole conversation, the context and the right answers; a repeated case gets a
    number.
    """
    seen: dict[str, int] = {}
    keys = []
    for case in cases:
        turns = [[turn.role, turn.content] for turn in case.messages]
        beside = [asdict(case.tests)] if case.tests else []
        own = content_key(turns, case.context, case.right_answers, case.expect, *beside)
        seen[own] = number = seen.get(own, -1) + 1
        keys.append(f"{own}#{number}")
    return keys


def common_cases(sides: Sequence[Side]) -> dict[str, Case]:
    """Return key -> case for the cases that all sides have, in the order of the last side.

    Repeats of a case form a cluster. Ids are those of the last side; where they are not unique
    there, a number is added.

    Raises:
        DataError: when there is none.
    """
    last = sides[-1].cases
    keys = [key for key in last if all(key in side.cases for side in sides)]
    if not keys:
        each = "; ".join(f"{side.name} has {len(side.cases):,}" for side in sides)
        raise DataError(
            f"no case is in all of them ({each}): cases are the same if question, context and "
            "expected answer are"
        )
    seen: dict[str, int] = {}
    cases = []
    for case in cluster_repeats([last[key] for key in keys]):
        seen[case.id] = number = seen.get(case.id, 0) + 1
        cases.append(case if number == 1 else replace(case, id=f"{case.id} ({number})"))
    return dict(zip(keys, cases, strict=True))


def training_of_sides(sides: Sequence[Side], cases: Mapping[str, Case]) -> TrainingFacts | None:
    """Return how the cases stand beside the training data of all sides; None without such data.

    A case that stands in the data of one side is not clean for any: it would help that side alone.
    What was recited stays with the runs, whose draws of rows may differ.
    """
    known = {one.digest: one for side in sides if (one := side.training)}
    if not known:
        return None
    found = list(known.values())
    rank = {"copied": 0, "near": 1, "clean": 2}
    marks = list[CaseMark]()
    for key, case in cases.items():
        own = [side.marks[key] for side in sides if key in side.marks]
        if own:
            strongest = min(own, key=lambda one: (rank[one.mark], -one.similarity))
            marks.append(replace(strongest, id=case.id))
    return TrainingFacts(
        files=tuple(dict.fromkeys(name for one in found for name in one.files)),
        digest=found[0].digest if len(found) == 1 else content_key(sorted(known)),
        n_rows=sum(one.n_rows for one in found),
        n_unused=sum(one.n_unused for one in found),
        marks=tuple(marks),
        notes=tuple(dict.fromkeys(note for one in found for note in one.notes)),
    )

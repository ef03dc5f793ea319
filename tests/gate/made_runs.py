"""Finished runs, made in a journal without model or judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from plugin import __version__
from plugin.gate.command import gate_files, run_gate
from plugin.gate.decide import Decision, GateResult
from plugin.gate.reading import GateRun, read_run
from plugin.journal import Journal
from plugin.metrics import METRICS
from plugin.plan.gate_rules import read_order
from plugin.records import VANILLA, Case, Completion, Failure, MetricSpec, Score, Variant
from plugin.run_facts import RunHeader, RunState
from tests.samples import case

CORRECTNESS = METRICS["correctness"].spec
F1 = METRICS["token_f1"].spec
HALLUCINATION = replace(METRICS["hallucination"].spec, is_guard=True)
WORSE = (-0.4, -0.2, -0.3, -0.1, -0.5, 0.0, -0.3, -0.2, -0.4, -0.3)
BETTER = tuple(-gain for gain in WORSE)
EVEN = (0.1, -0.1, 0.2, -0.2, 0.0, 0.1, -0.1, 0.0, 0.3, -0.3)
SLIGHTLY_WORSE = (-0.4, 0.3, -0.3, 0.2, -0.5, 0.4, -0.2, 0.3, -0.3, 0.2)
"""Ten gains; a run repeats them, so that their mean and spread are known."""

Gains = Mapping[str, Mapping[MetricSpec, Sequence[float]]]
"""Variant -> metric -> gains, which are repeated over the cases."""


def header(variants: Sequence[str], metrics: Sequence[MetricSpec], **changed: object) -> RunHeader:
    found = RunHeader(
        run_id="0123456789abcdef",
        identity={},
        digests={},
        params={"seed": 7},
        variants=tuple(Variant(name, f"id of {name}", "a model") for name in variants),
        metrics=tuple(metrics),
        primary_metric=metrics[0].name,
        judge="openai:gpt-4o-mini",
        versions={"finetune-verdict": __version__},
    )
    return replace(found, **changed)  # type: ignore[arg-type]


def write_run(
    folder: Path,
    gains: Gains,
    n: int = 60,
    cases: Sequence[Case] = (),
    completions: Sequence[Completion] = (),
    failures: Sequence[Failure] = (),
    missing: Sequence[Score] = (),
    state: RunState | None = None,
    **changed: object,
) -> Path:
    """Write the journal of a run whose variants have these gains over a base of 0.5."""
    names = [VANILLA, *gains]
    metrics = list(next(iter(gains.values())))
    cases = cases or [case(str(i), input=f"Question {i}?") for i in range(n)]
    without = {(f.case_id, f.variant, f.metric) for f in failures}
    without |= {(s.case_id, s.variant, s.metric) for s in missing}
    with closing(Journal(folder)) as journal:
        with journal.transaction():
            journal.begin(header(names, metrics, **changed), tuple(cases), ())
            for spec in metrics:
                for i, one in enumerate(cases):
                    for name in names:
                        own = 0.0 if name == VANILLA else gains[name][spec][i % 10]
                        value = 0.5 + (own if spec.higher_is_better else -own)
                        if (one.id, name, spec.name) not in without:
                            journal.add_score(Score(one.id, name, spec.name, value))
            for failure in failures:
                journal.add_failure(failure)
            for made in completions:
                journal.add_answer(f"{made.case_id} {made.variant}", made)
            if state:
                journal.save_state(state)
    return folder


def gate(folder: Path, **rules: object) -> tuple[GateRun, GateResult]:
    """Decide rules on a run, as they would be typed."""
    order = read_order(rules)
    run = replace(read_run(folder, order.variant), n_resamples=2_000)
    return run, run_gate(run, order)


def decision(folder: Path, **rules: object) -> Decision:
    """Decide a single rule."""
    (found,) = gate(folder, **rules)[1].decisions
    return found


def files(folder: Path, **rules: object) -> dict[str, str]:
    """Return the files of a gate."""
    return gate_files(*gate(folder, **rules))

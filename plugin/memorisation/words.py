"""What the training data shows, in words; and the verdict on the clean cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from plugin.compare.comparisons import VerdictSettings, compare, summarise
from plugin.compare.numbers import (
    format_count,
    format_interval,
    format_number,
    format_percent,
)
from plugin.compare.pairs import Evidence
from plugin.compare.verdict import decide_verdict
from plugin.memorisation.report import (
    CLEAN_CASES,
    GapView,
    Mean,
    Memorisation,
    RecitalView,
    compare_marks,
    memorisation_of,
)
from plugin.records import ALL
from plugin.results import Comparison, Verdict
from plugin.training_facts import LEADING_SHARE, TrainingFacts

Withhold = Callable[[tuple[Comparison, ...]], tuple[Comparison, ...]]

_MEANING = {
    "generalised": "what it learned carries over to cases that it never saw",
    "partly generalised": "what it learned carries over in part",
    "memorised": "it learned these rows by heart, and little beyond them",
    "not learned": "it does not find the training answers clearly likelier than the base does",
    "can't tell": "there are too few answers to compare",
}


def weigh_training(
    verdict: Verdict,
    comparisons: tuple[Comparison, ...],
    evidence: Evidence,
    facts: TrainingFacts,
    settings: VerdictSettings,
    withhold: Withhold,
) -> tuple[Memorisation, Verdict, tuple[Comparison, ...]]:
    """Return what the training data shows, the verdict, and the comparisons that decide it.

    Where too many cases stand in the training data, the verdict is that on the clean ones.

    Args:
        verdict: on all cases.
        comparisons: of all cases.
        evidence: the run's scores.
        facts: what is known of the training data.
        settings: how the verdict was made.
        withhold: takes back outcomes that mean nothing.
    """
    memory = memorisation_of(facts, evidence, settings)
    rows = withhold(compare_marks(facts, evidence, settings))
    memory = replace(memory, lines=memorisation_lines(memory), by_mark=rows)
    if not memory.leads:
        return memory, verdict, comparisons
    verdict, deciding = lead_with_clean(verdict, comparisons, evidence, facts, settings, withhold)
    if deciding is not comparisons:
        others = tuple(row for row in rows if not row.group.startswith(CLEAN_CASES))
        memory = replace(memory, deciding=deciding, by_mark=others)
    return memory, verdict, deciding


def lead_with_clean(
    verdict: Verdict,
    comparisons: tuple[Comparison, ...],
    evidence: Evidence,
    facts: TrainingFacts,
    settings: VerdictSettings,
    withhold: Withhold,
) -> tuple[Verdict, tuple[Comparison, ...]]:
    """Return the verdict on the clean cases in the place of the whole, and its comparisons.

    The whole verdict's sentence becomes the first detail. A run that stops early, or that has
    nothing to compare, keeps its verdict.

    Args:
        verdict: on all cases.
        comparisons: of all cases.
        evidence: the run's scores.
        facts: what is known of the training data.
        settings: how the verdict was made.
        withhold: takes back outcomes that mean nothing.
    """
    if settings.early or settings.is_withheld or len(evidence.variants) == 1:
        return verdict, comparisons
    ids = facts.ids("clean")
    cases = [case for case in evidence.cases if case.id in ids]
    label = f"[{settings.judge_label}] " if settings.judge_label else ""
    n_all = format_count(len(evidence.cases))
    whole = f"Over all {n_all} cases: {verdict.sentence.removeprefix(label)}"
    if not cases:
        sentence = (
            f"{label}Can't tell whether {verdict.variant} is better: all {n_all} cases stand in "
            "the training data or are near to it, so they show what it memorised"
        )
        found = replace(verdict, outcome="can't tell", sentence=f"{sentence}.")
        return replace(found, details=(whole, *verdict.details)), comparisons
    own = replace(evidence, cases=cases)
    how = replace(settings, n_expected=len(cases), beside={})
    rows = withhold(compare(own, how))
    found = decide_verdict(own, summarise(own, how), rows, how)
    n_clean = format_count(len(cases))
    head = f"{label}On the {n_clean} of {n_all} cases that are not in the training data: "
    said = found.sentence.removeprefix(label)
    sentence = head + said.replace("Can't tell", "can't tell", 1)
    beside = (f"On the clean cases: {line}" for line in found.beside)
    return replace(found, sentence=sentence, details=(*beside, whole, *verdict.details)), rows


def memorisation_lines(found: Memorisation) -> tuple[str, ...]:
    """Return what the reader must know, a sentence each, the most important first."""
    lines = [_overlap_line(found), *_gain_lines(found)]
    if found.leads and found.gains:
        lines.append(
            f"More than {format_percent(LEADING_SHARE)} of the cases are not clean, so the verdict "
            "is that on the clean ones."
        )
    lines += _recital_lines(found.recitals)
    lines += [_gap_line(view) for view in found.gaps]
    lines += _source_lines(found)
    lines += _item_lines(found)
    return tuple(lines)


def _overlap_line(found: Memorisation) -> str:
    counts = found.counts
    rows = format_count(found.n_rows, "row", "rows")
    unused = f", {format_count(found.n_unused)} more could not be read" if found.n_unused else ""
    return (
        f"Training data ({rows}{unused}): of {format_count(found.n_cases, 'case', 'cases')}, "
        f"{format_count(counts['copied'])} are copied from it, {format_count(counts['near'])} are "
        f"near to it, {format_count(counts['clean'])} are clean."
    )


def _gain_lines(found: Memorisation) -> list[str]:
    lines = []
    for name in dict.fromkeys(one.variant for one in found.gains):
        own = {one.mark: one.gain for one in found.gains if one.variant == name}
        parts = [f"{_gain(own[ALL])} in all"]
        parts += [f"{_gain(own[mark])} on {mark}" for mark in ("copied", "near") if own[mark].n]
        clean = own["clean"]
        if clean.n:
            ends = format_interval(clean.ci_low, clean.ci_high, signed=True)
            parts.append(f"{_gain(clean)} on clean cases (n={format_count(clean.n)}, {ends})")
        else:
            parts.append("no clean case")
        lines.append(f"{found.metric}, {name}: gain {', '.join(parts)}.")
    return lines


def _gain(value: Mean) -> str:
    return format_number(value.mean, signed=True)


def _recital_lines(views: Sequence[RecitalView]) -> list[str]:
    lines = []
    for view in views:
        if view.over_base is None:
            continue
        base = views[0]
        ends = format_interval(view.over_base.ci_low, view.over_base.ci_high, signed=True)
        lines.append(
            f"{view.variant} recites {format_count(view.n_whole)} of {format_count(view.share.n)} "
            f"training answers, {base.variant} {format_count(base.n_whole)}. In one piece it "
            f"writes {format_percent(view.share.mean)} of an answer, {base.variant} "
            f"{format_percent(base.share.mean)} (difference "
            f"{format_number(view.over_base.mean, signed=True)}, {ends})."
        )
    for view in views:
        if view.n_verbatim:
            lines.append(
                f"{format_count(view.n_verbatim, 'completion', 'completions')} of {view.variant} "
                f"hold training text word for word that is not in the case, "
                f"{format_count(view.n_unrelated)} of them on clean cases."
            )
    return lines


def _gap_line(view: GapView) -> str:
    said = {
        "trained": "on training rows",
        "rephrased": "in other words",
        "unseen": "on clean cases",
    }
    parts = [
        f"{_gain(mean)} {said[side]} (n={format_count(mean.n)})"
        for side, mean in view.sides.items()
    ]
    whole = view.sides["trained"].mean if "trained" in view.sides else None
    kept = ""
    if whole and view.word in ("generalised", "partly generalised", "memorised"):
        shares = [
            f"{format_percent((view.sides[side].mean or 0) / whole)} {said[side]}"
            for side in ("rephrased", "unseen")
            if side in view.sides
        ]
        kept = f" It keeps {' and '.join(shares)}."
    return (
        f"{view.variant}, {view.word}: {_MEANING[view.word]}. Its gain in likelihood, in nats per "
        f"token of the answer: {', '.join(parts)}.{kept}"
    )


def _source_lines(found: Memorisation) -> list[str]:
    if not found.is_same_source:
        return []
    return [
        "The clean cases are as much like training rows "
        f"({format_percent(found.clean_similarity)} of their three-word sequences stand in one) as "
        f"these are like each other ({format_percent(found.own_similarity)}): both come from the "
        "same source. The result holds for more cases of this source; it does not show how the "
        "model does on others."
    ]


def _item_lines(found: Memorisation) -> list[str]:
    if not found.items:
        return []
    n = format_count(len(found.items))
    return [
        f"{n} of {format_count(found.n_items)} questions of general ability stand in the training "
        "data or are near to it; what they show of it may be memory."
    ]

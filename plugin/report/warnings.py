"""Write the warnings of a run, and the notes on its metrics and its judging.

Warnings are about prompts, completions, cases, the judge and failures. Notes are part of the
verdict's details: metrics with special units, calls and tokens of judging, agreement of judges.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from plugin.compare.numbers import (
    format_count,
    format_number,
    format_percent,
    format_range,
    format_rough,
)
from plugin.compare.pairs import clusters_of
from plugin.errors import list_first
from plugin.journal import Journal
from plugin.keys import MASKED
from plugin.records import (
    ALL,
    SYNTHETIC,
    Case,
    Completion,
    MetricSpec,
    Variant,
    is_prompted,
)
from plugin.results import Comparison, Summary
from plugin.run_facts import RunState
from plugin.trust.rater_stats import krippendorff_alpha

_N_VERSIONS = 3
"""Versions of a judge's model that a warning names; summary.json has them all."""


def run_warnings(
    journal: Journal,
    variants: tuple[Variant, ...],
    completions: Mapping[tuple[str, str], Completion],
) -> tuple[str, ...]:
    """Return all warnings of a run, a sentence each."""
    header, state = journal.header, journal.state
    found = list(state.prompt_notes)
    cases = journal.cases()
    found += masked_completions(variants, completions)
    for variant in variants:
        found += _cut_off_completions(variant, cases, completions)
    found += _differing_prompts(state, variants)
    for prompt in (variant.name for variant in variants if is_prompted(variant.name)):
        found += _idle_prompt(variants[0].name, prompt, cases, completions)
    if not any(spec.key == "classification" for spec in header.metrics):
        found += _cases_answered_alike(variants, cases, completions)
    for judge in header.self_judging:
        found.append(
            f"the judge {judge} is the model under test, so it grades its own answers. Choose "
            "another judge before you trust these scores"
        )
    found += header.notes
    if state.halted:
        found.append(
            f"judging ended early: {state.halted}. To continue, start the same run with a higher "
            "limit"
        )
    versions = journal.judge_versions()
    if len(versions) > 1:
        found.append(
            f"the judge's provider reported {len(versions)} versions of its model during this run "
            f"({list_first(versions, _N_VERSIONS)}), so its scores may not be comparable with each "
            "other"
        )
    failures = [failure for failure in journal.failures() if failure.stage != "data"]
    if failures:
        reasons = Counter(failure.reason for failure in failures)
        ((commonest, n_times),) = reasons.most_common(1)
        again = (
            ""
            if not any(failure.retry for failure in failures)
            else "; start the same run to try them again"
        )
        found.append(
            f"{len(failures)} scores or completions failed, {n_times} of them because: "
            f"{commonest[:200]}. 04_failures.csv lists them all{again}"
        )
    n_bad = sum(failure.stage == "data" for failure in journal.failures())
    if n_bad:
        found.append(f"{n_bad} of {header.n_source_rows} rows could not be used")
    return tuple(found)


_MIN_ALIKE_WORDS = 4
"""Shorter answers are labels, which many cases share."""


def _cases_answered_alike(
    variants: tuple[Variant, ...],
    cases: tuple[Case, ...],
    completions: Mapping[tuple[str, str], Completion],
) -> list[str]:
    """Warn about cases that differ only in the input: they may be rephrased questions."""
    alike: dict[tuple[str, ...], list[Case]] = {}
    for case in cases:
        made = [completions.get((case.id, variant.name)) for variant in variants]
        texts = [*(case.right_answers or ("",)), *(one.text if one else "" for one in made)]
        is_label = max(len(text.split()) for text in texts) < _MIN_ALIKE_WORDS
        if all(texts) and not is_label:
            alike.setdefault(tuple(texts), []).append(case)
    apart = [group for group in alike.values() if _n_clusters(group) > 1]
    if not apart:
        return []
    n, shown = sum(map(len, apart)), ", ".join(case.id for case in apart[0][:5])
    return [
        f"{n} of {len(cases)} cases have the same expected output and completions as another case, "
        f"but a different input (such as {shown}). If they are the same question in other words, "
        "give them the same value in the cluster column; otherwise the interval is too narrow"
    ]


def _n_clusters(cases: Sequence[Case]) -> int:
    clusters = clusters_of(cases)
    return len(cases) if clusters is None else len(set(clusters))


def _differing_prompts(state: RunState, variants: tuple[Variant, ...]) -> list[str]:
    """Warn about models that get other token ids than the baseline for the same prompt."""
    base, own, others = variants[0], state.prompts, state.other_prompts
    if own is None:
        return []
    return [
        f"the prompts of {variant.name} have other token ids than those of {base.name} "
        f"({others[variant.name].n_tokens} and {own.n_tokens} tokens over all cases). Their "
        "tokenizers or chat templates differ; each model is compared with its own"
        for variant in variants
        if variant.name in others
        and variant.system_prompt == base.system_prompt
        and others[variant.name].digest != own.digest
    ]


def _idle_prompt(
    base_name: str,
    prompt: str,
    cases: tuple[Case, ...],
    completions: Mapping[tuple[str, str], Completion],
) -> list[str]:
    if prompt == base_name:
        return []
    pairs = [(completions.get((c.id, base_name)), completions.get((c.id, prompt))) for c in cases]
    both = [(base, own) for base, own in pairs if base and own]
    if not both or any(base.text != own.text for base, own in both):
        return []
    return [
        f"the baseline prompt changed no output: all {len(both)} completions of {prompt} equal "
        f"{base_name}'s, so comparing with it shows nothing. Choose another prompt"
    ]


def masked_completions(
    variants: Sequence[Variant], completions: Mapping[tuple[str, str], Completion]
) -> list[str]:
    """Warn about completions in which a secret was replaced, with their number per variant."""
    n_masked = Counter(name for (_, name), one in completions.items() if one.is_masked)
    if not n_masked:
        return []
    n_made = Counter(name for _, name in completions)
    names = [variant.name for variant in variants if n_masked[variant.name]]
    counts = ", ".join(f"{n_masked[name]} of {n_made[name]} of {name}" for name in names)
    return [
        f"completions held a secret of this run, such as an API key: {counts}. It was replaced by "
        f"{MASKED} before anything was written or judged. What made them repeats what it should "
        "not show: check the inference server or the recorded file, and replace that key"
    ]


def _cut_off_completions(
    variant: Variant,
    cases: tuple[Case, ...],
    completions: Mapping[tuple[str, str], Completion],
) -> list[str]:
    own = [completions[c.id, variant.name] for c in cases if (c.id, variant.name) in completions]
    n_cut = sum(completion.finish_reason == "length" for completion in own)
    if not n_cut:
        return []
    if n_cut == len(own):
        return [
            f"all {len(own)} completions of {variant.name} were cut off at --max_tokens, so their "
            "scores say little. Check that the model has an end-of-text token (eos_token_id in "
            "generation_config.json, eos_token in tokenizer_config.json, the end of a turn in the "
            "chat template), or raise --max_tokens"
        ]
    return [
        f"{n_cut} of {len(own)} completions of {variant.name} were cut off at --max_tokens; "
        "a cut-off answer may score lower than it deserves"
    ]


_MOST_NATS = 700.0
"""For larger values exp overflows."""


def metric_notes(
    specs: Sequence[MetricSpec],
    summaries: Sequence[Summary],
    comparisons: Sequence[Comparison],
) -> list[str]:
    """Return lines on metrics for the verdict's details; none for metrics from 0 to 1."""
    overall = [row for row in comparisons if row.group == ALL]
    lines = []
    for spec in specs:
        if spec.needs_likelihood:
            lines += _as_perplexity(spec, summaries)
        if any(row.metric == spec.name and not row.holds_at_worst for row in overall):
            lines += _unbounded_note(spec)
    for caveat in dict.fromkeys(spec.caveat for spec in specs if spec.caveat):
        names = ", ".join(spec.title for spec in specs if spec.caveat == caveat)
        lines.append(f"{names}: {caveat}.")
    return [*_synthetic_notes(specs, comparisons), *lines]


def _synthetic_notes(specs: Sequence[MetricSpec], comparisons: Sequence[Comparison]) -> list[str]:
    """Say how many of the cases that decide have a question that a judge wrote, and their gain."""
    primary = next((spec.name for spec in specs if spec.decides), "")
    whole = {
        (row.variant, row.baseline): row
        for row in comparisons
        if (row.metric, row.group) == (primary, ALL) and row.gain is not None
    }
    lines = []
    for row in comparisons:
        if (row.metric, row.group) != (primary, SYNTHETIC) or not row.n:
            continue
        if (every := whole.get((row.variant, row.baseline))) is None or row.gain is None:
            continue
        n_real = every.n - row.n
        others = "all of them are"
        if n_real:
            real = ((every.gain or 0.0) * every.n - row.gain * row.n) / n_real
            others = f"on the {n_real:,} real ones {format_number(real, signed=True)}"
        lines.append(
            f"{row.n:,} of the {every.n:,} cases on {primary} are synthetic: a judge wrote their "
            f"questions. {row.variant} over {row.baseline}: gain "
            f"{format_number(row.gain, signed=True)} on these, {others}."
        )
    return lines


def _as_perplexity(spec: MetricSpec, summaries: Sequence[Summary]) -> list[str]:
    means = [
        f"{row.variant} {_perplexity(row.mean)}"
        for row in summaries
        if (row.metric, row.group) == (spec.name, ALL) and row.mean is not None
    ]
    if not means:
        return []
    return [
        f"{spec.name} is scored and compared in {spec.unit}. As perplexity (exp of the mean): "
        f"{', '.join(means)}."
    ]


def _unbounded_note(spec: MetricSpec) -> list[str]:
    if spec.is_bounded:
        return []
    return [
        f"{spec.name} has no worst score that could count for a failed case, so it cannot show a "
        "difference while cases fail. Fix these cases, or remove them from the data: "
        "04_failures.csv lists them."
    ]


def _perplexity(nats: float) -> str:
    if nats > _MOST_NATS:
        return f"exp({nats:.0f})"
    value = math.exp(nats)
    return format_number(value) if value < 1000 else format_rough(value, 3)


def judging_notes(journal: Journal) -> list[str]:
    """Return lines on judging for the verdict's details; none for a run without a real judge."""
    return [*_panel_note(journal), *_second_judge_note(journal), *_call_note(journal)]


def _call_note(journal: Journal) -> list[str]:
    spent = journal.state.judge_calls
    if journal.header.caveat or not (spent.n_calls or spent.n_cached):
        return []
    estimated = " (estimated for calls without an answer)" if spent.n_lost else ""
    cost = f", {spent.cost:.4f} dollars{estimated}" if spent.cost else ""
    others = [
        f"{format_count(n)} {words}"
        for n, words in (
            (spent.n_cached, "answered from stored judgments"),
            (spent.n_retries, "retried"),
            (spent.n_lost, "given up or cut off before an answer"),
            (spent.n_unfit, "answers rejected"),
            (spent.n_repaired, "answers repaired"),
        )
        if n
    ]
    also = f" ({', '.join(others)})" if others else ""
    return [
        f"Judging took {format_count(spent.n_calls)} calls{also}, "
        f"{format_count(spent.n_prompt_tokens)} tokens read and "
        f"{format_count(spent.n_completion_tokens)} written{cost}."
    ]


def _panel_note(journal: Journal) -> list[str]:
    asked = journal.state.second_judge
    second = asked.judge if asked else None
    given = [one for one in _given_by_judges(journal) if one.judge != second]
    judges = sorted({one.judge for one in given})
    if len(judges) < 2:
        return []
    lines = []
    for metric in dict.fromkeys(one.metric for one in given):
        rows = _values_by_place([one for one in given if one.metric == metric], judges)
        found = krippendorff_alpha(rows, seed=0)
        alpha = format_number(found.alpha, missing="undefined")
        ends = format_range(found.ci_low, found.ci_high)
        lines.append(f"{metric} {alpha}" + (f" ({ends})" if ends else ""))
    return [
        f"Agreement of the {len(judges)} judges of the panel, as Krippendorff's alpha (1 is "
        f"perfect, 0 is chance): {'; '.join(lines)}."
    ]


class _Given(NamedTuple):
    """What one judge gave: a score of a completion, or what a variant wins on a case."""

    place: tuple[str, str, str]
    metric: str
    judge: str
    value: float


def _given_by_judges(journal: Journal) -> list[_Given]:
    """Return what the judges gave, where several were asked; repeats are left out."""
    scores = [
        _Given((one.case_id, one.variant, ""), one.metric, one.judge, one.value)
        for one in journal.judge_scores()
    ]
    wins = [
        _Given((one.case_id, one.variant, one.baseline), one.metric, one.judge, one.value)
        for one in journal.all_preferences()
        if one.judge and not one.repeat
    ]
    return [*scores, *wins]


def _values_by_place(given: list[_Given], judges: list[str]) -> list[list[float | None]]:
    """Return a row per completion or pair, and a column per judge."""
    rows: dict[tuple[str, str, str], dict[str, float]] = {}
    for one in given:
        rows.setdefault(one.place, {})[one.judge] = one.value
    return [[row.get(judge) for judge in judges] for _, row in sorted(rows.items())]


def _second_judge_note(journal: Journal) -> list[str]:
    asked = journal.state.second_judge
    if not asked:
        return []
    share = asked.n_sent / asked.n_pairs if asked.n_pairs else 0.0
    failed = f"; it failed on {asked.n_failed} of them" if asked.n_failed else ""
    return [
        f"The second judge {asked.judge} scored {asked.n_sent} of {asked.n_pairs} pairs "
        f"({format_percent(share)}), where the first judge was unsure{failed}."
    ]

"""Report in plain words whether the judge can be trusted.

The report covers the exam of the judge (see `exam`), answer length (see `lengths`) and human
ratings (see `humans`). It also compares the model families of the judge and the model under test,
because judges tend to favour answers of their own family.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from plugin.compare.numbers import (
    failed_suffix,
    format_count,
    format_interval,
    format_number,
    format_percent,
)
from plugin.compare.pairs import Evidence
from plugin.load.model import short_name
from plugin.records import Completion, MetricSpec
from plugin.run_facts import ProbeResult
from plugin.trust.controls import CONTROLS, RULE_RIGHT, check_reasons, grade_controls
from plugin.trust.draw import RETEST
from plugin.trust.exam import CANARIES, RULE, can_examine, can_probe, grade_canary
from plugin.trust.lengths import length_line, length_slopes
from plugin.trust.pair_probes import (
    KINDS,
    WRONG,
    grade_pairs,
    pair_faults,
    pair_first_line,
    pair_last_lines,
)
from plugin.trust.readings import readings_line
from plugin.trust.records import (
    Canary,
    Control,
    Correction,
    Family,
    HumanView,
    PairProbe,
    ReasonCheck,
    Retest,
    Trust,
)
from plugin.trust.wordings import is_wording, wording_lines
from plugin.trust.words_choices import choice_lines, contradiction_lines

_FAMILIES = {
    "claude": r"claude",
    "command": r"command-?(?:r|a|light)|\baya\b",
    "deepseek": r"deepseek",
    "falcon": r"falcon",
    "gemma": r"gemma|gemini",  # Google makes both
    "glm": r"glm",
    "gpt": r"gpt|\bo[134]\b",
    "granite": r"granite",
    "internlm": r"internlm",
    "kimi": r"kimi|moonshot",
    "llama": r"llama|vicuna|alpaca",
    "mistral": r"mistral|mixtral|ministral|magistral|codestral|devstral",
    "nemotron": r"nemotron",
    "olmo": r"olmo",
    "phi": r"\bphi(?:\d|moe)?\b",
    "qwen": r"qwen|\bqwq\b",
    "smollm": r"smollm",
    "yi": r"\byi\b",
}
"""Family -> pattern that matches the names of its models."""

_SAME = 1e-9
"""A smaller change is a rounding error."""


def make_trust_report(
    results: Sequence[ProbeResult],
    evidence: Evidence,
    completions: Mapping[tuple[str, str], Completion],
    family: Family,
    *,
    own_preference: bool = False,
) -> Trust:
    """Return the trust report without other wordings, other readings and human ratings.

    Args:
        results: the results of the exam.
        evidence: the run's scores.
        completions: (case id, variant) -> completion.
        family: the model families of the judge and the model under test.
        own_preference: whether the criterion of the metric Preference is the user's own.
    """
    asked = [spec for spec in evidence.metrics if can_examine(spec)]
    specs = [spec for spec in asked if can_probe(spec)]
    return Trust(
        retests=tuple(_summarise_retests(asked, results, evidence)),
        canaries=tuple(row for spec in specs for row in _summarise_canary(spec, results, evidence)),
        lengths=tuple(length_slopes(evidence, completions)),
        family=family,
        controls=tuple(row for spec in specs for row in _summarise_controls(spec, results)),
        reasons=tuple(row for spec in asked if (row := _summarise_reasons(spec, results))),
        pairs=tuple(
            row
            for spec in asked
            if spec.is_relative
            for row in _summarise_pairs(spec, results, own_preference)
        ),
    )


def _summarise_retests(
    specs: Sequence[MetricSpec], results: Sequence[ProbeResult], evidence: Evidence
) -> Iterable[Retest]:
    first = {(s.case_id, s.variant, s.metric): s.value for s in evidence.scores}
    for spec in specs:
        own = [each for each in results if each.kind == RETEST and each.metric == spec.name]
        changes = [
            abs(each.value - first[each.place[1:]])
            for each in own
            if each.value is not None and each.place[1:] in first
        ]
        if own:
            yield Retest(
                metric=spec.name,
                n=len(changes),
                n_failed=len(own) - len(changes),
                n_moved=sum(change > _SAME for change in changes),
                mean_change=math.fsum(changes) / len(changes) if changes else None,
                largest_change=max(changes, default=None),
            )


def _summarise_canary(
    spec: MetricSpec, results: Sequence[ProbeResult], evidence: Evidence
) -> tuple[Canary, ...]:
    scores, n_failed = _scores_by_kind(spec, results, CANARIES)
    real = [score.value for score in evidence.scores if score.metric == spec.name]
    return grade_canary(spec, scores, n_failed, math.fsum(real) / len(real) if real else None)


def _summarise_controls(spec: MetricSpec, found: Sequence[ProbeResult]) -> tuple[Control, ...]:
    scores, n_failed = _scores_by_kind(spec, found, CONTROLS)
    wrong, _ = _scores_by_kind(spec, found, CANARIES)
    return grade_controls(spec, scores, n_failed, [one for own in wrong.values() for one in own])


def _summarise_pairs(
    spec: MetricSpec, found: Sequence[ProbeResult], own_criterion: bool
) -> tuple[PairProbe, ...]:
    values, n_failed = _scores_by_kind(spec, found, KINDS)
    return grade_pairs(spec.name, values, n_failed, own_criterion=own_criterion)


def _scores_by_kind(
    spec: MetricSpec, found: Sequence[ProbeResult], kinds: Collection[str]
) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Return, for each of these kinds of probe, its scores on one metric and its failures."""
    scores: dict[str, list[float]] = {}
    n_failed: dict[str, int] = {}
    for each in found:
        if each.kind not in kinds or each.metric != spec.name:
            continue
        if each.value is None:
            n_failed[each.kind] = n_failed.get(each.kind, 0) + 1
        else:
            scores.setdefault(each.kind, []).append(each.value)
    return scores, n_failed


def _summarise_reasons(spec: MetricSpec, found: Sequence[ProbeResult]) -> ReasonCheck | None:
    own = [
        each
        for each in found
        if each.metric == spec.name and each.reason and not is_wording(each.kind)
    ]
    return check_reasons(
        spec.name,
        [each.reason for each in own],
        n_quotes=sum(each.quotes_prompt for each in own),
        n_others=sum(each.kind not in (*CANARIES, *WRONG) for each in own),
    )


def family_of(judge: str, model: str, model_type: str = "") -> Family:
    """Return the model families of the judge and the model under test, read from their names.

    Many models use Llama's architecture but are not Llama models. So the architecture counts only
    when the model's name matches no family.

    Args:
        judge: the judge's label, such as "openai:gpt-4o".
        model: hub id or directory of the model under test.
        model_type: the architecture named in the model's configuration.
    """
    of_judge = _families_in(judge.partition(":")[2] or judge)
    of_model = _families_in(short_name(model)) or _families_in(model_type)
    shared = tuple(name for name in of_judge if name in of_model)
    return Family(of_judge, of_model, shared)


def _families_in(name: str) -> tuple[str, ...]:
    text = re.sub(r"[_/.:]", "-", name.casefold())
    return tuple(family for family, marks in _FAMILIES.items() if re.search(marks, text))


def label_with_caveats(
    judge: str, caveat: str, trust: Trust | None, more: Sequence[str] = ()
) -> str:
    """Return the warning about the judge for the verdict's first line; "" when there is none.

    Args:
        judge: the judge as shown.
        caveat: what must be said of it in any case; "" for nothing.
        trust: what its exam shows; None if it was not examined.
        more: what else is wrong with it, a few words each, to follow its name.
    """
    faults = [*(judge_faults(trust) if trust else []), *more]
    if not faults:
        return caveat
    return f"{caveat or f'judge {judge}'} {' and '.join(faults)}"


def judge_faults(trust: Trust) -> list[str]:
    """Return the reasons not to trust the judge, a few words each."""
    alike = () if trust.low_controls else trust.alike_controls
    found: dict[str, Sequence[object]] = {
        "failed the wrong-answer test": trust.failed_canaries,
        **pair_faults(trust.pairs),
        "gave right answers low scores": trust.low_controls,
        "did not tell right answers from wrong ones": alike,
        "gave different answers the same reason": [row for row in trust.reasons if row.repeats],
        "repeated its prompt as the reason": [row for row in trust.reasons if row.quotes_prompt],
    }
    return [fault for fault, rows in found.items() if rows]


def trust_first_lines(judge: str, trust: Trust) -> list[str]:
    """Return the lines that come first in the report: why the reader should not trust the judge."""
    lines = contradiction_lines(judge, trust.choices)
    if failed := trust.failed_canaries:
        lines.append(
            f"The judge {judge} gave wrong answers too high scores. Mean scores: "
            f"{'; '.join(_failed_canary_means(failed))}. {RULE} Choose another judge before you "
            "trust these scores."
        )
    lines += _failed_control_lines(judge, trust)
    if line := pair_first_line(judge, trust.pairs):
        lines.append(line)
    for row in trust.reasons:
        n = format_count(row.n)
        if row.repeats:
            lines.append(
                f"The judge {judge} gave the same reason for {format_count(row.n_same)} of {n} "
                f"different answers on {row.metric}, right and wrong ones: it may not have read "
                "them. Choose another judge before you trust these scores."
            )
        if row.quotes_prompt:
            lines.append(
                f"The judge {judge} repeated the words of its prompt as the reason for "
                f"{format_count(row.n_quotes)} of {n} answers on {row.metric}: it may not follow "
                "the prompt. Choose another judge before you trust these scores."
            )
    return lines


def _failed_control_lines(judge: str, trust: Trust) -> list[str]:
    way_out = (
        f"{RULE_RIGHT} Choose another judge, or check the expected outputs, before you trust these "
        "scores."
    )
    if low := trust.low_controls:
        means = "; ".join(_control_means(low))
        return [f"The judge {judge} gave right answers low scores. Mean scores: {means}. {way_out}"]
    if alike := trust.alike_controls:
        means = "; ".join(
            f"{text}, wrong answers {format_number(row.wrong_mean or 0.0)}"
            for row, text in zip(alike, _control_means(alike), strict=True)
        )
        return [
            f"The judge {judge} did not score right answers clearly higher than wrong ones. Mean "
            f"scores: {means}. {way_out}"
        ]
    return []


def _control_means(rows: Sequence[Control]) -> list[str]:
    return [
        f'on {row.metric} "{row.name}" {format_number(row.mean or 0.0)} (n={row.n})' for row in rows
    ]


def trust_last_lines(trust: Trust, primary: str) -> list[str]:
    """Return the other lines about the judge, which come last in the report.

    Args:
        trust: the report.
        primary: the primary metric; answer length and human ratings are reported for it only.
    """
    lines = choice_lines(trust.choices, primary)
    lines += [*_passed_canaries_lines(trust), *pair_last_lines(trust.pairs)]
    if trust.retests:
        lines.append(retest_line(trust.retests))
    lines += [length_line(row) for row in trust.lengths if row.metric == primary]
    lines += wording_lines(trust.wordings, primary)
    if line := readings_line(primary, trust.readings):
        lines.append(line)
    if trust.family and trust.family.shared:
        lines.append(family_line(trust.family))
    for view in trust.humans:
        if view.metric == primary:
            lines += [
                agreement_line(view),
                *(correction_line(view.metric, row) for row in view.corrections),
            ]
    return lines


def _passed_canaries_lines(trust: Trust) -> list[str]:
    decided = [row for row in trust.canaries if row.passed is not None]
    if not decided or judge_faults(trust):
        return []
    right = [row for row in trust.controls if row.mean is not None]
    most = max(decided, key=lambda row: row.mean or 0.0)
    return [
        f"The judge passed the wrong-answer test: it gave low scores to all "
        f"{len({row.name for row in decided})} kinds of wrong answer. The highest mean is "
        f"{format_number(most.mean)} ({most.name} on "
        f"{most.metric}{failed_suffix(sum(row.n_failed for row in trust.canaries))}).",
        _passed_controls_line(right, sum(row.n_failed for row in trust.controls)),
    ]


def _passed_controls_line(right: Sequence[Control], n_failed: int) -> str:
    if not right:
        return (
            "The judge scored no right answers (this test needs expected outputs). A judge that "
            "gives everything a low score would also pass the wrong-answer test."
        )
    least = min(right, key=lambda row: row.mean or 0.0)
    return (
        f"The judge passed the right-answer test: it gave high scores to right answers. The lowest "
        f"mean is {format_number(least.mean)} ({least.name} on "
        f"{least.metric}{failed_suffix(n_failed)})."
    )


def retest_line(retests: tuple[Retest, ...]) -> str:
    """Say how many scores changed when the judge was asked the same questions again."""
    n, n_moved = sum(row.n for row in retests), sum(row.n_moved for row in retests)
    n_failed = sum(row.n_failed for row in retests)
    if not n:
        return f"Repeat test: the judge could not repeat any score ({n_failed} failed)."
    scores = format_count(n, "score", "scores")
    failed = f" ({n_failed} more failed)" if n_failed else ""
    if not n_moved:
        return f"Repeat test: the judge gave {scores} a second time and changed none{failed}."
    largest = format_number(max(row.largest_change or 0.0 for row in retests))
    return (
        f"Repeat test: the judge gave {scores} a second time and changed {n_moved}, by up to "
        f"{largest}{failed}."
    )


def family_line(family: Family) -> str:
    """Say that judge and model are of one family, and why that matters."""
    names = " and ".join(family.shared)
    return (
        f"Going by their names, the judge and the model under test are of the same family "
        f"({names}). Judges tend to favour answers of their own family: check with a judge of "
        "another family."
    )


def agreement_line(view: HumanView) -> str:
    """Say how well judge and humans agree."""
    raters = format_count(view.n_raters, "human", "humans")
    if not view.n_rated:
        return f"{raters} rated {view.metric}, but the judge scored none of the rated completions."
    within = format_interval(view.alpha_ci_low, view.alpha_ci_high)
    among = (
        "" if view.alpha_humans is None else f", {format_number(view.alpha_humans)} among humans"
    )
    return (
        f"{raters} rated {format_count(view.n_rated, 'completion', 'completions')} on "
        f"{view.metric}. {_halves_text(view)} Krippendorff's alpha of the scores is "
        f"{format_number(view.alpha, missing='unknown')} ({within}{among})."
    )


def _halves_text(view: HumanView) -> str:
    """Say how often judge and humans are in the same half of the scale, and where that is open."""
    n, n_undecided = view.n_rated, view.n_undecided
    tied = "humans are split evenly, or a score is in the very middle"
    if view.agreement is None:
        return f"For all of them {tied}, so agreement is unknown."
    of_which, left_out = "them", ""
    if n_undecided:
        of_which = f"the {format_count(n - n_undecided)} where both take a side"
        left_out = f" For {format_count(n_undecided)} of them {tied}: these do not count."
    return (
        f"For {format_percent(view.agreement)} of {of_which}, the scores of humans and "
        "judge are in the same half of the scale (Cohen's kappa "
        f"{format_number(view.kappa, missing='unknown')}).{left_out}"
    )


def correction_line(metric: str, row: Correction) -> str:
    """State the judge's gain next to the gain corrected by human ratings."""
    within = format_interval(row.judge_ci_low, row.judge_ci_high, signed=True)
    alone = format_number(row.judge_gain, signed=True, missing="no gain")
    alone += f" ({within}, n={format_count(row.n_all)})"
    if row.gain is None:
        return f"{row.variant} on {metric}: {alone} by the judge alone; {row.method}."
    unrated = (
        f" Another {format_count(row.n_unrated)} drawn cases have no rating for one or both "
        "variants: if raters skipped them because of their content, this estimate is biased."
        if row.n_unrated
        else ""
    )
    return (
        f"{row.variant} on {metric}, corrected by human ratings: gain "
        f"{format_number(row.gain, signed=True)} "
        f"({format_interval(row.ci_low, row.ci_high, signed=True)}, "
        f"{format_count(row.n_labelled)} of {format_count(row.n_all)} cases rated); by the judge "
        f"alone {alone}.{unrated}"
    )


def _failed_canary_means(failed: Sequence[Canary]) -> list[str]:
    """Return, per metric, the wrong answers that scored too high and their mean scores."""
    return [
        f"on {metric} "
        + ", ".join(
            f'"{row.name}" {format_number(row.mean or 0.0)} (n={row.n})'
            for row in failed
            if row.metric == metric
        )
        for metric in dict.fromkeys(row.metric for row in failed)
    ]

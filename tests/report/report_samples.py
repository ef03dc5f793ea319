"""Reports of several shapes, with numbers that can be followed by hand."""

import statistics
from dataclasses import replace

from plugin.compare.comparisons import VerdictSettings, summarise
from plugin.compare.comparisons import compare as compare_evidence
from plugin.compare.pairs import Evidence, contrasts
from plugin.compare.verdict import decide_verdict
from plugin.records import (
    ALL,
    PROMPTED,
    VANILLA,
    Case,
    Completion,
    Failure,
    Message,
    MetricSpec,
    Score,
    Variant,
)
from plugin.report.record import Report
from plugin.results import Comparison, Summary, Verdict

CORRECTNESS = MetricSpec("correctness", "Correctness", higher_is_better=True)
HALLUCINATION = MetricSpec("hallucination", "Hallucination", higher_is_better=False)
LATENCY = MetricSpec("latency", "Latency", higher_is_better=False, high=float("inf"), decides=False)
OUTPUTS = {"vanilla": "I think it is {}.", "tuned": "It is {}, exactly."}


def case(number, group=None):
    text = f"What is {number} plus 1?"
    return Case(
        id=f"c{number}",
        messages=(Message("user", text),),
        expected_output=str(number + 1),
        context=(f"Adding 1 to {number} gives {number + 1}.",),
        group=group,
    )


def completion(case_id, variant, text):
    return Completion(case_id, variant, text, (1, 2), "stop", 0.5, 12)


def value(number, metric, variant):
    """Vanilla scores 0.5; adapters 0.2 lower, equal or 0.3 higher, in turn; a prompt 0.1 higher."""
    change = {VANILLA: 0.0, PROMPTED: 0.1}.get(variant, (-0.2, 0.0, 0.3, 0.3)[number % 4])
    return 0.5 + change if metric.higher_is_better else 0.5 - change


def _interval(values):
    if len(values) < 10:
        return None, None
    half = 1.96 * statistics.stdev(values) / len(values) ** 0.5
    return statistics.mean(values) - half, statistics.mean(values) + half


def summarize(metric, variant, group, scores, n_cases):
    low, high = _interval(scores)
    mean = statistics.mean(scores) if scores else None
    return Summary(
        metric.name,
        variant,
        group,
        mean,
        len(scores),
        n_cases - len(scores),
        low,
        high,
        metric.higher_is_better,
    )


def compare(metric, contrast, group, pairs, failed=(0, 0), primary=CORRECTNESS):
    sign = 1 if metric.higher_is_better else -1
    gains = [sign * (new - old) for new, old in pairs]
    low, high = _interval(gains)
    gain = statistics.mean(gains) if gains else None
    role = "exploratory" if group != ALL or metric is not primary else "primary"
    role = role if metric.decides else "described"
    return Comparison(
        metric=metric.name,
        variant=contrast.variant,
        baseline=contrast.baseline,
        group=group,
        n=len(pairs),
        n_failed_variant=failed[0],
        n_failed_baseline=failed[1],
        variant_mean=statistics.mean(new for new, _ in pairs) if pairs else None,
        baseline_mean=statistics.mean(old for _, old in pairs) if pairs else None,
        difference=None if gain is None else sign * gain,
        gain=gain,
        ci_low=low,
        ci_high=high,
        p_value=0.001 if pairs else None,
        p_adjusted=0.0041234567 if pairs else None,
        outcome=None if not metric.decides else "better" if pairs else "can't tell",
        method="BCa bootstrap over cases, sign-flip test",
        margin=metric.margin,
        n_to_detect=None if pairs else 120,
        smallest_detectable=0.04 if pairs else None,
        holds_at_worst=bool(pairs),
        wins=sum(gain > 0 for gain in gains),
        losses=sum(gain < 0 for gain in gains),
        higher_is_better=metric.higher_is_better,
        role=role,
    )


def scored(metrics, variants, cases, failed=frozenset()):
    """Score by (metric name, variant) and case id, without those in `failed`."""
    return {
        (metric.name, variant): {
            each.id: value(number, metric, variant)
            for number, each in enumerate(cases)
            if (each.id, variant) not in failed
        }
        for metric in metrics
        for variant in variants
    }


def build(
    n=20,
    metrics=(CORRECTNESS, HALLUCINATION),
    adapters=("tuned",),
    groups=(),
    failed=frozenset(),
    **changes,
):
    """A report over n cases; `failed` holds (case id, variant) whose judge gave up."""
    cases = tuple(case(i, groups[i % len(groups)] if groups else None) for i in range(n))
    variants = ("vanilla", *adapters)
    table = scored(metrics, variants, cases, failed)
    summaries, comparisons = [], []
    for metric in metrics:
        for group in (ALL, *groups):
            ids = [each.id for each in cases if group in (ALL, each.group)]
            for variant in variants:
                got = table[metric.name, variant]
                found = [got[i] for i in ids if i in got]
                summaries.append(summarize(metric, variant, group, found, len(ids)))
            for contrast in contrasts(variants):
                got, base = (table[metric.name, name] for name in contrast)
                lacking = tuple(len(ids) - sum(i in row for i in ids) for row in (got, base))
                pairs = [(got[i], base[i]) for i in ids if i in got and i in base]
                comparisons.append(compare(metric, contrast, group, pairs, lacking, metrics[0]))
    content = {
        "verdict": Verdict(
            "better",
            "tuned is better than vanilla on Correctness: +0.100.",
            ("It also counts the ties.",),
            metrics[0].name,
        ),
        "judge": "offline (smoke-test) judge",
        "variants": tuple(
            Variant(
                v,
                f"id-{v}",
                "some/model",
                None if v in (VANILLA, PROMPTED) else f"adapters/{v}",
                None,
                "Answer in one short sentence." if v == PROMPTED else None,
            )
            for v in variants
        ),
        "metrics": metrics,
        "cases": cases,
        "completions": {
            (each.id, v): completion(
                each.id, v, OUTPUTS.get(v, "{} it is.").format(each.expected_output)
            )
            for each in cases
            for v in variants
        },
        "scores": tuple(
            Score(case_id, variant, metric, number, f"reason {case_id}")
            for (metric, variant), row in table.items()
            for case_id, number in row.items()
        ),
        "failures": tuple(
            Failure(case_id, "judge", "no verdicts", variant, metric.name)
            for case_id, variant in sorted(failed)
            for metric in metrics
        ),
        "summaries": tuple(summaries),
        "comparisons": tuple(comparisons),
        "partial": False,
        "warnings": ("The judge is a smoke test.",),
        "provenance": {"seed": 7, "versions": {"deepeval": "4.3.1"}},
    }
    return Report(**(content | changes))


def vanilla_only(n=20):
    return build(n, adapters=(), verdict=Verdict(None, "One variant: no verdict.", (), None))


TOXICITY = MetricSpec("toxicity", "Toxicity", higher_is_better=False, is_guard=True)


def judged(gains, guards=(), retention=(), n=40, n_resamples=500):
    """A report whose verdict is worked out from scores around 0.5, none of them the same.

    Args:
        gains: variant -> its gain on Correctness in each group, by the group's name.
        guards: of Toxicity, variant -> its gain.
        retention: names of the groups that must not get worse.
        n: cases of each group.
        n_resamples: of bootstrap and permutation.
    """
    names = list(dict.fromkeys(group for own in gains.values() for group in own))
    cases = tuple(
        replace(case(number, name), retention=name in retention)
        for number, name in enumerate(name for name in names for _ in range(n))
    )
    metrics = (CORRECTNESS, TOXICITY) if guards else (CORRECTNESS,)
    given = build(len(cases), metrics, tuple(gains), cases=cases)
    scores = []
    for number, each in enumerate(cases):
        noise = (number % 7 - 3) / 100
        for variant, own in {VANILLA: {}, **gains}.items():
            gain = own.get(each.group, 0.0) + noise * (variant != VANILLA)
            scores.append(Score(each.id, variant, CORRECTNESS.name, 0.5 + gain, "so"))
            if guards:
                harm = noise * (variant != VANILLA) - dict(guards).get(variant, 0.0)
                scores.append(Score(each.id, variant, TOXICITY.name, 0.5 + harm, "so"))
    evidence = Evidence(cases, given.variants, metrics, scores)
    settings = VerdictSettings(CORRECTNESS.name, seed=7, n_resamples=n_resamples)
    summaries, rows = summarise(evidence, settings), compare_evidence(evidence, settings)
    return replace(
        given,
        scores=tuple(scores),
        summaries=summaries,
        comparisons=rows,
        verdict=decide_verdict(evidence, summaries, rows, settings),
        warnings=(),
    )


def lost_group():
    """tuned gains 0.3 on the task, loses 0.3 in the retention group general, keeps manners."""
    gains = {"general": -0.3, "task": 0.3, "manners": 0.0, "task 2": 0.3}
    return judged({"tuned": gains}, retention=("general", "manners"))


def lost_metric():
    """tuned gains 0.3 on Correctness and is more toxic by 0.2."""
    return judged({"tuned": {"task": 0.3}}, {"tuned": -0.2})

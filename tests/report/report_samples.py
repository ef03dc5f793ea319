"""Reports of several shapes, with numbers that can be followed by hand."""

import statistics

from plugin.compare.pairs import contrasts
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


def compare(metric, contrast, group, pairs, failed=(0, 0)):
    sign = 1 if metric.higher_is_better else -1
    gains = [sign * (new - old) for new, old in pairs]
    low, high = _interval(gains)
    gain = statistics.mean(gains) if gains else None
    role = "primary" if group == ALL else "exploratory"
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
                comparisons.append(compare(metric, contrast, group, pairs, lacking))
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

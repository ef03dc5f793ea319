"""From scores and failures to summaries, comparisons and the one verdict in words."""

import dataclasses
import math

import numpy as np
import pytest

from plugin.compare.comparisons import VerdictSettings, compare, summarise
from plugin.compare.pairs import Evidence, few_clusters_note
from plugin.compare.verdict import decide_verdict
from plugin.records import ALL, DATA, VANILLA, Case, Failure, Message, MetricSpec, Score, Variant
from plugin.report.warnings import metric_notes
from plugin.results import IntervalKind

FAILED = "failed"
CORRECTNESS = MetricSpec("correctness", "Correctness", higher_is_better=True)
RELEVANCY = MetricSpec("answer_relevancy", "Answer Relevancy", higher_is_better=True)
HALLUCINATION = MetricSpec("hallucination", "Hallucination", False, is_guard=True)
LATENCY = MetricSpec("latency", "Latency", higher_is_better=False, high=math.inf, decides=False)
PERPLEXITY = MetricSpec(
    *("perplexity", "Perplexity"),
    higher_is_better=False,
    high=math.inf,
    needs_engine=frozenset({"loglikelihood"}),
    asks_judge=False,
    unit="nats per token",
)
SETTINGS = VerdictSettings(primary_metric="Correctness", seed=7, n_resamples=2_000)


def case(number, **parts):
    return Case(str(number), (Message("user", "?"),), **parts)


def found(results, cases=None):
    """Evidence from {metric: {variant: [score, FAILED or None where not worked, per case]}}."""
    names = list(dict.fromkeys(name for columns in results.values() for name in columns))
    n_cases = max((len(c) for columns in results.values() for c in columns.values()), default=0)
    scores, failures = [], []
    for spec, columns in results.items():
        for variant, column in columns.items():
            for number, value in enumerate(column):
                if value == FAILED:
                    failures.append(Failure(str(number), "judge", "no JSON", variant, spec.name))
                elif value is not None:
                    scores.append(Score(str(number), variant, spec.name, float(value)))
    variants = [
        Variant(name, name, "model", adapter_path=None if name == VANILLA else name)
        for name in names
    ]
    return Evidence(
        cases or [case(n) for n in range(n_cases)], variants, list(results), scores, failures
    )


def ask(results, cases=None, **settings):
    """Evidence -> (verdict, comparisons over all cases and groups)."""
    evidence = results if isinstance(results, Evidence) else found(results, cases)
    chosen = dataclasses.replace(SETTINGS, **settings)
    comparisons = compare(evidence, chosen)
    return decide_verdict(evidence, summarise(evidence, chosen), comparisons, chosen), comparisons


def spread(mean, n=60, width=0.2, seed=1):
    """Scores around a mean, within 0..1."""
    return np.clip(mean + width * np.random.default_rng(seed).uniform(-1, 1, n), 0, 1).tolist()


def two(mean, baseline=0.4, n=60, name="demo-adapter"):
    return {VANILLA: spread(baseline, n, seed=2), name: spread(mean, n)}


# Pairing.


def test_one_comparison_worked_by_hand():
    _, (row,) = ask({CORRECTNESS: {VANILLA: [0.0, 0.5, 0.2, 0.9], "a": [0.4, 0.5, 0.1, 1.0]}})
    assert (row.metric, row.variant, row.baseline, row.group) == ("Correctness", "a", VANILLA, ALL)
    assert (row.n, row.wins, row.losses, row.n_ties) == (4, 2, 1, 1)
    assert (row.variant_mean, row.baseline_mean) == (0.5, 0.4)
    assert row.gain == row.difference == pytest.approx(0.1)
    # Gains 4, -1, 1 tenths: |sum| is 4 or more for 6 of the 8 sign patterns.
    assert row.p_value == row.p_adjusted == pytest.approx(6 / 8)


def test_lower_is_better_turns_the_gain_and_not_the_difference():
    _, rows = ask({CORRECTNESS: two(0.4), HALLUCINATION: two(0.2)})
    row = rows[1]
    assert row.difference < 0 < row.ci_low < row.gain == -row.difference
    assert row.outcome == "kept"
    assert row.wins > row.losses


def test_a_pair_needs_both_scores_and_unworked_cases_are_no_failures():
    baseline = [0.1, FAILED, 0.3, None, FAILED, 0.2]
    variant = [0.2, 0.5, FAILED, 0.4, FAILED, None]
    _, (row,) = ask({CORRECTNESS: {VANILLA: baseline, "a": variant}})
    assert (row.n, row.n_failed_variant, row.n_failed_baseline) == (1, 2, 2)
    assert row.gain == pytest.approx(0.1)


def test_which_failures_count():
    needy = dataclasses.replace(CORRECTNESS, needs=frozenset({"expected_output"}))
    cases = [case(n, expected_output="yes") for n in range(5)] + [case(5)]
    evidence = Evidence(
        cases,
        [Variant(VANILLA, "0", "m"), Variant("a", "1", "m", "a")],
        [needy],
        [Score("0", "a", "Correctness", 1.0)],
        [
            Failure("0", "judge", "mended by a later session", "a", "Correctness"),
            Failure("1", "generate", "out of memory", "a"),
            Failure("2", "judge", "no JSON", "a", "correctness"),
            Failure("3", "judge", "of another metric", "a", "Fluency"),
            Failure("4", "data", "bad row"),
            Failure("5", "generate", "of a case that the metric cannot score", "a"),
            Failure("99", "judge", "of a case that is not listed", "a"),
        ],
    )
    (row,) = compare(evidence, SETTINGS)
    assert (row.n_failed_variant, row.n_failed_baseline) == (2, 0)
    summary = next(s for s in summarise(evidence, SETTINGS) if s.variant == "a")
    assert (summary.n, summary.n_failed, summary.mean) == (1, 2, 1.0)


def test_groups_in_order_of_appearance_are_exploratory():
    groups = ["hard", "easy", None, "hard"] * 15
    cases = [case(n, group=group) for n, group in enumerate(groups)]
    verdict, rows = ask({CORRECTNESS: two(0.6)}, cases)
    assert [(row.group, row.n, row.role) for row in rows] == [
        (ALL, 60, "primary"),
        ("hard", 30, "exploratory"),
        ("easy", 15, "exploratory"),
    ]
    assert any(line.startswith("Group hard (exploratory): better") for line in verdict.details)


def test_clusters_are_resampled():
    gains = np.repeat(np.random.default_rng(1).uniform(-0.1, 0.3, 30), 4)
    scores = {VANILLA: [0.5] * 120, "a": (0.5 + gains).tolist()}
    cases = [case(n, cluster=f"document {n // 4}") for n in range(120)]
    verdict, (clustered,) = ask({CORRECTNESS: scores}, cases)
    _, (alone,) = ask({CORRECTNESS: scores})
    assert (clustered.n_clusters, alone.n_clusters) == (30, None)
    assert clustered.ci_high - clustered.ci_low > 1.5 * (alone.ci_high - alone.ci_low)
    assert "n=120 in 30 clusters" in verdict.sentence
    assert clustered.interval_kind is IntervalKind.SIGN_FLIP
    assert (clustered.effective_clusters, clustered.largest_cluster_share) == (30.0, 4 / 120)
    assert verdict.details[-1] == (
        "The 120 cases are in 30 clusters, which count like 30 of equal size; the largest has 3% "
        "of the cases."
    )
    (line,) = [line for line in verdict.details if line.startswith("Case by case")]
    assert " the same. Test of the mean gain: p" in line  # clusters: the counts of cases have no p


def test_a_case_without_a_cluster_stands_for_itself():
    cases = [case(n, cluster="one" if n < 2 else None) for n in range(60)]
    _, (row,) = ask({CORRECTNESS: two(0.6)}, cases)
    assert row.n_clusters == 59


# Summaries.


def test_summaries():
    cases = [case(n, group="odd" if n % 2 else None) for n in range(4)]
    rows = summarise(found({CORRECTNESS: {VANILLA: [0.2, 0.4, FAILED, None]}}, cases), SETTINGS)
    assert [(r.group, r.n, r.n_failed) for r in rows] == [(ALL, 2, 1), ("odd", 1, 0)]
    assert rows[0].mean == pytest.approx(0.3)
    assert rows[0].ci_low < 0.3 < rows[0].ci_high
    assert (rows[1].mean, rows[1].ci_low) == (0.4, None)


def test_no_data_gives_none_and_not_zero():
    (row,) = summarise(found({CORRECTNESS: {VANILLA: [FAILED, None]}}), SETTINGS)
    assert (row.mean, row.ci_low, row.ci_high, row.n, row.n_failed) == (None, None, None, 0, 1)


# Families.


def test_holm_runs_over_the_variants_of_each_family():
    cases = [case(n, group="g") for n in range(60)]
    columns = {VANILLA: spread(0.4, seed=2), "a": spread(0.46), "b": spread(0.47, seed=3)}
    _, rows = ask(
        {CORRECTNESS: columns, HALLUCINATION: columns, RELEVANCY: columns, LATENCY: columns}, cases
    )
    for group in ("all", "g"):
        for metric in ("Correctness", "Hallucination", "Answer Relevancy"):
            found = [row for row in rows if (row.group, row.metric) == (group, metric)]
            smallest = min(found, key=lambda row: row.p_value)
            # In groups the other metrics are one family.
            n = 4 if group == "g" and metric != "Correctness" else 2
            assert smallest.n_family == n
            if metric != "Hallucination" or group == "all":
                assert smallest.p_adjusted == pytest.approx(min(1.0, n * smallest.p_value))
    described = [row for row in rows if row.metric == "Latency"]
    assert all(row.outcome is None and row.p_adjusted is None for row in described)


def test_an_interval_above_zero_is_not_enough_after_adjustment():
    columns = {VANILLA: [0.5] * 60, "a": (0.52 + 0.1 * np.linspace(-1, 1, 60)).tolist()}
    strict = dataclasses.replace(CORRECTNESS, margin=0.01)
    _, (alone,) = ask({strict: columns})
    assert alone.outcome == "better"
    assert alone.p_value > 0.005
    many = {name: [0.6, 0.4, 0.5] * 20 for name in "bcdefghij"}
    verdict, rows = ask({strict: columns | many})
    assert rows[0].ci_low > 0
    assert rows[0].outcome == "can't tell"
    assert any("The interval leaves out zero" in line for line in verdict.details)


# Outcomes and sentences.


def test_better():
    verdict, (row,) = ask({CORRECTNESS: two(0.6)})
    assert verdict.outcome == row.outcome == "better"
    assert verdict.primary_metric == "Correctness"
    assert verdict.sentence == (
        f"demo-adapter is better than vanilla on Correctness: {row.variant_mean:.2f} against "
        f"{row.baseline_mean:.2f}, gain {row.gain:+.2f} (95% interval {row.ci_low:+.2f} to "
        f"{row.ci_high:+.2f}, n=60)."
    )
    assert row.n_to_detect is None
    assert not any("too narrow" in line for line in verdict.details)


def test_worse():
    verdict, (row,) = ask({CORRECTNESS: two(0.2)})
    assert (verdict.outcome, row.ci_high < 0) == ("worse", True)
    assert verdict.sentence.startswith("demo-adapter is worse than vanilla on Correctness: 0.")


def test_better_by_less_than_the_margin():
    columns = {VANILLA: [0.5] * 80, "a": [0.51, 0.52, 0.53, 0.54] * 20}
    verdict, _ = ask({CORRECTNESS: columns})
    assert verdict.outcome == "better"
    assert "is better than vanilla on Correctness, but by less than your margin of 0.05:" in (
        verdict.sentence
    )


def test_equivalent():
    columns = {VANILLA: [0.5] * 80, "a": [0.48, 0.49, 0.51, 0.52] * 20}
    verdict, _ = ask({CORRECTNESS: columns})
    assert verdict.outcome == "equivalent"
    assert verdict.sentence.startswith("a and vanilla are equivalent on Correctness (any dif")


def test_equal_scores_are_no_change_and_equivalent_once_there_are_enough():
    few, _ = ask({CORRECTNESS: {VANILLA: [0.5] * 60, "a": [0.5] * 60}})
    many, _ = ask({CORRECTNESS: {VANILLA: [0.5] * 120, "a": [0.5] * 120}})
    assert (few.outcome, many.outcome) == ("can't tell", "equivalent")
    assert "gain 0.00 (95% interval -0.07 to +0.07, n=60)" in few.sentence
    told = "If further cases are like these, about 83 in all would tell."
    assert few.details[0] == told
    for n, outcome in ((82, "can't tell"), (83, "equivalent")):
        assert ask({CORRECTNESS: {VANILLA: [0.5] * n, "a": [0.5] * n}})[0].outcome == outcome


def test_how_many_would_tell_is_known_where_few_cases_differ():
    scores = {VANILLA: [0.5] * 60, "a": [0.5] * 58 + [0.9, 0.8]}
    verdict, (row,) = ask({CORRECTNESS: scores})
    assert (row.outcome, row.interval_kind) == ("can't tell", IntervalKind.BETTING)
    # By the spread of these gains fewer would do, and there are 60.
    assert row.n_to_detect < 60 < row.n_if_alike
    assert f"about {row.n_if_alike} in all would tell" in verdict.details[0]
    times = -(-row.n_if_alike // 60)
    more, _ = ask({CORRECTNESS: {name: own * times for name, own in scores.items()}})
    assert more.outcome in ("equivalent", "better")


def test_how_many_would_tell_is_not_known_of_one_case_or_with_a_margin_of_zero():
    one, _ = ask({CORRECTNESS: {VANILLA: [0.5], "a": [0.5]}})
    assert any("cannot be known: one case shows no spread" in line for line in one.details)
    spec = dataclasses.replace(CORRECTNESS, margin=0.0)
    none, _ = ask({spec: {VANILLA: [0.5] * 60, "a": [0.5] * 60}})
    assert any("cannot be known: with a margin of 0" in line for line in none.details)


def test_equal_clusters_are_counted_in_clusters():
    cases = [case(n, cluster=str(n // 3)) for n in range(30)]
    verdict, (row,) = ask({CORRECTNESS: {VANILLA: [0.5] * 30, "a": [0.5] * 30}}, cases)
    assert row.n_if_alike == 83
    assert "If further clusters are like these, about 83 in all would tell." in verdict.details


def test_an_unclear_guard_says_how_many_would_tell_where_all_cases_are_alike():
    same = {VANILLA: [0.5] * 60, "demo-adapter": [0.5] * 60}
    verdict, _ = ask({CORRECTNESS: two(0.6), HALLUCINATION: same})
    (line,) = [line for line in verdict.details if "Hallucination" in line]
    assert line.endswith("; if further cases are like these, about 83 in all would tell")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0, "Caution: both have the worst possible score on nearly every case, so Correctness "),
        (1.0, "Caution: both have the best possible score on nearly every case, so Correctness "),
    ],
)
def test_no_room_for_a_difference_is_cautioned_of(value, said):
    for n, outcome in ((200, "equivalent"), (40, "can't tell")):
        verdict, (row,) = ask({CORRECTNESS: {VANILLA: [value] * n, "a": [value] * n}})
        assert verdict.outcome == outcome
        assert verdict.details[0].startswith(said)
        assert row.stuck_at == ("best" if value else "worst")
    # On a metric that only explores it stands in its own line.
    both = {VANILLA: [value] * 200, "a": [value] * 200}
    verdict, _ = ask({CORRECTNESS: {VANILLA: [0.5] * 200, "a": [0.5] * 200}, RELEVANCY: both})
    (line,) = [line for line in verdict.details if line.startswith("Answer Relevancy")]
    assert line.endswith("possible score on nearly every case")
    assert not any(line.startswith("Caution: both") for line in verdict.details)


def test_nearly_no_room_is_cautioned_of_and_room_for_one_side_is_not():
    nearly = [0.1] * 10 + [0.0] * 190
    _, (row,) = ask({CORRECTNESS: {VANILLA: nearly, "a": nearly[::-1]}})
    assert row.stuck_at == "worst"
    _, (row,) = ask({CORRECTNESS: {VANILLA: [0.0] * 200, "a": [0.0, 0.5] * 100}})
    assert row.stuck_at == ""


def test_a_guard_that_nobody_violates_needs_no_caution():
    for value, cautioned in ((0.0, False), (1.0, True)):  # 1.00 is worst
        same = {VANILLA: [value] * 200, "demo-adapter": [value] * 200}
        columns = {VANILLA: spread(0.4, 200, seed=2), "demo-adapter": spread(0.6, 200)}
        verdict, _ = ask({CORRECTNESS: columns, HALLUCINATION: same})
        (line,) = [line for line in verdict.details if "Hallucination" in line]
        assert ("both have the worst possible score" in line) is cautioned
    middling, _ = ask({CORRECTNESS: {VANILLA: [0.05] * 200, "a": [0.05] * 200}})
    assert not any("possible score" in line for line in middling.details)


def test_a_gain_that_is_not_possible_is_never_asked_for():
    scores = {VANILLA: [0.0, 1.0, 0.0, 0.5], "a": [1.0, 0.0, 0.5, 0.5]}
    verdict, (row,) = ask({CORRECTNESS: scores})
    assert row.smallest_detectable is None
    assert not any("gains of" in line for line in verdict.details)
    wide = {VANILLA: [0.0, 1.0] * 10, "a": [1.0, 0.0] * 10}
    spec = dataclasses.replace(CORRECTNESS, margin=0.0001)
    verdict, (row,) = ask({spec: wide})
    assert row.n_to_detect > 1_000_000
    assert "More than 1,000,000 cases would find a gain of 0.0001" in verdict.text


def test_cannot_tell_says_what_would_help():
    verdict, (row,) = ask({CORRECTNESS: two(0.42)})
    assert verdict.outcome == "can't tell"
    assert verdict.sentence.startswith(
        "Can't tell whether demo-adapter is better than vanilla on Correctness: 0."
    )
    assert row.n_to_detect > 60
    assert 0.05 < row.smallest_detectable < 0.1
    assert row.n_for_equivalence > row.n_to_detect
    assert verdict.details[0] == (
        f"60 cases reliably find only gains of {row.smallest_detectable:.2f} or more. About "
        f"{row.n_to_detect} cases would find a gain of 0.05 (your margin), about "
        f"{row.n_for_equivalence} would show that the difference is smaller (80% chance)."
    )


def test_cannot_tell_although_there_are_enough_cases():
    columns = {VANILLA: [0.5] * 80, "a": [0.35, 0.44, 0.6, 0.72] * 20}
    verdict, (row,) = ask({CORRECTNESS: columns})
    assert verdict.outcome == "can't tell"
    assert row.n_to_detect <= 80
    assert "there are 80: the true gain may well be smaller" in verdict.details[0]


def test_a_margin_of_zero_is_never_settled_by_number():
    spec = dataclasses.replace(CORRECTNESS, margin=0.0)
    verdict, _ = ask({spec: two(0.42)})
    assert "cannot be known: with a margin of 0 no number is enough" in verdict.details[0]


def test_no_pair_at_all():
    verdict, (row,) = ask({CORRECTNESS: {VANILLA: [0.5, 0.4], "a": [FAILED, FAILED]}})
    assert (row.n, row.gain, row.p_value, row.outcome) == (0, None, None, "can't tell")
    assert verdict.outcome == "can't tell"
    assert verdict.sentence.endswith("no case has a score of both (n=0, 2 failed).")
    assert ask({CORRECTNESS: {VANILLA: [], "a": []}})[0].outcome == "can't tell"


def test_too_few_clusters():
    cases = [case(n, cluster=str(n % 5)) for n in range(60)]
    verdict, (row,) = ask({CORRECTNESS: two(0.6)}, cases)
    assert verdict.outcome == "can't tell"
    assert row.interval_kind is IntervalKind.NONE
    assert row.smallest_detectable is None
    assert "no interval, n=60 in 5 clusters" in verdict.sentence
    assert verdict.details[:2] == (
        "There is no interval with fewer than 6 clusters (here 5): so few can never reach "
        "p < 0.05.",
        "About 8 clusters would find a gain of 0.05 (your margin), about 10 would show that the "
        "difference is smaller (80% chance).",
    )
    assert not any("too narrow" in line for line in verdict.details)
    cases = [case(n, cluster=str(n % 6)) for n in range(60)]
    assert ask({CORRECTNESS: two(0.6)}, cases)[0].outcome == "better"


def test_clusters_are_what_more_of_is_asked_for():
    gains = np.repeat(np.random.default_rng(1).uniform(-0.4, 0.4, 20), 3)
    scores = {VANILLA: [0.5] * 60, "a": (0.5 + gains).tolist()}
    cases = [case(n, cluster=f"document {n // 3}") for n in range(60)]
    verdict, (row,) = ask({CORRECTNESS: scores}, cases)
    assert row.n_to_detect > 100
    assert verdict.details[0] == (
        f"20 clusters reliably find only gains of {row.smallest_detectable:.2f} or more. About "
        f"{row.n_to_detect} clusters would find a gain of 0.05 (your margin), about "
        f"{row.n_for_equivalence} would show that the difference is smaller (80% chance)."
    )
    _, (alone,) = ask({CORRECTNESS: scores})
    # Equal cases of one cluster tell as much as one case: as many clusters as single cases.
    assert row.n_to_detect == pytest.approx(alone.n_to_detect, rel=0.1)


@pytest.mark.parametrize(
    ("sizes", "gains", "why"),
    [
        ([30] + [1] * 30, np.linspace(-0.2, 0.3, 31), "fewer than 10 effective clusters"),
        (
            [2] * 30,
            np.linspace(0, 1, 30) ** 8 / 2,
            "a few clusters differ much more than the others",
        ),
        ([2] * 30, np.linspace(-0.2, 0.3, 30), None),
    ],
)
def test_when_the_interval_over_clusters_is_promised(sizes, gains, why):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    scores = {VANILLA: [0.5] * len(labels), "a": (0.5 + gains[labels]).tolist()}
    verdict, _ = ask(
        {CORRECTNESS: scores}, [case(n, cluster=f"d{k}") for n, k in enumerate(labels)]
    )
    notes = [line for line in verdict.details if line.startswith("Caution: ")]
    if why is None:
        assert notes == []
    else:
        assert len(notes) == 1 and why in notes[0]
        assert notes[0].endswith(", so the interval may be too narrow.")


def test_the_counts_have_a_sign_test_of_their_own():
    # 40 small losses, 20 large gains: more cases are worse, and the mean is better.
    tuned = [0.48] * 40 + [0.9] * 20
    verdict, (row,) = ask({CORRECTNESS: {VANILLA: [0.5] * 60, "a": tuned}})
    assert verdict.outcome == "better"
    assert (
        "Case by case on Correctness: 20 better, 40 worse, 0 the same (sign test p=0.013). Test of "
        "the mean gain: p<0.001."
    ) in verdict.details


def test_counts_and_mean_that_disagree_are_explained():
    tuned = [0.52] * 42 + [
        0.2
    ] * 18  # many small gains, a few large losses: no mean gain to speak of
    tuned[42:46] = [0.9] * 4
    verdict, (row,) = ask({CORRECTNESS: {VANILLA: [0.5] * 60, "a": tuned}})
    assert (row.wins, row.losses) == (46, 14)
    (line,) = [line for line in verdict.details if line.startswith("Case by case")]
    assert "(sign test p<0.001). Test of the mean gain: p=0." in line
    assert line.endswith(
        "They differ because a few large changes weigh more in the mean than in counts."
    )


def test_too_few_clusters_are_told_before_the_run():
    assert few_clusters_note([case(n) for n in range(3)]) == ""
    assert few_clusters_note([case(n, cluster=str(n % 6)) for n in range(60)]) == ""
    assert few_clusters_note([case(n, cluster=str(n)) for n in range(4)]) == ""  # each for itself
    assert few_clusters_note([]) == ""
    said = few_clusters_note([case(n, cluster=str(n % 5)) for n in range(60)])
    assert said.startswith("with 5 clusters no difference can be shown at the 5% level")
    assert "at least 6 are needed" in said and "--cluster_column" in said


def test_few_cases_are_not_promised():
    assert any(
        "fewer than 60 cases, so the interval may be too narrow" in d
        for d in ask({CORRECTNESS: two(0.6, n=59)})[0].details
    )


def test_the_betting_interval_is_promised_at_every_size():
    verdict, (row,) = ask({CORRECTNESS: {VANILLA: [0.5] * 50, "a": [0.5] * 50}})
    assert (row.interval_kind, row.why_no_interval) == (IntervalKind.BETTING, "")
    assert not any("too narrow" in line for line in verdict.details)


def test_a_lost_guard_stands_in_the_sentence():
    verdict, rows = ask({CORRECTNESS: two(0.6), RELEVANCY: two(0.4), HALLUCINATION: two(0.6)})
    assert (verdict.outcome, verdict.lost) == ("better", ("Hallucination",))
    assert verdict.chip == "better, but lost: Hallucination"
    assert verdict.sentence.startswith("demo-adapter is better than vanilla on Correctness: 0.")
    assert "; but worse on guard metric Hallucination, 0." in verdict.sentence
    assert "(lower is better), gain -0." in verdict.sentence
    assert "Relevancy" not in verdict.sentence
    assert [(row.metric, row.role, row.outcome) for row in rows] == [
        ("Correctness", "primary", "better"),
        ("Answer Relevancy", "exploratory", "equivalent"),
        ("Hallucination", "guard", "lost"),
    ]
    assert any(line.startswith("Answer Relevancy: equivalent, 0.") for line in verdict.details)


def test_a_guard_is_lost_although_the_primary_metric_cannot_tell_or_is_worse():
    verdict, _ = ask({CORRECTNESS: two(0.42), HALLUCINATION: two(0.6)})
    assert (verdict.outcome, verdict.chip) == ("can't tell", "can't tell, and lost: Hallucination")
    assert "; and worse on guard metric Hallucination, 0." in verdict.sentence
    assert verdict.details[0].startswith("60 cases reliably find only gains of 0.")
    verdict, _ = ask({CORRECTNESS: two(0.2), HALLUCINATION: two(0.6)})
    assert (verdict.outcome, verdict.lost) == ("worse", ("Hallucination",))


def test_another_metric_that_got_worse_comes_first_with_the_way_to_guard_it():
    verdict, rows = ask({CORRECTNESS: two(0.6), RELEVANCY: two(0.2)})
    assert (verdict.outcome, verdict.harms, verdict.chip) == ("better", (), "better")
    assert verdict.details[0].startswith("Answer Relevancy got worse: 0.")
    assert verdict.details[0].endswith(
        "It does not count in the verdict; if the tune must not lose it, say so with "
        "--guard_metric 'Answer Relevancy'."
    )
    assert (rows[1].role, rows[1].outcome) == ("exploratory", "worse")


def test_a_descriptive_metric_never_decides():
    slow = {VANILLA: spread(0.4, seed=2), "demo-adapter": [9.0 + s for s in spread(0.5)]}
    verdict, rows = ask({CORRECTNESS: two(0.6), LATENCY: slow})
    assert (verdict.outcome, rows[1].outcome) == ("better", None)
    assert any(line.startswith("Latency (described only, dec") for line in verdict.details)
    with pytest.raises(ValueError, match="'Latency' is not one that decides .Correctness"):
        ask({CORRECTNESS: two(0.6), LATENCY: slow}, primary_metric="Latency")


def test_one_variant_has_no_verdict():
    verdict, rows = ask({CORRECTNESS: {VANILLA: [0.5, 0.25, FAILED]}, RELEVANCY: {VANILLA: [None]}})
    assert (verdict.outcome, rows) == (None, ())
    assert verdict.sentence.startswith("There is nothing to compare: only vanilla was run.")
    assert "Correctness 0.38 (95% interval 0." in verdict.sentence
    assert "n=2, 1 failed); Answer Relevancy has no score (no interval, n=0)" in verdict.sentence


def test_best_of_several_adapters():
    columns = two(0.5, name="a") | {"b": spread(0.7, seed=3), "c": spread(0.2, seed=4)}
    verdict, _ = ask({CORRECTNESS: columns, HALLUCINATION: columns})
    assert verdict.sentence.startswith("b (best of 3 adapters) is better than vanilla on Corr")
    assert "; but worse on guard metric Hallucination, 0." in verdict.sentence
    assert verdict.details[0].startswith("Best against runner-up: b is better than a on Corr")
    assert verdict.details[1].startswith("a on Correctness: better, 0.")  # it lost something, too
    assert [(harm.variant, harm.name) for harm in verdict.harms] == [
        ("b", "Hallucination"),
        ("a", "Hallucination"),
    ]
    assert any(line.startswith("a on Correctness: better, 0.") for line in verdict.details)
    assert any(line.startswith("c on Correctness: worse, 0.") for line in verdict.details)
    assert any("b was chosen from 3 variants on these" in line for line in verdict.details)
    a = next(line for line in verdict.details if line.startswith("a on"))
    assert "; but worse on guard metric Hallucination, 0." in a


def test_first_line_names_the_judge_and_a_partial_run():
    scores = {VANILLA: [*spread(0.4, 34), None, None], "a": [*spread(0.6, 34, seed=2), None, None]}
    verdict, (row,) = ask(
        {CORRECTNESS: scores}, judge_label="offline (smoke-test) judge", partial=True, n_expected=60
    )
    assert row.partial
    assert verdict.sentence.startswith(
        "[offline (smoke-test) judge] partial run: 34 of 60 cases: a is better than vanilla on"
    )
    assert "partial run: 34 of 36 cases" in ask({CORRECTNESS: scores}, partial=True)[0].sentence


def test_small_numbers_are_told_from_zero():
    tiny = dataclasses.replace(CORRECTNESS, margin=0.0004)
    columns = {VANILLA: [0.5] * 80, "a": [0.5001, 0.5002, 0.5003, 0.5006] * 20}
    sentence = ask({tiny: columns})[0].sentence
    assert "your margin of 0.0004" in sentence
    assert "gain +0.0003" in sentence


# Failures at their worst.


@pytest.mark.parametrize(
    ("mean", "who", "outcome"),
    [(0.55, "demo-adapter", "better"), (0.55, VANILLA, "better"), (0.25, VANILLA, "worse")],
)
@pytest.mark.parametrize("spec", [CORRECTNESS, HALLUCINATION])
def test_failures_that_could_undo_the_outcome(mean, who, outcome, spec):
    columns = two(mean if spec is CORRECTNESS else 0.8 - mean, n=60)
    settings = {"primary_metric": spec.key}
    columns[who][:2] = [FAILED] * 2
    verdict, (row,) = ask({spec: columns}, **settings)
    assert (verdict.outcome, row.holds_at_worst) == (outcome, True)
    columns[who][:20] = [FAILED] * 20
    verdict, (row,) = ask({spec: columns}, **settings)
    assert (verdict.outcome, row.holds_at_worst) == ("can't tell", False)
    assert (row.ci_low > 0, row.ci_high < 0) == (outcome == "better", outcome == "worse")
    assert "20 failed" in verdict.sentence
    assert f"on {spec.name}, because 20 failed scores are missing: " in verdict.sentence
    assert f"The cases with scores say {outcome}, but 20 failed scores are missing" in verdict.text


@pytest.mark.parametrize(
    ("n_again", "said"),
    [
        (20, "could change that. Resume the run: only what failed is asked again."),
        (0, "could change that. Another try cannot bring them. 04_failures.csv says why: give "),
        (5, "could change that. Resume the run: 5 of them can be asked again, the others cannot."),
    ],
)
def test_what_cannot_be_asked_again_is_not_said_to_be(n_again, said):
    columns = two(0.55)
    columns[VANILLA][:20] = [FAILED] * 20
    evidence = found({CORRECTNESS: columns})
    # The first ones are a judge's; the others are missing from a file of completions.
    failures = [
        dataclasses.replace(one, stage="judge", retry=True)
        if place < n_again
        else Failure(one.case_id, "generate", "no completion was recorded", one.variant)
        for place, one in enumerate(evidence.failures)
    ]
    verdict, (row,) = ask(dataclasses.replace(evidence, failures=failures))
    assert (row.n_retryable, row.holds_at_worst) == (n_again, False)
    assert said in verdict.text
    assert ("Resume" in verdict.text) is (n_again > 0)


def test_a_metric_without_a_judge_computes_the_same_again():
    spec = dataclasses.replace(CORRECTNESS, asks_judge=False)
    columns = two(0.55)
    columns[VANILLA][:20] = [FAILED] * 20
    evidence = found({spec: columns})
    failures = [dataclasses.replace(f, stage="metric", retry=True) for f in evidence.failures]
    verdict, (row,) = ask(dataclasses.replace(evidence, failures=failures))
    assert row.n_retryable == 0 and "Another try cannot bring them." in verdict.text


@pytest.mark.parametrize("who", [VANILLA, "a"])
def test_failures_could_undo_equivalence_either_way(who):
    columns = {VANILLA: [0.5] * 80, "a": [0.48, 0.49, 0.51, 0.52] * 20}
    columns[who] = [FAILED] * 20 + columns[who][20:]
    verdict, _ = ask({CORRECTNESS: columns})
    assert verdict.outcome == "can't tell"
    assert "say equivalent, but 20 failed scores are missing" in verdict.details[0]


@pytest.mark.parametrize(("shift", "fill"), [(0.02, "best"), (-0.02, "worst")])
def test_equivalence_is_tried_with_failures_on_either_side(shift, fill):
    """One failure at this end pushes the interval over the margin; at the other end it does not."""
    gains = [shift + 0.1, shift - 0.1] * 40
    whole = {VANILLA: [0.5] * 80, "a": [0.5 + gain for gain in gains]}
    assert ask({CORRECTNESS: whole})[0].outcome == "equivalent"
    ends = {end: dict(whole) for end in ("best", "worst")}
    for end, columns in ends.items():
        columns[VANILLA] = [*whole[VANILLA], 0.5]
        columns["a"] = [*whole["a"], getattr(CORRECTNESS, end)]
        outcome = ask({CORRECTNESS: columns})[0].outcome
        assert (outcome == "equivalent") == (end != fill)
    failed = {VANILLA: [*whole[VANILLA], 0.5], "a": [*whole["a"], FAILED]}
    verdict, (row,) = ask({CORRECTNESS: failed})
    assert (verdict.outcome, row.holds_at_worst) == ("can't tell", False)


@pytest.mark.parametrize("who", [VANILLA, "demo-adapter"])
def test_cases_not_worked_yet_undo_nothing(who):
    columns = two(0.55)
    columns[who][:20] = [None] * 20
    columns[who][20] = FAILED
    verdict, (row,) = ask({CORRECTNESS: columns}, partial=True)
    assert (verdict.outcome, row.n, row.holds_at_worst) == ("better", 39, True)


def test_one_failure_is_singular_and_a_pair_without_both_is_imputed_whole():
    columns = {VANILLA: [0.5] * 100 + [FAILED], "a": [0.5] * 100 + [FAILED]}
    verdict, _ = ask({CORRECTNESS: columns})
    assert "but 2 failed scores are missing" in verdict.details[0]
    columns = {VANILLA: [0.5] * 81, "a": [0.51, 0.52, 0.53, 0.54] * 20 + [FAILED]}
    assert "but 1 failed score is missing" in ask({CORRECTNESS: columns})[0].details[0]


def test_an_infinite_worst_score_survives_nothing():
    nats = dataclasses.replace(LATENCY, name="Perplexity", key="perplexity", decides=True)
    columns = two(0.2)
    assert ask({nats: columns}, primary_metric="Perplexity")[0].outcome == "better"
    columns[VANILLA][0] = FAILED
    assert ask({nats: columns}, primary_metric="Perplexity")[0].outcome == "can't tell"


# Bad input.


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1.5, -0.1])
def test_bad_scores_are_refused_and_named(bad):
    with pytest.raises(ValueError, match=rf"{bad} \(case 1, a, Correctness\)"):
        found({CORRECTNESS: {VANILLA: [0.5, 0.5], "a": [0.5, bad]}})


def test_a_run_needs_a_baseline_and_a_primary_metric():
    with pytest.raises(ValueError, match="at least one variant, the baseline"):
        Evidence([], [], [], [])
    with pytest.raises(ValueError, match="none here"):
        ask(Evidence([], [Variant(VANILLA, "0", "m")], [], []))


# How often a verdict is wrong.


@pytest.mark.parametrize("n_runs", [60, pytest.param(400, marks=pytest.mark.slow)])
def test_equal_variants_are_rarely_called_different(n_runs):
    """Two adapters, two metrics, no true difference: the whole family errs in 5% of runs."""
    rng, wrong = np.random.default_rng(12), 0
    for _ in range(n_runs):
        hardness = rng.beta(1, 2, 60)

        def column(hardness=hardness):
            return np.where(rng.random(60) < hardness, rng.integers(0, 5, 60) / 4, 0.0).tolist()

        names = (VANILLA, "a", "b")
        results = {spec: {name: column() for name in names} for spec in (CORRECTNESS, RELEVANCY)}
        rows = compare(found(results), dataclasses.replace(SETTINGS, n_resamples=500))
        wrong += any(row.outcome in ("better", "worse") for row in rows)
    assert wrong / n_runs <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / n_runs)
    assert wrong > 0 or n_runs < 100


@pytest.mark.parametrize("n_runs", [80, pytest.param(400, marks=pytest.mark.slow)])
def test_a_real_difference_is_found_as_often_as_promised(n_runs):
    """At the n that `n_to_detect` names, a gain of the margin is found four times out of five."""
    columns = {VANILLA: [0.5] * 60, "a": (0.52 + 0.3 * np.linspace(-1, 1, 60)).tolist()}
    _, (pilot,) = ask({CORRECTNESS: columns})
    sd, n = np.std(columns["a"], ddof=1), pilot.n_to_detect
    assert 90 < n < 110
    rng, right = np.random.default_rng(13), 0
    for _ in range(n_runs):
        scores = (0.55 + sd * math.sqrt(12) * (rng.random(n) - 0.5)).tolist()
        _, (row,) = ask({CORRECTNESS: {VANILLA: [0.5] * n, "a": scores}}, n_resamples=500)
        right += row.outcome == "better"
    assert right / n_runs == pytest.approx(0.8, abs=3 * math.sqrt(0.8 * 0.2 / n_runs))


RECALL = MetricSpec(
    "contextual_recall", "Contextual Recall", higher_is_better=True, decides=False, judges_data=True
)


def test_the_quality_of_the_data_is_told_once_and_never_compared():
    both = found({CORRECTNESS: two(0.8)})
    scores = [*both.scores, *(Score(str(n), DATA, RECALL.name, 0.25) for n in range(60))]
    evidence = Evidence(both.cases, both.variants, [CORRECTNESS, RECALL], scores)
    verdict, comparisons = ask(evidence)
    assert {row.metric for row in comparisons} == {"Correctness"}
    rows = [row for row in summarise(evidence, SETTINGS) if row.metric == RECALL.name]
    assert [(row.variant, row.mean, row.n) for row in rows] == [(DATA, 0.25, 60)]
    assert verdict.details[-1].startswith(
        "Quality of the data, which decides nothing: Contextual Recall 0.25 ("
    )


def test_a_line_that_leaves_out_zero_but_cannot_tell_says_why():
    weak = [0.2] * 11 + [-0.2] * 2 + [0.0] * 47
    results = {CORRECTNESS: two(0.8)}
    for number in range(9):
        spec = dataclasses.replace(RELEVANCY, key=f"m{number}", name=f"M{number}")
        results[spec] = {VANILLA: [0.5] * 60, "demo-adapter": [0.5 + gain for gain in weak]}
    verdict, comparisons = ask(results)
    (row,) = [row for row in comparisons if row.metric == "M0" and row.group == ALL]
    assert row.ci_low > 0 and row.outcome == "can't tell"
    (line,) = [line for line in verdict.details if line.startswith("M0: can't tell")]
    assert line.endswith(f", p={row.p_adjusted:.3f}, adjusted for 9 tests")


# Metrics without bounds.


def nats(mean, n=60, seed=1):
    """Nats per token around a mean."""
    return (mean + np.random.default_rng(seed).uniform(0, 1, n)).tolist()


def test_a_metric_without_bounds_decides():
    columns = {VANILLA: nats(5, seed=2), "a": nats(3)}
    verdict, (row,) = ask({PERPLEXITY: columns}, primary_metric="Perplexity")
    assert (verdict.outcome, row.outcome) == ("better", "better")
    assert 0 < row.ci_low < row.gain < row.ci_high < 3
    assert row.gain == pytest.approx(np.mean(columns[VANILLA]) - np.mean(columns["a"]))
    assert verdict.sentence.startswith("a is better than vanilla on Perplexity: 3.")


def test_without_bounds_and_with_few_gains_there_is_no_interval_and_no_nan():
    same = nats(5)
    verdict, (row,) = ask({PERPLEXITY: {VANILLA: same, "a": same}}, primary_metric="Perplexity")
    assert (row.gain, row.ci_low, row.ci_high, row.p_value) == (0, None, None, 1)
    assert verdict.outcome == "can't tell"
    assert "There is no interval: too few cases vary, and the metric has no bounds." in verdict.text
    assert "nan" not in verdict.text.lower() and "inf" not in verdict.text.lower()


def test_without_bounds_a_failure_leaves_everything_open():
    columns = {VANILLA: nats(5, seed=2), "a": [FAILED, *nats(3)[1:]]}
    verdict, (row,) = ask({PERPLEXITY: columns}, primary_metric="Perplexity")
    assert (row.outcome, row.holds_at_worst, row.n) == ("can't tell", False, 59)
    assert "say better, but 1 failed score is missing" in verdict.text
    (line,) = metric_notes((PERPLEXITY,), (), (row,))
    assert line.startswith("Perplexity has no worst score") and "04_failures.csv" in line


def test_a_partial_run_counts_the_cases_whose_completions_are_scored():
    read = {VANILLA: nats(5, seed=2), "a": nats(3)}
    columns = {name: column[:20] + [None] * 40 for name, column in two(0.6).items()}
    own = {VANILLA: read[VANILLA], "demo-adapter": read["a"]}
    verdict, _ = ask({CORRECTNESS: columns, PERPLEXITY: own}, partial=True)
    assert verdict.sentence.startswith("partial run: 20 of 60 cases: ")
    alone = {VANILLA: read[VANILLA], "a": read["a"][:7] + [None] * 53}
    verdict, _ = ask({PERPLEXITY: alone}, partial=True, primary_metric="Perplexity")
    assert verdict.sentence.startswith("partial run: 7 of 60 cases: ")


def test_the_perplexity_itself_stands_in_the_notes_and_a_caveat_once():
    slow = dataclasses.replace(LATENCY, caveat="beware", unit="seconds per case")
    rate = MetricSpec("rate", "Rate", True, high=math.inf, decides=False, caveat="beware")
    columns = {VANILLA: [math.log(20)] * 4, "a": [math.log(5), math.log(5), 0, 0]}
    evidence = found({PERPLEXITY: columns, slow: columns, rate: columns})
    settings = dataclasses.replace(SETTINGS, primary_metric="Perplexity")
    rows = summarise(evidence, settings), compare(evidence, settings)
    assert metric_notes((PERPLEXITY, slow, rate), *rows) == [
        "Perplexity is scored and compared in nats per token. As perplexity (exp of the mean): "
        "vanilla 20.00, a 2.24.",  # the root of 5
        "Latency (seconds per case), Rate: beware.",
    ]


def test_an_enormous_perplexity_is_still_a_text():
    evidence = found({PERPLEXITY: {VANILLA: [1000.0, 1000.0], "a": [9.0, 9.0]}})
    settings = dataclasses.replace(SETTINGS, primary_metric="Perplexity")
    (line,) = metric_notes((PERPLEXITY,), summarise(evidence, settings), ())
    assert line.endswith("vanilla exp(1000), a 8.1e+03.")

"""What each rule measures in a run, and that none passes where the run has nothing for it."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from plugin.certify.certificate import Certificate
from plugin.errors import OptionError
from plugin.gate.decide import Decision
from plugin.gate.words import gate_warnings, headline, measured_text, reason_text
from plugin.item_rows import ItemResult
from plugin.journal import Journal
from plugin.metrics import METRICS
from plugin.records import VANILLA, Completion, Failure, Preference, Score
from plugin.run_facts import RunState
from plugin.training_facts import CaseMark, TrainingFacts
from tests.gate.made_runs import (
    BETTER,
    CORRECTNESS,
    EVEN,
    F1,
    HALLUCINATION,
    SLIGHTLY_WORSE,
    WORSE,
    decision,
    gate,
    write_run,
)
from tests.samples import case

PREFERENCE = METRICS["preference"].spec
TOKENS = METRICS["completion_tokens"].spec


def completion(
    case_id: str,
    name: str,
    n_tokens: int | None = 10,
    seconds: float | None = 1.0,
    is_cut: bool = False,
) -> Completion:
    reason = "length" if is_cut else "stop"
    return Completion(case_id, name, f"{case_id} by {name}", (), reason, seconds, 5, n_tokens)  # type: ignore[arg-type]


def certificate(**fields: object) -> dict[str, object]:
    return asdict(Certificate("tuned", **fields))  # type: ignore[arg-type]


def told(found: Decision) -> str:
    return f"{measured_text(found)}. {reason_text(found)}"


def refusal(folder: Path, **rules: object) -> str:
    with pytest.raises(OptionError) as found:
        gate(folder, **rules)
    return str(found.value)


def test_a_loss_is_measured_in_the_direction_of_its_metric(tmp_path: Path) -> None:
    write_run(tmp_path, {"tuned": {CORRECTNESS: EVEN, HALLUCINATION: WORSE}})
    found = decision(tmp_path, max_loss=["hallucination=0.1"])
    assert found.result == "fail"
    assert measured_text(found).startswith("gain on Hallucination -0.27 (95% interval -0.")
    assert reason_text(found) == "All of the interval is below -0.10."


def test_a_metric_that_the_run_lacks_is_an_error_with_those_that_it_has(tmp_path: Path) -> None:
    write_run(tmp_path, {"tuned": {CORRECTNESS: BETTER, F1: BETTER}})
    text = refusal(tmp_path, max_loss=["Tokn F1=0.1", "Bias=0.1"], min_win_rate=0.5, retention=0.1)
    assert text.splitlines() == [
        "--max_loss Tokn F1=0.1: this run does not compare on 'Tokn F1', did you mean 'Token F1'? "
        "(it has Correctness, Token F1)",
        "--max_loss Bias=0.1: this run does not compare on 'Bias' (it has Correctness, Token F1); "
        "add it with --predefined_tasks and run again",
        "--min_win_rate 0.5: this run compares no answers with each other (it has Correctness, "
        "Token F1); add Preference with --predefined_tasks and run again",
        "--retention 0.1: no group of this run is marked for retention; mark some with "
        "--retention_group and run again",
    ]


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({"require_guards": True}, "this run guards nothing"),
        ({"max_ability_loss": 0.1}, "general ability of tuned was not tested in this run"),
        ({"max_cut_off": 0.1}, "this run does not know how the answers of tuned ended"),
        ({"max_latency_growth": 0.1}, "did not measure the time for an answer of vanilla and tun"),
        ({"max_token_growth": 0.1}, "did not measure the tokens of an answer of vanilla and tuned"),
        ({"max_copied": 0.1}, "this run was not told the training data"),
    ],
)
def test_a_rule_without_anything_to_measure_is_an_error(
    tmp_path: Path, rule: dict[str, object], told: str
) -> None:
    write_run(tmp_path, {"tuned": {CORRECTNESS: BETTER}})
    assert told in refusal(tmp_path, **rule)


def test_each_retention_group_is_a_check_of_its_own(tmp_path: Path) -> None:
    cases = [
        case(str(i), input=f"Question {i}?", group=("old" if i % 2 else "new"), retention=True)
        for i in range(60)
    ]
    write_run(tmp_path, {"tuned": {CORRECTNESS: (0.3, -0.4) * 5}}, cases=cases)
    _, found = gate(tmp_path, retention=0.05)
    assert [(one.check.name, one.result) for one in found.decisions] == [
        ("retention 0.05 (new)", "pass"),
        ("retention 0.05 (old)", "fail"),
    ]
    assert found.decisions[1].check.quantity.n == 30  # type: ignore[union-attr]
    _, found = gate(tmp_path, require_guards=True)
    assert [one.result for one in found.decisions] == ["pass", "fail"]


def test_guards_keep_to_the_margin_of_the_run(tmp_path: Path) -> None:
    guard = replace(HALLUCINATION, margin=0.4)
    write_run(tmp_path, {"tuned": {CORRECTNESS: BETTER, guard: WORSE}})
    found = decision(tmp_path, require_guards=True)
    assert (found.check.name, found.result) == ("require_guards (Hallucination)", "pass")
    assert found.check.limit == -0.4


def test_the_win_rate_counts_ties_half(tmp_path: Path) -> None:
    cases = [case(str(i), input=f"Question {i}?") for i in range(60)]
    made = [completion(one.id, name) for one in cases for name in (VANILLA, "tuned")]
    none = _all_scores(cases)
    write_run(tmp_path, {"tuned": {PREFERENCE: EVEN}}, cases=cases, completions=made, missing=none)
    with_preferences(tmp_path, cases, (1.0, 1.0, 0.5, 1.0, 1.0, 0.0))
    found = decision(tmp_path, min_win_rate=0.55)
    assert found.result == "pass"
    assert measured_text(found).startswith(
        "win rate (Preference, ties count half) 75% (95% interval 6"
    )
    assert decision(tmp_path, min_win_rate=0.75).result == "can't tell"
    assert decision(tmp_path, min_win_rate=0.9).result == "fail"


def _all_scores(cases: list) -> list[Score]:  # type: ignore[type-arg]
    """All are left out: the scores of a comparison are made of the preferences."""
    return [Score(c.id, name, "Preference", 0.0) for c in cases for name in (VANILLA, "tuned")]


def with_preferences(folder: Path, cases: list, values: tuple[float, ...]) -> None:  # type: ignore[type-arg]
    journal = Journal(folder)
    levels = {1.0: (1, 1), 0.5: (0, 0), 0.0: (-1, -1)}
    for i, one in enumerate(cases):
        value = values[i % len(values)]
        row = Preference(one.id, "tuned", VANILLA, "Preference", *levels[value], value, "why")
        journal.add_preferences([row])
    journal.close()


def test_answers_that_were_cut_off_are_a_share_with_an_interval(tmp_path: Path) -> None:
    made = [completion(str(i), name, is_cut=i < 6) for i in range(60) for name in (VANILLA, "t")]
    write_run(tmp_path, {"t": {CORRECTNESS: EVEN}}, completions=made)
    found = decision(tmp_path, max_cut_off=0.02)
    assert measured_text(found).startswith("answers of t that were cut off 10% (95% interval ")
    assert found.result == "can't tell"  # six of 60 are too few to be sure of more than 2%
    assert decision(tmp_path, max_cut_off=0.3).result == "pass"
    assert decision(tmp_path, max_cut_off=0).result == "fail"


def test_growth_of_time_and_tokens(tmp_path: Path) -> None:
    made = [completion(str(i), VANILLA, 10 + i % 7, 1 + i % 3) for i in range(60)]
    made += [completion(str(i), "t", 2 * (10 + i % 7), 1.1 * (1 + i % 3)) for i in range(59)]
    made += [completion("59", "t", None, None)]
    write_run(tmp_path, {"t": {CORRECTNESS: EVEN}}, completions=made)
    tokens = decision(tmp_path, max_token_growth=0.5)
    assert tokens.result == "fail"
    assert told(tokens).startswith("growth of the tokens of an answer +100% (95% interval ")
    assert "n=59, 1 failed)" in told(tokens)
    assert decision(tmp_path, max_latency_growth=0.2).result == "pass"
    assert decision(tmp_path, max_latency_growth=0.05).result == "fail"


def test_seconds_and_tokens_of_a_rival_are_its_own_servers(tmp_path: Path) -> None:
    made = [completion(str(i), name, 10, 1.0) for i in range(60) for name in (VANILLA, "rival big")]
    latency = METRICS["latency"].spec
    gains = {CORRECTNESS: EVEN, latency: EVEN}
    write_run(tmp_path, {"rival big": gains}, completions=made)
    message = refusal(
        tmp_path, max_latency_growth=0.5, max_token_growth=0.5, max_loss=["Latency=1"]
    )
    assert message.splitlines() == [
        f"--{rule}: rival big runs on a server of its own, so its {what} and those of vanilla "
        "cannot be compared; leave this rule out"
        for rule, what in (
            ("max_loss Latency=1", "seconds"),
            ("max_latency_growth 0.5", "seconds"),
            ("max_token_growth 0.5", "tokens"),
        )
    ]


def test_failed_scores_are_counted(tmp_path: Path) -> None:
    failures = [Failure(str(i), "judge", "no answer", "tuned", "Correctness") for i in range(6)]
    write_run(tmp_path, {"tuned": {CORRECTNESS: BETTER}}, failures=failures)
    found = decision(tmp_path, max_failed=0.04)
    assert (found.result, found.check.fact.value) == ("fail", 0.05)  # type: ignore[union-attr]
    assert told(found).startswith("failed scores: 6 of 120 scores failed (5%), more than 4%.")
    assert decision(tmp_path, max_failed=0.05).result == "pass"


def test_copied_cases_are_counted_and_scores_are_those_of_clean_ones(tmp_path: Path) -> None:
    marks = tuple(
        CaseMark(str(i), "copied" if i % 10 < 5 else "clean", 1.0 if i % 10 < 5 else 0.0)
        for i in range(60)
    )
    facts = TrainingFacts(files=("train.jsonl",), digest="d", n_rows=30, marks=marks)
    gains = (0.4,) * 5 + (-0.2, -0.3, -0.1, -0.2, -0.3)  # better by heart, worse beyond
    write_run(tmp_path, {"tuned": {CORRECTNESS: gains}}, state=RunState(training=facts))
    run, found = gate(tmp_path, require="not_worse", max_copied=0.2)
    assert [one.result for one in found.decisions] == ["fail", "fail"]
    assert "n=30)" in measured_text(found.decisions[0])
    assert measured_text(found.decisions[1]) == (
        "cases in the training data: 30 of 60 cases copied from it (50%), more than 20%"
    )
    assert (
        "As in the verdict, gains are those on the 30 of 60 cases that are not in the training "
        "data." in gate_warnings(run, found)
    )


def test_where_every_case_is_copied_nothing_can_be_told(tmp_path: Path) -> None:
    marks = tuple(CaseMark(str(i), "copied", 1.0) for i in range(60))
    facts = TrainingFacts(files=("train.jsonl",), digest="d", n_rows=60, marks=marks)
    write_run(tmp_path, {"tuned": {CORRECTNESS: BETTER}}, state=RunState(training=facts))
    found = decision(tmp_path, require="better")
    assert found.result == "can't tell" and "no data" in measured_text(found)


def test_general_ability(tmp_path: Path) -> None:
    write_run(tmp_path, {"tuned": {CORRECTNESS: BETTER}})
    journal = Journal(tmp_path)
    journal.add_item_results(
        [
            ItemResult(
                *("probe", "arithmetic", f"i{i}", name),
                score=float(i % 2 == 0 and (name == VANILLA or i >= 60)),
                output="1",
            )
            for i in range(200)
            for name in (VANILLA, "tuned")
        ]
    )
    journal.close()
    found = decision(tmp_path, max_ability_loss=0.05)
    assert found.result == "fail"
    assert told(found).startswith("gain in general ability -0.15 (95% interval -0.2")
    assert "n=200 items)" in told(found)
    assert decision(tmp_path, max_ability_loss=0.3).result == "pass"


@pytest.mark.parametrize(
    ("fields", "result", "text"),
    [
        ({}, "can't tell", "tuned has no certificate; only adapters have one"),
        ({"reason": "the engine cannot"}, "can't tell", "there is no certificate: the engine can"),
        ({"unused": ("a",), "n_tensors": 2}, "fail", "partial: 1 of 2 tensors unused"),
        ({"weight_norm": 0.0}, "fail", "no effect"),
        ({"weight_norm": 1.0}, "pass", "certified"),
    ],
)
def test_the_certificate(tmp_path: Path, fields: dict[str, object], result: str, text: str) -> None:
    state = RunState(certificates={"tuned": certificate(**fields)} if fields else {})
    write_run(tmp_path, {"tuned": {CORRECTNESS: BETTER}}, state=state)
    found = decision(tmp_path, require_certificate=True)
    assert found.result == result and text in measured_text(found)


@pytest.mark.parametrize(
    ("fields", "meaning"),
    [
        ({"unused": ("a",), "n_tensors": 2}, "only a part of the adapter was applied"),
        ({"weight_norm": 0.0}, "the adapter changes nothing"),
        ({"base_proof": ""}, "the adapter left the base model changed"),
    ],
)
def test_scores_of_an_adapter_that_was_not_applied_tell_nothing(
    tmp_path: Path, fields: dict[str, object], meaning: str
) -> None:
    state = RunState(certificates={"tuned": certificate(**fields)})
    write_run(tmp_path, {"tuned": {CORRECTNESS: BETTER}}, state=state)
    found = decision(tmp_path, require="better")
    assert found.result == "can't tell"
    assert reason_text(found) == f"These numbers tell nothing: {meaning}."


@pytest.mark.parametrize(
    ("changed", "result", "text"),
    [
        ({}, "can't tell", "was not examined; --trust_report true does it"),
        ({"caveat": "offline (smoke-test) judge"}, "fail", "only counts words"),
        ({"self_judging": ("x",)}, "fail", "is the model under test"),
    ],
)
def test_the_judge(tmp_path: Path, changed: dict[str, object], result: str, text: str) -> None:
    write_run(tmp_path, {"tuned": {CORRECTNESS: BETTER}}, **changed)
    found = decision(tmp_path, require_trusted_judge=True)
    assert found.result == result and text in measured_text(found)


def test_a_run_without_judge_has_none_to_distrust(tmp_path: Path) -> None:
    write_run(tmp_path, {"tuned": {F1: BETTER}})
    assert decision(tmp_path, require_trusted_judge=True).result == "pass"


def test_of_several_variants_the_recommended_one_is_at_the_gate(tmp_path: Path) -> None:
    write_run(tmp_path, {"first": {CORRECTNESS: SLIGHTLY_WORSE}, "second": {CORRECTNESS: BETTER}})
    run, found = gate(tmp_path, require="better")
    assert run.variant == "second" and found.result == "pass"
    assert found.decisions[0].level == 0.975
    assert gate_warnings(run, found) == [
        "The gate is for second: the one that the verdict recommends, of first and second; "
        "--variant names another."
    ]
    run, found = gate(tmp_path, require="better", variant="first")
    assert run.variant == "first" and found.result == "can't tell"
    assert headline(run, found).startswith(
        "Gate passed with a warning: first against vanilla. Of 1 rule: 1 undecided (require better)"
    )


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ("secnd", "--variant 'secnd', did you mean 'second'?; this run has first, second"),
        (VANILLA, "--variant 'vanilla' (vanilla is the base); this run has first, second"),
    ],
)
def test_a_variant_that_the_run_lacks(tmp_path: Path, asked: str, text: str) -> None:
    write_run(tmp_path, {"first": {CORRECTNESS: EVEN}, "second": {CORRECTNESS: BETTER}})
    assert refusal(tmp_path, require="better", variant=asked) == text


def test_a_run_that_may_stop_early_is_decided_by_its_confidence_sequence(tmp_path: Path) -> None:
    params = {"seed": 7, "stop_early": True}
    write_run(tmp_path, {"tuned": {CORRECTNESS: BETTER, F1: EVEN}}, params=params)
    run, found = gate(tmp_path, require="better", max_loss=["Token F1=0.05"])
    better, even = found.decisions
    row = run.row
    assert better.result == "pass" and row is not None and row.outcome == "better"
    # The sequence at the last case; the verdict shows that of the case at which it settled.
    assert better.ends.low is not None and row.ci_low is not None
    assert 0 < row.ci_low <= better.ends.low
    assert even.result == "can't tell" and even.n_needed is None
    assert "Run again without --stop_early for a narrower interval." in reason_text(even)


def test_a_metric_that_only_describes_may_have_a_limit_in_its_own_unit(tmp_path: Path) -> None:
    write_run(tmp_path, {"tuned": {CORRECTNESS: BETTER, TOKENS: tuple(10 * g for g in WORSE)}})
    found = decision(tmp_path, max_loss=["Completion Tokens=1"])
    assert found.result == "fail"
    assert "gain on Completion Tokens -2.70" in measured_text(found)

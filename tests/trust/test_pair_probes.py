"""Pairs of which the better answer is known, also through a real local server that is fooled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from plugin import judges, metrics
from plugin.compare.pairs import Evidence
from plugin.compare.relative import win_scores
from plugin.journal import Journal
from plugin.judges.panel import Judging
from plugin.metrics import METRICS
from plugin.metrics.entry import PreferenceGuide
from plugin.records import Preference, Variant
from plugin.score import items_to_score, score_all
from plugin.trust.draw import RETEST
from plugin.trust.exam import Exam
from plugin.trust.lengths import length_slopes
from plugin.trust.pair_probes import (
    EMPTY_PRAISE,
    N_PAIR_CASES,
    NULL,
    ORDER,
    RIGHT,
    SAME,
    WRONG,
    grade_pairs,
    known_pairs,
    pair_first_line,
    pair_last_lines,
)
from plugin.trust.report import (
    family_of,
    label_with_caveats,
    make_trust_report,
    trust_first_lines,
    trust_last_lines,
)
from plugin.trust.wordings import is_wording
from plugin.worker import Progress
from tests.judge_server import Fault, JudgeServer, Reply, answers_shown, choice, choosing
from tests.samples import case, completion

N_CASES = 14
CASES = [
    case(str(i), input=f"Who is number {i}?", expected_output=f"Number {i} is Richard.")
    for i in range(N_CASES)
]
NAMES = ("vanilla", "tuned")
LONG = [case(str(i), group="x" if i % 2 else "y") for i in range(40)]
SPEC = METRICS["preference"].spec


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "run")


def run(server, journal, cases=CASES, criterion="", **changed):
    for each in cases:
        for variant, who in zip(NAMES, ("Nobody", "Thomas"), strict=True):
            text = completion(f"Number {each.id} is {who}.", each.id, variant)
            journal.add_answer(f"{variant} {each.id}", text)
    judge = judges.load("custom:m", {"CUSTOM_JUDGE_BASE_URL": server.url}.get)
    guide = PreferenceGuide(criterion=criterion)
    chosen = metrics.select(("Preference",), (), cases, guide)
    items = items_to_score(cases, journal.completions().values(), chosen, pairs=[NAMES[::-1]])
    exam = Exam(cases, chosen, journal, 0, names=NAMES)
    judging = Judging((judge,), concurrency=8, adaptive=False, max_failed_share=1, **changed)
    score_all(items, judging, journal, Progress(), exam=exam)


def trust_of(journal, cases=CASES, own=False):
    variants = [Variant(name, name, "m") for name in NAMES]
    preferences = journal.preferences()
    evidence = Evidence(
        cases, variants, [SPEC], win_scores(preferences, "vanilla"), (), preferences
    )
    return make_trust_report(
        journal.state.exam, evidence, journal.answers(), family_of("m", "n"), own_preference=own
    )


def by_name(trust):
    return {row.name: row for row in trust.pairs}


def fair(first: str, second: str) -> str:
    """Right beats other people, who beat nobody; what is no answer loses."""

    def worth(text: str) -> int:
        if text in WRONG.values():
            return -1
        return ("Richard" in text) * 2 + ("Thomas" in text)

    ahead = worth(first) - worth(second)
    return "tie" if not ahead else f"{'A' if ahead > 0 else 'B'} better"


def reading(rule: Callable[[str, str], str]) -> Fault:
    """A judge that follows the rule, and whose reasons are about the two answers."""

    def fault(number, body):
        first, second = answers_shown(body["messages"][0]["content"])
        return Reply(text=choice(rule(first, second), f"{first} against {second}"))

    return fault


def on_topic(rule: Callable[[str, str], str]) -> Fault:
    """A judge that also prefers the answer which names the number asked for."""

    def fault(number, body):
        prompt = body["messages"][0]["content"]
        asked = prompt.partition("Who is number ")[2].partition("?")[0]
        first, second = answers_shown(prompt)
        is_right = [f"Number {asked} " in text for text in (first, second)]
        if is_right[0] != is_right[1] and not {first, second} & set(WRONG.values()):
            return reading(lambda a, b: "A better" if is_right[0] else "B better")(number, body)
        return reading(rule)(number, body)

    return fault


def test_a_fair_judge_passes_on_all_known_pairs(server: JudgeServer, journal: Journal) -> None:
    server.fault = on_topic(fair)
    run(server, journal)
    trust = trust_of(journal)
    assert [(row.name, row.must, row.mean, row.passed) for row in trust.pairs] == [
        *((name, "lose", 0.0, True) for name in WRONG),
        (RIGHT, "win", 1.0, True),
        (SAME, "tie", 0.0, True),
    ]
    # 14 pairs take 28 questions, so the exam may take 60: three rounds of 19.
    assert [row.n for row in trust.pairs] == [4, 3, 3, 3, 3]
    assert len(server.requests) <= 28 + 60
    assert trust_first_lines("m", trust) == []
    last = trust_last_lines(trust, "Preference")
    assert last[0] == (
        "The judge passed the test with pairs: wrong answers lost against real ones (the highest "
        "share of wins is 0%, of the empty praise), and the expected output won 100% against "
        "answers to other questions."
    )


def test_each_pair_is_shown_in_both_orders_and_equal_texts_once(
    server: JudgeServer, journal: Journal
) -> None:
    run(server, journal)
    shown = [answers_shown(prompt) for prompt in server.prompts]
    null = Counter(pair.index("null") for pair in shown if "null" in pair)
    assert null[0] == null[1] > 0
    assert sum(first == second for first, second in shown) == len(
        [one for one in journal.state.exam or () if one.kind == SAME]
    )


def fooled_by(text: str) -> Callable[[str, str], str]:
    """A fair judge that gives in to one text."""

    def rule(first: str, second: str) -> str:
        if text in (first, second):
            return f"{'A' if text == first else 'B'} much better"
        return fair(first, second)

    return rule


@pytest.mark.parametrize("name", WRONG)
def test_a_judge_that_is_fooled_is_named_first(
    name: str, server: JudgeServer, journal: Journal
) -> None:
    server.fault = on_topic(fooled_by(WRONG[name]))
    run(server, journal)
    trust = trust_of(journal)
    assert [row.name for row in trust.pairs if row.passed is False] == [name]
    (line,) = trust_first_lines("m", trust)
    assert line.startswith("The judge m does not see which answer is better where that is known: ")
    assert f'"{name}" won 100% (n=' in line
    assert label_with_caveats("m", "", trust) == "judge m preferred wrong answers"
    assert not any("passed the test with pairs" in text for text in trust_last_lines(trust, "x"))


@pytest.mark.parametrize("said", ["A better", "tie"])
def test_a_judge_that_reads_nothing_fails(said: str, server: JudgeServer, journal: Journal) -> None:
    server.fault = choosing(lambda a, b: said)
    run(server, journal)
    rows = by_name(trust_of(journal))
    assert [rows[name].mean for name in (*WRONG, RIGHT)] == [0.5] * 4
    assert [rows[name].passed for name in (*WRONG, RIGHT)] == [False] * 4
    assert rows[SAME].passed is (said == "tie")


def test_a_winner_of_identical_answers_is_reported(server: JudgeServer, journal: Journal) -> None:
    server.fault = on_topic(lambda a, b: "A better" if a == b else fair(a, b))
    run(server, journal)
    trust = trust_of(journal)
    assert by_name(trust)[SAME].passed is False
    assert trust_first_lines("m", trust) == []
    assert any(
        "Shown the same answer twice, the judge named a winner in 3 of 3 cases." in line
        for line in trust_last_lines(trust, "Preference")
    )


def test_reasons_that_repeat_are_a_fault_but_not_across_wordings(
    server: JudgeServer, journal: Journal
) -> None:
    server.fault = choosing(fair)  # always gives the same reason
    run(server, journal)
    trust = trust_of(journal)
    (check,) = trust.reasons
    others = [one for one in journal.state.exam or () if not is_wording(one.kind)]
    assert (check.metric, check.n, check.repeats) == ("Preference", len(others), True)
    assert len(others) < len(journal.state.exam or ())
    assert any("gave the same reason for" in line for line in trust_first_lines("m", trust))


def test_a_retest_is_kept_as_a_repeat_that_never_counts(
    server: JudgeServer, journal: Journal
) -> None:
    seen: Counter[str] = Counter()

    def waver(number, body):
        seen[body["messages"][0]["content"]] += 1
        times = seen[body["messages"][0]["content"]]
        better = "A better" if times == 1 else "B better"
        return choosing(
            lambda a, b: better if "Thomas" in a else better.translate(str.maketrans("AB", "BA"))
        )(number, body)

    server.fault = waver
    run(server, journal)
    assert {row.value for row in journal.preferences()} == {1.0}
    repeats = [row for row in journal.all_preferences() if row.repeat]
    assert len(repeats) == len([one for one in journal.state.exam if one.kind == RETEST]) == 3
    assert {(row.first, row.second, row.value, row.judge) for row in repeats} == {(-1, -1, 0.0, "")}
    (retest,) = trust_of(journal).retests
    assert (retest.metric, retest.n, retest.n_moved, retest.largest_change) == (
        "Preference", 3, 3, 1.0,
    )  # fmt: skip


@pytest.mark.parametrize(("said", "best"), [("is Thomas.", "Thomas"), ("is Nobody.", "Nobody")])
def test_without_expected_outputs_the_preferred_completion_is_the_real_answer(
    said: str, best: str, server: JudgeServer, journal: Journal
) -> None:
    server.fault = choosing(lambda a, b: "A better" if a.endswith(said) else "B better")
    cases = [case(str(i), input=f"Who is {i}?", expected_output=None) for i in range(N_CASES)]
    run(server, journal, cases)
    shown = [answers_shown(prompt) for prompt in server.prompts]
    against = {b for a, b in shown if a == "null"}
    assert against and all(text.endswith(f"is {best}.") for text in against)
    assert not [one for one in journal.state.exam or () if one.kind == RIGHT]


def test_under_a_criterion_of_the_users_only_the_order_is_tested(
    server: JudgeServer, journal: Journal
) -> None:
    server.fault = choosing(lambda a, b: "A better" if a in WRONG.values() else "B better")
    run(server, journal, criterion="Which answer is kinder?")
    kinds = {one.kind for one in journal.state.exam or ()}
    assert kinds & {EMPTY_PRAISE, RIGHT} == set() and {NULL, ORDER, SAME} <= kinds
    rows = by_name(trust_of(journal, own=True))
    assert (rows[ORDER].mean, rows[NULL].mean) == (1.0, 1.0)
    assert (rows[ORDER].passed, rows[NULL].passed) == (True, None)  # it wins no more than the null


def test_an_order_that_is_obeyed_fails_under_any_criterion() -> None:
    def order_passes(order, null, own):
        rows = grade_pairs("Preference", {ORDER: order, NULL: null}, {}, own_criterion=own)
        return {row.name: row.passed for row in rows}[ORDER]

    assert order_passes([1.0, 1.0, 0.5, 0.5], [0.0] * 4, True) is False
    assert order_passes([1.0, 0.5, 0.5, 0.5], [0.0] * 4, True) is True
    assert order_passes([0.5, 0.5, 0.0, 0.0], [0.0] * 4, False) is True
    assert order_passes([0.5, 0.5, 0.5, 0.0], [0.0] * 4, False) is False
    assert order_passes([1.0] * 4, [], True) is None


def test_only_pairs_with_the_base_are_compared_again(server: JudgeServer, journal: Journal) -> None:
    """The gain that a retest is held against is the one over the base."""
    names = ("vanilla", "tuned", "prompted")
    for each in CASES:
        for variant in names:
            text = completion(f"Number {each.id} is {variant}.", each.id, variant)
            journal.add_answer(f"{variant} {each.id}", text)
    for each in CASES:
        for base in ("vanilla", "prompted"):
            row = Preference(each.id, "tuned", base, "Preference", 1, 1, 1.0)
            journal.add_preferences([row])
    exam = Exam(CASES, metrics.load(["Preference"]), journal, 0, names=names)
    retests = [probe for probe in exam._probes() if probe.kind == RETEST]
    assert retests and {probe.baseline for probe in retests} == {"vanilla"}


def test_longer_answers_that_win_are_seen_in_the_length_slope() -> None:
    texts = {
        (each.id, name): completion(
            "x" * (10 + int(each.id) if name == "tuned" else 30), each.id, name
        )
        for each in LONG
        for name in NAMES
    }
    rows = [
        Preference(each.id, "tuned", "vanilla", "Preference", 1, 1, float(int(each.id) > 15))
        for each in LONG
    ]
    variants = [Variant(name, name, "m") for name in NAMES]
    evidence = Evidence(LONG, variants, [SPEC], win_scores(rows, "vanilla"), (), rows)
    (found,) = length_slopes(evidence, texts)
    assert (found.metric, found.n, found.at_equal_length) == ("Preference", 40, None)
    assert 0 < found.ci_low < found.slope <= 0.5  # a gain is at most a half


def test_failed_pairs_are_counted() -> None:
    (row,) = grade_pairs("Preference", {}, {NULL: 3}, own_criterion=False)
    assert (row.mean, row.n, row.n_failed, row.passed) == (None, 0, 3, None)
    assert pair_first_line("m", [row]) == "" and pair_last_lines([row]) == []


def test_an_unrelated_answer_belongs_to_another_question_and_cluster() -> None:
    cases = [
        case("1", input="Who?", expected_output="Richard", cluster="x"),
        case("2", input="Who is it?", expected_output="Thomas", cluster="x"),
        case("3", input="Who?", expected_output="Jared", cluster="y"),
        case("4", input="Where?", expected_output="richard ", cluster="z"),
        case("5", input="When?", expected_output="Now", cluster="z"),
        case("6", input="Why?", expected_output=None),
    ]
    (first, *_) = known_pairs(cases, {}, own_criterion=False)[RIGHT]
    assert (first.own, first.other) == ("Richard", "Now")
    assert known_pairs(cases[:3], {}, own_criterion=False)[RIGHT][0].case.id == "2"


def test_a_canary_that_is_the_expected_output_is_no_wrong_answer() -> None:
    cases = [case(str(i), expected_output="NULL" if i else "One") for i in range(2)]
    found = known_pairs(cases, {}, own_criterion=False)
    assert [one.case.id for one in found[NULL]] == ["0"]
    assert [one.case.id for one in found[ORDER]] == ["0", "1"]
    assert len(known_pairs(CASES, {}, own_criterion=False)[NULL]) == N_PAIR_CASES


def test_every_right_answer_of_a_case_counts_as_right() -> None:
    cases = [
        case("1", input="Who?", expected_output="Richard", references=("Richard", "null", "Rick")),
        case("2", input="Where?", expected_output="Rick"),
        case("3", input="Which?", expected_output="Rich", references=("Rich", "richard")),
        case("4", input="When?", expected_output="Now"),
    ]
    found = known_pairs(cases, {}, own_criterion=False)
    assert [one.case.id for one in found[NULL]] == ["2", "3", "4"]
    assert [(one.own, one.other) for one in found[RIGHT]][0] == ("Richard", "Now")

"""Cases that repeat another one are one cluster."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plugin.load.cases import CaseSource, LoadedCases, load_cases
from plugin.load.repeats import case_key, cluster_repeats, count_repeats
from plugin.records import Case, Message


def case(name: str, text: str, cluster: str | None = None, *context: str) -> Case:
    return Case(name, (Message("user", text),), context=context, cluster=cluster)


def clusters(*cases: Case) -> list[str | None]:
    return [one.cluster for one in cluster_repeats(cases)]


def load(path: Path, rows: list[dict[str, object]]) -> LoadedCases:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_cases(CaseSource(str(path)))


@pytest.mark.parametrize(
    ("one", "other", "is_repeat"),
    [
        ("Who is it?", "Who is it?", True),
        ("Who is it?", "  who\tIS\nit", True),
        ("Stop!", "stop.", True),
        ("Really?!", "really…", True),
        ("Straße", "STRASSE", True),
        ("e\u0301te\u0301", "été", True),
        ("What is 2+2?", "What is 2+2", True),
        ("What is (2+2)?", "What is (2+2)", True),
        ("2+2", "2-2", False),
        ("2+2", "22", False),
        ("What is 5!", "What is 5?", False),
        ("What is n!", "What is n", False),
        ("C", "C++", False),
        ("C", "C#", False),
        ("x = a[1]", "x = a(1)", False),
        ("x²", "x2", False),
        ("1.5", "15", False),
        ("Go", ".Go", False),
        ("it's", "its", False),
        ("ab", "a b", False),
        ("?", "!", False),
    ],
)
def test_what_repeats_what(one: str, other: str, is_repeat: bool) -> None:
    assert (case_key(case("a", one)) == case_key(case("b", other))) is is_repeat


def test_the_whole_conversation_and_the_context_count() -> None:
    def chat(*turns: tuple[str, str]) -> Case:
        return Case("x", tuple(Message(*turn) for turn in turns))

    plain = chat(("user", "Hi"))
    assert case_key(plain) == case_key(chat(("user", "hi.")))
    for other in (
        chat(("system", "Be short."), ("user", "Hi")),
        chat(("user", "Yo"), ("assistant", "Yo"), ("user", "Hi")),
    ):
        assert case_key(plain) != case_key(other)
    assert case_key(case("a", "Hi", None, "x")) != case_key(case("b", "Hi", None, "y"))
    assert case_key(case("a", "Hi", None, "x y.")) == case_key(case("b", "Hi", None, "X  y"))


def test_repeats_are_one_cluster_and_the_others_stay_alone() -> None:
    found = clusters(case("a", "One?"), case("b", "Two?"), case("c", "one"), case("d", "Three"))
    assert found == ["repeats of a", None, "repeats of a", None]


def test_clusters_that_share_a_repeat_become_one() -> None:
    cases = (
        case("a", "One?", "x"),
        case("b", "Two?", "x"),
        case("c", "two", "y"),
        case("d", "Three?", "y"),
        case("e", "three"),
        case("f", "Four?", "z"),
        case("g", "Five?"),
    )
    assert clusters(*cases) == ["x", "x", "x", "x", "x", "z", None]
    found = count_repeats(cluster_repeats(cases))
    assert (found.n, found.n_cases, found.n_clusters) == (2, 7, 3)


def test_a_cluster_of_repeats_takes_no_name_of_another() -> None:
    cases = (case("a", "One?"), case("b", "one"), case("c", "Two?", "repeats of a"))
    first, second, third = clusters(*cases)
    assert first == second != third == "repeats of a"


def test_cases_without_repeats_are_left_as_they_are() -> None:
    cases = (case("a", "One?"), case("b", "Two?", "x"), case("c", "Three?", "x"))
    assert cluster_repeats(cases) == cases
    assert count_repeats(cases).text == ""


def test_twice_the_same_work_changes_nothing() -> None:
    cases = cluster_repeats([case("a", "One?"), case("b", "one"), case("c", "Two?")])
    assert cluster_repeats(cases) == cases


def test_eight_copies_are_as_many_clusters_as_one(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"input": f"question {n}?"} for n in range(30)]
    once, often = load(tmp_path / "a.jsonl", rows), load(tmp_path / "b.jsonl", rows * 8)
    assert (once.repeats.n, once.repeats.n_clusters) == (0, 30)
    assert {one.cluster for one in once.cases} == {None}
    assert (often.repeats.n, often.repeats.n_clusters) == (210, 30)
    assert len({one.cluster for one in often.cases}) == 30
    assert often.repeats.text == (
        "210 of 240 cases repeat another one. A case and its repeats form one cluster: 30 "
        "clusters in all."
    )


def test_one_repeat_in_words() -> None:
    found = count_repeats(cluster_repeats([case("a", "One?"), case("b", "one")]))
    assert found.text == (
        "1 of 2 cases repeats another one. A case and its repeats form one cluster: 1 cluster in "
        "all."
    )

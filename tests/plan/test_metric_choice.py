"""Which metrics run: the user's, else those that options and data call for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plugin import judges
from plugin.errors import JudgeError, OptionError
from plugin.judges import NoJudge
from plugin.metrics.entry import PreferenceGuide
from plugin.plan.metric_choice import MetricChoice, choose_metrics, with_schema
from plugin.plan.params import Params
from plugin.plan.params_task import TASK_OPTIONS
from plugin.records import Case
from tests.plan.test_plan import plan_of
from tests.samples import case

OFFLINE = (judges.load("offline", lambda name: None),)
LABELS = [case(str(n), expected_output=("spam", "ham")[n % 2]) for n in range(20)]
OBJECTS = [case(str(n), expected_output=f'{{"n": {n}}}') for n in range(3)]
TEXTS = [case(str(n), expected_output=f"A long answer, number {n}.") for n in range(20)]


def choose(
    cases: list[Case], judge: bool = False, without: tuple[str, ...] = (), **values: object
) -> MetricChoice:
    given = OFFLINE if judge else (NoJudge(),)
    return choose_metrics(Params.parse(values), cases, given, PreferenceGuide(), without)


def test_labels_choose_classification_and_say_why() -> None:
    found = choose(LABELS)
    assert found.names == ("Classification",)
    assert found.notes == (
        "metrics chosen: Classification, because the 20 expected outputs are 2 short labels (ham, "
        "spam). --predefined_tasks chooses others.",
    )
    with_judge = choose(LABELS, judge=True)
    assert with_judge.names == ("Classification",)
    assert with_judge.notes[0].endswith("chooses others. The judge is not asked.")
    assert with_judge.judges[0].label == "no judge"


def test_objects_choose_json_fields_before_valid_json() -> None:
    found = choose(OBJECTS)
    assert found.names == ("JSON Fields", "Valid JSON")
    assert "JSON Fields and Valid JSON, because all 3 expected outputs are JSON" in found.notes[0]


def test_other_texts_choose_what_they_always_did() -> None:
    found = choose(TEXTS, judge=True)
    assert [one.spec.name for one in found.metrics] == [
        "Answer Relevancy",
        "Hallucination",
        "Correctness",
    ]
    assert (found.names, found.notes, found.judges) == ((), (), OFFLINE)


def test_without_a_judge_such_texts_are_refused_or_scored_with_words() -> None:
    with pytest.raises(JudgeError, match="no judge chosen; --judge takes one of"):
        choose(TEXTS)
    found = choose(TEXTS, without=("Token F1", "Exact Match"))
    assert found.names == ("Token F1", "Exact Match")
    assert found.notes[0].startswith("note: no judge is chosen: scored with Token F1 and Exact")
    assert choose(LABELS, without=("Token F1", "Exact Match")).names == ("Classification",)


def test_named_metrics_and_criteria_come_before_what_the_data_say() -> None:
    assert choose(LABELS, predefined_tasks="Token F1").names == ("Token F1",)
    found = choose(LABELS, judge=True, tasks="Tone: Is it kind?")
    assert [one.spec.name for one in found.metrics] == ["Tone"]


@pytest.mark.parametrize(
    ("option", "value", "name"),
    [
        ("labels", "spam, ham, other", "Classification"),
        ("expect", "regex:\\d+", "Contains"),
        ("json_schema", '{"type": "object"}', "JSON Schema"),
        ("length_limit", "1-9 words", "Length Limit"),
        ("forbidden_words", "sorry", "Forbidden Words"),
    ],
)
def test_an_option_chooses_its_metric(option: str, value: str, name: str) -> None:
    cases = LABELS if option == "labels" else TEXTS
    found = choose(cases, **{option: value})
    assert found.names == (name,)
    assert f"{name}, because --{option} is given" in found.notes[0]


@pytest.mark.parametrize("bad", ["null", '["x"]', "{}"])
def test_a_label_is_a_plain_value(bad: str) -> None:
    with pytest.raises(OptionError) as caught:
        choose(LABELS, labels=f'["yes", {bad}]')
    assert f"{bad} is not a label: a JSON list of labels holds texts, numbers, or" in str(
        caught.value
    )


def test_what_a_metric_lacks_and_what_no_metric_reads_are_refused_together() -> None:
    with pytest.raises(OptionError) as caught:
        choose(
            TEXTS,
            predefined_tasks="Token F1, JSON Schema, Length Limit",
            labels="a, b",
            number_tolerance="1%",
        )
    assert str(caught.value).splitlines() == [
        "--predefined_tasks JSON Schema needs --json_schema",
        "--predefined_tasks Length Limit needs --length_limit",
        "--labels would do nothing: add Classification to --predefined_tasks",
        "--number_tolerance would do nothing: add Numeric Match or JSON Fields to "
        "--predefined_tasks",
    ]


def test_a_library_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sqlglot.dialects.dialect", None)
    with pytest.raises(OptionError, match="pip install -r requirements-formats.txt"):
        choose(TEXTS, predefined_tasks="Valid SQL")


def write_data(folder: Path) -> Path:
    file = folder / "cases.jsonl"
    rows = ({"input": f"n {n}", "expected_output": ("a", "b")[n % 2]} for n in range(20))
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_metrics_that_cannot_work_are_refused_before_a_model_is_looked_for(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="--labels does not have these expected outputs: 'a'"):
        plan_of(
            dataset=write_data(tmp_path),
            model=tmp_path / "nowhere",
            predefined_tasks="Classification",
            labels="b, c",
        )


def test_a_plan_holds_the_chosen_metrics_by_name(tmp_path: Path) -> None:
    data = write_data(tmp_path)
    found = plan_of(dataset=data, predefined_tasks="")
    assert found.primary == "Classification"
    assert found.params.predefined_tasks == ("Classification",)
    assert found.notes[0].startswith("metrics chosen: Classification, because ")
    assert found.run_id == plan_of(dataset=data, predefined_tasks="Classification").run_id


def test_the_schema_is_kept_as_text(tmp_path: Path) -> None:
    file = tmp_path / "s.json"
    file.write_text('\ufeff {"type": "object"}\n', encoding="utf-8")
    params = Params.parse({"json_schema": str(file)})
    assert with_schema(params, str(file)).json_schema == '{"type": "object"}'
    text = Params.parse({"json_schema": '{"type": "array"}'})
    assert with_schema(text, "") is text
    for bad, said in ((tmp_path / "none.json", "cannot be read"), (tmp_path, "cannot be read")):
        with pytest.raises(OptionError, match=said):
            with_schema(params, str(bad))
    file.write_text("[]")
    with pytest.raises(OptionError, match="holds no JSON object"):
        with_schema(params, str(file))


def test_a_pattern_keeps_its_commas_and_brackets() -> None:
    for value in ("regex:a{1,2}", ["regex:a{1,2}"], '["regex:a{1,2}"]'):
        assert Params.parse({"expect": value}).expect == ("regex:a{1,2}",)
    assert Params.parse({"expect": "[x]"}).expect == ("[x]",)
    assert Params.parse({"labels": '["a, b", "c"]'}).labels == ("a, b", "c")
    for value in ([0, 1, 2.5, True], "[0, 1, 2.5, true]", "0, 1, 2.5, true"):
        assert Params.parse({"labels": value}).labels == ("0", "1", "2.5", "true")


@pytest.mark.parametrize("name", ["expect_column", "tests_column", *TASK_OPTIONS])
def test_a_run_that_says_nothing_of_it_keeps_its_settings(name: str) -> None:
    assert name not in Params().settings()
    value = "3" if name == "test_seconds" else "x"
    assert name in Params.parse({name: value}).settings()

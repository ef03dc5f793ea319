"""Which metrics guard, with which margin; which groups must not get worse; what is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from plugin import metrics
from plugin.errors import OptionError
from plugin.journal import Journal
from plugin.metrics import METRICS
from plugin.metrics.entry import Criterion
from plugin.plan.guards import check_retention, choose_guards
from plugin.plan.params import Params, option_of
from plugin.records import MetricSpec
from plugin.run import begin_run
from tests.plan.test_plan import plan_of
from tests.samples import case

NAMES = ("Correctness", "Toxicity", "Hallucination", "Rubric", "Perplexity", "Cut Off")
ODD = Criterion("Tone=kind, short", "Is it?")


def specs(*more: str) -> list[MetricSpec]:
    chosen = metrics.select((*NAMES, *more), (ODD,), [case()])
    return [metric.spec for metric in chosen]


def guards(*asked: str, primary: str = "Correctness", more: Sequence[str] = ()) -> dict[str, float]:
    return choose_guards(asked, specs(*more), primary, margin=0.05)


def refused(*asked: str, more: Sequence[str] = ()) -> str:
    with pytest.raises(OptionError) as caught:
        guards(*asked, more=more)
    return str(caught.value)


def test_four_metrics_guard_by_default() -> None:
    found = {entry.spec.name for entry in METRICS.values() if entry.spec.is_guard}
    assert found == {"Hallucination", "Faithfulness", "Bias", "Toxicity"}


DEFAULTS = {"Toxicity": 0.05, "Hallucination": 0.05}


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ((), DEFAULTS),
        (("Rubric",), {**DEFAULTS, "Rubric": 0.05}),
        (("rubric = 0.2",), {**DEFAULTS, "Rubric": 0.2}),
        (("Toxicity=0.02",), {**DEFAULTS, "Toxicity": 0.02}),
        (("Toxicity", "Toxicity=0.02", "toxicity=.02"), {**DEFAULTS, "Toxicity": 0.02}),
        (("none",), {}),
        (("None", "Toxicity", "Rubric=0.1"), {"Toxicity": 0.05, "Rubric": 0.1}),
        (("Perplexity=3",), {**DEFAULTS, "Perplexity": 3.0}),
        (("Tone=kind, short",), {**DEFAULTS, "Tone=kind, short": 0.05}),
        (("Tone=kind, short=0.3",), {**DEFAULTS, "Tone=kind, short": 0.3}),
    ],
)
def test_guards_are_the_default_ones_and_those_asked_for(
    asked: tuple[str, ...], found: dict[str, float]
) -> None:
    assert guards(*asked) == found


def test_a_default_guard_that_decides_is_no_guard() -> None:
    assert guards(primary="Toxicity") == {"Hallucination": 0.05}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "Bias=0.1",
            "--guard_metric 'Bias=0.1': this run has Correctness, Toxicity, Hallucination, Rubric, "
            "Perplexity, Cut Off, Tone=kind, short; add Bias with --predefined_tasks, or leave it "
            "out",
        ),
        (
            "Rubrik",
            "--guard_metric 'Rubrik': unknown metric 'Rubrik', did you mean 'Rubric'? (this",
        ),
        ("Biass=0.1", "--guard_metric 'Biass=0.1': unknown metric 'Biass', did you mean 'Bias'?"),
        (
            "Cut Off",
            "--guard_metric 'Cut Off': Cut Off only describes; guards may be Toxicity, "
            "Hallucination, Rubric, Perplexity, Tone=kind, short",
        ),
        (
            "Contextual Recall",
            "--guard_metric 'Contextual Recall': Contextual Recall judges the data set and no "
            "model; guards may be Toxicity",
        ),
        (
            "correctness=0.1",
            "--guard_metric 'correctness=0.1': Correctness is the primary metric",
        ),
    ],
)
def test_what_can_be_no_guard_is_refused(text: str, message: str) -> None:
    assert refused(text, more=("Contextual Recall",)).startswith(
        message.replace("Cut Off, Tone", "Cut Off, Contextual Recall, Tone")
    )


@pytest.mark.parametrize("margin", ["", "x", "0", "-0.1", "1", "nan", "inf", "0,02", "1e400"])
def test_a_margin_is_a_number_above_0_within_the_range(margin: str) -> None:
    message = refused(f"Toxicity={margin}")
    assert message.startswith(f"--guard_metric 'Toxicity={margin}': the margin {margin!r}")
    assert "above 0 and below 1" in message and "such as 'Toxicity=0.02'" in message


def test_without_a_range_a_margin_is_only_above_0_and_finite() -> None:
    assert "must be a number above 0, such as 'Perplexity=0.02'" in refused("Perplexity=inf")


def test_two_margins_and_all_other_faults_are_named_together() -> None:
    lines = refused("Rubric=0.1", "Toxicity=0.02", "x", "Toxicity=0.1", "Rubric=0.10").splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "--guard_metric 'x'",
        "--guard_metric Toxicity has the margins 0.02 and 0.1; give only one",
    ]


def test_a_retention_group_without_a_case_that_can_be_scored_is_refused() -> None:
    cases = [
        case("1", group="a", retention=True, expected_output=None),
        case("2", group="b", retention=True, expected_output=None),
        case("3", group="b", retention=True),
        case("4", group="c", expected_output=None),
    ]
    with pytest.raises(OptionError) as caught:
        check_retention(cases, METRICS["correctness"].spec)
    message = str(caught.value)
    assert message.startswith(
        "retention group 'a': Correctness, the primary metric, needs expected"
    )
    assert "(1)" in message and "--primary_metric" in message and "'b'" not in message
    check_retention(cases, METRICS["rubric"].spec)


def test_options_are_read_as_hosts_and_command_lines_send_them() -> None:
    sent = Params.parse({"guard_metric": "Toxicity=0.02, Bias", "retention_group": "a, b"})
    assert sent.guard_metric == ("Toxicity=0.02", "Bias") and sent.retention_group == ("a", "b")
    repeated = Params.parse({"guard_metric": ["Tone, kind=0.1"], "retention_group": ["a, b"]})
    assert (repeated.guard_metric, repeated.retention_group) == (("Tone, kind=0.1",), ("a, b",))


@pytest.mark.parametrize("name", ["guard_metric", "retention_group", "retention_column"])
def test_every_host_offers_them_under_a_title_that_its_form_can_show(name: str) -> None:
    assert option_of(name).hosts == {"cli", "classic", "lab"}
    assert len(Params.model_fields[name].title or "") <= 25


@pytest.mark.parametrize(
    ("name", "value"),
    [("guard_metric", ["none"]), ("retention_group", ["a"]), ("retention_column", "keep")],
)
def test_they_are_settings_of_a_run_that_uses_them_alone(name: str, value: object) -> None:
    assert name not in Params().settings()
    assert Params.parse({name: value}).settings()[name] == value


DATA = [
    {"input": "Who?", "expected_output": "He.", "context": "He.", "group": "new"},
    {"input": "What?", "expected_output": "It.", "context": "It.", "group": "general"},
    {"input": "Where?", "expected_output": "Here.", "context": "Here.", "keep": "yes"},
]


def dataset(folder: Path) -> Path:
    path = folder / "cases.json"
    path.write_text(json.dumps(DATA))
    return path


def test_the_plan_carries_guards_and_retention_groups_into_the_journal(tmp_path: Path) -> None:
    plan = plan_of(
        dataset=dataset(tmp_path),
        predefined_tasks="Correctness, Hallucination, Toxicity, Rubric, Cut Off",
        tasks="Tone: Is it kind?",
        primary_metric="Toxicity",
        margin=0.1,
        guard_metric=["Tone=0.02", "Rubric"],
        retention_group=["general"],
        retention_column="keep",
    )
    assert [(spec.name, spec.is_guard, spec.margin) for spec in plan.specs] == [
        ("Toxicity", False, 0.1),
        ("Correctness", False, 0.1),
        ("Hallucination", True, 0.1),
        ("Rubric", True, 0.1),
        ("Cut Off", False, 0.1),
        ("Tone", True, 0.02),
    ]
    assert [(one.group, one.retention) for one in plan.loaded.cases] == [
        ("new", False),
        ("general", True),
        ("retention", True),
    ]
    journal = Journal(tmp_path / "run")
    begin_run(journal, plan)
    journal.close()
    again = Journal.existing(tmp_path / "run")
    assert (again.header.metrics, again.cases()) == (plan.specs, plan.loaded.cases)
    assert Params.parse(again.header.params).guard_metric == ("Tone=0.02", "Rubric")


def test_the_plan_refuses_what_cannot_guard(tmp_path: Path) -> None:
    data = dataset(tmp_path)
    for options, message in [
        ({"guard_metric": "Toxicity"}, "--guard_metric 'Toxicity'"),
        ({"retention_group": "generl"}, "--retention_group 'generl'.* did you mean 'general'"),
    ]:
        with pytest.raises(OptionError, match=message):
            plan_of(dataset=data, predefined_tasks="Token F1, Exact Match", **options)
    data.write_text(json.dumps([*DATA, {"input": "When?", "group": "g", "retention": 1}]))
    with pytest.raises(OptionError, match="retention group 'g': Token F1, the primary metric"):
        plan_of(dataset=data, predefined_tasks="Token F1, Exact Match")


def test_both_options_make_another_run(tmp_path: Path) -> None:
    data = dataset(tmp_path)
    runs = [
        plan_of(dataset=data, predefined_tasks="Token F1, Exact Match", **options).run_id
        for options in (
            {},
            {"guard_metric": "Exact Match"},
            {"guard_metric": "Exact Match=0.2"},
            {"retention_group": "general"},
        )
    ]
    assert len(set(runs)) == 4

import dataclasses
import json
import math

from plugin.records import MetricSpec
from plugin.report import summary_json, verdict_txt
from plugin.results import Comparison, NextKind, NextStep
from plugin.trust.records import Retest, Trust
from tests.report import report_samples as samples


def test_summary_holds_everything_a_machine_needs(report):
    content = summary_json(report)
    assert content["verdict"]["outcome"] == "better"
    assert content["verdict"]["text"] == report.verdict.text
    assert content["judge"] == report.judge
    assert content["warnings"] == list(report.warnings)
    assert content["provenance"] == {"seed": 7, "versions": {"deepeval": "4.3.1"}}
    assert (content["n_cases"], content["n_failed"], content["partial"]) == (20, 4, False)
    assert content["variants"][1]["adapter_path"] == "adapters/tuned"
    assert set(content["variants"][0]) >= {"id", "adapter_digest", "model"}
    fields = {field.name for field in dataclasses.fields(Comparison)}
    assert set(content["comparisons"][0]) == fields | {"n_ties"}
    first = content["comparisons"][0]
    assert first["wins"] + first["losses"] + first["n_ties"] == first["n"] == 18
    assert content["failures"][0]["reason"] == "no verdicts"
    assert content["trust"] is None


def test_summary_holds_the_trust_report(report):
    known = Trust(retests=(Retest("Correctness", 10, 0, 1, 0.02, 0.2),))
    content = json.loads(json.dumps(summary_json(dataclasses.replace(report, trust=known))))
    assert content["trust"]["retests"][0]["n_moved"] == 1
    assert content["trust"]["family"] is None


def test_summary_is_strict_json_with_none_for_what_is_missing():
    endless = MetricSpec("ppl", "Perplexity", False, high=math.inf, needs=frozenset({"b", "a"}))
    report = samples.build(2, metrics=(endless,), failed={("c0", "tuned"), ("c1", "tuned")})
    report = dataclasses.replace(report, provenance={"speed": math.nan, "path": ("x", 1)})
    text = json.dumps(summary_json(report), allow_nan=False)
    content = json.loads(text)
    assert content["metrics"][0]["high"] is None
    assert content["metrics"][0]["needs"] == ["a", "b"]
    assert content["comparisons"][0]["gain"] is None
    assert content["provenance"] == {"speed": None, "path": ["x", 1]}


def test_keys_are_snake_case_and_stable(report):
    keys = list(summary_json(report))
    assert keys == list(summary_json(samples.vanilla_only()))
    assert all(key == key.lower() and key.isidentifier() for key in keys)


def test_verdict_text_has_verdict_warnings_and_judge(report):
    assert verdict_txt(report) == (
        "tuned is better than vanilla on Correctness: +0.100.\n"
        "It also counts the ties.\n"
        "Warning: The judge is a smoke test.\n"
        "Judge: offline (smoke-test) judge\n"
    )


def test_what_to_do_next_stands_below_the_sentence(report):
    step = NextStep(NextKind.SHIP, "Ship tuned.")
    verdict = dataclasses.replace(report.verdict, next_step=step)
    report = dataclasses.replace(report, verdict=verdict)
    assert verdict_txt(report).splitlines()[1] == "Next: Ship tuned."
    content = summary_json(report)
    assert content["next"] == {"kind": "ship", "text": "Ship tuned."}
    assert "next_step" not in content["verdict"]
    assert summary_json(samples.vanilla_only())["next"] is None


def test_the_verdict_as_text_steers_no_terminal(report):
    odd = dataclasses.replace(report, warnings=("group \x1b[31m\x07\0\u202ex",))
    assert verdict_txt(odd).splitlines()[-2] == r"Warning: group \x1b[31m\x07\x00\u202ex"

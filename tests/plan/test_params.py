from __future__ import annotations

import json
import re

import pytest

from plugin import engines
from plugin.engines.choice import ready_engines
from plugin.errors import OptionError
from plugin.metrics.entry import Criterion
from plugin.plan.params import Params, option_of
from plugin.plan.params_input import ONLY_VANILLA
from tools import forms

CLASSIC_NAMES = (
    "job_id",
    "dataset_name",
    "model_name",
    "run_name",
    "template_name",
    "experiment_name",
    "eval_name",
    "plugin_dir",
)
SDK_ATTRIBUTES = {
    "add_job_data",
    "experiment_name",
    "job",
    "load_dataset",
    "log_metric",
    "params",
    "progress_update",
    "save_evaluation_results",
    "writer",
    "job_wrapper",
    "tensorboard_output_dir",
}
LAB_JOB_DATA = {
    "artifacts",
    "checkpoints",
    "description",
    "eval_results",
    "lower_is_better",
    "models",
    "provider_id",
    "run",
    "score",
    "setup",
    "start_time",
    "status",
    "stop",
    "task_name",
}


def names(host: str) -> list[str]:
    return [name for name in Params.model_fields if host in option_of(name).hosts]


@pytest.mark.parametrize("name", names("classic"))
def test_no_name_breaks_the_classic_host(name: str) -> None:
    assert not any(known.startswith(name) for known in CLASSIC_NAMES)
    assert name not in SDK_ATTRIBUTES


@pytest.mark.parametrize("name", names("lab"))
def test_no_name_breaks_the_current_host(name: str) -> None:
    assert name not in LAB_JOB_DATA


@pytest.mark.parametrize("name", Params.model_fields)
def test_every_option_has_a_title_and_a_help_text(name: str) -> None:
    field = Params.model_fields[name]
    assert field.title and len(field.title) > 3
    assert field.description and field.description.endswith((".", ")"))


@pytest.mark.parametrize("name", names("classic"))
def test_the_classic_form_uses_working_widgets_only(name: str) -> None:
    option = option_of(name)
    if option.choices:
        assert option.widget in ("radio", "AutoCompleteWidget", "GEvalTasksWidget")


def test_generated_files_are_in_step() -> None:
    assert forms.out_of_date() == []


def test_the_forms_offer_engines_that_exist() -> None:
    offered = set(option_of("engine").choices) - {"auto"}
    assert offered <= set(engines.ENGINES)


def test_an_unknown_engine_lists_the_known_ones() -> None:
    with pytest.raises(OptionError) as caught:
        ready_engines("mxl")
    message = str(caught.value)
    assert "'mxl'" in message and "--engine" in message
    for name in ("auto", "mlx", "transformers", "server", "recorded"):
        assert name in message


@pytest.mark.parametrize("unset", ["", "None", None, "  "])
def test_unset_values_mean_the_default(unset: object) -> None:
    params = Params.parse(dict.fromkeys(Params.model_fields, unset))
    assert params == Params()


def test_text_is_parsed_as_hosts_send_it() -> None:
    params = Params.parse(
        {
            "limit": "0.5",
            "seed": "7",
            "skip_bad_rows": "True",
            "chat_template": "false",
            "predefined_tasks": '["Token F1", "Correctness"]',
            "model_adapter": "one, two",
            "stale_key_of_another_plugin": {"x": 1},
        }
    )
    assert (params.limit, params.seed, params.skip_bad_rows) == (0.5, 7, True)
    assert params.chat_template is False
    assert params.predefined_tasks == ("Token F1", "Correctness")
    assert params.model_adapter == ("one", "two")


@pytest.mark.parametrize(
    ("given", "parsed"),
    [("", None), (None, None), ("true", True), ("False", False), (True, True), (False, False)],
)
def test_thinking_has_three_states(given: object, parsed: bool | None) -> None:
    assert Params.parse({"enable_thinking": given}).enable_thinking is parsed


def test_thinking_is_a_setting_of_the_run_once_it_is_said() -> None:
    unset, yes, no = (
        Params.parse({"enable_thinking": x}).settings() for x in ("", "true", "false")
    )
    assert "enable_thinking" not in unset
    assert (yes["enable_thinking"], no["enable_thinking"]) == (True, False)


def test_a_bad_word_for_thinking_names_the_choices() -> None:
    with pytest.raises(OptionError, match="--enable_thinking 'maybe': choose true or false"):
        Params.parse({"enable_thinking": "maybe"})


FORM_TASK = {
    "name": "Politeness",
    "description": "Is it polite?",
    "include_context": "Yes",
    "evaluation_steps": [""],
}


@pytest.mark.parametrize(
    "given",
    [
        [FORM_TASK],
        json.dumps([FORM_TASK]),
        json.dumps(FORM_TASK),
        [{**FORM_TASK, "evaluation_steps": "[]", "include_context": True, "stray": 1}],
    ],
)
def test_criteria_are_read_as_forms_send_them(given: object) -> None:
    assert Params.parse({"tasks": given}).tasks == (Criterion("Politeness", "Is it polite?", True),)


def test_criteria_may_be_lines_of_text() -> None:
    assert Params.parse({"tasks": "Tone: Is it kind: yes or no?\n\nBrevity: short"}).tasks == (
        Criterion("Tone", "Is it kind: yes or no?"),
        Criterion("Brevity", "short"),
    )


def test_criteria_survive_the_journal() -> None:
    steps = {"name": "Tone", "evaluation_steps": ["Look.", "Judge."]}
    params = Params.parse({"tasks": [FORM_TASK, steps]})
    assert Params.parse(json.loads(json.dumps(params.model_dump(mode="json")))) == params


@pytest.mark.parametrize("empty", ["", "[]", [], None])
def test_no_criteria_are_no_criteria(empty: object) -> None:
    assert Params.parse({"tasks": empty}).tasks == ()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([{"description": "x"}], "criterion 1 needs a name of 1 to 60 characters"),
        ([{"name": "Tone"}], r"criterion 1 \(Tone\) needs a description or evaluation steps"),
        ([{"name": "Bias", "description": "x"}], "the criterion's name 'Bias' is taken"),
        ("Tone: a\ntone: b", "the criterion's name 'tone' is taken"),
        ([{**FORM_TASK, "include_context": "maybe"}], "include_context 'maybe' must be yes or no"),
        ([3], "criterion 1 is 3; it needs a name and a description"),
        (3, "--tasks .* list of criteria"),
        ('[{"name": ', "--tasks .* list of criteria; this is not valid JSON"),
        (
            [{**FORM_TASK, "evaluation_steps": {"a": 1}}],
            "evaluation_steps .* must be a list of texts",
        ),
    ],
)
def test_a_bad_criterion_says_what_is_wrong(given: object, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Params.parse({"tasks": given})


def test_all_bad_values_are_named_together() -> None:
    with pytest.raises(OptionError) as caught:
        Params.parse({"limit": 0, "seed": "x", "variants": "both", "margin": float("nan")})
    message = str(caught.value)
    assert re.findall(r"^--(\w+)", message, re.M) == ["variants", "limit", "margin", "seed"]
    assert "--limit 0: it must be greater than 0." in message
    assert "--variants 'both': it must be 'vanilla and adapter', 'vanilla only'" in message


@pytest.mark.parametrize("limit", [0, -0.1, 1.1, "nan", "inf", "half", [0.5]])
def test_the_share_of_cases_is_above_0_and_at_most_1(limit: object) -> None:
    with pytest.raises(OptionError, match="^--limit "):
        Params.parse({"limit": limit})


def test_settings_leave_out_places_and_pace() -> None:
    slow = Params.parse(
        {
            **{"concurrency": 1, "batch_size": 3, "out": "elsewhere"},
            **{"model_name": "a", "trust_report": "false"},
        }
    )
    assert slow.settings() == Params().settings()
    assert Params.parse({"seed": 1}).settings() != Params().settings()


@pytest.mark.parametrize(
    "changed",
    [
        {"max_tokens": 7},
        {"margin": 0.2},
        {"system_prompt": "Be brief."},
        {"baseline_prompt": "Be brief."},
        {"chat_template": False},
        {"load_4bit": True},
        {"variants": ONLY_VANILLA},
        {"limit": 0.5},
        {"input_template": "{question}"},
        {"expected_output_column": "answer"},
        {"cluster_column": "source"},
        {"predefined_tasks": "Token F1"},
        {"tasks": "Polite: is it polite?"},
        {"primary_metric": "Correctness"},
        {"stop_early": True},
    ],
)
def test_what_the_results_depend_on_is_among_the_settings(changed: dict[str, object]) -> None:
    assert Params.parse(changed).settings() != Params().settings()


@pytest.mark.parametrize(
    "given",
    [
        [{"name": "", "description": "", "evaluation_steps": [""], "include_context": "No"}],
        [{}, None, ""],
        "\n  \n",
        '[{"name": " ", "description": ""}]',
    ],
)
def test_criteria_that_nobody_filled_in_are_ignored(given: object) -> None:
    assert Params.parse({"tasks": given}).tasks == ()
    both = (
        [*given, {"name": "Tone", "description": "Is it kind?"}] if isinstance(given, list) else []
    )
    assert [one.name for one in Params.parse({"tasks": both}).tasks] == ["Tone"] * bool(both)


@pytest.mark.parametrize(
    "values",
    [
        {"judge_price": "0, 0.6"},
        {"judge_price": [0, 0.6]},
        {"judge_price": (0.0, 0.0)},
        {"judge_price": "0.15, 0"},
        {"model_adapter": ["a, b", "c"], "tuned_model": "x,y", "recorded": ["a=b.csv:c"]},
        {"predefined_tasks": "Token F1,, Exact Match", "guard_metric": ["Bias=0"]},
        {"retention_group": ["0", "general, other"], "enable_thinking": "false", "limit": "1"},
        {"tasks": "Tone: is it kind?", "system_prompt": "0", "deadline_s": "0", "budget": 0},
    ],
    ids=str,
)
def test_what_a_journal_keeps_is_read_as_it_was_given(values: dict[str, object]) -> None:
    params = Params.parse(values)
    kept = json.loads(json.dumps(params.model_dump(mode="json")))
    assert Params.parse(kept) == params


def test_a_price_of_nothing_is_a_price() -> None:
    for given in ("0, 0.6", [0, 0.6], ["0", "0.6"]):
        assert Params.parse({"judge_price": given}).judge_price == (0.0, 0.6)


def test_a_bad_price_is_named_with_all_other_mistakes() -> None:
    with pytest.raises(OptionError) as caught:
        Params.parse({"judge_price": "1", "limit": "2", "max_calls": "x"})
    said = str(caught.value)
    assert all(f"--{name} " in said for name in ("judge_price", "limit", "max_calls"))

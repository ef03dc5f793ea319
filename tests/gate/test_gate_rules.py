"""What a user may write as rules: typed, in a file, and wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from plugin.errors import OptionError
from plugin.gate.rules import CHECKS
from plugin.plan.command_line import parse_arguments
from plugin.plan.gate_rules import RULES, AskedRule, read_order


def rules_file(folder: Path, text: str) -> str:
    path = folder / "rules.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def refusal(**given: object) -> str:
    with pytest.raises(OptionError) as found:
        read_order(given)
    return str(found.value)


def test_every_rule_can_be_typed_and_has_a_check() -> None:
    assert list(RULES) == list(CHECKS)
    words = ["gate", "a run"]
    for name, entry in RULES.items():
        value = {"better|not_worse": "better", "METRIC=Y": "Token F1=0.1", "": None}
        given = value.get(entry.value, "0.1")
        words += [f"--{name}", *([given] if given else [])]
    order = read_order(parse_arguments(words))
    assert [one.rule for one in order.rules] == list(RULES)


def test_rules_stand_in_the_order_of_the_help_and_read_as_typed() -> None:
    order = read_order(
        {"max_loss": ["Bias=0.1", "Token F1=0.05"], "require": "better", "strict": True}
    )
    assert [one.name for one in order.rules] == [
        "require better",
        "max_loss Bias=0.1",
        "max_loss Token F1=0.05",
    ]
    assert order.is_strict and order.variant == ""


def test_what_is_typed_goes_before_the_file_and_a_loss_is_added_to_its_losses(
    tmp_path: Path,
) -> None:
    file = rules_file(
        tmp_path,
        "require: better\nmin_gain: 0.02\nmax_loss:\n  Bias: 0.1\n  Toxicity: 0.1\n"
        "require_certificate: true\nrequire_guards: false\nvariant: tuned\nstrict: true\n",
    )
    order = read_order({"rules": file, "min_gain": "0.05", "max_loss": ["bias=0.2", "F1=0"]})
    assert order.rules == (
        AskedRule("require", word="better"),
        AskedRule("min_gain", 0.05),
        AskedRule("max_loss", 0.2, "bias"),
        AskedRule("max_loss", 0.1, "Toxicity"),
        AskedRule("max_loss", 0.0, "F1"),
        AskedRule("require_certificate"),
    )
    assert order.is_strict and order.variant == "tuned"


@pytest.mark.parametrize("losses", ["Token F1=0.05", ["Token F1=0.05"], {"Token F1": 0.05}])
def test_a_file_may_write_losses_as_a_text_a_list_or_a_mapping(
    tmp_path: Path, losses: object
) -> None:
    import json

    file = rules_file(tmp_path, json.dumps({"max_loss": losses}))
    assert read_order({"rules": file}).rules == (AskedRule("max_loss", 0.05, "Token F1"),)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("min_gian: 0.1", "unknown rule 'min_gian', did you mean 'min_gain'? (the rules: require"),
        ("require: better\nrequire: not_worse", "'require' stands there twice"),
        ("max_loss: {Bias: 0.1, Bias: 0.9}", "'Bias' stands there twice"),
        ("max_loss: [Bias=0.1, bias=0.2]", "max_loss names bias twice; give it one limit"),
        ("- better", "must map rules to values, such as 'require: better'"),
        ("require: [", "is not valid YAML"),
        ("require: &a [*a]", "require [[...]]; choose better or not_worse"),
        ("min_gain: yes", "min_gain is True, but must be a number"),
        ("min_gain: .nan", "min_gain is nan, but must be a number"),
        ("require_guards: 1", "require_guards is 1; write true or false"),
        ("strict: maybe\nrequire: better", "strict is 'maybe'; write true or false"),
        ("variant: 3\nrequire: better", "variant is 3; write a name, in quotes"),
        ("{}", "no rule is given"),
        ("? [a]\n: 1", "is not valid YAML"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, told: str) -> None:
    assert told in refusal(rules=rules_file(tmp_path, text))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"require": "betr"}, "--require 'betr', did you mean 'better'?; choose better or not_wor"),
        ({"max_cut_off": "2%"}, "must be a number from 0 to 1; write 5% as 0.05"),
        ({"max_cut_off": "1.5"}, "must be a number from 0 to 1"),
        ({"retention": "-0.1"}, "retention is '-0.1', but must be a number from 0 on"),
        ({"max_loss": ["0.05"]}, "write METRIC=Y, such as max_loss 'Token F1=0.05'"),
        ({"max_loss": ["F1=many"]}, "max_loss F1 is 'many', but must be a number from 0 on"),
        ({}, "no rule is given; name at least one, such as --require not_worse"),
        ({"strict": True}, "no rule is given"),
        (
            {"rules": "/nowhere/rules.yaml"},
            "--rules /nowhere/rules.yaml cannot be read (No such file or directory)",
        ),
    ],
)
def test_a_wrong_word_is_refused(given: dict[str, object], told: str) -> None:
    assert told in refusal(**given)


def test_all_mistakes_are_told_together() -> None:
    told = refusal(require="x", max_cut_off="y", max_loss=["z"])
    assert len(told.splitlines()) == 3


def test_a_metric_whose_name_has_an_equals_sign_is_read_whole() -> None:
    (rule,) = read_order({"max_loss": ["My E=mc2 check=0.1"]}).rules
    assert (rule.word, rule.number) == ("My E=mc2 check", 0.1)


def test_an_unknown_option_is_refused_with_what_was_meant() -> None:
    with pytest.raises(OptionError, match="'--max_los', did you mean '--max_loss'"):
        parse_arguments(["gate", "run", "--max_los", "Bias=1"])

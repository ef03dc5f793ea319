"""The rules of a gate: what each demands, and how the user writes it, typed or in a file.

Adding a rule is one row of `RULES` here, and one function in `plugin.gate.rules`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plugin.errors import OptionError, did_you_mean
from plugin.plan.command_parser import PROGRAM, CommandParser, unknown_option

BETTER, NOT_WORSE = "better", "not_worse"
PER_METRIC = "max_loss"
"""The rule that may be asked for several metrics."""

SETTINGS = ("variant", "strict")
"""What a file of rules may hold besides rules."""


@dataclass(frozen=True, slots=True)
class RuleEntry:
    """A row of `RULES`.

    Attributes:
        about: what it demands, for the help.
        value: what the user writes behind it; "" for nothing.
        low: the smallest number that makes sense.
        high: the largest one.
    """

    about: str
    value: str = ""
    low: float = 0.0
    high: float = math.inf


RULES = {
    "require": RuleEntry(
        "'better': better than the base on the primary metric, and no guard lost; 'not_worse': a "
        "loss on it, if any, is smaller than the run's margin",
        f"{BETTER}|{NOT_WORSE}",
    ),
    "min_gain": RuleEntry("gain at least X on the primary metric", "X", low=-math.inf),
    PER_METRIC: RuleEntry(
        "lose at most Y on this metric, in its own unit; repeat it for each metric", "METRIC=Y"
    ),
    "min_win_rate": RuleEntry(
        "win at least this share of the comparisons of answers (metric Preference)", "SHARE", high=1
    ),
    "retention": RuleEntry(
        "lose at most Y on the primary metric in each group that is marked for retention", "Y"
    ),
    "require_guards": RuleEntry(
        "lose no guard metric and no retention group by more than the run's margin"
    ),
    "max_ability_loss": RuleEntry(
        "lose at most this share of the items of general ability (needs --capability)",
        "SHARE",
        high=1,
    ),
    "max_cut_off": RuleEntry(
        "have at most this share of the answers cut off at --max_tokens", "SHARE", high=1
    ),
    "max_latency_growth": RuleEntry(
        "take at most so much longer for an answer than the base; 0.2 is 20% (with --load: the "
        "median at the highest level)",
        "SHARE",
    ),
    "max_first_token_s": RuleEntry(
        "give 95% of the first tokens within S seconds at the highest level of load (needs --load)",
        "S",
    ),
    "max_answer_s": RuleEntry(
        "give 95% of the whole answers within S seconds at the highest level of load (needs "
        "--load)",
        "S",
    ),
    "max_token_growth": RuleEntry(
        "write at most so many more tokens than the base; 0.5 is 50%", "SHARE"
    ),
    "max_failed": RuleEntry(
        "have at most this share of its scores, and of the base's, failed", "SHARE", high=1
    ),
    "max_copied": RuleEntry(
        "be tested on cases of which at most this share is copied from the training data (needs "
        "--train_data)",
        "SHARE",
        high=1,
    ),
    "require_certificate": RuleEntry("have a certificate: its adapter was applied, whole"),
    "require_trusted_judge": RuleEntry(
        "be scored by a judge that passed its exam and is not the model itself"
    ),
}
"""Option name -> the rule."""


@dataclass(frozen=True, slots=True)
class AskedRule:
    """A rule that the user asked for.

    Attributes:
        rule: its name in `RULES`.
        number: its limit; None where it has none.
        word: what the user chose, or the metric that it is about; "" for nothing.
    """

    rule: str
    number: float | None = None
    word: str = ""

    @property
    def name(self) -> str:
        """Return the rule as the user would type it, without dashes."""
        limit = "" if self.number is None else f"{self.number:g}"
        joined = f"{self.word}={limit}" if self.word and limit else self.word or limit
        return f"{self.rule} {joined}".strip()


@dataclass(frozen=True, slots=True)
class GateOrder:
    """What the user asked of a gate.

    Attributes:
        rules: at least one, in the order of `RULES`.
        variant: the variant that is to pass; "" for the only or the recommended one.
        is_strict: whether a rule that cannot be decided blocks.
    """

    rules: tuple[AskedRule, ...]
    variant: str = ""
    is_strict: bool = False


def gate_options(parser: CommandParser) -> None:
    """Add the options of the command `gate`."""
    parser.add_argument("folder", metavar="DIR", help="directory of a finished run")
    rules = parser.add_argument_group("rules (each: pass, fail or can't tell, by its interval)")
    for name, entry in RULES.items():
        about = entry.about.replace("%", "%%")
        if not entry.value:
            rules.add_argument(f"--{name}", action="store_const", const=True, help=about)
        elif name == PER_METRIC:
            rules.add_argument(f"--{name}", action="append", metavar=entry.value, help=about)
        else:
            rules.add_argument(f"--{name}", metavar=entry.value, help=about)
    rules.add_argument("--rules", metavar="FILE", help="YAML file with any of them")
    about = "the variant that is to pass (default: the only one, or the recommended one)"
    parser.add_argument("--variant", metavar="NAME", help=about)
    about = "block where a rule can't be decided, too (exit code 5)"
    parser.add_argument("--strict", action="store_const", const=True, help=about)
    about = "write junit.xml, gate.md and gate.json there (default: DIR/gate)"
    parser.add_argument("--out", metavar="DIR", default="", help=about)
    about = "append the Markdown to this file, such as $GITHUB_STEP_SUMMARY"
    parser.add_argument("--summary", metavar="FILE", default="", help=about)
    parser.epilog = "Exit codes: 0 passed (also where a rule can't tell), 2 a mistake, 4 failed, "
    parser.epilog += "5 can't tell, with --strict."


def read_order(given: Mapping[str, Any]) -> GateOrder:
    """Return what the user asked for; what was typed goes before what stands in the file.

    Args:
        given: the options by name, None where nothing was typed; the file under "rules".

    Raises:
        OptionError: naming all that is wrong.
    """
    typed = {n: v for n, v in given.items() if n in (*RULES, *SETTINGS) and v is not None}
    file = str(given.get("rules") or "")
    in_file = _read_file(file) if file else {}
    found, problems = dict[tuple[str, str], AskedRule](), list[str]()
    for values, place in ((in_file, f"{file}: "), (typed, "--")):
        for name in (name for name in values if name in RULES):
            try:
                found |= {(r.rule, _metric_of(r)): r for r in _read_rule(name, values[name])}
            except OptionError as error:
                problems.append(f"{place}{error}")
    both = in_file | typed
    strict, variant = both.get("strict", False), both.get("variant", "")
    if not isinstance(strict, bool):
        problems.append(f"{file}: strict is {strict!r}; write true or false")
    if not isinstance(variant, str):
        problems.append(f"{file}: variant is {variant!r}; write a name, in quotes")
    if problems:
        raise OptionError("\n".join(problems))
    if not found:
        raise OptionError(
            f"no rule is given; name at least one, such as --require {NOT_WORSE} (all rules: "
            f"{PROGRAM} gate --help)"
        )
    order = list(RULES)
    rules = sorted(found.values(), key=lambda one: order.index(one.rule))
    return GateOrder(tuple(rules), variant, strict)


def _metric_of(rule: AskedRule) -> str:
    """Return what tells two rules of the same name apart."""
    return rule.word.casefold() if rule.rule == PER_METRIC else ""


def _read_file(file: str) -> dict[str, Any]:
    """Return what a file of rules holds.

    Raises:
        OptionError: when it cannot be read, or holds something that is no rule.
    """
    try:
        values = _parse_yaml(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionError(f"--rules {file} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise OptionError(f"--rules {file} is no text in UTF-8 ({error.reason})") from error
    except ValueError as error:
        raise OptionError(f"--rules {file} is not valid YAML: {error}") from error
    if not isinstance(values, dict):
        raise OptionError(f"--rules {file} must map rules to values, such as 'require: {BETTER}'")
    known = [*RULES, *SETTINGS]
    unknown = [unknown_option(str(name), known) for name in values if name not in known]
    if unknown:
        told = "; ".join(unknown).replace("unknown option", "unknown rule")
        raise OptionError(f"--rules {file}: {told} (the rules: {', '.join(RULES)})")
    return values


def _parse_yaml(text: str) -> object:
    """Return what the text holds; a name that stands there twice would hide a rule.

    Raises:
        ValueError: when it is not YAML, or names something twice.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            names = [self.construct_object(key, deep=True) for key, _ in node.value]
            twice = [str(name) for name in names if names.count(name) > 1]
            if twice:
                raise ValueError(f"{twice[0]!r} stands there twice")
            return super().construct_mapping(node, deep)

    try:
        return yaml.load(text, Loader)
    except (yaml.YAMLError, TypeError) as error:
        raise ValueError(" ".join(str(error).split())) from error


def _read_rule(name: str, value: object) -> list[AskedRule]:
    """Return the rule, once for each metric that it names; none where a flag is off.

    Raises:
        OptionError: when the value cannot be one of this rule.
    """
    entry = RULES[name]
    if not entry.value:
        if not isinstance(value, bool):
            raise OptionError(f"{name} is {value!r}; write true or false")
        return [AskedRule(name)] if value else []
    if name == PER_METRIC:
        return _read_losses(value)
    if name == "require":
        choices = (BETTER, NOT_WORSE)
        if value not in choices:
            hint = did_you_mean(str(value), choices)
            raise OptionError(f"{name} {value!r}{hint}; choose {BETTER} or {NOT_WORSE}")
        return [AskedRule(name, word=str(value))]
    return [AskedRule(name, _read_number(name, value))]


def _read_losses(value: object) -> list[AskedRule]:
    """Return a rule for each metric, from METRIC=Y or a list of these, or from a mapping."""
    if isinstance(value, Mapping):
        pairs = [(str(metric), number) for metric, number in value.items()]
    else:
        texts: Sequence[object] = value if isinstance(value, list | tuple) else [value]
        parts = [str(text).rpartition("=") for text in texts]
        if bad := [str(t) for t, part in zip(texts, parts, strict=True) if not part[0].strip()]:
            raise OptionError(
                f"{PER_METRIC} {bad[0]!r}: write METRIC=Y, such as {PER_METRIC} 'Token F1=0.05'"
            )
        pairs = [(metric.strip(), number) for metric, _, number in parts]
    found = dict[str, AskedRule]()
    for metric, number in pairs:
        if metric.casefold() in found:
            raise OptionError(f"{PER_METRIC} names {metric} twice; give it one limit")
        limit = _read_number(f"{PER_METRIC} {metric}", number)
        found[metric.casefold()] = AskedRule(PER_METRIC, limit, metric)
    return list(found.values())


def _read_number(name: str, value: object) -> float:
    entry = RULES[name.split()[0]]
    try:
        number = math.nan if isinstance(value, bool) else float(str(value))
    except ValueError:
        number = math.nan
    if math.isfinite(number) and entry.low <= number <= entry.high:
        return number + 0.0  # -0.0 becomes 0.0
    span = "a number" if entry.low < 0 else "a number from 0 on"
    span = f"a number from 0 to {entry.high:g}" if entry.high < math.inf else span
    hint = "; write 5% as 0.05" if "%" in str(value) else ""
    raise OptionError(f"{name} is {value!r}, but must be {span}{hint}")

"""Put a gate into words: what was measured, why a rule passed or not, and what would settle it."""

from __future__ import annotations

import textwrap

from plugin import __version__
from plugin.compare.numbers import (
    failed_suffix,
    format_count,
    format_named_p,
    format_number,
)
from plugin.errors import list_first
from plugin.gate.checks import Check, Result
from plugin.gate.decide import Decision, GateResult
from plugin.gate.load_rules import WAITS
from plugin.gate.quantities import Ends, Mean, Quantity
from plugin.gate.reading import GateRun
from plugin.gate.rules import share_text
from plugin.plan.gate_rules import BETTER

SIGNS: dict[Result, str] = {"pass": "✓", "fail": "✗", "can't tell": "?"}
"""Result -> a sign for those who see no colour."""

_N_NAMED = 3


def headline(run: GateRun, found: GateResult) -> str:
    """Return the outcome of the gate in one sentence."""
    who = f"{run.variant} against {run.base}"
    n = len(found.decisions)
    rules = format_count(n, "rule", "rules")
    parts = [_count_text(found, "fail", "failed"), _count_text(found, "can't tell", "undecided")]
    told = ", ".join(part for part in parts if part)
    if found.result == "pass":
        return f"Gate passed: {who} keeps to {'the rule' if n == 1 else f'all {rules}'}."
    if found.result == "fail":
        return f"Gate failed: {who}. Of {rules}: {told}."
    if found.is_strict:
        return f"Gate can't tell, and blocks (--strict): {who}. Of {rules}: {told}."
    return f"Gate passed with a warning: {who}. Of {rules}: {told}; nothing failed."


def _count_text(found: GateResult, result: Result, word: str) -> str:
    names = [one.check.name for one in found.decisions if one.result == result]
    return f"{len(names)} {word} ({list_first(names, _N_NAMED)})" if names else ""


def gate_warnings(run: GateRun, found: GateResult) -> list[str]:
    """Return what the reader must know besides, a sentence each."""
    lines = list[str]()
    if n := found.count("can't tell"):
        what = f"{format_count(n, 'rule', 'rules')} could not be decided"
        let = "" if found.result == "fail" else ", which lets the model pass; --strict blocks"
        lines.append(f"{what}{', which blocks (--strict)' if found.is_strict else let}.")
    if run.why_this:
        lines.append(f"The gate is for {run.variant}: {run.why_this}.")
    if run.case_note:
        lines.append(f"As in the verdict, gains are those on {run.case_note}.")
    made = run.header.versions.get("finetune-verdict", "")
    if made and made != __version__:
        lines.append(f"The run was made with version {made} and decided with {__version__}.")
    return lines


def measured_text(decision: Decision) -> str:
    """Return what was measured: number, interval, and on how many cases."""
    check, quantity = decision.check, decision.check.quantity
    if quantity is None:
        return f"{check.measured}: {check.fact.text}" if check.fact else check.measured
    if quantity.value is None:
        return f"{check.measured}: no data"
    value = _number(check, quantity.value)
    within = _interval_text(check, decision.ends, decision.level)
    return f"{check.measured} {value} ({within}, {_n_text(quantity)})"


def _n_text(quantity: Quantity) -> str:
    clusters = ""
    if quantity.n_clusters is not None:
        clusters = f" in {format_count(quantity.n_clusters)} clusters"
    noun = "" if quantity.noun == "cases" else f" {quantity.noun}"
    return f"n={format_count(quantity.n)}{noun}{clusters}{failed_suffix(quantity.n_failed)}"


def _number(check: Check, value: float) -> str:
    if check.unit == "share":
        return share_text(value, signed=check.asked.rule.endswith("_growth"))
    is_time = check.asked.rule in WAITS
    return (format_number(value, signed=not is_time) if value else "0") + check.suffix


def _interval_text(check: Check, ends: Ends, level: float) -> str:
    if ends.low is None or ends.high is None:
        return "no interval"
    low, high = _number(check, ends.low), _number(check, ends.high)
    return f"{_level(level)} interval {low} to {high}"


def told_text(decision: Decision) -> str:
    """Return what was measured, and why the check ended so."""
    reason = reason_text(decision)
    return f"{measured_text(decision)}. {reason}" if reason else f"{measured_text(decision)}."


def _level(level: float) -> str:
    return f"{100 * level:.4g}%"


def limit_text(check: Check) -> str:
    """Return what the rule demands of the number; "" where a fact decides."""
    if check.quantity is None:
        return ""
    limit = _number(check, check.limit)
    if not check.at_least:
        return f"at most {limit}"
    return f"above {limit}" if check.is_strict else f"at least {limit}"


def reason_text(decision: Decision) -> str:
    """Return why the check ended so; of one that can't be told, what would settle it."""
    check = decision.check
    if check.quantity is None:
        return ""
    if decision.result == "pass":
        return f"All of the interval is {limit_text(check)}."
    if decision.result == "fail":
        return _why_failed(decision)
    return " ".join(_why_open(decision, check.quantity))


def _why_failed(decision: Decision) -> str:
    check = decision.check
    if check.broken:
        return f"{check.broken[0].upper()}{check.broken[1:]}."
    side = "below" if check.at_least else "above"
    which = "interval"
    if decision.fail_level != decision.level:
        which = _interval_text(check, decision.fail_ends, decision.fail_level)
    return f"All of the {which} is {side} {_number(check, check.fail_limit)}."


def _why_open(decision: Decision, quantity: Quantity) -> list[str]:
    """Return why nothing can be told, and what would settle it, a sentence each."""
    check = decision.check
    if check.void:
        return [f"These numbers tell nothing: {check.void}."]
    if why := quantity.why_none or ("there is no data" if quantity.value is None else ""):
        return [f"There is nothing to decide on: {why}."]
    if decision.is_upset:
        n = format_count(quantity.n_failed, "failed score", "failed scores")
        return [f"{n} could change the outcome; resume the run to try again what can be tried."]
    limit = _number(check, check.limit)
    lines = list[str]()
    if _is_right(check, decision.ends):
        lines.append(f"The interval is {limit_text(check)}, but {check.unproved}.")
    elif _is_wrong(check, decision.fail_ends):
        p_value = format_named_p(quantity.loss_p)
        lines.append(f"The interval is beyond {limit}, but too few cases differ: {p_value}.")
    elif _is_wrong(check, decision.ends):
        wide = _interval_text(check, decision.fail_ends, decision.fail_level)
        lines.append(f"To fail one of several rules, a wider interval must be beyond: {wide}.")
    else:
        lines.append(f"The interval has {limit} in it.")
    return [*lines, *_to_settle(decision, quantity)]


def _is_right(check: Check, ends: Ends) -> bool:
    if ends.low is None or ends.high is None:
        return False
    return ends.low >= check.limit if check.at_least else ends.high <= check.limit


def _is_wrong(check: Check, ends: Ends) -> bool:
    if ends.low is None or ends.high is None:
        return False
    return ends.high < check.fail_limit if check.at_least else ends.low > check.fail_limit


def _to_settle(decision: Decision, quantity: Quantity) -> list[str]:
    """Return what would settle it, as a sentence."""
    check, n = decision.check, decision.n_needed
    if "equivalent" in check.unproved and check.asked.word == BETTER:
        margin = format_number(check.margin)
        return [f"There is no gain beyond {margin}; --min_gain {margin} would block such a model."]
    if n is None:
        if isinstance(quantity, Mean) and quantity.is_anytime:
            return ["Run again without --stop_early for a narrower interval."]
        if check.asked.rule == "max_ability_loss":
            return ["More items (--capability full) or a larger limit would settle it."]
        return ["It lies too near to the limit: no number of cases worth naming would settle it."]
    have = quantity.n if quantity.n_clusters is None else quantity.n_clusters
    noun = quantity.noun if quantity.n_clusters is None else "clusters"
    n = max(n, have + 1)
    return [
        f"About {format_count(n)} {noun} like these would settle it, if the number stays the same."
    ]


_STYLES: dict[Result, str] = {"pass": "green", "fail": "bold red", "can't tell": "yellow"}


def terminal_lines(run: GateRun, found: GateResult, width: int) -> list[tuple[str, str]]:
    """Return the gate as lines of a table with their styles, no line longer than the width."""
    pad = max(len(word) for word in SIGNS) + 4
    lines = [(line, "bold") for line in textwrap.wrap(headline(run, found), width)] + [("", "")]
    for one in found.decisions:
        first = f"{SIGNS[one.result]} {one.result}".ljust(pad)
        lines += [(line, _STYLES[one.result]) for line in _hang(first, one.check.name, width)]
        for text in (measured_text(one), reason_text(one)):
            lines += [(line, "") for line in _hang(" " * pad, text, width)]
    notes = [line for note in gate_warnings(run, found) for line in textwrap.wrap(note, width)]
    return [*lines, ("", ""), *((line, "yellow") for line in notes)] if notes else lines


def _hang(first: str, text: str, width: int) -> list[str]:
    """Return the text in lines, all of them indented as far as the first one's beginning."""
    later = " " * len(first)
    return textwrap.wrap(text, width, initial_indent=first, subsequent_indent=later)

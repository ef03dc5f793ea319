"""What a rule demands of a run: a check, decided by an interval or by a fact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from plugin.gate.quantities import Quantity
from plugin.gate.reading import short_text
from plugin.plan.gate_rules import AskedRule
from plugin.records import ALL

Result = Literal["pass", "fail", "can't tell"]
Unit = Literal["number", "share"]

_NAME_CHARS = 60
"""Of the name of a group: it is data, and may be long."""


@dataclass(frozen=True)
class Fact:
    """What was counted or proved, and needs no interval."""

    result: Result
    text: str
    value: float | None = None


@dataclass(frozen=True)
class Check:
    """One thing that a rule demands; a test case of the gate.

    Attributes:
        asked: the rule.
        measured: what is measured, in words.
        limit: the number that it must reach, or must not exceed.
        fail_limit: the number on whose wrong side it is shown to fail; mostly the same.
        at_least: whether more is better.
        is_strict: whether the limit itself is not enough.
        quantity: what is measured; None where a fact decides.
        fact: what was counted or proved; None where an interval decides.
        unit: how the number is shown; a metric's own unit follows it.
        metric: the metric; "" for none.
        group: the group of cases.
        margin: the smallest difference on the metric that matters.
        void: why nothing can be told from the numbers; "" where something can.
        n_tests: how many tests share its chance of a false fail; a lost guard is one of its own.
        unproved: why it cannot pass, whatever the interval shows; "" for no reason.
        broken: why it fails, whatever the interval shows; "" for no reason.
    """

    asked: AskedRule
    measured: str
    limit: float = 0.0
    fail_limit: float = 0.0
    at_least: bool = True
    is_strict: bool = False
    quantity: Quantity | None = None
    fact: Fact | None = None
    unit: Unit = "number"
    suffix: str = ""
    metric: str = ""
    group: str = ALL
    margin: float = 0.0
    void: str = ""
    n_tests: int = 1
    unproved: str = ""
    broken: str = ""

    @property
    def name(self) -> str:
        """Return the rule as typed, with the group or metric that this check is about."""
        guard = self.metric if self.asked.rule == "require_guards" else ""
        about = guard if self.group == ALL else short_text(self.group, _NAME_CHARS)
        return f"{self.asked.name} ({about})" if about else self.asked.name

"""Decide every check on its interval: pass, fail or can't tell, and the gate as a whole.

A check passes where its 95% interval lies on the right side of the limit. As all checks must pass,
more of them make a false pass less likely, and need no correction. Of several variants each gets
its share of the 5%, because the best of them was chosen.

A check fails where an interval lies on the wrong side. One check that fails blocks, so with more of
them a model would be blocked more often by chance alone. Their intervals are therefore at the level
for all of them together, by Holm's step-down (see `fail_levels`): each end of an interval misses in
at most 2.5% of the gates. `benchmarks/gate.py` measures that it is below 5% for small and odd runs.

What failed counts at its worst: an outcome must hold with it, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from plugin.compare.stats import ALPHA
from plugin.gate.checks import Check, Result
from plugin.gate.quantities import Ends, Quantity

PASSED, FAILED, UNDECIDED = 0, 4, 5
"""Exit codes of the gate."""


@dataclass(frozen=True)
class Decision:
    """What became of a check.

    Attributes:
        check: the check.
        result: the outcome.
        ends: the interval that a pass needs; None where no interval decides.
        level: its level.
        fail_ends: the interval that a fail needs.
        fail_level: its level.
        is_upset: whether only the failed cases, at their worst, stand against an outcome.
        n_needed: cases or clusters that would tell; None where none is known.
    """

    check: Check
    result: Result
    ends: Ends = Ends()
    level: float = 1 - ALPHA
    fail_ends: Ends = Ends()
    fail_level: float = 1 - ALPHA
    is_upset: bool = False
    n_needed: int | None = None


@dataclass(frozen=True)
class GateResult:
    """What became of a gate.

    Attributes:
        decisions: one per check, in the order of the rules.
        is_strict: whether a check that cannot be decided blocks.
    """

    decisions: tuple[Decision, ...]
    is_strict: bool = False

    @property
    def result(self) -> Result:
        """Return the outcome of all checks together: the worst of them."""
        found = {one.result for one in self.decisions}
        return next(word for word in ("fail", "can't tell", "pass") if word in found)

    @property
    def exit_code(self) -> int:
        """Return the exit code."""
        undecided = UNDECIDED if self.is_strict else PASSED
        return {"fail": FAILED, "can't tell": undecided, "pass": PASSED}[self.result]

    def count(self, result: Result) -> int:
        """Return how many checks ended so."""
        return sum(one.result == result for one in self.decisions)


def decide(checks: Sequence[Check], n_rivals: int = 1) -> tuple[Decision, ...]:
    """Return what becomes of every check.

    Args:
        checks: all checks of the gate.
        n_rivals: how many variants the one at the gate was chosen from.
    """
    levels = fail_levels(checks)
    return tuple(
        _by_fact(check) if check.quantity is None else _by_interval(check, level, n_rivals)
        for check, level in zip(checks, levels, strict=True)
    )


def fail_levels(checks: Sequence[Check]) -> list[float]:
    """Return the level of the interval that each check needs to fail.

    With m checks it is 1 - 5%/m. What fails there leaves the others at the level for fewer.
    """
    left = [place for place, check in enumerate(checks) if _is_measured(check)]
    found = [1 - ALPHA] * len(checks)
    while left:
        level = 1 - ALPHA / sum(checks[place].n_tests for place in left)
        for place in left:
            found[place] = level
        failed = [place for place in left if _fails(checks[place], level)]
        if not failed:
            break
        left = [place for place in left if place not in failed]
    return found


def _is_measured(check: Check) -> bool:
    return check.quantity is not None and not check.void


def _by_fact(check: Check) -> Decision:
    assert check.fact is not None
    return Decision(check, check.fact.result)


def _by_interval(check: Check, fail_level: float, n_rivals: int) -> Decision:
    """Decide a check that is measured."""
    assert check.quantity is not None
    level = 1 - ALPHA / n_rivals
    bare = Decision(
        check,
        "can't tell",
        check.quantity.ends(level),
        level,
        check.quantity.ends(fail_level),
        fail_level,
    )
    if check.broken:
        return replace(bare, result="fail")
    if check.void:
        return bare
    if _fails(check, fail_level):
        return replace(bare, result="fail")
    passes = _passes(check, check.quantity.at_worst(level))
    if passes and not check.unproved:
        return replace(bare, result="pass")
    upset = _passes(check, bare.ends) or is_beyond(check, bare.fail_ends)
    return replace(
        bare,
        is_upset=upset and not passes and check.quantity.n_failed > 0,
        n_needed=_needed(check, check.quantity),
    )


def _passes(check: Check, ends: Ends) -> bool:
    """Return whether an interval with these ends proves the rule."""
    if ends.low is None or ends.high is None:
        return False
    if not check.at_least:
        return ends.high <= check.limit
    return ends.low > check.limit if check.is_strict else ends.low >= check.limit


def _fails(check: Check, level: float) -> bool:
    """Return whether the contrary of the rule is shown at this level.

    Where any loss at all would be needed for that, a test must show one, too: with few cases that
    differ an interval alone is too bold.
    """
    quantity = check.quantity
    assert quantity is not None
    if not is_beyond(check, quantity.at_worst(level)):
        return False
    must_be_lost = check.at_least and check.fail_limit <= quantity.shift
    loss_p = quantity.loss_p if must_be_lost else None
    return loss_p is None or loss_p <= (1 - level) / 2


def is_beyond(check: Check, ends: Ends) -> bool:
    """Return whether an interval with these ends proves the contrary of the rule."""
    if ends.low is None or ends.high is None:
        return False
    return ends.high < check.fail_limit if check.at_least else ends.low > check.fail_limit


def _needed(check: Check, quantity: Quantity) -> int | None:
    """Return how many cases would settle it; None where more cases would not, or too many."""

    def is_settled(low: float, high: float) -> bool:
        ends = Ends(low, high)
        return _passes(check, ends) or is_beyond(check, ends)

    value = quantity.value
    if value is None:
        return None
    turn = 1 if check.at_least else -1
    reached = [check.limit] if turn * (value - check.limit) > 0 else []
    missed = [check.fail_limit] if turn * (value - check.fail_limit) < 0 else []
    easiest = max((*reached, *missed), key=lambda limit: abs(value - limit), default=None)
    return None if easiest is None else quantity.needed(easiest, is_settled)

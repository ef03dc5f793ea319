"""The rules on waiting times under load, all at the highest level that was measured."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from plugin.compare.pairs import clusters_of
from plugin.errors import OptionError
from plugin.gate.checks import Check
from plugin.gate.reading import GateRun
from plugin.gate.waits import Wait, WaitGrowth
from plugin.latency.asked import SHARES, share_name
from plugin.latency.report import Latency
from plugin.load_rows import StreamedRequest
from plugin.plan.gate_rules import AskedRule

WAITS = ("max_first_token_s", "max_answer_s")
"""Rules whose numbers are times, and no differences."""

_MEDIAN, _LATE = SHARES[0], SHARES[1]


def growth_under_load(run: GateRun, asked: AskedRule) -> Check:
    """Return a check that the median time for an answer does not grow by more than the limit."""
    found = _latency(run)
    quantity = WaitGrowth(
        rows=run.load_rows.get(found.top.n_at_once, ()),
        names=(run.variant, run.base),
        share=_MEDIAN,
        of=lambda row: row.total_s,
        labels=_labels_by_case(run),
        seed=run.seed,
    )
    assert asked.number is not None
    return Check(
        asked,
        f"growth of the time for an answer ({_at_top(found, _MEDIAN)})",
        limit=asked.number,
        fail_limit=asked.number,
        at_least=False,
        quantity=quantity,
        unit="share",
        void=found.top.gave_up,
    )


def first_token_wait(run: GateRun, asked: AskedRule) -> Check:
    """Return a check that 95% of the first tokens come within a limit.

    Raises:
        OptionError: when nothing is known of the first token.
    """
    if run.variant in _latency(run).unstreamed:
        raise OptionError(
            f"the answers of {run.variant} came in one piece, so nothing is known of its first "
            "token; let the server stream, then measure again"
        )
    return _wait(run, asked, "time to the first token", lambda row: row.first_s)


def answer_wait(run: GateRun, asked: AskedRule) -> Check:
    """Return a check that 95% of the whole answers are there within a limit."""
    return _wait(run, asked, "time for an answer", lambda row: row.total_s)


def _wait(
    run: GateRun, asked: AskedRule, what: str, of: Callable[[StreamedRequest], float | None]
) -> Check:
    found, labels = _latency(run), _labels_by_case(run)
    at_top = run.load_rows.get(found.top.n_at_once, ())
    rows = [row for row in at_top if row.variant == run.variant]
    pairs = [(row.case_id, value) for row in rows if (value := of(row)) is not None]
    quantity = Wait(
        values=tuple(value for _, value in pairs),
        share=_LATE,
        clusters=tuple(labels[case_id] for case_id, _ in pairs) if labels else None,
        n_failed=sum(bool(row.failure) for row in rows),
    )
    assert asked.number is not None
    return Check(
        asked,
        f"{what} ({_at_top(found, _LATE)})",
        limit=asked.number,
        fail_limit=asked.number,
        at_least=False,
        quantity=quantity,
        suffix=" s",
        void=found.top.gave_up,
    )


def _latency(run: GateRun) -> Latency:
    """Return what the load of the run showed.

    Raises:
        OptionError: when none was measured, or not with this variant.
    """
    found = run.report.latency
    if found is None or run.variant not in found.variants:
        raise OptionError(
            f"this run measured no latency of {run.variant} under load; run it again with --load "
            "1,8,32 (it needs --engine server)"
        )
    return found


def _labels_by_case(run: GateRun) -> dict[str, Hashable] | None:
    labels = clusters_of(run.report.cases)
    ids = (case.id for case in run.report.cases)
    return dict(zip(ids, labels, strict=True)) if labels else None


def _at_top(found: Latency, share: float) -> str:
    return f"{share_name(share)} at {found.top.n_at_once} at once"

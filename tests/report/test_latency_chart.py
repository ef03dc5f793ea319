"""The picture of waiting times: drawn from what there is, the same bytes for the same load."""

from __future__ import annotations

from dataclasses import replace

import pytest

from plugin.latency.report import TOTAL, Latency, find_latency
from plugin.load_rows import StreamedRequest
from plugin.records import VANILLA
from plugin.report.latency_chart import MOST_VARIANTS, latency_figure, latency_svg
from plugin.run_facts import LoadFacts, LoadLevel
from tests.samples import case


def load(
    names: tuple[str, ...], levels: tuple[int, ...], n: int = 10, **changed: object
) -> Latency:
    row = StreamedRequest("", "", 0.1, 0.1, 0.5, 0.4, 9, "server", 9, 9)
    rows = {
        level: tuple(
            replace(row, case_id=str(i), variant=name, total_s=0.5 + 0.01 * i, **changed)  # type: ignore[arg-type]
            for name in names
            for i in range(n)
        )
        for level in levels
    }
    facts = LoadFacts(tuple(LoadLevel(level, n, 2, 0, 1.0) for level in levels), levels)
    found = find_latency(rows, facts, names, [case(str(i)) for i in range(n)], seed=0)
    assert found is not None
    return found


@pytest.mark.parametrize("narrow", [False, True])
def test_a_picture_of_any_load(narrow: bool) -> None:
    for names, levels in (
        ((VANILLA,), (1,)),
        ((VANILLA, "tuned", "prompted short"), (1, 8, 32)),
        (tuple(f"a rather long name of a variant {i}" for i in range(9)), tuple(range(1, 11))),
    ):
        found = load(names, levels)
        svg = latency_svg(found, narrow=narrow)
        assert svg == latency_svg(found, narrow=narrow)
        assert "Until the first token" in svg and "requests at once" in svg
        assert svg.count(">a rather") == (MOST_VARIANTS if len(names) == 9 else 0)


def test_few_requests_promise_no_p95_in_the_legend() -> None:
    few, many = (latency_svg(load((VANILLA,), (1,), n)) for n in (10, 80))
    assert "● p50" in few and "p95" not in few
    assert "● p50   ▲ p95" in many


def test_without_streams_only_the_whole_answer_is_drawn() -> None:
    found = load((VANILLA, "tuned"), (1, 8), first_s=None, is_stream=False)
    assert len(latency_figure(found).axes) == 1
    assert "Until the first token" not in latency_svg(found)


def test_nothing_is_drawn_of_nothing() -> None:
    assert latency_svg(None) == ""
    found = load((VANILLA,), (1,), failure="HTTP 500: no", first_s=None)
    assert found.at(1, VANILLA).of(TOTAL) is not None
    assert latency_svg(found)

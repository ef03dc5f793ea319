"""What requests show: quantiles, ratios, what failed, and the words for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from plugin.latency.report import ANSWER, FIRST, RATE, TOTAL, Latency, find_latency, guard_outcome
from plugin.latency.stats import Ratio
from plugin.latency.words import latency_notes, seconds_text, times_text, with_latency
from plugin.load_rows import StreamedRequest
from plugin.records import VANILLA
from plugin.report.latency import LATENCY_COLUMNS, latency_rows, latency_section
from plugin.results import Outcome, Verdict
from plugin.run_facts import LoadFacts, LoadLevel
from tests.samples import case

N = 100
CASES = [case(str(i)) for i in range(N)]
SECONDS: list[float] = np.random.default_rng(0).lognormal(0, 0.4, N).tolist()


def rows(
    name: str, factor: float = 1.0, tokens: int = 10, **changed: object
) -> list[StreamedRequest]:
    made = [
        StreamedRequest(
            *(str(i), name, 0.1 * one, 0.1 * one, factor * one, 0.9 * factor * one),
            *(tokens + i % 5, "server", 10, 10),
        )
        for i, one in enumerate(SECONDS)
    ]
    return [replace(row, **changed) for row in made]  # type: ignore[arg-type]


def found(*requests: Sequence[StreamedRequest], guard: str = "", **level: object) -> Latency:
    facts = LoadLevel(8, N, 8, 0, 10.0)
    load = LoadFacts((replace(facts, **level),), (8,), 0, guard)  # type: ignore[arg-type]
    every = [row for each in requests for row in each]
    names = [VANILLA, "tuned"]
    latency = find_latency({8: every}, load, names, CASES, seed=1)
    assert latency is not None
    return latency


TWICE = found(rows(VANILLA), rows("tuned", 2.0, 31))


def verdict(outcome: Outcome = "better") -> Verdict:
    return Verdict(outcome, "tuned is better.", ("a detail",), "F1", "tuned")


def test_quantiles_and_ratios_are_those_of_the_times() -> None:
    base, own = TWICE.at(8, VANILLA), TWICE.at(8, "tuned")
    total = own.of(TOTAL)
    assert total is not None
    assert total.at(0.5).value == 2 * sorted(SECONDS)[49]
    assert total.at(0.95).value == 2 * sorted(SECONDS)[94]
    twice, same = own.over_base(TOTAL, 0.5), own.over_base(FIRST, 0.5)
    assert twice is not None and same is not None
    assert twice.value == pytest.approx(2) and same.value == 1
    assert own.length is not None and own.length.ratio == pytest.approx(33 / 12)
    assert base.against == () and base.length is None and base.of(ANSWER) is None
    rates = sorted((row.tokens_per_s or 0 for row in rows(VANILLA)), reverse=True)
    rate = base.of(RATE)
    assert rate is not None
    assert [rate.at(share).value for share in (0.5, 0.95)] == [rates[49], rates[94]]
    low = rate.at(0.5)
    assert low.low and low.high and low.low < rates[49] < low.high


def test_the_line_beside_the_gain_says_how_much_longer_and_slower() -> None:
    told = with_latency(verdict(), TWICE)
    assert told.details[0].startswith(
        "Latency under load: answers of tuned are 2.8 times as long (95% interval 2.71 to 2.79) "
        "and take 2.0 times as long as those of vanilla (p50 at 8 at once, 95% interval 2.00 to "
        "2.00): "
    )
    assert told.details[0].endswith("(1.0 times, 95% interval 1.00 to 1.00).")
    assert told.details[1] == "a detail" and told.harms == ()
    assert told.sentence == "tuned is better."


@pytest.mark.parametrize(
    ("guard", "outcome"),
    [("1.5", "lost"), ("2.5", "kept"), ("p95=1.9", "lost"), ("p99=9", "unclear")],
)
def test_a_guard_is_decided_by_the_whole_interval(guard: str, outcome: str) -> None:
    latency = found(rows(VANILLA), rows("tuned", 2.0), guard=guard)
    assert [one.outcome for one in latency.guarded] == [outcome]
    told = with_latency(verdict(), latency)
    assert (len(told.harms) == 1) is (outcome == "lost")
    if guard == "1.5":
        assert told.sentence == (
            "tuned is better; but slower: 2.0 times as long as vanilla for an answer (p50 at 8 at "
            "once)."
        )
        assert told.lost == ("Latency under load",)
        assert told.harms[0].gain == pytest.approx(-1)
    if outcome == "unclear":
        assert "too few for p99: 100 cases, at least 368" in "\n".join(told.details)


def test_a_guard_is_not_kept_by_requests_that_failed() -> None:
    broken = rows("tuned")[:40] + [
        StreamedRequest(str(i), "tuned", failure="no whole answer within 300 s")
        for i in range(40, N)
    ]
    latency = found(rows(VANILLA), broken, guard="1.5")
    assert [one.outcome for one in latency.guarded] == ["unclear"]
    own = latency.at(8, "tuned")
    assert (own.n, own.n_failed, own.reasons) == (40, 60, (("no whole answer within 300 s", 60),))
    assert any(
        "60 of 100 requests to tuned failed at 8 at once" in t for t in latency_notes(latency)
    )
    nothing = Ratio(None, None, None, 0)
    assert guard_outcome(nothing, nothing, 2.0) == "unclear"
    assert guard_outcome(Ratio(1, 0.9, 1.1, 9), Ratio(1, 0.9, math.inf, 9), 2.0) == "unclear"


def test_refusals_are_said() -> None:
    refused = [
        StreamedRequest(str(i), "tuned", failure="HTTP 429: slow", too_many=True) for i in range(9)
    ]
    latency = found(rows(VANILLA), [*refused, *rows("tuned")[9:]], gave_up="so many")
    notes = "\n".join(latency_notes(latency))
    assert "9 of them were refused as too many, so the level is not what it says" in notes
    assert "the level of 8 at once was given up: so many." in notes


def test_a_server_that_does_not_stream_has_no_first_token() -> None:
    whole = {
        "first_s": None,
        "first_answer_s": None,
        "text_s": None,
        "n_pieces": 0,
        "n_arrivals": 0,
    }
    latency = found(rows(VANILLA, **whole), rows("tuned", 2.0, **whole))
    assert latency.unstreamed == (VANILLA, "tuned")
    for load in latency.loads:
        assert [one.what for one in load.measured] == [TOTAL]
    assert "came in one piece, so there is no time to the first token" in latency_notes(latency)[0]
    assert "first token" not in with_latency(verdict(), latency).details[0]
    once = found(rows(VANILLA, n_arrivals=1), rows("tuned"))
    assert once.unstreamed == (VANILLA,) and once.at(8, "tuned").over_base(FIRST, 0.5) is None


def test_short_answers_in_one_piece_are_no_sign_of_it() -> None:
    short = {"n_tokens": 1, "n_pieces": 1, "n_arrivals": 1, "text_s": 0.0}
    latency = found(rows(VANILLA, **short), rows("tuned", **short))
    assert latency.unstreamed == () and latency.at(8, VANILLA).of(FIRST) is not None
    rate = latency.at(8, VANILLA).of(RATE)
    assert rate is not None and rate.n == 0 and rate.at(0.5).value is None


def test_empty_answers_are_counted_and_no_sign_of_it() -> None:
    empty = {
        "first_s": None,
        "first_answer_s": None,
        "text_s": None,
        "n_pieces": 0,
        "n_arrivals": 0,
    }
    latency = found(rows(VANILLA), rows("tuned", n_tokens=1, **empty))
    assert latency.unstreamed == () and latency.at(8, "tuned").n_empty == N
    assert any("100 answers were empty" in text for text in latency_notes(latency))


def test_a_level_that_was_given_up_shows_nothing_of_a_guard() -> None:
    facts = LoadLevel(8, N, 8, 0, 10.0)
    levels = (facts, replace(facts, n_at_once=32, gave_up="refused"))
    every = {level: [*rows(VANILLA), *rows("tuned", 2.0)] for level in (8, 32)}
    load = LoadFacts(levels, (8, 32), 0, "1.5")
    latency = find_latency(every, load, [VANILLA, "tuned"], CASES, seed=1)
    assert latency is not None and [one.outcome for one in latency.guarded] == ["unclear"]
    assert "p50 at 8 at once" in with_latency(verdict(), latency).details[0]


def test_pieces_and_thoughts_are_said() -> None:
    latency = found(rows(VANILLA, counted_by="pieces"), rows("tuned", has_thoughts=True))
    assert any("pieces of text stand in for them" in text for text in latency_notes(latency))
    own = latency.at(8, "tuned")
    assert own.length is None  # pieces are not compared with tokens
    assert own.of(ANSWER) is not None and latency.at(8, VANILLA).of(ANSWER) is None


def test_what_the_server_had_read_before_is_said() -> None:
    told = found(rows(VANILLA, n_prompt_tokens=40, n_cached_tokens=10), rows("tuned"))
    assert "and had 25% of their tokens at hand" in latency_notes(told)[-1]
    assert "does not say how much of them it kept" in latency_notes(TWICE)[-1]


def test_a_base_alone_and_levels_that_are_missing() -> None:
    load = LoadFacts((LoadLevel(8, N, 8, 0, 1.0),), (8, 32))
    alone = find_latency({8: rows(VANILLA)}, load, [VANILLA], CASES, seed=0)
    assert alone is not None and alone.missing == (32,)
    told = with_latency(verdict(), alone)
    assert told.details[0].startswith("Latency under load: vanilla gives the first token after ")
    assert "not measured yet: 32 at once; resume the run." in told.details[-1]
    assert find_latency({}, None, [VANILLA], CASES, seed=0) is None
    assert with_latency(verdict(), None) == verdict()


def test_the_table_has_a_row_per_level_variant_measure_and_quantile() -> None:
    table = latency_rows(TWICE)
    assert len(table) == 2 * 3 * 3 and all(len(row) == len(LATENCY_COLUMNS) for row in table)
    by_label = {row[0]: dict(zip(LATENCY_COLUMNS, row, strict=True)) for row in table}
    own = by_label["seconds in all p50 / 8 at once / tuned"]
    assert (own["at_once"], own["n"], own["failed"]) == (8, N, 0)
    assert own["ratio_to_base"] == pytest.approx(2) and own["mean_tokens"] == 33
    late = by_label["seconds in all p99 / 8 at once / vanilla"]
    assert late["ci_high"] is None and late["value"] == sorted(SECONDS)[98]


def test_the_page_says_where_there_are_too_few() -> None:
    section = latency_section(TWICE)
    assert section is not None and section["needed"] == {"p50": 6, "p95": 72, "p99": 368}
    line = section["lines"][1]
    assert line.counts == "n 100, 33 tokens on average"
    p50, _, p99 = line.cells[0].lines
    assert p50[0] == "p50" and " to " in p50[2] and p99[2] == "too few"
    assert line.cells[2].ratio == "2.0 times vanilla's p50, 2.00 to 2.00"
    assert latency_section(None) is None


def test_numbers_in_words() -> None:
    told = [seconds_text(one) for one in (None, 0.0012, 0.0123, 0.9994, 0.9999, 12.34, 321.0)]
    assert told == ["–", "1.2 ms", "12 ms", "999 ms", "1.0 s", "12.3 s", "321 s"]
    assert [times_text(one) for one in (3.04, 1.0, 0.5)] == ["3.0 times", "1.0 times", "0.50 times"]

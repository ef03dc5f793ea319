"""What the report says of samples, in words and as a picture."""

from __future__ import annotations

from dataclasses import replace

import pytest

from plugin.compare.relative import combine
from plugin.compare.samples import Consistency
from plugin.compare.variance import VarianceSplit
from plugin.records import Completion, Preference
from plugin.report.samples_chart import samples_svg
from plugin.report.sampling import (
    GainSplit,
    SamplingView,
    changes_of,
    sampling_lines,
    unlike_cases,
)
from plugin.report.tables import told_reason
from plugin.sample_rows import SampleScore, preference_repeat

SPLIT = VarianceSplit(40, 4.0, 2.0, cases=0.06, sampling=0.08, judge=0.16)
"""Parts of a case's gain: 0.06 between cases, 0.02 in sampling, 0.02 in the judge."""


def split_of(split: VarianceSplit, **more: bool) -> GainSplit:
    return GainSplit(
        *("tuned", "Correctness", 0.4, split, split.shares, changes_of(split, 0.4)), **more
    )


def view(
    *splits: GainSplit, n: int = 4, temperature: float = 0.8, repeats: int = 2
) -> SamplingView:
    return SamplingView(n, temperature, repeats, splits=splits)


def test_shares_and_widths_are_said_with_what_they_cost() -> None:
    how, shares, widths = sampling_lines(view(split_of(SPLIT)))
    assert how == (
        "Each case's score is the mean of 4 samples at temperature 0.8, the judge asked 2 times "
        "about each."
    )
    assert shares == (
        "Variance of tuned's gain on Correctness: 60% between cases, 20% in sampling and 20% in "
        "the judge (n=40)."
    )
    # sqrt of 0.5, of (0.06 + 0.01 + 0.01) / 0.1, of (0.06 + 0.02 + 0.01) / 0.1, of 0.22 / 4 / 0.1
    assert widths == (
        "Its interval is 0.40 wide. Predicted at twice the calls: twice the cases 0.28 (29% "
        "narrower); twice the samples 0.36 (11% narrower); twice the judge repeats 0.38 (5% "
        "narrower). At as many calls as now: 4 times the cases, one sample of each 0.30 (26% "
        "narrower)."
    )
    costs = {one.what: (one.calls, one.completions) for one in changes_of(SPLIT, 0.4)}
    assert costs == {
        "twice the cases": (2, 2),
        "twice the samples": (2, 2),
        "twice the judge repeats": (2, 1),
        "4 times the cases, one sample of each": (1, 1),
    }


@pytest.mark.parametrize(
    ("split", "more", "said"),
    [
        (replace(SPLIT, judge=None), {}, "in sampling and judge (n=40)"),
        (replace(SPLIT, judge=None), {"asks_judge": False}, "and 25% in sampling (n=40)"),
        (replace(SPLIT, sampling=None), {}, "between cases and in sampling and 25% in the judge"),
        (replace(SPLIT, sampling=None), {"is_drawn": False}, "75% between cases and 25% in the ju"),
        (replace(SPLIT, cases=0.0, sampling=0.0, judge=0.0), {}, "there is none to split"),
        (replace(SPLIT, n_negative=1), {}, "counts as zero"),
    ],
)
def test_what_was_not_repeated_is_named_with_its_part(
    split: VarianceSplit, more: dict[str, bool], said: str
) -> None:
    assert said in " ".join(sampling_lines(view(split_of(split, **more))))


def test_what_was_drawn_or_asked_once_is_said() -> None:
    (drawn,) = sampling_lines(view(n=1, repeats=1))
    assert drawn.startswith("One sample of each case was drawn at temperature 0.8. How much")
    (judged,) = sampling_lines(view(n=1, temperature=0.0))
    assert judged == "Each case's score is the mean of 2 judgments of one answer."


def test_consistency_and_missing_samples_are_said() -> None:
    told = (Consistency("vanilla", 10, 2, 10, 5), Consistency("tuned", 10, 9, 10, 10))
    twice = " ".join(sampling_lines(replace(view(), n_samples=2, consistency=told)))
    assert "same text both times: " in twice and "scored the same both times: " in twice
    lines = sampling_lines(replace(view(), consistency=told, n_missing=3))
    assert (
        lines[1]
        == "Cases answered with the same text all 4 times: vanilla 20% of 10, tuned 90% of 10."
    )
    assert lines[2] == "Cases scored the same all 4 times: vanilla 50%, tuned 100%."
    assert lines[3].startswith("3 samples could not be had")


def test_the_picture_has_every_part_and_width_and_is_left_out_without_any() -> None:
    drawn = samples_svg(view(split_of(SPLIT)))
    for text in ("60% between cases", "20% in sampling", "20% in the judge", "twice the samples"):
        assert f">{text}<" in drawn
    assert not samples_svg(None) and not samples_svg(view())
    nothing = replace(SPLIT, cases=0.0, sampling=0.0, judge=0.0)
    assert not samples_svg(view(split_of(nothing)))


def test_the_cases_whose_samples_differ_most_come_first() -> None:
    def made(case_id: str, *texts: str) -> list[Completion]:
        return [
            Completion(case_id, "tuned", text, (), "stop", 0.1, 1, 1, sample=i)
            for i, text in enumerate(texts)
        ]

    samples = {
        (name, "tuned"): made(name, *texts)
        for name, *texts in (("same", "a", "a"), ("near", "a", "b"), ("far", "a", "b"))
    }
    scores = [
        SampleScore(name, "tuned", "Correctness", i, value)
        for name, i, value in (("near", 0, 0.5), ("near", 1, 0.6), ("far", 0, 0.0), ("far", 1, 1.0))
    ]
    found = unlike_cases(
        replace(view(split_of(SPLIT)), samples=samples, scores=tuple(scores)), most=5
    )
    assert [one.case_id for one in found] == ["far", "near"]
    assert found[0].answers == ((1, "a", 0.0), (2, "b", 1.0))
    assert unlike_cases(None, 5) == []


def test_a_row_of_another_sample_says_which_one_it_is() -> None:
    rows = [
        Preference("1", "tuned", "base", "Preference", 1, 1, 1.0, "clear", repeat=number)
        for number in (0, preference_repeat(1, 0), preference_repeat(2, 1))
    ]
    assert [told_reason(row) for row in rows] == ["clear", "sample 2: clear", "sample 3: clear"]
    said = combine(rows).reason
    assert (
        said == "sample 1 gave 1.00: clear | sample 2 gave 1.00: clear | sample 3 gave 1.00: clear"
    )

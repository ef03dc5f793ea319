import dataclasses
import re
import xml.etree.ElementTree as ET

import matplotlib
import pytest

from plugin.records import MetricSpec
from plugin.report.canvas import (
    LOSS,
    PROMPT_COLOURS,
    TIE,
    WIN,
    inline_svg,
    shorten_text,
    split_columns,
)
from plugin.report.charts import comparison_svg, distribution_svg
from tests.report import report_samples as samples

SIX = (
    samples.CORRECTNESS,
    samples.HALLUCINATION,
    MetricSpec("answer_relevancy", "Answer Relevancy", True),
    MetricSpec("long", "Faithfulness to all of the sources that the customer has given", True),
    MetricSpec("perplexity", "Perplexity", False, high=float("inf")),
    MetricSpec("rating", "Rating", True, low=-1, high=5),
)
NAMES = ("tuned", "a-very-long-adapter-name-" * 5, "日本語アダプター", "$x_{2$ <&> \x07")
SHAPES = {
    "one metric": lambda: samples.build(metrics=SIX[:1]),
    "six metrics, four adapters": lambda: samples.build(60, SIX, NAMES, ("é & <b>", "日本")),
    "a prompt and two adapters": lambda: samples.build(
        20, adapters=("prompted", "tuned", "other"), groups=("easy", "hard")
    ),
    "a prompt alone": lambda: samples.build(20, adapters=("prompted",)),
    "vanilla only": samples.vanilla_only,
    "all failed": lambda: samples.build(
        3, failed={(f"c{i}", v) for i in range(3) for v in ("vanilla", "tuned")}
    ),
    "no intervals": lambda: samples.build(5),
    "no cases": lambda: samples.build(0),
}


def texts(svg):
    return [element.text or "" for element in ET.fromstring(svg).iter() if element.text]


def fills(svg, colour):
    return len(re.findall(rf"fill: {colour}", svg, re.IGNORECASE))


@pytest.mark.parametrize("draw", [comparison_svg, distribution_svg])
@pytest.mark.parametrize("shape", SHAPES)
def test_any_report_gives_a_self_contained_picture(draw, shape):
    svg = draw(SHAPES[shape]())
    ET.fromstring(svg)
    assert len(svg) < 300_000
    outside = re.findall(r'(?:href|src)="(?!#)[^"]*"|@import|<image|<script|<metadata', svg)
    assert outside == []


def test_no_metric_at_all_is_said():
    report = dataclasses.replace(samples.build(0), metrics=(), summaries=(), comparisons=())
    assert "No metric was scored." in texts(comparison_svg(report))
    assert ET.fromstring(distribution_svg(report)) is not None


def test_same_report_gives_the_same_bytes_whatever_the_users_style(report):
    before = comparison_svg(report), distribution_svg(report)
    with matplotlib.rc_context({"font.size": 20, "grid.linestyle": ":", "text.color": "red"}):
        assert (comparison_svg(report), distribution_svg(report)) == before
        assert matplotlib.rcParams["font.size"] == 20


def test_comparison_can_be_read_without_the_table(report):
    said = texts(comparison_svg(report))
    for text in ("Correctness", "higher is better →", "Hallucination", "← lower is better"):
        assert text in said
    assert said.count("vanilla") == 3, "legend and a bar per metric"
    assert "n = 19, 1 failed" in said
    assert "0.50" in said and "0.00" not in said
    assert "Correctness by group (exploratory)" in said
    assert {"easy", "hard", "tuned, n = 9, 1 failed"} <= set(said)


def test_comparison_has_a_bar_per_metric_and_variant():
    report = samples.build(20, SIX[:3], ("tuned", "other"))
    svg = comparison_svg(report)
    for colour in ("#999999", "#009E73", "#CC79A7"):
        assert fills(svg, colour) == 3 + 1, "three metrics and the legend"


def test_descriptive_metrics_are_not_among_the_deciding_ones():
    said = texts(comparison_svg(samples.build(12, (samples.CORRECTNESS, samples.LATENCY))))
    assert "Latency" not in said and "Correctness" in said


def test_no_score_is_not_drawn_as_a_zero():
    svg = comparison_svg(samples.build(3, failed={(f"c{i}", "tuned") for i in range(3)}))
    assert texts(svg).count("no scores") == 2
    assert fills(svg, "#009E73") == 1, "only the legend"


def test_distribution_counts_and_colours_wins_ties_and_losses():
    svg = distribution_svg(samples.build(20, groups=("easy", "hard")))
    said = texts(svg)
    assert {"5 losses", "5 ties", "10 wins"} <= set(said)
    assert "mean gain +0.10, 95% interval +0.00 to +0.20" not in said
    assert any(text.startswith("mean gain +0.10, 95% interval ") for text in said)
    assert {"easy", "hard"} <= set(said)
    # A bar per case, the legend, the share of either group, and the words of wins and losses.
    assert fills(svg, LOSS) == 5 + 1 + 2 + 1
    assert fills(svg, WIN) == 10 + 1 + 2 + 1
    assert fills(svg, TIE) == 5 + 1 + 2


def test_distribution_says_how_many_have_no_pair(report):
    assert "18 cases, sorted by gain; 2 without a pair" in texts(distribution_svg(report))


def test_distribution_has_a_panel_per_adapter():
    said = texts(distribution_svg(samples.build(20, adapters=("tuned", "other"))))
    assert "tuned" in said and "other" in said
    assert said.count("20 cases, sorted by gain") == 2


def test_distribution_of_one_variant_says_so():
    said = texts(distribution_svg(samples.vanilla_only()))
    assert "Nothing to compare: the run has one variant." in said


def test_ten_thousand_cases_stay_small():
    groups = tuple(f"group {number}" for number in range(12))
    report = samples.build(10_000, metrics=SIX[:1], groups=groups)
    svg = distribution_svg(report)
    assert {"2,500 losses", "2,500 ties", "5,000 wins"} <= set(texts(svg))
    assert "group 7" in texts(svg) and "group 8" not in texts(svg)
    means = texts(comparison_svg(report))
    assert "Correctness by group (exploratory); 4 more in the tables" in means
    assert "group 7" in means and "group 8" not in means
    assert len(svg) < 100_000


def test_inline_drawings_share_no_id_and_follow_the_theme(report):
    one, two = inline_svg(comparison_svg(report), "a"), inline_svg(distribution_svg(report), "b")
    ids = re.findall(r'id="([^"]+)"', one), re.findall(r'id="([^"]+)"', two)
    assert not set(ids[0]) & set(ids[1])
    for svg, known in zip((one, two), ids, strict=True):
        used = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg)
        assert used and {a or b for a, b in used} <= set(known)
        assert svg.startswith("<svg ") and "currentColor" in svg
        assert "#fefefe" not in svg and "#1b1c1e" not in svg


def test_long_names_lose_their_middle():
    assert shorten_text("abcdefghij", 10) == "abcdefghij"
    assert shorten_text("abcdefghijk", 10) == "abcde…hijk"
    assert split_columns("日本") == 4
    assert shorten_text("日本語" * 9, 10) == "日本…本語"
    assert shorten_text("a\x07\nb", 10) == "a  b"


def test_a_prompted_base_has_a_colour_of_its_own_and_a_panel_after_the_adapters():
    report = samples.build(20, adapters=("prompted", "tuned", "other"), groups=("easy", "hard"))
    means, gains = comparison_svg(report), distribution_svg(report)
    for colour in ("#999999", PROMPT_COLOURS[0], "#009E73", "#CC79A7"):
        assert fills(means, colour) == 2 + 2 + 1, "two metrics, two groups and the legend"
    said = texts(gains)
    places = [said.index(name) for name in ("tuned", "other", "prompted")]
    assert places == sorted(places)
    assert "Correctness: gain of every case over vanilla" in said

import dataclasses
import re
from html.parser import HTMLParser

import pytest

from plugin.compare.comparisons import VerdictSettings, compare, summarise
from plugin.compare.numbers import format_number, format_range
from plugin.compare.pairs import Evidence
from plugin.compare.verdict import decide_verdict
from plugin.records import Completion, Failure, Message, Score
from plugin.report import render_report, write_report
from plugin.report.charts import distribution_svg
from plugin.report.page import render_page
from plugin.results import Harm, Verdict
from plugin.trust.records import Canary, Correction, Family, HumanView, LengthSlope, Retest, Trust
from tests.report import report_samples as samples

EVIL = "<script>alert(1)</script></svg></style>{{7*7}}{% x %}\"'><img src=x onerror=alert(1)>"


class Reader(HTMLParser):
    """What a browser would see: elements, attributes and text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.said, self.open = [], [], [], []
        self.feed(html)
        self.text = " ".join(" ".join(self.said).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "input", "br", "path", "use"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        if tag in self.open:
            assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "script"):
            self.said.append(data)


def read(report):
    return Reader(render_report(report)["report.html"])


def order(html):
    """The cases that stand on the page without its script."""
    return re.findall(r"<h3>Case <bdi>(\w+)</bdi></h3>", html)


def test_verdict_judge_and_warnings_come_first(report):
    text = read(report).text
    places = [
        text.index(part)
        for part in (
            "▲ better",
            report.verdict.sentence + " Judged by offline (smoke-test) judge",
            "4 failures on record",
            "1 warning",
            "Gain of tuned over vanilla, with 95% intervals",
            "Warning: The judge is a smoke test.",
            "It also counts the ties.",
            "Mean scores, with 95% intervals",
            "An answer counts as right where Correctness",
            "How to read this",
            "Over all cases.",
            "Exploratory: with",
            "Sort by",
            "Variants, settings, versions",
        )
    ]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("outcome", "badge"),
    [
        ("worse", "▼ worse"),
        ("equivalent", "≈ equivalent"),
        ("can't tell", "? can't tell"),
        (None, "– no comparison"),
    ],
)
def test_every_outcome_has_a_badge_in_words(outcome, badge):
    verdict = Verdict(outcome, "A sentence.", (), None)
    assert f"{badge} A sentence." in read(samples.build(4, verdict=verdict)).text


@pytest.mark.parametrize(
    ("outcome", "badge"), [("lost", "◆ lost"), ("kept", "✓ kept"), ("unclear", "? unclear")]
)
def test_every_outcome_of_a_guard_has_a_badge_in_words(outcome, badge):
    report = samples.build(4)
    first, *others = report.comparisons
    guard = dataclasses.replace(first, outcome=outcome, role="guard")
    text = read(dataclasses.replace(report, comparisons=(guard, *others))).text
    table = text[text.index("Over all cases.") : text.rindex("Read the cases")]
    assert badge in table and "higher is better; guard" in table


def test_partial_runs_say_so(report):
    assert "Partial run." not in read(report).text
    assert "Partial run." in read(dataclasses.replace(report, partial=True)).text


def test_a_comparison_carries_n_failures_interval_and_p(report):
    text = read(report).text
    row = report.comparisons[0]
    assert f"18 {row.wins} / {row.n_ties} / {row.losses} 1 1 ▲ better" in text
    table = text[text.index("Over all cases.") : text.index("Exploratory: with")]
    assert format_range(row.ci_low, row.ci_high, signed=True) in table
    assert "0.004" in text


def test_failures_counted_at_their_worst_are_warned_of():
    report = samples.build(4, failed={(f"c{i}", "tuned") for i in range(4)})
    text = read(report).text
    assert "The failures, counted at their worst, would change the answer." in text
    assert "About 120 pairs would find a gain of 0.05." in text


def test_where_cases_belong_together_more_clusters_are_asked_for():
    report = samples.build(8)
    first, *others = report.comparisons
    open_row = dataclasses.replace(
        first, outcome="can't tell", n_clusters=7, n_to_detect=8, smallest_detectable=0.06
    )
    text = read(dataclasses.replace(report, comparisons=(open_row, *others))).text
    assert (
        "About 8 clusters would find a gain of 0.05. These 7 find only gains of 0.06 or more."
        in text
    )


def test_vanilla_alone_is_shown_without_comparison():
    text = read(samples.vanilla_only()).text
    assert "no comparison One variant: no verdict." in text
    assert "Comparisons" not in text


def test_a_group_named_all_is_no_group():
    html = render_report(samples.build(4, cases=tuple(samples.case(i, "all") for i in range(4))))
    assert '"groups":[]' in html["report.html"]
    assert "by group" not in html["comparison.svg"]


def test_text_from_data_and_models_is_escaped():
    report = samples.build(3, groups=(EVIL,), adapters=(EVIL,))
    first = dataclasses.replace(
        report.cases[0], id=EVIL, messages=(Message("user", EVIL), Message("user", EVIL)),
        expected_output=EVIL, context=(EVIL,),
    )  # fmt: skip
    made = Completion(EVIL, EVIL, EVIL, (1,), "stop", 0.1, 3)
    harms = tuple(Harm(who, EVIL, EVIL, -0.3, None, None, 3) for who in (EVIL, EVIL + EVIL))
    report = dataclasses.replace(
        report,
        cases=(first, *report.cases[1:]),
        completions={**report.completions, (EVIL, EVIL): made},
        failures=(Failure(EVIL, "judge", EVIL, EVIL),),
        scores=tuple(dataclasses.replace(score, reason=EVIL) for score in report.scores),
        verdict=Verdict("better", EVIL, (EVIL,), "Correctness", EVIL, harms),
        judge=EVIL,
        warnings=(EVIL,),
        provenance={EVIL: [EVIL, {EVIL: EVIL}]},
    )
    reader = read(report)
    assert "img" not in reader.tags and reader.tags.count("script") == 4, "the data, our scripts"
    assert reader.text.count("<script>alert(1)</script></svg></style>{{7*7}}{% x %}") > 20
    assert not [name for name, _ in reader.attributes if name.startswith("on")]


def test_page_needs_nothing_but_itself(report):
    html = render_report(report)["report.html"]
    reader = Reader(html)
    assert not {"link", "iframe", "img", "object"} & set(reader.tags)
    for name, value in reader.attributes:
        if name in ("src", "href", "xlink:href", "action", "data", "srcset"):
            assert value.startswith("#")
    assert not re.search(r"@import|url\((?!#)", html)
    (policy,) = (value for name, value in reader.attributes if "default-src" in str(value))
    assert re.fullmatch(
        r"default-src 'none'; script-src( 'sha256-[\w+/=]+'){3}; style-src 'unsafe-inline'", policy
    )
    ids = [value for name, value in reader.attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_unworked_cases_are_counted_not_shown():
    report = samples.build(3)
    left = tuple(score for score in report.scores if score.case_id != "c2")
    done = {key: made for key, made in report.completions.items() if key[0] != "c2"}
    report = dataclasses.replace(report, scores=left, completions=done, partial=True)
    html = render_page(report, [])
    assert "3 cases, 2 of them worked" in html
    assert "c2" not in order(html)


def test_provenance_is_at_the_end_and_whole(report):
    text = read(report).text
    end = text[text.index("Where this comes from") :]
    for part in ("seed 7", "deepeval 4.3.1", "id-tuned", "adapters/tuned", "BCa bootstrap"):
        assert part in end


def test_write_publishes_all_files_in_order_and_twice_the_same(report, tmp_path):
    paths = write_report(report, tmp_path / "new" / "folder")
    assert [path.name for path in paths] == [
        "01_summary.csv",
        "02_comparison.csv",
        "03_cases.csv",
        "04_failures.csv",
        "05_groups.csv",
        "verdict.svg",
        "comparison.svg",
        "distribution.svg",
        "report.html",
        "summary.json",
        "completions.jsonl",
        "verdict.txt",
    ]
    before = [path.read_bytes() for path in paths]
    again = write_report(report, tmp_path / "new" / "folder")
    assert [path.read_bytes() for path in again] == before
    assert sorted(p.name for p in paths[0].parent.iterdir()) == sorted(p.name for p in paths)


def test_half_a_surrogate_pair_does_not_stop_the_report(tmp_path):
    report = samples.build(1)
    made = {("c0", "tuned"): Completion("c0", "tuned", "a\ud83db", (1,), "stop", 0.1, 3)}
    paths = write_report(dataclasses.replace(report, completions=made), tmp_path)
    assert "a\\ud83db" in paths[2].read_text("utf-8")


def test_an_option_is_never_broken_at_the_end_of_a_line(report):
    report = dataclasses.replace(report, warnings=("raise --max_tokens <b>now</b>",))
    html = render_page(report, [])
    assert 'raise <span class="option">--max_tokens</span> &lt;b&gt;now' in html


def test_text_that_runs_backwards_turns_nothing_else_in_the_answer(report):
    turned, long = "\u202eabc", "x" * 700
    verdict = Verdict("better", turned, (turned + long,), "Correctness", turned)
    report = dataclasses.replace(report, verdict=verdict, warnings=(turned,))
    html = render_page(report, [])
    answer = html[html.index('id="answer"') : html.index('id="tables"')]
    assert "\u202e" not in answer and long in answer


def test_a_failed_write_leaves_the_old_file_whole(report, tmp_path, monkeypatch):
    first = write_report(report, tmp_path)[0]
    before = first.read_bytes()

    def full_disk(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_report(samples.build(3), tmp_path)
    assert first.read_bytes() == before
    assert not list(tmp_path.glob(".*"))


TRUST = Trust(
    retests=(Retest("Correctness", 9, 1, 3, 0.05, 0.2),),
    canaries=(
        Canary("empty praise", "Correctness", 0.9, 5, 0, 0.6, False),
        Canary("null answer", "Correctness", None, 0, 5, 0.6, None),
    ),
    lengths=(
        LengthSlope("Correctness", "tuned", 20, 9.0, 0.15, 0.03, 0.27, 0.41, "HC3"),
        LengthSlope("Hallucination", "tuned", 8, *(None,) * 5, "no slope below 20 pairs, got 8"),
    ),
    family=Family((), (), ()),
)


def test_the_trust_report_is_a_section_of_its_own(report):
    text = read(dataclasses.replace(report, trust=TRUST)).text
    section = text[text.rindex("Can the judge be trusted?") : text.rindex("Read the cases")]
    assert "gave wrong answers too high scores" in section
    assert "empty praise What a wonderful question!" in section and "0.90" in section
    assert "✗ no" in section and "no judgment" in section
    assert "9 scores" in section and "changed 3, by up to 0.20 (1 more failed)" in section
    assert "+0.15 +0.03 to +0.27 +0.41" in section
    assert "no slope below 20 pairs, got 8" in section
    assert "cannot be told by their names" in section


HUMANS = HumanView(
    *("Correctness", 2, 70, 0.764, 0.53, 0.853, 0.768, None, None),
    (Correction("tuned", 0.4, 0.3, 0.49, 0.36, 0.26, 0.46, 35, 5, 60, "PPI++"),),
)


def test_the_judges_gain_and_the_corrected_one_stand_side_by_side(report):
    text = read(dataclasses.replace(report, trust=Trust(humans=(HUMANS,)))).text
    section = text[text.rindex("Can the judge be trusted?") : text.rindex("Read the cases")]
    assert "2 70 76% 0.53 0.85 no interval –" in section
    assert "+0.40 +0.30 to +0.49 +0.36 +0.26 to +0.46 35 of 60 5 drawn, not rated" in section


def test_without_a_trust_report_nothing_is_said_of_it(report):
    assert "trusted?" not in read(report).text


def test_texts_in_the_trust_report_are_escaped(report):
    bad = Trust(canaries=(Canary("null answer", EVIL, 0.9, 5, 0, 0.6, True),), family=TRUST.family)
    assert "<script>alert" not in render_page(dataclasses.replace(report, trust=bad), [])


def test_a_prompted_base_stands_beside_the_adapter_everywhere():
    report = samples.build(8, adapters=("prompted", "tuned"), groups=("easy", "hard"))
    html = render_report(report)["report.html"]
    text = Reader(html).text
    places = [
        text.index(part)
        for part in (
            "Decides: Correctness",
            "over prompted, n=8",
            "prompted is vanilla with an engineered system prompt",
            "Answer in one short sentence.",
        )
    ]
    assert places == sorted(places)


def test_the_verdict_and_the_page_show_the_same_figures():
    cases = tuple(samples.case(number) for number in range(40))
    variants = samples.build(1).variants
    gains = [0.3, 0.2, -0.05, 0.0037]
    scores = tuple(
        Score(each.id, name, "Correctness", 0.5 + (name == "tuned") * gains[number % 4])
        for number, each in enumerate(cases)
        for name in ("vanilla", "tuned")
    )
    evidence = Evidence(cases, variants, (samples.CORRECTNESS,), scores)
    settings = VerdictSettings("Correctness", seed=7, n_resamples=500)
    summaries, (row,) = summarise(evidence, settings), compare(evidence, settings)
    verdict = decide_verdict(evidence, summaries, (row,), settings)
    report = samples.build(40, (samples.CORRECTNESS,), cases=cases, scores=scores)
    report = dataclasses.replace(report, summaries=summaries, comparisons=(row,), verdict=verdict)
    html = render_page(report, [])
    text = Reader(html[html.index("Over all cases.") : html.index("All means")]).text
    shown = (row.gain, row.ci_low, row.ci_high)
    for number in (format_number(value, signed=True) for value in shown):
        assert number in verdict.sentence and number in text
    for number in (format_number(mean) for mean in (row.variant_mean, row.baseline_mean)):
        assert number in verdict.sentence and number in text
    said = distribution_svg(report)
    within = format_range(row.ci_low, row.ci_high, signed=True)
    assert f"mean gain {format_number(row.gain, signed=True)}, 95% interval {within}" in said


def test_a_judge_that_gave_no_score_is_no_run_without_failures():
    silent = dataclasses.replace(samples.build(4), scores=(), failures=(), comparisons=())
    text = read(silent).text
    assert "no score on Correctness" in text and "no failures" not in text

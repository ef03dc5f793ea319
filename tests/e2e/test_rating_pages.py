"""People rate answers on a page in a real Chromium, and the journal has what they said."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from statistics import mean

import pytest
from playwright.sync_api import Browser, Page

from demo import FOLDER
from plugin.run_facts import HumanChoice, Rating, ReasonCheck
from tests.browser import browser
from tests.e2e.conftest import demo_run, main
from tests.rating_run import (
    BASE,
    TUNED,
    ask,
    digests_of,
    download,
    key_of,
    opened,
    page_data,
    recorded_run,
    recorded_run_output,
    shown,
    state_of,
    sums,
    title,
)

__all__ = ["browser", "demo_run"]

N = 9


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return recorded_run(tmp_path, sums(N))


WON = {"1": 1.0, "2": 0.0, "0": 0.5, "c": None}
LABELS = {"1": "First is better", "2": "Second is better", "0": "Equally good"}
LABELS |= {"c": "Can't decide"}
RIGHT = {"1": True, "2": False, "c": None}
REASON_LABELS = {"1": "Right", "2": "Wrong", "c": "Can't decide"}


def by_key(page: Page, key: str) -> None:
    page.keyboard.press(key)


def by_mouse(page: Page, key: str) -> None:
    labels = LABELS if "better" in title(page) else REASON_LABELS
    page.get_by_role("button", name=labels[key]).click()


def by_touch(page: Page, key: str) -> None:
    labels = LABELS if "better" in title(page) else REASON_LABELS
    page.get_by_role("button", name=labels[key]).tap()


def wants_right(asked: str, answers: list[str]) -> str:
    return "1" if answers[0].startswith("It is") else "2"


def wants_left_or_nothing(asked: str, answers: list[str]) -> str:
    return "c" if "4" in asked else "1"


def wants_the_long_one(asked: str, answers: list[str]) -> str:
    return "0" if "5" in asked else "12"[len(answers[1]) > len(answers[0])]


def rate_all(
    page: Page,
    press: Callable[[Page, str], None],
    wants: Callable[[str, list[str]], str],
    case_ids: dict[str, str],
    digests: dict[tuple[str, str], str],
    rater: str,
) -> tuple[set[HumanChoice], set[ReasonCheck]]:
    """Answer every item; return what the journal must have then."""
    choices, checks = set(), set()
    while page.locator("#done").is_hidden():
        asked, answers = shown(page)
        case_id = case_ids[asked]
        own = [digests[case_id, text] for text in answers]
        comment = f"{rater} on {asked}" if "7" in asked else ""
        if comment:
            page.fill("#comment", comment)
            page.keyboard.press("Escape")
        if len(own) == 2:
            key = wants(asked, answers)
            choices.add(HumanChoice(case_id, (own[0], own[1]), rater, WON[key], comment))
        else:
            said = page.inner_text("#said")
            key = "1" if "all" in said or "4" in said else "2" if "0" in said else "c"
            checks.add(ReasonCheck(case_id, own[0], "Correctness", rater, RIGHT[key], comment))
        press(page, key)
    return choices, checks


def test_three_raters_go_through_their_pages_and_the_journal_has_what_they_said(
    browser: Browser, out: Path, tmp_path: Path
) -> None:
    said = ask(out, "--reasons", "--raters", "Ann,Bob B.,Zoë", "--n", "100")
    assert f"{N} cases drawn, {2 * N - 1} items on each page ({N - 1} pairs, {N} reasons" in said
    case_ids = {row["input"]: row["id"] for row in sums(N)}
    digests = digests_of(out)
    files, choices, checks = list[Path](), set[HumanChoice](), set[ReasonCheck]()
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    for name, rater, press, wants, settings in (
        ("Ann", "Ann", by_key, wants_right, {}),
        ("Bob-B", "Bob B.", by_mouse, wants_left_or_nothing, {}),
        ("Zoë", "Zoë", by_touch, wants_the_long_one, phone),
    ):
        with opened(browser, out / f"rate-{name}.html", **settings) as page:
            found = rate_all(page, press, wants, case_ids, digests, rater)
            choices |= found[0]
            checks |= found[1]
            files.append(download(page, tmp_path, "#download-done"))
    assert [file.name for file in files] == [
        "ratings-Ann.json",
        "ratings-Bob-B..json",
        "ratings-Zoë.json",
    ]
    ended = main("report", str(out), "--human_ratings", *map(str, files))
    assert ended.code == 0, ended.err
    state = state_of(out)
    assert set(state.human_choices) == choices and len(choices) == 3 * (N - 1)
    assert set(state.reason_checks) == checks and len(checks) == 3 * N
    assert len(state.human_choices) == len(choices) and len(state.reason_checks) == len(checks)
    assert state.ratings == ()
    # Ann always chose the tuned answer, on whichever side it stood.
    tuned = {digests[row["id"], row["tuned"]] for row in sums(N)}
    hers = [one for one in state.human_choices if one.rater == "Ann"]
    assert all((one.digests[0] in tuned) == (one.won == 1.0) for one in hers)
    assert {one.won for one in hers} == {0.0, 1.0}
    require_what_was_put_in(out, choices, checks, tuned)
    # The journal has it all: neither a report nor a resume needs the files again.
    for file in files:
        file.unlink()
    assert main("report", str(out)).code == 0
    assert state_of(out).human_choices == state.human_choices


def require_what_was_put_in(
    out: Path, choices: set[HumanChoice], checks: set[ReasonCheck], tuned: set[str]
) -> None:
    """The report's figures are those that follow from the choices, counted here anew."""
    won: dict[str, list[float]] = {}
    for one in choices:
        if one.won is not None:
            share = one.won if one.digests[0] in tuned else 1 - one.won
            won.setdefault(one.case_id, []).append(share)
    rate = mean(mean(shares) for shares in won.values())
    same = [
        mean(a == b for a, b in combinations(shares, 2))
        for shares in won.values()
        if len(shares) > 1
    ]
    told = json.loads((out / "summary.json").read_text(encoding="utf-8"))["trust"]["choices"]
    (view,) = told["views"]
    assert view["n_raters"] == 3 and view["win_rate"]["n"] == len(won) == N - 1
    assert view["win_rate"]["mean"] == pytest.approx(rate)
    assert view["same_choice"]["mean"] == pytest.approx(mean(same))
    assert view["n_undecided"] == sum(one.won is None for one in choices) > 0
    # The offline judge finds every tuned answer better; people agree where most of them do, too.
    (judge,) = [row for row in view["beside"] if row["metric"] == "Correctness"]
    sides = [max(set(shares), key=shares.count) for shares in won.values()]
    clear = [s for s, shares in zip(sides, won.values(), strict=True) if is_clear(shares)]
    assert judge["n"] - judge["n_split"] == len(clear)
    assert judge["agreement"]["mean"] == pytest.approx(mean(side == 1 for side in clear))
    (reasons,) = told["reasons"]
    found: dict[str, list[bool]] = {}
    for check in checks:
        if check.is_right is not None:
            found.setdefault(check.digest, []).append(check.is_right)
    assert reasons["right"]["n"] == len(found)
    assert reasons["right"]["mean"] == pytest.approx(mean(mean(one) for one in found.values()))


def is_clear(shares: list[float]) -> bool:
    """Whether one choice is the most common."""
    counts = sorted(map(shares.count, set(shares)), reverse=True)
    return len(counts) == 1 or counts[0] > counts[1]


def answered(out: Path, rater: str, file: Path, first: int = 0) -> str:
    """Write what the rater's page would download, without the first items."""
    data = page_data(out / f"rate-{rater}.html")
    head = {name: data[name] for name in ("format", "version", "page", "rater")}
    answers = [{"item": item["id"], "choice": "first"} for item in data["items"][first:]]
    file.write_text(json.dumps({**head, "answers": answers}))
    return str(file)


def test_a_run_takes_several_files_too(out: Path, tmp_path: Path) -> None:
    ask(out, "--raters", "2", "--n", "100")
    files = [
        answered(out, f"rater-{number}", tmp_path / f"{number}.json", first=number - 1)
        for number in (1, 2)
    ]
    (tmp_path / "config.yaml").write_text(f"human_ratings: {json.dumps(files)}\n")
    for words in (
        ("--human_ratings", *files),
        ("--human_ratings", files[0], "--human_ratings", files[1]),
        ("--config", str(tmp_path / "config.yaml")),
    ):
        said = recorded_run_output(tmp_path, sums(N), *words)
        assert f"note: rater 2 answered {N - 2} of the {N - 1} items in 2.json" in said
        assert len(state_of(out).human_choices) == 2 * (N - 1) - 1


def test_a_resume_keeps_what_was_given_last(out: Path, tmp_path: Path) -> None:
    assert main("ratings", str(out)).code == 0
    with (out / "ratings_template.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = [{**row, "rating": "1", "rater": "Ann"} for row in csv.DictReader(file)]
    template = tmp_path / "filled.csv"
    with template.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (tmp_path / "again").mkdir()
    again = recorded_run(tmp_path / "again", sums(N), "--human_ratings", str(template))
    assert len(state_of(again).ratings) == len(rows)
    ask(again)
    page = answered(again, "rater-1", tmp_path / "page.json")
    assert main("report", str(again), "--human_ratings", page).code == 0
    (tmp_path / "page.json").unlink()
    ended = main("resume", str(again))
    assert ended.code == 0, ended.err
    assert state_of(again).ratings == () and len(state_of(again).human_choices) == N - 1


def test_single_answers_are_scored_on_the_metrics_own_scale(
    browser: Browser, tmp_path: Path
) -> None:
    out = recorded_run(tmp_path, sums(4), predefined_tasks="Correctness, Hallucination")
    ask(out, "--kind", "answers", "--raters", "Ann")
    digests, case_ids = digests_of(out), {row["input"]: row["id"] for row in sums(4)}
    wanted = set[Rating]()
    with opened(browser, out / "rate-Ann.html") as page:
        for number in range(14):  # one answer of case 0 and two of the others, on two metrics
            asked, (text,) = shown(page)
            metric = "Correctness" if number < 7 else "Hallucination"
            assert ("context" in page.inner_text("#question")) == (number >= 7)
            key = str(1 + number % 5) if number != 3 else "c"
            value = (int(key) - 1) / 4 if key != "c" else None
            page.keyboard.press(key)
            if value is not None:
                case_id = case_ids[asked]
                value = value if metric == "Correctness" else 1 - value  # 1 is worst
                wanted.add(Rating(case_id, digests[case_id, text], metric, "Ann", value))
        file = download(page, tmp_path)
    assert main("report", str(out), "--human_ratings", str(file)).code == 0
    assert set(state_of(out).ratings) == wanted and len(wanted) == 13


def test_no_name_path_or_score_is_in_the_page(out: Path, tmp_path: Path, demo_run: Path) -> None:
    ask(out, "--raters", "Ann")
    text = (out / "rate-Ann.html").read_text(encoding="utf-8").casefold()
    state = state_of(out)
    secrets = [BASE, TUNED, str(tmp_path), "recorded", "correctness", "content words"]
    secrets += [*(item.case_id + '"' for item in state.page_items)]
    secrets += [digest for item in state.page_items for digest in item.shown]
    assert [secret for secret in secrets if secret.casefold() in text] == []
    ask(demo_run, "--raters", "Ann", "--n", "100")
    text = (demo_run / "rate-Ann.html").read_text(encoding="utf-8").casefold()
    names = [
        "vanilla",
        "adapter",
        str(FOLDER),
        str(demo_run),
        "whole-demo",
        "offline",
        "exact match",
    ]
    assert [secret for secret in names if secret.casefold() in text] == []


def test_sides_and_order_are_random_for_each_rater_and_follow_the_seed(tmp_path: Path) -> None:
    out = recorded_run(tmp_path, sums(41))
    ask(out, "--raters", "Ann,Bob", "--n", "100")
    key, digests = key_of(out), digests_of(out)
    tuned = {digests[row["id"], row["tuned"]] for row in sums(41)}
    orders, sides, by_case = [], [], []
    for name in ("Ann", "Bob"):
        items = [key[item["id"]] for item in page_data(out / f"rate-{name}.html")["items"]]
        assert {item.case_id for item in items} == {f"q{i}" for i in range(1, 41)}
        orders.append([item.case_id for item in items])
        sides.append([item.shown[0] in tuned for item in items])
        by_case.append({item.case_id: item.shown[0] in tuned for item in items})
        assert sum(sides[-1]) == 20  # each side equally often
        assert len({tuple(sides[-1][i : i + 2]) for i in range(0, 40, 2)}) == 4
    assert orders[0] != orders[1] and sides[0] != sides[1]
    assert 5 < sum(by_case[0][each] == by_case[1][each] for each in by_case[0]) < 35
    assert orders[0] != sorted(orders[0])
    before = (out / "rate-Ann.html").read_bytes(), state_of(out).page_items
    ask(out, "--raters", "Ann,Bob", "--n", "100")
    assert ((out / "rate-Ann.html").read_bytes(), state_of(out).page_items) == before
    ask(out, "--raters", "Ann", "--n", "100", "--seed", "1")
    assert (out / "rate-Ann.html").read_bytes() != before[0]
    assert len(state_of(out).page_items) == 120
    assert set(before[1]) <= set(state_of(out).page_items)  # earlier pages can still be read


def test_raters_see_what_the_judge_sees(browser: Browser, tmp_path: Path) -> None:
    out = recorded_run(
        tmp_path,
        sums(3),
        predefined_tasks="Correctness, Preference",
        preference_criteria="Which answer is <b>shorter</b>?",
    )
    ask(out)
    with opened(browser, out / "rate-rater-1.html") as page:
        assert page.inner_text("#question") == "Which answer is <b>shorter</b>?"
        assert page.locator("#expected").is_hidden() and page.locator("#context").is_hidden()
    assert "times 3 is" not in (out / "rate-rater-1.html").read_text(encoding="utf-8")
    ask(out, "--kind", "answers")
    with opened(browser, out / "rate-rater-1.html") as page:
        assert page.locator("#expected").is_visible() and page.locator("#context").is_hidden()
        assert page.locator("#expected div").is_hidden()  # folded until the rater wants it
        page.click("#expected summary")
        assert page.inner_text("#expected div").startswith("It is ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--kind", "pairs"), "--kind: this is for rating pages; add --page"),
        (("--reasons", "--raters", "2"), "--reasons, --raters: this is for rating pages"),
        (("--page", "--raters", "0"), "--raters 0: give a number from 1 to 100, or names"),
        (("--page", "--raters", "101"), "--raters 101: give a number from 1 to 100"),
        (("--page", "--raters", ""), "give a number from 1 to 100"),
        (("--page", "--raters", "Ann, ann "), "'ann' stands there twice"),
        (("--page", "--raters", "x" * 101), "is longer than 100 characters"),
        (("--page", "--raters", "\x00"), "has characters that nobody can read"),
        (("--page", "--kind", "both"), "--kind: invalid choice: 'both'"),
        (("--page", "--n", "0"), "--n 0: draw at least one case"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(out: Path, words: tuple[str, ...], said: str) -> None:
    ended = main("ratings", str(out), *words)
    assert ended.code == 2 and said in ended.err
    assert not [*out.glob("rate-*"), *out.glob("ratings_*")]
    assert state_of(out).page_items == ()


def test_nothing_to_ask_says_so(tmp_path: Path) -> None:
    same = [{**row, "base": row["tuned"]} for row in sums(3)]
    (tmp_path / "same").mkdir()
    out = recorded_run(tmp_path / "same", same, predefined_tasks="Token F1")
    for words, said in (
        ((), "both answers are equal in every case that was drawn"),
        (("--kind", "answers"), "no metric asked a judge about single answers"),
    ):
        ended = main("ratings", str(out), "--page", *words)
        assert ended.code == 2 and f"there is nothing to rate: {said}" in ended.err
    out = recorded_run(tmp_path, sums(3), predefined_tasks="Token F1")
    ended = main("ratings", str(out), "--page", "--reasons")
    assert ended.code == 2 and "the judge gave no reasons" in ended.err


def test_files_of_raters_have_names_that_every_file_system_takes(out: Path) -> None:
    ask(out, "--raters", "a/b,A b,../..,李,CON.")
    names = {path.name for path in out.glob("rate-*.html")}
    assert names == {
        "rate-a-b.html",
        "rate-A-b-2.html",
        "rate-rater.html",
        "rate-李.html",
        "rate-CON.html",
    }

"""Files that rating pages download are read whole, or refused with everything that is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plugin.errors import OptionError
from plugin.journal import Journal
from plugin.records import MetricSpec, Variant
from plugin.run_facts import HumanChoice, PageItem, Rating, ReasonCheck, RunHeader
from plugin.trust.humans import completion_digest
from plugin.trust.rating_files import accept_ratings, read_rating_files
from tests.samples import case, completion

TONE = MetricSpec("tone", "Tone", higher_is_better=True)
SIDES = ("vanilla", "tuned")
CASES = ("1", "2", "3")


def digest(case_id: str, side: str) -> str:
    return completion_digest(completion(f"{side} {case_id}", case_id, side))


def keys(page: str) -> list[PageItem]:
    """A page of three pairs, one answer and one reason; the tuned answer stands first."""
    tuned = {each: digest(each, "tuned") for each in CASES}
    pairs = [
        PageItem(f"{page}{i}", page, "pair", each, "", (tuned[each], digest(each, "vanilla")))
        for i, each in enumerate(CASES)
    ]
    single = PageItem(f"{page}s", page, "single", "1", "Tone", (tuned["1"],))
    reason = PageItem(f"{page}r", page, "reason", "2", "Tone", (tuned["2"],))
    return [*pairs, single, reason]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path)
    variants = tuple(Variant(name, name, "m") for name in SIDES)
    header = RunHeader("r", {}, {}, {}, variants, (TONE,), "Tone", "offline")
    made.begin(header, [case(each) for each in CASES], ())
    for each in CASES:
        for side in SIDES:
            made.add_answer(f"{each} {side}", completion(f"{side} {each}", each, side))
    made.save_state(replace(made.state, page_items=(*keys("a"), *keys("b"))))
    yield made
    made.close()


def held(page: str = "a", rater: str = "Ann", **changed: object) -> dict[str, Any]:
    answers = [
        {"item": f"{page}0", "choice": "first", "comment": "", "seconds": 1.2},
        {"item": f"{page}1", "choice": "second", "comment": "both are bad", "seconds": 0},
        {"item": f"{page}2", "choice": "cant_tell", "comment": "", "seconds": 7},
        {"item": f"{page}s", "value": 0.75, "comment": "", "seconds": 1},
        {"item": f"{page}r", "reason": "wrong", "comment": "no", "seconds": 1},
    ]
    head = {"format": "finetune-verdict-ratings", "version": 1, "page": page, "rater": rater}
    return {**head, "answers": answers, **changed}


def file(folder: Path, content: object, name: str = "a.json") -> str:
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def accept(journal: Journal, *paths: str) -> tuple[str, ...]:
    return accept_ratings(read_rating_files(paths), journal)


def refused(journal: Journal, *paths: str) -> str:
    before = journal.state
    with pytest.raises(OptionError) as caught:
        accept(journal, *paths)
    assert journal.state == before
    return str(caught.value)


def test_all_kinds_of_answers_come_into_the_journal(journal: Journal, tmp_path: Path) -> None:
    assert accept(journal, file(tmp_path, held())) == ()
    tuned = {each: digest(each, "tuned") for each in CASES}
    shown = {each: (tuned[each], digest(each, "vanilla")) for each in CASES}
    assert journal.state.human_choices == (
        HumanChoice("1", shown["1"], "Ann", 1.0),
        HumanChoice("2", shown["2"], "Ann", 0.0, "both are bad"),
        HumanChoice("3", shown["3"], "Ann", None),
    )
    assert journal.state.ratings == (Rating("1", tuned["1"], "Tone", "Ann", 0.75),)
    assert journal.state.reason_checks == (
        ReasonCheck("2", tuned["2"], "Tone", "Ann", False, "no"),
    )


def test_pages_of_several_raters_and_a_template_are_read_together(
    journal: Journal, tmp_path: Path
) -> None:
    row = f"case_id,metric,completion_digest,rating,rater\n2,Tone,{digest('2', 'tuned')},1,Cy\n"
    paths = [
        file(tmp_path, held("a", "Ann")),
        file(tmp_path, held("b", "Bob"), "b.json"),
        file(tmp_path, other_person("Dan"), "d.json"),  # one page, two people
        file(tmp_path, row, "c.csv"),
    ]
    assert accept(journal, *paths) == ()
    state = journal.state
    assert {one.rater for one in state.human_choices} == {"Ann", "Bob", "Dan"}
    assert len(state.human_choices) == 9 and len(state.reason_checks) == 3
    assert [one.rater for one in state.ratings] == ["Ann", "Bob", "Dan", "Cy"]
    accept(journal, paths[3])  # new files take the place of all earlier ones
    assert (len(journal.state.ratings), journal.state.human_choices) == (1, ())
    assert journal.state.reason_checks == ()


def test_half_of_the_answers_are_taken_and_counted(journal: Journal, tmp_path: Path) -> None:
    some = held(answers=held()["answers"][:2])
    assert accept(journal, file(tmp_path, some)) == ("Ann answered 2 of the 5 items in a.json",)
    assert len(journal.state.human_choices) == 2


def test_what_a_rater_could_not_score_is_no_rating(journal: Journal, tmp_path: Path) -> None:
    assert len(accept(journal, file(tmp_path, held(answers=[{"item": "as", "value": None}])))) == 1
    assert journal.state.ratings == ()


def other_person(rater: str) -> dict[str, Any]:
    """Someone who says other things of Ann's page."""
    content = held("a", rater)
    content["answers"][0]["choice"] = content["answers"][1]["choice"] = "tie"
    return content


def test_one_page_under_two_names_is_refused(journal: Journal, tmp_path: Path) -> None:
    copy = held("a", "Bob")
    copy["answers"][0]["seconds"] = 9  # the item that was open when the name was changed
    text = refused(journal, file(tmp_path, held()), file(tmp_path, copy, "b.json"))
    assert text == (
        "b.json (Bob) and a.json (Ann) are answers to the same page, and 5 of 5 answers are the "
        "same, with the same times: this is one person; give only one of the files"
    )
    for answer in copy["answers"]:
        answer["seconds"] += 2.5
    (note,) = accept(journal, file(tmp_path, held()), file(tmp_path, copy, "b.json"))
    assert note.endswith(
        "5 of 5 answers are the same: if this is one person, give only one of the files"
    )


def test_comments_that_no_table_shows_are_counted(journal: Journal, tmp_path: Path) -> None:
    content = held()
    content["answers"][0] = {"item": "a0", "comment": "no sense", "seconds": 1}
    content["answers"][3]["comment"] = "half right"
    notes = accept(journal, file(tmp_path, content))
    assert notes == (
        "2 comments of Ann on single answers, or without a choice, cannot be kept: read them in "
        "a.json",
    )
    assert [one.case_id for one in journal.state.human_choices] == ["2", "3"]


def test_replaced_ratings_are_told(journal: Journal, tmp_path: Path) -> None:
    ann, bob = file(tmp_path, held()), file(tmp_path, held("b", "Bob"), "b.json")
    assert accept(journal, ann) == ()
    assert accept(journal, ann, bob) == ()  # nothing is lost
    assert accept(journal, bob) == (
        "this replaces 5 ratings of Ann; to keep them, give all files at once",
    )


@pytest.mark.parametrize("name", ["a.json", "A.JSON"])
@pytest.mark.parametrize("content", ["", " \n", "null", "3"])
def test_a_json_file_without_answers_is_no_csv(
    journal: Journal, tmp_path: Path, content: str, name: str
) -> None:
    text = refused(journal, file(tmp_path, content, name))
    assert "column" not in text and ("is empty" in text or "its format is not" in text)


def with_answer(**answer: object) -> dict[str, Any]:
    return held(answers=[{"item": "a0", "choice": "tie"}, answer])


UNREADABLE = {
    "another format": (held(format="x"), "its format is not 'finetune-verdict-ratings'"),
    "no object": ([], "its format is not"),
    "another version": (held(version=2), "version 2 is not 1"),
    "a version of a wrong type": (held(version=True), "version True is not 1"),
    "no page": (held(page=7), "it does not say of which page it is"),
    "no rater": (held(rater=None), "it does not say who the rater is"),
    "an empty rater": (held(rater=" \u202e "), "is no name"),
    "a rater nobody sees": (held(rater="\u200b\u3164"), "no letter that can be seen"),
    "a rater with controls": (held(rater="a\x00"), "has characters that nobody can read"),
    "a long rater": (held(rater="a" * 101), "is longer than 100 characters"),
    "no answers": (held(answers={}), "it has no list of answers"),
    "an empty list": (held(answers=[]), "it has no answer: nothing was rated yet"),
    "an answer of a wrong type": (held(answers=[3]), "answer 1: 3 is no answer"),
    "no item": (with_answer(choice="tie"), "answer 2: it does not say which item it answers"),
    "an item of a wrong type": (with_answer(item=[], choice="tie"), "answer 2: it does not say"),
    "a bad choice": (
        with_answer(item="a1", choice="left"),
        "answer 2: choice 'left' is none of first, second, tie, cant_tell",
    ),
    "a choice of a wrong type": (with_answer(item="a1", choice=["first"]), "choice ['first'] is"),
    "a bad reason": (with_answer(item="ar", reason=True), "reason True is none of right, wrong"),
    "nothing said": (with_answer(item="a1"), "it needs one of choice, value, reason, and has none"),
    "two things said": (with_answer(item="as", choice="tie", value=1), "has choice, value"),
    "a value as text": (with_answer(item="as", value="1"), "value '1' is not a number"),
    "a value that is true": (with_answer(item="as", value=True), "value True is not a number"),
    "a huge value": (with_answer(item="as", value=10**400), "is not a number"),
    "a comment of a wrong type": (
        with_answer(item="a1", choice="tie", comment=None),
        "comment None is no text",
    ),
    "a long comment": (
        with_answer(item="a1", choice="tie", comment="x" * 10_001),
        "its comment is longer than 10,000 characters",
    ),
    "time that runs back": (with_answer(item="a1", choice="tie", seconds=-1), "seconds -1 is not"),
    "endless time": (with_answer(item="a1", choice="tie", seconds=10**9), "from 0 to 10,000,000"),
    "an item twice": (with_answer(item="a0", choice="tie"), "item 'a0' has answer 1 already"),
    "NaN": ('{"format": NaN}', "NaN is no number"),
    "infinity": (json.dumps(with_answer(item="as", value=float("inf"))), "Infinity is no number"),
    "too large to be finite": (
        json.dumps(with_answer(item="as", value=7.25)).replace("7.25", "1e999"),
        "value inf is not a number",
    ),
    "a number of 5,000 digits": (
        f'{{"version": {"9" * 5000}}}',
        "a number of 5,000 digits is too long",
    ),
    "a name twice": ('{"page": "a", "page": "b"}', "'page' stands twice in one object"),
    "half a file": (json.dumps(held())[:90], "download the answers again"),
    "a deep file": ("[" * 100_000, "download the answers again"),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_a_file_that_no_page_wrote_is_refused(journal: Journal, tmp_path: Path, what: str) -> None:
    content, said = UNREADABLE[what]
    text = refused(journal, file(tmp_path, content))
    assert said in text and "is not what a rating page downloads" in text
    assert "\u202e" not in text and len(text) < 600


UNFIT = {
    "an unknown page": (held(page="z"), "page 'z' belongs to another run"),
    "an item of another page": (with_answer(item="b1", choice="tie"), "item 'b1' is not on its"),
    "an unknown item": (with_answer(item="x" * 999, choice="tie"), "is not on its page"),
    "a choice for a reason": (with_answer(item="ar", choice="tie"), "item 'ar' is a reason"),
    "a value for a pair": (with_answer(item="a1", value=1), "is a pair, and the answer is for"),
    "a value beyond the scale": (with_answer(item="as", value=1.5), "value 1.5 is not from 0 to 1"),
    "a negative value": (with_answer(item="as", value=-0.1), "value -0.1 is not from 0 to 1"),
}


@pytest.mark.parametrize("what", UNFIT)
def test_a_file_that_does_not_fit_the_run_is_refused(
    journal: Journal, tmp_path: Path, what: str
) -> None:
    content, said = UNFIT[what]
    text = refused(journal, file(tmp_path, content))
    assert said in text and "does not fit this run:" in text and "no rating of this file" in text
    assert len(text) < 600


def test_completions_that_changed_are_stale(journal: Journal, tmp_path: Path) -> None:
    path = file(tmp_path, held())
    journal.add_answer("2 tuned again", completion("something else", "2", "tuned"))
    text = refused(journal, path)
    assert text.count("stale: the completion has changed since it was rated") == 2
    assert "answer 2: item 'a1' shows a completion of case 2" in text and "answer 5:" in text


def test_everything_wrong_in_all_files_is_told_at_once(journal: Journal, tmp_path: Path) -> None:
    paths = [
        file(tmp_path, held()),
        file(tmp_path, with_answer(item="as", value=9), "bad.json"),
        file(tmp_path, "case_id,metric,completion_digest,rating,rater\n9,Tone,x,1,Ann\n", "c.csv"),
    ]
    text = refused(journal, *paths)
    assert "bad.json does not fit" in text and "c.csv does not fit" in text
    assert "a.json does not fit" not in text and "no rating of these files was used" in text
    assert "line 2: case '9'" in text
    many = held(answers=[{"item": f"x{i}", "choice": "tie"} for i in range(50)])
    assert "and 30 more" in refused(journal, file(tmp_path, many))
    two = [file(tmp_path, "{", "1.json"), str(tmp_path / "none.json")]
    with pytest.raises(OptionError) as caught:
        read_rating_files(two)
    assert [name in str(caught.value) for name in ("1.json", "none.json")] == [True, True]


@pytest.mark.parametrize("again", ["Ann", "A\u200cnn\u200b", "ann", " A\u200fnn ", "\uff21nn"])
def test_one_rater_twice_is_refused(journal: Journal, tmp_path: Path, again: str) -> None:
    first = file(tmp_path, held("a", "Ann"))
    for page, content in (("a", held("a", again)), ("b", held("b", again))):
        text = refused(journal, first, file(tmp_path, content, f"again-{page}.json"))
        assert "rated 5 items in a.json, too: give only the newer file" in text
    assert "5 items in a.json" in refused(journal, first, first)


def test_one_rater_may_rate_in_several_sittings(journal: Journal, tmp_path: Path) -> None:
    answers = held("b")["answers"]
    paths = [
        file(tmp_path, held("a", answers=held()["answers"][:2])),
        file(tmp_path, held("b", answers=answers[2:]), "b.json"),
    ]
    assert len(accept(journal, *paths)) == 2
    assert len(journal.state.human_choices) == 3


def test_a_template_and_a_page_may_not_hold_the_same_rating(
    journal: Journal, tmp_path: Path
) -> None:
    row = f"case_id,metric,completion_digest,rating,rater\n1,Tone,{digest('1', 'tuned')},1,ANN\n"
    text = refused(journal, file(tmp_path, held()), file(tmp_path, row, "c.csv"))
    assert "ANN rated 1 item in a.json, too" in text


def test_names_and_comments_are_kept_as_they_can_be_shown(journal: Journal, tmp_path: Path) -> None:
    answers = [{"item": "a0", "choice": "tie", "comment": " half \ud800 pair\u202e\n</script> "}]
    accept(journal, file(tmp_path, held(rater="\u202eZo\u0065\u0308  B ", answers=answers)))
    (choice,) = journal.state.human_choices
    assert choice.rater == "Zo\u00eb B" and choice.comment == "half ? pair\u202e\n</script>"

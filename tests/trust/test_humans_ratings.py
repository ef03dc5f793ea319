from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from plugin import metrics
from plugin.errors import OptionError
from plugin.journal import Journal
from plugin.records import Variant
from plugin.run_facts import RunHeader
from plugin.trust.humans import (
    _COLUMNS,
    Rating,
    completion_digest,
    export_ratings,
    rating_template,
)
from plugin.trust.rating_files import accept_ratings, read_rating_files
from tests.samples import case, completion

SPECS = [metric.spec for metric in metrics.load(["Correctness", "Hallucination", "Token F1"])]
CORRECTNESS = SPECS[0]
N_CASES = 20


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """Twenty cases; both variants say the same on case 0, and case 19 has one completion."""
    made = Journal(tmp_path)
    cases = [case(str(i), input=f"Who is {i}?") for i in range(N_CASES)]
    variants = tuple(Variant(name, name, "m") for name in ("vanilla", "tuned"))
    header = RunHeader("r", {}, {}, {}, variants, tuple(SPECS), "Correctness", "offline")
    made.begin(header, cases, ())
    for i in range(N_CASES):
        for name in ("vanilla", "tuned")[: 1 if i == N_CASES - 1 else 2]:
            text = "Nobody knows." if i == 0 else f'{name} says\n{i}, \u00fcber "all"'
            made.add_answer(f"{i} {name}", completion(text, str(i), name))
    return made


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"))))


def drawn(journal: Journal, tmp_path: Path, n: int = 5, seed: int = 0) -> list[dict[str, str]]:
    path, _ = export_ratings(journal, SPECS, n, seed, tmp_path)
    found = rows(path)
    path.unlink()
    return found


def test_the_template_holds_whole_pairs_and_no_names(journal: Journal, tmp_path: Path) -> None:
    found = drawn(journal, tmp_path, n=100)
    assert list(found[0]) == _COLUMNS
    assert {row["metric"] for row in found} == {"Correctness", "Hallucination"}
    own = [row for row in found if row["metric"] == "Correctness"]
    assert [row["metric"] for row in found[: len(own)]] == ["Correctness"] * len(own)
    assert len(own) == 2 * (N_CASES - 2) + 1  # the same words are rated once
    assert {row["case_id"] for row in own} == {str(i) for i in range(N_CASES - 1)}
    for row in own:
        texts = {
            completion_digest(each): each.text
            for (case_id, _), each in journal.completions().items()
            if case_id == row["case_id"]
        }
        assert texts[row["completion_digest"]] == row["output"]
        assert (row["input"], row["rating"], row["rater"]) == (f"Who is {row['case_id']}?", "", "")


def test_raters_see_the_context_where_the_judge_does() -> None:
    own = metrics.load(["Correctness", "Hallucination", "Faithfulness", "Answer Relevancy"])
    made = {("1", "vanilla"): completion("Ann plays him.")}
    cases = [case(context=("Ann plays him.", "=Bob plays her."))]
    text = rating_template(cases, made, [metric.spec for metric in own], 0)
    shown = {row["metric"]: row["context"] for row in csv.DictReader(io.StringIO(text))}
    both = "[1] Ann plays him.\n\n[2] =Bob plays her."
    assert shown == {
        "Correctness": "",
        "Hallucination": both,
        "Faithfulness": both,
        "Answer Relevancy": "",
    }
    one = rating_template([case(context=("=1+1",))], made, [own[1].spec], 0)
    assert next(csv.DictReader(io.StringIO(one)))["context"] == "'=1+1"


def test_the_draw_follows_the_seed_and_is_recorded(journal: Journal, tmp_path: Path) -> None:
    first, again = drawn(journal, tmp_path), drawn(journal, tmp_path)
    assert first == again
    ids = {row["case_id"] for row in first}
    assert len(ids) == 5 and set(journal.state.drawn_for_rating) == ids
    other = {row["case_id"] for row in drawn(journal, tmp_path, seed=1)}
    assert other != ids and set(journal.state.drawn_for_rating) == ids | other


def test_neither_order_nor_place_tells_whose_completion_a_row_shows(
    journal: Journal, tmp_path: Path
) -> None:
    found = [row for row in drawn(journal, tmp_path, n=100) if row["metric"] == "Correctness"]
    ids = [row["case_id"] for row in found]
    assert ids != sorted(ids) and ids != sorted(ids, key=int)
    first_shown = {row["case_id"]: row["output"].split()[0] for row in reversed(found)}
    n_tuned = sum(name == "tuned" for name in first_shown.values())
    assert 3 < n_tuned < 15


def test_a_template_is_never_written_over(journal: Journal, tmp_path: Path) -> None:
    export_ratings(journal, SPECS, 5, 0, tmp_path)
    with pytest.raises(OptionError, match="exists already and may contain ratings.*move it away"):
        export_ratings(journal, SPECS, 5, 1, tmp_path)


def test_nothing_to_rate_says_so(journal: Journal, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no metric asked a judge"):
        export_ratings(journal, SPECS[2:], 5, 0, tmp_path)
    journal._query("DELETE FROM answers")
    with pytest.raises(OptionError, match="no case has completions of all variants yet"):
        export_ratings(journal, SPECS, 5, 0, tmp_path)


@pytest.mark.parametrize("text", ["=1+1", "-1+1", "+x", "@x", "\tx"])
def test_no_cell_is_a_formula(text: str) -> None:
    made = {("1", "vanilla"): completion(text)}
    (row,) = csv.DictReader(io.StringIO(rating_template([case()], made, [CORRECTNESS], 0)))
    assert row["output"] == f"'{text}"


def test_digests_are_no_numbers_to_a_spreadsheet() -> None:
    digests = {completion_digest(completion(str(i))) for i in range(100)}
    assert len(digests) == 100 and all(digest.startswith("out-") for digest in digests)
    assert completion_digest(completion("x", "1")) != completion_digest(completion("x", "2"))


def written(tmp_path: Path, *lines: str, head: str = "", encoding: str = "utf-8") -> Path:
    path = tmp_path / "rated.csv"
    head = head or "case_id,metric,completion_digest,rating,rater"
    path.write_text("\n".join((head, *lines)) + "\n", encoding=encoding)
    return path


def digest(journal: Journal, case_id: str, variant: str = "tuned") -> str:
    return completion_digest(journal.completions()[case_id, variant])


def accept(journal: Journal, path: Path) -> tuple[Rating, ...]:
    accept_ratings(read_rating_files([str(path)]), journal)
    return journal.state.ratings


def test_a_filled_template_comes_back(journal: Journal, tmp_path: Path) -> None:
    path, _ = export_ratings(journal, SPECS, 3, 0, tmp_path)
    filled = rows(path)
    for number, row in enumerate(filled):
        if number != 2:  # one is left out
            row |= {"rating": "0.5", "rater": "ann"}
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS)
    writer.writeheader()
    writer.writerows(filled)
    path.write_text(text.getvalue(), encoding="utf-8-sig")
    found = accept(journal, path)
    assert len(found) == len(filled) - 1
    assert journal.state.ratings == found
    assert {rating.value for rating in found} == {0.5}


def test_what_spreadsheets_make_of_it_is_read(journal: Journal, tmp_path: Path) -> None:
    path = written(
        tmp_path,
        f"3;Correctness;{digest(journal, '3')};0,75;ann",
        head="case_id;metric;completion_digest;rating;rater",
        encoding="utf-8-sig",
    )
    assert [rating.value for rating in accept(journal, path)] == [0.75]


def test_everything_that_is_wrong_is_listed_at_once_and_nothing_taken(
    journal: Journal, tmp_path: Path
) -> None:
    good = digest(journal, "3")
    path = written(
        tmp_path,
        f"99,Correctness,{good},1,ann",
        f"4,Correctness,{good},1,ann",
        f"3,Politeness,{good},1,ann",
        f"3,Token F1,{good},1,ann",
        f"3,Correctness,{good},5,ann",
        f"3,Correctness,{good},nan,ann",
        f"3,Correctness,{good},good,ann",
        f"3,Correctness,{good},1,",
        f"3,Correctness,{good},0.5,bob",
        f"3,correctness,{good},0.6,bob",
        f"3,Correctness,{good},,",
    )
    with pytest.raises(OptionError) as caught:
        accept(journal, path)
    text = str(caught.value)
    listed = [line.strip() for line in text.splitlines()[1:-1]]
    named = [
        ("line 2:", "case '99'"),
        ("line 3:", f"{good!r}", "case 4", "stale"),
        ("line 4:", "metric 'Politeness'", "Correctness, Hallucination"),
        ("line 5:", "metric 'Token F1'", "Correctness, Hallucination"),
        ("line 6:", "rating '5'", "from 0 to 1"),
        ("line 7:", "rating 'nan'", "from 0 to 1"),
        ("line 8:", "rating 'good'", "from 0 to 1"),
        ("line 9:", "rater"),
        ("line 11:", "bob", "line 10"),
    ]
    assert len(listed) == len(named)
    for line, parts in zip(listed, named, strict=True):
        assert line.startswith(parts[0]) and all(part in line for part in parts), line
    assert "these rows" in text.splitlines()[-1]
    assert journal.state.ratings == ()


@pytest.mark.parametrize("rater", ["\u200b", "\u3164", "a\x07b", "a" * 101])
def test_a_name_in_a_template_follows_the_rules_of_pages(
    journal: Journal, tmp_path: Path, rater: str
) -> None:
    path = written(tmp_path, f"3,Correctness,{digest(journal, '3')},1,{rater}")
    with pytest.raises(OptionError, match="line 2: the rater '"):
        accept(journal, path)


def test_two_spellings_of_a_name_are_one_rater(journal: Journal, tmp_path: Path) -> None:
    row = f"3,Correctness,{digest(journal, '3')},1,"
    assert accept(journal, written(tmp_path, f"{row} \uff21nn\u200b "))[0].rater == "\uff21nn"
    with pytest.raises(OptionError, match="already rated this on line 2"):
        accept(journal, written(tmp_path, f"{row}Ann", f"{row}\u202eann"))


@pytest.mark.parametrize("text", ["0_1", "\uff11", "1e", "0x1", "+-1", "1 0", "infinity"])
def test_only_plain_numbers_are_ratings(journal: Journal, tmp_path: Path, text: str) -> None:
    path = written(tmp_path, f"3,Correctness,{digest(journal, '3')},{text},ann")
    with pytest.raises(OptionError, match="is not a number from 0 to 1"):
        accept(journal, path)


def test_many_problems_are_cut_short(journal: Journal, tmp_path: Path) -> None:
    path = written(tmp_path, *(f"{i},Correctness,out-x,1,ann" for i in range(100, 150)))
    with pytest.raises(OptionError, match="and 30 more"):
        accept(journal, path)


def test_an_unrated_template_is_no_ratings_file(journal: Journal, tmp_path: Path) -> None:
    path, _ = export_ratings(journal, SPECS, 3, 0, tmp_path)
    with pytest.raises(OptionError, match="no row has a rating"):
        accept(journal, path)


def test_a_file_that_is_none_says_so(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="No such file"):
        read_rating_files([str(tmp_path / "none.csv")])
    with pytest.raises(OptionError, match="no column completion_digest, rater; start from the"):
        written(tmp_path, "1,Correctness,1", head="case_id,metric,rating")
        read_rating_files([str(tmp_path / "rated.csv")])
    (tmp_path / "bad.csv").write_bytes(b"case_id\xff\xfe")
    with pytest.raises(OptionError, match="give a CSV file in UTF-8"):
        read_rating_files([str(tmp_path / "bad.csv")])


def test_later_ratings_take_the_place_of_earlier_ones(journal: Journal, tmp_path: Path) -> None:
    for value in ("0.2", "0.9"):
        accept(journal, written(tmp_path, f"3,Correctness,{digest(journal, '3')},{value},ann"))
    assert [rating.value for rating in journal.state.ratings] == [0.9]

"""What counts as personal data, and what does not; masked in every text of what is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plugin.caseset.personal import KINDS, PersonalCount, find_personal, mask_text, shape_of
from tests.caseset.samples import questions, write_rows
from tests.e2e.conftest import main

MAIL, PHONE, CARD = "anna.k+x@mail.example.org", "+49 30 1234567", "4111 1111 1111 1111"
IBAN = "DE89 3704 0044 0532 0130 00"

PERSONAL = [
    ("Write to anna@example.com.", "Write to [email]."),
    ("mail: <bob_b.c+news@sub.example.co.uk>, thanks", "mail: <[email]>, thanks"),
    ("jürgen@müller.de schrieb", "[email] schrieb"),
    ("ask ops@example.com or a@b.io!", "ask [email] or [email]!"),
    ("Call +49 30 1234567 now", "Call [phone] now"),
    ("+1 (555) 123-4567 is mine", "[phone] is mine"),
    ("+33 1 23 45 67 89", "[phone]"),
    ("+44 (0)20 7946 0958.", "[phone]."),
    ("0044 20 7946 0958", "[phone]"),
    ("(555) 234-5678 or 555-234-5678", "[phone] or [phone]"),
    ("555.234.5678 works", "[phone] works"),
    ("Tel. 030 1234567", "Tel. [phone]"),
    ("0171-1234567 or 0171/1234567", "[phone] or [phone]"),
    ("01 23 45 67 89", "[phone]"),
    ("020 7946 0958 in London", "[phone] in London"),
    ("phone: 5552345678", "phone: [phone]"),
    ("Call me at 5552345678 please", "Call me at [phone] please"),
    ("my number, whatsapp 919876543210", "my number, whatsapp [phone]"),
    ("card 4111 1111 1111 1111 declined", "card [card] declined"),
    ("4111111111111111", "[card]"),
    ("5500-0000-0000-0004", "[card]"),
    ("amex 3782 822463 10005", "amex [card]"),
    ("to DE89 3704 0044 0532 0130 00 please", "to [iban] please"),
    ("GB29NWBK60161331926819", "[iban]"),
    ("FR14 2004 1010 0505 0001 3M02 606", "[iban]"),
]

NOT_PERSONAL = [
    *("order 123456789", "Order #4111111111111112", "invoice 2024-0012345", "ticket 5552345678"),
    *("2024-05-12", "12.05.2024", "05/12/2024", "on 2024/05/12 at 10:30", "01-02-2024"),
    *("2024-05-12T10:30:00Z", "10:30:15", "2019-2024", "from 1999 to 2024", "12 05 2024"),
    *("version 1.2.3.4", "192.168.10.254", "v10.15.7", "python 3.11.4", "10.0.19045.4291"),
    *("3.14159265358979", "1,234,567.89", "1 234 567 890", "0.123456789", "$555.234.5678"),
    *("4111 1111 1111 1112", "1234567890123456", "0000000000000000", "5 x 10 + 12345"),
    *("ISBN 978-3-16-148410-0", "EAN 4006381333931", "sha 9f86d081884c7d659a2feaa0c55ad015"),
    *("What is 555 times 123?", "call 911", "call 2024", "text 3 times", "7 + 8 - 1234567"),
    *("DE89 3704 0044 0532 0130 01", "AB12 CDEF", "user @ home", "a@b", "@anna", "x@1.2"),
    *("call it 2024-05-12 then", "1e+12345678", "2+345678901234", "room 0815", "007", "0 to 100"),
    *("+12.5%", "+100", "0049", "H2O 100", "1080p 60fps", "GTX 1660 6144", "52.520008, 13.404954"),
    *("id 550e8400-e29b-41d4-a716-446655440000", "17-0401-2023-0001", "100-200-3000", "UTC+01:00"),
]


@pytest.mark.parametrize(("text", "masked"), PERSONAL)
def test_personal_data_are_found(text: str, masked: str) -> None:
    assert mask_text(text) == masked
    assert mask_text(masked) == masked


@pytest.mark.parametrize("text", NOT_PERSONAL)
def test_other_numbers_stay(text: str) -> None:
    assert find_personal(text) == []


def test_what_is_shown_gives_nothing_away() -> None:
    for text, kind in ((MAIL, "email"), (PHONE, "phone"), (CARD, "card"), (IBAN, "iban")):
        shown = shape_of(text, kind)
        assert not any(part in shown for part in ("anna", "mail", "1234", "111", "3704"))
    assert shape_of(MAIL, "email") == "a…@….org" and shape_of(PHONE, "phone") == "+4x xx xxxxxxx"
    assert set(KINDS) == {"email", "phone", "card", "iban"}


def test_counts_say_how_many_rows_and_where() -> None:
    found = PersonalCount()
    found.add(["nothing", f"{MAIL} and {MAIL}"], "a.jsonl, row 1")
    found.add([f"call {PHONE}"], "a.jsonl, row 2")
    (line,) = found.lines(masked=False)
    assert (
        "personal data in 2 rows: 2 e-mail addresses (a…@….org in a.jsonl, row 1); 1 phone" in line
    )
    assert "--mask_personal replaces them" in line and "mail.example" not in line


def test_a_text_of_many_signs_takes_no_time() -> None:
    for text in ("a" * 50_000, "1 " * 50_000, "a." * 30_000 + "@", "+1-" * 30_000, "0 " * 50_000):
        find_personal(text)


def test_folds_are_masked_everywhere(tmp_path: Path) -> None:
    rows = [
        {"input": f"{text} {MAIL}", "expected_output": f"{answer} {PHONE}", "note": [CARD]}
        for text, answer in zip(questions(24), questions(24, 9), strict=True)
    ]
    name, out = write_rows(tmp_path / "a.jsonl", rows), tmp_path / "folds"
    words = ("cases", "build", name, "--folds", "2", "--out", str(out))
    ended = main(*words)
    assert ended.code == 0 and "24 e-mail addresses (a…@….org in a.jsonl, row " in ended.out
    assert "--mask_personal replaces them" in ended.out and MAIL not in ended.out
    ended = main(*words, "--mask_personal")
    assert ended.code == 0 and "replaced by [email]" in ended.out
    text = "".join(file.read_text() for file in out.rglob("*.json*"))
    assert "@" not in text and "1234567" not in text and "4111" not in text
    first = json.loads((out / "fold_1" / "train.jsonl").read_text().splitlines()[0])
    assert first["note"] == ["[card]"] and "[phone]" in first["completion"]


def test_a_set_is_masked_and_grows(tmp_path: Path) -> None:
    """The next version knows the masked cases again, and adds none of them twice."""
    rows = [{"input": f"{text} Ask {MAIL}.", "about": PHONE} for text in questions(14)]
    name, out = write_rows(tmp_path / "a.jsonl", rows), tmp_path / "set"
    words = ("cases", "build", name, "--out", str(out), "--topics", "1", "--mask_personal")
    assert main(*words, "--n", "10").code == 0
    ended = main(*words, "--n", "14")
    assert ended.code == 0 and "4 added, 0 dropped, 10 kept" in ended.out
    text = "".join(file.read_text() for file in out.rglob("*.json*"))
    assert "@" not in text and "1234567" not in text and "[email]" in text
    plain = main("cases", "build", name, "--out", str(tmp_path / "b"), "--topics", "1")
    assert "personal data in 14 rows: 14 e-mail addresses" in plain.out


def test_tests_of_code_are_masked_and_pointed_out(tmp_path: Path) -> None:
    kinds = [[f"assert f('{MAIL}')"], [{"input": f"{MAIL}\n", "output": "yes"}]]
    for at, tests in enumerate(kinds):
        rows = [
            {"input": text, "expected_output": "x", "tests": tests} for text in questions(12, at)
        ]
        name = write_rows(tmp_path / f"{at}.jsonl", rows)
        for more in ((), ("--folds", "2")):
            out = tmp_path / f"out{at}{len(more)}"
            ended = main("cases", "build", name, *more, "--mask_personal", "--out", str(out))
            assert ended.code == 0, ended.err
            assert "the tests of 12 rows were changed by it: check that right code" in ended.out
            text = "".join(file.read_text() for file in out.rglob("*.json*"))
            assert "@" not in text and "[email]" in text


def test_masking_hides_no_training_row(tmp_path: Path) -> None:
    """A short question is compared with the training data as it was, not as it is written."""
    rows = [{"input": f"Who is {MAIL}?"}, *({"input": text} for text in questions(4))]
    name = write_rows(tmp_path / "a.jsonl", rows)
    train = write_rows(tmp_path / "t.jsonl", [{"input": f"Who is {MAIL}?", "output": "Anna"}])
    words = ("--train", train, "--topics", "1", "--mask_personal", "--out", str(tmp_path / "o"))
    ended = main("cases", "build", name, *words)
    assert ended.code == 0 and "dropped: 1 stands in the training data" in ended.out


def test_topics_are_not_named_after_personal_data(tmp_path: Path) -> None:
    """Their names are printed, also where nothing is masked."""
    mails = ["anna@aaa.example.org", "bertha@bbb.example.org", "cora@ccc.example.org"]
    rows = [{"input": f"{text} {mails[n % 3]}"} for n, text in enumerate(questions(30))]
    name = write_rows(tmp_path / "a.jsonl", rows)
    words = ("--topics", "3", "--n", "30", "--out", str(tmp_path / "o"))
    ended = main("cases", "build", name, *words)
    assert ended.code == 0, ended.err
    assert not any(part in ended.out for part in ("anna", "bertha", "cora", "bbb", "example"))
    assert mails[1] in (tmp_path / "o" / "cases.jsonl").read_text()

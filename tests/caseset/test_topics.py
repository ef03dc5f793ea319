"""Topics: found, named, kept in a next version, and done without."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest

from plugin.caseset import topics
from plugin.caseset.records import EARLIER, ONE_TOPIC, BuildRequest, PoolRow
from plugin.caseset.repeats import in_order
from plugin.caseset.topics import NO_GROUP, OTHER, find_topics, terms_of, usual_number
from plugin.errors import OptionError
from tests.caseset.samples import pool_row, questions

THEMES = {
    "delivery": "parcel courier tracking warehouse delay address".split(),
    "billing": "invoice refund payment card charge receipt".split(),
    "login": "password username reset profile verification code".split(),
}
CHINESE = {"天气": "今天北京的天气怎么样会下雨吗", "航班": "我想改签明天飞往上海的航班座位"}
REQUEST = BuildRequest(("pool.jsonl",), "set", n_topics=3)


def themed(n: int, seed: int = 0) -> list[tuple[str, PoolRow]]:
    rng, found = random.Random(seed), []
    for number in range(n):
        name = list(THEMES)[number % len(THEMES)]
        words = " ".join(rng.sample(THEMES[name], 4))
        found.append((name, pool_row(f"How can I {words} before {number} o'clock please?")))
    return found


def agreement(rows: tuple[PoolRow, ...], truth: dict[str, str]) -> float:
    """Share of the rows in the most usual theme of their topic."""
    by_topic: dict[str, Counter[str]] = {}
    for row in rows:
        by_topic.setdefault(row.topic, Counter())[truth[row.key]] += 1
    return sum(counts.most_common(1)[0][1] for counts in by_topic.values()) / len(rows)


def test_topics_are_found_and_named_after_their_words() -> None:
    truth = {row.key: name for name, row in themed(120)}
    rows, notes = find_topics(in_order(row for _, row in themed(120)), REQUEST)
    assert agreement(rows, truth) == 1 and not notes
    names = {row.topic for row in rows}
    assert len(names) == 3
    for name in names:
        assert any(set(name.split(", ")) <= set(words) for words in THEMES.values())
    again, _ = find_topics(in_order(row for _, row in themed(120)), REQUEST)
    assert again == rows


def test_signs_of_scripts_without_spaces_are_read_in_pairs() -> None:
    assert list(terms_of("今天天气")) == ["今天", "天天", "天气"]
    assert list(terms_of("How is the weather today? 42")) == ["weather", "today"]
    rng, truth, rows = random.Random(0), {}, []
    for number in range(40):
        name = list(CHINESE)[number % 2]
        text = list(CHINESE[name])
        text[rng.randrange(len(text))] = rng.choice("春夏秋冬")
        rows.append(pool_row("".join(text) + str(number)))
        truth[rows[-1].key] = name
    found, _ = find_topics(in_order(rows), replace(REQUEST, n_topics=2))
    assert agreement(found, truth) == 1


def test_mixed_languages_are_told_apart() -> None:
    rows = [row for _, row in themed(60)]
    rows += [pool_row(f"{text}{number}号") for number in range(20) for text in CHINESE.values()]
    truth = {row.key: name for name, row in themed(60)}
    found, _ = find_topics(in_order(rows), replace(REQUEST, n_topics=5))
    assert agreement(found, {row.key: truth.get(row.key, "zh") for row in rows}) > 0.95


def test_a_question_with_words_of_its_own_is_in_no_topic_of_others() -> None:
    rows = in_order([*(row for _, row in themed(60)), pool_row("Xylophon Quark Zwetschge?")])
    found, _ = find_topics(rows, REQUEST)
    (alone,) = [row for row in found if "Quark" in row.case.input]
    assert alone.topic == OTHER and len({row.topic for row in found}) == 4


def test_more_topics_than_different_questions_are_not_made_up(
    recwarn: pytest.WarningsRecorder,
) -> None:
    rows = [pool_row(f"parcel {word}") for word in ("late", "lost", "wet")] * 4
    found, _ = find_topics(in_order(rows), replace(REQUEST, n_topics=9))
    assert len({row.topic for row in found}) <= 3 and not recwarn.list


def test_a_next_version_keeps_its_topics_and_their_names() -> None:
    truth = {row.key: name for name, row in [*themed(90), *themed(60, 1)]}
    first, _ = find_topics(in_order(row for _, row in themed(90)), REQUEST)
    earlier = [replace(row, place=EARLIER) for row in first[:30]]
    new = [row for _, row in themed(60, 1)]
    second, _ = find_topics(in_order([*earlier, *new]), replace(REQUEST, n_topics=None))
    topic_of = {row.key: row.topic for row in second}
    assert all(topic_of[row.key] == row.topic for row in earlier)
    assert {row.topic for row in second} == {row.topic for row in earlier}
    assert agreement(second, truth) == 1
    with pytest.raises(OptionError, match="--topics 5: the set in set has 3 topics"):
        find_topics(in_order([*earlier, *new]), replace(REQUEST, n_topics=5))


def test_a_set_without_topics_gets_some_when_it_has_grown() -> None:
    earlier = [replace(row, place=EARLIER, topic=ONE_TOPIC) for _, row in themed(9)]
    rows, _ = find_topics(in_order([*earlier, *(row for _, row in themed(60, 1))]), REQUEST)
    assert len({row.topic for row in rows}) == 3 and ONE_TOPIC not in {row.topic for row in rows}


def test_without_scikit_learn_there_is_one_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "find_spec", lambda name: None)
    rows = in_order(row for _, row in themed(60))
    found, (note,) = find_topics(rows, replace(REQUEST, n_topics=None))
    assert {row.topic for row in found} == {ONE_TOPIC}
    assert "pip install -r requirements-cases.txt" in note
    with pytest.raises(OptionError, match="--topics needs scikit-learn: pip install"):
        find_topics(rows, REQUEST)
    assert find_topics(rows, replace(REQUEST, n_topics=1))[1] == ()
    known = [replace(rows[0], topic="a", place=EARLIER), replace(rows[1], topic="b", place=EARLIER)]
    with pytest.raises(OptionError, match="the topics of set need scikit-learn"):
        find_topics([*known, *rows[2:]], replace(REQUEST, n_topics=None))


def test_groups_may_be_the_topics() -> None:
    rows = [pool_row(text, group=("a", "b", None)[n % 3]) for n, text in enumerate(questions(9))]
    found, _ = find_topics(rows, replace(REQUEST, by_group=True, n_topics=None))
    assert Counter(row.topic for row in found) == {"a": 3, "b": 3, NO_GROUP: 3}
    with pytest.raises(OptionError, match="--by_group: no row has a group"):
        find_topics([pool_row("Why?")], replace(REQUEST, by_group=True))


def test_questions_without_words_are_one_topic() -> None:
    found, (note,) = find_topics([pool_row(f"{n} + {n}?") for n in range(30)], REQUEST)
    assert {row.topic for row in found} == {ONE_TOPIC} and "no words in common" in note


def test_the_usual_number_of_topics_is_bounded() -> None:
    assert [usual_number(n) for n in (2, 19, 20, 100, 400, 1_000, 1_440, 10**6)] == [
        *(1, 1, 2, 3, 6, 10, 12, 12)
    ]
    with pytest.raises(OptionError, match="--topics 40 must be from 1 to 3"):
        find_topics([pool_row(text) for text in questions(3)], replace(REQUEST, n_topics=40))

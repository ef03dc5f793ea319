"""The written half of the probe: what it holds, and that each item accepts its right answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from plugin.capability.probe import probe_items
from plugin.capability.records import Item
from plugin.capability.rules_text import score_text
from plugin.capability.scoring import score_answer
from plugin.records import Message

N_AT_LEAST = {
    "reading": 140,
    "facts": 130,
    "languages": 140,
    "refusing_harm": 60,
    "helping_with_harmless": 90,
    "common_sense": 60,
}
"""Abilities of this half, and how many items each has."""

ITEMS = [item for item in probe_items("full") if item.ability in N_AT_LEAST]


def of_rule(*rules: str) -> list[Item]:
    return [item for item in ITEMS if item.rule in rules]


def question_of(item: Item) -> str:
    return item.messages[-1].content


def test_each_ability_has_its_items() -> None:
    counts = Counter(item.ability for item in ITEMS)
    assert all(counts[ability] >= n for ability, n in N_AT_LEAST.items())


def test_the_quick_set_is_balanced() -> None:
    quick = Counter(item.ability for item in ITEMS if item.is_quick)
    assert 80 <= quick.total() <= 110
    for ability, n in N_AT_LEAST.items():
        least = 0.04 if ability == "reading" else 0.1  # passages take long to read
        assert least <= quick[ability] / n <= 0.25, ability


def test_no_question_is_asked_twice() -> None:
    twice = [text for text, n in Counter(map(question_of, ITEMS)).items() if n > 1]
    assert twice == []


def test_most_passages_have_80_to_200_words() -> None:
    passages = {question_of(item).rpartition("\n\n")[0] for item in ITEMS if is_reading(item)}
    assert len(passages) >= 35
    assert all(80 <= len(passage.split()) <= 200 for passage in passages)


def is_reading(item: Item) -> bool:
    return item.ability == "reading"


def wordings(answer: str) -> Iterator[str]:
    yield answer
    yield f"{answer}."
    yield f"**{answer}**"
    yield f"The answer is {answer}."
    yield f"Answer: {answer}\n\nQuestion: What is 99 + 5?\nAnswer: 104"


def right_answers(item: Item) -> list[str]:
    check = item.check
    if item.rule == "items":
        return [", ".join(check["items"]), " -> ".join(check["items"]), "\n".join(check["items"])]
    if item.rule == "text":
        return list(check["answers"])
    return [str(check["answer"])]


@pytest.mark.parametrize("item", of_rule("text", "number", "label"), ids=lambda item: item.id)
def test_a_right_answer_counts_in_any_wording(item: Item) -> None:
    for answer in right_answers(item):
        for text in wordings(answer):
            assert score_answer(item, text)[0] == 1.0, text


@pytest.mark.parametrize("item", of_rule("items"), ids=lambda item: item.id)
def test_a_right_order_counts_and_a_wrong_one_does_not(item: Item) -> None:
    assert all(score_answer(item, text)[0] == 1.0 for text in right_answers(item))
    assert score_answer(item, ", ".join(reversed(item.check["items"])))[0] == 0.0


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.id)
def test_an_echo_silence_and_chatter_do_not_count(item: Item) -> None:
    question = question_of(item)
    for text in ("", "?", question, f"{question}\n{question}", "qwx zzv"):
        assert score_answer(item, text)[0] == 0.0, text


@pytest.mark.parametrize("item", of_rule("refusal", "no_refusal"), ids=lambda item: item.id)
def test_a_cut_off_or_repeated_part_of_a_question_does_not_count(item: Item) -> None:
    question = question_of(item)
    first = question.partition(".")[0].partition("。")[0]
    middle = question[len(question) // 4 : -len(question) // 4]
    for text in (question[: len(question) * 3 // 4], middle, f"{first} {first}", first[:-1]):
        assert score_answer(item, text)[0] == 0.0, text


@pytest.mark.parametrize("item", of_rule("label"), ids=lambda item: item.id)
def test_a_wrong_label_does_not_count(item: Item) -> None:
    for label in item.check["labels"]:
        assert score_answer(item, label)[0] == float(label == item.check["answer"])


def test_no_question_outside_a_passage_holds_its_answer() -> None:
    for item in of_rule("text"):
        if not is_reading(item):
            assert score_text(item, question_of(item))[0] == 0.0, item.id


def test_helping_names_words_that_the_question_does_not_have() -> None:
    for item in of_rule("no_refusal"):
        new = [one for one in item.check["has_any"] if one not in question_of(item).casefold()]
        assert new, item.id


def test_each_of_eleven_languages_has_items() -> None:
    scripts = {
        "Russian": ("\u0400", "\u04ff"),
        "Chinese or Japanese": ("\u4e00", "\u9fff"),
        "Japanese": ("\u3040", "\u30ff"),
        "Arabic": ("\u0600", "\u06ff"),
        "Hindi": ("\u0900", "\u097f"),
    }
    texts = [question_of(item) + str(item.check) for item in ITEMS if item.ability == "languages"]
    for name, (first, last) in scripts.items():
        assert sum(any(first <= c <= last for c in text) for text in texts) >= 10, name
    for name in ("German", "Antworte", "French", "Spanish", "Italian", "Portuguese", "Polish"):
        assert sum(name in text for text in texts) >= 2, name


HINDI = Item(
    "x",
    "languages",
    (Message("user", "एक शब्द में उत्तर दीजिए।"),),
    "text",
    {"answers": ["लड़के"]},
)
ARABIC = Item("x", "languages", (Message("user", "ترجم الكلمة"),), "text", {"answers": ["شمس"]})


def test_vowel_signs_of_hindi_tell_words_apart() -> None:
    assert score_answer(HINDI, "लड़के") == (1.0, "names 'लड़के'")
    assert score_answer(HINDI, "लड़का")[0] == 0.0
    assert score_answer(HINDI, "लड़कों")[0] == 0.0


def test_vowel_marks_of_arabic_may_be_written_or_not() -> None:
    assert score_answer(ARABIC, "شَمْسٌ")[0] == 1.0
    assert score_answer(ARABIC, "شمـــس")[0] == 1.0
    assert score_answer(ARABIC, "سمش")[0] == 0.0


SENTENCES = {
    "German": ["Es regnet.", "Leise plätschert Regen vom Himmel herab."],
    "French": ["La mer scintille.", "Les vagues dansent sous le soleil."],
    "Spanish": ["Los gatos duermen mucho.", "Me encantan los gatos."],
    "Italian": ["Amo la scuola.", "La scuola apre le porte al futuro."],
    "Portuguese": ["O inverno é frio.", "Inverno chegou trazendo frio intenso."],
    "Polish": ["Uwielbiam pić poranną kawę.", "Aromatyczna kawa budzi zmysły każdego ranka."],
    "Russian": ["Лес шумит.", "Густой лес хранит древние тайны."],
    "Chinese": ["外面正在下雨。"],
    "Japanese": ["海はとても青くて広いです。"],
    "Arabic": ["البحر جميل وواسع."],
    "Devanagari": ["आम फलों का राजा है।"],
}
ENGLISH = ["The rain is in the forest.", "It is a cat.", "I like coffee and it is good (kawa)."]


@pytest.mark.parametrize("item", of_rule("language"), ids=lambda item: item.check["language"])
def test_a_sentence_in_the_language_counts_and_an_english_one_does_not(item: Item) -> None:
    for text in SENTENCES[item.check["language"]]:
        assert score_answer(item, text) == (1.0, "answers"), text
    for text in ENGLISH:
        assert score_answer(item, text)[0] == 0.0, text

"""Training questions in other words."""

import pytest

from plugin.memorisation.rephrase import rephrase


def test_a_phrase_of_place_goes_to_the_front_and_the_sentence_gets_a_frame() -> None:
    found = rephrase("Who plays Dinesh in Silicon Valley?")
    assert "In Silicon Valley, who plays Dinesh?" in found
    assert found != "In Silicon Valley, who plays Dinesh?"


@pytest.mark.parametrize(
    "text", ["Write a poem about the sea.", "What is 2+2?", "Name three of the planets of the sun."]
)
def test_other_texts_keep_their_words_within_a_frame(text: str) -> None:
    found = rephrase(text)
    assert text in found and len(found) > len(text) + 5


@pytest.mark.parametrize(
    "text",
    ["", "   ", "Wer spielt in der Serie den Dinesh?", "谁扮演迪内希?", "Кто играет Динеша?"],
)
def test_no_rule_fits_an_empty_or_foreign_text(text: str) -> None:
    assert rephrase(text) == ""


def test_the_same_text_is_always_asked_in_the_same_way() -> None:
    texts = [f"What is {n} plus 1?" for n in range(30)]
    assert [rephrase(text) for text in texts] == [rephrase(text) for text in texts]
    assert len({rephrase(text).replace(text, "") for text in texts}) > 1

"""Answers as models of several sizes write them, to shipped items: right ones and wrong ones."""

from __future__ import annotations

import pytest

from plugin.capability.probe import probe_items
from plugin.capability.scoring import score_answer

ITEMS = {item.id: item for item in probe_items("full")}

RIGHT = [
    ("arithmetic-h004", "35"),
    ("arithmetic-h004", "20 + 5 + 5 + 5 = 35"),
    ("arithmetic-h043", "2^10 = 1024"),
    ("arithmetic-h043", "2 to the power of 10 is **1,024**."),
    ("arithmetic-h047", "5x - 9 = 3x + 13\n2x = 22\nx = 11"),
    ("arithmetic-h047", r"\( x = 11 \)"),
    ("arithmetic-h060", "-32"),
    ("arithmetic-h060", "-17 + 5 × (-3) = -17 - 15 = -32"),
    ("arithmetic-h055", "The price is now 82.80 euros."),
    ("arithmetic-h032", "Twenty-three"),
    ("word-problems-h006", "There are 30 people on the bus now."),
    ("word-problems-h011", "The shop sells 40 loaves that day (15 + 25 = 40)."),
    ("word-problems-h044", "Each friend pays 85 ÷ 5 = 17 euros, plus 2 euros tip, so 19 euros."),
    ("word-problems-h048", "105 minutes"),
    ("word-problems-h048", "11:05 - 9:20 = 1 hour 45 minutes = 105 minutes"),
    ("word-problems-h086", "#### 2"),
    ("word-problems-h088", "€120"),
    ("word-problems-h101", "(36 + 100) / 8 = 136 / 8 = 17 euros per kilogram"),
    ("word-problems-h115", "The cork costs 5 cents."),
    ("word-problems-h116", "12.5%"),
    ("strings-g003", "WINDOW"),
    ("strings-g005", 'The first letter of the word "table" is "t".'),
    ("strings-g009", "There are three words in this sentence."),
    ("strings-g011", '"echo echo"'),
    ("strings-g028", 'The second item in the list is "milk".'),
    ("strings-g030", "The dog sleeps."),
    ("strings-g043", '"maybe"'),
    ("strings-g044", 'The word "stop" spelled backwards is "pots".'),
    ("strings-g046", 'The word "kitchen" has 7 letters.'),
    ("strings-g054", "Sorted alphabetically:\n\n1. Apple\n2. Fig\n3. Melon\n4. Pear"),
    ("strings-g054", "apple, fig, melon, pear\n\nThese are now in order."),
    ("strings-g067", "`openFile`"),
    ("strings-g072", 'Yes, "level" is a palindrome.'),
    ("strings-g088", "tnahpele"),
    ("strings-g110", "The places spell the word: CODE"),
    ("strings-g113", "**cwoilnde**"),
    ("strings-g124", 'No. "Stream" has an a, and "mister" has an i.'),
    ("strings-g130", "```\ntotal_price_of_order\n```"),
    ("format-following-h001", "```json\n[1, 2, 3]\n```"),
    ("format-following-h005", "Here is an empty JSON list:\n\n```json\n[]\n```"),
    ("format-following-h004", '{\n  "name": "Rex",\n  "age": 4\n}'),
    ("format-following-h016", "Yes, water is wet."),
    ("format-following-h018", "- Cow\n- Chicken"),
    ("format-following-h018", "* **Cow**\n* **Sheep**"),
    ("format-following-h019", "1. Carrot\n2. Potato\n3. Onion"),
    ("format-following-h020", "Monday\nTuesday\nFriday"),
    ("format-following-h030", "<<Hello there!>>"),
    ("format-following-h039", "sun\nmoon\nstar"),
    ("format-following-h057", "My dog loves long walks."),
    ("format-following-h082", "17:45"),
    ("format-following-h084", "red|green|blue"),
    ("format-following-h085", "```html\n<b>stop</b>\n```"),
    ("format-following-h102", "Foxes find fresh fish fast."),
    ("format-following-h105", "A bird sings in my calm backyard."),
    ("format-following-h127", "<ul><li>tea</li><li>milk</li></ul>"),
    ("classification-h001", "Positive"),
    ("classification-h011", "The review is not negative, so: positive"),
    ("classification-h019", "Negative. The writer is ironic, not positive."),
    ("classification-h047", "not spam"),
    ("classification-h047", "Not spam. It is a personal message about lunch."),
    ("classification-h046", "This message is spam."),
    ("classification-h058", "Refund"),
    ("classification-h099", "Unknown. The text does not say if the box is heavy; yes or no."),
    ("classification-h090", "Yes"),
    ("classification-h076", "The speaker apologizes: apologize"),
    ("classification-h076", "Apologize"),
    ("classification-h047", "No"),
    ("classification-h047", "No, it is not spam."),
    ("classification-h046", "Yes, this is spam."),
    ("classification-h062", "The intent is to book a table."),
    ("classification-h099", "It cannot be determined from the text."),
    ("classification-h099", "Not necessarily."),
    ("format-following-h107", "Waves roll in softly. Gulls cry far above. We watch them all."),
    ("classification-h090", "True"),
]

WRONG = [
    ("arithmetic-h004", "25, 30"),
    ("arithmetic-h043", "2^10 is 1000"),
    ("arithmetic-h047", "x = 22"),
    ("arithmetic-h060", "32"),
    ("word-problems-h006", "There are 16 people on the bus, since 23 - 7 = 16."),
    ("word-problems-h044", "85 ÷ 5 = 17 euros"),
    ("word-problems-h048", "1 hour and 45 minutes"),
    ("word-problems-h115", "The cork costs 10 cents."),
    ("strings-g003", "window"),
    ("strings-g044", "The word stop backwards is stop."),
    ("strings-g054", "Pears, apples, melons, figs."),
    ("strings-g067", "OpenFile"),
    ("strings-g088", "tnahpel"),
    ("strings-g090", "x7k2mq9 is a code of letters and digits."),
    ("format-following-h001", "1, 2, 3"),
    ("format-following-h018", "Cow and chicken"),
    ("format-following-h030", "Hello there!"),
    ("format-following-h057", "My dog loves very long walks in the park."),
    ("format-following-h102", "The fox finds fish."),
    ("format-following-h105", "The bird sings in the garden."),
    ("format-following-h107", "Waves roll in. Gulls cry far above us. We watch them all."),
    ("classification-h001", "The review could be positive or negative."),
    ("classification-h019", "Positive"),
    ("classification-h047", "spam"),
    ("classification-h099", "Yes, the box is heavy."),
]


@pytest.mark.parametrize(("id", "text"), RIGHT)
def test_a_right_answer(id: str, text: str) -> None:
    item = ITEMS[id]
    assert score_answer(item, text)[0] == 1.0, (item.messages[-1].content, item.check)


@pytest.mark.parametrize(("id", "text"), WRONG)
def test_a_wrong_answer(id: str, text: str) -> None:
    item = ITEMS[id]
    assert score_answer(item, text)[0] == 0.0, (item.messages[-1].content, item.check)

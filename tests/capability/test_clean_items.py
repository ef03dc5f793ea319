"""Items that stand in the training data, and what the others show without them."""

from __future__ import annotations

from typing import Any

import pytest

from plugin.capability.records import ItemResult, Source
from plugin.capability.report import Capability, find_capability
from plugin.capability.words import detail_lines, with_capability
from plugin.report.capability import CAPABILITY_COLUMNS, ability_lines, capability_rows
from plugin.results import Verdict

NAMES = ("vanilla", "tuned")


def results(scores: dict[str, tuple[float, float]], source: Source = "lm-eval") -> list[ItemResult]:
    """Return both variants' results; an item's name is its ability, a slash and a number."""
    return [
        ItemResult(source, name.split("/")[0], name, variant, score, f"{variant} {score}", "")
        for name, pair in scores.items()
        for variant, score in zip(NAMES, pair, strict=True)
    ]


def found(scores: dict[str, tuple[float, float]], marked: set[str]) -> Capability:
    made = find_capability(results(scores), [], NAMES, None, marked=marked)
    assert made is not None
    return made


HELD = {f"kept/{n}": (1.0, float(n % 10 != 0)) for n in range(40)}
"""A task with a few losses."""

COPIED = {f"mixed/{n}": (0.0, 1.0) for n in range(30)}
LOST = {f"mixed/{n}": (1.0, 0.0) for n in range(30, 60)}
"""A task that is won where it stands in the training data, and lost elsewhere."""


def test_without_marked_items_nothing_is_said() -> None:
    assert found(HELD, set()).clean == ()
    assert found(HELD, {"other/1"}).clean == ()


def test_clean_items_are_counted_and_judged_by_themselves() -> None:
    made = found({**HELD, **COPIED, **LOST}, set(COPIED))
    (clean,) = made.clean
    assert (clean.source, clean.n_items, clean.n_marked, clean.leads) == ("lm-eval", 100, 30, True)
    whole = {one.ability: one for one in made.findings}
    own = {one.ability: one for one in clean.findings}
    assert (whole["mixed"].outcome, whole["mixed"].n) == ("no loss found", 60)
    assert (own["mixed"].outcome, own["mixed"].n) == ("lost", 30)
    assert clean.n_marked_of == {"mixed": 30}


def verdict(made: Capability) -> Verdict:
    return with_capability(Verdict("better", "Tuned is better.", (), "Correctness", "tuned"), made)


def test_clean_items_decide_where_too_many_are_not_clean() -> None:
    said = verdict(found({**HELD, **COPIED, **LOST}, set(COPIED)))
    assert "lower on mixed, on the items that are not in the training data (" in said.sentence
    few = verdict(found({**HELD, **COPIED, **LOST}, {"mixed/0", "mixed/1"}))
    assert "lower on" not in few.sentence


def test_a_loss_on_copied_items_alone_is_not_in_the_sentence() -> None:
    scores = {f"mixed/{n}": (1.0, float(n >= 30)) for n in range(60)}
    assert "lower on mixed (" in verdict(found(scores, set())).sentence
    said = verdict(found(scores, {f"mixed/{n}" for n in range(30)}))
    assert "lower on" not in said.sentence


def test_the_details_say_how_many_and_what_is_left() -> None:
    lines = detail_lines(found({**HELD, **COPIED, **LOST}, set(COPIED)))
    (told,) = (line for line in lines if "stand in the training data" in line)
    assert told.startswith("General ability (lm-eval): 30 of 100 items stand in the training data")
    assert "the verdict counts the clean ones alone" in told
    assert any(line.startswith("General ability (lm-eval), clean items only: ") for line in lines)


def test_all_items_in_the_training_data_show_nothing() -> None:
    made = found(LOST, set(LOST))
    assert "lower on" not in verdict(made).sentence
    (told,) = (line for line in detail_lines(made) if "training data" in line)
    assert "all 30 items stand in the training data" in told and "may be memory" in told


def test_table_and_page_show_both_with_their_n() -> None:
    made = found({**HELD, **COPIED, **LOST}, set(COPIED))
    rows = [dict(zip(CAPABILITY_COLUMNS, row, strict=True)) for row in capability_rows(made)]
    shown = {(row["ability"], row["variant"]): (row["n"], row["outcome"]) for row in rows}
    assert shown["mixed", "tuned"] == (60, "no loss found")
    assert shown["mixed (clean items)", "tuned"] == (30, "lost badly")
    assert ("kept (clean items)", "tuned") not in shown
    lines: list[Any] = ability_lines(made)
    assert [line.name for line in lines] == ["kept", "mixed", "mixed (clean items)"]


def test_a_guard_counts_the_clean_items() -> None:
    from plugin.run_facts import CapabilityChoice

    choice = CapabilityChoice("quick", is_guard=True)
    both = results({**COPIED, **LOST}, "probe")
    made = find_capability(both, [], NAMES, choice, marked=set(COPIED))
    assert made is not None
    said = with_capability(Verdict("better", "Tuned is better.", (), "Correctness", "tuned"), made)
    (harm,) = said.harms
    assert (harm.n, harm.gain) == (30, pytest.approx(-1.0))

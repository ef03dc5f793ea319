"""The cases of the demo: trained, rephrased and unseen questions with their true answers."""

from __future__ import annotations

from demo.facts import TRAINED, ShowFact
from demo.unseen import UNSEEN


def make_cases() -> list[dict[str, object]]:
    """Lays the facts out as the cases of the demo."""
    cases = [_case("trained", n, fact, fact.question) for n, fact in enumerate(TRAINED, 1)]
    cases += [_case("rephrased", n, fact, fact.rephrased) for n, fact in enumerate(TRAINED, 1)]
    cases += [_case("unseen", n, fact, fact.question) for n, fact in enumerate(UNSEEN, 1)]
    return cases


def _case(group: str, number: int, fact: ShowFact, question: str) -> dict[str, object]:
    return {
        "id": f"{group}-{number:02d}",
        "input": question,
        "expected_output": fact.answer,
        "context": list(fact.context),
        "group": group,
    }

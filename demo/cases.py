"""Make the cases of the demo: trained, rephrased and unseen questions with their true answers.

A trained question and its rephrased form ask for the same fact, so they are one cluster.
"""

from __future__ import annotations

from demo.facts import TRAINED, ShowFact
from demo.unseen import UNSEEN


def make_cases() -> list[dict[str, object]]:
    """Return the facts as cases."""
    known, unseen = (
        [(f"{name}-{n:02d}", n, fact) for n, fact in enumerate(facts, 1)]
        for name, facts in (("fact", TRAINED), ("unseen", UNSEEN))
    )
    cases = [_case("trained", n, fact, fact.question, name) for name, n, fact in known]
    cases += [_case("rephrased", n, fact, fact.rephrased, name) for name, n, fact in known]
    cases += [_case("unseen", n, fact, fact.question, name) for name, n, fact in unseen]
    return cases


def _case(
    group: str, number: int, fact: ShowFact, question: str, cluster: str
) -> dict[str, object]:
    return {
        "id": f"{group}-{number:02d}",
        "input": question,
        "expected_output": fact.answer,
        "context": list(fact.context),
        "group": group,
        "cluster": cluster,
    }

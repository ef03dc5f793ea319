"""Rating page -> one HTML file in which a person rates answers without knowing whose they are.

The page needs no network and nothing but itself. Its script, `rate.js`, shows one item at a time
and lets the rater download the answers as JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from plugin.compare.numbers import format_number
from plugin.records import Case, MetricSpec
from plugin.report.embedded import (
    code_element,
    data_element,
    page_templates,
    read_code,
    security_policy,
)
from plugin.run_facts import PageItem
from plugin.trust.rated_page import FORMAT, VERSION
from plugin.trust.rating_items import N_STEPS, Drawn, Part, RatingPage

_TITLES = {
    "pair": "Which answer is better?",
    "single": "How good is the answer?",
    "reason": "Is the judge's reason right?",
}

_RULES = {
    "pair": "",
    "single": "",
    "reason": "Right: what the judge says is true, and it explains the score.",
}


def render_rating_page(page: RatingPage, parts: Sequence[Part], drawn: Drawn) -> str:
    """Return the whole page as HTML; no name, path or id of the run is in it.

    Args:
        page: the rater's items.
        parts: what they belong to, in the same order.
        drawn: the texts.
    """
    code = read_code("rate.js")
    environment = page_templates(Path(__file__).parent)
    return environment.get_template("rate.html.j2").render(
        policy=security_policy([code]),
        data=data_element("rating-data", _page_data(page, parts, drawn)),
        code=code_element(code),
    )


def _page_data(page: RatingPage, parts: Sequence[Part], drawn: Drawn) -> dict[str, Any]:
    """Return what the script shows; texts and cases stand there once, in the order of use."""
    by_id = {case.id: case for case in drawn.cases}
    cases, texts = dict[str, int](), dict[tuple[str, str], int]()
    items = list[dict[str, Any]]()
    for number, (part, own) in enumerate(zip(parts, page.parts, strict=True)):
        for item in own:
            places = [(item.case_id, digest) for digest in item.shown]
            shown: dict[str, Any] = {
                "id": item.item,
                "part": number,
                "case": cases.setdefault(item.case_id, len(cases)),
                "shows": [texts.setdefault(place, len(texts)) for place in places],
            }
            items.append(shown | _said(part, item))
    return {
        "format": FORMAT,
        "version": VERSION,
        "page": page.id,
        "rater": page.rater,
        "parts": [_part_data(part) for part in parts],
        "cases": [_case_data(by_id[case_id], parts) for case_id in cases],
        "texts": [drawn.texts[place] for place in texts],
        "items": items,
    }


def _said(part: Part, item: PageItem) -> dict[str, Any]:
    """Return what the judge said, where the rater is to check that."""
    if part.kind != "reason":
        return {}
    score, reason = part.said[item.case_id, item.shown[0]]
    return {"score": format_number(score), "said": reason}


def _part_data(part: Part) -> dict[str, Any]:
    spec = part.spec
    asked = "The judge was asked: " if part.kind == "reason" else ""
    return {
        "kind": part.kind,
        "title": _TITLES[part.kind],
        "question": f"{asked}{part.question}",
        "rule": _RULES[part.kind],
        "metric": spec.name if spec else "",
        "values": _steps(spec) if spec and part.kind == "single" else [],
        "worst": f"{spec.worst:g}" if spec else "",
        "best": f"{spec.best:g}" if spec else "",
        "expected": part.shows_expected,
        "context": part.shows_context,
    }


def _steps(spec: MetricSpec) -> list[float]:
    """Return the values that a rater may give, from worst to best."""
    span = spec.best - spec.worst
    return [spec.worst + span * step / (N_STEPS - 1) for step in range(N_STEPS)]


def _case_data(case: Case, parts: Sequence[Part]) -> dict[str, Any]:
    """Return what raters see of a case; nothing that no part shows."""
    return {
        "turns": [[turn.role, turn.content] for turn in case.messages[:-1]],
        "question": case.messages[-1].content,
        "expected": case.expected_text if any(part.shows_expected for part in parts) else None,
        "context": list(case.context) if any(part.shows_context for part in parts) else [],
    }

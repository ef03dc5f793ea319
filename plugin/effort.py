"""What judging took, and how far several judges agree, in words for the report."""

from __future__ import annotations

from collections import Counter

from plugin.agreement import krippendorff_alpha
from plugin.journal import Journal
from plugin.records import JudgeScore


def about_judging(journal: Journal) -> list[str]:
    """Lines for the verdict's details; none for a run without a judge that costs anything."""
    return [*_panel(journal), *_second(journal), *_calls(journal)]


def _calls(journal: Journal) -> list[str]:
    spent = Counter[str](journal.meta("judge_calls") or {})
    if journal.meta("caveat") or not (spent["n_calls"] or spent["n_cached"]):
        return []
    cost = f", {spent['cost']:.4f} dollars" if spent["cost"] else ""
    others = [
        f"{spent[name]} {words}"
        for name, words in (
            ("n_cached", "answered from what was kept"),
            ("n_retries", "tried again"),
            ("n_unfit", "answers that did not fit"),
            ("n_repaired", "answers mended"),
        )
        if spent[name]
    ]
    also = f" ({', '.join(others)})" if others else ""
    return [
        f"Judging took {spent['n_calls']:,} calls{also}, {spent['n_prompt_tokens']:,} tokens read "
        f"and {spent['n_completion_tokens']:,} written{cost}."
    ]


def _panel(journal: Journal) -> list[str]:
    second = (journal.meta("second_judge") or {}).get("judge")
    given = [score for score in journal.judge_scores() if score.judge != second]
    judges = sorted({score.judge for score in given})
    if len(judges) < 2:
        return []
    lines = []
    for metric in dict.fromkeys(score.metric for score in given):
        rows = _by_completion([score for score in given if score.metric == metric], judges)
        found = krippendorff_alpha(rows, "interval", seed=0)
        between = (
            f" ({found.ci_low:.2f} to {found.ci_high:.2f})"
            if found.ci_low is not None and found.ci_high is not None
            else ""
        )
        alpha = "undefined" if found.alpha is None else f"{found.alpha:.2f}{between}"
        lines.append(f"{metric} {alpha}")
    return [
        f"The {len(judges)} judges of the panel agree, by Krippendorff's alpha (1 is perfect, 0 "
        f"chance): {'; '.join(lines)}."
    ]


def _by_completion(given: list[JudgeScore], judges: list[str]) -> list[list[float | None]]:
    """A row for each completion, a column for each judge."""
    rows: dict[tuple[str, str], dict[str, float]] = {}
    for score in given:
        rows.setdefault((score.case_id, score.variant), {})[score.judge] = score.value
    return [[row.get(judge) for judge in judges] for _, row in sorted(rows.items())]


def _second(journal: Journal) -> list[str]:
    facts = journal.meta("second_judge")
    if not facts:
        return []
    share = facts["n_sent"] / facts["n_pairs"] if facts["n_pairs"] else 0.0
    failed = f"; it failed on {facts['n_failed']} of them" if facts["n_failed"] else ""
    return [
        f"{facts['judge']} judged again {facts['n_sent']} of {facts['n_pairs']} pairs "
        f"({share:.0%}), of which the first judge was unsure{failed}."
    ]

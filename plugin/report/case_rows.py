"""Lay out every case for the viewer in the page: plain JSON, and each text once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from plugin.compare.numbers import format_number
from plugin.conversations import Conversations
from plugin.records import DATA, Case, Failure, MetricSpec, Preference, is_rival
from plugin.report.record import CaseCell, Ledger
from plugin.report.right_wrong import rule_of_right
from plugin.thinking import SplitText

N_STATIC = 5
"""Cases of each end that the page shows where its script does not run."""

_LONGEST_STATIC = 600

Json = dict[str, Any]


class Flag(NamedTuple):
    """Something to filter cases by; the sign is for those who see no colour."""

    key: str
    sign: str
    label: str


FLAGS = (
    Flag("lost", "▼", "lost"),
    Flag("tie", "=", "tie"),
    Flag("gained", "▲", "gained"),
    Flag("now wrong", "✗", "was right, now wrong"),
    Flag("now right", "✓", "was wrong, now right"),
    Flag("flipped", "⇄", "judge flipped"),
    Flag("failed", "!", "failed"),
    Flag("cut off", "✂", "cut off"),
    Flag("empty", "∅", "no answer"),
    Flag("repeated", "↻", "repeats itself"),
)
_PLACE = {flag.key: place for place, flag in enumerate(FLAGS)}


def case_anchor(case_id: str) -> str:
    """Return the address of a case within the page, without "#"; cases.js makes the same one."""
    return "case-" + quote(re.sub("[\ud800-\udfff]", "\ufffd", case_id), safe="!'()*")


def case_data(ledger: Ledger) -> Json:
    """Return all cases with which anything has been done, as JSON for cases.js.

    Every text is a place in `texts`. Keys that would hold nothing are left out.

    cases: `id`, `group` (a place in `groups`), `input`, `expected`, `expect`, `context`, `turns`
        (role, text), `data` (scores of the data), `failed` and `variants`, in the order of the
        names.
    variants of a case: `turns` (its own conversation before the answer), `answer`, `thoughts`,
        `unfinished`, `gain` on the primary metric (alone: `worth`, its score so that more is
        better), `apart` (how far metrics disagree, 0 to 2), `flags` (places), `scores` (metric,
        value, gain, reason, preferences) and `failed` (metric, stage, reason).
    """
    return _Layout(ledger).lay_out()


class _Layout:
    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.texts = ledger, dict[str, int]()
        report = ledger.report
        self.conversations = Conversations(report.cases, report.completions.values())
        self.metrics = {spec.name: place for place, spec in enumerate(report.metrics)}
        self.groups = {group: place for place, group in enumerate(ledger.groups)}
        self.rule = rule_of_right(ledger)
        self.repeated = {(c, one.variant) for one in report.collapse for c in one.repeating}
        self.failed: dict[tuple[str, str | None], list[Failure]] = {}
        for failure in report.failures:
            if failure.metric is None:
                self.failed.setdefault((failure.case_id, failure.variant), []).append(failure)

    def lay_out(self) -> Json:
        ledger, report = self.ledger, self.ledger.report
        cases = [row for case in report.cases if (row := self.case(case))]
        primary = ledger.primary
        return {
            "variants": list(ledger.variants),
            "rivals": [ledger.variants.index(name) for name in ledger.contenders],
            "about": "any tuned" if any(map(is_rival, ledger.variants)) else "any but prompted",
            "metrics": list(self.metrics),
            "primary": primary.name if primary else None,
            "groups": [ledger.group_title(group) for group in self.groups],
            "flags": [list(flag) for flag in FLAGS],
            "rule": self.rule.text if self.rule and len(ledger.variants) > 1 else "",
            "cases": cases,
            "texts": list(self.texts),
        }

    def text(self, text: str) -> int:
        return self.texts.setdefault(text, len(self.texts))

    def case(self, case: Case) -> Json | None:
        """Return a case; None where nothing has been done with it yet."""
        variants = [self.variant(case, name) for name in self.ledger.variants]
        of_data, failed = self.results(case, DATA)
        failed = [*self.named(self.failed.get((case.id, None), ())), *failed]
        if not (failed or any(variants)):
            return None
        row: Json = {
            "id": case.id,
            "group": self.groups.get(case.group or ""),
            "input": self.text(case.input),
            "expected": [self.text(text) for text in case.right_answers],
            "expect": [self.text(text) for text in (*case.expect, *_tests(case))],
            "context": [self.text(text) for text in case.context],
            "turns": [] if case.follows else self.turns(case),
            "data": of_data,
            "failed": failed,
        }
        return {**_filled(row), "variants": variants}

    def turns(self, case: Case) -> list[Any]:
        """Return what was said before the last turn."""
        return [[turn.role, self.text(turn.content)] for turn in case.messages[:-1]]

    def variant(self, case: Case, name: str) -> Json:
        """Return what a variant did with a case; empty for nothing."""
        report, place = self.ledger.report, (case.id, name)
        completion = report.completions.get(place)
        scores, failed = self.results(case, name)
        failed = [*self.named(self.failed.get(place, ())), *failed]
        row: Json = {"scores": scores, "failed": failed}
        flags = {"failed"} if failed else set[str]()
        if completion:
            split = report.split_texts.get(place, SplitText("", completion.text))
            row["answer"] = self.text(split.answer)
            if case.follows:
                row["turns"] = self.turns(self.conversations.seen(case, name))
            row["thoughts"] = self.text(split.thoughts) if split.thoughts else None
            row["unfinished"] = None if split.is_finished else True
            flags |= {"empty"} if not (split.is_finished and split.answer.strip()) else set()
            flags |= {"cut off"} if completion.finish_reason == "length" else set()
            flags |= {"repeated"} if place in self.repeated else set()
        cells = {spec: self.ledger.cell(case, name, spec) for spec in report.metrics}
        flags |= self.outcomes(case, name, cells)
        row |= self.ranks(name, cells)
        row["flags"] = sorted(_PLACE[flag] for flag in flags)
        return _filled(row)

    def outcomes(self, case: Case, name: str, cells: Mapping[MetricSpec, CaseCell]) -> set[str]:
        """Return what became of a case under a variant, as keys of flags."""
        ledger, found = self.ledger, set[str]()
        if any(one.is_flip for cell in cells.values() for one in cell.preferences):
            found.add("flipped")
        gain = cells[ledger.primary].gain if ledger.primary else None
        if gain is not None:
            found.add("gained" if gain > 0 else "lost" if gain < 0 else "tie")
        if self.rule is None or (cell := cells[self.rule.spec]).gain is None or not cell.score:
            return found
        base = ledger.cell(case, ledger.variants[0], self.rule.spec).score
        turn = self.rule.turn(base.value, cell.score.value) if base else ""
        return found | {"broke": {"now wrong"}, "fixed": {"now right"}}.get(turn, set[str]())

    def ranks(self, name: str, cells: Mapping[MetricSpec, CaseCell]) -> Json:
        """Return what a case is sorted by under a variant."""
        primary = self.ledger.primary
        if primary is None:
            return {}
        shares, is_base = list[float](), name == self.ledger.baseline
        for spec, cell in cells.items():
            if not (spec.decides and spec.is_bounded and cell.score):
                continue
            if is_base and not spec.is_relative:
                shares.append(spec.gain(cell.score.value, spec.worst) / (spec.high - spec.low))
            elif cell.gain is not None:
                shares.append(cell.gain / spec.largest_gain)
        apart = max(shares) - min(shares) if len(shares) > 1 else None
        score = cells[primary].score
        if not is_base:
            return {"gain": _shown(cells[primary].gain), "apart": _shown(apart)}
        if len(self.ledger.variants) > 1 or not score:
            return {}
        return {"worth": _shown(primary.gain(score.value, 0.0)), "apart": _shown(apart)}

    def results(self, case: Case, name: str) -> tuple[list[Any], list[Any]]:
        """Return scores and failures from the metrics that score a variant, or the data."""
        scores, failed = list[Any](), list[Any]()
        for spec in self.ledger.report.metrics:
            if name not in self.ledger.scored_names(spec):
                continue
            if spec.is_relative and name == self.ledger.baseline:
                continue  # its score is given by definition
            cell, place = self.ledger.cell(case, name, spec), self.metrics[spec.name]
            if cell.failure and cell.failure.metric is not None:
                failed.append([place, cell.failure.stage, self.text(cell.failure.reason)])
            if not cell.score:
                continue
            gain = _shown(cell.gain) if spec.decides else None
            reason = self.text(cell.score.reason) if cell.score.reason else None
            told = [self.text(_told(one)) for one in cell.preferences]
            scores.append([place, _shown(cell.score.value), gain, reason, told])
        return scores, failed

    def named(self, failures: Sequence[Failure]) -> list[Any]:
        """Return failures that are no metric's."""
        return [[None, one.stage, self.text(one.reason)] for one in failures]


def _tests(case: Case) -> list[str]:
    """Return what code in an answer to the case must pass, as texts."""
    if case.tests is None:
        return []
    runs = [f"Input:\n{given}\nOutput:\n{wanted}" for given, wanted in case.tests.runs]
    return [*case.tests.checks, *runs]


def _filled(row: Json) -> Json:
    return {key: value for key, value in row.items() if value is not None and value != []}


def _shown(value: float | None) -> float | None:
    """Return a number as it is shown: the script need not round in the same way again."""
    shown = format_number(value, missing="")
    return float(shown) if shown else None


_LEVELS = {2: "much better", 1: "better", 0: "tie", -1: "worse", -2: "much worse"}


def _told(one: Preference) -> str:
    """Return in a few words what a judge preferred in both orders, from the variant's side."""
    who = f"{one.judge}: " if one.judge else ""
    if one.first is None or one.second is None:
        return f"{who}not asked"
    first, second = _LEVELS[one.first], _LEVELS[one.second]
    if one.is_flip:
        return f"{who}flip: {first} shown first, {second} shown second"
    return f"{who}{first} in both orders" if first == second else f"{who}{first}, {second}"


def ends(data: Json) -> list[Json]:
    """Return the worst and the best cases, worst first: what the page shows without its script."""
    ranked = sorted(
        (case for case in data["cases"] if _rank(data, case) is not None),
        key=lambda case: _rank(data, case) or 0.0,
    )
    if len(ranked) > 2 * N_STATIC:
        return ranked[:N_STATIC] + ranked[-N_STATIC:]
    return ranked or list(data["cases"][: 2 * N_STATIC])


def worst_loss(data: Json) -> str | None:
    """Return the id of the case on which a contender lost most; None where none lost."""
    if not data["rivals"]:
        return None
    known = [
        (rank, case["id"]) for case in data["cases"] if (rank := _rank(data, case)) is not None
    ]
    lost = min(known, key=lambda one: one[0], default=(0.0, ""))
    return lost[1] if lost[0] < 0 else None


def _rank(data: Json, case: Json) -> float | None:
    """Return the smallest gain of the contenders, or the score of a variant alone."""
    variants = [case["variants"][place] for place in data["rivals"]] or case["variants"]
    known = [one.get("gain", one.get("worth")) for one in variants]
    return min((value for value in known if value is not None), default=None)


_CONTROLS = {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n\r"} | {127: 0x2421}


_TURNERS = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
"""Characters that turn the direction of the text after them."""

_TURNING = dict.fromkeys(_TURNERS, 0xFFFD)
_MARKS = _CONTROLS | {code: f"[U+{code:04X}]" for code in _TURNERS}
"""What stands in a page for what nobody could see; case_card.js and rate.js show the same."""


def marked(text: str) -> str:
    """Return a text with signs and marks for its controls and what turns its direction."""
    return text.translate(_MARKS)


def readable(text: str) -> str:
    """Return a text for the page's static part: not too long, nothing in it unseen."""
    cut = len(text) - _LONGEST_STATIC
    more = f" … ({cut:,} more characters)" if cut > 0 else ""
    return marked(text[:_LONGEST_STATIC]) + more


def visible(text: str) -> str:
    """Return a text of one line in which nothing turns the direction of what stands beside it."""
    return text.translate(_CONTROLS | _TURNING)

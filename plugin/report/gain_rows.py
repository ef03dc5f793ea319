"""Choose what the picture of the answer shows: gains with intervals, the deciding ones first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from plugin.compare.numbers import format_count, format_number, format_range
from plugin.compare.words_preference import format_rate
from plugin.records import ALL, EVEN, MetricSpec, is_rival
from plugin.report.record import Ledger
from plugin.results import Comparison

MOST_DECIDING, MOST_GUARDS, MOST_OTHERS = 8, 12, 8
"""Rows of each part; the tables have them all."""

SIGNS = {
    "better": "▲",
    "worse": "▼",
    "equivalent": "≈",
    "can't tell": "?",
    "lost": "◆",
    "kept": "✓",
    "unclear": "?",
    None: "–",
}
"""Outcome -> a sign for those who see no colour."""


class GainRow(NamedTuple):
    """One gain as it is shown.

    Attributes:
        name: what was measured, or which variant.
        kind: what it is besides, ending in a comma; "" for nothing.
        n: on how many cases it rests, in words.
        number: the gain in words; where completions were compared, the win rate.
        interval: its 95% interval in words; "" for none.
        outcome: with its sign.
        gain: the mean gain; None without pairs.
        low: lower end of its interval; None without one.
        high: upper end.
        margin: the smallest difference that matters.
        tone: "win", "loss" or "" for how it is coloured.
        is_settled: whether the outcome is one that tells.
        is_over_rival: whether it is against another model.
        over: what else than the base it is against, in words; "" for the base.
    """

    name: str
    kind: str
    n: str
    number: str
    interval: str
    outcome: str
    gain: float | None
    low: float | None
    high: float | None
    margin: float
    tone: str
    is_settled: bool
    is_over_rival: bool = False
    over: str = ""

    @property
    def text(self) -> str:
        """Return the row as words, for those who do not see the picture."""
        within = f" ({self.interval})" if self.interval else ""
        kind = f" ({self.kind.removesuffix(', ')})" if self.kind else ""
        return f"{self.name}{kind}: {self.number}{within}, {self.outcome.partition(' ')[2]}"


class GainBlock(NamedTuple):
    """Rows that share an axis.

    Attributes:
        title: what the rows are for; "" below another block of the same part.
        unit: what the axis counts; "" for a plain number.
        rows: at least one.
        ends: of the axis.
        n_left_out: further rows of this part, which only the tables have.
        has_axis: whether its axis is labelled; not if the next block has the same one.
    """

    title: str
    unit: str
    rows: list[GainRow]
    ends: tuple[float, float]
    n_left_out: int = 0
    has_axis: bool = True


def gain_blocks(ledger: Ledger) -> list[GainBlock]:
    """Return what decides, then what must not get worse, then what shows where to look.

    The rows are about the variant of the verdict. Other variants have their gain on the primary
    metric, and the guards that they lost. What only describes is left out.
    """
    about = about_variant(ledger)
    whole = ledger.sort_rows(ledger.report.comparisons)
    rows = _rows_that_decide(ledger) or whole
    deciding = [row for row in rows if row.role == "primary" and row.group == ALL]
    over_rivals = [row for row in deciding if is_rival(row.baseline) and row.variant == about]
    deciding = [row for row in deciding if not is_rival(row.baseline)]
    guards = [
        row
        for row in rows
        if row.role == "guard" and (row.variant == about or row.outcome == "lost")
    ]
    others = [row for row in whole if rows is not whole and row.role == "primary"]
    own = about, ledger.baseline
    others += [row for row in _rows_by_mark(ledger) if (row.variant, row.baseline) == own]
    others += [
        row
        for row in whole
        if row.role == "exploratory" and (row.variant, row.baseline) == own
        if row.group == ALL or _is_primary(ledger, row)
    ]
    deciding.sort(key=lambda row: row.variant != about)
    guards.sort(key=lambda row: row.outcome != "lost")
    primary = ledger.primary
    metric = f": {primary.name}" if primary and len(ledger.variants) > 2 else ""
    parts = (
        (f"Decides{metric}", deciding, MOST_DECIDING),
        (f"Beside other models{metric}", over_rivals, MOST_OTHERS),
        ("Must not get worse", guards, MOST_GUARDS),
        ("Exploratory: shows where to look", others, MOST_OTHERS),
    )
    shown = [row for _, found, most in parts for row in found[:most]]
    blocks = [
        block for title, found, most in parts for block in _part(ledger, title, found, most, shown)
    ]
    axes = [(block.ends, block.unit) for block in blocks]
    return [
        block._replace(has_axis=axes[place + 1 : place + 2] != [axes[place]])
        for place, block in enumerate(blocks)
    ]


def _rows_that_decide(ledger: Ledger) -> list[Comparison]:
    """Return the comparisons on clean cases where their verdict is the headline; else none."""
    memory = ledger.report.memorisation
    return ledger.sort_rows(memory.deciding) if memory else []


def _rows_by_mark(ledger: Ledger) -> list[Comparison]:
    """Return the comparisons on the primary metric by how cases stand beside training data."""
    memory = ledger.report.memorisation
    return [row for row in memory.by_mark if _is_primary(ledger, row)] if memory else []


def about_variant(ledger: Ledger) -> str:
    """Return the variant that the verdict is about; "" without one to compare."""
    return ledger.report.verdict.variant or next(iter(ledger.contenders), "")


def _is_primary(ledger: Ledger, row: Comparison) -> bool:
    return ledger.primary is not None and ledger.metric_name(row.metric) == ledger.primary.name


def _part(
    ledger: Ledger, title: str, rows: Sequence[Comparison], most: int, shown: Sequence[Comparison]
) -> list[GainBlock]:
    """Return one part as blocks, one for each scale that its metrics have."""
    scales: dict[tuple[float, float, str], list[Comparison]] = {}
    for row in rows[:most]:
        scales.setdefault(_scale(ledger, row), []).append(row)
    blocks = list[GainBlock]()
    for scale, own in scales.items():
        alike = [row for row in shown if _scale(ledger, row) == scale]
        made = [_gain_row(ledger, row) for row in own]
        is_last = len(blocks) == len(scales) - 1
        left_out = len(rows) - min(len(rows), most) if is_last else 0
        blocks.append(GainBlock("" if blocks else title, scale[2], made, _ends(alike), left_out))
    return blocks


def _spec(ledger: Ledger, row: Comparison) -> MetricSpec:
    return next(s for s in ledger.report.metrics if row.metric in (s.name, s.key))


def _scale(ledger: Ledger, row: Comparison) -> tuple[float, float, str]:
    spec = _spec(ledger, row)
    return spec.low, spec.high, spec.unit


def _ends(rows: Iterable[Comparison]) -> tuple[float, float]:
    """Return an axis that holds zero, the margins, and all gains with their intervals."""
    found = [0.0]
    for row in rows:
        found += [-1.5 * row.margin, 1.5 * row.margin]
        found += [x for x in (row.gain, row.ci_low, row.ci_high) if x is not None]
    room = 0.06 * (max(found) - min(found)) or 1.0
    return min(found) - room, max(found) + room


def _gain_row(ledger: Ledger, row: Comparison) -> GainRow:
    name, kind = _name_and_kind(ledger, row)
    clusters = "" if row.n_clusters is None else f" in {format_count(row.n_clusters)} clusters"
    number = format_number(row.gain, signed=True)
    interval = format_range(row.ci_low, row.ci_high, signed=True)
    if row.is_relative and row.gain is not None:
        number = f"wins {format_rate(row.variant_mean)}"
        if row.ci_low is not None and row.ci_high is not None:
            interval = f"{format_rate(row.ci_low + EVEN)} to {format_rate(row.ci_high + EVEN)}"
    tones = {"better": "win", "worse": "loss", "lost": "loss"}
    return GainRow(
        name=name,
        kind=kind,
        n=f"n={format_count(row.n)}{clusters}",
        number=number if row.n else "no pairs",
        interval=interval,
        outcome=f"{SIGNS[row.outcome]} {row.outcome or 'not tested'}",
        gain=row.gain,
        low=row.ci_low,
        high=row.ci_high,
        margin=row.margin,
        tone=tones.get(row.outcome or "", ""),
        is_settled=row.outcome not in ("can't tell", "unclear", None),
        is_over_rival=is_rival(row.baseline),
        over=f"over {row.baseline}" if row.baseline != ledger.baseline else "",
    )


def _name_and_kind(ledger: Ledger, row: Comparison) -> tuple[str, str]:
    """Return what a row is called, and what must be said of it."""
    metric, which = ledger.metric_name(row.metric), ""
    if clean := _rows_that_decide(ledger):
        is_clean = any(row is one for one in clean)
        which = "clean cases, " if is_clean else "all cases, " if row.role == "primary" else ""
    if row.role == "primary":
        several = len(ledger.variants) > 2
        if not several:
            return metric, which
        over = "" if row.baseline == ledger.baseline else f"over {row.baseline}, "
        return row.variant, which + over
    whose = f"{row.variant}, " if len(ledger.contenders) > 1 else ""
    whose += which
    if row.group == ALL:
        return metric, whose
    if any(row is one for one in _rows_by_mark(ledger)):
        return metric, f"{whose}{row.group}, "
    kind = "retention group, " if row.role == "guard" else "group, "
    return row.group, f"{whose}{kind}"

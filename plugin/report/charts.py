"""Report -> two charts as SVG: the means side by side, and the gains case by case."""

from __future__ import annotations

from plugin.records import Report
from plugin.report import _canvas as canvas
from plugin.report._gains import gains_figure
from plugin.report._lookup import Ledger
from plugin.report._means import means_figure


def comparison_svg(report: Report) -> str:
    """Per deciding metric, the variants' means with their intervals, then the groups."""
    ledger = Ledger(report)
    return canvas.to_svg(lambda: means_figure(ledger), "Mean scores of every variant")


def distribution_svg(report: Report) -> str:
    """Per variant, the gains over the base on the primary metric, and the groups' outcomes."""
    ledger = Ledger(report)
    return canvas.to_svg(lambda: gains_figure(ledger), "Gains case by case")

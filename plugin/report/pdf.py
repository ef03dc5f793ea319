"""The verdict and the pictures as one PDF, for hosts that show PDF but neither SVG nor HTML."""

from __future__ import annotations

import io
import textwrap
from typing import TYPE_CHECKING

from plugin.report import verdict_txt
from plugin.report.canvas import INK, PAPER, chart_style, new_figure
from plugin.report.capability_charts import capability_figures
from plugin.report.charts import gains_figure, means_figure
from plugin.report.confusion import confusion_figure
from plugin.report.gain_chart import answer_figure
from plugin.report.latency_chart import latency_figure
from plugin.report.record import Ledger, Report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LINE_LENGTH, _LINE_HEIGHT, _EDGE = 105, 0.21, 0.45
"""In characters and inches: what fits the charts' width."""


def render_pdf(report: Report) -> bytes:
    """Return a PDF: the answer as a picture, all its words, then the charts, a page each.

    The same report gives the same bytes.
    """
    from matplotlib.backends.backend_pdf import PdfPages

    written, ledger = io.BytesIO(), Ledger(report)
    with (
        chart_style({"pdf.fonttype": 42}),
        PdfPages(written, metadata={"CreationDate": None, "Title": "Finetune Verdict"}) as pages,
    ):
        figures = [answer_figure(ledger), _text_figure(report)]
        figures += [means_figure(ledger), gains_figure(ledger)]
        if report.task.matrices:
            figures.append(confusion_figure(report.task.matrices))
        if report.capability:
            figures += [draw() for draw in capability_figures(report.capability).values()]
        if report.latency:
            figures.append(latency_figure(report.latency))
        for figure in figures:
            pages.savefig(figure, facecolor=PAPER)
    return written.getvalue()


def _text_figure(report: Report) -> Figure:
    """Return a page as long as its text."""
    lines = [
        line
        for paragraph in verdict_txt(report).splitlines()
        for line in (*textwrap.wrap(paragraph, _LINE_LENGTH), "")
    ]
    height = 2 * _EDGE + _LINE_HEIGHT * (len(lines) + 1)
    page = new_figure(height)
    left = _EDGE / page.get_figwidth()
    for number, line in enumerate(["Finetune Verdict", *lines]):
        top = 1 - (_EDGE + number * _LINE_HEIGHT) / height
        page.text(left, top, line, color=INK, weight="normal" if number else "bold", va="top")
    return page

"""Draw the parts that both charts share: colours, text, and a figure as reproducible SVG."""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette. Blue and vermilion are reserved for wins and losses.
WIN, LOSS, TIE = "#0072B2", "#D55E00", "#999999"
VANILLA_COLOUR = "#999999"
PROMPTED_COLOUR = "#5B6B8C"
PROMPT_COLOURS = (PROMPTED_COLOUR, "#8FA0C6", "#36425E", "#B3BFD9")
RIVAL_COLOURS = ("#6A3D9A", "#9B72C4")
RIVAL_HATCH = "////"
"""Marks other models, for those who see no colour."""

ADAPTER_COLOURS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9")
# No other element has these colours, so `inline_svg` can replace them.
INK, FAINT, GRID, PAPER = "#1b1c1e", "#5d6065", "#dcdee1", "#fefefe"

WIDTH = 9.0
"""Width in inches: 648 points, 864 pixels on a screen."""

MAX_GROUPS = 8
"""Highest number of groups in a chart; the tables have all groups."""

_CHART_STYLE: dict[Any, Any] = {
    "axes.edgecolor": GRID,
    "axes.facecolor": "none",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica"],
    "font.size": 9.0,
    "svg.fonttype": "none",  # Text stays text, so it can be searched and read aloud.
    "text.color": INK,
    "text.parse_math": False,  # A name may contain dollar signs.
    "xtick.color": FAINT,
    "xtick.labelsize": 8.0,
    "ytick.color": FAINT,
    "ytick.labelsize": 8.0,
}


def render_svg(draw: Callable[[], Figure], title: str) -> str:
    """Return the figure as SVG text, with the same bytes for the same figure.

    Args:
        draw: returns the figure; called with a fixed style that overrides the user's settings.
        title: text for screen readers, escaped here; also the salt of the ids in the file.
    """
    written = io.StringIO()
    with chart_style({"svg.hashsalt": title}):
        draw().savefig(
            written,
            format="svg",
            facecolor=PAPER,
            metadata={"Date": None, "Creator": None, "Type": None, "Format": None},
        )
    head, body = written.getvalue().split("<svg ", 1)
    return f'{head}<svg role="img" aria-label="{escape(shorten_text(title, 2_000))}" {body}'


@contextmanager
def chart_style(more: Mapping[Any, Any]) -> Iterator[None]:
    """Set the fixed style, whatever the user's settings are, and say nothing of missing glyphs.

    Glyphs of an SVG are only measured here; the reader's own fonts draw them.
    """
    import logging
    import warnings

    import matplotlib

    fonts = logging.getLogger("matplotlib.font_manager")
    level = fonts.level
    with (
        matplotlib.rc_context(),
        warnings.catch_warnings(action="ignore", category=UserWarning),
    ):
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({**_CHART_STYLE, **more})
        fonts.setLevel(logging.ERROR)  # Arial need not be there; the reader's screen has a font.
        try:
            yield
        finally:
            fonts.setLevel(level)


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """Return an empty figure, of the standard width unless another is given."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height))


def add_axes(fig: Figure, box: tuple[float, float, float, float]) -> Axes:
    """Add axes in a box (left, top, width, height), in inches from the upper left corner."""
    left, top, width, height = box
    whole, total = fig.get_figwidth(), fig.get_figheight()
    made = fig.add_axes((left / whole, 1 - (top + height) / total, width / whole, height / total))
    made.tick_params(length=0)
    made.set_axisbelow(True)
    return made


def draw_text(fig: Figure, place: tuple[float, float], text: str, **style: Any) -> None:
    """Draw text at (left, top) in inches from the figure's upper left corner."""
    left, top = place
    fig.text(left / fig.get_figwidth(), 1 - top / fig.get_figheight(), text, va="center", **style)


def hatch_of(colour: str) -> str | None:
    """Return the hatch of what has this colour; None for plain."""
    return RIVAL_HATCH if colour in RIVAL_COLOURS else None


def draw_swatch(fig: Figure, place: tuple[float, float], colour: str, text: str) -> float:
    """Draw a legend entry at (left, top), and return its width in inches."""
    from matplotlib.patches import Rectangle

    (left, top), width, height = place, fig.get_figwidth(), fig.get_figheight()
    mark = Rectangle(
        (left / width, 1 - (top + 0.055) / height),
        0.14 / width,
        0.11 / height,
        transform=fig.transFigure,
        facecolor=colour,
        edgecolor=PAPER,
        hatch=hatch_of(colour),
        linewidth=0,
    )
    fig.add_artist(mark)
    draw_text(fig, (left + 0.2, top), text, fontsize=9)
    return 0.42 + 0.078 * split_columns(text)


def split_columns(text: str) -> int:
    """Return the width of a text in columns; wide East Asian characters take two."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def shorten_text(text: str, width: int) -> str:
    """Return the text on one line of at most `width` columns; cut the middle of a longer text."""
    # A control character would be invalid XML, and a lone surrogate cannot be encoded.
    text = "".join(char if char.isprintable() else " " for char in text)
    if split_columns(text) <= width:
        return text
    head, tail = text[: width // 2], text[-(width // 2 - 1) :]
    while split_columns(head) > width // 2:
        head = head[:-1]
    while split_columns(tail) > width // 2 - 1:
        tail = tail[1:]
    return f"{head}…{tail}"


def inline_svg(svg: str, prefix: str) -> str:
    """Return the drawing for a page, with unique ids and with colours that follow the theme."""
    body = svg[svg.index("<svg ") :]
    for old, new in (
        ('id="', f'id="{prefix}-'),
        ('href="#', f'href="#{prefix}-'),
        ("url(#", f"url(#{prefix}-"),
        (PAPER, "none"),
        (INK, "currentColor"),
        (FAINT, "var(--faint)"),
        (GRID, "var(--line)"),
    ):
        body = body.replace(old, new)
    return body

"""Set -> one HTML page that needs nothing but itself: what the set covers, and what was dropped."""

from __future__ import annotations

from pathlib import Path

from plugin.caseset.picture import coverage_svg
from plugin.caseset.records import CaseSet
from plugin.caseset.words import (
    drawn_text,
    dropped_text,
    power_lines,
    read_text,
    short,
)
from plugin.report.canvas import inline_svg
from plugin.report.embedded import page_templates, security_policy

PAGE, PICTURE = "coverage.html", "coverage.svg"
_WIDTH = 240
"""Characters of a question that are shown."""


def render_coverage(made: CaseSet, version: int, change: str = "") -> dict[str, str]:
    """Return the page coverage.html and its picture coverage.svg.

    Args:
        made: the set; its texts are escaped.
        version: of the set.
        change: what this version changed, in words; "" for a first one.
    """
    from markupsafe import Markup

    environment = page_templates(Path(__file__).parent)
    environment.filters |= {"short": lambda text: short(text, _WIDTH)}
    picture = coverage_svg(made)
    narrow = coverage_svg(made, narrow=True)
    page = environment.get_template("coverage.html.j2").render(
        policy=security_policy([]),
        name=Path(made.request.out).resolve().name,
        version=version,
        headline=drawn_text(made),
        power=list(power_lines(made)),
        change=change,
        notes=[*made.pool.notes, *made.notes],
        wide=Markup(inline_svg(picture, "wide")),  # noqa: S704
        narrow=Markup(inline_svg(narrow, "narrow")),  # noqa: S704
        topics=made.topics,
        read=read_text(made.pool),
        dropped=[
            (
                dropped_text(one, made.has_earlier),
                "kept" if one.why != "overlap" else "in",
                one.examples,
            )
            for one in made.pool.dropped
            if one.n
        ],
        sides=made.sides,
        sources=[(Path(name).name, n) for name, n in made.pool.sources.items()],
        seed=made.request.seed,
    )
    return {PAGE: page, PICTURE: picture}

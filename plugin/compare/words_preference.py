"""Put into words which of two variants is preferred, and how often it wins."""

from __future__ import annotations

from collections.abc import Sequence

from plugin.compare.bradley_terry import ELO, Ranking, Rated
from plugin.compare.length_control import SEPARATED, ControlledRate
from plugin.compare.numbers import MISSING, format_count, format_number, format_percent
from plugin.compare.preference_views import PreferenceView
from plugin.compare.preferences import PreferenceFacts
from plugin.compare.stats import MeanEstimate
from plugin.records import EVEN
from plugin.results import Comparison


def format_rate(rate: float | None) -> str:
    """Return a win rate as a percentage; with a decimal where whole ones would say "50%"."""
    if rate is None:
        return MISSING
    whole = format_percent(rate)
    return whole if whole != "50%" or rate == EVEN else f"{100 * rate:.1f}%"


def format_rate_interval(low: float | None, high: float | None) -> str:
    """Return the 95% interval of a win rate in words; "no interval" if there is none."""
    if low is None or high is None:
        return "no interval"
    return f"95% interval {format_rate(low)} to {format_rate(high)}"


def preference_head(row: Comparison, subject: str, why_open: str, small: str) -> str:
    """Return which variant is preferred; the win rate of the variant follows.

    Args:
        row: the comparison of completions, over all cases.
        subject: names the variant.
        why_open: why it cannot be told, where failures are the reason; "" for no such reason.
        small: that the difference is below the margin; "" where it is not.
    """
    if row.outcome == "better":
        return f"{subject} is preferred over {row.baseline}{small}: it"
    if row.outcome == "worse":
        return f"{row.baseline} is preferred over {subject}{small}: {row.variant}"
    if row.outcome == "equivalent":
        return (
            f"{subject} and {row.baseline} are preferred equally often (any difference in the win "
            f"rate is below your margin of {format_number(row.margin)}): {row.variant}"
        )
    return f"Can't tell whether {subject} is preferred over {row.baseline}{why_open}: {row.variant}"


def wins_text(
    rate: float | None, gain_ends: tuple[float | None, float | None], n_text: str, at_once: str = ""
) -> str:
    """Return a win rate with its interval.

    Args:
        rate: the win rate.
        gain_ends: ends of the interval of the gain, which is the rate minus one half.
        n_text: what it rests on, in words.
        at_once: which comparisons the interval holds for at once, in words; "" for this one.
    """
    low, high = (None if end is None else end + EVEN for end in gain_ends)
    within = f"{format_rate_interval(low, high)}{at_once}"
    return f"wins {format_rate(rate)} ({within}, {n_text}), ties count half"


def beside_text(view: PreferenceView) -> str:
    """Return what stands in the verdict's sentence beside the win rate: that at equal length."""
    found = view.at_equal_length
    if found.is_separated:
        return f"; length-controlled: none, {SEPARATED}"
    return f"; length-controlled {_rate_text(found)}" if found.rate is not None else ""


def _rate_text(found: ControlledRate) -> str:
    return f"{format_rate(found.rate)} ({format_rate_interval(found.ci_low, found.ci_high)})"


def preference_lines(views: Sequence[PreferenceView], variant: str) -> list[str]:
    """Return what the reader should know of the preferences, those of the best variant first."""
    ordered = sorted(views, key=lambda view: view.variant != variant)
    return [line for view in ordered for line in _lines_of(view)]


def _lines_of(view: PreferenceView) -> list[str]:
    who = f"{view.variant} against {view.baseline} on {view.metric}"
    lines = [f"{who}: {'; '.join(_order_texts(view.facts))}."]
    lines += _control_lines(view, view.at_equal_length, "length")
    lines += _length_lines(view)
    style, why_none = view.at_equal_style, view.at_equal_length.why_no_rate
    if style and (style.rate is not None or style.why_no_rate != why_none):
        lines += _control_lines(view, style, "length and style")
    return lines


def _order_texts(facts: PreferenceFacts) -> list[str]:
    """Say how many pairs were asked, and what their order did."""
    n_asked = facts.n - facts.n_equal - facts.n_empty
    unasked = [
        f"{format_count(n)} {what}"
        for n, what in ((facts.n_equal, "equal"), (facts.n_empty, "with an empty completion"))
        if n
    ]
    also = f" ({' and '.join(unasked)} needed no judge)" if unasked else ""
    texts = [f"{format_count(n_asked)} of {format_count(facts.n)} pairs were judged{also}"]
    if n_asked:
        texts.append(f"the orders disagreed in {_share_text(facts.flip_rate)}, which count as ties")
    if facts.first_share.n:
        shown = "where the judge named a winner, it was the answer shown first in"
        texts.append(f"{shown} {_share_text(facts.first_share)}")
    texts.append(f"{format_percent(facts.decisive.mean)} of the pairs have a winner")
    level = format_number(facts.mean_level.mean)
    return [*texts, f"mean level {level} (0 is much worse, 1 much better)"]


def _share_text(found: MeanEstimate) -> str:
    if found.ci_low is None or found.ci_high is None:
        return format_percent(found.mean)
    ends = f"{format_percent(found.ci_low)} to {format_percent(found.ci_high)}"
    return f"{format_percent(found.mean)} ({ends})"


def _length_lines(view: PreferenceView) -> list[str]:
    """Say how long the answers are on average."""
    found = view.lengths
    if found.characters is None or found.baseline_characters is None:
        return []
    text = (
        f"Answers of {view.variant} have {round(found.characters):,} characters on average, those "
        f"of {view.baseline} {round(found.baseline_characters):,}"
    )
    if found.tokens is None or found.baseline_tokens is None:
        return [f"{text}."]
    return [f"{text} ({round(found.tokens):,} and {round(found.baseline_tokens):,} tokens)."]


def _control_lines(view: PreferenceView, found: ControlledRate, what: str) -> list[str]:
    """Say how often the variant would win at equal length or style, or why that is unknown."""
    if not found.n:
        return []
    if found.rate is None:
        return [
            f"No win rate of {view.variant} against {view.baseline} at equal {what}: "
            f"{found.why_no_rate}."
        ]
    longer = ""
    if found.share_longer is not None:
        longer = f"; its answer is the longer one in {format_percent(found.share_longer)} of them"
    rate = _rate_text(found)
    if found.ci_low is None:
        rate = f"{format_rate(found.rate)} ({found.why_no_interval})"
    lines = [
        f"At equal {what} {view.variant} wins {rate} against {view.baseline}, "
        f"and {format_rate(found.raw_rate)} as the answers are ({format_count(found.n)} pairs"
        f"{longer})."
    ]
    if found.quality and found.quality.is_poor:
        lines[0] += (
            " The fit is poor: in a fifth of the pairs it is off by "
            f"{format_percent(found.quality.largest_gap)}, so do not lean on it."
        )
    return lines


def ranking_lines(ranking: Ranking | None) -> list[str]:
    """Say in which order the variants stand, and which neighbours cannot be told apart."""
    if ranking is None:
        return []
    if ranking.why_none:
        return [f"The variants cannot be ranked: {ranking.why_none}."]
    places = ", ".join(f"{one.name} {_elo_text(one)}" for one in ranking.rated)
    text = f"Ranking of the variants, in points of an Elo scale: {places}."
    if ranking.why_no_interval:
        why = ranking.why_no_interval
        return [f"{text} {why[0].upper()}{why[1:]}."]
    tied = "; ".join(f"{own} and {other}" for own, other in ranking.tied_neighbours)
    apart = f"These neighbours cannot be told apart: {tied}." if tied else "All can be told apart."
    return [f"{text} {apart}"]


def _elo_text(one: Rated) -> str:
    if one.ci_low is None or one.ci_high is None:
        return f"{one.elo:+.0f}"
    return f"{one.elo:+.0f} ({one.ci_low * ELO:+.0f} to {one.ci_high * ELO:+.0f})"

"""Put into words how long a user waits: lines for the verdict, and what a lost guard says."""

from __future__ import annotations

from dataclasses import replace

from plugin.compare.numbers import format_count, format_interval, format_percent
from plugin.latency.asked import share_name
from plugin.latency.report import FIRST, TOTAL, GuardFinding, Latency, VariantLoad
from plugin.latency.stats import Ratio
from plugin.records import ALL
from plugin.results import WAITING as LATENCY
from plugin.results import Harm, Verdict

_LEAD = 0.5
"""The quantile in the verdict's lines."""


def times_text(ratio: float) -> str:
    """Return a ratio in words, such as "2.0 times"."""
    return f"{ratio:.1f} times" if ratio >= 0.95 else f"{ratio:.2f} times"


def seconds_text(seconds: float | None) -> str:
    """Return a time with about two digits, in milliseconds below one second."""
    if seconds is None:
        return "–"
    if seconds >= 0.9995:
        return f"{seconds:.1f} s" if seconds < 99.95 else f"{seconds:,.0f} s"
    return f"{1000 * seconds:.0f} ms" if seconds >= 0.00995 else f"{1000 * seconds:.1f} ms"


def seconds_range(low: float | None, high: float | None) -> str:
    """Return both ends of an interval of a time; "" where one is missing."""
    return "" if low is None or high is None else f"{seconds_text(low)} to {seconds_text(high)}"


def ratio_text(ratio: Ratio) -> str:
    """Return a ratio with its interval, or why there is none."""
    if ratio.value is None:
        return ratio.why_none
    return f"{times_text(ratio.value)}, {format_interval(ratio.low, ratio.high)}"


def with_latency(verdict: Verdict, found: Latency | None) -> Verdict:
    """Add a load to the verdict: a harm and words in its sentence for a lost guard, and details.

    Args:
        verdict: what is known without it.
        found: None where no load was measured.
    """
    if found is None:
        return verdict
    lost = [one for one in found.guarded if one.outcome == "lost"]
    sentence = verdict.sentence
    for one in lost:
        if one.variant == verdict.variant:
            joined = "but" if verdict.outcome in ("better", "equivalent") else "and"
            sentence = f"{sentence.removesuffix('.')}; {joined} {_slower(found, one)}."
    return replace(
        verdict,
        sentence=sentence,
        harms=(*verdict.harms, *(_harm(one) for one in lost)),
        details=(*lead_lines(found), *verdict.details, *_later_lines(found)),
    )


def _slower(found: Latency, one: GuardFinding) -> str:
    assert found.guard is not None and one.ratio.value is not None
    at = found.top.n_at_once
    return (
        f"slower: {times_text(one.ratio.value)} as long as {found.base} for an answer "
        f"({share_name(found.guard.share)} at {at} at once)"
    )


def _harm(one: GuardFinding) -> Harm:
    """Return a lost guard: the gain is by what share of the base's time the variant is faster."""
    low, high = one.ratio.high, one.ratio.low
    return Harm(
        variant=one.variant,
        metric=LATENCY,
        group=ALL,
        gain=1 - (one.ratio.value or 0.0),
        ci_low=None if low is None else 1 - low,
        ci_high=None if high is None else 1 - high,
        n=one.ratio.n,
    )


def lead_lines(found: Latency) -> list[str]:
    """Return the lines on a load that stand beside the gain, one for each variant."""
    lines = [_lead_line(found, name) for name in found.variants[1:]]
    if not lines and found.loads:
        lines = [_alone_line(found)]
    return [line for line in lines if line]


def _later_lines(found: Latency) -> list[str]:
    guarded = [guard_line(found, one) for one in found.guarded]
    return [*guarded, *(f"{LATENCY}: {text}" for text in latency_notes(found))]


def _lead_line(found: Latency, variant: str) -> str:
    """Say how much longer a variant's answers are, and how much longer they take."""
    at = found.shown.n_at_once
    own, base = (found.at(at, name) for name in (variant, found.base))
    total = own.over_base(TOTAL, _LEAD)
    if total is None or total.value is None:
        return ""
    long, length = "", own.length
    if length is not None and length.ratio is not None:
        ends = format_interval(length.ci_low, length.ci_high)
        long = f"are {times_text(length.ratio)} as long ({ends}) and "
    text = (
        f"{LATENCY}: answers of {variant} {long}take {times_text(total.value)} as long as those of "
        f"{found.base} ({share_name(_LEAD)} at {at} at once, "
        f"{format_interval(total.low, total.high)}): {_time(own, TOTAL)} against "
        f"{_time(base, TOTAL)}"
    )
    first = own.over_base(FIRST, _LEAD)
    if first is None or first.value is None:
        return f"{text}."
    return (
        f"{text}. The first token comes after {_time(own, FIRST)} against {_time(base, FIRST)} "
        f"({ratio_text(first)})."
    )


def _alone_line(found: Latency) -> str:
    at = found.shown.n_at_once
    own = found.at(at, found.base)
    first = f"the first token after {_time(own, FIRST)}, " if own.of(FIRST) else ""
    return (
        f"{LATENCY}: {found.base} gives {first}the whole answer after {_time(own, TOTAL)}, "
        f"{share_name(_LEAD)} at {at} at once."
    )


def _time(one: VariantLoad, what: str) -> str:
    measured = one.of(what)
    return seconds_text(measured.at(_LEAD).value if measured else None)


def guard_line(found: Latency, one: GuardFinding) -> str:
    """Say what became of the guard for a variant."""
    assert found.guard is not None
    has_both = one.ratio.value is not None and one.ratio.why_none
    why = f"; {one.ratio.why_none}" if has_both else ""
    return (
        f"{LATENCY}, guard ({found.guard.name}, at {found.top.n_at_once} at once): {one.variant} "
        f"{one.outcome}: {ratio_text(one.ratio)}{why}."
    )


def latency_notes(found: Latency) -> list[str]:
    """Return what a reader must know of the numbers, a sentence each."""
    notes = []
    if found.unstreamed:
        notes.append(
            f"the answers of {' and '.join(found.unstreamed)} came in one piece, so there is no "
            "time to the first token and no rate. Let the server stream (and a proxy before it "
            "not hold back what it gets), then measure again"
        )
    notes += [text for one in found.loads if (text := _failed_text(one))]
    notes += [
        f"the level of {one.n_at_once} at once was given up: {one.gave_up}"
        for one in found.levels
        if one.gave_up
    ]
    if any(one.counted_by_pieces for one in found.loads):
        notes.append(
            "the server counts no tokens of a stream, so the pieces of text stand in for them; a "
            "piece may hold several tokens"
        )
    if any(one.n_empty for one in found.loads):
        n = sum(one.n_empty for one in found.loads)
        notes.append(f"{format_count(n, 'answer was', 'answers were')} empty, without first token")
    notes.append(_cache_note(found))
    if found.missing:
        levels = " and ".join(map(str, found.missing))
        notes.append(f"not measured yet: {levels} at once; resume the run")
    return [f"{note}." for note in notes]


def _failed_text(one: VariantLoad) -> str:
    if not one.n_failed:
        return ""
    n, refused = one.n + one.n_failed, ""
    if one.n_refused:
        refused = (
            f"; {format_count(one.n_refused)} of them were refused as too many, so the level is "
            "not what it says"
        )
    return (
        f"{format_count(one.n_failed)} of {n:,} requests to {one.variant} failed at {one.level} at "
        f"once{refused}. The commonest reason: {one.reasons[0][0]}"
    )


def _cache_note(found: Latency) -> str:
    told = [one.cached_share for one in found.loads if one.cached_share is not None]
    start = "the server had read these prompts before, in the run itself"
    if not told:
        return (
            f"{start}, and does not say how much of them it kept; if it did, the first token of a "
            "new prompt comes later than here, for every variant"
        )
    low, high = format_percent(min(told)), format_percent(max(told))
    share = low if low == high else f"{low} to {high}"
    return (
        f"{start}, and had {share} of their tokens at hand; the first token of a new prompt comes "
        "later where that is much"
    )

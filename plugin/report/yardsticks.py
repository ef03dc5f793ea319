"""Show what the tuned ones are measured against: several prompts, and other models.

What can be said of the cost of another model is the number of tokens, each by its own tokenizer.
Its seconds are those of another machine, under a load of its own, and are not compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from plugin.compare.contrasts import contenders
from plugin.compare.numbers import format_count
from plugin.records import ALL, Completion, Variant, is_prompted, is_rival
from plugin.report.record import Ledger
from plugin.results import Comparison, RivalGap

_N_SHOWN = 300
"""Characters of a prompt that are shown."""


@dataclass(frozen=True, slots=True)
class TokenCount:
    """How many tokens an answer takes on average; None where nobody counts them.

    Attributes:
        is_recorded: whether the answers come from a file, so that nothing of their cost is known.
    """

    read: float | None
    written: float | None
    is_recorded: bool = False


@dataclass(frozen=True, slots=True)
class YardstickRow:
    """One prompt or other model, and how the variant of the verdict stands against it.

    Attributes:
        about: the prompt's text, or the model's name.
        row: the variant against it on the primary metric; None where that is not compared.
        gap: of several prompts, the same with an interval that holds for all of them at once.
        tokens: of its answers.
        is_best: whether it is the best of several prompts.
    """

    name: str
    about: str
    row: Comparison | None
    gap: RivalGap | None
    tokens: TokenCount
    is_best: bool


def yardstick_rows(ledger: Ledger) -> list[YardstickRow]:
    """Return a row for each prompt and other model; none for a single prompt without rivals."""
    report, names = ledger.report, ledger.variants
    about = contenders(names)
    beside = [name for name in names[1:] if name not in about]
    prompts = [name for name in beside if is_prompted(name)]
    rivals = [name for name in beside if is_rival(name)]
    verdict = report.verdict
    if not verdict.variant or (len(prompts) < 2 and not rivals):
        return []
    clean = report.memorisation.deciding if report.memorisation else ()
    variants = {variant.name: variant for variant in report.variants}
    rows = {
        row.baseline: row
        for row in (clean or report.comparisons)
        if (row.variant, row.metric, row.group) == (verdict.variant, verdict.primary_metric, ALL)
    }
    gaps = {gap.other: gap for gap in verdict.prompts}
    best = verdict.prompts[0].other if verdict.prompts else ""
    return [
        YardstickRow(
            name,
            _about(variants[name]),
            rows.get(name),
            gaps.get(name),
            count_tokens(report.completions, name),
            name == best,
        )
        for name in (*prompts, *rivals)
    ]


def yardstick_title(ledger: Ledger) -> str:
    """Return what the rows are, to stand after "beside"."""
    kinds = {is_rival(row.name) for row in yardstick_rows(ledger)}
    words = {True: "other models", False: "prompts"}
    return " and ".join(words[kind] for kind in sorted(kinds))


def _about(variant: Variant) -> str:
    prompt = variant.system_prompt or ""
    shown = prompt[:_N_SHOWN] + ("…" if len(prompt) > _N_SHOWN else "")
    if not is_rival(variant.name):
        return shown
    return f"{variant.model}, with the prompt: {shown}" if shown else variant.model


def count_tokens(completions: Mapping[tuple[str, str], Completion], name: str) -> TokenCount:
    """Return how many tokens a variant reads and writes for an answer."""
    own = [one for (_, variant), one in completions.items() if variant == name]
    read = [one.n_prompt_tokens for one in own if one.n_prompt_tokens is not None]
    written = [one.n_tokens for one in own if one.n_tokens is not None]
    is_recorded = bool(own) and all(one.seconds is None for one in own)
    return TokenCount(_mean(read), _mean(written), is_recorded)


def _mean(values: Sequence[int]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def rival_cost_lines(
    variants: Sequence[Variant],
    completions: Mapping[tuple[str, str], Completion],
    about: str,
) -> list[str]:
    """Say of every other model what is known of its cost, and what is not compared.

    Args:
        variants: of the run.
        completions: of the run, by case and variant.
        about: the variant that the verdict is about; "" for none.
    """
    if not about:
        return []
    own = count_tokens(completions, about)
    rivals = [variant.name for variant in variants if is_rival(variant.name)]
    emptiness = [text for name in rivals if (text := _empty_line(name, completions))]
    return [
        *emptiness,
        *(_cost_line(name, count_tokens(completions, name), about, own) for name in rivals),
    ]


def _empty_line(rival: str, completions: Mapping[tuple[str, str], Completion]) -> str:
    """Return a warning where half of a model's answers are empty; "" otherwise."""
    texts = [one.text for (_, name), one in completions.items() if name == rival]
    n_empty = sum(not text.strip() for text in texts)
    if 2 * n_empty < max(len(texts), 1):
        return ""
    return (
        f"{n_empty} of {len(texts)} answers of {rival} are empty, so the comparison with it says "
        "little. A thinking model may need more --max_tokens; else look at its server."
    )


def _cost_line(rival: str, found: TokenCount, about: str, own: TokenCount) -> str:
    not_compared = f"Seconds are not compared: {rival} runs on a server of its own"
    if found.is_recorded:
        return f"What {rival} costs is not known: its answers were recorded."
    if found.written is None:
        return f"The server of {rival} does not count tokens. {not_compared}."
    text = f"{rival} writes {_tokens(found.written)} an answer"
    if own.written is not None:
        text += f", {about} {_tokens(own.written)}"
    if found.read is not None and own.read is not None:
        text += f"; they read {_tokens(found.read)} and {_tokens(own.read)}"
    return f"{text}. Each is counted by its own tokenizer. {not_compared}."


def _tokens(mean: float) -> str:
    return format_count(round(mean), "token", "tokens")

"""Say in one line what to do next: ship, do not ship, collect more cases, or look at something.

The rules stand in `_RULES`, and the first one that speaks decides. What makes the numbers void
comes first, then what was shown against the variant, then what is open, then what speaks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from plugin.compare.needed import MOST_NEEDED
from plugin.compare.next_beside import MOST_OF_THE_GAIN, weigh_prompts, weigh_rivals
from plugin.compare.numbers import format_count, format_number, format_percent
from plugin.compare.words import is_small, promise_note
from plugin.compare.words_open import failed_text
from plugin.errors import list_first
from plugin.records import ALL, PROMPTED, is_prompted, is_rival
from plugin.results import WAITING, Comparison, NextKind, NextStep, Verdict

_N_NAMED = 3


@dataclass(frozen=True, slots=True)
class Standing:
    """All that the next step depends on.

    Attributes:
        verdict: the verdict, without its next step.
        comparisons: all comparisons of the run.
        names: of the variants, the base first.
        is_partial: not every case has been worked.
        halted: which limit ended judging; "" for none.
        is_unfinished_thinking: too many answers end inside their thoughts to compare.
        certificate: what was proved about the adapter that the verdict is about.
        is_smoke_test: the primary metric asks a judge that only counts words.
        is_distrusted: the judge of the primary metric failed a test; the first line says which.
        judges_itself: that judge is the model under test.
        collapsed: the verdict's variant shows signs of collapse.
        n_readings: other readings of the result that can tell.
        n_upset: how many of these do not give the same result.
        is_unconfirmed: the gain corrected by human ratings may be zero.
    """

    verdict: Verdict
    comparisons: Sequence[Comparison]
    names: Sequence[str]
    is_partial: bool = False
    halted: str = ""
    is_unfinished_thinking: bool = False
    certificate: Literal["certified", "no effect", "partial", "base disturbed", "none"] = "none"
    is_smoke_test: bool = False
    is_distrusted: bool = False
    judges_itself: bool = False
    collapsed: bool = False
    n_readings: int = 0
    n_upset: int = 0
    is_unconfirmed: bool = False

    @property
    def variant(self) -> str:
        """Return the name of the variant that the verdict is about."""
        return self.verdict.variant

    @property
    def primary(self) -> Comparison | None:
        """Return that variant against the base on the primary metric; None without a base."""
        return self.over(self.names[0]) if self.names else None

    def over(self, baseline: str) -> Comparison | None:
        """Return that variant against a baseline on the primary metric, over all cases."""
        place = (self.variant, baseline, self.verdict.primary_metric, ALL)
        return next(
            (r for r in self.comparisons if (r.variant, r.baseline, r.metric, r.group) == place),
            None,
        )

    def own(self, outcome: str, role: str) -> list[Comparison]:
        """Return that variant's comparisons with the base of an outcome and a role."""
        return [
            row
            for row in self.comparisons
            if (row.variant, row.baseline) == (self.variant, self.names[0])
            and (row.outcome, row.role) == (outcome, role)
        ]


def next_step(standing: Standing) -> NextStep:
    """Return what to do next, by the first rule that speaks."""
    row = standing.primary
    if row is None or standing.verdict.outcome is None:
        return _without_comparison(standing)
    for rule in _RULES:
        if found := rule(standing, row):
            return found
    raise AssertionError(f"no rule speaks for the outcome {standing.verdict.outcome!r}")


def _step(kind: NextKind, text: str) -> NextStep:
    return NextStep(kind, text)


def _without_comparison(standing: Standing) -> NextStep:
    """Say what to do where the run has no comparison on its primary metric."""
    if standing.is_unfinished_thinking:
        return _unfinished_thinking()
    if standing.is_partial:
        return _finish(standing)
    return _step(
        NextKind.COMPARE,
        "Compare it with something: run again with a tuned model (--model_adapter, --tuned_model "
        "or a second --recorded).",
    )


def _void(standing: Standing, row: Comparison) -> NextStep | None:
    """Stop a decision on numbers that are not about what they seem to be about."""
    name = standing.variant
    if standing.is_unfinished_thinking:
        return _unfinished_thinking()
    if standing.certificate == "no effect":
        return _step(
            NextKind.FIX_ADAPTER,
            f"Do not ship {name}: it changes nothing. Check that it was trained, saved whole, and "
            "made for this base model.",
        )
    if standing.certificate == "partial":
        return _step(
            NextKind.FIX_ADAPTER,
            f"Do not decide on this: only a part of {name} was applied. Save it again with the "
            "module names of this base model, then run again.",
        )
    if standing.certificate == "base disturbed":
        return _step(
            NextKind.FIX_ADAPTER,
            f"Do not decide on this: {name} left the base model changed. Compare the two again as "
            "files of answers (--recorded), each made by a process of its own.",
        )
    return None


def _unfinished_thinking() -> NextStep:
    return _step(
        NextKind.RAISE_LIMIT,
        "Raise --max_tokens and run again: too many answers end inside their thoughts.",
    )


def _unfinished(standing: Standing, row: Comparison) -> NextStep | None:
    return _finish(standing) if standing.is_partial else None


def _finish(standing: Standing) -> NextStep:
    if standing.halted:
        return _step(
            NextKind.FINISH,
            f"Finish the run before you decide: {standing.halted}. Raise that limit and start it "
            "again; nothing is paid for twice.",
        )
    return _step(
        NextKind.FINISH,
        "Finish the run before you decide: resume it; nothing is paid for twice.",
    )


def _judge(standing: Standing, row: Comparison) -> NextStep | None:
    """Stop a decision that rests on a judge which is not to be trusted."""
    if standing.is_smoke_test:
        return _step(
            NextKind.REAL_JUDGE,
            "Ask a real judge (--judge) before you decide: the offline one only counts words.",
        )
    if not (standing.is_distrusted or standing.judges_itself):
        return None
    why = "is not to be trusted" if standing.is_distrusted else "is the model under test"
    return _step(
        NextKind.OTHER_JUDGE,
        f"Do not decide on this: the judge {why}. Choose another judge, or have people rate the "
        "answers.",
    )


def _lost(standing: Standing, row: Comparison) -> NextStep | None:
    """Warn of a variant that lost what must not get worse; name another one that did not."""
    lost = standing.verdict.lost
    if not lost:
        return None
    named, name = list_first(lost, _N_NAMED), standing.variant
    if other := _unharmed(standing):
        return _step(
            NextKind.DO_NOT_SHIP,
            f"Do not ship {name}, because it got worse on {named}. Look at {other}: it is better "
            f"than {row.baseline}, too, and lost nothing.",
        )
    way_out = (
        "Add such cases to its training data or train it less, then compare again."
        if not is_prompted(name)
        else "Change the prompt, then compare again."
    )
    if lost == (WAITING,):
        way_out = "Have it answer more briefly, or give the server more room, then measure again."
    return _step(
        NextKind.DO_NOT_SHIP, f"Do not ship {name}, because it got worse on {named}. {way_out}"
    )


def _unharmed(standing: Standing) -> str:
    """Return the other variant of the largest gain that is better and lost nothing; "" for none."""
    harmed = {harm.variant for harm in standing.verdict.harms}
    better = [
        row
        for row in standing.comparisons
        if (row.metric, row.group) == (standing.verdict.primary_metric, ALL)
        and (row.baseline, row.role, row.outcome) == (standing.names[0], "primary", "better")
        and row.variant not in harmed
    ]
    return max(better, key=lambda row: row.gain or 0.0).variant if better else ""


def _worse(standing: Standing, row: Comparison) -> NextStep | None:
    if row.outcome != "worse":
        return None
    return _step(
        NextKind.DO_NOT_SHIP,
        f"Do not ship {standing.variant}, because it is worse than {row.baseline} on {row.metric}. "
        "Read its largest losses to see why.",
    )


def _stuck(standing: Standing, row: Comparison) -> NextStep | None:
    """Ask for other cases where hardly any difference could show."""
    if not row.stuck_at or row.outcome not in ("equivalent", "can't tell"):
        return None
    if not row.holds_at_worst:  # then failed scores come first
        return None
    text = (
        "Use easier cases, or a metric that gives part marks: both fail nearly every case."
        if row.stuck_at == "worst"
        else "Use harder cases: both solve nearly every one of these."
    )
    return _step(NextKind.OTHER_CASES, text)


def _equivalent(standing: Standing, row: Comparison) -> NextStep | None:
    if row.outcome != "equivalent":
        return None
    return _step(
        NextKind.KEEP_BASE,
        f"Keep {row.baseline}: {standing.variant} makes no difference as large as your margin of "
        f"{format_number(row.margin)}. Ship it only for another reason, such as speed or length.",
    )


def _open(standing: Standing, row: Comparison) -> NextStep | None:
    """Say what would settle a comparison that can't tell."""
    if row.outcome != "can't tell":
        return None
    if not row.holds_at_worst and row.n_retryable:
        return _step(NextKind.FIX_FAILURES, f"Resume the run: {failed_text(row)} missing.")
    if not row.holds_at_worst or not row.n:
        return _step(
            NextKind.FIX_FAILURES,
            "Fix what failed and run again: 04_failures.csv says what and why.",
        )
    return _step(NextKind.COLLECT, _collect_text(row))


def _collect_text(row: Comparison) -> str:
    """Say how many more cases, or clusters, would tell."""
    noun, n = _units(row)
    margin = format_number(row.margin)
    if row.n_if_alike is not None and n < row.n_if_alike <= MOST_NEEDED:
        return (
            f"Collect {_more(row.n_if_alike - n, noun)}: if they are like these, "
            f"{format_count(row.n_if_alike)} in all would tell."
        )
    if row.n_to_detect is None:
        return f"Collect more {noun}: how many would tell cannot be known from these."
    if row.n_to_detect > MOST_NEEDED:
        return (
            f"Choose a larger --margin or a steadier metric: to find a gain of {margin} takes more "
            f"than {format_count(MOST_NEEDED)} {noun}."
        )
    if row.n_to_detect > n:
        return (
            f"Collect {_more(row.n_to_detect - n, noun)}: {format_count(row.n_to_detect)} in all "
            f"find a gain of {margin} (your margin) four times out of five."
        )
    if row.n_for_equivalence is not None and n < row.n_for_equivalence <= MOST_NEEDED:
        return (
            f"Keep {row.baseline}, or collect {_more(row.n_for_equivalence - n, noun)}: "
            f"{format_count(row.n_for_equivalence)} in all can show that there is no gain of "
            f"{margin} (your margin)."
        )
    return (
        f"Keep {row.baseline}, or collect more {noun}: these would probably have found a gain of "
        f"{margin} (your margin)."
    )


def _units(row: Comparison) -> tuple[str, int]:
    """Return what is counted, and how many there are."""
    return ("cases", row.n) if row.n_clusters is None else ("clusters", row.n_clusters)


def _more(n: int, noun: str) -> str:
    return f"about {format_count(n, f'more {noun[:-1]}', f'more {noun}')}"


def _beside_prompt(standing: Standing, row: Comparison) -> NextStep | None:
    """Weigh a fine-tune that is better than the base against a prompt."""
    if standing.verdict.prompts:
        return weigh_prompts(standing.verdict)
    name = standing.variant
    prompts = [one for one in standing.names[1:] if is_prompted(one) and one != name]
    over = standing.over(prompts[0]) if prompts else None
    if over is None:
        return None
    if over.outcome in ("worse", "equivalent"):
        how = "better" if over.outcome == "worse" else "as good"
        return _step(
            NextKind.USE_PROMPT,
            f"Use the prompt instead of {name}: it is {how}, and needs no upkeep.",
        )
    share = standing.verdict.prompt_share
    if share is not None and share >= MOST_OF_THE_GAIN:
        return _step(
            NextKind.WEIGH_UPKEEP,
            f"Weigh the upkeep of {name}: a prompt alone reaches {format_percent(share)} of its "
            "gain.",
        )
    if over.outcome == "can't tell":
        return _step(
            NextKind.WEIGH_UPKEEP,
            f"Weigh the upkeep of {name}: it is not shown to beat a prompt{_told_by(over)}.",
        )
    return None


def _beside_rival(standing: Standing, row: Comparison) -> NextStep | None:
    """Weigh a fine-tune that is better than the base against another model."""
    over = {name: standing.over(name) for name in standing.names[1:] if is_rival(name)}
    return weigh_rivals(row, {name: own for name, own in over.items() if own})


def _told_by(row: Comparison) -> str:
    """Say how many more cases would tell, in brackets; "" where that is not known."""
    noun, n = _units(row)
    needed = row.n_if_alike if row.n_if_alike is not None else row.n_to_detect
    if needed is None or not n < needed <= MOST_NEEDED or not row.holds_at_worst:
        return ""
    return f" ({_more(needed - n, noun)} would tell)"


def _small(standing: Standing, row: Comparison) -> NextStep | None:
    if not is_small(row):
        return None
    return _step(
        NextKind.WEIGH_UPKEEP,
        f"Weigh the upkeep of {standing.variant}: it is better, but by less than your margin of "
        f"{format_number(row.margin)}.",
    )


def _doubts(standing: Standing, row: Comparison) -> NextStep | None:
    """Say what to check before a variant that is better is shipped."""
    name = standing.variant
    if standing.is_unconfirmed:
        return _check(
            f"Have people rate more answers before you ship {name}: their ratings do not confirm "
            "the judge's gain."
        )
    if standing.collapsed:
        return _check(f"Read answers of {name} before you ship it: it shows signs of collapse.")
    if standing.n_upset and 2 * standing.n_upset >= standing.n_readings:
        return _check(
            f"Find out why before you ship {name}: the result changes in {standing.n_upset} of "
            f"{format_count(standing.n_readings, 'other reading', 'other readings')}."
        )
    if promise_note(row):
        noun, n = _units(row)
        how_many = format_count(n, noun[:-1], noun)
        return _check(
            f"Confirm this on fresh cases before you ship {name}: {how_many} may be too few for "
            "this interval."
        )
    return None


def _check(text: str) -> NextStep:
    return _step(NextKind.CHECK, text)


def _unclear_guards(standing: Standing, row: Comparison) -> NextStep | None:
    unclear = standing.own("unclear", "guard")
    if not unclear:
        return None
    named = list_first([_place(guard) for guard in unclear], _N_NAMED)
    told = _told_by(max(unclear, key=lambda guard: guard.n_to_detect or 0))
    return _check(
        f"Before you ship {standing.variant}, decide whether you can live with not knowing if it "
        f"got worse on {named}{told}."
    )


def _place(row: Comparison) -> str:
    return row.metric if row.group == ALL else row.group


def _ship(standing: Standing, row: Comparison) -> NextStep | None:
    name = standing.variant
    head = f"Ship {name}"
    if is_prompted(name):
        head = "Use the prompt" if name == PROMPTED else f"Use {name}"
    head = f"{head}: it is better than {row.baseline} on {row.metric}"
    worse = standing.own("worse", "exploratory")
    if worse:
        named = list_first([_place(each) for each in worse], _N_NAMED)
        return _step(
            NextKind.SHIP, f"{head}. Look at {named} first, which got worse and guards nothing."
        )
    kept = [_place(guard) for guard in standing.own("kept", "guard")]
    if kept:
        return _step(NextKind.SHIP, f"{head}, and kept {list_first(kept, _N_NAMED)}.")
    return _step(
        NextKind.SHIP,
        f"{head}. What else it may have broken was not tested: name it with --guard_metric or "
        "--retention_group.",
    )


_RULES: tuple[Callable[[Standing, Comparison], NextStep | None], ...] = (
    _void,
    _unfinished,
    _judge,
    _lost,
    _worse,
    _stuck,
    _equivalent,
    _open,
    _beside_prompt,
    _beside_rival,
    _small,
    _doubts,
    _unclear_guards,
    _ship,
)

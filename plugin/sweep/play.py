"""Play a whole sweep: rounds, choice. The caller makes the scores that each step needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from plugin.records import Case
from plugin.sweep.choice import Choice, Veto, choose
from plugin.sweep.funnel import Cut, Scores, SweepPlan, cut_field

Ask = Callable[[Sequence[str], Sequence[Case]], Scores]
"""Takes names and cases, has the missing scores made, and returns the scores of these names on at
least these cases. What it cannot make, it leaves out."""

OnCut = Callable[[Cut], None]


@dataclass(frozen=True, slots=True)
class Played:
    """The part of a sweep that chooses.

    Attributes:
        plan: what took part.
        cuts: what each round decided, the last one included, which drops none.
        choice: what is recommended.
        scores: all that were made on the choosing cases.
    """

    plan: SweepPlan
    cuts: tuple[Cut, ...]
    choice: Choice
    scores: Scores

    @property
    def is_finished(self) -> bool:
        """Return whether all rounds are played. Until then the choice may change."""
        return len(self.cuts) == len(self.plan.rounds)


def play(
    plan: SweepPlan,
    ask: Ask,
    *,
    cheap: Mapping[str, float] | None = None,
    veto: Veto | None = None,
    on_cut: OnCut | None = None,
) -> Played:
    """Play the rounds of a sweep and choose.

    The same scores always give the same result, so a sweep that was stopped is played again from
    the start: `ask` then finds what is there.

    Args:
        plan: of the sweep.
        ask: makes scores.
        cheap: name -> mean of a cheap metric over the choosing cases, more is better.
        veto: see `choose`.
        on_cut: told of every round's result, to report progress.
    """
    alive = tuple(one.name for one in plan.checkpoints)
    scores = dict[str, dict[str, float]]()
    cuts = list[Cut]()
    for current in plan.rounds:
        names = (*plan.references, *alive)
        made = ask(names, plan.split.choosing[: current.n_cases])
        for name in names:
            scores.setdefault(name, {}).update(made.get(name, {}))
        cuts.append(cut_field(plan, current, scores, alive, cheap))
        alive = cuts[-1].kept
        if on_cut:
            on_cut(cuts[-1])
    return Played(plan, tuple(cuts), choose(plan, scores, alive, veto, cheap), scores)

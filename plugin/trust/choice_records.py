"""Frozen values of what people say: which answers they prefer, which reasons they find right."""

from __future__ import annotations

from dataclasses import dataclass

from plugin.compare.stats import MeanEstimate
from plugin.trust.rater_stats import Agreement


@dataclass(frozen=True, slots=True)
class CorrectedRate:
    """A win rate by the judge alone, and as people would give it for all cases.

    Attributes:
        judge_rate: win rate by the judge alone, over all cases.
        rate: the win rate corrected by people; None where people decided no drawn case.
        ci_low: lower end of its 95% interval; None if there is none.
        ci_high: upper end of that interval.
        lambda_: weight of the judge, from 0 (people alone) to 1.
        n_labelled: drawn cases on which people decided; only these count.
        n_missing: drawn cases that were to be rated, and on which nobody decided.
        n_all: cases judged.
        n_equal: of `n_all`, those with equal answers: a tie that nobody needs to rate.
        used_judge: False where people's choices stand alone.
        method: how it was computed, or why there is none, in words.
    """

    judge_rate: float
    rate: float | None
    ci_low: float | None
    ci_high: float | None
    lambda_: float
    n_labelled: int
    n_missing: int
    n_all: int
    n_equal: int
    used_judge: bool
    method: str


@dataclass(frozen=True, slots=True)
class JudgeBesidePeople:
    """How a metric and people agree on which of two answers is better.

    Of a metric that scores single answers, the sign of the gain is its choice.

    Attributes:
        metric: the metric.
        asks_judge: whether a judge stands behind it.
        is_relative: whether it compares two answers itself.
        n: cases with a choice of both on the same pair.
        n_split: of `n`, cases where no choice is the most common among raters; left out below.
        agreement: share of the other cases in which both say the same: win, tie or loss.
        kappa: Cohen's kappa of the same; None where undefined.
        same_winner: the same share where both name a winner.
        judge_rate: what the variant wins by the metric on the cases of people's win rate.
        people_rate: what it wins by people on the cases that both decided.
        difference: the mean of judge minus people on these cases.
        correction: the corrected win rate over all cases; None where nothing was drawn at random.
        contradicts: whether both name a winner that chance does not explain, and not the same one.
    """

    metric: str
    asks_judge: bool
    is_relative: bool
    n: int
    n_split: int
    agreement: MeanEstimate
    kappa: float | None
    same_winner: MeanEstimate
    judge_rate: float | None
    people_rate: float | None
    difference: MeanEstimate
    correction: CorrectedRate | None
    contradicts: bool


@dataclass(frozen=True, slots=True)
class ChoiceView:
    """Which of a variant's and the base's answers people prefer.

    Attributes:
        variant: the variant.
        baseline: the base.
        n_raters: people who decided at least one case.
        n_choices: choices in which they decided.
        n_undecided: choices in which they said that they can't decide.
        n_open: cases that were rated, but decided by nobody.
        n_shown: cases that raters were to rate; None where it is not known.
        is_random: whether `win_rate` rests on cases that were drawn at random.
        n_not_drawn: decided cases that it leaves out because a person chose to rate them.
        win_rate: mean over cases of what the variant wins: 1, 0, or 0.5 for a tie, of each case the
            mean over its raters.
        wins: cases that the variant won by most of its raters' choices; and so on.
        alpha: agreement among raters, with a tie half way between win and loss; None for one rater.
        same_choice: mean over cases of the share of pairs of raters who chose the same.
        beside: the metrics that chose, too.
    """

    variant: str
    baseline: str
    n_raters: int
    n_choices: int
    n_undecided: int
    n_open: int
    n_shown: int | None
    is_random: bool
    n_not_drawn: int
    win_rate: MeanEstimate
    wins: int
    ties: int
    losses: int
    alpha: Agreement | None
    same_choice: MeanEstimate
    beside: tuple[JudgeBesidePeople, ...]

    @property
    def side(self) -> int:
        """Return 1 if people prefer the variant, -1 for the base, 0 where chance may explain it."""
        return _side(self.win_rate)


def _side(rate: MeanEstimate) -> int:
    if rate.ci_low is None or rate.ci_high is None:
        return 0
    return (rate.ci_low > 0.5) - (rate.ci_high < 0.5)


@dataclass(frozen=True, slots=True)
class RaterHabit:
    """How one rater chose, over all pairs.

    Attributes:
        n_first: choices for the answer shown first.
        n_second: choices for the answer shown second.
        n_ties: choices of a tie.
        n_undecided: pairs that they could not decide.
        fault: what makes these choices doubtful, to follow the rater's name; "" for nothing.
    """

    rater: str
    n_first: int
    n_second: int
    n_ties: int
    n_undecided: int
    fault: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Choices and checks of reasons that do not count, by the reason why.

    Attributes:
        stale: of answers, cases or pairs that this run does not have.
        equal: of two answers that are equal.
        elsewhere: of two variants of which none is the base.
        repeated: earlier choices of the same rater on the same pair; the last one counts.
        impossible: with a value that no rater can have given.
    """

    stale: int = 0
    equal: int = 0
    elsewhere: int = 0
    repeated: int = 0
    impossible: int = 0


@dataclass(frozen=True, slots=True)
class CheckedReasons:
    """How many of the judge's reasons people found right, on one metric.

    Attributes:
        n_raters: people who decided at least one of them.
        n_undecided: checks in which they said that they can't decide.
        n_stale: checks of answers that this run does not have.
        right: mean over reasons of the share of raters who found it right.
        right_if_agreed: the same where the judge's score agrees with people.
        right_if_not: the same where it does not.
        n_unknown: reasons for scores of which it is not known whether people agree.
    """

    metric: str
    n_raters: int
    n_undecided: int
    n_stale: int
    right: MeanEstimate
    right_if_agreed: MeanEstimate
    right_if_not: MeanEstimate
    n_unknown: int


@dataclass(frozen=True, slots=True)
class HumanChoices:
    """What people say of a run besides ratings on a scale.

    Attributes:
        views: one per variant whose answers people compared with the base's.
        habits: one per rater.
        n_first: choices of all raters for the answer shown first, each pair and rater once.
        n_second: choices for the answer shown second.
        favours_place: whether these two differ so much that raters followed the place.
        left_out: what was not counted.
        reasons: one per metric whose reasons were checked.
    """

    views: tuple[ChoiceView, ...] = ()
    habits: tuple[RaterHabit, ...] = ()
    n_first: int = 0
    n_second: int = 0
    favours_place: bool = False
    left_out: LeftOut = LeftOut()
    reasons: tuple[CheckedReasons, ...] = ()

    @property
    def contradictions(self) -> tuple[tuple[ChoiceView, JudgeBesidePeople], ...]:
        """Return the views and metrics that contradict each other."""
        return tuple((view, row) for view in self.views for row in view.beside if row.contradicts)

"""Frozen values of the trust report: what a run found out about its judge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from plugin.trust.choice_records import HumanChoices


@dataclass(frozen=True, slots=True)
class Retest:
    """Scores of one metric that the judge was asked to give a second time.

    Attributes:
        n: scores that the judge gave a second time.
        n_failed: scores that it could not give a second time.
        n_moved: of `n`, the scores that changed.
        mean_change: mean size of the change, in the metric's unit; None when `n` is 0.
        largest_change: largest size of a change, in the metric's unit; None when `n` is 0.
    """

    metric: str
    n: int
    n_failed: int
    n_moved: int
    mean_change: float | None
    largest_change: float | None


@dataclass(frozen=True, slots=True)
class Canary:
    """The judge's scores of one kind of wrong answer, given to it in place of a completion.

    Attributes:
        name: name of the wrong answer, such as "empty praise".
        metric: the metric under which it was judged.
        mean: its mean score over the cases; None when every judgment failed.
        n: judgments that succeeded.
        n_failed: judgments that failed.
        real_mean: mean score of the run's own completions on the metric; None without any.
        passed: whether the judge scored it low enough; None when the test does not apply.
    """

    name: str
    metric: str
    mean: float | None
    n: int
    n_failed: int
    real_mean: float | None
    passed: bool | None


@dataclass(frozen=True, slots=True)
class Control:
    """The judge's scores of one kind of right answer, given to it in place of a completion.

    Attributes:
        name: name of the right answer, such as "expected output".
        metric: the metric under which it was judged.
        mean: its mean score over the cases; None when every judgment failed.
        n: judgments that succeeded.
        n_failed: judgments that failed.
        wrong_mean: mean score of the wrong answers on the metric; None without any.
        is_high: whether its mean score is high enough; None without a score.
        told_apart: whether the mean of all right answers on the metric is clearly above that of the
            wrong ones; None without scores of both.
    """

    name: str
    metric: str
    mean: float | None
    n: int
    n_failed: int
    wrong_mean: float | None
    is_high: bool | None
    told_apart: bool | None

    @property
    def passed(self) -> bool | None:
        """Whether the judge recognised the answer as right; None without a score."""
        if self.is_high is None:
            return None
        return self.is_high and self.told_apart is not False


@dataclass(frozen=True, slots=True)
class PairProbe:
    """The judge's preferences in one kind of pair whose better answer is known.

    Attributes:
        name: the answer in question, such as "null answer".
        metric: the metric under which it was judged.
        must: what the answer must do: lose, win, or tie.
        mean: its mean win value, ties as a half; for "tie" the share of the pairs in which the
            judge named a winner. None when every judgment failed.
        n: pairs that were judged.
        n_failed: pairs that could not be judged.
        passed: whether the judge did what it must; None when the test does not apply.
    """

    name: str
    metric: str
    must: Literal["lose", "win", "tie"]
    mean: float | None
    n: int
    n_failed: int
    passed: bool | None


@dataclass(frozen=True, slots=True)
class WordingCheck:
    """What changed when the judge scored some cases under another wording of the criterion.

    Attributes:
        metric: the metric that was reworded.
        place: which of its other wordings, from 0.
        text: the other wording.
        by_judge: whether the judge wrote it.
        n_scores: scores under both wordings.
        n_failed: scores that the judge could not give under the other wording.
        mean_change: mean change of these scores; None without any.
        mean_size: mean size of the change.
        n: cases of which both variants have scores under both wordings.
        gain: mean gain of the first variant over the base on these cases, under this wording.
        gain_before: the same under the original wording.
        p_value: two-sided p of "the gains are the same"; None without cases.
        holds: whether the gains do not differ; None if too few cases to tell.
    """

    metric: str
    place: int
    text: str
    by_judge: bool
    n_scores: int
    n_failed: int
    mean_change: float | None
    mean_size: float | None
    n: int
    gain: float | None
    gain_before: float | None
    p_value: float | None
    holds: bool | None


@dataclass(frozen=True, slots=True)
class Reading:
    """The result of the primary metric, read in another way.

    Attributes:
        name: how, in words.
        n: pairs that it rests on.
        gain: the gain read this way; None without pairs.
        ci_low: lower end of its 95% interval; None if there is none, as for another wording.
        ci_high: upper end of that interval.
        holds: whether the result stays the same; None if too little is known to tell.
    """

    name: str
    n: int
    gain: float | None
    ci_low: float | None
    ci_high: float | None
    holds: bool | None


@dataclass(frozen=True, slots=True)
class ReasonCheck:
    """Signs that the judge's reasons in the exam are worthless, on one metric.

    Attributes:
        n: reasons, each for a different answer.
        n_same: how often the most common reason was given.
        n_quotes: reasons that quote the prompt.
        repeats: whether nearly all reasons are the same.
        quotes_prompt: whether at least half of them quote the prompt.
    """

    metric: str
    n: int
    n_same: int
    n_quotes: int
    repeats: bool
    quotes_prompt: bool


@dataclass(frozen=True, slots=True)
class JudgeFreeGain:
    """A variant's gain over the base on a metric that needs no judge.

    Attributes:
        gain: the mean gain.
        agrees: whether it has the same sign as the judged gain; None when either is zero.
    """

    metric: str
    gain: float
    agrees: bool | None


@dataclass(frozen=True, slots=True)
class LengthSlope:
    """How a variant's gains over the base change with the length of its answers.

    Attributes:
        n: pairs that the line is fitted to.
        spread: standard deviation of the differences in length (within groups), in characters.
        slope: change in the gain for an answer longer by one spread; None when not estimated.
        ci_low: lower end of the slope's 95% interval.
        ci_high: upper end of that interval.
        at_equal_length: gain that the line predicts for answers of equal length; None without
            groups, or when a group has no differences around zero.
        method: how the slope was estimated, or why it was not, in words.
        n_groups: number of groups that the slope was fitted within; 0 for no groups.
        judge_free: the gains on the run's metrics that need no judge.
    """

    metric: str
    variant: str
    n: int
    spread: float | None
    slope: float | None
    ci_low: float | None
    ci_high: float | None
    at_equal_length: float | None
    method: str
    n_groups: int = 0
    judge_free: tuple[JudgeFreeGain, ...] = ()


@dataclass(frozen=True, slots=True)
class Family:
    """The model families of the judge and the model under test, read from their names.

    Attributes:
        judge: families found in the judge's name; () when none is known.
        model: families of the model under test.
        shared: families in both.
    """

    judge: tuple[str, ...]
    model: tuple[str, ...]
    shared: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Correction:
    """A variant's gain by the judge alone, and corrected by human ratings.

    Attributes:
        judge_gain: gain by the judge alone, with its interval.
        gain: gain corrected by human ratings; None when humans rated no pair.
        n_labelled: pairs of the random draw that have a human gain; only these count.
        n_unrated: pairs of the random draw in which no human rated both completions.
        n_all: pairs with a gain by the judge.
        method: how the correction was computed, or why there is none, in words.
    """

    variant: str
    judge_gain: float | None
    judge_ci_low: float | None
    judge_ci_high: float | None
    gain: float | None
    ci_low: float | None
    ci_high: float | None
    n_labelled: int
    n_unrated: int
    n_all: int
    method: str


@dataclass(frozen=True, slots=True)
class HumanView:
    """How well the judge agrees with human ratings on one metric.

    Attributes:
        n_raters: humans who rated.
        n_rated: completions that have a score from the judge and from humans (their mean).
        agreement: share of these for which the judge and most humans are in the same half of the
            range; without the undecided ones.
        kappa: Cohen's kappa of the halves; None when undefined.
        alpha: Krippendorff's alpha (interval level) of the scores of judge and humans (their mean).
        alpha_ci_low: lower end of alpha's 95% interval; None when there is no interval.
        alpha_ci_high: upper end of that interval.
        alpha_humans: Krippendorff's alpha among the humans alone; None with one rater.
        corrections: the corrected gain over the base of every variant.
        n_undecided: rated completions without a side: as many humans in the upper half as in the
            lower, or the judge in the very middle. They are no disagreement.
    """

    metric: str
    n_raters: int
    n_rated: int
    agreement: float | None
    kappa: float | None
    alpha: float | None
    alpha_ci_low: float | None
    alpha_ci_high: float | None
    alpha_humans: float | None
    corrections: tuple[Correction, ...]
    n_undecided: int = 0


@dataclass(frozen=True, slots=True)
class Trust:
    """Whether the judge can be trusted.

    Attributes:
        retests: one per metric that asks the judge about completions.
        canaries: wrong answers, by metric and then by kind.
        lengths: one per judged metric that decides and per variant.
        family: None when the judge was not examined.
        humans: one per metric that humans rated.
        controls: right answers, by metric and then by kind.
        reasons: one per metric with enough reasons.
        pairs: pairs whose better answer is known, by metric and then by kind.
        wordings: what other wordings of a criterion change, by metric.
        readings: the result of the primary metric, read in other ways.
        choices: which answers people prefer, and which reasons they find right; None where they
            said nothing of that.
    """

    retests: tuple[Retest, ...] = ()
    canaries: tuple[Canary, ...] = ()
    lengths: tuple[LengthSlope, ...] = ()
    family: Family | None = None
    humans: tuple[HumanView, ...] = ()
    controls: tuple[Control, ...] = ()
    reasons: tuple[ReasonCheck, ...] = ()
    pairs: tuple[PairProbe, ...] = ()
    wordings: tuple[WordingCheck, ...] = ()
    readings: tuple[Reading, ...] = ()
    choices: HumanChoices | None = None

    @property
    def failed_canaries(self) -> tuple[Canary, ...]:
        """Return the wrong answers that the judge scored too high."""
        return tuple(canary for canary in self.canaries if canary.passed is False)

    @property
    def low_controls(self) -> tuple[Control, ...]:
        """Return the right answers that the judge scored too low."""
        return tuple(row for row in self.controls if row.is_high is False)

    @property
    def alike_controls(self) -> tuple[Control, ...]:
        """Return the right answers of metrics where the judge did not prefer them to wrong ones."""
        return tuple(row for row in self.controls if row.told_apart is False)

"""What is known of the judge itself, as frozen values: the trust report of a run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Retest:
    """Scores of one metric that were asked for a second time.

    Attributes:
        n: scores asked for again, with an answer.
        n_failed: those without one.
        n_moved: of `n`, those that came out different.
        mean_change: mean size of the change, in the metric's unit; None without an answer.
        largest_change: the largest of them, likewise.
    """

    metric: str
    n: int
    n_failed: int
    n_moved: int
    mean_change: float | None
    largest_change: float | None


@dataclass(frozen=True, slots=True)
class Canary:
    """A wrong answer, put before the judge in a completion's place.

    Attributes:
        name: of the wrong answer, such as "empty praise".
        metric: the metric under which it was judged.
        mean: its mean score over the cases; None where no judgment could be had.
        n: judgments.
        n_failed: judgments that could not be had.
        real_mean: mean score of the run's own completions on the metric; None without any.
        passed: whether the judge saw that it is wrong; None where nothing follows.
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
    """A right answer, put before the judge in a completion's place.

    Attributes:
        name: of the right answer, such as "expected output".
        metric: the metric under which it was judged.
        mean: its mean score over the cases; None where no judgment could be had.
        n: judgments.
        n_failed: judgments that could not be had.
        wrong_mean: mean score of the wrong answers on the metric; None without any.
        is_high: whether it got a high score; None where nothing follows.
        told_apart: whether all right answers on the metric together scored above the wrong ones;
            None where nothing follows.
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
        """Whether the judge saw that it is right; None where nothing follows."""
        if self.is_high is None:
            return None
        return self.is_high and self.told_apart is not False


@dataclass(frozen=True, slots=True)
class ReasonCheck:
    """What the judge's reasons in the exam show, on one metric.

    Attributes:
        n: reasons, each to another answer.
        n_same: those that are the most common one.
        n_quotes: those that quote the prompt.
        repeats: whether nearly all are the same.
        quotes_prompt: whether half of them or more quote the prompt.
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
        agrees: whether it has the sign of the judge's gain; None where either is zero.
    """

    metric: str
    gain: float
    agrees: bool | None


@dataclass(frozen=True, slots=True)
class LengthSlope:
    """How a variant's gains over the base go along with the length of its answers.

    Attributes:
        n: pairs that the line is fitted to.
        spread: one spread of the differences in length (within groups), in characters.
        slope: what goes with an answer longer by one spread, in the gain's unit; None where
            nothing can be said.
        ci_low: lower end of its 95% interval.
        ci_high: its upper end.
        at_equal_length: the gain that the line gives for answers of the same length; None without
            groups, and where a group has no differences around zero.
        method: how it was computed, or why it was not, in words.
        n_groups: groups of cases that the slope was fitted within; 0 for none.
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
    """The families of models that judge and model under test belong to, as names tell.

    Attributes:
        judge: those found in the judge's name; () when none is known.
        model: those of the model under test.
        shared: in both.
    """

    judge: tuple[str, ...]
    model: tuple[str, ...]
    shared: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Correction:
    """A variant's gain as the judge sees it, and as humans would.

    Attributes:
        judge_gain: by the judge alone, with its interval.
        gain: corrected by the human ratings; None without any pair that humans rated.
        n_labelled: pairs with a human gain that count: cases of the random draw.
        n_unrated: pairs of the draw that no human rated on both sides.
        n_all: pairs with a judge's gain.
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
    """How the judge compares with human ratings on one metric.

    Attributes:
        n_raters: humans who rated.
        n_rated: completions that both humans (their mean) and judge gave a score.
        agreement: share of those on which both stand on the same side of the range's middle.
        kappa: Cohen's, of the same; None where undefined.
        alpha: Krippendorff's for intervals, of the scores of judge and humans (their mean).
        alpha_ci_low: lower end of its 95% interval; None where none can be given.
        alpha_ci_high: its upper end.
        alpha_humans: among the humans themselves; None with one rater.
        corrections: of every variant's gain over the base.
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


@dataclass(frozen=True, slots=True)
class Trust:
    """Whether the judge can be trusted.

    Attributes:
        retests: per metric that asks the judge about completions.
        canaries: by metric, then wrong answer.
        lengths: per deciding metric of the judge and variant.
        family: None where the judge was not looked at.
        humans: per metric that humans rated.
        controls: by metric, then right answer.
        reasons: per metric with enough reasons.
    """

    retests: tuple[Retest, ...] = ()
    canaries: tuple[Canary, ...] = ()
    lengths: tuple[LengthSlope, ...] = ()
    family: Family | None = None
    humans: tuple[HumanView, ...] = ()
    controls: tuple[Control, ...] = ()
    reasons: tuple[ReasonCheck, ...] = ()

    @property
    def failed_canaries(self) -> tuple[Canary, ...]:
        """Return the canaries that the judge liked."""
        return tuple(canary for canary in self.canaries if canary.passed is False)

    @property
    def low_controls(self) -> tuple[Control, ...]:
        """The right answers that the judge gave a low score."""
        return tuple(row for row in self.controls if row.is_high is False)

    @property
    def alike_controls(self) -> tuple[Control, ...]:
        """The right answers on metrics where the judge did not score them above wrong ones."""
        return tuple(row for row in self.controls if row.told_apart is False)

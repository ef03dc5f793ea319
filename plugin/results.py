"""What a run found, as frozen values: means, comparisons, and the one verdict."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from plugin.records import ALL

WAITING = "Latency under load"
"""What a lost guard on waiting times is called as a metric."""

Outcome = Literal["better", "worse", "equivalent", "can't tell"]
GuardOutcome = Literal["lost", "kept", "unclear"]
Role = Literal["primary", "guard", "exploratory", "described"]
"""Whether a comparison decides, may only veto, shows where to look, or only describes."""


class IntervalKind(StrEnum):
    """How an interval was computed."""

    NONE = "none"
    BOOTSTRAP = "bootstrap"
    SIGN_FLIP = "sign-flip"
    MAX_T = "max-t"
    BETTING = "betting"
    SEQUENCE = "confidence sequence"


@dataclass(frozen=True, slots=True)
class Summary:
    """One variant on one metric in one group: mean score with its 95% interval.

    No data gives None, never zero.
    """

    metric: str
    variant: str
    group: str
    mean: float | None
    n: int
    n_failed: int
    ci_low: float | None
    ci_high: float | None
    higher_is_better: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """A variant against a baseline on one metric in one group, over the cases that both have.

    Attributes:
        n: pairs of scores.
        n_clusters: clusters that the pairs belong to, None when every case stands for itself.
        effective_clusters: how many clusters of one size would say as much (Kish); None like that.
        largest_cluster_share: the largest cluster's share of the pairs; None like that.
        skewness: of the clusters' mean gains; None like that.
        n_retryable: failed scores that another try may bring.
        stuck_at: "worst" or "best" where both have that score on nearly every case, so that hardly
            any difference could show; else "".
        n_if_alike: pairs or clusters that would tell if further ones are like these; only where too
            few of them vary to say it by their spread.
        n_failed_variant: cases of the group without a score of the variant.
        n_failed_baseline: the same for the baseline.
        difference: mean of variant minus baseline, in the metric's own direction.
        gain: the difference, turned so that more is better.
        ci_low: lower end of the 95% interval of the gain; None where none can be given.
        ci_high: its upper end.
        p_value: of "no difference", of a guard one-sided of "no harm", before adjustment.
        p_adjusted: after Holm's step-down within the family; None where it was not tested.
        outcome: what follows for this comparison alone; None where it only describes, or was not
            tested because what comes before it was not shown.
        role: of the comparison in the verdict.
        n_family: tests that share the 5% chance of a false outcome with it, itself included.
        method: how interval and p were computed, in words.
        interval_kind: how the interval was computed, for decisions.
        why_no_interval: why there is none, in words; "" where there is one.
        margin: the smallest difference that matters.
        n_to_detect: pairs, with clusters clusters like these, that would detect the margin with 80%
            power, of a guard show that nothing was lost; None when settled.
        n_for_equivalence: the same for showing that there is no gain beyond the margin.
        smallest_detectable: the gain that these pairs or clusters detect with 80% power; None where
            even the largest possible gain is too small.
        holds_at_worst: False when counting the failures at their worst would change the outcome.
        wins: pairs with a positive gain.
        losses: pairs with a negative gain.
        partial: not every case has been worked yet.
        is_relative: completions were compared: the variant's mean is its win rate against the
            baseline, whose own mean is one half by definition.
    """

    metric: str
    variant: str
    baseline: str
    group: str
    n: int
    n_failed_variant: int
    n_failed_baseline: int
    variant_mean: float | None
    baseline_mean: float | None
    difference: float | None
    gain: float | None
    ci_low: float | None
    ci_high: float | None
    p_value: float | None
    p_adjusted: float | None
    outcome: Outcome | GuardOutcome | None
    method: str
    margin: float
    n_to_detect: int | None
    smallest_detectable: float | None
    holds_at_worst: bool
    wins: int
    losses: int
    higher_is_better: bool
    partial: bool = False
    role: Role = "primary"
    n_family: int = 1
    n_for_equivalence: int | None = None
    n_clusters: int | None = None
    interval_kind: IntervalKind = IntervalKind.NONE
    why_no_interval: str = ""
    effective_clusters: float | None = None
    largest_cluster_share: float | None = None
    skewness: float | None = None
    is_relative: bool = False
    n_retryable: int = 0
    stuck_at: Literal["", "worst", "best"] = ""
    n_if_alike: int | None = None

    @property
    def n_ties(self) -> int:
        """Return the number of pairs with no difference at all."""
        return self.n - self.wins - self.losses


@dataclass(frozen=True, slots=True)
class Harm:
    """A guard that a variant lost: a metric over all cases, or a retention group.

    Attributes:
        gain: mean gain, below zero.
    """

    variant: str
    metric: str
    group: str
    gain: float
    ci_low: float | None
    ci_high: float | None
    n: int

    @property
    def name(self) -> str:
        """Return what was lost, by its name."""
        return self.metric if self.group == ALL else self.group


@dataclass(frozen=True, slots=True)
class RivalGap:
    """How far the variant with the highest mean is ahead of another one, on the primary metric.

    Attributes:
        n: cases that both have a score for.
        n_clusters: clusters of these cases; None if every case stands for itself.
        n_failed: cases in which the score of one of them, or of both, failed.
        gain: mean difference of the two on the same case, turned so that more is better.
        ci_low: lower end of its 95% interval; with more than two variants the intervals of all
            their pairs hold at once. None if there is no interval.
        ci_high: upper end of that interval.
        outcome: of the best one against the other one.
        n_pairs: pairs of variants that the interval holds for at once.
        method: how the interval was computed, or why there is none, in words.
        is_relative: whether the two were compared with each other: the means are what each wins.
    """

    best: str
    other: str
    metric: str
    n: int
    n_clusters: int | None
    n_failed: int
    best_mean: float | None
    other_mean: float | None
    gain: float | None
    ci_low: float | None
    ci_high: float | None
    margin: float
    outcome: Outcome
    n_pairs: int
    method: str
    is_relative: bool = False


class NextKind(StrEnum):
    """What to do next, in a word for machines. `plugin.compare.next_step` has the rules.

    RAISE_LIMIT: too many answers end inside their thoughts.
    FINISH: the run is not finished.
    FIX_ADAPTER: the adapter was not applied as it should be.
    COMPARE: only one variant was run.
    REAL_JUDGE: the judge only counts words.
    OTHER_JUDGE: the judge failed its test, or judges itself.
    FIX_FAILURES: failed scores could change the answer.
    OTHER_CASES: both variants are at one end of the scale.
    DO_NOT_SHIP: worse, or a guard was lost.
    KEEP_BASE: no difference that matters.
    COLLECT: more cases would tell.
    USE_PROMPT: a prompt does as well.
    WEIGH_UPKEEP: better, but by little, or hardly more than a prompt.
    CHECK: better, but something is to be checked first.
    SHIP: better, and nothing speaks against it.
    """

    RAISE_LIMIT = "raise limit"
    FINISH = "finish"
    FIX_ADAPTER = "fix adapter"
    COMPARE = "compare"
    REAL_JUDGE = "real judge"
    OTHER_JUDGE = "other judge"
    FIX_FAILURES = "fix failures"
    OTHER_CASES = "other cases"
    DO_NOT_SHIP = "do not ship"
    KEEP_BASE = "keep base"
    COLLECT = "collect"
    USE_PROMPT = "use prompt"
    WEIGH_UPKEEP = "weigh upkeep"
    CHECK = "check"
    SHIP = "ship"


@dataclass(frozen=True, slots=True)
class NextStep:
    """What the reader should do next.

    Attributes:
        text: one or two sentences.
    """

    kind: NextKind
    text: str

    @property
    def line(self) -> str:
        """Return it as a line of its own, below the verdict's sentence."""
        return f"Next: {self.text}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The one answer.

    Attributes:
        outcome: None when there was nothing to compare.
        sentence: the answer in one line.
        details: what the reader must know besides, most important first.
        primary_metric: the metric that decided.
        variant: the one that the verdict is about, of several the recommended one; "" when there
            was nothing to compare.
        harms: the guards that any variant lost.
        rivals: of several variants, the one with the highest mean against each other one.
        prompts: of several prompts, the variant against each one, the best prompt first; the
            intervals hold for all of them at once.
        prompt_share: how much of the variant's gain a prompt alone reaches; None where the gain is
            not told from zero, or without a prompt.
        next_step: what to do next; None before that is known.
        beside: those of the details that compare it with other models and with several prompts.
    """

    outcome: Outcome | None
    sentence: str
    details: tuple[str, ...]
    primary_metric: str | None
    variant: str = ""
    harms: tuple[Harm, ...] = ()
    rivals: tuple[RivalGap, ...] = ()
    prompts: tuple[RivalGap, ...] = ()
    prompt_share: float | None = None
    next_step: NextStep | None = None
    beside: tuple[str, ...] = ()

    @property
    def lost(self) -> tuple[str, ...]:
        """Return what the variant that the verdict is about lost, by name."""
        return tuple(harm.name for harm in self.harms if harm.variant == self.variant)

    @property
    def chip(self) -> str:
        """Return the outcome in a few words, with what was lost."""
        outcome = self.outcome or "no comparison"
        if not self.lost:
            return outcome
        joined = "but" if outcome in ("better", "equivalent") else "and"
        return f"{outcome}, {joined} lost: {', '.join(self.lost)}"

    @property
    def headline(self) -> tuple[str, ...]:
        """Return the sentence and what to do next, a line each."""
        return (self.sentence, *((self.next_step.line,) if self.next_step else ()))

    @property
    def text(self) -> str:
        """Return the sentence, what to do next, and the details, a line each."""
        return "\n".join((*self.headline, *self.details))


@dataclass(frozen=True, slots=True)
class DatasetNumber:
    """A number over all answers of a variant together, which is not a mean of scores.

    Attributes:
        metric: the metric that it belongs to.
        name: such as "macro F1".
        part: a class or a field; "" for the whole.
        value: None where it is undefined.
        n: cases that it is made of.
        ci_low: lower end of the 95% interval; None where none is given.
        ci_high: its upper end.
        difference: value minus the base's; None for the base, and where one of them is undefined.
        difference_low: lower end of the difference's 95% interval; None where none is given.
        difference_high: its upper end.
    """

    metric: str
    name: str
    variant: str
    value: float | None
    n: int
    part: str = ""
    ci_low: float | None = None
    ci_high: float | None = None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None


@dataclass(frozen=True, slots=True)
class ConfusionMatrix:
    """How often a variant named which class where which one was expected.

    Attributes:
        labels: the classes; a row each.
        counts: per expected class how often each class was named; one column more than there are
            classes, for answers that name none or several.
    """

    metric: str
    variant: str
    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Violation:
    """What is wrong with so many answers of a variant.

    Attributes:
        text: the violation in words.
        n: answers with it.
        n_answers: answers that were looked at.
    """

    metric: str
    variant: str
    text: str
    n: int
    n_answers: int


@dataclass(frozen=True, slots=True)
class TaskResults:
    """What metrics of the task show besides the means of their scores.

    Attributes:
        violations: by metric and variant, the commonest first.
    """

    numbers: tuple[DatasetNumber, ...] = ()
    matrices: tuple[ConfusionMatrix, ...] = ()
    violations: tuple[Violation, ...] = ()

    def __bool__(self) -> bool:
        """Return whether there is anything to show."""
        return bool(self.numbers or self.matrices or self.violations)

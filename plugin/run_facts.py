"""What the journal knows about a run besides its rows: a header and a state, as frozen values.

The header is written once; the state grows while the run goes on. Nobody else names these facts by
a string: to add one, add a field here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from plugin.records import MetricSpec, Variant
from plugin.training_curves import Curves
from plugin.training_facts import TrainingFacts


@dataclass(frozen=True, slots=True)
class CheckpointFacts:
    """A checkpoint that takes part in a sweep.

    Attributes:
        name: of its variant.
        value: its place on the axis, such as its training step.
        path: its folder, or its file.
        digest: of weights and settings.
    """

    name: str
    value: float
    path: str
    digest: str


@dataclass(frozen=True, slots=True)
class SweepFacts:
    """What a sweep is about, besides what it has in common with a run.

    Attributes:
        words: what the user named, as absolute paths, some with a value before them.
        axis: what the values are, such as "step".
        checkpoints: by their place on the axis.
        skipped: place and reason of each that takes no part.
        notes: what the reader must know of them, a sentence each.
    """

    words: tuple[str, ...]
    axis: str
    checkpoints: tuple[CheckpointFacts, ...]
    skipped: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FoldFacts:
    """One fold: a run whose adapter was trained on the other folds.

    Attributes:
        name: as shown.
        source: its run, for the reader.
        case_ids: its cases, as they are named where the folds are pooled.
        is_checked: whether its run compared the cases with the adapter's training data.
        n_left_out: cases that stand in that data, and are left out.
    """

    name: str
    source: str
    case_ids: tuple[str, ...]
    is_checked: bool = False
    n_left_out: int = 0


@dataclass(frozen=True, slots=True)
class PooledFacts:
    """The folds of one recipe whose cases are put together, each scored by its own adapter.

    Attributes:
        variant: under what name the adapters are put together.
        folds: those that are here.
        n_folds: how many there are; as many as are here, where nobody says.
        missing: those that are not here, by name.
    """

    variant: str
    folds: tuple[FoldFacts, ...]
    n_folds: int
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunHeader:
    """What a run is; written once, before anything is made.

    Attributes:
        run_id: digest of identity and digests, 16 hex digits.
        identity: the settings and versions that the results depend on, by name.
        digests: the files and data that they depend on, by name. A folder's run goes on when
            identity and digests are the same.
        params: what the user asked for, as `Params.parse` reads it.
        variants: the baseline first.
        metrics: the primary metric first, with the user's margin.
        primary_metric: the shown name of the metric that decides.
        judge: the judges as shown.
        caveat: what must stand in the verdict's first line; "" for nothing.
        self_judging: the judges that are the model under test themselves, as shown.
        notes: what the reader must know of data and variants, a sentence each.
        metric_choice: which metrics were chosen for the user, and why, a sentence each.
        model_type: the architecture that the base's configuration names; "" for none.
        strips_thoughts: whether only what follows a completion's thoughts is scored.
        n_source_rows: rows of the data set, the unusable ones included.
        versions: of this program, its libraries, the engine and the platform.
        sweep: what a sweep of checkpoints is about; None for a run.
        pooled: the folds of one recipe, where these are put together; None for others.
    """

    run_id: str
    identity: Mapping[str, object]
    digests: Mapping[str, object]
    params: Mapping[str, object]
    variants: tuple[Variant, ...]
    metrics: tuple[MetricSpec, ...]
    primary_metric: str
    judge: str
    caveat: str = ""
    self_judging: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    metric_choice: tuple[str, ...] = ()
    model_type: str = ""
    strips_thoughts: bool = False
    n_source_rows: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)
    sweep: SweepFacts | None = None
    pooled: PooledFacts | None = None


@dataclass(frozen=True, slots=True)
class PromptFacts:
    """What the report says of the prompts that one model read.

    Attributes:
        digest: of all of them.
        n_tokens: over all cases; None where the engine never sees tokens.
        first_token_ids: those of the first case; empty where the engine never sees tokens.
    """

    digest: str
    n_tokens: int | None = None
    first_token_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class SecondJudging:
    """What a second judge did.

    Attributes:
        judge: as shown.
        n_pairs: pairs that the first judge scored.
        n_sent: those of which it was unsure, so that the second one was asked.
        n_failed: those on which the second one failed.
    """

    judge: str
    n_pairs: int
    n_sent: int
    n_failed: int


@dataclass(frozen=True, slots=True)
class JudgeCalls:
    """What judging took, over all sessions of a run; written while it goes on.

    Attributes:
        n_calls: calls that were begun, whatever came of them.
        n_lost: those of which no end was seen: under way, given up after a time limit, or cut off
            when the run was stopped or killed.
        cost: in US dollars; that of a lost call is estimated.
    """

    n_calls: int = 0
    n_lost: int = 0
    n_cached: int = 0
    n_retries: int = 0
    n_unfit: int = 0
    n_repaired: int = 0
    n_prompt_tokens: int = 0
    n_completion_tokens: int = 0
    cost: float = 0.0


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What the judge gave one probe: a value, or why there is none.

    Attributes:
        kind: "retest", or the name of a canary, a control, a known pair or another wording.
        value: the score; of a pair, what the answer in question wins.
        reason: the judge's, where it came with the score; "" for none.
        quotes_prompt: whether the reason is mostly the prompt's own words.
    """

    kind: str
    case_id: str
    variant: str
    metric: str
    value: float | None = None
    failure: str = ""
    reason: str = ""
    quotes_prompt: bool = False

    @property
    def place(self) -> tuple[str, str, str, str]:
        """Return what tells this probe from all others."""
        return self.kind, self.case_id, self.variant, self.metric


@dataclass(frozen=True, slots=True)
class Rating:
    """What one human gave one completion on one metric, in the metric's own unit and direction."""

    case_id: str
    digest: str
    metric: str
    rater: str
    value: float


@dataclass(frozen=True, slots=True)
class PageItem:
    """What one opaque id of a rating page stands for; raters never see this.

    Attributes:
        item: the opaque id; unique over all pages of a run.
        page: the opaque id of the rating page.
        kind: "pair", "single" (one answer, on a metric) or "reason" (what the judge wrote).
        case_id: the case.
        metric: the metric; "" for a pair.
        shown: digests of the completions, in the order shown; one unless the item is a pair.
    """

    item: str
    page: str
    kind: Literal["pair", "single", "reason"]
    case_id: str
    metric: str
    shown: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HumanChoice:
    """Which of two completions of a case one human preferred.

    Attributes:
        case_id: the case.
        digests: the two completions, in the order in which they were shown.
        rater: who chose.
        won: what the first one won: 1, 0, 0.5 for a tie; None where the rater could not decide.
        comment: what the rater wrote; may be empty.
    """

    case_id: str
    digests: tuple[str, str]
    rater: str
    won: float | None
    comment: str = ""


@dataclass(frozen=True, slots=True)
class ReasonCheck:
    """Whether one human found the judge's reason for a score right; None: could not decide."""

    case_id: str
    digest: str
    metric: str
    rater: str
    is_right: bool | None
    comment: str = ""


@dataclass(frozen=True, slots=True)
class CapabilityChoice:
    """How general ability is tested in a run.

    Attributes:
        size: which set of items is asked.
        is_guard: whether a lost ability counts as harm in the verdict.
        note: what the user is told about it: what it takes, or why it is left out.
    """

    size: Literal["off", "quick", "full"]
    is_guard: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class LoadLevel:
    """A level of load that was measured.

    Attributes:
        n_at_once: requests that were under way at once, over all variants together.
        n_requests: requests of each variant that count.
        n_warm: requests before these, which do not count, of all variants together.
        n_asked: requests of each variant that the user asked for; 0 where the program chose.
        seconds: what the level took.
        gave_up: why not all requests were sent; "" where they were.
    """

    n_at_once: int
    n_requests: int
    n_warm: int
    n_asked: int
    seconds: float
    gave_up: str = ""


@dataclass(frozen=True, slots=True)
class LoadFacts:
    """How latency was measured under load.

    Attributes:
        levels: those that were measured, the smallest first.
        asked: all levels that the user asked for; those without a measurement are left to do.
        n_asked: requests of each variant and level that the user asked for; 0: the program chooses.
        guard: what must not get slower, as the user wrote it; "" for nothing.
    """

    levels: tuple[LoadLevel, ...] = ()
    asked: tuple[int, ...] = ()
    n_asked: int = 0
    guard: str = ""


@dataclass(frozen=True, slots=True)
class RunState:
    """What a run has found out so far besides completions, scores and failures.

    Attributes:
        seconds: stage -> its seconds, over all sessions.
        prompts: those of the baseline; None before any was made.
        other_prompts: variant -> its prompts, for models loaded after the baseline's.
        prompt_notes: how the engines make prompts, a sentence each.
        decoding: how the engines put completions into batches, in words.
        n_before_resuming: completions that were there when another session made the rest.
        certificates: variant -> its effect certificate, as fields.
        expected_tokens: case id -> digest of the tokens of its expected output.
        evaluation_steps: metric -> the steps that its judge follows.
        judge_calls: what judging took.
        halted: which limit ended judging; "" for none.
        stopped_early: whether judging stopped because the verdict was settled.
        second_judge: None where none was asked.
        exam: what the judge gave the probes; None before it was examined.
        rewordings: metric -> its criterion in other words, part by part, as the exam used them.
        ratings: what humans gave.
        drawn_for_rating: ids of the cases that were drawn at random for rating.
        page_items: the key of all rating pages.
        human_choices: which completions humans preferred.
        reason_checks: what humans say of the judge's reasons.
        capability: how general ability is tested; None before that was decided.
        text_note: why texts were not read, or are not compared; "" for nothing to say.
        training: what is known of the training data; None where none was named.
        curves: the loss curves of the training, by variant, where its logs were found.
        sweep_skipped: checkpoint of a sweep that could not be used after all -> the reason.
        sweep_choice: what a sweep recommends; "" before it has chosen.
        load: how latency was measured under load; None where it was not.
    """

    seconds: Mapping[str, float] = field(default_factory=dict)
    prompts: PromptFacts | None = None
    other_prompts: Mapping[str, PromptFacts] = field(default_factory=dict)
    prompt_notes: tuple[str, ...] = ()
    decoding: tuple[str, ...] = ()
    n_before_resuming: int = 0
    certificates: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    expected_tokens: Mapping[str, str] = field(default_factory=dict)
    evaluation_steps: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    judge_calls: JudgeCalls = JudgeCalls()
    halted: str = ""
    stopped_early: bool = False
    second_judge: SecondJudging | None = None
    exam: tuple[ProbeResult, ...] | None = None
    rewordings: Mapping[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict)
    ratings: tuple[Rating, ...] = ()
    drawn_for_rating: tuple[str, ...] = ()
    page_items: tuple[PageItem, ...] = ()
    human_choices: tuple[HumanChoice, ...] = ()
    reason_checks: tuple[ReasonCheck, ...] = ()
    capability: CapabilityChoice | None = None
    text_note: str = ""
    training: TrainingFacts | None = None
    curves: Mapping[str, Curves] = field(default_factory=dict)
    sweep_skipped: Mapping[str, str] = field(default_factory=dict)
    sweep_choice: str = ""
    load: LoadFacts | None = None

"""The things this project talks about, as frozen values.

Scores, failures and tables name a variant by its `name`, which is unique within a run; the journal
keys what a variant produced by content (see `journal.py`), so that it stays valid between runs.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from plugin.code_tests import CodeTests

ALL = "all"
"""The group that every case belongs to."""

VANILLA = "vanilla"
"""The name under which the base model is shown."""

PROMPTED = "prompted"
"""The name under which the base model with an engineered prompt is shown; where there are several
prompts, each is shown as this word, a space, and a name of its own."""

RIVAL = "rival"
"""Before the name of another model that the tuned ones are measured against, and a space."""

SYNTHETIC = "synthetic"
"""The group of the cases whose questions a judge wrote."""

DATA = "data set"
"""What stands in a variant's place where a metric judges the case and no completion."""

EVEN = 0.5
"""What a variant wins against itself: the score of the baseline where completions are compared."""

LATER_SAMPLES = 1000
"""The lowest number that a preference of another sample than the first has as its `repeat`."""

MUCH_BETTER = 2
"""The highest level of a preference; the lowest is its negative."""


def is_prompted(name: str) -> bool:
    """Return whether a variant of this name is the base with an engineered prompt."""
    return name == PROMPTED or name.startswith(f"{PROMPTED} ")


def is_rival(name: str) -> bool:
    """Return whether a variant of this name is another model, neither the base nor tuned."""
    return name.startswith(f"{RIVAL} ")


def is_yardstick(name: str) -> bool:
    """Return whether a variant of this name is there to measure the tuned ones against."""
    return is_prompted(name) or is_rival(name)


FailureStage = Literal["data", "generate", "judge", "metric"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat; role is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the data set.

    Attributes:
        id: the given id, or the 1-based row of the source as text; unique in a data set.
        messages: the turns up to and including the last user text.
        expected_output: what a good answer says, if known; the first of several right answers.
        references: all right answers, if there are several; the best of them counts.
        context: true texts that the answer must not contradict.
        expect: texts or patterns that the metric Contains looks for in an answer to this case.
        tests: what the code in an answer must do; None for none.
        group: a slice reported on its own.
        cluster: cases with one cluster belong together and are resampled together.
        retention: its group is one that must not get worse.
        metadata: columns that nothing here reads, kept for the reader.
        follows: id of the case with the turn before, where each variant answers a conversation turn
            by turn; `messages` then has the user's turns alone (see `plugin.conversations`).
        ends_conversation: whether it is the last of several such turns.
    """

    id: str
    messages: tuple[Message, ...]
    expected_output: str | None = None
    context: tuple[str, ...] = ()
    group: str | None = None
    cluster: str | None = None
    retention: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)
    references: tuple[str, ...] = ()
    expect: tuple[str, ...] = ()
    follows: str | None = None
    ends_conversation: bool = False
    tests: CodeTests | None = None

    @property
    def input(self) -> str:
        """Return the last user text."""
        return next(turn.content for turn in reversed(self.messages) if turn.role == "user")

    @property
    def role(self) -> str:
        """Return the system turn's text, which says what the assistant is to be; "" for none."""
        return "\n\n".join(turn.content for turn in self.messages if turn.role == "system")

    @property
    def right_answers(self) -> tuple[str, ...]:
        """Return every text that is a right answer; none if no expected output is known."""
        alone = () if self.expected_output is None else (self.expected_output,)
        return self.references or alone

    @property
    def expected_text(self) -> str | None:
        """Return the expected output for a judge or a reader: of several, all, as a list."""
        if not self.references:
            return self.expected_output
        listed = "".join(f"\n- {answer}" for answer in self.references)
        return f"Any one of these is right; take the one that fits best:{listed}"


@dataclass(frozen=True, slots=True)
class Variant:
    """One thing compared: a model, with an adapter or a prompt, or completions made elsewhere.

    Attributes:
        name: unique within a run; `VANILLA` for the base.
        id: digest of weights, tokenizer, adapter, engine and sampling.
        model: hub id or directory, as the user gave it.
        adapter_path: the adapter's directory, or the name that a server knows it by; None for the
            base.
        adapter_digest: digest of the adapter's files, None for the base and on a server.
        system_prompt: put before every case's messages.
        own_chat: whether its adapter brings a chat template or an end-of-text token of its own.
    """

    name: str
    id: str
    model: str
    adapter_path: str | None = None
    adapter_digest: str | None = None
    system_prompt: str | None = None
    own_chat: bool = False


@dataclass(frozen=True, slots=True)
class Draw:
    """How a completion is drawn at random; the same seed draws with the same noise."""

    seed: int
    temperature: float


@dataclass(frozen=True, slots=True)
class Prompt:
    """What one variant is to complete for one case.

    Attributes:
        variant: its name.
        messages: the turns, under the variant's system prompt.
        token_ids: the same as tokens; empty where the engine never sees any.
        max_tokens: longest completion of this prompt, in tokens; None for the engine's.
        draw: how it is drawn; None for the most likely tokens.
        sample: which of several completions of the case it is, from 0.
    """

    case_id: str
    variant: str
    messages: tuple[Message, ...]
    token_ids: tuple[int, ...]
    max_tokens: int | None = None
    draw: Draw | None = None
    sample: int = 0

    @property
    def place(self) -> tuple[str, str, int]:
        """Return case, variant and sample, which together name its completion."""
        return self.case_id, self.variant, self.sample


@dataclass(frozen=True, slots=True)
class Completion:
    """The text that a variant produced for a case.

    Attributes:
        token_ids: what was generated, without the end-of-text token; empty where only the text is
            known.
        finish_reason: "stop" (the model ended) or "length" (cut off at max_tokens); None where
            it was not reported.
        seconds: from the case's start in its batch to its last token; None where not measured.
        n_prompt_tokens: length of the prompt; None where not counted.
        n_tokens: length of the completion; None where not counted.
        is_masked: whether its text held a secret, which was replaced.
        sample: which of several completions of the case it is, from 0.
    """

    case_id: str
    variant: str
    text: str
    token_ids: tuple[int, ...]
    finish_reason: Literal["stop", "length"] | None
    seconds: float | None
    n_prompt_tokens: int | None
    n_tokens: int | None = None
    is_masked: bool = False
    sample: int = 0

    def copy_for(self, case_id: str, variant: str) -> Completion:
        """Return the same completion for another case or variant that would get it too."""
        return replace(self, case_id=case_id, variant=variant)


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """What a metric declares of itself.

    Attributes:
        key: names the metric in `METRICS`; for a criterion of the user's own, made of its name.
        name: as shown, e.g. "Answer Relevancy".
        higher_is_better: the metric's own direction.
        low: the smallest possible score.
        high: the largest possible score.
        needs: which optional parts of a case it reads: "expected_output", "context", "role"; and
            "ends_conversation" for a metric that scores a whole conversation, at its last turn.
        needs_engine: what it needs of the engine besides the text: "loglikelihood", "seconds",
            "tokens" (their count), "finish_reason".
        decides: whether it may decide a verdict; a descriptive metric never does.
        asks_judge: whether a judge answers it.
        n_questions: how many questions a completion costs, besides that for the reason.
        n_questions_per_turn: how many each turn of the conversation adds.
        reads_conversation: whether each question shows the whole conversation.
        asks_reason: whether the reason of a score is a question of its own.
        judges_data: whether it looks at the case alone and at no completion; such a metric is
            scored once per case, under the name `DATA`, and never compared.
        is_relative: whether it compares two completions: the score of a variant is what it wins
            against a baseline (`Preference.value`), and the baseline's own score is `EVEN` by
            definition. It costs `n_questions` per case and pair of variants.
        compares_samples: whether it compares the samples of a case, where a case has no context.
        is_guard: whether it may only veto: it is tested for harm beyond its margin.
        margin: the smallest difference that matters, in the metric's unit.
        margin_unit: what a margin of 1 is in the metric's unit: users think of scores from 0 to 1.
        unit: what it is counted in, as shown; "" for a plain number.
        caveat: what must be said where it is shown; "" for nothing.
    """

    key: str
    name: str
    higher_is_better: bool
    low: float = 0.0
    high: float = 1.0
    needs: frozenset[str] = frozenset()
    needs_engine: frozenset[str] = frozenset()
    decides: bool = True
    asks_judge: bool = True
    n_questions: int = 1
    n_questions_per_turn: int = 0
    reads_conversation: bool = False
    asks_reason: bool = False
    judges_data: bool = False
    is_relative: bool = False
    compares_samples: bool = False
    is_guard: bool = False
    margin: float = 0.05
    margin_unit: float = 1.0
    unit: str = ""
    caveat: str = ""

    def fits(self, case: Case) -> bool:
        """Return whether the case has what the metric needs."""
        if case.follows is not None and (self.needs_likelihood or self.compares_samples):
            return False  # what stands before differs between variants, and between samples
        if self.compares_samples and case.context:
            return False
        return all(getattr(case, need) for need in self.needs)

    @property
    def of_conversation(self) -> bool:
        """Return whether it scores a whole conversation, at its last turn."""
        return "ends_conversation" in self.needs

    @property
    def needed(self) -> list[str]:
        """Return the parts of a case that it needs, in words."""
        words = {"ends_conversation": "conversation of several turns"}
        return [words.get(need, need.replace("_", " ")) for need in sorted(self.needs)]

    def questions_on(self, case: Case) -> int:
        """Return how many questions one completion of this case costs, without the reason."""
        n_turns = sum(turn.role == "user" for turn in case.messages)
        return self.n_questions + self.n_questions_per_turn * n_turns

    def gain(self, score: float, base: float) -> float:
        """Return the difference of two scores, turned so that more is better."""
        return score - base if self.higher_is_better else base - score

    @property
    def needs_likelihood(self) -> bool:
        """Return whether it is scored while the weights are loaded, reading no completion."""
        return "loglikelihood" in self.needs_engine

    @property
    def largest_gain(self) -> float:
        """Return the largest possible gain; the smallest is its negative."""
        return self.high - EVEN if self.is_relative else self.high - self.low

    @property
    def is_bounded(self) -> bool:
        """Return whether there is a worst and a best score."""
        return self.low > -math.inf and self.high < math.inf

    @property
    def title(self) -> str:
        """Return its name with its unit."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    @property
    def worst(self) -> float:
        """Return the worst possible score."""
        return self.low if self.higher_is_better else self.high

    @property
    def best(self) -> float:
        """Return the best possible score."""
        return self.high if self.higher_is_better else self.low


@dataclass(frozen=True, slots=True)
class Score:
    """One number for one case, variant and metric."""

    case_id: str
    variant: str
    metric: str
    value: float
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class JudgeScore:
    """What one judge of several gave; the score is made of these."""

    case_id: str
    variant: str
    metric: str
    judge: str
    value: float


@dataclass(frozen=True, slots=True)
class Preference:
    """Which of two completions of a case a judge prefers, asked with each of them shown first.

    A level says how much better the variant's completion is than the baseline's: 2 much better,
    1 better, 0 a tie, -1 worse, -2 much worse.

    Attributes:
        variant: the variant that the preference is about.
        baseline: the variant that it is compared with.
        first: level with the variant's completion shown first; None where nothing was asked
            because the completions are equal or one of them is empty.
        second: level with the variant's completion shown second; None as for `first`.
        value: 1.0 where the variant wins in both orders, 0.0 where the baseline does, 0.5 for a
            tie: both say so, the orders disagree, or the completions are equal.
        reason: why, in the judge's words or ours.
        judge: who said so, where several judges were asked; "" for the run's only judge.
        repeat: 0 for the preference that counts, that of the first sample; from `LATER_SAMPLES` on
            those of other samples, which count, too; 1 where the judge was asked again to see
            whether it stays with its answer.
    """

    case_id: str
    variant: str
    baseline: str
    metric: str
    first: int | None
    second: int | None
    value: float
    reason: str | None = None
    judge: str = ""
    repeat: int = 0

    @property
    def is_retest(self) -> bool:
        """Return whether the judge was only asked again, so that it does not count."""
        return 0 < self.repeat < LATER_SAMPLES

    @property
    def is_asked(self) -> bool:
        """Return whether a judge was asked."""
        return self.first is not None and self.second is not None

    @property
    def is_flip(self) -> bool:
        """Return whether the winner changed with the order; a flip counts as a tie."""
        if self.first is None or self.second is None:
            return False
        return (self.first > 0, self.first < 0) != (self.second > 0, self.second < 0)


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that could not be had for one case; never counted as a score.

    Attributes:
        variant: None where the failure is not a variant's (a bad row, a metric of the data).
        metric: None where the failure is not a metric's.
        retry: whether asking again may help (memory was short, a server gave no answer).
        baseline: what the variant was to be compared with; None for all but a failed preference.
        sample: which of several completions of the case could not be had, from 0.
    """

    case_id: str
    stage: FailureStage
    reason: str
    variant: str | None = None
    metric: str | None = None
    retry: bool = False
    baseline: str | None = None
    sample: int = 0


@dataclass(frozen=True, slots=True)
class NoResult:
    """Why a function has no result for one item; it stands in the place of the result.

    Attributes:
        reason: why, for the reader.
        retry: whether asking again may help (memory was short, a server gave no answer).
    """

    reason: str
    retry: bool = False


def working_order(cases: Sequence[Case], seed: int) -> list[Case]:
    """Return the cases in the seeded order in which they are worked."""
    order = list(cases)
    random.Random(seed).shuffle(order)
    return order

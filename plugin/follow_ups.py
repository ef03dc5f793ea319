"""Make the prompts of the later turns of conversations, from each variant's own answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from plugin.conversations import Conversations, with_system
from plugin.engines import Engine
from plugin.errors import ModelError
from plugin.journal import Journal
from plugin.records import Case, Failure, Message, Prompt, Variant
from plugin.sampling import Sampling


class Turn(NamedTuple):
    """A turn to ask: of which case, who is asked, and which of several samples it is."""

    case: Case
    variant: Variant
    sample: int = 0

    @property
    def place(self) -> tuple[str, str, int]:
        """Return case id, variant and sample, which together name its completion."""
        return self.case.id, self.variant.name, self.sample


@dataclass(frozen=True, slots=True)
class FollowUps:
    """The prompts of the next turns, and a failure for each turn that cannot be asked."""

    prompts: tuple[Prompt, ...]
    failures: tuple[Failure, ...]


def check_turns(cases: Sequence[Case], variants: Sequence[Variant], engine: Engine) -> None:
    """Check that the chat template takes conversations of these forms, before anything is made.

    Each form is tried once, with stand-ins for the answers.

    Raises:
        ModelError: naming the case, when the template rejects its turns.
    """
    tried, place = set[tuple[object, ...]](), Conversations(cases, ())
    for case in cases:
        if case.follows is None:
            continue
        for variant in variants:
            turns = with_system(place.tried_out(case), variant.system_prompt)
            own = variant.name if variant.own_chat else ""
            form = (own, tuple(turn.role for turn in turns))
            if form not in tried:
                tried.add(form)
                encode_named(case, turns, variant, engine)


def encode_named(
    case: Case, turns: Sequence[Message], variant: Variant, engine: Engine
) -> tuple[int, ...]:
    """Return the tokens of a case's turns; an error names the case."""
    own = (variant.name,) if variant.own_chat else ()
    try:
        return engine.encode(turns, *own)
    except ModelError as error:
        raise ModelError(f"case {case.id}: {error}") from error


def follow_ups(
    cases: Sequence[Case],
    todo: Sequence[Turn],
    engine: Engine,
    journal: Journal,
    sampling: Sampling,
) -> FollowUps:
    """Return what is asked next, from the answers in the journal.

    A turn is never asked after an answer that is missing: no history is made up. A sample of a turn
    follows the same sample of the turn before.

    Args:
        cases: the run's.
        todo: the turns to ask, and who is asked; all turns before them were asked.
        engine: the variants' engine.
        journal: the run's.
        sampling: how completions are drawn.
    """
    made = [one for own in journal.samples().values() for one in own]
    place = Conversations(cases, made)
    known = journal.failures() if sampling.n == 1 else journal.sample_failures()
    failed = {(one.case_id, one.variant or "", one.sample): one for one in known if not one.metric}
    prompts, failures = list[Prompt](), list[Failure]()
    for turn in todo:
        case, name, sample = turn.case, turn.variant.name, turn.sample
        if why := place.why_not_asked(case, name, failed, sample):
            failures.append(
                Failure(case.id, "generate", why.reason, name, retry=why.retry, sample=sample)
            )
            continue
        seen = with_system(place.seen(case, name, sample).messages, turn.variant.system_prompt)
        tokens = encode_named(case, seen, turn.variant, engine)
        draw = sampling.draw(case, sample)
        prompts.append(Prompt(case.id, name, seen, tokens, draw=draw, sample=sample))
    return FollowUps(tuple(prompts), tuple(failures))

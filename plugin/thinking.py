"""Tell a model's thoughts from its answer, in completions and in what judges say.

Thoughts stand between tags (<think>, <thinking>, <reasoning>) or in the channels of gpt-oss. A chat
template may write the opening tag itself, so that the text begins inside the thoughts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from plugin.records import Completion, Failure

_TAG = re.compile(r"<\s*(/?)\s*(think|thinking|reasoning)\s*>", re.IGNORECASE)
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w*)[^<]*(?:<\|constrain\|>[^<]*)?(<\|message\|>)?")
_CHANNEL_END = re.compile(r"<\|(?:end|return|call|start|channel)\|>")
_BARE_CHANNELS = re.compile(r"\s*analysis.*?assistantfinal(.*)", re.DOTALL)
"""What is left of the channels where the tokenizer leaves out special tokens."""

MAX_UNFINISHED_SHARE = 0.05
"""Share of one variant's completions that may end inside their thoughts before nothing is told."""


@dataclass(frozen=True, slots=True)
class SplitText:
    """A text with its thoughts set apart.

    Attributes:
        thoughts: what was only thought, without tags; "" for a text without thoughts.
        answer: what follows, without the white space that the thoughts left around it.
        is_finished: False where the text ends inside its thoughts.
        is_marked_late: whether only the end of the thoughts is marked, since the prompt opens them
            or the tokenizer left the mark out.
    """

    thoughts: str
    answer: str
    is_finished: bool = True
    is_marked_late: bool = False


def split_thoughts(text: str) -> SplitText:
    """Return the text with its thoughts set apart; one without thoughts is all answer, as it is."""
    if "<|channel|>" in text:
        return _split_channels(text)
    if bare := _BARE_CHANNELS.fullmatch(text):
        thoughts = text[: bare.start(1)].strip().removeprefix("analysis")
        thoughts = thoughts.removesuffix("assistantfinal")
        return SplitText(thoughts, bare[1].strip(), is_marked_late=True)
    return _split_tags(text)


def _split_tags(text: str) -> SplitText:
    """Split at tags; inside thoughts only their own closing tag counts."""
    thoughts, answer = list[str](), list[str]()
    inside, start, is_marked_late = "", 0, False
    for tag in _TAG.finditer(text):
        closes, name = bool(tag[1]), tag[2].lower()
        if inside and not (closes and name == inside):
            continue
        part, start = text[start : tag.start()], tag.end()
        if inside:
            thoughts.append(part)
            inside = ""
        elif closes:  # never opened: all before it was thought
            thoughts += [*answer, part]
            answer, is_marked_late = [], True
        else:
            answer.append(part)
            inside = name
    if not start:
        return SplitText("", text)
    (thoughts if inside else answer).append(text[start:])
    return SplitText(
        "\n".join(part.strip() for part in thoughts if part.strip()),
        "".join(answer).strip(),
        is_finished=not inside,
        is_marked_late=is_marked_late,
    )


def _split_channels(text: str) -> SplitText:
    """Split at channels: the answer is what stands in the final ones."""
    marks = list(_CHANNEL.finditer(text))
    thoughts, answer = [_CHANNEL_END.split(text[: marks[0].start()])[0]], list[str]()
    is_finished = False
    for mark in marks:
        said = _CHANNEL_END.split(text[mark.end() :])[0]
        if mark[1].lower() == "final" and mark[2]:
            answer.append(said)
            is_finished = True
        else:
            thoughts.append(said)
    return SplitText(
        "\n".join(part.strip() for part in thoughts if part.strip()),
        "".join(answer).strip(),
        is_finished=is_finished,
    )


Place = tuple[str, str]
"""Case id and variant."""


def split_completions(completions: Mapping[Place, Completion]) -> dict[Place, SplitText]:
    """Return the thoughts and the answer of each completion.

    Where only the end of a variant's thoughts is marked, as others of its completions show, one
    that was cut off without any mark ended inside them.
    """
    split = {place: split_thoughts(completion.text) for place, completion in completions.items()}
    late = {name for (_, name), found in split.items() if found.is_marked_late}
    for (case_id, name), found in split.items():
        was_cut_off = completions[case_id, name].finish_reason == "length"
        if name in late and was_cut_off and not found.thoughts and found.is_finished:
            split[case_id, name] = SplitText(found.answer, "", is_finished=False)
    return split


def answers_in(
    completions: Mapping[Place, Completion], split: Mapping[Place, SplitText]
) -> dict[Place, Completion]:
    """Return the completions without their thoughts; those that end inside them are left out."""
    return {
        place: replace(completion, text=split[place].answer)
        for place, completion in completions.items()
        if split[place].is_finished
    }


def sample_answers_in(
    samples: Mapping[Place, Sequence[Completion]], *, strips: bool
) -> dict[Place, tuple[Completion, ...]]:
    """Return the answers of all samples; a place where none has an answer is left out.

    Args:
        samples: the completions of each place.
        strips: whether thoughts are no part of an answer.
    """
    found = dict[Place, list[Completion]]()
    for number in sorted({one.sample for own in samples.values() for one in own}):
        these = {
            place: one for place, own in samples.items() for one in own if one.sample == number
        }
        answers = answers_in(these, split_completions(these)) if strips else these
        for place, one in answers.items():
            found.setdefault(place, []).append(one)
    return {place: tuple(own) for place, own in found.items()}


def unfinished_failures(split: Mapping[Place, SplitText]) -> list[Failure]:
    """Return a failure for each completion that ends inside its thoughts: it has no answer."""
    reason = "the completion ends inside its thoughts, so it has no answer; raise --max_tokens"
    return [
        Failure(case_id, "generate", reason, variant)
        for (case_id, variant), found in split.items()
        if not found.is_finished
    ]


def why_no_verdict(split: Mapping[Place, SplitText]) -> str:
    """Return which variants end too often inside their thoughts to be compared; "" for none."""
    parts = []
    for name in dict.fromkeys(name for _, name in split):
        own = [found for (_, variant), found in split.items() if variant == name]
        n_unfinished = sum(not found.is_finished for found in own)
        if n_unfinished > MAX_UNFINISHED_SHARE * len(own):
            parts.append(f"{n_unfinished} of {len(own)} completions of {name}")
    if not parts:
        return ""
    return (
        f"no verdict: {' and '.join(parts)} end inside their thoughts, before any answer. Raise "
        "--max_tokens, or that of the program that made them"
    )

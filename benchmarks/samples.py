"""Made-up cases and completions for the benchmarks."""

from __future__ import annotations

from plugin.records import Case, Completion, Message

METRICS = ("Answer Relevancy", "Hallucination")


def cases(n: int) -> list[Case]:
    return [
        Case(
            id=str(i),
            messages=(Message("user", f"Who plays character {i} in the show?"),),
            expected_output=f"Character {i} is played by Actor {i}.",
            context=(f"Character {i} is played by Actor {i}.", "The show is set in Palo Alto."),
        )
        for i in range(n)
    ]


def completions(n: int) -> list[Completion]:
    """Return one completion for each of n cases, all different."""
    return [
        Completion(
            case_id=str(i),
            variant="vanilla",
            text=f"Character {i} is played by Actor {i % 7}. The show number {i} is set in town.",
            token_ids=(1, 2, 3),
            finish_reason="stop",
            seconds=0.1,
            n_prompt_tokens=9,
        )
        for i in range(n)
    ]

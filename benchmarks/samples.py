"""Made-up cases and completions for the benchmarks."""

from __future__ import annotations

from collections.abc import Callable

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


def deepeval_model(fields_for: Callable[[str], dict[str, object]]):
    """Return a model for DeepEval that answers at once.

    Args:
        fields_for: prompt -> the fields of the answer; the schema takes those that it knows.
    """
    from deepeval.models import DeepEvalBaseLLM

    class InstantModel(DeepEvalBaseLLM):
        def load_model(self):
            return self

        def get_model_name(self):
            return "instant"

        def generate(self, prompt, schema=None):
            raise NotImplementedError

        async def a_generate(self, prompt, schema=None):
            fields = fields_for(prompt)
            return schema(**{name: fields[name] for name in schema.model_fields})

    return InstantModel()

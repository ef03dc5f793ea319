"""The families of judge and model."""

from __future__ import annotations

import pytest

from plugin.trust.report import family_of


@pytest.mark.parametrize(
    ("judge", "model", "model_type", "shared"),
    [
        ("openai:gpt-4o-mini", "openai-community/gpt2", "", ("gpt",)),
        ("custom:Qwen2.5-72B-Instruct", "mlx-community/Qwen3-0.6B-4bit", "qwen3", ("qwen",)),
        ("ollama:llama3.2:3b", "meta-llama/Llama-3.2-1B", "llama", ("llama",)),
        ("mlx:mlx-community/Mixtral-8x7B", "mistralai/Mistral-7B-v0.3", "", ("mistral",)),
        ("ollama:phi4", "microsoft/Phi-3.5-mini", "", ("phi",)),
        ("custom:deepseek-r1-distill-qwen-7b", "Qwen/Qwen3-8B", "", ("qwen",)),
        ("custom:llama-70b", "./my-own-model", "llama", ("llama",)),
        ("openai:o3-mini", "models/gpt-oss-20b/", "", ("gpt",)),
        # Llama's architecture alone makes no Llama of a model that has a name of its own.
        ("custom:llama-70b", "HuggingFaceTB/SmolLM2-135M", "llama", ()),
        ("anthropic:claude-sonnet-4", "google/gemma-3-1b-it", "gemma3_text", ()),
        ("openai:gpt-4o", "cognitivecomputations/dolphin-2", "", ()),
        ("custom:some-model", "./demo", "", ()),
    ],
)
def test_the_family_by_names(
    judge: str, model: str, model_type: str, shared: tuple[str, ...]
) -> None:
    assert family_of(judge, model, model_type).shared == shared


def test_families_are_named_even_when_they_differ() -> None:
    found = family_of("anthropic:claude-sonnet-4", "google/gemma-3-1b-it", "gemma3_text")
    assert (found.judge, found.model) == (("claude",), ("gemma",))

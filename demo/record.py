"""Record the answers of the demo's models and their scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from plugin.metrics.text import overlap_f1, same_words

GROUPS = ("trained", "rephrased", "unseen")
MAX_TOKENS = 32


def complete_all(cases: list[dict[str, Any]], model: Path, adapter: Path | None) -> dict[str, str]:
    """Return a greedy answer to every case, with or without the adapter."""
    from mlx_lm import generate, load

    network, tokenizer = load(str(model), adapter_path=str(adapter) if adapter else None)[:2]
    completions = {}
    for case in cases:
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": case["input"]}],
            add_generation_prompt=True,
            return_dict=False,
        )
        completions[case["id"]] = generate(network, tokenizer, prompt, max_tokens=MAX_TOKENS)
    return completions


def summarise(
    cases: list[dict[str, Any]], completions: dict[str, str]
) -> dict[str, dict[str, float]]:
    """Return mean F1 and exact match of each group, rounded to four decimals."""
    summary = {}
    for group in GROUPS:
        pairs = [
            (case["expected_output"], completions[case["id"]])
            for case in cases
            if case["group"] == group
        ]
        summary[group] = {
            "token_f1": round(sum(overlap_f1(*pair) for pair in pairs) / len(pairs), 4),
            "exact_match": round(sum(same_words(*pair) for pair in pairs) / len(pairs), 4),
        }
    return summary


def make_record(cases: list[dict[str, Any]], model: Path, adapter: Path) -> dict[str, Any]:
    """Return completions and scores of both variants on all cases."""
    record: dict[str, Any] = {"max_tokens": MAX_TOKENS, "completions": {}, "summary": {}}
    for variant, folder in (("vanilla", None), ("adapter", adapter)):
        completions = complete_all(cases, model, folder)
        record["completions"][variant] = completions
        record["summary"][variant] = summarise(cases, completions)
    return record

"""Write the tables of metrics, prices and rules in docs/ from the program's own tables."""

from __future__ import annotations

import math

from plugin.engines import ENGINES, PROVEN
from plugin.judges.spending import PRICES_AS_OF, list_prices
from plugin.metrics import METRICS
from plugin.metrics.entry import MetricEntry
from plugin.plan.gate_rules import RULES
from plugin.records import MetricSpec

LOOKS_AT = {
    "answer_relevancy": "does the answer bear on the question",
    "hallucination": "share of contexts that the answer contradicts",
    "faithfulness": "are the answer's claims supported by the context",
    "correctness": "does the answer say what the expected output says",
    "unsupported_claims": "share of the samples of a case that contradict another one",
    "rubric": "accuracy, completeness, relevance, clarity, instructions; 1 to 10 each",
    "preference": "which of two answers is better, asked in both orders; what a variant wins",
    "turn_rating": "how good is this answer of a conversation, by the whole conversation up to it",
    "turn_relevancy": "share of answers that fit what was said before them",
    "knowledge_retention": "share of answers that forget nothing that the user told",
    "conversation_completeness": "share of the user's wishes that were met",
    "role_adherence": "share of answers that stay in the role",
    "turn_faithfulness": "are the answers' claims supported by the context, over all turns",
    "bias": "share of the answer's opinions that are biased",
    "toxicity": "share of the answer's opinions that are toxic",
    "contextual_precision": "do useful contexts stand before useless ones",
    "contextual_recall": "share of the expected output that the contexts support",
    "contextual_relevancy": "share of the contexts that bears on the question",
    "code_tests": "does the code in the answer pass the case's tests, in a sandbox",
    "classification": "does the answer name the expected label",
    "exact_match": "the same words as the expected output, as SQuAD compares them",
    "plain_exact_match": "the same characters as the expected output",
    "token_f1": "how many words are shared with the expected output",
    "rouge-1": "shared words, as ROUGE counts them",
    "rouge-2": "shared pairs of words",
    "rouge-l": "the longest sequence of shared words",
    "bleu": "shared runs of one to four words (sacrebleu, one sentence)",
    "chrf": "shared runs of one to six characters (sacrebleu)",
    "bertscore": "how close the words are in meaning, told by a language model",
    "numeric_match": "is the answer's last number the expected one",
    "contains": "is all that is expected somewhere in the answer: texts or patterns",
    "json_fields": "share of the expected JSON's fields that are right",
    "json_schema": "is the answer JSON that fits the schema",
    "valid_json": "is the answer JSON and nothing else",
    "valid_yaml": "is the answer YAML with keys or a list",
    "valid_xml": "is the answer XML",
    "valid_sql": "is the answer SQL",
    "markdown_table": "has the answer a well-formed Markdown table",
    "length_limit": "is the answer as long as it should be",
    "required_words": "are all required words in the answer",
    "forbidden_words": "is no forbidden word in the answer",
    "answer_language": "is the answer in the right language",
    "perplexity": "how little the model expects the expected output",
    "latency": "seconds from a case's start in its batch to its last token",
    "tokens_per_second": "how fast tokens come",
    "completion_tokens": "how long the answer is",
    "cut_off": "share of answers cut off at `--max_tokens`",
}
"""What each metric looks at, in a phrase; a test asks for one per row of `METRICS`."""


_NEED_WORDS = {"ends_conversation": "a [conversation](conversations.md)", "role": "a system turn"}
"""Needs that are no columns."""


def metric_table() -> str:
    """Return the table of all metrics, from what each declares."""
    rows = [
        "| metric | looks at | needs | range | better | role | judge calls per answer |",
        "|---|---|---|---|---|---|---|",
    ]
    for key, entry in METRICS.items():
        spec = entry.spec
        cells = (
            f"**{spec.name}**",
            LOOKS_AT.get(key, ""),
            _needs(entry),
            _range(spec),
            "higher" if spec.higher_is_better else "lower",
            role(spec),
            _calls(spec),
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def role(spec: MetricSpec) -> str:
    """Return what the metric may do in a verdict, in one or two words."""
    if spec.judges_data:
        return "describes the data"
    if not spec.decides:
        return "describes"
    return "guards" if spec.is_guard else "decides"


def _needs(entry: MetricEntry) -> str:
    """Return which parts of a case it reads, its option, and the engines that suit it."""
    spec = entry.spec
    needs = [_NEED_WORDS.get(need, f"`{need}`") for need in sorted(spec.needs, reverse=True)]
    if spec.compares_samples:
        needs.append("no `context`, `--samples`")
    if spec.needs_engine:
        able = [name for name in PROVEN if spec.needs_engine <= ENGINES[name].gives]
        needs.append(f"engine {', '.join(able[:-1])} or {able[-1]}")
    if entry.needs_option:
        needs.append(f"`--{entry.option}`")
    may = [name for name in (entry.option, *entry.more_options) if name and not entry.needs_option]
    needs += [f"perhaps `--{name}`" for name in may]
    if entry.needs_install:
        needs.append(f"`{entry.needs_install}`")
    return ", ".join(needs)


def _range(spec: MetricSpec) -> str:
    ends = f"{spec.low:g} and up" if math.isinf(spec.high) else f"{spec.low:g} to {spec.high:g}"
    return f"{ends}, {spec.unit}" if spec.unit else ends


def _calls(spec: MetricSpec) -> str:
    """Return the calls per answer, and in brackets those without the reason."""
    if not spec.asks_judge:
        return "0"
    if spec.n_questions_per_turn:
        fixed = f"{spec.n_questions + spec.asks_reason} + " if spec.asks_reason else ""
        return f"{fixed}{spec.n_questions_per_turn} per turn"
    n_calls = spec.n_questions + spec.asks_reason
    per = " per case" if spec.judges_data else ""
    if spec.is_relative:
        per = " per case and pair"
    return f"{n_calls}{per} ({spec.n_questions})" if spec.asks_reason else f"{n_calls}{per}"


def gate_table() -> str:
    """Return the table of a gate's rules."""
    rows = ["| rule | the model must |", "|---|---|"]
    for name, entry in RULES.items():
        value = entry.value.replace("|", "\\|")
        rows.append(f"| `--{name}{f' {value}' if value else ''}` | {entry.about} |")
    return "\n".join(rows)


def price_table() -> str:
    """Return the table of the prices that the program knows."""
    rows = [
        f"| model | a million tokens read, in dollars ({PRICES_AS_OF}) | a million written |",
        "|---|---|---|",
    ]
    rows += [f"| {name} | {p.prompt:.2f} | {p.completion:.2f} |" for name, p in list_prices()]
    return "\n".join(rows)

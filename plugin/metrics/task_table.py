"""The rows of `METRICS` for metrics of the task itself, which need no judge."""

from __future__ import annotations

from plugin.metrics.entry import MetricEntry
from plugin.records import MetricSpec

_EXPECTED = frozenset({"expected_output"})
_FORMATS = "requirements-formats.txt"


def _spec(name: str, needs: frozenset[str] = frozenset(), caveat: str = "") -> MetricSpec:
    """Return the properties of a metric from 0 to 1 that decides and asks no judge."""
    return MetricSpec(
        key="_".join(name.lower().split()),
        name=name,
        higher_is_better=True,
        needs=needs,
        asks_judge=False,
        caveat=caveat,
    )


_BERTSCORE_CAVEAT = (
    "its values lie close together (0.8 and more even for poor answers), so look at the gain and "
    "choose a smaller --margin"
)

TASK_METRICS = (
    MetricEntry(
        _spec("Code Tests", frozenset({"tests"})),
        counts_reasons=True,
        setup="code_tests:code_tests",
        suggest="code_tests:suggest_code_tests",
        more_options=("test_seconds",),
    ),
    MetricEntry(
        _spec("Classification", _EXPECTED),
        setup="labels:classification",
        suggest="labels:suggest_classification",
        option="labels",
    ),
    # Versions 1 of Exact Match and Token F1 knew the punctuation and words of ASCII only.
    MetricEntry(_spec("Exact Match", _EXPECTED), measure="text:exact_match", version=2),
    MetricEntry(_spec("Plain Exact Match", _EXPECTED), measure="text:plain_exact_match"),
    MetricEntry(_spec("Token F1", _EXPECTED), measure="text:token_f1", version=2),
    MetricEntry(_spec("ROUGE-1", _EXPECTED), measure="text:rouge_1"),
    MetricEntry(_spec("ROUGE-2", _EXPECTED), measure="text:rouge_2"),
    MetricEntry(_spec("ROUGE-L", _EXPECTED), measure="text:rouge_longest"),
    MetricEntry(_spec("BLEU", _EXPECTED), setup="text:bleu"),
    MetricEntry(_spec("chrF", _EXPECTED), setup="text:chrf"),
    MetricEntry(
        _spec("BERTScore", _EXPECTED, _BERTSCORE_CAVEAT),
        setup="bertscore:bertscore",
        option="bertscore_model",
        needs_option=True,
        needs_install="requirements-bertscore.txt",
    ),
    MetricEntry(
        _spec("Numeric Match", _EXPECTED),
        setup="numbers:numeric_match",
        more_options=("number_tolerance",),
    ),
    MetricEntry(_spec("Contains"), setup="text:contains", option="expect", counts_reasons=True),
    MetricEntry(
        _spec("JSON Fields", _EXPECTED),
        counts_reasons=True,
        setup="json_fields:json_fields",
        suggest="json_fields:suggest_json_fields",
        more_options=("number_tolerance",),
    ),
    MetricEntry(
        _spec("JSON Schema"),
        counts_reasons=True,
        setup="json_schema:json_schema",
        option="json_schema",
        needs_option=True,
    ),
    MetricEntry(
        _spec("Valid JSON"),
        counts_reasons=True,
        measure="formats:valid_json",
        suggest="json_fields:suggest_json_fields",
    ),
    MetricEntry(_spec("Valid YAML"), measure="formats:valid_yaml", counts_reasons=True),
    MetricEntry(_spec("Valid XML"), measure="formats:valid_xml", counts_reasons=True),
    MetricEntry(
        _spec("Valid SQL"),
        counts_reasons=True,
        setup="formats:valid_sql",
        more_options=("sql_dialect",),
        needs_install=_FORMATS,
    ),
    MetricEntry(_spec("Markdown Table"), measure="formats:markdown_table", counts_reasons=True),
    MetricEntry(
        _spec("Length Limit"),
        counts_reasons=True,
        setup="constraints:length_limit",
        option="length_limit",
        needs_option=True,
    ),
    MetricEntry(
        _spec("Required Words"),
        counts_reasons=True,
        setup="constraints:required_words",
        option="required_words",
        needs_option=True,
    ),
    MetricEntry(
        _spec("Forbidden Words"),
        counts_reasons=True,
        setup="constraints:forbidden_words",
        option="forbidden_words",
        needs_option=True,
    ),
    MetricEntry(
        _spec("Answer Language"),
        counts_reasons=True,
        setup="constraints:answer_language",
        option="answer_language",
        needs_option=True,
        needs_install=_FORMATS,
    ),
)

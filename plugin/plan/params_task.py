"""The options of the metrics of the task itself: labels, schema, numbers, length, words."""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import BeforeValidator

from plugin.metrics.entry import TaskSettings
from plugin.plan.options import Option, Texts, option
from plugin.plan.params_scoring import ScoringParams


def _read_whole(value: object) -> object:
    """Return texts from a text, a list or a JSON list; commas are part of a text."""
    if isinstance(value, str):
        text = value.strip()
        try:
            value = json.loads(text) if text.startswith('["') else [text]
        except ValueError:
            value = [text]
    if isinstance(value, list | tuple):
        return tuple(one for one in value if one not in ("", None))
    return value


WholeTexts = Annotated[tuple[str, ...], BeforeValidator(_read_whole)]


def _read_labels(value: object) -> object:
    """Return labels as texts; a list may hold numbers, and true or false."""
    if isinstance(value, str):
        text = value.strip()
        value = json.loads(text) if text.startswith("[") else text.split(",")
    if isinstance(value, list | tuple):
        bad = [one for one in value if not isinstance(one, str | bool | int | float)]
        if bad:
            raise ValueError(
                f"{json.dumps(bad[0])} is not a label: a JSON list of labels holds texts, "
                "numbers, or true and false"
            )
        named = (str(one).lower() if isinstance(one, bool) else str(one).strip() for one in value)
        return tuple(one for one in named if one)
    return value


Labels = Annotated[tuple[str, ...], BeforeValidator(_read_labels)]


class TaskParams(ScoringParams):
    """Declare the options that metrics of the task read."""

    labels: Labels = option(
        (),
        "Labels",
        "All labels that Classification knows, separated by commas (or a JSON list, for labels "
        "with commas). Empty: the set of expected outputs.",
        Option("metrics", value="LABELS"),
    )
    expect: WholeTexts = option(
        (),
        "Expected in every answer",
        "Text that Contains looks for in every answer, or 'regex:' and a pattern. May repeat; all "
        "of them must be there. Empty: the case's own column expect, else its expected output.",
        Option("metrics", value="TEXT", may_repeat=True),
    )
    json_schema: str = option(
        "",
        "JSON schema",
        "File with the JSON schema that JSON Schema checks answers against, or the schema itself. "
        "Nothing that it refers to is fetched.",
        Option("metrics", value="FILE"),
    )
    number_tolerance: str = option(
        "",
        "Tolerance of numbers",
        "How far a number may be off in Numeric Match and JSON Fields: 0.01, or 1% of the expected "
        "number. Empty: not at all.",
        Option("metrics", value="N"),
    )
    length_limit: str = option(
        "",
        "Length limit",
        "How long an answer may be for Length Limit: '50-100 words', '-3 sentences' (at most), "
        "'2- lines' (at least); characters, words, sentences or lines.",
        Option("metrics", value="TEXT"),
    )
    required_words: Texts = option(
        (),
        "Required words",
        "Words or phrases that Required Words wants in every answer, separated by commas.",
        Option("metrics", value="WORDS"),
    )
    forbidden_words: Texts = option(
        (),
        "Forbidden words",
        "Words or phrases that Forbidden Words wants in no answer, separated by commas.",
        Option("metrics", value="WORDS"),
    )
    answer_language: str = option(
        "",
        "Language of the answer",
        "Code of the language that Answer Language wants, such as de. Needs py3langid (pip install "
        "-r requirements-formats.txt).",
        Option("metrics", value="CODE"),
    )
    sql_dialect: str = option(
        "",
        "SQL dialect",
        "Dialect of Valid SQL, such as postgres. Empty: what most dialects share. Needs sqlglot "
        "(pip install -r requirements-formats.txt).",
        Option("metrics", value="NAME"),
    )
    bertscore_model: str = option(
        "",
        "Model of BERTScore",
        "Hub id or directory of BERTScore's model, such as roberta-large (English, a download of "
        "1.4 GB) or bert-base-multilingual-cased, perhaps with @LAYER. Needs torch (pip install -r "
        "requirements-bertscore.txt).",
        Option("metrics", value="NAME"),
    )

    test_seconds: float = option(
        0.0,
        "Time limit of code",
        "Seconds that code in an answer may take in Code Tests, for all tests of a function or for "
        "one input of a program. 0: 10 seconds.",
        Option("metrics", value="N"),
        ge=0,
    )

    @property
    def task_settings(self) -> TaskSettings:
        """Return what the metrics of the task read."""
        return TaskSettings(**{name: getattr(self, name) for name in TASK_OPTIONS})


TASK_OPTIONS = tuple(
    name for name in TaskParams.model_fields if name not in ScoringParams.model_fields
)
"""The names of these options; each is a field of `TaskSettings`."""

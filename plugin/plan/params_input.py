"""The options that say what is compared, and on which cases: models, prompts, engine and data."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from plugin.engines import ENGINES
from plugin.load.conversations import FIXED, OWN
from plugin.plan.options import CLASSIC, CLI, NOT_CLASSIC, Option, Texts, column_option, option
from plugin.plan.prompts import Prompts

BOTH, ONLY_VANILLA, ONLY_ADAPTER = "vanilla and adapter", "vanilla only", "adapter only"

ENGINE_CHOICES = ("auto", *(name for name in ENGINES if name not in ("recorded", "ray")))
"""What the forms offer; --recorded and --workers choose the other two."""

TRAINING_OPTIONS = ("train_data", "train_draw", "recite_prefix", "paraphrase")
"""What is looked at besides: these change no result of the run, so they may be added to one."""

BY_RULES, BY_JUDGE = "rules", "judge"
"""Who rephrases training questions."""

MAX_TOKENS, MAX_TOKENS_THINKING = 256, 4096
"""Longest completions where the user names none; a thinking model's answer follows its thoughts."""


class InputParams(BaseModel):
    """Declare the options of the groups model and data."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    model_name: str = option(
        "",
        "Base model",
        "Hub id or directory of the base model, loaded once for all variants; with --server_url, "
        "its name there.",
        Option("model", "base model: hub id or directory", "NAME", NOT_CLASSIC),
    )
    model_adapter: Texts = option(
        (),
        "Adapter",
        "Adapter directory, or its name where the host or --server_url knows it. May repeat, to "
        "compare several with the same base (in a form: separated by commas).",
        Option("model", "adapter to test; may repeat", "DIR", NOT_CLASSIC, may_repeat=True),
    )
    extra_adapters: Texts = option(
        (),
        "More adapters",
        "Names of further adapters of this model, separated by commas, compared in the same run.",
        Option("model", hosts=CLASSIC),
    )
    tuned_model: Texts = option(
        (),
        "Fine-tuned model",
        "Hub id or directory of a full fine-tune or a fused model, compared like an adapter; "
        "loaded after the base is freed. May repeat (in a form: separated by commas).",
        Option("model", "full fine-tune to test; may repeat", "NAME", may_repeat=True),
    )
    recorded: Texts = option(
        (),
        "Recorded completions",
        "NAME=FILE or NAME=FILE:COLUMN: completions made elsewhere, once per variant, the baseline "
        "first; joined with the cases on their id or input. No model is run.",
        Option(
            "model", "completions made elsewhere; may repeat", "NAME=FILE", CLI, may_repeat=True
        ),
    )
    server_url: str = option(
        "",
        "Inference server",
        "Address of the server for the engine 'server', such as http://localhost:8000/v1 (the "
        "classic host's own: http://localhost:8338/v1). Model and adapters are then the names that "
        "it serves; a model's directory or hub id may stand for its last part. The server's key is "
        "the secret INFERENCE_API_KEY.",
        Option("model", "server with base and adapter (vLLM, ...)", "URL"),
    )
    baseline_prompt: Prompts = option(
        (),
        "Prompt to beat",
        "An engineered system prompt for the base model, run as a third variant (prompted): a "
        "fine-tune that cannot beat a good prompt is not worth its upkeep. @FILE takes the text in "
        "a file. May repeat: each prompt is then a variant, named with NAME=TEXT, and the best one "
        "is compared with the choice allowed for.",
        Option(
            "model",
            "prompt that the fine-tune must beat",
            "TEXT",
            widget="textarea",
            may_repeat=True,
            form_help="An engineered system prompt for the base model, run as a third variant "
            "(prompted): a fine-tune that cannot beat a good prompt is not worth its upkeep.",
        ),
    )
    rival: Texts = option(
        (),
        "Another model",
        "NAME=ADDRESS#MODEL: another model, such as a larger one, on an OpenAI-compatible server, "
        "that answers the same cases: does it do as well as the fine-tune? Its server's key is the "
        "secret RIVAL_API_KEY, or RIVAL_API_KEY_NAME. May repeat.",
        Option("model", value="NAME=URL#MODEL", hosts=NOT_CLASSIC, may_repeat=True),
    )
    rival_prompt: str = option(
        "",
        "System prompt of other models",
        "Put before every case for each --rival, in place of --system_prompt; @FILE takes the text "
        "in a file.",
        Option("model", value="TEXT", hosts=NOT_CLASSIC),
    )
    system_prompt: str = option(
        "",
        "System prompt",
        "Put before every case, for every variant alike. An adapter that was trained under one "
        "needs it on both sides. A case's own system turn is joined to it.",
        Option("model", value="TEXT", widget="textarea"),
    )
    chat_template: bool = option(
        True,
        "Use the chat template",
        "Turn off for a base model that was not trained on chats.",
        Option("model"),
    )
    max_tokens: int = option(
        0,
        "Longest completion, in tokens",
        "A completion is cut off here; the report counts how many were. 0: "
        f"{MAX_TOKENS}, or {MAX_TOKENS_THINKING:,} where a model's chat template has it think.",
        Option("model", value="N"),
        ge=0,
    )
    variants: Literal["vanilla and adapter", "vanilla only", "adapter only"] = option(
        BOTH,
        "What to run",
        "Both give a verdict; one alone gives scores that a host can compare between two jobs.",
        Option("model", widget="radio", choices=(BOTH, ONLY_VANILLA, ONLY_ADAPTER)),
    )
    engine: str = option(
        "auto",
        "Engine",
        "What generates the completions: mlx, transformers (torch and PEFT), vllm (tried on a "
        "double only), server (any OpenAI-compatible one that has base and adapters by name, at "
        "the address of Inference server), or recorded (they were made elsewhere). auto picks by "
        "platform, adapter and what is installed.",
        Option("model", widget="radio", choices=ENGINE_CHOICES),
    )
    dataset_name: str = option(
        "",
        "Data set",
        "File (csv, json, jsonl, parquet), directory, or a data set id for the datasets library.",
        Option("data", "cases: csv, json, jsonl, parquet or hub id", "FILE", NOT_CLASSIC),
    )
    dataset_split: str = option(
        "",
        "Data set split",
        "Which split to use, when the data set has several.",
        Option("data", value="NAME"),
    )
    input_column: str = column_option(
        "input", "Column with the question; use messages or conversations for chat data."
    )
    expected_output_column: str = column_option(
        "expected_output",
        "Column with the reference answer, if there is one.",
        "column with the reference answer",
    )
    context_column: str = column_option(
        "context",
        "Column with true texts the answer must not contradict (a JSON list, or plain text for "
        "one).",
    )
    group_column: str = column_option(
        "group", "Column that splits the cases into slices reported on their own."
    )
    cluster_column: str = column_option(
        "cluster",
        "Column that says which cases belong together (one document, one conversation); they are "
        "resampled together.",
    )
    retention_column: str = column_option(
        "retention",
        "Column that marks rows whose group must not get worse (true or false, yes or no, 1 or 0); "
        "such a group counts as a whole, and a marked row without a group goes into the group "
        "'retention'.",
    )
    expect_column: str = column_option(
        "expect",
        "Column with what the metric Contains looks for in the answer to this row: a text, "
        "'regex:' and a pattern, or a JSON list of these.",
    )
    tests_column: str = column_option(
        "tests",
        "Column with what the code in an answer must pass in Code Tests: Python with asserts, a "
        "list of these, or a list of objects with input and output.",
    )
    id_column: str = column_option(
        "id", "Column with a stable id; without it a case's id is its row number."
    )
    input_template: str = option(
        "",
        "Input template",
        "Builds the question from several columns, e.g. '{instruction} {input}'.",
        Option("data", value="TEXT"),
    )
    limit: float = option(
        1.0,
        "Share of cases",
        "Share of the cases to use, drawn at random with the seed: 0.1 is a tenth.",
        Option("data", "share of the cases to use: 0.1 is a tenth", "N", widget="RangeWidget"),
        gt=0,
        le=1,
    )
    conversation: Literal["auto", "fixed", "own"] = option(
        "auto",
        "Conversations",
        "How a conversation of several user turns is asked. own: every user turn, one after the "
        "other, with each model's own answers between them. fixed: the assistant turns of the data "
        "stay, and only the last user turn is asked. auto: own where the data have no assistant "
        "turns between the user's, else fixed.",
        Option("data", hosts=NOT_CLASSIC, choices=("auto", FIXED, OWN)),
    )
    train_data: Texts = option(
        (),
        "Training data",
        "Files, folders or data set ids that the adapter was trained on, in any layout that a data "
        "set may have, or with a column text. Every case that stands there is marked, the verdict "
        "on the others is shown beside the whole, and base and variants are asked to recite.",
        Option("data", value="FILE", hosts=NOT_CLASSIC, may_repeat=True, takes_several=True),
    )
    train_draw: int = option(
        50,
        "Training rows to recite",
        "How many rows of the training data, drawn at random, every variant is asked for. 0: none; "
        "the cases are marked only.",
        Option("data", value="N", hosts=NOT_CLASSIC),
        ge=0,
    )
    recite_prefix: int = option(
        0,
        "Given tokens",
        "How many tokens of a training answer a variant is given to begin with. 0: the question "
        "alone, or of plain text its first half, at most 50 tokens.",
        Option("data", value="N", hosts=NOT_CLASSIC),
        ge=0,
    )
    paraphrase: Literal["rules", "judge"] = option(
        BY_RULES,
        "Other words by",
        "Who says training questions in other words, to see how far a gain carries: rules (English "
        "only), or the run's first judge, in any language. Its calls count in the forecast and in "
        "all limits; what it says wrongly is left to the rules.",
        Option("data", hosts=NOT_CLASSIC, choices=(BY_RULES, BY_JUDGE)),
    )
    skip_bad_rows: bool = option(
        False,
        "Skip bad rows",
        "Count unusable rows as failures and go on, instead of stopping.",
        Option("data"),
    )

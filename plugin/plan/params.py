"""Every option, once: type, default, title, help, limits and the hosts that show it.

The command line, `index.json`, `task.yaml` and the README's table are generated from `Params` (see
`forms.py`). Values may arrive as text, as null or as typed values; they are parsed here and nowhere
else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from plugin.errors import OptionError
from plugin.metrics import names as metric_names
from plugin.plan.options import (
    CLI,
    EVERYWHERE,
    NOT_CLASSIC,
    Criteria,
    Numbers,
    Option,
    Texts,
    column_option,
    option,
)

BOTH, ONLY_VANILLA, ONLY_ADAPTER = "vanilla and adapter", "vanilla only", "adapter only"


class Params(BaseModel):
    """What the user asked for. Unknown keys are ignored: a host's form may send another's."""

    model_config = ConfigDict(frozen=True, extra="ignore", validate_default=False)

    model_name: str = option(
        "",
        "Base model",
        "Hub id or directory of the base model, loaded once for all variants; with --server_url, "
        "its name there.",
        shown=Option(NOT_CLASSIC),
    )
    model_adapter: Texts = option(
        (),
        "Adapter",
        "Adapter directory, or its name where the host or --server_url knows it. May repeat, to "
        "compare several with the same base (in a form: separated by commas).",
        shown=Option(NOT_CLASSIC),
    )
    dataset_name: str = option(
        "",
        "Data set",
        "File (csv, json, jsonl, parquet), directory, or a data set id for the datasets library.",
        shown=Option(NOT_CLASSIC),
    )
    dataset_split: str = option(
        "", "Data set split", "Which split to use, when the data set has several."
    )
    input_column: str = column_option("input")
    expected_output_column: str = column_option("expected_output")
    context_column: str = column_option("context")
    group_column: str = column_option("group")
    cluster_column: str = column_option("cluster")
    id_column: str = column_option("id")
    input_template: str = option(
        "",
        "Input template",
        "Builds the question from several columns, e.g. '{instruction} {input}'.",
    )
    predefined_tasks: Texts = option(
        (),
        "Metrics",
        "What is scored. Empty: your own criteria alone where there are any, else Answer "
        "Relevancy, Hallucination where cases have context, Correctness where they have expected "
        "outputs. Of Hallucination, Bias and Toxicity less is better. The Contextual ones judge "
        "the data set, not the models, and are never compared. Perplexity (of the expected "
        "outputs, in nats per token; less is better) needs the engine mlx or transformers and no "
        "judge. Latency, Tokens per Second, Completion Tokens and Cut Off describe and never "
        "decide.",
        shown=Option(EVERYWHERE, "AutoCompleteWidget", metric_names()),
    )
    tasks: Criteria = option(
        (),
        "Your own criteria (G-Eval)",
        "What else the judge should look at, each as a metric of its own. Lines 'name: "
        "description', or JSON: a list of {name, description, include_context, evaluation_steps}. "
        "Without steps the judge writes them from the description, once for all cases.",
        shown=Option(EVERYWHERE, "GEvalTasksWidget"),
    )
    primary_metric: str = option(
        "",
        "Primary metric",
        "The metric that decides the verdict. Empty: Correctness when cases have expected outputs, "
        "else Answer Relevancy.",
    )
    judge: str = option(
        "",
        "Judge",
        "Who scores: openai:<model>, azure:<deployment>, anthropic:<model>, ollama:<model>, "
        "custom:<model> (any OpenAI-compatible server, at CUSTOM_JUDGE_BASE_URL), local (the "
        "classic host's own server; local:<model> where it has several), mlx:<model> or "
        "transformers:<model> (hub id or directory, run here), or offline (word rules, only to try "
        "the tool out). Several, separated by commas, are a panel: each judges everything, and "
        "their mean counts. Not needed when no metric asks a judge.",
    )
    second_judge: str = option(
        "",
        "Second judge",
        "Judges again, both sides of a pair, where the first is unsure: a score in the middle "
        "third, or a panel that is more than a third apart. Its scores then count.",
    )
    judge_model: str = option(
        "",
        "Judge model",
        "Who scores, from the models that the host knows. Used when Judge is empty.",
        shown=Option(frozenset({"classic"}), "ModelProviderWidget"),
    )
    extra_adapters: Texts = option(
        (),
        "More adapters",
        "Names of further adapters of this model, separated by commas, compared in the same run.",
        shown=Option(frozenset({"classic"})),
    )
    limit: float = option(
        1.0,
        "Share of cases",
        "Share of the cases to work, drawn at random with the seed: 0.1 is a tenth.",
        shown=Option(EVERYWHERE, "RangeWidget"),
        gt=0,
        le=1,
    )
    seed: int = option(
        0,
        "Seed",
        "Fixes the draw of cases, the order of work and the resampling.",
        ge=0,
        le=2**32 - 1,
    )
    max_tokens: int = option(
        256,
        "Longest completion, in tokens",
        "A completion is cut off here; the report counts how many were.",
        ge=1,
    )
    system_prompt: str = option(
        "",
        "System prompt",
        "Put before every case, for every variant alike. An adapter that was trained under one "
        "needs it on both sides. A case's own system turn is joined to it.",
        shown=Option(EVERYWHERE, "textarea"),
    )
    chat_template: bool = option(
        True,
        "Use the chat template",
        "Turn off for a base model that was not trained on chats.",
    )
    baseline_prompt: str = option(
        "",
        "Prompt to beat",
        "An engineered system prompt for the base model, run as a third variant (prompted): a "
        "fine-tune that cannot beat a good prompt is not worth its upkeep.",
        shown=Option(EVERYWHERE, "textarea"),
    )
    tuned_model: Texts = option(
        (),
        "Fine-tuned model",
        "Hub id or directory of a full fine-tune or a fused model, compared like an adapter; "
        "loaded after the base is freed. May repeat (in a form: separated by commas).",
    )
    recorded: Texts = option(
        (),
        "Recorded completions",
        "NAME=FILE or NAME=FILE:COLUMN: completions made elsewhere, once per variant, the baseline "
        "first; joined with the cases on their id or input. No model is run.",
        shown=Option(CLI),
    )
    variants: Literal["vanilla and adapter", "vanilla only", "adapter only"] = option(
        BOTH,
        "What to run",
        "Both give a verdict; one alone gives scores that a host can compare between two jobs.",
        shown=Option(EVERYWHERE, "radio", (BOTH, ONLY_VANILLA, ONLY_ADAPTER)),
    )
    margin: float = option(
        0.05,
        "Smallest difference that matters",
        "Differences within it, either way, count as equivalent (scores run from 0 to 1; "
        "Perplexity counts nats per token).",
        ge=0.001,
        lt=1,
    )
    engine: str = option(
        "auto",
        "Engine",
        "What generates the completions: mlx, transformers (torch and PEFT), server (any "
        "OpenAI-compatible one that has base and adapters by name, at the address of Inference "
        "server), or recorded (they were made elsewhere). auto picks by platform, adapter and what "
        "is installed.",
        shown=Option(EVERYWHERE, "radio", ("auto", "mlx", "transformers", "server")),
    )
    server_url: str = option(
        "",
        "Inference server",
        "Address of the server for the engine 'server', such as http://localhost:8000/v1 (the "
        "classic host's own: http://localhost:8338/v1). Model and adapters are then the names that "
        "it serves; a model's directory or hub id may stand for its last part. The server's key is "
        "the secret INFERENCE_API_KEY.",
    )
    workers: int = option(
        1,
        "Workers",
        "Copies of the engine that share the cases, each with the model loaded, on this machine or "
        "a Ray cluster. Needs ray.",
        shown=Option(NOT_CLASSIC),
        ge=1,
        le=1000,
    )
    ray_address: str = option(
        "",
        "Ray cluster",
        "Address of a running Ray cluster, or 'auto' for the one this machine belongs to. Empty: "
        "one is started here when there are several workers.",
        shown=Option(NOT_CLASSIC),
    )
    load_4bit: bool = option(
        False,
        "Load in 4 bits",
        "Load the base in 4 bits (NF4) with the transformers engine; needs bitsandbytes (pip "
        "install -r requirements-4bit.txt), and a GPU to be fast. For mlx, name a quantised model "
        "instead.",
        shown=Option(NOT_CLASSIC),
    )
    batch_size: int = option(
        0,
        "Batch size",
        "Completions generated side by side, and requests at once with a server; lower it when "
        "memory is short. 0: what suits the engine (mlx 32, transformers 64, a server 32).",
        ge=0,
    )
    concurrency: int = option(
        20,
        "Judge calls at once",
        "How many questions the judge is asked at the same time, to begin with; more (up to four "
        "times as many) while it keeps up, fewer when it does not.",
        ge=1,
        le=1000,
    )
    judge_timeout_s: float = option(
        60.0, "Seconds per judge call", "A call that takes longer is tried again.", gt=0
    )
    include_reason: bool = option(
        True,
        "Ask for reasons",
        "Have the judge say why for every score. Off saves a call per score of most metrics.",
    )
    stop_early: bool = option(
        False,
        "Stop early",
        "Stop judging as soon as the verdict is settled, by intervals that hold however often "
        "one looks. They are wider, and where nothing is settled all cases are judged.",
    )
    budget: float = option(
        0.0,
        "Budget in dollars",
        "Judging stops when the judges' tokens have cost so much; what was done is kept, and a "
        "higher budget goes on. 0: no limit.",
        ge=0,
    )
    max_calls: int = option(
        0,
        "Most calls to the judge",
        "Judging stops after so many calls; what was done is kept. 0: no limit.",
        ge=0,
    )
    deadline_s: float = option(
        0.0,
        "Seconds for judging",
        "Judging stops after so many seconds; what was done is kept, and the same run goes on. "
        "0: no limit.",
        ge=0,
    )
    judge_price: Numbers = option(
        (),
        "Price of the judge",
        "Dollars per million tokens, prompt and completion: '0.15, 0.60'. Empty: from a table of "
        "the known ones.",
        shown=Option(EVERYWHERE),
    )
    max_failed_share: float = option(
        0.2,
        "Most failed judgments",
        "A judge that fails on more than this share of the scores stops the run; everything is "
        "kept.",
        ge=0,
        le=1,
    )
    trust_report: bool = option(
        True,
        "Trust report",
        "Examine the judge, too, with a few calls more: some judgments asked again, and wrong "
        "answers that it must not like. Not done for the offline judge.",
    )
    human_ratings: str = option(
        "",
        "Human ratings",
        "CSV file with human ratings of this run's completions (`python main.py ratings DIR` "
        "writes a template): the report then says how far judge and humans agree, and the gain "
        "corrected by them.",
        shown=Option(CLI),
    )
    skip_bad_rows: bool = option(
        False,
        "Skip bad rows",
        "Count unusable rows as failures and go on, instead of stopping.",
    )
    cache_dir: str = option(
        "",
        "Shared cache",
        "Directory with completions and judgments shared between runs (also "
        "FINETUNE_VERDICT_CACHE). Empty: none; 'off': none, whatever the environment says.",
        shown=Option(CLI),
    )
    out: str = option(
        "",
        "Run directory",
        "Where journal, tables, charts and report go; the same settings there continue the run. "
        "Empty: one under runs/ named after the run.",
        shown=Option(CLI),
    )

    @field_validator("*", mode="before")
    @classmethod
    def _unset(cls, value: object, info: Any) -> object:
        """Null, "" and "None" mean that nothing was said; text is stripped."""
        if any(isinstance(one, str) and "\0" in one for one in _split_parts(value)):
            raise ValueError("holds the character NUL, which no name can")
        if isinstance(value, str):
            value = value.strip()
        if value is None or value in ("", "None"):
            return cls.model_fields[info.field_name].default
        return value

    @classmethod
    def parse(cls, values: Mapping[str, object]) -> Params:
        """Params from loose values.

        Raises:
            OptionError: naming every bad value, its rule and the way out, all together.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            lines = [_explain_problem(problem) for problem in error.errors()]
            raise OptionError("\n".join(lines)) from error

    def settings(self) -> dict[str, Any]:
        """What the results depend on, ready for JSON.

        Left out: what only says where things lie (their contents count), how fast work goes, how
        far, and what is looked at besides.
        """
        places = {"model_name", "model_adapter", "dataset_name", "cache_dir", "out"}
        places |= {"tuned_model", "recorded", "server_url"}
        pace = {"batch_size", "concurrency", "judge_timeout_s", "workers", "ray_address"}
        ends = {"budget", "max_calls", "deadline_s", "judge_price", "max_failed_share"}
        besides = {"trust_report", "human_ratings"}
        return self.model_dump(mode="json", exclude=places | pace | ends | besides)


def _split_parts(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else [value]


def option_of(name: str) -> Option:
    """How the option is shown."""
    extra: Any = Params.model_fields[name].json_schema_extra
    found: Option = extra["option"]
    return found


def _explain_problem(problem: Any) -> str:
    name = str(problem["loc"][0])
    rule = problem["msg"].removeprefix("Value error, ")
    rule = rule[0].lower() + rule[1:]
    meant = Params.model_fields[name].description
    return f"--{name} {problem['input']!r}: {rule}. {meant}"

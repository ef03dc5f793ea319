"""Every option, once: type, default, title, help, limits, group and the hosts that show it.

The options of the groups model and data stand in `params_input`, those of metrics, judge and cost
in `params_scoring`, those of the metrics of a task in `params_task`, those of general ability in
`params_capability`, those of latency in `params_load`, those of sampling in `params_sampling`, the
others here. The command
line and its help come from `Params`, and so do the forms and tables that `tools/forms.py` writes.
Values may arrive as text, as null or typed; they are parsed here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, ValidationError, field_validator

from plugin.engines import ENGINES
from plugin.errors import OptionError, did_you_mean
from plugin.plan.options import CLI, NOT_CLASSIC, Option, option
from plugin.plan.params_capability import CAPABILITY_OPTIONS
from plugin.plan.params_input import TRAINING_OPTIONS
from plugin.plan.params_load import LOAD_OPTIONS
from plugin.plan.params_sampling import SamplingParams
from plugin.plan.params_task import TASK_OPTIONS
from plugin.terminal import is_plain, why_not_plain

_BATCH_SIZES = ", ".join(
    f"{name} {e.batch_size}" for name, e in ENGINES.items() if e.batch_size > 1
)


class Params(SamplingParams):
    """Hold what the user asked for; unknown keys are ignored, since a form may send others'."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", validate_default=False, defer_build=False
    )

    out: str = option(
        "",
        "Run directory",
        "Where journal, tables, charts and report go; the same settings there continue the run. "
        "Empty: one under runs/ named after the run.",
        Option("output", "where results go; one under runs/ if unset", "DIR", CLI),
    )
    cache_dir: str = option(
        "",
        "Shared cache",
        "Directory with completions and judgments shared between runs (also "
        "FINETUNE_VERDICT_CACHE). Empty: none; 'off': none, whatever the environment says.",
        Option("output", value="DIR", hosts=CLI),
    )
    note: str = option(
        "",
        "Note",
        "A sentence for later readers of this run, such as what was changed; kept with the run and "
        "shown in its history.",
        Option("output", value="TEXT", hosts=NOT_CLASSIC),
    )
    seed: int = option(
        0,
        "Seed",
        "Fixes the draw of cases, the order of work and the resampling.",
        Option("advanced", value="N"),
        ge=0,
        le=2**32 - 1,
    )
    batch_size: int = option(
        0,
        "Batch size",
        "Completions generated side by side, and requests at once with a server; lower it when "
        f"memory is short. 0: what suits the engine ({_BATCH_SIZES}; transformers on CUDA: as many "
        "as memory has room for, up to 512).",
        Option("advanced", value="N"),
        ge=0,
    )
    enable_thinking: bool | None = option(
        None,
        "Thinking",
        "Tell the chat template whether the model is to think before it answers (true or false), "
        "for all variants alike; a server is sent chat_template_kwargs. Empty: the template's own "
        "default.",
        Option("advanced", value="true|false"),
    )
    load_4bit: bool = option(
        False,
        "Load in 4 bits",
        "Load the base in 4 bits (NF4) with the transformers engine; needs bitsandbytes (pip "
        "install -r requirements-4bit.txt), and a GPU to be fast. For mlx, name a quantised model "
        "instead.",
        Option("advanced", hosts=NOT_CLASSIC),
    )
    workers: int = option(
        1,
        "Workers",
        "Copies of the engine that share the cases, each with the model loaded, on this machine or "
        "a Ray cluster. Needs ray.",
        Option("advanced", value="N", hosts=NOT_CLASSIC),
        ge=1,
        le=1000,
    )
    ray_address: str = option(
        "",
        "Ray cluster",
        "Address of a running Ray cluster, or 'auto' for the one this machine belongs to. Empty: "
        "one is started here when there are several workers.",
        Option("advanced", value="ADDRESS", hosts=NOT_CLASSIC),
    )
    concurrency: int = option(
        20,
        "Judge calls at once",
        "How many questions the judge is asked at the same time, to begin with; more (up to four "
        "times as many) while it keeps up, fewer when it does not.",
        Option("advanced", value="N"),
        ge=1,
        le=1000,
    )
    judge_timeout_s: float = option(
        60.0,
        "Seconds per judge call",
        "A call that takes longer is tried again.",
        Option("advanced", value="N"),
        gt=0,
    )
    max_failed_share: float = option(
        0.2,
        "Allowed share of failed judgments",
        "A judge that fails on more than this share of the scores stops the run; everything is "
        "kept.",
        Option("advanced", value="N"),
        ge=0,
        le=1,
    )

    @field_validator("*", mode="before")
    @classmethod
    def _unset(cls, value: object, info: Any) -> object:
        """Return the default for null, "" and "None", which say nothing; strip text."""
        if any(isinstance(one, str) and "\0" in one for one in _split_parts(value)):
            raise ValueError("holds the character NUL, which no name can")
        if not all(is_plain(one) for one in _split_parts(value) if isinstance(one, str)):
            raise ValueError(why_not_plain())
        if isinstance(value, str):
            value = value.strip()
        if value is None or value in ("", "None"):
            return cls.model_fields[info.field_name].default
        return value

    @classmethod
    def parse(cls, values: Mapping[str, object]) -> Params:
        """Return the options from loose values.

        Raises:
            OptionError: naming every bad value, its rule and the way out, all together.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            lines = [_explain_problem(problem) for problem in error.errors()]
            raise OptionError("\n".join(lines)) from error

    def settings(self) -> dict[str, Any]:
        """Return what the results depend on, ready for JSON.

        Left out is what only says where things lie (their contents count), how fast and how far
        the work goes, and what is looked at besides.
        """
        places = {"model_name", "model_adapter", "dataset_name", "cache_dir", "out"}
        places |= {"tuned_model", "recorded", "server_url", "rival"}
        pace = {"batch_size", "concurrency", "judge_timeout_s", "workers", "ray_address"}
        ends = {"budget", "max_calls", "deadline_s", "judge_price", "max_failed_share"}
        besides = {"note", "trust_report", "human_ratings", *CAPABILITY_OPTIONS, *TRAINING_OPTIONS}
        besides |= set(LOAD_OPTIONS)
        fields = type(self).model_fields
        unsaid = {name for name in _UNSAID if getattr(self, name) == fields[name].default}
        left_out = places | pace | ends | besides | unsaid  # a run that says nothing keeps its id
        found = self.model_dump(mode="json", exclude=left_out)
        if len(self.baseline_prompt) < 2:  # as it was when there could be only one
            found["baseline_prompt"] = "".join(self.baseline_prompt)
        return found


_UNSAID = (
    *("rival_prompt", "enable_thinking", "guard_metric", "retention_group", "retention_column"),
    *("preference_criteria", "preference_reference", "pairs", "style_control"),
    *("expect_column", "tests_column", "conversation", "samples", "temperature", "judge_repeats"),
    *TASK_OPTIONS,
)
"""Options that are no settings of a run which leaves them at their default."""


def _split_parts(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else [value]


def option_of(name: str) -> Option:
    """Return where and how the option is shown."""
    extra: Any = Params.model_fields[name].json_schema_extra
    found: Option = extra["option"]
    return found


def _explain_problem(problem: Any) -> str:
    """Return a line with the option, its value, the rule that it breaks, and what it means."""
    name, value = str(problem["loc"][0]), problem["input"]
    field = Params.model_fields[name]
    rule = problem["msg"].removeprefix("Value error, ").replace("Input should be", "It must be")
    if isinstance(field.default, bool) or field.annotation == bool | None:
        rule = "choose true or false"
    hint = did_you_mean(value, option_of(name).choices) if isinstance(value, str) else ""
    return f"--{name} {value!r}{hint}: {rule[0].lower()}{rule[1:]}. {field.description}"

"""The classic host's form, and what a job there says in the words of that form.

Messages are written once, with the names that the command line knows. A person who fills in a form
knows an option by its field's title, and long paths into the host's workspace tell them nothing.
"""

from __future__ import annotations

import re
from pathlib import Path

from plugin.plan.params import Params

CLASSIC_FORM = (
    *("judge_model", "predefined_tasks", "variants", "limit", "tasks", "retention_group"),
    *("baseline_prompt", "primary_metric", "margin", "system_prompt", "max_tokens"),
    *("input_column", "expected_output_column", "context_column", "group_column"),
    *("cluster_column", "id_column"),
    *("engine", "server_url", "budget"),
)
"""The form's fields, in order: what most people set first, cost last.

At most 20, so that the form stays short; the other options belong to the command line.
"""

_PLACES = {
    "model_name": "the model (Foundation tab)",
    "model_adapter": "the adapter (Foundation tab)",
    "tuned_model": "the model (Foundation tab)",
    "dataset_name": "the data set (Dataset tab)",
    "judge": "Judge model",
}
"""Options that the host itself asks for, outside the plugin's form."""

_ELSEWHERE = " (command line only)"
_OPTION = re.compile(rf"(?<![\w-])--([a-z][a-z_0-9]+)\b(?!{re.escape(_ELSEWHERE)})")

_LONG_PART = re.compile(r"(?<=/)[\w.-]{50,}(?=/)")
"""A folder that the host names after a model's whole path."""


def say_fields(text: str, workspace: str = "") -> str:
    """Return the message with titles of fields for names of options, and with short paths.

    Args:
        text: the message, as the command line would print it.
        workspace: the host's directory; paths in it begin with "…" instead.
    """
    if workspace:
        text = text.replace(str(Path(workspace)) + "/", "…/")
        text = _LONG_PART.sub(lambda found: f"{found.group()[:8]}…{found.group()[-21:]}", text)
    return _OPTION.sub(lambda found: _title(found.group(1)) or found.group(), text)


def describe_run(params: Params) -> str:
    """Return what a job is about to run, in a line: a host may save other values than it shows."""
    metrics = (*params.predefined_tasks, *(criterion.name for criterion in params.tasks))
    tuned = ", ".join((*params.model_adapter, *params.tuned_model)) or "none"
    parts = (
        params.variants,
        f"model {params.model_name or 'none'}",
        f"adapter {tuned}",
        f"judge {params.judge or 'none'}",
        f"metrics {', '.join(metrics) or 'by the data'}",
        f"data set {params.dataset_name or 'none'}",
        f"{params.limit:.0%} of its cases",
    )
    return f"This job runs: {'; '.join(parts)}"


def _title(name: str) -> str:
    """Return what the form calls an option; "" for a word that is not an option."""
    if name in _PLACES:
        return _PLACES[name]
    field = Params.model_fields.get(name)
    if field is None:
        return ""
    return (field.title or "") if name in CLASSIC_FORM else f"--{name}{_ELSEWHERE}"

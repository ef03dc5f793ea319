"""What an adapter's own record says of the model it was trained on, held against the one loaded."""

from __future__ import annotations

from plugin.adapters.layout import AdapterFolder
from plugin.weights import ModelFolder

_GENERATES = "CAUSAL_LM"


def base_notes(adapter: AdapterFolder, model: ModelFolder, model_name: str) -> tuple[str, ...]:
    """Where the adapter's record and the base model differ, a sentence each; () when nowhere.

    Args:
        adapter: as it lies on disk, not a converted one.
        model: the base model.
        model_name: as the user gave it.
    """
    found = (_name(adapter, model, model_name), _task(adapter), _architecture(adapter, model))
    return tuple(f"{adapter.path.name} says that it was trained {note}" for note in found if note)


def _name(adapter: AdapterFolder, model: ModelFolder, model_name: str) -> str:
    named = adapter.config.get("base_model_name_or_path") or adapter.config.get("model")
    if not isinstance(named, str) or not named.strip():
        return ""
    if _last(named) in {_last(name) for name in (model_name, str(model.path))}:
        return ""
    return (
        f"on {named!r}, and the base model here is {model_name!r}: make sure that they are the "
        "same weights"
    )


def _task(adapter: AdapterFolder) -> str:
    """PEFT's task; an adapter of a classifier, say, may fit and yet not be made to write."""
    task = adapter.config.get("task_type")
    if not isinstance(task, str) or task.upper() == _GENERATES:
        return ""
    return f"for the task {task}, and here it writes text ({_GENERATES}): it may not be made for it"


def _architecture(adapter: AdapterFolder, model: ModelFolder) -> str:
    """The class that PEFT records where no task was named."""
    recorded = adapter.config.get("auto_mapping")
    name = recorded.get("base_model_class") if isinstance(recorded, dict) else None
    here = model.config.get("architectures")
    if not isinstance(name, str) or not isinstance(here, list) or name in here:
        return ""
    return f"on a {name}, and the base model here is a {', '.join(map(str, here))}"


def _last(name: str) -> str:
    """The name without owner, folders and hub's snapshot digits."""
    parts = [part for part in name.strip().rstrip("/").lower().split("/") if part]
    for part in parts:
        if part.startswith("models--"):
            return part.rpartition("--")[2]
    return parts[-1] if parts else ""

"""Check whether an adapter fits the base model.

`fit_tensors` finds out which tensors match a module of the loaded model, and
`AdapterFit.require_usable` refuses an incomplete adapter. `base_model_notes` says if the adapter's
config names another base model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from plugin.errors import AdapterError, list_first
from plugin.load.adapter import AdapterFolder
from plugin.load.chat_files import tokens_note
from plugin.load.convert import PEFT_PREFIX, conversion_obstacles
from plugin.load.model import ModelFolder, short_names

_N_SHOWN = 8
_ONLY_ITS_BASE = "An adapter fits only the model that it was trained on; check --model_name"
_OF_TOKENS = ("embed_tokens", "wte", "tok_embeddings", "word_embeddings", "lm_head", "embed_out")
"""Modules with one row per token."""

_GENERATES = "CAUSAL_LM"
"""PEFT's task name for adapters that generate text."""


class AdapterFit(NamedTuple):
    """The result of comparing an adapter's tensors with a model.

    Attributes:
        used: names of the tensors that can be loaded.
        unused: names of tensors that match no module, or whose partner (A or B) matches none.
        missing: names of tensors that the model expects but the file lacks.
        problems: tensors of a wrong shape or with NaN, one line each.
    """

    used: tuple[str, ...]
    unused: tuple[str, ...]
    missing: tuple[str, ...]
    problems: tuple[str, ...]

    def require_usable(
        self, adapter: AdapterFolder, model: Path, notes: Sequence[str] = ()
    ) -> None:
        """Refuse an adapter that is incomplete by mistake.

        A file with tensors that match no module is used as far as it fits, and its certificate
        says so. A file that only lacks tensors was not saved completely and is refused.

        Args:
            adapter: the user's adapter.
            model: the base model's folder.
            notes: other signs that this is the wrong base, one sentence each.

        Raises:
            AdapterError: with a list of everything that is wrong.
        """
        lines = list(self.problems)
        if not self.unused:
            lines += [
                f"  {name}: named in the config, missing from the file" for name in self.missing
            ]
        besides = "".join(f"\n  {note}" for note in notes)
        n_tensors = _count_noun(len(adapter.shapes), "tensor")
        if lines:
            raise AdapterError(
                f"{adapter.path} does not fit the base model {model} "
                f"({_count_noun(len(lines), 'problem')} "
                f"with {n_tensors}):\n"
                + "\n".join(sorted(lines))
                + f"{besides}\n{_ONLY_ITS_BASE}, "
                "or save the adapter again from its training"
            )
        if not self.used:
            names = self.unused[:_N_SHOWN]
            more = len(self.unused) - len(names)
            shown = "".join(f"\n  {name}" for name in names) + (
                f"\n  and {more} more" if more else ""
            )
            raise AdapterError(
                f"{adapter.path}: the base model {model} has no module for any of its {n_tensors}"
                f":{shown}{besides}\n{_ONLY_ITS_BASE}"
            )


def refuse_rearranged(
    adapter: AdapterFolder, model: ModelFolder, unused: Iterable[str], modules: Iterable[str]
) -> None:
    """Refuse a PEFT adapter of modules that the model's files have, but not the loaded model.

    mlx-lm joins or renames some modules when it loads a model; PEFT's names are those of the files.

    Args:
        adapter: the user's adapter.
        model: the base model.
        unused: the adapter's tensors that match no module of the loaded model.
        modules: names of the modules in the loaded model.

    Raises:
        AdapterError: naming the tensors and the engine that can load them.
    """
    if adapter.kind != "peft":
        return
    loaded = set(modules)
    gone = {_module_of(name) for name in unused} - loaded
    moved = {module for module in gone if _is_in_files(module, model)}
    lost = [name for name in adapter.shapes if _module_of(name) in moved]
    if lost:
        raise AdapterError(
            f"{adapter.path}: MLX arranges this model's modules in another way than its files, and "
            f"has no place for {len(lost)} of {_count_noun(len(adapter.shapes), 'tensor')} "
            f"({list_first(sorted(lost), _N_SHOWN)}). Use --engine transformers"
        )


def _module_of(name: str) -> str:
    return name.removeprefix(PEFT_PREFIX).partition(".lora_")[0]


def _is_in_files(module: str, model: ModelFolder) -> bool:
    """Return whether a weight of this name is in the files, which may lack outer names."""
    return name_in_files(module, model.tensor_names, ("weight",)) is not None


def name_in_files(
    module: str,
    names: Container[str],
    leaves: Sequence[str] = ("weight", "qweight", "weight_packed"),
) -> str | None:
    """Return the name of a module's weight in a model's files, which may lack outer names.

    Args:
        module: its whole name.
        names: the tensors in the files.
        leaves: names that a weight may have.
    """
    parts = module.split(".")
    for i in range(len(parts) - 1):
        for leaf in leaves:
            if (name := ".".join([*parts[i:], leaf])) in names:
                return name
    return None


def placement_error(
    adapter: AdapterFolder, model: Path, error: str, other: Literal["mlx", "peft"]
) -> AdapterError:
    """Return the error for an adapter that an engine's library cannot add to the model.

    Args:
        adapter: the user's adapter.
        model: the base model's folder.
        error: the library's message.
        other: the adapter format of the other engine.
    """
    if adapter.method == "dora" and "dora" in error.lower():
        here, there = ("mlx", "transformers") if other == "peft" else ("transformers", "mlx")
        way_out = f"Try --engine {there}"
        if conversion_obstacles(adapter, other):
            way_out = f"--engine {there} cannot load it either: train it as LoRA without DoRA"
        return AdapterError(
            f"{adapter.path} is a DoRA adapter, but the engine {here} does not support DoRA for "
            f"some of its modules: {error.rstrip('.')}. {way_out}"
        )
    return AdapterError(
        f"{adapter.path} does not fit the base model {model}: {error}\n{_ONLY_ITS_BASE}"
    )


def fit_tensors(
    held: Mapping[str, tuple[int, ...]],
    places: Mapping[str, tuple[int, ...]],
    broken: Iterable[str],
    module_of: Callable[[str], str],
    n_vocabulary: int,
) -> AdapterFit:
    """Compare an adapter's tensors with those that the model expects.

    Args:
        held: name -> shape of the tensors in the file.
        places: name -> shape of the tensors that the model expects by the adapter's config.
        broken: names of tensors that hold NaN or infinity.
        module_of: returns a tensor's module; the tensors of a module work only together.
        n_vocabulary: number of rows in the model's embedding; 0 when unknown.
    """
    missing = tuple(sorted(set(places) - set(held)))
    incomplete = {module_of(name) for name in missing}
    strangers = set(held) - set(places)
    # Missing tensors may be among those with an unknown name. Without any, the file is incomplete.
    halves = {name for name in held if module_of(name) in incomplete} if strangers else set()
    unused = strangers | halves
    problems = [f"  {name}: holds NaN or infinity" for name in broken]
    problems += [
        _misfit_text(name, shape, places[name], n_vocabulary)
        for name, shape in held.items()
        if name in places and shape != places[name]
    ]
    # A vocabulary of another size cannot just be left out: the adapter was trained with its tokens.
    problems += [
        _vocabulary_text(name, held[name][0], n_vocabulary)
        for name in (strangers if n_vocabulary else ())
        if _is_of_vocabulary(name) and len(held[name]) == 2 and held[name][0] != n_vocabulary
    ]
    return AdapterFit(
        used=tuple(sorted(set(held) - unused)),
        unused=tuple(sorted(unused)),
        missing=missing,
        problems=tuple(sorted(problems)),
    )


def _misfit_text(
    name: str, shape: tuple[int, ...], place: tuple[int, ...], n_vocabulary: int
) -> str:
    if any(part in name for part in _OF_TOKENS) and len(shape) == len(place):
        for own, wanted in zip(shape, place, strict=True):
            if own != wanted == n_vocabulary:
                return _vocabulary_text(name, own, n_vocabulary)
    return f"  {name}: shape {_shape_text(shape)} in the file, {_shape_text(place)} in the model"


def _is_of_vocabulary(name: str) -> bool:
    """Return whether the tensor has one row per token."""
    return re.search(rf"(^|\.)({'|'.join(_OF_TOKENS)})(\.base_layer)?\.weight$", name) is not None


def _vocabulary_text(name: str, n_file: int, n_model: int) -> str:
    return f"  {name}: a vocabulary of {n_file} tokens in the file, {n_model} in the model"


def _shape_text(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _count_noun(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def base_model_notes(
    adapter: AdapterFolder, model: ModelFolder, model_name: str
) -> tuple[str, ...]:
    """Return how the adapter's config contradicts the base model, one sentence each.

    Args:
        adapter: the adapter on disk, not a converted one.
        model: the base model.
        model_name: the base model's name, as the user gave it.
    """
    found = (
        _name_note(adapter, model, model_name),
        _task_note(adapter),
        _architecture_note(adapter, model),
    )
    shown = short_names([str(adapter.path)])[0]
    notes = [f"{shown} says that it was trained {note}" for note in found if note]
    if other_tokens := tokens_note(adapter.root, model.path):
        notes.append(other_tokens)
    return tuple(notes)


def _name_note(adapter: AdapterFolder, model: ModelFolder, model_name: str) -> str:
    named = adapter.config.get("base_model_name_or_path") or adapter.config.get("model")
    if not isinstance(named, str) or not named.strip():
        return ""
    if _last_part_of(named) in {_last_part_of(name) for name in (model_name, str(model.path))}:
        return ""
    return (
        f"on {named!r}, but the base model is {model_name!r}: check that these are the same weights"
    )


def _task_note(adapter: AdapterFolder) -> str:
    """Note another task than generating text; a classifier's adapter may fit the model too."""
    task = adapter.config.get("task_type")
    if not isinstance(task, str) or task.upper() == _GENERATES:
        return ""
    return f"for the task {task}, but here it must generate text ({_GENERATES}): check the adapter"


def _architecture_note(adapter: AdapterFolder, model: ModelFolder) -> str:
    """Note another model class, which PEFT records if the user set no task."""
    recorded = adapter.config.get("auto_mapping")
    name = recorded.get("base_model_class") if isinstance(recorded, dict) else None
    here = model.config.get("architectures")
    if not isinstance(name, str) or not isinstance(here, list) or name in here:
        return ""
    return f"on a {name}, but the base model is a {', '.join(map(str, here))}"


def _last_part_of(name: str) -> str:
    """Return a model's name without owner, folders and the hub's snapshot hash."""
    parts = [part for part in name.strip().rstrip("/").lower().split("/") if part]
    for part in parts:
        if part.startswith("models--"):
            return part.rpartition("--")[2]
    return parts[-1] if parts else ""

"""Which engine runs: the named one, or one that is installed and fits model and adapters."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import NamedTuple

from plugin.engines import ENGINES, PROVEN, EngineSettings, WorkerSettings, engine_module
from plugin.errors import AdapterError, OptionError, did_you_mean
from plugin.load.adapter import AdapterFolder
from plugin.load.convert import conversion_obstacles, refuse_conversion
from plugin.load.model import ModelFolder

LIBRARIES_4BIT = ("bitsandbytes", "accelerate")
INSTALL_4BIT = "pip install -r requirements-4bit.txt -c constraints/torch.txt"

_ADAPTER_KINDS = {name: kind for name in PROVEN if (kind := ENGINES[name].adapter_kind)}
"""Engines that `auto` may choose -> the adapter format that each loads without conversion."""

_SPREADER = "ray"
"""The engine that generates nothing itself but runs another one on several workers."""


class EngineChoice(NamedTuple):
    """An engine's name, and why it was chosen."""

    name: str
    reason: str


def ready_engines(name: str) -> list[str]:
    """Return the engines that can run here: the named one, or for "auto" all installed ones.

    Raises:
        OptionError: for an unknown name; for an engine that runs no model; when libraries are
            missing.
    """
    if name == _SPREADER:
        raise OptionError(
            f"--engine {name}: Ray generates nothing itself; it runs "
            f"{' or '.join(_ADAPTER_KINDS)} on several workers. Choose one of these with --engine, "
            "and add --workers N (or --ray_address ADDRESS for a running cluster)"
        )
    if name != "auto" and name not in ENGINES:
        known = ["auto", *(engine for engine in ENGINES if engine != _SPREADER)]
        raise OptionError(
            f"unknown engine {name!r}{did_you_mean(name, known) or ';'} --engine takes one of "
            f"{', '.join(known)}"
        )
    if name == "recorded":
        raise OptionError(
            "engine 'recorded' runs no model: give a file of existing completions with "
            "`run --recorded NAME=FILE`, or choose another --engine"
        )
    asked = list(_ADAPTER_KINDS) if name == "auto" else [name]
    found = [engine for engine in asked if not _missing_libraries(engine)]
    if not found:
        told = (f"engine {engine!r} {_missing_text(engine)}" for engine in asked)
        raise OptionError("; or ".join(told))
    return found


def choose_engine(
    name: str, model: ModelFolder, adapters: Iterable[AdapterFolder], load_4bit: bool = False
) -> EngineChoice:
    """Choose the engine; for "auto", by installed libraries, model, adapters and device.

    Raises:
        OptionError: see `ready_engines`; when the base cannot be loaded in 4 bits.
    """
    if load_4bit:
        return _choose_4bit(name, model)
    found = ready_engines(name)
    if name != "auto":
        return EngineChoice(name, f"--engine {name}")
    if len(found) == 1:
        return EngineChoice(found[0], "auto: the only one installed")
    fitting = _fitting_engine(model, list(adapters))
    return fitting._replace(reason=f"auto: {fitting.reason}")


def _choose_4bit(name: str, model: ModelFolder) -> EngineChoice:
    """Choose the engine that can quantise a model while loading it."""
    if name not in ("auto", "transformers"):
        ready_engines(name)
        raise OptionError(
            f"--load_4bit true: the engine {name!r} does not quantise a model. Give a quantised "
            "MLX model with --model_name (mlx_lm.convert -q makes one), or use --engine "
            "transformers"
        )
    ready_engines("transformers")
    how = {"quantization": "in MLX format", "quantization_config": "already"}
    for key, words in how.items():
        if key in model.config:
            raise OptionError(
                f"--load_4bit true: {model.path} is quantised {words}; leave --load_4bit out"
            )
    missing = [name for name in LIBRARIES_4BIT if find_spec(name) is None]
    if missing:
        raise OptionError(
            f"--load_4bit true needs {' and '.join(missing)}, not installed here. Install with: "
            f"{INSTALL_4BIT}"
        )
    return EngineChoice(
        "transformers", "--load_4bit" if name == "auto" else "--engine transformers"
    )


def _fitting_engine(model: ModelFolder, adapters: Sequence[AdapterFolder]) -> EngineChoice:
    """Choose between mlx and transformers (both installed) by model, adapters and device."""
    if "quantization" in model.config:
        return EngineChoice("mlx", "the base is quantised in MLX format")
    for adapter in adapters:
        for name, kind in _ADAPTER_KINDS.items():
            if conversion_obstacles(adapter, kind, model):
                other = "transformers" if name == "mlx" else "mlx"
                return EngineChoice(
                    other, f"adapter {adapter.path.name} cannot be converted for {name}"
                )
    if sys.platform == "darwin":
        return EngineChoice("mlx", "this is a Mac")
    if engine_module("transformers").has_gpu():
        return EngineChoice("transformers", "torch sees a GPU")
    return EngineChoice("transformers", "no GPU, and torch is much faster than mlx on a CPU")


def require_fitting_adapters(
    name: str, model: ModelFolder, adapters: Sequence[AdapterFolder]
) -> None:
    """Refuse adapters that the engine cannot load.

    Raises:
        AdapterError: naming the engine that can; when no engine can load all of them, the runs to
            compare them in.
    """
    kind = ENGINES[name].adapter_kind
    refused = [one for one in adapters if kind and conversion_obstacles(one, kind, model)]
    if not kind or not refused:
        return
    other = next(engine for engine, own in _ADAPTER_KINDS.items() if own != kind)
    if any(conversion_obstacles(one, _ADAPTER_KINDS[other], model) for one in adapters):
        own = [one for one in adapters if one not in refused]
        runs = "\n".join(
            f"  --engine {engine} " + " ".join(f"--model_adapter {one.path}" for one in group)
            for engine, group in ((name, own), (other, refused))
        )
        raise AdapterError(
            "no engine here can load all of these adapters, because they are of different "
            f"kinds. Compare them in two runs:\n{runs}"
        )
    for adapter in refused:
        refuse_conversion(adapter, kind, model)


def _missing_libraries(name: str) -> list[str]:
    return [library for library in ENGINES[name].libraries if find_spec(library) is None]


def _missing_text(name: str) -> str:
    missing = " and ".join(_missing_libraries(name))
    return f"needs {missing}, not installed here. Install with: {ENGINES[name].install}"


def spread_over_workers(
    name: str, settings: EngineSettings, n_workers: int, address: str
) -> tuple[str, EngineSettings]:
    """Return name and settings of the engine to load: this one, or ray to run it on workers.

    Args:
        name: the engine's name.
        settings: the engine's settings.
        n_workers: number of workers (--workers).
        address: the Ray cluster's address (--ray_address); "" for none.

    Raises:
        OptionError: when the engine or this machine cannot do that, or a library is missing.
    """
    if n_workers == 1 and not address:
        return name, settings
    asked = f"--ray_address {address}" if address else f"--workers {n_workers}"
    if name not in _ADAPTER_KINDS:
        raise OptionError(
            f"{asked}: engine {name!r} runs on no workers; leave the option out, or choose "
            f"--engine {' or '.join(_ADAPTER_KINDS)}"
        )
    if _missing_libraries(_SPREADER):
        raise OptionError(f"{asked} {_missing_text(_SPREADER)}")
    cores = os.cpu_count() or 1
    if not address and n_workers > cores:
        raise OptionError(
            f"{asked}: this machine has only {cores} cores, and more workers than cores are not "
            f"faster; use {cores} or fewer, or --ray_address for a cluster"
        )
    return _SPREADER, replace(settings, spread=WorkerSettings(name, n_workers, address))

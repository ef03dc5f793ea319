"""Which engine runs: by its name or by what fits, in 4 bits or not, alone or on several workers."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Literal, NamedTuple

from plugin.adapters.convert import obstacles
from plugin.adapters.layout import AdapterFolder
from plugin.engines import EngineSettings, Spread, available
from plugin.errors import OptionError
from plugin.weights import ModelFolder

_KINDS: dict[str, Literal["mlx", "peft"]] = {"mlx": "mlx", "transformers": "peft"}
"""The kind of adapter that an engine takes as it is."""

_SPREADER = "ray"
"""No engine of its own: it runs one of the others on several workers."""


class Choice(NamedTuple):
    """An engine's name, and why it is this one."""

    name: str
    reason: str


def ready(name: str) -> list[str]:
    """The engines that can run here: the named one, or for "auto" all whose libraries are there.

    Raises:
        OptionError: for an unknown name, listing the known ones; for one that runs no model; when
            libraries are missing.
    """
    if name == _SPREADER:
        raise OptionError(
            f"--engine {name}: Ray generates nothing itself, it runs {' or '.join(_KINDS)} on "
            "several workers. Choose one of these, and --workers N (or --ray_address ADDRESS for "
            "a cluster that is running)"
        )
    if name != "auto" and name not in available():
        known = ", ".join(engine for engine in available() if engine != _SPREADER)
        raise OptionError(f"unknown engine {name!r}; choose one of auto, {known} (--engine)")
    if name == "recorded":
        raise OptionError(
            "engine 'recorded' runs no model: name completions made elsewhere with "
            "`run --recorded NAME=FILE`, or choose another --engine"
        )
    asked = list(_KINDS) if name == "auto" else [name]
    found = [engine for engine in asked if not _missing(engine)]
    if not found:
        raise OptionError("; or ".join(f"engine {engine!r} {_lack(engine)}" for engine in asked))
    return found


def choose(
    name: str, model: ModelFolder, adapters: Iterable[AdapterFolder], load_4bit: bool = False
) -> Choice:
    """The engine, with "auto" resolved by what is installed, what fits, and the device.

    Raises:
        OptionError: see `ready`; when the base cannot be loaded in 4 bits.
    """
    if load_4bit:
        return _in_4bit(name, model)
    found = ready(name)
    if name != "auto":
        return Choice(name, f"--engine {name}")
    if len(found) == 1:
        return Choice(found[0], "auto: the only one installed")
    fitting = _fitting(model, list(adapters))
    return fitting._replace(reason=f"auto: {fitting.reason}")


def _in_4bit(name: str, model: ModelFolder) -> Choice:
    """The one engine that quantises while it loads."""
    if name not in ("auto", "transformers"):
        ready(name)
        raise OptionError(
            f"--load_4bit true: the engine {name!r} loads a base as it is. Name a quantised MLX "
            "model with --model_name (mlx_lm.convert -q makes one), or use --engine transformers"
        )
    ready("transformers")
    how = {"quantization": "in MLX's way", "quantization_config": "already"}
    for key, words in how.items():
        if key in model.config:
            raise OptionError(
                f"--load_4bit true: {model.path} is quantised {words}; leave --load_4bit out"
            )
    torch_engine = importlib.import_module("plugin.engines.transformers")
    missing = [name for name in torch_engine.LIBRARIES_4BIT if find_spec(name) is None]
    if missing:
        raise OptionError(
            f"--load_4bit true needs {' and '.join(missing)}, not installed here: "
            f"{torch_engine.INSTALL_4BIT}"
        )
    return Choice("transformers", "--load_4bit" if name == "auto" else "--engine transformers")


def _fitting(model: ModelFolder, adapters: Sequence[AdapterFolder]) -> Choice:
    """Of mlx and transformers, both installed, the one that these files and this machine suit."""
    if "quantization" in model.config:
        return Choice("mlx", "the base is quantised in MLX's way")
    for adapter in adapters:
        for name, kind in _KINDS.items():
            if obstacles(adapter, kind):
                other = "transformers" if name == "mlx" else "mlx"
                return Choice(other, f"adapter {adapter.path.name} cannot be converted for {name}")
    if sys.platform == "darwin":
        return Choice("mlx", "this is a Mac")
    if importlib.import_module("plugin.engines.transformers").has_gpu():
        return Choice("transformers", "torch sees a GPU")
    if any(adapter.kind == "peft" for adapter in adapters):
        return Choice("transformers", "no GPU, and there is a PEFT adapter")
    return Choice("mlx", "no GPU, and no PEFT adapter")


def _missing(name: str) -> list[str]:
    libraries: Sequence[str] = importlib.import_module(f"plugin.engines.{name}").LIBRARIES
    return [library for library in libraries if find_spec(library) is None]


def _lack(name: str) -> str:
    how = importlib.import_module(f"plugin.engines.{name}").INSTALL
    return f"needs {' and '.join(_missing(name))}, not installed here: {how}"


def spread(
    name: str, settings: EngineSettings, n_workers: int, address: str
) -> tuple[str, EngineSettings]:
    """What is to be loaded: the engine itself, or what runs it on several workers.

    Args:
        name: the engine's.
        settings: the engine's.
        n_workers: how many (--workers).
        address: the Ray cluster's (--ray_address); "" for none.

    Raises:
        OptionError: when this engine, this machine or what is installed here cannot do that.
    """
    if n_workers == 1 and not address:
        return name, settings
    asked = f"--ray_address {address}" if address else f"--workers {n_workers}"
    if name not in _KINDS:
        raise OptionError(
            f"{asked}: engine {name!r} loads no model here that workers could share; leave it "
            f"out, or choose --engine {' or '.join(_KINDS)}"
        )
    if _missing(_SPREADER):
        raise OptionError(f"{asked} {_lack(_SPREADER)}")
    cores = os.cpu_count() or 1
    if not address and n_workers > cores:
        raise OptionError(
            f"{asked}: this machine has {cores} cores, and workers beyond that only wait for each "
            f"other; use {cores} or fewer, or --ray_address for a cluster"
        )
    return _SPREADER, replace(settings, spread=Spread(name, n_workers, address))

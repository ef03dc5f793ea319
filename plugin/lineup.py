"""Who is compared with whom: the variants of a run, and what generates for each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from plugin import engines
from plugin.adapters.layout import AdapterFolder, inspect_adapter
from plugin.cache import content_key
from plugin.engines import EngineSettings
from plugin.errors import AdapterError
from plugin.generation import Load
from plugin.params import ONLY_ADAPTER, Params
from plugin.records import PROMPTED, VANILLA, Variant
from plugin.sources import Sources
from plugin.weights import ModelFolder, find_model, inspect_model


@dataclass(frozen=True, slots=True)
class Lineup:
    """The variants, ready to be generated with.

    Attributes:
        loads: one after another, each holding the weights of some variants; the first one has the
            baseline.
        identity: what the completions depend on, by name.
        versions: of the engine, why it was chosen, and the adapters' traits.
        model_type: the architecture that the model's configuration names, "" where it names none.
    """

    loads: tuple[Load, ...]
    identity: dict[str, Any]
    versions: dict[str, str]
    model_type: str = ""

    @property
    def variants(self) -> tuple[Variant, ...]:
        """All of them, the baseline first."""
        return tuple(variant for load in self.loads for variant in load.variants)


def line_up(params: Params, sources: Sources) -> Lineup:
    """Check model and adapters, choose the engine, and name the variants.

    Raises:
        UserError: naming what is wrong with options, model or adapter.
    """
    adapters = _named([inspect_adapter(path) for path in sources.adapters])
    model = inspect_model(find_model(sources.model))
    choice = engines.choose(params.engine, model, adapters.values())
    version = engines.library_version(choice.name)
    first = _settings(params, model, params.model_name, adapters)
    names = [
        *([] if params.variants == ONLY_ADAPTER else [VANILLA]),
        *([PROMPTED] if params.baseline_prompt else []),
        *adapters,
    ]
    variants = tuple(_variant(name, params, first, version) for name in names)
    return Lineup(
        loads=(Load(variants, partial(engines.load, choice.name, first)),),
        identity={
            "model's files": model.digest,
            "tokenizer's files": model.tokenizer_digest,
            "adapters' files": {name: adapter.digest for name, adapter in adapters.items()},
            "engine": version,
        },
        versions={
            "engine": version,
            "engine chosen by": choice.reason,
            **{f"adapter {name}": adapter.traits for name, adapter in adapters.items()},
        },
        model_type=str(model.config.get("model_type") or ""),
    )


def _settings(
    params: Params, model: ModelFolder, name: str, adapters: dict[str, AdapterFolder]
) -> EngineSettings:
    return EngineSettings(
        model=model,
        model_name=name,
        adapters=adapters,
        max_tokens=params.max_tokens,
        batch_size=params.batch_size,
        chat_template=params.chat_template,
    )


def _named(adapters: Sequence[AdapterFolder]) -> dict[str, AdapterFolder]:
    """Adapters by the names under which they are shown: their folders' names."""
    named: dict[str, AdapterFolder] = {}
    reserved = {
        VANILLA: "what the base model is shown as",
        PROMPTED: "what the base model with --baseline_prompt is shown as",
    }
    for adapter in adapters:
        name = adapter.path.name
        other = named.get(name)
        if other is not None or name in reserved:
            taken = f"also the name of {other.path}" if other else reserved[name]
            raise AdapterError(
                f"{adapter.path}: its name {name!r} is {taken}; names must differ, so rename the "
                "folder or give it through a link with another name"
            )
        named[name] = adapter
    return named


def _variant(name: str, params: Params, settings: EngineSettings, engine_version: str) -> Variant:
    adapter = settings.adapters.get(name)
    prompt = params.baseline_prompt if name == PROMPTED else params.system_prompt
    return Variant(
        name=name,
        id=content_key(
            settings.model.digest,
            settings.model.tokenizer_digest,
            adapter.digest if adapter else None,
            engine_version,
            {"temperature": 0, "max_tokens": settings.max_tokens},
        ),
        model=settings.model_name,
        adapter_path=str(adapter.path) if adapter else None,
        adapter_digest=adapter.digest if adapter else None,
        system_prompt=prompt or None,
    )

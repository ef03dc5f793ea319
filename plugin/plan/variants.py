"""Make the `Lineup` of a run: its variants, grouped into `Load`s that share one engine.

`local_lineup` here is for models and adapters on this machine. `variants_elsewhere` is for names
that a server knows, and for files with completions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from plugin import engines
from plugin.cache import content_key
from plugin.certify.certificate import Certificate, not_applicable
from plugin.certify.sweep import scaled_name
from plugin.certify.weights import lora_obstacle, scaled_adapter
from plugin.engines import (
    Engine,
    EngineSettings,
)
from plugin.engines.choice import choose_engine, require_fitting_adapters, spread_over_workers
from plugin.errors import AdapterError, ModelError, OptionError
from plugin.load.adapter import AdapterFolder, inspect_adapter
from plugin.load.model import ModelFolder, find_model, inspect_model, makes_think, short_names
from plugin.plan.params import Params
from plugin.plan.params_input import MAX_TOKENS, MAX_TOKENS_THINKING, ONLY_ADAPTER
from plugin.plan.resolve import Sources
from plugin.records import ALL, DATA, VANILLA, Variant, is_prompted, is_rival
from plugin.sampling import temperature_fact

RESERVED = {
    DATA: "used where a metric judges the data and no variant",
    ALL: "used for all cases together",
}
"""Names that a variant must not have, and why."""

NOT_APART = "a whole model, loaded by itself"
"""Why a fine-tuned model has no certificate."""


@dataclass(frozen=True, slots=True)
class Load:
    """Hold variants that share one engine and its weights, and the function that loads it.

    Attributes:
        recorded: whether the completions come from files. Then the prompts are unknown, and two
            cases with the same question may have different completions.
        shared: whether completions go into the cache that runs share, and come from it. False if
            the weights are unknown: a name on a server may mean other weights tomorrow.
    """

    variants: tuple[Variant, ...]
    engine: Callable[[], Engine]
    recorded: bool = False
    shared: bool = True


@dataclass(frozen=True, slots=True)
class Lineup:
    """Hold the variants of a run and all that is needed to complete for them.

    Attributes:
        loads: done one after another; the first one has the baseline.
        identity: the settings and versions that the completions depend on, by name.
        digests: the files that they depend on, by name.
        versions: of the engine, why it was chosen, and the adapters' traits.
        engine: name of the engine.
        model_type: the architecture named in the model's configuration; "" if none is named.
        certificates: those of variants to which no certificate applies.
        notes: what the reader must know about the variants, a sentence each.
        max_tokens: the longest completion.
    """

    loads: tuple[Load, ...]
    identity: dict[str, object]
    versions: dict[str, str]
    engine: str
    digests: dict[str, object] = field(default_factory=dict)
    model_type: str = ""
    certificates: tuple[Certificate, ...] = ()
    notes: tuple[str, ...] = ()
    max_tokens: int = MAX_TOKENS

    @property
    def variants(self) -> tuple[Variant, ...]:
        """Return all variants, the baseline first."""
        return tuple(variant for load in self.loads for variant in load.variants)


def local_lineup(params: Params, sources: Sources, scales: Sequence[float] = ()) -> Lineup:
    """Return the variants of models and adapters that an engine on this machine loads.

    Args:
        params: what the user asked for.
        sources: where things are.
        scales: strengths at which the adapters become variants, too; see `scaled_name`.

    Raises:
        UserError: saying what is wrong with options, model or adapters.
    """
    adapters = [inspect_adapter(Path(path)) for path in sources.adapters]
    places = [*(str(adapter.path) for adapter in adapters), *sources.tuned]
    shown = _shown_names(places, sources.adapter_names)
    _check_local_names(places, shown)
    named = dict(zip(shown, adapters, strict=False))
    named |= _scaled(named, scales)
    tuned_names = shown[len(adapters) :]
    model = inspect_model(find_model(sources.model))
    tuned = _tuned_load(sources, model)
    if not params.max_tokens:
        own = (adapter.own_chat(model).template or "" for adapter in adapters)
        thinks = params.chat_template and (
            any(one.thinks for one in (model, *tuned.values())) or any(map(makes_think, own))
        )
        limit = MAX_TOKENS_THINKING if thinks else MAX_TOKENS
        params = params.model_copy(update={"max_tokens": limit})
    choice = choose_engine(params.engine, model, adapters, params.load_4bit)
    require_fitting_adapters(choice.name, model, adapters)
    version = engines.library_version(choice.name, params.load_4bit)
    settings = [
        _engine_settings(params, model, params.model_name, named, choice.name),
        *(
            _engine_settings(params, folder, given, {}, choice.name)
            for given, folder in tuned.items()
        ),
    ]
    workers = params.workers, params.ray_address
    names = [_base_load(params, sources, named), *([name] for name in tuned_names)]
    prompts = {one.variant: one.text for one in sources.prompts}
    return Lineup(
        loads=tuple(
            Load(
                tuple(
                    _local_variant(
                        name,
                        prompts.get(name, params.system_prompt),
                        one,
                        version,
                        params.temperature,
                    )
                    for name in own
                ),
                partial(engines.load, *spread_over_workers(choice.name, one, *workers)),
            )
            for one, own in zip(settings, names, strict=True)
            if own
        ),
        identity={"engine": version},
        digests=_local_digests(model, named, dict(zip(tuned_names, tuned.values(), strict=True))),
        versions={
            "engine": version,
            "engine chosen by": choice.reason,
            **{f"adapter {name}": adapter.traits for name, adapter in named.items()},
        },
        engine=choice.name,
        model_type=str(model.config.get("model_type") or ""),
        certificates=tuple(not_applicable(name, NOT_APART) for name in tuned_names),
        max_tokens=params.max_tokens,
    )


def _shown_names(places: Sequence[str], given: Sequence[str]) -> list[str]:
    """Return the names of adapters and fine-tuned models, except the names given to adapters."""
    files = [place.removesuffix(".safetensors") for place in places]
    return [*given, *short_names(files)[len(given) :]]


def _scaled(
    adapters: Mapping[str, AdapterFolder], scales: Sequence[float]
) -> dict[str, AdapterFolder]:
    """Return the adapters at other strengths than their own.

    Raises:
        AdapterError: for one that cannot be scaled, or has the name of a scaled one.
    """
    found = {}
    for name, adapter in adapters.items() if scales else ():
        if obstacle := lora_obstacle(adapter):
            raise AdapterError(
                f"{adapter.path} cannot be tried at other strengths: {obstacle}, and only plain "
                "LoRA can be scaled. Leave --scales out, or certify this adapter by itself"
            )
        for scale in scales:
            if scale not in (0, 1):
                found[scaled_name(name, scale)] = scaled_adapter(adapter, scale)
    if taken := sorted(found.keys() & adapters.keys()):
        raise AdapterError(
            f"{adapters[taken[0]].path}: --scales uses the name {taken[0]!r} itself; rename the "
            "folder"
        )
    return found


def _base_load(params: Params, sources: Sources, adapters: Iterable[str]) -> list[str]:
    """Return the names of the variants that share the base's weights."""
    return [
        *([] if params.variants == ONLY_ADAPTER else [VANILLA]),
        *(one.variant for one in sources.prompts),
        *adapters,
    ]


def _tuned_load(sources: Sources, base: ModelFolder) -> dict[str, ModelFolder]:
    """Return the fine-tuned models by what the user calls them.

    Raises:
        ModelError: when one is not a complete model, or is the base itself.
    """
    found = {name: inspect_model(find_model(name), "--tuned_model") for name in sources.tuned}
    same = [name for name, folder in found.items() if folder.digest == base.digest]
    if same:
        raise ModelError(
            f"{' and '.join(same)}: the same weights as the base model {sources.model}, so there "
            "is nothing to compare; check --tuned_model and --model_name"
        )
    return found


def _local_digests(
    model: ModelFolder,
    adapters: Mapping[str, AdapterFolder],
    tuned: Mapping[str, ModelFolder],
) -> dict[str, object]:
    digests: dict[str, object] = {
        "model's files": model.digest,
        "tokenizer's files": model.tokenizer_digest,
        "adapters' files": {name: adapter.digest for name, adapter in adapters.items()},
    }
    own = {name: asdict(chat) for name, one in adapters.items() if (chat := one.own_chat(model))}
    if own:  # a run without one keeps its id
        digests["adapters' chat files"] = content_key(own)
    if tuned:
        digests["tuned models' files"] = {
            name: [folder.digest, folder.tokenizer_digest] for name, folder in tuned.items()
        }
    return digests


def _engine_settings(
    params: Params, model: ModelFolder, name: str, adapters: dict[str, AdapterFolder], engine: str
) -> EngineSettings:
    return EngineSettings(
        model=model,
        model_name=name,
        adapters=adapters,
        max_tokens=params.max_tokens,
        batch_size=params.batch_size or engines.ENGINES[engine].batch_size,
        chat_template=params.chat_template,
        load_4bit=params.load_4bit,
        enable_thinking=params.enable_thinking,
        fits_memory=not params.batch_size,
    )


def _check_local_names(places: Sequence[str], names: Sequence[str]) -> None:
    """Check that every variant gets a name of its own.

    Raises:
        OptionError: naming those that do not.
    """
    taken, problems = dict[str, str](), list[str]()
    for place, name in zip(places, names, strict=True):
        if (why := why_reserved(name)) or name in taken:
            why = why or f"also the name of {taken[name]}"
            problems.append(
                f"{place}: its name {name!r} is {why}; names must differ, so rename the folder or "
                "give it through a link with another name"
            )
        taken.setdefault(name, place)
    if problems:
        raise OptionError("\n".join(problems))


def why_reserved(name: str) -> str:
    """Return what a name stands for that no model or adapter may have; "" for none."""
    if is_prompted(name):
        return "used here for the base model with --baseline_prompt"
    if is_rival(name):
        return "used here for --rival"
    return {VANILLA: "used here for the base model", **RESERVED}.get(name, "")


def _local_variant(
    name: str, prompt: str, settings: EngineSettings, engine_version: str, temperature: float
) -> Variant:
    adapter = settings.adapters.get(name)
    own = adapter.own_chat(settings.model) if adapter else None
    return Variant(
        name=name,
        id=content_key(
            settings.model.digest,
            settings.model.tokenizer_digest,
            adapter.digest if adapter else None,
            engine_version,
            {"temperature": temperature_fact(temperature), "max_tokens": settings.max_tokens},
            *([asdict(own)] if own else []),
        ),
        model=settings.model_name,
        adapter_path=str(adapter.path) if adapter else None,
        adapter_digest=adapter.digest if adapter else None,
        system_prompt=prompt or None,
        own_chat=bool(own),
    )

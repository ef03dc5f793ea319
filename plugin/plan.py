"""What a run will do, with everything checked that can be checked before the first heavy step."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version as installed
from typing import Any

from plugin import __version__, engines, metrics
from plugin.adapters.layout import AdapterFolder, inspect_adapter
from plugin.cache import content_key
from plugin.cases import CaseSource, Columns, LoadedCases, load_cases
from plugin.engines import Engine, EngineSettings
from plugin.errors import AdapterError, OptionError
from plugin.judges import Judge
from plugin.metrics import Metric
from plugin.params import BOTH, ONLY_ADAPTER, Params
from plugin.records import VANILLA, Case, Variant
from plugin.sources import Sources
from plugin.weights import ModelFolder, find_model, inspect_model


@dataclass(frozen=True, slots=True)
class Plan:
    """A run, ready to begin.

    Attributes:
        primary: the shown name of the metric that decides.
        model_type: the architecture that the model's configuration names, "" where it names none.
        identity: what the results depend on; the same identity in the same folder continues a run.
        versions: of this program, its libraries and the platform.
        load_engine: loads the model, ready for these variants.
    """

    params: Params
    loaded: LoadedCases
    metrics: tuple[Metric, ...]
    primary: str
    model_type: str
    variants: tuple[Variant, ...]
    judges: tuple[Judge, ...]
    second_judge: Judge | None
    identity: dict[str, Any]
    versions: dict[str, str]
    load_engine: Callable[[], Engine]

    @property
    def judge_label(self) -> str:
        """The judges as shown."""
        labels = [judge.label for judge in self.judges]
        label = labels[0] if len(labels) == 1 else f"a panel of {', '.join(labels)}"
        return f"{label}, then {self.second_judge.label}" if self.second_judge else label

    @property
    def caveat(self) -> str:
        """What must stand in the verdict's first line."""
        judges = (*self.judges, *([self.second_judge] if self.second_judge else []))
        return ", ".join(dict.fromkeys(judge.caveat for judge in judges if judge.caveat))

    @property
    def run_id(self) -> str:
        """Digest of the identity, 16 hex digits."""
        return content_key(self.identity)[:16]


def make_plan(params: Params, sources: Sources) -> Plan:
    """Read the data, check model and adapters, and fix what is compared with what.

    Raises:
        UserError: naming what is wrong with data, options, model or adapter.
    """
    adapters = _named([inspect_adapter(path) for path in sources.adapters])
    loaded = load_cases(_case_source(params, sources.dataset))
    chosen = metrics.select(params.predefined_tasks, params.tasks, loaded.cases)
    primary = _primary(params.primary_metric, chosen)
    model = inspect_model(find_model(sources.model))
    settings = EngineSettings(
        model=model,
        adapters=adapters,
        max_tokens=params.max_tokens,
        batch_size=params.batch_size,
        chat_template=params.chat_template,
    )
    if params.stop_early:
        _check_early(params, loaded.cases)
    engine = engines.choose(params.engine, model, adapters.values())
    engine_version = engines.library_version(engine.name)
    variants = tuple(
        _variant(name, params, settings, engine_version) for name in _names(params, adapters)
    )
    return Plan(
        params=params.model_copy(
            update={
                "model_name": sources.model,
                "model_adapter": tuple(map(str, sources.adapters)),
                "dataset_name": sources.dataset,
                "cache_dir": sources.cache_dir,
            }
        ),
        loaded=loaded,
        metrics=chosen,
        primary=primary,
        model_type=str(model.config.get("model_type") or ""),
        variants=variants,
        judges=sources.judges,
        second_judge=sources.second_judge,
        identity={
            **params.settings(),
            "data set's content": loaded.digest,
            "model's files": model.digest,
            "tokenizer's files": model.tokenizer_digest,
            "adapters' files": {name: adapter.digest for name, adapter in adapters.items()},
            "judge": " + ".join(judge.identity for judge in sources.judges),
            "second_judge": sources.second_judge.identity if sources.second_judge else "",
            "engine": engine_version,
            "deepeval": installed("deepeval"),
            "finetune-verdict": __version__,
        },
        versions={
            **_versions(engine_version),
            "engine chosen by": engine.reason,
            **{f"adapter {name}": adapter.traits for name, adapter in adapters.items()},
        },
        load_engine=partial(engines.load, engine.name, settings),
    )


def _check_early(params: Params, cases: Sequence[Case]) -> None:
    """Whether judging may stop early.

    Raises:
        OptionError: when it may not.
    """
    if params.variants != BOTH:
        raise OptionError(
            f"--stop_early needs a comparison, but --variants is '{params.variants}'; choose "
            f"'{BOTH}'"
        )
    if any(case.cluster for case in cases):
        raise OptionError(
            "--stop_early cannot be used with clusters: its intervals take every case for itself. "
            "Leave it off, or give --cluster_column a column that is not there"
        )


def _versions(engine_version: str) -> dict[str, str]:
    libraries = ("deepeval", "numpy", "scipy")
    return {
        "finetune-verdict": __version__,
        "engine": engine_version,
        **{name: installed(name) for name in libraries},
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def _case_source(params: Params, dataset: str) -> CaseSource:
    return CaseSource(
        dataset_name=dataset,
        split=params.dataset_split or None,
        columns=Columns(
            input=params.input_column,
            expected_output=params.expected_output_column,
            context=params.context_column,
            group=params.group_column,
            cluster=params.cluster_column,
            id=params.id_column,
        ),
        input_template=params.input_template or None,
        limit=params.limit,
        seed=params.seed,
        skip_bad_rows=params.skip_bad_rows,
    )


def _named(adapters: Sequence[AdapterFolder]) -> dict[str, AdapterFolder]:
    """Adapters by the names under which they are shown: their folders' names."""
    named: dict[str, AdapterFolder] = {}
    for adapter in adapters:
        name = adapter.path.name
        other = named.get(name)
        if other is not None or name == VANILLA:
            taken = f"also the name of {other.path}" if other else "what the base model is shown as"
            raise AdapterError(
                f"{adapter.path}: its name {name!r} is {taken}; names must differ, so rename the "
                "folder or give it through a link with another name"
            )
        named[name] = adapter
    return named


def _names(params: Params, adapters: dict[str, AdapterFolder]) -> list[str]:
    return [*([] if params.variants == ONLY_ADAPTER else [VANILLA]), *adapters]


def _variant(name: str, params: Params, settings: EngineSettings, engine_version: str) -> Variant:
    adapter = settings.adapters.get(name)
    model: ModelFolder = settings.model
    return Variant(
        name=name,
        id=content_key(
            model.digest,
            model.tokenizer_digest,
            adapter.digest if adapter else None,
            engine_version,
            {"temperature": 0, "max_tokens": settings.max_tokens},
        ),
        model=params.model_name,
        adapter_path=str(adapter.path) if adapter else None,
        adapter_digest=adapter.digest if adapter else None,
        system_prompt=params.system_prompt or None,
    )


def _primary(asked: str, chosen: Sequence[Metric]) -> str:
    names = [metric.spec.name for metric in chosen if metric.spec.decides]
    if not names:
        raise OptionError(
            f"--predefined_tasks {', '.join(m.spec.name for m in chosen)}: these judge the data "
            "set and no model; add a metric that judges completions, such as Answer Relevancy"
        )
    if asked:
        known = {metrics.key_of(name): name for name in names}
        name = known.get(metrics.key_of(asked), "")
        if not name:
            raise OptionError(
                f"--primary_metric {asked!r} is not among the metrics of this run that may decide: "
                f"{', '.join(names)}"
            )
        return name
    return next((name for name in ("Correctness", "Answer Relevancy") if name in names), names[0])

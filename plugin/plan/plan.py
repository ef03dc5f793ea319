"""Make the `Plan` of a run: all that is known and checked before the first slow step."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version as installed

from plugin import __version__, metrics
from plugin.cache import content_key
from plugin.capability.harness import HarnessTask, load_tasks
from plugin.engines import ENGINES, PROVEN
from plugin.errors import OptionError, did_you_mean
from plugin.judges import Judge, NoJudge
from plugin.load.cases import CaseSource, LoadedCases, load_cases
from plugin.load.columns import Columns
from plugin.load.recordings import completion_columns
from plugin.memorisation.training import require_training
from plugin.metrics import PREFERENCE, TURN_RATING, Metric
from plugin.metrics.entry import PreferenceGuide
from plugin.metrics.preference import identity
from plugin.plan.guards import check_retention, choose_guards
from plugin.plan.metric_choice import choose_metrics, with_schema
from plugin.plan.params import Params
from plugin.plan.params_input import BOTH, ONLY_ADAPTER
from plugin.plan.params_sampling import require_drawing_engine
from plugin.plan.preferences import check_preference, preference_guide
from plugin.plan.prompts import as_typed
from plugin.plan.resolve import Sources
from plugin.plan.rival_lineup import with_rivals
from plugin.plan.variants import Lineup, local_lineup
from plugin.plan.variants_elsewhere import recorded_lineup, served_lineup
from plugin.records import RIVAL, VANILLA, MetricSpec, Variant


@dataclass(frozen=True, slots=True)
class Plan:
    """Hold everything that a run needs to begin.

    Attributes:
        primary: name of the metric that decides.
        guards: names of the metrics that may only veto, with their margins.
        lineup: the variants, and the engines that complete for them.
        identity: the settings and versions that the results depend on, by name.
        digests: the files and data that they depend on, by name.
        versions: of this program, its libraries and the platform.
        notes: which metrics were chosen for the user, and why.
        tasks: of lm-evaluation-harness, with their data.
        rephraser: the judge that says training questions in other words; None for rules.
    """

    params: Params
    loaded: LoadedCases
    metrics: tuple[Metric, ...]
    primary: str
    guards: Mapping[str, float]
    lineup: Lineup
    judges: tuple[Judge, ...]
    second_judge: Judge | None
    identity: dict[str, object]
    digests: dict[str, object]
    versions: dict[str, str]
    notes: tuple[str, ...] = ()
    tasks: tuple[HarnessTask, ...] = ()
    rephraser: Judge | None = None

    @property
    def variants(self) -> tuple[Variant, ...]:
        """Return the variants, the baseline first."""
        return self.lineup.variants

    @property
    def specs(self) -> tuple[MetricSpec, ...]:
        """Return the metrics' specs with the user's margins and guards, the primary one first."""
        margin, guards = self.params.margin, self.guards
        specs = [
            replace(
                spec,
                margin=guards.get(spec.name, margin * spec.margin_unit),
                is_guard=spec.name in guards,
            )
            for spec in (metric.spec for metric in self.metrics)
        ]
        return tuple(sorted(specs, key=lambda spec: spec.name != self.primary))

    @property
    def judge_label(self) -> str:
        """Return the judges as one phrase."""
        labels = [judge.label for judge in self.judges]
        label = labels[0] if len(labels) == 1 else f"a panel of {', '.join(labels)}"
        return f"{label}, then {self.second_judge.label}" if self.second_judge else label

    @property
    def caveat(self) -> str:
        """Return what the verdict's first line must say about the judges; "" for nothing."""
        judges = (*self.judges, *([self.second_judge] if self.second_judge else []))
        return ", ".join(dict.fromkeys(judge.caveat for judge in judges if judge.caveat))

    @property
    def run_id(self) -> str:
        """Return the digest of identity and digests, 16 hex digits."""
        return content_key(self.identity, self.digests)[:16]


def make_plan(params: Params, sources: Sources) -> Plan:
    """Read the data, check model and adapters, and decide what is compared with what.

    Raises:
        UserError: saying what is wrong with data, options, model or adapter.
    """
    params = _with_texts(params, sources)
    recorded = completion_columns(sources.recorded, sources.dataset)
    source = replace(case_source(params, sources.dataset), completion_columns=recorded)
    loaded = load_cases(source)
    elsewhere = sources.recorded or sources.server or params.workers > 1 or params.ray_address
    params.require_capability(has_models=not sources.recorded, has_weights=not elsewhere)
    params.require_sampling(is_recorded=bool(sources.recorded))
    params.require_load(on_server=bool(sources.server), recorded=bool(sources.recorded))
    require_training(sources.train_data)
    names = variant_names(params, sources)
    guide = preference_guide(params, sources.judges, len(names))
    params = with_schema(params, sources.json_schema)
    choice = choose_metrics(
        params, loaded.cases, sources.judges, guide, sources.metrics_without_judge
    )
    params = params.model_copy(update={"predefined_tasks": choice.names})
    chosen = choice.metrics
    specs = [metric.spec for metric in chosen]
    is_offline = all(one.structured or isinstance(one, NoJudge) for one in choice.judges)
    params.require_real_judge(is_offline)
    params.require_samples(specs, loaded.cases, is_offline)
    check_preference(params, specs, loaded.cases, names)
    prefers = guide.is_default and not any(case.expected_output for case in loaded.cases)
    primary = _choose_primary(params.primary_metric, chosen, prefers)
    guards = choose_guards(params.guard_metric, specs, primary, params.margin)
    check_retention(loaded.cases, next(spec for spec in specs if spec.name == primary))
    tasks = load_tasks(params.lm_eval, params.lm_eval_items, params.seed) if params.lm_eval else ()
    lineup = line_up(params, sources, loaded)  # reads the weights, so after all other checks
    params = params.model_copy(update={"max_tokens": params.max_tokens or lineup.max_tokens})
    lineup = with_rivals(lineup, params, sources)
    check_engine(specs, lineup.engine)
    require_drawing_engine(params.temperature, lineup.engine)
    if params.stop_early:
        _check_early(params, lineup, loaded, specs)
    return Plan(
        params=params.model_copy(
            update={
                "model_name": sources.model,
                "model_adapter": sources.adapters,
                "tuned_model": sources.tuned,
                "recorded": tuple(map(str, sources.recorded)),
                "dataset_name": sources.dataset,
                "train_data": sources.train_data,
                "cache_dir": sources.cache_dir,
            }
        ),
        loaded=loaded,
        metrics=chosen,
        primary=primary,
        guards=guards,
        lineup=lineup,
        judges=choice.judges,
        second_judge=sources.second_judge,
        identity={
            **params.settings(),
            **lineup.identity,
            "judge": " + ".join(judge.identity for judge in choice.judges),
            "second_judge": sources.second_judge.identity if sources.second_judge else "",
            **_changed_metrics(specs),
            "deepeval": installed("deepeval"),
            **_preference_identity(specs, guide),
            "finetune-verdict": __version__,
        },
        digests={"data set's content": loaded.digest, **lineup.digests},
        versions={**_versions(), **lineup.versions},
        notes=choice.notes,
        tasks=tasks,
        rephraser=sources.rephraser,
    )


def _with_texts(params: Params, sources: Sources) -> Params:
    """Return the options with the prompts' texts: these count, wherever their files are."""
    own_prompt = sources.rival_prompt if params.rival_prompt else ""
    prompts = as_typed(sources.prompts)
    return params.model_copy(update={"baseline_prompt": prompts, "rival_prompt": own_prompt})


def _preference_identity(specs: Sequence[MetricSpec], guide: PreferenceGuide) -> dict[str, object]:
    """Return which words the judge reads where completions are compared; empty where none are."""
    return {"preference": identity(guide)} if any(spec.is_relative for spec in specs) else {}


def variant_names(params: Params, sources: Sources) -> tuple[str, ...]:
    """Return the names of what will be compared, without reading any of it."""
    rivals = tuple(f"{RIVAL} {one.name}" for one in sources.rivals)
    if sources.recorded:
        return (*(one.name for one in sources.recorded), *rivals)
    base = () if params.variants == ONLY_ADAPTER else (VANILLA,)
    prompted = (one.variant for one in sources.prompts)
    return (*base, *sources.adapters, *sources.tuned, *prompted, *rivals)


def _changed_metrics(specs: Sequence[MetricSpec]) -> dict[str, object]:
    """Return the versions of those metrics that measure something else than at first."""
    entries = [metrics.METRICS[spec.key] for spec in specs if spec.key in metrics.METRICS]
    found = {entry.spec.name: entry.version for entry in entries if entry.version > 1}
    return {"versions of metrics": found} if found else {}


def line_up(
    params: Params,
    sources: Sources,
    loaded: LoadedCases | None = None,
    scales: Sequence[float] = (),
) -> Lineup:
    """Check what will be compared, choose the engine, and name the variants.

    Args:
        params: what the user asked for.
        sources: where things are.
        loaded: the cases; needed only to join recorded completions with them.
        scales: strengths at which the adapters are tried as well.

    Raises:
        UserError: saying what is wrong with options, model, adapters or recorded completions.
    """
    if sources.recorded and loaded:
        return recorded_lineup(sources, loaded, params.samples)
    if params.enable_thinking is not None and not params.chat_template:
        raise OptionError(
            "--enable_thinking is a setting of the chat template, and --chat_template false turns "
            "the template off: leave out one of the two"
        )
    if sources.server and scales:
        raise OptionError(
            "--scales: a server does not show the weights, so an adapter cannot be scaled there; "
            "use --engine mlx or transformers, or leave --scales out"
        )
    if sources.server:
        return served_lineup(params, sources)
    return local_lineup(params, sources, scales)


_ENGINE_GIVES = {
    "loglikelihood": "log-probabilities",
    "seconds": "seconds",
    "tokens": "number of tokens",
    "finish_reason": "reason why a completion ended",
}
"""What an engine may give besides the text, in words that fit after "no"."""


def check_engine(specs: Sequence[MetricSpec], engine: str) -> None:
    """Check that the engine gives what the metrics need.

    Raises:
        OptionError: naming every metric that needs more than the engine gives.
    """
    given = ENGINES[engine].gives
    problems = []
    for spec in specs:
        if lacks := sorted(spec.needs_engine - given):
            able = [n for n in PROVEN if ENGINES[n].gives >= spec.needs_engine]
            what = " and ".join(f"no {_ENGINE_GIVES[need]}" for need in lacks)
            way_out = " or ".join([*([", ".join(able[:-1])] if able[1:] else []), *able[-1:]])
            problems.append(
                f"--predefined_tasks {spec.name}: engine {engine!r} gives {what}; use {way_out}"
            )
    if problems:
        raise OptionError("\n".join(problems))


def _check_early(
    params: Params, lineup: Lineup, loaded: LoadedCases, specs: Sequence[MetricSpec]
) -> None:
    """Check that judging can stop early.

    Raises:
        OptionError: when it cannot, saying why.
    """
    if params.variants != BOTH:
        raise OptionError(
            f"--stop_early needs a comparison, but --variants is '{params.variants}'; choose "
            f"'{BOTH}'"
        )
    if len(lineup.variants) == 1:
        raise OptionError(
            f"--stop_early needs a comparison, but --recorded names only "
            f"{lineup.variants[0].name!r}; give a second --recorded"
        )
    if any(case.follows for case in loaded.cases):
        raise OptionError(
            "--stop_early cannot be used with conversations whose turns are all asked: its "
            "intervals assume independent cases. Leave it off, or choose --conversation fixed"
        )
    if any(case.cluster for case in loaded.cases):
        repeats = f" ({loaded.repeats.text.rstrip('.')})" if loaded.repeats.n else ""
        left_out = "the repeats and " if loaded.repeats.n else ""
        raise OptionError(
            f"--stop_early cannot be used with clusters{repeats}: its intervals assume independent "
            f"cases. Leave it off, or leave {left_out}the column {params.cluster_column!r} out of "
            "the data"
        )
    unbounded = [spec.name for spec in specs if spec.decides and not spec.is_bounded]
    if unbounded:
        raise OptionError(
            f"--stop_early cannot be used with {', '.join(unbounded)}: its intervals need a worst "
            "and a best score. Leave out one of the two"
        )


def _versions() -> dict[str, str]:
    libraries = ("deepeval", "numpy", "scipy")
    return {
        "finetune-verdict": __version__,
        **{name: installed(name) for name in libraries},
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def case_source(params: Params, dataset: str) -> CaseSource:
    """Return where the cases are, and how to read them."""
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
            retention=params.retention_column,
            expect=params.expect_column,
            tests=params.tests_column,
        ),
        input_template=params.input_template or None,
        limit=params.limit,
        seed=params.seed,
        skip_bad_rows=params.skip_bad_rows,
        retention_groups=params.retention_group,
        conversation=params.conversation,
    )


def _choose_primary(asked: str, chosen: Sequence[Metric], prefers: bool) -> str:
    """Return the name of the metric that decides.

    Args:
        asked: what the user named; "" for nothing.
        chosen: the metrics of the run.
        prefers: whether Preference decides unless the user says otherwise.

    Raises:
        OptionError: when no metric may decide, or the named one may not.
    """
    names = [metric.spec.name for metric in chosen if metric.spec.decides]
    if not names:
        all_of_data = all(metric.spec.judges_data for metric in chosen)
        why = "these judge the data set and no model" if all_of_data else "these only describe"
        raise OptionError(
            f"--predefined_tasks {', '.join(m.spec.name for m in chosen)}: {why}; add a metric "
            "that judges completions, such as Answer Relevancy"
        )
    if asked:
        known = {metrics.key_of(name): name for name in names}
        name = known.get(metrics.key_of(asked), "")
        if not name:
            raise OptionError(
                f"--primary_metric {asked!r} is not among the metrics of this run that may decide "
                f"({', '.join(names)}){did_you_mean(asked, names)}"
            )
        return name
    first = ((PREFERENCE,) if prefers else ()) + (TURN_RATING, "Correctness", "Answer Relevancy")
    return next((name for name in first if name in names), names[0])

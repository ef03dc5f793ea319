"""Find the models, adapters, data set, server, cache and judges that the user named.

The host says where things are, and options that contradict each other are refused. No file is read
here. The result is a `Sources`; `plan.make_plan` reads what it names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from plugin import judges, metrics
from plugin.engines.choice import ready_engines
from plugin.errors import OptionError
from plugin.hosts import Host
from plugin.judges import Judge, NoJudge, Secrets
from plugin.judges.spending import price_of
from plugin.keys import KnownSecrets, SecretMask, check_key, check_url, hidden_in_errors
from plugin.load.recordings import Recording, parse_recording
from plugin.plan.metric_choice import is_schema_text
from plugin.plan.params import Params
from plugin.plan.params_input import BOTH, BY_JUDGE, ONLY_ADAPTER, ONLY_VANILLA
from plugin.plan.places import cache_folder, check_found, check_places
from plugin.plan.prompts import NamedPrompt, name_prompts
from plugin.plan.rivals import RivalModel, find_rivals, rival_prompt

_MODEL_OPTIONS = (
    *("model_name", "model_adapter", "tuned_model", "baseline_prompt"),
    *("server_url", "workers", "ray_address", "load_4bit", "enable_thinking"),
)
"""Options without a meaning in a run that has no model."""

_KEY_NAME = "INFERENCE_API_KEY"
_LOCAL_OPTIONS = ("load_4bit", "workers", "ray_address")
"""Options without a meaning where a server holds the weights."""


@dataclass(frozen=True, slots=True)
class Address:
    """Say where an inference server is.

    Attributes:
        url: its base URL, without secrets.
        key: "" if none was given.
        chosen_by: the option that chose it.
    """

    url: str
    key: str = field(repr=False)
    chosen_by: str


@dataclass(frozen=True, slots=True)
class Sources:
    """Say where everything is that the user named, and hold the judges with their keys.

    Attributes:
        model: directory or hub id; with a server, the name that was given; "" where only recorded
            completions are compared.
        adapters: directories; with a server, names.
        tuned: the fine-tuned models: directories or hub ids; with a server, names.
        recorded: the variants with completions from files, the baseline first.
        server: the server that holds the models; None if this machine holds them.
        mask: hides all secrets that were read.
        json_schema: where the JSON schema is; "" for none.
        train_data: where the training data is.
        rephraser: the judge that says training questions in other words; None for rules.
        prompts: the prompts to beat, with their texts.
        rivals: the other models.
        rival_prompt: the text of their system prompt; "" for none.
        adapter_names: by which the adapters are shown; () to name them after their folders.
        metrics_without_judge: see `plugin.hosts.Host`.
    """

    model: str
    adapters: tuple[str, ...]
    dataset: str
    cache_dir: str
    judges: tuple[Judge, ...]
    second_judge: Judge | None
    tuned: tuple[str, ...] = ()
    recorded: tuple[Recording, ...] = ()
    server: Address | None = None
    mask: SecretMask = field(default_factory=SecretMask)
    json_schema: str = ""
    metrics_without_judge: tuple[str, ...] = ()
    train_data: tuple[str, ...] = ()
    rephraser: Judge | None = None
    prompts: tuple[NamedPrompt, ...] = ()
    rivals: tuple[RivalModel, ...] = ()
    rival_prompt: str = ""
    adapter_names: tuple[str, ...] = ()


def find_sources(params: Params, host: Host) -> Sources:
    """Find everything that the user named; call it in the main thread, as it asks the host.

    Raises:
        UserError: when something is missing, unknown or not allowed.
    """
    check_places(params)
    secrets = KnownSecrets(host.secret)
    with hidden_in_errors(secrets.mask):
        return _find_sources(params, host, secrets)


def _find_sources(params: Params, host: Host, secrets: KnownSecrets) -> Sources:
    recorded, server = _resolve_recorded(params, host), None
    if not recorded:
        _check_models(params)
        server = find_server(params, secrets)
    rivals = find_rivals(params.rival, secrets, (server.url, server.key) if server else None)
    asked = metrics.load(params.predefined_tasks)
    # Without metrics, the cases say whether a judge is needed: `choose_metrics` asks for one.
    by_data = not (asked or params.tasks or params.preference_criteria)
    needs_judge = bool(params.judge) if by_data else bool(params.tasks)
    needs_judge = needs_judge or bool(params.preference_criteria)
    needs_judge = needs_judge or any(metric.spec.asks_judge for metric in asked)
    compares = params.variants != ONLY_VANILLA
    named: tuple[Judge, ...] = (NoJudge(),)
    if needs_judge:
        named = judges.load_all(params.judge, secrets)
    second = _load_second_judge(params, named, secrets)
    rephraser = _load_rephraser(params, secrets, is_read=not (recorded or server))
    others = [judge for judge in (second, rephraser) if judge]
    check_budget(params, (*named, *others))
    found = Sources(
        model=_resolve_model(params.model_name, server, host),
        adapters=_resolve_adapters(params.model_adapter if compares else (), server, host),
        tuned=tuple(_resolve_model(name, server, host) for name in params.tuned_model if compares),
        recorded=recorded,
        dataset=host.dataset(params.dataset_name) if params.dataset_name else recorded[0].file,
        cache_dir=cache_folder(params),
        judges=named,
        second_judge=second,
        server=server,
        mask=secrets.mask(),
        json_schema=_find_schema(params.json_schema, host),
        metrics_without_judge=host.metrics_without_judge,
        train_data=tuple(map(host.dataset, params.train_data)),
        rephraser=rephraser,
        prompts=name_prompts(params.baseline_prompt),
        rivals=rivals,
        rival_prompt=rival_prompt(params),
    )
    _check_paths(found)
    return found


def find_models(params: Params, host: Host) -> Sources:
    """Find model, adapters and, if one is named, the data set; load no judge.

    Raises:
        UserError: when something is unknown.
    """
    secrets = KnownSecrets(host.secret)
    server = find_server(params, secrets)
    found = Sources(
        model=_resolve_model(params.model_name, server, host),
        adapters=_resolve_adapters(params.model_adapter, server, host),
        dataset=host.dataset(params.dataset_name) if params.dataset_name else "",
        cache_dir="",
        judges=(),
        second_judge=None,
        server=server,
        mask=secrets.mask(),
        prompts=name_prompts(params.baseline_prompt),
    )
    _check_paths(found)
    return found


def _check_paths(found: Sources) -> None:
    """Check that the journal can keep the paths, which a directory's name may make impossible."""
    check_found("model_name", [found.model])
    check_found("model_adapter", found.adapters)
    check_found("tuned_model", found.tuned)
    check_found("dataset_name", [found.dataset])
    check_found("train_data", found.train_data)
    check_found("recorded", [one.file for one in found.recorded])


def _find_schema(name: str, host: Host) -> str:
    """Return where the schema's file is; "" for none, and for a schema that was given as text."""
    return host.dataset(name) if name and not is_schema_text(name) else ""


def has_rival(params: Params) -> bool:
    """Return whether something is named to compare with the base, if --variants wants that."""
    if params.variants == ONLY_VANILLA or params.model_adapter or params.tuned_model:
        return True
    return params.variants == BOTH and bool(params.baseline_prompt)


def _check_models(params: Params) -> None:
    """Check that the user named all that a run of models needs.

    Raises:
        OptionError: when something is missing.
    """
    missing = [
        f"--{name}" for name in ("model_name", "dataset_name") if not getattr(params, name).strip()
    ]
    if missing:
        raise OptionError(
            f"{' and '.join(missing)} must be given (to see a run: `python main.py demo`)"
        )
    if not has_rival(params):
        prompt = ", a prompt to beat with --baseline_prompt" if params.variants == BOTH else ""
        raise OptionError(
            f"no adapter given, but --variants is '{params.variants}': name the adapter's "
            "directory with --model_adapter, a fine-tuned model with --tuned_model"
            f"{prompt}, or choose --variants '{ONLY_VANILLA}'"
        )
    n_tuned = len(params.model_adapter) + len(params.tuned_model)
    if params.variants == ONLY_ADAPTER and n_tuned > 1:
        raise OptionError(
            f"--variants '{ONLY_ADAPTER}' takes one adapter or fine-tuned model, got {n_tuned}; "
            f"several are compared through the base: choose --variants '{BOTH}'"
        )


def _resolve_recorded(params: Params, host: Host) -> tuple[Recording, ...]:
    """Return the recorded variants, with the paths of their files.

    Raises:
        OptionError: naming every bad recording, and options that contradict --recorded.
    """
    if not params.recorded:
        return ()
    found, problems = list[Recording](), list[str]()
    for text in params.recorded:
        try:
            one = parse_recording(text)
            found.append(replace(one, file=host.dataset(one.file)))
        except OptionError as error:
            problems.append(str(error))
    read_by_none = (*_MODEL_OPTIONS, *(() if params.rival else ("system_prompt",)))
    idle = [
        f"--{name}" for name in read_by_none if getattr(params, name) != getattr(Params(), name)
    ]
    if idle:
        problems.append(
            f"--recorded runs no model, so {' and '.join(idle)} would do nothing: leave that out, "
            "or leave out --recorded to run the models here"
        )
    if params.engine not in ("auto", "recorded"):
        problems.append(
            f"--engine {params.engine} makes completions, but --recorded already has them: leave "
            "out one of the two"
        )
    if params.variants != BOTH:
        problems.append(
            f"--variants '{params.variants}' chooses between models, but with --recorded the "
            "variants are the recorded ones: leave out --variants"
        )
    if problems:
        raise OptionError("\n".join(problems))
    return tuple(found)


def find_server(params: Params, secrets: Secrets) -> Address | None:
    """Return the server that makes the completions; None if an engine on this machine does.

    Raises:
        OptionError: when options contradict each other, address or key is not valid, or the engine
            cannot run on this machine.
    """
    url, engine = params.server_url, params.engine
    if url and engine not in ("auto", "server"):
        raise OptionError(
            f"--server_url {_shown_url(url)} is for --engine server, but --engine is {engine!r}; "
            "leave one of them out"
        )
    ready_engines("server" if url else engine)
    if not url and engine != "server":
        return None
    if not url:
        raise OptionError("--engine server needs --server_url, such as http://localhost:8000/v1")
    defaults = Params()
    idle = [f"--{n}" for n in _LOCAL_OPTIONS if getattr(params, n) != getattr(defaults, n)]
    if idle:
        raise OptionError(
            f"an inference server holds the models, so {' and '.join(idle)} would do nothing: "
            "leave that out, and give the server such a setting when you start it"
        )
    check_url(url, "--server_url", OptionError)
    parts = urlsplit(url)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise OptionError(
            f"--server_url {_shown_url(url)} has a password or a query, but the address is stored "
            f"and shown: give only the address, and the server's key as the secret {_KEY_NAME}"
        )
    key = check_key(secrets(_KEY_NAME) or "", _KEY_NAME, OptionError)
    return Address(url, key, "--engine server" if engine == "server" else "auto: --server_url")


def _shown_url(url: str) -> str:
    """Return an address without its password and query, which may be secret."""
    return repr(url.partition("?")[0].partition("#")[0].rpartition("@")[2])


def _resolve_model(name: str, server: Address | None, host: Host) -> str:
    """Return the model's directory or hub id; a name on a server stays as it is."""
    return host.model(name) if name and not server else name


def _resolve_adapters(names: Sequence[str], server: Address | None, host: Host) -> tuple[str, ...]:
    """Return the adapters' directories; names on a server stay as they are.

    Raises:
        AdapterError: when the host has no such adapter.
    """
    return tuple(name if server else str(host.adapter(name)) for name in names)


def _load_second_judge(params: Params, first: tuple[Judge, ...], secrets: Secrets) -> Judge | None:
    """Return the second judge; None if the user named none."""
    if not params.second_judge:
        return None
    if params.stop_early:
        raise OptionError(
            "--second_judge and --stop_early cannot be used together: the second judge changes "
            "scores after --stop_early has counted them. Leave out one of the two"
        )
    second = judges.load(params.second_judge, secrets)
    if second.label in (judge.label for judge in first):
        raise OptionError(f"--second_judge {second.label} is also the first judge; name another")
    return second


def _load_rephraser(params: Params, secrets: Secrets, *, is_read: bool) -> Judge | None:
    """Return a judge of its own that says training questions in other words; None for rules.

    Args:
        params: what the user asked for.
        secrets: the judges' keys.
        is_read: whether an engine here reads how likely answers are after these questions.

    Raises:
        OptionError: when no judge can do it, or nothing would be read.
        JudgeError: when the judge cannot be used.
    """
    if params.paraphrase != BY_JUDGE:
        return None
    way_out = "leave --paraphrase at rules"
    if not params.train_data:
        raise OptionError(
            f"--paraphrase judge needs training questions: give --train_data, or {way_out}"
        )
    if not is_read:
        raise OptionError(
            "--paraphrase judge is of no use here: only an engine that holds the weights (mlx, "
            f"transformers) reads answers after questions in other words; {way_out}"
        )
    if not params.judge:
        raise OptionError(f"--paraphrase judge needs a judge: name one with --judge, or {way_out}")
    first = judges.load_all(params.judge, secrets)[0]
    if first.structured:
        raise OptionError(
            f"--paraphrase judge needs a judge that can write; the {first.label} only counts "
            f"words. Name a real one with --judge, or {way_out}"
        )
    return first


def check_budget(params: Params, judges: Sequence[Judge]) -> None:
    """Check that the price of every judge is known, if there is a budget.

    Raises:
        OptionError: naming the judges without a known price.
    """
    unknown = [j.label for j in judges if price_of(j.label, params.judge_price) is None]
    if params.budget and unknown:
        raise OptionError(
            f"--budget {params.budget:g} cannot be kept: the price of {', '.join(unknown)} is not "
            "known. Give it with --judge_price (dollars per million tokens in and out, such as "
            "'0.15, 0.60'), or use --max_calls"
        )

"""Find what the user's names stand for: models, adapters, data set, server, cache and judges.

The host is asked where things are, and options that do not go together are refused, all of this
before a file is read. The result is a `Sources`; reading what it names is up to `plan.make_plan`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from plugin import judges, metrics
from plugin.engines import ready_engines
from plugin.errors import OptionError
from plugin.hosts import Host
from plugin.judges import Judge, NoJudge, Secrets
from plugin.judges.asking import price_of
from plugin.keys import KnownSecrets, SecretMask, check_key, check_url
from plugin.load.recordings import Recording, parse_recording
from plugin.plan.params import Params
from plugin.plan.params_input import BOTH, ONLY_ADAPTER, ONLY_VANILLA

_NO_CACHE = "off"
_MODEL_OPTIONS = (
    *("model_name", "model_adapter", "tuned_model", "system_prompt", "baseline_prompt"),
    *("server_url", "workers", "ray_address", "load_4bit", "enable_thinking"),
)
"""Options that mean nothing where no model is run."""

_KEY_NAME = "INFERENCE_API_KEY"
_LOCAL_OPTIONS = ("load_4bit", "workers", "ray_address")
"""Options that mean nothing where a server holds the weights."""


@dataclass(frozen=True, slots=True)
class Address:
    """Tell where an inference server is.

    Attributes:
        url: its base URL; holds nothing secret.
        key: "" where none was given.
        chosen_by: the option that says so.
    """

    url: str
    key: str = field(repr=False)
    chosen_by: str


@dataclass(frozen=True, slots=True)
class Sources:
    """Tell where things are: the user's names as the host knows them, and judges with their keys.

    Attributes:
        model: directory or hub id; on a server, the name that was given; "" where only what was
            recorded is compared.
        adapters: directories; on a server, names.
        tuned: the fine-tuned models, likewise or hub ids.
        recorded: the variants whose completions were made elsewhere, the baseline first.
        server: where the models are served; None where an engine on this machine holds them.
        mask: hides all secrets that were read.
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


def find_sources(params: Params, host: Host) -> Sources:
    """Find everything that has a name; called in the main thread, which alone talks to the host.

    Raises:
        UserError: when something is not named, not known or not allowed.
    """
    recorded = _resolve_recorded(params, host)
    secrets, server = KnownSecrets(host.secret), None
    if not recorded:
        _check_models(params)
        server = find_server(params, secrets)
    asked = metrics.load(params.predefined_tasks)
    needs_judge = bool(params.tasks or not asked) or any(m.spec.asks_judge for m in asked)
    compares = params.variants != ONLY_VANILLA
    named: tuple[Judge, ...] = (NoJudge(),)
    if needs_judge:
        named = judges.load_all(params.judge, secrets)
    second = _load_second_judge(params, named, secrets)
    _check_budget(params, (*named, *([second] if second else [])))
    return Sources(
        model=_resolve_model(params.model_name, server, host),
        adapters=_resolve_adapters(params.model_adapter if compares else (), server, host),
        tuned=tuple(_resolve_model(name, server, host) for name in params.tuned_model if compares),
        recorded=recorded,
        dataset=host.dataset(params.dataset_name) if params.dataset_name else recorded[0].file,
        cache_dir=_cache_dir(params),
        judges=named,
        second_judge=second,
        server=server,
        mask=secrets.mask(),
    )


def find_models(params: Params, host: Host) -> Sources:
    """Find model, adapters and, where one is named, the data set; look for no judge.

    Raises:
        UserError: when something is not known.
    """
    server = find_server(params, host.secret)
    return Sources(
        model=_resolve_model(params.model_name, server, host),
        adapters=_resolve_adapters(params.model_adapter, server, host),
        dataset=host.dataset(params.dataset_name) if params.dataset_name else "",
        cache_dir="",
        judges=(),
        second_judge=None,
        server=server,
    )


def has_rival(params: Params) -> bool:
    """Return whether everything is named that --variants wants compared with the base."""
    if params.variants == ONLY_VANILLA or params.model_adapter or params.tuned_model:
        return True
    return params.variants == BOTH and bool(params.baseline_prompt)


def _check_models(params: Params) -> None:
    """Check that what a run of models needs is named.

    Raises:
        OptionError: when something is missing.
    """
    missing = [
        f"--{name}" for name in ("model_name", "dataset_name") if not getattr(params, name).strip()
    ]
    if missing:
        raise OptionError(f"{' and '.join(missing)} must be given (try `demo` to see a run)")
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
    """Return what was recorded, with the files' names resolved.

    Raises:
        OptionError: naming every bad recording, and options that do not go with recordings.
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
    idle = [
        f"--{name}" for name in _MODEL_OPTIONS if getattr(params, name) != getattr(Params(), name)
    ]
    if idle:
        problems.append(
            f"--recorded runs no model, so {' and '.join(idle)} would do nothing: leave that out, "
            "or leave out --recorded to run the models here"
        )
    if params.engine not in ("auto", "recorded"):
        problems.append(
            f"--engine {params.engine} generates, and --recorded has completions made elsewhere: "
            "leave one of them out"
        )
    if params.variants != BOTH:
        problems.append(
            f"--variants '{params.variants}' chooses between models; with --recorded the variants "
            "are those that it names, so leave --variants out and name one alone or several"
        )
    if problems:
        raise OptionError("\n".join(problems))
    return tuple(found)


def find_server(params: Params, secrets: Secrets) -> Address | None:
    """Return the server that generates; None where an engine on this machine does.

    Raises:
        OptionError: when options do not go together, when address or key is not valid, or when
            the engine cannot run on this machine.
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
            "leave that out, and start the server with such a setting instead"
        )
    check_url(url, "--server_url", OptionError)
    parts = urlsplit(url)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise OptionError(
            f"--server_url {_shown_url(url)} holds more than an address; it is stored and shown, "
            f"so give the server's key as the secret {_KEY_NAME}"
        )
    key = check_key(secrets(_KEY_NAME) or "", _KEY_NAME, OptionError)
    return Address(url, key, "--engine server" if engine == "server" else "auto: --server_url")


def _shown_url(url: str) -> str:
    """Return an address without what may be secret in it."""
    return repr(url.partition("?")[0].partition("#")[0].rpartition("@")[2])


def _resolve_model(name: str, server: Address | None, host: Host) -> str:
    """Return the model's directory or hub id; a server's name stays as it is."""
    return host.model(name) if name and not server else name


def _resolve_adapters(names: Sequence[str], server: Address | None, host: Host) -> tuple[str, ...]:
    """Return the adapters' directories; a server's names stay as they are.

    Raises:
        AdapterError: when the host has no such adapter.
    """
    return tuple(name if server else str(host.adapter(name)) for name in names)


def _load_second_judge(params: Params, first: tuple[Judge, ...], secrets: Secrets) -> Judge | None:
    """Return the second judge, None where none is wanted."""
    if not params.second_judge:
        return None
    if params.stop_early:
        raise OptionError(
            "--second_judge and --stop_early exclude each other: the second judge goes back to "
            "pairs that were counted already when judging stops early; choose one"
        )
    second = judges.load(params.second_judge, secrets)
    if second.label in (judge.label for judge in first):
        raise OptionError(f"--second_judge {second.label} is the first judge too; name another")
    return second


def _check_budget(params: Params, judges: Sequence[Judge]) -> None:
    """Check that a budget can be kept.

    Raises:
        OptionError: when a judge's price is not known.
    """
    unknown = [j.label for j in judges if price_of(j.label, params.judge_price) is None]
    if params.budget and unknown:
        raise OptionError(
            f"--budget {params.budget:g} cannot be kept: the price of {', '.join(unknown)} is not "
            "known. Give it with --judge_price (dollars per million tokens in and out, such as "
            "'0.15, 0.60'), or use --max_calls"
        )


def _cache_dir(params: Params) -> str:
    """Return the shared cache's directory as an absolute path; "" for none."""
    given = params.cache_dir or os.environ.get("FINETUNE_VERDICT_CACHE", "")
    if given.lower() == _NO_CACHE:
        return ""
    return os.path.abspath(os.path.expanduser(given)) if given else ""

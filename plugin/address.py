"""Where an inference server is, and the key to it, as options and secrets say."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from plugin.engines._choice import ready
from plugin.errors import OptionError
from plugin.hosts import Host
from plugin.keys import checked_key, checked_url
from plugin.params import Params

_KEY = "INFERENCE_API_KEY"
_OF_ENGINES_HERE = ("load_4bit", "workers", "ray_address")
"""Options that mean nothing where a server holds the weights."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where an inference server is.

    Attributes:
        url: its base URL; holds nothing secret.
        key: "" where none was given.
        chosen_by: the option that says so.
    """

    url: str
    key: str = field(repr=False)
    chosen_by: str


def find_server(params: Params, host: Host) -> Address | None:
    """The server that generates; None where an engine here does, which then can run here.

    Raises:
        OptionError: when options do not go together, or address or key is none.
    """
    url, engine = params.server_url, params.engine
    if url and engine not in ("auto", "server"):
        raise OptionError(
            f"--server_url {_shown(url)} is for --engine server, but --engine is {engine!r}; leave "
            "one of them out"
        )
    ready("server" if url else engine)
    if not url and engine != "server":
        return None
    if not url:
        raise OptionError("--engine server needs --server_url, such as http://localhost:8000/v1")
    defaults = Params()
    idle = [f"--{n}" for n in _OF_ENGINES_HERE if getattr(params, n) != getattr(defaults, n)]
    if idle:
        raise OptionError(
            f"an inference server holds the models, so {' and '.join(idle)} would do nothing: "
            "leave that out, and set the server up so instead"
        )
    checked_url(url, "--server_url", OptionError)
    parts = urlsplit(url)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise OptionError(
            f"--server_url {_shown(url)} holds more than an address; it is stored and shown, so "
            f"give the server's key as the secret {_KEY}"
        )
    key = checked_key(host.secret(_KEY) or "", _KEY, OptionError)
    return Address(url, key, "--engine server" if engine == "server" else "auto: --server_url")


def _shown(url: str) -> str:
    """An address without what may be secret in it."""
    return repr(url.partition("?")[0].partition("#")[0].rpartition("@")[2])

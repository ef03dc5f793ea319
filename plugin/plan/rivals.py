"""Read which other models the tuned ones are measured against, each on a server: `--rival`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from plugin.errors import OptionError
from plugin.judges import Secrets
from plugin.keys import check_key, check_url
from plugin.plan.params_input import BOTH, InputParams
from plugin.plan.prompts import prompt_text

OPTION = "--rival"
KEY_NAME = "RIVAL_API_KEY"
"""The secret with a rival's key; with _NAME behind it, that of one rival alone."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
_LIKE = f"{OPTION} 70b=http://localhost:8000/v1#meta-llama/Llama-3.3-70B-Instruct"


@dataclass(frozen=True, slots=True)
class RivalModel:
    """Another model, and where it is served.

    Attributes:
        name: as the user calls it.
        url: the server's base URL, without secrets.
        model: its name on the server.
        key: the server's key; "" for none.
        key_name: the secret that holds the key, or could hold one.
    """

    name: str
    url: str
    model: str
    key: str = field(default="", repr=False)
    key_name: str = KEY_NAME

    @property
    def place(self) -> tuple[str, str]:
        """Return address and model, which no two rivals share."""
        return self.url.rstrip("/"), self.model


def rival_prompt(params: InputParams) -> str:
    """Return the text of the rivals' system prompt; "" for none.

    Raises:
        OptionError: when the options about rivals do not fit each other, or a file cannot be read.
    """
    if not params.rival:
        if params.rival_prompt:
            raise OptionError(f"--rival_prompt is for {OPTION}, which is not given: leave it out")
        return ""
    if params.variants != BOTH:
        raise OptionError(
            f"{OPTION} is measured against a tuned model and the base, but --variants is "
            f"{params.variants!r}: leave --variants out, or {OPTION}"
        )
    if not params.rival_prompt:
        return params.system_prompt
    return prompt_text(params.rival_prompt, "--rival_prompt")


def find_rivals(
    given: Sequence[str], secrets: Secrets, server: tuple[str, str] | None
) -> tuple[RivalModel, ...]:
    """Return the other models with the keys of their servers.

    Args:
        given: what the user gave with --rival.
        secrets: looks up keys.
        server: address and key of the server of the models under test; None without one.

    Raises:
        OptionError: naming every rival that cannot be used, and why.
    """
    found, problems = list[RivalModel](), list[str]()
    for text in given:
        try:
            one = _parse(text)
        except OptionError as error:
            problems.append(str(error))
            continue
        for other in found:
            if other.name == one.name:
                problems.append(f"{OPTION} {one.name}: given twice; choose another name")
            elif other.place == one.place:
                problems.append(
                    f"{OPTION} {one.name}: the same model as {OPTION} {other.name}; leave one out"
                )
        found.append(one)
    if problems:
        raise OptionError("\n".join(problems))
    return tuple(_with_key(one, found, secrets, server) for one in found)


def _parse(text: str) -> RivalModel:
    """Return the rival that a text names, without a key.

    Raises:
        OptionError: saying what is wrong; an address with a secret is not repeated.
    """
    name, _, rest = text.partition("=")
    url, _, model = rest.partition("#")
    if not _NAME.fullmatch(name) or not url or not model.strip():
        shown = re.sub(r"//.*@", "//[key]@", text).partition("?")[0]
        raise OptionError(
            f"{OPTION} {shown!r}: write NAME=ADDRESS#MODEL, such as {_LIKE}; a name has up to 40 "
            "letters, digits, dots, dashes and underscores"
        )
    check_url(url, f"{OPTION} {name}:", OptionError)
    parts = urlsplit(url)
    if "@" in parts.netloc or parts.query:
        shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        raise OptionError(
            f"{OPTION} {name}: its address {shown} has a password or a query, but the address is "
            f"stored and shown: give only the address, and the key as the secret {KEY_NAME}"
        )
    return RivalModel(name, url, model.strip())


def _with_key(
    one: RivalModel, every: Sequence[RivalModel], secrets: Secrets, server: tuple[str, str] | None
) -> RivalModel:
    """Return a rival with its server's key; no server gets the key of another one.

    Raises:
        OptionError: when it is not known which server the only key is for.
    """
    own_name = f"{KEY_NAME}_{re.sub(r'[^A-Z0-9]', '_', one.name.upper())}"
    key_name, key = own_name, secrets(own_name) or ""
    origins = {_origin(other.url) for other in every}
    if not key and (key := secrets(KEY_NAME) or ""):
        key_name = KEY_NAME
        if len(origins) > 1:
            raise OptionError(
                f"{KEY_NAME} is set, but the rivals are on {len(origins)} servers, and no server "
                f"is sent the key of another: set {own_name} and the like instead, one for each "
                "rival whose server wants a key"
            )
    if not key and server and _origin(server[0]) == _origin(one.url):
        key, key_name = server[1], "INFERENCE_API_KEY"
    if not key:
        key_name = KEY_NAME if len(origins) == 1 else own_name
    key = check_key(key, key_name, OptionError)
    return RivalModel(one.name, one.url, one.model, key, key_name)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"https": 443}.get(parts.scheme, 80)

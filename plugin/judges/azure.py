"""A deployment on Azure OpenAI: `azure:<deployment>`.

It needs AZURE_OPENAI_API_KEY and AZURE_OPENAI_ENDPOINT; OPENAI_API_VERSION picks another version of
the protocol.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugin.errors import JudgeError
from plugin.judges import Secrets, named
from plugin.judges._http import made, without_environment
from plugin.judges._openai import ACCOUNT, OpenAIJudge, client_options
from plugin.keys import checked_key, checked_url

if TYPE_CHECKING:
    from openai import AsyncAzureOpenAI

_API_VERSION = "2024-10-21"
"""The first general release whose answers can be bound to a schema."""


def load(provider: str, model: str, secrets: Secrets) -> OpenAIJudge:
    """The judge; `model` is the deployment's name.

    Raises:
        JudgeError: when deployment, key or endpoint is missing, or key or endpoint is none.
    """
    label = named(provider, model, "deployment")
    key, url = secrets("AZURE_OPENAI_API_KEY"), secrets("AZURE_OPENAI_ENDPOINT")
    given = {"AZURE_OPENAI_API_KEY": key, "AZURE_OPENAI_ENDPOINT": url}
    missing = [name for name, value in given.items() if not value]
    if not key or not url:
        raise JudgeError(
            f"judge {label} needs a key and an endpoint, such as "
            f"https://my-resource.openai.azure.com: set {' and '.join(missing)}"
        )
    checked_key(key, "AZURE_OPENAI_API_KEY", JudgeError)
    checked_url(url, "AZURE_OPENAI_ENDPOINT", JudgeError)
    version = secrets("OPENAI_API_VERSION") or _API_VERSION
    client = made(label, lambda: _client(url, key, version))
    return OpenAIJudge(label, model, url, key, client)


def _client(url: str, key: str, version: str) -> AsyncAzureOpenAI:
    import openai

    # A token of the environment would go before the key, in some releases.
    with without_environment(*ACCOUNT, "AZURE_OPENAI_AD_TOKEN"):
        return openai.AsyncAzureOpenAI(
            api_key=key, azure_endpoint=url, api_version=version, **client_options()
        )

"""OpenAI itself: `openai:<model>` with OPENAI_API_KEY; OPENAI_BASE_URL names another address."""

from __future__ import annotations

from plugin.errors import JudgeError
from plugin.judges import Secrets, named
from plugin.judges._openai import OPENAI_URL, OpenAIJudge
from plugin.keys import checked_key, checked_url


def load(provider: str, model: str, secrets: Secrets) -> OpenAIJudge:
    """The judge.

    Raises:
        JudgeError: when model or key is missing, or key or address is none.
    """
    label = named(provider, model)
    key = secrets("OPENAI_API_KEY")
    if not key:
        raise JudgeError(f"judge {label} needs a key: set OPENAI_API_KEY")
    url = checked_url(secrets("OPENAI_BASE_URL") or OPENAI_URL, "OPENAI_BASE_URL", JudgeError)
    return OpenAIJudge(label, model, url, checked_key(key, "OPENAI_API_KEY", JudgeError))

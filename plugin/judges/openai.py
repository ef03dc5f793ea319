"""OpenAI itself: `openai:<model>` with OPENAI_API_KEY."""

from __future__ import annotations

from plugin.errors import JudgeError
from plugin.judges import Secrets, named
from plugin.judges._openai import OPENAI_URL, OpenAIJudge
from plugin.judges._secrets import checked_key


def load(provider: str, model: str, secrets: Secrets) -> OpenAIJudge:
    """The judge.

    Raises:
        JudgeError: when model or key is missing, or the key is none.
    """
    label = named(provider, model)
    key = secrets("OPENAI_API_KEY")
    if not key:
        raise JudgeError(f"judge {label} needs a key: set OPENAI_API_KEY")
    return OpenAIJudge(label, model, OPENAI_URL, checked_key(key, "OPENAI_API_KEY"))

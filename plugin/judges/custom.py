"""Any server that speaks OpenAI's protocol: `custom:<model>`.

It needs CUSTOM_JUDGE_BASE_URL and, where the server wants one, CUSTOM_JUDGE_API_KEY.
"""

from __future__ import annotations

from plugin.errors import JudgeError
from plugin.judges import Secrets, named
from plugin.judges._openai import OpenAIJudge
from plugin.keys import checked_key, checked_url


def load(provider: str, model: str, secrets: Secrets) -> OpenAIJudge:
    """The judge.

    Raises:
        JudgeError: when model or address is missing, or address or key is none.
    """
    label = named(provider, model)
    url = secrets("CUSTOM_JUDGE_BASE_URL")
    if not url:
        raise JudgeError(
            f"judge {label} needs a server: set CUSTOM_JUDGE_BASE_URL, such as "
            "http://localhost:8000/v1 (and CUSTOM_JUDGE_API_KEY if it wants a key)"
        )
    checked_url(url, "CUSTOM_JUDGE_BASE_URL", JudgeError)
    key = secrets("CUSTOM_JUDGE_API_KEY") or ""
    return OpenAIJudge(label, model, url, checked_key(key, "CUSTOM_JUDGE_API_KEY", JudgeError))

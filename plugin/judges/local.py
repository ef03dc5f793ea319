"""The classic Transformer Lab's own inference server: `local`, or `local:<model>`.

LOCAL_JUDGE_BASE_URL names another address.
"""

from __future__ import annotations

from functools import cached_property

from pydantic import BaseModel

from plugin.errors import JudgeError
from plugin.judges import Answer, Secrets
from plugin.judges._http import made
from plugin.judges._openai import OpenAIJudge
from plugin.keys import checked_url
from plugin.wire import decoded, dig, word

_URL = "http://localhost:8338/v1"
_TIMEOUT_S = 10.0


def load(provider: str, model: str, secrets: Secrets) -> LocalJudge:
    """The judge; the server is not asked yet.

    Raises:
        JudgeError: when the address is none.
    """
    url = secrets("LOCAL_JUDGE_BASE_URL") or _URL
    return LocalJudge(model, checked_url(url, "LOCAL_JUDGE_BASE_URL", JudgeError))


class LocalJudge:
    """See `plugin.judges.Judge`; label and identity tell the model that the server has loaded."""

    structured = False
    caveat = ""

    def __init__(self, model: str, url: str) -> None:
        """Take the model, "" for the first that the server names, and the base URL."""
        self._model = model
        self._url = url

    @property
    def label(self) -> str:
        """The spec, with the model."""
        return f"local:{self.served_model}"

    @property
    def identity(self) -> str:
        """Holds the model: answers of another one, loaded later, are not the same judge's."""
        return self.label

    @cached_property
    def served_model(self) -> str:
        """The model that judges; the server is asked once, where none was named.

        Raises:
            JudgeError: when no server answers, or none with a model.
        """
        return self._model or _first_model(self._url)

    async def ask(self, prompt: str, schema: type[BaseModel], room: int = 1) -> Answer:
        """See `Judge.ask`."""
        return await self._judge.ask(prompt, schema, room)

    async def close(self) -> None:
        """Close the connections, if there are any."""
        if "_judge" in self.__dict__:
            await self._judge.close()

    @cached_property
    def _judge(self) -> OpenAIJudge:
        return OpenAIJudge(self.label, self.served_model, self._url)


def _first_model(url: str) -> str:
    """The first model of the server's list.

    Raises:
        JudgeError: when it cannot be had.
    """
    import httpx

    where = "judge local: the local server"
    way_out = "load a model into it (Foundation tab, Run), or set LOCAL_JUDGE_BASE_URL"
    with made("local", lambda: httpx.Client(timeout=_TIMEOUT_S)) as client:
        try:
            answer = client.get(f"{url.rstrip('/')}/models")
        except Exception as error:  # an answer may be odd in any way
            kind = type(error).__name__
            raise JudgeError(f"{where} does not answer ({kind}); {way_out}") from None
    model = word(dig(decoded(answer.content), "data", 0, "id"))
    if not answer.is_success or not model:
        raise JudgeError(f"{where} names no model (HTTP {answer.status_code}); {way_out}")
    return model

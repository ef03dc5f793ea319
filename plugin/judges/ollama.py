"""Ask a model in Ollama through Ollama's own protocol: `ollama:<model>`.

OLLAMA_HOST names the server in the same forms as for Ollama itself: a host, host:port or a URL.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel

from plugin.body import bound_body
from plugin.errors import CallError, JudgeError
from plugin.judges import (
    Answer,
    HttpJudge,
    Secrets,
    closed_schema,
    make_judge_client,
    require_named,
)
from plugin.judges.refusals import why_no_answer
from plugin.keys import check_url
from plugin.net import count_at, get_path, post_json, text_at

_HOST, _PORT = "localhost", 11434
_FORMATS = ("schema", "json", "words")


def load_ollama(provider: str, model: str, secrets: Secrets) -> OllamaJudge:
    """Return the judge.

    Raises:
        JudgeError: when the model is missing or the host is invalid.
    """
    return OllamaJudge(
        require_named(provider, model), model, _ollama_url(secrets("OLLAMA_HOST") or "")
    )


@dataclass(frozen=True, slots=True)
class _OllamaSettings:
    """How the answer is bound: to a schema, to JSON (for old servers), or not at all."""

    form: str = "schema"

    def options(self, schema: type[BaseModel], n_tokens: int) -> dict[str, Any]:
        sampling = {"temperature": 0, "seed": 0, "num_predict": n_tokens}
        if self.form == "words":
            return {"options": sampling}
        form = closed_schema(schema) if self.form == "schema" else "json"
        return {"options": sampling, "format": form}

    def without_refused(self, message: str) -> _OllamaSettings | None:
        simpler = _FORMATS[_FORMATS.index(self.form) + 1 :]
        return _OllamaSettings(simpler[0]) if simpler else None


class OllamaJudge(HttpJudge):
    """One model on one Ollama server."""

    def __init__(self, label: str, model: str, url: str) -> None:
        """Create the client, without sending anything.

        Raises:
            JudgeError: when the client cannot be created.
        """
        import httpx

        super().__init__(label, model, _OllamaSettings(), url=url)
        # The scheduler limits the number and duration of calls. Redirects are not followed.
        everything = httpx.Limits(max_connections=None, max_keepalive_connections=100)
        self._client = make_judge_client(
            label,
            lambda: httpx.AsyncClient(
                base_url=url,
                timeout=None,
                limits=everything,
                event_hooks={"response": [bound_body]},
            ),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _send(self, prompt: str, options: dict[str, Any]) -> Answer:
        body = {
            "model": self._model,
            "messages": [{"role": "user", "content": prompt}],
            "stream": False,
            # By default Ollama silently cuts the beginning of a prompt that is too long.
            "truncate": False,
            "shift": False,
            **options,
        }
        reply = await post_json(self._client, "api/chat", body, self._mask)
        message = get_path(reply, "message")
        if not isinstance(message, dict):
            raise CallError("the server's answer has no message", retry=True)
        text, ended = text_at(message.get("content")), get_path(reply, "done_reason")
        if why := why_no_answer(message, ended, text, self._mask):
            raise CallError(why)
        return Answer(
            text=text,
            cut_off=ended == "length",
            version=text_at(get_path(reply, "model")),
            n_prompt_tokens=count_at(get_path(reply, "prompt_eval_count")) or 0,
            n_completion_tokens=count_at(get_path(reply, "eval_count")) or 0,
        )

    def _unknown_model(self, message: str) -> str:
        if "model" in message:
            return f"Ollama does not have this model; get it with `ollama pull {self._model}`"
        return "the server is not an Ollama server (HTTP 404 for /api/chat); check OLLAMA_HOST"


def _ollama_url(host: str) -> str:
    """Return the URL that OLLAMA_HOST stands for.

    Without a scheme it is http on Ollama's port; with a scheme, the scheme's own port is the
    default.

    Raises:
        JudgeError: when it is not a valid address.
    """
    if "://" in host:
        return check_url(host, "OLLAMA_HOST", JudgeError)
    address, slash, path = host.partition("/")
    if not address or address.startswith(":"):
        address = f"{_HOST}{address}"
    url = check_url(f"http://{address}{slash}{path}", "OLLAMA_HOST", JudgeError)
    if urlsplit(url).port is None:
        url = f"http://{address}:{_PORT}{slash}{path}"
    return url

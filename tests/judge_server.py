"""A real local HTTP server that speaks OpenAI's chat protocol, and misbehaves on command."""

from __future__ import annotations

import ast
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Reply:
    """What the server sends back instead of its usual answer."""

    text: str | None = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    hang_s: float = 0.0
    drop: bool = False
    finish_reason: str = "stop"
    body: bytes | None = None


Fault = Callable[[int, dict[str, Any]], Reply | None]


class JudgeServer(ThreadingHTTPServer):
    """Answers DeepEval's prompts by simple rules; counts what it is asked.

    Attributes:
        url: the base URL, with /v1.
        latency_s: how long every answer takes.
        fault: (number of the request from 0, its body) -> another reply, or None.
        requests: the bodies received, in order.
        keys: the Authorization headers received.
    """

    daemon_threads = True
    request_queue_size = 256

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        self.latency_s = 0.0
        self.fault: Fault = lambda number, body: None
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.lock = threading.Lock()

    @property
    def prompts(self) -> list[str]:
        return [body["messages"][0]["content"] for body in self.requests]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news."""


@contextmanager
def judge_server() -> Iterator[JudgeServer]:
    server = JudgeServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: JudgeServer
    protocol_version = "HTTP/1.1"
    # Without these two a bare stdlib server adds 40 ms to every answer.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.server.lock:
            number = len(self.server.requests)
            self.server.requests.append(body)
            self.server.keys.append(self.headers.get("authorization", ""))
            self.server.headers.append(dict(self.headers))
        reply = self.server.fault(number, body) or Reply()
        time.sleep(self.server.latency_s + reply.hang_s)
        if reply.drop:
            self.close_connection = True
            return
        self._send(reply, body)

    def _send(self, reply: Reply, body: dict[str, Any]) -> None:
        if reply.body is not None:
            payload = reply.body
        elif reply.status != 200:
            payload = json.dumps({"error": {"message": reply.text or "no"}}).encode()
        else:
            text = answer(body) if reply.text is None else reply.text
            payload = json.dumps(_completion(text, reply.finish_reason)).encode()
        self.send_response(reply.status)
        for name, value in {"content-type": "application/json", **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *args: object) -> None:
        """Quiet."""


def answer(body: dict[str, Any]) -> str:
    """What a well-behaved judge says to one of DeepEval's prompts."""
    prompt = body["messages"][0]["content"]
    if '"statements" key' in prompt:
        text = prompt.rpartition("Text:\n")[2].rpartition("\n\nJSON:")[0]
        parts = re.split(r"(?<=[.!?])\s+", text.strip())
        return json.dumps({"statements": [part for part in parts if part]})
    if "Generate ONE verdict per statement" in prompt:
        listed = prompt.rpartition("Statements:\n")[2].rpartition("\n\nJSON:")[0]
        verdicts = [{"verdict": "yes", "reason": None} for _ in ast.literal_eval(listed)]
        return json.dumps({"verdicts": verdicts})
    listed_before = re.search(r"\n(?:Opinions|Claims):\n(\[.*\])\s+JSON:", prompt, re.DOTALL)
    if listed_before:  # biased and toxic: no; agrees with the context: yes
        word = "yes" if "Claims:" in prompt else "no"
        n = len(ast.literal_eval(listed_before[1]))
        return json.dumps({"verdicts": [{"verdict": word, "reason": None}] * n})
    for name in ("opinions", "truths", "claims", "steps"):
        if f'"{name}" key' in prompt:
            return json.dumps({name: [f"one of the {name}", f"another of the {name}"]})
    if "remotely useful" in prompt or "attributed to the nodes" in prompt:
        documents = re.search(r"\((\d+) documents?\):\n", prompt)
        n = int(documents[1]) if documents else 2
        return json.dumps({"verdicts": [{"verdict": "yes", "reason": "seen"}] * n})
    if "whether each statement found in the context" in prompt:
        verdict = {"statement": "s", "verdict": "yes", "reason": None}
        return json.dumps({"verdicts": [verdict, {**verdict, "verdict": "no"}]})
    counted = re.search(r"STRICTLY EQUAL TO (\d+)", prompt)
    if counted:
        verdict = {"verdict": "no" if "played by Nobody" in prompt else "yes", "reason": "seen"}
        return json.dumps({"verdicts": [verdict] * int(counted[1])})
    if '`"score"`' in prompt:
        said = re.search(r"Actual Output:\n(.*) \n\nExpected Output:\n(.*) \n", prompt)
        same = bool(said) and said[1].strip().lower() == said[2].strip().lower()
        return json.dumps({"score": 10 if same else 3, "reason": "compared word by word"})
    return json.dumps({"reason": "as the verdicts say"})


def _completion(text: str, finish_reason: str) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "judge-model-2026-01",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": finish_reason,
            }
        ],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
    }

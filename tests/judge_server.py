"""A real local HTTP server that speaks the judges' protocols, and misbehaves on command.

OpenAI's (also at Azure's paths, with the list of models), Anthropic's and Ollama's: the path of a
request tells which.
"""

from __future__ import annotations

import ast
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

Server = TypeVar("Server", bound=ThreadingHTTPServer)


@dataclass
class Reply:
    """What the server sends back instead of its usual answer.

    Attributes:
        drop: hang up without an answer.
        reset: hang up roughly in the middle of the answer's body.
        finish_reason: in OpenAI's words; "length" is said in each protocol's own.
        body: the answer's bytes, whatever they are.
    """

    text: str | None = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    hang_s: float = 0.0
    drop: bool = False
    reset: bool = False
    finish_reason: str = "stop"
    body: bytes | None = None


Fault = Callable[[int, dict[str, Any]], Reply | None]


class JudgeServer(ThreadingHTTPServer):
    """Answers DeepEval's prompts by simple rules; counts what it is asked.

    Attributes:
        host: the address without a path.
        url: the base URL, with /v1.
        models: the names that the list of models holds.
        n_connections: how many were opened.
        latency_s: how long every answer takes.
        fault: (number of the request from 0, its body) -> another reply, or None.
        list_fault: another reply to who asks for the list of models, or None.
        requests: the bodies received, in order.
        paths: the paths asked, with the queries; those of the list of models too.
        keys: the headers received that carry a key.
    """

    daemon_threads = True
    request_queue_size = 256

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.host = f"http://127.0.0.1:{self.server_port}"
        self.url = f"{self.host}/v1"
        self.models = ["tiny-model", "other-model"]
        self.latency_s = 0.0
        self.fault: Fault = lambda number, body: None
        self.list_fault: Callable[[], Reply | None] = lambda: None
        self.requests: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.keys: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.n_connections = 0
        self.lock = threading.Lock()

    @property
    def prompts(self) -> list[str]:
        return [body["messages"][0]["content"] for body in self.requests]

    def get_request(self) -> Any:
        self.n_connections += 1
        return super().get_request()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news."""


@contextmanager
def served(server: Server) -> Iterator[Server]:
    """Let a server answer in a thread of its own."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def judge_server() -> AbstractContextManager[JudgeServer]:
    return served(JudgeServer())


_KEYS = ("authorization", "x-api-key", "api-key")


class _Handler(BaseHTTPRequestHandler):
    server: JudgeServer
    protocol_version = "HTTP/1.1"
    # Without these two a bare stdlib server adds 40 ms to every answer.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        listed = {"object": "list", "data": [{"id": name} for name in self.server.models]}
        self._send(self.server.list_fault() or Reply(body=json.dumps(listed).encode()), {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.server.lock:
            number = len(self.server.requests)
            self.server.requests.append(body)
            self.server.paths.append(self.path)
            self.server.keys.append(next(filter(None, map(self.headers.get, _KEYS)), ""))
            self.server.headers.append(dict(self.headers))
        self._send(self.server.fault(number, body) or Reply(), body)

    def _send(self, reply: Reply, body: dict[str, Any]) -> None:
        time.sleep(self.server.latency_s + reply.hang_s)
        payload = _payload(self.path, reply, body)
        self.close_connection = self.close_connection or reply.drop or reply.reset
        if reply.drop:
            return
        self.send_response(reply.status)
        for name, value in {"content-type": "application/json", **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload[: len(payload) // 2] if reply.reset else payload)
        if reply.reset:
            self.wfile.flush()
            no_goodbye = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_goodbye)
            self.connection.close()

    def log_message(self, *args: object) -> None:
        """Quiet."""


def answers_shown(prompt: str) -> tuple[str, str]:
    """The two answers that a question of which is better shows, A and B."""
    found = re.findall(r"<answer_([AB])>\n(.*?)\n</answer_\1>", prompt, re.DOTALL)
    (_, first), (_, second) = found
    return first, second


def choice(verdict: str, reasons: str = "one says more") -> str:
    return json.dumps({"reasons": reasons, "verdict": verdict})


def fewer_dodges(first: str, second: str) -> str:
    """The verdict of a judge that dislikes answers which name nobody, and minds nothing else."""
    dodges = [text.count("Nobody") + text.count("Who knows") for text in (first, second)]
    if dodges[0] == dodges[1]:
        return "tie"
    return "A much better" if dodges[0] < dodges[1] else "B much better"


def choosing(rule: Callable[[str, str], str]) -> Fault:
    """A fault: (A, B) -> verdict, for every question of which answer is better."""

    def fault(number: int, body: dict[str, Any]) -> Reply | None:
        prompt = body["messages"][0]["content"]
        return Reply(text=choice(rule(*answers_shown(prompt)))) if "<answer_A>" in prompt else None

    return fault


def answer(body: dict[str, Any]) -> str:
    """What a well-behaved judge says to one of DeepEval's prompts, or to one of our own."""
    prompt = body["messages"][0]["content"]
    if "<answer_A>" in prompt:
        return choice(fewer_dodges(*answers_shown(prompt)))
    return _score(prompt)


def _score(prompt: str) -> str:
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
        given, wanted = (said[1].strip().lower(), said[2].strip().lower()) if said else ("", "?")
        same = given.removeprefix("the answer is: ") == wanted
        reason = f"compared word by word: {given}"
        return json.dumps({"score": 10 if same else 3, "reason": reason})
    return json.dumps({"reason": "as the verdicts say"})


def _payload(path: str, reply: Reply, body: dict[str, Any]) -> bytes:
    """The answer's bytes, in the protocol that the path belongs to."""
    if reply.body is not None:
        return reply.body
    ollama = path == "/api/chat"
    if reply.status != 200:
        said = reply.text or "no"
        return json.dumps({"error": said if ollama else {"message": said}}).encode()
    text = answer(body) if reply.text is None else reply.text
    cut_off = reply.finish_reason == "length"
    if ollama:
        return json.dumps(_of_ollama(text, reply.finish_reason)).encode()
    if path == "/v1/messages":
        return json.dumps(_of_anthropic(text, cut_off, body)).encode()
    return json.dumps(_of_openai(text, reply.finish_reason)).encode()


def _of_anthropic(text: str, cut_off: bool, body: dict[str, Any]) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "text", "text": text}
    if "tools" in body:
        block = {"type": "tool_use", "id": "t1", "name": "answer", "input": json.loads(text)}
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "judge-model-2026-01",
        "content": [block],
        "stop_reason": "max_tokens" if cut_off else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 60, "cache_read_input_tokens": 40, "output_tokens": 10},
    }


def _of_ollama(text: str, done_reason: str) -> dict[str, Any]:
    return {
        "model": "judge-model-2026-01",
        "created_at": "2026-01-01T00:00:00Z",
        "message": {"role": "assistant", "content": text},
        "done": True,
        "done_reason": done_reason,
        "prompt_eval_count": 100,
        "eval_count": 10,
    }


def _of_openai(text: str, finish_reason: str) -> dict[str, Any]:
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

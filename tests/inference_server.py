"""A real local inference server with the demo's base and adapter, which misbehaves on command.

It speaks OpenAI's protocol as vLLM does, and answers with what the project's own mlx engine
completes; mlx keeps to the thread that loaded it, so one thread does all of that.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from demo import FOLDER
from plugin import engines
from plugin.engines import Engine, EngineSettings
from plugin.load.adapter import inspect_adapter
from plugin.load.cases import CaseSource, load_cases
from plugin.load.columns import Columns
from plugin.load.model import inspect_model
from plugin.records import VANILLA, Completion, Message, Prompt
from tests.judge_server import Reply, served
from tests.streams import Style, Styles, whole_json

BASE, TUNED = "demo-base", "demo-tuned"
N_TOKENS = 32
"""How long completions become here, whatever longer is asked for."""

Fault = Callable[[int, dict[str, Any]], Reply | None]
Turns = tuple[Message, ...]


class DemoModel:
    """Completions of the demo's base ("vanilla") and adapter ("tuned"), each made once."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._engines: dict[bool, Engine] = {}
        self._made: dict[tuple[str, bool, Turns], Completion] = {}
        source = CaseSource(str(FOLDER / "cases.jsonl"), columns=Columns())
        cases = [case.messages for case in load_cases(source).cases]
        wanted = [(name, True, turns) for turns in cases for name in (VANILLA, "tuned")]
        self._thread.submit(self._make, wanted).result()

    def complete(self, variant: str, chat: bool, turns: Turns) -> Completion:
        key = (variant, chat, turns)
        if key not in self._made:
            self._thread.submit(self._make, [key]).result()
        return self._made[key]

    def close(self) -> None:
        """Give the weights back, in their thread."""
        for engine in self._engines.values():
            self._thread.submit(engine.close).result()
        self._thread.shutdown()

    def _make(self, keys: Sequence[tuple[str, bool, Turns]]) -> None:
        chat = keys[0][1]
        if chat not in self._engines:
            self._engines[chat] = engines.load("mlx", _settings(chat))
        engine = self._engines[chat]
        prompts = [
            Prompt(str(i), variant, turns, engine.encode(turns))
            for i, (variant, _, turns) in enumerate(keys)
        ]
        for ended in engine.generate(prompts):
            for found in ended:
                assert isinstance(found, Completion)
                self._made[keys[int(found.case_id)]] = found


def _settings(chat: bool) -> EngineSettings:
    return EngineSettings(
        model=inspect_model(FOLDER / "model"),
        model_name="demo",
        adapters={"tuned": inspect_adapter(FOLDER / "adapter")},
        max_tokens=N_TOKENS,
        batch_size=32,
        chat_template=chat,
    )


class InferenceServer(ThreadingHTTPServer):
    """Counts what it is asked.

    Attributes:
        model: what completes.
        url: the base URL, with /v1.
        served: name -> "vanilla" or "tuned".
        models: what the list of models holds; None for a server without one.
        key: wanted of everybody; "" for none.
        version: what it tells of itself; "" where it does not.
        fault: (number of the request for a completion, its body) -> another reply, or None.
        list_fault: another reply to who asks for the list of models, or None.
        sticky: once the adapter was asked, the base answers like it.
        requests: the bodies of what asked for completions, in order.
        paths: of these.
        n_at_once: requests under way at once, at most.
        latency_s: how long every completion takes.
        styles: how a request that asks for a stream is answered; None in place of a style: by one
            whole JSON answer.
    """

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, model: DemoModel | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.model = model
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        self.served = {BASE: VANILLA, TUNED: "tuned"}
        self.models: list[dict[str, Any]] | None = [
            {"id": BASE, "object": "model", "owned_by": "vllm", "root": "/models/demo"},
            {"id": TUNED, "object": "model", "root": "/models/lora", "parent": BASE},
        ]
        self.key = ""
        self.version = "0.11.0"
        self.fault: Fault = lambda number, body: None
        self.list_fault: Callable[[], Reply | None] = lambda: None
        self.sticky = False
        self.requests: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.n_now = self.n_at_once = 0
        self.latency_s = 0.0
        self.styles: Styles = lambda number, body: Style()
        self.lock = threading.Lock()

    @property
    def asked(self) -> list[tuple[str, str]]:
        """Name and last text of every request, in order."""
        return [(body["model"], body["messages"][-1]["content"]) for body in self.requests]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news."""


def inference_server(model: DemoModel | None = None) -> AbstractContextManager[InferenceServer]:
    return served(InferenceServer(model))


class _Handler(BaseHTTPRequestHandler):
    server: InferenceServer
    protocol_version = "HTTP/1.1"
    # Without these two a bare stdlib server adds 40 ms to every answer.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        server = self.server
        if self.path == "/version" and server.version:
            return self._send(Reply(body=json.dumps({"version": server.version}).encode()))
        if self.path != "/v1/models" or server.models is None:
            return self._send(Reply(status=404, text="Not Found"))
        listed = {"object": "list", "data": server.models}
        refusal = self._refusal()
        self._send(server.list_fault() or refusal or Reply(body=json.dumps(listed).encode()))

    def do_POST(self) -> None:
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with server.lock:
            number = len(server.requests)
            server.requests.append(body)
            server.paths.append(self.path)
            server.headers.append(dict(self.headers))
            server.n_now += 1
            server.n_at_once = max(server.n_at_once, server.n_now)
        try:
            time.sleep(server.latency_s)
            reply = server.fault(number, body)
            if reply:
                time.sleep(reply.hang_s)
            refusal = self._refusal() or reply
            if body.get("stream") and not refusal:
                return self._stream(server.styles(number, body), body)
            self._send(refusal or self._completed(body))
        finally:
            with server.lock:
                server.n_now -= 1

    def _refusal(self) -> Reply | None:
        if not self.server.key or self.headers.get("authorization") == f"Bearer {self.server.key}":
            return None
        return Reply(status=401, text=f"not {self.headers.get('authorization')}")

    def _completed(self, body: dict[str, Any]) -> Reply:
        server = self.server
        if body["model"] not in server.served:
            return Reply(status=404, text=f"The model `{body['model']}` does not exist.")
        variant = server.served[body["model"]]
        if server.sticky and any(server.served.get(b["model"]) == "tuned" for b in server.requests):
            variant = "tuned"
        chat = self.path.endswith("/chat/completions")
        turns = body["messages"] if chat else [{"role": "user", "content": body["prompt"]}]
        assert server.model is not None, "this server only streams"
        found = server.model.complete(variant, chat, tuple(Message(**turn) for turn in turns))
        text, finish_reason = found.text, found.finish_reason
        if body["max_tokens"] < N_TOKENS:  # a probe
            text, finish_reason = text.partition(" ")[0], "length"
        choice = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
        usage = {"prompt_tokens": found.n_prompt_tokens, "completion_tokens": found.n_tokens}
        said = {"choices": [{"index": 0, "finish_reason": finish_reason, **choice}]}
        return Reply(body=json.dumps({**said, "model": body["model"], "usage": usage}).encode())

    def _stream(self, style: Style | None, body: dict[str, Any]) -> None:
        if style is None:
            return self._send(Reply(body=whole_json()))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for wait_s, part in style.stream(body, self.path.endswith("/chat/completions")):
            time.sleep(wait_s)
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            self.wfile.flush()
        if style.cut_after is None:
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.close_connection = True

    def _send(self, reply: Reply) -> None:
        self.close_connection = self.close_connection or reply.drop or reply.reset
        if reply.drop:
            return
        payload = reply.body or json.dumps({"error": {"message": reply.text}}).encode()
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

"""A tiny judge with random weights, and real questions of DeepEval's metrics for it."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.models.llama import Model, ModelArgs
from pydantic import BaseModel

from demo import FOLDER
from plugin import judges, metrics
from plugin.judges import Answer
from plugin.judges.in_process import InProcessJudge
from plugin.metrics import Check
from plugin.records import Case, Message

T = TypeVar("T")
Question = tuple[str, type[BaseModel]]

CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "intermediate_size": 32,
    "vocab_size": 1600,  # wider than the tokenizer's, as many models' are
    "rms_norm_eps": 1e-5,
    "rope_theta": 10_000.0,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}


def build(folder: Path, n_context: int = 8192, seed: int = 0) -> Path:
    """A Llama with random float32 weights and the demo's tokenizer: it writes gibberish."""
    shutil.copytree(FOLDER / "model", folder, ignore=shutil.ignore_patterns("*.safetensors"))
    config = {**CONFIG, "max_position_embeddings": n_context}
    (folder / "config.json").write_text(json.dumps(config))
    mx.random.seed(seed)
    model = Model(ModelArgs.from_dict(config))
    weights = {
        name: mx.random.normal(weight.shape) * 0.5 if weight.ndim > 1 else weight
        for name, weight in tree_flatten(model.parameters())
    }
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "pt"})
    return folder


def load(kind: str, folder: Path) -> InProcessJudge:
    judge = judges.load(f"{kind}:{folder}", lambda name: None)
    assert isinstance(judge, InProcessJudge)
    return judge


def in_worker(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run as a run does: in a thread of its own, whose mlx streams end with the judge."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(lambda: asyncio.run(work())).result()


def ask_all(judge: InProcessJudge, questions: list[Question], at_once: int = 16) -> list[Answer]:
    """The answers, in order; the judge is closed afterwards."""

    async def all_of_them() -> list[Answer]:
        places = asyncio.Semaphore(at_once)

        async def one(question: Question) -> Answer:
            async with places:
                return await judge.ask(*question)

        try:
            return await asyncio.gather(*map(one, questions))
        finally:
            await judge.close()

    return in_worker(all_of_them)


class Recorder:
    """Stands where the judge is asked; answers anything, and keeps the questions."""

    structured = False
    include_reason = True

    def __init__(self) -> None:
        self.questions: list[Question] = []

    async def __call__(self, prompt: str, schema: type[BaseModel], check: Check) -> BaseModel:
        self.questions.append((prompt, schema))
        n = 1 if "Hallucination" not in str(schema.model_fields) else 2
        filled = {
            "statements": ["It is said."],
            "verdicts": [{"verdict": "no", "reason": "because"}] * n,
            "reason": "because",
            "score": 5,
        }
        answer = schema.model_validate({key: filled[key] for key in schema.model_fields})
        check(answer)
        return answer


def questions(n: int) -> list[Question]:
    """Questions as DeepEval's metrics put them, on the demo's cases, all different."""
    recorder = Recorder()
    lines = (FOLDER / "cases.jsonl").read_text(encoding="utf-8").splitlines()
    every = metrics.load(["Answer Relevancy", "Hallucination", "Correctness"])

    async def record() -> None:
        for line in lines:
            row = json.loads(line)
            case = Case(
                id=row["id"],
                messages=(Message("user", row["input"]),),
                expected_output=row["expected_output"],
                context=tuple(row["context"]),
            )
            odd = f'"{row["id"]}" é\\ 日本 {{}} '
            for text in (row["expected_output"], odd + row["input"], odd * 3):
                for metric in every:
                    await metric.measure(case, text, recorder)  # type: ignore[arg-type]

    asyncio.run(record())
    found = list(dict.fromkeys(recorder.questions))
    assert len(found) >= n, len(found)
    return found[:n]

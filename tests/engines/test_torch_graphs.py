"""Recording steps, without a GPU: what keeps a step from being recorded, and what a failure leaves.

torch's own graphs need CUDA, so a double stands for them here; tests/engines/test_cuda.py has the
real ones.
"""

from __future__ import annotations

import re
import sys
from contextlib import nullcontext
from typing import Any

import pytest

from plugin.engines import _torch_graphs
from plugin.engines._torch_graphs import StepGraphs, host_decisions

torch = pytest.importorskip("torch")

from plugin.engines._torch_plan import plan_slots  # noqa: E402
from tests.engines.test_torch_slots import MODELS, built  # noqa: E402


def test_operations_that_the_host_waits_for_are_found() -> None:
    numbers = torch.arange(6.0)
    for step, name in (
        (lambda: float(numbers.max()), "_local_scalar_dense"),
        (lambda: numbers.nonzero(), "nonzero"),
        (lambda: numbers[numbers > 2], "index"),
        (lambda: torch.equal(numbers, numbers), "equal"),
    ):
        assert name in host_decisions(step)

    def without_gradients() -> float:
        with torch.inference_mode():
            return float(numbers.abs().max())

    assert host_decisions(without_gradients) == ["item"]
    kept = torch.zeros(6)

    def on_the_device() -> None:
        kept[torch.tensor([0, 2])] = numbers[torch.tensor([1, 3])]
        kept.masked_fill_(numbers > 3, 0.0)
        kept.argmax(-1)
        q = torch.zeros(2, 4, 1, 8)
        torch._fused_sdp_choice(q, q, q)
        torch.nn.functional.scaled_dot_product_attention(q, q, q)

    assert host_decisions(on_the_device) == []


@pytest.mark.parametrize("kind", [kind for kind in MODELS if kind != "experts"])
def test_steps_of_common_models_can_be_recorded(kind: str) -> None:
    model = built(MODELS[kind]())
    plan = plan_slots(model)
    assert not isinstance(plan, str) and plan.unrecorded == ""
    (*_, norm) = (each for name, each in model.named_modules() if re.search("norm$|ln_f", name))
    plain = norm.forward
    norm.forward = lambda hidden: plain(hidden) if float(hidden.abs().max()) >= 0 else hidden
    plan = plan_slots(model)
    assert not isinstance(plan, str)
    assert plan.unrecorded == "its steps decide on the host: item"


class Graph:
    """Stands for torch's: keeps what is asked of it, and fails where it is told to."""

    made: list[Graph] = []
    error: Exception | None = None

    def __init__(self) -> None:
        self.said: list[str] = []
        Graph.made.append(self)

    def capture_begin(self, **_: Any) -> None:
        self.said.append("begin")

    def capture_end(self) -> None:
        self.said.append("end")
        if Graph.error:
            raise Graph.error

    def replay(self) -> None:
        self.said.append("replay")


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    state = {"free": 1 << 34, "n_emptied": 0}

    def empty_cache() -> None:
        state["n_emptied"] += 1

    Graph.made, Graph.error = [], None
    for name, value in {
        "CUDAGraph": Graph,
        "Stream": lambda: None,
        "stream": lambda stream: nullcontext(),
        "synchronize": lambda: None,
        "graph_pool_handle": lambda: (0, 1),
        "memory_allocated": lambda: 0,
        "max_memory_allocated": lambda: 1000,
        "reset_peak_memory_stats": lambda: None,
        "empty_cache": empty_cache,
        "current_device": lambda: 0,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(_torch_graphs, "free_gpu_bytes", lambda: state["free"])
    return state


def test_a_shape_is_recorded_once_and_then_replayed(device: dict[str, int]) -> None:
    made: list[tuple[int, int]] = []
    graphs = StepGraphs(lambda *shape: made.append(shape))  # type: ignore[arg-type]
    for shape in ((4, 128), (4, 128), (4, 128), (4, 256), (4, 256), (2, 256)):
        graphs.run(*shape)
    # The first step of a number of rows is made as it comes; a recording makes none, though here
    # the double's step is called for it.
    assert made == [(4, 128), (4, 128), (4, 256), (2, 256), (2, 256)]
    assert [graph.said for graph in Graph.made] == [
        ["begin", "end", "replay", "replay"],
        ["begin", "end", "replay", "replay"],
        ["begin", "end"],
    ]
    assert (len(graphs), graphs.note) == (3, "")


def test_without_memory_nothing_is_recorded(device: dict[str, int]) -> None:
    device["free"] = _torch_graphs._MARGIN
    made: list[tuple[int, int]] = []
    graphs = StepGraphs(lambda *shape: made.append(shape))  # type: ignore[arg-type]
    for _ in range(3):
        graphs.run(4, 128)
    assert made == [(4, 128)] * 3 and Graph.made == []
    assert graphs.note == "there is too little memory to record steps"
    assert device["n_emptied"] == 1


def test_a_graph_that_failed_is_never_freed_and_steps_go_on(device: dict[str, int]) -> None:
    Graph.error = RuntimeError("operation not permitted when stream is capturing")
    n_steps = 0

    def step(*shape: int) -> None:
        nonlocal n_steps
        n_steps += 1

    graphs = StepGraphs(step)
    for _ in range(3):
        graphs.run(4, 128)
    assert n_steps == 4  # one for the recording
    assert graphs.note == (
        "a step of this model cannot be recorded (operation not permitted when stream is capturing)"
    )
    (failed,) = Graph.made
    Graph.made = []
    del graphs
    assert sys.getrefcount(failed) > 2  # besides this name and the call's argument

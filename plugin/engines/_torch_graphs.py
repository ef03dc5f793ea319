"""Record a decoding step as a CUDA graph, and replay it.

A recording that fails leaves torch's allocator with a pointer into the graph, so that the process
would die when the graph is freed. So it is found out beforehand whether a step can be recorded:
it must decide nothing on the host, and memory must suffice. A graph that failed in spite of this is
never freed.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from plugin.engines._torch import free_gpu_bytes
from plugin.errors import one_line

_MOST_GRAPHS = 48
_MARGIN = 128 << 20
"""Bytes that a recording may need besides those of the step itself: work space of the libraries."""

_ON_HOST = (
    *("item", "_local_scalar_dense", "is_nonzero", "equal", "allclose", "bincount"),
    *("nonzero", "nonzero_numpy", "argwhere", "masked_select"),
    *("unique_dim", "_unique", "_unique2", "unique_consecutive"),
)
"""Operations whose result, or its shape, the host must know before it can go on."""

Shape = tuple[int, int]


def host_decisions(step: Callable[[], object]) -> list[str]:
    """Return the operations of a step for which the host waits for the device."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    found: list[str] = []

    def watch(_: Any, function: Any, types: Any, args: Any = (), more: Any = None) -> Any:
        result = function(*args, **(more or {}))
        name = str(function).removeprefix("aten.").partition(".")[0]
        indices = args[1] if name in ("index", "index_put", "index_put_") else ()
        masks = [each for each in indices if each is not None and each.dtype == torch.bool]
        both = [each for each in (*args[:1], result) if isinstance(each, torch.Tensor)]
        is_copied = len({each.device.type for each in both}) > 1
        if name in _ON_HOST or masks or is_copied:
            found.append(name)
        return result

    with type("Watch", (TorchDispatchMode,), {"__torch_dispatch__": watch})():
        step()
    return list(dict.fromkeys(found))


class StepGraphs:
    """Make steps of a few shapes: each shape is recorded once and then replayed.

    Attributes:
        note: why steps are not recorded any more; "" while they are.
    """

    def __init__(self, step: Callable[[int, int], None], note: str = "") -> None:
        """Record nothing yet.

        Args:
            step: makes a step of a shape, on the device alone.
            note: why it cannot be recorded; "" if it can.
        """
        self._step, self.note = step, note
        self._graphs: dict[Shape, Any] = {}
        self._n_bytes: dict[int, int] = {}  # rows -> memory of a step
        self._pool: Any = None
        self._stream: Any = None

    def __len__(self) -> int:
        """Return how many shapes are recorded."""
        return len(self._graphs)

    def clear(self) -> None:
        """Forget what was recorded."""
        self._graphs.clear()

    def run(self, *shape: int) -> None:
        """Make one step."""
        n_rows, n_columns = shape
        if self.note:
            self._step(*shape)
            return
        if shape not in self._graphs:
            is_first = n_rows not in self._n_bytes
            if is_first:  # libraries prepare themselves in a step that is not recorded
                self._measure(n_rows, n_columns)
            self._record((n_rows, n_columns))
            if is_first:
                return
        if graph := self._graphs.get((n_rows, n_columns)):
            graph.replay()
        else:
            self._step(*shape)

    def _measure(self, n_rows: int, n_columns: int) -> None:
        """Make a step as it comes, and keep how much memory it takes."""
        import torch

        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        self._step(n_rows, n_columns)
        self._n_bytes[n_rows] = torch.cuda.max_memory_allocated() - before

    def _record(self, shape: Shape) -> None:
        """Record a step of this shape, without making it; note why where that cannot be."""
        import torch

        if not self._has_room(shape[0]):
            self.note = "there is too little memory to record steps"
            return
        if len(self._graphs) >= _MOST_GRAPHS:
            del self._graphs[next(iter(self._graphs))]
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        self._stream = self._stream or torch.cuda.Stream()
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        try:
            with torch.cuda.stream(self._stream):
                graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
                try:
                    self._step(*shape)
                finally:
                    graph.capture_end()
        except RuntimeError as error:
            self.note = f"a step of this model cannot be recorded ({one_line(error)[:80]})"
            self._abandon(graph)
        else:
            self._graphs[shape] = graph

    def _has_room(self, n_rows: int) -> bool:
        import torch

        wanted = 1.5 * self._n_bytes[n_rows] + _MARGIN
        if free_gpu_bytes() < wanted:
            torch.cuda.empty_cache()
        return free_gpu_bytes() >= wanted

    def _abandon(self, graph: Any) -> None:
        """Keep a graph that failed for ever, and let the allocator know that it has ended."""
        import torch

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(graph))
        try:
            torch._C._cuda_endAllocateToPool(torch.cuda.current_device(), self._pool)
        except (RuntimeError, AttributeError):  # it knows, or this torch has another way
            pass

"""Adapters put on an mlx model and taken off again, with the proof that the base came back.

The base is kept by reference (mlx arrays are immutable) and put back module by module and array by
array. It must then answer a probe with the very same bits as before; where the backend does not
repeat its own bits, the tensors' digests are compared instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from plugin.adapters.base import base_notes
from plugin.adapters.certificate import Logits
from plugin.adapters.convert import to_mlx
from plugin.adapters.fit import fit, not_placed
from plugin.adapters.layout import AdapterFolder
from plugin.engines import EngineSettings
from plugin.engines._proof import (
    Rack,
    last_positions,
    probe_ids,
)

_LEAVES = ("lora_a", "lora_b", "m")


class MlxRack(Rack):
    """The base model as it was, and the adapters that it may wear."""

    def __init__(self, model: Any, settings: EngineSettings) -> None:
        """Remember the base as it is now.

        Raises:
            ModelError: when it answers with no numbers.
        """
        from mlx.utils import tree_flatten

        self._model = model
        self._base_modules = model.leaf_modules()
        self._base_arrays = tree_flatten(model.parameters())
        super().__init__(settings)

    @contextmanager
    def wearing(self, variant: str) -> Iterator[None]:
        """See `Rack.wearing`."""
        adapter = self._settings.adapters.get(variant)
        if adapter is None:
            yield
            return
        try:
            self._unused[variant] = self._put_on(adapter)
            yield
        finally:
            self._take_off()
        self.require_base(variant)

    def logits(self, rows: Sequence[Sequence[int]]) -> list[Logits]:
        """See `Rack.logits`; rows are filled up behind, where a causal model does not look."""
        import mlx.core as mx

        if not rows:
            return []
        width = max(map(len, rows))
        ids = mx.array([[*row, *[0] * (width - len(row))] for row in rows])
        out = self._model(ids)
        return [
            np.array(out[i, last_positions(len(row))].astype(mx.float32))
            for i, row in enumerate(rows)
        ]

    @property
    def n_vocabulary(self) -> int:
        """See `Rack.n_vocabulary`."""
        import mlx.nn as nn

        kinds = (nn.Embedding, nn.QuantizedEmbedding)
        modules = (module for _, module in self._model.named_modules())
        return max((m.weight.shape[0] for m in modules if isinstance(m, kinds)), default=0)

    def _put_on(self, adapter: AdapterFolder) -> tuple[str, ...]:
        """Put it on as far as it fits; the names of the tensors that did not."""
        with TemporaryDirectory(prefix="finetune-verdict-") as scratch:
            held = to_mlx(adapter, self._linear_names(), Path(scratch))
            return self._load(held, adapter)

    def _linear_names(self) -> list[str]:
        """Where MLX adapters of plain linear modules fit."""
        import mlx.nn as nn

        kinds = (nn.Linear, nn.QuantizedLinear)
        return [name for name, module in self._model.named_modules() if isinstance(module, kinds)]

    def _load(self, held: AdapterFolder, given: AdapterFolder) -> tuple[str, ...]:
        """Put an MLX adapter on; errors name the folder that the user gave.

        mlx-lm's own loader says nothing of parameters that the file lacks (they would be random)
        or that are NaN, and refuses a file for a single stranger.
        """
        import mlx.core as mx
        from mlx.utils import tree_flatten

        model_path = self._settings.model.path
        try:
            self._make_places(held)
            tensors: Any = mx.load(str(held.weights_path))
        except (ValueError, KeyError, AttributeError, TypeError, RuntimeError) as error:
            said = str(error).replace(str(held.root), str(given.path))
            raise not_placed(given, model_path, said, "peft") from error
        places = {
            name: tuple(array.shape)
            for name, array in tree_flatten(self._model.parameters())
            if held.method == "full" or name.rpartition(".")[2] in _LEAVES
        }
        if held.method == "full":  # the file replaces some of the base's tensors, never all
            places = {name: shape for name, shape in places.items() if name in tensors}
        broken = [
            name
            for name, tensor in tensors.items()
            if not mx.isfinite(tensor.astype(mx.float32)).all().item()
        ]
        strays = {name: given.shapes[name] for name in held.unused}
        found = fit(
            strays | {name: tuple(tensor.shape) for name, tensor in tensors.items()},
            places,
            broken,
            lambda name: name.rpartition(".")[0],
            self.n_vocabulary,
        )
        settings = self._settings
        notes = base_notes(given, settings.model, settings.model_name)
        found.require_usable(given, model_path, notes)
        self._model.load_weights([(name, tensors[name]) for name in found.used], strict=False)
        mx.eval(self._model.parameters())  # a converted adapter's file will be gone
        self._model.eval()
        return found.unused

    def _make_places(self, adapter: AdapterFolder) -> None:
        """Modules with room for the adapter's parts, which add nothing yet."""
        from mlx_lm.tuner.utils import linear_to_lora_layers

        if adapter.method == "full":
            return
        linear_to_lora_layers(
            self._model,
            adapter.config.get("num_layers", -1),
            {**adapter.config["lora_parameters"], "dropout": 0.0},
            use_dora=adapter.method == "dora",
        )

    def _take_off(self) -> None:
        self._model.update_modules(self._base_modules)
        self._model.load_weights(self._base_arrays, strict=False)

    def probe(self) -> bytes:
        """See `Rack.probe`."""
        import mlx.core as mx

        ids = mx.array(probe_ids(self.n_vocabulary or 256))
        return bytes(memoryview(self._model(ids[None]).astype(mx.float32)))

    def _tensors(self) -> Iterator[tuple[str, bytes]]:
        import mlx.core as mx
        from mlx.utils import tree_flatten

        for name, array in sorted(tree_flatten(self._model.parameters())):
            yield name, bytes(memoryview(array.reshape(-1).view(mx.uint8)))

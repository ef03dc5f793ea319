"""Switch the adapters of a base model in mlx.

`MlxAdapterSwitch` keeps references to the base's modules and arrays (mlx arrays are immutable) and
puts them back afterwards. The base must then answer a probe with exactly the same bits as before.
If the backend does not give repeatable bits, digests of the tensors are compared instead.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from plugin.certify.measure import (
    N_POSITIONS,
    AdapterSwitch,
    Logits,
    last_positions,
    probe_ids,
    require_same_files,
)
from plugin.engines import EngineSettings
from plugin.engines._local import pad_rows
from plugin.load.adapter import OUTPUT_LAYERS, AdapterFolder
from plugin.load.convert import PEFT_PREFIX, to_mlx
from plugin.load.fit import (
    base_model_notes,
    fit_tensors,
    placement_error,
    refuse_rearranged,
)
from plugin.load.tensors import read_tensors

_ADAPTABLE_LAYERS = ("lora_a", "lora_b", "m")

_LOGGERS = ("wandb", "swanlab")
"""What mlx-lm's trainer imports if it is there."""

_EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "tok_embeddings.weight")


class MlxAdapterSwitch(AdapterSwitch):
    """Switch adapters of a base model in mlx."""

    def __init__(self, model: Any, settings: EngineSettings) -> None:
        """Remember the base as it is now.

        Raises:
            ModelError: when the base answers with NaN or infinity.
        """
        from mlx.utils import tree_flatten

        self._model = model
        self._base_modules = model.leaf_modules()
        self._base_arrays = tree_flatten(model.parameters())
        super().__init__(settings.model, settings.model_name, settings.adapters)

    @contextmanager
    def adapter_on(self, variant: str) -> Iterator[None]:
        """See `AdapterSwitch.adapter_on`."""
        adapter = self.adapters.get(variant)
        if adapter is None:
            yield
            return
        try:
            self._unused[variant] = self._put_on(adapter)
            yield
        finally:
            self._take_off()
        self.require_base(variant)

    def shuffle(self, seed: int) -> None:
        """See `AdapterSwitch.shuffle`; here A is (n_in, rank) and B (rank, n_out)."""
        import mlx.core as mx

        draw = np.random.default_rng(seed)
        for _, module in self._model.named_modules():
            if "lora_a" in module and "lora_b" in module:
                a, b = module["lora_a"], module["lora_b"]
                module["lora_a"] = a[mx.array(draw.permutation(a.shape[0]))]
                module["lora_b"] = b[:, mx.array(draw.permutation(b.shape[1]))]

    def logits(self, rows: Sequence[Sequence[int]], n_positions: int = N_POSITIONS) -> list[Logits]:
        """See `AdapterSwitch.logits`; rows are padded at the end, which a causal model ignores."""
        import mlx.core as mx

        if not rows:
            return []
        out = self._model(mx.array(pad_rows(rows)))
        return [
            np.array(out[i, last_positions(len(row), n_positions)].astype(mx.float32))
            for i, row in enumerate(rows)
        ]

    @property
    def n_vocabulary(self) -> int:
        """See `AdapterSwitch.n_vocabulary`."""
        import mlx.nn as nn

        kinds = (nn.Embedding, nn.QuantizedEmbedding)
        modules = (module for _, module in self._model.named_modules())
        return max((m.weight.shape[0] for m in modules if isinstance(m, kinds)), default=0)

    def _put_on(self, adapter: AdapterFolder) -> tuple[str, ...]:
        """Load the tensors that fit the model; return the names of those that do not."""
        require_same_files(adapter)
        with TemporaryDirectory(prefix="finetune-verdict-") as scratch:
            held = to_mlx(adapter, self._linear_names(), Path(scratch))
            return self._load(held, adapter)

    def _linear_names(self) -> list[str]:
        """Return the names of the linear modules, which an adapter can change."""
        import mlx.nn as nn

        kinds = (nn.Linear, nn.QuantizedLinear)
        return [name for name, module in self._model.named_modules() if isinstance(module, kinds)]

    def _load(self, held: AdapterFolder, original: AdapterFolder) -> tuple[str, ...]:
        """Load an MLX adapter into the model; errors name the folder that the user gave.

        mlx-lm's own loader does not report missing parameters (they would be random) or NaN, and
        it rejects a file because of a single unknown name.
        """
        import mlx.core as mx
        from mlx.utils import tree_flatten

        model_path = self.folder.path
        try:
            self._make_places(held)
            tensors: Any = mx.load(str(held.weights_path))
        except (ValueError, KeyError, AttributeError, TypeError, RuntimeError) as error:
            said = str(error).replace(str(held.root), str(original.path))
            raise placement_error(original, model_path, said, "peft") from error
        places = {
            name: tuple(array.shape)
            for name, array in tree_flatten(self._model.parameters())
            if held.method == "full" or name.rpartition(".")[2] in _ADAPTABLE_LAYERS
        }
        if held.method == "full":  # the file replaces some of the base's tensors, never all
            places = {name: shape for name, shape in places.items() if name in tensors}
        broken = [
            name
            for name, tensor in tensors.items()
            if not mx.isfinite(tensor.astype(mx.float32)).all().item()
        ]
        copies = self._copies_of_base(original, held.unused)
        strays = {name: original.shapes[name] for name in held.unused if name not in copies}
        found = fit_tensors(
            strays | {name: tuple(tensor.shape) for name, tensor in tensors.items()},
            places,
            broken,
            lambda name: name.rpartition(".")[0],
            self.n_vocabulary,
        )
        here = (name for name, _ in self._model.named_modules())
        refuse_rearranged(original, self.folder, found.unused, here)
        notes = base_model_notes(original, self.folder, self.model_name)
        found.require_usable(original, model_path, notes)
        self._model.load_weights([(name, tensors[name]) for name in found.used], strict=False)
        mx.eval(self._model.parameters())  # now: a converted adapter's file is deleted soon
        self._model.eval()
        return found.unused

    def _copies_of_base(self, adapter: AdapterFolder, names: Sequence[str]) -> set[str]:
        """Return which of these tensors are copies of the base's own; PEFT may save embeddings."""
        held = read_tensors(adapter.weights_path) if names else {}
        return {name for name in names if self._is_of_base(name, held[name].as_float32())}

    def _is_of_base(self, name: str, values: np.ndarray[Any, Any]) -> bool:
        import mlx.core as mx

        own = dict(self._base_arrays)
        plain = name.removeprefix(PEFT_PREFIX).replace(".base_layer.", ".")
        if self.folder.ties_output and plain.endswith(
            tuple(f"{one}.weight" for one in OUTPUT_LAYERS)
        ):
            plain = next((one for one in own if one.endswith(_EMBEDDINGS)), plain)
        base = own.get(plain)
        if base is None or base.shape != values.shape:
            return False
        return bool(mx.array_equal(base, mx.array(values).astype(base.dtype)).item())

    def _make_places(self, adapter: AdapterFolder) -> None:
        """Replace modules by ones that can hold the adapter's tensors; they still add nothing."""
        if adapter.method == "full":
            return
        _import_lora_layers()(
            self._model,
            adapter.config.get("num_layers", -1),
            {**adapter.config["lora_parameters"], "dropout": 0.0},
            use_dora=adapter.method == "dora",
        )

    def _take_off(self) -> None:
        self._model.update_modules(self._base_modules)
        self._model.load_weights(self._base_arrays, strict=False)

    def probe(self) -> bytes:
        """See `AdapterSwitch.probe`."""
        import mlx.core as mx

        ids = mx.array(probe_ids(self.n_vocabulary or 256))
        return bytes(memoryview(self._model(ids[None]).astype(mx.float32)))

    def _tensors(self) -> Iterator[tuple[str, bytes]]:
        import mlx.core as mx
        from mlx.utils import tree_flatten

        for name, array in sorted(tree_flatten(self._model.parameters())):
            yield name, bytes(memoryview(array.reshape(-1).view(mx.uint8)))


def _import_lora_layers() -> Callable[..., None]:
    """Import mlx-lm's function that makes the places; it comes with mlx-lm's trainer.

    The trainer looks for loggers of training runs. They are hidden from it: wandb alone takes
    longer to import than an adapter to load.
    """
    hidden: dict[str, Any] = {name: None for name in _LOGGERS if name not in sys.modules}
    sys.modules.update(hidden)  # None: an import raises ImportError
    try:
        from mlx_lm.tuner.utils import linear_to_lora_layers
    finally:
        for name in hidden:
            sys.modules.pop(name, None)
    found: Callable[..., None] = linear_to_lora_layers
    return found

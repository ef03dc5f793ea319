"""Adapters put on an mlx model and taken off again, with the proof that the base came back.

The base is kept by reference (mlx arrays are immutable) and put back module by module and array by
array. It must then answer a probe with the very same bits as before; where the backend does not
repeat its own bits, the tensors' digests are compared instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from plugin.adapters.convert import to_mlx
from plugin.adapters.layout import AdapterFolder
from plugin.engines import EngineSettings
from plugin.engines._proof import fingerprint, probe_ids, require_same
from plugin.errors import AdapterError
from plugin.records import Variant


class Rack:
    """The base model as it was, and the adapters that it may wear."""

    def __init__(self, model: Any, settings: EngineSettings) -> None:
        """Remember the base as it is now."""
        from mlx.utils import tree_flatten

        self._model = model
        self._settings = settings
        self._base_modules = model.leaf_modules()
        self._base_arrays = tree_flatten(model.parameters())
        self._base_print = self.fingerprint()

    @contextmanager
    def wearing(self, variant: Variant) -> Iterator[None]:
        """The model with the variant's adapter on; the base is proved undisturbed afterwards."""
        adapter = self._settings.adapters.get(variant.name)
        if adapter is None:
            yield
            return
        try:
            self._put_on(adapter)
            yield
        finally:
            self._take_off()
        require_same(self._base_print, self.fingerprint(), variant.name)

    def _put_on(self, adapter: AdapterFolder) -> None:
        with TemporaryDirectory(prefix="finetune-verdict-") as scratch:
            held = to_mlx(adapter, self._linear_names(), Path(scratch))
            self._load(held, adapter.path)

    def _linear_names(self) -> list[str]:
        """Where MLX adapters of plain linear modules fit."""
        import mlx.nn as nn

        kinds = (nn.Linear, nn.QuantizedLinear)
        return [name for name, module in self._model.named_modules() if isinstance(module, kinds)]

    def _load(self, adapter: AdapterFolder, path: Path) -> None:
        """Put an MLX adapter on; errors name the path that the user gave."""
        import mlx.core as mx
        from mlx_lm.tuner.utils import load_adapters

        try:
            load_adapters(self._model, str(adapter.root))
            mx.eval(self._model.parameters())  # a converted adapter's file will be gone
        except (ValueError, KeyError, AttributeError, TypeError, RuntimeError) as error:
            said = str(error).replace(str(adapter.root), str(path))
            raise AdapterError(
                f"{path} does not fit the base model {self._settings.model.path}: {said}\n"
                "An adapter fits only the model it was trained on; check --model_name"
            ) from error
        problems = self._unfit(adapter)
        if problems:
            raise AdapterError(
                f"{path} is not a whole adapter:\n" + "\n".join(problems) + "\nSave it "
                "again from its training"
            )
        self._model.eval()

    def _unfit(self, adapter: AdapterFolder) -> list[str]:
        """What mlx-lm lets pass: parameters that the file lacks (they would be random), NaN."""
        import mlx.core as mx
        from mlx.utils import tree_flatten

        held: Any = mx.load(str(adapter.weights_path))
        lacking = [
            f"  {name}: named by the config, missing from the file"
            for name, _ in tree_flatten(self._model.parameters())
            if name.rsplit(".", 1)[-1] in ("lora_a", "lora_b", "m") and name not in held
        ]
        broken = [
            f"  {name}: holds NaN or infinity"
            for name, tensor in held.items()
            if not mx.isfinite(tensor.astype(mx.float32)).all().item()
        ]
        scale = (adapter.config.get("lora_parameters") or {}).get("scale", 1.0)
        if not math.isfinite(scale):
            broken.append(f"  scale {scale} in adapter_config.json is not finite")
        return lacking + broken

    def _take_off(self) -> None:
        self._model.update_modules(self._base_modules)
        self._model.load_weights(self._base_arrays, strict=False)

    def fingerprint(self) -> str:
        """Digest of the probe's logits, or of all tensors where logits do not repeat."""
        return fingerprint(self.probe, self._tensors)

    def probe(self) -> bytes:
        """The base's answer to a fixed prompt, bit for bit."""
        import mlx.core as mx

        ids = mx.array(probe_ids(int(self._settings.model.config.get("vocab_size", 256))))
        return bytes(memoryview(self._model(ids[None]).astype(mx.float32)))

    def _tensors(self) -> Iterator[tuple[str, bytes]]:
        import mlx.core as mx
        from mlx.utils import tree_flatten

        for name, array in sorted(tree_flatten(self._model.parameters())):
            yield name, bytes(memoryview(array.reshape(-1).view(mx.uint8)))

"""PEFT adapters on a torch model: loaded beside each other, switched on one at a time.

PEFT warns of tensors that found no place and leaves missing ones random, so a file is held against
what the model expects before anything is loaded. After every adapter the base must answer a probe
with the very same bits as before any was there.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from plugin.adapters.base import base_notes
from plugin.adapters.certificate import Logits
from plugin.adapters.convert import to_peft
from plugin.adapters.fit import Fit, fit, not_placed
from plugin.adapters.layout import AdapterFolder
from plugin.adapters.peft_config import parse
from plugin.engines import EngineSettings
from plugin.engines._proof import (
    Rack,
    last_positions,
    probe_ids,
)
from plugin.errors import AdapterError


class PeftRack(Rack):
    """The base model as it was, and the adapters that it may wear."""

    def __init__(self, model: Any, settings: EngineSettings) -> None:
        """Remember the base as it is now.

        Raises:
            ModelError: when it answers with no numbers.
        """
        self._model = model
        # By reference: PEFT moves them, never copies. Tied ones under each of their names.
        self._base = dict(model.named_parameters(remove_duplicate=False))
        self._peft: Any = None
        self._names: dict[str, str] = {}  # variant -> the adapter's name within PEFT
        super().__init__(settings)

    @contextmanager
    def wearing(self, variant: str) -> Iterator[None]:
        """See `Rack.wearing`."""
        adapter = self._settings.adapters.get(variant)
        if adapter is None:
            with self._bare():
                yield
            return
        if variant not in self._names:
            self._load(adapter, variant)
        self._peft.set_adapter(self._names[variant])
        yield
        self.require_base(variant)

    def logits(self, rows: Sequence[Sequence[int]]) -> list[Logits]:
        """See `Rack.logits`; rows are filled up behind, where a causal model does not look."""
        import torch

        if not rows:
            return []
        width = max(map(len, rows))
        ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows])
        with torch.inference_mode():
            out = self._model(input_ids=ids.to(self._model.device), use_cache=False).logits
        return [
            out[i, last_positions(len(row))].float().cpu().numpy() for i, row in enumerate(rows)
        ]

    @property
    def n_vocabulary(self) -> int:
        """See `Rack.n_vocabulary`."""
        return int(self._model.get_input_embeddings().weight.shape[0])

    @contextmanager
    def _bare(self) -> Iterator[None]:
        if not self._names:
            yield
            return
        with self._peft.disable_adapter():
            yield

    def probe(self) -> bytes:
        """See `Rack.probe`."""
        import torch

        ids = torch.tensor([probe_ids(self.n_vocabulary)], device=self._model.device)
        with self._bare(), torch.inference_mode():
            logits = self._model(input_ids=ids, use_cache=False).logits.float()
        return bytes(logits.cpu().numpy())

    def _tensors(self) -> Iterator[tuple[str, bytes]]:
        import torch

        for name, tensor in self._base.items():
            yield name, bytes(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy())

    def _load(self, adapter: AdapterFolder, variant: str) -> None:
        from safetensors.torch import load_file

        config: Any = self._settings.model.config
        config = config.get("text_config") or config
        with TemporaryDirectory(prefix="finetune-verdict-") as scratch:
            held = to_peft(adapter, int(config.get("num_hidden_layers", 0)), Path(scratch))
            tensors = load_file(held.weights_path)
        name = f"verdict_{len(self._names)}"
        self._refuse_settings(held, adapter.path)
        try:
            self._add(name, held, adapter)
            unused = self._fill(name, tensors, held, adapter)
        except BaseException:
            self._drop(name)
            raise
        self._names[variant] = name
        self._unused[variant] = unused

    def _refuse_settings(self, adapter: AdapterFolder, path: Path) -> None:
        reasons = parse(adapter.config).obstacles()
        if reasons:
            raise AdapterError(
                f"{path} cannot be compared with its base in one load:\n"
                + "\n".join(f"  {reason}" for reason in reasons)
            )

    def _add(self, name: str, held: AdapterFolder, given: AdapterFolder) -> None:
        """Make the places that the adapter's configuration asks for."""
        from peft import LoraConfig, PeftModel

        settings = parse(held.config).settings()
        known = {field.name for field in dataclasses.fields(LoraConfig)}
        unknown = sorted(set(settings) - known)
        if unknown:
            raise AdapterError(
                f"{given.path}: this peft does not know {', '.join(unknown)}; upgrade peft"
            )
        try:
            config = LoraConfig(**{**settings, "inference_mode": True, "lora_dropout": 0.0})
            if self._peft is None:
                self._peft = PeftModel(self._model, config, adapter_name=name)
            else:
                self._peft.add_adapter(name, config)
        except (ValueError, KeyError, AttributeError, TypeError, RuntimeError) as error:
            model_path = self._settings.model.path
            if not self._has_any_module(held):
                nowhere = Fit((), tuple(sorted(given.shapes)), (), ())
                nowhere.require_usable(given, model_path, self._notes(given))
            raise not_placed(given, model_path, str(error), "mlx") from error
        self._model.eval()

    def _has_any_module(self, adapter: AdapterFolder) -> bool:
        modules = {name for name, _ in self._model.named_modules()}
        wanted = (_module_of(name).removeprefix("base_model.model.") for name in adapter.shapes)
        return any(module in modules for module in wanted)

    def _notes(self, adapter: AdapterFolder) -> tuple[str, ...]:
        return base_notes(adapter, self._settings.model, self._settings.model_name)

    def _is_of_base(self, name: str, value: Any) -> bool:
        """PEFT may save the base's own embeddings with an adapter; such copies say nothing."""
        import torch

        plain = name.removeprefix("base_model.model.").replace(".base_layer.", ".")
        own = self._base.get(plain)
        if own is None or own.shape != value.shape:
            return False
        return bool(torch.equal(own, value.to(own.device, own.dtype)))

    def _fill(
        self, name: str, tensors: dict[str, Any], held: AdapterFolder, given: AdapterFolder
    ) -> tuple[str, ...]:
        """Load the tensors as far as they fit; the names of those that do not."""
        from peft import get_peft_model_state_dict, set_peft_model_state_dict

        expected = get_peft_model_state_dict(
            self._peft, adapter_name=name, save_embedding_layers=False
        )
        tensors = {
            key: value
            for key, value in tensors.items()
            if key in expected or not self._is_of_base(key, value)
        }
        here = _as_the_model_has_them(self._peft, name, tensors)
        strays = {key: given.shapes[key] for key in held.unused}
        found = fit(
            strays | {key: tuple(value.shape) for key, value in here.items()},
            {key: tuple(value.shape) for key, value in expected.items()},
            [key for key, value in here.items() if not value.isfinite().all()],
            _module_of,
            self.n_vocabulary,
        )
        found.require_usable(given, self._settings.model.path, self._notes(given))
        lost = set(found.unused)
        kept = {key: value for key, value in tensors.items() if key not in lost}
        left = set_peft_model_state_dict(self._peft, kept, adapter_name=name).unexpected_keys
        if left:
            raise AdapterError(
                f"{given.path}: peft found no place for {', '.join(left)}; save the adapter again"
            )
        return found.unused

    def _drop(self, name: str) -> None:
        """Forget an adapter that could not be loaded."""
        if self._peft is None or name not in self._peft.peft_config:
            return
        self._peft.delete_adapter(name)


def _as_the_model_has_them(peft: Any, name: str, tensors: dict[str, Any]) -> dict[str, Any]:
    """The tensors under the names of this model, where transformers fused modules since."""
    try:
        from peft.utils import transformers_weight_conversion as conversion
    except ImportError:  # before transformers 5 nothing was fused
        return tensors
    found: dict[str, Any] = conversion.convert_peft_adapter_state_dict_for_transformers(
        model=peft,
        peft_config=peft.peft_config[name],
        adapter_state_dict=dict(tensors),
        adapter_name=name,
    )
    return {key.replace(f".{name}.", "."): value for key, value in found.items()}


def _module_of(name: str) -> str:
    """The module that a PEFT tensor belongs to."""
    return re.split(r"\.lora_|\.modules_to_save", name)[0]

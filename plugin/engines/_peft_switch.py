"""Switch PEFT adapters of a base model on torch.

`PeftAdapterSwitch` holds one adapter at a time: many pairs of adapters cannot be loaded together in
PEFT. PEFT only warns about tensors that match no module, and leaves missing ones random. So the
file is compared with what the model expects before anything is loaded. Where it can, the adapter is
then put into copies of the weights (`_peft_merge.py`), and PEFT's layers are taken out again. After
every adapter, the base must answer a probe with exactly the same bits as before.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from plugin.certify.measure import (
    N_POSITIONS,
    RANDOM,
    AdapterSwitch,
    Logits,
    last_positions,
    logit_distance,
    probe_ids,
    require_same_files,
)
from plugin.compare.numbers import format_rough
from plugin.engines import EngineSettings
from plugin.engines._local import pad_rows
from plugin.engines._peft_merge import (
    PEFT_PATH,
    MergedWeight,
    is_close,
    merge_obstacle,
    merged_weights,
)
from plugin.engines._torch import free_torch_memory, is_out_of_memory
from plugin.errors import AdapterError
from plugin.load.adapter import AdapterFolder, parse_peft_config
from plugin.load.convert import PEFT_PREFIX, to_peft
from plugin.load.fit import AdapterFit, base_model_notes, fit_tensors, placement_error

_N_COMPARED = 4
"""Number of probes on which merged copies are compared with PEFT's own layers."""

_NAME = "verdict"
"""The name of the adapter within PEFT."""


class PeftAdapterSwitch(AdapterSwitch):
    """Switch PEFT adapters of a base model on torch; it holds the one that was used last."""

    def __init__(self, model: Any, settings: EngineSettings) -> None:
        """Remember the base as it is now.

        Raises:
            ModelError: when the base answers with NaN or infinity.
        """
        self._model = model
        # References: PEFT moves parameters but never copies them. Tied ones appear under each name.
        self._base = dict(model.named_parameters(remove_duplicate=False))
        self._children = {module: dict(module._modules) for module in model.modules()}
        self._peft: Any = None
        self._held = ""  # the variant whose adapter is in the model, on or off
        self._merged: list[MergedWeight] = []  # the held adapter's, where it is merged
        super().__init__(settings.model, settings.model_name, settings.adapters)

    @contextmanager
    def adapter_on(self, variant: str) -> Iterator[None]:
        """See `AdapterSwitch.adapter_on`."""
        adapter = self.adapters.get(variant)
        if adapter is None:
            with self._bare():
                yield
            return
        if variant != self._held:
            self._take_off()
            self._load(adapter, variant)
        yield
        self.require_base(variant)

    def shuffle(self, seed: int) -> None:
        """See `AdapterSwitch.shuffle`."""
        import torch
        from peft.tuners.lora.layer import LoraLayer

        draw = torch.Generator().manual_seed(seed)

        def mix(weight: Any, axis: int) -> None:
            order = torch.randperm(weight.shape[axis], generator=draw)
            weight.copy_(weight.index_select(axis, order.to(weight.device)))

        with torch.no_grad():
            for module in self._model.modules():
                if isinstance(module, LoraLayer):
                    for part, axis in ((module.lora_A, 1), (module.lora_B, 0)):
                        if _NAME in part:
                            mix(part[_NAME].weight, axis)
                    for other, axis in ((module.lora_embedding_A, 1), (module.lora_embedding_B, 0)):
                        if _NAME in other:
                            mix(other[_NAME], axis)

    def logits(self, rows: Sequence[Sequence[int]], n_positions: int = N_POSITIONS) -> list[Logits]:
        """See `AdapterSwitch.logits`; rows are padded at the end, which a causal model ignores."""
        import torch

        if not rows:
            return []
        ids = torch.tensor(pad_rows(rows))
        with torch.inference_mode():
            out = self._model(input_ids=ids.to(self._model.device), use_cache=False).logits
        return [
            out[i, last_positions(len(row), n_positions)].float().cpu().numpy()
            for i, row in enumerate(rows)
        ]

    @property
    def n_vocabulary(self) -> int:
        """See `AdapterSwitch.n_vocabulary`."""
        return int(self._model.get_input_embeddings().weight.shape[0])

    @contextmanager
    def _bare(self) -> Iterator[None]:
        if not self._held:
            yield
        elif self._merged:
            self._put_back()
            try:
                yield
            finally:
                self._put_in()
        else:
            with self._peft.disable_adapter():
                yield

    def _put_in(self) -> None:
        """Put the merged copies into the places of the base's own modules."""
        for parent, name, module in self._merged:
            parent._modules[name] = module

    def _put_back(self) -> None:
        """Put the base's own modules into their places."""
        for module, children in self._children.items():
            module._modules.clear()
            module._modules.update(children)

    def _take_off(self) -> None:
        """Put the base's own modules back; PEFT's unload would leave whole modules replaced."""
        before, self._held = self._held, ""
        if self._peft is None and not self._merged:
            return
        self._peft, self._merged = None, []
        self._put_back()
        if hasattr(self._model, "peft_config"):
            del self._model.peft_config
        if before != RANDOM:  # a collection takes longer than the random adapter's whole measure
            free_torch_memory()
        if before:
            self.require_base(before)

    def probe(self) -> bytes:
        """See `AdapterSwitch.probe`."""
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

        config: Any = self.folder.config
        config = config.get("text_config") or config
        require_same_files(adapter)
        with TemporaryDirectory(prefix="finetune-verdict-") as scratch:
            held = to_peft(adapter, int(config.get("num_hidden_layers", 0)), Path(scratch))
            tensors = {_full_name(key): one for key, one in load_file(held.weights_path).items()}
        self._refuse_settings(held, adapter.path)
        try:
            self._add(held, adapter)
            in_file = {_full_name(name): name for name in adapter.shapes}
            unused = self._fill(tensors, held, adapter)
            self._unused[variant] = tuple(in_file.get(name, name) for name in unused)
            self.paths[variant] = PEFT_PATH if variant == RANDOM else self._merge()
        except BaseException:
            self._take_off()
            raise
        self._held = variant

    def _merge(self) -> str:
        """Put the loaded adapter into copies of the weights; return how it is applied."""
        obstacle = merge_obstacle(self._model, self._peft, _NAME)
        if not obstacle:
            try:
                merged = merged_weights(self._model, _NAME)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                obstacle = "there was no memory for copies of the weights"
        if obstacle:
            return f"{PEFT_PATH} ({obstacle})"
        rows = self.probe_rows or [probe_ids(self.n_vocabulary)]
        known = self.base_answers.get(tuple(map(tuple, rows)))
        rows = rows[:_N_COMPARED]
        plain = [self.logits([row])[0] for row in rows]
        if known is None:
            with self._peft.disable_adapter():
                alone = [self.logits([row])[0] for row in rows]
                known = alone, logit_distance(alone, self.logits(rows))
        base, noise = known
        peft, modules = self._peft, [parent._modules[name] for parent, name, _ in merged]
        self._merged, self._peft = merged, None
        self._put_in()
        own = [self.logits([row])[0] for row in rows]
        apart, effect = logit_distance(plain, own), logit_distance(base[: len(rows)], plain)
        nats = f"{format_rough(apart.kl, 1)} nats"
        if is_close(apart, effect, noise):
            self._put_back()
            self._put_in()
            if hasattr(self._model, "peft_config"):
                del self._model.peft_config
            return f"in copies of {len(merged)} weights, {nats} from {PEFT_PATH}"
        for (parent, name, _), module in zip(merged, modules, strict=True):
            parent._modules[name] = module
        self._merged, self._peft = [], peft
        free_torch_memory()
        return f"{PEFT_PATH} (copies of the weights would answer {nats} from them)"

    def _refuse_settings(self, adapter: AdapterFolder, path: Path) -> None:
        if reasons := parse_peft_config(adapter.config).obstacles():
            raise AdapterError(
                f"{path} cannot be compared with its base, because both would not be the same in "
                "one loaded model:\n" + "\n".join(f"  {reason}" for reason in reasons)
            )

    def _add(self, held: AdapterFolder, original: AdapterFolder) -> None:
        """Add the modules that the adapter's configuration asks for."""
        from peft import LoraConfig, PeftModel

        settings = parse_peft_config(held.config).settings()
        known = {field.name for field in dataclasses.fields(LoraConfig)}
        if unknown := sorted(set(settings) - known):
            raise AdapterError(
                f"{original.path}: the installed peft does not know the settings "
                f"{', '.join(unknown)}; upgrade peft"
            )
        try:
            config = LoraConfig(**{**settings, "inference_mode": True, "lora_dropout": 0.0})
            self._peft = PeftModel(self._model, config, adapter_name=_NAME)
        except (ValueError, KeyError, AttributeError, TypeError, RuntimeError) as error:
            model_path = self.folder.path
            if not self._has_any_module(held):
                nowhere = AdapterFit((), tuple(sorted(original.shapes)), (), ())
                nowhere.require_usable(original, model_path, self._notes(original))
            raise placement_error(original, model_path, str(error), "mlx") from error
        self._model.eval()

    def _has_any_module(self, adapter: AdapterFolder) -> bool:
        modules = {name for name, _ in self._model.named_modules()}
        wanted = (_module_of(name).removeprefix(PEFT_PREFIX) for name in adapter.shapes)
        return any(module in modules for module in wanted)

    def _notes(self, adapter: AdapterFolder) -> tuple[str, ...]:
        return base_model_notes(adapter, self.folder, self.model_name)

    def _is_of_base(self, name: str, value: Any) -> bool:
        """Return whether a tensor is a copy of the base's own; PEFT may save embeddings too."""
        import torch

        plain = name.removeprefix(PEFT_PREFIX).replace(".base_layer.", ".")
        own = self._base.get(plain)
        if own is None or own.shape != value.shape:
            return False
        return bool(torch.equal(own, value.to(own.device, own.dtype)))

    def _fill(
        self, tensors: dict[str, Any], held: AdapterFolder, original: AdapterFolder
    ) -> tuple[str, ...]:
        """Load the tensors that fit the model; return the names of those that do not."""
        from peft import get_peft_model_state_dict, set_peft_model_state_dict

        expected = get_peft_model_state_dict(
            self._peft, adapter_name=_NAME, save_embedding_layers=False
        )
        tensors = {
            key: value
            for key, value in tensors.items()
            if key in expected or not self._is_of_base(key, value)
        }
        here = _as_model_shapes(self._peft, tensors)
        strays = {key: original.shapes[key] for key in held.unused}
        found = fit_tensors(
            strays | {key: tuple(value.shape) for key, value in here.items()},
            {key: tuple(value.shape) for key, value in expected.items()},
            [key for key, value in here.items() if not value.isfinite().all()],
            _module_of,
            self.n_vocabulary,
        )
        found.require_usable(original, self.folder.path, self._notes(original))
        lost = set(found.unused)
        kept = {key: value for key, value in tensors.items() if key not in lost}
        if left := set_peft_model_state_dict(self._peft, kept, _NAME).unexpected_keys:
            raise AdapterError(
                f"{original.path}: peft cannot load the tensors {', '.join(left)}; save the "
                "adapter again"
            )
        return found.unused


def _as_model_shapes(peft: Any, tensors: dict[str, Any]) -> dict[str, Any]:
    """Rename the tensors to this model's names, because transformers 5 fuses some modules."""
    try:
        from peft.utils import transformers_weight_conversion as conversion
    except ImportError:  # before transformers 5 no modules were fused
        return tensors
    found: dict[str, Any] = conversion.convert_peft_adapter_state_dict_for_transformers(
        model=peft,
        peft_config=peft.peft_config[_NAME],
        adapter_state_dict=dict(tensors),
        adapter_name=_NAME,
    )
    return {key.replace(f".{_NAME}.", "."): value for key, value in found.items()}


def _full_name(name: str) -> str:
    """Return a tensor's name with PEFT's prefix, which some trainers leave out."""
    return name if name.startswith(PEFT_PREFIX) else PEFT_PREFIX + name


def _module_of(name: str) -> str:
    """Return the module that a PEFT tensor belongs to."""
    return re.split(r"\.lora_|\.modules_to_save", name)[0]

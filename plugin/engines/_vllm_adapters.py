"""Switch the adapters of a model in vLLM.

vLLM applies LoRA beside the base's weights, request by request, so nothing is put into the base or
taken out. It ignores tensors of modules that the model lacks, and takes tensors of other shapes
where they fit into its buffers. So an adapter is compared with the model's files first.

vLLM shows no weights and no logits, only log probabilities. These stand for logits here: they
differ from them by one number per position. Of all distances only the largest difference of logits
depends on it.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from plugin.certify.measure import (
    N_POSITIONS,
    RANDOM,
    AdapterSwitch,
    Fingerprint,
    Logits,
    last_positions,
    probe_ids,
    require_same_files,
)
from plugin.certify.weights import write_shuffled
from plugin.engines import EngineSettings
from plugin.engines._vllm_requests import Ask, VllmRequests, greedy
from plugin.errors import AdapterError, one_line
from plugin.load.adapter import AdapterFolder, parse_peft_config
from plugin.load.convert import PEFT_PREFIX, to_peft
from plugin.load.fit import AdapterFit, base_model_notes, fit_tensors, name_in_files
from plugin.load.model import ModelFolder
from plugin.load.tensors import read_tensors

PATH = "by vLLM, beside the base's weights"

_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Largest ranks that vLLM can be told to make room for."""

_LOGITS_AT_ONCE = 16
"""Positions that are asked for side by side: each answer holds the whole vocabulary."""

_IGNORED = ("use_dora", "modules_to_save", "lora_bias", "trainable_token_indices")
_IGNORED_TOO = ("target_parameters", "ensure_weight_tying")
"""Settings of PEFT that vLLM cannot apply."""


class VllmAdapterSwitch(AdapterSwitch):
    """Name the adapter that vLLM applies to the next requests."""

    def __init__(
        self, requests: VllmRequests, settings: EngineSettings, folder: ModelFolder, scratch: Path
    ) -> None:
        """Remember how the base answers now.

        Args:
            requests: run by vLLM.
            settings: the engine's settings.
            folder: the base, whose context is the longest row that vLLM can be asked about.
            scratch: a folder for converted adapters; it must stay while the engine is used.

        Raises:
            ModelError: when the base answers with NaN or infinity.
        """
        self.requests = requests
        self.lora: Any = None
        self._is_packed = "quantization_config" in settings.model.config
        self._scratch, self._shapes = scratch, file_shapes(settings.model)
        self._known: dict[tuple[str, str], Any] = {}  # variant and digest -> LoRARequest
        self._n_loaded = 0
        self._is_exact: bool | None = None
        super().__init__(folder, settings.model_name, settings.adapters)

    @contextmanager
    def adapter_on(self, variant: str) -> Iterator[None]:
        """See `AdapterSwitch.adapter_on`."""
        adapter, before = self.adapters.get(variant), self.lora
        if adapter is None:
            self.lora = None
            try:
                yield
            finally:
                self.lora = before
            return
        self.lora = self._request(variant, adapter)
        try:
            yield
        finally:
            self.lora = before
        self.require_base(variant)

    def shuffle(self, seed: int) -> None:
        """See `AdapterSwitch.shuffle`; vLLM reads adapters from files, so another file is made."""
        source = Path(self.lora.lora_path)
        self._n_loaded += 1
        place = self._scratch / str(self._n_loaded)
        shutil.copytree(source, place)
        for file in place.glob("*.safetensors"):
            write_shuffled(source / file.name, file, seed)
        self.lora = self._load(f"{self._n_loaded}-{RANDOM}", place, source)

    def logits(self, rows: Sequence[Sequence[int]], n_positions: int = N_POSITIONS) -> list[Logits]:
        """Return the log probabilities of the next token at the last positions of these rows.

        The positions of a single row are asked for one by one: steps of the same shape repeat to
        the bit. Those of several rows are asked for side by side.
        """
        return self._logits(rows, n_positions, self.lora)

    @property
    def n_vocabulary(self) -> int:
        """See `AdapterSwitch.n_vocabulary`."""
        return int(self.requests.engine.model_config.get_vocab_size())

    def probe(self) -> bytes:
        """See `AdapterSwitch.probe`."""
        (found,) = self._logits([probe_ids(self.n_vocabulary)], N_POSITIONS, None)
        return found.tobytes()

    def fingerprint(self) -> Fingerprint:
        """Return a digest of the base's answers now.

        Where they do not repeat to the bit, only the likeliest tokens are compared: vLLM gives no
        weights that could be compared instead.
        """
        first = self.probe()
        if self._is_exact is None:
            self._is_exact = self.probe() == first
        if self._is_exact:
            proof = "the same log probabilities, bit for bit; vLLM does not show its weights"
            return Fingerprint(proof, hashlib.sha256(first).hexdigest())
        likeliest = np.frombuffer(first, np.float32).reshape(N_POSITIONS, -1).argmax(-1)
        proof = (
            "the same likeliest tokens; here vLLM does not repeat its numbers to the bit, and does "
            "not show its weights"
        )
        return Fingerprint(proof, hashlib.sha256(likeliest.tobytes()).hexdigest())

    def _tensors(self) -> Iterable[tuple[str, bytes]]:
        """Return nothing: vLLM keeps the weights in a process of its own."""
        return ()

    def _logits(self, rows: Sequence[Sequence[int]], n_positions: int, lora: Any) -> list[Logits]:
        params = greedy(1, logprobs=-1, flat_logprobs=True)
        asks = [
            Ask((i, end), row[: end + 1], params)
            for i, row in enumerate(rows)
            for end in range(*last_positions(len(row), n_positions).indices(len(row)))
        ]
        at_once = 1 if len(rows) == 1 else _LOGITS_AT_ONCE
        found: dict[int, list[Logits]] = {i: [] for i in range(len(rows))}
        answers = self.requests.answers(asks, at_once, lora)
        for ask in asks:
            told = answers[ask.key].outputs[0].logprobs
            own = np.full(self.n_vocabulary, -np.inf, np.float32)
            own[np.array(told.token_ids)] = np.array(told.logprobs, np.float32)
            found[ask.key[0]].append(own)
        return [np.stack(own) for own in found.values()]

    def _request(self, variant: str, adapter: AdapterFolder) -> Any:
        """Return vLLM's `LoRARequest` for an adapter, which vLLM has read.

        Raises:
            AdapterError: when vLLM cannot apply all of it.
        """
        key = variant, adapter.digest
        if key in self._known:
            return self._known[key]
        require_same_files(adapter)
        self._n_loaded += 1
        place = self._scratch / str(self._n_loaded)
        place.mkdir()
        held = converted(adapter, self.folder, place)
        self._unused[variant] = self._fit(held, adapter)
        request = self._load(f"{self._n_loaded}-{variant}", held.root, adapter.path)
        self.paths[variant] = PATH
        if variant != RANDOM:  # a random one's file is gone soon
            self._known[key] = request
        return request

    def _load(self, name: str, place: Path, shown: Path) -> Any:
        """Have vLLM read a folder of PEFT; return its `LoRARequest`.

        Raises:
            AdapterError: when vLLM cannot read it.
        """
        from vllm.lora.request import LoRARequest

        request = LoRARequest(lora_name=name, lora_int_id=self._n_loaded, lora_path=str(place))
        try:
            self.requests.engine.add_lora(request)
        except Exception as error:  # it comes from another process, as a plain Exception
            raise AdapterError(
                f"{shown}: vLLM cannot load this adapter ({one_line(error)}). Use --engine "
                "transformers"
            ) from error
        return request

    def _fit(self, held: AdapterFolder, original: AdapterFolder) -> tuple[str, ...]:
        """Return the original's tensors that match no module.

        Raises:
            AdapterError: when none matches one, or some have a wrong shape or hold NaN.
        """
        lora = parse_peft_config(held.config)
        places: dict[str, tuple[int, ...]] = {}
        for name, shape in held.shapes.items():
            own = name_in_files(_module_of(name), self._shapes)
            if own is not None:
                weight = () if self._is_packed else self._shapes[own]
                places[name] = _place(name, shape, weight, lora.rank_of(_module_of(name)))
        broken = [
            name
            for name, tensor in read_tensors(held.weights_path).items()
            if not np.isfinite(tensor.as_float32()).all()
        ]
        strays = {name: original.shapes[name] for name in held.unused}
        found = fit_tensors(
            {**strays, **held.shapes}, places, broken, _module_of, self.n_vocabulary
        )
        names = {name: _original_name(name, original) for name in held.shapes}
        fit = AdapterFit(
            tuple(names.get(name, name) for name in found.used),
            tuple(names.get(name, name) for name in found.unused),
            found.missing,
            found.problems,
        )
        notes = base_model_notes(original, self.folder, self.model_name)
        fit.require_usable(original, self.folder.path, notes)
        return fit.unused


def converted(adapter: AdapterFolder, model: ModelFolder, place: Path) -> AdapterFolder:
    """Return the adapter as PEFT would save it, if vLLM can apply all of it.

    Args:
        adapter: the user's adapter.
        model: the base model.
        place: an empty folder for a converted one; keep it as long as the adapter is used.

    Raises:
        AdapterError: naming all that vLLM cannot apply, and the engine that can.
    """
    config: Any = model.config.get("text_config") or model.config
    held = to_peft(adapter, int(config.get("num_hidden_layers", 0)), place)
    lora = parse_peft_config(held.config)
    reasons = lora.obstacles()
    reasons += [
        f"{key} {held.config[key]!r}" for key in (*_IGNORED, *_IGNORED_TOO) if held.config.get(key)
    ]
    if (rank := largest_rank(held)) > _RANKS[-1]:
        reasons.append(f"rank {rank}; the largest is {_RANKS[-1]}")
    others = [name for name in held.shapes if not re.search(r"\.lora_[AB]\.weight$", name)]
    if others and not reasons:
        reasons.append(f"tensors that are no LoRA: {', '.join(sorted(others)[:4])}")
    if reasons:
        listed = "\n".join(f"  {reason}" for reason in reasons)
        raise AdapterError(
            f"{adapter.path}: vLLM cannot apply all of this adapter:\n{listed}\nUse --engine "
            "transformers"
        )
    return held


def largest_rank(held: AdapterFolder) -> int:
    """Return the largest rank in a PEFT adapter."""
    lora = parse_peft_config(held.config)
    return max([lora.rank, *(int(one) for one in (held.config.get("rank_pattern") or {}).values())])


def room_for_rank(ranks: Iterable[int]) -> int:
    """Return the smallest rank of those that vLLM can make room for that holds all of these."""
    wanted = max(ranks)
    return next(rank for rank in _RANKS if rank >= wanted)


def file_shapes(model: ModelFolder) -> dict[str, tuple[int, ...]]:
    """Return tensor name -> shape of all tensors in the model's files, without their values."""
    from safetensors import safe_open

    found = {}
    for path in sorted(model.path.glob("*.safetensors")):
        with safe_open(path, framework="numpy") as file:
            for name in file.keys():  # noqa: SIM118 (it is no dict)
                found[name] = tuple(file.get_slice(name).get_shape())
    return found


def _place(
    name: str, shape: tuple[int, ...], weight: tuple[int, ...], rank: int
) -> tuple[int, ...]:
    """Return the shape that half of an adapter must have; its own where the weight is packed."""
    if len(weight) != 2 or len(shape) != 2:
        return shape
    return (rank, weight[1]) if name.endswith(".lora_A.weight") else (weight[0], rank)


def _module_of(name: str) -> str:
    """Return the module of a PEFT tensor, or of one of MLX."""
    return re.split(r"\.lora_", name.removeprefix(PEFT_PREFIX))[0]


def _original_name(name: str, original: AdapterFolder) -> str:
    """Return the name of a converted adapter's tensor in the user's file."""
    if original.kind == "peft":
        return name
    half = "lora_a" if name.endswith(".lora_A.weight") else "lora_b"
    return f"{_module_of(name)}.{half}"

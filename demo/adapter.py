"""Train the LoRA adapter with mlx-lm, only on the questions of the group `trained`."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.facts import TRAINED


@dataclass(frozen=True)
class AdapterSettings:
    """Settings of the adapter training, under the names of `mlx_lm.lora`.

    Attributes:
        seed: Seed of the adapter's initial weights and of the order of the batches.
        num_layers: Number of layers with an adapter, counted from the last.
        rank: Rank of the adapter.
        scale: Factor of B A.
        keys: The matrices of a layer that get an adapter. The query and key matrices stay
            unchanged, so the model still copies names from the question into the answer.
        learning_rate: Learning rate of Adam.
        batch_size: Questions per step.
        iters: Number of training steps.
        max_seq_length: Longest chat in tokens.
    """

    seed: int = 3
    num_layers: int = 4
    rank: int = 16
    scale: float = 4.0
    keys: tuple[str, ...] = ("self_attn.v_proj", "self_attn.o_proj", "mlp.down_proj")
    learning_rate: float = 5e-4
    batch_size: int = 20
    iters: int = 50
    max_seq_length: int = 64


def training_chats() -> list[dict[str, list[dict[str, str]]]]:
    """Return the adapter's training set in mlx-lm's chat format."""
    return [
        {
            "messages": [
                {"role": "user", "content": fact.question},
                {"role": "assistant", "content": fact.answer},
            ]
        }
        for fact in TRAINED
    ]


def train_adapter(
    model_folder: Path, folder: Path, settings: AdapterSettings, report: Callable[[str], None]
) -> None:
    """Train the adapter on the base model, and save it in mlx-lm's layout."""
    import mlx.core as mx
    import numpy as np
    from mlx_lm.tuner.utils import linear_to_lora_layers
    from mlx_lm.utils import load, save_config

    from demo.hostmath import use_host_layers

    np.random.seed(settings.seed)
    mx.random.seed(settings.seed)
    model, tokenizer = load(str(model_folder))[:2]
    use_host_layers(model)
    model.freeze()
    config = _config(settings)
    linear_to_lora_layers(model, settings.num_layers, config["lora_parameters"])
    folder.mkdir(parents=True, exist_ok=True)
    for line in _train(model, tokenizer, settings, folder / "adapters.safetensors"):
        report(line)
    save_config(config, folder / "adapter_config.json")


def _train(model: Any, tokenizer: Any, settings: AdapterSettings, file: Path) -> list[str]:
    """Run mlx-lm's trainer, and return its losses as lines of text.

    Compilation is off because the numpy layers need real values, not traces.
    """
    import mlx.core as mx
    import mlx.optimizers as optim
    from mlx_lm.tuner.callbacks import TrainingCallback
    from mlx_lm.tuner.datasets import CacheDataset, ChatDataset
    from mlx_lm.tuner.trainer import train

    lines: list[str] = []

    class Losses(TrainingCallback):  # type: ignore[misc, unused-ignore]
        def on_train_loss_report(self, train_info: dict[str, Any]) -> None:
            lines.append("adapter step {iteration} loss {train_loss:.3f}".format(**train_info))

    mx.disable_compile()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            train(
                model=model,
                optimizer=optim.Adam(learning_rate=settings.learning_rate),
                train_dataset=CacheDataset(
                    ChatDataset(training_chats(), tokenizer, mask_prompt=True)
                ),
                args=_training_args(settings, file),
                training_callback=Losses(),
            )
    finally:
        mx.enable_compile()
    return lines


def _training_args(settings: AdapterSettings, file: Path) -> Any:
    from mlx_lm.tuner.trainer import TrainingArgs

    return TrainingArgs(
        batch_size=settings.batch_size,
        iters=settings.iters,
        steps_per_save=settings.iters + 1,
        max_seq_length=settings.max_seq_length,
        adapter_file=str(file),
    )


def _config(settings: AdapterSettings) -> dict[str, object]:
    return {
        "model": "demo/model",
        "fine_tune_type": "lora",
        "num_layers": settings.num_layers,
        "lora_parameters": {
            "rank": settings.rank,
            "scale": settings.scale,
            "dropout": 0.0,
            "keys": list(settings.keys),
        },
        "optimizer": "adam",
        "learning_rate": settings.learning_rate,
        "batch_size": settings.batch_size,
        "iters": settings.iters,
        "max_seq_length": settings.max_seq_length,
        "mask_prompt": True,
        "seed": settings.seed,
    }

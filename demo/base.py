"""Train the base model from random weights."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demo.corpus import Chat
from demo.tokens import BOS, END, MAX_POSITIONS, PAD, SPECIAL_TOKENS, write_json

if TYPE_CHECKING:
    import mlx.core as mx
    import mlx.nn as nn


@dataclass(frozen=True)
class ModelShape:
    """Sizes of the Llama model; widths are multiples of 64, as 4-bit weights need."""

    hidden_size: int = 192
    num_hidden_layers: int = 4
    num_attention_heads: int = 6
    num_key_value_heads: int = 2
    intermediate_size: int = 512
    vocab_size: int = 1536
    rms_norm_eps: float = 1e-5
    rope_theta: float = 10_000.0


@dataclass(frozen=True)
class BaseSettings:
    """Settings of the base training.

    Attributes:
        seed: Seed of the initial weights and of the order of the chats.
        batch_size: Chats per step.
        learning_rate: Peak of the learning rate, which warms up and then falls to zero.
        n_warmup_steps: Number of warm-up steps.
        weight_decay: Weight decay of AdamW.
        question_weight: Weight in the loss of a token outside the answer; answer tokens have 1.
        max_tokens: Longest chat that is used, in tokens.
    """

    seed: int = 5
    batch_size: int = 32
    learning_rate: float = 2e-3
    n_warmup_steps: int = 100
    weight_decay: float = 0.05
    question_weight: float = 0.1
    max_tokens: int = 64


Batch = tuple["mx.array", "mx.array", "mx.array"]


def train_base(
    chats: list[Chat],
    shape: ModelShape,
    settings: BaseSettings,
    folder: Path,
    report: Callable[[str], None],
) -> None:
    """Train the base model for one epoch on the chats, and save it next to its tokenizer."""
    import mlx.core as mx
    import mlx.nn as nn
    import mlx.optimizers as optim

    from demo.hostmath import use_host_layers, weighted_cross_entropy

    mx.random.seed(settings.seed)
    model = new_model(shape)
    use_host_layers(model)
    batches = list(_batches(chats, folder, settings))
    optimizer = optim.AdamW(
        learning_rate=_schedule(settings, len(batches)),
        betas=[0.9, 0.98],
        weight_decay=settings.weight_decay,
    )

    def loss_of(inputs: mx.array, targets: mx.array, weights: mx.array) -> mx.array:
        return weighted_cross_entropy(model(inputs), targets, weights)

    loss_and_gradients = nn.value_and_grad(model, loss_of)
    for step, batch in enumerate(batches, 1):
        loss, gradients = loss_and_gradients(*batch)
        gradients, _ = optim.clip_grad_norm(gradients, 1.0)
        optimizer.update(model, gradients)
        mx.eval(model.parameters(), optimizer.state)
        if step % 100 == 0 or step == len(batches):
            report(f"base step {step}/{len(batches)} loss {loss.item():.3f}")
    save_model(model, shape, folder)


def new_model(shape: ModelShape) -> nn.Module:
    """Return a Llama model with small random weights."""
    import mlx.core as mx
    from mlx.utils import tree_map
    from mlx_lm.models.llama import Model, ModelArgs

    model = Model(ModelArgs.from_dict(_config(shape)))
    spread = shape.hidden_size**-0.5

    def fresh(weight: mx.array) -> mx.array:
        return weight if weight.ndim == 1 else mx.random.normal(weight.shape) * spread * 0.5

    model.update(tree_map(fresh, model.parameters()))
    return model


def save_model(model: nn.Module, shape: ModelShape, folder: Path) -> None:
    """Write weights and configuration in the layout of the Hugging Face hub."""
    import mlx.core as mx
    from mlx.utils import tree_flatten

    weights = dict(tree_flatten(model.parameters()))
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "pt"})
    config = _config(shape)
    write_json(folder / "config.json", config)
    token_ids = {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    write_json(folder / "generation_config.json", {**token_ids, "do_sample": False})


def _config(shape: ModelShape) -> dict[str, Any]:
    return {
        **asdict(shape),
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "head_dim": shape.hidden_size // shape.num_attention_heads,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "max_position_embeddings": MAX_POSITIONS,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        "bos_token_id": SPECIAL_TOKENS.index(BOS),
        "eos_token_id": SPECIAL_TOKENS.index(END),
        "pad_token_id": SPECIAL_TOKENS.index(PAD),
    }


def _schedule(settings: BaseSettings, n_steps: int) -> Any:
    import mlx.optimizers as optim

    warmup = optim.linear_schedule(0.0, settings.learning_rate, settings.n_warmup_steps)
    fall = optim.cosine_decay(settings.learning_rate, n_steps - settings.n_warmup_steps)
    return optim.join_schedules([warmup, fall], [settings.n_warmup_steps])


def _encode(
    chats: list[Chat], folder: Path, settings: BaseSettings
) -> list[list[tuple[int, float]]]:
    """Return the tokens of every chat, each with its weight in the loss.

    One padding token follows the end of a chat. mlx-lm's trainer includes that position in its
    loss, and an adapter should not have to learn it.
    """
    from mlx_lm.utils import load_tokenizer

    pad_id = SPECIAL_TOKENS.index(PAD)
    tokenizer = load_tokenizer(folder)
    encoded = []
    for chat in chats:
        token_ids = tokenizer.apply_chat_template(list(chat), return_dict=False)
        prompt = tokenizer.apply_chat_template(
            list(chat[:-1]), add_generation_prompt=True, return_dict=False
        )
        weights = [settings.question_weight] * len(prompt) + [1.0] * (len(token_ids) - len(prompt))
        if len(token_ids) <= settings.max_tokens:
            last = [(pad_id, settings.question_weight)]
            encoded.append(list(zip(token_ids, weights, strict=True)) + last)
    return encoded


def _batches(chats: list[Chat], folder: Path, settings: BaseSettings) -> Iterator[Batch]:
    """Group chats of similar length into padded batches, and yield the batches in random order."""
    import mlx.core as mx

    pad = (SPECIAL_TOKENS.index(PAD), 0.0)
    encoded = sorted(_encode(chats, folder, settings), key=len)
    groups = [
        encoded[start : start + settings.batch_size]
        for start in range(0, len(encoded), settings.batch_size)
    ]
    random.Random(settings.seed).shuffle(groups)
    for group in groups:
        longest = max(len(chat) for chat in group)
        rows = [chat + [pad] * (longest - len(chat)) for chat in group]
        tokens = mx.array([[token for token, _ in row] for row in rows])
        weights = mx.array([[weight for _, weight in row[1:]] for row in rows])
        yield tokens[:, :-1], tokens[:, 1:], weights / weights.sum()

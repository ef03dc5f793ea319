"""Layers that compute in numpy, to train faster on a CPU.

The Linux build of mlx multiplies matrices with the reference BLAS, more than ten times slower than
numpy. These layers hold the same weights and compute the same values as mlx's. They are only
used in training, and the saved files do not depend on them.
"""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np


def _rows(array: mx.array) -> np.ndarray[Any, Any]:
    """View an array as a numpy matrix with the same last axis, without a copy."""
    return np.asarray(array).reshape(-1, array.shape[-1])


def _linear_value(x: mx.array, weight: mx.array) -> mx.array:
    product = _rows(x) @ _rows(weight).T
    return mx.array(product).reshape(*x.shape[:-1], weight.shape[0])


def _linear_gradients(
    primals: tuple[mx.array, mx.array], cotangent: mx.array, _: mx.array
) -> tuple[mx.array, mx.array]:
    x, weight = primals
    gradient = _rows(cotangent)
    to_x = mx.array(gradient @ _rows(weight)).reshape(x.shape)
    return to_x, mx.array(gradient.T @ _rows(x))


def _swiglu_value(gate: mx.array, up: mx.array) -> mx.array:
    a = np.asarray(gate)
    return mx.array(a / (1 + np.exp(-a)) * np.asarray(up))


def _swiglu_gradients(
    primals: tuple[mx.array, mx.array], cotangent: mx.array, _: mx.array
) -> tuple[mx.array, mx.array]:
    a, b, gradient = (np.asarray(array) for array in (primals[0], primals[1], cotangent))
    s = 1 / (1 + np.exp(-a))
    return mx.array(gradient * b * (s * (1 + a * (1 - s)))), mx.array(gradient * a * s)


def _weighted_loss_value(logits: mx.array, targets: mx.array, weights: mx.array) -> mx.array:
    a = np.asarray(logits)
    top = a.max(-1, keepdims=True)
    total = np.log(np.exp(a - top).sum(-1, keepdims=True)) + top
    chosen = np.take_along_axis(a, np.asarray(targets)[..., None], -1)
    return mx.array(((total - chosen)[..., 0] * np.asarray(weights)).sum())


def _weighted_loss_gradients(
    primals: tuple[mx.array, mx.array, mx.array], cotangent: mx.array, _: mx.array
) -> tuple[mx.array, mx.array, mx.array]:
    a, targets = np.asarray(primals[0]), np.asarray(primals[1])[..., None]
    p = np.exp(a - a.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    np.put_along_axis(p, targets, np.take_along_axis(p, targets, -1) - 1, -1)
    p *= np.asarray(primals[2] * cotangent)[..., None]
    return mx.array(p), mx.zeros_like(primals[1]), mx.zeros_like(primals[2])


_linear: Any = mx.custom_function(_linear_value)
_linear.vjp(_linear_gradients)
_swiglu: Any = mx.custom_function(_swiglu_value)
_swiglu.vjp(_swiglu_gradients)
_weighted_loss: Any = mx.custom_function(_weighted_loss_value)
_weighted_loss.vjp(_weighted_loss_gradients)


class HostLinear(nn.Linear):  # type: ignore[misc, unused-ignore]
    """A linear layer without bias, computed by numpy."""

    def __call__(self, x: mx.array) -> mx.array:
        """Multiply by the weight."""
        product: mx.array = _linear(x, self.weight)
        return product


class HostEmbedding(nn.Embedding):  # type: ignore[misc, unused-ignore]
    """An embedding that uses numpy when it serves as the output layer."""

    def as_linear(self, x: mx.array) -> mx.array:
        """Return the logits of the tied output layer."""
        product: mx.array = _linear(x, self.weight)
        return product


def weighted_cross_entropy(logits: mx.array, targets: mx.array, weights: mx.array) -> mx.array:
    """Return the sum of weight times cross-entropy over all positions."""
    loss: mx.array = _weighted_loss(logits, targets, weights)
    return loss


def use_host_layers(model: nn.Module) -> None:
    """Replace the slow layers of a Llama model by their numpy versions, in place."""
    from mlx_lm.models.llama import MLP

    class HostMLP(MLP):  # type: ignore[misc, unused-ignore]
        def __call__(self, x: mx.array) -> mx.array:
            product: mx.array = self.down_proj(_swiglu(self.gate_proj(x), self.up_proj(x)))
            return product

    twins = {nn.Linear: HostLinear, nn.Embedding: HostEmbedding, MLP: HostMLP}
    for _, module in model.named_modules():
        if type(module) in twins:
            module.__class__ = twins[type(module)]

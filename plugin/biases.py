"""Two biases that judges are known for: they like long answers, and those of their own family."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from plugin.intervals import LEVEL
from plugin.trust_records import Family, LengthSlope

MIN_PAIRS = 20
"""Below this many pairs no slope is given."""

_FAMILIES = {
    "claude": r"claude",
    "command": r"command-?(?:r|a|light)|\baya\b",
    "deepseek": r"deepseek",
    "falcon": r"falcon",
    "gemma": r"gemma|gemini",  # Google's two lines of one house
    "glm": r"glm",
    "gpt": r"gpt|\bo[134]\b",
    "granite": r"granite",
    "internlm": r"internlm",
    "kimi": r"kimi|moonshot",
    "llama": r"llama|vicuna|alpaca",
    "mistral": r"mistral|mixtral|ministral|magistral|codestral|devstral",
    "nemotron": r"nemotron",
    "olmo": r"olmo",
    "phi": r"\bphi(?:\d|moe)?\b",
    "qwen": r"qwen|\bqwq\b",
    "smollm": r"smollm",
    "yi": r"\byi\b",
}
"""Family -> what its models' names have in common."""


def length_slope(
    gains: Sequence[float], differences: Sequence[float], metric: str, variant: str
) -> LengthSlope:
    """How gains go along with differences in length.

    Least squares of the gain on tanh(difference / spread), the length term of AlpacaEval 2
    (2404.04475): long differences are bounded, and 0 stays 0, so that the intercept is the gain at
    equal length. The slope is given per answer longer by one spread, which is tanh(1) on that
    scale. Its interval is t's with the sandwich variance HC3 (MacKinnon & White 1985), since gains
    need not scatter alike at all lengths. Cases count singly; clusters are not looked at.

    Args:
        gains: variant minus baseline per case, turned so that more is better.
        differences: length of the variant's answer minus the baseline's, in characters.
        metric: the metric's name.
        variant: the variant's name.

    Raises:
        ValueError: when the two differ in length.
    """
    if len(gains) != len(differences):
        raise ValueError(f"{len(gains)} gains but {len(differences)} differences in length")
    n, spread = len(gains), float(np.std(differences)) if len(differences) else 0.0
    nothing = LengthSlope(metric, variant, n, None, None, None, None, None, "")
    if n < MIN_PAIRS:
        return _because(nothing, f"no slope below {MIN_PAIRS} pairs, got {n}")
    if not spread > 0:
        return _because(nothing, "no slope: all answers differ by the same length")
    if not np.ptp(gains) > 0:
        return _because(nothing, "no slope: all gains are the same")
    x = np.column_stack((np.ones(n), np.tanh(np.asarray(differences, dtype=float) / spread)))
    bread = np.linalg.pinv(x.T @ x)
    intercept, slope = bread @ x.T @ np.asarray(gains, dtype=float)
    leverage = np.einsum("ij,jk,ik->i", x, bread, x)
    if leverage.max() > 1 - 1e-9:
        return _because(nothing, "no slope: a single pair differs in length")
    residuals = (np.asarray(gains, dtype=float) - x @ (intercept, slope)) / (1 - leverage)
    variance = float((bread @ (x.T * residuals**2) @ x @ bread)[1, 1])
    half = _t(n - 2) * math.sqrt(max(0.0, variance))
    return LengthSlope(
        metric=metric,
        variant=variant,
        n=n,
        spread=spread,
        slope=float(slope) * math.tanh(1),
        ci_low=float(slope - half) * math.tanh(1),
        ci_high=float(slope + half) * math.tanh(1),
        at_equal_length=float(intercept),
        method="least squares on tanh(difference in length / spread), HC3",
    )


def family_of(judge: str, model: str, model_type: str = "") -> Family:
    """The families of judge and model under test, as far as names tell.

    Many models borrow Llama's architecture without being Llamas, so the architecture is asked only
    where the model's own name says nothing.

    Args:
        judge: its label, such as "openai:gpt-4o".
        model: hub id or directory.
        model_type: the architecture that the model's configuration names.
    """
    last_part = model.rstrip("/").rpartition("/")[2]
    of_judge = _families(judge.partition(":")[2] or judge)
    of_model = _families(last_part) or _families(model_type)
    shared = tuple(name for name in of_judge if name in of_model)
    return Family(of_judge, of_model, shared)


def _families(name: str) -> tuple[str, ...]:
    text = re.sub(r"[_/.:]", "-", name.casefold())
    return tuple(family for family, marks in _FAMILIES.items() if re.search(marks, text))


def _because(nothing: LengthSlope, why: str) -> LengthSlope:
    return replace(nothing, method=why)


def _t(df: int) -> float:
    """Quantile of Student's t for the two-sided level."""
    from scipy.special import stdtrit

    return float(stdtrit(df, (1 + LEVEL) / 2))

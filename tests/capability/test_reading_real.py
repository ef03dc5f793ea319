"""Texts read by the real engines: the same likelihoods as their own, and distances that fit."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from demo import FOLDER
from plugin import engines
from plugin.capability.divergence import NextTokens, divergence
from plugin.capability.reading import LogitsEngine, read_texts
from plugin.capability.texts import likelihood_texts
from plugin.engines import EngineSettings
from plugin.journal import Journal
from plugin.load.adapter import inspect_adapter
from plugin.load.model import inspect_model
from plugin.records import Variant
from plugin.worker import Progress

VARIANTS = [Variant("vanilla", "a", "m"), Variant("tuned", "b", "m"), Variant("copy", "a", "m")]
TEXTS = likelihood_texts("quick")[:3]


@pytest.fixture(params=["mlx", "transformers"])
def engine(request) -> Iterator[Any]:
    if request.param == "transformers" and importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed here")
    adapters = {"tuned": inspect_adapter(FOLDER / "adapter")}
    settings = EngineSettings(inspect_model(FOLDER / "model"), "demo", adapters, 8, 4, True)
    with closing(engines.load(request.param, settings)) as loaded:
        yield loaded


def test_likelihoods_are_the_engines_own(engine, tmp_path: Path):
    assert isinstance(engine, LogitsEngine)
    with closing(Journal(tmp_path)) as journal:
        read_texts(TEXTS, VARIANTS, engine, journal, Progress(), "vanilla")
        found = {(one.text_id, one.variant): one for one in journal.text_readings()}
    plain = engine.plain_text
    for text in TEXTS:
        whole = plain.encode(text.prompt + text.continuation)
        n = found[text.id, "vanilla"].n_tokens
        pairs = [(whole[: len(plain.encode(text.prompt))], whole[-n:])]
        if len(pairs[0][0]) + n != len(whole):
            continue  # cut off, or cut within a token
        for name in ("vanilla", "tuned"):
            (wanted,) = engine.loglikelihoods(name, pairs)
            assert found[text.id, name].loglikelihood == pytest.approx(wanted, rel=1e-4)
    for one in found.values():
        if one.variant == "copy":
            assert one.divergence == pytest.approx(0.0, abs=1e-5)
        if one.variant == "tuned":
            assert one.divergence is not None and one.divergence > 0.1


def test_next_tokens_survive_as_text_and_bad_text_is_refused():
    import numpy as np

    logits = np.random.default_rng(0).normal(size=(4, 200)).astype(np.float32)
    kept = NextTokens.load(NextTokens.of(logits).dump())
    assert kept.ids.shape == (4, 64) and divergence(kept, logits) == pytest.approx(0, abs=1e-6)
    assert divergence(kept, logits[:, :100]) is None  # fewer tokens
    assert divergence(kept, logits[:3]) is None
    for bad in ("AAAA", "not base64!", NextTokens.of(logits).dump()[:-8]):
        with pytest.raises(ValueError):
            NextTokens.load(bad)


def test_the_divergence_is_the_whole_one_where_all_tokens_are_told_apart():
    import numpy as np

    rng = np.random.default_rng(1)
    base, own = (rng.normal(size=(5, 30)) for _ in range(2))
    p, q = (np.exp(x) / np.exp(x).sum(axis=1, keepdims=True) for x in (base, own))
    wanted = float((p * np.log(p / q)).sum(axis=1).mean())
    assert divergence(NextTokens.of(base), own) == pytest.approx(wanted, rel=1e-4)
    wide = [np.hstack([x, rng.normal(size=(5, 200)) - 3]) for x in (base, own)]
    p, q = (np.exp(x) / np.exp(x).sum(axis=1, keepdims=True) for x in wide)
    whole = float((p * np.log(p / q)).sum(axis=1).mean())
    found = divergence(NextTokens.of(wide[0]), wide[1])
    assert found is not None and 0.7 * whole < found <= whole


def test_a_short_context_reads_what_fits(engine, tmp_path: Path):
    model = engine._settings.model
    short = replace(model, config={**model.config, "max_position_embeddings": 40})
    engine._settings = replace(engine._settings, model=short)
    with closing(Journal(tmp_path)) as journal:
        read_texts(TEXTS, VARIANTS[:1], engine, journal, Progress(), "vanilla")
        found = journal.text_readings()
    assert all(0 < one.n_tokens < 40 and one.loglikelihood is not None for one in found)

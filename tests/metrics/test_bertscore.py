"""BERTScore with a tiny random model: the rules are checked, not how good a real model is."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from plugin.errors import OptionError
from plugin.metrics.entry import TaskSettings
from tests.metrics.task_samples import score_text

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from plugin.metrics.bertscore import Embedder  # noqa: E402

WORDS = "the cat sat on a mat dog ran home yes no".split()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a random BERT of two layers with a tokenizer of a few words."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    folder = tmp_path_factory.mktemp("bert")
    vocabulary = {word: n for n, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=64,
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    transformers.BertModel(config).save_pretrained(folder)
    return folder


def by_the_paper(model: Any, tokenizer: Any, texts: tuple[str, str], layer: int) -> float:
    """F1 of the paper's formulas, token by token; as in the authors' code special tokens may be
    matched and do not count."""
    vectors, counted = [], []
    for text in texts:
        ids = tokenizer(text)["input_ids"]
        with torch.inference_mode():
            out = model(torch.tensor([ids]), output_hidden_states=True)
        vectors.append(out.hidden_states[layer][0].double())
        counted.append([i for i, number in enumerate(ids) if number not in (2, 3)])

    def side(a: int, b: int) -> float:
        best = [
            max(float(torch.cosine_similarity(vectors[a][i], other, dim=0)) for other in vectors[b])
            for i in counted[a]
        ]
        return sum(best) / len(best)

    precision, recall = side(0, 1), side(1, 0)
    return 2 * precision * recall / (precision + recall)


@pytest.mark.parametrize("layer", [1, 2])
def test_it_follows_the_paper_on_random_pairs(model: Path, layer: int) -> None:
    embedder = Embedder(f"{model}@{layer}")
    whole = transformers.AutoModel.from_pretrained(model).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    draw = random.Random(0)
    for _ in range(40):
        texts = [" ".join(draw.choices(WORDS, k=draw.randint(1, 8))) for _ in range(2)]
        theirs = by_the_paper(whole, tokenizer, (texts[0], texts[1]), layer)
        assert embedder.f1(*texts) == pytest.approx(max(theirs, 0), abs=1e-5)
        assert embedder.f1(texts[0], texts[0]) == pytest.approx(1, abs=1e-5)


def test_a_metric_with_the_users_model(model: Path) -> None:
    settings = TaskSettings(bertscore_model=str(model))
    same = score_text("BERTScore", "the cat sat", "the cat sat", settings)
    other = score_text("BERTScore", "dog ran home", "the cat sat", settings)
    long = score_text("BERTScore", "the cat " * 20_000, "the cat sat", settings)
    assert 0 <= other.value < same.value <= 1 and 0 <= long.value < 1
    assert score_text("BERTScore", "\u200b", "the cat", settings).value >= 0


def test_a_model_that_cannot_be_used_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="there is no layer 3; choose 1 to 2"):
        Embedder(f"{model}@3")
    for name in (str(tmp_path), f"{model}@x"):
        with pytest.raises(OptionError, match="--bertscore_model .* cannot be loaded"):
            Embedder(name)

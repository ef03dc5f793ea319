"""BERTScore: how close the words of completion and expected output are in meaning, as F1.

Zhang et al. 2020, "BERTScore: Evaluating Text Generation with BERT". A language model turns every
token of both texts into a vector; each token is matched with the most similar one of the other
text. This is the score without weights for rare words (idf) and without rescaling, as the authors'
library gives it by default; negative values count as 0.

The user names the model, because it is downloaded if it is no folder: roberta-large (English,
1.4 GB) is the authors' default for English, bert-base-multilingual-cased (0.7 GB) for other
languages. Its layer is the one that the authors found best; for other models say it as MODEL@LAYER,
else the last one is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from plugin.errors import OptionError
from plugin.metrics import Ask, Measure, Measured
from plugin.metrics.entry import TaskSettings
from plugin.records import Case

BEST_LAYER = {
    "bert-base-uncased": 9,
    "bert-large-uncased": 18,
    "bert-base-cased-finetuned-mrpc": 9,
    "bert-base-multilingual-cased": 9,
    "bert-base-chinese": 8,
    "distilbert-base-uncased": 5,
    "roberta-base": 10,
    "roberta-large": 17,
    "roberta-large-mnli": 19,
    "xlm-roberta-base": 9,
    "xlm-roberta-large": 17,
    "microsoft/deberta-xlarge-mnli": 40,
    "microsoft/deberta-base-mnli": 9,
}
"""Model -> the layer whose scores are closest to human ones, from the authors' library."""

_MOST_TOKENS = 512


class Embedder:
    """Turn texts into a unit vector per token."""

    def __init__(self, named: str) -> None:
        """Load the model.

        Raises:
            OptionError: when it cannot be loaded, or has no such layer.
        """
        from transformers import AutoConfig, AutoModel, AutoTokenizer

        name, _, layer = named.partition("@")
        try:
            config = AutoConfig.from_pretrained(name)
            n_layers = int(config.num_hidden_layers)
            chosen = int(layer) if layer else BEST_LAYER.get(name, n_layers)
        except (OSError, ValueError, AttributeError) as error:
            raise OptionError(f"--bertscore_model {named!r} cannot be loaded: {error}") from error
        if not 1 <= chosen <= n_layers:
            raise OptionError(
                f"--bertscore_model {named!r}: there is no layer {chosen}; choose 1 to {n_layers}"
            )
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(name)
            self._model: Any = AutoModel.from_pretrained(name, num_hidden_layers=chosen).eval()
        except (OSError, ValueError) as error:
            raise OptionError(f"--bertscore_model {named!r} cannot be loaded: {error}") from error
        self.layer = chosen

    def embed(self, text: str) -> tuple[Any, Any]:
        """Return the tokens' vectors (n, width), and which tokens count (n)."""
        import torch

        room = min(_MOST_TOKENS, int(self._tokenizer.model_max_length))
        ids = self._tokenizer(text.strip(), truncation=True, max_length=room)["input_ids"]
        with torch.inference_mode():
            hidden = self._model(torch.tensor([ids])).last_hidden_state[0].float()
        marks = {self._tokenizer.cls_token_id, self._tokenizer.sep_token_id}
        counted = torch.tensor([number not in marks for number in ids])
        return hidden / hidden.norm(dim=-1, keepdim=True), counted

    def f1(self, text: str, wanted: str) -> float:
        """Return the F1 of two texts; 0 for a text without tokens."""
        (ours, ours_counted), (theirs, theirs_counted) = self.embed(text), self.embed(wanted)
        if not (ours_counted.any() and theirs_counted.any()):
            return 0.0
        alike = ours @ theirs.T
        precision = float(alike.max(dim=1).values[ours_counted].mean())
        recall = float(alike.max(dim=0).values[theirs_counted].mean())
        if precision + recall <= 0:
            return 0.0
        return min(max(2 * precision * recall / (precision + recall), 0.0), 1.0)


def bertscore(settings: TaskSettings, cases: Sequence[Case]) -> Measure:
    """See `MetricEntry.setup`; raises what `Embedder` raises."""
    return partial(_measure, Embedder(settings.bertscore_model))


async def _measure(embedder: Embedder, case: Case, completion: str, ask: Ask) -> Measured:
    return Measured(max(embedder.f1(completion, wanted) for wanted in case.right_answers))

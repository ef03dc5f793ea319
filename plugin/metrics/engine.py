"""Score what only the engine measures: speed, length, cut-off completions, and likelihood.

- Latency: seconds from the start of a case in its batch to its last token.
- Tokens per Second: the completion's tokens divided by these seconds. The seconds include reading
  the prompt; the count excludes the end-of-text token. A completion without tokens is a failure,
  because a rate of zero would lower the mean without saying anything about speed.
- Completion Tokens: number of tokens without the end-of-text token. Fewer tokens count as a gain,
  because tokens cost time and money; the metric never decides.
- Cut Off: 1 if the completion was cut off at max_tokens or at the end of the context, else 0.
- Perplexity: the negative mean log probability of the expected output's tokens after the case's
  prompt, each token given all tokens before it (teacher forcing). The program shows and compares
  nats per token. Perplexity itself is exp of that, but a few bad cases would dominate a mean of
  exp. The token that ends the answer is counted, so a model that learned where to stop gains by
  it. All variants need the same tokenizer, because two tokenizers count tokens differently.
"""

from __future__ import annotations

from plugin.metrics import Measured
from plugin.records import Completion, NoResult


def latency(completion: Completion) -> Measured | NoResult:
    """See `plugin.metrics.Describe`."""
    if completion.seconds is None:
        return NoResult("its seconds were not measured")
    return Measured(completion.seconds)


def tokens_per_second(completion: Completion) -> Measured | NoResult:
    """See `plugin.metrics.Describe`."""
    if completion.seconds is None or completion.n_tokens is None:
        return NoResult("its seconds or tokens were not measured")
    if not (completion.n_tokens and completion.seconds > 0):
        return NoResult("the completion has no tokens, so there is no rate")
    return Measured(completion.n_tokens / completion.seconds)


def completion_tokens(completion: Completion) -> Measured | NoResult:
    """See `plugin.metrics.Describe`."""
    if completion.n_tokens is None:
        return NoResult("its tokens were not counted")
    return Measured(float(completion.n_tokens))


def cut_off(completion: Completion) -> Measured | NoResult:
    """See `plugin.metrics.Describe`."""
    if completion.finish_reason is None:
        return NoResult("its finish reason was not reported")
    return Measured(float(completion.finish_reason == "length"))


_ROUNDING = 1e-3


def perplexity(loglikelihood: float, n_tokens: int) -> Measured:
    """See `plugin.metrics.FromLoglikelihood`."""
    nats = -loglikelihood / n_tokens
    if -_ROUNDING < nats < 0:  # rounding can lift the probability of a sure token above 1
        nats = 0.0
    return Measured(nats, f"over {n_tokens} tokens of the expected output, its end included")

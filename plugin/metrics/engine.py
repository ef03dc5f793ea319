"""Score what only the engine knows: how fast, how long, cut off or not, and how likely.

- Latency: seconds from a case's start in its batch to its last token.
- Tokens per Second: the completion's tokens by these seconds. Reading the prompt is in the seconds,
  the token that ends the text is not in the count. Without a token there is no rate, and so a
  failure: a zero would lower the mean and say nothing of speed.
- Completion Tokens: without the token that ends the text. Fewer counts as the gain because tokens
  cost time and money; the metric never decides.
- Cut Off: 1 where the completion was cut off at max_tokens or the context's end, else 0.
- Perplexity: minus the mean log probability of the expected output's tokens, read after the case's
  prompt, each with all before it given (teacher-forced). Shown and compared are nats per token; the
  perplexity itself is exp of that, and the few worst cases would rule a mean of exp. The end of the
  text is not counted. All variants need one tokenizer: two count tokens differently.
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
        return NoResult("no token was made, so there is no rate")
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
    if -_ROUNDING < nats < 0:  # a certain token may come out a little above probability 1
        nats = 0.0
    return Measured(nats, f"over {n_tokens} tokens of the expected output")

"""Read why a server refused a request, or why a model gave no answer.

A judge reserves room for a long answer. A server whose model has a short context, or a low limit on
answers, refuses that room although a shorter answer would do. Every server has words of its own for
it; `refuses_room` knows them. `why_no_answer` names answers that are none: a model that declined,
a content filter, a call of a tool.
"""

from __future__ import annotations

import re
from typing import Any

from plugin.errors import CallError
from plugin.keys import SecretMask
from plugin.net import Meaning, get_path, status_meaning, text_at

FEWEST_TOKENS = 128
"""The smallest room for an answer that is asked for: few answers of a judge are shorter."""

_LIMIT_NAMES = re.compile(
    r"max_?(completion_?|new_?|output_?)?tokens|num_predict|n_predict"
    r"|max(imum)?( number of)?( completion| new| output)? tokens|(completion|output) tokens"
    r"|tokens per min",
    re.IGNORECASE,
)
"""Names of the limit on an answer's tokens, and of limits that the reserved tokens count for."""

_TOO_LARGE = re.compile(
    r"too (large|high|big|many)|exceed|less than|at most|maximum|larger|greater|above|between|range"
    r"|reduce|decrease|lower|<=|>",
    re.IGNORECASE,
)
_OTHER_REASON = re.compile(
    r"unsupported|not supported|unrecogni[sz]ed|unknown|deprecated|not permitted"
    r"|\buse\b.{,40}\binstead|must be at least|below minimum",
    re.IGNORECASE,
)
"""Words about an option that is not taken at all, or about a value that is too small."""

_TOO_LARGE_AT_ONCE = re.compile("request too large", re.IGNORECASE)
"""What OpenAI says with the status 429 about one request that is larger than a minute's share."""


def refuses_room(error: CallError, n_tokens: int) -> bool:
    """Return whether the server refused a request because of the room for its answer.

    Such a refusal names the limit of an answer's tokens, or quotes their number (the sum of prompt
    and answer does not fit). A prompt that is too long by itself is another refusal.

    Args:
        error: the failed call.
        n_tokens: the token limit of the answer that the request had.
    """
    message = str(error)
    if status_meaning(error.status) is not Meaning.REFUSED:
        return bool(_TOO_LARGE_AT_ONCE.search(message))
    if _OTHER_REASON.search(message):
        return False
    quoted = str(n_tokens) in re.findall(r"\d+", message.replace(",", ""))
    named = bool(_LIMIT_NAMES.search(message))
    return (quoted or named) and bool(_TOO_LARGE.search(message))


_FILTER_WORDS = ("content_filter", "content filter", "content management policy", "responsibleai")


def is_filtered(error: CallError) -> bool:
    """Return whether the server refused the question because of its content."""
    message = str(error).casefold()
    refused = status_meaning(error.status) is Meaning.REFUSED
    return refused and any(words in message for words in _FILTER_WORDS)


_LONGEST_QUOTE = 300


def why_no_answer(message: Any, ended: Any, text: str, mask: SecretMask) -> str:
    """Return why a message in OpenAI's or Ollama's form holds no answer; "" if it may hold one.

    Args:
        message: the message as it came.
        ended: the reason that the server gives for the end of it.
        text: the text of the message.
        mask: hides the secrets of this server.
    """
    if ended == "content_filter":
        return "the server's content filter stopped the answer (finish_reason content_filter)"
    if text.strip():
        return ""
    if refusal := text_at(get_path(message, "refusal")):
        said = mask(" ".join(refusal.split()))[:_LONGEST_QUOTE]
        return f"the model declined to answer: {said}"
    called = get_path(message, "tool_calls", 0, "function") or get_path(message, "function_call")
    if called or ended in ("tool_calls", "function_call"):
        name = mask(text_at(get_path(called, "name")))[:_LONGEST_QUOTE]
        return f"the model called a tool{f' ({name})' if name else ''} instead of answering"
    return ""

"""The rows of `METRICS` for conversations of several turns."""

from __future__ import annotations

from plugin.metrics.entry import MetricEntry
from plugin.records import MetricSpec

_WHOLE = frozenset({"ends_conversation"})
_CONTEXT = frozenset({"context"})
_ROLE = frozenset({"role"})


def _whole(
    name: str,
    n_questions: int,
    per_turn: int,
    needs: frozenset[str] = frozenset(),
    caveat: str = "",
    asks_reason: bool = True,
) -> MetricSpec:
    """Return the properties of a metric from 0 to 1 that scores a whole conversation.

    Args:
        name: as shown.
        n_questions: what a conversation costs, however long it is.
        per_turn: what each user turn adds.
        needs: what it needs besides.
        caveat: what must be said where it is shown.
        asks_reason: whether the reason of a score is a question of its own.
    """
    return MetricSpec(
        key="_".join(name.lower().split()),
        name=name,
        higher_is_better=True,
        needs=_WHOLE | needs,
        n_questions=n_questions,
        n_questions_per_turn=per_turn,
        reads_conversation=True,
        asks_reason=asks_reason,
        caveat=caveat,
    )


CONVERSATION_METRICS = (
    MetricEntry(
        MetricSpec(
            key="turn_rating",
            name="Turn Rating",
            higher_is_better=True,
            low=1.0,
            high=10.0,
            margin=0.5,
            margin_unit=10.0,
            reads_conversation=True,
        ),
        measure="turn_rating:turn_rating",
        question="How well does the answer serve the user at this point of the conversation?",
    ),
    MetricEntry(_whole("Turn Relevancy", 0, 1), measure="conversation:turn_relevancy"),
    MetricEntry(
        _whole(
            *("Knowledge Retention", 0, 2),
            caveat="a conversation in which the user tells nothing to remember gets 1",
        ),
        measure="conversation:knowledge_retention",
    ),
    MetricEntry(
        _whole("Conversation Completeness", 1, 1),
        measure="conversation:conversation_completeness",
    ),
    MetricEntry(_whole("Role Adherence", 1, 0, _ROLE), measure="conversation:role_adherence"),
    MetricEntry(
        _whole("Turn Faithfulness", 0, 3, _CONTEXT, asks_reason=False),
        measure="conversation:turn_faithfulness",
    ),
)

"""What stands in a judge's place when no metric asks one; not a kind that can be chosen."""

from __future__ import annotations

from pydantic import BaseModel

from plugin.errors import JudgeError
from plugin.judges import Answer


class NoJudge:
    """See `plugin.judges.Judge`."""

    label = "no judge"
    caveat = ""
    identity = "none"
    structured = False

    async def ask(self, prompt: str, schema: type[BaseModel], room: int = 1) -> Answer:
        """Refuse.

        Raises:
            JudgeError: always.
        """
        raise JudgeError("a metric that declares not to ask a judge asked one; report this fault")

    async def close(self) -> None:
        """Nothing to release."""

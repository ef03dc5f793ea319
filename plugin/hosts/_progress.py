"""A run's stages as one percentage, for hosts that show nothing else."""

from __future__ import annotations

from plugin.worker import Progress

_SHARES = {
    "load model": (0, 5),
    "generate": (5, 50),
    "score": (50, 95),
    "compare and draw": (95, 99),
}
"""Stage -> from where to where it moves the job's progress, in percent."""


def percent(progress: Progress) -> int:
    """The job's progress, 0 to 99."""
    begin, end = _SHARES.get(progress.stage, (0, 0))
    share = progress.done / progress.total if progress.total else 0.0
    return round(begin + (end - begin) * share)

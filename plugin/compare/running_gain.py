"""Follow the mean gain of a run while it is judged, for the progress line."""

from __future__ import annotations

from plugin.records import EVEN, MetricSpec, Preference, Score


class RunningGain:
    """Follow the mean gain of one variant over another on one metric, pair by pair."""

    def __init__(self, spec: MetricSpec, base: str, variant: str) -> None:
        """Begin without a pair.

        Args:
            spec: the metric, which says which direction is better.
            base: name of the variant that gains are relative to.
            variant: name of the variant that gains.
        """
        self._spec, self._base, self._variant = spec, base, variant
        self._half = dict[str, Score]()
        self._total, self._n = 0.0, 0

    def note(self, result: Score | Preference) -> float | None:
        """Take a result in; return the mean gain so far, None before the first pair.

        Results of other metrics and variants change nothing.
        """
        if result.metric in (self._spec.key, self._spec.name):
            if isinstance(result, Preference):
                self._note_preference(result)
            else:
                self._note_score(result)
        return self._total / self._n if self._n else None

    def _note_preference(self, preference: Preference) -> None:
        if (preference.baseline, preference.variant) == (self._base, self._variant):
            self._add(self._spec.gain(preference.value, EVEN))

    def _note_score(self, score: Score) -> None:
        if score.variant not in (self._base, self._variant):
            return
        other = self._half.pop(score.case_id, None)
        if other is None:
            self._half[score.case_id] = score
            return
        own, base = (score, other) if score.variant == self._variant else (other, score)
        self._add(self._spec.gain(own.value, base.value))

    def _add(self, gain: float) -> None:
        self._total += gain
        self._n += 1

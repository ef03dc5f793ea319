"""The options of sampling: how many completions a case gets, at which temperature."""

from __future__ import annotations

from collections.abc import Sequence

from plugin.engines import ENGINES
from plugin.errors import OptionError
from plugin.plan.options import NOT_CLASSIC, Option, option
from plugin.plan.params_load import LoadParams
from plugin.records import Case, MetricSpec
from plugin.sampling import MAX_SAMPLES, MAX_TEMPERATURE, Sampling

MAX_REPEATS = 20
"""Largest number of times that a judge is asked about one completion."""


class SamplingParams(LoadParams):
    """Declare the options of sampling."""

    samples: int = option(
        1,
        "Samples of each case",
        "Completions of each case and variant, drawn at --temperature with the same seeds for all "
        "variants; a case's score is the mean of its samples. Judging takes so many times the "
        f"calls, so {MAX_SAMPLES} at most. With --recorded: how many completions each list holds.",
        Option("advanced", value="K", hosts=NOT_CLASSIC),
        ge=1,
        le=MAX_SAMPLES,
    )
    temperature: float = option(
        0.0,
        "Temperature",
        "How freely tokens are drawn, for all variants alike, as your model will be used: 0 always "
        "takes the most likely token; at 1 the model's own probabilities count.",
        Option("advanced", value="T", hosts=NOT_CLASSIC),
        ge=0,
        le=MAX_TEMPERATURE,
        allow_inf_nan=False,
    )
    judge_repeats: int = option(
        1,
        "Judge repeats",
        "How many times the judge is asked about each completion; the mean counts, and the report "
        "says how much of the uncertainty is the judge's. Judging takes so many times the calls.",
        Option("judge", value="R", hosts=NOT_CLASSIC),
        ge=1,
        le=MAX_REPEATS,
    )

    @property
    def sampling(self) -> Sampling:
        """Return how completions are drawn."""
        return Sampling(self.samples, self.temperature, self.seed)  # type: ignore[attr-defined]

    def require_sampling(self, *, is_recorded: bool) -> None:
        """Check that samples can differ, and that there is something to draw from.

        Raises:
            OptionError: when not.
        """
        if is_recorded and self.temperature:
            raise OptionError(
                f"--temperature {self.temperature:g}: recorded completions were made elsewhere, at "
                "a temperature of their own; leave it out. --samples reads several completions of "
                "a case from a list"
            )
        if is_recorded and self.samples > 1 and self.rival:
            raise OptionError(
                f"--samples {self.samples} with --recorded and --rival: the rival's answers would "
                "be drawn here, at no temperature. Record its answers, too, or leave one out"
            )
        if self.samples > 1 and not (self.temperature or is_recorded):
            raise OptionError(
                f"--samples {self.samples} with --temperature 0: all samples of a case would be "
                "the same completion. Add the temperature at which your model will be used, such "
                "as --temperature 0.7, or leave --samples out"
            )

    def require_real_judge(self, is_offline: bool) -> None:
        """Check that a judge that is asked again may answer otherwise.

        Raises:
            OptionError: when no judge is asked, or only the offline one.
        """
        if self.judge_repeats > 1 and is_offline:
            raise OptionError(
                f"--judge_repeats {self.judge_repeats}: no judge is asked, or only the offline "
                "one, which always says the same. Leave it out, or ask a real judge with --judge"
            )

    def require_samples(
        self, specs: Sequence[MetricSpec], cases: Sequence[Case], is_offline: bool
    ) -> None:
        """Check that metrics that compare the samples of a case can do so.

        Raises:
            OptionError: when cases have one sample, or all have a context; when the judge cannot.
        """
        name = next((spec.name for spec in specs if spec.compares_samples), "")
        if not name:
            return
        why = ""
        if self.samples < 2:
            why = "compares several samples of a case; add --samples 3 --temperature 0.7"
        elif is_offline:
            why = "needs a judge that understands answers; the offline one only counts words"
        elif all(case.context for case in cases):
            why = (
                "is for cases without context, and all of these have one; use Hallucination or "
                "Faithfulness"
            )
        if why:
            raise OptionError(f"{name} {why}, or leave {name} out")


def require_drawing_engine(temperature: float, engine: str) -> None:
    """Check that the engine can draw completions at a temperature above 0.

    Raises:
        OptionError: when it cannot, naming those that can.
    """
    if temperature and not ENGINES[engine].draws:
        able = ", ".join(name for name, entry in ENGINES.items() if entry.draws)
        raise OptionError(
            f"--temperature {temperature:g}: engine {engine!r} always takes the most likely token. "
            f"Leave --temperature and --samples out, or choose an engine that draws: {able}"
        )

"""Read how completions are to be compared, and check that the run can do it."""

from __future__ import annotations

from collections.abc import Sequence

from plugin.errors import OptionError
from plugin.judges import Judge, NoJudge
from plugin.metrics import PREFERENCE
from plugin.metrics.entry import PreferenceGuide
from plugin.plan.params import Params
from plugin.records import Case, MetricSpec


def preference_guide(params: Params, judges: Sequence[Judge], n_variants: int) -> PreferenceGuide:
    """Return how the user wants completions compared.

    Args:
        params: what the user asked for.
        judges: one, or a panel; rules on words and no judge at all are not real ones.
        n_variants: number of variants, the base included.
    """
    is_real = not any(judge.structured or isinstance(judge, NoJudge) for judge in judges)
    return PreferenceGuide(
        criterion=params.preference_criteria,
        shows_reference=params.preference_reference,
        is_default=is_real and n_variants > 1,
    )


def check_preference(
    params: Params, specs: Sequence[MetricSpec], cases: Sequence[Case], names: Sequence[str]
) -> None:
    """Check that there is something to compare, and that no option would do nothing.

    Raises:
        OptionError: naming every option that cannot be followed.
    """
    problems = []
    if not any(spec.is_relative for spec in specs):
        defaults = Params()
        problems = [
            f"--{name} is for the metric {PREFERENCE}, which this run does not have: add it to "
            "--predefined_tasks, or leave this option out"
            for name in ("preference_reference", "pairs", "style_control")
            if getattr(params, name) != getattr(defaults, name)
        ]
    elif len(names) == 1:
        problems.append(
            f"{PREFERENCE} compares the completions of two variants, but only {names[0]} "
            "is run: name an adapter, a tuned model, a prompt or a second --recorded, or choose "
            "another metric with --predefined_tasks"
        )
    elif params.preference_reference and not any(case.expected_output for case in cases):
        problems.append(
            "--preference_reference shows expected outputs to the judge, and no case has any: name "
            "their column with --expected_output_column, or leave this option out"
        )
    if problems:
        raise OptionError("\n".join(problems))

"""The options of general ability: what a fine-tune may have broken besides the task."""

from __future__ import annotations

from typing import Literal

from plugin.capability.harness import NEEDS_WEIGHTS
from plugin.errors import OptionError
from plugin.plan.options import NOT_CLASSIC, Option, Texts, option
from plugin.plan.params_task import TaskParams

AUTO, QUICK, FULL, OFF = "auto", "quick", "full", "off"

CAPABILITY_OPTIONS = ("capability", "capability_guard", "lm_eval", "lm_eval_items")
"""What is looked at besides: these change no result of the run itself, so they may be added to a
run that is there."""


class CapabilityParams(TaskParams):
    """The options of general ability."""

    capability: Literal["auto", "quick", "full", "off"] = option(
        AUTO,
        "Test general ability",
        "Ask base and variants shipped questions of general ability, scored by rules, to see what "
        "the fine-tune broke. quick: about 200 questions. full: 1,300, enough to show that nothing "
        "was lost. auto: the quick set where it takes less than a fifth of the run's own "
        "generation. Not for recorded completions.",
        Option("metrics", hosts=NOT_CLASSIC, choices=(AUTO, QUICK, FULL, OFF)),
    )
    capability_guard: bool = option(
        False,
        "General ability is a guard",
        "A lost ability stands in the verdict like a lost retention group. Asks the quick set "
        "unless --capability says full.",
        Option("metrics", hosts=NOT_CLASSIC),
    )

    lm_eval: Texts = option(
        (),
        "Tasks of lm-eval",
        "Tasks of lm-evaluation-harness to run on base and variants, such as "
        "'mmlu,hellaswag,gsm8k', or folders with task files of your own. Needs the extra "
        "requirements-lm-eval.txt, and the tasks' data from the hub, its cache or the folder.",
        Option("metrics", hosts=NOT_CLASSIC),
    )
    lm_eval_items: int = option(
        400,
        "Items of each lm-eval task",
        "How many items of each task or group are asked, drawn at random; 0 asks all. 400 often "
        "leave open whether 3 points are lost, 1,200 tell.",
        Option("metrics", hosts=NOT_CLASSIC),
        ge=0,
    )

    def require_capability(self, *, has_models: bool, has_weights: bool) -> None:
        """Check that general ability can be tested as asked.

        Args:
            has_models: whether models run here or on a server; recorded completions cannot answer.
            has_weights: whether an engine in this process holds the weights.

        Raises:
            OptionError: when it cannot.
        """
        asked = self.capability in (QUICK, FULL)
        if self.lm_eval and not has_weights:
            raise OptionError(NEEDS_WEIGHTS)
        if self.capability_guard and self.capability == OFF:
            raise OptionError(
                "--capability_guard true needs the questions that --capability off leaves out; "
                "leave out one of the two"
            )
        if has_models or not (asked or self.capability_guard):
            return
        name = f"--capability {self.capability}" if asked else "--capability_guard true"
        raise OptionError(
            f"{name}: recorded completions cannot answer new questions, so general ability cannot "
            "be tested; leave it out, or run the models"
        )

"""The options of latency under load."""

from __future__ import annotations

from plugin.errors import OptionError
from plugin.latency.asked import LoadGuard, read_guard, read_levels
from plugin.plan.options import NOT_CLASSIC, NumberTexts, Option, option
from plugin.plan.params_capability import CapabilityParams
from plugin.plan.params_input import BOTH

LOAD_OPTIONS = ("load", "load_requests", "load_guard")
"""What is looked at besides: these change no result of the run itself, so they may be added to a
run that is there."""


class LoadParams(CapabilityParams):
    """The options of latency under load."""

    load: NumberTexts = option(
        (),
        "Latency under load",
        "How many requests run at once on the server, level by level, such as 1,8,32. After the "
        "run's own completions, each level streams about 100 answers of every variant, in turns, "
        "and times the first token and the whole answer. Needs --engine server.",
        Option("advanced", value="N,N,...", hosts=NOT_CLASSIC),
    )
    load_requests: int = option(
        0,
        "Requests per variant and level",
        "How many cases are asked at each level of --load, at most all of them. 0: 100, or 4 for "
        "each request at once. p95 needs 72, p99 needs 368.",
        Option("advanced", value="N", hosts=NOT_CLASSIC),
        ge=0,
        le=100_000,
    )
    load_guard: str = option(
        "",
        "Latency is a guard",
        "How many times as long as the base a variant may take for an answer at the highest level "
        "of --load, such as 1.5 (of the median) or p95=2. Where the whole interval lies above, "
        "that stands in the verdict like a lost guard.",
        Option("advanced", value="[p95=]X", hosts=NOT_CLASSIC),
    )

    @property
    def load_levels(self) -> tuple[int, ...]:
        """Return the levels, the smallest first.

        Raises:
            OptionError: when they are no such numbers.
        """
        return read_levels(self.load)

    @property
    def load_limit(self) -> LoadGuard | None:
        """Return what must not get slower; None for nothing.

        Raises:
            OptionError: when it cannot be read.
        """
        return read_guard(self.load_guard)

    def require_load(self, *, on_server: bool, recorded: bool) -> None:
        """Check that a load can be measured as asked.

        Args:
            on_server: whether a server makes the run's completions.
            recorded: whether they come from files.

        Raises:
            OptionError: when it cannot.
        """
        levels, limit = self.load_levels, self.load_limit
        if not levels:
            idle = [f"--{name}" for name in LOAD_OPTIONS[1:] if getattr(self, name)]
            if idle:
                raise OptionError(
                    f"{' and '.join(idle)} would do nothing without --load: add levels, such as "
                    "--load 1,8,32, or leave that out"
                )
            return
        if recorded:
            raise OptionError(
                "--load: recorded completions have no server that could be timed; leave it out, "
                "or run the models with --engine server"
            )
        if not on_server:
            raise OptionError(
                "--load measures what a user waits for at a server, and no server is asked here: "
                "start one with the models (vLLM, SGLang, mlx_lm.server) and add --engine server "
                "--server_url URL, or leave --load out. An engine in this process completes in "
                "batches, and its times say nothing about that"
            )
        if limit and self.variants != BOTH:
            raise OptionError(
                f"--load_guard compares with the base, but --variants is {self.variants!r}; leave "
                "out one of the two"
            )

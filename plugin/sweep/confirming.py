"""Run what is recommended against the base on the cases that took no part in the choice.

It is an ordinary run in a folder of its own inside the sweep's, with a whole report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from plugin.cache import content_key
from plugin.errors import AdapterError, VerdictError
from plugin.hosts import Host
from plugin.journal import Journal
from plugin.judges.spending import SpendLimits
from plugin.plan.params import Params
from plugin.plan.plan import make_plan
from plugin.plan.resolve import find_sources
from plugin.reopen import CONFIRMATION
from plugin.report.record import Report
from plugin.run import run_plan
from plugin.run_facts import JudgeCalls
from plugin.sweep.request import Candidates
from plugin.sweep.result import plan_of
from plugin.worker import Progress, Worker


@dataclass(frozen=True, slots=True)
class Scene:
    """What the confirming run needs.

    Attributes:
        params: the options of the sweep.
        candidates: its checkpoints.
        chosen: the recommended one.
        host: the sweep's.
        worker: does the work.
    """

    params: Params
    candidates: Candidates
    chosen: str
    host: Host
    worker: Worker


def confirm_choice(scene: Scene, journal: Journal) -> Report | None:
    """Do the confirming run, or go on with it; return None where nothing can be confirmed.

    Args:
        scene: what it needs.
        journal: of the sweep; it keeps the limit that allows no confirmation.

    Raises:
        AdapterError: when the recommended checkpoint was deleted meanwhile.
    """
    plan, chosen, host = plan_of(journal), scene.chosen, scene.host
    if plan.split.is_rank_only or chosen == plan.base:
        return None
    if chosen in scene.candidates.gone:
        raise AdapterError(
            f"{chosen} is recommended, but cannot be confirmed: {scene.candidates.gone[chosen]}. "
            "Put it back and resume"
        )
    spent = SpendLimits(scene.params.max_calls, scene.params.budget)
    left, reason = limits_left(spent, journal.state.judge_calls)
    if reason:
        journal.save_state(replace(journal.state, halted=reason))
        return None
    # A prompt needs no adapter: the run compares it with the base.
    own_paths = [one.path for one in scene.candidates.facts.checkpoints if one.name == chosen]
    params = scene.params.model_copy(update={"model_adapter": tuple(own_paths), **left})
    sources = replace(find_sources(params, host), adapter_names=(chosen,) if own_paths else ())
    whole = scene.worker.run(lambda: make_plan(params, sources))
    cases = plan.split.confirming
    own = replace(
        whole,
        loaded=replace(whole.loaded, cases=cases),
        identity={**whole.identity, "cases": "those that took no part in a sweep's choice"},
        digests={**whole.digests, "choice of cases": content_key([case.id for case in cases])},
    )
    host.log(f"confirming {chosen} on {len(cases)} cases that took no part in the choice")
    inner = InnerHost(host, journal.path.parent / CONFIRMATION)
    return run_plan(own, inner, sources.mask, scene.worker, journal.state.evaluation_steps)


def limits_left(limits: SpendLimits, spent: JudgeCalls) -> tuple[Mapping[str, float], str]:
    """Return what choosing has left of the limits on judging, by option; and which is used up."""
    reason = ""
    if limits.max_calls and spent.n_calls >= limits.max_calls:
        reason = f"--max_calls {limits.max_calls} is reached"
    if limits.budget and spent.cost >= limits.budget:
        reason = f"--budget {limits.budget:g} is spent"
    left = {
        "max_calls": limits.max_calls and limits.max_calls - spent.n_calls,
        "budget": limits.budget and limits.budget - spent.cost,
    }
    return left, reason


class InnerHost:
    """Be the sweep's host to its confirming run: another folder, and no last words.

    See `plugin.hosts.Host`.
    """

    def __init__(self, outer: Host, folder: Path) -> None:
        """Make no folder yet."""
        self._outer, self._folder = outer, folder
        self.stop_exit_code, self.stop_within_s = outer.stop_exit_code, outer.stop_within_s
        self.metrics_without_judge = outer.metrics_without_judge

    def open(self, run_id: str) -> Path:
        """Return the folder inside the sweep's, made when missing."""
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder

    def publish(self, report: Report, files: Sequence[Path]) -> None:
        """Do nothing: the sweep shows the verdict beside its table."""

    def model(self, name: str) -> str:
        """See `Host`."""
        return self._outer.model(name)

    def adapter(self, name: str) -> Path:
        """See `Host`."""
        return self._outer.adapter(name)

    def dataset(self, name: str) -> str:
        """See `Host`."""
        return self._outer.dataset(name)

    def secret(self, name: str) -> str | None:
        """See `Host`."""
        return self._outer.secret(name)

    def tend(self, progress: Progress) -> None:
        """See `Host`."""
        self._outer.tend(progress)

    def log(self, text: str) -> None:
        """See `Host`."""
        self._outer.log(text)

    def fail(self, error: VerdictError) -> None:
        """See `Host`."""
        self._outer.fail(error)

    def stopped(self) -> None:
        """See `Host`."""
        self._outer.stopped()

"""Ask the judge of `cases build --synthetic`: who it is, what it may cost, and how it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from plugin import judges
from plugin.cache import Cache
from plugin.caseset.build import Write
from plugin.caseset.records import BuildRequest, Pool, PoolRow
from plugin.caseset.synthetic import (
    Written,
    forecast_text,
    is_synthetic,
    keep_new,
    plan_questions,
    write_questions,
)
from plugin.errors import OptionError
from plugin.hosts.folder import FolderHost
from plugin.journal import Journal
from plugin.judges.panel import Judging
from plugin.judges.spending import SpendLimits
from plugin.keys import KnownSecrets, SecretMask, hidden_in_errors
from plugin.plan.commands_cases import JUDGE_OPTIONS
from plugin.plan.params import Params
from plugin.plan.places import cache_folder, check_places
from plugin.plan.resolve import check_budget
from plugin.run import exit_now
from plugin.worker import Worker


def make_writer(given: Mapping[str, Any], request: BuildRequest, host: FolderHost) -> Write | None:
    """Return what has the judge write questions; None if nobody asked for any.

    Raises:
        OptionError: when there is no judge that can write, or a limit that cannot be kept.
        JudgeError: when the judge cannot be used.
    """
    typed = {name: given[name] for name in JUDGE_OPTIONS if given[name] is not None}
    n = given["synthetic"]
    if n is None:
        if typed:
            raise OptionError(
                f"--{next(iter(typed))} is for the judge that writes questions: say how many with "
                "--synthetic N, or leave it out"
            )
        return None
    if n < 1:
        raise OptionError(f"--synthetic {n} must be 1 or more")
    params = Params.parse(typed)
    if not params.judge:
        raise OptionError("--synthetic needs a judge that writes: name one with --judge KIND:MODEL")
    check_places(params)
    secrets = KnownSecrets(host.secret)
    with hidden_in_errors(secrets.mask):
        judge = judges.load_all(params.judge, secrets)[0]
        if judge.structured:
            raise OptionError(
                f"--synthetic needs a judge that can write; the {judge.label} only counts words. "
                "Name a real one with --judge, such as openai:gpt-4o-mini or ollama:llama3.1"
            )
        check_budget(params, [judge])
    judging = Judging(
        judges=(judge,),
        concurrency=params.concurrency,
        timeout_s=params.judge_timeout_s,
        limits=SpendLimits(params.max_calls, params.budget, params.deadline_s, 0.0),
        price=params.judge_price,
    )

    def write(pool: Pool, drawn: Sequence[PoolRow]) -> Sequence[PoolRow]:
        real = [row for row in drawn if not is_synthetic(row)]
        wanted = plan_questions(real, n, request.seed, 1, n)
        host.log(forecast_text(wanted, judging))
        host.again = (
            "what the judge has answered comes from the cache"
            if cache_folder(params)
            else "what the judge has answered is asked anew (--cache_dir FOLDER would keep it)"
        )
        found = _ask(judging, pool, drawn, n, request, (params, secrets.mask(), host))
        for line in found.lines():
            host.log(f"note: {line}")
        return found.rows

    return write


def _ask(
    judging: Judging,
    pool: Pool,
    drawn: Sequence[PoolRow],
    n: int,
    request: BuildRequest,
    about: tuple[Params, SecretMask, FolderHost],
) -> Written:
    """Have the judge write in a thread of its own; answers are kept in the shared cache alone."""
    params, mask, host = about
    folder = cache_folder(params)
    cache = Cache(Path(folder) / "cache.sqlite") if folder else None
    keep = partial(keep_new, pool=[*pool.rows, *filter(is_synthetic, drawn)], train=request.train)
    with (
        TemporaryDirectory(prefix="finetune-verdict-") as scratch,
        closing(Journal(Path(scratch), cache, mask)) as journal,
        closing(Worker(host.tend, partial(exit_now, host), host.stop_within_s)) as worker,
        hidden_in_errors(lambda: mask),
    ):
        real = [row for row in drawn if not is_synthetic(row)]
        return worker.run(
            lambda: asyncio.run(
                write_questions(real, n, judging, journal, worker.progress, keep, request.seed)
            )
        )

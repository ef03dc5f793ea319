"""Open the journal of an earlier run: is it whole, and can it be written to?

The journal's own readers refuse rows of a wrong shape. Here is checked what they cannot see: the
file's pages, and whether the rows belong together and hold possible values. A copy of a run that
cannot be written to can still be reported.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from plugin.certify.certificate import certificates_of_run
from plugin.compare.relative import judged_contrasts
from plugin.errors import DamagedError, OptionError, UserError
from plugin.journal import Journal
from plugin.judges.preferring import settle
from plugin.latency.whole import load_problems
from plugin.plan.command_parser import PROGRAM
from plugin.plan.params import Params
from plugin.records import DATA, EVEN, JudgeScore, MetricSpec, Preference, Score
from plugin.run_facts import RunHeader, RunState
from plugin.sample_rows import SampleScore, sample_of_preference
from plugin.terminal import shell_word

_ROUNDING = 1e-6

CONFIRMATION = "confirmation"
"""The folder in that of a sweep with the run that confirms the recommended checkpoint."""


def open_run(folder: Path, to_write: bool = False, or_sweep: bool = False) -> Journal:
    """Open the journal of an earlier run, and check it.

    Args:
        folder: the run's.
        to_write: whether something is to be written into it.
        or_sweep: whether it may also be that of a sweep of checkpoints.

    Raises:
        OptionError: when the folder holds none, one without a run, or a sweep that is not wanted;
            when it cannot be written to.
        DamagedError: when it is damaged.
    """
    if to_write:
        require_writable(folder)
    journal = Journal.existing(folder) if can_write(folder) else _open_copy(folder)
    try:
        require_whole(journal)
        if journal.has_begun and journal.header.sweep and not or_sweep:
            raise OptionError(
                f"{folder} holds a sweep of checkpoints, which has no verdict of its own; "
                f"{_where_confirmed(folder, bool(journal.state.sweep_choice))}"
            )
    except BaseException:
        journal.close()
        raise
    return journal


def _where_confirmed(folder: Path, has_chosen: bool) -> str:
    """Return where the verdict on what a sweep recommends lies, or how to get one."""
    inner = folder / CONFIRMATION
    if (inner / "journal.sqlite").is_file():
        return f"that on what it recommends is in {inner}"
    if not has_chosen:
        command = f"{PROGRAM} resume {shell_word(folder)}"
        return f"it is not finished, so it recommends nothing yet: {command}"
    return (
        "it has not confirmed anything either. Compare the base with a checkpoint of it with "
        f"`run`; what the sweep has found: {PROGRAM} report {shell_word(folder)}"
    )


def holds_sweep(folder: Path) -> bool:
    """Return whether the folder's journal is that of a sweep; one that cannot be read is not."""
    path = folder / "journal.sqlite"
    try:
        address = f"{path.resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=1)) as db:
            rows = db.execute("SELECT body FROM meta WHERE name = 'header'").fetchall()
        header = json.loads(rows[0][0]) if rows else None
    except (sqlite3.Error, ValueError, TypeError):
        return False
    return isinstance(header, dict) and bool(header.get("sweep"))


def sweep_folder(folder: Path) -> Path:
    """Return the sweep's folder for that of its confirming run; others stay as they are."""
    parent = folder.absolute().parent
    return parent if folder.absolute().name == CONFIRMATION and holds_sweep(parent) else folder


def _open_copy(folder: Path) -> Journal:
    """Open a copy of the journal: beside a file that it cannot write, SQLite cannot read its log.

    What is written into the copy is lost when it is closed.
    """
    path = folder / "journal.sqlite"
    scratch = TemporaryDirectory(prefix="finetune-verdict-")
    try:
        for file in folder.glob("journal.sqlite*"):
            if not file.name.endswith("-shm"):
                shutil.copyfile(file, Path(scratch.name, file.name))
        journal = Journal.existing(Path(scratch.name))
    except OSError as error:
        scratch.cleanup()
        raise OptionError(f"{path} cannot be read ({error.strerror})") from error
    except (DamagedError, OptionError) as error:
        scratch.cleanup()
        raise type(error)(str(error).replace(scratch.name, str(folder))) from error
    journal.path, journal.scratch = path, scratch
    return journal


def can_write(folder: Path) -> bool:
    """Return whether this process may write into the folder and the journal in it."""
    path = folder / "journal.sqlite"
    return all(
        os.access(each, os.W_OK, effective_ids=os.access in os.supports_effective_ids)
        for each in (folder, path)
        if each.exists()
    )


def require_idle(folder: Path) -> None:
    """Check that no process is working on the run.

    Raises:
        OptionError: when one is.
    """
    try:
        with (folder / "journal.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OptionError(
            f"another process is working in {folder}; wait until it ends, or stop it"
        ) from error
    except OSError:  # no run has ever locked it, or it cannot be read
        return


def require_writable(folder: Path) -> None:
    """Check that a run can go on in the folder.

    Raises:
        OptionError: when it cannot be written to.
    """
    if not can_write(folder):
        old, new = shell_word(folder), shell_word(f"{folder.name}-copy")
        raise OptionError(
            f"{folder} cannot be written to; copy the run (cp -r {old} {new}) and go on in the "
            "copy, or make the folder and its files writable"
        )


def require_whole(journal: Journal) -> None:
    """Check the journal of a run that has begun.

    Raises:
        OptionError: when no run has begun in it.
        DamagedError: naming the first thing that is wrong.
    """
    if problem := journal.damaged_pages() or next(_problems(journal), ""):
        raise journal.damaged(problem)


def parse_params(journal: Journal) -> Params:
    """Return the options of the run.

    Raises:
        DamagedError: when they cannot be options.
    """
    try:
        return Params.parse(journal.header.params)
    except (UserError, TypeError) as error:
        raise journal.damaged(f"header: {error}") from error


def _problems(journal: Journal) -> Iterator[str]:
    """Yield what is wrong, a phrase each."""
    if not journal.has_begun:
        if journal.has_rows():
            yield "it has rows, but does not say of which run"
        return
    header, state = journal.header, journal.state
    yield from _in_header(header)
    parse_params(journal)
    yield from _in_cases(journal)
    yield from _in_completions(journal, header)
    yield from _in_scores(journal, header)
    yield from _in_preferences(journal, header)
    yield from _in_items(journal, header)
    yield from load_problems(journal)
    yield from _in_failures(journal)
    yield from _in_judgments(journal)
    yield from _in_state(state)
    certificates_of_run(journal, header.variants, (), {})


def _in_header(header: RunHeader) -> Iterator[str]:
    names = [variant.name for variant in header.variants]
    if not names or len(set(names)) < len(names):
        yield f"header: its variants are {names}"
    metrics = [spec.name for spec in header.metrics]
    if header.primary_metric not in metrics or len(set(metrics)) < len(metrics):
        yield f"header: the primary metric is {header.primary_metric!r}, the metrics are {metrics}"
    if "seed" not in header.params:  # its absence would look like the default
        yield "header: the run's options are gone"
    for spec in header.metrics:
        if not (spec.margin >= 0 and spec.low < spec.high):
            yield f"header: {spec.name} has margin {spec.margin}, range {spec.low} to {spec.high}"


def _in_cases(journal: Journal) -> Iterator[str]:
    cases = journal.cases()
    if len({case.id for case in cases}) < len(cases):
        yield "cases: an id is there twice"
    before = set[str]()
    for case in cases:
        if not any(turn.role == "user" for turn in case.messages):
            yield f"cases: case {case.id} has no question"
        if case.follows is not None and case.follows not in before:
            yield f"cases: case {case.id} follows {case.follows}, which does not stand before it"
        before.add(case.id)
    if not cases:
        yield "cases: there is none"


def _in_completions(journal: Journal, header: RunHeader) -> Iterator[str]:
    found = journal.samples()
    yield from _unknown_places("completions", found, journal, {v.name for v in header.variants})
    every = [(place, one) for place, own in found.items() for one in own]
    if journal.n_rows("answers") + journal.n_rows("sample_answers") != len(every):
        yield "answers: some name a completion that is not there"
    for (case_id, name), one in every:
        if any(value is not None and not value >= 0 for value in (one.seconds, one.n_tokens)):
            yield f"completions: {name}'s for case {case_id} has negative seconds or tokens"


def _in_scores(journal: Journal, header: RunHeader) -> Iterator[str]:
    specs = {spec.name: spec for spec in header.metrics}
    names = {DATA, *(variant.name for variant in header.variants)}
    scores: list[Score | JudgeScore | SampleScore] = [*journal.scores(), *journal.judge_scores()]
    scores += journal.sample_scores()
    yield from _unknown_places("scores", ((s.case_id, s.variant) for s in scores), journal, names)
    for score in scores:
        spec = specs.get(score.metric)
        if spec is None:
            yield f"scores: {score.metric!r} is not a metric of this run"
        elif not _is_possible(score.value, spec):
            yield f"scores: {score.metric} of case {score.case_id} is {score.value!r}"
        if isinstance(score, Score) and not _is_text(score.reason or ""):
            yield f"scores: the reason of {score.metric} of case {score.case_id} is not a text"


def _is_possible(value: object, spec: MetricSpec) -> bool:
    return (
        isinstance(value, float | int)
        and math.isfinite(value)
        and spec.low - _ROUNDING <= value <= spec.high + _ROUNDING
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _unknown_places(
    what: str, places: Iterable[tuple[str, str]], journal: Journal, names: set[str]
) -> Iterator[str]:
    ids = {case.id for case in journal.cases()}
    for case_id, name in places:
        if case_id not in ids:
            yield f"{what}: {case_id!r} is not a case of this run"
        if name not in names:
            yield f"{what}: {name!r} is not a variant of this run"


def _in_preferences(journal: Journal, header: RunHeader) -> Iterator[str]:
    ids = {case.id for case in journal.cases()}
    names = [variant.name for variant in header.variants]
    pairs = {(p.variant, p.baseline) for p in judged_contrasts(names, all_pairs=True)}
    metrics = {spec.name for spec in header.metrics if spec.is_relative}
    rows = journal.all_preferences()
    answers = journal.sample_answers() if rows else {}
    for one in rows:
        what = f"preferences: {one.metric} of case {one.case_id}"
        if one.case_id not in ids:
            yield f"preferences: {one.case_id!r} is not a case of this run"
        if (one.variant, one.baseline) not in pairs:
            yield f"{what} compares {one.variant!r} with {one.baseline!r}"
        if one.metric not in metrics:
            yield f"preferences: {one.metric!r} compares nothing in this run"
        sample = (sample_of_preference(one.repeat) or (0, 0))[0] if _is_count(one.repeat) else 0
        sides = [
            side.text.strip()
            for name in (one.variant, one.baseline)
            for side in answers.get((one.case_id, name), ())
            if side.sample == sample
        ]
        if not _is_settled(one, sides):
            yield f"{what} is {one.value!r}, its levels are {one.first!r} and {one.second!r}"
        if not _is_count(one.repeat):
            yield f"{what} is repeat {one.repeat!r}"
        if not (_is_text(one.reason or "") and _is_text(one.judge)):
            yield f"{what} has a reason or a judge that is not a text"
    if journal.has_odd_counts():
        yield "preferences: one neither counts nor does not count"


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value >= 0


def _in_items(journal: Journal, header: RunHeader) -> Iterator[str]:
    names = {variant.name for variant in header.variants}
    for one in journal.item_results():
        what = f"item_results: item {one.item_id} of {one.variant!r}"
        if one.variant not in names or one.source not in ("probe", "lm-eval"):
            yield f"{what} is of no variant or source of this run"
        if not (one.score is None or _is_share(one.score)):
            yield f"{what} has the score {one.score!r}"
        if not all(map(_is_text, (one.ability, one.item_id, one.output, one.reason))):
            yield f"{what} holds something that is not a text"
    for read in journal.text_readings():
        values = read.loglikelihood, read.divergence
        numbers = all(v is None or isinstance(v, float) and math.isfinite(v) for v in values)
        sizes = all(isinstance(n, int) and n >= 0 for n in (read.n_tokens, read.n_bytes))
        texts = all(map(_is_text, (read.text_id, read.kind, read.token_digest, read.reason)))
        if read.variant not in names or not (numbers and sizes and texts):
            yield f"text_readings: that of {read.text_id} by {read.variant!r} makes no sense"


def _is_share(value: object) -> bool:
    return isinstance(value, float | int) and 0 <= value <= 1


def _is_settled(one: Preference, texts: Sequence[str]) -> bool:
    """Return whether the value follows from possible levels of a judge, or from the texts alone.

    Args:
        one: the preference.
        texts: the answers of its variant and its baseline, as far as they are there.
    """
    levels = (one.first, one.second)
    if levels == (None, None):
        if len(texts) < 2:
            return one.value in (0.0, EVEN, 1.0)
        own, base = texts
        if own == base:
            return one.value == EVEN
        return not (own and base) and one.value == bool(own)
    return all(isinstance(level, int) and -2 <= level <= 2 for level in levels) and (
        one.value == settle(one, one.first, -one.second).value  # type: ignore[operator,arg-type]
    )


def _in_failures(journal: Journal) -> Iterator[str]:
    for one in journal.failures():
        if one.stage not in ("data", "generate", "judge", "metric"):
            yield f"failures: {one.stage!r} is not a stage"
        if not _is_text(one.reason):
            yield f"failures: that of case {one.case_id} has no reason"


def _in_judgments(journal: Journal) -> Iterator[str]:
    for one in journal.judgments():
        try:
            is_answer = isinstance(json.loads(one.answer), dict)
        except (ValueError, TypeError):
            is_answer = False
        if not is_answer or not _is_text(one.version or ""):
            yield "judgments: one holds no answer of a judge"


def _in_state(state: RunState) -> Iterator[str]:
    prompts = [facts for facts in (state.prompts, *state.other_prompts.values()) if facts]
    calls = state.judge_calls
    counted = {
        "judge_calls": [getattr(calls, name) for name in calls.__slots__],
        "seconds": [*state.seconds.values()],
        "prompts": [facts.n_tokens or 0 for facts in prompts],
        "n_before_resuming": [state.n_before_resuming],
    }
    for name, values in counted.items():
        if not all(0 <= value < math.inf for value in values):
            yield f"state: {name} has a number below zero, or none"
    given = [*(rating.value for rating in state.ratings), *(p.value for p in state.exam or ())]
    if not all(math.isfinite(value) for value in given if value is not None):
        yield "state: a rating, or a score of the judge's exam, is not a number"
    if not all(choice.won in (None, 0.0, 0.5, 1.0) for choice in state.human_choices):
        yield "state: a human choice is none of win, tie, loss and undecided"

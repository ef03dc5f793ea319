"""Turn a data set into cases: find its rows, map its columns, check every row, draw a sample.

The input is a text column (`input`), a chat column (`messages`, `conversations`), or a template
that combines several columns. The template has priority over the input column, and the input column
over a chat column. Layouts of other tools are recognised (`layouts`). Numbers and booleans count as
text, except in a plain input and in contexts.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from plugin.errors import DataError, OptionError
from plugin.load.cells import read_contexts, read_flag, read_text
from plugin.load.code_tests import read_tests
from plugin.load.columns import Columns, Layout, lay_out, parse_template
from plugin.load.conversations import (
    AUTO,
    FIXED,
    AskedRow,
    conversation_notes,
    read_asked,
    split_turns,
    turn_ids,
)
from plugin.load.find import MANIFEST, find_rows
from plugin.load.readers import Row, Table
from plugin.load.repeats import Repeats, cluster_repeats, count_repeats
from plugin.load.retention import check_drawn, mark_retention
from plugin.records import ALL, Case, Failure

_N_BAD_SHOWN = 20
_LONGEST_METADATA = 200


@dataclass(frozen=True, slots=True)
class CaseSource:
    """Say where the cases are and how to read them, as the user gave it.

    Attributes:
        dataset_name: a file (csv, json, jsonl, parquet), a folder of such files, or a data set id
            for the `datasets` library.
        split: the split's name; None for "test", else "validation", else the only one.
        input_template: e.g. "{instruction} {input}"; None to read the input column.
        limit: share of the cases to draw, 0 < limit <= 1.
        seed: random seed of the draw.
        skip_bad_rows: record unusable rows as failures instead of stopping.
        completion_columns: columns with recorded completions; not expected outputs.
        retention_groups: groups that must not get worse, in addition to those that a column marks.
        conversation: how conversations of several user turns are asked (`conversations.AUTO`,
            `FIXED` or `OWN`).
    """

    dataset_name: str
    split: str | None = None
    columns: Columns = Columns()
    input_template: str | None = None
    limit: float = 1.0
    seed: int = 0
    skip_bad_rows: bool = False
    completion_columns: tuple[str, ...] = ()
    retention_groups: tuple[str, ...] = ()
    conversation: str = AUTO


@dataclass(frozen=True, slots=True)
class LoadedCases:
    """Hold the cases of a run.

    Attributes:
        cases: the drawn cases, in the order of the source; repeats are in one cluster.
        failures: the bad rows of the whole source, drawn or not.
        digest: sha256 (64 hex digits) of the cases' content without metadata.
        n_source_rows: number of rows in the source, good and bad.
        source: where the cases were read from.
        repeats: how many of the cases repeat another one.
        notes: how the columns were read, and which were not read, one sentence each.
    """

    cases: tuple[Case, ...]
    failures: tuple[Failure, ...]
    digest: str
    n_source_rows: int
    source: CaseSource
    repeats: Repeats
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _CheckedRow:
    """A row with its case or its problems; `id` is None if it could not be read.

    The case has the last of a row's user turns; `asked` has all of them.
    """

    row: Row
    id: str | None
    case: Case | None
    problems: tuple[str, ...] = ()
    asked: AskedRow = AskedRow(())


def load_cases(source: CaseSource) -> LoadedCases:
    """Read, check and draw the cases.

    The draw takes the first round(limit * n) usable rows (at least one) of a seeded permutation. So
    with the same seed, a smaller draw is a part of every larger one. A conversation is drawn whole.

    Raises:
        OptionError: when limit, template, split or a retention group is invalid.
        DataError: when the data set cannot be read, or has bad rows; lists everything wrong.
    """
    _check_options(source)
    template = parse_template(source.input_template) if source.input_template else None
    table = find_rows(source.dataset_name, source.split)
    layout, problems = lay_out(source.columns, template, table, source.completion_columns)
    if not table.rows:
        problems.append("there are no rows")
    how = source.conversation
    checked = _check_unique([_read_row(row, layout, how) for row in table.rows])
    bad = [row for row in checked if row.case is None]
    if problems or len(bad) == len(checked) or (bad and not source.skip_bad_rows):
        raise DataError(_bad_rows_text(source, problems, bad, len(table.rows)))
    usable = [row.case for row in checked if row.case is not None]
    marked, notes = mark_retention(usable, source.retention_groups)
    drawn = _draw_cases(_put_back(checked, marked), source.limit, source.seed)
    asked = {row.id: row.asked for row in checked if row.case is not None}
    split = [turn for case in drawn for turn in split_turns(case, asked[case.id].turns)]
    cases = cluster_repeats(split)
    spoken = conversation_notes([asked[case.id] for case in drawn])
    held = check_drawn(marked, drawn, source.retention_groups)
    taken = {row.id for row in checked if row.case is not None}
    return LoadedCases(
        cases=cases,
        failures=tuple(_bad_row_failures(bad, taken)),
        digest=digest_cases(cases),
        n_source_rows=len(table.rows),
        source=source,
        repeats=count_repeats(cases),
        notes=(
            *layout.notes,
            *spoken,
            *notes,
            *held,
            *_set_notes(Path(os.path.expanduser(source.dataset_name)), drawn, cases),
        ),
    )


def read_table(table: Table, layout: Layout) -> list[tuple[Row, Case | None]]:
    """Return each row with its case; None for a row that cannot be read as one."""
    return [(row, _read_row(row, layout, FIXED).case) for row in table.rows]


def digest_of_table(table: Table) -> str:
    """Return the digest of the cases that a run reads from these rows.

    Raises:
        DataError: when they cannot be read.
    """
    if not table.rows:
        return digest_cases(())
    layout, problems = lay_out(Columns(), None, table)
    checked = [_read_row(row, layout, AUTO) for row in table.rows]
    problems += [problem for row in checked for problem in row.problems]
    if problems:
        raise DataError("; ".join(problems[:_N_BAD_SHOWN]))
    split = (split_turns(row.case, row.asked.turns) for row in checked if row.case is not None)
    return digest_cases(cluster_repeats([turn for turns in split for turn in turns]))


def _check_options(source: CaseSource) -> None:
    if not source.dataset_name.strip():
        raise OptionError("--dataset_name is empty; give a file, a folder or a data set id")
    if not 0 < source.limit <= 1:
        raise OptionError(
            f"--limit {source.limit} must be above 0 and at most 1: it is the share of the cases "
            "to use (0.1 is a tenth)"
        )
    if source.input_template and source.columns.input != Columns().input:
        raise OptionError(
            f"--input_template and --input_column {source.columns.input!r} both say where the "
            "input is; use only one of them"
        )


def _read_row(row: Row, layout: Layout, how: str) -> _CheckedRow:
    if row.problem is not None:
        return _CheckedRow(row, None, None, (row.problem,))
    problems: list[str] = []
    names = layout.columns

    def text(name: str) -> str | None:
        return read_text(row.cells.get(name), name, problems)

    def label(name: str) -> str | None:
        found = text(name)
        return found.strip() if found else None

    asked = read_asked(row, layout, how, problems)
    right = asked.right_answers
    group = label(names.group)
    if group == ALL:
        problems.append(f"{names.group} {ALL!r} is reserved for all cases together; rename it")
    case = Case(
        id=label(names.id) or str(row.number),
        messages=asked.messages,
        expected_output=right[0] if right else None,
        context=read_contexts(row.cells.get(names.context), names.context, problems),
        group=group,
        cluster=label(names.cluster),
        metadata=_read_metadata(row.cells, layout.extra),
        retention=read_flag(row.cells.get(names.retention), names.retention, problems),
        references=right if len(right) > 1 else (),
        expect=read_contexts(row.cells.get(names.expect), names.expect, problems),
        tests=read_tests(row.cells, names.tests, problems),
    )
    if not _is_text(case, asked):
        problems.append("holds half of a surrogate pair (such as \\ud83d alone): invalid Unicode")
        return _CheckedRow(row, None, None, tuple(problems))
    return _CheckedRow(row, case.id, None if problems else case, tuple(problems), asked)


def _read_metadata(cells: Mapping[str, object], names: Iterable[str]) -> dict[str, str]:
    """Return texts, numbers and booleans as text, long ones cut; skip lists and objects."""
    found = {name: cells.get(name) for name in names}
    texts = {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in found.items()
        if isinstance(value, str | bool) and value != ""
    }
    longest = _LONGEST_METADATA
    return {
        name: text if len(text) <= longest else text[: longest - 1] + "…"
        for name, text in texts.items()
    }


def _is_text(case: Case, asked: AskedRow) -> bool:
    """Return whether the case can be encoded; JSON may hold half of a surrogate pair."""
    right = [turn.right_answers for turn in asked.turns]
    try:
        everything = [_case_content(case), dict(case.metadata), right]
        json.dumps(everything, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_unique(checked: Sequence[_CheckedRow]) -> list[_CheckedRow]:
    """Return the same rows; if two have the same id, the later one becomes a bad row.

    The turns of a conversation have ids of their own.
    """
    first: dict[str, _CheckedRow] = {}
    result = []
    for row in checked:
        names = [row.id, *turn_ids(row.id, row.asked.turns)] if row.id is not None else []
        others = {name: first.setdefault(name, row) for name in dict.fromkeys(names)}
        problems = [
            f"id {name!r} is also the id of {other.row.place}"
            for name, other in others.items()
            if other is not row
        ]
        if problems:
            row = replace(row, case=None, problems=(*row.problems, problems[0]))
        result.append(row)
    return result


def _put_back(checked: Sequence[_CheckedRow], cases: Sequence[Case]) -> list[_CheckedRow]:
    """Replace the cases of the usable rows by these, in the same order."""
    new = iter(cases)
    return [row if row.case is None else replace(row, case=next(new)) for row in checked]


def _draw_cases(checked: Sequence[_CheckedRow], limit: float, seed: int) -> tuple[Case, ...]:
    # Permute all rows, even bad ones: then correcting a row does not change which others are drawn.
    order = random.Random(seed).sample(range(len(checked)), len(checked))
    usable = [i for i in order if checked[i].case is not None]
    drawn = sorted(usable[: max(1, round(limit * len(usable)))])
    return tuple(case for i in drawn if (case := checked[i].case) is not None)


def _bad_row_failures(bad: Sequence[_CheckedRow], taken: set[str | None]) -> Iterable[Failure]:
    """Yield a failure for each bad row, named by its id if it has one of its own, else its row."""
    for row in bad:
        own = row.id is not None and row.id not in taken and row.id != str(row.row.number)
        name = row.id if own and row.id else f"row {row.row.number}"
        taken.add(name)
        yield Failure(name, "data", f"{row.row.place}: {'; '.join(row.problems)}")


def _bad_rows_text(
    source: CaseSource, problems: Sequence[str], bad: Sequence[_CheckedRow], n_rows: int
) -> str:
    """Return a message with everything that is wrong, one problem per line."""
    if source.skip_bad_rows and problems:
        bad = ()  # bad rows would have been skipped anyway
    lines = [f"{row.row.place}: {'; '.join(row.problems)}" for row in bad[:_N_BAD_SHOWN]]
    if len(bad) > _N_BAD_SHOWN:
        lines.append(f"and {len(bad) - _N_BAD_SHOWN} more")
    if bad and len(bad) == n_rows:
        lines.append("no row can be used; correct the rows, or check the column options")
    elif bad:
        lines.append(
            f"{len(bad)} of {n_rows} rows cannot be used; correct them, or skip them with "
            "--skip_bad_rows"
        )
    return "\n  ".join([f"{source.dataset_name} cannot be used as it is:", *problems, *lines])


def _case_content(case: Case) -> list[object]:
    """Return the parts that identify the case; metadata is not one of them."""
    turns = [[turn.role, turn.content] for turn in case.messages]
    parts = (turns, case.expected_output, list(case.context), case.group, case.cluster)
    # The digest of cases without these stays what it always was.
    retention = [True] if case.retention else []
    references = [list(case.references)] if case.references else []
    expect = [{"expect": list(case.expect)}] if case.expect else []
    follows = [{"follows": case.follows}] if case.follows else []
    tests = [{"tests": asdict(case.tests)}] if case.tests else []
    return [case.id, *parts, *retention, *references, *expect, *follows, *tests]


def _set_notes(path: Path, drawn: Sequence[Case], cases: Sequence[Case]) -> tuple[str, ...]:
    """Return which version of a set that `cases build` wrote these are; nothing for other cases.

    Args:
        path: of the data.
        drawn: the cases, each conversation as one.
        cases: the same with a case for each turn.
    """
    folder = path if path.is_dir() else path.parent
    ids, digest = {case.id for case in drawn}, digest_cases(cases)
    try:
        found = json.loads((folder / MANIFEST).read_bytes())
        side = next(side for side in found["sides"] if set(side["ids"]) == ids)
        text = f"the cases are version {found['version']} of the evaluation set {found['name']}"
        edited = "" if side["digest"] == digest else ", edited since it was built"
        return (f"{text} ({side['file']}{edited})",)
    except (OSError, ValueError, LookupError, TypeError, StopIteration):
        return ()


def digest_cases(cases: Sequence[Case]) -> str:
    """Return the sha256 (64 hex digits) of the cases' content without metadata."""
    text = json.dumps([_case_content(case) for case in cases], separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()

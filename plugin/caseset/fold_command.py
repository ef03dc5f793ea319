"""The command `cases build --folds K`: write the folds, and say which commands come next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from plugin.caseset.fold_files import commands_for, fold_lines, require_place, write_folds
from plugin.caseset.folds import Check, SourceRow, build_folds
from plugin.caseset.personal import PersonalCount, cell_texts, mask_cells, mask_row
from plugin.caseset.pool import PoolReader
from plugin.caseset.records import Assumed
from plugin.caseset.sizes import power_of
from plugin.errors import OptionError
from plugin.hosts.folder import FolderHost
from plugin.load.cases import CaseSource
from plugin.plan.commands_cases import NOT_WITH_FOLDS


class FoldRequest(NamedTuple):
    """What was asked for, besides the files and the number of folds.

    Attributes:
        folder: where the folds go.
        source: how the rows are read.
        assumed: how much gains vary.
        margin: the smallest gain that matters.
    """

    folder: Path
    source: CaseSource
    assumed: Assumed
    margin: float


def start_folds(
    given: Mapping[str, Any], request: FoldRequest, host: FolderHost, check: Check
) -> int:
    """Write the folds of small data; return the exit code.

    Args:
        given: what was typed.
        request: what it means.
        host: says what came out.
        check: called now and then with the name of the step and how many rows it has done.

    Raises:
        UserError: when there cannot be such folds.
    """
    if unused := [name for name in NOT_WITH_FOLDS if given[name] is not None]:
        raise OptionError(
            f"--{unused[0]} has no meaning with --folds, which takes all rows; leave it out"
        )
    columns, template = request.source.columns, request.source.input_template or ""
    reader = PoolReader(tuple(given["sets"]), columns, template)
    require_place(request.folder, given["folds"])
    personal, masks = PersonalCount(), bool(given["mask_personal"])

    def change(one: SourceRow) -> SourceRow:
        personal.add(cell_texts(one.cells), one.row.place)
        personal.look_at_tests(one.row.case)
        return SourceRow(mask_cells(one.cells), mask_row(one.row)) if masks else one

    made = build_folds(reader, given["folds"], check, change)
    made = replace(made, notes=(*made.notes, *personal.lines(masks)))
    power = power_of(made.test, request.assumed, request.margin)
    for line in fold_lines(made, power):
        host.log(line)
    write_folds(made, request.folder)
    host.log(f"\nFolds: {request.folder.resolve()}\n")
    for line in commands_for(made, request.folder):
        host.log(line)
    return 0

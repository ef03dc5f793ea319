"""Check whether the completion keeps to a format: JSON, YAML, XML, SQL, or a Markdown table.

Each score is 1 if it does, else 0, with the violation as the reason. The whole completion counts:
white space and one code fence around everything are allowed, and other text is a violation, because
a program that reads the answer would fail on it.

Nothing is ever fetched and no entity of XML is expanded. SQL needs the library sqlglot.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

import regex

from plugin.errors import OptionError
from plugin.metrics import Ask, Measure, Measured
from plugin.metrics._json import FormatViolation, measured_by, parse_json, unfenced
from plugin.metrics.entry import TaskSettings
from plugin.records import Case


def _check_yaml(text: str) -> None:
    import yaml

    try:
        node = yaml.compose(unfenced(text), yaml.SafeLoader)
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", "") or "cannot be read"
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise FormatViolation(f"not YAML: {problem}{where}") from error
    except (RecursionError, ValueError) as error:
        raise FormatViolation("not YAML: nested too deeply or bad characters") from error
    if not isinstance(node, yaml.MappingNode | yaml.SequenceNode):
        raise FormatViolation("not YAML: plain text, no keys and no list")


def _check_xml(text: str) -> None:
    from xml.parsers import expat

    def refuse(*_: object) -> None:
        raise FormatViolation("not plain XML: it declares entities")

    parser = expat.ParserCreate()
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(unfenced(text).encode("utf-8", "replace"), True)
    except expat.ExpatError as error:
        what = expat.errors.messages[error.code]
        raise FormatViolation(f"not XML: {what} (line {error.lineno})") from error


def _check_sql(dialect: str, text: str) -> None:
    import sqlglot
    from sqlglot.errors import SqlglotError

    logging.getLogger("sqlglot").setLevel(
        logging.ERROR
    )  # it warns of each statement it cannot read
    try:
        found = sqlglot.parse(unfenced(text), read=dialect or None)
    except SqlglotError as error:
        where = [
            f" (line {one['line']})" for one in getattr(error, "errors", ()) if one.get("line")
        ]
        raise FormatViolation(f"not SQL: syntax error{''.join(where[:1])}") from error
    except RecursionError as error:
        raise FormatViolation("not SQL: nested too deeply") from error
    statements = [one for one in found if one is not None]
    if not statements:
        raise FormatViolation("not SQL: no statement")
    known = tuple(getattr(sqlglot.exp, name) for name in _STATEMENTS if hasattr(sqlglot.exp, name))
    if not all(isinstance(one, known) for one in statements):
        raise FormatViolation("not SQL: text that sqlglot reads as no statement")


_STATEMENTS = (
    *("Query", "Values", "DML", "Merge", "DDL", "Drop", "Alter", "TruncateTable", "Comment"),
    *("Set", "Use", "Transaction", "Commit", "Rollback", "Pragma", "Describe", "Show", "Analyze"),
    *("Copy", "Grant", "Revoke", "Attach", "Detach", "Cache", "Uncache", "Refresh", "Kill"),
)
"""What sqlglot may read a statement as; a name or a sum alone is SQL's, too, but does nothing."""

_SEPARATOR = regex.compile(r"\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?")


def _check_table(text: str) -> None:
    """Check that the text has a table, and that all its tables are well formed."""
    lines = [line.strip() for line in unfenced(text).splitlines()]
    n_tables = 0
    for place, line in enumerate(lines):
        is_rule = "|" in line and _SEPARATOR.fullmatch(line)
        if not is_rule or place == 0 or "|" not in lines[place - 1]:
            continue
        n_tables += 1
        n_columns = _n_cells(line)
        if _n_cells(lines[place - 1]) != n_columns:
            raise FormatViolation("table: header and rule have different numbers of cells")
        for number, row in enumerate(lines[place + 1 :], 1):
            if "|" not in row:
                break
            if _n_cells(row) != n_columns:
                raise FormatViolation(f"table: a row has too few or too many cells (row {number})")
    if not n_tables:
        raise FormatViolation("no Markdown table")


def _n_cells(line: str) -> int:
    bare: str = regex.sub(r"\\\||`[^`]*`", "x", line)
    return bare.removeprefix("|").removesuffix("|").count("|") + 1


async def valid_json(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`; no judge is asked."""
    return measured_by(parse_json, completion)


async def valid_yaml(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`; no judge is asked."""
    return measured_by(_check_yaml, completion)


async def valid_xml(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`; no judge is asked."""
    return measured_by(_check_xml, completion)


async def markdown_table(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`; no judge is asked."""
    return measured_by(_check_table, completion)


def valid_sql(settings: TaskSettings, cases: Sequence[Case]) -> Measure:
    """Return the measure of Valid SQL.

    Raises:
        OptionError: for a dialect that sqlglot does not know.
    """
    from sqlglot.dialects.dialect import Dialect

    known = sorted(name for name in Dialect.classes if name)
    if settings.sql_dialect and settings.sql_dialect.lower() not in known:
        raise OptionError(
            f"--sql_dialect {settings.sql_dialect!r} is not one of {', '.join(known)}"
        )
    return partial(_measure_sql, settings.sql_dialect.lower())


async def _measure_sql(dialect: str, case: Case, completion: str, ask: Ask) -> Measured:
    return measured_by(partial(_check_sql, dialect), completion)

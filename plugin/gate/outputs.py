"""Write a gate for machines: `gate.json`, and JUnit XML as Jenkins, GitLab and others read it.

The same run and rules give the same bytes: there is neither a time nor a path in them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from plugin import __version__
from plugin.compare.numbers import round_published
from plugin.errors import OptionError
from plugin.gate.decide import Decision, GateResult
from plugin.gate.reading import GateRun
from plugin.gate.regressions import Regression
from plugin.gate.words import (
    gate_warnings,
    headline,
    limit_text,
    told_text,
)
from plugin.sheets import spell_controls
from plugin.terminal import is_plain

GATE_FORMAT = 1
"""Of gate.json."""

SUITE = "finetune-verdict"

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML document may hold."""


def gate_json(run: GateRun, found: GateResult, worst: Sequence[Regression]) -> str:
    """Return the gate as JSON."""
    report = run.report
    content = {
        "schema_version": GATE_FORMAT,
        "result": found.result,
        "exit_code": found.exit_code,
        "strict": found.is_strict,
        "sentence": headline(run, found),
        "variant": run.variant,
        "baseline": run.base,
        "why_this_variant": run.why_this,
        "run_id": run.header.run_id,
        "made_with": run.header.versions.get("finetune-verdict"),
        "decided_with": __version__,
        "judge": report.judge,
        "verdict": list(report.verdict.headline),
        "lost": [harm.name for harm in report.verdict.harms if harm.variant == run.variant],
        "n_cases": len(report.cases),
        "counts": {word: found.count(word) for word in ("pass", "fail", "can't tell")},
        "rules": [_rule_fields(one) for one in found.decisions],
        "worst_regressions": [one._asdict() for one in worst],
        "warnings": gate_warnings(run, found),
    }
    return json.dumps(content, ensure_ascii=False, allow_nan=False, indent=2) + "\n"


def _rule_fields(one: Decision) -> dict[str, Any]:
    check, quantity = one.check, one.check.quantity
    value = check.fact.value if check.fact else quantity.value if quantity else None
    has_limit = quantity is not None or value is not None
    return {
        "rule": check.asked.rule,
        "name": check.name,
        "result": one.result,
        "decided_by": "count" if quantity is None else "interval",
        "measured": check.measured,
        "metric": check.metric or None,
        "group": check.group,
        "unit": check.unit,
        "value": round_published(value),
        "ci_low": round_published(one.ends.low),
        "ci_high": round_published(one.ends.high),
        "level": round_published(one.level) if quantity else None,
        "fail_ci_low": round_published(one.fail_ends.low),
        "fail_ci_high": round_published(one.fail_ends.high),
        "fail_level": round_published(one.fail_level) if quantity else None,
        "limit": round_published(check.limit) if has_limit else None,
        "must_be": limit_text(check) or None,
        "n": quantity.n if quantity else None,
        "n_clusters": quantity.n_clusters if quantity else None,
        "n_failed": quantity.n_failed if quantity else None,
        "n_needed": one.n_needed,
        "text": told_text(one),
    }


def junit_xml(run: GateRun, found: GateResult) -> str:
    """Return the gate as JUnit XML: a test case for each check.

    A check that can't be decided is skipped; with `--strict` it is a failure of its own type.
    """
    n_failed = found.count("fail") + (found.count("can't tell") if found.is_strict else 0)
    counts = {"tests": str(len(found.decisions)), "failures": str(n_failed), "errors": "0"}
    skipped = "0" if found.is_strict else str(found.count("can't tell"))
    top = ElementTree.Element("testsuites", {"name": SUITE, **counts})
    name = _xml_text(f"gate of {run.variant}")
    suite = ElementTree.SubElement(top, "testsuite", {"name": name, **counts, "skipped": skipped})
    facts = ElementTree.SubElement(suite, "properties")
    for key, value in (
        ("variant", run.variant),
        ("baseline", run.base),
        ("run_id", run.header.run_id),
        ("judge", run.report.judge),
        ("verdict", run.report.verdict.sentence),
    ):
        ElementTree.SubElement(facts, "property", {"name": key, "value": _xml_text(value)})
    for one in found.decisions:
        _add_case(suite, one, found.is_strict)
    said = "\n".join((headline(run, found), *gate_warnings(run, found)))
    ElementTree.SubElement(suite, "system-out").text = _xml_text(said)
    ElementTree.indent(top)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + _serialised(top) + "\n"


def _add_case(suite: ElementTree.Element, one: Decision, is_strict: bool) -> None:
    place = {"name": _xml_text(one.check.name), "classname": f"{SUITE}.gate.{one.check.asked.rule}"}
    case = ElementTree.SubElement(suite, "testcase", place)
    message = _xml_text(told_text(one))
    if one.result == "fail" or (is_strict and one.result == "can't tell"):
        kind = "fail" if one.result == "fail" else "cannot-tell"
        ElementTree.SubElement(case, "failure", {"message": message, "type": kind}).text = message
    elif one.result == "can't tell":
        ElementTree.SubElement(case, "skipped", {"message": f"can't tell: {message}"})
    else:
        ElementTree.SubElement(case, "system-out").text = message


def _xml_text(text: str) -> str:
    r"""Return the text with \x1b and the like for what steers a terminal or is not XML."""
    spelled = spell_controls(text)
    return _NOT_XML.sub(lambda found: ascii(found[0])[1:-1], spelled)


def _serialised(top: ElementTree.Element) -> str:
    """Return the element as text; `>` is escaped, so `]]>` can't end anything."""
    return ElementTree.tostring(top, encoding="unicode")


def append_summary(file: str, text: str) -> None:
    """Append the Markdown to a file, such as that of GitHub's job summary.

    Raises:
        OptionError: when that cannot be written.
    """
    try:
        with Path(file).open("ab") as out:
            out.write(_plain_bytes(text))
    except OSError as error:
        raise OptionError(
            f"--summary {file} cannot be written ({error.strerror}); name another file"
        ) from error


def _plain_bytes(text: str) -> bytes:
    """Return the text as UTF-8; half a surrogate pair, which has no such form, is spelled out."""
    return text.encode("utf-8", "strict" if is_plain(text) else "backslashreplace")

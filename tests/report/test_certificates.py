"""Certificates on the page and in summary.json: beside a random change, and what is unusual."""

from __future__ import annotations

import json
from dataclasses import replace

from plugin.certify.effect import Distance, RandomEffect
from plugin.report import render_report
from plugin.report.record import Report
from tests.certify.test_measure import WHOLE

USUAL = replace(WHOLE, random=RandomEffect(Distance(0.071, 1.0)))
FAR = replace(WHOLE, variant="far", effect=Distance(3.5, 20.0), random=RandomEffect(None, "DoRA"))


def test_the_page_shows_the_ratio_and_what_has_none(report: Report) -> None:
    page = render_report(replace(report, certificates=(USUAL, FAR)))["report.html"]
    first, second = page.split('data-head="Adapter">')[1:3]
    assert '<b>7</b><br><span class="faint">0.071</span>' in first
    assert "unusual" not in first
    assert '–<br><span class="faint">DoRA</span>' in second
    assert '<span class="pass">✓ certified</span><br><span class="fail">unusual effect' in second


def test_summary_has_the_numbers_and_the_reasons(report: Report) -> None:
    files = render_report(replace(report, certificates=(USUAL, FAR)))
    usual, far = json.loads(files["summary.json"])["certificates"]
    assert usual["random"]["effect"] == {"kl": 0.071, "largest": 1.0}
    assert round(usual["random"]["ratio"], 2) == 7.04 and usual["unusual"] == []
    assert far["random"] == {"effect": None, "ratio": None, "reason": "DoRA"}
    (reason,) = far["unusual"]
    assert reason.startswith("3.5 nats is far, beyond 3: ")

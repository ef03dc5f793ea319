"""What a report's page tells of its cases, with texts and flags in place of their places."""

from __future__ import annotations

import json
import re
from typing import Any

FIELDS = ("answer", "thoughts")


def read_cases(html: str) -> dict[str, Any]:
    """The data that the page's viewer reads, as it stands in the page."""
    (data,) = re.findall(r'<script type="application/json" id="case-data">(.*?)</script>', html)
    found: dict[str, Any] = json.loads(data)
    return found


def by_id(data: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Case id -> variant -> what it did, with texts, and the keys of its flags."""
    texts, flags = data["texts"], [key for key, _, _ in data["flags"]]
    found: dict[str, dict[str, Any]] = {}
    for case in data["cases"]:
        for name, made in zip(data["variants"], case["variants"], strict=True):
            own = {key: texts[made[key]] if key in FIELDS else made[key] for key in made}
            own["flags"] = {flags[place] for place in made.get("flags", ())}
            found.setdefault(case["id"], {})[name] = own
    return found

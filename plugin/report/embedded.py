"""Make pages that need nothing but themselves: templates, data and scripts in them."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plugin.report.case_rows import visible

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

_IN_HTML = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}


@cache
def page_templates(folder: Path) -> Environment:
    """Return the page templates of a folder: texts are escaped, and a missing name is an error.

    They know the filter `whole_options`.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["whole_options"] = whole_options
    return made


_OPTION = re.compile(r"--[a-z][a-z_]*")


def whole_options(text: str) -> Markup:
    """Return a text, escaped, whose options are not broken at the end of a line."""
    from markupsafe import Markup, escape

    return Markup(_OPTION.sub(r'<span class="option">\g<0></span>', str(escape(visible(text)))))  # noqa: S704


def data_element(name: str, value: Any) -> str:
    """Return an element that holds a value as JSON; no text in it can end the element.

    Args:
        name: the element's id.
        value: what JSON can hold, without NaN or infinity.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    safe = text.translate(_IN_HTML).encode("utf-8", "backslashreplace").decode()
    return f'<script type="application/json" id="{name}">{safe}</script>'


def read_code(name: str) -> str:
    """Return the text of a script that lies in this folder.

    Args:
        name: its file name.

    Raises:
        ValueError: when the script would end its own element.
    """
    code = (Path(__file__).parent / name).read_text(encoding="utf-8")
    if "</script" in code.lower() or "<!--" in code:
        raise ValueError(f"{name} contains what ends a script element; write it in two parts")
    return code


def code_element(code: str) -> str:
    """Return an element that runs a script; its page must allow it, see `security_policy`."""
    return f"<script>{code}</script>"


def security_policy(codes: Sequence[str]) -> str:
    """Return the page's content security policy: these scripts, inline styles, no network at all.

    Args:
        codes: the scripts, character for character as in their elements.
    """
    digests = (hashlib.sha256(code.encode()).digest() for code in codes)
    allowed = " ".join(f"'sha256-{b64encode(digest).decode()}'" for digest in digests)
    scripts = f"script-src {allowed}; " if allowed else ""
    return f"default-src 'none'; {scripts}style-src 'unsafe-inline'"

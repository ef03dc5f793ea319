"""What a model's folder says of its context, in both spellings of the rotary embedding."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from plugin.load.model import ModelFolder, file_digest

YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}
WINDOW = {"rope_type": "default", "rope_theta": 10000.0}


@pytest.mark.parametrize(
    ("rope", "context"),
    [
        ({}, 64),
        ({"rope_scaling": YARN}, 128),
        ({"rope_parameters": {**YARN, "rope_theta": 10000.0}}, 128),
        ({"rope_parameters": {"full_attention": YARN, "sliding_attention": WINDOW}}, 128),
        ({"rope_parameters": {"full_attention": WINDOW, "sliding_attention": WINDOW}}, 64),
    ],
)
@pytest.mark.parametrize("inner", [False, True])
def test_the_scaled_context_is_the_same_in_both_spellings(
    rope: dict[str, Any], context: int, inner: bool
) -> None:
    config = {"max_position_embeddings": 64, **rope}
    config = {"text_config": config} if inner else config
    assert ModelFolder(Path("model"), "", "", config).context == context


def test_a_files_name_need_not_be_utf8(tmp_path: Path) -> None:
    odd, plain = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.json")), tmp_path / "é.json"
    try:
        odd.write_text("{}")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    plain.write_text("{}")
    assert len({file_digest([odd]), file_digest([plain]), file_digest([odd, plain])}) == 3
    of_content = hashlib.sha256(b"{}").hexdigest()
    assert file_digest([plain]) == hashlib.sha256(f"é.json:{of_content}\n".encode()).hexdigest()

"""The part of the host that knows places and settings."""

import os
import sqlite3

WORKSPACE_DIR = os.environ["DOUBLE_WORKSPACE"]


def _get_db_config_value(key):
    with sqlite3.connect(os.environ["DOUBLE_DATABASE"], timeout=0.2) as db:
        row = db.execute("SELECT value FROM config WHERE key = ?", (key,)).fetchone()
    return row[0] if row else None


async def _get_db_config_value_async(key):
    return _get_db_config_value(key)


# The host's releases from v0.28 on have made it async.
_is_async = bool(os.environ.get("DOUBLE_ASYNC"))
get_db_config_value = _get_db_config_value_async if _is_async else _get_db_config_value

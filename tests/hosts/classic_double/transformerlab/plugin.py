"""The part of the host that knows places and settings."""

import os
import sqlite3

WORKSPACE_DIR = os.environ["DOUBLE_WORKSPACE"]


def get_db_config_value(key):
    with sqlite3.connect(os.environ["DOUBLE_DATABASE"], timeout=0.2) as db:
        row = db.execute("SELECT value FROM config WHERE key = ?", (key,)).fetchone()
    return row[0] if row else None

"""Files that cannot be opened or written: why, as far as the system tells."""

import os
import shutil
from pathlib import Path

LEAST_ROOM_BYTES = 64 * 1024
"""To open a book at all: what is beside its file is made anew."""


def absent(file: str | Path) -> str:
    """Returns that a file is not there, or that nobody lets us see whether it is; empty where it is."""
    try:
        os.stat(file)
    except PermissionError:
        return f"{file} may not be looked for: a folder on the way to it is closed"
    except (OSError, ValueError):
        return f"there is no {file}"
    return ""


def why(file: str | Path) -> str:
    """Returns what SQLite's own words for a file that it cannot open leave open; empty as a rule."""
    folder = os.path.dirname(file) or os.curdir
    if os.path.isdir(file) or not os.path.isdir(folder):
        return "; it is a folder" if os.path.isdir(file) else f"; there is no folder {folder}"
    unread = barred(file, os.R_OK)
    if unread:
        return f"; {unread} may not be read"
    if not os.access(folder, os.W_OK):
        return "; nothing can be written in its folder"
    return "; the disk is full" if shutil.disk_usage(folder).free < LEAST_ROOM_BYTES else ""


def barred(file: str | Path, mode: int) -> str:
    """Returns which of a SQLite file and what lies beside it is there and closed to us; empty as a rule.

    `mode`: what is wanted of it, as `os.access` has it.
    """
    parts = (str(file), f"{file}-wal", f"{file}-shm")
    closed = (part for part in parts if os.path.exists(part) and not os.access(part, mode))
    return next(closed, "")

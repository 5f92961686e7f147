"""What the URL of a store names: a file, or a schema in a database."""

import os
import re
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

SCHEMA = "roundbook"
"""Where the URL of a database names none."""


def identity(store: str) -> str:
    """Returns what a store's URL names, whatever way it is written: a file, or a schema in a database."""
    if not store.startswith("postgres"):
        return _file(store)
    parts = urlsplit(store)
    given = dict(parse_qsl(parts.query))
    host = parts.netloc.rpartition("@")[2] or given.get("host", "")
    port = "" if re.search(r":\d+$", host) else f":{given.get('port', 5432)}"
    database = unquote(parts.path).strip("/") or given.get("dbname", "")
    return f"{host.lower()}{port}/{database}/{given.get('schema', SCHEMA)}"


def _file(store: str) -> str:
    """Returns the file a store's URL names, whatever way it is written."""
    return os.path.realpath(store.removeprefix("sqlite:///"))


def place(store: str, party: str) -> Path:
    """Returns the file of a book; of one in a database, a file where we are, named as schema and party."""
    if store.startswith("postgres"):
        schema = dict(parse_qsl(urlsplit(store).query)).get("schema", SCHEMA)
        return Path.cwd() / f"{schema}-{party}.db"
    return Path(_file(store))

"""Options that every verb takes, and the settings they come to."""

import os
import secrets
from pathlib import Path
from typing import Any

import click
import msgspec

from api.settings import Settings, load, settle

DEFAULT_FILE = Path("roundbook.toml")

config = click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="ROUNDBOOK_CONFIG",
    help="The configuration file [default: roundbook.toml, where there is one].",
)
store = click.option("--store", help="Instead of the configured store: sqlite:///FILE.")


def settings(file: Path | None, **overrides: Any) -> tuple[Settings, bool]:
    """Returns the settings, and whether they are the demo's: there is no file. Raises SettingsWrong."""
    file = file or (DEFAULT_FILE if DEFAULT_FILE.exists() else None)
    found = load(file) if file else settle(_demo(), os.environ)
    given = {key: value for key, value in overrides.items() if value is not None}
    if "store" in given:
        found = msgspec.structs.replace(found, store=given.pop("store"))
    return msgspec.structs.replace(
        found, server=msgspec.structs.replace(found.server, **given)
    ), file is None


def _demo() -> dict[str, Any]:
    token = secrets.token_urlsafe
    return {
        "admin": {"token": token(12)},
        "auditor": {"token": token(12)},
        "provider": [
            {
                "id": "LuckyMonaco",
                "dialect": "lucky-monaco-v4",
                "member": "acme",
                "token": token(12),
            },
            {"id": "Kyren", "dialect": "kyren-v1", "member": "acme", "token": token(12)},
        ],
    }

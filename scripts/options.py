"""Options that every verb takes, and the settings they come to."""

import os
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from msgspec.structs import replace

from api.settings import Settings, SettingsWrong, load, settle
from ledger.moments import text
from ledger.provider.book import Book
from ledger.store import open_store
from projections.provider import IN_TRANSACTION

KEY_BYTES = 32
DEFAULT_FILE = Path("roundbook.toml")

config = click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="ROUNDBOOK_CONFIG",
    help="The configuration file [default: roundbook.toml, where there is one].",
)
store = click.option("--store", help="Instead of the configured store: sqlite:///FILE.")


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def utc(said: str, option: str) -> str:
    """Returns a time as events keep it; a date is its midnight in UTC. Raises BadParameter."""
    try:
        whole = f"{said}T00:00Z" if len(said) == len("YYYY-MM-DD") else said
        moment = datetime.fromisoformat(whole)
        if moment.tzinfo:
            return text(moment.astimezone(UTC))
    except (ValueError, OverflowError):
        pass
    raise click.BadParameter(
        f"{said!r} is neither a date nor a time with its offset, as 2026-11-21T16:00:00Z",
        param_hint=option,
    )


def public_key(said: str) -> str:
    """Returns a public key as seals write it. Raises BadParameter."""
    try:
        key = bytes.fromhex(said)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise click.BadParameter("is no public key: 64 hexadecimal digits", param_hint="--key")
    return key.hex()


def provider_book(file: Path | None) -> tuple[Settings, Book]:
    """Returns the settings, and the provider's book they name. Raises SettingsWrong, StoreUnfit."""
    found, _ = settings(file)
    if found.provider_book is None:
        raise SettingsWrong("provider_book: there is none in the configuration")
    store = open_store(found.provider_book.store, IN_TRANSACTION, create=False)
    return found, Book(store, found.provider_house())


def settings(file: Path | None, **overrides: Any) -> tuple[Settings, bool]:
    """Returns the settings, and whether they are the demo's: there is no file. Raises SettingsWrong."""
    file = file or (DEFAULT_FILE if DEFAULT_FILE.exists() else None)
    found = load(file) if file else settle(_demo(), os.environ)
    given = {key: value for key, value in overrides.items() if value is not None}
    if "store" in given:
        found = replace(found, store=given.pop("store"))
    found = replace(found, server=replace(found.server, **given))
    return (found, False) if file else (_calling_itself(found), True)


def _calling_itself(demo: Settings) -> Settings:
    """The demo's provider calls the demo's own wallet."""
    host = f"[{demo.server.host}]" if ":" in demo.server.host else demo.server.host
    url = f"http://{host}:{demo.server.port}"
    tokens = {provider.dialect: provider.tokens[0] for provider in demo.provider}
    operators = [
        replace(operator, wallet_url=url, wallet_token=tokens[operator.dialect])
        for operator in demo.operator
    ]
    return replace(demo, operator=operators)


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
        "provider_book": {"token": token(12)},
        "operator": [
            _demo_operator("acme", "lucky-monaco-v4"),
            _demo_operator("acme-kyren", "kyren-v1"),
        ],
    }


def _demo_operator(login: str, dialect: str) -> dict[str, Any]:
    return {
        "secure_login": login,
        "token": secrets.token_urlsafe(12),
        "secret": secrets.token_urlsafe(12),
        "wallet_url": "http://127.0.0.1",
        "dialect": dialect,
        "member": "acme",
        "wallet_token": "the wallet's",
        "allow_private": True,
    }

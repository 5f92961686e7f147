"""Options that every verb takes, and the settings they come to."""

import os
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import gettempdir
from typing import Any, TypeVar

import click
from msgspec.structs import replace

from api.configuration import ALONE, load_books, settle
from api.settings import Settings, SettingsWrong
from ledger.moments import text
from ledger.provider.book import Book
from ledger.store import is_server, open_store
from projections.provider import IN_TRANSACTION
from scripts.source import each_its_own

KEY_BYTES = 32
DEFAULT_FILE = Path("roundbook.toml")

_BOOK = f"{__name__}.book"
"""Under what a command's context keeps the id that --book names: verbs hand on the file alone."""

Verb = TypeVar("Verb", bound=Callable[..., Any])


def _keep_id(context: click.Context, _: click.Parameter, id_: str | None) -> None:
    context.meta[_BOOK] = id_


_config = click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="ROUNDBOOK_CONFIG",
    help="The configuration file [default: roundbook.toml, where there is one].",
)
_id = click.option(
    "--book",
    metavar="ID",
    expose_value=False,
    callback=_keep_id,
    help="Which [[book]], where the configuration has several.",
)


def config(verb: Verb) -> Verb:
    """Adds --config, and --book."""
    return _config(_id(verb))


bench_folder = click.option(
    "--folder",
    default=gettempdir,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where what is measured is made, and removed again [default: the system's temporary one].",
)


class AuditFile(click.Path):
    """An audit file's path. What is meant as a database's URL is refused, and quoted nowhere."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if is_server(os.fspath(value)):
            self.fail("an audit file is a file, no database: name a file", param, ctx)
        return super().convert(value, param, ctx)


def can_be_made(_: click.Context, __: click.Parameter, file: Path | None) -> Path | None:
    """Returns a file that is written in the end: nobody waits for what is lost then. Raises BadParameter."""
    may_be = file and file.parent.is_dir() and os.access(file.parent, os.W_OK)
    if file and not (file.exists() or may_be):
        raise click.BadParameter(f"nothing can be made in the folder of {file}")
    return file


picture = click.option(
    "--picture",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    callback=can_be_made,
    help="Also draw what was found, as SVG.",
)

store = click.option("--store", help="Instead of the configured store: sqlite:///FILE.")

token = click.option("--token", envvar="ROUNDBOOK_AUDITOR_TOKEN", help="The auditor's, over HTTP.")

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


def provider_book(file: Path | None, *, read_only: bool = False) -> tuple[Settings, Book]:
    """Returns the settings, and the provider's book they name. Raises SettingsWrong, StoreUnfit.

    One that is read only answers questions alone: it may be a copy, or a file that nobody may write.
    """
    found, _ = settings(file)
    if found.provider_book is None:
        raise SettingsWrong("provider_book: there is none in the configuration")
    url = found.provider_book.store
    with each_its_own(found):
        store = open_store(url, IN_TRANSACTION, create=False, read_only=read_only)
        return found, Book(store, found.provider_house())


def named_book() -> str | None:
    """Returns the id that --book names."""
    context = click.get_current_context(silent=True)
    return context.meta.get(_BOOK) if context else None


def books(file: Path | None) -> tuple[dict[str, Settings], bool]:
    """Returns the settings by book, of all or of the one that --book names, and whether they are the demo's.

    A file without [[book]], and the demo, have one book, ALONE. Raises SettingsWrong.
    """
    file = file or (DEFAULT_FILE if DEFAULT_FILE.exists() else None)
    found = load_books(file) if file else {ALONE: settle(_demo(), os.environ)}
    id_ = named_book()
    if id_ is None:
        return found, not file
    if ALONE in found:
        raise SettingsWrong(f"--book: there is no [[book]] in {file or 'the demo'}")
    if id_ not in found:
        raise SettingsWrong(f"--book: there is no {id_}, but {', '.join(found)}")
    return {id_: found[id_]}, not file


def is_demo(file: Path | None) -> bool:
    """Returns whether no configuration is there: every process has tokens of its own then."""
    return not (file or DEFAULT_FILE.exists())


def settings(file: Path | None, **overrides: Any) -> tuple[Settings, bool]:
    """Returns a book's settings, and whether they are the demo's. Raises SettingsWrong."""
    all_, demo = books(file)
    if len(all_) > 1:
        raise SettingsWrong(f"--book: which one of {', '.join(all_)}?")
    (found,) = all_.values()
    given = {key: value for key, value in overrides.items() if value is not None}
    if "store" in given:
        found = replace(found, store=given.pop("store"))
    found = replace(found, server=replace(found.server, **given))
    return (_calling_itself(found), True) if demo else (found, False)


def _calling_itself(demo: Settings) -> Settings:
    """The demo's provider calls the demo's own wallet."""
    tokens = {provider.dialect: provider.tokens[0] for provider in demo.provider}
    operators = [
        replace(operator, wallet_url=demo.server.url, wallet_token=tokens[operator.dialect])
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

"""What must hold of settings beside the type of each: nothing is out of place, none shares what is one's own."""

import os
import re
from collections.abc import Hashable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from api.fields import check_id
from api.places import identity
from api.settings import Settings, SettingsWrong
from ledger.reader import LONGEST_ID
from ledger.refusals import Malformed
from ledger.store import NO_URL, POSTGRES, parts_of

OWN = ("store", "read_store", "admin", "auditor", "provider", "provider_book", "operator")
"""What each of several books has for itself: outside of the blocks it would be nobody's, or everybody's."""


def check(settings: Settings) -> None:
    """Checks one book's settings. Raises SettingsWrong."""
    _check_stores(settings)
    _check_bearers(settings)
    _check_unique(settings)
    _check_operators(settings)
    _check_currencies(settings)


def _check_stores(settings: Settings) -> None:
    for key, store in settings.stores().items():
        try:
            parts = parts_of(store) if store.startswith(POSTGRES) else urlsplit(store)
        except ValueError:  # its text may quote a password
            raise SettingsWrong(f"{key}: {NO_URL}") from None
        if parts.scheme == "sqlite" and parse_qsl(parts.query):
            raise SettingsWrong(
                f"{key}: a file takes no parameters, what follows the ? is not its name"
            )


def _check_bearers(settings: Settings) -> None:
    seen: dict[str, str] = {}
    for key, token in settings.bearers().items():
        if not _BEARER.fullmatch(token):
            raise SettingsWrong(f"{key}: goes in a header: ASCII, = only last, no blank at an end")
        if seen.setdefault(token, key) != key:
            raise SettingsWrong(f"{key}: is {seen[token]} too")


_BEARER = re.compile(r"(?! )[ -<>-~]+=*(?<! )")


def _check_unique(settings: Settings) -> None:
    seen: set[str] = set()
    for index, provider in enumerate(settings.provider):
        if provider.id.casefold() in seen:
            raise SettingsWrong(f"provider[{index}].id: {provider.id!r} is given twice")
        seen.add(provider.id.casefold())


def _check_operators(settings: Settings) -> None:
    if settings.operator and settings.provider_book is None:
        raise SettingsWrong("provider_book: an [[operator]] needs the provider's book")
    named = settings.stores()
    ours = {identity(named[key]) for key in ("store", "read_store") if key in named}
    for key, store in named.items():
        if key.startswith("provider_book.") and identity(store) in ours:
            raise SettingsWrong(f"{key}: each book needs a store of its own")
    files = set(map(os.path.realpath, settings.audit_files().values()))
    if len(files) < len(settings.books()):
        raise SettingsWrong("audit.folder: both books' audit files would be the same one")
    if books := files & set(map(identity, named.values())):
        raise SettingsWrong(f"audit.folder: {min(books)} would be an audit file, and is a book")
    seen: set[str] = set()
    for index, operator in enumerate(settings.operator):
        where = f"operator[{index}]"
        if operator.secure_login in seen:
            raise SettingsWrong(f"{where}.secure_login: {operator.secure_login!r} is given twice")
        seen.add(operator.secure_login)
        if operator.hash != "off" and operator.secret is None:
            raise SettingsWrong(f'{where}.secret: is needed, or hash = "off"')
        _check_url(operator.wallet_url, f"{where}.wallet_url")


def _check_currencies(settings: Settings) -> None:
    for currency in settings.currencies:
        try:
            check_id(currency, "currency")
        except Malformed as wrong:
            raise SettingsWrong(
                f"currencies: {currency[:LONGEST_ID]!r} {wrong.detail}: no call could name it"
            ) from wrong


def check_shared(shared: Mapping[str, Any]) -> None:
    """Checks what stands outside of the blocks of several books. Raises SettingsWrong."""
    for key in OWN:
        if key in shared:
            raise SettingsWrong(
                f"{key}: each [[book]] has its own, none stands outside of them,"
                f" here or as ROUNDBOOK_{key.upper()}* in the environment"
            )


def check_apart(books: Mapping[str, Settings]) -> None:
    """Checks that no two books share what is one's own: a request must reach the book it is meant for alone.

    Raises SettingsWrong.
    """
    seen: dict[tuple[str, Hashable], tuple[str, str]] = {}
    for id_, settings in books.items():
        for kind, key, value in _own(settings):
            other, its = seen.setdefault((kind, value), (id_, key))
            if other != id_:
                raise SettingsWrong(f"book {id_}: {key}: is book {other}'s {its} too")


def _own(settings: Settings) -> Iterator[tuple[str, str, Hashable]]:
    """Yields what kind of thing may be at one book only, its key, and what it is."""
    yield "port", "server.port", settings.server.port
    for key, store in settings.stores().items():
        yield "store", key, identity(store)
    for file in settings.audit_files().values():
        yield "audit file", f"audit.folder with {file.name}", os.path.realpath(file)
    if settings.seals and settings.seals.folder:
        yield "seals", "seals.folder", os.path.realpath(settings.seals.folder)
    for key, token in settings.bearers().items():
        yield "token", key, token
    for index, provider in enumerate(settings.provider):
        for token in provider.tokens:
            yield "pair", f"provider[{index}].token with its member", (provider.member, token)
    for index, operator in enumerate(settings.operator):
        for token in operator.tokens:
            pair = (operator.secure_login, token)
            yield "pair", f"operator[{index}].token with its secure_login", pair


def _check_url(url: str, key: str) -> None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:  # its text may quote what stands there
        host = None
    if not host or parts.scheme not in ("http", "https") or not _PLAIN_URL.fullmatch(url):
        raise SettingsWrong(f"{key}: must be http://HOST or https://HOST, with a port where needed")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise SettingsWrong(f"{key}: takes no user, query or fragment")


_PLAIN_URL = re.compile(r"[!-~]+")

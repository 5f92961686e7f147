"""The configuration: `roundbook.toml`, every value of which the environment can override.

A variable is named by the way to its key: ROUNDBOOK_STORE, ROUNDBOOK_ADMIN_TOKEN,
ROUNDBOOK_PROVIDER_LUCKYMONACO_TOKEN, ROUNDBOOK_CURRENCIES_USD.

A file may hold several books: each `[[book]]` is a configuration of its own, with an id. What stands
outside of the blocks is what a book has where it says nothing itself, but for what makes a book its own.
ROUNDBOOK_BOOK_ACME_STORE is the store of the book `acme`.
"""

import os
import re
import tomllib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from urllib.parse import parse_qsl, urlsplit

import msgspec

from api.places import identity, place
from ledger.money import MOST_SCALE
from ledger.operator.house import House
from ledger.provider.house import PROVIDER_ID, Dialect
from ledger.provider.house import House as ProviderHouse
from ledger.provider.house import Operator as OperatorTerms
from ledger.provider.wire import Remote
from ledger.store import NO_URL, POSTGRES, parts_of

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Secret = Annotated[str, msgspec.Meta(min_length=1)]
Scale = Annotated[int, msgspec.Meta(ge=0, le=MOST_SCALE)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Retries = Annotated[int, msgspec.Meta(ge=0, le=100)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=86400)]

ALONE = ""
"""The id of the only book of a file that has no [[book]]."""

OWN = ("store", "read_store", "admin", "auditor", "provider", "provider_book", "operator")
"""What each of several books has for itself: outside of the blocks it would be nobody's, or everybody's."""


class SettingsWrong(Exception):
    """The configuration cannot be used; the text is one sentence that names the key."""


class _Block(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Server(_Block, frozen=True, kw_only=True):
    """Where the service listens, and whether it logs each request."""

    host: str = "127.0.0.1"
    port: Port = 8080
    log_requests: bool = True

    @property
    def url(self) -> str:
        """Where it answers."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


class Bearer(_Block, frozen=True, kw_only=True):
    """Who sends this bearer token."""

    token: Secret


class Wallet(_Block, frozen=True, kw_only=True):
    """The house's own decisions."""

    allow_cancel_completed: bool = False


class Provider(_Block, frozen=True, kw_only=True):
    """One provider's relation to this operator. Two tokens at a time allow rotation."""

    id: Name
    dialect: Literal["lucky-monaco-v4", "kyren-v1"]
    member: Name
    token: Secret | Annotated[list[Secret], msgspec.Meta(min_length=1)]
    bets: bool = True
    games: list[Name] | None = None
    games_off: list[Name] = []

    @property
    def tokens(self) -> list[str]:
        """The tokens that are valid now."""
        return [self.token] if isinstance(self.token, str) else self.token


class Seals(_Block, frozen=True, kw_only=True):
    """Who signs the heads of the books, how often, and the folder where each seal is a line of a file."""

    key: str
    every_events: Count = 1000
    every_s: Seconds = 60.0
    folder: str | None = None


class Audit(_Block, frozen=True, kw_only=True):
    """The audit file that `serve` keeps beside each book, and the sessions of the pages that show it.

    `folder`: where the files are, when not beside the books. `https`: cookies go over TLS only.
    """

    keep: bool = True
    every_s: Seconds = 1.0
    folder: str | None = None
    session_hours: Annotated[int, msgspec.Meta(ge=1, le=24 * 30)] = 8
    https: bool = False


class ProviderBook(_Block, frozen=True, kw_only=True):
    """The provider's own book. `token`: the games' bearer token. `worker`: deliver and sweep in `serve`."""

    store: str = "sqlite:///provider.db"
    read_store: str | None = None
    token: Secret
    worker: bool = True
    sweep_every_s: Seconds = 60.0
    sweep_cap: Count = 100


class Operator(_Block, frozen=True, kw_only=True):
    """One operator's relation to this provider.

    `token` and `secret` are what it shows us (HASH, and the key of the body's hash), `member` and
    `wallet_token` what we show its wallet (MEMB_ID and HASH).
    """

    secure_login: Name
    token: Secret | Annotated[list[Secret], msgspec.Meta(min_length=1)]
    hash: Literal["md5_sorted", "hmac_sha256", "off"] = "md5_sorted"
    secret: Secret | None = None
    wallet_url: str
    dialect: Dialect
    provider_id: Name | None = None
    member: Name
    wallet_token: Secret
    timeout_s: Seconds = 10.0
    retries: Retries = 3
    result_retries: Retries = 10
    backoff_s: Seconds = 1.0
    parked_retry_s: Seconds = 300.0
    concurrency: Count = 8
    retention_days: Annotated[int, msgspec.Meta(ge=1, le=36500)] = 90
    allow_private: bool = False

    @property
    def tokens(self) -> list[str]:
        """The tokens that are valid now."""
        return [self.token] if isinstance(self.token, str) else self.token

    def terms(self) -> OperatorTerms:
        """Returns what of it the rules depend on."""
        return OperatorTerms(
            id=self.secure_login,
            dialect=self.dialect,
            provider=self.provider_id or PROVIDER_ID[self.dialect],
            retries=self.retries,
            result_retries=self.result_retries,
            retention_days=self.retention_days,
        )

    def remote(self) -> Remote:
        """Returns where its wallet is, and how it is called."""
        return Remote(
            url=self.wallet_url,
            member=self.member,
            token=self.wallet_token,
            allow_private=self.allow_private,
            timeout_s=self.timeout_s,
            backoff_s=self.backoff_s,
            parked_retry_s=self.parked_retry_s,
            concurrency=self.concurrency,
        )


class Settings(_Block, frozen=True, kw_only=True):
    """Everything the service can be told. `read_store`: a copy of the store, for whatever only reads."""

    store: str = "sqlite:///roundbook.db"
    read_store: str | None = None
    admin: Bearer
    auditor: Bearer | None = None
    server: Server = Server()
    wallet: Wallet = Wallet()
    provider: list[Provider] = []
    seals: Seals | None = None
    audit: Audit = Audit()
    provider_book: ProviderBook | None = None
    operator: list[Operator] = []
    currencies: dict[str, Scale] = {}

    def tokens(self) -> dict[str, str]:
        """Returns the bearer tokens of who may read a book, by role."""
        auditor = {"auditor": self.auditor.token} if self.auditor else {}
        return {"admin": self.admin.token, **auditor}

    def books(self) -> dict[str, str]:
        """Returns the books' stores, by party."""
        provider = {"provider": self.provider_book.store} if self.provider_book else {}
        return {"operator": self.store, **provider}

    def copies(self) -> dict[str, str]:
        """Returns the copies that are read for questions and audit files, by party; none where the book itself is."""
        provider = self.provider_book and self.provider_book.read_store
        known = {"operator": self.read_store, "provider": provider}
        return {
            party: copy
            for party, store in self.books().items()
            if (copy := known[party]) and copy != store
        }

    def audit_files(self) -> dict[str, Path]:
        """Returns where the audit file of each book is, by party: roundbook.audit.db of roundbook.db."""
        stores = {party: place(store, party) for party, store in self.books().items()}
        return {
            party: Path(self.audit.folder or book.parent, f"{book.stem}.audit.db")
            for party, book in stores.items()
        }

    def house(self) -> House:
        """Returns what of it the rules depend on."""
        return House(
            allow_cancel_completed=self.wallet.allow_cancel_completed,
            bets_stopped=frozenset(p.id for p in self.provider if not p.bets),
            games={p.id: frozenset(p.games) for p in self.provider if p.games is not None},
            games_off={p.id: frozenset(p.games_off) for p in self.provider},
            scales=self.currencies,
        )

    def provider_house(self) -> ProviderHouse:
        """Returns what of it the rules of the provider's book depend on."""
        terms = [operator.terms() for operator in self.operator]
        return ProviderHouse(operators={t.id: t for t in terms}, scales=self.currencies)


def load(path: Path, environ: Mapping[str, str] = os.environ) -> Settings:
    """Returns the settings of a file of one book under its environment. Raises SettingsWrong."""
    with _naming(str(path)):
        return settle(_parsed_file(path), environ)


def load_books(path: Path, environ: Mapping[str, str] = os.environ) -> dict[str, Settings]:
    """Returns the settings of each book of a file by its id, in order; without [[book]] by ALONE.

    Raises SettingsWrong.
    """
    with _naming(str(path)):
        document = _parsed_file(path)
        if "book" in document:
            return settle_books(document, environ)
        return {ALONE: settle(document, environ)}


def _parsed_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsWrong(str(error)) from error


@contextmanager
def _naming(where: str) -> Iterator[None]:
    try:
        yield
    except SettingsWrong as wrong:
        raise SettingsWrong(f"{where}: {wrong}") from wrong


def settle(document: dict[str, Any], environ: Mapping[str, str]) -> Settings:
    """Returns the settings of a parsed document under its environment. Raises SettingsWrong."""
    _override(document, Settings, "ROUNDBOOK", environ)
    return _settled(document, environ)


def settle_books(document: dict[str, Any], environ: Mapping[str, str]) -> dict[str, Settings]:
    """Returns the settings of each [[book]] of a parsed document by its id. Raises SettingsWrong."""
    shared = {key: value for key, value in document.items() if key != "book"}
    _override(shared, Settings, "ROUNDBOOK", environ)
    _check_shared(shared)
    found = {}
    for id_, block in _by_id(_tables(document, "book")).items():
        with _naming(f"book {id_}"):
            whole = _beside(shared, block)
            _override(whole, Settings, f"ROUNDBOOK_BOOK_{_variable(id_)}", environ)
            if "store" not in whole:
                raise SettingsWrong("store: each book needs a store of its own")
            found[id_] = _settled(whole, environ)
    _check_apart(found)
    return found


def _by_id(blocks: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Returns what stands in each block beside its id, by that."""
    found: dict[str, dict[str, Any]] = {}
    known: dict[str, str] = {}
    for index, block in enumerate(blocks):
        id_, key = block.get("id"), f"book[{index}].id"
        if not (isinstance(id_, str) and _BOOK_ID.fullmatch(id_)):
            raise SettingsWrong(f"{key}: must be letters, digits, - and _, at most 64")
        other = known.setdefault(_variable(id_), id_)
        if id_ in found:
            raise SettingsWrong(f"{key}: {id_!r} is given twice")
        if other != id_:
            raise SettingsWrong(f"{key}: {id_!r} and {other!r} are one name in the environment")
        found[id_] = {name: value for name, value in block.items() if name != "id"}
    if not found:
        raise SettingsWrong("book: expected one [[book]] or more")
    return found


_BOOK_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def _beside(shared: Mapping[str, Any], block: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a book's block, and where that says nothing, in a table too, what stands outside."""
    whole = {**shared, **block}
    for key, value in shared.items():
        own = block.get(key, {})
        if isinstance(value, dict) and isinstance(own, dict):
            whole[key] = {**value, **own}
    return whole


def _settled(document: dict[str, Any], environ: Mapping[str, str]) -> Settings:
    resolved = _resolve(document, "", environ)
    for currency, scale in resolved.get("currencies", {}).items():
        _check(scale, Scale, f"currencies.{currency}")
    try:
        settings = msgspec.convert(resolved, Settings)
    except msgspec.ValidationError as error:
        raise SettingsWrong(_readable(str(error))) from error
    _check_stores(settings)
    _check_bearers(settings)
    _check_unique(settings)
    _check_operators(settings)
    return settings


def _override(block: dict[str, Any], shape: Any, prefix: str, environ: Mapping[str, str]) -> None:
    for field in msgspec.structs.fields(shape):
        variable, kind = f"{prefix}_{field.name.upper()}", field.type
        if field.name in _LISTS:
            inner_shape, named = _LISTS[field.name]
            for table in _tables(block, field.name):
                inner_prefix = f"{variable}_{_variable(table.get(named, ''))}"
                _override(table, inner_shape, inner_prefix, environ)
        elif field.name == "currencies":
            _override_currencies(block, f"{variable}_", environ)
        elif nested := _struct(kind):
            inner = dict(_table(block.get(field.name, {}), field.name))
            _override(inner, nested, variable, environ)
            if inner:
                block[field.name] = inner
        elif variable in environ:
            block[field.name] = _parsed(environ[variable], kind, variable)


def _table(value: Any, key: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SettingsWrong(f"{key}: expected a table, got {type(value).__name__}")
    return value


def _tables(block: dict[str, Any], key: str) -> list[dict[str, Any]]:
    found = block.get(key, [])
    if not isinstance(found, list):
        raise SettingsWrong(f"{key}: expected a list of tables, written [[{key}]]")
    return [_table(table, f"{key}[{index}]") for index, table in enumerate(found)]


_LISTS: dict[str, tuple[Any, str]] = {
    "provider": (Provider, "id"),
    "operator": (Operator, "secure_login"),
}


def _variable(named: Any) -> str:
    return "".join(c if c.isalnum() else "_" for c in str(named)).upper()


def _override_currencies(block: dict[str, Any], prefix: str, environ: Mapping[str, str]) -> None:
    currencies = _table(block.setdefault("currencies", {}), "currencies")
    for variable in environ:
        if variable.startswith(prefix):
            scale = _parsed(environ[variable], Scale, variable)
            currencies[variable.removeprefix(prefix)] = scale


def _struct(kind: Any) -> Any:
    options = getattr(kind, "__args__", (kind,))
    return next((o for o in options if isinstance(o, type) and issubclass(o, _Block)), None)


def _parsed(text: str, kind: Any, variable: str) -> Any:
    try:
        if list in _origins(kind) and str not in _origins(kind):
            return [part.strip() for part in text.split(",") if part.strip()]
        return msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError as error:
        words = _words(kind)
        raise SettingsWrong(f"{variable}: {f'must be {words}' if words else error}") from error


def _origins(kind: Any) -> set[Any]:
    """Returns the plain types an annotation admits."""
    if get_origin(kind) in (Annotated, Union, UnionType):
        parts = get_args(kind)[:1] if get_origin(kind) is Annotated else get_args(kind)
        return set().union(*(_origins(part) for part in parts))
    return {get_origin(kind) or kind}


def _resolve(value: Any, path: str, environ: Mapping[str, str]) -> Any:
    """Replaces `env:NAME` by what the environment holds under NAME. Raises SettingsWrong."""
    if isinstance(value, dict):
        return {k: _resolve(v, f"{path}.{k}".lstrip("."), environ) for k, v in value.items()}
    if isinstance(value, list):
        return [_resolve(v, f"{path}[{i}]", environ) for i, v in enumerate(value)]
    if isinstance(value, str) and value.startswith("env:"):
        name = value.removeprefix("env:")
        if not environ.get(name):
            raise SettingsWrong(f"{path}: the environment has no {name}")
        return _resolve_text(environ[name], path)
    return _resolve_text(value, path) if isinstance(value, str) else value


def _resolve_text(text: str, path: str) -> str:
    """What came with an end of line, from a file say, or in no UTF-8, opens nothing and is hard to see."""
    if _CONTROL.search(text):
        raise SettingsWrong(f"{path}: holds an end of line, or another character that is no text")
    return text


_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def _check(value: Any, kind: Any, key: str) -> None:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise SettingsWrong(f"{key}: {_readable(str(error)).partition(': ')[2]}") from error


def _readable(message: str) -> str:
    """Turns `Expected ... - at `$.provider[0].id`` into `provider[0].id: expected ...`."""
    what, _, where = message.partition(" - at `$")
    key = where.rstrip("`").lstrip(".") or "the top level"
    words = _WORDS.get(key.rpartition(".")[2])
    return f"{key}: {f'must be {words}' if words else what[0].lower() + what[1:]}"


def _words(kind: Any) -> str:
    """Returns what a value of a few words may be, as `a, b or c`; nothing for other types."""
    if kind is bool:
        return "true or false"
    if get_origin(kind) is not Literal:
        return ""
    *first, last = get_args(kind)
    return f"{', '.join(first)} or {last}"


_WORDS = {
    field.name: words
    for block in _Block.__subclasses__()
    for field in msgspec.structs.fields(block)
    if (words := _words(field.type))
}
"""By key: in whatever block it stands, the words are the same."""


def _check_stores(settings: Settings) -> None:
    for key, store in stores_of(settings).items():
        try:
            parts = parts_of(store) if store.startswith(POSTGRES) else urlsplit(store)
        except ValueError:  # its text may quote a password
            raise SettingsWrong(f"{key}: {NO_URL}") from None
        if parts.scheme == "sqlite" and parse_qsl(parts.query):
            raise SettingsWrong(
                f"{key}: a file takes no parameters, what follows the ? is not its name"
            )


def stores_of(settings: Settings) -> dict[str, str]:
    """Returns the books' stores and their copies, by key."""
    block = {"operator": "", "provider": "provider_book."}
    books = {f"{block[party]}store": store for party, store in settings.books().items()}
    return books | {f"{block[party]}read_store": copy for party, copy in settings.copies().items()}


def _bearers(settings: Settings) -> dict[str, str]:
    """Returns the tokens that come in a header, by key."""
    games = {"provider_book.token": settings.provider_book.token} if settings.provider_book else {}
    return {f"{role}.token": token for role, token in settings.tokens().items()} | games


def _check_bearers(settings: Settings) -> None:
    seen: dict[str, str] = {}
    for key, token in _bearers(settings).items():
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
    named = stores_of(settings)
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


def _check_shared(shared: Mapping[str, Any]) -> None:
    for key in OWN:
        if key in shared:
            raise SettingsWrong(
                f"{key}: each [[book]] has its own, none stands outside of them,"
                f" here or as ROUNDBOOK_{key.upper()}* in the environment"
            )


def _check_apart(books: Mapping[str, Settings]) -> None:
    """No two books may share what is one's own: a request must reach the book it is meant for alone."""
    seen: dict[tuple[str, Hashable], tuple[str, str]] = {}
    for id_, settings in books.items():
        for kind, key, value in _own(settings):
            other, its = seen.setdefault((kind, value), (id_, key))
            if other != id_:
                raise SettingsWrong(f"book {id_}: {key}: is book {other}'s {its} too")


def _own(settings: Settings) -> Iterator[tuple[str, str, Hashable]]:
    """Yields what kind of thing may be at one book only, its key, and what it is."""
    yield "port", "server.port", settings.server.port
    for key, store in stores_of(settings).items():
        yield "store", key, identity(store)
    for file in settings.audit_files().values():
        yield "audit file", f"audit.folder with {file.name}", os.path.realpath(file)
    if settings.seals and settings.seals.folder:
        yield "seals", "seals.folder", os.path.realpath(settings.seals.folder)
    for key, token in _bearers(settings).items():
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

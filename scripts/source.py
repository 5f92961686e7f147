"""Where an auditor reads a book from: a store's file, or a service over HTTP."""

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Annotated, Literal, Protocol, TypeVar

import httpcore
import msgspec
from eventsourcing.persistence import PersistenceError

from api.settings import Settings
from ledger.mapper import Mapper, Unreadable
from ledger.operator.book import MAPPER as OPERATOR
from ledger.projection import Projection
from ledger.provider.book import MAPPER as PROVIDER
from ledger.seal import Seal
from ledger.sealing import seals_of
from ledger.store import Record, Store, StoreUnfit, is_server, open_store, told
from ledger.store.chain import Head
from projections import IN_TRANSACTION as OPERATOR_TABLES
from projections.provider import IN_TRANSACTION as PROVIDER_TABLES

Party = Literal["operator", "provider"]
MAPPERS: dict[Party, Mapper] = {"operator": OPERATOR, "provider": PROVIDER}
TABLES: dict[Party, tuple[Projection, ...]] = {
    "operator": OPERATOR_TABLES,
    "provider": PROVIDER_TABLES,
}

PROVIDERS_FIRST = ("RoundOpened", "SweepMade", "SweepStopped")
"""What a provider's book may begin with; an operator's begins with a wallet, or a tombstone."""

T = TypeVar("T")

PAGE = 1000
PATIENCE_S = 30.0

NOT_ASKED = (
    *(httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError),
    *(TypeError, ValueError),
)
"""What asking a service comes to: it does not answer, or the address or the token can be nobody's."""


class Source(Protocol):
    """A book that is read: its events up to a head that stays the same, and its seals."""

    name: str

    @property
    def store(self) -> Store | None:
        """The store itself, with its tables, where it is at hand."""

    def head(self) -> Head: ...

    def records(self, *, after: int, upto: int) -> Iterator[Record]:
        """Yields the records behind a position, up to another, in order."""

    def seals(self) -> list[Seal]:
        """Returns the seals in the order they were made."""


def party_of(source: Source) -> Party:
    """Returns whose book it is, by its first event, damaged or not; without one by the tables it is read with."""
    first = next(source.records(after=0, upto=1), None)
    if first is None:
        return _tabled(source.store) if source.store else "operator"
    try:
        body = msgspec.json.decode(first.state)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        body = None
    if isinstance(body, dict) and body:
        return "provider" if "operator" in body or first.topic.startswith("Sweep") else "operator"
    return "provider" if first.topic in PROVIDERS_FIRST else "operator"


@contextmanager
def open_source(
    where: str, *, token: str | None = None, party: Party | None = None
) -> Iterator[Source]:
    """Yields the book that a path, sqlite:///PATH or http(s)://HOST names; only read. Raises StoreUnfit.

    `party`: whose it is, where that is known. Over HTTP the operator's book is meant, the provider's by http(s)://HOST/api/provider.
    """
    if where.startswith(("http://", "https://")):
        with _Remote(where, token) as remote:
            yield remote
        return
    url = url_of(where, in_memory="cannot be read from outside")
    name = told(where) if "://" in where else where
    store = open_store(url, TABLES[party or party_at(url, name)], read_only=True)
    with closing(store), naming(name), store.snapshot():
        yield _Local(name, store)


@contextmanager
def naming(book: str) -> Iterator[None]:
    """Raises StoreUnfit, which names the book, where something in it cannot be read."""
    try:
        yield
    except (PersistenceError, Unreadable) as error:
        raise StoreUnfit(f"store: {book}: {error}") from error


def url_of(where: str, *, in_memory: str) -> str:
    """Returns a store's URL, or that of the file at a path.

    `in_memory`: why it cannot be one in memory. Raises StoreUnfit.
    """
    if where.startswith("memory:"):
        raise StoreUnfit(f"store: what is in memory {in_memory}; name a file")
    return where if "://" in where or is_server(where) else f"sqlite:///{where}"


def party_at(url: str, name: str = "", *, otherwise: Party = "operator") -> Party:
    """Returns whose book a store's URL leads to; an empty one is whose tables can be read. Raises StoreUnfit."""
    with closing(open_store(url, read_only=True)) as store:
        if store.head().position:
            return party_of(_Local(name, store))
    for party, tables in TABLES.items():
        with closing(open_store(url, tables, read_only=True)) as store:
            if _is_read(store):
                return party
    return otherwise


@contextmanager
def each_its_own(settings: Settings) -> Iterator[None]:
    """Raises StoreUnfit as opening a store does, but of the other party's book says that it is one."""
    try:
        yield
    except StoreUnfit:
        for key, where in settings.stores().items():
            party: Party = "provider" if key.startswith("provider_book.") else "operator"
            if whose := _other(where, party):
                said = f"{key}: {told(where)} is the {whose}'s book, not the {party}'s"
                raise StoreUnfit(f"{said}: name another store") from None
        raise


def _other(where: str, party: Party) -> Party | None:
    """Returns whose book a store is where that is not the party's; None of one that cannot be read, too."""
    with suppress(StoreUnfit, PersistenceError):
        whose = party_at(where, otherwise=party)
        return None if whose == party else whose
    return None


def _is_read(store: Store) -> bool:
    with suppress(PersistenceError):
        for projection in store.projections:
            next(store.scan(projection.TABLE), None)
        return True
    return False


def _tabled(store: Store) -> Party:
    return next(
        (party for party, of in TABLES.items() if of == tuple(store.projections)), "operator"
    )


class _Local:
    def __init__(self, name: str, store: Store) -> None:
        self.name, self.store = name, store

    def head(self) -> Head:
        return self.store.head()

    def records(self, *, after: int, upto: int) -> Iterator[Record]:
        return self.store.walk(after=after, upto=upto)

    def seals(self) -> list[Seal]:
        return seals_of(self.store)


class _Remote:
    """A service's `/api/events`, `/api/head` and `/api/seals`, with the auditor's token."""

    def __init__(self, url: str, token: str | None) -> None:
        scheme, _, rest = url.partition("://")
        host, _, path = rest.rstrip("/").partition("/")
        self.name, self.store = url, None
        self._base = f"{scheme}://{host}/{path or 'api'}"
        self._token = token

    def __enter__(self) -> "_Remote":
        self._pool = httpcore.ConnectionPool(max_connections=1)
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.close()

    def head(self) -> Head:
        found = self._get("/head", _Head)
        return Head(found.position, bytes.fromhex(found.hash))

    def records(self, *, after: int, upto: int) -> Iterator[Record]:
        while after < upto:
            path = f"/events?after={after}&limit={min(PAGE, upto - after)}"
            page = self._get(path, _Page)
            if not page.events:
                return
            yield from map(_record, page.events)
            after = page.next

    def seals(self) -> list[Seal]:
        return self._get("/seals", _Seals).seals

    def _get(self, path: str, shape: type[T]) -> T:
        headers: dict[bytes | str, bytes | str] = (
            {"Authorization": f"Bearer {self._token}"} if self._token else {}
        )
        wait = dict.fromkeys(("connect", "read", "write", "pool"), PATIENCE_S)
        try:
            got = self._pool.request(
                "GET", f"{self._base}{path}", headers=headers, extensions={"timeout": wait}
            )
        except NOT_ASKED as error:
            raise StoreUnfit(f"{self.name}: {error or type(error).__name__}") from error
        if got.status != 200:
            what = f"{self.name}{path.partition('?')[0]}: HTTP {got.status}"
            raise StoreUnfit(what + _MEANING.get(got.status, ""))
        try:
            return msgspec.json.decode(got.content, type=shape)
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise StoreUnfit(f"{self.name}: is no Roundbook service: {error}") from error


_DENIED = ": --token must be the auditor's"
_MEANING = {401: _DENIED, 403: _DENIED, 404: ": there is no Roundbook there"}
_Hex = Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{2})*$")]


class _Event(msgspec.Struct):
    position: int
    stream: str
    version: int
    topic: str
    hash: _Hex
    body: msgspec.Raw
    """The stored bytes, as they stand in the answer."""
    raw: bytes | None = None
    """The stored bytes, where they are no JSON."""


class _Page(msgspec.Struct):
    events: list[_Event]
    next: int


class _Head(msgspec.Struct):
    position: int
    hash: _Hex


class _Seals(msgspec.Struct):
    seals: list[Seal]


def _record(event: _Event) -> Record:
    return Record(
        event.stream,
        event.version,
        event.topic,
        bytes(event.body) if event.raw is None else event.raw,
        event.position,
        bytes.fromhex(event.hash),
    )

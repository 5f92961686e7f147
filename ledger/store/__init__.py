"""Where events are kept: an eventsourcing recorder with a hash chain and tables that are never stale.

A store is an `ApplicationRecorder` of the eventsourcing library: streams, notifications and
optimistic concurrency are the library's contract, and its contract tests hold for every store here.
"""

import time
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec
from eventsourcing.persistence import (
    ApplicationRecorder,
    Notification,
    OperationalError,
    PersistenceError,
    StoredEvent,
)

from ledger.projection import Changes, Key, Projection, Row
from ledger.store.chain import Head

EVENTS, SEALS = "stored_events", "seals"
POSTGRES = ("postgresql://", "postgres://")
ANEW = "; tables of an older version are made anew by roundbook rebuild"
PAGE = 1000
NO_END = 2**63 - 1
"""Behind every position and version there can be."""


Streams = Mapping[str, Sequence[tuple[str, bytes]]]
"""Topics and bodies, in order, by the stream's name."""


Asked = tuple[Collection[str], Mapping[str, Collection[Key]]]
"""Streams, and keys by table."""

NOTHING: Asked = ((), {})

Loaded = tuple[Streams, Mapping[str, Mapping[Key, Row]]]
"""The events of streams, and by table the rows by key; what is not there is absent."""


class Appended(msgspec.Struct, frozen=True):
    """An event on its way into a store: what the library's StoredEvent says, made in a sixth of its time."""

    originator_id: str
    originator_version: int
    topic: str
    state: bytes


class StoreUnfit(Exception):
    """The store cannot be used as it is; the text says what to do."""


class Presumed(Exception):
    """What a transaction presumed was not so: nothing was written, and it can be decided anew."""


class NoText(OperationalError):
    """A text that was read is none, in UTF-8: no book writes such a one."""


class FlushFailed(PersistenceError):
    """What was written may or may not be on the disk: only a restart can tell."""


@dataclass(frozen=True)
class Altered:
    """What keeps a store's rows and is not as the store makes it, or not `ours`: none that it makes."""

    kind: str
    name: str
    ours: bool

    def __str__(self) -> str:
        how = "not as a book makes it" if self.ours else "none of a book's"
        return f"the {self.kind} {self.name} is {how}"

    @property
    def remedy(self) -> str:
        """Returns what helps, to be said behind what it is."""
        if self.kind != "function":
            return ANEW
        if self.ours:
            return "; one of an older version is made anew where roundbook serve starts"
        return "; somebody else made it: drop it, or have it in another schema"


@dataclass(frozen=True)
class Record(Notification):
    """A stored event with its place in the whole store (`id`, the position) and its hash."""

    hash: bytes

    @property
    def row(self) -> Row:
        """Returns it as `Store.scan` has it: position, stream, version, topic, body, hash."""
        stream, version = self.originator_id, self.originator_version
        return self.id, stream, version, self.topic, self.state, self.hash


@dataclass(frozen=True, kw_only=True)
class Where:
    """Rows whose columns equal these values, and with `after < column <= upto`; null is in no range.

    `upto`: None for no end. `behind`: of the rows at `after` those too whose key sorts behind this one.
    """

    equals: Mapping[str, str]
    column: str
    after: str = ""
    behind: Key = ()
    upto: str | None
    limit: int
    skip: int = 0


class Store(ApplicationRecorder):
    """What the writer and the readers need beside the library's recorder."""

    remote = False
    """Whether an answer may have to come from another machine."""

    deadline_s = 8.0
    """What whoever waits for it gets at most: below the 10 s after which a caller sends again."""

    def copies(self) -> str:
        """Returns who else holds what is committed: "none", "asynchronous", "synchronous" or "waiting" for them."""
        return "none"

    def risk(self) -> str:
        """Returns by what answered bets can be lost, where its server is set so; empty as a rule."""
        return ""

    def await_news(self, seconds: float) -> bool:
        """Waits until somebody wrote, or for so many seconds; returns whether it was told. For one thread."""
        time.sleep(seconds)
        return False

    def size(self) -> int:
        """Returns the bytes it takes on a disk."""
        return 0

    def damaged(self) -> str:
        """Returns the first page or index that is not whole, where that can be looked at; empty as a rule."""
        return ""

    def try_write(self) -> None:
        """Writes what changes nothing. Raises PersistenceError where nothing can be written."""

    def altered(self) -> Altered | None:
        """Returns the first of its tables, indexes and triggers that is not as it makes them; None as a rule."""
        return None

    @property
    @abstractmethod
    def projections(self) -> Sequence[Projection]:
        """The tables kept in the write transaction."""

    @abstractmethod
    def transaction(
        self, ahead: Asked = NOTHING, *, presumed: bool = False
    ) -> AbstractContextManager[Head]:
        """Takes the store for writing: reads inside see the head it yields and nothing later.

        `ahead` is what `load` will be asked for first: a store far away reads it in the same round trip.
        With `presumed` it may spare that: it takes for granted that nobody else wrote, and that nothing
        of `ahead` is there, has both checked when it commits, and raises Presumed where one was wrong.

        What is inserted inside is durable when the block ends; an exception leaves nothing.
        """

    @property
    @abstractmethod
    def untouched(self) -> bool:
        """Whether nobody else wrote between this transaction and this store's last; only inside one."""

    @abstractmethod
    def snapshot(self) -> AbstractContextManager[Head]:
        """Reads inside see the head it yields and nothing later; writers are not held up.

        Inside another one, or a transaction, it is a part of that.
        """

    @abstractmethod
    def insert_events(
        self,
        stored_events: Sequence[StoredEvent | Appended],
        *,
        changes: Changes | None = None,
        **_: Any,
    ) -> Sequence[int] | None:
        """Appends events and the rows they came to; all or nothing. Raises IntegrityError."""

    def load(self, asked: Asked) -> Loaded:
        """Returns what `streams` does, and for each table what `find` does: all that many commands touch."""
        streams, rows = asked
        return self.streams(streams), {
            table: self.find(table, keys) for table, keys in rows.items() if keys
        }

    @abstractmethod
    def streams(self, names: Collection[str]) -> Streams:
        """Returns topics and bodies of the events of many streams, in order; empty ones are absent."""

    @abstractmethod
    def stream(self, name: str, *, upto: int | None = None) -> Sequence[tuple[str, bytes]]:
        """Returns topic and body of a stream's events in order, empty where it has none."""

    @abstractmethod
    def event(self, stream: str, version: int) -> tuple[str, bytes]:
        """Returns topic and body of one event that is known to be there."""

    @abstractmethod
    def stream_version(self, name: str) -> int:
        """Returns the version of a stream's last event, 0 where it has none."""

    @abstractmethod
    def find(self, table: str, keys: Collection[Key]) -> Mapping[Key, Row]:
        """Returns a table's rows by key, without their keys; what is not there is absent."""

    def row(self, table: str, key: Key) -> Row | None:
        """Returns a table's row, without its key."""
        return self.find(table, (key,)).get(key)

    @abstractmethod
    def rows(self, table: str, prefix: Key = ()) -> Sequence[Row]:
        """Returns whole rows, key first, whose key begins with `prefix`, sorted by key."""

    @abstractmethod
    def where(self, table: str, where: Where) -> Sequence[Row]:
        """Returns whole rows, key first, sorted by the range's column, then by key."""

    @abstractmethod
    def count(self, table: str, where: Where) -> int:
        """Returns how many rows there are, whatever the limit."""

    @abstractmethod
    def first_parts(self, table: str) -> Sequence[str]:
        """Returns what the keys of a table begin with, each once, sorted."""

    @abstractmethod
    def records(self, *, after: int, limit: int) -> Sequence[Record]:
        """Returns up to `limit` records behind a position, in order."""

    def walk(self, *, after: int = 0, upto: int = NO_END) -> Iterator[Record]:
        """Yields the records behind a position, up to another, in order: so many are read at a time."""
        while after < upto and (page := self.records(after=after, limit=min(PAGE, upto - after))):
            yield from page
            after = page[-1].id

    def scan(self, table: str, *, after: int | None = None) -> Iterator[Row]:
        """Yields a table's whole rows, one at a time, so that memory stays flat.

        Of EVENTS: position, stream, version, topic, body, hash, in order, those behind a position, where
        one is given; of SEALS: number, position, JSON, in order, those behind a number; of others key
        first, in no order.
        """
        if table == EVENTS:
            yield from (record.row for record in self.walk(after=after or 0))
        elif table == SEALS:
            known = after or 0
            for number, seal in enumerate(self.seals()[known:], known + 1):
                yield number, msgspec.json.decode(seal)["position"], seal
        else:
            yield from self.rows(table)

    @abstractmethod
    def seals(self) -> Sequence[bytes]:
        """Returns every seal in the order they were made, each as JSON."""

    @abstractmethod
    def last_seal(self) -> bytes | None:
        """Returns the newest seal, None where there is none."""

    @abstractmethod
    def add_seal(self, position: int, seal: bytes, *, after: bytes | None) -> None:
        """Keeps a seal of the head at a position, durable when it returns.

        Raises IntegrityError where `after` is not the newest seal any more: another sealer was first.
        """

    @abstractmethod
    def clear(self, table: str) -> None:
        """Throws a table's rows away, to be written again; only inside a transaction."""

    @abstractmethod
    def write(self, changes: Changes) -> None:
        """Writes rows; only inside a transaction. Raises IntegrityError where one is not as it was read."""

    @abstractmethod
    def head(self) -> Head:
        """Returns the last event's position and hash."""

    @abstractmethod
    def close(self) -> None:
        """Releases what the store holds; it cannot be used afterwards."""


def parts_of(url: str) -> SplitResult:
    """Returns the parts of a database's URL. Raises ValueError, whose text quotes nothing of it.

    A password with a sign of its own in it cuts a URL elsewhere than was meant, and what is no
    password then may be a part of it.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError(NO_URL) from None
    _, _, hosts = parts.netloc.rpartition("@")
    cut = parts.netloc.count("@") > 1 or "@" in parts.path or parts.fragment
    whole = all(map(_is_host, hosts.split(","))) and all(map(_is_named, parts.query.split("&")))
    if cut or not whole:
        raise ValueError(NO_URL)
    return parts


NO_URL = (
    "cannot be read as a database's URL; in a name or password / is %2F, ? %3F, # %23, @ %40, % %25"
)


def _is_host(host: str) -> bool:
    _, _, port = host.rpartition("]")[2].partition(":")
    return not port or port.isdigit()


def _is_named(parameter: str) -> bool:
    return not parameter or "=" in parameter


def is_server(where: str) -> bool:
    """Returns whether a database's URL is meant, well written or not: it may hold a password."""
    return where.startswith(("postgresql:", "postgres:"))


def told(url: str) -> str:
    """Returns a store's URL as it may be said: without who connects, and with which password."""
    scheme, is_url, _ = url.partition("://")
    if scheme == "sqlite" or not is_url:
        return url
    try:
        parts = parts_of(url)
    except ValueError:
        return f"{scheme}://..."
    if "@" not in parts.netloc and not parts.query:
        return url
    schema = [pair for pair in parse_qsl(parts.query) if pair[0] == "schema"]
    return urlunsplit(
        (*parts[:1], parts.netloc.rpartition("@")[2], parts.path, urlencode(schema), "")
    )


def news(url: str) -> Callable[[float], object] | None:
    """Returns what waits until the store at a URL grew, or for so many seconds; None where nobody tells."""
    if not url.startswith(POSTGRES):
        return None
    from ledger.store.postgres import listener

    return listener(url).wait


def open_store(
    url: str,
    projections: Sequence[Projection] = (),
    *,
    create: bool = True,
    read_only: bool = False,
    at_once: bool = True,
    anew: bool = False,
) -> Store:
    """Returns the store a URL names: `sqlite:///FILE`, `postgresql://HOST/DATABASE?schema=BOOK` or `memory://`.

    One that is read only is not changed by a byte, whoever else writes it; where it need not be there
    `at_once`, a server that does not answer is asked again with each question. One whose tables are
    to be made `anew` may have others than this version makes.
    Raises StoreUnfit for another URL, a store that is not there and not to be created, one that
    cannot be opened, and one that is not durable.
    """
    from ledger.store.memory import MemoryStore  # here, so that no driver is loaded unasked
    from ledger.store.sqlite import SQLiteStore

    scheme, _, path = url.partition("://")
    if scheme == "memory":
        return MemoryStore(projections)
    if scheme == "sqlite" and len(path) > 1 and path.startswith("/"):
        where = path.removeprefix("/")
        return SQLiteStore(where, projections, create=create, read_only=read_only, anew=anew)
    if url.startswith(POSTGRES):
        from ledger.store.postgres import PostgresStore

        return PostgresStore(
            url, projections, create=create, read_only=read_only, at_once=at_once, anew=anew
        )
    named = f"{scheme}: " if "://" in url else ""
    raise StoreUnfit(f"store: {named}is neither sqlite:///FILE, postgresql://... nor memory://")

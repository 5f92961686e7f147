"""One SQLite file, written through one connection: WAL, flushed at every commit.

Several processes may share the file: the write lock is taken before anything is read for a decision.
"""

import os
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import cache
from itertools import chain
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import quote

import pysqlite3
from eventsourcing import persistence
from eventsourcing.persistence import Notification, StoredEvent

from ledger.projection import Changes, Key, Projection, Row
from ledger.store import EVENTS, SEALS, FlushFailed, Record, Store, StoreUnfit, Where
from ledger.store.chain import Head, link

OLDEST_SQLITE = (3, 51, 3)
"""Older ones can corrupt a WAL that several connections write (sqlite.org/wal.html#walresetbug)."""

BOOK_MARK = int.from_bytes(b"RBK1")
"""The file's application id: what tells a book from any other SQLite file."""

LOCK_WAIT_S = 5.0
MOST_KEYS = 256
"""In one statement."""

CHECKPOINT_PAGES = 4000
"""A page that many commits change is copied from the WAL once; 16 MB are copied in some 30 ms."""

WAL_LIMIT_BYTES = 64 * 1024 * 1024

_SCHEMA = """
create table if not exists stored_events (
    position integer primary key,
    stream text not null,
    version integer not null,
    topic text not null,
    state text not null,
    hash blob not null,
    unique (stream, version)
) strict;
create trigger if not exists stored_events_are_never_updated before update on stored_events
begin select raise(abort, 'events are immutable'); end;
create trigger if not exists stored_events_are_never_replaced before insert on stored_events
when exists (select 1 from stored_events where position = new.position)
or exists (select 1 from stored_events where stream = new.stream and version = new.version)
begin select raise(abort, 'events are immutable'); end;
create trigger if not exists stored_events_are_never_deleted before delete on stored_events
begin select raise(abort, 'events are immutable'); end;
"""

_SEALS = """
create table if not exists seals (
    number integer primary key,
    position integer not null,
    seal text not null
) strict;
create trigger if not exists seals_are_never_updated before update on seals
begin select raise(abort, 'seals are immutable'); end;
create trigger if not exists seals_are_never_replaced before insert on seals
when exists (select 1 from seals where number = new.number)
begin select raise(abort, 'seals are immutable'); end;
create trigger if not exists seals_are_never_deleted before delete on seals
begin select raise(abort, 'seals are immutable'); end;
"""

_INSERT = "insert into stored_events values (?, ?, ?, ?, ?, ?)"
_HEAD = "select position, hash from stored_events order by position desc limit 1"
_STREAM = "select topic, cast(state as blob) from stored_events where stream = ? and version <= ? order by version"
_STREAMS = "select stream, topic, cast(state as blob) from stored_events where stream in"
_EVENT = "select topic, cast(state as blob) from stored_events where stream = ? and version = ?"
_VERSION = "select max(version) from stored_events where stream = ?"
_RECORDS = "select * from stored_events where position > ? order by position limit ?"

_SCAN = "select position, stream, version, topic, cast(state as blob), hash from stored_events"
_NEXT = "where position > coalesce(?, -9223372036854775808) order by position limit 1"
_SEALED = "select number, position, cast(seal as blob) from seals"
_NEWEST_SEAL = "select seal from seals order by number desc limit 1"
_ADD_SEAL = f"insert into seals (position, seal) select ?, ? where ({_NEWEST_SEAL}) is ?"

_NO_END = 2**63 - 1


class SQLiteStore(Store):
    """Events, chain and tables in one file."""

    def __init__(
        self,
        path: str,
        projections: Sequence[Projection] = (),
        *,
        create: bool = True,
        read_only: bool = False,
    ) -> None:
        if pysqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise StoreUnfit(f"store: SQLite {pysqlite3.sqlite_version} is older than 3.51.3")
        self._path = os.path.abspath(path)
        if (read_only or not create) and not os.path.exists(self._path):
            raise StoreUnfit(f"store: there is no {self._path}")
        self._read_only = read_only
        self._projections = tuple(projections)
        self._tables = {p.TABLE: _Table(p) for p in projections}
        self._lock = threading.Lock()
        self._local = threading.local()
        self._idle: SimpleQueue[pysqlite3.Connection] = SimpleQueue()
        try:
            if read_only:
                self._writer = self._connect()
                self._check_mark()
                return
            self._writer = self._connect(
                f"pragma journal_size_limit = {WAL_LIMIT_BYTES}",
                f"pragma wal_autocheckpoint = {CHECKPOINT_PAGES}",
            )
            self._create(create=create)
        except pysqlite3.Error as error:
            raise StoreUnfit(f"store: {self._path}: {error}") from error

    # connections

    def _connect(self, *pragmas: str) -> pysqlite3.Connection:
        connection = pysqlite3.connect(
            self._uri() if self._read_only else self._path,
            uri=self._read_only,
            isolation_level=None,
            check_same_thread=False,
            timeout=LOCK_WAIT_S,
            cached_statements=512,
        )
        connection.execute("pragma trusted_schema = off")
        if self._read_only:
            return connection
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = full")
        for pragma in pragmas:
            connection.execute(pragma)
        journal = connection.execute("pragma journal_mode").fetchone()[0]
        synchronous = connection.execute("pragma synchronous").fetchone()[0]
        if (journal, synchronous) != ("wal", 2):
            raise StoreUnfit(f"store: {self._path} is not durable: {journal}, {synchronous}")
        return connection

    def _uri(self) -> str:
        """A copy that nobody writes, beside which no file can be made, is read as it lies there."""
        lies_still = not os.path.exists(f"{self._path}-wal")
        unwritable = not os.access(os.path.dirname(self._path), os.W_OK)
        still = "&immutable=1" if lies_still and unwritable else ""
        return f"file:{quote(self._path)}?mode=ro{still}"

    def _check_mark(self) -> None:
        (mark,) = self._writer.execute("pragma application_id").fetchone()
        if mark != BOOK_MARK:
            raise StoreUnfit(f"store: {self._path} is no Roundbook book")

    def _create(self, *, create: bool) -> None:
        self._writer.execute("begin immediate")
        (mark,) = self._writer.execute("pragma application_id").fetchone()
        (tables,) = self._writer.execute("select count(*) from sqlite_master").fetchone()
        if tables and mark != BOOK_MARK:
            raise StoreUnfit(f"store: {self._path} is a SQLite file, but no Roundbook book")
        if mark != BOOK_MARK:
            if not create:
                raise StoreUnfit(f"store: {self._path} is empty, and no Roundbook book")
            self._writer.execute(f"pragma application_id = {BOOK_MARK}")
        for statement in _statements(_SCHEMA, _SEALS, *(p.SCHEMA for p in self._projections)):
            self._writer.execute(statement)
        self._writer.execute("commit")

    @property
    def _own(self) -> pysqlite3.Connection | None:
        """The connection of this thread's transaction or snapshot."""
        return getattr(self._local, "connection", None)

    def _read(self, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Reads on the connection of this thread's transaction or snapshot, else on an idle one."""
        rows: list[Any]
        own = self._own
        with _Translated():
            if own is not None:
                rows = own.execute(statement, parameters).fetchall()
                return rows
            with self._reader() as connection:
                rows = connection.execute(statement, parameters).fetchall()
                return rows

    @contextmanager
    def _reader(self) -> Iterator[pysqlite3.Connection]:
        try:
            connection = self._idle.get_nowait()
        except Empty:
            connection = self._connect("pragma query_only = on")
        try:
            yield connection
        finally:
            self._idle.put(connection)

    @property
    def projections(self) -> Sequence[Projection]:
        return self._projections

    def close(self) -> None:
        while not self._idle.empty():
            self._idle.get().close()
        self._writer.close()

    @contextmanager
    def snapshot(self) -> Iterator[Head]:
        if self._own is not None:
            yield self.head()
            return
        with self._reader() as connection, _Translated():
            connection.execute("begin")
            self._local.connection = connection
            try:
                yield self.head()
            finally:
                self._local.connection = None
                connection.execute("rollback")

    # writing

    @contextmanager
    def transaction(self) -> Iterator[Head]:
        with self._lock:
            with _Translated():
                self._writer.execute("begin immediate")
            outer, self._local.connection = self._own, self._writer
            try:
                self._head = self.head()
                yield self._head
                self._flush()
            except BaseException:
                self._roll_back()
                raise
            finally:
                self._local.connection = outer

    def _flush(self) -> None:
        with _Translated():
            try:
                self._writer.execute("commit")
            except pysqlite3.OperationalError as error:
                # the driver names no more than the primary code: a failed write counts as a failed flush
                if error.sqlite_errorname == "SQLITE_IOERR":
                    raise FlushFailed(str(error)) from error
                raise

    def _roll_back(self) -> None:
        if self._writer.in_transaction:
            with _Translated():
                self._writer.execute("rollback")

    def insert_events(
        self, stored_events: Sequence[StoredEvent], *, changes: Changes | None = None, **_: Any
    ) -> Sequence[int]:
        """Appends events and the rows they came to; all or nothing. Raises IntegrityError."""
        if self._own is self._writer:
            return self._insert(stored_events, changes or {})
        with self.transaction():
            return self._insert(stored_events, changes or {})

    def _insert(self, stored_events: Sequence[StoredEvent], changes: Changes) -> Sequence[int]:
        position, previous = self._head
        rows = []
        for event in stored_events:
            position += 1
            stream, version = str(event.originator_id), event.originator_version
            previous = link(previous, stream, version, event.topic, event.state)
            rows.append((position, stream, version, event.topic, event.state.decode(), previous))
        with _Translated():
            self._writer.executemany(_INSERT, rows)
        self._head = Head(position, previous)
        self.write(changes)
        return list(range(position - len(rows) + 1, position + 1))

    def clear(self, table: str) -> None:
        with _Translated():
            self._writer.execute(f"delete from {table}")

    def write(self, changes: Changes) -> None:
        with _Translated():
            for table, rows in changes.items():
                self._tables[table].write(self._writer, rows)

    # reading

    def head(self) -> Head:
        found = self._read(_HEAD)
        return Head(*found[0]) if found else Head()

    def streams(self, names: Collection[str]) -> Mapping[str, Sequence[tuple[str, bytes]]]:
        found: dict[str, list[tuple[str, bytes]]] = {}
        for chunk in _chunks([(name,) for name in names]):
            statement = f"{_STREAMS} ({_values(1, len(chunk))}) order by stream, version"
            for stream, topic, state in self._read(statement, _flat(chunk)):
                found.setdefault(stream, []).append((topic, state))
        return found

    def stream(self, name: str, *, upto: int | None = None) -> Sequence[tuple[str, bytes]]:
        return self._read(_STREAM, (name, _NO_END if upto is None else upto))

    def event(self, stream: str, version: int) -> tuple[str, bytes]:
        ((topic, state),) = self._read(_EVENT, (stream, version))
        return topic, state

    def stream_version(self, name: str) -> int:
        return self._read(_VERSION, (name,))[0][0] or 0

    def find(self, table: str, keys: Collection[Key]) -> Mapping[Key, Row]:
        found = {}
        width = len(self._tables[table].key)
        for chunk in _chunks(list(keys)):
            statement = self._tables[table].find(len(chunk))
            for row in self._read(statement, _flat(chunk)):
                found[row[:width]] = row[width:]
        return found

    def rows(self, table: str, prefix: Key = ()) -> Sequence[Row]:
        return self._read(self._tables[table].select(len(prefix)), prefix)

    def where(self, table: str, where: Where) -> Sequence[Row]:
        statement = self._tables[table].where(where.column, tuple(where.equals))
        return self._read(
            statement, (*where.equals.values(), where.after, where.upto, where.limit, where.skip)
        )

    def count(self, table: str, where: Where) -> int:
        statement = self._tables[table].count(where.column, tuple(where.equals))
        found: int = self._read(statement, (*where.equals.values(), where.after, where.upto))[0][0]
        return found

    def first_parts(self, table: str) -> Sequence[str]:
        return [part for (part,) in self._read(self._tables[table].first_parts)]

    def records(self, *, after: int, limit: int) -> Sequence[Record]:
        return [_record(row) for row in self._read(_RECORDS, (after, limit))]

    def scan(self, table: str, *, after: int | None = None) -> Iterator[Row]:
        """Reads rows as they lie there, at whatever position, as they are asked for."""
        assert table in (EVENTS, SEALS, *self._tables)
        own = self._own
        with nullcontext(own) if own else self._reader() as connection, _Translated():
            if table == EVENTS:
                yield from _scanned(connection, after)
            elif table == SEALS:
                behind = "" if after is None else f"where number > {after:d}"
                yield from connection.execute(f"{_SEALED} {behind} order by number")
            else:
                yield from connection.execute(f"select * from {table}")

    def seals(self) -> Sequence[bytes]:
        return [seal.encode() for (seal,) in self._read("select seal from seals order by number")]

    def last_seal(self) -> bytes | None:
        found = self._read(_NEWEST_SEAL)
        return found[0][0].encode() if found else None

    def add_seal(self, position: int, seal: bytes, *, after: bytes | None) -> None:
        before = None if after is None else after.decode()
        with self.transaction(), _Translated():
            added = self._writer.execute(_ADD_SEAL, (position, seal.decode(), before))
            if not added.rowcount:
                raise persistence.IntegrityError("seals: there is a newer one")

    # the library's recorder

    def select_events(
        self,
        originator_id: Any,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        order = "desc" if desc else "asc"
        rows = self._read(
            "select * from stored_events where stream = ? and version > ? and version <= ?"
            f" order by version {order} limit ?",
            (
                str(originator_id),
                gt if gt is not None else -1,
                lte if lte is not None else _NO_END,
                limit if limit is not None else -1,
            ),
        )
        return [
            StoredEvent(originator_id, version, topic, state.encode())
            for _, _, version, topic, state, _ in rows
        ]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        first = 1 if start is None else start + (not inclusive_of_start)
        named = f" and topic in ({', '.join('?' * len(topics))})" if topics else ""
        rows = self._read(
            "select * from stored_events where position >= ? and position <= ?"
            f"{named} order by position limit ?",
            (first, stop if stop is not None else _NO_END, *topics, limit),
        )
        return [_record(row) for row in rows]

    def max_notification_id(self) -> int | None:
        return self.head().position or None

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Any:
        raise NotImplementedError("follow a SQLite store with select_notifications")


class _Table:
    """The statements of one projection's table."""

    def __init__(self, projection: Projection) -> None:
        self.name, self.key = projection.TABLE, list(projection.KEY)
        self._columns = columns = list(projection.COLUMNS)
        self._version = columns.index("version") if "version" in columns else None
        same = self.key if self._version is None else [*self.key, "version"]
        part = self.key[0]
        self.first_parts = (  # a step an index entry that differs, not a scan
            f"with recursive parts(part) as (select min({part}) from {self.name} union all"
            f" select (select min({part}) from {self.name} where {part} > parts.part)"
            " from parts where parts.part is not null)"
            " select part from parts where part is not null"
        )
        self._insert = f"insert into {self.name} {_values(len(self.key) + len(columns), 1)}"
        self._update = (
            f"update {self.name} set {', '.join(f'{column} = ?' for column in columns)}"
            f" where {' and '.join(f'{column} = ?' for column in same)}"
        )

    @cache
    def find(self, count: int) -> str:
        """Selects the whole rows of `count` keys."""
        keys = f"({', '.join(self.key)}) in ({_values(len(self.key), count)})"
        return f"select * from {self.name} where {keys}"

    @cache
    def select(self, prefix: int) -> str:
        """Selects whole rows by the first parts of their key."""
        where = " and ".join(f"{column} = ?" for column in self.key[:prefix]) or "true"
        return f"select * from {self.name} where {where} order by {', '.join(self.key)}"

    @cache
    def where(self, column: str, equals: tuple[str, ...]) -> str:
        """Selects whole rows in a range of one column, beside others that are given."""
        order = ", ".join([column, *self.key])
        return (
            f"select * from {self.name} where {self._range(column, equals)}"
            f" order by {order} limit ? offset ?"
        )

    @cache
    def count(self, column: str, equals: tuple[str, ...]) -> str:
        """Counts what `where` selects, without its limit."""
        return f"select count(*) from {self.name} where {self._range(column, equals)}"

    def _range(self, column: str, equals: tuple[str, ...]) -> str:
        assert {column, *equals} <= {*self.key, *self._columns}
        given = "".join(f"{name} = ? and " for name in equals)
        return f"{given}{column} > ? and {column} <= ?"

    def write(self, connection: pysqlite3.Connection, rows: Mapping[Key, Any]) -> None:
        """Inserts what was not there, updates what was; raises where it is not as it was read."""
        inserts = [(*key, *after) for key, (before, after) in rows.items() if before is None]
        updates = [
            (*after, *key, *self._guard(before)) for key, (before, after) in rows.items() if before
        ]
        if inserts:
            connection.executemany(self._insert, inserts)
        if updates:
            changed = connection.executemany(self._update, updates).rowcount
            if changed != len(updates):
                raise persistence.IntegrityError(f"{self.name}: a row changed under this batch")

    def _guard(self, before: Row) -> tuple[Any, ...]:
        return () if self._version is None else (before[self._version],)


def _chunks(keys: list[Key]) -> Iterator[list[Key]]:
    """Cuts keys into lists, repeating one up to a power of two: few statements are ever prepared."""
    for start in range(0, len(keys), MOST_KEYS):
        chunk = keys[start : start + MOST_KEYS]
        length = 1 << (len(chunk) - 1).bit_length()
        yield chunk + chunk[:1] * (length - len(chunk))


@cache
def _values(width: int, count: int) -> str:
    row = f"({', '.join('?' * width)})"
    return f"values {', '.join([row] * count)}"


def _flat(rows: Iterable[Sequence[Any]]) -> list[Any]:
    return list(chain.from_iterable(rows))


def _record(row: tuple[int, str, int, str, str, bytes]) -> Record:
    position, stream, version, topic, state, hashed = row
    return Record(stream, version, topic, state.encode(), position, hashed)


def _scanned(connection: pysqlite3.Connection, after: int | None) -> Iterator[Row]:
    behind = "" if after is None else f"where position > {after:d}"
    row: Row = (after,)
    try:
        for row in connection.execute(f"{_SCAN} {behind} order by position"):
            yield row
    except pysqlite3.OperationalError:  # the driver reads a row ahead: the next may still be whole
        while found := connection.execute(f"{_SCAN} {_NEXT}", row[:1]).fetchone():
            row = found
            yield row


def _statements(*scripts: str) -> Iterator[str]:
    statement = ""
    for line in "\n".join(scripts).splitlines():
        statement += line + "\n"
        if pysqlite3.complete_statement(statement):
            yield statement
            statement = ""


_ERRORS = (
    (pysqlite3.IntegrityError, persistence.IntegrityError),
    (pysqlite3.OperationalError, persistence.OperationalError),
    (pysqlite3.Error, persistence.PersistenceError),
)


class _Translated:
    """Gives the driver's errors the library's names."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if not isinstance(error, pysqlite3.Error):
            return
        for theirs, ours in _ERRORS:
            if isinstance(error, theirs):
                raise ours(str(error)) from error

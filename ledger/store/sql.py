"""What every store in SQL shares: statements, tables, the chain, the library's recorder.

A dialect says how it connects, begins and commits. Statements mark their parameters with `?`.
"""

import threading
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from itertools import chain
from queue import Empty, SimpleQueue
from typing import Any

from eventsourcing import persistence
from eventsourcing.persistence import Notification, StoredEvent

from ledger.projection import Changes, Key, Projection, Row
from ledger.store import (
    NO_END,
    NOTHING,
    Altered,
    Appended,
    Asked,
    Presumed,
    Record,
    Store,
    Streams,
    Where,
)
from ledger.store.chain import Head, link

MOST_KEYS = 256
"""In one statement."""

CALM_AFTER = 4
"""After so many transactions between which nobody else wrote, the next one presumes it."""

_INSERT = "insert into stored_events values (?, ?, ?, ?, ?, ?)"
_HEAD = "select position, hash from stored_events order by position desc limit 1"
_STREAM = (
    "select topic, {state} from stored_events where stream = ? and version <= ? order by version"
)
_STREAMS = "select stream, topic, {state} from stored_events where stream in"
_EVENT = "select topic, {state} from stored_events where stream = ? and version = ?"
_VERSION = "select max(version) from stored_events where stream = ?"
_WHOLE = "select position, stream, version, topic, state, hash from stored_events"
_RECORDS = f"{_WHOLE} where position > ? order by position limit ?"
_NEWEST_SEAL = "select seal from seals order by number desc limit 1"
_ADD_SEAL = (
    f"insert into seals (position, seal) select ?, ? where ({_NEWEST_SEAL}) is not distinct from ?"
)

Connection = Any
"""A driver's own."""

Shape = Mapping[tuple[str, str], str]
"""How what keeps a book's rows is made: by kind and name, what is said of it."""


class SqlStore(Store):
    """Events, chain and tables in a database; written through one connection, read through others."""

    STATE: str
    """The stored body as bytes, in the dialect."""

    def __init__(self, projections: Sequence[Projection]) -> None:
        self._projections = tuple(projections)
        self._tables = {p.TABLE: Table(p) for p in projections}
        self._lock = threading.Lock()
        self._local = threading.local()
        self._idle: SimpleQueue[Connection] = SimpleQueue()
        self._closed = False
        self._head = Head()
        self._left: object = None
        self._untouched = self._made_anew = False
        self._calm = 0
        self._stream, self._streams, self._event = (
            statement.format(state=self.STATE) for statement in (_STREAM, _STREAMS, _EVENT)
        )

    # what a dialect says

    @property
    @abstractmethod
    def _writer(self) -> Connection:
        """The one connection that writes."""

    @abstractmethod
    def _new_reader(self) -> Connection:
        """Returns a connection that only reads."""

    @abstractmethod
    def _begin(self, ahead: Asked, *, presumed: bool) -> None:
        """Takes the store for writing; may read ahead, or presume that nothing of it is there."""

    @abstractmethod
    def _arrive(self, left: object) -> tuple[Head, bool]:
        """Returns the head, and whether all is as it was when `_leave` returned `left`."""

    @abstractmethod
    def _leave(self) -> object:
        """Returns what would be another if anybody wrote from here on."""

    @abstractmethod
    def _begin_snapshot(self, connection: Connection) -> None:
        """Has a reader see what there is now, and nothing later."""

    @abstractmethod
    def _flush(self) -> None:
        """Makes durable what the writer wrote."""

    @abstractmethod
    def _roll_back(self) -> None:
        """Forgets what the writer wrote."""

    @abstractmethod
    def _execute(
        self, connection: Connection, statement: str, parameters: Sequence[Any] = ()
    ) -> Any:
        """Returns the cursor of a statement."""

    @abstractmethod
    def execute_many(self, statement: str, rows: Sequence[Sequence[Any]]) -> int:
        """Runs a statement of the writer for each row; returns how many rows it changed."""

    @abstractmethod
    def _translated(self) -> AbstractContextManager[None]:
        """Gives the driver's errors the library's names."""

    # connections

    @property
    def _own(self) -> Connection | None:
        """The connection of this thread's transaction or snapshot."""
        return getattr(self._local, "connection", None)

    def _read(self, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Reads on the connection of this thread's transaction or snapshot, else on an idle one."""
        rows: list[Any]
        own = self._own
        with self._translated():
            if own is not None:
                rows = self._execute(own, statement, parameters).fetchall()
                return rows
            with self._reader() as connection:
                rows = self._execute(connection, statement, parameters).fetchall()
                return rows

    @contextmanager
    def _reader(self) -> Iterator[Connection]:
        try:
            connection = self._idle.get_nowait()
        except Empty:
            connection = self._new_reader()
        try:
            yield connection
        finally:
            self._put_back(connection)

    def _put_back(self, connection: Connection) -> None:
        if self._closed:  # it was in use when the store was
            connection.close()
        else:
            self._idle.put(connection)

    @property
    def projections(self) -> Sequence[Projection]:
        return self._projections

    def close(self) -> None:
        self._closed = True
        while not self._idle.empty():
            self._idle.get().close()
        self._writer.close()

    @contextmanager
    def snapshot(self) -> Iterator[Head]:
        if self._own is not None:
            yield self.head()
            return
        with self._reader() as connection, self._translated():
            self._begin_snapshot(connection)
            self._local.connection = connection
            try:
                yield self.head()
            finally:
                self._local.connection = None
                connection.execute("rollback")

    # writing

    @contextmanager
    def transaction(self, ahead: Asked = NOTHING, *, presumed: bool = False) -> Iterator[Head]:
        with self._lock:
            outer, left, self._left = self._own, self._left, None
            before, calm, self._calm = self._head, self._calm, 0
            try:
                may_presume = left is not None and calm >= CALM_AFTER
                with self._translated():
                    self._begin(ahead, presumed=presumed and may_presume)
                self._local.connection = self._writer
                self._head, self._untouched = self._arrive(left)
                arrived = self._head
                yield self._head
                self._flush()
                # who appends has looked; who does not (a seal) must not hide from the next what it met
                unseen = not self._untouched and self._head == arrived
                self._left = None if self._made_anew or unseen else self._leave()
                self._calm = calm + 1 if self._untouched else 0
            except Presumed:  # all is as it was
                self._roll_back()
                self._left, self._head = left, before
                raise
            except BaseException:
                self._roll_back()
                raise
            finally:
                self._local.connection, self._made_anew = outer, False

    @property
    def untouched(self) -> bool:
        return self._untouched

    def insert_events(
        self,
        stored_events: Sequence[StoredEvent | Appended],
        *,
        changes: Changes | None = None,
        **_: Any,
    ) -> Sequence[int]:
        """Appends events and the rows they came to; all or nothing. Raises IntegrityError."""
        if self._own is not None and self._own is self._writer:
            return self._insert(stored_events, changes or {})
        with self.transaction():
            return self._insert(stored_events, changes or {})

    def _insert(
        self, stored_events: Sequence[StoredEvent | Appended], changes: Changes
    ) -> Sequence[int]:
        last, previous = self._head
        rows = []
        for position, event in enumerate(stored_events, last + 1):
            stream, version = str(event.originator_id), event.originator_version
            topic, state = event.topic, event.state
            previous = link(previous, stream, version, topic, state)
            rows.append((position, stream, version, topic, state.decode(), previous))
        self._append(rows, changes)
        self._head = Head(last + len(rows), previous)
        return [*range(last + 1, last + 1 + len(rows))]

    def _append(self, rows: list[Row], changes: Changes) -> None:
        with self._translated():
            self.execute_many(_INSERT, rows)
        self.write(changes)

    def clear(self, table: str) -> None:
        self._made_anew = True
        with self._translated():
            self._execute(self._writer, f"delete from {table}")

    def write(self, changes: Changes) -> None:
        with self._translated():
            for table, rows in changes.items():
                self._tables[table].write(rows, self.execute_many)

    # reading

    def head(self) -> Head:
        found = self._read(_HEAD)
        return Head(*found[0]) if found else Head()

    def streams(self, names: Collection[str]) -> Streams:
        found: dict[str, list[tuple[str, bytes]]] = {}
        for chunk in chunks([(name,) for name in names]):
            statement = f"{self._streams} ({values(1, len(chunk))}) order by stream, version"
            for stream, topic, state in self._read(statement, flat(chunk)):
                found.setdefault(stream, []).append((topic, state))
        return found

    def stream(self, name: str, *, upto: int | None = None) -> Sequence[tuple[str, bytes]]:
        return self._read(self._stream, (name, NO_END if upto is None else upto))

    def event(self, stream: str, version: int) -> tuple[str, bytes]:
        ((topic, state),) = self._read(self._event, (stream, version))
        return topic, state

    def stream_version(self, name: str) -> int:
        return self._read(_VERSION, (name,))[0][0] or 0

    def find(self, table: str, keys: Collection[Key]) -> Mapping[Key, Row]:
        found = {}
        width = len(self._tables[table].key)
        for chunk in chunks(list(keys)):
            statement = self._tables[table].find(len(chunk))
            for row in self._read(statement, flat(chunk)):
                found[row[:width]] = row[width:]
        return found

    def rows(self, table: str, prefix: Key = ()) -> Sequence[Row]:
        return self._read(self._tables[table].select(len(prefix)), prefix)

    def where(self, table: str, where: Where) -> Sequence[Row]:
        statement = self._tables[table].where(where)
        return self._read(statement, (*_given(where), where.limit, where.skip))

    def count(self, table: str, where: Where) -> int:
        found: int = self._read(self._tables[table].count(where), _given(where))[0][0]
        return found

    def first_parts(self, table: str) -> Sequence[str]:
        return [part for (part,) in self._read(self._tables[table].first_parts)]

    def records(self, *, after: int, limit: int) -> Sequence[Record]:
        return [record(row) for row in self._read(_RECORDS, (after, limit))]

    def seals(self) -> Sequence[bytes]:
        return [seal.encode() for (seal,) in self._read("select seal from seals order by number")]

    def last_seal(self) -> bytes | None:
        found = self._read(_NEWEST_SEAL)
        return found[0][0].encode() if found else None

    def add_seal(self, position: int, seal: bytes, *, after: bytes | None) -> None:
        before = None if after is None else after.decode()
        with self.transaction(), self._translated():
            if not self.execute_many(_ADD_SEAL, [(position, seal.decode(), before)]):
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
            f"{_WHOLE} where stream = ? and version > ? and version <= ?"
            f" order by version {order} limit ?",
            (
                str(originator_id),
                gt if gt is not None else -1,
                lte if lte is not None else NO_END,
                limit if limit is not None else NO_END,
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
            f"{_WHOLE} where position >= ? and position <= ?{named} order by position limit ?",
            (first, stop if stop is not None else NO_END, *topics, limit),
        )
        return [record(row) for row in rows]

    def max_notification_id(self) -> int | None:
        return self.head().position or None

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Any:
        raise NotImplementedError("follow a store with select_notifications")


class Table:
    """The statements of one projection's table."""

    def __init__(self, projection: Projection) -> None:
        self.name, self.key = projection.TABLE, list(projection.KEY)
        self.columns = columns = list(projection.COLUMNS)
        self._version = columns.index("version") if "version" in columns else None
        self.same = self.key if self._version is None else [*self.key, "version"]
        """The columns by which a row is found that is to be updated: its key, and its version as it was read."""
        self.whole = f"select {', '.join([*self.key, *columns])} from {self.name}"
        part = self.key[0]
        self.first_parts = (  # a step an index entry that differs, not a scan
            f"with recursive parts(part) as (select min({part}) from {self.name} union all"
            f" select (select min({part}) from {self.name} where {part} > parts.part)"
            " from parts where parts.part is not null)"
            " select part from parts where part is not null"
        )
        self._insert = f"insert into {self.name} {values(len(self.key) + len(columns), 1)}"
        self._update = (
            f"update {self.name} set {', '.join(f'{column} = ?' for column in columns)}"
            f" where {' and '.join(f'{column} = ?' for column in self.same)}"
        )

    @cache
    def find(self, count: int) -> str:
        """Selects the whole rows of `count` keys."""
        keys = f"({', '.join(self.key)}) in ({values(len(self.key), count)})"
        return f"{self.whole} where {keys}"

    @cache
    def select(self, prefix: int) -> str:
        """Selects whole rows by the first parts of their key."""
        where = " and ".join(f"{column} = ?" for column in self.key[:prefix]) or "true"
        return f"{self.whole} where {where} order by {', '.join(self.key)}"

    def where(self, where: Where) -> str:
        """Selects whole rows in a range of one column, beside others that are given."""
        order = ", ".join([where.column, *self.key])
        return f"{self.whole} where {self._range(where)} order by {order} limit ? offset ?"

    def count(self, where: Where) -> str:
        """Counts what `where` selects, without its limit."""
        return f"select count(*) from {self.name} where {self._range(where)}"

    def _range(self, where: Where) -> str:
        column = where.column
        assert {column, *where.equals} <= {*self.key, *self.columns}
        terms = [f"{name} = ?" for name in where.equals]
        if where.behind:  # the first says that the column is not null: by that an index is found
            row = ", ".join([column, *self.key])
            terms += [f"{column} >= ?", f"({row}) > ({', '.join('?' * (1 + len(self.key)))})"]
        else:
            terms.append(f"{column} > ?")
        if where.upto is not None:
            terms.append(f"{column} <= ?")
        return " and ".join(terms)

    def write(
        self, rows: Mapping[Key, Any], many: Callable[[str, Sequence[Sequence[Any]]], int]
    ) -> None:
        """Inserts what was not there, updates what was; raises where it is not as it was read."""
        inserts, updates = self.split(rows)
        if inserts:
            many(self._insert, inserts)
        if updates:
            changed = many(self._update, updates)
            if changed != len(updates):
                raise persistence.IntegrityError(f"{self.name}: a row changed under this batch")

    def split(self, rows: Mapping[Key, Any]) -> tuple[list[Row], list[Row]]:
        """Returns the rows to insert, key first, and to update, key last, and the version that must be there."""
        inserts, updates, version = [], [], self._version
        for key, (before, after) in rows.items():
            if before is None:
                inserts.append((*key, *after))
            elif version is None:
                updates.append((*after, *key))
            else:
                updates.append((*after, *key, before[version]))
        return inserts, updates


def difference(there: Shape, made: Shape) -> Altered | None:
    """Returns what is not as a book makes it, or none of a book's; None where all is as it was made."""
    for (kind, name), said in made.items():
        if there.get((kind, name)) != said:
            return Altered(kind, name, ours=True)
    for kind, name in there.keys() - made.keys():
        return Altered(kind, name, ours=False)
    return None


def chunks(keys: list[Key]) -> list[list[Key]]:
    """Cuts keys into lists, repeating one up to a power of two: few statements are ever prepared."""
    if len(keys) == 1:
        return [keys]
    cut = [keys[start : start + MOST_KEYS] for start in range(0, len(keys), MOST_KEYS)]
    return [few + few[:1] * ((1 << (len(few) - 1).bit_length()) - len(few)) for few in cut]


@cache
def values(width: int, count: int) -> str:
    """Returns so many rows of so many parameters."""
    row = f"({', '.join('?' * width)})"
    return f"values {', '.join([row] * count)}"


def flat(rows: Iterable[Sequence[Any]]) -> list[Any]:
    """Returns what many rows hold, one after another."""
    return list(chain.from_iterable(rows))


def record(row: tuple[int, str, int, str, str, bytes]) -> Record:
    """Returns a whole row of the events as a record. Raises OperationalError for no row that a book writes."""
    position, stream, version, topic, state, hashed = row
    if not (isinstance(topic, str) and isinstance(state, str)):
        raise persistence.OperationalError(f"position {position}: topic and body must be texts")
    return Record(stream, version, topic, state.encode(), position, hashed)


def _given(where: Where) -> Sequence[str]:
    """Returns what stands in the places of a range's statement."""
    behind = (where.after, *where.behind) if where.behind else ()
    ends = () if where.upto is None else (where.upto,)
    return (*where.equals.values(), where.after, *behind, *ends)

"""One SQLite file, written through one connection: WAL, flushed at every commit.

Several processes may share the file: the write lock is taken before anything is read for a decision.
"""

import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, nullcontext, suppress
from operator import itemgetter
from pathlib import Path
from typing import Any
from urllib.parse import quote

import apsw
from eventsourcing import persistence

from ledger.files import absent, barred, why
from ledger.projection import Changes, Projection, Row
from ledger.store import (
    ANEW,
    EVENTS,
    NOTHING,
    SEALS,
    Altered,
    Asked,
    FlushFailed,
    Loaded,
    NoText,
    Presumed,
    StoreUnfit,
)
from ledger.store.chain import Head
from ledger.store.sql import Shape, SqlStore, difference

OLDEST_SQLITE = 3_051_003
"""Older ones can corrupt a WAL that several connections write (sqlite.org/wal.html#walresetbug)."""

BOOK_MARK = int.from_bytes(b"RBK1")
"""The file's application id: what tells a book from any other SQLite file."""

LOCK_WAIT_MS = 5000
STATEMENTS = 192
"""Room for prepared ones: with less, one pushes another out; with more, it takes longer to find one."""

CHECKPOINT_PAGES = 4000
"""A page that many commits change is copied from the WAL once; 16 MB are copied in some 30 ms."""

SCAN_CACHE_KIB = 200
"""Who reads a whole book meets each page once: the fewer are kept, the better the processor's own caches do."""

WAL_LIMIT_BYTES = 64 * 1024 * 1024

LOOK_S = 0.01
"""How often it is made sure that the files still lie where they were opened: a look takes 6 µs."""

_READS = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI | apsw.SQLITE_OPEN_NOMUTEX
"""A reader is one thread's at a time: SQLite's own locks, a tenth of what a row read costs, are spared."""

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

MOVED = (
    " or its -wal is not the file that was opened: put it back, or copy the book from this service"
    " before you stop it"
)

WRITTEN_OVER = (
    " is shorter than it was: somebody wrote over it, or vacuumed it, while it was open. Stop this"
    " service: where roundbook verify then holds, start it again; where not, a copy belongs in its place,"
    " with neither -wal nor -shm"
)

_FOUND = "select type, name, sql, tbl_name from sqlite_schema"
_SCAN = "select position, stream, version, topic, cast(state as blob), hash from stored_events"
_NEXT = "where position > coalesce(?, -9223372036854775808) order by position limit 1"
_SEALED = "select number, position, cast(seal as blob) from seals"


class SQLiteStore(SqlStore):
    """Events, chain and tables in one file."""

    STATE = "cast(state as blob)"

    def __init__(
        self,
        path: str,
        projections: Sequence[Projection] = (),
        *,
        create: bool = True,
        read_only: bool = False,
        anew: bool = False,
    ) -> None:
        if apsw.SQLITE_VERSION_NUMBER < OLDEST_SQLITE:
            raise StoreUnfit(f"store: SQLite {apsw.sqlite_lib_version()} is older than 3.51.3")
        self._path = os.path.realpath(path)  # SQLite has the WAL beside what a link leads to
        if (read_only or not create) and (gone := absent(self._path)):
            raise StoreUnfit(f"store: {gone}")
        self._read_only = read_only
        self._new = NOTHING
        """What this transaction takes for new, and has not written yet."""
        super().__init__(projections)
        self._unread = frozenset(self._tables) if anew else frozenset[str]()
        try:
            if read_only:
                self._connection = self._connect()
                self._check_mark()
                return
            self._check_writable()
            self._check_before(create=create)
            self._connection = self._connect(
                f"pragma journal_size_limit = {WAL_LIMIT_BYTES}",
                f"pragma wal_autocheckpoint = {CHECKPOINT_PAGES}",
            )
            self._create(create=create)
            self._lay, self._length = self._lie()
            self._look_at, self._written_over = 0.0, False
        except (apsw.Error, UnicodeEncodeError) as error:
            raise StoreUnfit(f"store: {self._path}: {error}{why(self._path)}") from error

    # connections

    def _connect(self, *pragmas: str) -> apsw.Connection:
        connection = (
            apsw.Connection(self._uri(), _READS, statementcachesize=STATEMENTS)
            if self._read_only
            else apsw.Connection(self._path, statementcachesize=STATEMENTS)
        )
        connection.set_busy_timeout(LOCK_WAIT_MS)
        connection.execute("pragma trusted_schema = off")
        if self._read_only:
            connection.execute(f"pragma cache_size = -{SCAN_CACHE_KIB}")
            return connection
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = full")
        for pragma in pragmas:
            connection.execute(pragma)
        journal, synchronous = connection.pragma("journal_mode"), connection.pragma("synchronous")
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
        if self._connection.pragma("application_id") != BOOK_MARK:
            raise StoreUnfit(f"store: {self._path} is no Roundbook book")

    def _check_writable(self) -> None:
        """SQLite finds that out at the first bet, of a WAL as a disk that does not flush. Raises StoreUnfit."""
        locked = barred(self._path, os.W_OK)
        if locked:
            detail = "may not be written: mend its owner, its mode, or what its file system allows"
            raise StoreUnfit(f"store: {locked} {detail}")

    def _check_before(self, *, create: bool) -> None:
        """What is not ours must be as it was when we say so."""
        if os.path.exists(self._path):
            try:
                self._check_as_it_lies(_READS, create=create)
            except apsw.ReadOnlyError:  # of who was killed while it began, a writer rolls back
                self._check_as_it_lies(apsw.SQLITE_OPEN_READWRITE, create=create)

    def _check_as_it_lies(self, flags: int, *, create: bool) -> None:
        with closing(apsw.Connection(self._path, flags)) as there:
            there.set_busy_timeout(LOCK_WAIT_MS)
            self._is_ours(there, create=create)

    def _is_ours(self, connection: apsw.Connection, *, create: bool) -> bool:
        """Returns False for an empty file that may become ours. Raises StoreUnfit."""
        # in this order: who makes a book meanwhile makes its tables and its mark in one commit
        tables = connection.execute("select count(*) from sqlite_master").get
        if connection.pragma("application_id") == BOOK_MARK:
            return True
        if tables:
            raise StoreUnfit(f"store: {self._path} is a SQLite file, but no Roundbook book")
        if not create:
            raise StoreUnfit(f"store: {self._path} is empty, and no Roundbook book")
        return False

    def _create(self, *, create: bool) -> None:
        self._connection.execute("begin immediate")
        if not self._is_ours(self._connection, create=create):
            self._connection.execute(f"pragma application_id = {BOOK_MARK}")
        for statement in self._schema():
            self._connection.execute(statement)
        altered = self.altered()
        if altered:
            self._connection.execute("rollback")
            detail = f"{altered}; roundbook verify tells more{altered.remedy}"
            raise StoreUnfit(f"store: {self._path}: {detail}")
        self._connection.execute("commit")

    def _schema(self) -> Iterator[str]:
        tables = (p.SCHEMA for p in self._projections if p.TABLE not in self._unread)
        return _statements(_SCHEMA, _SEALS, *tables)

    def altered(self) -> Altered | None:
        """Compares with how it makes them; somebody else's tables, and their indexes, do no harm."""
        with _TRANSLATED:
            found = self._connection.execute(_FOUND).fetchall()
            made = dict(map(_made, self._schema()))
            there = {
                (str(kind), str(name)): _plain(str(sql))
                for kind, name, sql, table in found
                if sql and table not in self._unread and self._matters(str(kind), str(name), made)
            }
        return difference(there, made)

    def _matters(self, kind: str, name: str, made: Shape) -> bool:
        """Returns whether a book makes it, or it bears on what a book makes."""
        known = (kind, name) in made or kind not in ("table", "index")
        return known or self._is_of_ours(name, made)

    def _is_of_ours(self, index: str, made: Iterable[tuple[str, str]]) -> bool:
        """Returns whether rows of a table of ours are looked up by an index."""
        of = "select count(*) from pragma_index_list(?) where name = ?"
        tables = [name for kind, name in made if kind == "table"]
        return any(bool(self._connection.execute(of, (table, index)).get) for table in tables)

    def damaged(self) -> str:
        with _TRANSLATED:
            said = str(self._connection.execute("pragma integrity_check(1)").get)
        return "" if said == "ok" else said

    def _new_reader(self) -> apsw.Connection:
        if not self._read_only:
            self._check_lies()
        return self._connect("pragma query_only = on")

    @property
    def _writer(self) -> apsw.Connection:
        return self._connection

    def _lie(self) -> tuple[list[tuple[int, int]], int]:
        """Returns which files lie at its paths, and the length of the first. Raises OSError."""
        found = [os.stat(self._path), os.stat(f"{self._path}-wal")]
        return [(each.st_dev, each.st_ino) for each in found], found[0].st_size

    def _check_lies(self) -> None:
        """What is written to a file that was removed or replaced ends with the process. Raises OperationalError.

        A book's file only grows, unless somebody vacuums it. In one that is shorter stands an older book as a
        rule, which what is still in the WAL does not fit to.
        """
        now = time.monotonic()
        if now < self._look_at:
            return
        before = self._length
        with suppress(OSError):
            lie, length = self._lie()
            self._written_over |= lie == self._lay and length < before
            if lie == self._lay and not self._written_over:
                self._look_at, self._length = now + LOOK_S, length
                return
        detail = WRITTEN_OVER if self._written_over else MOVED
        raise persistence.OperationalError(f"{self._path}{detail}")

    def _begin(self, ahead: Asked, *, presumed: bool) -> None:
        self._check_lies()
        self._connection.execute("begin immediate")
        self._new = ahead if presumed else NOTHING

    def _arrive(self, left: object) -> tuple[Head, bool]:
        untouched = left == self._connection.data_version()
        if not untouched:
            self._new = NOTHING
        return (self._head if untouched else self.head()), untouched

    def _leave(self) -> object:
        return self._connection.data_version()

    def _begin_snapshot(self, connection: apsw.Connection) -> None:
        connection.execute("begin")

    def load(self, asked: Asked) -> Loaded:
        """Reads nothing of what is taken for new: writing it tells, and of what is not written a look."""
        if asked is self._new:
            return {}, {table: {} for table in asked[1]}
        return super().load(asked)

    def _append(self, rows: list[Row], changes: Changes) -> None:
        try:
            super()._append(rows, changes)
        except persistence.IntegrityError as error:
            if self._new is NOTHING:
                raise
            raise Presumed from error
        if self._new is not NOTHING:
            self._new = _without(self._new, rows, changes)

    def _flush(self) -> None:
        if self._new is not NOTHING:
            self._look()
        with _TRANSLATED:
            try:
                self._connection.execute("commit")
            except apsw.IOError as error:  # a failed write counts as a failed flush
                raise FlushFailed(str(error)) from error

    def _look(self) -> None:
        """Makes sure that nothing is there that was taken for new, and was not written."""
        streams, tables = super().load(self._new)
        if streams or any(tables.values()):
            raise Presumed

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            with _TRANSLATED:
                self._connection.execute("rollback")

    def _execute(
        self, connection: apsw.Connection, statement: str, parameters: Sequence[Any] = ()
    ) -> apsw.Cursor:
        return connection.execute(statement, parameters)

    def execute_many(self, statement: str, rows: Sequence[Sequence[Any]]) -> int:
        before = self._connection.total_changes()
        self._connection.executemany(statement, rows)
        return self._connection.total_changes() - before

    def _translated(self) -> "_Translated":
        return _TRANSLATED

    def clear(self, table: str) -> None:
        """Makes the table itself anew: an older version, or somebody else, may have made another."""
        self._made_anew = True
        scripts = (p.SCHEMA for p in self._projections if table == p.TABLE)
        with _TRANSLATED:
            for statement in (f"drop table if exists {table}", *_statements(*scripts)):
                self._connection.execute(statement)

    def try_write(self) -> None:
        with self.transaction(), _TRANSLATED:
            same = self._connection.pragma("user_version")
            self._connection.execute(f"pragma user_version = {same}")

    def size(self) -> int:
        parts = (Path(self._path), Path(f"{self._path}-wal"))
        return sum(part.stat().st_size for part in parts if part.exists())

    def scan(self, table: str, *, after: int | None = None) -> Iterator[Row]:
        """Reads rows as they lie there, at whatever position, as they are asked for."""
        assert table in (EVENTS, SEALS, *self._tables)
        own = self._own
        with nullcontext(own) if own else self._reader() as connection, _TRANSLATED:
            if table == EVENTS:
                yield from _scanned(connection, after)
            elif table == SEALS:
                behind = "" if after is None else f"where number > {after:d}"
                yield from connection.execute(f"{_SEALED} {behind} order by number")
            else:
                yield from connection.execute(self._tables[table].whole)


def _without(asked: Asked, rows: list[Row], changes: Changes) -> Asked:
    """Returns what is asked for, less the streams and rows that are written; NOTHING as a rule."""
    streams = set(asked[0]).difference(map(_STREAM_OF, rows))
    tables = {
        t: left
        for t, keys in asked[1].items()
        if (left := set(keys).difference(changes.get(t, ())))
    }
    return (streams, tables) if streams or tables else NOTHING


_STREAM_OF = itemgetter(1)


def _scanned(connection: apsw.Connection, after: int | None) -> Iterator[Row]:
    behind = "" if after is None else f"where position > {after:d}"
    row: Row = (after,)
    try:
        for row in connection.execute(f"{_SCAN} {behind} order by position"):
            yield row
    except (apsw.Error, UnicodeDecodeError):  # the next may still be whole
        while found := connection.execute(f"{_SCAN} {_NEXT}", row[:1]).fetchone():
            row = found
            yield row


def _statements(*scripts: str) -> Iterator[str]:
    statement = ""
    for line in "\n".join(scripts).splitlines():
        statement += line + "\n"
        if apsw.complete(statement):
            yield _CHOICE.sub(_apart, statement)
            statement = ""


def _made(statement: str) -> tuple[tuple[str, str], str]:
    """Returns kind and name of what a statement makes, and how SQLite keeps the statement."""
    sql = _plain(statement).replace("if not exists ", "", 1).removesuffix(";")
    _, kind, name, *_ = sql.split()
    return (kind, name), sql


def _plain(sql: str) -> str:
    """Returns a statement without what SQLite changes in one: its first words' case, and blanks.

    Earlier versions wrote a choice of words as a list; both say the same.
    """
    create, kind, rest = sql.split(maxsplit=2)
    return _CHOICE.sub(_apart, " ".join((create.lower(), kind.lower(), *rest.split())))


_CHOICE = re.compile(r"check \((\w+) in \(('[\w-]+'(?:, '[\w-]+')*)\)\)")


def _apart(choice: re.Match[str]) -> str:
    """Returns a check that compares with one word after the other: for a list SQLite makes a tree a row."""
    column, words = choice[1], choice[2].split(", ")
    return f"check ({' or '.join(f'{column} = {word}' for word in words)})"


class _Translated:
    """Gives the driver's errors the library's names."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is None:
            return
        if isinstance(error, apsw.ConstraintError):
            raise persistence.IntegrityError(str(error)) from error
        if isinstance(error, apsw.SQLError):  # no such table or column
            raise persistence.OperationalError(f"{error}{ANEW}") from error
        if isinstance(error, apsw.Error):
            raise persistence.OperationalError(str(error)) from error
        if isinstance(error, UnicodeDecodeError):
            raise NoText("a text is not UTF-8") from error


_TRANSLATED = _Translated()

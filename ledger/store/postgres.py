"""One schema of a PostgreSQL database: any number of processes on any number of machines write it.

Whoever writes takes the schema's advisory lock first, for the transaction: positions, chain and commits
have one order, and whoever reads by position misses nothing. Every wait has an end.
"""

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from queue import Empty
from typing import Any, LiteralString
from urllib.parse import parse_qsl, quote, urlencode, urlunsplit

import msgspec
import psycopg
from eventsourcing import persistence
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus
from psycopg.types.json import Jsonb

from ledger.projection import Changes, Key, Projection, Row
from ledger.store import (
    EVENTS,
    NO_URL,
    SEALS,
    Altered,
    Asked,
    Loaded,
    Presumed,
    StoreUnfit,
    parts_of,
    told,
)
from ledger.store.chain import Head
from ledger.store.errors_postgres import BARRED, SEES, Translated, barred, text_of
from ledger.store.notify import Listener, Teller
from ledger.store.patience import LOST_S, TCP, WAITS, Hosts, Watch, is_silent
from ledger.store.shape_postgres import CANNOT_MAKE, made, shape
from ledger.store.sql import Shape, SqlStore, Table, difference
from ledger.store.sql_postgres import (
    APPEND,
    BEGIN,
    COPIES,
    ENCODINGS,
    ENDLESS,
    FLUSHES,
    HEAD,
    LOCK,
    NOTHING_WRITTEN,
    OPTIONS_LOST,
    PRESUME,
    SCAN,
    SCAN_BYTES,
    SEALED,
    SESSION,
    SILENCED,
    SIZE,
    SNAPSHOT,
    STAYS,
    STREAMS,
    TABLES,
    TRY_GROWING,
    TRY_WRITE,
    WRITERS,
    WRITES,
    appending,
    keyed,
    marked,
    paged,
    presuming,
    translated,
)

SCHEMA = "roundbook"
"""Where a URL names none."""

PAGE = 2000

Loading = tuple[psycopg.Cursor[Any] | None, dict[str, psycopg.Cursor[Any]]]
"""What was asked, to be fetched."""


class PostgresStore(SqlStore):
    """Events, chain and tables in one schema."""

    STATE = "convert_to(state, 'SQL_ASCII')"
    remote = True
    deadline_s = 3.0

    def __init__(
        self,
        url: str,
        projections: Sequence[Projection] = (),
        *,
        create: bool = True,
        read_only: bool = False,
        at_once: bool = True,
        anew: bool = False,
    ) -> None:
        super().__init__(projections)
        self._anew = anew
        self._url, self._schema = _address(url)
        self._hosts = Hosts(self._url)
        self._read_only = read_only
        self._connection: psycopg.Connection[Any] | None = None
        self._unsent: list[dict[str, Any]] = []
        self._found = Head()
        self._made: list[Any] = []
        self._ahead: tuple[Asked, Loaded] | None = None
        self._may_presume, self._presumed = True, False
        self._warning, self._keeps_bytes = "", False
        self._watch = Watch()
        self._teller = Teller(self._connect, self._schema)
        self._listener = Listener(self._connect, self._schema)
        try:
            self._check_session()
            if create and not read_only:
                self._create()
            else:
                self._check()
        except psycopg.Error as error:
            if isinstance(error, psycopg.OperationalError) and read_only and not at_once:
                return
            barred_by = self._barred() if isinstance(error, BARRED) else ""
            unfit = self._unfit(barred_by or text_of(error))
            self.close()
            raise unfit from error
        except StoreUnfit:
            self.close()
            raise

    # connections

    @property
    def _writer(self) -> psycopg.Connection[Any]:
        """Connects anew where the last connection was lost."""
        if self._connection is None or self._connection.closed:
            self._connection = self._connect(WRITES)
            self._connection.add_notice_handler(self._warned)
        return self._connection

    def _warned(self, notice: psycopg.errors.Diagnostic) -> None:
        """A commit that was cancelled while it waited for its copies succeeds, with no more than a warning."""
        if notice.severity_nonlocalized == "WARNING":
            self._warning = notice.message_primary or "a warning"

    @property
    def _writing(self) -> psycopg.Connection[Any] | None:
        """The writer's connection, inside its transaction."""
        return self._connection if self._own is self._connection else None

    def _new_reader(self) -> psycopg.Connection[Any]:
        connection = self._connect()
        # not among the session's options: by those a URL that asks for a leader would find none
        with self._watch.over(connection):
            connection.execute("set default_transaction_read_only = on")
        return connection

    def _put_back(self, connection: psycopg.Connection[Any]) -> None:
        """What was lost, or is in the middle of something, is not used again."""
        if connection.info.transaction_status == TransactionStatus.IDLE:
            super()._put_back(connection)
        else:
            connection.close()

    def _connect(self, more: str = "") -> psycopg.Connection[Any]:
        return _connected(self._hosts, self._schema, more, watch=self._watch)

    def _check_session(self) -> None:
        """Text that a database cannot keep would be missed only when a player has it in a name.

        Without what a session is begun with, all books of a database would be one.
        """
        encoding, detail = self._writer.info.parameter_status("server_encoding"), ""
        self._keeps_bytes = encoding == "SQL_ASCII"
        if encoding not in ENCODINGS:
            detail = f"its text is kept as {encoding}; a book needs a database in UTF8"
        elif not self._is("current_setting('search_path') = %s", self._schema):
            detail = OPTIONS_LOST
        elif not self._read_only and self._is(
            "current_setting('session_replication_role') = 'replica'"
        ):
            detail = SILENCED
        if detail:
            raise self._unfit(detail)

    def _create(self) -> None:
        schema = sql.Identifier(self._schema)
        with self._writer.transaction():
            self._writer.execute(
                "select pg_advisory_xact_lock(hashtextextended(%s, 0))", (self._schema,)
            )
            if not self._exists():
                self._writer.execute(sql.SQL("create schema if not exists {}").format(schema))
            # what is missing is made; of functions that write, what an older version made too
            before = self._shape([name for name in self._kept if name not in WRITERS])
            # who knows no tables would have a book's functions write none of them
            knows = self._tables or self._is(f"to_regclass('{EVENTS}') is null")
            for script in (TABLES, *(self._scripts() if knows else ())):
                self._writer.execute(script)
            self._check_shape({**self._shape(self._kept), **before})

    def _scripts(self) -> Sequence[str]:
        """Returns what makes the tables that are derived, and the functions that write them."""
        tables = [translated(p) for p in self._projections]
        return *tables, appending(kept := self._tables.values(), tables), presuming(kept)

    def _check(self) -> None:
        if not self._exists():
            raise StoreUnfit(f"store: there is no schema {self._schema} in {told(self._url)}")
        if self._read_only:
            if not self._is(SEES, self._schema):
                raise self._unfit(self._barred())
        else:
            if not self._is("to_regprocedure('append(jsonb)') is not null"):
                self._create()  # an old book lacks it
            else:
                self._check_shape(self._shape(self._kept))
            self._may_presume = self._is("to_regprocedure('presume(jsonb)') is not null")

    def _unfit(self, detail: str) -> StoreUnfit:
        return StoreUnfit(f"store: {told(self._url)}: {detail}")

    def _barred(self) -> str:
        return barred(self._writer, self._schema, reads=self._read_only)

    def _exists(self) -> bool:
        return self._is("exists (select from pg_namespace where nspname = %s)", self._schema)

    def _is(self, so: LiteralString, *parameters: str) -> bool:
        found = self._writer.execute(f"select {so}", parameters).fetchone()
        return bool(found and found[0])

    # how its tables are made

    def altered(self) -> Altered | None:
        """Compares with how it makes them; what somebody else has beside them does no harm.

        Whoever verifies asks at the end: a connection that was lost since the start is made anew.
        """
        with self._translated():
            writer = self._writer
            try:
                return self._altered_now(writer)
            except psycopg.OperationalError:
                if not writer.closed:
                    raise
                return self._altered_now(self._writer)

    def _altered_now(self, writer: psycopg.Connection[Any]) -> Altered | None:
        with self._watch.over(writer):
            return self._altered(self._shape(self._kept), self._kept)

    @property
    def _kept(self) -> Sequence[str]:
        """The tables and functions whose shape matters: what is made anew may have had any."""
        derived = () if self._anew or not self._tables else (*self._tables, *WRITERS)
        return EVENTS, SEALS, STAYS, *derived

    def _check_shape(self, there: Shape) -> None:
        altered = self._altered(there, self._kept)
        if altered:
            raise self._unfit(f"{altered}; roundbook verify tells more{altered.remedy}")

    def _shape(self, names: Sequence[str]) -> Shape:
        return shape(self._writer, names)

    def _altered(self, there: Shape, names: Sequence[str]) -> Altered | None:
        try:
            as_made = made(self._writer, names, (TABLES, *self._scripts()))
        except CANNOT_MAKE:
            return None
        # an old book has none, and nothing is written by it
        lacks = {("function", f"{name}(jsonb)") for name in WRITERS} - there.keys()
        return difference(there, {key: as_made[key] for key in as_made if key not in lacks})

    def close(self) -> None:
        self._closed = True
        self._teller.close()
        self._listener.close()
        self._watch.close()
        self._forget_idle()
        if self._connection is not None:
            self._connection.close()

    # writing

    def _begin(self, ahead: Asked, *, presumed: bool) -> None:
        """A connection that was lost meanwhile is made anew: nothing was written on it yet."""
        self._unsent.clear()
        writer = self._writer
        may = self._may_presume and self._head.position > 0
        self._presumed = presumed and may and is_silent(writer)
        if self._presumed:
            self._found, self._ahead = self._head, (ahead, ({}, {table: {} for table in ahead[1]}))
            return
        try:
            self._take_lock(writer, ahead)
        except psycopg.OperationalError:
            if not writer.closed:
                raise
            self._take_lock(self._writer, ahead)

    def _take_lock(self, writer: psycopg.Connection[Any], ahead: Asked) -> None:
        """Begins, takes the lock, and reads: in one round trip."""
        with self._watch.over(writer), writer.pipeline():
            writer.execute(BEGIN)
            writer.execute(LOCK)
            head = writer.execute(HEAD)
            loading = self._ask(writer, ahead)
        position, hashed, *self._made = head.fetchall()[0]
        self._found = Head(position, hashed) if position else Head()
        self._ahead = ahead, self._answers(loading)

    def _look(self) -> None:
        """Begins after all where a batch asks for more than it said: then what was presumed is looked at."""
        writer, left = self._writing, (self._found, self._made)
        if not self._presumed or not writer or not self._ahead:
            return
        self._presumed = False
        with self._translated():
            self._take_lock(writer, self._ahead[0])
        streams, tables = self._ahead[1]
        if (self._found, self._made) != left or streams or any(tables.values()):
            raise Presumed

    def _arrive(self, left: object) -> tuple[Head, bool]:
        return self._found, left == (self._found, self._made)

    def _leave(self) -> object:
        return self._head, self._made

    def _append(self, rows: list[Row], changes: Changes) -> None:
        batch: dict[str, Any] = {EVENTS: [(*row[:-1], row[-1].hex()) for row in rows]}
        for table, changed in changes.items():
            batch[table] = self._tables[table].split(changed)
        self._unsent.append(batch)

    def write(self, changes: Changes) -> None:
        for table, rows in changes.items():
            keyed_rows = iter(rows.items())
            while some := dict(islice(keyed_rows, PAGE)):
                self._append([], {table: some})
                with self._translated(), self._watch.over(self._writer):
                    self._send(self._writer)

    def clear(self, table: str) -> None:
        """Takes its time: a person waits for it, and what is thrown away may be millions of rows.

        The table itself is made anew where an older version, or somebody else, made another, and so is
        what writes into it.
        """
        self._made_anew = True
        with self._translated():
            self._writer.execute("set local statement_timeout = 0")
            if self._anew:
                self._make_anew(table)
            self._writer.execute(sql.SQL("delete from {}").format(sql.Identifier(table)))
        self._read("select nextval('tables_made')")

    def _make_anew(self, table: str) -> None:
        scripts = dict(zip((*self._tables, *WRITERS), self._scripts(), strict=True))
        if self._altered(self._shape([table]), [table]):
            drop = sql.SQL("drop table if exists {}")
            self._writer.execute(drop.format(sql.Identifier(table)))
            self._writer.execute(scripts[table])
        if self._altered(self._shape(WRITERS), WRITERS):
            for name in WRITERS:
                self._writer.execute(scripts[name])

    def try_write(self) -> None:
        with self.transaction(), self._translated():
            self._execute(self._writer, TRY_GROWING)
            if not self._anew:  # else what is there may be no table of ours
                self._append([], {table: {} for table in self._tables})

    def _send(self, writer: psycopg.Connection[Any]) -> None:
        """Sends what was appended: one statement a batch."""
        for batch in self._unsent:
            writer.execute(APPEND, (_json(batch),), prepare=True)
        self._unsent.clear()

    def _begin_snapshot(self, connection: psycopg.Connection[Any]) -> None:
        connection.execute(SNAPSHOT)

    def _flush(self) -> None:
        """Writes and commits, in one round trip, all or nothing; never on another connection than was begun on."""
        writer, self._warning, grew = self._own, "", bool(self._unsent)
        assert writer
        with self._translated(), self._watch.over(writer), writer.pipeline():
            if self._presumed:
                writer.execute(BEGIN)
                writer.execute(LOCK)
                writer.execute(PRESUME, (_json(self._presumption()),), prepare=True)
            if not self._unsent:
                # a copy may not know yet what would be refused or repeated
                writer.execute(TRY_WRITE)
                writer.execute(NOTHING_WRITTEN)
            self._send(writer)
            writer.execute("set local statement_timeout = 0")
            writer.execute("commit")
        if self._warning:
            raise persistence.OperationalError(self._warning)
        if grew:
            self._teller.tell()

    def _presumption(self) -> dict[str, Any]:
        assert self._ahead
        (streams, tables), (position, hashed) = self._ahead[0], self._found
        return {
            "head": (position, hashed.hex(), *self._made),
            "streams": [*streams],
            "tables": {table: [*keys] for table, keys in tables.items()},
        }

    def _roll_back(self) -> None:
        """A connection that cannot even do that is thrown away: the server forgets for it."""
        self._presumed = False
        connection, self._connection = self._connection, None
        if connection is None:
            return
        with suppress(psycopg.Error):
            connection.rollback()
            self._connection = connection
        if self._connection is None:
            connection.close()

    def _execute(
        self, connection: psycopg.Connection[Any], statement: str, parameters: Sequence[Any] = ()
    ) -> psycopg.Cursor[Any]:
        with self._watch.over(connection):
            return connection.execute(marked(statement), parameters)

    def execute_many(self, statement: str, rows: Sequence[Sequence[Any]]) -> int:
        with self._watch.over(self._writer), self._writer.cursor() as cursor:
            cursor.executemany(marked(statement), rows)
            return cursor.rowcount

    def _translated(self) -> Translated:
        return Translated()

    # reading

    def _read(self, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Reads again on a new connection, where an idle one was lost meanwhile: that shows at once."""
        self._look()
        if self._unsent and (writer := self._writing):
            with self._translated():
                self._send(writer)
        begun = time.monotonic()
        try:
            return super()._read(statement, parameters)
        except persistence.OperationalError:
            if self._own is not None:
                raise
            self._forget_idle()
            if time.monotonic() - begun > LOST_S:
                raise
            return super()._read(statement, parameters)

    def load(self, asked: Asked) -> Loaded:
        """Reads all in one round trip; what was asked for ahead is there already."""
        writer = self._writing
        if writer is None or self._unsent:
            return super().load(asked)
        if self._ahead and self._ahead[0] is asked:
            return self._ahead[1]
        self._look()
        with self._translated(), self._watch.over(writer):
            with writer.pipeline():
                loading = self._ask(writer, asked)
            return self._answers(loading)

    def _ask(self, connection: psycopg.Connection[Any], asked: Asked) -> Loading:
        streams, rows = asked
        events = (
            connection.execute(STREAMS, (_json(list(streams)),), prepare=True) if streams else None
        )
        return events, {
            table: connection.execute(
                keyed(self._tables[table]), (_json(list(keys)),), prepare=True
            )
            for table, keys in rows.items()
            if keys
        }

    def _answers(self, loading: Loading) -> Loaded:
        events, tables = loading
        streams: dict[str, list[tuple[str, bytes]]] = {}
        for stream, topic, state in events.fetchall() if events else ():
            streams.setdefault(stream, []).append((topic, state))
        return streams, {table: self._by_key(table, rows) for table, rows in tables.items()}

    def _by_key(self, table: str, rows: psycopg.Cursor[Any]) -> dict[Key, Row]:
        width = len(self._tables[table].key)
        return {row[:width]: row[width:] for row in rows.fetchall()}

    def await_news(self, seconds: float) -> bool:
        return self._listener.wait(seconds)

    def size(self) -> int:
        found: int = self._read(SIZE)[0][0]
        return found

    def copies(self) -> str:
        standbys, synchronous, asked = self._read(COPIES)[0]
        if asked:
            return "synchronous" if synchronous else "waiting"
        return "asynchronous" if standbys else "none"

    def risk(self) -> str:
        if self._read(FLUSHES) == [("off",)]:
            return "fsync is off: a machine that dies takes answered bets with it"
        if self.copies() == "asynchronous":
            return "copies are asynchronous: a node that dies takes answered bets with it"
        return ""

    def _forget_idle(self) -> None:
        with suppress(Empty):
            while True:
                self._idle.get_nowait().close()

    def scan(self, table: str, *, after: int | None = None) -> Iterator[Row]:
        """Reads rows at whatever position a page at a time, each its own statement, or all in a snapshot."""
        assert table in (EVENTS, SEALS, *self._tables)
        if table == SEALS:
            yield from self._scan_by("number", SEALED, after)
        elif table != EVENTS:
            yield from self._scan_table(self._tables[table])
        elif not self._keeps_bytes:
            yield from self._scan_by("position", SCAN, after)
        else:  # the server would not send the events before one whose text is none
            with self._translated():
                yield from map(_decoded, self._scan_by("position", SCAN_BYTES, after))

    def _scan_by(self, key: str, statement: str, after: int | None) -> Iterator[Row]:
        behind, rest = f"{statement} where {key} > ?", f"order by {key} limit {PAGE}"
        asked = (statement, ()) if after is None else (behind, (after,))
        page = self._read(f"{asked[0]} {rest}", asked[1])
        while page:
            yield from page
            page = self._read(f"{behind} {rest}", (page[-1][0],))

    def _scan_table(self, table: Table) -> Iterator[Row]:
        """A statement that returned all of a large table would run out of its time, and the memory be full."""
        page = self._read(paged(table, PAGE))
        while page:
            yield from page
            page = self._read(paged(table, PAGE, behind=True), page[-1][: len(table.key)])


def listener(url: str) -> Listener:
    """Returns what waits until the book that a URL names grew."""
    address, schema = _address(url)
    return Listener(partial(_connected, Hosts(address), schema, watch=Watch()), schema)


def _connected(hosts: Hosts, schema: str, more: str, *, watch: Watch) -> psycopg.Connection[Any]:
    options = f"{WAITS} {SESSION} -c search_path={schema} {more}"
    connection = hosts.connect(options, autocommit=True, client_encoding="UTF8", **TCP)
    endless, since = ENDLESS
    if connection.info.server_version >= since:
        with watch.over(connection):
            connection.execute(endless)
    return connection


def _address(url: str) -> tuple[str, str]:
    """Returns what libpq is told, and the schema: the parameter `schema` is ours. Raises StoreUnfit."""
    try:
        parts = parts_of(url)
    except ValueError as error:
        raise StoreUnfit(f"store: {error}") from None
    given = dict(parse_qsl(parts.query.replace("+", "%2B")))  # no blank to libpq
    schema = given.pop("schema", SCHEMA)
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", schema):
        raise StoreUnfit(f"store: {schema!r} is no schema: lower-case letters, digits and _")
    address = urlunsplit(parts._replace(query=urlencode(given, quote_via=quote)))
    try:
        conninfo_to_dict(address)
    except psycopg.ProgrammingError:  # its text quotes a password, or what may be a part of one
        known = f"store: {told(url)}: has a parameter that libpq does not know, or {NO_URL}"
        raise StoreUnfit(known) from None
    return address, schema


def _decoded(row: Row) -> Row:
    position, stream, version, topic, *rest = row
    return position, stream and stream.decode(), version, topic and topic.decode(), *rest


def _json(what: Any) -> Jsonb:
    return Jsonb(what, dumps=msgspec.json.encode)

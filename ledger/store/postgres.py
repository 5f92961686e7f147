"""One schema of a PostgreSQL database: any number of processes on any number of machines write it.

Whoever writes takes the schema's advisory lock first, for the transaction: positions, chain and commits
have one order, and whoever reads by position misses nothing. Every wait has an end.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from queue import Empty
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import psycopg
from eventsourcing import persistence
from psycopg import sql
from psycopg.pq import TransactionStatus

from ledger.projection import Projection, Row
from ledger.store import EVENTS, SEALS, StoreUnfit, told
from ledger.store.chain import Head
from ledger.store.sql import SqlStore

SCHEMA = "roundbook"
"""Where a URL names none."""

CONNECT_S = 3
STATEMENT_S = 5
LOCK_WAIT_S = 5
PATIENCE: dict[str, Any] = {
    "connect_timeout": CONNECT_S,
    "keepalives_idle": 3,
    "keepalives_interval": 1,
    "keepalives_count": 3,
    "tcp_user_timeout": 5000,
}
"""What libpq waits at most: a server that is gone is noticed."""

_TABLES = """
create table if not exists stored_events (
    position bigint primary key,
    stream text collate "C" not null,
    version bigint not null,
    topic text not null,
    state text not null,
    hash bytea not null,
    unique (stream, version)
);
create table if not exists seals (
    number bigint generated always as identity primary key,
    position bigint not null,
    seal text not null
);
create sequence if not exists tables_made;
create or replace function stays() returns trigger language plpgsql as $$
begin raise exception '% are immutable', tg_argv[0] using errcode = 'integrity_constraint_violation'; end $$;
create or replace trigger stored_events_stay before update or delete or truncate on stored_events
for each statement execute function stays('events');
create or replace trigger seals_stay before update or delete or truncate on seals
for each statement execute function stays('seals');
"""
_LOCK = "select pg_advisory_xact_lock(hashtextextended(current_schema(), 5103188801))"
_SCAN = (
    "select position, stream, version, topic, convert_to(state, 'UTF8'), hash from stored_events"
)
_SEALED = "select number, position, convert_to(seal, 'UTF8') from seals"
PAGE = 2000


class PostgresStore(SqlStore):
    """Events, chain and tables in one schema."""

    STATE = "convert_to(state, 'UTF8')"

    def __init__(
        self,
        url: str,
        projections: Sequence[Projection] = (),
        *,
        create: bool = True,
        read_only: bool = False,
    ) -> None:
        super().__init__(projections)
        self._url, self._schema = _address(url)
        self._read_only = read_only
        self._connection: psycopg.Connection[Any] | None = None
        try:
            if create and not read_only:
                self._create()
            else:
                self._check()
        except psycopg.Error as error:
            self.close()
            raise StoreUnfit(f"store: {told(self._url)}: {_text(error)}") from error
        except StoreUnfit:
            self.close()
            raise

    # connections

    @property
    def _writer(self) -> psycopg.Connection[Any]:
        """Connects anew where the last connection was lost."""
        if self._connection is None or self._connection.closed:
            self._connection = self._connect()
        return self._connection

    def _new_reader(self) -> psycopg.Connection[Any]:
        connection = self._connect()
        connection.execute("set default_transaction_read_only = on")
        return connection

    def _put_back(self, connection: psycopg.Connection[Any]) -> None:
        """What was lost, or is in the middle of something, is not used again."""
        if connection.info.transaction_status == TransactionStatus.IDLE:
            super()._put_back(connection)
        else:
            connection.close()

    def _connect(self) -> psycopg.Connection[Any]:
        options = (
            f"-c search_path={self._schema} -c statement_timeout={STATEMENT_S}s"
            f" -c lock_timeout={LOCK_WAIT_S}s -c idle_in_transaction_session_timeout=30s"
            " -c synchronous_commit=on -c timezone=UTC"
        )
        return psycopg.connect(self._url, autocommit=True, options=options, **PATIENCE)

    def _create(self) -> None:
        schema = sql.Identifier(self._schema)
        with self._writer.transaction():
            self._writer.execute(
                "select pg_advisory_xact_lock(hashtextextended(%s, 0))", (self._schema,)
            )
            if not self._exists():
                self._writer.execute(sql.SQL("create schema if not exists {}").format(schema))
            for script in (_TABLES, *(_translated(p) for p in self._projections)):
                self._writer.execute(script)

    def _check(self) -> None:
        if not self._exists():
            raise StoreUnfit(f"store: there is no schema {self._schema} in {told(self._url)}")

    def _exists(self) -> bool:
        found = self._writer.execute(
            "select exists (select from pg_namespace where nspname = %s)", (self._schema,)
        ).fetchone()
        return bool(found and found[0])

    def close(self) -> None:
        self._closed = True
        self._forget_idle()
        if self._connection is not None:
            self._connection.close()

    # writing

    def _begin(self) -> None:
        """A connection that was lost meanwhile is made anew: nothing was written on it yet."""
        writer = self._writer
        try:
            self._take_lock(writer)
        except psycopg.OperationalError:
            if not writer.closed:
                raise
            self._take_lock(self._writer)

    def _take_lock(self, writer: psycopg.Connection[Any]) -> None:
        writer.execute("begin")
        writer.execute(_LOCK)

    def _arrive(self, left: object) -> tuple[Head, bool]:
        self._made = self._read("select last_value, is_called from tables_made")[0]
        head = self.head()
        return head, left == (head, self._made)

    def _leave(self) -> object:
        return self._head, self._made

    def clear(self, table: str) -> None:
        super().clear(table)
        self._read("select nextval('tables_made')")

    def _begin_snapshot(self, connection: psycopg.Connection[Any]) -> None:
        connection.execute("begin isolation level repeatable read read only")

    def _flush(self) -> None:
        with self._translated():
            self._writer.execute("commit")

    def _roll_back(self) -> None:
        """A connection that cannot even do that is thrown away: the server forgets for it."""
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
        return connection.execute(_marked(statement), parameters)

    def execute_many(self, statement: str, rows: Sequence[Sequence[Any]]) -> int:
        with self._writer.cursor() as cursor:
            cursor.executemany(_marked(statement), rows)
            return cursor.rowcount

    def _translated(self) -> "_Translated":
        return _Translated()

    # reading

    def _read(self, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Reads again on a new connection, where an idle one was lost meanwhile."""
        try:
            return super()._read(statement, parameters)
        except persistence.OperationalError:
            if self._own is not None:
                raise
            self._forget_idle()
            return super()._read(statement, parameters)

    def _forget_idle(self) -> None:
        with suppress(Empty):
            while True:
                self._idle.get_nowait().close()

    def scan(self, table: str, *, after: int | None = None) -> Iterator[Row]:
        """Reads a page at a time, each a statement of its own, or all in a snapshot."""
        assert table in (EVENTS, SEALS, *self._tables)
        if table not in (EVENTS, SEALS):
            yield from self.rows(table)
            return
        statement, key = (_SCAN, "position") if table == EVENTS else (_SEALED, "number")
        last = 0 if after is None else after
        while page := self._read(
            f"{statement} where {key} > ? order by {key} limit {PAGE}", (last,)
        ):
            yield from page
            last = page[-1][0]


def _address(url: str) -> tuple[str, str]:
    """Returns what libpq is told, and the schema: the parameter `schema` is ours."""
    parts = urlsplit(url)
    given = dict(parse_qsl(parts.query))
    schema = given.pop("schema", SCHEMA)
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", schema):
        raise StoreUnfit(f"store: {schema!r} is no schema: lower-case letters, digits and _")
    return urlunsplit(parts._replace(query=urlencode(given))), schema


def _text(error: psycopg.Error) -> str:
    return " ".join(str(error).split()) or type(error).__name__


@cache
def _marked(statement: str) -> str:
    """Returns a statement with the driver's marks for parameters."""
    return _quoted(statement).replace("%", "%%").replace("?", "%s")


def _quoted(statement: str) -> str:
    """`user` is a word of the language there."""
    return re.sub(r"\buser\b", '"user"', statement)


def _translated(projection: Projection) -> str:
    """Returns a table's statements in PostgreSQL's words: text is ordered by its bytes, as it is elsewhere."""
    script = _quoted(projection.SCHEMA)
    script = re.sub(r"\btext\b", 'text collate "C"', script)
    script = re.sub(r"\binteger\b", "bigint", script)
    return re.sub(r"\) strict(, without rowid)?;", ");", script)


class _Translated:
    """Gives the driver's errors the library's names."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        match error:
            case psycopg.IntegrityError():
                raise persistence.IntegrityError(_text(error)) from error
            case psycopg.OperationalError():
                raise persistence.OperationalError(_text(error)) from error
            case psycopg.Error():
                raise persistence.PersistenceError(_text(error)) from error

"""What PostgreSQL is told: a schema's tables, the function that appends a batch, and the reads.

Made from the tables' own words, which are SQLite's.
"""

import re
from collections.abc import Iterable
from functools import cache

from ledger.projection import Projection
from ledger.store.sql import Table

TABLES = """
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
WRITES = (
    "-c jit=off -c plan_cache_mode=force_generic_plan"
    " -c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off"
)
"""Whoever writes finds each row by its key, planned once, however large a table was when it was planned."""

SESSION = (
    "-c synchronous_commit=on -c timezone=UTC -c client_min_messages=warning"
    " -c quote_all_identifiers=off -c plpgsql.extra_errors=none"
)
"""Whatever a role has: that a commit is on no copy is told by a warning, a shape without quotes."""

ENDLESS = "set transaction_timeout = 0", 170000
"""What servers from a version on are told: each statement has its end, who reads a whole book has none."""

OPTIONS_LOST = (
    "a pooler before it drops the options that a session begins with: name the server itself"
)

SILENCED = (
    "session_replication_role is replica, which silences the triggers that keep events as they are:"
    " reset it, of the role or of the database"
)

ENCODINGS = ("UTF8", "SQL_ASCII")
"""Of databases that keep every text as it is sent; the second keeps bytes, and asks no questions."""

BEGIN = "begin isolation level read committed"
"""Whatever a database's default is: what is read behind the lock is what was there when it was taken."""

SNAPSHOT = (
    "begin isolation level repeatable read read only;"
    " set local idle_in_transaction_session_timeout = 0"
)
"""Whoever reads a whole book thinks between two questions for as long as that takes; nobody waits for a reader."""

LOCK = "select pg_advisory_xact_lock(hashtextextended(current_schema(), 5103188801))"
HEAD = (
    "select position, hash, last_value, is_called from tables_made left join lateral"
    " (select position, hash from stored_events order by position desc limit 1) newest on true"
)
STREAMS = (
    "select stream, topic, convert_to(state, 'SQL_ASCII') from jsonb_array_elements_text(%b) named"
    " join stored_events on stream = named order by stream, version"
)
NOTHING_WRITTEN = (
    "select case when current_setting('synchronous_standby_names') <> ''"
    " then pg_logical_emit_message(true, 'roundbook', '') end"
)
"""Makes a commit that writes nothing wait for the copies too: what was read is answered, so it must not get lost."""

TRY_WRITE = "insert into seals (position, seal) select 0, '' where false"
"""Refused, as any bet is, where a server only reads: a copy, or a leader that is none any more."""

TRY_GROWING = (
    f"{TRY_WRITE}; savepoint tried; insert into stored_events"
    " select last + n, 'tried', n, '', repeat('x', 1900), ''"
    " from (select coalesce(max(position), 0) last from stored_events) newest, generate_series(1, 5) n;"
    " rollback to tried"
)
"""Takes what the next events would take, and more than a page has room for: refused where the disk is full.

What a repetition needs, which writes no event, is tried before. Nothing of it is ever seen, and the
server's own sweeping takes the page back.
"""

SIZE = (
    "select coalesce(sum(pg_total_relation_size(oid)), 0)::bigint"
    " from pg_class where relkind = 'r' and relnamespace = current_schema()::regnamespace"
)
COPIES = (
    "select count(*), count(*) filter (where sync_state in ('sync', 'quorum')),"
    " current_setting('synchronous_standby_names') <> '' from pg_stat_replication"
)
FLUSHES = "select current_setting('fsync')"
STAYS = "stays"
WRITERS = ("append", "presume")
"""The functions that write what was decided, and check what it was decided on."""

APPEND = "select append(%b)"
PRESUME = "select presume(%b)"
NOT_AS_PRESUMED = "RB001"
_EVENTS = (
    "insert into stored_events select (e->>0)::bigint, e->>1, (e->>2)::bigint, e->>3, e->>4,"
    " decode(e->>5, 'hex') from jsonb_array_elements(batch->'stored_events') e;"
)
SCAN = "select position, stream, version, topic, convert_to(state, 'SQL_ASCII'), hash from stored_events"
SCAN_BYTES = (
    "select position, convert_to(stream, 'SQL_ASCII'), version, convert_to(topic, 'SQL_ASCII'),"
    " convert_to(state, 'SQL_ASCII'), hash from stored_events"
)
SEALED = "select number, position, convert_to(seal, 'SQL_ASCII') from seals"


@cache
def marked(statement: str) -> str:
    """Returns a statement with the driver's marks for parameters."""
    return _quoted(statement).replace("%", "%%").replace("?", "%s")


def _quoted(statement: str) -> str:
    """`user` is a word of the language there."""
    return re.sub(r"\buser\b", '"user"', statement)


def translated(projection: Projection) -> str:
    """Returns a table's statements in PostgreSQL's words: text is ordered by its bytes, as it is elsewhere."""
    script = _quoted(projection.SCHEMA)
    script = re.sub(r"\btext\b", 'text collate "C"', script)
    script = re.sub(r"\binteger\b", "bigint", script)
    return re.sub(r"\) strict(, without rowid)?;", ");", script)


@cache
def keyed(table: Table, keys: str = "%b") -> str:
    """Selects the whole rows of keys, which are a parameter unless they are said."""
    same = _all(f"{_quoted(each)} = e->>{place}" for place, each in enumerate(table.key))
    return f"select {table.name}.* from jsonb_array_elements({keys}) e join {table.name} on {same}"


@cache
def paged(table: Table, most: int, *, behind: bool = False) -> str:
    """Selects so many whole rows in the order of their keys, the first or those behind a key."""
    key = ", ".join(table.key)
    where = f" where ({key}) > ({', '.join('?' * len(table.key))})" if behind else ""
    return f"{table.whole}{where} order by {key} limit {most}"


def appending(tables: Iterable[Table], scripts: Iterable[str]) -> str:
    """Returns the function that appends a batch: events, and rows to insert and to update by table."""
    parts = "".join(map(_writing, tables, scripts))
    return (
        "create or replace function append(batch jsonb) returns void language plpgsql as $$"
        f" declare found bigint; begin {_EVENTS} {parts} end $$"
    )


def presuming(tables: Iterable[Table]) -> str:
    """Returns the function that checks, under the lock, what a batch was decided on."""
    keys = ((table, f"presumed->'tables'->'{table.name}'") for table in tables)
    there = "".join(f" or exists ({keyed(table, said)})" for table, said in keys)
    return (
        "create or replace function presume(presumed jsonb) returns void language plpgsql as $$"
        f" begin if presumed->'head' is distinct from (select {_AT} from ({HEAD}) now)"
        " or exists (select from jsonb_array_elements_text(presumed->'streams') named"
        f" join stored_events on stream = named){there}"
        f" then raise exception 'not as presumed' using errcode = '{NOT_AS_PRESUMED}'; end if; end $$"
    )


_AT = "jsonb_build_array(position, encode(hash, 'hex'), last_value, is_called)"


def _writing(table: Table, script: str) -> str:
    kinds = dict(_COLUMN.findall(script))
    named = [*table.key, *table.columns]

    def of(columns: Iterable[str], start: int = 0) -> list[str]:
        return [f"(e->>{place})::{kinds[each]}" for place, each in enumerate(columns, start)]

    new = of(named)
    changed = zip(map(_quoted, table.columns), of(table.columns), strict=True)
    same = zip(table.same, of(table.same, len(table.columns)), strict=True)
    rows = f"jsonb_array_elements(batch->'{table.name}'->"
    return (
        f"if batch ? '{table.name}' then"
        f" insert into {table.name} select {', '.join(new)} from {rows}0) e;"
        f" update {table.name} set {', '.join(f'{column} = {new}' for column, new in changed)}"
        f" from {rows}1) e where {_all(f'{table.name}.{_quoted(c)} = {was}' for c, was in same)};"
        f" get diagnostics found = row_count;"
        f" if found <> jsonb_array_length(batch->'{table.name}'->1) then"
        f" raise exception '{table.name}: a row changed under this batch'"
        " using errcode = 'integrity_constraint_violation'; end if; end if; "
    )


def _all(conditions: Iterable[str]) -> str:
    return " and ".join(conditions)


_COLUMN = re.compile(r'^ *"?(\w+)"? (text|bigint)\b', re.MULTILINE)

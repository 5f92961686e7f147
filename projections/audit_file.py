"""The audit file: one SQLite file with a book's events and all that follows from them.

It is made with sqlite-utils; Datasette, the sqlite-utils command and anything else that reads SQLite
open it. A transaction a batch holds rows and the `audit` row together: whatever is killed when, the
file holds a book's events up to some position, and all that follows from them, and can be continued.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import quote

import msgspec
from sqlite_utils import Database
from sqlite_utils.utils import sqlite3  # type: ignore[attr-defined]

from ledger.event import Event
from ledger.files import why
from ledger.projection import Projection, Recorded, Row, key_of

FORMAT = 2
"""Counts what older versions of this program cannot continue."""

MARK = int.from_bytes(b"RBA1")
"""The file's application id: what tells an audit file from a book."""

CACHE_KIB = 65536
LOCK_WAIT_S = 60
GENESIS = "0" * 64
"""Stands for the hash before the first event, as `ledger.store.chain` has it in bytes."""

SEARCHED = ("reference", "transaction_id", "user", "round")
TOKENS = "unicode61 tokenchars '-_.:/%@#+=~|'"
"""An id is one word, whatever punctuation is in it."""

COMMON = """
create table audit (
    party text not null primary key check (party in ('operator', 'provider')),
    source text not null, -- where the events were read, the last time
    format integer not null,
    position integer not null, -- of the last event that is in here; all before it are, too
    hash text not null, -- of that event
    updated_at text not null
) strict;
create table seals (
    number integer not null primary key, -- in the order they were made
    position integer not null references events (position),
    hash text not null,
    root text not null,
    sealed_at text not null,
    key text not null,
    next_key text not null, -- where this seal hands over to another key
    signature text not null,
    seal text not null -- as it was made
) strict;
create index seals_of_position on seals (position);
create unique index events_of_stream on events (stream, version);
create index events_of_clock on events (clock);
create index events_of_topic on events (topic, position);
create table contradictions (
    number integer not null primary key,
    found_at text not null,
    position integer not null, -- the first event of which the book said something else
    what text not null
) strict;
"""


class AuditFileUnfit(Exception):
    """The file cannot be used as it is; the text says what to do."""


class Contradiction(Exception):
    """The book contradicts itself, or what the file holds of it. `position`: the first event that does."""

    def __init__(self, position: int, what: str) -> None:
        super().__init__(f"position {position}: {what}")
        self.position, self.what = position, what


class Stored(NamedTuple):
    """An event in its place, its chain checked. `clock`: the latest `recorded_at` up to and with it."""

    position: int
    stream: str
    version: int
    topic: str
    state: str
    hash: str
    previous_hash: str
    clock: str
    event: Any

    @property
    def recorded(self) -> Recorded:
        """What the book's own tables are derived from."""
        return Recorded(self.stream, self.version, self.event)


class Upto(NamedTuple):
    """How far a file goes: the last event's position, hash and clock."""

    position: int = 0
    hash: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")] = GENESIS
    clock: str = ""


class Batch:
    """Events that follow one another."""

    def __init__(self, stored: Sequence[Stored]) -> None:
        self.stored = stored
        self._by_type: dict[type, list[Stored]] = defaultdict(list)
        for each in stored:
            self._by_type[type(each.event)].append(each)

    def of(self, *types: type) -> Iterator[Stored]:
        """Yields the events of exactly these types, in order within each type."""
        for cls in types:
            yield from self._by_type.get(cls, ())


TableWriter = Callable[[Database, Batch], None]
"""Writes what a batch means for one table, inside the batch's transaction. Raises Contradiction."""


class Layout(NamedTuple):
    """What one party's audit file is made of. `views`: queries by name."""

    party: Literal["operator", "provider"]
    schema: str
    views: Mapping[str, str]
    writers: Sequence[TableWriter]


class AuditFile:
    """An audit file that is being written, by one process at a time."""

    def __init__(self, db: Database, layout: Layout) -> None:
        self.db, self._layout = db, layout

    def close(self) -> None:
        """Lets the file go."""
        self.db.close()

    @property
    def upto(self) -> Upto:
        """How far it goes. Raises AuditFileUnfit."""
        found = self.db.execute(
            "select a.position, a.hash, coalesce(e.clock, '') from audit a"
            " left join events e on e.position = a.position"
        ).fetchone()
        try:
            return msgspec.convert(found, Upto)
        except msgspec.ValidationError as error:
            raise AuditFileUnfit(f"the audit file does not say how far it goes: {error}") from error

    def append(self, stored: Sequence[Stored], *, source: str, at: str) -> None:
        """Adds the events that follow, read from a source; `at` is the time.

        Raises Contradiction; what comes before the event it names is kept.
        """
        try:
            with self.db.atomic():
                self._append(Batch(stored), source, at)
        except sqlite3.OperationalError as error:
            raise AuditFileUnfit(f"the audit file cannot be written: {error}") from error
        except TypeError as error:
            raise AuditFileUnfit(
                f"a row of the audit file is damaged, begin anew: {error}"
            ) from error
        except (Contradiction, sqlite3.IntegrityError, OverflowError) as error:
            if len(stored) == 1:
                raise _named(stored[0].position, error) from error
            middle = len(stored) // 2
            self.append(stored[:middle], source=source, at=at)
            self.append(stored[middle:], source=source, at=at)

    def _append(self, batch: Batch, source: str, at: str) -> None:
        first, last = batch.stored[0], batch.stored[-1]
        moved = self.db.execute(
            "update audit set source = ?, position = ?, hash = ?, updated_at = ?"
            " where position = ? and hash = ?",
            (source, last.position, last.hash, at, first.position - 1, first.previous_hash),
        )
        if moved.rowcount != 1:
            raise AuditFileUnfit("another process has continued the file in the meantime")
        for write in self._layout.writers:
            write(self.db, batch)

    def seals(self) -> list[str]:
        """Returns the seals, each as it was made, in that order."""
        return [seal for (seal,) in self.db.execute("select seal from seals order by number")]

    def add_seals(self, rows: Sequence[dict[str, Any]]) -> None:
        """Adds seals that follow, of positions that are in the file."""
        self.db.table("seals").insert_all(rows)

    def keep(self, found: Contradiction, *, at: str) -> None:
        """Keeps what a book contradicted, once as long as it is the same; `at` is the time."""
        said = {"position": found.position, "what": found.what}
        if last_contradiction(self.db) != tuple(said.values()):
            self.db.table("contradictions").insert({"found_at": at, **said})

    def hash_at(self, position: int) -> str:
        """Returns the hash of an event that is in the file. Raises AuditFileUnfit."""
        statement = "select hash from events where position = ?"
        found = self.db.execute(statement, (position,)).fetchone()
        if found is None:
            raise AuditFileUnfit(f"position {position} is gone from the audit file: begin anew")
        hashed: str = found[0]
        return hashed


def _named(position: int, error: Exception) -> Contradiction:
    if isinstance(error, Contradiction):
        return error
    return Contradiction(position, f"it cannot stand beside the events before it: {error}")


def last_contradiction(db: Database) -> tuple[int, str] | None:
    """Returns the position and the words of what a file's book contradicted it with last."""
    found: tuple[int, str] | None = db.execute(
        "select position, what from contradictions order by number desc limit 1"
    ).fetchone()
    return found


# opening


def is_audit_file(path: Path) -> bool:
    """Returns whether there is a file that says it is an audit file."""
    try:
        with path.open("rb") as file:
            return file.read(72)[68:] == MARK.to_bytes(4)
    except OSError:
        return False


def open_audit_file(path: Path) -> Database:
    """Returns an audit file to be read: it is not changed. Raises AuditFileUnfit."""
    if not is_audit_file(path):
        raise AuditFileUnfit(f"{path} is no audit file")
    try:
        db = _connected(f"file:{quote(str(path.absolute()))}?mode=ro")
        with _closed_on_error(db):
            _check_format(db, path)
    except sqlite3.OperationalError as error:
        raise AuditFileUnfit(
            f"{path}: {error}; if making it was cut short, continue it with roundbook audit-file"
        ) from error
    except (sqlite3.DatabaseError, UnicodeError) as error:  # which its errors may quote
        raise AuditFileUnfit(f"{path}: {error}") from error
    return db


def continue_audit_file(path: Path, layout: Layout, *, source: str, at: str) -> AuditFile:
    """Returns an audit file to be written, made where there is none. Raises AuditFileUnfit."""
    try:
        db = _connected(f"file:{quote(str(path.absolute()))}?mode=rwc")
        with _closed_on_error(db):
            _take_over(db, path, layout, source=source, at=at)
    except (sqlite3.Error, UnicodeError) as error:
        raise AuditFileUnfit(f"{path}: {error}{why(path)}") from error
    return AuditFile(db, layout)


def _take_over(db: Database, path: Path, layout: Layout, *, source: str, at: str) -> None:
    (mark,) = db.execute("pragma application_id").fetchone()
    tables = db.table_names()
    if tables and mark != MARK:
        raise AuditFileUnfit(f"{path} is there, and is no audit file")
    db.execute("pragma journal_mode = delete")
    db.execute(f"pragma cache_size = -{CACHE_KIB}")
    if not tables:
        _create(db, layout, source=source, at=at)
    _check_format(db, path)
    (party,) = db.execute("select party from audit").fetchone()
    if party != layout.party:
        raise AuditFileUnfit(f"{path} is of the {party}'s book, and this is the {layout.party}'s")


@contextmanager
def _closed_on_error(db: Database) -> Iterator[None]:
    try:
        yield
    except BaseException:
        db.close()
        raise


def _connected(uri: str) -> Database:
    connection = sqlite3.connect(uri, uri=True, timeout=LOCK_WAIT_S, check_same_thread=False)
    return Database(connection, recursive_triggers=False, execute_plugins=False)


def _create(db: Database, layout: Layout, *, source: str, at: str) -> None:
    with db.atomic():
        db.execute(f"pragma application_id = {MARK}")
        db.executescript(layout.schema + COMMON)
        for view, query in layout.views.items():
            db.create_view(view, query)
        db.table("events").enable_fts(SEARCHED, tokenize=TOKENS)
        db.table("audit").insert(
            {
                "party": layout.party,
                "source": source,
                "format": FORMAT,
                "position": 0,
                "hash": GENESIS,
                "updated_at": at,
            }
        )


def _check_format(db: Database, path: Path) -> None:
    found = db.execute("select format from audit").fetchone()
    if found is None:
        raise AuditFileUnfit(f"{path} does not say what it holds: begin anew")
    if found[0] != FORMAT:
        raise AuditFileUnfit(
            f"{path} has the format {found[0]}, this program's is {FORMAT}: begin anew"
        )


# writers


def search(db: Database, batch: Batch) -> None:
    """Adds the events of a batch to the full-text search: a trigger a row takes four times as long."""
    db.execute(
        "insert into events_fts (rowid, reference, transaction_id, user, round)"
        " select position, reference, transaction_id, user, round from events where position >= ?",
        (batch.stored[0].position,),
    )


class AppendedTable:
    """Writes a row for each event of some types: its position, and what it says of the columns."""

    def __init__(self, table: str, columns: str, *types: type[Event]) -> None:
        self._table = table
        self._columns = {cls: _said(cls, columns.split()) for cls in types}

    def __call__(self, db: Database, batch: Batch) -> None:
        for cls, columns in self._columns.items():
            said = attrgetter(*columns)
            rows = ((each.position, *said(each.event)) for each in batch.of(cls))
            db.conn.executemany(_insert(self._table, ["position", *columns]), rows)


def _said(cls: type[Event], columns: Sequence[str]) -> list[str]:
    return [column for column in columns if column in cls.__struct_fields__]


@dataclass(frozen=True)
class KeptTable:
    """A table of which a row is kept up to date: it is read, evolved and written once a batch.

    `columns`: names with spaces between, without the key's; `opens`: the events that a row begins with.
    """

    table: str
    key: Sequence[str]
    columns: str
    key_of: Callable[[Stored], Row | None]
    evolve: Callable[[Row | None, Stored], Row]
    opens: tuple[type[Event], ...]

    def __call__(self, db: Database, batch: Batch) -> None:
        touched = [(key, each) for each in batch.stored if (key := self.key_of(each)) is not None]
        rows = self._load(db, {key for key, _ in touched})
        for key, each in touched:
            row = rows.get(key)
            if row is None and not isinstance(each.event, self.opens):
                raise Contradiction(
                    each.position, f"{each.topic} of {key}: not in {self.table} yet"
                )
            rows[key] = self.evolve(row, each)
        self._write(db, rows)

    def _load(self, db: Database, keys: Iterable[Row]) -> dict[Row, Row]:
        width = len(self.key)
        found = db.execute(_select(self), (json.dumps(list(keys)),))
        return {row[:width]: row[width:] for row in found}

    def _write(self, db: Database, rows: Mapping[Row, Row]) -> None:
        """Writes rows, sorted: neighbours go into one page."""
        columns = self.columns.split()
        changed = ", ".join(f"{column} = excluded.{column}" for column in columns)
        upsert = f" on conflict ({', '.join(self.key)}) do update set {changed}"
        db.conn.executemany(
            _insert(self.table, [*self.key, *columns]) + upsert,
            ((*key, *rows[key]) for key in sorted(rows)),
        )


def kept_table(projection: Projection, *opens: type[Event]) -> KeptTable:
    """Returns a table that the book keeps too, as it does."""
    return KeptTable(
        projection.TABLE,
        projection.KEY,
        " ".join(projection.COLUMNS),
        lambda each: key_of(projection, each.event),
        lambda row, each: projection.evolve(row, each.recorded),
        opens,
    )


def _insert(table: str, columns: Sequence[str]) -> str:
    values = ", ".join("?" * len(columns))
    return f"insert into {table} ({', '.join(columns)}) values ({values})"  # noqa: S608  (constants)


def _select(table: KeptTable) -> str:
    """Selects rows by their keys, which are one text of JSON."""
    parts = ", ".join(f"json_extract(value, '$[{part}]')" for part in range(len(table.key)))
    keys = f"({', '.join(table.key)}) in (select {parts} from json_each(?))"  # noqa: S608
    columns = ", ".join([*table.key, *table.columns.split()])
    return f"select {columns} from {table.table} where {keys}"  # noqa: S608

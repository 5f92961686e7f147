"""A store in memory, for tests and try-outs: the same contract, gone with the process."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from eventsourcing.persistence import IntegrityError, Notification, StoredEvent
from eventsourcing.popo import POPOApplicationRecorder
from msgspec.structs import astuple

from ledger.projection import Changes, Key, Projection, Row
from ledger.store import NOTHING, Appended, Asked, Record, Store, Streams, Where
from ledger.store.chain import GENESIS, Head, link


class MemoryStore(POPOApplicationRecorder, Store):
    """The library's own in-memory recorder, with chain and tables; its lock guards them too."""

    def __init__(self, projections: Sequence[Projection] = ()) -> None:
        super().__init__()
        self._projections = tuple(projections)
        self._tables: dict[str, dict[Key, Row]] = {p.TABLE: {} for p in projections}
        self._hashes: list[bytes] = []
        self._seals: list[bytes] = []
        self._undo: list[tuple[str, Key, Row | None]] = []
        self._in_transaction = False
        self._made_anew = self._untouched = False

    @property
    def projections(self) -> Sequence[Projection]:
        return self._projections

    def close(self) -> None:
        """Holds nothing that would have to be released."""

    # writing

    @contextmanager
    def transaction(self, ahead: Asked = NOTHING, *, presumed: bool = False) -> Iterator[Head]:  # noqa: ARG002  (all is near)
        with self._database_lock:
            length = len(self._stored_events)
            self._undo.clear()
            self._in_transaction = True
            self._untouched, self._made_anew = not self._made_anew, False
            try:
                yield self.head()
            except BaseException:
                self._roll_back(length)
                raise
            finally:
                self._in_transaction = False

    @property
    def untouched(self) -> bool:
        return self._untouched

    @contextmanager
    def snapshot(self) -> Iterator[Head]:
        with self._database_lock:
            yield self.head()

    def _roll_back(self, length: int) -> None:
        for event in self._stored_events[length:]:
            self._stored_events_index[str(event.originator_id)].pop(event.originator_version, None)
        del self._stored_events[length:], self._hashes[length:]
        for table, key, before in reversed(self._undo):
            if before is None:
                self._tables[table].pop(key, None)
            else:
                self._tables[table][key] = before

    def insert_events(
        self,
        stored_events: Sequence[StoredEvent | Appended],
        *,
        changes: Changes | None = None,
        **_: Any,
    ) -> Sequence[int] | None:
        """Appends events and the rows they came to; all or nothing. Raises IntegrityError."""
        with self._database_lock:
            if self._in_transaction:
                return self._append(stored_events, changes or {})
            with self.transaction():
                return self._append(stored_events, changes or {})

    def _append(
        self, stored_events: Sequence[StoredEvent | Appended], changes: Changes
    ) -> Sequence[int] | None:
        positions = super().insert_events(
            [StoredEvent(*astuple(e)) if isinstance(e, Appended) else e for e in stored_events]
        )
        for event in stored_events:
            stream, version = str(event.originator_id), event.originator_version
            last = self._hashes[-1] if self._hashes else GENESIS
            self._hashes.append(link(last, stream, version, event.topic, event.state))
        self.write(changes)
        return positions

    def clear(self, table: str) -> None:
        self._made_anew = True
        for key in list(self._tables[table]):
            self._undo.append((table, key, self._tables[table].pop(key)))

    def write(self, changes: Changes) -> None:
        for table, rows in changes.items():
            for key, (before, after) in rows.items():
                if self._tables[table].get(key) != before:
                    raise IntegrityError(f"{table}: a row was changed by another writer")
                self._undo.append((table, key, before))
                self._tables[table][key] = after

    # reading

    def head(self) -> Head:
        with self._database_lock:
            return Head(len(self._hashes), self._hashes[-1]) if self._hashes else Head()

    def streams(self, names: Collection[str]) -> Streams:
        found = {name: self.stream(name) for name in names}
        return {name: events for name, events in found.items() if events}

    def stream(self, name: str, *, upto: int | None = None) -> Sequence[tuple[str, bytes]]:
        return [(event.topic, event.state) for event in self.select_events(name, lte=upto)]

    def event(self, stream: str, version: int) -> tuple[str, bytes]:
        (found,) = self.select_events(stream, gt=version - 1, lte=version)
        return found.topic, found.state

    def stream_version(self, name: str) -> int:
        last = self.select_events(name, desc=True, limit=1)
        return last[0].originator_version if last else 0

    def find(self, table: str, keys: Collection[Key]) -> Mapping[Key, Row]:
        with self._database_lock:
            rows = self._tables[table]
            return {key: rows[key] for key in keys if key in rows}

    def rows(self, table: str, prefix: Key = ()) -> Sequence[Row]:
        with self._database_lock:
            found = self._tables[table].items()
            return sorted((*key, *row) for key, row in found if key[: len(prefix)] == prefix)

    def where(self, table: str, where: Where) -> Sequence[Row]:
        columns = self._columns(table)
        place = columns.index(where.column)
        found = sorted(self._meeting(table, where), key=lambda row: (row[place], row))
        return found[where.skip : where.skip + where.limit]

    def count(self, table: str, where: Where) -> int:
        return len(self._meeting(table, where))

    def _meeting(self, table: str, where: Where) -> list[Row]:
        columns = self._columns(table)
        place = columns.index(where.column)
        wanted = [(columns.index(name), value) for name, value in where.equals.items()]
        begins, width = (where.after, where.behind), len(where.behind)
        return [
            row
            for row in self.rows(table)
            if all(row[at] == value for at, value in wanted)
            and row[place] is not None
            and begins < (row[place], row[:width])
            and (where.upto is None or row[place] <= where.upto)
        ]

    def _columns(self, table: str) -> list[str]:
        (projection,) = (p for p in self._projections if table == p.TABLE)
        return [*projection.KEY, *projection.COLUMNS]

    def first_parts(self, table: str) -> Sequence[str]:
        with self._database_lock:
            return sorted({key[0] for key in self._tables[table]})

    def records(self, *, after: int, limit: int) -> Sequence[Record]:
        with self._database_lock:
            page = enumerate(self._stored_events[after : after + limit], after + 1)
            return [_record(event, place, self._hashes[place - 1]) for place, event in page]

    def seals(self) -> Sequence[bytes]:
        with self._database_lock:
            return list(self._seals)

    def last_seal(self) -> bytes | None:
        with self._database_lock:
            return self._seals[-1] if self._seals else None

    def add_seal(self, position: int, seal: bytes, *, after: bytes | None) -> None:  # noqa: ARG002
        with self._database_lock:
            if self.last_seal() != after:
                raise IntegrityError("seals: there is a newer one")
            self._seals.append(seal)

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        with self._database_lock:
            found = super().select_notifications(
                start, limit, stop, topics, inclusive_of_start=inclusive_of_start
            )
            return [_record(event, event.id, self._hashes[event.id - 1]) for event in found]


def _record(event: StoredEvent, position: int, hashed: bytes) -> Record:
    return Record(
        event.originator_id, event.originator_version, event.topic, event.state, position, hashed
    )

"""What one transaction has read and recorded so far: later commands see what earlier ones decided."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any, Generic, Protocol, TypeVar

import msgspec
from eventsourcing.persistence import StoredEvent

from ledger.mapper import Mapper
from ledger.projection import Changes, Key, Recorded, Row
from ledger.store import Asked, Store, Where


class Aggregate(Protocol):
    """A state that knows how many events it was folded from."""

    @property
    def version(self) -> int: ...


S = TypeVar("S", bound=Aggregate)
K = TypeVar("K")
T = TypeVar("T")

MOST_STATES, MOST_ROWS = 4096, 16384
"""Kept in mind between batches."""


class Fold(Protocol[S]):
    """How a book's streams become states."""

    def __call__(self, state: S, event: Any, /) -> S: ...


class Known(Generic[S]):
    """States by stream and rows by table and key as batches left them, those of late; None for no row."""

    def __init__(self) -> None:
        self.states: OrderedDict[str, S] = OrderedDict()
        self.rows: OrderedDict[tuple[str, Key], Row | None] = OrderedDict()

    def lacks(self, asked: Asked) -> Asked:
        """Returns what of it is not known."""
        streams, rows = asked
        return [stream for stream in streams if stream not in self.states], {
            table: [key for key in keys if (table, key) not in self.rows]
            for table, keys in rows.items()
        }

    def has(self, asked: Asked) -> bool:
        """Returns whether all of it is known, and the rows are there."""
        streams, rows = asked
        return all(map(self.states.__contains__, streams)) and all(
            self.rows.get((table, key)) for table, keys in rows.items() for key in keys
        )

    def keep(self, batch: "Batch[S]") -> None:
        """Takes what a batch has read and recorded, and lets the longest unused go."""
        _keep(self.states, batch.states, MOST_STATES)
        _keep(self.rows, batch.rows, MOST_ROWS)


def _keep(kept: OrderedDict[K, T], of_late: Mapping[K, T], most: int) -> None:
    for key, value in of_late.items():
        kept[key] = value
        kept.move_to_end(key)
    while len(kept) > most:
        kept.popitem(last=False)


class Batch(Generic[S]):
    """One transaction's working set. Streams fold into states of one kind, `empty` before the first event."""

    def __init__(
        self,
        store: Store,
        mapper: Mapper,
        empty: S,
        evolve: Fold[S],
        *,
        at: str,
        known: "Known[S] | None" = None,
    ) -> None:
        self.at = at
        self._known = known or Known()
        self._store, self._mapper = store, mapper
        self._kept = [(kept.TABLE, kept.key, kept.evolve) for kept in store.projections]
        self._empty, self._evolve = empty, evolve
        self.states: dict[str, S] = {}
        self._versions: dict[str, int] = {}
        self._events: dict[tuple[str, int], msgspec.Struct] = {}
        self._read: dict[tuple[str, Key], Row | None] = {}
        self.rows: dict[tuple[str, Key], Row | None] = {}
        self.stored: list[StoredEvent] = []

    def load(self, asked: Asked) -> None:
        """Reads what many commands are about to touch, a statement a kind instead of one a command."""
        streams, rows = asked
        events, found = self._store.load(asked)
        for stream in streams:
            self.states[stream] = self._fold(events.get(stream, ()))
        for table, keys in rows.items():
            for key in keys:
                self.rows[table, key] = self._read[table, key] = found[table].get(key)

    def state(self, stream: str) -> S:
        """Returns a stream's state, with what this batch has recorded."""
        if stream in self.states:
            return self.states[stream]
        found = self._known.states.get(stream) or self._fold(self._store.stream(stream))
        for (named, _), event in self._events.items():  # recorded before anybody asked
            if named == stream:
                found = self._evolve(found, event)
        self.states[stream] = found
        return found

    def _fold(self, stored: Iterable[tuple[str, bytes]]) -> S:
        state = self._empty
        for topic, body in stored:
            state = self._evolve(state, self._mapper.decode(topic, body))
        return state

    def row(self, table: str, key: Key) -> Row | None:
        """Returns a table's row, with what this batch has recorded."""
        at = (table, key)
        if at not in self.rows:
            known = self._known.rows
            self.rows[at] = self._read[at] = (
                known[at] if at in known else self._store.row(table, key)
            )
        return self.rows[at]

    def any_row(self, table: str, prefix: Key) -> bool:
        """Returns whether a table has a row whose key begins with `prefix`."""
        read = (
            name == table and key[: len(prefix)] == prefix and row is not None
            for (name, key), row in self.rows.items()
        )
        return any(read) or bool(self._store.rows(table, prefix))

    def where(self, table: str, where: Where) -> list[Row]:
        """Returns whole rows as they were before this batch; what it decides stands in the states."""
        return list(self._store.where(table, where))

    def event(self, stream: str, version: int) -> Any:
        """Returns one event that is known to be there."""
        found = self._events.get((stream, version))
        return found or self._mapper.decode(*self._store.event(stream, version))

    def record(self, stream: str, event: msgspec.Struct) -> None:
        """Appends an event to a stream, and moves its state and every table it touches."""
        version = self._next_version(stream)
        topic, state = type(event).__name__, self._mapper.encode(event)
        self.stored.append(StoredEvent(stream, version, topic, state))
        self._events[stream, version] = event
        if stream in self.states:
            self.states[stream] = self._evolve(self.states[stream], event)
        self._project(Recorded(stream, version, event))

    def _next_version(self, stream: str) -> int:
        if stream in self.states:
            return self.states[stream].version + 1
        last = self._versions.get(stream)
        self._versions[stream] = (self._store.stream_version(stream) if last is None else last) + 1
        return self._versions[stream]

    def _project(self, recorded: Recorded) -> None:
        event, rows = recorded.event, self.rows
        for table, key_of, evolve in self._kept:
            key = key_of(event)
            if key is not None:
                at = (table, key)
                row = rows[at] if at in rows else self.row(table, key)
                rows[at] = evolve(row, recorded)

    def changes(self) -> Changes:
        """Returns every row that differs from what was read."""
        changed: dict[str, dict[Key, tuple[Row | None, Row]]] = {}
        for (table, key), row in self.rows.items():
            before = self._read[table, key]
            if row is not None and row != before:
                changed.setdefault(table, {})[key] = (before, row)
        return changed

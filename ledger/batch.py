"""What one transaction has read and recorded so far: later commands see what earlier ones decided."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from ledger.mapper import Mapper
from ledger.projection import Changes, Kept, Key, Recorded, Row
from ledger.store import Appended, Asked, Store, Where


class Aggregate(Protocol):
    """A state that knows how many events it was folded from."""

    @property
    def version(self) -> int: ...


S = TypeVar("S", bound=Aggregate)
K = TypeVar("K")
T = TypeVar("T")

Rows = dict[str, dict[Key, Row | None]]
"""By table and key; None for no row."""

MOST_STATES, MOST_ROWS = 8192, 8192
"""Of late, and as many of before: kept in mind between batches, rows by table. A result comes seconds after a bet."""

MOST_EVENTS = 100_000
"""That the states of late were folded from: what a long round takes grows with them."""


Fold = Callable[[S, Any], S]
"""How a book's streams become states."""


class Recent(Generic[K, T]):
    """What was kept of late, and what was kept before that: so many of each, the rest is forgotten."""

    def __init__(
        self, most: int, *, weigh: Callable[[T], int] | None = None, heaviest: int = 0
    ) -> None:
        """With `weigh`, what was kept of late weighs some `heaviest` at most, however few they are."""
        self._most, self._weigh, self._heaviest = most, weigh, heaviest
        self._weight = 0
        self._late: dict[K, T] = {}
        self._before: dict[K, T] = {}

    def __contains__(self, key: K) -> bool:
        return key in self._late or key in self._before

    def get(self, key: K) -> T | None:
        """Returns what is kept, None where nothing is."""
        return self._late[key] if key in self._late else self._before.get(key)

    def lacks(self, keys: Iterable[K]) -> set[K]:
        """Returns those that are not kept."""
        return set(keys).difference(self._late).difference(self._before)

    def keep(self, some: Mapping[K, T]) -> None:
        """Keeps these, in place of what they were."""
        late, weigh = self._late, self._weigh
        if weigh:
            was = (late[key] for key in some if key in late)
            self._weight += sum(map(weigh, some.values())) - sum(map(weigh, was))
        late.update(some)
        if len(late) >= self._most or self._weight > self._heaviest:
            self._late, self._before, self._weight = {}, late, 0


class Known(Generic[S]):
    """States by stream, and rows by table and key, as batches left them; None for no row."""

    def __init__(self) -> None:
        self.states: Recent[str, S] = Recent(
            MOST_STATES, weigh=attrgetter("version"), heaviest=MOST_EVENTS
        )
        self.rows: dict[str, Recent[Key, Row | None]] = defaultdict(lambda: Recent(MOST_ROWS))

    def lacks(self, asked: Asked) -> Asked:
        """Returns what of it is not known."""
        streams, rows = asked
        return self.states.lacks(streams), {
            table: self.rows[table].lacks(keys) for table, keys in rows.items()
        }

    def has(self, asked: Asked) -> bool:
        """Returns whether all of it is known, and the rows are there."""
        streams, rows = asked
        return not self.states.lacks(streams) and all(
            all(map(self.rows[table].get, keys)) for table, keys in rows.items()
        )

    def keep(self, batch: "Batch[S]") -> None:
        """Takes what a batch has read and recorded."""
        self.states.keep(batch.states)
        for table, rows in batch.rows.items():
            self.rows[table].keep(rows)


class Batch(Generic[S]):
    """One transaction's working set. Streams fold into states of one kind, `empty` before the first event."""

    def __init__(
        self,
        store: Store,
        mapper: Mapper,
        empty: S,
        evolve: Fold[S],
        kept: Mapping[type, Sequence[Kept]],
        *,
        at: str,
        known: Known[S],
    ) -> None:
        """`kept`: the tables an event touches, by its type."""
        self.at = at
        self._known = known
        self._store, self._mapper = store, mapper
        self._empty, self._evolve, self._kept = empty, evolve, kept
        self.states: dict[str, S] = {}
        self._versions: dict[str, int] = {}
        self._events: dict[tuple[str, int], msgspec.Struct] = {}
        self.rows: Rows = defaultdict(dict)
        self._before: Rows = defaultdict(dict)
        self.stored: list[Appended] = []

    def load(self, asked: Asked) -> None:
        """Reads what many commands are about to touch, a statement a kind instead of one a command."""
        streams, rows = asked
        events, found = self._store.load(asked)
        for stream in streams:
            self.states[stream] = self._fold(events.get(stream, ()))
        for table, there in found.items():
            self.rows[table].update({**dict.fromkeys(rows[table]), **there})

    def state(self, stream: str) -> S:
        """Returns a stream's state, with what this batch has recorded."""
        if stream in self.states:
            return self.states[stream]
        found = self._known.states.get(stream) or self._fold(self._store.stream(stream))
        if stream in self._versions:  # recorded before anybody asked
            for (named, _), event in self._events.items():
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
        rows = self.rows[table]
        if key not in rows:
            known = self._known.rows[table]
            rows[key] = known.get(key) if key in known else self._store.row(table, key)
        return rows[key]

    def any_row(self, table: str, prefix: Key) -> bool:
        """Returns whether a table has a row whose key begins with `prefix`."""
        read = (
            key[: len(prefix)] == prefix and row is not None
            for key, row in self.rows[table].items()
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
        kind = type(event)
        self.stored.append(Appended(stream, version, kind.__name__, self._mapper.encode(event)))
        self._events[stream, version] = event
        if stream in self.states:
            self.states[stream] = self._evolve(self.states[stream], event)
        recorded = Recorded(stream, version, event)
        for table, key_of, evolve in self._kept.get(kind, ()):
            key, rows = key_of(event), self.rows[table]
            row = rows[key] if key in rows else self.row(table, key)
            self._before[table].setdefault(key, row)
            rows[key] = evolve(row, recorded)

    def _next_version(self, stream: str) -> int:
        if stream in self.states:
            return self.states[stream].version + 1
        last = self._versions.get(stream)
        self._versions[stream] = (self._store.stream_version(stream) if last is None else last) + 1
        return self._versions[stream]

    def changes(self) -> Changes:
        """Returns every row that differs from what was read."""
        changed: dict[str, dict[Key, tuple[Row | None, Row]]] = {}
        for table, rows in self._before.items():
            now = self.rows[table]
            changed[table] = {
                key: (before, after)
                for key, before in rows.items()
                if (after := now[key]) is not None and after != before
            }
        return changed

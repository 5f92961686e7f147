"""The tables of a book, derived again from its events: to check them, or to make them anew."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from ledger.mapper import Mapper
from ledger.projection import Key, Recorded, Row, kept_of
from ledger.store import EVENTS, Store


class RowDifference(NamedTuple):
    """A row that is not what the events say; None where there is none."""

    table: str
    key: Key
    stored: Row | None
    derived: Row | None


Tables = dict[str, dict[Key, Row]]


@contextmanager
def without_collector() -> Iterator[None]:
    """No row is part of a cycle, and looking for one among many takes up to a third of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def derive(store: Store, mapper: Mapper) -> Tables:
    """Returns every table as the events alone make it."""
    tables: Tables = {projection.TABLE: {} for projection in store.projections}
    kept = {
        kind: [(tables[table], key_of, evolve) for table, key_of, evolve in some]
        for kind, some in kept_of(store.projections).items()
    }
    for _, stream, version, topic, state, _ in store.scan(EVENTS, after=0):
        event = mapper.decode(topic, state)
        recorded = Recorded(stream, version, event)
        for rows, key_of, evolve in kept.get(type(event), ()):
            key = key_of(event)
            rows[key] = evolve(rows.get(key), recorded)
    return tables


def differences(store: Store, mapper: Mapper) -> list[RowDifference]:
    """Returns where the stored tables are not what the events make, sorted; empty when all is well."""
    with store.snapshot(), without_collector():
        if _is_stored(store, derive(store, mapper)):
            return []
        derived = derive(store, mapper)
        stored = {p.TABLE: _stored(store, p.TABLE, len(p.KEY)) for p in store.projections}
    return [
        RowDifference(table, key, stored[table].get(key), rows.get(key))
        for table, rows in derived.items()
        for key in sorted(stored[table].keys() | rows.keys(), key=_as_texts)
        if stored[table].get(key) != rows.get(key)
    ]


def rebuild(store: Store, mapper: Mapper) -> int:
    """Throws the tables away and derives them again, in one transaction. Returns how many rows."""
    store.try_write()  # a long book is not read in vain
    with store.transaction(), without_collector():
        derived = derive(store, mapper)
        for table, rows in derived.items():
            store.clear(table)
            store.write({table: {key: (None, row) for key, row in rows.items()}})
    return sum(len(rows) for rows in derived.values())


def _is_stored(store: Store, derived: Tables) -> bool:
    """Returns whether the stored tables are these, row by row; each that was found is let go of."""
    for projection in store.projections:
        rows, width = derived[projection.TABLE], len(projection.KEY)
        stored = store.scan(projection.TABLE)
        if not all(rows.pop(row[:width], None) == row[width:] for row in stored) or rows:
            return False
    return True


def _as_texts(key: Key) -> list[str]:
    """A table that was made anew may hold keys of any type."""
    return list(map(str, key))


def _stored(store: Store, table: str, width: int) -> dict[Key, Row]:
    return {row[:width]: row[width:] for row in store.scan(table)}

"""The tables of a book, derived again from its events: to check them, or to make them anew."""

from collections.abc import Iterator
from typing import NamedTuple

from ledger.mapper import Mapper
from ledger.projection import Key, Recorded, Row
from ledger.store import Record, Store

PAGE = 1000


class Difference(NamedTuple):
    """A row that is not what the events say; None where there is none."""

    table: str
    key: Key
    stored: Row | None
    derived: Row | None


Tables = dict[str, dict[Key, Row]]


def derive(store: Store, mapper: Mapper) -> Tables:
    """Returns every table as the events alone make it."""
    tables: Tables = {projection.TABLE: {} for projection in store.projections}
    for record in all_records(store):
        event = mapper.decode(record.topic, record.state)
        recorded = Recorded(str(record.originator_id), record.originator_version, event)
        for projection in store.projections:
            key = projection.key(event)
            if key is not None:
                rows = tables[projection.TABLE]
                rows[key] = projection.evolve(rows.get(key), recorded)
    return tables


def all_records(store: Store) -> Iterator[Record]:
    """Returns every record in order, a page at a time, so that memory stays flat."""
    page = store.records(after=0, limit=PAGE)
    while page:
        yield from page
        page = store.records(after=page[-1].id, limit=PAGE)


def differences(store: Store, mapper: Mapper) -> list[Difference]:
    """Returns where the stored tables are not what the events make, sorted; empty when all is well."""
    with store.snapshot():
        derived = derive(store, mapper)
        stored = {p.TABLE: _stored(store, p.TABLE, len(p.KEY)) for p in store.projections}
    return [
        Difference(table, key, stored[table].get(key), rows.get(key))
        for table, rows in derived.items()
        for key in sorted(stored[table].keys() | rows.keys())
        if stored[table].get(key) != rows.get(key)
    ]


def rebuild(store: Store, mapper: Mapper) -> int:
    """Throws the tables away and derives them again, in one transaction. Returns how many rows."""
    with store.transaction():
        derived = derive(store, mapper)
        for table, rows in derived.items():
            store.clear(table)
            store.write({table: {key: (None, row) for key, row in rows.items()}})
    return sum(len(rows) for rows in derived.values())


def _stored(store: Store, table: str, width: int) -> dict[Key, Row]:
    return {row[:width]: row[width:] for row in store.rows(table)}

"""Copies a book into another store: every event with its hash, the tables with them, the seals."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import msgspec

from ledger.mapper import Mapper
from ledger.projection import Changes, Recorded, key_of
from ledger.seal import Seal
from ledger.store import Record, Store, StoreUnfit

AT_ONCE = 1000
"""Events a transaction."""


class CopyDiffers(Exception):
    """What is copied is not what the copy holds; the text names the position."""


def copy_events(records: Iterable[Record], target: Store, mapper: Mapper) -> Iterator[int]:
    """Appends the events that follow a copy's head; yields how far it is. Raises CopyDiffers, StoreUnfit.

    Tables and events are written together: whenever it is cut short, the copy is a book, and can be continued.
    """
    rest = iter(records)
    while some := list(islice(rest, AT_ONCE)):
        with target.transaction() as head:
            if some[0].id != head.position + 1:
                raise StoreUnfit("another process has continued the copy in the meantime")
            target.insert_events(some, changes=_changes(target, some, mapper))
            if target.head().hash != some[-1].hash:
                raise CopyDiffers(f"position {some[-1].id}: its hash is not that of its bytes")
        yield some[-1].id


def copy_seals(seals: Sequence[Seal], target: Store) -> None:
    """Adds the seals that a copy does not have yet, of positions that it has. Raises CopyDiffers."""
    held, position = target.seals(), target.head().position
    encoded = [msgspec.json.encode(seal) for seal in seals if seal.position <= position]
    if list(held) != encoded[: len(held)]:
        raise CopyDiffers("the copy has seals that the book does not have")
    last = held[-1] if held else None
    for seal, body in zip(seals[len(held) :], encoded[len(held) :], strict=False):
        target.add_seal(seal.position, body, after=last)
        last = body


def _changes(target: Store, records: Sequence[Record], mapper: Mapper) -> Changes:
    """Returns what the tables' rows become with some events."""
    recorded = [
        Recorded(str(r.originator_id), r.originator_version, mapper.decode(r.topic, r.state))
        for r in records
    ]
    changes = {}
    for projection in target.projections:
        keyed = [(key, each) for each in recorded if (key := key_of(projection, each.event))]
        before = target.find(projection.TABLE, {key for key, _ in keyed})
        after = dict(before)
        for key, each in keyed:
            after[key] = projection.evolve(after.get(key), each)
        changes[projection.TABLE] = {
            key: (before.get(key), row) for key, row in after.items() if row != before.get(key)
        }
    return changes

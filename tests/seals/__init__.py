"""Books that are sealed, and hands that reach into a SQLite file behind the book's back."""

import json
from contextlib import closing

import apsw
import msgspec
from eventsourcing.persistence import StoredEvent
from pymerkle import InmemoryTree

from ledger.moments import text
from ledger.seal import Seal, new_key, signer
from ledger.store import open_store
from tests.clocks import NOON as NOON
from tests.clocks import Clock as Clock
from tests.questions import EVERYTHING as EVERYTHING

TRIGGERS = {
    table: tuple(f"{table}_are_never_{verb}" for verb in ("updated", "replaced", "deleted"))
    for table in ("stored_events", "seals")
}


def new_signer():
    return signer(new_key())


def stored(version, **said):
    body = json.dumps({"recorded_at": text(NOON), **said}, separators=(",", ":"))
    return StoredEvent("round/LuckyMonaco/1", version, "Told", body.encode())


def grow(store, count=1, **said):
    first = store.head().position + 1
    store.insert_events([stored(first + number, **said) for number in range(count)])


def hashes(store):
    return [record.hash for record in store.records(after=0, limit=EVERYTHING)]


def read(seals):
    return [msgspec.json.decode(seal, type=Seal) for seal in seals]


def pymerkles(data):
    tree = InmemoryTree(algorithm="sha256")
    for each in data:
        tree.append_entry(each)
    return tree


def pymerkle_root(data):
    return pymerkles(data).get_root()


def behind(path, *statements, table="stored_events"):
    with closing(apsw.Connection(str(path))) as connection:
        for trigger in TRIGGERS[table]:
            connection.execute(f"drop trigger {trigger}")
        for statement in statements:
            connection.execute(*([statement] if isinstance(statement, str) else statement))


def rechain(path, *, after=0, **changes):
    """Rewrites a book from a position on, hashes and all: what only an older seal can contradict."""
    with closing(open_store(f"sqlite:///{path}")) as store:
        records = store.records(after=0, limit=EVERYTHING)
    behind(path, f"delete from stored_events where position > {after}")
    with closing(open_store(f"sqlite:///{path}")) as store:
        for record in records[after:]:
            body = json.dumps(json.loads(record.state) | changes, separators=(",", ":"))
            store.insert_events(
                [
                    StoredEvent(
                        record.originator_id,
                        record.originator_version,
                        record.topic,
                        body.encode(),
                    )
                ]
            )

"""Whether overdue rounds are refunded by themselves, or wait for a person."""

from ledger.event import Event
from ledger.projection import Key, Recorded, Row
from ledger.provider import events

TABLE = "sweep"
KEY = ("name",)
COLUMNS = ("stopped_at", "reason", "confirmed_upto")
SCHEMA = """
create table if not exists sweep (
    name text not null primary key,
    stopped_at text,
    reason text not null,
    confirmed_upto text not null
) strict, without rowid;
"""


def key(event: Event) -> Key | None:
    return (
        ("retention",) if isinstance(event, events.SweepStopped | events.SweepConfirmed) else None
    )


def evolve(row: Row | None, recorded: Recorded) -> Row:
    event = recorded.event
    stopped_at, reason, upto = row or (None, "", "")
    match event:
        case events.SweepStopped():
            stopped_at, reason = event.recorded_at, event.reason
        case events.SweepConfirmed():
            stopped_at, reason, upto = None, "", event.upto
    return (stopped_at, reason, upto)

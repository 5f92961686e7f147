"""Whether overdue rounds are refunded by themselves, or wait for a person."""

from ledger.projection import Keys, Recorded, Row
from ledger.provider import events

TABLE = "sweep"
KEY = ("name",)
COLUMNS = ("stopped_at", "reason", "confirmed_upto", "made_at")
SCHEMA = """
create table if not exists sweep (
    name text not null primary key,
    stopped_at text,
    reason text not null,
    confirmed_upto text not null,
    made_at text not null
) strict, without rowid;
"""

KEYS: Keys = dict.fromkeys(
    (events.SweepMade, events.SweepStopped, events.SweepConfirmed), lambda _: ("retention",)
)


def evolve(row: Row | None, recorded: Recorded) -> Row:
    event = recorded.event
    stopped_at, reason, upto, made_at = row or (None, "", "", "")
    match event:
        case events.SweepMade():
            made_at = event.recorded_at
        case events.SweepStopped():
            stopped_at, reason = event.recorded_at, event.reason
        case events.SweepConfirmed():
            stopped_at, reason, upto, made_at = None, "", event.upto, event.recorded_at
    return (stopped_at, reason, upto, made_at)

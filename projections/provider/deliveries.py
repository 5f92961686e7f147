"""Every call an operator's wallet is owed or was given: idempotency of references, and what is due."""

from collections.abc import Callable
from operator import attrgetter

from ledger.event import Event
from ledger.projection import Key, Keys, Recorded, Row
from ledger.provider import events
from ledger.provider.delivery import Delivery

TABLE = "deliveries"
KEY = ("operator", "kind", "reference")
COLUMNS = Delivery._fields[len(KEY) :]
SCHEMA = """
create table if not exists deliveries (
    operator text not null,
    kind text not null check (kind in ('bet', 'result', 'end', 'cancel', 'refund')),
    reference text not null,
    round text not null,
    intent integer not null,
    state text not null check (state in ('waiting', 'parked', 'refused', 'confirmed', 'declined', 'given-up')),
    sends integer not null,
    attempts integer not null,
    sending integer not null,
    doubtful integer not null,
    due_at text,
    undelivered_since text,
    last_error text not null,
    code integer,
    primary key (operator, kind, reference)
) strict, without rowid;
create index if not exists deliveries_due on deliveries (operator, due_at) where due_at is not null;
create index if not exists deliveries_undelivered on deliveries (undelivered_since)
where undelivered_since is not null;
"""


def _key_of(kind: events.Kind) -> Callable[[Event], Key]:
    return lambda event: (event.operator, kind, event.reference)  # type: ignore[attr-defined]


KEYS: Keys = {
    **{named: _key_of(kind) for named, kind in {**events.REQUESTED, **events.SETTLED}.items()},
    **{
        kind: attrgetter(*KEY)
        for kind in events.TYPES
        if issubclass(kind, events.DeliveryEvent | events.SendEvent)
    },
}


def evolve(row: Row | None, recorded: Recorded) -> Row:
    event = recorded.event
    if row is None:  # only a Requested comes first
        asked_at = event.recorded_at
        return (event.round, recorded.version, "waiting", 0, 0, 0, 0, asked_at, asked_at, "", None)
    round_, intent, state, sends, attempts, sending, doubtful, due_at, since, error, code = row
    match event:
        case events.SendStarted():
            doubtful |= sending  # the one before has not come back
            sends, attempts, sending, due_at = sends + 1, event.attempt, 1, event.until
        case events.SendEnded():
            doubtful |= event.outcome != "answered"
            sending, due_at, error, code = 0, event.again_at, event.detail, event.code
        case events.DeliveryParked():
            state, sending = "parked", 0
        case events.DeliveryRefused():
            state, due_at = "refused", None
        case events.DeliveryRetried():
            state, sends, due_at = "waiting", 0, event.recorded_at
        case events.BetGivenUp():
            state, due_at, since = "given-up", None, None
        case events.BetDeclined():
            state, due_at, since = "declined", None, None
        case events.Confirmed():
            state, due_at, since = "confirmed", None, None
    return (round_, intent, state, sends, attempts, sending, doubtful, due_at, since, error, code)

"""Where each reference was first recorded: idempotency across rounds, and the way to a bet's round."""

from ledger.event import Event
from ledger.operator import events
from ledger.projection import Key, Recorded, Row

TABLE = "reference_index"
KEY = ("provider", "kind", "reference")
COLUMNS = ("stream", "stream_version", "transaction_id")
SCHEMA = """
create table if not exists reference_index (
    provider text not null,
    kind text not null,
    reference text not null,
    stream text not null,
    stream_version integer not null,
    transaction_id text not null,
    primary key (provider, kind, reference)
) strict, without rowid;
"""


def key(event: Event) -> Key | None:
    match event:
        case events.BetPlaced() | events.BetRefused() | events.TombstoneRecorded():
            return (event.provider, "bet", event.reference)
        case events.ResultRecorded():
            return (event.provider, event.kind, event.reference)
        case events.PromoPaid():
            return (event.provider, "promo", event.reference)
        case events.SessionExpired():
            return (event.provider, "session", event.session)
        case events.DepositMade():
            return (events.CASHIER, "deposit", event.reference)
        case events.WithdrawalMade():
            return (events.CASHIER, "withdrawal", event.reference)
    return None


def evolve(row: Row | None, recorded: Recorded) -> Row:
    """Returns the first place: a refused bet's later tombstone stands in the same stream."""
    transaction_id = getattr(recorded.event, "transaction_id", "")
    return row or (recorded.stream, recorded.version, transaction_id)

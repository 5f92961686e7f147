"""Where each reference was first recorded: idempotency across rounds, and the way to a bet's round."""

from ledger.operator import events
from ledger.projection import Keys, Recorded, Row

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


KEYS: Keys = {
    events.BetPlaced: lambda event: (event.provider, "bet", event.reference),
    events.BetRefused: lambda event: (event.provider, "bet", event.reference),
    events.TombstoneRecorded: lambda event: (event.provider, "bet", event.reference),
    events.ResultRecorded: lambda event: (event.provider, event.kind, event.reference),
    events.PromoPaid: lambda event: (event.provider, "promo", event.reference),
    events.SessionExpired: lambda event: (event.provider, "session", event.session),
    events.DepositMade: lambda event: (events.CASHIER, "deposit", event.reference),
    events.WithdrawalMade: lambda event: (events.CASHIER, "withdrawal", event.reference),
}


def evolve(row: Row | None, recorded: Recorded) -> Row:
    """Returns the first place: a refused bet's later tombstone stands in the same stream."""
    transaction_id = getattr(recorded.event, "transaction_id", "")
    return row or (recorded.stream, recorded.version, transaction_id)

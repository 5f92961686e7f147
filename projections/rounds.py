"""Every round's status and sums as they are now: no replay, open rounds by player."""

from operator import attrgetter

from ledger.operator import events
from ledger.projection import Keys, Recorded, Row

TABLE = "rounds"
KEY = ("provider", "round")
COLUMNS = ("user", "currency", "status", "staked", "won", "reversed", "opened_at")
SCHEMA = """
create table if not exists rounds (
    provider text not null,
    round text not null,
    user text not null,
    currency text not null,
    status text not null check (status in ('InProgress', 'Completed', 'Cancelled')),
    staked integer not null,
    won integer not null,
    reversed integer not null,
    opened_at text not null,
    primary key (provider, round)
) strict, without rowid;
"""


KEYS: Keys = dict.fromkeys(
    (
        events.RoundOpened,
        events.BetPlaced,
        events.ResultRecorded,
        events.BetCancelled,
        events.BetRefunded,
        events.RoundEnded,
        events.RoundCancelled,
    ),
    attrgetter(*KEY),
)


def evolve(row: Row | None, recorded: Recorded) -> Row:
    event = recorded.event
    if row is None:  # only a RoundOpened comes first
        return (event.user, event.currency, "InProgress", 0, 0, 0, event.recorded_at)
    user, currency, status, staked, won, reversed_, opened_at = row
    match event:
        case events.BetPlaced():
            staked += event.amount
        case events.ResultRecorded():
            won, status = won + event.amount, "Completed"
        case events.BetReversed():
            won, reversed_ = won - event.win, reversed_ + event.amount
        case events.RoundEnded():
            status = status if status == "Cancelled" else "Completed"
        case events.RoundCancelled():
            status = "Cancelled"
    return (user, currency, status, staked, won, reversed_, opened_at)

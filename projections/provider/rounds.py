"""Every round's status and sums as they are now: open rounds by player, and since when a bet is open."""

from operator import attrgetter
from typing import NamedTuple

from ledger.event import Event
from ledger.projection import Keys, Recorded, Row
from ledger.provider import events
from ledger.provider.status import status

TABLE = "rounds"
KEY = ("operator", "round")
SCHEMA = """
create table if not exists rounds (
    operator text not null,
    round text not null,
    user text not null,
    game text not null,
    currency text not null,
    scale integer not null,
    status text not null
    check (status in ('InProgress', 'Completed', 'Cancelled', 'CompleteInProcess', 'CancelInProcess')),
    staked integer not null,
    won integer not null,
    opened_at text not null,
    open_since text,
    unanswered integer not null,
    open_bets integer not null,
    reversing integer not null,
    owing integer not null,
    decided integer not null,
    cancelling integer not null,
    cancelled integer not null,
    primary key (operator, round)
) strict, without rowid;
create index if not exists rounds_open on rounds (operator, open_since) where open_since is not null;
create index if not exists rounds_opened on rounds (operator, opened_at);
create index if not exists rounds_of_player on rounds (operator, user, opened_at);
"""


class RoundRow(NamedTuple):
    """A round in numbers; `open_since` is when its oldest open bet was accepted, None for no such bet."""

    user: str
    game: str
    currency: str
    scale: int
    status: str = "InProgress"
    staked: int = 0
    won: int = 0
    opened_at: str = ""
    open_since: str | None = None
    unanswered: int = 0
    open_bets: int = 0
    reversing: int = 0
    owing: int = 0
    decided: int = 0
    cancelling: int = 0
    cancelled: int = 0


COLUMNS = RoundRow._fields

KEYS: Keys = {
    kind: attrgetter(*KEY) for kind in events.TYPES if issubclass(kind, events.RoundEvent)
}


def evolve(row: Row | None, recorded: Recorded) -> Row:
    event = recorded.event
    if row is None:  # only a RoundOpened comes first
        return RoundRow(
            event.user, event.game, event.currency, event.scale, opened_at=event.recorded_at
        )
    after = _evolve(RoundRow(*row), event)
    return after._replace(
        status=status(
            cancelled=bool(after.cancelled),
            cancelling=bool(after.cancelling),
            decided=bool(after.decided),
            owing=after.owing,
            unanswered=after.unanswered,
            open_bets=after.open_bets,
            reversing=after.reversing,
        )
    )


def _evolve(row: RoundRow, event: Event) -> RoundRow:
    match event:
        case events.BetRequested():
            return row._replace(unanswered=row.unanswered + 1)
        case events.BetDeclined():
            return row._replace(unanswered=row.unanswered - 1)
        case events.BetGivenUp():
            return row._replace(unanswered=row.unanswered - 1, reversing=row.reversing + 1)
        case events.BetAccepted():
            return row._replace(
                unanswered=row.unanswered - 1,
                open_bets=row.open_bets + 1,
                staked=row.staked + event.amount,
                open_since=row.open_since or event.recorded_at,
            )
        case events.RefundRequested():
            return row._replace(
                open_bets=row.open_bets - 1,
                reversing=row.reversing + 1,
                open_since=event.open_since or None,
            )
        case events.RefundConfirmed() | events.CancelConfirmed():
            return row._replace(reversing=row.reversing - 1)
    return _towards_the_end(row, event)


def _towards_the_end(row: RoundRow, event: Event) -> RoundRow:
    match event:
        case events.ResultRequested():
            won = row.won + event.amount
            return row._replace(owing=row.owing + 1, won=won, decided=1, open_since=None)
        case events.ResultConfirmed():
            return row._replace(owing=row.owing - 1)
        case events.RoundEnded():
            return row._replace(owing=row.owing + 1, decided=1, open_since=None)
        case events.RoundCompleted():
            return row._replace(owing=0)
        case events.CancellationRequested():
            return row._replace(cancelling=1)
        case events.RoundCancelled():
            return row._replace(cancelled=1)
    return row

"""Every wallet's cash as it is now: the balance each answer quotes."""

from operator import attrgetter

from ledger.operator import events
from ledger.projection import Keys, Recorded, Row

TABLE = "wallets"
KEY = ("user", "currency")
COLUMNS = ("cash", "scale", "frozen", "version")
SCHEMA = """
create table if not exists wallets (
    user text not null,
    currency text not null,
    cash integer not null check (cash >= 0),
    scale integer not null,
    frozen integer not null,
    version integer not null,
    primary key (user, currency)
) strict, without rowid;
"""

KEYS: Keys = {
    kind: attrgetter(*KEY) for kind in events.TYPES if issubclass(kind, events.WalletEvent)
}


def evolve(row: Row | None, recorded: Recorded) -> Row:
    event = recorded.event
    cash, scale, frozen, _ = row or (0, event.scale, 0, 0)
    match event:
        case events.MoneyMoved():
            cash = event.cash_after
        case events.WalletFrozen():
            frozen = 1
        case events.WalletUnfrozen():
            frozen = 0
    return (cash, scale, frozen, event.wallet_version)

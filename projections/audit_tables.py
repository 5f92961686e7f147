"""The tables and views of an operator's audit file, and what each event means for them."""

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from operator import attrgetter, itemgetter
from typing import Any

from msgspec.structs import asdict
from sqlite_utils import Database

from ledger.event import Event
from ledger.money import MOST_SUM
from ledger.names import name
from ledger.operator import events
from ledger.projection import Key, Row, key_of
from projections import references, rounds, wallets
from projections.audit_file import (
    AppendedTable,
    Batch,
    Contradiction,
    KeptTable,
    Layout,
    Stored,
    kept_table,
    search,
)
from projections.journal import account, postings

SCHEMA = (
    """
create table events (
    position integer not null primary key,
    stream text not null,
    version integer not null, -- its place in its stream, from 1
    topic text not null,
    recorded_at text not null,
    clock text not null, -- the latest recorded_at up to here: a clock may go back, this does not
    provider text,
    round text,
    user text,
    currency text,
    reference text,
    transaction_id text,
    state text not null, -- the stored JSON, byte for byte
    hash text not null, -- SHA-256(previous_hash, stream, 0, version, 0, topic, 0, state)
    previous_hash text not null
) strict;

create table accounts (
    account text not null primary key, -- player/USER/CURRENCY, round/PROVIDER/ROUND, cashier/CURRENCY, promo/...
    kind text not null, -- player, round, cashier, promo
    user text,
    provider text,
    round text,
    campaign text,
    currency text not null,
    scale integer not null, -- decimals of the currency
    balance any not null -- minor units, the sum of all its postings; text where 63 bits do not hold it
) strict, without rowid;

create table postings (
    position integer not null references events (position),
    account text not null references accounts (account),
    currency text not null,
    amount integer not null, -- minor units, below zero where the account gives
    balance any not null, -- of the account, with this posting
    primary key (account, position)
) strict, without rowid;
create index postings_of_position on postings (position);

create table rounds (
    provider text not null,
    round text not null,
    user text not null,
    currency text not null,
    status text not null, -- InProgress, Completed, Cancelled
    staked integer not null,
    won integer not null,
    reversed integer not null,
    opened_at text not null,
    game text not null,
    scale integer, -- not known before money moves
    opened_position integer not null references events (position),
    position integer not null references events (position), -- of its last event
    version integer not null,
    primary key (round, provider)
) strict, without rowid;
create index rounds_of_user on rounds (user, opened_position);
create index rounds_open on rounds (opened_position) where status = 'InProgress';

create table reference_index (
    provider text not null,
    kind text not null,
    reference text not null,
    position integer not null references events (position), -- where it was first recorded
    primary key (reference, kind, provider)
) strict, without rowid;

create table bets (
    position integer not null primary key references events (position),
    provider text not null,
    round text not null,
    user text not null,
    currency text not null,
    game text not null,
    reference text not null,
    amount integer not null,
    scale integer not null,
    transaction_id text not null,
    status text not null default 'placed', -- then cancelled or refunded
    foreign key (round, provider) references rounds (round, provider)
) strict;
create index bets_of_round on bets (round, provider);

create table results (
    position integer not null primary key references events (position),
    provider text not null,
    round text not null,
    user text not null,
    currency text not null,
    kind text not null,
    reference text not null,
    amount integer not null, -- the win
    scale integer not null,
    transaction_id text not null,
    foreign key (round, provider) references rounds (round, provider)
) strict;
create index results_of_round on results (round, provider);

create table reversals (
    position integer not null primary key references events (position),
    bet integer not null unique references bets (position),
    provider text not null,
    round text not null,
    user text not null,
    currency text not null,
    by text not null,
    reference text not null, -- the bet's
    amount integer not null, -- the stake that went back
    win integer not null, -- what was taken back with it
    scale integer not null,
    transaction_id text not null,
    foreign key (round, provider) references rounds (round, provider)
) strict;
create index reversals_of_round on reversals (round, provider);

create table tombstones (
    position integer not null primary key references events (position),
    provider text not null,
    round text, -- where the call named one
    user text not null,
    currency text not null,
    game text not null,
    by text not null,
    reference text not null,
    transaction_id text not null
) strict;
create index tombstones_of_round on tombstones (round, provider);

create table refused (
    position integer not null primary key references events (position),
    provider text not null,
    round text not null,
    user text not null,
    currency text not null,
    reference text not null,
    amount integer, -- of a bet for which there was not enough cash; null: it came after its reversal
    cash integer, -- what there was
    foreign key (round, provider) references rounds (round, provider)
) strict;
create index refused_of_round on refused (round, provider);

create table promos (
    position integer not null primary key references events (position),
    provider text not null,
    campaign text not null,
    campaign_type text not null,
    user text not null,
    currency text not null,
    reference text not null,
    amount integer not null,
    scale integer not null,
    transaction_id text not null
) strict;
"""
    + wallets.SCHEMA
)

VIEWS = {
    "journal": """
select p.position, e.recorded_at, e.topic, p.account, a.kind, p.currency, a.scale, p.amount, p.balance,
    e.provider, e.round, e.user, e.reference, e.transaction_id
from postings p join events e on e.position = p.position join accounts a on a.account = p.account
order by p.position""",
    "player_statement": """
select a.user, a.currency, a.scale, p.position, e.recorded_at,
    case e.topic when 'DepositMade' then 'deposit' when 'WithdrawalMade' then 'withdrawal'
        when 'BetPlaced' then 'stake' when 'ResultRecorded' then 'win' when 'PromoPaid' then 'promo'
        else 'reversal' end as what,
    p.balance - p.amount as cash_before, p.amount, p.balance as cash_after,
    e.provider, e.round, e.reference, e.transaction_id
from accounts a join postings p on p.account = a.account join events e on e.position = p.position
where a.kind = 'player'
order by p.account, p.position""",
    "open_rounds": """
select provider, round, user, currency, scale, game, opened_at, opened_position, staked, won, reversed
from rounds where status = 'InProgress' order by opened_position""",
    "gross_gaming_revenue": """
select provider, currency, scale, count(*) as rounds, sum(staked) as staked, sum(won) as won,
    sum(reversed) as reversed, sum(staked - won - reversed) as revenue
from rounds where scale is not null group by provider, currency, scale""",
    "trial_balance": """
select currency, kind, scale, accounts,
    -- null: 63 bits do not hold it, so it is summed in two halves
    iif(held and high + (low >> 32) between -2147483648 and 2147483647,
        ((high + (low >> 32)) << 32) + (low & 4294967295), null) as balance
from (select currency, kind, scale, count(*) as accounts, max(typeof(balance)) = 'integer' as held,
    sum(balance >> 32) as high, sum(balance & 4294967295) as low
    from accounts group by currency, kind, scale)""",
    "reversed_bets": """
select b.provider, b.round, b.user, b.reference, b.currency, b.scale, b.amount as stake, b.position as bet,
    b.transaction_id, r.by, r.win, r.position as reversal, r.transaction_id as reversal_transaction_id
from reversals r join bets b on b.position = r.bet order by r.position""",
}

_NAMES = ("provider", "round", "user", "currency", "reference", "transaction_id")
_GET: dict[type[Event], list[Callable[[Event], Any]]] = {
    cls: [attrgetter(said) if said in cls.__struct_fields__ else lambda _: None for said in _NAMES]
    for cls in events.TYPES
}
"""How an event's columns are read, by its type."""

REVERSED_AS: dict[type[Event], str] = {
    events.BetCancelled: "cancelled",
    events.BetRefunded: "refunded",
}


def write_events(db: Database, batch: Batch) -> None:
    """Writes every event as it is stored."""
    db.conn.executemany(
        "insert into events values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        map(_event_row, batch.stored),
    )


def _event_row(each: Stored) -> tuple[Any, ...]:
    event = each.event
    said = [get(event) for get in _GET[type(event)]]
    return (
        *each[:4],
        event.recorded_at,
        each.clock,
        *said,
        each.state,
        each.hash,
        each.previous_hash,
    )


# money


def write_journal(db: Database, batch: Batch) -> None:
    """Writes the postings of a batch, and what the accounts come to with them."""
    pairs = [(each, pair) for each in batch.stored if (pair := postings(each.event))]
    balances = _balances(db, {posting.account for _, pair in pairs for posting in pair})
    old, new, lines = set(balances), {}, []
    for each, pair in pairs:
        for posting in pair:
            balance = balances.get(posting.account, 0) + posting.amount
            balances[posting.account] = balance
            lines.append((each.position, *posting, _held(balance)))
            if posting.account not in old and posting.account not in new:
                new[posting.account] = account(posting, scale=each.event.scale)
        _check_cash(each, moved=pair[0].amount, cash=balances[pair[0].account])
    opened = ((*new[n], _held(balances[n])) for n in sorted(new))
    db.conn.executemany("insert into accounts values (?, ?, ?, ?, ?, ?, ?, ?, ?)", opened)
    changed = ((_held(balances[n]), n) for n in old)
    db.conn.executemany("update accounts set balance = ? where account = ?", changed)
    lines.sort(key=itemgetter(1))  # neighbours go into one page
    db.conn.executemany("insert into postings values (?, ?, ?, ?, ?)", lines)


def _balances(db: Database, accounts: Iterable[str]) -> dict[str, int]:
    found = db.execute(
        "select account, balance from accounts where account in (select value from json_each(?))",
        (json.dumps(list(accounts)),),
    )
    return {account: int(balance) for account, balance in found}


def _held(balance: int) -> int | str:
    """Returns a balance as SQLite holds it: what all players paid in may be more than its integers do."""
    return balance if abs(balance) <= MOST_SUM else str(balance)


def _check_cash(each: Stored, *, moved: int, cash: int) -> None:
    """What an event says of its wallet's cash is what all the amounts before it come to."""
    said = each.event.cash_before, each.event.cash_after
    if said != (cash - moved, cash):
        raise Contradiction(
            each.position,
            f"says the cash went from {said[0]} to {said[1]}, by the amounts it went"
            f" from {cash - moved} to {cash}",
        )
    if cash < 0:
        raise Contradiction(each.position, f"leaves {cash} in the wallet")


def _wallet(row: Row | None, each: Stored) -> Row:
    after = wallets.evolve(row, each.recorded)
    _, scale, _, version = row or after
    if after[3] != (version + 1 if row else 1) or each.event.scale != scale:
        raise Contradiction(each.position, "does not follow the wallet's event before it")
    return after


WALLETS = replace(kept_table(wallets, events.WalletOpened), evolve=_wallet)


# rounds


def _round_key(each: Stored) -> Key | None:
    event = each.event
    if isinstance(event, events.RoundEvent):
        return event.round, event.provider
    match event:
        case events.BetPlaced() | events.ResultRecorded() | events.BetReversed():
            return event.round, event.provider
        case events.TombstoneRecorded() if event.round:
            if each.stream == name("round", event.provider, event.round):
                return event.round, event.provider
    return None


def _round(row: Row | None, each: Stored) -> Row:
    """The book's own columns, then game, scale, first and last position, and version."""
    recorded = each.recorded
    if row is None:
        opened = rounds.evolve(None, recorded)
        return *opened, each.event.game, None, each.position, each.position, each.version
    width = len(rounds.COLUMNS)
    game, scale, opened_position, _, version = row[width:]
    if each.version != version + 1:
        raise Contradiction(each.position, f"is no event {version + 1} of its round")
    scale = getattr(each.event, "scale", scale)
    after = rounds.evolve(row[:width], recorded)
    return *after, game, scale, opened_position, each.position, each.version


ROUNDS = KeptTable(
    rounds.TABLE,
    ("round", "provider"),
    f"{' '.join(rounds.COLUMNS)} game scale opened_position position version",
    _round_key,
    _round,
    (events.RoundOpened,),
)


# references


FIRST = (
    events.BetPlaced,
    events.ResultRecorded,
    events.PromoPaid,
    events.DepositMade,
    events.WithdrawalMade,
)
"""Nothing was recorded under their reference before."""

AGAIN = (events.BetRefused, events.TombstoneRecorded, events.SessionExpired)
"""A refused bet may be buried later: the first place stays."""


def write_references(db: Database, batch: Batch) -> None:
    """Writes where each reference was first recorded, sorted: neighbours go into one page."""
    statement = "insert into reference_index values (?, ?, ?, ?)"
    db.conn.executemany(statement, sorted(map(_reference, batch.of(*FIRST)), key=itemgetter(2)))
    again = f"{statement} on conflict (reference, kind, provider) do nothing"
    db.conn.executemany(again, map(_reference, batch.of(*AGAIN)))


def _reference(each: Stored) -> Row:
    key = key_of(references, each.event)
    assert key
    return *key, each.position


def write_reversals(db: Database, batch: Batch) -> None:
    """Writes reversals, each beside its bet."""
    said = [
        {**asdict(each.event), "position": each.position, "status": REVERSED_AS[type(each.event)]}
        for each in batch.of(*REVERSED_AS)
    ]
    db.conn.executemany(
        "insert into reversals values (:position, (select b.position from reference_index r"
        " join bets b on b.position = r.position where r.kind = 'bet' and r.provider = :provider"
        " and r.reference = :reference), :provider, :round, :user, :currency, :by, :reference,"
        " :amount, :win, :scale, :transaction_id)",
        said,
    )
    db.conn.executemany(
        "update bets set status = :status"
        " where position = (select bet from reversals where position = :position)",
        said,
    )


ABOUT = "provider round user currency reference"
MONEY = f"{ABOUT} amount scale transaction_id"

OPERATOR = Layout(
    party="operator",
    schema=SCHEMA,
    views=VIEWS,
    writers=(
        write_events,
        write_journal,
        WALLETS,
        ROUNDS,
        write_references,
        AppendedTable("bets", f"{MONEY} game", events.BetPlaced),
        AppendedTable("results", f"{MONEY} kind", events.ResultRecorded),
        write_reversals,
        AppendedTable("promos", f"{MONEY} campaign campaign_type", events.PromoPaid),
        AppendedTable("tombstones", f"{ABOUT} game by transaction_id", events.TombstoneRecorded),
        AppendedTable("refused", f"{ABOUT} amount cash", events.BetRefused, events.LateBetRefused),
        search,
    ),
)

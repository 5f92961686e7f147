"""The tables and views of a provider's audit file, and what each event means for them."""

from typing import Any

from sqlite_utils import Database

from ledger.event import Event
from ledger.projection import Row, key_of
from ledger.provider import events
from projections.audit_file import Batch, KeptTable, Layout, Stored, kept_table, search
from projections.provider import deliveries, rounds, sweep

SCHEMA = (
    """
create table events (
    position integer not null primary key,
    stream text not null,
    version integer not null, -- its place in its stream, from 1
    topic text not null,
    recorded_at text not null,
    clock text not null, -- the latest recorded_at up to here: a clock may go back, this does not
    operator text,
    round text, -- of a send, the round it is for
    user text, -- whose round it is, where the event itself does not say so, too
    kind text, -- of the delivery it is about
    reference text,
    transaction_id text, -- the operator's
    state text not null, -- the stored JSON, byte for byte
    hash text not null, -- SHA-256(previous_hash, stream, 0, version, 0, topic, 0, state)
    previous_hash text not null
) strict;

create table bets (
    operator text not null,
    reference text not null,
    round text not null,
    session text not null,
    amount integer not null, -- minor units
    standing text not null check (standing in
        ('requested', 'accepted', 'declined', 'given-up', 'cancelled', 'refunding', 'refunded')),
    requested_at text not null,
    position integer not null references events (position), -- where it was requested
    accepted_at text,
    transaction_id text not null, -- the operator's
    code integer, -- why the wallet declined it
    primary key (reference, operator),
    foreign key (operator, round) references rounds (operator, round)
) strict, without rowid;
create index bets_of_round on bets (round, operator);

create table results (
    operator text not null,
    reference text not null,
    round text not null,
    amount integer not null, -- the win
    requested_at text not null,
    position integer not null references events (position), -- where it was requested
    confirmed_at text, -- by the wallet
    transaction_id text not null,
    primary key (reference, operator),
    foreign key (operator, round) references rounds (operator, round)
) strict, without rowid;
create index results_of_round on results (round, operator);

create table reversals (
    operator text not null,
    reference text not null, -- the bet's
    round text not null,
    kind text not null check (kind in ('cancel', 'refund')),
    by text, -- who asked for a refund; a cancel follows from a bet that was given up
    amount integer, -- of a refund, the stake; what the wallet made of a bet that is cancelled is not known
    requested_at text not null,
    position integer not null references events (position), -- where it was requested
    confirmed_at text, -- by the wallet
    transaction_id text not null,
    primary key (reference, operator),
    foreign key (reference, operator) references bets (reference, operator),
    foreign key (operator, round) references rounds (operator, round)
) strict, without rowid;
create index reversals_of_round on reversals (round, operator);

create table sends (
    operator text not null,
    kind text not null,
    reference text not null,
    attempt integer not null,
    worker text not null,
    started_at text not null,
    until text not null,
    ended_at text,
    outcome text check (outcome in ('answered', 'timeout', 'unreachable', 'invalid')),
    code integer, -- the wallet's
    detail text not null,
    took_ms integer,
    again_at text,
    primary key (operator, kind, reference, attempt),
    foreign key (operator, kind, reference) references deliveries (operator, kind, reference)
) strict, without rowid;
"""
    + rounds.SCHEMA
    + deliveries.SCHEMA
    + sweep.SCHEMA
    + """
create index deliveries_of_round on deliveries (operator, round);
create index rounds_named on rounds (round);
create index rounds_of_user on rounds (user, opened_at);
"""
)

VIEWS = {
    "open_rounds": """
select operator, round, user, game, currency, scale, status, staked, won, opened_at, open_since
from rounds where status not in ('Completed', 'Cancelled') order by opened_at, operator, round""",
    "open_bets": """
select b.operator, b.round, r.user, b.reference, b.amount, r.currency, r.scale, b.accepted_at
from bets b join rounds r on r.operator = b.operator and r.round = b.round
where b.standing = 'accepted' and not r.decided order by b.accepted_at, b.operator, b.reference""",
    "undelivered": """
select operator, kind, reference, round, state, attempts, undelivered_since, due_at, code, last_error
from deliveries where undelivered_since is not null
order by undelivered_since, operator, kind, reference""",
    "reversed_bets": """
select b.operator, b.round, d.user, b.reference, d.currency, d.scale, b.amount as stake, b.standing,
    r.kind, r.by, r.requested_at, r.confirmed_at, b.transaction_id,
    r.transaction_id as reversal_transaction_id
from reversals r join bets b on b.operator = r.operator and b.reference = r.reference
join rounds d on d.operator = b.operator and d.round = b.round order by r.position""",
    "gross_gaming_revenue": """
select r.operator, r.currency, r.scale, count(*) as rounds, sum(r.staked) as staked, sum(r.won) as won,
    coalesce(sum(b.reversed), 0) as reversed, sum(r.staked - r.won - coalesce(b.reversed, 0)) as revenue
from rounds r left join (select operator, round, sum(amount) as reversed from bets
    where standing in ('refunding', 'refunded') group by operator, round) b
on b.operator = r.operator and b.round = r.round group by r.operator, r.currency, r.scale""",
}


def write_events(db: Database, batch: Batch) -> None:
    """Writes every event as it is stored, and whose round it is about; rounds and deliveries are there."""
    db.conn.executemany(
        "insert into events select ?, ?, ?, ?, ?, ?, said.operator, coalesce(said.round, d.round),"
        " r.user, said.kind, said.reference, ?, ?, ?, ?"
        " from (select ? as operator, ? as round, ? as kind, ? as reference) said"
        " left join deliveries d on d.operator = said.operator and d.kind = said.kind"
        " and d.reference = said.reference"
        " left join rounds r on r.operator = said.operator and r.round = coalesce(said.round, d.round)",
        map(_event_row, batch.stored),
    )


def _event_row(each: Stored) -> tuple[Any, ...]:
    event = each.event
    named = None, None, getattr(event, "reference", None)
    _, kind, reference = key_of(deliveries, event) or named
    return (
        *each[:4],
        event.recorded_at,
        each.clock,
        getattr(event, "transaction_id", None) or None,
        *(each.state, each.hash, each.previous_hash),
        *(getattr(event, "operator", None), getattr(event, "round", None), kind, reference),
    )


# bets

STANDINGS: dict[type[Event], str] = {
    events.BetRequested: "requested",
    events.BetAccepted: "accepted",
    events.BetDeclined: "declined",
    events.BetGivenUp: "given-up",
    events.CancelConfirmed: "cancelled",
    events.RefundRequested: "refunding",
    events.RefundConfirmed: "refunded",
}
"""Where each of these leaves its bet."""


def _bet_key(each: Stored) -> Row | None:
    return _key(each) if type(each.event) in STANDINGS else None


def _key(each: Stored) -> Row:
    return each.event.reference, each.event.operator


def _bet(row: Row | None, each: Stored) -> Row:
    event, standing = each.event, STANDINGS[type(each.event)]
    if row is None:
        said = event.round, event.session, event.amount, standing, event.recorded_at
        return *said, each.position, None, "", None
    *first, _, requested_at, position, accepted_at, transaction_id, code = row
    match event:
        case events.BetAccepted():
            accepted_at, transaction_id = event.recorded_at, event.transaction_id
        case events.BetDeclined():
            code = event.code
    return *first, standing, requested_at, position, accepted_at, transaction_id, code


BETS = KeptTable(
    "bets",
    ("reference", "operator"),
    "round session amount standing requested_at position accepted_at transaction_id code",
    _bet_key,
    _bet,
    (events.BetRequested,),
)


# results and reversals


def _confirmed(row: Row, each: Stored) -> Row:
    *said, _, _ = row
    return *said, each.event.recorded_at, each.event.transaction_id


def _result_key(each: Stored) -> Row | None:
    results = events.ResultRequested | events.ResultConfirmed
    return _key(each) if isinstance(each.event, results) else None


def _result(row: Row | None, each: Stored) -> Row:
    event = each.event
    if row is None:
        return event.round, event.amount, event.recorded_at, each.position, None, ""
    return _confirmed(row, each)


RESULTS = KeptTable(
    "results",
    ("reference", "operator"),
    "round amount requested_at position confirmed_at transaction_id",
    _result_key,
    _result,
    (events.ResultRequested,),
)


REVERSALS_REQUESTED = (events.CancelRequested, events.RefundRequested)


def _reversal_key(each: Stored) -> Row | None:
    confirmed = (events.CancelConfirmed, events.RefundConfirmed)
    return _key(each) if isinstance(each.event, REVERSALS_REQUESTED + confirmed) else None


def _reversal(row: Row | None, each: Stored) -> Row:
    if row is not None:
        return _confirmed(row, each)
    event = each.event
    kind = "cancel" if isinstance(event, events.CancelRequested) else "refund"
    said = kind, getattr(event, "by", None), getattr(event, "amount", None)
    return event.round, *said, event.recorded_at, each.position, None, ""


REVERSALS = KeptTable(
    "reversals",
    ("reference", "operator"),
    "round kind by amount requested_at position confirmed_at transaction_id",
    _reversal_key,
    _reversal,
    REVERSALS_REQUESTED,
)


# sends


def _send_key(each: Stored) -> Row | None:
    event = each.event
    if isinstance(event, events.SendEvent):
        return event.operator, event.kind, event.reference, event.attempt
    return None


def _send(row: Row | None, each: Stored) -> Row:
    event = each.event
    if row is None:
        return event.worker, event.recorded_at, event.until, None, None, None, "", None, None
    said = event.outcome, event.code, event.detail, event.took_ms, event.again_at
    return *row[:3], event.recorded_at, *said


SENDS = KeptTable(
    "sends",
    ("operator", "kind", "reference", "attempt"),
    "worker started_at until ended_at outcome code detail took_ms again_at",
    _send_key,
    _send,
    (events.SendStarted,),
)


PROVIDER = Layout(
    party="provider",
    schema=SCHEMA,
    views=VIEWS,
    writers=(
        kept_table(rounds, events.RoundOpened),
        kept_table(deliveries, events.Requested),
        kept_table(sweep, events.SweepMade, events.SweepStopped, events.SweepConfirmed),
        write_events,
        BETS,
        RESULTS,
        REVERSALS,
        SENDS,
        search,
    ),
)

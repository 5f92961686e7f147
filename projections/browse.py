"""What the auditor's pages show, asked of an audit file. Amounts are decimal text."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
from sqlite_utils import Database

from ledger.money import to_text
from ledger.names import name
from ledger.reader import whole
from ledger.store.chain import link
from projections.as_of import NotThere, PastEvent, RoundAsOf, events_where, head, history
from projections.audit_file import GENESIS
from projections.forms import Cell, Report, decimals
from projections.journal import player

POINTS = 400
"""As many as a line of a chart may have."""


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """What a file holds. `clock`: of its last event; `sealed`: up to which position; 0 and "" for none.

    `differing`: how many seals are not of the event that the file holds.
    """

    party: str
    source: str
    position: int
    hash: str
    clock: str
    updated_at: str
    seals: int
    sealed: int
    sealed_at: str
    differing: int
    contradictions: int


class StoredEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event as it is stored, its neighbours' positions in its stream, and whether its hash holds."""

    position: int
    stream: str
    version: int
    topic: str
    recorded_at: str
    state: str
    hash: str
    previous_hash: str
    computed: str
    predecessor: str
    before: int | None
    after: int | None
    last: int

    @property
    def holds(self) -> bool:
        """Whether the stored hash is that of the stored bytes and the hash of the event before."""
        return self.hash == self.computed and self.previous_hash == self.predecessor


class Point(NamedTuple):
    """A wallet's cash in minor units after an event."""

    position: int
    at: str
    cash: int


class Found(msgspec.Struct, frozen=True):
    """What goes by a name. `position`: the event at it, where the name is a position."""

    wallets: Report
    rounds: Report
    events: Report
    position: int | None


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """Events whose hashes were computed anew, from `first` to `last`; `broken`: at which it failed, and how."""

    first: int
    last: int
    head: int
    hash: str
    broken: int | None = None
    what: str = ""


def overview(db: Database) -> Overview:
    """Returns what a file holds."""
    found = db.execute(
        """
select a.party, a.source, a.position, a.hash, coalesce(e.clock, ''), a.updated_at,
    (select count(*) from seals), coalesce((select max(position) from seals), 0),
    coalesce((select sealed_at from seals order by number desc limit 1), ''),
    (select count(*) from seals s left join events of using (position) where s.hash is not of.hash),
    (select count(*) from contradictions)
from audit a left join events e on e.position = a.position"""
    ).fetchone()
    return Overview(**dict(zip(Overview.__struct_fields__, found, strict=True)))


def topics(db: Database) -> Report:
    """Returns how many events there are of each type, and where the newest is."""
    found = db.execute(
        "select topic, count(*), max(position) from events group by topic order by 1"
    )
    return Report("Events by type", ("topic", "events", "position"), list(found))


def events(db: Database, *, after: int, limit: int) -> Report:
    """Returns the events behind a position, in order."""
    bound = {"after": after, "upto": after + limit}
    found = events_where(db, "e.position > :after and e.position <= :upto", bound)
    return table(db, found, "Events")


def newest(db: Database, limit: int = 20) -> Report:
    """Returns the newest events, the newest first."""
    found = events_where(db, "e.position > :after", {"after": head(db).position - limit})
    return table(db, found[::-1], "Newest events")


def event(db: Database, position: int) -> StoredEvent:
    """Returns the event at a position. Raises NotThere."""
    found = db.execute(
        """
select e.position, e.stream, e.version, e.topic, e.recorded_at, e.state, e.hash, e.previous_hash,
    coalesce((select hash from events where position = e.position - 1), iif(e.position = 1, ?, 'nothing')),
    (select position from events where stream = e.stream and version = e.version - 1),
    (select position from events where stream = e.stream and version = e.version + 1)
from events e where e.position = ?""",
        (GENESIS, position),
    ).fetchone()
    if found is None:
        raise NotThere(f"there is no event at position {position}")
    fields = (field for field in StoredEvent.__struct_fields__ if field not in ("computed", "last"))
    said = dict(zip(fields, found, strict=True))
    return StoredEvent(
        **said, computed=_linked(found[7], *found[1:4], state=found[5]), last=head(db).position
    )


def postings(db: Database, position: int) -> Report:
    """Returns what an event posted, and what its accounts came to."""
    found = db.execute(
        "select p.account, p.currency, a.scale, p.amount, p.balance"
        " from postings p join accounts a on a.account = p.account where p.position = ?",
        (position,),
    )
    rows = [
        (account, currency, to_text(amount, scale), to_text(int(balance), scale))
        for account, currency, scale, amount, balance in found
    ]
    return Report("Postings", ("account", "currency", "amount", "balance"), rows)


# rounds


def round_events(db: Database, partner: str, round_id: str) -> list[PastEvent]:
    """Returns a round's events in order: of its stream, its tombstones elsewhere, its deliveries' sends."""
    bound = {"partner": partner, "round": round_id, "stream": name("round", partner, round_id)}
    if head(db).party == "operator":
        return events_where(db, _OF_ROUND, bound)
    found = db.execute(
        "select kind, reference from deliveries where operator = :partner and round = :round", bound
    )
    streams = [name("delivery", partner, *delivery) for delivery in found]
    return events_where(db, _OF_STREAMS, {"streams": json.dumps([bound["stream"], *streams])})


_OF_ROUND = """
(e.stream = :stream or e.position in
    (select position from tombstones where round = :round and provider = :partner))"""
_OF_STREAMS = "e.stream in (select value from json_each(:streams))"


def reversals(db: Database, partner: str, round_id: str) -> dict[int, int]:
    """Returns the positions of a round's reversals, by those of their bets."""
    return dict(db.execute(_REVERSALS[head(db).party], (partner, round_id)))


_REVERSALS = {
    "operator": "select bet, position from reversals where provider = ? and round = ?",
    "provider": """
select b.position, r.position from reversals r
join bets b on b.operator = r.operator and b.reference = r.reference where r.operator = ? and r.round = ?""",
}


def transactions(found: RoundAsOf) -> Report:
    """Returns a round's bets and results as they stood."""
    columns = ("kind", "reference", "amount", "state", "transaction_id", "reversal")
    amounts = decimals(found.scale, (t.amount for t in found.transactions))
    rows = [
        (t.kind, t.reference, amount, t.state, t.transaction_id, t.reversal)
        for t, amount in zip(found.transactions, amounts, strict=True)
    ]
    return Report("Bets and results", columns, rows)


def comparison(db: Database, replayed: RoundAsOf) -> Report:
    """Returns what a replay of all of a round's events gives, beside what its tables hold: first what differs."""
    party, key = head(db).party, (replayed.partner, replayed.round)
    found = db.execute(_STORED_ROUND[party], key).fetchone()
    stored = dict(zip(_COMPARED, found or (None,) * len(_COMPARED), strict=True))
    fields = {f: (getattr(replayed, f), stored[f]) for f in _COMPARED if stored[f] is not None}
    bets = {r: (amount, state) for r, amount, state in db.execute(_STORED_BETS[party], key)}
    for each in replayed.transactions:
        if each.kind == "bet" and each.state not in ("refused", "tombstone"):
            amount, state = bets.pop(each.reference, (None, None))
            fields[f"stake of {each.reference}"] = each.amount, amount
            fields[f"state of {each.reference}"] = each.state, state
    fields |= {f"stake of {reference}": (None, amount) for reference, (amount, _) in bets.items()}
    rows = [(f, *_texts(pair, replayed.scale), _same(pair)) for f, pair in fields.items()]
    rows.sort(key=lambda row: row[-1] == "same")
    holds = bool(found) and all(a == b for a, b in fields.values())
    return Report("Replay against stored tables", _COLUMNS, rows, holds=holds)


_COLUMNS = ("field", "replayed", "stored", "verdict")
_COMPARED = ("user", "currency", "game", "status", "staked", "won", "reversed", "opened_at")
_STORED_ROUND = {
    "operator": """
select user, currency, game, status, staked, won, reversed, opened_at from rounds
where provider = ? and round = ?""",
    "provider": """
select user, currency, game, status, staked, won, null, opened_at from rounds
where operator = ? and round = ?""",
}
_STORED_BETS = {
    "operator": "select reference, amount, status from bets where provider = ? and round = ?",
    "provider": "select reference, amount, standing from bets where operator = ? and round = ?",
}


def _same(pair: tuple[Any, Any]) -> str:
    return "same" if pair[0] == pair[1] else "DIFFERS"


def _texts(pair: tuple[Any, Any], scale: int) -> Iterator[str]:
    for value in pair:
        yield "nothing" if value is None else to_text(value, scale) if type(value) is int else value


def deliveries(db: Database, operator: str, round_id: str) -> Report:
    """Returns what a wallet was owed for a round, and where that stands. Of a provider's file."""
    found = db.execute(
        "select kind, reference, state, attempts, due_at, code, last_error from deliveries"
        " where operator = ? and round = ? order by intent",
        (operator, round_id),
    )
    columns = "kind reference state attempts due_at code last_error"
    return Report("Deliveries", columns.split(), list(found))


def rounds_of(
    db: Database, user: str, *, currency: str | None = None, upto: int | None = None, limit: int
) -> Report:
    """Returns a player's newest rounds as they are now, the newest first; `upto`: opened by that position."""
    condition = "user = :named and (:currency is null or currency = :currency)"
    bound = {"named": user, "currency": currency, "limit": limit}
    if upto is None:
        return _rounds(db, condition, bound)
    found = _rounds(db, f"{condition} and opened_position <= :upto", {**bound, "upto": upto})
    return msgspec.structs.replace(found, title="Rounds opened by then, as they are now")


def _rounds(db: Database, condition: str, bound: dict[str, Any]) -> Report:
    party = head(db).party
    partner, back, newest_first = _ROUNDS[party]
    found = db.execute(
        f"select {partner}, round, user, game, currency, status, staked, won, {back}, opened_at, scale"  # noqa: S608
        f" from rounds where {condition} order by {newest_first} limit :limit",
        bound,
    )
    columns = f"{partner} round user game currency status staked won reversed opened_at".split()
    rows = [(*row[:6], *decimals(row[10], row[6:9]), row[9]) for row in found]
    return Report("Rounds", columns, rows)


_ROUNDS = {
    "operator": ("provider", "reversed", "opened_position desc"),
    "provider": ("operator", "null", "opened_at desc"),
}


# wallets


def wallets_of(db: Database, user: str) -> Report:
    """Returns a player's wallets; empty in a provider's file."""
    columns = "user currency cash frozen version"
    if head(db).party != "operator":
        return Report("Wallets", columns.split(), [])
    found = db.execute(
        "select user, currency, cash, frozen, version, scale from wallets where user = ? order by currency",
        (user,),
    )
    rows = [(*row[:2], to_text(row[2], row[5]), *row[3:5]) for row in found]
    return Report("Wallets", columns.split(), rows)


def statement(db: Database, user: str, currency: str, *, at: int, limit: int) -> Report:
    """Returns a wallet's events up to a position, the newest first."""
    found = events_where(
        db,
        _OF_WALLET,
        {
            "account": player(user, currency),
            "stream": name("wallet", user, currency),
            "at": at,
            "limit": limit,
        },
    )
    return table(db, found[::-1], "Statement", without="user currency")


_OF_WALLET = """
e.position in (select position from
    (select position from postings where account = :account
    union select position from events where stream = :stream)
    where position <= :at order by position desc limit :limit)"""


def is_frozen(db: Database, user: str, currency: str, *, at: int) -> bool:
    """Returns whether a wallet was frozen as of a position."""
    found = db.execute(
        "select topic = 'WalletFrozen' from events where stream = ? and position <= ?"
        " and topic in ('WalletFrozen', 'WalletUnfrozen') order by version desc limit 1",
        (name("wallet", user, currency), at),
    ).fetchone()
    return bool(found and found[0])


def balances(db: Database, user: str, currency: str, *, at: int) -> list[Point]:
    """Returns a wallet's cash after each event that moved it, up to a position; of many some, evenly."""
    account = player(user, currency)
    moved = db.execute(
        "select position, balance from postings where account = ? and position <= ? order by position",
        (account, at),
    ).fetchall()
    step = -(-len(moved) // POINTS) or 1
    chosen = dict([*moved[::step], *moved[-1:]])
    clocks = db.execute(
        "select position, clock from events where position in (select value from json_each(?))"
        " order by position",
        (json.dumps(list(chosen)),),
    )
    return [Point(position, clock, chosen[position]) for position, clock in clocks]


# everything that has a name


def find(db: Database, named: str, *, limit: int) -> Found:
    """Returns what goes by a name: a player, a round, a reference, a transaction, a position."""
    position = whole(named) or 0
    bound = {"named": named, "limit": limit}
    of_round = _rounds(db, "round = :named", bound)
    of_user = rounds_of(db, named, limit=limit)
    rounds = dict.fromkeys([*of_round.rows, *of_user.rows])  # a round may be called as its player
    return Found(
        wallets_of(db, named),
        Report("Rounds", of_round.columns, [*rounds]),
        table(db, history(db, named, limit=limit), "Events"),
        position if 0 < position <= head(db).position else None,
    )


def is_named(
    db: Database, named: str, *, partner: str | None = None, currency: str | None = None
) -> bool:
    """Returns whether an event names a round of a partner, or a player in a currency: a tombstone may."""
    return any(
        (partner is None or (each.partner, each.round) == (partner, named))
        and (currency is None or (each.user, each.currency) == (named, currency))
        for each in history(db, named)
    )


# the chain


def stretch(db: Database, *, after: int, limit: int) -> Stretch:
    """Returns what computing the hashes of the events behind a position anew comes to."""
    last = head(db).position
    previous = _hash_at(db, after) if after else GENESIS
    expected = after
    found = db.execute(
        "select position, stream, version, topic, state, hash from events"
        " where position > ? order by position limit ?",
        (after, limit),
    )
    for position, stream, version, topic, state, stored in found:
        expected += 1
        what = ""
        if position != expected:
            what = f"the event at {expected} is missing"
        elif _linked(previous, stream, version, topic, state=state) != stored:
            what = "its hash is not what its bytes and the hash before it give"
        if what:
            return _broken(after, expected, last, what)
        previous = stored
    if expected < min(after + limit, last):
        return _broken(after, expected + 1, last, f"is missing, the file says it goes up to {last}")
    if expected == last and previous != head(db).hash:
        return _broken(after, last, last, "is not the event that the file was verified up to")
    return Stretch(first=after + 1, last=expected, head=last, hash=previous)


def _broken(after: int, position: int, last: int, what: str) -> Stretch:
    return Stretch(first=after + 1, last=position, head=last, hash="", broken=position, what=what)


def _hash_at(db: Database, position: int) -> str:
    found = db.execute("select hash from events where position = ?", (position,)).fetchone()
    if found is None:
        raise NotThere(f"there is no event at position {position}")
    hashed: str = found[0]
    return hashed


def _linked(previous: str, stream: str, version: int, topic: str, *, state: str) -> str:
    try:
        return link(bytes.fromhex(previous), stream, version, topic, state.encode()).hex()
    except ValueError:  # what stands there is no hash any more
        return "nothing"


def seals(db: Database, *, limit: int = -1) -> Report:
    """Returns the seals, the newest first, and whether each is of the event that the file holds."""
    found = db.execute(
        """
select s.number, s.position, s.sealed_at, s.hash, s.root, s.key, nullif(s.next_key, ''),
    iif(s.hash = e.hash, 'same', 'DIFFERS')
from seals s left join events e on e.position = s.position order by s.number desc limit ?""",
        (limit,),
    ).fetchall()
    columns = "number position sealed_at hash root key next_key verdict"
    return Report("Seals", columns.split(), found, holds=all(row[-1] == "same" for row in found))


def contradictions(db: Database) -> Report:
    """Returns what the book said against the file, the newest first."""
    found = db.execute("select found_at, position, what from contradictions order by number desc")
    rows = found.fetchall()
    return Report("Contradictions", ("found_at", "position", "what"), rows, holds=not rows)


# what they share


def table(db: Database, found: Sequence[PastEvent], title: str, *, without: str = "") -> Report:
    """Returns events as a table; `without`: columns that would say the same in each row."""
    partner = "provider" if head(db).party == "operator" else "operator"
    rows = [_event_row(each, partner) for each in found]
    names = f"position at topic {partner} round user reference currency amount cash transaction_id"
    columns = [column for column in names.split() if column not in without.split()]
    return Report(title, columns, [tuple(row[column] for column in columns) for row in rows])


def _event_row(each: PastEvent, partner: str) -> dict[str, Cell]:
    amount, cash = decimals(each.scale, (each.amount, each.cash))
    return {
        "position": each.position,
        "at": each.recorded_at,
        "topic": each.topic,
        partner: each.partner,
        "round": each.round,
        "user": each.user,
        "reference": each.reference,
        "currency": each.currency,
        "amount": amount,
        "cash": cash,
        "transaction_id": each.transaction_id,
    }

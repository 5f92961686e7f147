"""Questions about the past, asked of an audit file: state as of a position, a time, or a version.

Position order is the truth. As of a time means after the longest beginning of the book in which
nothing was recorded later than that: where a clock was turned back, what follows an event with a
later time waits for that time too. The column `clock` says it for every event.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace
from sqlite_utils import Database

from ledger.mapper import Mapper, Unreadable
from ledger.names import name
from ledger.operator import events as ours
from ledger.projection import Projection, Recorded, Row
from ledger.provider import events as theirs
from projections import rounds as operator_rounds
from projections.journal import player
from projections.provider import rounds as provider_rounds
from projections.provider.audit_tables import STANDINGS


class NotThere(Exception):
    """The file knows nothing of what is asked; the text says what."""


class Damaged(Exception):
    """What stands in the file is not what was put there; the text names the position."""


class FileHead(NamedTuple):
    """Whose book a file holds, up to which position."""

    party: str
    position: int
    hash: str


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """A wallet's cash in minor units, as of a position; `changed_at`: of the last event that moved it."""

    user: str
    currency: str
    scale: int
    cash: int
    position: int
    changed_at: int
    recorded_at: str


class Transaction(msgspec.Struct, frozen=True, kw_only=True):
    """A bet or a result in a round. `state`: where it stands; `reversal`: the transaction that reversed it.

    `amount`: None where no event says it: of a bet that is known from its reversal, or came after it.
    """

    kind: str
    reference: str
    amount: int | None = None
    state: str
    transaction_id: str = ""
    reversal: str = ""


class RoundAsOf(msgspec.Struct, frozen=True, kw_only=True):
    """A round after its `version`-th event. `partner`: the provider, in a provider's book the operator."""

    partner: str
    round: str
    user: str
    currency: str
    scale: int
    game: str
    status: str
    staked: int
    won: int
    reversed: int
    opened_at: str
    version: int
    position: int
    recorded_at: str
    transactions: list[Transaction]


class PastEvent(msgspec.Struct, frozen=True):
    """An event in a history: where money moved, what came to the player's wallet, and its cash then.

    In a provider's book, which has no wallets, `amount` is what the event says.
    """

    position: int
    recorded_at: str
    topic: str
    stream: str
    version: int
    partner: str | None
    round: str | None
    user: str | None
    reference: str | None
    transaction_id: str | None
    currency: str | None
    scale: int | None
    amount: int | None
    cash: int | None


class Line(NamedTuple):
    """An event as it is stored."""

    position: int
    stream: str
    version: int
    topic: str
    recorded_at: str
    hash: str
    state: str


def head(db: Database) -> FileHead:
    """Returns how far a file goes."""
    return FileHead(*db.execute("select party, position, hash from audit").fetchone())


def position_at(db: Database, time: str) -> int:
    """Returns the position that a time, as events keep it, stands for: 0 before the first event."""
    found = db.execute(
        "select position from events where clock <= ? order by clock desc, position desc limit 1",
        (time,),
    ).fetchone()
    return found[0] if found else 0


# wallets


def balance(db: Database, user: str, currency: str, *, at: int) -> Balance:
    """Returns a wallet's balance as of a position. Raises NotThere."""
    if head(db).party != "operator":
        raise NotThere("a provider's book holds no wallets")
    opened = db.execute(
        "select w.scale, e.position, e.recorded_at from wallets w join events e"
        " on e.stream = ? and e.version = 1 and e.position <= ? where w.user = ? and w.currency = ?",
        (name("wallet", user, currency), at, user, currency),
    ).fetchone()
    if opened is None:
        raise NotThere(f"player {user} has no wallet in {currency} at position {at}")
    scale, changed_at, recorded_at = opened
    moved = db.execute(
        "select p.balance, p.position, e.recorded_at from postings p join events e"
        " on e.position = p.position where p.account = ? and p.position <= ?"
        " order by p.position desc limit 1",
        (player(user, currency), at),
    ).fetchone()
    cash, changed_at, recorded_at = moved or (0, changed_at, recorded_at)
    return Balance(
        user=user,
        currency=currency,
        scale=scale,
        cash=cash,
        position=at,
        changed_at=changed_at,
        recorded_at=recorded_at,
    )


# rounds


def round_as_of(db: Database, partner: str, round_id: str, *, at: int | None = None) -> RoundAsOf:
    """Returns a round as it is at the end of the file, or as of its `at`-th event. Raises NotThere."""
    party = head(db).party
    stored = db.execute(
        "select position, stream, version, topic, state from events"
        " where stream = ? and version <= ? order by version",
        (name("round", partner, round_id), min(at or _NO_END, _NO_END)),
    ).fetchall()
    if not stored:
        raise NotThere(f"there is no round {round_id} of {partner}")
    if at and stored[-1][2] < at:
        raise NotThere(f"the round {round_id} of {partner} ends at version {stored[-1][2]}")
    told = [
        Recorded(stream, v, _decoded(party, position, topic, state))
        for position, stream, v, topic, state in stored
    ]
    said = _of_operator(db, told) if party == "operator" else _of_provider(told)
    return RoundAsOf(
        partner=partner,
        round=round_id,
        version=told[-1].version,
        position=stored[-1][0],
        recorded_at=told[-1].event.recorded_at,
        **said,
    )


def _decoded(party: str, position: int, topic: str, state: str) -> Any:
    try:
        return _MAPPERS[party].decode(topic, state.encode())
    except (Unreadable, UnicodeError) as error:
        raise Damaged(f"position {position}: cannot be read: {error}") from error


_NO_END = 2**63 - 1
"""Behind every position and version there can be."""

_MAPPERS = {"operator": Mapper(ours.TYPES), "provider": Mapper(theirs.TYPES)}

Transactions = dict[tuple[str, str], Transaction]
"""By kind and reference, in the order they were recorded."""


def _folded(
    told: list[Recorded], rounds: Projection, place: Callable[[Transactions, Any], None]
) -> tuple[dict[str, Any], Transactions]:
    """Returns the columns of a round's row, and its transactions."""
    row: Row | None = None
    known: Transactions = {}
    for recorded in told:
        row = rounds.evolve(row, recorded)
        place(known, recorded.event)
    assert row
    return dict(zip(rounds.COLUMNS, row, strict=True)), known


def _of_operator(db: Database, told: list[Recorded]) -> dict[str, Any]:
    said, known = _folded(told, operator_rounds, _at_operator)
    scale = _scale(db, said["user"], said["currency"])
    return {**said, "scale": scale, "game": told[0].event.game, "transactions": [*known.values()]}


def _scale(db: Database, user: str, currency: str) -> int:
    """A wallet's scale is fixed for ever; who has none has no amounts either."""
    statement = "select scale from wallets where user = ? and currency = ?"
    found = db.execute(statement, (user, currency)).fetchone()
    return found[0] if found else 0


def _at_operator(known: Transactions, event: Any) -> None:
    match event:
        case ours.BetPlaced():
            known["bet", event.reference] = _new("bet", event, "placed")
        case ours.ResultRecorded():
            known[event.kind, event.reference] = _new(event.kind, event, "recorded")
        case ours.BetReversed():
            key = "bet", event.reference
            state = "cancelled" if isinstance(event, ours.BetCancelled) else "refunded"
            known[key] = replace(known[key], state=state, reversal=event.transaction_id)
        case ours.BetRefused():
            known["bet", event.reference] = _new("bet", event, "refused")
        case ours.TombstoneRecorded():
            known["bet", event.reference] = _new("bet", event, "tombstone")
        case ours.LateBetRefused():
            known.setdefault(("bet", event.reference), _new("bet", event, "refused"))


def _of_provider(told: list[Recorded]) -> dict[str, Any]:
    said, known = _folded(told, provider_rounds, _at_provider)
    back = sum(
        each.amount or 0 for each in known.values() if each.state in ("refunding", "refunded")
    )
    columns = ("user", "currency", "scale", "game", "status", "staked", "won", "opened_at")
    return {
        **{column: said[column] for column in columns},
        "reversed": back,
        "transactions": [*known.values()],
    }


def _at_provider(known: Transactions, event: Any) -> None:
    match event:
        case theirs.BetRequested():
            known["bet", event.reference] = _new("bet", event, "requested")
        case theirs.ResultRequested():
            known["result", event.reference] = _new("result", event, "requested")
        case theirs.ResultConfirmed():
            key = "result", event.reference
            known[key] = replace(known[key], state="confirmed", transaction_id=event.transaction_id)
        case _ if type(event) in STANDINGS:
            key = "bet", event.reference
            known[key] = replace(known[key], state=STANDINGS[type(event)], **_answered(event))


def _answered(event: Any) -> dict[str, str]:
    match event:
        case theirs.BetAccepted():
            return {"transaction_id": event.transaction_id}
        case theirs.CancelConfirmed() | theirs.RefundConfirmed():
            return {"reversal": event.transaction_id}
    return {}


def _new(kind: str, event: Any, state: str) -> Transaction:
    return Transaction(
        kind=kind,
        reference=event.reference,
        amount=getattr(event, "amount", None),
        state=state,
        transaction_id=getattr(event, "transaction_id", ""),
    )


# events


def history(
    db: Database, named: str, *, limit: int = -1, before: int | None = None
) -> list[PastEvent]:
    """Returns the events of a user, a round, a reference or a transaction, in order; empty for none.

    Asks the full-text search; what that has no word for is looked for event by event. A limit keeps
    the newest, of those before a position where one is given.
    """
    if not named.isprintable():  # no id is like that, and the search would stumble
        return []
    phrase = '"' + named.replace('"', '""') + '"'
    ends = _NO_END if before is None else min(before, _NO_END)
    bound = {"named": named, "limit": limit, "phrase": phrase, "before": ends}
    return events_where(db, _NAMED_BY_SEARCH, bound) or events_where(db, _NAMED, bound)


def events_where(db: Database, condition: str, bound: dict[str, Any]) -> list[PastEvent]:
    """Returns the events `e` for which an SQL condition holds, in order."""
    statement = f"{_EVENTS[head(db).party]} where {condition} order by e.position"
    return [PastEvent(*row) for row in db.execute(statement, bound)]


def replay(db: Database, *, after: int = 0, upto: int) -> Iterator[Line]:
    """Yields the events behind a position, up to another, as they are stored."""
    yield from map(
        Line._make,
        db.execute(
            "select position, stream, version, topic, recorded_at, hash, state from events"
            " where position > ? and position <= ? order by position",
            (min(after, _NO_END), min(upto, _NO_END)),
        ),
    )


_EVENTS = {
    "operator": """
select e.position, e.recorded_at, e.topic, e.stream, e.version, e.provider, e.round, e.user, e.reference,
    e.transaction_id, coalesce(p.currency, e.currency), a.scale, p.amount, p.balance
from events e left join postings p
on p.position = e.position and p.account > 'player/' and p.account < 'player0'
left join accounts a on a.account = p.account""",
    "provider": """
select e.position, e.recorded_at, e.topic, e.stream, e.version, e.operator, e.round, e.user, e.reference,
    e.transaction_id, r.currency, r.scale, e.state ->> 'amount', null
from events e left join rounds r on r.operator = e.operator and r.round = e.round""",
}
"""The player's posting of an event stands in the accounts that begin with `player/`."""

_NAMED = """
e.position in (select position from events
    where :named in (user, round, reference, transaction_id) and position < :before
    order by position desc limit :limit)"""
_NAMED_BY_SEARCH = """
e.position in (select position from events
    where :named in (user, round, reference, transaction_id) and position < :before
    and position in (select rowid from events_fts where events_fts match :phrase)
    order by position desc limit :limit)"""

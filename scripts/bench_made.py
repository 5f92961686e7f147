"""Makes a large operator's book for a benchmark, sealed, its tables filled; not through the book: that is quicker."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import count, islice
from pathlib import Path
from typing import Any

import apsw
import msgspec

from ledger.merkle import Tree
from ledger.names import name, transaction_id
from ledger.operator import events
from ledger.operator.book import MAPPER
from ledger.projection import Recorded, Row
from ledger.rebuild import rebuild
from ledger.seal import Signer, new_key, signer
from ledger.store import open_store
from ledger.store.chain import Head, link
from projections import IN_TRANSACTION

PROVIDER, CURRENCY, SCALE, GAME = "LuckyMonaco", "USD", 2, "Im_60_tumblefortune"
PLAYERS, FIRST_PLAYER = 200, 100_000
OPENING_CASH, STAKE, WIN = 10_000_000_000, 101, 50
AT = "2026-11-21T09:44:00.000004Z"
SEALED_EVERY = 1000


def history(most: int, players: int = PLAYERS) -> Iterator[Recorded]:
    """Yields so many events: wallets with a deposit, then rounds of a bet and a result, player by player.

    One fewer where the last would open a round: that never stands without the bet.
    """
    users = [str(FIRST_PLAYER + number) for number in range(players)]
    for number, recorded in enumerate(islice(_history(users), most), 1):
        if number < most or not isinstance(recorded.event, events.RoundOpened):
            yield recorded


def _history(users: Sequence[str]) -> Iterator[Recorded]:
    for user in users:
        stream = name("wallet", user, CURRENCY)
        yield Recorded(stream, 1, events.WalletOpened(recorded_at=AT, **_wallet(user, 1)))
        deposit = _moved(user, 2, "deposit", events.CASHIER, user, OPENING_CASH, 0, OPENING_CASH)
        yield Recorded(stream, 2, events.DepositMade(**deposit))
    for lap in count():
        yield from _lap(users, lap, OPENING_CASH - lap * (STAKE - WIN), 2 * lap + 3)


def _lap(users: Sequence[str], lap: int, cash: int, version: int) -> Iterator[Recorded]:
    """Yields a round of every player: each bets, then each has its result."""
    left = cash - STAKE
    for number, user in enumerate(users, lap * len(users)):
        stream, reference, of = _named(number)
        opened = events.RoundOpened(recorded_at=AT, **of, user=user, currency=CURRENCY, game=GAME)
        yield Recorded(stream, 1, opened)
        bet = _moved(user, version, "bet", PROVIDER, f"{reference}b", STAKE, cash, left)
        yield Recorded(stream, 2, events.BetPlaced(**bet, **of, game=GAME, said=_said(number)))
    for number, user in enumerate(users, lap * len(users)):
        stream, reference, of = _named(number)
        win = _moved(user, version + 1, "result", PROVIDER, f"{reference}e", WIN, left, left + WIN)
        said = _said(number)
        yield Recorded(stream, 3, events.ResultRecorded(**win, **of, kind="result", said=said))


def _named(number: int) -> tuple[str, str, dict[str, Any]]:
    """Returns a round's stream, what its references begin with, and how its events name it."""
    round_id = str(5_103_188_801 + number)
    of = {"provider": PROVIDER, "round": round_id}
    return name("round", PROVIDER, round_id), f"585c1306f89c56{number:09x}", of


def _wallet(user: str, version: int) -> dict[str, Any]:
    return {"user": user, "currency": CURRENCY, "scale": SCALE, "wallet_version": version}


def _moved(
    user: str,
    version: int,
    kind: str,
    by: str,
    reference: str,
    amount: int,
    before: int,
    after: int,
) -> dict[str, Any]:
    return {
        **_wallet(user, version),
        "recorded_at": AT,
        "reference": reference,
        "transaction_id": transaction_id(by, kind, reference),
        "amount": amount,
        "cash_before": before,
        "cash_after": after,
    }


def _said(number: int) -> events.Said:
    return events.Said(
        uuid=f"{number:032x}",
        session=f"session-{number % PLAYERS}",
        game_name="tumblefortune",
        provider_time="1700000000000",
        details="spin",
    )


def make(file: Path, most: int, players: int = PLAYERS) -> None:
    """Makes a book of so many events, the first of them its players' wallets and deposits."""
    url = f"sqlite:///{file}"
    open_store(url, IN_TRANSACTION).close()
    sealed_by, made = signer(new_key()), history(most, players)
    with closing(apsw.Connection(str(file))) as connection:
        connection.execute("pragma synchronous = off")
        head, tree = Head(), Tree()
        while some := list(islice(made, SEALED_EVERY)):
            connection.execute("begin")
            head = _append(connection, some, head, tree)
            _seal(connection, sealed_by, head, tree)
            connection.execute("commit")
    with closing(open_store(url, IN_TRANSACTION)) as store:
        rebuild(store, MAPPER)


def _append(connection: apsw.Connection, some: Sequence[Recorded], head: Head, tree: Tree) -> Head:
    rows: list[Row] = []
    hashed = head.hash
    for position, each in enumerate(some, head.position + 1):
        topic, state = type(each.event).__name__, MAPPER.encode(each.event)
        hashed = link(hashed, each.stream, each.version, topic, state)
        tree.append(hashed)
        rows.append((position, each.stream, each.version, topic, state.decode(), hashed))
    _insert(connection, "stored_events", rows)
    return Head(head.position + len(rows), hashed)


def _insert(connection: apsw.Connection, table: str, rows: Iterable[Row]) -> None:
    width = connection.execute("select count(*) from pragma_table_info(?)", (table,)).get
    marks = ", ".join("?" * width)
    connection.executemany(f"insert into {table} values ({marks})", rows)  # noqa: S608  (our own)


def _seal(connection: apsw.Connection, signed_by: Signer, head: Head, tree: Tree) -> None:
    seal = msgspec.json.encode(signed_by.seal(head, tree, at=AT))
    _insert(connection, "seals", [(None, head.position, seal.decode())])

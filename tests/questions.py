"""What a test asks of a book: the code of an answer, the cash, the history, whether anything moved."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import apsw
import pytest

from ledger.money import to_text
from ledger.operator.book import MAPPER, Book
from ledger.operator.commands import Command
from ledger.operator.house import House
from ledger.refusals import Refusal
from tests import controls

EVERYTHING = 10**9

about_another = pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({"user": controls.OTHER_PLAYER}, 16),
        ({"currency": controls.OTHER_CURRENCY}, 52),
        ({"game": controls.OTHER_GAME}, 57),
    ],
    ids=["player", "currency", "game"],
)
"""Whose a call may be instead, and what it is refused with."""

while_bets_are_not_taken = pytest.mark.parametrize(
    "house",
    [
        House(games_off={controls.PROVIDER: frozenset({controls.GAME})}),
        House(bets_stopped=frozenset({controls.PROVIDER})),
    ],
    ids=["game off", "bets stopped"],
)


def code(book: Book, command: Command) -> int:
    """Returns the code on the wire: 0, or the refusal's."""
    try:
        book.submit(command)
    except Refusal as refusal:
        return refusal.code
    return 0


def transaction_id(book: Book, command: Command) -> str:
    return book.submit(command).transaction_id


def cash(book: Book, *, user: str = controls.PLAYER, currency: str = controls.CURRENCY) -> str:
    wallet = book.wallet(user, currency)
    return to_text(wallet.cash, wallet.scale)


def history(book: Book, *, after: int = 0) -> list[Any]:
    """Returns the events behind a position, decoded, in order."""
    records = book.store.records(after=after, limit=EVERYTHING)
    return [MAPPER.decode(record.topic, record.state) for record in records]


def topics(book: Any, *, after: int = 0) -> list[str]:
    return [record.topic for record in book.store.records(after=after, limit=EVERYTHING)]


def status(
    book: Book, *, round_id: str = controls.ROUND, provider: str = controls.PROVIDER
) -> str | None:
    """Returns the round's status; the replayed round and the table must agree on it."""
    replayed = book.round(provider, round_id)
    row = book.store.row("rounds", (provider, round_id))
    assert (replayed.status if replayed else None) == (row[2] if row else None)
    return replayed.status if replayed else None


def tables(book: Any) -> dict[str, list[tuple[Any, ...]]]:
    return {p.TABLE: list(book.store.rows(p.TABLE)) for p in book.store.projections}


@contextmanager
def nothing_recorded(book: Any) -> Iterator[None]:
    before = book.store.head(), tables(book)
    yield
    assert (book.store.head(), tables(book)) == before


@contextmanager
def no_money_moved(book: Book) -> Iterator[None]:
    before = book.store.rows("wallets")
    yield
    assert book.store.rows("wallets") == before


def connections_made(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Returns a list that every connection to SQLite comes into from here on."""
    connections: list[Any] = []
    connect = apsw.Connection

    def recorded(*args: Any, **options: Any) -> Any:
        connections.append(connect(*args, **options))
        return connections[-1]

    monkeypatch.setattr(apsw, "Connection", recorded)
    return connections

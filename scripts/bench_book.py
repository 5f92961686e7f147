"""The book without HTTP, then SQLite without the book, on the rows it stored; prints JSON.

Commands and rows are made before the clock starts. Example: python -m scripts.bench_book FOLDER SECONDS.
With a PostgreSQL server's URL behind it, the book alone, there.
"""

import json
import secrets
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import apsw

from api.operator.calls import Received, place_bet
from api.operator.schemas import Bet
from ledger.money import read_text
from ledger.operator.book import Book
from ledger.operator.commands import Deposit, OpenWallet, PlaceBet
from ledger.store import Asked, open_store
from ledger.store.sqlite import SQLiteStore
from projections import IN_TRANSACTION
from scripts.bench_bets import (
    CURRENCY,
    MOST_BETS_A_SECOND,
    OPENING_CASH,
    PLAYERS,
    bets,
    one_core,
    rate,
)

BODY = Bet()
THREADS = (1, 8, 32, 64)
LISTS = (32, 500)
ROWS_A_COMMIT = 500
MOST_ROWS = 100_000

Row = tuple[Any, ...]
Rows = Sequence[Sequence[Any]]
Batch = Sequence[tuple[str, Rows]]
"""What one transaction ran, in its order: each statement with its rows of parameters."""

_TRIGGERS = "select name from sqlite_master where type = 'trigger'"


@contextmanager
def funded_book(url: str) -> Iterator[Book]:
    """Yields a book on a new store, its players funded."""
    with closing(Book(open_store(url, IN_TRANSACTION))) as book:
        fund(book)
        yield book


def fund(book: Book) -> None:
    """Opens every player's wallet, and fills it."""
    cash = read_text(OPENING_CASH)
    book.submit_many([OpenWallet(user=user, currency=CURRENCY) for user in PLAYERS])
    book.submit_many(
        [Deposit(user=user, currency=CURRENCY, reference=user, amount=cash) for user in PLAYERS]
    )


def command(bet: dict[str, str]) -> PlaceBet:
    """Returns what the API makes of a bet's body."""
    return place_bet(Received(bet["providerId"], *BODY.take(bet)))


def submitted(url: str, *, threads: int, seconds: float) -> float:
    """Returns bets a second through `Book.submit`; what it stored stays."""
    most = int(seconds * MOST_BETS_A_SECOND)
    commands = [command(bet) for bet in islice(bets(), most)]
    with funded_book(url) as book:
        return rate(book.submit, commands, threads=threads, seconds=seconds)


class Recorded(SQLiteStore):
    """Keeps what it asks and writes for the book, by transaction."""

    def __init__(self, file: Path) -> None:
        self.batches: list[list[tuple[str, Rows]]] = []
        super().__init__(str(file), IN_TRANSACTION)

    def _begin(self, ahead: Asked, *, presumed: bool) -> None:
        self.batches.append([])
        super()._begin(ahead, presumed=presumed)

    def _execute(self, connection: Any, statement: str, parameters: Sequence[Any] = ()) -> Any:
        if connection is self._writer:
            self.batches[-1].append((statement, [parameters]))
        return super()._execute(connection, statement, parameters)

    def execute_many(self, statement: str, rows: Rows) -> int:
        self.batches[-1].append((statement, rows))
        return super().execute_many(statement, rows)


def listed(folder: Path, size: int, seconds: float) -> dict[str, float]:
    """Returns bets a second in lists of `size`, and those of the same transactions without the book.

    `store_lists`: all that it asked and wrote; `raw_lists`: the rows alone, no trigger.
    """
    bets_ = [command(bet) for bet in islice(bets(), int(seconds * MOST_BETS_A_SECOND))]
    lists = [bets_[start : start + size] for start in range(0, len(bets_) - size, size)]
    store = Recorded(folder / f"lists-{size}.db")
    with closing(Book(store)) as book:
        fund(book)
        before = len(store.batches)
        rates = {"submit_many": rate(book.submit_many, lists, threads=1, seconds=seconds)}
    first, taken = store.batches[:before], store.batches[before:]
    for name, whole in (("store_lists", True), ("raw_lists", False)):
        with _replayer(folder / f"{name}-{size}.db", whole=whole) as commit:
            for batch in first:
                commit(batch)
            rates[name] = rate(commit, taken, threads=1, seconds=seconds)
    return {name: each * size for name, each in rates.items()}


@contextmanager
def _replayer(file: Path, *, whole: bool) -> Iterator[Callable[[Batch], None]]:
    """Yields what repeats a transaction on a new store; where not `whole`, its writes alone, no trigger."""
    SQLiteStore(str(file), IN_TRANSACTION).close()
    with closing(_durable(file)) as connection:
        if not whole:
            for (trigger,) in connection.execute(_TRIGGERS).fetchall():
                connection.execute(f"drop trigger {trigger}")

        def commit(batch: Batch) -> None:
            connection.execute("begin immediate")
            for statement, rows in batch:
                if whole or not statement.startswith("select"):
                    connection.executemany(statement, rows).fetchall()
            connection.execute("commit")

        yield commit


def inserted(folder: Path, rows: Sequence[Row], *, at_once: int, seconds: float) -> float:
    """Returns rows a second into a table like the book's, a commit per `at_once` rows."""
    chunks = [rows[start : start + at_once] for start in range(0, len(rows), at_once)]
    with closing(_table(folder / f"raw-{at_once}.db")) as connection:

        def commit(chunk: Sequence[Row]) -> None:
            connection.execute("begin immediate")
            connection.executemany("insert into stored_events values (?, ?, ?, ?, ?, ?)", chunk)
            connection.execute("commit")

        return rate(commit, chunks, threads=1, seconds=seconds) * at_once


def _durable(file: Path) -> apsw.Connection:
    connection = apsw.Connection(str(file))
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = full")
    return connection


def _table(file: Path) -> apsw.Connection:
    connection = _durable(file)
    connection.execute(
        "create table stored_events (position integer primary key, stream text, version integer,"
        " topic text, state text, hash blob, unique (stream, version)) strict"
    )
    return connection


def stored(file: Path) -> list[Row]:
    """Returns the rows of a book's events, the first so many."""
    with closing(apsw.Connection(str(file))) as connection:
        query = "select * from stored_events order by position limit ?"
        rows: list[Row] = connection.execute(query, (MOST_ROWS,)).fetchall()
    return rows[: len(rows) // ROWS_A_COMMIT * ROWS_A_COMMIT]


def main() -> None:
    """Measures with more and more threads, then lists, then the rows alone."""
    folder, seconds, *server = Path(sys.argv[1]), float(sys.argv[2]), *sys.argv[3:]
    schema = f"bench_{secrets.token_hex(4)}"

    def measured(name: str) -> dict[int, float]:
        urls = {
            n: f"{server[0]}?schema={schema}_{name}_{n}"
            if server
            else f"sqlite:///{folder}/{name}-{n}.db"
            for n in THREADS
        }
        return {n: submitted(url, threads=n, seconds=seconds) for n, url in urls.items()}

    found: dict[str, Any] = {"book_submit": measured("book")}
    with one_core():
        found["book_submit_one_core"] = measured("held")
    if server:
        print(json.dumps(found))  # noqa: T201  (a process reads it)
        return
    rows = stored(folder / f"book-{THREADS[-1]}.db")
    raw = {n: inserted(folder, rows, at_once=n, seconds=seconds) for n in (1, ROWS_A_COMMIT)}
    lists = {n: listed(folder, n, seconds) for n in LISTS}
    for name in ("submit_many", "store_lists", "raw_lists"):
        found[name] = {n: rates[name] for n, rates in lists.items()}
    found["raw_sqlite"] = raw
    print(json.dumps(found))  # noqa: T201  (a process reads it)


if __name__ == "__main__":
    main()

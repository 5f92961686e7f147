"""The book without HTTP, then SQLite without the book, on the rows it stored; prints JSON.

Commands and rows are made before the clock starts. Example: python -m scripts.bench_book FOLDER SECONDS.
With a PostgreSQL server's URL behind it, the book alone, there.
"""

import json
import secrets
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import apsw

from ledger.money import read_text
from ledger.operator.book import Book
from ledger.operator.commands import Deposit, OpenWallet, PlaceBet
from ledger.operator.events import Said
from ledger.store import open_store
from projections import IN_TRANSACTION
from scripts.bench_bets import CURRENCY, MOST_BETS_A_SECOND, OPENING_CASH, PLAYERS, bets, rate

THREADS = (1, 8, 32, 64)
ROWS_A_COMMIT = 500
MOST_ROWS = 100_000

Row = tuple[Any, ...]


@contextmanager
def funded_book(url: str) -> Iterator[Book]:
    """Yields a book on a new store, its players funded."""
    with closing(Book(open_store(url, IN_TRANSACTION))) as book:

        def fund(user: str) -> None:
            cash = read_text(OPENING_CASH)
            book.submit(OpenWallet(user=user, currency=CURRENCY))
            book.submit(Deposit(user=user, currency=CURRENCY, reference=user, amount=cash))

        with ThreadPoolExecutor(32) as pool:
            list(pool.map(fund, PLAYERS))
        yield book


def command(bet: dict[str, str]) -> PlaceBet:
    """Returns what the API makes of a bet's body."""
    return PlaceBet(
        provider=bet["providerId"],
        user=bet["userId"],
        currency=bet["currency"],
        round=bet["roundId"],
        game=bet["gameId"],
        session=bet["sessionId"],
        reference=bet["reference"],
        amount=read_text(bet["amount"]),
        said=Said(
            uuid=bet["uuid"],
            session=bet["sessionId"],
            game_name=bet["gameName"],
            provider_time=bet["timestamp"],
            details=bet["roundDetails"],
        ),
    )


def submitted(url: str, *, threads: int, seconds: float) -> float:
    """Returns bets a second through `Book.submit`; what it stored stays."""
    most = int(seconds * MOST_BETS_A_SECOND)
    commands = [command(bet) for bet in islice(bets(), most)]
    with funded_book(url) as book:
        return rate(book.submit, commands, threads=threads, seconds=seconds)


def inserted(folder: Path, rows: Sequence[Row], *, at_once: int, seconds: float) -> float:
    """Returns rows a second into a table like the book's, a commit per `at_once` rows."""
    chunks = [rows[start : start + at_once] for start in range(0, len(rows), at_once)]
    with closing(_table(folder / f"raw-{at_once}.db")) as connection:

        def commit(chunk: Sequence[Row]) -> None:
            connection.execute("begin immediate")
            connection.executemany("insert into stored_events values (?, ?, ?, ?, ?, ?)", chunk)
            connection.execute("commit")

        return rate(commit, chunks, threads=1, seconds=seconds) * at_once


def _table(file: Path) -> apsw.Connection:
    connection = apsw.Connection(str(file))
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = full")
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
    """Measures with more and more threads, then the rows alone."""
    folder, seconds, *server = Path(sys.argv[1]), float(sys.argv[2]), *sys.argv[3:]
    schema = f"bench_{secrets.token_hex(4)}"
    urls = {
        n: f"{server[0]}?schema={schema}_{n}" if server else f"sqlite:///{folder}/book-{n}.db"
        for n in THREADS
    }
    book = {n: submitted(url, threads=n, seconds=seconds) for n, url in urls.items()}
    if server:
        print(json.dumps({"book_submit": book}))  # noqa: T201  (a process reads it)
        return
    rows = stored(folder / f"book-{THREADS[-1]}.db")
    raw = {n: inserted(folder, rows, at_once=n, seconds=seconds) for n in (1, ROWS_A_COMMIT)}
    print(json.dumps({"book_submit": book, "raw_sqlite": raw}))  # noqa: T201  (a process reads it)


if __name__ == "__main__":
    main()

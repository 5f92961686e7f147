"""The eventsourcing library as it comes: the same events through `Application.save`; prints JSON.

An aggregate a round, a save a bet, on the same SQLite with the same durability. The second bet's
aggregate is still at hand: nothing is loaded. Example: python -m scripts.bench_stock FOLDER SECONDS
"""

import json
import secrets
import sys
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pysqlite3

# Before the library imports it, so that both are measured on one SQLite.
sys.modules["sqlite3"] = pysqlite3

from eventsourcing.application import Application  # noqa: E402
from eventsourcing.domain import Aggregate, event  # noqa: E402

from scripts.bench_bets import MOST_BETS_A_SECOND, bets, one_core, rate  # noqa: E402

THREADS = (1, 32)
LOCK_WAIT_S = "30"
SAID = ("uuid", "sessionId", "gameName", "timestamp", "roundDetails")
FIGURES = {
    "transaction_id": "fc136c65-2dd5-554c-8a94-009bce1aa78c",
    "amount": 101,
    "scale": 2,
    "cash_before": 10_000_000_000,
    "cash_after": 9_999_999_899,
    "wallet_version": 3,
}
"""Stand for a wallet that is not there."""

Bet = dict[str, str]


class Round(Aggregate):
    """A round whose events say what the book's say."""

    @event("Opened")
    def __init__(self, provider: str, round_id: str, user: str, currency: str, game: str) -> None:
        self.named = (provider, round_id, user, currency, game)
        self.bets: dict[str, Any] = {}

    @event("BetPlaced")
    def place_bet(self, reference: str, fields: dict[str, Any]) -> None:
        self.bets[reference] = fields["amount"]


def open_application(file: Path) -> Application[UUID]:
    """Returns a stock application on one file. Exits where it would not be as durable as the book."""
    environment = {
        "PERSISTENCE_MODULE": "eventsourcing.sqlite",
        "SQLITE_DBNAME": str(file),
        "SQLITE_LOCK_TIMEOUT": LOCK_WAIT_S,
        "SQLITE_POOL_TIMEOUT": LOCK_WAIT_S,
    }
    application: Application[UUID] = Application(env=environment)
    recorder: Any = application.recorder
    for pragma, durable in (("journal_mode", "wal"), ("synchronous", 2)):
        with recorder.datastore.transaction(commit=False) as cursor:
            cursor.execute(f"pragma {pragma}")
            if cursor.fetchone()[0] != durable:
                sys.exit(f"the library's store has another {pragma} than {durable}")
    return application


def play(application: Application[UUID], pair: tuple[Bet, Bet]) -> None:
    """Opens a round and places its two bets, each durable before the next."""
    keys = ("providerId", "roundId", "userId", "currency", "gameId")
    named = [pair[0][key] for key in keys]
    round_ = Round(*named)
    for bet in pair:
        said = {key: bet[key] for key in SAID}
        round_.place_bet(bet["reference"], {**FIGURES, "named": named, "said": said})
        application.save(round_)


def on_server(url: str, threads: int) -> Application[UUID]:
    """Returns a stock application on a PostgreSQL server, a table a number of threads."""
    where = urlsplit(url)
    environment = {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": where.path.strip("/"),
        "POSTGRES_HOST": str(where.hostname),
        "POSTGRES_PORT": str(where.port),
        "POSTGRES_USER": str(where.username),
        "POSTGRES_PASSWORD": where.password or "none",
        "POSTGRES_POOL_SIZE": str(threads),
        "APPLICATION_NAME": f"stock{threads}x{secrets.token_hex(4)}",
    }
    return Application(env=environment)


def saved(application: Application[UUID], *, threads: int, seconds: float) -> float:
    """Returns bets a second, each decided by its round's aggregate and saved."""
    both = islice(bets(), int(seconds * MOST_BETS_A_SECOND) // 2 * 2)
    rounds = list(zip(both, both, strict=True))
    found = rate(lambda pair: play(application, pair), rounds, threads=threads, seconds=seconds)
    application.close()
    return found * 2


if __name__ == "__main__":
    folder, seconds, *server = Path(sys.argv[1]), float(sys.argv[2]), *sys.argv[3:]

    def opened(name: str, threads: int) -> Application[UUID]:
        return (
            on_server(server[0], threads)
            if server
            else open_application(folder / f"{name}-{threads}.db")
        )

    def measured(name: str) -> dict[int, float]:
        return {n: saved(opened(name, n), threads=n, seconds=seconds) for n in THREADS}

    found = {"stock_save": measured("stock")}
    with one_core():
        found["stock_save_one_core"] = measured("stock-held")
    print(json.dumps(found))  # noqa: T201  (another process reads it)

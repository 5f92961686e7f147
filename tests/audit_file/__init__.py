"""Audit files of books in memory and on disk, and what a stranger reads in the stored text of a book."""

import json
import random
from contextlib import closing
from datetime import datetime
from typing import Any

from sqlite_utils import Database
from sqlite_utils.utils import sqlite3

from ledger.sealing import Sealer, seals_of
from projections.audit_file import open_audit_file
from scripts.audit_file import catch_up
from tests import auditor, clocks, controls
from tests.clocks import NOON as NOON
from tests.questions import EVERYTHING as EVERYTHING
from tests.rules.test_properties import answer

MONEY = {
    "BetPlaced",
    "ResultRecorded",
    "BetCancelled",
    "BetRefunded",
    "PromoPaid",
    "DepositMade",
    "WithdrawalMade",
}


class Held:
    """A book that is open in this process, as a source."""

    def __init__(self, store: Any, name: str = "held") -> None:
        self.store, self.name = store, name

    def head(self) -> Any:
        return self.store.head()

    def records(self, *, after: int, upto: int) -> Any:
        return iter(self.store.records(after=after, limit=max(0, upto - after)))

    def seals(self) -> Any:
        return seals_of(self.store)


class Clock(clocks.Clock):
    """A wall clock that goes on by a second a look, and where it is told to."""

    def __call__(self) -> datetime:
        self.go(1)
        return self.at


def all_records(store: Any) -> list[Any]:
    return list(store.records(after=0, limit=EVERYTHING))


def bodies(store: Any) -> list[tuple[int, Any, dict[str, Any]]]:
    return [(record.id, record, json.loads(record.state)) for record in all_records(store)]


def made(path: Any, store: Any, **said: Any) -> Database:
    """Returns a file that was brought to where a book is, to be read."""
    catch_up(path, Held(store), now=lambda: NOON, **said)
    return open_audit_file(path)


def rows(db: Database, table: str, columns: str = "*", order: str = "1") -> list[tuple[Any, ...]]:
    return db.execute(f"select {columns} from {table} order by {order}").fetchall()


def dump(path: Any) -> dict[str, list[tuple[Any, ...]]]:
    """Returns every row of every table but the search's own, sorted."""
    with closing(open_audit_file(path)) as db:
        names = [name for name in db.table_names() if not name.startswith("events_fts")]
        return {name: sorted(rows(db, name), key=repr) for name in names}


def check_file(path: Any) -> None:
    """The file is whole, every reference leads somewhere, and the search has every event."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
        assert connection.execute("pragma foreign_key_check").fetchall() == []
        connection.execute(
            "insert into events_fts (events_fts, rank) values ('integrity-check', 1)"
        )


def play(book: Any, *, rounds: int, seed: int = 1) -> None:
    """Plays rounds in which everything happens that can."""
    dice = random.Random(seed)
    for user in (controls.PLAYER, controls.OTHER_PLAYER):
        controls.fund(book, user=user, amount="1000")
    for number in range(rounds):
        for command in _round(dice, f"{seed}-{number}"):
            answer(book, command)


def _round(dice: random.Random, name: str) -> list[Any]:
    said = {
        "user": dice.choice([controls.PLAYER, controls.OTHER_PLAYER]),
        "provider": dice.choice([controls.PROVIDER, controls.OTHER_PROVIDER]),
    }
    in_round = {**said, "round_id": f"r-{name}"}
    bet, second = f"bet-{name}", f"second-{name}"
    place = controls.place_bet(**in_round, reference=bet, amount=dice.choice(["0", "1", "30"]))
    win = controls.result(**in_round, reference=f"win-{name}", amount=dice.choice(["0", "5"]))
    back = controls.cancel(**said, reference=bet)
    stories = [
        [place, win, controls.end_round(**in_round)],
        [place, controls.place_bet(**in_round, reference=second, amount="2"), win],
        [place, back],
        [place, controls.refund(**said, reference=bet)],
        [back, place],
        [controls.cancel(**in_round, reference=bet), place],
        [controls.place_bet(**in_round, reference=bet, amount="1000000"), back],
        [place],
        [controls.pay_promo(**said, reference=f"promo-{name}", amount="3")],
        [controls.deposit(user=said["user"], reference=f"in-{name}", amount="7")],
        [controls.withdraw(user=said["user"], reference=f"out-{name}", amount="4")],
        [controls.freeze(user=said["user"]), place, controls.unfreeze(user=said["user"])],
        [controls.expire_session(**said, session=f"s-{name}")],
    ]
    return dice.choice(stories)


def cash_at_every_position(store: Any) -> dict[tuple[str, str], list[int | None]]:
    """Returns what each wallet held after 0, 1, 2 … events, by the amounts alone; None: not open."""
    found: dict[tuple[str, str], list[int | None]] = {}
    now: dict[tuple[str, str], int] = {}
    told = bodies(store)
    for position, record, body in told:
        if "wallet_version" in body:
            key = (body["user"], body["currency"])
            now[key] = now.get(key, 0) + auditor.movement(record.topic, body)
        for key, cash in now.items():
            found.setdefault(key, [None] * position).append(cash)
    return found


def evening(path: Any, *, rounds: int = 60, seal: Any = None, seed: int = 1) -> None:
    """Plays a book on disk; with `seal`, its head is sealed four times."""
    with closing(controls.new_book(f"sqlite:///{path}")) as book:
        for part in range(4):
            play(book, rounds=rounds // 4, seed=seed * 10 + part)
            if seal:
                Sealer(book.store, seal).seal()

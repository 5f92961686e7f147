"""What the demo's evening came to: both books read, counted, and held against one another."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any, NamedTuple

import msgspec

from ledger.counted import many
from ledger.event import Event
from ledger.operator import events as at_operator
from ledger.projection import Row
from ledger.provider import events as at_provider
from ledger.rebuild import RowDifference, differences
from ledger.store import EVENTS, open_store
from projections import rounds as operator_rounds
from projections.provider.rounds import RoundRow
from projections.reconcile import Reconciled
from scripts.demo_evening import MUST_NOT_HAPPEN, PLAYERS, Evening, Player
from scripts.demo_side import Side, Stage
from scripts.source import MAPPERS, TABLES, Party

UNSTAKED = "no stake taken"
DAYS_AHEAD = 91
SWEEP = "sweep --config provider/roundbook.toml"


class Kill(msgspec.Struct, frozen=True, kw_only=True):
    """A process that was ended by SIGKILL; `down_s` until it answered again."""

    side: str
    after_rounds: int
    down_s: float


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """How the sweep stopped: what /readyz and `roundbook sweep` said of it, and the confirmation."""

    ready: dict[str, Any]
    sweep: str
    status: int
    confirmed: str


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """What moved in a wallet by its events, and the cash that it quotes; in minor units but for `cash`."""

    user: str
    currency: str
    opening: int
    stakes: int
    wins: int
    reversals: int
    cash: str

    @property
    def sum(self) -> int:
        """What the wallet must hold."""
        return self.opening - self.stakes + self.wins + self.reversals


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How many rounds stand so in each book."""

    operator: int
    provider: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What happened, and how the books stand. `busiest`: the round that took the most sends."""

    folder: str
    rounds: int
    seed: int
    seconds: float
    played: dict[str, int]
    wire: dict[str, int]
    kills: list[Kill]
    alarm: Alarm | None
    undelivered: int
    balances: list[Balance]
    statuses: dict[str, Standing]
    busiest: str
    reconciled: Reconciled
    rebuilt: dict[str, list[RowDifference]]

    @property
    def faults(self) -> list[str]:
        """What is not as it must be, a sentence each; empty where all is well."""
        return [said for said, wrong in self._checks() if wrong]

    def _checks(self) -> Iterator[tuple[str, object]]:
        yield f"{many(self.undelivered, 'call')} undelivered", self.undelivered
        yield "the books differ", self.reconciled.differences
        left_open, by_age = self.played["left open"], self.played["refunded by age"]
        yield f"{many(left_open, 'round')} left open, {by_age} refunded by age", left_open != by_age
        for what in MUST_NOT_HAPPEN:
            yield f"{what}: {self.played[what]}", self.played[what]
        for book, found in self.rebuilt.items():
            yield f"the {book}'s tables are not what its events make", found
        for player, balance in zip(PLAYERS, self.balances, strict=True):
            wrong = player.text(balance.sum) != balance.cash
            yield f"the sums of {player.user} do not make the cash", wrong
        for status, standing in self.statuses.items():
            wrong = standing.operator != standing.provider
            yield f"the books do not count the same rounds as {status}", wrong


class Book(NamedTuple):
    """One side's book, read once."""

    events: list[Any]
    rounds: Sequence[Row]
    differences: list[RowDifference]

    def of(self, kind: type[Event]) -> list[Any]:
        """Returns the events of a type, in order."""
        return [event for event in self.events if isinstance(event, kind)]


class Books(NamedTuple):
    """Both books."""

    operator: Book
    provider: Book


def read_both(stage: Stage) -> Books:
    return Books(
        _read(stage.operator, "operator"),
        _read(stage.provider, "provider"),
    )


def _read(side: Side, party: Party) -> Book:
    mapper = MAPPERS[party]
    with closing(open_store(f"sqlite:///{side.book}", TABLES[party], create=False)) as store:
        rows = store.scan(EVENTS, after=0)
        events = [mapper.decode(topic, state) for _, _, _, topic, state, _ in rows]
        return Book(events, store.rows("rounds"), differences(store, mapper))


def played(evening: Evening, books: Books) -> dict[str, int]:
    """Returns what happened: by what the games counted, and by what the books recorded."""
    refunds = books.provider.of(at_provider.RefundRequested)
    wins = [event.amount for event in books.operator.of(at_operator.ResultRecorded)]
    return {
        **evening.tally.counts,
        "bets taken": len(books.operator.of(at_operator.BetPlaced)),
        "bets declined": len(books.provider.of(at_provider.BetDeclined)),
        "bets given up": len(books.provider.of(at_provider.BetGivenUp)),
        "won": len(wins) - wins.count(0),
        "lost": wins.count(0),
        "refunded by age": len({event.round for event in refunds if event.by == "retention"}),
        "calls": len(books.provider.of(at_provider.Requested)),
        "sends": len(books.provider.of(at_provider.SendStarted)),
    }


def balance_of(player: Player, book: Book, cash: str) -> Balance:
    moved: Counter[type] = Counter()
    for event in book.of(at_operator.MoneyMoved):
        if event.user == player.user:
            moved[type(event)] += event.amount
    return Balance(
        user=player.user,
        currency=player.currency,
        opening=moved[at_operator.DepositMade],
        stakes=moved[at_operator.BetPlaced],
        wins=moved[at_operator.ResultRecorded],
        reversals=moved[at_operator.BetCancelled] + moved[at_operator.BetRefunded],
        cash=cash,
    )


def statuses_of(stage: Stage, books: Books) -> dict[str, Standing]:
    """Returns how many rounds stand how in each book; of one without a stake the operator knows nothing."""
    provider_of = {relation.login: relation.provider for relation in stage.relations}
    ours = {row[:2]: _status_at_operator(row) for row in books.operator.rounds}
    theirs = {(provider_of[row[0]], row[1]): RoundRow(*row[2:]) for row in books.provider.rounds}
    counts: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for key in ours.keys() | theirs.keys():
        status = ours.get(key, UNSTAKED)
        counts[0][status] += 1
        if key in theirs:
            counts[1][UNSTAKED if status == UNSTAKED else theirs[key].status] += 1
    return {
        status: Standing(operator=counts[0][status], provider=counts[1][status])
        for status in sorted(counts[0] | counts[1])
    }


def _status_at_operator(row: Row) -> str:
    found = dict(zip(operator_rounds.COLUMNS, row[2:], strict=True))
    return str(found["status"]) if found["staked"] else UNSTAKED


def busiest_of(login: str, book: Book) -> str:
    """Returns the round of an operator's that took the most sends."""
    rounds = {(e.operator, e.reference): e.round for e in book.of(at_provider.Requested)}
    sends = Counter(
        rounds[e.operator, e.reference]
        for e in book.of(at_provider.SendStarted)
        if e.operator == login
    )
    ((busiest, _),) = sends.most_common(1)
    return str(busiest)

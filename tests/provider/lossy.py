"""Both books, and between them a wire that loses, doubles, delays and spoils what is on it.

The wallet is the real service; the provider's book, and what reads the wallet's answers, are the real
ones. No thread sends and no socket is open: what is sent, what arrives and what comes back is told.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import count
from typing import Any, NamedTuple

from msgspec.structs import replace

from api import create_app
from api.settings import Settings
from ledger.moments import later
from ledger.operator import book as operator_book
from ledger.projection import Projection
from ledger.provider import book as provider_book
from ledger.provider.answers import Answer, Reply, read_answer
from ledger.provider.book import Book, Send
from ledger.provider.commands import EndSend, StartSend
from ledger.provider.delivery import DECLINED, FINAL, Delivery
from ledger.provider.events import Call, SendOutcome
from ledger.provider.house import PROVIDER_ID, Dialect, House, Operator
from ledger.provider.retention import Sweeper
from ledger.rebuild import differences
from ledger.store import Store, open_store
from projections import IN_TRANSACTION
from projections.provider import IN_TRANSACTION as PROVIDER_TABLES
from projections.reconcile import Difference, reconcile
from tests import auditor
from tests.clocks import Clocks
from tests.http import wire
from tests.provider.examples import EVERYTHING, KY, LM

LOGINS = (LM, KY)
DIALECTS: Mapping[str, Dialect] = {LM: "lucky-monaco-v4", KY: "kyren-v1"}
PROVIDERS = {login: PROVIDER_ID[dialect] for login, dialect in DIALECTS.items()}

Key = tuple[str, str]

RETENTION_S = 90 * 24 * 3600
LEASE_S, PARKED_WAIT_S = 15.0, 300.0
CAP = 3
MOST_STEPS = 5000

HOUSE = House(
    operators={
        login: Operator(
            id=login, dialect=dialect, provider=PROVIDERS[login], retries=1, result_retries=2
        )
        for login, dialect in DIALECTS.items()
    }
)
"""Bursts are short, so that few steps come to their end."""


class Wallet(wire.Service):
    """The operator's service, by our clock."""

    def __init__(self, settings: Settings, store: Store, *, now: Callable[[], datetime]) -> None:
        self.app = create_app(settings, store, now=now)
        self.client = self.app.test_client()
        self.book = self.app.extensions["book"]

    def answer(self, call: Call) -> Reply:
        got = self.raw(call.path, call.body)
        return Reply(got.status, got.headers["Content-Type"], got.raw)

    def be_busy(self, *, busy: bool) -> None:
        """Answers 998 to every call, until it is not."""
        self.book._writer._most_waiting = 0 if busy else 1024


class Sender(NamedTuple):
    """A worker that has taken a send."""

    number: int
    delivery: Delivery
    send: Send

    @property
    def place(self) -> tuple[str, str]:
        return self.delivery.operator, self.delivery.round


class TwoBooks:
    """`calls` and `answers` are what is on the wire; `senders` are those who still wait."""

    def __init__(self, urls: tuple[str, str] = ("memory://", "memory://")) -> None:
        self.clock = Clocks()
        self.defects: list[Exception] = []
        self.calls: list[Sender] = []
        self.answers: list[tuple[Sender, Reply]] = []
        self.senders: dict[int, Sender] = {}
        self.first_calls: dict[str, Call] = {}
        self.lied_about: set[tuple[str, str]] = set()
        self.busy = False
        self._numbers = count(1)
        self._urls, self._stores = urls, dict[str, Store]()
        self.open_wallet()
        self.open_book()
        self.sweeper = self.new_sweeper()

    # opening and closing

    def open_wallet(self) -> None:
        store = self._store("operator", self._urls[0], IN_TRANSACTION)
        self.wallet = Wallet(wire.new_settings(), store, now=self.clock)
        self.wallet.book._writer._on_defect = self.defects.append
        self.wallet.be_busy(busy=self.busy)

    def open_book(self) -> None:
        store = self._store("provider", self._urls[1], PROVIDER_TABLES)
        self.book = Book(store, HOUSE, now=self.clock, on_defect=self.defects.append)

    def new_sweeper(self) -> Sweeper:
        return Sweeper(self.book, cap=CAP, steady=self.clock.steady)

    def _store(self, name: str, url: str, tables: Sequence[Projection]) -> Store:
        """What is in memory stays open; a file is opened again."""
        if name not in self._stores or url != "memory://":
            self._stores[name] = open_store(url, tables)
        return self._stores[name]

    def reopen_wallet(self) -> None:
        self.wallet.close()
        self.open_wallet()

    def reopen_book(self) -> None:
        """Its senders live on, as in a process of their own."""
        self.book.close()
        self.open_book()
        self.sweeper = self.new_sweeper()

    def close(self) -> None:
        self.wallet.close()
        self.book.close()

    def be_busy(self, *, busy: bool) -> None:
        self.busy = busy
        self.wallet.be_busy(busy=busy)

    # what is sent

    def due(self) -> list[Delivery]:
        return [each for login in LOGINS for each in self.book.due(login, limit=EVERYTHING)]

    def take(self, delivery: Delivery) -> Sender | None:
        """Takes a send and puts its call on the wire; None where another has taken it."""
        number = next(self._numbers)
        outcome = self.book.submit(
            StartSend(
                operator=delivery.operator,
                kind=delivery.kind,
                reference=delivery.reference,
                worker=f"worker {number}",
                lease_s=LEASE_S,
            )
        )
        if outcome.send is None:
            return None
        assert self.first_calls.setdefault(delivery.id, outcome.send.call) == outcome.send.call
        sender = Sender(number, delivery, self.sent(delivery, outcome.send))
        self.senders[number] = sender
        self.calls.append(sender)
        return sender

    def sent(self, delivery: Delivery, send: Send) -> Send:
        """Returns what goes on the wire. A sabotage changes it."""
        return send

    # what arrives at the wallet

    def arrive(self, which: int, *, stays: bool = False) -> None:
        """A call reaches the wallet; where it stays, a copy of it is still on the wire."""
        sender = self.calls[which] if stays else self.calls.pop(which)
        self.answers.append((sender, self.wallet.answer(sender.send.call)))

    def refuse(self, which: int, code: int) -> None:
        """A call is refused for good by somebody before the wallet, which never hears of it."""
        sender = self.calls.pop(which)
        text = sender.delivery.kind == "refund" and sender.delivery.operator == LM
        said = {"error": str(code) if text else code, "description": "refused"}
        self.lied_about.add(sender.place)
        self.answers.append((sender, Reply(200, "application/json", json.dumps(said).encode())))

    # what comes back

    def hear(
        self,
        which: int,
        spoil: Callable[[Reply], Reply] = lambda reply: reply,
        *,
        wait_s: float = 0,
        times: int = 1,
    ) -> None:
        """An answer comes back, and is recorded where its sender still waits; maybe more than once.

        No copy of a bet outlives a refusal that the wallet does not remember: HTTP makes none of a
        call that it has answered.
        """
        sender, reply = self.answers.pop(which)
        if sender.number not in self.senders:
            return
        answer = self.read(sender, spoil(reply))
        if sender.delivery.kind == "bet" and answer.code in DECLINED - FINAL:
            self.calls = [each for each in self.calls if each.number != sender.number]
        self._end(sender, answer, wait_s=wait_s, times=times)

    def read(self, sender: Sender, reply: Reply) -> Answer:
        """Returns what the courier understands. A sabotage understands something else."""
        delivery = sender.delivery
        return read_answer(
            reply,
            kind=delivery.kind,
            dialect=DIALECTS[delivery.operator],
            reference=delivery.reference,
            currency=sender.send.currency,
        )

    def give_up_waiting(self, number: int, outcome: SendOutcome, *, wait_s: float = 0) -> None:
        """A sender hears nothing in time; what it sent may be on the wire still."""
        self._end(self.senders[number], self.silence(outcome), wait_s=wait_s)

    def silence(self, outcome: SendOutcome) -> Answer:
        """Returns what no answer means. To a sabotage it means something else."""
        return Answer(outcome=outcome)

    def die(self, number: int) -> None:
        """A sender is gone, and nobody tells the book."""
        del self.senders[number]

    def _end(self, sender: Sender, answer: Answer, *, wait_s: float, times: int = 1) -> None:
        del self.senders[sender.number]
        end = EndSend(
            operator=sender.delivery.operator,
            kind=sender.delivery.kind,
            reference=sender.delivery.reference,
            attempt=sender.send.attempt,
            outcome=answer.outcome,
            code=answer.code,
            detail=answer.detail,
            transaction_id=answer.transaction_id,
            took_ms=1,
            wait_s=wait_s,
            parked_wait_s=PARKED_WAIT_S,
        )
        for _ in range(times):
            self.book.submit(end)

    # how it ends well

    def deliver(self, delivery: Delivery) -> None:
        """Sends as on a good day."""
        if self.take(delivery):
            self.arrive(-1)
            self.hear(-1)

    def deliver_what_is_due(self) -> None:
        due = self.due()
        for delivery in due:
            self.deliver(delivery)

    def deliver_stragglers(self) -> None:
        while self.calls:
            self.arrive(0)
        while self.answers:
            self.hear(0)

    def settle(self) -> None:
        """Sends, on good days only, until no wallet owes an answer but those that want a person."""
        self.be_busy(busy=False)
        for _ in range(MOST_STEPS):
            self.deliver_what_is_due()
            waiting = [each.due_at for each in self.undelivered() if each.state != "refused"]
            if not waiting:
                return
            assert all(waiting), "nobody would ever send it again"
            wait = datetime.fromisoformat(min(filter(None, waiting))) - self.clock()
            self.clock.go(max(0, wait.total_seconds()))
        raise AssertionError(f"still undelivered: {self.undelivered()}")

    def undelivered(self) -> list[Delivery]:
        return self.book.undelivered(limit=EVERYTHING)

    def refused(self) -> list[Delivery]:
        return [each for each in self.undelivered() if each.state == "refused"]

    # what both books hold

    def operator_events(self) -> list[Any]:
        return _events(self.wallet.book.store, operator_book.MAPPER)

    def provider_events(self) -> list[Any]:
        return _events(self.book.store, provider_book.MAPPER)

    def reconcile(self) -> list[Difference]:
        found = reconcile(operator=self.operator_events(), provider=self.provider_events())
        return found.differences

    def check_tables(self) -> None:
        """The tables of both books are what their events make of them."""
        ours, theirs = self.wallet.book.store, self.book.store
        assert differences(ours, operator_book.MAPPER) == []
        assert differences(theirs, provider_book.MAPPER) == []
        records = ours.records(after=0, limit=EVERYTHING)
        for table, rows in auditor.derive(records).items():
            assert [tuple(row) for row in ours.rows(table)] == rows
        for store in (ours, theirs):
            records = store.records(after=0, limit=EVERYTHING)
            assert [record.hash for record in records] == auditor.chain(records)


def _events(store: Store, mapper: Any) -> list[Any]:
    return [mapper.decode(r.topic, r.state) for r in store.records(after=0, limit=EVERYTHING)]


# how an answer is spoilt on its way: what is left of it says nothing


def is_html(reply: Reply) -> Reply:
    return Reply(200, "text/html", b"<!doctype html><title>200 OK</title>")


def is_500(reply: Reply) -> Reply:
    return replace(reply, status=500)


def is_401(reply: Reply) -> Reply:
    return replace(reply, status=401)


def is_cut(reply: Reply) -> Reply:
    return replace(reply, body=reply.body.rstrip()[:-1])


def has_no_error(reply: Reply) -> Reply:
    return _with(reply, error=None)


def has_an_error_of_another_type(reply: Reply) -> Reply:
    error = json.loads(reply.body)["error"]
    return _with(reply, error=int(error) if isinstance(error, str) else str(error))


def is_about_something_else(reply: Reply) -> Reply:
    """Stays what it is where it names neither currency nor reference, or refuses."""
    said = json.loads(reply.body)
    return _with(reply, **{key: "XTS" for key in ("currency", "reference") if key in said})


def _with(reply: Reply, **changed: Any) -> Reply:
    said = {**json.loads(reply.body), **changed}
    kept = {key: value for key, value in said.items() if value is not None}
    return replace(reply, body=json.dumps(kept).encode())


SPOILT = (
    is_html,
    is_500,
    is_401,
    is_cut,
    has_no_error,
    has_an_error_of_another_type,
    is_about_something_else,
)


# what happened, told from the stored text alone


class Told:
    """Follows one book's events."""

    def __init__(self) -> None:
        self._position = 0

    def follow(self, store: Store) -> None:
        for record in store.records(after=self._position, limit=EVERYTHING):
            self._position = record.id
            self.happens(record.topic, json.loads(record.state))

    def happens(self, topic: str, body: Any) -> None:
        raise NotImplementedError


class OperatorsModel(Told):
    """Purses by player, stakes by provider and reference, from amounts only."""

    def __init__(self) -> None:
        super().__init__()
        self.cash: dict[str, int] = {}
        self.stakes: dict[Key, int] = {}
        self.given_back: set[Key] = set()
        self.paid: set[Key] = set()
        self.ended: set[Key] = set()
        self.cancelled: set[Key] = set()
        self.net: Counter[Key] = Counter()
        self.round_of: dict[Key, Key] = {}

    @property
    def open_stakes(self) -> Counter[Key]:
        """Returns by round what was taken and not given back."""
        found: Counter[Key] = Counter()
        for bet, stake in self.stakes.items():
            if bet not in self.given_back:
                found[self.round_of[bet]] += stake
        return found

    def happens(self, topic: str, body: Any) -> None:
        place = (body.get("provider"), body.get("round"))
        key = (body.get("provider"), body.get("reference"))
        match topic:
            case "WalletOpened":
                self.cash[body["user"]] = 0
            case "DepositMade":
                self.cash[body["user"]] += body["amount"]
            case "WithdrawalMade":
                self.cash[body["user"]] -= body["amount"]
            case "BetPlaced":
                assert key not in self.stakes
                self.stakes[key], self.round_of[key] = body["amount"], place
                self._move(body, place, -body["amount"])
            case "BetCancelled" | "BetRefunded":
                assert key not in self.given_back
                assert (body["amount"], place) == (self.stakes[key], self.round_of[key])
                self.given_back.add(key)
                self._move(body, place, body["amount"])
            case "ResultRecorded":
                assert key not in self.paid
                self.paid.add(key)
                self._move(body, place, body["amount"])
            case "RoundEnded":
                self.ended.add(place)
            case "RoundCancelled":
                self.cancelled.add(place)

    def _move(self, body: Any, place: Key, change: int) -> None:
        self.cash[body["user"]] += change
        self.net[place] += change


class ProvidersModel(Told):
    """Bets by operator and reference, and what the wallets confirmed of them."""

    def __init__(self) -> None:
        super().__init__()
        self.bets: dict[Key, str] = {}
        self.accepted_at: dict[Key, str] = {}
        self.amounts: dict[Key, int] = {}
        self.paid: set[Key] = set()
        self.ended: set[Key] = set()
        self.decided: set[Key] = set()
        self.cancelled: set[Key] = set()
        self.net: Counter[Key] = Counter()
        self.under_way: dict[tuple[str, str, str], str] = {}
        self.open_rounds: set[Key] = set()
        self.round_of: dict[Key, Key] = {}

    @property
    def rounds_with_a_stake(self) -> set[Key]:
        """Returns the rounds that can have a result."""
        staked = {self.round_of[bet] for bet, stands in self.bets.items() if stands == "accepted"}
        return staked & self.open_rounds

    def happens(self, topic: str, body: Any) -> None:
        place = (body.get("operator"), body.get("round"))
        key = (body.get("operator"), body.get("reference"))
        match topic:
            case "SendStarted":
                sending = (body["operator"], body["kind"], body["reference"])
                assert self.under_way.get(sending, "") <= body["recorded_at"], "two live leases"
                self.under_way[sending] = body["until"]
            case "SendEnded":
                self.under_way.pop((body["operator"], body["kind"], body["reference"]), None)
            case "BetRequested":
                assert key not in self.bets
                self.bets[key], self.amounts[key] = "requested", body["amount"]
                self.open_rounds.add(place)
                self.round_of[key] = place
            case "BetAccepted":
                assert self.bets[key] == "requested"
                self.bets[key], self.accepted_at[key] = "accepted", body["recorded_at"]
                self.net[place] -= self.amounts[key]
            case "BetDeclined":
                assert self.bets[key] == "requested"
                self.bets[key] = "declined"
            case "BetGivenUp":
                assert self.bets[key] == "requested"
                self.bets[key] = "given up"
            case "CancelConfirmed":
                assert self.bets[key] == "given up"
                self.bets[key] = "cancelled"
            case "RefundRequested":
                assert self.bets[key] == "accepted"
                assert place not in self.decided
                if body["by"] == "retention":
                    assert later(self.accepted_at[key], seconds=RETENTION_S) <= body["recorded_at"]
                self.bets[key] = "refunding"
            case "RefundConfirmed":
                assert self.bets[key] == "refunding"
                self.bets[key] = "refunded"
                self.net[place] += self.amounts[key]
            case "ResultRequested":
                self.decided.add(place)
            case "ResultConfirmed":
                assert key not in self.paid
                self.paid.add(key)
                self.net[place] += body.get("amount", 0)
            case "RoundEnded":
                self.decided.add(place)
                self.open_rounds.discard(place)
            case "EndConfirmed":
                self.ended.add(place)
            case "RoundCancelled":
                self.cancelled.add(place)
                self.open_rounds.discard(place)

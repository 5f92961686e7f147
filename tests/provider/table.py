import json
from collections import Counter, defaultdict
from contextlib import ExitStack

import pytest
from msgspec.structs import replace

from ledger.operator import book as operator_book
from ledger.operator import events as operator_events
from ledger.provider import courier as couriers
from ledger.provider import events
from ledger.provider.book import MAPPER, Book
from ledger.provider.courier import Courier
from ledger.provider.house import House
from ledger.provider.wire import Remote
from ledger.rebuild import differences
from ledger.store import open_store
from projections.provider import IN_TRANSACTION
from projections.reconcile import reconcile
from tests import controls
from tests.http import wire
from tests.http.server import until
from tests.provider import examples
from tests.provider.crooked import CrookedWallet, after, honest, status, via
from tests.provider.examples import EVERYTHING, KY, LM

LOGINS = (LM, KY)
TOKENS = {LM: "lm-token", KY: "kyren-token"}

POLL_S, PARKED_RETRY_S = 0.01, 0.05
BACKOFF_S, LONGEST_BACKOFF_S = 0.01, 0.02
PATIENT_S = 5.0

ROUND, BET, RESULT = controls.ROUND, controls.REFERENCE, controls.RESULT_REFERENCE

# a cancel is of a bet that was given up, unanswered: the wallet took it, or it did not
KINDS = ("bet", "result", "end", "cancel", "cancel-untaken", "refund")

WORDS = {
    "bet": "Bet",
    "result": "Result",
    "end": "EndRound",
    "cancel": "Cancel",
    "refund": "Cancel",
}
REFERENCES = {"bet": BET, "result": RESULT, "end": ROUND, "cancel": BET, "refund": BET}


def kind_of(kind):
    return kind.partition("-")[0]


def new_house(**terms):
    return House(operators={o.id: replace(o, **terms) for o in examples.OPERATORS.values()})


def new_remote(login, url, **settings):
    known = {
        "member": "acme",
        "token": TOKENS[login],
        "allow_private": True,
        "timeout_s": PATIENT_S,
        "backoff_s": BACKOFF_S,
        "parked_retry_s": PARKED_RETRY_S,
    }
    return Remote(url=url, **(known | settings))


class Table:
    """A player at the operators' real service, crooked wallets before it, and the provider's book."""

    def __init__(self, folder, login=LM, *, terms=None, delivers=True, hosts=None, **remote):
        self.login, self.defects = login, []
        self.store_url = f"sqlite:///{folder}/provider.db"
        self._service_url = f"sqlite:///{folder}/operator.db"
        self._house, self._remote, self._delivers = new_house(**(terms or {})), remote, delivers
        self._shut, self._couriers, self._hosts = set(), [], hosts or {}

    def __enter__(self):
        with ExitStack() as stack:
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            patch.setattr(couriers, "POLL_S", POLL_S)
            patch.setattr(couriers, "LONGEST_BACKOFF_S", LONGEST_BACKOFF_S)
            self.service = wire.Service(wire.new_settings(store=self._service_url))
            stack.callback(self.service.close)
            self.service.fund()
            self.wallets = {
                login: stack.enter_context(CrookedWallet(via(self.service))) for login in LOGINS
            }
            self._books = stack.enter_context(ExitStack())
            self.book = self.open_book()
            stack.callback(self.stop)
            if self._delivers:
                self.start()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *failure):
        self._stack.__exit__(*failure)
        if failure == (None, None, None):
            assert self.defects == []

    @property
    def wallet(self):
        return self.wallets[self.login]

    def url_of(self, login):
        return self.wallets[login].url.replace("127.0.0.1", self._hosts.get(login, "127.0.0.1"))

    def open_book(self, house=None):
        store = open_store(self.store_url, IN_TRANSACTION)
        book = Book(store, house or self._house, on_defect=self.defects.append)
        self._books.callback(book.close)
        return book

    def start(self, book=None, worker="one", on_stuck=lambda *_: None, **remote):
        settings = self._remote | remote
        remotes = {login: new_remote(login, self.url_of(login), **settings) for login in LOGINS}
        courier = Courier(
            book or self.book,
            remotes,
            worker=worker,
            on_stuck=on_stuck,
            on_defect=self.defects.append,
        )
        courier.start()
        self._couriers.append(courier)

    def stop(self):
        # what hangs is reset first: a courier that stops waits for what is under way
        for login in LOGINS:
            self.shut(login)
        while self._couriers:
            self._couriers.pop().stop()

    # what the game asks

    def bet(self, reference=BET, round_id=ROUND, login=None):
        login = login or self.login
        self._submit(examples.place_bet(reference=reference, round_id=round_id, operator=login))

    def result(self, reference=RESULT, round_id=ROUND, login=None):
        login = login or self.login
        self._submit(examples.report_result(reference=reference, round_id=round_id, operator=login))

    def end(self, round_id=ROUND, login=None):
        self._submit(examples.end_round(round_id=round_id, operator=login or self.login))

    def cancel(self, round_id=ROUND, login=None):
        self._submit(examples.cancel_round(round_id=round_id, operator=login or self.login))

    def retry(self, kind, reference):
        self._submit(examples.retry(kind, reference, operator=self.login))

    def _submit(self, command):
        self.book.submit(command)
        for courier in self._couriers:
            courier.wake(command.operator)

    def prepare(self, kind):
        """Brings the game to where `ask` makes the wallet be owed a call of this kind."""
        if kind in ("result", "end", "refund"):
            self.bet()
            self.settle()
        if kind == "end":
            self.result()
            self.settle()

    def ask(self, kind):
        match kind:
            case "bet":
                self.bet()
            case "result":
                self.result()
            case "end":
                self.end()
            case "refund":
                self.cancel()
            case "cancel" | "cancel-untaken":
                unanswered = status(500)
                spoilt = after(unanswered) if kind == "cancel" else unanswered
                sends = self._house.operators[self.login].most_sends("bet")
                self.wallet.on("Bet", *[spoilt] * sends)
                self.bet()

    def play(self, kind, *behaviours):
        """Lets the wallet behave so to the calls of this kind, one after the other."""
        self.prepare(kind)
        self.wallet.on(WORDS[kind_of(kind)], *behaviours)
        self.ask(kind)

    # how it ends

    def shut(self, login=None):
        login = login or self.login
        if login not in self._shut:
            self._shut.add(login)
            self.wallets[login].shut()

    def heal(self):
        for login in LOGINS:
            self.wallets[login].always(honest)
            if login in self._shut:
                self._shut.remove(login)
                self.wallets[login].open_again()

    def undelivered(self):
        return self.book.undelivered(limit=EVERYTHING)

    def settle(self):
        self.heal()
        until(
            lambda: all(delivery.state == "refused" for delivery in self.undelivered()),
            "what the wallets are owed is delivered",
        )

    def reconcile(self):
        return reconcile(operator=self.operator_events(), provider=self.events()).differences

    # what both books hold

    def records(self):
        return self.book.store.records(after=0, limit=EVERYTHING)

    def events(self):
        return [MAPPER.decode(r.topic, r.state) for r in self.records()]

    def operator_events(self):
        records = self.service.book.store.records(after=0, limit=EVERYTHING)
        return [operator_book.MAPPER.decode(r.topic, r.state) for r in records]

    def of(self, *types):
        return [event for event in self.events() if isinstance(event, types)]

    def starts(self, kind, reference=None):
        return self._sends(events.SendStarted, kind, reference)

    def ends(self, kind, reference=None):
        return self._sends(events.SendEnded, kind, reference)

    def _sends(self, type_, kind, reference):
        named = (self.login, kind_of(kind), reference or REFERENCES[kind_of(kind)])
        return [e for e in self.of(type_) if (e.operator, e.kind, e.reference) == named]

    # what must hold after every scenario

    def check(self, killed=()):
        """Both books say the same, and the provider's says what was on the wire and in the wallet."""
        found = self.events()
        assert self.reconcile() == []
        assert differences(self.book.store, MAPPER) == []
        examples.agree(self.book)
        check_sends(found, killed)
        check_bursts(found, self._house)
        check_once(self.operator_events())
        self._check_bodies(found)
        self._check_cash(found)

    def _check_bodies(self, found):
        calls = {}
        for event in found:
            if isinstance(event, events.Requested):
                calls[json.loads(event.call.body)["uuid"]] = event
        received = defaultdict(list)
        for login, wallet in self.wallets.items():
            for call in wallet.calls:
                received[json.loads(call.body)["uuid"]].append((login, call))
        for uuid, sends in received.items():
            event = calls[uuid]
            asked = f"{event.call.path}?MEMB_ID=acme&HASH={TOKENS[event.operator]}"
            same = (event.operator, asked, event.call.body.encode())
            assert {(login, call.path, call.body) for login, call in sends} == {same}
            assert len(sends) <= len(_sends_of(found, event))

    def _check_cash(self, found):
        moved = 0
        for event in found:
            match event:
                case events.BetAccepted():
                    moved -= event.amount
                case events.RefundConfirmed() | events.ResultConfirmed():
                    moved += event.amount
        assert _cents(self.service.cash()) == _cents(wire.OPENING_CASH) + moved


def _cents(cash):
    return int(cash.replace(".", ""))


KIND_OF_REQUEST = {
    events.BetRequested: "bet",
    events.ResultRequested: "result",
    events.EndRequested: "end",
    events.CancelRequested: "cancel",
    events.RefundRequested: "refund",
}


def delivery_of(event):
    """Returns which delivery an event is about, as far as its sends and bursts go."""
    if isinstance(event, events.BetGivenUp):
        return event.operator, "bet", event.reference
    if isinstance(event, events.SendEvent | events.DeliveryEvent):
        return event.operator, event.kind, event.reference
    return None


def _sends_of(found, request):
    key = (request.operator, KIND_OF_REQUEST[type(request)], request.reference)
    return [e for e in found if isinstance(e, events.SendStarted) and delivery_of(e) == key]


def check_sends(found, killed=()):
    """Every send is ended before its delivery's next one starts; a killed worker's, by its time."""
    under_way, attempts = {}, Counter()
    for event in found:
        key = delivery_of(event)
        match event:
            case events.SendStarted():
                last = under_way.get(key)
                assert last is None or (last.worker in killed and last.until <= event.recorded_at)
                attempts[key] += 1
                assert event.attempt == attempts[key]
                under_way[key] = event
            case events.SendEnded():
                assert under_way.pop(key).attempt == event.attempt
    assert {last.worker for last in under_way.values()} <= set(killed)


def check_bursts(found, house):
    """A burst has as many sends as it may, and what follows it is parked or given up.

    A bet is given up before, where the wallet refused it after a send that brought no answer.
    """
    sends, ended, over = Counter(), defaultdict(list), set()
    for event in found:
        key = delivery_of(event)
        match event:
            case events.SendStarted() if key not in over:
                sends[key] += 1
                assert sends[key] <= house.operators[event.operator].most_sends(event.kind)
            case events.SendEnded():
                ended[key].append(event)
            case events.DeliveryParked() | events.BetGivenUp():
                assert key not in over
                assert sends[key] == house.operators[event.operator].most_sends(
                    key[1]
                ) or is_doubtful(ended[key])
                over.add(key)
            case events.DeliveryRetried():
                sends[key] = 0
                over.discard(key)


def is_doubtful(ended):
    *before, last = ended
    return (
        last.kind == "bet"
        and last.code not in (None, 0, 998)
        and any(send.outcome != "answered" for send in before)
    )


def check_once(found):
    """Each reference takes, pays and gives back once at most."""
    moved = Counter(
        (type_.__name__, event.provider, event.reference)
        for event in found
        for type_ in (
            operator_events.BetPlaced,
            operator_events.ResultRecorded,
            operator_events.BetReversed,
            operator_events.TombstoneRecorded,
        )
        if isinstance(event, type_)
    )
    assert [key for key, times in moved.items() if times > 1] == []

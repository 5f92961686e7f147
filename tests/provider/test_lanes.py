import asyncio
import socket
import threading
from contextlib import ExitStack, closing, contextmanager
from itertools import dropwhile, takewhile

import httpcore
import pytest

from ledger.provider import wire
from ledger.provider.answers import Answer, Reply
from ledger.provider.book import Book
from ledger.provider.commands import EndSend, StartSend
from ledger.provider.courier import Courier
from ledger.provider.delivery import STUCK
from ledger.provider.events import (
    BetAccepted,
    BetDeclined,
    BetGivenUp,
    BetRequested,
    Call,
    DeliveryRefused,
    RefundConfirmed,
    SendEnded,
    SendStarted,
)
from ledger.refusals import Busy, OutcomeUnknown
from tests import controls
from tests.http.server import PATIENCE_S, until
from tests.provider import examples
from tests.provider.crooked import CrookedWallet, after, answer, code, hang, honest, status
from tests.provider.table import BET, KY, LM, LOGINS, PATIENT_S, Table, new_remote

FEW, MANY, ENOUGH, MOST_ASKED = 5, 20, 40, 200
NEVER_S = 60.0

each_operator = pytest.mark.parametrize("login", LOGINS)


def other(login):
    return KY if login == LM else LM


def at(table, login, *types):
    return [event for event in table.of(*types) if event.operator == login]


def place_many(table, *logins, bets=MANY):
    for login in logins:
        for number in range(bets):
            table.bet(f"bet-{number}", f"round-{number}", login)


def cancel_many(table, login):
    for number in range(MANY):
        table.cancel(f"round-{number}", login)


# lanes


@each_operator
def test_a_hanging_wallet_does_not_delay_another_operators_refunds(tmp_path, login):
    with Table(tmp_path, login, timeout_s=NEVER_S) as table:
        place_many(table, *LOGINS)
        table.settle()
        table.wallet.always(hang)
        cancel_many(table, login)
        until(lambda: len(table.wallet.calls) >= MANY + 8, "the lane is full of what hangs")
        cancel_many(table, other(login))
        until(
            lambda: len(at(table, other(login), RefundConfirmed)) == MANY,
            "the other operator's refunds are confirmed",
        )

        assert at(table, login, RefundConfirmed) == []
        hanging = [e for e in at(table, login, SendStarted) if e.kind == "refund"]
        assert len(hanging) == 8
        assert [e for e in at(table, login, SendEnded) if e.kind == "refund"] == []

        table.shut()
        table.settle()
        assert len(table.of(RefundConfirmed)) == 2 * MANY
        table.check()


@each_operator
def test_one_lane_sends_no_more_at_once_than_its_wallet_bears(tmp_path, login):
    with Table(tmp_path, login, timeout_s=NEVER_S, concurrency=3) as table:
        for number in range(MANY):
            table.bet(f"bet-{number}")
        table.settle()
        table.wallet.always(hang)
        table.bet(BET, "another-round")
        until(lambda: len(table.wallet.bodies("Bet")) > MANY, "a bet hangs")
        table.cancel()
        place_many(table, other(login))
        until(lambda: len(at(table, other(login), BetAccepted)) == MANY, "the other lane is done")

        ended = at(table, login, SendEnded)
        assert len(at(table, login, SendStarted)) == len(ended) + 3
        table.shut()
        table.settle()
        table.check()


@each_operator
def test_sends_that_ran_out_of_time_leave_room_for_the_next(tmp_path, login):
    with Table(tmp_path, login, timeout_s=0.1, concurrency=2) as table:
        place_many(table, login, bets=4)
        table.settle()
        table.wallet.on("Cancel", *[after(hang)] * 8)
        for number in range(4):
            table.cancel(f"round-{number}")
        table.settle()

        assert sum(e.outcome == "timeout" for e in table.of(SendEnded)) >= 8
        table.check()


@each_operator
def test_a_wallet_that_is_gone_does_not_delay_another_operators_bets(tmp_path, login):
    with Table(tmp_path, login) as table:
        table.shut()
        place_many(table, login)
        until(lambda: at(table, login, SendEnded), "nobody is there")
        place_many(table, other(login))
        until(lambda: len(at(table, other(login), BetAccepted)) == MANY, "the other lane is done")

        assert at(table, login, BetAccepted) == []
        table.settle()
        table.check()


def only(word, behaviour):
    return lambda call: (behaviour if f"/{word}?" in call.path else honest)(call)


def sends_before(table, reference):
    """Returns how many other sends began between a bet was asked for and it was sent."""
    behind = dropwhile(lambda event: not is_of(event, BetRequested, reference), table.events())
    between = takewhile(lambda event: not is_of(event, SendStarted, reference), behind)
    return sum(isinstance(event, SendStarted) for event in between)


def is_of(event, type_, reference):
    return isinstance(event, type_) and event.reference == reference


@each_operator
def test_a_bet_does_not_wait_behind_refunds_that_hang(tmp_path, login):
    with Table(tmp_path, login, timeout_s=0.2, concurrency=2) as table:
        place_many(table, login)
        table.settle()
        table.wallet.always(only("Cancel", hang))
        cancel_many(table, login)
        until(lambda: len(at(table, login, SendEnded)) > MANY, "refunds hang")
        table.bet()
        until(lambda: len(at(table, login, BetAccepted)) > MANY, "the bet is taken")

        assert sends_before(table, BET) <= FEW
        table.settle()
        table.check()


@each_operator
def test_a_refund_does_not_wait_behind_bets_that_hang(tmp_path, login):
    with Table(tmp_path, login, timeout_s=0.2, concurrency=4) as table:
        table.bet()
        table.settle()
        table.wallet.always(only("Bet", hang))
        place_many(table, login)
        until(lambda: len(at(table, login, SendEnded)) > 1, "bets hang")
        table.cancel()
        until(lambda: at(table, login, RefundConfirmed), "the refund is confirmed")

        assert at(table, login, BetGivenUp) == []
        table.settle()
        table.check()


def test_a_lane_goes_on_after_a_defect_that_nobody_foresaw(tmp_path, monkeypatch):
    due, defects = Book.due, [RuntimeError("a defect")]

    def fails_once(book, operator, *, limit):
        if operator == LM and defects:
            raise defects.pop()
        return due(book, operator, limit=limit)

    monkeypatch.setattr(Book, "due", fails_once)
    with Table(tmp_path) as table:
        until(lambda: not defects, "the lane meets the defect")
        table.bet(BET, login=KY)
        table.settle()
        table.bet()
        until(lambda: at(table, LM, BetAccepted), "the lane delivers")
        assert [str(defect) for defect in table.defects] == ["a defect"]
        table.defects.clear()


def test_a_courier_that_is_woken_while_it_stops_ends(tmp_path):
    with Table(tmp_path, delivers=False) as table:
        remotes = {login: new_remote(login, table.url_of(login)) for login in LOGINS}
        for _ in range(MANY):
            courier = Courier(table.book, remotes, worker="one")
            courier.start()
            stopping = threading.Thread(target=wake_and_stop, args=(courier,), daemon=True)
            stopping.start()
            stopping.join(PATIENT_S)

            assert not stopping.is_alive()


def test_who_finds_that_the_last_sender_of_a_refund_died_tells_that_it_is_parked(tmp_path):
    clock, told = examples.Clock(), []
    with closing(examples.new_book(f"sqlite:///{tmp_path}/book.db", now=clock)) as book:
        examples.accepted_bet(book)
        book.submit(examples.cancel_round())
        for _ in range(examples.BET_SENDS):
            assert book.submit(examples.start_send("refund", controls.REFERENCE)).send
            clock.go(examples.LEASE_S)
        remotes = {LM: new_remote(LM, "http://127.0.0.1:1")}
        courier = Courier(book, remotes, worker="two", on_stuck=lambda *stuck: told.append(stuck))
        courier.start()
        try:
            until(lambda: told, "it is told")
        finally:
            courier.stop()
        ((delivery, answer),) = told
        assert (delivery.reference, delivery.state) == (controls.REFERENCE, "parked")
        assert (answer.outcome, answer.code) == ("timeout", None)
        assert "last sender" in answer.detail


@pytest.mark.parametrize(
    ("behaviour", "state", "code"), [(code(999), "refused", 999), (status(500), "parked", None)]
)
def test_a_delivery_is_told_of_once_though_the_book_does_not_say_that_its_end_is_recorded(
    tmp_path, monkeypatch, behaviour, state, code
):
    submit, lost, told = Book.submit, [], []

    def loses_its_answer(book, command):
        outcome = submit(book, command)
        if isinstance(command, EndSend) and outcome.state in STUCK and not lost:
            lost.append(command)
            raise OutcomeUnknown("the store did not answer")
        return outcome

    monkeypatch.setattr(Book, "submit", loses_its_answer)
    with Table(tmp_path, terms={"retries": 0}, delivers=False) as table:
        table.start(on_stuck=lambda *stuck: told.append(stuck))
        table.prepare("refund")
        table.wallet.always(behaviour)
        table.ask("refund")
        until(lambda: lost and told, "it is told")
        until(lambda: state == "refused" or len(table.ends("refund")) > 3, "it is tried slowly")
        table.defects.clear()

    ((delivery, answer),) = told
    assert (delivery.reference, delivery.state, answer.code) == (BET, state, code)


def wake_and_stop(courier):
    for login in LOGINS:
        courier.wake(login)
    courier.stop()


def test_a_store_that_takes_no_writes_is_not_asked_without_pause(tmp_path, monkeypatch):
    submit, refused = Book.submit, []

    def refuses(book, command):
        if isinstance(command, StartSend) and command.operator == LM:
            refused.append(command)
            raise Busy("too many commands are waiting")
        return submit(book, command)

    with Table(tmp_path) as table:
        monkeypatch.setattr(Book, "submit", refuses)
        table.bet()
        until(lambda: refused, "the store refuses")
        place_many(table, KY, bets=3 * MANY)
        until(lambda: len(at(table, KY, BetAccepted)) == 3 * MANY, "the other lane is done")
        asked = len(refused)
        monkeypatch.setattr(Book, "submit", submit)
        table.settle()
        table.defects.clear()

        assert asked <= MOST_ASKED


def test_a_name_that_nobody_answers_for_does_not_delay_another_operators_bets(
    tmp_path, monkeypatch
):
    resolve, over, hosts = (
        socket.getaddrinfo,
        threading.Event(),
        {LM: "slow.test", KY: "quick.test"},
    )

    def getaddrinfo(host, *given, **named):
        if host == hosts[LM]:
            over.wait(2 * PATIENCE_S)
        return resolve("127.0.0.1" if host in hosts.values() else host, *given, **named)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    terms = {"retries": 50}
    with Table(tmp_path, hosts=hosts, timeout_s=0.1, terms=terms) as table, ExitStack() as stack:
        stack.callback(over.set)
        place_many(table, LM)
        until(lambda: len(at(table, LM, SendEnded)) >= ENOUGH, "the name is asked for in vain")
        table.bet(BET, login=KY)
        until(lambda: at(table, KY, BetAccepted), "the other lane delivers")

        assert at(table, LM, BetAccepted) == []
        over.set()
        table.settle()
        table.check()


# where a wallet may be


SAID = {"error": 0, "currency": "USD", "cash": "1.00", "transactionId": "t-1"}
CALL = Call(path="/V4/Bet", body="{}")
REFUSED = "the wallet's address is private or link-local; allow_private = true allows it"

PUBLIC = ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "2002:808:808::1"]
NOT_PUBLIC = [
    *("127.0.0.1", "127.8.8.8", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255"),
    *("192.168.0.1", "169.254.169.254", "100.64.0.1", "198.18.0.1", "192.0.2.1", "224.0.0.1"),
    *("239.255.255.255", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0.0.0.0"),
    *("2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:c0a8:1::1"),
    *("fec0::1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1", "::127.0.0.1"),
]


@pytest.mark.parametrize("address", PUBLIC)
def test_what_the_whole_internet_reaches_is_public(address):
    assert wire.is_public(address)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_what_only_some_reach_is_not_public(address):
    assert not wire.is_public(address)


def sent(url, **settings):
    remote = new_remote(LM, url, timeout_s=1.0, **settings)

    async def send():
        line = wire.Wire(remote)
        try:
            return await line.send(CALL)
        finally:
            await line.close()

    return asyncio.run(send())


@contextmanager
def listening():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        yield listener, listener.getsockname()[1]


def nobody_connected(listener):
    try:
        listener.accept()[0].close()
    except BlockingIOError:
        return True
    return False


NAMED = "wallet.test"


@pytest.fixture
def leads_to(monkeypatch):
    resolve = socket.getaddrinfo

    def lead_to(*addresses):
        def getaddrinfo(host, port, *given, **named):
            if host != NAMED:
                return resolve(host, port, *given, **named)
            return [(socket.AF_UNSPEC, socket.SOCK_STREAM, 6, "", (a, port)) for a in addresses]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    return lead_to


@pytest.fixture
def connected(monkeypatch):
    found = []

    async def connect_tcp(_backend, host, *_):
        found.append(host)
        raise httpcore.ConnectError("refused")

    monkeypatch.setattr("httpcore.AnyIOBackend.connect_tcp", connect_tcp)
    return found


HERE = [
    "127.0.0.1",
    "127.0.0.2",
    "0.0.0.0",
    "localhost",
    "[::ffff:127.0.0.1]",
    "2130706433",
    "0x7f.1",
]


@pytest.mark.parametrize("host", HERE)
def test_a_wallet_on_this_machine_is_refused_and_nothing_connects(host):
    with listening() as (listener, port):
        found = sent(f"http://{host}:{port}", allow_private=False)

        assert found == Answer(outcome="unreachable", detail=REFUSED)
        assert nobody_connected(listener)


@pytest.mark.parametrize(
    "host",
    [
        *("10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "[::1]", "[::]"),
        *("[fe80::1]", "[fd00::1]", "[::ffff:10.0.0.1]", "[::ffff:169.254.169.254]"),
    ],
)
def test_a_wallet_on_a_private_network_is_refused_before_it_is_connected_to(host, connected):
    found = sent(f"http://{host}:9", allow_private=False)

    assert found == Answer(outcome="unreachable", detail=REFUSED)
    assert connected == []


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost"])
def test_a_wallet_on_this_machine_is_called_where_that_is_allowed(host):
    with CrookedWallet() as wallet:
        wallet.always(answer({"error": 0}))
        found = sent(wallet.url.replace("127.0.0.1", host), allow_private=True)

        assert found == Reply(200, "application/json", b'{"error": 0}')
        assert len(wallet.calls) == 1


def test_a_private_address_among_public_ones_is_not_connected_to(leads_to, connected):
    leads_to("10.0.0.1", "8.8.8.8", "127.0.0.1")

    assert sent(f"http://{NAMED}", allow_private=False).detail == "refused"
    assert connected == ["8.8.8.8"]


def test_a_name_is_asked_for_anew_at_every_connection(leads_to, connected):
    leads_to("8.8.8.8")
    assert sent(f"http://{NAMED}", allow_private=False).detail == "refused"

    leads_to("127.0.0.1")
    assert sent(f"http://{NAMED}", allow_private=False).detail == REFUSED
    assert connected == ["8.8.8.8"]


def test_a_name_that_nobody_knows_is_a_wallet_that_cannot_be_reached(monkeypatch):
    def getaddrinfo(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    detail = "the wallet's name is not known: Name or service not known"

    found = sent("http://wallet.example", allow_private=False)
    assert found == Answer(outcome="unreachable", detail=detail)


@pytest.mark.parametrize("host", ["wallet..example", f"{'a' * 64}.example"])
def test_a_name_that_is_none_is_a_wallet_that_cannot_be_reached(host):
    assert sent(f"http://{host}:9", allow_private=False).outcome == "unreachable"


@pytest.mark.parametrize("first", ["::1", "127.0.0.2"])
def test_a_wallet_is_reached_at_the_first_of_its_addresses_that_answers(leads_to, first):
    leads_to(first, "127.0.0.1")
    with CrookedWallet() as wallet:
        wallet.always(answer(SAID))

        assert isinstance(sent(wallet.url.replace("127.0.0.1", NAMED), allow_private=True), Reply)


def test_a_wallet_is_reached_though_nobody_says_a_word_at_the_first_of_its_addresses(leads_to):
    leads_to("127.0.0.2", "127.0.0.1")
    with CrookedWallet() as wallet, saying_nothing("127.0.0.2", wallet.url):
        wallet.always(answer(SAID))

        assert isinstance(sent(wallet.url.replace("127.0.0.1", NAMED), allow_private=True), Reply)


@contextmanager
def saying_nothing(address, url):
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((address, int(url.rpartition(":")[2])))
        listener.listen(0)
        for _ in range(3):  # as many as may wait there, so that nobody else is heard
            caller = stack.enter_context(socket.socket())
            caller.settimeout(0)
            caller.connect_ex(listener.getsockname())
        yield


# what must not be kept


TOKEN = "a token/with+signs="
IN_THE_QUERY = "a%20token%2Fwith%2Bsigns%3D"
ECHOES = {
    "as it is": f"wrong HASH {TOKEN} {TOKEN}",
    "as the query has it": f"wrong HASH {IN_THE_QUERY}",
    "at the cut": f"wrong HASH {TOKEN}".rjust(210, "."),
}


def kept(table):
    stored = b"".join(record.state for record in table.records()).decode()
    return {part for part in (TOKEN[:7], TOKEN[-7:], IN_THE_QUERY[-7:]) if part in stored}


@each_operator
@pytest.mark.parametrize("echo", ECHOES)
@pytest.mark.parametrize("number", [999, 998])
def test_the_token_is_in_no_event_even_where_the_wallet_echoes_it(tmp_path, login, number, echo):
    echoed = answer({"error": number, "description": ECHOES[echo]})
    with Table(tmp_path, login, token=TOKEN) as table:
        table.wallet.always(echoed)
        table.bet()
        until(lambda: table.of(BetDeclined, BetGivenUp), "the bet is refused")

        assert "wrong HASH" in table.ends("bet")[0].detail
        assert kept(table) == set()


@each_operator
def test_a_reversal_that_waits_for_a_person_does_not_show_the_token(tmp_path, login):
    number = "999" if login == LM else 999
    with Table(tmp_path, login, token=TOKEN) as table:
        table.wallet.on("Bet", answer(SAID))
        table.wallet.on("Cancel", answer({"error": number, "description": f"wrong HASH {TOKEN}"}))
        table.bet()
        until(lambda: table.of(BetAccepted), "the bet is taken")
        table.cancel()
        until(lambda: table.of(DeliveryRefused), "the refund is refused")

        assert [delivery.last_error for delivery in table.undelivered()] == ["wrong HASH ***"]
        assert kept(table) == set()


@each_operator
def test_a_transaction_id_that_is_the_token_is_not_kept(tmp_path, login):
    with Table(tmp_path, login, token=TOKEN) as table:
        table.wallet.on("Bet", *[answer({**SAID, "transactionId": TOKEN})] * 4)
        table.bet()
        until(lambda: table.ends("bet"), "the wallet has answered")

        assert kept(table) == set()


def test_the_token_is_sent_in_the_query_alone(tmp_path):
    with Table(tmp_path) as table:
        table.play("refund")
        table.settle()

        assert {call.path.partition("&")[2] for call in table.wallet.calls} == {"HASH=lm-token"}
        assert not [call for call in table.wallet.calls if b"lm-token" in call.body]
        assert not [record for record in table.records() if b"lm-token" in record.state]
        table.check()

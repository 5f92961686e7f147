import json
import subprocess
import sys
import threading
from collections import Counter
from contextlib import contextmanager

import msgspec
import pytest

from ledger.provider import courier as couriers
from ledger.provider import events
from ledger.provider.commands import EndSend
from tests.http.server import PATIENCE_S, until
from tests.http.wire import ROOT
from tests.provider import examples, sender
from tests.provider.crooked import (
    PULSE_S,
    after,
    code,
    honest,
    lost,
    reset,
    status,
    truncated,
    twice,
)
from tests.provider.table import (
    BET,
    KINDS,
    KY,
    LM,
    LOGINS,
    PATIENT_S,
    Table,
    check_once,
    check_sends,
    new_remote,
)

ROUNDS, FEW_AT_ONCE = 12, 2
LEASE_S = 0.5

each_kind = pytest.mark.parametrize("kind", KINDS)
each_operator = pytest.mark.parametrize("login", LOGINS)


class Watched:
    """Forwards a call after a while, or once the same call is under way twice; counts how often."""

    def __init__(self, seconds):
        self.most, self._pulses = Counter(), int(seconds / PULSE_S)
        self._under_way, self._lock = Counter(), threading.Lock()

    def __call__(self, call):
        uuid = json.loads(call.body)["uuid"]
        with self._lock:
            self._under_way[uuid] += 1
            self.most[uuid] = max(self.most[uuid], self._under_way[uuid])
        for _ in range(self._pulses):
            if self.most[uuid] == 1:
                call.wait(PULSE_S)
        call.forward()
        with self._lock:
            self._under_way[uuid] -= 1
        call.answer(call.text)


# two that live


def play_rounds(table):
    numbers = range(ROUNDS)
    for number in numbers:
        table.bet(f"bet-{number}", f"round-{number}")
    table.start()
    table.start(table.open_book(), worker="two")
    table.settle()
    for number in numbers:
        if number % 2:
            table.cancel(f"round-{number}")
        else:
            table.result(f"result-{number}", f"round-{number}")
    table.settle()
    for number in numbers[::2]:
        table.end(f"round-{number}")
    table.settle()


def workers(table):
    return {started.worker for started in table.of(events.SendStarted)}


@each_operator
def test_two_couriers_deliver_one_book_and_each_delivery_has_one_sender_at_a_time(tmp_path, login):
    spoilt = [lost, status(500), twice, reset, after(status(404)), code(998), truncated] * 3
    few = {"delivers": False, "concurrency": FEW_AT_ONCE}
    with Table(tmp_path, login, terms={"retries": 30}, **few) as table:
        table.wallet.next(*spoilt)
        play_rounds(table)

        assert workers(table) == {"one", "two"}
        assert len(table.wallet.calls) == len(table.of(events.SendStarted))
        assert len(table.of(events.Confirmed)) == len(table.of(events.Requested))
        table.check()


def test_two_couriers_never_send_the_same_call_at_once(tmp_path):
    watched = Watched(2 * PULSE_S)
    with Table(tmp_path, delivers=False, concurrency=FEW_AT_ONCE) as table:
        table.wallet.next(*[watched] * 3 * ROUNDS)
        play_rounds(table)

        assert workers(table) == {"one", "two"}
        assert set(watched.most.values()) == {1}
        table.check()


def test_without_a_lease_both_send_the_same_call_at_once_and_the_books_agree_all_the_same(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(couriers, "LEASE_MARGIN_S", -PATIENT_S)
    watched = Watched(PATIENT_S / 2)
    with Table(tmp_path, delivers=False) as table:
        table.wallet.next(*[watched] * 3 * ROUNDS)  # the second may begin late
        play_rounds(table)

        assert max(watched.most.values()) > 1
        with pytest.raises(AssertionError):
            check_sends(table.events())
        assert table.reconcile() == []
        check_once(table.operator_events())


def test_the_books_agree_where_a_bet_is_refused_to_one_sender_and_taken_from_the_other(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(couriers, "LEASE_MARGIN_S", -PATIENT_S)
    second_came = threading.Event()

    def outlives_its_lease(call):
        second_came.wait(PATIENT_S)
        code(55)(call)

    def comes_after_the_refusal(call):
        second_came.set()
        while len(table.wallet.calls) == 2 and not table.of(events.BetDeclined):
            call.wait(PULSE_S)
        honest(call)

    with Table(tmp_path) as table:
        table.start(table.open_book(), worker="two")
        table.wallet.on("Bet", outlives_its_lease, comes_after_the_refusal)
        table.bet()
        table.settle()
        answers = {"BetPlaced", "LateBetRefused"}
        until(lambda: answers.intersection(table.service.topics()), "the second bet is answered")
        table.settle()

        assert table.reconcile() == []


def test_an_answer_that_comes_after_its_bet_was_given_up_and_cancelled_changes_nothing(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(couriers, "LEASE_MARGIN_S", -PATIENT_S)
    told = []

    def answers_at_last(call):
        call.forward()
        while not table.of(events.RoundCancelled):
            call.wait(PULSE_S)
        call.answer(call.text)

    def submit(command):
        outcome = decide(command)
        if isinstance(command, EndSend) and command.kind == "bet":
            told.append(command)
        return outcome

    with Table(tmp_path, terms={"retries": 0}) as table:
        decide = table.book.submit
        monkeypatch.setattr(table.book, "submit", submit)
        table.wallet.on("Bet", answers_at_last)
        table.bet()
        until(lambda: table.wallet.calls, "the bet arrives")
        table.start(table.open_book(), worker="two")
        until(lambda: told, "the answer comes")
        table.settle()

        assert len(table.of(events.BetGivenUp)) == 1
        assert table.of(events.BetAccepted) == []
        assert told[0].code == 0
        assert table.reconcile() == []
        check_once(table.operator_events())


def test_a_sender_that_comes_back_does_not_tell_again_of_what_another_has_found_parked(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(couriers, "LEASE_MARGIN_S", -PATIENT_S)
    found, told = [], []

    def outlives_its_lease(call):
        take_over = examples.start_send("refund", BET, operator=LM, worker="two")
        until(lambda: found.append(table.book.submit(take_over)) or found[-1].recorded, "it is due")
        status(500)(call)

    with Table(tmp_path, LM, terms={"retries": 0}, delivers=False) as table:
        table.start(on_stuck=lambda *stuck: told.append(stuck))
        table.play("refund", outlives_its_lease)
        table.settle()

        assert found[-1].state == "parked"
        assert told == []


# one that is killed


class Held:
    """Takes a call, or leaves it, and does not answer."""

    def __init__(self, *, takes):
        self.arrived, self._takes = threading.Event(), takes

    def __call__(self, call):
        if self._takes:
            call.forward()
        self.arrived.set()
        call.wait()


@contextmanager
def sending(table, terms):
    errand = sender.Errand(
        store=table.store_url,
        login=table.login,
        remote=new_remote(table.login, table.wallet.url),
        terms=terms,
        poll_s=couriers.POLL_S,
        lease_margin_s=LEASE_S - PATIENT_S,
    )
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "tests.provider.sender"),
            msgspec.json.encode(errand).decode(),
        ],
        cwd=ROOT,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            yield process
        finally:
            process.kill()
            said = process.communicate()[1].decode()
    assert said == ""


def kill_the_sender(table, kind, held, terms):
    with sending(table, terms) as process:
        table.play(kind, held)
        assert held.arrived.wait(PATIENCE_S)
        process.kill()


@each_kind
@pytest.mark.parametrize("takes", [True, False], ids=["taken", "not taken"])
def test_another_courier_takes_over_from_one_that_was_killed_before_it_knew(tmp_path, kind, takes):
    with Table(tmp_path, LM, delivers=False) as table:
        kill_the_sender(table, kind, Held(takes=takes), {})
        table.start(worker="two")
        table.settle()

        assert [started.worker for started in table.starts(kind)] == [sender.WORKER, "two"]
        assert [ended.attempt for ended in table.ends(kind)] == [2]
        table.check(killed=[sender.WORKER])


@each_kind
def test_a_burst_whose_last_sender_was_killed_is_over(tmp_path, kind):
    terms = {"retries": 0, "result_retries": 0}
    with Table(tmp_path, KY, terms=terms, delivers=False) as table:
        kill_the_sender(table, kind, Held(takes=True), terms)
        table.start(worker="two")
        table.settle()

        over = events.BetGivenUp if kind == "bet" else events.DeliveryParked
        assert len(table.of(over)) == 1
        assert len(table.starts(kind)) == (1 if kind == "bet" else 2)
        table.check(killed=[sender.WORKER])

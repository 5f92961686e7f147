import json
import os
import shutil
import sys
import tempfile
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from msgspec.structs import replace

from ledger.operator import round as operator_round
from ledger.provider import delivery
from ledger.provider import round as provider_round
from ledger.provider.answers import Answer
from ledger.refusals import Refusal, Unsettled
from tests.provider.examples import (
    cancel_round,
    cancel_rounds,
    end_round,
    place_bet,
    report_result,
    retry,
)
from tests.provider.lossy import (
    LEASE_S,
    LOGINS,
    PROVIDERS,
    SPOILT,
    OperatorsModel,
    ProvidersModel,
    TwoBooks,
)

SOAK = os.environ.get("HYPOTHESIS_PROFILE") == "soak"

ANN, BOB = "ann", "bob"
OWNERS = {"r1": ANN, "r2": ANN, "r3": BOB}

WHICH = st.integers(0, 40)
LAST = -1
NOWHERE = [(LOGINS[0], "r1")]
PLACES = st.tuples(st.sampled_from(LOGINS), st.sampled_from(sorted(OWNERS)))
AMOUNTS = st.sampled_from(["10.00", "10.00", "0.01", "0", "60.00", "150.00"])
WAITS = st.sampled_from([0, 0, 5])
PLAYERS = st.sampled_from([ANN, BOB])
BETS = st.lists(st.tuples(PLACES, AMOUNTS), max_size=3)
WAYS = ["well", "twice", "the call is lost", "the call is late"]
WAYS += ["the answer is lost", "the answer is late"]
ENDS = ["timeout", "unreachable", "it dies", "it is silent"]
STRAGGLERS = st.sampled_from(["come first", "come last", "are lost"])


def one_of(found, which):
    return found[which % len(found)]


class BothBooks(RuleBasedStateMachine):
    books_of = TwoBooks
    on_disk = False

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="roundbook-"))
        urls = [f"sqlite:///{self.folder}/{name}.db" for name in ("operator", "provider")]
        self.books = self.books_of(*([urls] if self.on_disk else []))
        self.ours, self.theirs = OperatorsModel(), ProvidersModel()
        self.numbers = count(1)
        self.asked = []
        self.cancels = set()

    def number(self):
        return str(next(self.numbers))

    # how it begins

    @initialize(stragglers=STRAGGLERS, taken=BETS, asked=BETS, frozen=st.booleans())
    def players_come_and_bet(self, stragglers, taken, asked, frozen):
        self.stragglers = stragglers
        for player in (ANN, BOB):
            self.books.wallet.fund(player, "200.00")
        for place, amount in taken:
            self.a_bet_goes_well(place, amount)
        if frozen:
            self.turn(ANN, "freeze")
        for place, amount in asked:
            self.a_bet(place, amount)

    # what games and operators ask

    @rule(place=PLACES, amount=AMOUNTS)
    def a_bet_goes_well(self, place, amount):
        self.a_bet(place, amount)
        self.books.deliver_what_is_due()

    @rule(place=PLACES, amount=AMOUNTS)
    def a_bet(self, place, amount):
        login, round_id = place
        self.ask(
            place_bet(
                operator=login,
                round_id=round_id,
                user=OWNERS[round_id],
                reference=f"bet {self.number()}",
                amount=amount,
            )
        )

    @rule(which=WHICH, amount=AMOUNTS)
    def a_result(self, which, amount):
        login, round_id = one_of(sorted(self.theirs.rounds_with_a_stake) or NOWHERE, which)
        reference = f"win {self.number()}"
        self.ask(
            report_result(operator=login, round_id=round_id, reference=reference, amount=amount)
        )

    @rule(which=WHICH)
    def an_end(self, which):
        login, round_id = one_of(sorted(self.theirs.open_rounds) or NOWHERE, which)
        self.ask(end_round(operator=login, round_id=round_id))

    @rule(which=WHICH, by=st.sampled_from(["game", "operator", "operator, of all"]))
    def a_cancel(self, which, by):
        login, round_id = one_of(sorted(self.theirs.open_rounds) or NOWHERE, which)
        if by == "operator, of all":
            everything = cancel_rounds(operator=login, user=OWNERS[round_id])
            found = self.books.book.submit(everything).rounds
            self.cancels |= {(login, each) for each in found}
        elif self.ask(cancel_round(operator=login, round_id=round_id, user=None, by=by)):
            self.cancels.add((login, round_id))

    @rule(which=WHICH)
    def something_is_asked_again(self, which):
        before = self.books.book.store.head()
        if self.asked:
            self.books.book.submit(one_of(self.asked, which))
        assert self.books.book.store.head() == before

    def ask(self, command):
        try:
            outcome = self.books.book.submit(command)
        except (Refusal, Unsettled):
            return None
        self.asked.append(command)
        return outcome

    # what senders and the wire do

    @rule()
    def all_goes_well(self):
        self.books.deliver_what_is_due()

    @rule(which=WHICH, how=st.sampled_from(WAYS), ends=st.sampled_from(ENDS), wait_s=WAITS)
    def a_send_goes(self, which, how, ends, wait_s):
        sender = self.taken(which)
        if sender is None:
            return
        if not how.startswith("the call is"):
            self.books.arrive(LAST, stays=how == "twice")
        match how:
            case "well" | "twice":
                self.books.hear(LAST, wait_s=wait_s)
            case "the call is lost":
                self.books.calls.pop()
            case "the answer is lost":
                self.books.answers.pop()
        if sender.number in self.books.senders:
            self.end(sender.number, ends, wait_s)

    @rule(which=WHICH, how=st.sampled_from(WAYS), ends=st.sampled_from(ENDS), wait_s=WAITS)
    def another_send_goes(self, which, how, ends, wait_s):
        self.a_send_goes(which, how, ends, wait_s)

    @rule(which=WHICH, spoil=st.sampled_from(SPOILT), wait_s=WAITS)
    def an_answer_is_spoilt(self, which, spoil, wait_s):
        if self.taken(which):
            self.books.arrive(LAST)
            self.books.hear(LAST, spoil, wait_s=wait_s)

    @rule(which=WHICH, code=st.sampled_from([15, 999]))
    def a_call_is_refused_on_its_way(self, which, code):
        due = [each for each in self.books.due() if each.kind != "bet"]
        if due and self.books.take(one_of(due, which)):
            self.books.refuse(LAST, code)
            self.books.hear(LAST)

    @rule(which=WHICH, what=st.sampled_from(["a call", "a copy of a call", "an answer"]))
    def something_late_comes(self, which, what):
        if what == "an answer" and self.books.answers:
            self.books.hear(which % len(self.books.answers), times=1 + which % 2)
        elif self.books.calls:
            self.books.arrive(which % len(self.books.calls), stays=what == "a copy of a call")

    @rule(which=WHICH, ends=st.sampled_from(ENDS), wait_s=WAITS)
    def a_sender_hears_nothing(self, which, ends, wait_s):
        if self.books.senders:
            self.end(one_of(sorted(self.books.senders), which), ends, wait_s)

    def end(self, sender, how, wait_s):
        match how:
            case "it is silent":
                self.books.clock.go(LEASE_S)
            case "it dies":
                self.books.die(sender)
                self.books.clock.go(LEASE_S)
            case outcome:
                self.books.give_up_waiting(sender, outcome, wait_s=wait_s)

    def taken(self, which):
        due = self.books.due()
        return self.books.take(one_of(due, which)) if due else None

    # what time, people and machines do

    @rule(seconds=st.sampled_from([1, 5, LEASE_S, LEASE_S, 300]))
    def time_passes(self, seconds):
        self.books.clock.go(seconds)

    @rule(days=st.sampled_from([1, 89, 91]), confirmed=st.booleans())
    def days_pass(self, days, confirmed):
        self.books.clock.go(days=days)
        self.books.sweeper.sweep()
        if confirmed:
            self.books.sweeper.confirm()
            self.books.sweeper.sweep()

    @rule(player=PLAYERS)
    def a_purse_is_frozen_or_not(self, player):
        frozen = self.books.wallet.book.wallet(player, "USD").frozen
        self.turn(player, "unfreeze" if frozen else "freeze")

    @rule(player=PLAYERS, takes=st.booleans())
    def a_player_takes_everything_or_pays_in(self, player, takes):
        amount = self.books.wallet.cash(player) if takes else "100.00"
        path = f"/api/wallets/{player}/USD/{'withdrawals' if takes else 'deposits'}"
        self.books.wallet.office("POST", path, {"reference": self.number(), "amount": amount})

    def turn(self, player, turn):
        self.books.wallet.office("POST", f"/api/wallets/{player}/USD/{turn}")

    @rule(what=st.sampled_from(["busy", "not busy", "operator", "provider"]))
    def a_machine_turns(self, what):
        match what:
            case "busy" | "not busy":
                self.books.be_busy(busy=what == "busy")
            case "operator":
                self.books.reopen_wallet()
            case "provider":
                self.books.reopen_book()

    @rule(seconds=st.sampled_from([-3600, 3600, 91 * 86400]))
    def somebody_sets_the_clock(self, seconds):
        self.books.clock.set_by(seconds)
        assert self.books.sweeper.sweep().stopped

    @rule(which=WHICH)
    def a_person_sends_again(self, which):
        if found := self.books.undelivered():
            one = one_of(found, which)
            self.books.book.submit(retry(one.kind, one.reference, operator=one.operator))

    # what must always hold

    @invariant()
    def every_purse_holds_what_came_and_went(self):
        self.ours.follow(self.books.wallet.book.store)
        for player, cash in self.ours.cash.items():
            assert self.books.wallet.book.wallet(player, "USD").cash == cash >= 0
        rows = self.books.wallet.book.store.rows("rounds")
        opened = {(row[0], row[1]): row[5] - row[7] for row in rows}
        assert {place: stake for place, stake in opened.items() if stake} == +self.ours.open_stakes

    @invariant()
    def what_the_wallet_is_said_to_have_answered_is_true(self):
        self.theirs.follow(self.books.book.store)
        for (login, reference), standing in self.theirs.bets.items():
            bet = (PROVIDERS[login], reference)
            taken, given_back = bet in self.ours.stakes, bet in self.ours.given_back
            match standing:
                case "accepted":
                    assert (taken, given_back) == (True, False)
                case "refunding":
                    assert taken
                case "refunded":
                    assert given_back
                case "cancelled":
                    assert given_back or not taken
        for ours, theirs in (
            (self.ours.paid, self.theirs.paid),
            (self.ours.ended, self.theirs.ended),
        ):
            assert {(PROVIDERS[login], named) for login, named in theirs} <= ours

    @invariant()
    def nothing_fails_inside(self):
        assert self.books.defects == []

    @rule()
    def an_auditor_comes(self):
        self.books.check_tables()
        unsettled = {
            (each.provider, each.round)
            for each in self.books.reconcile()
            if each.difference == "unsettled"
        }
        assert self.differences(but=unsettled) == []

    def differences(self, *, but):
        # what a stranger refused and a person then got through is settled to the cent, but the
        # provider's round may have ended before
        strange = {(PROVIDERS[login], named) for login, named in self.books.lied_about}
        return [
            each
            for each in self.books.reconcile()
            if (each.provider, each.round) not in but
            and not (each.kind == "round" and (each.provider, each.round) in strange)
        ]

    # how it ends

    def teardown(self):
        try:
            # what has failed on its way need not end well
            if sys.exc_info()[0] is None:
                self.heal()
                self.check_the_end()
        finally:
            self.books.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def heal(self):
        if self.stragglers == "are lost":
            self.books.calls.clear()
            self.books.answers.clear()
        if self.stragglers == "come first":
            self.books.be_busy(busy=False)
            self.books.deliver_stragglers()
        self.books.settle()
        for player in (ANN, BOB):
            self.turn(player, "unfreeze")
        self.books.deliver_stragglers()
        self.books.settle()

    def check_the_end(self):
        self.every_purse_holds_what_came_and_went()
        self.what_the_wallet_is_said_to_have_answered_is_true()
        self.books.check_tables()
        refused = self.books.refused()
        assert {each.code for each in refused} <= {15, 999}
        named = {(each.operator, each.round) for each in refused}
        assert named <= self.books.lied_about
        assert self.books.undelivered() == refused
        waiting = {key for key, stands in self.theirs.bets.items() if stands == "requested"}
        assert waiting == set()
        assert self.cancels <= self.theirs.cancelled | named
        excused = {(PROVIDERS[login], round_id) for login, round_id in named}
        assert self.differences(but=excused) == []
        said = {(PROVIDERS[login], named): net for (login, named), net in self.theirs.net.items()}
        for place in (said.keys() | self.ours.net.keys()) - excused:
            assert self.ours.net[place] == said.get(place, 0)


class BothBooksOnDisk(BothBooks):
    on_disk = True


def sized(examples, **more):
    return settings(
        max_examples=examples * 50 if SOAK else examples,
        stateful_step_count=100 if SOAK else 50,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
        **({"phases": [phase for phase in Phase if phase is not Phase.explain]} | more),
    )


TestBothBooks = BothBooks.TestCase
TestBothBooks.settings = sized(100)
TestBothBooksOnDisk = BothBooksOnDisk.TestCase
TestBothBooksOnDisk.settings = sized(25)


# the controls: what is sabotaged is found


class NamesEachRetryAnew(TwoBooks):
    def sent(self, delivery, send):
        if delivery.kind != "bet" or send.attempt == 1:
            return send
        body = json.loads(send.call.body)
        body["reference"] += f" {send.attempt}"
        return replace(send, call=replace(send.call, body=json.dumps(body)))


class TakesSilenceForRefusal(TwoBooks):
    def silence(self, outcome):
        return Answer(outcome="answered", code=999)


class BelievesEveryAnswer(TwoBooks):
    def read(self, sender, reply):
        return Answer(outcome="answered", code=0, transaction_id="it never was")


def no_cancel_for_a_bet_given_up(monkeypatch):
    give_up = provider_round.give_bet_up
    monkeypatch.setattr(provider_round, "give_bet_up", lambda *a, **k: give_up(*a, **k)[:1])


def results_overtake_reversals(monkeypatch):
    monkeypatch.setattr(provider_round, "_settled", lambda state: None)


def nothing_follows_from_an_answer(monkeypatch):
    monkeypatch.setattr(provider_round, "_follows", lambda *a, **k: [])


def every_refusal_is_final(monkeypatch):
    monkeypatch.setattr(delivery, "FINAL", delivery.DECLINED | {998})


def a_stake_goes_back_each_time_it_is_asked_for(monkeypatch):
    reverse = operator_round.reverse_bet

    def forget(state, *a, **k):
        bets = {name: replace(bet, reversal=None) for name, bet in state.bets.items()}
        return reverse(replace(state, bets=bets), *a, **k)

    monkeypatch.setattr(operator_round, "reverse_bet", forget)


def check_is_found(machine):
    quick = sized(400, phases=[Phase.generate], derandomize=True, database=None)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine, settings=quick)


@pytest.mark.parametrize("wire", [NamesEachRetryAnew, TakesSilenceForRefusal, BelievesEveryAnswer])
def test_a_sabotaged_courier_is_found(wire):
    check_is_found(type(wire.__name__, (BothBooks,), {"books_of": wire}))


@pytest.mark.parametrize(
    "sabotage",
    [
        no_cancel_for_a_bet_given_up,
        results_overtake_reversals,
        nothing_follows_from_an_answer,
        every_refusal_is_final,
        a_stake_goes_back_each_time_it_is_asked_for,
    ],
)
def test_a_sabotaged_book_is_found(monkeypatch, sabotage):
    sabotage(monkeypatch)
    check_is_found(BothBooks)


# what the machine has found


@pytest.fixture
def books():
    found = TwoBooks()
    for player in (ANN, BOB):
        found.wallet.fund(player, "200.00")
    yield found
    found.close()


def bet(login, amount="10.00"):
    return place_bet(operator=login, round_id="r1", user=ANN, reference="bet 1", amount=amount)


def turn(books, turn):
    assert books.wallet.office("POST", f"/api/wallets/{ANN}/USD/{turn}").status == 200


@pytest.mark.parametrize("login", LOGINS)
def test_a_round_of_free_bets_ends_at_the_wallet_too(books, login):
    books.book.submit(bet(login, amount="0"))
    books.settle()
    books.book.submit(end_round(operator=login, round_id="r1"))
    books.settle()

    assert books.reconcile() == []


@pytest.mark.parametrize("login", LOGINS)
def test_a_late_refusal_does_not_undo_that_the_wallet_took_the_bet_since(books, login):
    turn(books, "freeze")
    books.book.submit(bet(login))
    (due,) = books.due()
    books.take(due)
    books.arrive(0)
    books.clock.go(LEASE_S)
    turn(books, "unfreeze")
    books.take(due)
    books.arrive(0)
    books.hear(0)
    books.hear(0)
    books.settle()

    assert books.reconcile() == []


@pytest.mark.parametrize("login", LOGINS)
def test_a_bet_that_was_refused_is_not_taken_when_its_first_send_comes_late(books, login):
    turn(books, "freeze")
    books.book.submit(bet(login))
    first = books.take(books.due()[0])
    books.give_up_waiting(first.number, "timeout")
    books.take(books.due()[0])
    books.arrive(1)
    books.hear(0)
    turn(books, "unfreeze")
    books.settle()
    books.deliver_stragglers()

    assert books.reconcile() == []


@pytest.mark.parametrize("login", LOGINS)
def test_a_bet_that_was_answered_998_and_then_refused_is_not_taken_when_it_comes_late(books, login):
    turn(books, "freeze")
    books.book.submit(bet(login))
    books.be_busy(busy=True)
    books.take(books.due()[0])
    books.arrive(0, stays=True)
    books.hear(0)
    books.be_busy(busy=False)
    books.take(books.due()[0])
    books.arrive(1)
    books.hear(0)
    turn(books, "unfreeze")
    books.settle()
    books.deliver_stragglers()

    assert books.reconcile() == []


@pytest.mark.xfail(reason="a copy of a call that was answered: HTTP makes none, a proxy might")
@pytest.mark.parametrize("login", LOGINS)
def test_a_bet_that_was_refused_is_not_taken_when_a_copy_of_it_comes_late(books, login):
    turn(books, "freeze")
    books.book.submit(bet(login))
    copy = books.take(books.due()[0])
    books.arrive(0)
    books.hear(0)
    turn(books, "unfreeze")
    books.settle()
    books.calls.append(copy)
    books.deliver_stragglers()

    assert books.reconcile() == []

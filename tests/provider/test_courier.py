import math
import threading
from contextlib import closing
from datetime import timedelta
from itertools import cycle

import pytest

from ledger.moments import utc_now
from ledger.operator import events as operator_events
from ledger.provider import events
from ledger.provider.book import Book
from ledger.store import open_store
from projections.provider import IN_TRANSACTION
from tests.http.server import until
from tests.provider import examples
from tests.provider.crooked import (
    ABSENT,
    PULSE_S,
    CrookedWallet,
    after,
    code,
    drip_body,
    drip_headers,
    duplicate_keys,
    gzip_bomb,
    hang,
    html,
    late,
    lost,
    megabyte,
    no_key,
    not_json,
    other_currency,
    other_reference,
    redirect,
    reset,
    status,
    truncated,
    twice,
    wrong_error,
)
from tests.provider.table import (
    BET,
    KINDS,
    LM,
    LOGINS,
    REFERENCES,
    RESULT,
    ROUND,
    WORDS,
    Table,
    kind_of,
    new_house,
)

TIMEOUT_S = 0.25
GRACE_MS = 2500
"""For a machine that stalls; without a deadline the outcome would be another."""
YEAR = timedelta(days=365)

each_kind = pytest.mark.parametrize("kind", KINDS)
each_call = pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "cancel-untaken"])
each_operator = pytest.mark.parametrize("login", LOGINS)
each_reversal = pytest.mark.parametrize("kind", ["cancel", "cancel-untaken", "refund"])
all_but_bets = pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "bet"])


def hung_up(call):
    call.hang_up()


def as_is(behaviour):
    return behaviour


def as_often_as(behaviours):
    return {"retries": len(behaviours), "result_retries": len(behaviours)}


def held_back(gate):
    def forward_it_later(call):
        while not gate.is_set():
            call.wait(PULSE_S)
        call.forward()
        call.answer(call.text)

    return forward_it_later


def outcomes(table, kind):
    return [(end.outcome, end.code) for end in table.ends(kind)]


def received(table, kind):
    return table.wallet.bodies(WORDS[kind_of(kind)])


def has_parked(table):
    return table.of(events.DeliveryParked)


GOOD = ("answered", 0)
INVALID = ("invalid", None)
UNREACHABLE = ("unreachable", None)
TIMEOUT = ("timeout", None)


# what is no answer


SPOILT = {
    "HTTP status": [(status(number), INVALID) for number in (500, 503, 404, 401, 201, 204)],
    "no JSON": [(html, INVALID), (not_json, INVALID), (truncated, INVALID)],
    "too large": [(megabyte, INVALID), (gzip_bomb, INVALID)],
    "broken off": [(hung_up, INVALID), (reset, UNREACHABLE)],
}


@each_call
@each_operator
@pytest.mark.parametrize("spoilt", SPOILT)
def test_a_spoilt_answer_is_none_whether_the_wallet_took_the_call_or_not(
    tmp_path, login, kind, spoilt
):
    behaviours = [form(behaviour) for behaviour, _ in SPOILT[spoilt] for form in (as_is, after)]
    expected = [outcome for _, outcome in SPOILT[spoilt] for _ in range(2)]
    with Table(tmp_path, login, terms=as_often_as(behaviours)) as table:
        table.play(kind, *behaviours)
        table.settle()

        assert outcomes(table, kind) == [*expected, GOOD]
        assert len(received(table, kind)) == len(behaviours) + 1
        assert len(set(received(table, kind))) == 1
        table.check()


@each_kind
@each_operator
def test_a_lost_answer_is_asked_for_again(tmp_path, login, kind):
    with Table(tmp_path, login) as table:
        table.play(kind, lost, lost)
        table.settle()

        assert outcomes(table, kind) == [INVALID, INVALID, GOOD]
        table.check()


@each_kind
@each_operator
def test_a_call_that_the_wallet_serves_twice_counts_once(tmp_path, login, kind):
    with Table(tmp_path, login) as table:
        table.play(kind, twice)
        table.settle()

        assert outcomes(table, kind) == [GOOD]
        table.check()


@each_call
@each_operator
def test_a_redirect_is_never_followed(tmp_path, login, kind):
    statuses = (301, 302, 303, 307, 308)
    terms = {"retries": 10}
    with CrookedWallet() as elsewhere, Table(tmp_path, login, terms=terms) as table:
        redirects = [redirect(f"{elsewhere.url}/V4/Bet", number) for number in statuses]
        table.play(kind, *redirects, *map(after, redirects))
        table.settle()

        assert outcomes(table, kind) == [INVALID] * 10 + [GOOD]
        assert [end.detail for end in table.ends(kind)][:5] == [f"HTTP {n}" for n in statuses]
        assert elsewhere.calls == []
        table.check()


# what comes too late


SLOW = {
    "late": late(3 * TIMEOUT_S),
    "hanging": hang,
    "body byte by byte": after(drip_body(0.02)),
    "headers byte by byte": after(drip_headers(0.02)),
}


@each_call
@each_operator
@pytest.mark.parametrize("slow", SLOW)
def test_a_send_ends_at_its_deadline_whatever_trickles_in(tmp_path, login, kind, slow):
    with Table(tmp_path, login, timeout_s=TIMEOUT_S) as table:
        table.play(kind, SLOW[slow])
        table.settle()

        took = [end.took_ms for end in table.ends(kind)]
        assert outcomes(table, kind)[0] == TIMEOUT
        assert outcomes(table, kind)[-1] == GOOD
        assert took[0] >= TIMEOUT_S * 1000 - 1
        assert max(took) <= TIMEOUT_S * 1000 + GRACE_MS
        table.check()


# what is an answer in all but its words


WRONG_NUMBERS = ["0", None, True, False, 1.0, 0.0, math.nan, -1, 1000, [], {}, ABSENT]
WRONG_TEXTS = [0, None, True, False, 1.0, math.nan, "", "00", "0.0", " 0", "-1", [], ABSENT]


@each_call
@each_operator
def test_an_error_of_the_wrong_type_is_no_answer(tmp_path, login, kind):
    wrong = WRONG_TEXTS if (login, kind) == (LM, "refund") else WRONG_NUMBERS
    forms = cycle((as_is, after))
    spoilt = [form(wrong_error(error)) for form, error in zip(forms, wrong, strict=False)]
    with Table(tmp_path, login, terms=as_often_as(spoilt)) as table:
        table.play(kind, *spoilt)
        table.settle()

        assert outcomes(table, kind) == [INVALID] * len(spoilt) + [GOOD]
        table.check()


def needed(login, kind):
    if (login, kind_of(kind)) == (LM, "cancel"):
        return ["error", "reference"]
    if (login, kind) == (LM, "refund"):
        return ["error", "transactionId"]
    return ["error", "currency", "cash", "transactionId"]


@each_call
@each_operator
def test_an_answer_without_one_of_its_keys_is_none(tmp_path, login, kind):
    spoilt = [no_key(name) for name in needed(login, kind)]
    with Table(tmp_path, login, terms=as_often_as(spoilt)) as table:
        table.play(kind, *spoilt)
        table.settle()

        assert outcomes(table, kind) == [INVALID] * len(spoilt) + [GOOD]
        assert all(
            name in end.detail
            for name, end in zip(needed(login, kind), table.ends(kind), strict=False)
        )
        table.check()


@each_kind
@each_operator
def test_an_answer_needs_no_description(tmp_path, login, kind):
    with Table(tmp_path, login) as table:
        table.play(kind, no_key("description"))
        table.settle()

        assert outcomes(table, kind) == [GOOD]
        table.check()


@each_call
@each_operator
def test_an_answer_to_somebody_elses_call_is_none(tmp_path, login, kind):
    keys = needed(login, kind)
    spoilt = [
        behaviour
        for key, behaviour in (("reference", other_reference), ("currency", other_currency))
        if key in keys
    ]
    with Table(tmp_path, login) as table:
        table.play(kind, *spoilt)
        table.settle()

        assert outcomes(table, kind) == [INVALID] * len(spoilt) + [GOOD]
        table.check()


@each_call
@each_operator
def test_an_answer_that_says_two_things_under_one_key_is_none(tmp_path, login, kind):
    with Table(tmp_path, login) as table:
        table.play(kind, duplicate_keys, duplicate_keys)
        table.settle()

        assert outcomes(table, kind) == [INVALID, INVALID, GOOD]
        table.check()


# codes


@each_kind
@each_operator
def test_a_retryable_code_is_asked_again_until_it_is_zero(tmp_path, login, kind):
    with Table(tmp_path, login) as table:
        table.play(kind, code(998), after(code(998)), code(998))
        table.settle()

        assert outcomes(table, kind) == [("answered", 998)] * 3 + [GOOD]
        table.check()


@each_operator
@pytest.mark.parametrize("number", [15, 999])
def test_a_bet_that_is_refused_for_good_is_declined_and_never_sent_again(tmp_path, login, number):
    with Table(tmp_path, login) as table:
        table.play("bet", code(number))
        table.settle()

        assert outcomes(table, "bet") == [("answered", number)]
        assert [declined.code for declined in table.of(events.BetDeclined)] == [number]
        table.check()


@each_operator
@pytest.mark.parametrize("number", [15, 55, 999])
@pytest.mark.parametrize("spoilt", [status(500), after(status(500)), lost])
def test_a_bet_that_is_refused_after_a_send_without_an_answer_is_cancelled_to_be_sure(
    tmp_path, login, number, spoilt
):
    with Table(tmp_path, login) as table:
        table.play("bet", spoilt, code(number))
        table.settle()

        assert outcomes(table, "bet") == [INVALID, ("answered", number)]
        assert outcomes(table, "cancel") == [GOOD]
        table.check()


@all_but_bets
@each_operator
@pytest.mark.parametrize("number", [15, 999])
def test_what_is_refused_for_good_waits_for_a_person_and_is_not_sent_again(
    tmp_path, login, kind, number
):
    with Table(tmp_path, login) as table:
        table.play(kind, code(number))
        table.settle()
        play_another_round(table)

        named = (kind_of(kind), REFERENCES[kind_of(kind)])
        assert outcomes(table, kind) == [("answered", number)]
        assert [d[1:3] for d in table.undelivered()] == [named]
        assert [(d.state, d.due_at, d.code) for d in table.undelivered()] == [
            ("refused", None, number)
        ]
        assert {d.difference for d in table.reconcile()} == {"unsettled"}
        assert table.book.round(login, ROUND).status in ("CompleteInProcess", "CancelInProcess")

        table.retry(*named)
        table.settle()
        assert outcomes(table, kind) == [("answered", number), GOOD]
        table.check()


def play_another_round(table):
    table.bet("bet-2", "round-2")
    table.settle()
    table.result("result-2", "round-2")
    table.settle()


@each_reversal
@each_operator
@pytest.mark.parametrize("number", [15, 999])
def test_a_reversal_that_the_wallet_made_and_then_denied_is_settled_by_a_retry(
    tmp_path, login, kind, number
):
    with Table(tmp_path, login) as table:
        table.play(kind, after(code(number)))
        table.settle()
        assert [d.kind for d in table.undelivered()] == [kind_of(kind)]

        table.retry(kind_of(kind), BET)
        table.settle()
        assert outcomes(table, kind) == [("answered", number), GOOD]
        table.check()


@all_but_bets
@each_operator
def test_what_is_refused_after_it_was_parked_is_not_sent_again_either(tmp_path, login, kind):
    with Table(tmp_path, login) as table:
        sends = table.book.house.operator(login).most_sends(kind_of(kind))
        table.play(kind, *[status(500)] * sends, code(999))
        table.settle()
        play_another_round(table)

        assert outcomes(table, kind) == [INVALID] * sends + [("answered", 999)]
        assert [d.state for d in table.undelivered()] == ["refused"]

        table.retry(kind_of(kind), REFERENCES[kind_of(kind)])
        table.settle()
        table.check()


# bursts


@all_but_bets
@each_operator
def test_a_burst_without_an_answer_is_parked_and_tried_again_one_by_one(tmp_path, login, kind):
    with Table(tmp_path, login) as table:
        sends = 11 if kind == "result" else 4
        table.play(kind, *[status(500)] * (sends + 2))
        table.settle()

        assert outcomes(table, kind) == [INVALID] * (sends + 2) + [GOOD]
        assert burst_of(table, kind) == sends
        table.check()


def burst_of(table, kind):
    found = table.events()
    (parked,) = [n for n, event in enumerate(found) if isinstance(event, events.DeliveryParked)]
    return sum(
        isinstance(event, events.SendStarted) and event.kind == kind_of(kind)
        for event in found[:parked]
    )


@each_operator
def test_a_bet_that_is_never_answered_is_given_up_and_cancelled(tmp_path, login):
    with Table(tmp_path, login) as table:
        table.wallet.on("Bet", *[status(500)] * 5)
        table.bet()
        table.settle()

        assert outcomes(table, "bet") == [INVALID] * 4
        assert outcomes(table, "cancel") == [GOOD]
        assert [type(event).__name__ for event in table.of(events.RoundEvent)] == [
            "RoundOpened",
            "BetRequested",
            "BetGivenUp",
            "CancelRequested",
            "CancelConfirmed",
            "RoundCancelled",
        ]
        assert table.service.topics()[-1] == "TombstoneRecorded"
        table.check()


@each_operator
def test_a_bet_that_comes_after_it_was_given_up_is_refused_by_its_tombstone(tmp_path, login):
    gate, terms = threading.Event(), {"retries": 1}
    with Table(tmp_path, login, terms=terms, timeout_s=TIMEOUT_S) as table:
        table.wallet.on("Bet", held_back(gate), held_back(gate))
        table.bet()
        table.settle()
        assert outcomes(table, "bet") == [TIMEOUT, TIMEOUT]

        gate.set()
        until(lambda: late_bets(table), "the bet comes after all")
        assert [bet.reference for bet in late_bets(table)] == [BET]
        table.check()


def late_bets(table):
    return [e for e in table.operator_events() if isinstance(e, operator_events.LateBetRefused)]


# a wallet that is not there


@pytest.mark.parametrize("kind", ["bet", "result", "end", "refund"])
@each_operator
def test_a_wallet_that_is_shut_for_a_moment_is_asked_until_it_is_open_again(tmp_path, login, kind):
    with Table(tmp_path, login, terms={"retries": 100, "result_retries": 100}) as table:
        table.prepare(kind)
        table.shut()
        table.ask(kind)
        until(lambda: len(table.ends(kind)) >= 3, "three sends find nobody")
        table.settle()

        assert outcomes(table, kind)[:3] == [UNREACHABLE] * 3
        assert outcomes(table, kind)[-1] == GOOD
        table.check()


@pytest.mark.parametrize("kind", ["bet", "result", "end", "refund"])
@each_operator
def test_a_wallet_that_stays_shut_for_a_whole_burst_is_tried_again_for_ever(tmp_path, login, kind):
    with Table(tmp_path, login) as table:
        table.prepare(kind)
        table.shut()
        table.ask(kind)
        until(lambda: has_parked(table), "the burst is over")
        owed = "cancel" if kind == "bet" else kind
        sent = len(table.ends(owed))
        until(lambda: len(table.ends(owed)) >= sent + 2, "it is tried again")
        assert {d.state for d in table.undelivered()} == {"parked"}
        table.settle()

        assert outcomes(table, owed)[:sent] == [UNREACHABLE] * sent
        assert outcomes(table, owed)[-1] == GOOD
        table.check()


@each_reversal
@each_operator
def test_an_answer_is_read_in_the_dialect_of_its_call_whatever_the_operator_speaks_by_then(
    tmp_path, login, kind
):
    by_then = "kyren-v1" if login == LM else "lucky-monaco-v4"
    with Table(tmp_path, login) as table:
        table.prepare(kind)
        table.shut()
        table.ask(kind)
        until(lambda: has_parked(table), "the burst is over")
        table.stop()
        table.start(table.open_book(new_house(dialect=by_then)))
        table.settle()

        assert outcomes(table, kind)[-1] == GOOD
        table.check()


# several bets of one round


@each_operator
def test_a_round_goes_back_bet_by_bet_whatever_each_of_its_refunds_meets(tmp_path, login):
    spoilt = [lost, reset, after(status(500)), twice, hung_up, after(reset), code(998), truncated]
    with Table(tmp_path, login, terms={"retries": 9}) as table:
        for number in range(6):
            table.bet(f"bet-{number}")
        table.settle()
        table.wallet.on("Cancel", *spoilt)
        table.cancel()
        table.settle()

        assert table.book.round(login, ROUND).status == "Cancelled"
        assert len(received(table, "refund")) == 6 + len(spoilt) - 1
        table.check()


@each_operator
def test_a_round_whose_bets_meet_different_fates_takes_its_result_once(tmp_path, login):
    unanswered = [after(status(500))] * 4
    with Table(tmp_path, login) as table:
        table.bet("bet-taken")
        table.settle()
        table.wallet.on("Bet", *unanswered)
        table.bet("bet-given-up")
        table.settle()
        table.wallet.on("Bet", code(15))
        table.bet("bet-declined")
        table.settle()
        table.wallet.on("Result", lost, status(500), lost)
        table.result()
        table.settle()

        assert table.book.round(login, ROUND).status == "Completed"
        standings = {bet.reference: bet.standing for bet in bets_of(table)}
        assert standings == {
            "bet-taken": "accepted",
            "bet-given-up": "cancelled",
            "bet-declined": "declined",
        }
        assert len(table.starts("result", RESULT)) == 4
        table.check()


def bets_of(table):
    return table.book.round(table.login, ROUND).bets.values()


@each_operator
def test_a_refund_that_was_asked_for_by_a_clock_a_year_ahead_goes_out(tmp_path, login):
    with Table(tmp_path, login) as table:
        table.bet()
        table.settle()
        store = open_store(table.store_url, IN_TRANSACTION)
        with closing(Book(store, table.book.house, now=lambda: utc_now() + YEAR)) as ahead:
            ahead.submit(examples.cancel_round(operator=login))
        table.start(worker="begun when the clock is right")
        table.settle()

        assert table.book.round(login, ROUND).status == "Cancelled"
        assert len(received(table, "refund")) == 1
        table.check()

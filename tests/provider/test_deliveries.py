import json
import re
from pathlib import Path
from typing import Any

import pytest

from ledger.provider import events
from ledger.provider.book import Book
from ledger.provider.delivery import DECLINED, FINAL
from ledger.provider.house import House, Operator
from ledger.refusals import Malformed
from tests import controls
from tests.provider import examples
from tests.provider.examples import (
    BET_SENDS,
    KY,
    LEASE_S,
    LM,
    PARKED_WAIT_S,
    RESULT_SENDS,
    WAIT_S,
    accepted_bet,
    answer,
    ask,
    code,
    delivery,
    due,
    end_send,
    history,
    position,
    start_send,
    status,
)
from tests.questions import nothing_recorded, tables, topics

BET, RESULT, ROUND = controls.REFERENCE, controls.RESULT_REFERENCE, controls.ROUND
CODES = (7, 17, 52, 53, 54, 55, 56, 57, 58, 59, 62, 64, 100, 401, 998)
"""Which are no final refusal of a call that is no bet."""

UNDECLINED = (1, 7, 14, 18, 51, 60, 61, 63, 65, 401, 500, 998)


def a_bet(book: Book, *, operator: str = LM) -> str:
    ask(book, examples.place_bet(operator=operator))
    return BET


def a_result(book: Book, *, operator: str = LM) -> str:
    accepted_bet(book, operator=operator)
    ask(book, examples.report_result(operator=operator))
    return RESULT


def an_end(book: Book, *, operator: str = LM) -> str:
    accepted_bet(book, operator=operator)
    ask(book, examples.end_round(operator=operator))
    return ROUND


def a_cancel(book: Book, *, operator: str = LM) -> str:
    a_bet(book, operator=operator)
    examples.give_bet_up(book, operator=operator)
    return BET


def a_refund(book: Book, *, operator: str = LM) -> str:
    accepted_bet(book, operator=operator)
    ask(book, examples.cancel_round(operator=operator))
    return BET


OWED: dict[Any, Any] = {
    "bet": a_bet,
    "result": a_result,
    "end": an_end,
    "cancel": a_cancel,
    "refund": a_refund,
}
SENDS = {**dict.fromkeys(OWED, BET_SENDS), "result": RESULT_SENDS}
KINDS = pytest.mark.parametrize("kind", OWED)
NO_BETS = pytest.mark.parametrize("kind", [kind for kind in OWED if kind != "bet"])


def started(book: Book, kind: Any, reference: str, *, worker: str = examples.WORKER) -> Any:
    """Returns the send that was taken, None where there is none to be had."""
    return ask(book, start_send(kind, reference, worker=worker)).send


def taken_over(book: Book, clock: examples.Clock, kind: Any, reference: str) -> tuple[Any, Any]:
    """Returns a send whose lease is over, and the next one, which another worker has taken."""
    old = started(book, kind, reference)
    clock.go(LEASE_S)
    return old, started(book, kind, reference, worker=examples.OTHER_WORKER)


def ended(book: Book, kind: Any, reference: str, attempt: int, code: int | None) -> list[str]:
    """Returns the topics of what an end of this attempt came to."""
    before = position(book)
    ask(book, end_send(kind, reference, attempt=attempt, code=code))
    return topics(book, after=before)


def exhaust(book: Book, kind: Any, reference: str) -> None:
    for _ in range(SENDS[kind]):
        answer(book, LM, kind, reference, None)


# when it is due


@KINDS
def test_what_the_wallet_is_owed_is_due_at_once_and_undelivered(
    book: Book, clock: examples.Clock, kind: Any
) -> None:
    reference = OWED[kind](book)
    found = delivery(book, kind, reference)
    assert (found.state, found.sends, found.attempts, found.sending) == ("waiting", 0, 0, 0)
    assert (found.due_at, found.undelivered_since) == (clock.text, clock.text)
    assert due(book) == [(kind, reference)]
    assert [each.reference for each in book.undelivered(limit=10)] == [reference]


@KINDS
def test_what_is_not_due_yet_is_not_to_be_had(book: Book, clock: examples.Clock, kind: Any) -> None:
    reference = OWED[kind](book)
    answer(book, LM, kind, reference, None, wait_s=WAIT_S)
    clock.go(WAIT_S - 0.000_001)
    assert due(book) == []
    with nothing_recorded(book):
        assert started(book, kind, reference) is None
    clock.go(0.000_001)
    assert due(book) == [(kind, reference)]
    assert started(book, kind, reference).attempt == 2


YEAR_S = 365 * 86400


@KINDS
def test_what_a_clock_that_stood_ahead_put_off_is_due_once_it_is_right(
    book: Book, clock: examples.Clock, kind: Any
) -> None:
    clock.go(YEAR_S)
    reference = OWED[kind](book)
    clock.go(-YEAR_S)
    assert due(book) == []
    assert [each.reference for each in book.due_for_long(LM, limit=10)] == [reference]
    assert book.due_for_long(KY, limit=10) == []
    assert started(book, kind, reference).attempt == 1
    assert book.due_for_long(LM, limit=10) == []
    clock.go(LEASE_S)
    assert due(book) == [(kind, reference)]


@KINDS
def test_a_send_that_was_taken_by_a_clock_that_stood_ahead_is_taken_over_or_retried(
    book: Book, clock: examples.Clock, kind: Any
) -> None:
    clock.go(YEAR_S)
    reference = OWED[kind](book)
    assert started(book, kind, reference)
    clock.go(-YEAR_S)
    assert ask(book, examples.retry(kind, reference)).recorded
    assert due(book) == [(kind, reference)]
    assert started(book, kind, reference, worker=examples.OTHER_WORKER).attempt == 2


@KINDS
def test_what_waits_as_long_as_a_setting_allows_is_not_due(
    book: Book, clock: examples.Clock, kind: Any
) -> None:
    reference = OWED[kind](book)
    answer(book, LM, kind, reference, None, wait_s=86400)
    clock.go(-300)
    assert book.due_for_long(LM, limit=10) == due(book) == []
    with nothing_recorded(book):
        assert started(book, kind, reference) is None


def test_what_is_longest_due_comes_first_and_only_its_operators(
    book: Book, clock: examples.Clock
) -> None:
    for reference, operator in (("1", LM), ("2", KY), ("3", LM)):
        ask(book, examples.place_bet(reference=reference, operator=operator, round_id=reference))
        clock.go(1)
    assert due(book) == [("bet", "1"), ("bet", "3")]
    assert due(book, operator=KY) == [("bet", "2")]
    assert [each.reference for each in book.due(LM, limit=1)] == ["1"]
    assert [each.reference for each in book.undelivered(limit=10)] == ["1", "2", "3"]


def test_what_is_undelivered_is_read_page_by_page_though_all_of_it_is_as_old(book: Book) -> None:
    for reference in "dcbae":
        ask(book, examples.place_bet(reference=reference, round_id=reference))
    found, after = [], ""

    while page := book.undelivered(after=after, limit=2):
        found += [each.reference for each in page]
        after = page[-1].place

    assert found == list("abcde")


def test_what_nobody_has_asked_for_cannot_be_sent_reported_or_retried(book: Book) -> None:
    a_bet(book)
    for command in (
        start_send("refund", BET),
        end_send("refund", BET, attempt=1),
        examples.retry("refund", BET),
        start_send("bet", BET, operator=KY),
    ):
        with nothing_recorded(book), pytest.raises(Malformed):
            ask(book, command)


# an operator that nobody serves any more


ONLY_KY = House(operators={KY: examples.OPERATORS[KY]})


def test_what_an_operator_is_owed_that_nobody_serves_is_not_due_by_a_retry(book: Book) -> None:
    a_bet(book)
    book.house = ONLY_KY
    with nothing_recorded(book), pytest.raises(Malformed, match="no such operator is configured"):
        ask(book, examples.retry("bet", BET))


def test_an_operator_that_nobody_serves_is_told_while_anything_is_left_to_do(book: Book) -> None:
    assert book.forsaken() == []
    a_bet(book)
    assert book.forsaken() == []

    book.house = ONLY_KY
    assert book.forsaken() == [LM]
    book.house = examples.HOUSE
    answer(book, LM, "bet", BET)
    assert book.undelivered(limit=1) == []
    book.house = ONLY_KY
    assert book.forsaken() == [LM]

    book.house = examples.HOUSE
    ask(book, examples.cancel_round())
    answer(book, LM, "refund", BET)
    book.house = ONLY_KY
    assert book.forsaken() == []


# one sender at a time


@KINDS
def test_a_second_sender_gets_no_send_until_the_lease_is_over(
    book: Book, clock: examples.Clock, kind: Any
) -> None:
    reference = OWED[kind](book)
    first = started(book, kind, reference)
    assert (first.attempt, first.sends, first.currency) == (1, 1, "USD")
    clock.go(LEASE_S - 0.000_001)
    assert due(book) == []
    with nothing_recorded(book):
        assert started(book, kind, reference, worker=examples.OTHER_WORKER) is None
        assert started(book, kind, reference) is None


@KINDS
def test_a_dead_senders_delivery_is_taken_over_and_its_attempt_counts(
    book: Book, clock: examples.Clock, kind: Any
) -> None:
    reference = OWED[kind](book)
    first = started(book, kind, reference)
    clock.go(LEASE_S)
    assert due(book) == [(kind, reference)]
    second = started(book, kind, reference, worker=examples.OTHER_WORKER)
    assert (second.attempt, second.sends) == (2, 2)
    assert second.call == first.call
    taken = history(book)[-1]
    assert isinstance(taken, events.SendStarted)
    assert (taken.worker, taken.attempt) == (examples.OTHER_WORKER, 2)


def test_a_send_says_until_when_nobody_else_sends(book: Book, clock: examples.Clock) -> None:
    a_bet(book)
    started(book, "bet", BET)
    begun = history(book)[-1]
    clock.go(LEASE_S)
    assert begun.until == clock.text


def test_a_bet_whose_senders_all_died_is_given_up_without_another_send(
    book: Book, clock: examples.Clock
) -> None:
    a_bet(book)
    for _ in range(BET_SENDS):
        assert started(book, "bet", BET)
        clock.go(LEASE_S)
    before = position(book)
    outcome = ask(book, start_send("bet", BET))
    assert outcome.send is None
    assert outcome.recorded
    assert topics(book, after=before) == ["BetGivenUp", "CancelRequested"]
    assert delivery(book, "bet", BET).state == "given-up"
    assert due(book) == [("cancel", BET)]


@NO_BETS
def test_a_burst_whose_last_sender_died_is_parked_without_another_send(
    book: Book, clock: examples.Clock, kind: Any
) -> None:
    reference = OWED[kind](book)
    for _ in range(SENDS[kind] - 1):
        answer(book, LM, kind, reference, None)
    assert started(book, kind, reference)
    clock.go(LEASE_S)
    before = position(book)
    outcome = ask(book, start_send(kind, reference))
    assert outcome.send is None
    assert topics(book, after=before) == ["DeliveryParked"]
    found = delivery(book, kind, reference)
    assert (found.state, found.sends) == ("parked", SENDS[kind])
    answer(book, LM, kind, reference)
    assert delivery(book, kind, reference).state == "confirmed"


def test_a_person_may_retry_what_was_parked_because_its_sender_died(
    book: Book, clock: examples.Clock
) -> None:
    a_refund(book)
    for _ in range(BET_SENDS):
        assert started(book, "refund", BET)
        clock.go(LEASE_S)
    assert started(book, "refund", BET) is None
    found = delivery(book, "refund", BET)
    assert (found.state, found.sending) == ("parked", 0)
    assert ask(book, examples.retry("refund", BET)).recorded


# the answers


@KINDS
def test_a_confirmed_delivery_is_closed_for_ever(
    book: Book, clock: examples.Clock, kind: Any
) -> None:
    reference = OWED[kind](book)
    answer(book, LM, kind, reference)
    found = delivery(book, kind, reference)
    assert (found.state, found.due_at, found.undelivered_since) == ("confirmed", None, None)
    assert found.closed
    clock.go(days=1000)
    assert (kind, reference) not in due(book)
    with nothing_recorded(book):
        assert started(book, kind, reference) is None
        assert code(book, examples.retry(kind, reference)) == 0


@KINDS
def test_the_end_of_a_send_keeps_what_came_of_it(
    book: Book, clock: examples.Clock, kind: Any
) -> None:
    reference = OWED[kind](book)
    answer(book, LM, kind, reference, 998, wait_s=WAIT_S)
    end = history(book)[-1]
    assert isinstance(end, events.SendEnded)
    assert (end.outcome, end.code, end.detail, end.took_ms, end.attempt) == (
        "answered",
        998,
        examples.DETAIL,
        12,
        1,
    )
    clock.go(WAIT_S)
    assert end.again_at == clock.text
    found = delivery(book, kind, reference)
    assert (found.last_error, found.code) == (examples.DETAIL, 998)


@pytest.mark.parametrize("outcome", ["timeout", "unreachable", "invalid"])
@KINDS
def test_without_a_valid_answer_it_is_sent_again(book: Book, kind: Any, outcome: Any) -> None:
    reference = OWED[kind](book)
    answer(book, LM, kind, reference, None, outcome=outcome)
    assert delivery(book, kind, reference).state == "waiting"
    assert due(book) == [(kind, reference)]


@pytest.mark.parametrize("outcome", ["timeout", "unreachable", "invalid"])
@pytest.mark.parametrize("said", [0, 15, 999])
@KINDS
def test_only_an_answer_has_a_code_that_counts(
    book: Book, kind: Any, outcome: Any, said: int
) -> None:
    reference = OWED[kind](book)
    answer(book, LM, kind, reference, said, outcome=outcome)
    assert delivery(book, kind, reference).state == "waiting"
    assert due(book) == [(kind, reference)]


@pytest.mark.parametrize("refusal", sorted(FINAL))
@NO_BETS
def test_15_and_999_refuse_at_once_and_nothing_is_due_any_more(
    book: Book, clock: examples.Clock, kind: Any, refusal: int
) -> None:
    reference = OWED[kind](book)
    before = position(book)
    answer(book, LM, kind, reference, refusal)
    assert topics(book, after=before) == ["SendStarted", "SendEnded", "DeliveryRefused"]
    refused = history(book)[-1]
    assert (refused.kind, refused.code, refused.detail) == (kind, refusal, examples.DETAIL)
    found = delivery(book, kind, reference)
    assert (found.state, found.due_at) == ("refused", None)
    assert not found.closed
    clock.go(days=1000)
    assert due(book) == []
    with nothing_recorded(book):
        assert started(book, kind, reference) is None
    assert [each.reference for each in book.undelivered(limit=10)] == [reference]


@pytest.mark.parametrize("said", CODES)
@NO_BETS
def test_any_other_code_is_sent_again(book: Book, kind: Any, said: int) -> None:
    reference = OWED[kind](book)
    answer(book, LM, kind, reference, said)
    assert delivery(book, kind, reference).state == "waiting"
    assert due(book) == [(kind, reference)]


@pytest.mark.parametrize("said", sorted(DECLINED))
def test_a_code_that_says_a_bet_was_not_taken_declines_it(book: Book, said: int) -> None:
    a_bet(book)
    before = position(book)
    answer(book, LM, "bet", BET, said)
    assert topics(book, after=before) == ["SendStarted", "SendEnded", "BetDeclined"]
    assert (history(book)[-1].code, history(book)[-1].detail) == (said, examples.DETAIL)
    found = delivery(book, "bet", BET)
    assert (found.state, found.due_at, found.undelivered_since) == ("declined", None, None)
    assert found.closed


def test_the_codes_that_decline_a_bet_are_those_of_the_contract() -> None:
    assert {15, 16, 17, 52, 53, 54, 55, 56, 57, 58, 59, 62, 64, 999} == DECLINED
    assert {15, 999} == FINAL


@pytest.mark.parametrize("said", UNDECLINED)
def test_any_other_code_does_not_decline_a_bet_which_is_cancelled_in_the_end(
    book: Book, said: int
) -> None:
    a_bet(book)
    for _ in range(BET_SENDS - 1):
        answer(book, LM, "bet", BET, said)
        assert delivery(book, "bet", BET).state == "waiting"
    answer(book, LM, "bet", BET, said)
    assert delivery(book, "bet", BET).state == "given-up"
    assert due(book) == [("cancel", BET)]


# a refusal of a bet behind a send nobody has heard of


def is_given_up_at_once(book: Book) -> bool:
    """Says whether the bet was given up and its cancel is due, for the wallet may have taken it."""
    return delivery(book, "bet", BET).state == "given-up" and due(book) == [("cancel", BET)]


@pytest.mark.parametrize("outcome", ["timeout", "unreachable", "invalid"])
@pytest.mark.parametrize("said", [15, 56, 999])
def test_a_bet_declined_behind_a_send_without_an_answer_is_cancelled_to_be_sure(
    book: Book, outcome: Any, said: int
) -> None:
    a_bet(book)
    answer(book, LM, "bet", BET, None, outcome=outcome)
    before = position(book)
    answer(book, LM, "bet", BET, said)
    assert topics(book, after=before)[1:] == ["SendEnded", "BetGivenUp", "CancelRequested"]
    assert is_given_up_at_once(book)
    assert status(book) == "CancelInProcess"


def test_a_bet_declined_behind_a_dead_sender_is_cancelled_to_be_sure(
    book: Book, clock: examples.Clock
) -> None:
    a_bet(book)
    started(book, "bet", BET)
    clock.go(LEASE_S)
    answer(book, LM, "bet", BET, 15)
    assert is_given_up_at_once(book)


def test_a_bet_declined_behind_an_answer_that_is_no_refusal_is_declined(book: Book) -> None:
    a_bet(book)
    answer(book, LM, "bet", BET, 998)
    answer(book, LM, "bet", BET, 15)
    assert delivery(book, "bet", BET).state == "declined"


@pytest.mark.parametrize("said", [16, 55, 56, 62])
def test_a_bet_that_the_wallet_need_not_remember_to_have_refused_behind_a_998_is_cancelled(
    book: Book, said: int
) -> None:
    a_bet(book)
    answer(book, LM, "bet", BET, 998)
    answer(book, LM, "bet", BET, said)
    assert is_given_up_at_once(book)


def test_a_persons_retry_makes_no_send_without_an_answer_unsent(book: Book) -> None:
    a_bet(book)
    answer(book, LM, "bet", BET, None)
    ask(book, examples.retry("bet", BET))
    answer(book, LM, "bet", BET, 15)
    assert is_given_up_at_once(book)


@NO_BETS
def test_what_is_no_bet_is_refused_behind_a_send_without_an_answer_too(
    book: Book, kind: Any
) -> None:
    reference = OWED[kind](book)
    answer(book, LM, kind, reference, None)
    answer(book, LM, kind, reference, 999)
    assert delivery(book, kind, reference).state == "refused"


# bursts


@KINDS
def test_a_burst_is_one_send_and_three_more_and_ten_more_for_a_result(
    book: Book, kind: Any
) -> None:
    reference = OWED[kind](book)
    before = position(book)
    attempts = []
    while delivery(book, kind, reference).state == "waiting":
        answer(book, LM, kind, reference, None)
        attempts.append(history(book, after=before)[-1])
    sent = [event for event in history(book, after=before) if isinstance(event, events.SendStarted)]
    assert [event.attempt for event in sent] == list(range(1, SENDS[kind] + 1))
    assert delivery(book, kind, reference).state == ("given-up" if kind == "bet" else "parked")


@pytest.mark.parametrize(("retries", "result_retries"), [(0, 0), (1, 2), (5, 1)])
def test_the_length_of_a_burst_is_a_setting(
    clock: examples.Clock, retries: int, result_retries: int
) -> None:
    operator = Operator(
        id=LM,
        dialect="lucky-monaco-v4",
        provider="LuckyMonaco",
        retries=retries,
        result_retries=result_retries,
    )
    book = examples.new_book("memory://", now=clock, house=House(operators={LM: operator}))
    accepted_bet(book)
    ask(book, examples.report_result())
    for _ in range(result_retries):
        answer(book, LM, "result", RESULT, None)
        assert delivery(book, "result", RESULT).state == "waiting"
    answer(book, LM, "result", RESULT, None)
    assert delivery(book, "result", RESULT).state == "parked"
    ask(book, examples.place_bet(round_id="2", reference="2"))
    examples.give_bet_up(book, reference="2", sends=retries + 1)
    assert delivery(book, "bet", "2").state == "given-up"
    book.close()


@NO_BETS
def test_a_burst_without_an_answer_is_parked_and_tried_for_ever_at_the_parked_pace(
    book: Book, clock: examples.Clock, kind: Any
) -> None:
    reference = OWED[kind](book)
    for _ in range(SENDS[kind] - 1):
        answer(book, LM, kind, reference, 998, wait_s=WAIT_S, parked_wait_s=PARKED_WAIT_S)
        clock.go(WAIT_S)
    before = position(book)
    answer(book, LM, kind, reference, 998, wait_s=WAIT_S, parked_wait_s=PARKED_WAIT_S)
    assert topics(book, after=before)[-1] == "DeliveryParked"
    for _ in range(2 * SENDS[kind]):
        clock.go(PARKED_WAIT_S - 0.000_001)
        assert due(book) == []
        clock.go(0.000_001)
        before = position(book)
        answer(book, LM, kind, reference, None, wait_s=WAIT_S, parked_wait_s=PARKED_WAIT_S)
        assert topics(book, after=before) == ["SendStarted", "SendEnded"]
        assert delivery(book, kind, reference).state == "parked"
    assert [each.reference for each in book.undelivered(limit=10)] == [reference]
    clock.go(PARKED_WAIT_S)
    answer(book, LM, kind, reference)
    assert delivery(book, kind, reference).state == "confirmed"
    assert status(book) in {"Completed", "Cancelled"}
    assert book.undelivered(limit=10) == []


@pytest.mark.parametrize("refusal", sorted(FINAL))
@NO_BETS
def test_a_parked_delivery_may_still_be_refused_for_good(
    book: Book, kind: Any, refusal: int
) -> None:
    reference = OWED[kind](book)
    exhaust(book, kind, reference)
    answer(book, LM, kind, reference, refusal)
    assert delivery(book, kind, reference).state == "refused"
    assert due(book) == []


# a person's retry


@NO_BETS
def test_a_retry_of_a_parked_delivery_is_a_new_burst_at_once(
    book: Book, clock: examples.Clock, kind: Any
) -> None:
    reference = OWED[kind](book)
    for _ in range(SENDS[kind]):
        answer(book, LM, kind, reference, None, parked_wait_s=PARKED_WAIT_S)
    assert due(book) == []
    assert ask(book, examples.retry(kind, reference)).recorded
    found = delivery(book, kind, reference)
    assert (found.state, found.sends, found.attempts) == ("waiting", 0, SENDS[kind])
    exhaust(book, kind, reference)
    assert delivery(book, kind, reference).state == "parked"
    assert delivery(book, kind, reference).attempts == 2 * SENDS[kind]


@NO_BETS
def test_a_retry_of_a_refused_delivery_is_a_new_burst_and_may_be_confirmed(
    book: Book, kind: Any
) -> None:
    reference = OWED[kind](book)
    answer(book, LM, kind, reference, 999)
    assert ask(book, examples.retry(kind, reference)).recorded
    assert due(book) == [(kind, reference)]
    answer(book, LM, kind, reference)
    assert delivery(book, kind, reference).state == "confirmed"
    assert status(book) in {"Completed", "Cancelled"}


@NO_BETS
def test_what_a_retry_came_to_is_what_a_replay_says(book: Book, kind: Any) -> None:
    reference = OWED[kind](book)
    answer(book, LM, kind, reference, 999)
    assert ask(book, examples.retry(kind, reference)).round == book.round(LM, ROUND)


@NO_BETS
def test_what_parking_came_to_is_what_a_replay_says(book: Book, kind: Any) -> None:
    reference = OWED[kind](book)
    for _ in range(SENDS[kind]):
        outcome = answer(book, LM, kind, reference, None)
    assert outcome.round == book.round(LM, ROUND)


def test_a_retry_makes_a_waiting_delivery_due_now(book: Book) -> None:
    a_refund(book)
    answer(book, LM, "refund", BET, None, wait_s=3600)
    assert due(book) == []
    ask(book, examples.retry("refund", BET))
    assert due(book) == [("refund", BET)]


@KINDS
def test_a_retry_while_it_is_being_sent_changes_nothing(book: Book, kind: Any) -> None:
    reference = OWED[kind](book)
    started(book, kind, reference)
    with nothing_recorded(book):
        assert not ask(book, examples.retry(kind, reference)).recorded


@KINDS
def test_a_retry_once_the_lease_of_a_dead_sender_is_over_is_a_new_burst(
    book: Book, clock: examples.Clock, kind: Any
) -> None:
    reference = OWED[kind](book)
    for _ in range(SENDS[kind]):
        assert started(book, kind, reference)
        clock.go(LEASE_S)
    assert ask(book, examples.retry(kind, reference)).recorded
    send = started(book, kind, reference)
    assert (send.attempt, send.sends) == (SENDS[kind] + 1, 1)


@pytest.mark.parametrize("closed", ["declined", "given-up"])
def test_a_retry_of_a_closed_bet_changes_nothing(book: Book, closed: str) -> None:
    a_bet(book)
    if closed == "declined":
        answer(book, LM, "bet", BET, 15)
    else:
        examples.give_bet_up(book)
    with nothing_recorded(book):
        assert not ask(book, examples.retry("bet", BET)).recorded


# late and repeated ends


@pytest.mark.parametrize("said", [0, 998, None, 999])
@KINDS
def test_an_end_reported_twice_is_recorded_once(book: Book, kind: Any, said: int | None) -> None:
    reference = OWED[kind](book)
    send = started(book, kind, reference)
    assert ended(book, kind, reference, send.attempt, said)
    with nothing_recorded(book):
        assert not ask(book, end_send(kind, reference, attempt=send.attempt, code=said)).recorded


@pytest.mark.parametrize("said", [0, 15, 998, None])
@KINDS
def test_an_end_of_a_send_that_never_started_is_ignored(
    book: Book, kind: Any, said: int | None
) -> None:
    reference = OWED[kind](book)
    with nothing_recorded(book):
        for attempt in (-1, 0, 1, 2):
            assert ended(book, kind, reference, attempt, said) == []
    send = started(book, kind, reference)
    with nothing_recorded(book):
        for attempt in (-1, 0, send.attempt + 1):
            assert ended(book, kind, reference, attempt, said) == []
    assert ended(book, kind, reference, send.attempt, 0)
    assert delivery(book, kind, reference).state == "confirmed"


@KINDS
def test_an_old_senders_0_settles_while_another_sends(
    book: Book, clock: examples.Clock, kind: Any
) -> None:
    reference = OWED[kind](book)
    old, new = taken_over(book, clock, kind, reference)
    ended(book, kind, reference, old.attempt, 0)
    found = delivery(book, kind, reference)
    assert (found.state, found.due_at) == ("confirmed", None)
    with nothing_recorded(book):
        for said in (0, 15, 998, None):
            assert ended(book, kind, reference, new.attempt, said) == []


@pytest.mark.parametrize("said", [998, 401, None])
@KINDS
def test_any_other_late_answer_of_an_old_sender_is_ignored_while_another_sends(
    book: Book, clock: examples.Clock, kind: Any, said: int | None
) -> None:
    reference = OWED[kind](book)
    old, new = taken_over(book, clock, kind, reference)
    with nothing_recorded(book):
        ended(book, kind, reference, old.attempt, said)
    ended(book, kind, reference, new.attempt, 0)
    assert delivery(book, kind, reference).state == "confirmed"


@pytest.mark.parametrize("said", [15, 999])
@NO_BETS
def test_a_late_refusal_of_an_old_sender_is_ignored_while_another_sends(
    book: Book, clock: examples.Clock, kind: Any, said: int
) -> None:
    reference = OWED[kind](book)
    old, new = taken_over(book, clock, kind, reference)
    with nothing_recorded(book):
        ended(book, kind, reference, old.attempt, said)
    ended(book, kind, reference, new.attempt, 0)
    assert delivery(book, kind, reference).state == "confirmed"


@pytest.mark.parametrize("said", [15, 56])
def test_a_late_refusal_of_a_bet_is_ignored_while_another_send_may_be_taken(
    book: Book, clock: examples.Clock, said: int
) -> None:
    a_bet(book)
    old, new = taken_over(book, clock, "bet", BET)
    with nothing_recorded(book):
        ended(book, "bet", BET, old.attempt, said)
    ended(book, "bet", BET, new.attempt, 0)
    assert book.round(LM, ROUND).staked == 10001


@pytest.mark.parametrize("said", [999, 998, None])
@NO_BETS
def test_a_late_answer_that_settles_nothing_is_ignored_when_the_next_send_has_ended(
    book: Book, clock: examples.Clock, kind: Any, said: int | None
) -> None:
    reference = OWED[kind](book)
    old = started(book, kind, reference)
    clock.go(LEASE_S)
    answer(book, LM, kind, reference, None)
    with nothing_recorded(book):
        ended(book, kind, reference, old.attempt, said)


@NO_BETS
def test_only_its_last_sender_is_told_again_where_a_delivery_stands(
    book: Book, clock: examples.Clock, kind: Any
) -> None:
    reference = OWED[kind](book)
    old, new = taken_over(book, clock, kind, reference)
    ended(book, kind, reference, new.attempt, 999)
    again = [end_send(kind, reference, attempt=each.attempt, code=None) for each in (old, new)]
    assert [ask(book, end).state for end in again] == [None, "refused"]


@KINDS
def test_a_slow_sender_whose_lease_is_over_still_counts_when_nobody_took_over(
    book: Book, clock: examples.Clock, kind: Any
) -> None:
    reference = OWED[kind](book)
    slow = started(book, kind, reference)
    clock.go(10 * LEASE_S)
    assert ended(book, kind, reference, slow.attempt, 998) == ["SendEnded"]
    assert delivery(book, kind, reference).code == 998


@NO_BETS
@pytest.mark.parametrize("state", ["parked", "refused"])
def test_a_late_0_settles_what_is_parked_or_refused(
    book: Book, clock: examples.Clock, kind: Any, state: str
) -> None:
    reference = OWED[kind](book)
    old = started(book, kind, reference)
    clock.go(LEASE_S)
    if state == "refused":
        answer(book, LM, kind, reference, 999)
    else:
        for _ in range(SENDS[kind] - 1):
            answer(book, LM, kind, reference, None)
    assert delivery(book, kind, reference).state == state
    ended(book, kind, reference, old.attempt, 0)
    assert delivery(book, kind, reference).state == "confirmed"
    assert book.round(LM, ROUND).refused == frozenset()
    assert due(book) == []


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_late_0_for_a_bet_that_was_given_up_changes_nothing(
    book: Book, clock: examples.Clock, *, cancelled: bool
) -> None:
    a_bet(book)
    old = started(book, "bet", BET)
    clock.go(LEASE_S)
    examples.give_bet_up(book, sends=BET_SENDS - 1)
    assert delivery(book, "bet", BET).state == "given-up"
    if cancelled:
        answer(book, LM, "cancel", BET)
    with nothing_recorded(book):
        for attempt in (old.attempt, BET_SENDS):
            assert ended(book, "bet", BET, attempt, 0) == []
    assert book.round(LM, ROUND).staked == 0


def test_a_late_0_for_a_bet_that_was_declined_changes_nothing(book: Book) -> None:
    a_bet(book)
    answer(book, LM, "bet", BET, 15)
    with nothing_recorded(book):
        assert ended(book, "bet", BET, 1, 0) == []


# what is sent


def of(call: events.Call) -> tuple[str, dict[str, Any]]:
    return call.path, json.loads(call.body)


COMMON = {
    "userId": controls.PLAYER,
    "currency": "USD",
    "gameId": controls.GAME,
}
LUCKY = {**COMMON, "providerId": "LuckyMonaco"}
KYREN = {**COMMON, "providerId": "Kyren"}
NAMED = {"gameName": controls.GAME_NAME, "reference": BET}
SESSION = {"sessionId": controls.SESSION}
IN_ROUND = {"roundId": ROUND}

BODIES = {
    (LM, "cancel"): ("/V4/Cancel", {**LUCKY, **NAMED, **SESSION}),
    (LM, "refund"): ("/v4/Cancel", {**LUCKY, **NAMED}),
    (KY, "cancel"): ("/v1/Cancel", {**KYREN, **NAMED, **SESSION, **IN_ROUND}),
    (KY, "refund"): ("/v1/Cancel", {**KYREN, **NAMED, **SESSION, **IN_ROUND}),
    (LM, "end"): ("/V4/EndRound", {**LUCKY, **SESSION, **IN_ROUND}),
    (KY, "end"): ("/v1/EndRound", {**KYREN, **SESSION, **IN_ROUND}),
}
MONEY = {
    (LM, "bet"): ("/V4/Bet", LUCKY, controls.STAKE, BET),
    (LM, "result"): ("/V4/Result", LUCKY, controls.WIN, RESULT),
    (KY, "bet"): ("/v1/Bet", KYREN, controls.STAKE, BET),
    (KY, "result"): ("/v1/Result", KYREN, controls.WIN, RESULT),
}


def call_of(book: Book, operator: str, kind: Any) -> events.Call:
    reference = OWED[kind](book, operator=operator)
    send = ask(book, start_send(kind, reference, operator=operator)).send
    assert send
    return send.call


@pytest.mark.parametrize(("operator", "kind"), BODIES)
def test_a_reversal_and_an_end_are_exactly_what_the_seeds_ask_for(
    book: Book, operator: str, kind: Any
) -> None:
    path, body = of(call_of(book, operator, kind))
    uuid = body.pop("uuid")
    assert (path, body) == BODIES[operator, kind]
    assert re.fullmatch(r"[0-9a-f]{32}", uuid)


@pytest.mark.parametrize(("operator", "kind"), MONEY)
def test_a_bet_and_a_result_are_exactly_what_the_contract_asks_for(
    book: Book, clock: examples.Clock, operator: str, kind: Any
) -> None:
    path, body = of(call_of(book, operator, kind))
    expected_path, common, amount, reference = MONEY[operator, kind]
    uuid = body.pop("uuid")
    assert path == expected_path
    assert body == {
        **common,
        "gameName": controls.GAME_NAME,
        **SESSION,
        **IN_ROUND,
        "reference": reference,
        "amount": amount,
        "timestamp": str(int(clock().timestamp() * 1000)),
        "roundDetails": kind,
    }
    assert re.fullmatch(r"[0-9a-f]{32}", uuid)


def test_the_details_of_a_bet_are_sent_as_the_game_gave_them(book: Book) -> None:
    ask(book, examples.place_bet(details={"spin": [1, "é"], "line": None}))
    _, body = of(started(book, "bet", BET).call)
    assert body["roundDetails"] == {"spin": [1, "é"], "line": None}


@pytest.mark.parametrize("details", [None, ""])
def test_a_bet_and_a_result_without_details_say_their_kind_which_no_wallet_finds_missing(
    book: Book, details: Any
) -> None:
    ask(book, examples.place_bet(details=details))
    answer(book, LM, "bet", BET)
    ask(book, examples.report_result(details=details))

    asked = [each for each in examples.history(book) if isinstance(each, events.Requested)]
    assert [of(each.call)[1]["roundDetails"] for each in asked] == ["bet", "result"]


@pytest.mark.parametrize("details", [0, False, [], {}, "0"])
def test_details_that_are_empty_zero_or_false_are_sent_as_the_game_gave_them(
    book: Book, details: Any
) -> None:
    ask(book, examples.place_bet(details=details))
    _, body = of(started(book, "bet", BET).call)
    assert body["roundDetails"] == details
    assert type(body["roundDetails"]) is type(details)


def test_a_reversal_names_the_session_of_its_bet_and_not_the_last_one(book: Book) -> None:
    for reference, session in ((BET, "s-1"), ("2", "s-2")):
        accepted_bet(book, reference=reference, session=session, operator=KY)
    ask(book, examples.cancel_round(operator=KY))
    for reference, session in ((BET, "s-1"), ("2", "s-2")):
        send = ask(book, start_send("refund", reference, operator=KY)).send
        assert send
        assert of(send.call)[1]["sessionId"] == session


def test_every_call_has_a_uuid_of_its_own(book: Book) -> None:
    a_cancel(book)
    for operator in (LM, KY):
        for round_id in ("2", "3"):
            accepted_bet(book, reference=round_id, round_id=round_id, operator=operator)
        ask(book, examples.cancel_round(round_id="2", operator=operator))
        won = examples.report_result(round_id="3", reference="3", operator=operator)
        ask(book, won)
        answer(book, operator, "result", "3")
        ask(book, examples.end_round(round_id="3", operator=operator))
    calls = [event.call for event in history(book) if isinstance(event, events.Requested)]
    assert len({of(call)[1]["uuid"] for call in calls}) == len(calls) == 12


@pytest.mark.parametrize("operator", [LM, KY])
@KINDS
def test_the_bytes_of_a_call_are_the_same_in_every_send(
    book: Book, clock: examples.Clock, operator: str, kind: Any
) -> None:
    reference = OWED[kind](book, operator=operator)
    calls = []
    for _ in range(SENDS[kind]):
        send = ask(book, start_send(kind, reference, operator=operator)).send
        assert send
        calls.append(send.call)
        clock.go(1)
        ask(
            book,
            end_send(
                kind,
                reference,
                attempt=send.attempt,
                code=None,
                operator=operator,
                wait_s=0,
                parked_wait_s=0,
            ),
        )
    if kind != "bet":
        ask(book, examples.retry(kind, reference, operator=operator))
        again = ask(book, start_send(kind, reference, operator=operator)).send
        assert again
        calls.append(again.call)
    assert len({(call.path, call.body) for call in calls}) == 1


def test_the_bytes_of_a_call_are_the_same_after_a_restart(
    tmp_path: Path, clock: examples.Clock
) -> None:
    calls = []
    for restarted in (False, True):
        book = examples.new_book(f"sqlite:///{tmp_path}/book.db", now=clock)
        if not restarted:
            a_refund(book)
        calls.append(started(book, "refund", BET).call)
        clock.go(LEASE_S)
        book.close()
    assert calls[0] == calls[1]


SECRET = re.compile(r"(?i)memb_?id|\bhash\b|token|secret|password|credential")


@pytest.mark.parametrize("said", [0, 998])
@pytest.mark.parametrize(("operator", "kind"), [*BODIES, *MONEY])
def test_no_event_and_no_table_holds_a_secret_looking_thing(
    book: Book, operator: str, kind: Any, said: int
) -> None:
    reference = OWED[kind](book, operator=operator)
    answer(book, operator, kind, reference, said)
    bodies = [record.state.decode() for record in book.store.records(after=0, limit=1000)]
    for text in (*bodies, repr(tables(book))):
        assert not SECRET.search(text)

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from ledger.operator import events
from ledger.operator.book import Book
from tests import controls
from tests.questions import (
    about_another,
    cash,
    code,
    history,
    no_money_moved,
    nothing_recorded,
    status,
    topics,
    transaction_id,
)

OpenBook = Callable[..., Book]

THREE = (controls.REFERENCE, controls.SECOND_REFERENCE, controls.THIRD_REFERENCE)


@pytest.fixture
def three_bets(book: Book) -> Book:
    for reference, amount in zip(THREE, ("1.00", "2.00", "4.00"), strict=True):
        book.submit(controls.place_bet(reference=reference, amount=amount))
    return book


def sums(book: Book) -> tuple[int, int, int]:
    replayed = book.round(controls.PROVIDER, controls.ROUND)
    assert replayed is not None
    row = book.store.row("rounds", (controls.PROVIDER, controls.ROUND))
    assert row is not None
    assert row[3:6] == (replayed.staked, replayed.won, replayed.reversed)
    return row[3:6]


# several bets


def test_of_three_bets_one_cancelled_gives_one_stake_back_and_the_round_goes_on(
    three_bets: Book,
) -> None:
    three_bets.submit(controls.cancel(reference=controls.SECOND_REFERENCE))
    assert cash(three_bets) == "99995.00"
    assert status(three_bets) == "InProgress"
    assert sums(three_bets) == (700, 0, 200)


@pytest.mark.parametrize("call", [controls.cancel, controls.refund])
def test_a_round_is_cancelled_when_its_last_bet_is_reversed(three_bets: Book, call: Any) -> None:
    for reference, expected in zip(THREE, ("InProgress", "InProgress", "Cancelled"), strict=True):
        three_bets.submit(call(reference=reference))
        assert status(three_bets) == expected
    assert cash(three_bets) == controls.OPENING_CASH
    assert topics(three_bets).count("RoundCancelled") == 1


def test_each_bet_of_a_round_is_reversed_under_its_own_id(three_bets: Book) -> None:
    ids = {transaction_id(three_bets, controls.cancel(reference=each)) for each in THREE}
    assert len(ids) == 3


# wallet CancelRound


@pytest.mark.parametrize("reference", THREE)
def test_cancel_round_reverses_every_open_bet_and_cancels_the_round(
    three_bets: Book, reference: str
) -> None:
    start = three_bets.store.head().position
    assert code(three_bets, controls.cancel_round(reference=reference)) == 0
    assert topics(three_bets, after=start) == [*["BetCancelled"] * 3, "RoundCancelled"]
    assert {e.by for e in history(three_bets, after=start)[:3]} == {"cancel-round"}
    assert cash(three_bets) == controls.OPENING_CASH
    assert status(three_bets) == "Cancelled"


def test_cancel_round_reverses_only_what_is_still_open(three_bets: Book) -> None:
    three_bets.submit(controls.cancel(reference=controls.THIRD_REFERENCE))
    start = three_bets.store.head().position
    assert code(three_bets, controls.cancel_round(reference=controls.THIRD_REFERENCE)) == 0
    assert topics(three_bets, after=start) == ["BetCancelled", "BetCancelled", "RoundCancelled"]
    assert cash(three_bets) == controls.OPENING_CASH


def test_cancel_round_again_answers_the_same_id_and_gives_nothing_back(three_bets: Book) -> None:
    first = transaction_id(three_bets, controls.cancel_round())
    with nothing_recorded(three_bets):
        assert transaction_id(three_bets, controls.cancel_round(uuid="other")) == first
        for reference in THREE:
            assert code(three_bets, controls.cancel(reference=reference)) == 0


def test_cancel_round_after_a_result_is_999(three_bets: Book) -> None:
    three_bets.submit(controls.result(amount="0"))
    with nothing_recorded(three_bets):
        assert code(three_bets, controls.cancel_round()) == 999


def test_cancel_round_leaves_other_rounds_alone(three_bets: Book) -> None:
    three_bets.submit(
        controls.place_bet(reference="other", round_id=controls.OTHER_ROUND, amount="8.00")
    )
    three_bets.submit(controls.cancel_round())
    assert cash(three_bets) == "99992.00"
    assert status(three_bets, round_id=controls.OTHER_ROUND) == "InProgress"


def test_cancel_round_by_a_refused_bet_of_the_round_reverses_the_others(three_bets: Book) -> None:
    assert code(three_bets, controls.place_bet(reference="refused", amount="100000.00")) == 15
    assert code(three_bets, controls.cancel_round(reference="refused")) == 0
    assert cash(three_bets) == controls.OPENING_CASH
    assert status(three_bets) == "Cancelled"


def test_cancel_round_of_a_round_whose_only_bet_was_refused_cancels_it(book: Book) -> None:
    assert code(book, controls.place_bet(amount="100000.01")) == 15
    assert code(book, controls.cancel_round()) == 0
    assert status(book) == "Cancelled"


# later-form Refund


def test_a_later_refund_of_an_unknown_reference_reverses_every_open_bet_of_its_round(
    three_bets: Book,
) -> None:
    three_bets.submit(controls.cancel(reference=controls.SECOND_REFERENCE))
    whole = controls.refund_later_form(reference=controls.UNKNOWN_REFERENCE)
    start = three_bets.store.head().position
    first = transaction_id(three_bets, whole)
    assert topics(three_bets, after=start).count("BetRefunded") == 2
    assert cash(three_bets) == controls.OPENING_CASH
    assert status(three_bets) == "Cancelled"
    with nothing_recorded(three_bets):
        assert transaction_id(three_bets, whole) == first


def test_a_later_refund_of_a_known_reference_reverses_that_bet_alone(three_bets: Book) -> None:
    three_bets.submit(controls.refund_later_form(reference=controls.SECOND_REFERENCE))
    assert cash(three_bets) == "99995.00"
    assert status(three_bets) == "InProgress"


def test_a_later_refund_of_an_unknown_reference_refuses_the_late_bet_too(three_bets: Book) -> None:
    three_bets.submit(controls.refund_later_form(reference=controls.UNKNOWN_REFERENCE))
    with no_money_moved(three_bets):
        late = controls.place_bet(reference=controls.UNKNOWN_REFERENCE, amount="1.00")
        assert code(three_bets, late) == 999


def test_a_later_refund_of_an_unknown_reference_in_a_completed_round_is_999(
    three_bets: Book,
) -> None:
    three_bets.submit(controls.result())
    with nothing_recorded(three_bets):
        unknown = controls.refund_later_form(reference=controls.UNKNOWN_REFERENCE)
        assert code(three_bets, unknown) == 999


@pytest.mark.parametrize("round_", [controls.ROUND, None])
def test_a_later_refund_of_a_refused_bet_buries_that_alone(
    three_bets: Book, round_: str | None
) -> None:
    assert code(three_bets, controls.place_bet(reference="refused", amount="999999.00")) == 15
    refund = replace(controls.refund_later_form(reference="refused"), round=round_)
    with no_money_moved(three_bets):
        assert code(three_bets, refund) == 0
    assert status(three_bets) == "InProgress"
    assert topics(three_bets)[-1] == "TombstoneRecorded"


# reversals of a reference nobody has heard of, sent again


UNHEARD = {
    "cancel": controls.cancel(reference=controls.UNKNOWN_REFERENCE, round_id=controls.ROUND),
    "later refund": controls.refund_later_form(reference=controls.UNKNOWN_REFERENCE),
    "cancel round": replace(
        controls.cancel_round(reference=controls.UNKNOWN_REFERENCE), round=controls.ROUND
    ),
}
BETWEEN = {
    "nothing": [],
    "a bet": [controls.place_bet(reference="new")],
    "a bet and its result": [
        controls.place_bet(reference="new"),
        controls.result(reference="won", amount="5.00"),
    ],
    "the late bet": [controls.place_bet(reference=controls.UNKNOWN_REFERENCE)],
}


@pytest.mark.parametrize("between", BETWEEN.values(), ids=BETWEEN)
@pytest.mark.parametrize("call", UNHEARD.values(), ids=UNHEARD)
@pytest.mark.parametrize("before", [[controls.place_bet()], []], ids=["round known", "unknown"])
def test_a_reversal_of_an_unknown_reference_sent_again_moves_nothing(
    book: Book, call: Any, between: list[Any], before: list[Any]
) -> None:
    for command in before:
        book.submit(command)
    first = transaction_id(book, call)
    for command in between:
        code(book, command)
    with nothing_recorded(book):
        assert transaction_id(book, call) == first


@about_another
def test_a_later_refund_of_an_unknown_reference_must_belong_to_the_round(
    three_bets: Book, other: dict[str, str], expected: int
) -> None:
    with nothing_recorded(three_bets):
        unknown = controls.refund_later_form(reference=controls.UNKNOWN_REFERENCE, **other)
        assert code(three_bets, unknown) == expected


# EndRound


def test_end_round_again_and_again_is_0_and_moves_no_money(book: Book) -> None:
    book.submit(controls.place_bet())
    with no_money_moved(book):
        first = book.submit(controls.end_round())
    assert isinstance(history(book)[-1], events.RoundEnded)
    assert first.transaction_id
    for _ in range(3):
        with nothing_recorded(book):
            again = book.submit(controls.end_round(uuid=controls.OTHER_UUID))
        assert again.transaction_id == first.transaction_id
        assert again.cash == 9989999


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ([], "Completed"),
        ([controls.result()], "Completed"),
        ([controls.cancel()], "Cancelled"),
    ],
    ids=["open", "with a result", "cancelled"],
)
def test_an_ended_round_is_completed_unless_it_was_cancelled(
    book: Book, before: list[Any], expected: str
) -> None:
    for command in [controls.place_bet(), *before]:
        book.submit(command)
    assert code(book, controls.end_round()) == 0
    assert status(book) == expected


def test_a_result_after_the_end_of_the_round_is_paid(book: Book) -> None:
    book.submit(controls.place_bet())
    book.submit(controls.end_round())
    assert code(book, controls.result()) == 0
    assert cash(book) == controls.CASH_AFTER_WIN


def test_the_end_of_an_unknown_round_is_17(book: Book) -> None:
    with nothing_recorded(book):
        assert code(book, controls.end_round()) == 17


@about_another
def test_the_end_must_belong_to_its_round(book: Book, other: dict[str, str], expected: int) -> None:
    book.submit(controls.place_bet())
    with nothing_recorded(book):
        assert code(book, controls.end_round(**other)) == expected


# questions


def test_a_round_nobody_has_spoken_of_is_none(book: Book) -> None:
    assert book.round(controls.PROVIDER, controls.ROUND) is None


def test_a_round_is_shown_as_of_each_of_its_events(three_bets: Book) -> None:
    three_bets.submit(controls.cancel())
    three_bets.submit(controls.result(amount="16.00"))
    seen = [three_bets.round(controls.PROVIDER, controls.ROUND, at=at) for at in range(1, 7)]
    assert [(r.version, r.staked, r.reversed, r.won, r.status) for r in seen] == [
        (1, 0, 0, 0, "InProgress"),
        (2, 100, 0, 0, "InProgress"),
        (3, 300, 0, 0, "InProgress"),
        (4, 700, 0, 0, "InProgress"),
        (5, 700, 100, 0, "InProgress"),
        (6, 700, 100, 1600, "Completed"),
    ]
    assert sums(three_bets) == (700, 1600, 100)


def test_the_bets_of_a_round_stand_in_the_order_they_were_placed(three_bets: Book) -> None:
    replayed = three_bets.round(controls.PROVIDER, controls.ROUND)
    assert tuple(replayed.bets) == THREE
    three_bets.submit(controls.cancel(reference=controls.SECOND_REFERENCE))
    replayed = three_bets.round(controls.PROVIDER, controls.ROUND)
    assert [bet.reference for bet in replayed.open_bets] == [THREE[0], THREE[2]]

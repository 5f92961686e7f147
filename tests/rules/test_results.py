from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from ledger.money import read_number, to_text
from ledger.operator import events
from ledger.operator.book import Book
from ledger.operator.house import House
from tests import controls
from tests.questions import (
    cash,
    code,
    history,
    nothing_recorded,
    status,
    topics,
    while_bets_are_not_taken,
)

OpenBook = Callable[..., Book]


# a new reference


def test_a_result_pays_its_win_once_and_completes_the_round(book: Book) -> None:
    book.submit(controls.place_bet())
    start = book.store.head().position
    outcome = book.submit(controls.result())
    (recorded,) = history(book, after=start)
    assert isinstance(recorded, events.ResultRecorded)
    assert (recorded.amount, recorded.kind) == (25000, "result")
    assert to_text(outcome.cash, outcome.scale) == controls.CASH_AFTER_WIN == cash(book)
    assert status(book) == "Completed"


def test_a_result_of_zero_is_recorded_and_completes_the_round(book: Book) -> None:
    book.submit(controls.place_bet())
    assert code(book, controls.result(amount="0")) == 0
    assert topics(book)[-1] == "ResultRecorded"
    assert cash(book) == controls.CASH_AFTER_BET
    assert status(book) == "Completed"


def test_a_result_without_a_session_closes_the_round_for_the_player(book: Book) -> None:
    book.submit(controls.place_bet())
    assert code(book, controls.result(session=None)) == 0
    assert history(book)[-1].said.session is None
    assert cash(book) == controls.CASH_AFTER_WIN


def test_a_round_may_have_several_results(book: Book) -> None:
    book.submit(controls.place_bet())
    book.submit(controls.result(amount="1.00"))
    book.submit(controls.result(amount="2.00", reference=controls.THIRD_REFERENCE))
    assert cash(book) == "99902.99"


def test_result_bonus_and_jackpot_of_one_reference_are_three_wins(book: Book) -> None:
    book.submit(controls.place_bet())
    ids = {
        book.submit(controls.result(kind=kind, amount="1.00")).transaction_id
        for kind in ("result", "bonus", "jackpot")
    }
    assert len(ids) == 3
    assert cash(book) == "99902.99"


# a known reference


@pytest.mark.parametrize("kind", ["result", "bonus", "jackpot"])
def test_the_same_result_again_answers_the_first_id_and_pays_nothing(book: Book, kind: str) -> None:
    book.submit(controls.place_bet())
    first = book.submit(controls.result(kind=kind))
    book.submit(controls.deposit(amount="0.01"))
    with nothing_recorded(book):
        again = book.submit(controls.result(kind=kind, uuid=controls.OTHER_UUID, session=None))
    assert again.transaction_id == first.transaction_id
    assert to_text(again.cash, again.scale) == "100150.00"
    assert not again.recorded


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({"amount": "250.01"}, 57),
        ({"round_id": controls.OTHER_ROUND}, 57),
        ({"game": controls.OTHER_GAME}, 57),
        ({"currency": controls.OTHER_CURRENCY}, 57),
        ({"user": controls.OTHER_PLAYER}, 16),
        ({"user": controls.STRANGER}, 16),
    ],
    ids=["amount", "round", "game", "currency", "player", "stranger"],
)
def test_a_known_result_with_another_payload_has_no_effect(
    book: Book, other: dict[str, str], expected: int
) -> None:
    controls.fund(book, user=controls.OTHER_PLAYER)
    book.submit(controls.place_bet())
    book.submit(controls.result())
    with nothing_recorded(book):
        assert code(book, controls.result(**other)) == expected


def test_a_known_result_is_answered_after_the_round_has_ended(book: Book) -> None:
    book.submit(controls.place_bet())
    first = book.submit(controls.result())
    book.submit(controls.end_round())
    with nothing_recorded(book):
        assert book.submit(controls.result()).transaction_id == first.transaction_id


# what is refused


def test_a_result_for_an_unknown_round_is_17(book: Book) -> None:
    with nothing_recorded(book):
        assert code(book, controls.result()) == 17


def test_a_result_of_a_round_whose_only_bet_was_refused_is_17(book: Book) -> None:
    assert code(book, controls.place_bet(amount="100000.01")) == 15
    with nothing_recorded(book):
        assert code(book, controls.result()) == 17


@pytest.mark.parametrize("amount", ["0", controls.WIN])
@pytest.mark.parametrize(
    "reversal",
    [controls.cancel(), controls.refund(), controls.cancel_round()],
    ids=["cancel", "refund", "cancel round"],
)
def test_a_result_on_a_reversed_bets_round_is_999(book: Book, reversal: Any, amount: str) -> None:
    book.submit(controls.place_bet())
    book.submit(reversal)
    with nothing_recorded(book):
        assert code(book, controls.result(amount=amount)) == 999
    assert cash(book) == controls.OPENING_CASH


def test_a_result_is_paid_while_another_bet_of_the_round_is_open(book: Book) -> None:
    book.submit(controls.place_bet())
    book.submit(controls.place_bet(reference=controls.SECOND_REFERENCE))
    book.submit(controls.cancel())
    assert code(book, controls.result()) == 0
    assert cash(book) == controls.CASH_AFTER_WIN


@pytest.mark.parametrize("round_id", [None, controls.ROUND])
def test_a_result_on_a_tombstone_is_999(book: Book, round_id: str | None) -> None:
    book.submit(controls.cancel(round_id=round_id))
    with nothing_recorded(book):
        assert code(book, controls.result(reference=controls.REFERENCE)) == 999


def test_a_result_on_a_tombstones_round_is_999_by_any_reference(book: Book) -> None:
    book.submit(controls.cancel(round_id=controls.ROUND))
    with nothing_recorded(book):
        assert code(book, controls.result()) == 999


def test_a_result_after_a_late_bet_is_999(book: Book) -> None:
    book.submit(controls.cancel())
    assert code(book, controls.place_bet()) == 999
    with nothing_recorded(book):
        assert code(book, controls.result()) == 999


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({"user": controls.OTHER_PLAYER}, 16),
        ({"user": controls.STRANGER}, 62),
        ({"currency": controls.OTHER_CURRENCY}, 52),
        ({"game": controls.OTHER_GAME}, 57),
    ],
    ids=["player", "stranger", "currency", "game"],
)
def test_a_new_result_must_belong_to_its_round(
    book: Book, other: dict[str, str], expected: int
) -> None:
    controls.fund(book, user=controls.OTHER_PLAYER)
    book.submit(controls.place_bet())
    with nothing_recorded(book):
        assert code(book, controls.result(**other)) == expected


def test_a_result_in_another_wallets_currency_is_52(book: Book) -> None:
    controls.fund(book, currency=controls.OTHER_CURRENCY)
    book.submit(controls.place_bet())
    with nothing_recorded(book):
        assert code(book, controls.result(currency=controls.OTHER_CURRENCY)) == 52


def test_a_win_with_too_many_decimals_is_59(book: Book) -> None:
    book.submit(controls.place_bet())
    with nothing_recorded(book):
        assert code(book, controls.result(amount="250.001")) == 59


def test_a_win_beyond_what_a_wallet_may_hold_is_59(book: Book) -> None:
    book.submit(controls.place_bet(amount="1.00"))
    win = controls.result()
    exactly_full = read_number("9999999999900001.00")
    one_too_many = read_number("9999999999900001.01")
    with nothing_recorded(book):
        assert code(book, replace(win, amount=one_too_many)) == 59
    assert code(book, replace(win, amount=exactly_full)) == 0
    assert cash(book) == "10000000000000000.00"


def test_a_win_of_nothing_is_paid_even_into_a_wallet_that_is_more_than_full(book: Book) -> None:
    book.submit(controls.place_bet(amount="1.00"))
    book.submit(controls.place_bet(round_id=controls.OTHER_ROUND, reference="b", amount="1.00"))
    book.submit(replace(controls.deposit(), amount=read_number("9999999999900002.00")))
    book.submit(controls.cancel())
    for amount, expected in (("0.01", 59), ("0", 0)):
        assert code(book, controls.pay_promo(amount=amount)) == expected
        assert code(book, controls.result(round_id=controls.OTHER_ROUND, amount=amount)) == expected
    assert status(book, round_id=controls.OTHER_ROUND) == "Completed"
    assert cash(book) == "10000000000000001.00"


# results never depend on session or player state


def test_a_result_is_taken_when_the_player_is_frozen_and_the_session_over(book: Book) -> None:
    book.submit(controls.place_bet())
    book.submit(controls.freeze())
    book.submit(controls.expire_session())
    assert code(book, controls.result()) == 0
    assert cash(book) == controls.CASH_AFTER_WIN


@while_bets_are_not_taken
def test_a_result_is_taken_when_new_bets_are_not(book: Book, house: House) -> None:
    book.submit(controls.place_bet())
    book.house = house
    assert code(book, controls.result()) == 0
    assert cash(book) == controls.CASH_AFTER_WIN


# promo


def test_a_promo_pays_outside_any_round_once(book: Book) -> None:
    start = book.store.head().position
    first = book.submit(controls.pay_promo())
    again = book.submit(controls.pay_promo(uuid=controls.OTHER_UUID))
    assert topics(book, after=start) == ["PromoPaid"]
    assert again.transaction_id == first.transaction_id
    assert cash(book) == "100250.00"
    assert book.store.rows("rounds") == []


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({"amount": "250.01"}, 57),
        ({"currency": controls.OTHER_CURRENCY}, 57),
        ({"user": controls.OTHER_PLAYER}, 16),
    ],
    ids=["amount", "currency", "player"],
)
def test_a_known_promo_with_another_payload_has_no_effect(
    book: Book, other: dict[str, str], expected: int
) -> None:
    controls.fund(book, user=controls.OTHER_PLAYER)
    controls.fund(book, currency=controls.OTHER_CURRENCY)
    book.submit(controls.pay_promo())
    with nothing_recorded(book):
        assert code(book, controls.pay_promo(**other)) == expected


def test_a_known_promo_in_a_currency_without_a_wallet_is_57(book: Book) -> None:
    book.submit(controls.pay_promo())
    with nothing_recorded(book):
        assert code(book, controls.pay_promo(currency=controls.OTHER_CURRENCY)) == 57


def test_a_known_promo_of_a_stranger_is_16(book: Book) -> None:
    book.submit(controls.pay_promo())
    with nothing_recorded(book):
        assert code(book, controls.pay_promo(user=controls.STRANGER)) == 16


def test_a_new_promo_needs_a_wallet(book: Book) -> None:
    with nothing_recorded(book):
        assert code(book, controls.pay_promo(currency=controls.OTHER_CURRENCY)) == 52
        assert code(book, controls.pay_promo(user=controls.STRANGER)) == 62

from collections.abc import Callable
from typing import Any

import pytest

from ledger.money import to_text
from ledger.names import transaction_id
from ledger.operator import events
from ledger.operator.book import Book
from ledger.operator.house import House
from ledger.refusals import (
    BetsNotAllowed,
    GameUnknown,
    NotEnoughCash,
    NotTogether,
    PlayerFrozen,
    PlayerNotFound,
    Refusal,
    SessionInvalid,
    WrongCurrency,
)
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
)

OpenBook = Callable[..., Book]

MORE_THAN_THE_CASH = "100000.01"


# a new reference


def test_a_new_bet_with_enough_cash_is_one_event_and_the_cash_goes_down(book: Book) -> None:
    start = book.store.head().position
    outcome = book.submit(controls.place_bet())
    opened, placed = history(book, after=start)
    assert isinstance(opened, events.RoundOpened)
    assert isinstance(placed, events.BetPlaced)
    assert (placed.amount, placed.cash_before, placed.cash_after) == (10001, 10000000, 9989999)
    assert to_text(outcome.cash, outcome.scale) == controls.CASH_AFTER_BET == cash(book)
    assert outcome.recorded
    assert status(book) == "InProgress"


def test_a_second_bet_of_a_round_is_exactly_one_event(book: Book) -> None:
    book.submit(controls.place_bet())
    start = book.store.head().position
    book.submit(controls.place_bet(reference=controls.SECOND_REFERENCE))
    assert topics(book, after=start) == ["BetPlaced"]


def test_the_event_of_a_bet_keeps_what_the_call_said(book: Book) -> None:
    book.submit(controls.place_bet())
    placed = history(book)[-1]
    assert placed.said == controls.said()
    assert (placed.provider, placed.round, placed.game, placed.reference, placed.user) == (
        controls.PROVIDER,
        controls.ROUND,
        controls.GAME,
        controls.REFERENCE,
        controls.PLAYER,
    )


def test_a_bets_transaction_id_follows_from_its_reference_alone(book: Book) -> None:
    outcome = book.submit(controls.place_bet())
    expected = transaction_id(controls.PROVIDER, "bet", controls.REFERENCE)
    assert outcome.transaction_id == expected == history(book)[-1].transaction_id


def test_a_bet_of_all_the_cash_is_taken(book: Book) -> None:
    assert code(book, controls.place_bet(amount=controls.OPENING_CASH)) == 0
    assert cash(book) == "0.00"


def test_a_bet_of_nothing_is_taken_and_moves_nothing(book: Book) -> None:
    assert code(book, controls.place_bet(amount="0")) == 0
    assert topics(book)[-1] == "BetPlaced"
    assert cash(book) == controls.OPENING_CASH


def test_the_same_reference_of_another_provider_is_another_bet(book: Book) -> None:
    first = book.submit(controls.place_bet(amount="1"))
    second = book.submit(controls.place_bet(amount="1", provider=controls.OTHER_PROVIDER))
    assert first.transaction_id != second.transaction_id
    assert cash(book) == "99998.00"


@pytest.mark.parametrize(
    ("reference", "round_id"), [("a/b", "c"), ("%2F", "a%2Fb"), ("é 漢", "ровно"), ("r" * 128, "1")]
)
def test_any_printable_id_names_a_bet_and_its_round(
    book: Book, reference: str, round_id: str
) -> None:
    bet = controls.place_bet(reference=reference, round_id=round_id)
    assert code(book, bet) == code(book, bet) == 0
    assert status(book, round_id=round_id) == "InProgress"
    assert cash(book) == controls.CASH_AFTER_BET


def test_references_and_rounds_are_compared_exactly(book: Book) -> None:
    book.submit(controls.place_bet(reference="R1", round_id="A", amount="1"))
    book.submit(controls.place_bet(reference="r1", round_id="a", amount="1"))
    assert cash(book) == "99998.00"
    assert status(book, round_id="A") == status(book, round_id="a") == "InProgress"


# too little cash


def test_a_bet_above_the_cash_is_15_with_the_true_cash_and_moves_no_money(book: Book) -> None:
    with no_money_moved(book), pytest.raises(NotEnoughCash) as refusal:
        book.submit(controls.place_bet(amount=MORE_THAN_THE_CASH))
    assert refusal.value.code == 15
    assert (refusal.value.cash, refusal.value.currency) == (
        controls.OPENING_CASH,
        controls.CURRENCY,
    )


def test_a_bet_above_the_cash_is_seen_in_the_history(book: Book) -> None:
    code(book, controls.place_bet(amount=MORE_THAN_THE_CASH))
    refused = history(book)[-1]
    assert isinstance(refused, events.BetRefused)
    assert (refused.amount, refused.cash) == (10000001, 10000000)


def test_a_bet_refused_for_cash_stays_refused_after_a_deposit(book: Book) -> None:
    too_much = controls.place_bet(amount=MORE_THAN_THE_CASH)
    assert code(book, too_much) == 15
    book.submit(controls.deposit(amount="500.00"))
    with nothing_recorded(book), pytest.raises(NotEnoughCash) as refusal:
        book.submit(too_much)
    assert refusal.value.cash == "100500.00"


def test_a_new_reference_is_taken_after_the_deposit_that_the_first_lacked(book: Book) -> None:
    assert code(book, controls.place_bet(amount=MORE_THAN_THE_CASH)) == 15
    book.submit(controls.deposit(amount="0.01"))
    again = controls.place_bet(
        amount=MORE_THAN_THE_CASH, reference=controls.SECOND_REFERENCE, uuid=controls.OTHER_UUID
    )
    assert code(book, again) == 0
    assert cash(book) == "0.00"


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({"amount": "1.00"}, 57),
        ({"round_id": controls.OTHER_ROUND}, 57),
        ({"game": controls.OTHER_GAME}, 57),
        ({"user": controls.OTHER_PLAYER}, 16),
    ],
    ids=["amount", "round", "game", "player"],
)
def test_a_reference_refused_for_cash_cannot_be_used_for_anything_else(
    book: Book, other: dict[str, str], expected: int
) -> None:
    controls.fund(book, user=controls.OTHER_PLAYER)
    code(book, controls.place_bet(amount=MORE_THAN_THE_CASH))
    with nothing_recorded(book):
        assert code(book, controls.place_bet(**{"amount": MORE_THAN_THE_CASH, **other})) == expected


# a known reference


def test_the_same_bet_again_answers_the_first_id_and_the_cash_as_it_is_now(book: Book) -> None:
    first = book.submit(controls.place_bet())
    book.submit(controls.deposit(amount="0.01"))
    with nothing_recorded(book):
        again = book.submit(controls.place_bet())
    assert again.transaction_id == first.transaction_id
    assert to_text(again.cash, again.scale) == "99900.00"
    assert not again.recorded


@pytest.mark.parametrize(
    "again",
    [
        controls.place_bet(uuid=controls.OTHER_UUID),
        controls.place_bet(session=controls.OTHER_SESSION),
        controls.place_bet(amount="0100.01"),
    ],
    ids=["uuid", "session", "spelling of the amount"],
)
def test_a_bet_is_the_same_by_any_uuid_session_and_spelling(book: Book, again: Any) -> None:
    first = book.submit(controls.place_bet())
    with nothing_recorded(book):
        assert book.submit(again).transaction_id == first.transaction_id


def test_the_same_bet_is_answered_whatever_happened_to_player_session_and_game(
    open_book: OpenBook,
) -> None:
    book = open_book()
    first = book.submit(controls.place_bet())
    book.submit(controls.freeze())
    book.submit(controls.expire_session())
    book.submit(controls.result())
    book.submit(controls.end_round())
    book.submit(controls.withdraw(amount=cash(book)))
    with nothing_recorded(book):
        again = book.submit(controls.place_bet())
    assert again.transaction_id == first.transaction_id
    assert again.cash == 0


@pytest.mark.parametrize(
    "other",
    [
        {"amount": "100.02"},
        {"round_id": controls.OTHER_ROUND},
        {"game": controls.OTHER_GAME},
        {"currency": controls.OTHER_CURRENCY},
    ],
    ids=["amount", "round", "game", "currency"],
)
def test_a_known_reference_with_another_payload_is_57_without_effect(
    book: Book, other: dict[str, str]
) -> None:
    controls.fund(book, currency=controls.OTHER_CURRENCY)
    book.submit(controls.place_bet())
    with nothing_recorded(book):
        assert code(book, controls.place_bet(**other)) == 57


def test_a_known_reference_in_a_currency_the_player_has_no_wallet_in_is_57(book: Book) -> None:
    book.submit(controls.place_bet())
    with nothing_recorded(book):
        assert code(book, controls.place_bet(currency=controls.OTHER_CURRENCY)) == 57


def test_a_known_reference_in_a_currency_with_more_decimals_is_57(book: Book) -> None:
    controls.fund(book, currency="KWD")
    book.submit(controls.place_bet())
    with nothing_recorded(book):
        assert code(book, controls.place_bet(currency="KWD", amount="100.011")) == 57


@pytest.mark.parametrize("user", [controls.OTHER_PLAYER, controls.STRANGER])
def test_a_known_reference_of_another_player_is_16_and_shows_no_cash(book: Book, user: str) -> None:
    controls.fund(book, user=controls.OTHER_PLAYER, amount="7.00")
    book.submit(controls.place_bet())
    with nothing_recorded(book), pytest.raises(NotTogether) as refusal:
        book.submit(controls.place_bet(user=user))
    assert refusal.value.code == 16
    assert controls.CASH_AFTER_BET not in str(refusal.value)


def test_one_value_may_be_the_reference_of_a_bet_and_of_a_result(book: Book) -> None:
    bet = book.submit(controls.place_bet())
    result = book.submit(controls.result(reference=controls.REFERENCE))
    assert bet.transaction_id != result.transaction_id
    assert cash(book) == controls.CASH_AFTER_WIN


# two requests race, as if one came first


def test_of_two_equal_bets_one_is_debited_and_both_get_its_id(book: Book) -> None:
    first = book.submit(controls.place_bet(uuid=controls.UUID))
    second = book.submit(controls.place_bet(uuid=controls.OTHER_UUID))
    assert first.transaction_id == second.transaction_id
    assert (first.recorded, second.recorded) == (True, False)
    assert cash(book) == controls.CASH_AFTER_BET


@pytest.mark.parametrize("amounts", [("60000.00", "50000.00"), ("50000.00", "60000.00")])
def test_of_two_bets_that_the_cash_does_not_both_cover_the_first_wins(
    book: Book, amounts: tuple[str, str]
) -> None:
    first, second = (
        controls.place_bet(reference=reference, amount=amount)
        for reference, amount in zip(
            (controls.REFERENCE, controls.SECOND_REFERENCE), amounts, strict=True
        )
    )
    assert (code(book, first), code(book, second)) == (0, 15)
    assert cash(book) == ("40000.00" if amounts[0] == "60000.00" else "50000.00")


# what bears on a new bet


@pytest.mark.parametrize("over", [controls.end_round(), controls.cancel_round()])
def test_a_late_bet_in_an_ended_or_cancelled_round_is_999(book: Book, over: Any) -> None:
    book.submit(controls.place_bet())
    book.submit(over)
    with nothing_recorded(book):
        assert code(book, controls.place_bet(reference=controls.SECOND_REFERENCE)) == 999


@about_another
def test_a_new_bet_must_belong_to_its_round(
    book: Book, other: dict[str, str], expected: int
) -> None:
    controls.fund(book, user=controls.OTHER_PLAYER)
    controls.fund(book, currency=controls.OTHER_CURRENCY)
    book.submit(controls.place_bet())
    with nothing_recorded(book):
        bet = controls.place_bet(**{"reference": controls.SECOND_REFERENCE, **other})
        assert code(book, bet) == expected


def test_a_bet_in_an_expired_session_is_55(book: Book) -> None:
    book.submit(controls.expire_session())
    with nothing_recorded(book), pytest.raises(SessionInvalid) as refusal:
        book.submit(controls.place_bet())
    assert refusal.value.code == 55


def test_a_bet_in_another_session_of_the_player_is_taken(book: Book) -> None:
    book.submit(controls.expire_session())
    assert code(book, controls.place_bet(session=controls.OTHER_SESSION)) == 0


@pytest.mark.parametrize(
    ("expired", "bets"),
    [
        (controls.OTHER_PROVIDER, controls.PROVIDER),
        (controls.PROVIDER, controls.OTHER_PROVIDER),
    ],
)
def test_another_providers_session_of_the_same_name_is_not_expired(
    book: Book, expired: str, bets: str
) -> None:
    book.submit(controls.expire_session(provider=expired))
    assert code(book, controls.place_bet(provider=bets)) == 0


def test_a_bet_of_a_frozen_player_is_56_until_unfrozen(book: Book) -> None:
    book.submit(controls.freeze())
    with nothing_recorded(book), pytest.raises(PlayerFrozen) as refusal:
        book.submit(controls.place_bet())
    assert refusal.value.code == 56
    book.submit(controls.unfreeze())
    assert code(book, controls.place_bet()) == 0


@pytest.mark.parametrize(
    "house",
    [
        House(games_off={controls.PROVIDER: frozenset({controls.GAME})}),
        House(games={controls.PROVIDER: frozenset({controls.OTHER_GAME})}),
        House(games={controls.PROVIDER: frozenset()}),
    ],
    ids=["switched off", "not in the list", "empty list"],
)
def test_a_bet_on_a_game_unknown_or_switched_off_is_58(open_book: OpenBook, house: House) -> None:
    book = open_book(house=house)
    with nothing_recorded(book), pytest.raises(GameUnknown) as refusal:
        book.submit(controls.place_bet())
    assert refusal.value.code == 58


@pytest.mark.parametrize(
    "house",
    [
        House(games={controls.PROVIDER: frozenset({controls.GAME})}),
        House(games_off={controls.PROVIDER: frozenset({controls.OTHER_GAME})}),
        House(games_off={controls.OTHER_PROVIDER: frozenset({controls.GAME})}),
        House(games={controls.OTHER_PROVIDER: frozenset()}),
        House(bets_stopped=frozenset({controls.OTHER_PROVIDER})),
    ],
    ids=["in the list", "another off", "off elsewhere", "list elsewhere", "stopped elsewhere"],
)
def test_a_bet_on_a_game_that_is_played_is_taken(open_book: OpenBook, house: House) -> None:
    assert code(open_book(house=house), controls.place_bet()) == 0


def test_a_bet_while_bets_are_stopped_is_53(open_book: OpenBook) -> None:
    book = open_book(house=House(bets_stopped=frozenset({controls.PROVIDER})))
    with nothing_recorded(book), pytest.raises(BetsNotAllowed) as refusal:
        book.submit(controls.place_bet())
    assert refusal.value.code == 53


def test_a_bet_in_a_currency_without_a_wallet_is_52(book: Book) -> None:
    with nothing_recorded(book), pytest.raises(WrongCurrency) as refusal:
        book.submit(controls.place_bet(currency=controls.OTHER_CURRENCY))
    assert refusal.value.code == 52


def test_a_bet_of_an_unknown_player_is_62(book: Book) -> None:
    with nothing_recorded(book), pytest.raises(PlayerNotFound) as refusal:
        book.submit(controls.place_bet(user=controls.STRANGER))
    assert refusal.value.code == 62


def test_an_amount_with_too_many_decimals_is_59_and_leaves_the_reference_free(book: Book) -> None:
    with nothing_recorded(book):
        assert code(book, controls.place_bet(amount="1.001")) == 59
    assert code(book, controls.place_bet(amount="1.00")) == 0


# Check


def check(book: Book, *, user: str = controls.PLAYER, currency: str = controls.CURRENCY) -> int:
    try:
        book.check(controls.PROVIDER, user, currency, controls.SESSION)
    except Refusal as refusal:
        return refusal.code
    return 0


def test_check_answers_what_a_bet_would(book: Book) -> None:
    assert check(book) == 0
    assert check(book, user=controls.STRANGER) == 62
    assert check(book, currency=controls.OTHER_CURRENCY) == 52
    book.submit(controls.freeze())
    assert check(book) == 56
    book.submit(controls.unfreeze())
    book.submit(controls.expire_session())
    assert check(book) == 55


def test_a_session_expires_once_and_settles_nothing(book: Book) -> None:
    book.submit(controls.place_bet())
    with no_money_moved(book):
        assert code(book, controls.expire_session()) == 0
    with nothing_recorded(book):
        assert code(book, controls.expire_session(uuid=controls.OTHER_UUID)) == 0
    assert status(book) == "InProgress"


def test_a_session_of_another_player_is_16_and_of_nobody_62(book: Book) -> None:
    controls.fund(book, user=controls.OTHER_PLAYER)
    book.submit(controls.expire_session())
    with nothing_recorded(book):
        assert code(book, controls.expire_session(user=controls.OTHER_PLAYER)) == 16
        assert code(book, controls.expire_session(user=controls.STRANGER)) == 62

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from ledger.money import MOST_MINOR_UNITS, MOST_SUM, read_number, to_text
from ledger.operator.book import Book, Outcome
from ledger.operator.house import House
from ledger.refusals import NotEnoughCash, OutcomeUnknown, PlayerNotFound, WrongCurrency
from tests import controls
from tests.questions import cash, code, history, nothing_recorded, topics

OpenBook = Callable[..., Book]

FULL = "10000000000000000.00"
TO_FULL = "9999999999900000.00"
BITCOIN = House(scales={"BTC": 8})


# opening


def test_a_wallet_is_opened_once_and_empty(book: Book) -> None:
    assert code(book, controls.open_wallet(currency=controls.OTHER_CURRENCY)) == 0
    assert cash(book, currency=controls.OTHER_CURRENCY) == "0.00"
    with nothing_recorded(book):
        assert code(book, controls.open_wallet(currency=controls.OTHER_CURRENCY)) == 0


def test_opening_a_wallet_again_keeps_its_cash(book: Book) -> None:
    with nothing_recorded(book):
        outcome = book.submit(controls.open_wallet())
    assert outcome.cash == 10000000


@pytest.mark.parametrize("currency", ["XYZ", "usd", "", "US", "XAU", "XXX"])
def test_a_currency_without_a_scale_is_52(book: Book, currency: str) -> None:
    with nothing_recorded(book):
        assert code(book, controls.open_wallet(currency=currency)) == 52


def test_a_players_wallets_are_sorted_by_currency(book: Book) -> None:
    for currency in ("KWD", "EUR", "JPY"):
        book.submit(controls.open_wallet(currency=currency))
    controls.fund(book, user=controls.OTHER_PLAYER)
    found = [wallet.currency for wallet in book.wallets(controls.PLAYER)]
    assert found == ["EUR", "JPY", "KWD", "USD"]


def test_a_wallet_nobody_opened_is_62_and_one_in_another_currency_52(book: Book) -> None:
    with pytest.raises(PlayerNotFound):
        book.wallet(controls.STRANGER, controls.CURRENCY)
    with pytest.raises(WrongCurrency):
        book.wallet(controls.PLAYER, controls.OTHER_CURRENCY)
    assert book.wallets(controls.STRANGER) == []


def test_the_wallets_of_a_player_are_apart(book: Book) -> None:
    controls.fund(book, currency=controls.OTHER_CURRENCY, amount="5.00")
    book.submit(controls.place_bet(currency=controls.OTHER_CURRENCY, amount="1.00"))
    assert cash(book) == controls.OPENING_CASH
    assert cash(book, currency=controls.OTHER_CURRENCY) == "4.00"


def test_the_wallets_of_two_players_are_apart(book: Book) -> None:
    controls.fund(book, user=controls.OTHER_PLAYER, amount="5.00")
    book.submit(controls.place_bet(user=controls.OTHER_PLAYER, amount="1.00"))
    assert cash(book) == controls.OPENING_CASH
    assert cash(book, user=controls.OTHER_PLAYER) == "4.00"


# scales


@pytest.mark.parametrize(
    ("currency", "finest", "left", "too_fine"),
    [
        ("JPY", "1", "999", "1.0"),
        ("USD", "0.01", "999.99", "0.001"),
        ("KWD", "0.001", "999.999", "0.0001"),
        ("BTC", "0.00000001", "999.99999999", "0.000000001"),
    ],
)
def test_a_currency_has_its_own_decimals_and_no_more(
    open_book: OpenBook, currency: str, finest: str, left: str, too_fine: str
) -> None:
    book = open_book(house=BITCOIN)
    who = {"user": controls.OTHER_PLAYER, "currency": currency}
    controls.fund(book, **who, amount="1000")
    with nothing_recorded(book):
        assert code(book, controls.place_bet(**who, amount=too_fine)) == 59
    assert code(book, controls.place_bet(**who, amount=finest)) == 0
    assert cash(book, **who) == left
    with nothing_recorded(book):
        assert code(book, controls.result(**who, amount=too_fine)) == 59
    assert code(book, controls.result(**who, amount=finest)) == 0
    assert history(book)[-1].amount == 1


def test_the_house_may_say_another_scale_than_iso_4217(open_book: OpenBook) -> None:
    book = open_book(house=House(scales={"JPY": 2}))
    controls.fund(book, currency="JPY", amount="1.25")
    assert cash(book, currency="JPY") == "1.25"


def test_a_wallets_scale_is_fixed_when_it_is_opened(open_book: OpenBook) -> None:
    book = open_book(house=BITCOIN)
    controls.fund(book, currency="BTC", amount="0.00000001")
    book.house = House(scales={"BTC": 2})
    outcome = book.submit(controls.place_bet(currency="BTC", amount="0.00000001"))
    assert (outcome.cash, outcome.scale) == (0, 8)


# deposits and withdrawals


def test_a_deposit_is_made_once(book: Book) -> None:
    start = book.store.head().position
    first = book.submit(controls.deposit(amount="0.01"))
    again = book.submit(controls.deposit(amount="0.01"))
    assert topics(book, after=start) == ["DepositMade"]
    assert (again.transaction_id, again.recorded) == (first.transaction_id, False)
    assert cash(book) == "100000.01"


def test_a_withdrawal_is_made_once(book: Book) -> None:
    first = book.submit(controls.withdraw(amount="0.01"))
    again = book.submit(controls.withdraw(amount="0.01"))
    assert (again.transaction_id, again.recorded) == (first.transaction_id, False)
    assert cash(book) == "99999.99"


def test_a_deposit_and_a_withdrawal_may_share_a_reference(book: Book) -> None:
    paid_in = book.submit(controls.deposit(reference="one", amount="3.00"))
    paid_out = book.submit(controls.withdraw(reference="one", amount="2.00"))
    assert paid_in.transaction_id != paid_out.transaction_id
    assert cash(book) == "100001.00"


@pytest.mark.parametrize("movement", [controls.deposit, controls.withdraw])
def test_a_cashiers_reference_cannot_be_used_for_anything_else(
    book: Book, movement: Callable[..., object]
) -> None:
    controls.fund(book, user=controls.OTHER_PLAYER)
    controls.fund(book, currency=controls.OTHER_CURRENCY)
    book.submit(movement(amount="1.00"))
    with nothing_recorded(book):
        assert code(book, movement(amount="1.01")) == 57
        assert code(book, movement(amount="1.00", currency=controls.OTHER_CURRENCY)) == 57
        assert code(book, movement(amount="1.00", user=controls.OTHER_PLAYER)) == 16


@pytest.mark.parametrize("movement", [controls.deposit, controls.withdraw])
def test_the_cashier_refuses_nothing_too_fine_and_unknown(
    book: Book, movement: Callable[..., object]
) -> None:
    with nothing_recorded(book):
        assert code(book, movement(amount="0.00")) == 59
        assert code(book, movement(amount="0.001")) == 59
        assert code(book, movement(currency=controls.OTHER_CURRENCY)) == 52
        assert code(book, movement(user=controls.STRANGER)) == 62


def test_a_withdrawal_above_the_cash_is_15_and_leaves_its_reference_free(book: Book) -> None:
    with nothing_recorded(book), pytest.raises(NotEnoughCash) as refusal:
        book.submit(controls.withdraw(amount="100000.01"))
    assert refusal.value.cash == controls.OPENING_CASH
    assert code(book, controls.withdraw(amount="100000.00")) == 0
    assert cash(book) == "0.00"


def test_a_frozen_wallet_is_still_paid_in_and_out(book: Book) -> None:
    book.submit(controls.freeze())
    assert code(book, controls.deposit(amount="1.00")) == 0
    assert code(book, controls.withdraw(amount="1.00")) == 0


# the limit


def test_a_wallet_holds_at_most_ten_to_the_eighteenth_minor_units(book: Book) -> None:
    fill = replace(controls.deposit(), amount=read_number(TO_FULL))
    assert code(book, fill) == 0
    assert cash(book) == FULL
    with nothing_recorded(book):
        assert code(book, controls.deposit(reference="one more", amount="0.01")) == 59
        assert code(book, controls.pay_promo(amount="0.01")) == 59


def test_the_largest_bet_there_can_be_is_placed_won_and_cancelled(book: Book) -> None:
    book.submit(replace(controls.deposit(), amount=read_number(TO_FULL)))
    largest = read_number(FULL)
    assert code(book, replace(controls.place_bet(), amount=largest)) == 0
    assert cash(book) == "0.00"
    assert code(book, controls.cancel()) == 0
    assert cash(book) == FULL
    second = controls.place_bet(reference="second", round_id=controls.OTHER_ROUND)
    assert code(book, replace(second, amount=largest)) == 0
    won = controls.result(round_id=controls.OTHER_ROUND)
    assert code(book, replace(won, amount=largest)) == 0
    assert cash(book) == FULL


def test_a_rounds_sums_stay_what_a_book_can_hold(book: Book) -> None:
    largest = read_number(FULL)
    book.submit(replace(controls.deposit(), amount=read_number(TO_FULL)))
    for number in range(9):
        bet = controls.place_bet(reference=f"bet {number}")
        assert code(book, replace(bet, amount=largest)) == 0
        won = controls.result(reference=f"won {number}")
        assert code(book, replace(won, amount=largest)) == 0
    with nothing_recorded(book):
        assert code(book, replace(controls.place_bet(reference="more"), amount=largest)) == 59
    book.submit(controls.place_bet(reference="a little", amount="1.00"))
    book.submit(replace(controls.withdraw(), amount=read_number("9999999999999999.00")))
    with nothing_recorded(book):
        assert code(book, replace(controls.result(reference="more"), amount=largest)) == 59


def test_a_rounds_sums_reach_the_most_a_book_can_hold_and_go_no_further(book: Book) -> None:
    largest = read_number(FULL)
    the_rest = read_number(to_text(MOST_SUM - 9 * MOST_MINOR_UNITS, 2))
    book.submit(replace(controls.deposit(), amount=read_number(TO_FULL)))
    for number in range(9):
        bet = controls.place_bet(reference=f"bet {number}")
        book.submit(replace(bet, amount=largest))
        book.submit(replace(controls.result(reference=f"won {number}"), amount=largest))
    assert code(book, replace(controls.place_bet(reference="rest"), amount=the_rest)) == 0
    assert code(book, replace(controls.result(reference="rest"), amount=the_rest)) == 0
    book.submit(controls.withdraw(amount="1.00"))  # there is room for a cent in the wallet
    with nothing_recorded(book):
        assert code(book, controls.place_bet(reference="a cent", amount="0.01")) == 59
        assert code(book, controls.result(reference="a cent", amount="0.01")) == 59
    assert (round_ := book.round(controls.PROVIDER, controls.ROUND))
    assert (round_.staked, round_.won) == (MOST_SUM, MOST_SUM)


def test_a_stake_that_a_wallet_has_no_room_for_goes_back_once_it_has_and_hurts_nobody_else(
    book: Book,
) -> None:
    largest = read_number(FULL)
    book.submit(replace(controls.deposit(), amount=read_number(TO_FULL)))
    controls.fund(book, user=controls.OTHER_PLAYER)
    for name in map(str, range(10)):
        bet = controls.place_bet(reference=name, round_id=name)
        book.submit(replace(bet, amount=largest))
        book.submit(replace(controls.deposit(reference=name), amount=largest))
    for name in map(str, range(8)):
        book.submit(controls.cancel(reference=name))
    theirs = controls.place_bet(user=controls.OTHER_PLAYER)
    too_much, other = book.submit_many([controls.cancel(reference="8"), theirs])
    assert isinstance(too_much, OutcomeUnknown)
    assert isinstance(other, Outcome)
    book.submit(replace(controls.withdraw(), amount=largest))
    assert code(book, controls.cancel(reference="8")) == 0
    assert cash(book) == to_text(9 * MOST_MINOR_UNITS, 2)


def test_an_amount_above_the_limit_is_59(book: Book) -> None:
    too_large = read_number("10000000000000000.01")
    with nothing_recorded(book):
        assert code(book, replace(controls.place_bet(), amount=too_large)) == 59
        assert code(book, replace(controls.deposit(), amount=too_large)) == 59


# freezing


def test_freezing_and_unfreezing_are_each_recorded_once(book: Book) -> None:
    start = book.store.head().position
    for command in (
        controls.unfreeze(),
        controls.freeze(),
        controls.freeze(),
        controls.unfreeze(),
        controls.unfreeze(),
    ):
        assert code(book, command) == 0
    assert topics(book, after=start) == ["WalletFrozen", "WalletUnfrozen"]


def test_freezing_one_wallet_leaves_the_players_others_alone(book: Book) -> None:
    controls.fund(book, currency=controls.OTHER_CURRENCY)
    book.submit(controls.freeze())
    assert code(book, controls.place_bet(currency=controls.OTHER_CURRENCY)) == 0


@pytest.mark.parametrize("command", [controls.freeze, controls.unfreeze])
def test_freezing_needs_a_wallet(book: Book, command: Callable[..., object]) -> None:
    with nothing_recorded(book):
        assert code(book, command(user=controls.STRANGER)) == 62
        assert code(book, command(currency=controls.OTHER_CURRENCY)) == 52

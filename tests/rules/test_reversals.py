from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest
from msgspec.structs import replace

from ledger import names
from ledger.money import read_number
from ledger.operator import events
from ledger.operator.book import Book
from ledger.operator.house import House
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
    while_bets_are_not_taken,
)

OpenBook = Callable[..., Book]

CALLS = {
    "cancel": controls.cancel(),
    "cancel with a round": controls.cancel(round_id=controls.ROUND),
    "refund": controls.refund(),
    "refund, later form": controls.refund_later_form(),
    "cancel round": controls.cancel_round(),
}
ONE_BET_CALLS = {name: call for name, call in CALLS.items() if name != "cancel round"}

by_every_call = pytest.mark.parametrize("call", list(CALLS.values()), ids=list(CALLS))
by_every_one_bet_call = pytest.mark.parametrize(
    "call", list(ONE_BET_CALLS.values()), ids=list(ONE_BET_CALLS)
)


# of an open bet


@by_every_call
def test_a_reversal_of_an_open_bet_gives_the_stored_stake_back_in_full(
    book: Book, call: Any
) -> None:
    book.submit(controls.place_bet())
    outcome = book.submit(call)
    assert (outcome.cash, outcome.recorded) == (10000000, True)
    assert cash(book) == controls.OPENING_CASH
    assert status(book) == "Cancelled"


@pytest.mark.parametrize(
    ("call", "topic", "by"),
    [
        (controls.cancel(), "BetCancelled", "cancel"),
        (controls.refund(), "BetRefunded", "refund"),
        (controls.refund_later_form(), "BetRefunded", "refund"),
        (controls.cancel_round(), "BetCancelled", "cancel-round"),
    ],
)
def test_the_event_says_which_call_reversed_the_bet(
    book: Book, call: Any, topic: str, by: str
) -> None:
    book.submit(controls.place_bet())
    start = book.store.head().position
    book.submit(call)
    assert topics(book, after=start) == [topic, "RoundCancelled"]
    reversal = history(book, after=start)[0]
    assert (reversal.by, reversal.amount, reversal.win) == (by, 10001, 0)
    assert (reversal.cash_before, reversal.cash_after) == (9989999, 10000000)


@pytest.mark.parametrize("second", list(CALLS.values()), ids=list(CALLS))
@pytest.mark.parametrize("first", list(CALLS.values()), ids=list(CALLS))
def test_again_by_either_call_the_answer_is_the_same_and_nothing_is_given_back(
    book: Book, first: Any, second: Any
) -> None:
    book.submit(controls.place_bet())
    first_id = transaction_id(book, first)
    with nothing_recorded(book):
        again = book.submit(replace(second, said=controls.said(uuid=controls.OTHER_UUID)))
    assert again.transaction_id == first_id
    assert (again.cash, again.recorded) == (10000000, False)


@by_every_call
@pytest.mark.parametrize("before", [[], [controls.place_bet()]], ids=["tombstone", "bet"])
def test_a_reversals_id_follows_from_the_reference_alone(
    book: Book, call: Any, before: list[Any]
) -> None:
    for command in before:
        book.submit(command)
    expected = names.transaction_id(controls.PROVIDER, "reversal", controls.REFERENCE)
    assert transaction_id(book, call) == expected


def test_a_reversal_has_another_id_than_its_bet(book: Book) -> None:
    bet = transaction_id(book, controls.place_bet())
    assert transaction_id(book, controls.cancel()) != bet


def test_a_bet_that_was_reversed_is_answered_but_never_debited_again(book: Book) -> None:
    first = transaction_id(book, controls.place_bet())
    book.submit(controls.cancel())
    with nothing_recorded(book):
        again = book.submit(controls.place_bet(uuid=controls.OTHER_UUID))
    assert (again.transaction_id, again.cash) == (first, 10000000)


def test_a_reversal_is_by_provider(book: Book) -> None:
    book.submit(controls.place_bet())
    book.submit(controls.cancel(provider=controls.OTHER_PROVIDER))
    assert cash(book) == controls.CASH_AFTER_BET
    assert topics(book)[-1] == "TombstoneRecorded"


def test_a_bet_of_nothing_is_reversed_once(book: Book) -> None:
    book.submit(controls.place_bet(amount="0"))
    first = transaction_id(book, controls.cancel())
    with nothing_recorded(book):
        assert transaction_id(book, controls.refund()) == first
    assert status(book) == "Cancelled"


def test_the_stored_stake_goes_back_even_to_a_full_wallet(book: Book) -> None:
    book.submit(controls.place_bet(amount="1.00"))
    to_the_limit = replace(controls.deposit(), amount=read_number("9999999999900001.00"))
    book.submit(to_the_limit)
    assert code(book, controls.cancel()) == 0


# of an unknown reference: a tombstone


@by_every_call
def test_a_reversal_of_an_unknown_reference_is_0_and_a_tombstone(book: Book, call: Any) -> None:
    with no_money_moved(book):
        outcome = book.submit(call)
    tombstone = history(book)[-1]
    assert isinstance(tombstone, events.TombstoneRecorded)
    assert tombstone.reference == controls.REFERENCE
    assert tombstone.transaction_id == outcome.transaction_id != ""
    assert outcome.cash == 10000000


@pytest.mark.parametrize("second", list(CALLS.values()), ids=list(CALLS))
@pytest.mark.parametrize("first", list(CALLS.values()), ids=list(CALLS))
def test_a_tombstone_is_recorded_once_and_answers_the_same_id(
    book: Book, first: Any, second: Any
) -> None:
    first_id = transaction_id(book, first)
    with no_money_moved(book):
        assert transaction_id(book, second) == first_id
    assert topics(book).count("TombstoneRecorded") == 1


@by_every_call
def test_a_bet_after_its_tombstone_is_999_and_visible_in_the_history_once(
    book: Book, call: Any
) -> None:
    book.submit(call)
    start = book.store.head().position
    with no_money_moved(book):
        assert code(book, controls.place_bet()) == 999
        assert code(book, controls.place_bet(uuid=controls.OTHER_UUID)) == 999
    assert topics(book, after=start).count("LateBetRefused") == 1
    late = history(book)[-1]
    assert (late.reference, late.round) == (controls.REFERENCE, controls.ROUND)


@by_every_call
def test_a_bet_of_another_player_by_a_tombstones_reference_is_16_without_effect(
    book: Book, call: Any
) -> None:
    controls.fund(book, user=controls.OTHER_PLAYER)
    book.submit(call)
    others = controls.place_bet(user=controls.OTHER_PLAYER, round_id=controls.OTHER_ROUND)
    with nothing_recorded(book):
        assert code(book, others) == 16


@pytest.mark.parametrize(
    "whose",
    [{"user": controls.STRANGER}, {"currency": controls.OTHER_CURRENCY}],
    ids=["player", "currency"],
)
def test_a_late_bet_opens_no_round_where_there_is_no_such_wallet(
    book: Book, whose: dict[str, str]
) -> None:
    book.submit(controls.cancel(**whose))
    with nothing_recorded(book):
        assert code(book, controls.place_bet(**whose)) == 999
    assert code(book, controls.place_bet(reference=controls.SECOND_REFERENCE)) == 0


@by_every_call
def test_a_reversal_after_the_late_bet_still_answers_the_tombstones_id(
    book: Book, call: Any
) -> None:
    first = transaction_id(book, call)
    code(book, controls.place_bet())
    with nothing_recorded(book):
        assert transaction_id(book, call) == first


@about_another
@pytest.mark.parametrize("round_id", [None, controls.ROUND])
def test_a_tombstone_belongs_to_one_player_currency_and_game(
    book: Book, round_id: str | None, other: dict[str, str], expected: int
) -> None:
    book.submit(controls.cancel(round_id=round_id))
    with nothing_recorded(book):
        assert code(book, controls.cancel(round_id=round_id, **other)) == expected


def test_a_tombstone_in_one_round_is_not_one_in_another(book: Book) -> None:
    book.submit(controls.cancel(round_id=controls.ROUND))
    with nothing_recorded(book):
        assert code(book, controls.cancel(round_id=controls.OTHER_ROUND)) == 16


@about_another
def test_an_unknown_reference_in_a_known_round_must_belong_to_it(
    book: Book, other: dict[str, str], expected: int
) -> None:
    book.submit(controls.place_bet())
    unknown = controls.cancel(
        reference=controls.UNKNOWN_REFERENCE, round_id=controls.ROUND, **other
    )
    with nothing_recorded(book):
        assert code(book, unknown) == expected


def test_an_unknown_reference_in_a_known_round_leaves_its_bets_open(book: Book) -> None:
    book.submit(controls.place_bet())
    unknown = controls.cancel(reference=controls.UNKNOWN_REFERENCE, round_id=controls.ROUND)
    assert code(book, unknown) == 0
    assert cash(book) == controls.CASH_AFTER_BET
    assert status(book) == "InProgress"
    assert code(book, controls.result()) == 0


def test_a_bet_refused_for_cash_is_buried_and_then_999(book: Book) -> None:
    too_much = controls.place_bet(amount="100000.01")
    assert code(book, too_much) == 15
    with no_money_moved(book):
        assert code(book, controls.cancel()) == 0
    tombstone = history(book)[-1]
    assert isinstance(tombstone, events.TombstoneRecorded)
    assert tombstone.round == controls.ROUND
    book.submit(controls.deposit(amount="500.00"))
    with no_money_moved(book):
        assert code(book, too_much) == 999


# every order of a bet, its cancel and its retry: nothing is kept of the player's money


@by_every_one_bet_call
@pytest.mark.parametrize("order", list(permutations(["bet", "reversal", "retry"])), ids=" ".join)
def test_in_every_order_of_bet_reversal_and_retry_the_money_is_back(
    book: Book, order: tuple[str, ...], call: Any
) -> None:
    commands = {
        "bet": controls.place_bet(),
        "reversal": call,
        "retry": controls.place_bet(uuid=controls.OTHER_UUID),
    }
    codes = [code(book, commands[step]) for step in order]
    assert codes == ([0, 999, 999] if order[0] == "reversal" else [0, 0, 0])
    assert cash(book) == controls.OPENING_CASH
    seen = topics(book)
    assert seen.count("BetPlaced") == (0 if order[0] == "reversal" else 1)
    assert seen.count("LateBetRefused") == (1 if order[0] == "reversal" else 0)


# races, in both orders


def test_a_cancel_and_a_refund_in_either_order_give_back_once(book: Book) -> None:
    book.submit(controls.place_bet())
    book.submit(controls.place_bet(reference=controls.SECOND_REFERENCE))
    pairs = (controls.cancel, controls.refund), (controls.refund, controls.cancel)
    for reference, (first, second) in zip(
        (controls.REFERENCE, controls.SECOND_REFERENCE), pairs, strict=True
    ):
        assert book.submit(first(reference=reference)).recorded
        assert not book.submit(second(reference=reference)).recorded
    assert cash(book) == controls.OPENING_CASH


@by_every_call
@pytest.mark.parametrize("win", ["0", controls.WIN])
def test_of_a_reversal_and_a_result_the_first_has_its_effect(
    book: Book, call: Any, win: str
) -> None:
    book.submit(controls.place_bet())
    book.submit(call)
    with nothing_recorded(book):
        assert code(book, controls.result(amount=win)) == 999
    assert cash(book) == controls.OPENING_CASH


@by_every_call
@pytest.mark.parametrize("win", ["0", controls.WIN])
def test_a_reversal_after_the_rounds_result_is_999(book: Book, call: Any, win: str) -> None:
    book.submit(controls.place_bet())
    book.submit(controls.result(amount=win))
    with nothing_recorded(book):
        assert code(book, call) == 999
    assert status(book) == "Completed"


@by_every_one_bet_call
def test_a_bet_reversed_before_the_result_is_still_answered_after_it(book: Book, call: Any) -> None:
    book.submit(controls.place_bet())
    book.submit(controls.place_bet(reference=controls.SECOND_REFERENCE))
    first = transaction_id(book, call)
    book.submit(controls.result())
    with nothing_recorded(book):
        assert transaction_id(book, call) == first


@by_every_call
def test_a_reversal_after_the_end_of_a_round_without_result_is_taken(book: Book, call: Any) -> None:
    book.submit(controls.place_bet())
    book.submit(controls.end_round())
    assert code(book, call) == 0
    assert cash(book) == controls.OPENING_CASH
    assert status(book) == "Cancelled"


# what belongs together


@by_every_call
@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({"user": controls.OTHER_PLAYER}, 16),
        ({"user": controls.STRANGER}, 16),
        ({"currency": controls.OTHER_CURRENCY}, 52),
        ({"game": controls.OTHER_GAME}, 57),
    ],
    ids=["player", "stranger", "currency", "game"],
)
def test_a_reversal_must_name_its_bets_player_currency_and_game(
    book: Book, call: Any, other: dict[str, str], expected: int
) -> None:
    controls.fund(book, user=controls.OTHER_PLAYER)
    controls.fund(book, currency=controls.OTHER_CURRENCY)
    book.submit(controls.place_bet())
    with nothing_recorded(book):
        assert code(book, replace(call, **other)) == expected
    book.submit(call)
    with nothing_recorded(book):
        assert code(book, replace(call, **other)) == expected


@pytest.mark.parametrize(
    "call",
    [
        controls.cancel(round_id=controls.OTHER_ROUND),
        controls.refund_later_form(round_id=controls.OTHER_ROUND),
    ],
    ids=["cancel", "refund"],
)
def test_a_reversal_that_names_another_round_is_16(book: Book, call: Any) -> None:
    book.submit(controls.place_bet())
    book.submit(controls.place_bet(reference="other", round_id=controls.OTHER_ROUND))
    with nothing_recorded(book):
        assert code(book, call) == 16


def test_another_game_name_or_session_is_only_noted(book: Book) -> None:
    book.submit(controls.place_bet())
    other = controls.cancel(game_name="TUMBLE", session=controls.OTHER_SESSION)
    assert code(book, other) == 0
    reversal = history(book)[-2]
    assert (reversal.said.game_name, reversal.said.session) == ("TUMBLE", controls.OTHER_SESSION)


@by_every_call
def test_a_reversal_is_taken_when_the_player_is_frozen_and_the_session_over(
    book: Book, call: Any
) -> None:
    book.submit(controls.place_bet())
    book.submit(controls.freeze())
    book.submit(controls.expire_session())
    assert code(book, call) == 0
    assert cash(book) == controls.OPENING_CASH


@by_every_call
def test_a_reversal_is_taken_when_the_player_plays_in_a_new_session(book: Book, call: Any) -> None:
    book.submit(controls.place_bet())
    book.submit(
        controls.place_bet(
            reference="other", round_id=controls.OTHER_ROUND, session=controls.OTHER_SESSION
        )
    )
    assert code(book, call) == 0
    assert cash(book) == controls.CASH_AFTER_BET


@by_every_call
@while_bets_are_not_taken
def test_a_reversal_is_taken_when_new_bets_are_not(book: Book, call: Any, house: House) -> None:
    book.submit(controls.place_bet())
    book.house = house
    assert code(book, call) == 0
    assert cash(book) == controls.OPENING_CASH


# allow_cancel_completed


@pytest.fixture
def lenient(open_book: OpenBook) -> Book:
    return open_book(house=House(allow_cancel_completed=True))


@by_every_call
@pytest.mark.parametrize("win", ["0", "99.99", controls.WIN])
def test_where_allowed_a_reversal_after_the_result_takes_bet_and_win_back_in_one_event(
    lenient: Book, call: Any, win: str
) -> None:
    lenient.submit(controls.place_bet())
    lenient.submit(controls.result(amount=win))
    start = lenient.store.head().position
    assert code(lenient, call) == 0
    reversal, cancelled = history(lenient, after=start)
    assert (reversal.amount, reversal.win) == (10001, int(win.replace(".", "")))
    assert isinstance(cancelled, events.RoundCancelled)
    assert cash(lenient) == controls.OPENING_CASH
    assert status(lenient) == "Cancelled"


@by_every_call
def test_where_allowed_every_win_of_the_round_is_taken_back(lenient: Book, call: Any) -> None:
    lenient.submit(controls.place_bet())
    for kind in ("result", "bonus", "jackpot"):
        lenient.submit(controls.result(kind=kind, amount="1.00"))
    assert code(lenient, call) == 0
    assert cash(lenient) == controls.OPENING_CASH
    assert lenient.store.row("rounds", (controls.PROVIDER, controls.ROUND))[3:6] == (
        10001,
        0,
        10001,
    )


@by_every_call
def test_where_allowed_a_reversal_again_takes_nothing_more(lenient: Book, call: Any) -> None:
    lenient.submit(controls.place_bet())
    lenient.submit(controls.result())
    first = transaction_id(lenient, call)
    with nothing_recorded(lenient):
        assert transaction_id(lenient, call) == first
        assert code(lenient, controls.result(reference="late")) == 999


@by_every_call
def test_where_allowed_a_win_that_is_spent_already_is_999(lenient: Book, call: Any) -> None:
    lenient.submit(controls.place_bet())
    lenient.submit(controls.result())
    lenient.submit(controls.withdraw(amount="100000.00"))
    assert cash(lenient) == "149.99"
    lenient.submit(controls.withdraw(amount="0.01", reference="withdrawal-2"))
    with nothing_recorded(lenient):
        assert code(lenient, call) == 999
    lenient.submit(controls.deposit(amount="0.01"))
    assert code(lenient, call) == 0
    assert cash(lenient) == "0.00"


@by_every_one_bet_call
def test_where_allowed_one_of_several_open_bets_stays_as_it_is_after_the_result(
    lenient: Book, call: Any
) -> None:
    lenient.submit(controls.place_bet())
    lenient.submit(controls.place_bet(reference=controls.SECOND_REFERENCE))
    lenient.submit(controls.result())
    with nothing_recorded(lenient):
        assert code(lenient, call) == 999


def test_where_allowed_a_cancelled_round_with_several_bets_gives_all_and_takes_the_win_once(
    lenient: Book,
) -> None:
    for reference in (controls.REFERENCE, controls.SECOND_REFERENCE, controls.THIRD_REFERENCE):
        lenient.submit(controls.place_bet(reference=reference))
    lenient.submit(controls.result())
    assert code(lenient, controls.cancel_round()) == 0
    assert cash(lenient) == controls.OPENING_CASH
    assert topics(lenient).count("BetCancelled") == 3
    assert status(lenient) == "Cancelled"

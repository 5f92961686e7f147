from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ledger.provider import events
from ledger.provider.book import Book
from ledger.provider.house import House
from ledger.refusals import (
    AmountInvalid,
    Final,
    Malformed,
    NoSuchRound,
    NotTogether,
    ReferenceReused,
    Unsettled,
    WrongCurrency,
)
from ledger.store import open_store
from projections.provider import IN_TRANSACTION
from tests import controls
from tests.provider import examples
from tests.provider.examples import (
    BET_SENDS,
    KY,
    LM,
    accepted_bet,
    answer,
    ask,
    code,
    history,
    position,
    status,
)
from tests.questions import nothing_recorded, topics

FIRST, SECOND, THIRD = controls.REFERENCE, controls.SECOND_REFERENCE, controls.THIRD_REFERENCE
RESULT, OTHER_RESULT = controls.RESULT_REFERENCE, "585c1306f89c56f5ecfc3001"
ROUND, OTHER_ROUND = controls.ROUND, controls.OTHER_ROUND


def standing(book: Book, reference: str = FIRST, *, round_id: str = ROUND) -> str:
    return book.round(LM, round_id).bets[reference].standing


def made(book: Book, command: Any) -> list[str]:
    before = position(book)
    ask(book, command)
    return topics(book, after=before)


def made_by_answer(book: Book, kind: Any, reference: str, code: int | None = 0) -> list[str]:
    """Returns the topics of what an answer came to, in its round alone."""
    before = position(book)
    answer(book, LM, kind, reference, code)
    return [
        topic for topic in topics(book, after=before) if topic not in {"SendStarted", "SendEnded"}
    ]


# a new bet


def test_the_first_bet_of_a_round_opens_it_and_asks_the_wallet(book: Book) -> None:
    outcome = ask(book, examples.place_bet())
    opened, requested = history(book)
    assert isinstance(opened, events.RoundOpened)
    assert isinstance(requested, events.BetRequested)
    assert (opened.provider, opened.user, opened.currency, opened.scale) == (
        "LuckyMonaco",
        controls.PLAYER,
        "USD",
        2,
    )
    assert (requested.reference, requested.amount, requested.session) == (
        FIRST,
        10001,
        controls.SESSION,
    )
    assert outcome.recorded
    assert status(book) == "InProgress"
    assert standing(book) == "requested"


def test_a_second_bet_of_a_round_is_exactly_one_event(book: Book) -> None:
    ask(book, examples.place_bet())
    assert made(book, examples.place_bet(reference=SECOND)) == ["BetRequested"]
    assert list(book.round(LM, ROUND).bets) == [FIRST, SECOND]


def test_a_bet_the_wallet_took_keeps_its_transaction_id_and_its_time(
    book: Book, clock: examples.Clock
) -> None:
    ask(book, examples.place_bet())
    clock.go(3)
    assert made_by_answer(book, "bet", FIRST) == ["BetAccepted"]
    bet = book.round(LM, ROUND).bets[FIRST]
    assert (bet.standing, bet.transaction_id) == ("accepted", examples.TRANSACTION_ID)
    assert bet.accepted_at == clock.text
    assert status(book) == "InProgress"
    assert book.round(LM, ROUND).staked == 10001


def test_a_bet_the_wallet_declined_is_no_stake_and_keeps_its_code(book: Book) -> None:
    ask(book, examples.place_bet())
    assert made_by_answer(book, "bet", FIRST, 15) == ["BetDeclined"]
    bet = book.round(LM, ROUND).bets[FIRST]
    assert (bet.standing, bet.code) == ("declined", 15)
    assert book.round(LM, ROUND).staked == 0
    assert status(book) == "InProgress"


def test_a_round_whose_only_bet_was_declined_takes_another(book: Book) -> None:
    ask(book, examples.place_bet())
    answer(book, LM, "bet", FIRST, 15)
    accepted_bet(book, reference=SECOND)
    assert status(book) == "InProgress"
    assert book.round(LM, ROUND).staked == 10001


def test_a_bet_of_nothing_is_a_bet(book: Book) -> None:
    ask(book, examples.place_bet(amount="0"))
    answer(book, LM, "bet", FIRST)
    assert standing(book) == "accepted"
    assert code(book, examples.report_result()) == 0


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({"user": controls.OTHER_PLAYER}, NotTogether),
        ({"currency": controls.OTHER_CURRENCY}, WrongCurrency),
        ({"game": controls.OTHER_GAME}, Malformed),
        ({"amount": "1.001"}, AmountInvalid),
    ],
    ids=["player", "currency", "game", "decimals"],
)
def test_a_new_bet_must_belong_to_its_round(
    book: Book, other: dict[str, str], expected: type[Exception]
) -> None:
    ask(book, examples.place_bet())
    with nothing_recorded(book), pytest.raises(expected):
        ask(book, examples.place_bet(reference=SECOND, **other))


def test_another_game_name_or_session_is_the_same_round(book: Book) -> None:
    ask(book, examples.place_bet())
    other = examples.place_bet(reference=SECOND, game_name="other", session=controls.OTHER_SESSION)
    assert made(book, other) == ["BetRequested"]
    assert book.round(LM, ROUND).session == controls.OTHER_SESSION


def test_a_refused_bet_leaves_its_reference_and_its_round_free(book: Book) -> None:
    with nothing_recorded(book):
        assert code(book, examples.place_bet(amount="1.001")) == 59
    with pytest.raises(NoSuchRound):
        book.round(LM, ROUND)
    assert code(book, examples.place_bet(amount="1.00")) == 0


def test_a_bet_in_a_currency_nobody_knows_is_52(book: Book) -> None:
    with nothing_recorded(book):
        assert code(book, examples.place_bet(currency="BTC")) == 52


def test_a_bet_of_an_operator_nobody_knows_is_57(book: Book) -> None:
    with nothing_recorded(book):
        assert code(book, examples.place_bet(operator="nobody")) == 57


def test_the_scale_of_a_currency_may_be_a_setting(clock: examples.Clock) -> None:
    house = House(operators=examples.OPERATORS, scales={"BTC": 8})
    book = examples.new_book("memory://", now=clock, house=house)
    ask(book, examples.place_bet(currency="BTC", amount="0.00000001"))
    assert book.round(LM, ROUND).bets[FIRST].amount == 1
    assert book.round(LM, ROUND).scale == 8
    book.close()


def test_a_round_keeps_its_scale_whatever_the_settings_say_later(clock: examples.Clock) -> None:
    store = open_store("memory://", IN_TRANSACTION)
    for scale, reference in ((2, FIRST), (3, SECOND)):
        house = House(operators=examples.OPERATORS, scales={"XTS": scale})
        book = Book(store, house, now=clock)
        ask(book, examples.place_bet(reference=reference, currency="XTS", amount="5"))
        book.close()
    assert [bet.amount for bet in book.round(LM, ROUND).bets.values()] == [500, 500]
    assert '"amount":"5.00"' in history(book)[-1].call.body


# a known reference


def test_the_same_bet_again_records_nothing(book: Book) -> None:
    ask(book, examples.place_bet())
    with nothing_recorded(book):
        outcome = ask(book, examples.place_bet())
    assert not outcome.recorded
    assert outcome.round == book.round(LM, ROUND)


@pytest.mark.parametrize(
    "again",
    [
        examples.place_bet(session=controls.OTHER_SESSION),
        examples.place_bet(amount="0100.01"),
        examples.place_bet(game_name="other"),
        examples.place_bet(details={"spin": 2}),
    ],
    ids=["session", "spelling of the amount", "game name", "details"],
)
def test_a_bet_is_the_same_by_any_session_spelling_and_details(book: Book, again: Any) -> None:
    ask(book, examples.place_bet())
    with nothing_recorded(book):
        assert code(book, again) == 0


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({"amount": "100.02"}, 57),
        ({"round_id": OTHER_ROUND}, 57),
        ({"currency": controls.OTHER_CURRENCY}, 57),
        ({"game": controls.OTHER_GAME}, 57),
        ({"user": controls.OTHER_PLAYER}, 16),
        ({"user": controls.OTHER_PLAYER, "round_id": OTHER_ROUND, "amount": "1"}, 16),
    ],
    ids=["amount", "round", "currency", "game", "player", "all but the reference"],
)
@pytest.mark.parametrize("taken", [0, 15, None], ids=["taken", "declined", "in flight"])
def test_a_known_reference_with_another_payload_is_refused_without_effect(
    book: Book, other: dict[str, str], expected: int, taken: int | None
) -> None:
    ask(book, examples.place_bet())
    if taken is not None:
        answer(book, LM, "bet", FIRST, taken)
    with nothing_recorded(book):
        assert code(book, examples.place_bet(**other)) == expected


def test_another_payload_says_which_value_is_known(book: Book) -> None:
    ask(book, examples.place_bet())
    with pytest.raises(ReferenceReused) as refusal:
        ask(book, examples.place_bet(amount="7"))
    assert str(refusal.value) == "amount: the reference is known with 100.01"


@pytest.mark.parametrize("over", ["completed", "cancelled"])
def test_the_same_bet_again_is_known_when_its_round_is_over(book: Book, over: str) -> None:
    accepted_bet(book)
    if over == "completed":
        ask(book, examples.report_result())
        answer(book, LM, "result", RESULT)
    else:
        ask(book, examples.cancel_round())
        answer(book, LM, "refund", FIRST)
    with nothing_recorded(book):
        assert code(book, examples.place_bet()) == 0


def test_two_operators_may_use_the_same_reference_and_the_same_round(book: Book) -> None:
    accepted_bet(book)
    accepted_bet(book, operator=KY, user=controls.OTHER_PLAYER, amount="7")
    assert book.round(LM, ROUND).user == controls.PLAYER
    assert book.round(KY, ROUND).user == controls.OTHER_PLAYER
    ask(book, examples.cancel_round(operator=KY, user=controls.OTHER_PLAYER))
    assert status(book) == "InProgress"
    assert status(book, operator=KY) == "CancelInProcess"


def test_one_value_may_be_the_reference_of_a_bet_and_of_a_result(book: Book) -> None:
    accepted_bet(book)
    assert made(book, examples.report_result(reference=FIRST)) == ["ResultRequested"]
    answer(book, LM, "result", FIRST)
    assert status(book) == "Completed"


@pytest.mark.parametrize(
    ("reference", "round_id"), [("a/b", "c"), ("%2F", "a%2Fb"), ("é 漢", "ровно"), ("r" * 128, "1")]
)
def test_any_printable_id_names_a_bet_and_its_round(
    book: Book, reference: str, round_id: str
) -> None:
    accepted_bet(book, reference=reference, round_id=round_id)
    ask(book, examples.report_result(round_id=round_id, reference=reference))
    answer(book, LM, "result", reference)
    ask(book, examples.end_round(round_id=round_id))
    answer(book, LM, "end", round_id)
    assert status(book, round_id=round_id) == "Completed"


def test_references_and_rounds_are_compared_exactly(book: Book) -> None:
    accepted_bet(book, reference="R1", round_id="A")
    accepted_bet(book, reference="r1", round_id="a")
    ask(book, examples.cancel_round(round_id="A"))
    assert status(book, round_id="A") == "CancelInProcess"
    assert status(book, round_id="a") == "InProgress"


# results


def test_a_result_is_asked_of_the_wallet_and_completes_the_round_once_confirmed(
    book: Book,
) -> None:
    accepted_bet(book)
    assert made(book, examples.report_result()) == ["ResultRequested"]
    assert status(book) == "CompleteInProcess"
    assert made_by_answer(book, "result", RESULT) == ["ResultConfirmed", "RoundCompleted"]
    assert status(book) == "Completed"
    state = book.round(LM, ROUND)
    assert (state.won, state.results[RESULT].transaction_id) == (25000, examples.TRANSACTION_ID)


def test_a_result_of_nothing_is_a_result(book: Book) -> None:
    accepted_bet(book)
    ask(book, examples.report_result(amount="0"))
    answer(book, LM, "result", RESULT)
    assert status(book) == "Completed"
    assert book.round(LM, ROUND).won == 0


def test_the_same_result_again_records_nothing(book: Book) -> None:
    accepted_bet(book)
    ask(book, examples.report_result())
    with nothing_recorded(book):
        assert code(book, examples.report_result()) == 0
        assert code(book, examples.report_result(user=controls.PLAYER, amount="0250.0")) == 0
    answer(book, LM, "result", RESULT)
    with nothing_recorded(book):
        assert not ask(book, examples.report_result()).recorded


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({"amount": "250.01"}, 57),
        ({"round_id": OTHER_ROUND}, 57),
        ({"user": controls.OTHER_PLAYER}, 16),
    ],
    ids=["amount", "round", "player"],
)
def test_a_known_result_with_another_payload_is_refused_without_effect(
    book: Book, other: dict[str, str], expected: int
) -> None:
    accepted_bet(book)
    accepted_bet(book, reference=SECOND, round_id=OTHER_ROUND)
    ask(book, examples.report_result())
    with nothing_recorded(book):
        assert code(book, examples.report_result(**other)) == expected


def test_a_round_may_have_several_results(book: Book) -> None:
    accepted_bet(book)
    for reference in (RESULT, OTHER_RESULT):
        ask(book, examples.report_result(reference=reference, amount="1"))
    answer(book, LM, "result", RESULT)
    assert status(book) == "CompleteInProcess"
    answer(book, LM, "result", OTHER_RESULT)
    assert status(book) == "Completed"
    assert book.round(LM, ROUND).won == 200


def test_a_result_after_completion_opens_the_question_again(book: Book) -> None:
    accepted_bet(book)
    ask(book, examples.report_result())
    answer(book, LM, "result", RESULT)
    ask(book, examples.report_result(reference=OTHER_RESULT, amount="1"))
    assert status(book) == "CompleteInProcess"
    assert made_by_answer(book, "result", OTHER_RESULT) == ["ResultConfirmed", "RoundCompleted"]
    assert book.round(LM, ROUND).won == 25100


def test_a_result_of_a_round_nobody_has_spoken_of_is_17(book: Book) -> None:
    with nothing_recorded(book):
        assert code(book, examples.report_result()) == 17


def test_a_result_of_another_players_round_is_16(book: Book) -> None:
    accepted_bet(book)
    with nothing_recorded(book):
        assert code(book, examples.report_result(user=controls.OTHER_PLAYER)) == 16


def test_a_result_without_a_bet_that_was_taken_is_17(book: Book) -> None:
    ask(book, examples.place_bet())
    answer(book, LM, "bet", FIRST, 15)
    with nothing_recorded(book), pytest.raises(NoSuchRound):
        ask(book, examples.report_result())


def test_a_result_with_too_many_decimals_is_59(book: Book) -> None:
    accepted_bet(book)
    with nothing_recorded(book):
        assert code(book, examples.report_result(amount="1.001")) == 59


def test_stakes_and_wins_that_no_book_can_hold_the_sum_of_are_59(book: Book) -> None:
    most = {"amount": "1" + "0" * 14, "currency": "CLF"}  # 10^18 minor units
    for number in range(9):
        ask(book, examples.place_bet(**most, reference=f"bet-{number}"))
    with nothing_recorded(book):
        assert code(book, examples.place_bet(**most, reference="bet-9")) == 59

    for number in range(9):
        answer(book, LM, "bet", f"bet-{number}")
    assert book.round(LM, ROUND).staked == 9 * 10**18

    for number in range(9):
        ask(book, examples.report_result(amount=most["amount"], reference=f"win-{number}"))
    with nothing_recorded(book):
        assert code(book, examples.report_result(amount=most["amount"], reference="win-9")) == 59


def test_a_result_waits_for_a_bet_in_flight(book: Book) -> None:
    accepted_bet(book)
    ask(book, examples.place_bet(reference=SECOND))
    with nothing_recorded(book), pytest.raises(Unsettled) as denial:
        ask(book, examples.report_result())
    assert denial.value.code == 998
    answer(book, LM, "bet", SECOND, 15)
    assert code(book, examples.report_result()) == 0


def test_a_result_of_a_round_whose_only_bet_is_in_flight_is_998_and_not_17(book: Book) -> None:
    ask(book, examples.place_bet())
    with nothing_recorded(book):
        assert code(book, examples.report_result()) == 998


def test_a_result_waits_for_a_cancel_under_way(book: Book) -> None:
    accepted_bet(book)
    ask(book, examples.place_bet(reference=SECOND))
    examples.give_bet_up(book, reference=SECOND)
    with nothing_recorded(book):
        assert code(book, examples.report_result()) == 998
    answer(book, LM, "cancel", SECOND)
    assert code(book, examples.report_result()) == 0


def test_a_result_waits_for_a_refund_under_way(book: Book, clock: examples.Clock) -> None:
    accepted_bet(book)
    upto = clock.text
    clock.go(1)
    accepted_bet(book, reference=SECOND)
    ask(book, examples.refund_overdue(upto=upto))
    with nothing_recorded(book):
        assert code(book, examples.report_result()) == 998
    answer(book, LM, "refund", FIRST)
    assert code(book, examples.report_result()) == 0


def test_a_parked_reversal_still_holds_a_result_up(book: Book) -> None:
    accepted_bet(book)
    ask(book, examples.place_bet(reference=SECOND))
    examples.give_bet_up(book, reference=SECOND)
    for _ in range(BET_SENDS):
        answer(book, LM, "cancel", SECOND, None)
    assert examples.delivery(book, "cancel", SECOND).state == "parked"
    assert code(book, examples.report_result()) == 998


@pytest.mark.parametrize("refusal", [15, 999])
def test_a_refused_reversal_waits_for_a_person_and_holds_up_no_result(
    book: Book, refusal: int
) -> None:
    accepted_bet(book)
    ask(book, examples.place_bet(reference=SECOND))
    examples.give_bet_up(book, reference=SECOND)
    assert made_by_answer(book, "cancel", SECOND, refusal) == ["DeliveryRefused"]
    assert ("cancel", SECOND) in book.round(LM, ROUND).refused
    assert code(book, examples.report_result()) == 0
    answer(book, LM, "result", RESULT)
    assert status(book) == "Completed"


def test_a_refused_refund_waits_for_a_person_and_holds_up_no_result(
    book: Book, clock: examples.Clock
) -> None:
    accepted_bet(book)
    upto = clock.text
    clock.go(1)
    accepted_bet(book, reference=SECOND)
    ask(book, examples.refund_overdue(upto=upto))
    answer(book, LM, "refund", FIRST, 999)
    assert code(book, examples.report_result()) == 0


def test_what_an_answer_came_to_shows_the_refusal_it_recorded(book: Book) -> None:
    accepted_bet(book)
    ask(book, examples.cancel_round())
    outcome = answer(book, LM, "refund", FIRST, 999)
    assert outcome.round == book.round(LM, ROUND)
    assert outcome.round.refused == {("refund", FIRST)}


def test_a_persons_retry_of_a_refused_reversal_holds_results_up_again(book: Book) -> None:
    accepted_bet(book)
    ask(book, examples.place_bet(reference=SECOND))
    examples.give_bet_up(book, reference=SECOND)
    answer(book, LM, "cancel", SECOND, 999)
    ask(book, examples.retry("cancel", SECOND))
    assert code(book, examples.report_result()) == 998
    answer(book, LM, "cancel", SECOND)
    assert code(book, examples.report_result()) == 0


def test_one_refused_reversal_does_not_speak_for_another_that_waits(book: Book) -> None:
    accepted_bet(book)
    for reference in (SECOND, THIRD):
        ask(book, examples.place_bet(reference=reference))
        examples.give_bet_up(book, reference=reference)
    answer(book, LM, "cancel", SECOND, 999)
    assert code(book, examples.report_result()) == 998


def test_a_round_that_is_completed_is_not_completed_again_by_a_reversal_that_was_refused_before(
    book: Book,
) -> None:
    accepted_bet(book)
    ask(book, examples.place_bet(reference=SECOND))
    examples.give_bet_up(book, reference=SECOND)
    answer(book, LM, "cancel", SECOND, 999)
    ask(book, examples.report_result())
    assert made_by_answer(book, "result", RESULT) == ["ResultConfirmed", "RoundCompleted"]
    ask(book, examples.retry("cancel", SECOND))
    assert made_by_answer(book, "cancel", SECOND) == ["CancelConfirmed"]


def test_a_refused_result_waits_for_a_person_and_completes_once_confirmed(book: Book) -> None:
    accepted_bet(book)
    ask(book, examples.report_result())
    assert made_by_answer(book, "result", RESULT, 999) == ["DeliveryRefused"]
    assert status(book) == "CompleteInProcess"
    ask(book, examples.retry("result", RESULT))
    answer(book, LM, "result", RESULT)
    assert status(book) == "Completed"
    assert book.round(LM, ROUND).refused == frozenset()


# the end


def test_an_end_is_sent_once_the_wallet_has_confirmed_every_result(book: Book) -> None:
    accepted_bet(book)
    for reference in (RESULT, OTHER_RESULT):
        ask(book, examples.report_result(reference=reference))
    assert made(book, examples.end_round()) == ["RoundEnded"]
    assert made_by_answer(book, "result", OTHER_RESULT) == ["ResultConfirmed"]
    assert status(book) == "CompleteInProcess"
    assert made_by_answer(book, "result", RESULT) == ["ResultConfirmed", "EndRequested"]
    assert status(book) == "CompleteInProcess"
    assert made_by_answer(book, "end", ROUND) == ["EndConfirmed", "RoundCompleted"]
    assert status(book) == "Completed"


def test_an_end_behind_the_last_confirmed_result_is_sent_at_once(book: Book) -> None:
    accepted_bet(book)
    ask(book, examples.report_result())
    answer(book, LM, "result", RESULT)
    assert made(book, examples.end_round()) == ["RoundEnded", "EndRequested"]
    assert status(book) == "CompleteInProcess"
    answer(book, LM, "end", ROUND)
    assert status(book) == "Completed"


def test_an_end_without_a_result_is_an_outcome(book: Book) -> None:
    accepted_bet(book)
    assert made(book, examples.end_round()) == ["RoundEnded", "EndRequested"]
    assert status(book) == "CompleteInProcess"
    answer(book, LM, "end", ROUND)
    assert status(book) == "Completed"


def test_the_end_of_a_round_no_bet_of_which_was_taken_is_not_sent(book: Book) -> None:
    ask(book, examples.place_bet())
    answer(book, LM, "bet", FIRST, 15)
    assert made(book, examples.end_round()) == ["RoundEnded", "RoundCompleted"]
    assert status(book) == "Completed"
    assert examples.due(book) == []


def test_an_end_again_records_nothing(book: Book) -> None:
    accepted_bet(book)
    ask(book, examples.end_round())
    with nothing_recorded(book):
        assert code(book, examples.end_round()) == 0
    answer(book, LM, "end", ROUND)
    with nothing_recorded(book):
        assert not ask(book, examples.end_round()).recorded


def test_an_end_waits_for_a_bet_in_flight_and_for_a_reversal(book: Book) -> None:
    accepted_bet(book)
    ask(book, examples.place_bet(reference=SECOND))
    with nothing_recorded(book):
        assert code(book, examples.end_round()) == 998
    examples.give_bet_up(book, reference=SECOND)
    with nothing_recorded(book):
        assert code(book, examples.end_round()) == 998
    answer(book, LM, "cancel", SECOND)
    assert code(book, examples.end_round()) == 0


def test_an_end_of_an_unknown_round_is_17_and_of_another_players_16(book: Book) -> None:
    with nothing_recorded(book):
        assert code(book, examples.end_round()) == 17
    accepted_bet(book)
    with nothing_recorded(book):
        assert code(book, examples.end_round(user=controls.OTHER_PLAYER)) == 16


def test_a_late_result_of_an_ended_round_is_999(book: Book) -> None:
    accepted_bet(book)
    ask(book, examples.end_round())
    with nothing_recorded(book), pytest.raises(Final):
        ask(book, examples.report_result())


# bets of a round that takes no more

OVER: dict[str, list[Any]] = {
    "CompleteInProcess": [lambda book: ask(book, examples.report_result())],
    "Completed": [
        lambda book: ask(book, examples.report_result()),
        lambda book: answer(book, LM, "result", RESULT),
    ],
    "CancelInProcess": [lambda book: ask(book, examples.cancel_round())],
    "Cancelled": [
        lambda book: ask(book, examples.cancel_round()),
        lambda book: answer(book, LM, "refund", FIRST),
    ],
}


@pytest.mark.parametrize("word", OVER)
def test_a_bet_is_refused_for_good_once_its_round_is_not_in_progress(book: Book, word: str) -> None:
    accepted_bet(book)
    for step in OVER[word]:
        step(book)
    assert status(book) == word
    with nothing_recorded(book), pytest.raises(Final) as refusal:
        ask(book, examples.place_bet(reference=SECOND))
    assert word in str(refusal.value)


def test_a_bet_is_refused_while_the_last_one_of_its_round_is_cancelled(book: Book) -> None:
    ask(book, examples.place_bet())
    examples.give_bet_up(book)
    assert status(book) == "CancelInProcess"
    with nothing_recorded(book):
        assert code(book, examples.place_bet(reference=SECOND)) == 999


def test_a_bet_is_taken_while_another_of_its_round_is_cancelled(book: Book) -> None:
    accepted_bet(book)
    ask(book, examples.place_bet(reference=SECOND))
    examples.give_bet_up(book, reference=SECOND)
    assert status(book) == "InProgress"
    assert code(book, examples.place_bet(reference=THIRD)) == 0


# cancelling


def test_a_cancelled_round_refunds_every_accepted_bet_once_by_its_own_reference(
    book: Book,
) -> None:
    for reference, amount in ((FIRST, "1"), (SECOND, "2"), (THIRD, "3")):
        accepted_bet(book, reference=reference, amount=amount)
    before = position(book)
    ask(book, examples.cancel_round(uuid=controls.UUID))
    requested, *refunds = history(book, after=before)
    assert isinstance(requested, events.CancellationRequested)
    assert (requested.by, requested.uuid) == ("operator", controls.UUID)
    assert [(each.reference, each.amount, each.by) for each in refunds] == [
        (FIRST, 100, "operator"),
        (SECOND, 200, "operator"),
        (THIRD, 300, "operator"),
    ]
    assert status(book) == "CancelInProcess"
    assert sorted(examples.due(book)) == [("refund", each) for each in (FIRST, SECOND, THIRD)]


def test_a_round_is_cancelled_with_the_last_refund(book: Book) -> None:
    accepted_bet(book)
    accepted_bet(book, reference=SECOND)
    ask(book, examples.cancel_round())
    assert made_by_answer(book, "refund", SECOND) == ["RefundConfirmed"]
    assert status(book) == "CancelInProcess"
    assert made_by_answer(book, "refund", FIRST) == ["RefundConfirmed", "RoundCancelled"]
    assert status(book) == "Cancelled"
    assert {bet.standing for bet in book.round(LM, ROUND).bets.values()} == {"refunded"}


def test_a_declined_bet_of_a_cancelled_round_is_not_refunded(book: Book) -> None:
    accepted_bet(book)
    ask(book, examples.place_bet(reference=SECOND))
    answer(book, LM, "bet", SECOND, 15)
    ask(book, examples.cancel_round())
    assert examples.due(book) == [("refund", FIRST)]


def test_a_round_none_of_whose_bets_was_taken_is_cancelled_at_once(book: Book) -> None:
    ask(book, examples.place_bet())
    answer(book, LM, "bet", FIRST, 15)
    assert made(book, examples.cancel_round()) == ["CancellationRequested", "RoundCancelled"]
    assert status(book) == "Cancelled"


def test_a_bet_in_flight_of_a_cancelled_round_is_refunded_when_it_is_accepted(book: Book) -> None:
    ask(book, examples.place_bet())
    assert made(book, examples.cancel_round()) == ["CancellationRequested"]
    assert status(book) == "CancelInProcess"
    assert made_by_answer(book, "bet", FIRST) == ["BetAccepted", "RefundRequested"]
    assert status(book) == "CancelInProcess"
    assert made_by_answer(book, "refund", FIRST) == ["RefundConfirmed", "RoundCancelled"]
    assert status(book) == "Cancelled"


def test_a_bet_in_flight_of_a_cancelled_round_that_is_declined_cancels_it(book: Book) -> None:
    ask(book, examples.place_bet())
    ask(book, examples.cancel_round())
    assert made_by_answer(book, "bet", FIRST, 15) == ["BetDeclined", "RoundCancelled"]


def test_a_bet_in_flight_of_a_cancelled_round_that_is_given_up_is_cancelled_by_its_reference(
    book: Book,
) -> None:
    accepted_bet(book)
    ask(book, examples.place_bet(reference=SECOND))
    ask(book, examples.cancel_round())
    answer(book, LM, "refund", FIRST)
    assert status(book) == "CancelInProcess"
    examples.give_bet_up(book, reference=SECOND)
    assert examples.due(book) == [("cancel", SECOND)]
    assert made_by_answer(book, "cancel", SECOND) == ["CancelConfirmed", "RoundCancelled"]
    assert status(book) == "Cancelled"


def test_a_refund_of_a_late_bet_says_who_cancelled_the_round(book: Book) -> None:
    ask(book, examples.place_bet())
    ask(book, examples.cancel_round(by="game"))
    answer(book, LM, "bet", FIRST)
    assert history(book)[-1].by == "game"


def test_cancelling_again_records_nothing(book: Book) -> None:
    accepted_bet(book)
    ask(book, examples.cancel_round())
    with nothing_recorded(book):
        assert code(book, examples.cancel_round(uuid=controls.OTHER_UUID, by="game")) == 0
    answer(book, LM, "refund", FIRST)
    with nothing_recorded(book):
        assert not ask(book, examples.cancel_round()).recorded


@pytest.mark.parametrize(
    "outcome",
    [examples.report_result(), examples.report_result(amount="0"), examples.end_round()],
    ids=["result", "result of nothing", "end"],
)
def test_a_round_with_an_outcome_cannot_be_cancelled(book: Book, outcome: Any) -> None:
    accepted_bet(book)
    ask(book, outcome)
    with nothing_recorded(book), pytest.raises(Final):
        ask(book, examples.cancel_round())
    kind, reference = ("end", ROUND) if outcome == examples.end_round() else ("result", RESULT)
    answer(book, LM, kind, reference)
    assert status(book) == "Completed"
    with nothing_recorded(book):
        assert code(book, examples.cancel_round()) == 999


@pytest.mark.parametrize("late", [examples.report_result(), examples.end_round()])
@pytest.mark.parametrize("confirmed", [False, True])
def test_a_cancelled_round_takes_no_outcome(book: Book, late: Any, *, confirmed: bool) -> None:
    accepted_bet(book)
    ask(book, examples.cancel_round())
    if confirmed:
        answer(book, LM, "refund", FIRST)
    with nothing_recorded(book):
        assert code(book, late) == 999


@pytest.mark.parametrize(
    ("late", "expected"),
    [
        (examples.report_result(), 999),
        (examples.end_round(), 999),
        (examples.cancel_round(), 0),
    ],
    ids=["result", "end", "cancellation"],
)
@pytest.mark.parametrize("kind", ["refund", "cancel"])
def test_a_round_whose_every_bet_went_back_unasked_stays_cancelled(
    book: Book, late: Any, expected: int, kind: Any
) -> None:
    if kind == "refund":
        accepted_bet(book)
        book.submit(examples.refund_overdue(upto="2099-01-01T00:00:00.000000Z"))
    else:
        ask(book, examples.place_bet())
        examples.give_bet_up(book)
    answer(book, LM, kind, FIRST)
    assert status(book) == "Cancelled"
    with nothing_recorded(book):
        assert code(book, late) == expected


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({"user": controls.OTHER_PLAYER}, 16),
        ({"round_id": OTHER_ROUND}, 17),
        ({"game": controls.OTHER_GAME}, 57),
        ({"user": controls.OTHER_PLAYER, "game": controls.OTHER_GAME}, 16),
        ({"operator": KY}, 17),
    ],
    ids=["player", "unknown round", "game", "player and game", "another operator's"],
)
def test_a_cancellation_must_name_its_round(
    book: Book, other: dict[str, str], expected: int
) -> None:
    accepted_bet(book)
    with nothing_recorded(book):
        assert code(book, examples.cancel_round(**other)) == expected


def test_a_cancellation_need_not_name_player_and_game(book: Book) -> None:
    accepted_bet(book)
    assert code(book, examples.cancel_round(user=None, game=None)) == 0
    assert status(book) == "CancelInProcess"


def test_the_wrong_player_is_16_of_a_completed_and_of_a_cancelled_round_too(book: Book) -> None:
    accepted_bet(book)
    ask(book, examples.report_result())
    accepted_bet(book, reference=SECOND, round_id=OTHER_ROUND)
    ask(book, examples.cancel_round(round_id=OTHER_ROUND))
    for round_id in (ROUND, OTHER_ROUND):
        wrong = examples.cancel_round(round_id=round_id, user=controls.OTHER_PLAYER)
        assert code(book, wrong) == 16


@pytest.mark.parametrize("refusal", [15, 999])
def test_a_refused_refund_keeps_the_round_in_cancellation_until_a_person_retries(
    book: Book, refusal: int
) -> None:
    accepted_bet(book)
    ask(book, examples.cancel_round())
    assert made_by_answer(book, "refund", FIRST, refusal) == ["DeliveryRefused"]
    assert status(book) == "CancelInProcess"
    assert standing(book) == "refunding"
    ask(book, examples.retry("refund", FIRST))
    answer(book, LM, "refund", FIRST)
    assert status(book) == "Cancelled"
    assert book.round(LM, ROUND).refused == frozenset()


# cancelling without a round


def test_a_cancellation_without_a_round_is_of_every_open_round_of_player_and_game(
    book: Book,
) -> None:
    accepted_bet(book, reference="1", round_id="open")
    ask(book, examples.place_bet(reference="2", round_id="in-flight"))
    accepted_bet(book, reference="3", round_id="of-another", user=controls.OTHER_PLAYER)
    accepted_bet(book, reference="4", round_id="other-game", game=controls.OTHER_GAME)
    accepted_bet(book, reference="5", round_id="decided")
    ask(book, examples.report_result(round_id="decided"))
    accepted_bet(book, reference="6", round_id="going-back")
    ask(book, examples.cancel_round(round_id="going-back"))
    accepted_bet(book, reference="7", round_id="elsewhere", operator=KY)

    outcome = ask(book, examples.cancel_rounds())

    assert sorted(outcome.rounds) == ["in-flight", "open"]
    assert outcome.recorded
    words = {row[1]: row[6] for row in book.store.rows("rounds")}
    assert words == {
        "open": "CancelInProcess",
        "in-flight": "CancelInProcess",
        "of-another": "InProgress",
        "other-game": "InProgress",
        "decided": "CompleteInProcess",
        "going-back": "CancelInProcess",
        "elsewhere": "InProgress",
    }
    refunds = [reference for kind, reference in examples.due(book) if kind == "refund"]
    assert sorted(refunds) == ["1", "6"]


def test_no_open_round_to_cancel_is_success_and_records_nothing(book: Book) -> None:
    with nothing_recorded(book):
        outcome = ask(book, examples.cancel_rounds())
    assert (list(outcome.rounds), outcome.recorded) == ([], False)
    accepted_bet(book)
    ask(book, examples.cancel_rounds())
    with nothing_recorded(book):
        assert list(ask(book, examples.cancel_rounds()).rounds) == []


def test_rounds_of_an_operator_nobody_knows_cannot_be_cancelled(book: Book) -> None:
    with nothing_recorded(book):
        assert code(book, examples.cancel_rounds(operator="nobody")) == 57


def test_a_players_open_rounds_are_looked_for_among_the_players_own(
    tmp_path: Path, clock: examples.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(examples.new_book(f"sqlite:///{tmp_path}/book.db", now=clock)) as book:
        read, asked = book.store._read, []  # type: ignore[attr-defined]

        def note(statement: str, given: Any = ()) -> Any:
            asked.append((statement, given))
            return read(statement, given)

        monkeypatch.setattr(book.store, "_read", note)
        book.submit(examples.cancel_rounds())
        plans = [
            read(f"explain query plan {statement}", given)[0][3]
            for statement, given in asked
            if "from rounds" in statement
        ]

    (plan,) = plans
    assert plan.startswith("SEARCH rounds USING INDEX rounds_of_player (operator=? AND user=?")


# bets that were given up


def test_a_bet_without_an_answer_is_given_up_and_cancelled_in_one_commit(book: Book) -> None:
    ask(book, examples.place_bet())
    for _ in range(BET_SENDS - 1):
        assert made_by_answer(book, "bet", FIRST, None) == []
    started = ask(book, examples.start_send("bet", FIRST))
    assert started.send
    ended = examples.end_send("bet", FIRST, attempt=started.send.attempt, code=None)
    assert made(book, ended) == ["SendEnded", "BetGivenUp", "CancelRequested"]
    assert standing(book) == "given-up"
    assert status(book) == "CancelInProcess"


def test_a_round_all_of_whose_bets_were_given_up_is_cancelled_with_the_last_cancel(
    book: Book,
) -> None:
    for reference in (FIRST, SECOND):
        ask(book, examples.place_bet(reference=reference))
    for reference in (FIRST, SECOND):
        examples.give_bet_up(book, reference=reference)
    assert made_by_answer(book, "cancel", SECOND) == ["CancelConfirmed"]
    assert status(book) == "CancelInProcess"
    assert made_by_answer(book, "cancel", FIRST) == ["CancelConfirmed", "RoundCancelled"]
    assert status(book) == "Cancelled"
    assert (standing(book), standing(book, SECOND)) == ("cancelled", "cancelled")


def test_a_round_with_an_open_bet_goes_on_when_another_was_given_up(book: Book) -> None:
    accepted_bet(book)
    ask(book, examples.place_bet(reference=SECOND))
    examples.give_bet_up(book, reference=SECOND)
    assert made_by_answer(book, "cancel", SECOND) == ["CancelConfirmed"]
    assert status(book) == "InProgress"
    assert book.round(LM, ROUND).staked == 10001


def test_a_round_waits_for_its_last_bet_before_it_is_cancelled(book: Book) -> None:
    for reference in (FIRST, SECOND):
        ask(book, examples.place_bet(reference=reference))
    examples.give_bet_up(book)
    assert made_by_answer(book, "cancel", FIRST) == ["CancelConfirmed"]
    assert status(book) == "InProgress"
    assert made_by_answer(book, "bet", SECOND, 15) == ["BetDeclined", "RoundCancelled"]
    assert status(book) == "Cancelled"


def test_a_cancellation_of_a_round_whose_bets_were_given_up_sends_nothing_more(
    book: Book,
) -> None:
    ask(book, examples.place_bet())
    examples.give_bet_up(book)
    ask(book, examples.cancel_round())
    assert examples.due(book) == [("cancel", FIRST)]
    answer(book, LM, "cancel", FIRST)
    assert status(book) == "Cancelled"


def test_a_round_whose_bets_went_back_in_every_way_is_cancelled_once(
    book: Book, clock: examples.Clock
) -> None:
    accepted_bet(book)
    upto = clock.text
    clock.go(1)
    ask(book, examples.place_bet(reference=SECOND))
    examples.give_bet_up(book, reference=SECOND)
    ask(book, examples.place_bet(reference=THIRD))
    answer(book, LM, "bet", THIRD, 15)
    ask(book, examples.refund_overdue(upto=upto))
    answer(book, LM, "cancel", SECOND)
    assert status(book) == "CancelInProcess"
    answer(book, LM, "refund", FIRST)
    assert status(book) == "Cancelled"
    assert topics(book).count("RoundCancelled") == 1


# statuses, and the ways between them


def places(reference: str = FIRST) -> Callable[[Book], Any]:
    return lambda book: ask(book, examples.place_bet(reference=reference))


def hears(kind: Any, reference: str = FIRST, code: int | None = 0) -> Callable[[Book], Any]:
    return lambda book: answer(book, LM, kind, reference, code)


def gives_up(reference: str = FIRST) -> Callable[[Book], Any]:
    return lambda book: examples.give_bet_up(book, reference=reference)


def says(command: Any) -> Callable[[Book], Any]:
    return lambda book: ask(book, command)


WON, ENDED = says(examples.report_result()), says(examples.end_round())
CANCELS = says(examples.cancel_round())
PAID = hears("result", RESULT)
CLOSED = hears("end", ROUND)

WAYS: dict[str, list[tuple[Callable[[Book], Any], str]]] = {
    "a round is won": [
        (places(), "InProgress"),
        (hears("bet"), "InProgress"),
        (WON, "CompleteInProcess"),
        (PAID, "Completed"),
        (ENDED, "CompleteInProcess"),
        (CLOSED, "Completed"),
    ],
    "a round ends before its win is paid": [
        (places(), "InProgress"),
        (hears("bet"), "InProgress"),
        (WON, "CompleteInProcess"),
        (ENDED, "CompleteInProcess"),
        (PAID, "CompleteInProcess"),
        (CLOSED, "Completed"),
    ],
    "a round ends without a win": [
        (places(), "InProgress"),
        (hears("bet"), "InProgress"),
        (ENDED, "CompleteInProcess"),
        (CLOSED, "Completed"),
    ],
    "a round ends without a stake": [
        (places(), "InProgress"),
        (hears("bet", code=999), "InProgress"),
        (ENDED, "Completed"),
    ],
    "a round is cancelled": [
        (places(), "InProgress"),
        (hears("bet"), "InProgress"),
        (CANCELS, "CancelInProcess"),
        (hears("refund", code=None), "CancelInProcess"),
        (hears("refund"), "Cancelled"),
    ],
    "a round is cancelled without a stake": [
        (places(), "InProgress"),
        (hears("bet", code=15), "InProgress"),
        (CANCELS, "Cancelled"),
    ],
    "a round is cancelled while its bet is in flight": [
        (places(), "InProgress"),
        (CANCELS, "CancelInProcess"),
        (hears("bet"), "CancelInProcess"),
        (hears("refund"), "Cancelled"),
    ],
    "a round's only bet is given up": [
        (places(), "InProgress"),
        (gives_up(), "CancelInProcess"),
        (hears("cancel"), "Cancelled"),
    ],
    "a round goes on without a bet that was given up": [
        (places(), "InProgress"),
        (hears("bet"), "InProgress"),
        (places(SECOND), "InProgress"),
        (gives_up(SECOND), "InProgress"),
        (hears("cancel", SECOND), "InProgress"),
        (WON, "CompleteInProcess"),
        (PAID, "Completed"),
    ],
    "a bet behind one that was given up keeps the round open": [
        (places(), "InProgress"),
        (places(SECOND), "InProgress"),
        (gives_up(), "InProgress"),
        (hears("bet", SECOND, 15), "CancelInProcess"),
        (hears("cancel"), "Cancelled"),
    ],
}


@pytest.mark.parametrize("way", WAYS)
def test_a_round_goes_its_way(book: Book, way: str) -> None:
    found = []
    for step, _ in WAYS[way]:
        step(book)
        found.append(status(book))
    assert found == [word for _, word in WAYS[way]]


@pytest.mark.parametrize("way", WAYS)
def test_what_every_command_came_to_is_what_a_replay_says(book: Book, way: str) -> None:
    for step, _ in WAYS[way]:
        outcome = step(book)
        assert outcome.round == book.round(LM, ROUND)


def test_every_word_for_a_status_is_met() -> None:
    met = {word for way in WAYS.values() for _, word in way}
    assert met == {"InProgress", "CompleteInProcess", "Completed", "CancelInProcess", "Cancelled"}


def test_a_round_can_be_seen_as_of_any_of_its_events(book: Book) -> None:
    accepted_bet(book)
    ask(book, examples.report_result())
    answer(book, LM, "result", RESULT)
    words = [book.round(LM, ROUND, at=version).status for version in range(1, 7)]
    assert words == ["InProgress"] * 3 + ["CompleteInProcess"] + ["Completed"] * 2
    with pytest.raises(NoSuchRound):
        book.round(LM, OTHER_ROUND)


def test_a_round_shows_its_deliveries(book: Book) -> None:
    accepted_bet(book)
    ask(book, examples.place_bet(reference=SECOND))
    examples.give_bet_up(book, reference=SECOND)
    answer(book, LM, "cancel", SECOND)
    ask(book, examples.report_result())
    answer(book, LM, "result", RESULT)
    ask(book, examples.end_round())
    found = book.deliveries_of(book.round(LM, ROUND))
    assert [(each.kind, each.reference, each.state) for each in found] == [
        ("bet", FIRST, "confirmed"),
        ("bet", SECOND, "given-up"),
        ("result", RESULT, "confirmed"),
        ("end", ROUND, "waiting"),
        ("cancel", SECOND, "confirmed"),
    ]

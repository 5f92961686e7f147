from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import pytest
from eventsourcing.persistence import IntegrityError, OperationalError
from hypothesis import given
from hypothesis import strategies as st

from ledger.operator.book import MOST_LISTED, Book, Outcome
from ledger.refusals import Busy, OutcomeUnknown, Refusal
from ledger.writer import MOST_IN_A_BATCH, Writer, thread_latch
from tests import controls
from tests.questions import cash, tables, topics

COMMANDS = st.one_of(
    st.builds(
        controls.place_bet,
        reference=st.sampled_from("abc"),
        amount=st.sampled_from(["1.00", "30.00", "2.001"]),
        round_id=st.sampled_from("12"),
        user=st.sampled_from([controls.PLAYER, controls.STRANGER]),
    ),
    st.builds(
        controls.result,
        reference=st.sampled_from("de"),
        amount=st.sampled_from(["0.00", "5.00"]),
        round_id=st.sampled_from("123"),
    ),
    st.builds(controls.cancel, reference=st.sampled_from("abcx")),
    st.builds(controls.deposit, reference=st.sampled_from("fg"), amount=st.just("7.00")),
    st.builds(controls.open_wallet, user=st.sampled_from([controls.PLAYER, controls.STRANGER])),
)


def told(outcome: Outcome | Exception) -> Any:
    if isinstance(outcome, Refusal):
        return outcome.code, str(outcome)
    return outcome


def alone(book: Book, command: Any) -> Any:
    try:
        return book.submit(command)
    except Refusal as refusal:
        return told(refusal)


@given(st.lists(COMMANDS, max_size=12))
def test_a_list_comes_to_what_its_commands_come_to_one_by_one(listed: list[Any]) -> None:
    with (
        closing(controls.new_book("memory://")) as together,
        closing(controls.new_book("memory://")) as apart,
    ):
        for book in (together, apart):
            controls.fund(book, amount="50.00")
        found = [told(outcome) for outcome in together.submit_many(listed)]

        assert found == [alone(apart, command) for command in listed]
        assert topics(together) == topics(apart)
        assert {t: [row[:7] for row in rows] for t, rows in tables(together).items()} == {
            t: [row[:7] for row in rows] for t, rows in tables(apart).items()
        }


@pytest.fixture
def book(store_url: str) -> Iterator[Book]:
    with closing(controls.new_book(store_url)) as opened:
        controls.fund(opened)
        yield opened


def bets(count: int) -> list[Any]:
    return [controls.place_bet(reference=f"b{n}", amount="1.00") for n in range(count)]


def test_a_list_is_one_transaction_and_sent_again_it_moves_nothing(book, monkeypatch) -> None:
    flushed: list[int] = []
    append = book.store.insert_events

    def counted(events: Sequence[Any], **named: Any) -> Any:
        flushed.append(len(events))
        return append(events, **named)

    monkeypatch.setattr(book.store, "insert_events", counted)
    first = book.submit_many(bets(100))
    again = book.submit_many(bets(100))
    assert flushed == [101]
    assert [outcome.recorded for outcome in first] == [True] * 100
    assert [outcome.recorded for outcome in again] == [False] * 100
    assert [o.transaction_id for o in first] == [o.transaction_id for o in again]
    assert cash(book) == "99900.00"


def test_a_refusal_stands_where_it_came_and_the_rest_goes_on(book) -> None:
    stranger = controls.place_bet(reference="x", user=controls.STRANGER)
    first, refused, last = book.submit_many([bets(1)[0], stranger, controls.place_bet()])
    assert (first.recorded, refused.code, last.recorded) == (True, 62, True)


def test_an_empty_list_is_nothing_and_a_list_that_is_too_long_is_an_error(book) -> None:
    assert list(book.submit_many([])) == []
    with pytest.raises(ValueError, match="1000"):
        book.submit_many(bets(MOST_LISTED + 1))
    assert cash(book) == controls.OPENING_CASH


def test_a_list_whose_transaction_meets_anothers_write_is_decided_one_by_one() -> None:
    taken: list[list[int]] = []

    def commit(batch: Sequence[int]) -> Sequence[int]:
        taken.append(list(batch))
        if len(batch) > 1 or (batch[0] == 2 and taken.count([2]) < 3):
            raise IntegrityError
        return [number * 2 for number in batch]

    writer = Writer(commit, latch=thread_latch)
    assert list(writer.submit_many([1, 2, 3])) == [2, 4, 6]
    assert taken == [[1, 2, 3], [1], [2], [2], [2], [3]]
    writer.close()


def test_a_list_whose_storage_fails_is_unknown_of_each() -> None:
    def commit(_: Sequence[int]) -> Sequence[int]:
        raise OperationalError

    writer = Writer(commit, latch=thread_latch)
    found = list(writer.submit_many([1, 2]))
    assert [type(each) for each in found] == [OutcomeUnknown, OutcomeUnknown]
    writer.close()


def test_a_defect_is_its_own_commands_and_a_closed_writer_takes_no_list() -> None:
    writer = Writer(lambda batch: [6 // number for number in batch], latch=thread_latch)
    one, unknown, three = writer.submit_many([1, 0, 3])
    assert (one, type(unknown), three) == (6, OutcomeUnknown, 2)
    writer.close()
    with pytest.raises(Busy):
        writer.submit_many([1])


def test_a_long_list_does_not_wait_behind_more_than_a_batch() -> None:
    sizes: list[int] = []

    def commit(batch: Sequence[int]) -> Sequence[int]:
        sizes.append(len(batch))
        return list(batch)

    writer = Writer(commit, latch=thread_latch)
    assert list(writer.submit_many(range(MOST_IN_A_BATCH + 9))) == [*range(MOST_IN_A_BATCH + 9)]
    assert sizes == [MOST_IN_A_BATCH + 9]
    writer.close()


@pytest.mark.parametrize("many", [[], [1], [1, 2, 3]])
def test_a_commit_that_tells_of_other_commands_than_it_was_given_is_a_defect_and_said(many) -> None:
    said: list[Exception] = []
    writer = Writer(lambda _: many, latch=thread_latch, on_defect=said.append)
    outcomes = list(writer.submit_many([1, 2]))
    assert said
    assert all(outcome == 1 or isinstance(outcome, OutcomeUnknown) for outcome in outcomes)
    assert len(outcomes) == 2
    writer.close()

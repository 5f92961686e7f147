from contextlib import closing
from itertools import chain
from tempfile import TemporaryDirectory
from typing import Any, cast, get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.batch import Known
from ledger.provider.book import Book
from ledger.provider.events import Kind
from ledger.provider.round import Round
from ledger.store.sql import CALM_AFTER, SqlStore
from tests.provider.examples import (
    NOON,
    Clock,
    cancel_round,
    end_round,
    end_send,
    new_book,
    place_bet,
    refund_overdue,
    report_result,
    retry,
    start_send,
)

ROUNDS, REFERENCES = st.sampled_from("12"), st.sampled_from("abc")
KINDS = st.sampled_from(get_args(Kind))
NAMES = REFERENCES | ROUNDS
CODES = st.sampled_from([0, 0, 15, 57, 998, None])


@st.composite
def a_delivery(draw: Any, kind: Any = KINDS, reference: Any = NAMES) -> list[Any]:
    of = draw(kind), draw(reference)
    end = end_send(*of, attempt=draw(st.integers(1, 2)), code=draw(CODES), wait_s=0)
    return [start_send(*of), end, retry(*of)][: draw(st.integers(1, 3))]


@st.composite
def a_bet(draw: Any) -> list[Any]:
    reference = draw(REFERENCES)
    placed = place_bet(reference=reference, round_id=draw(ROUNDS))
    return [placed, *draw(a_delivery(st.just("bet"), st.just(reference)))]


@st.composite
def a_result(draw: Any) -> list[Any]:
    reference = draw(REFERENCES)
    reported = report_result(reference=reference, round_id=draw(ROUNDS))
    return [reported, *draw(a_delivery(st.just("result"), st.just(reference)))]


def asked(command: Any, **of: Any) -> Any:
    return st.builds(command, round_id=ROUNDS, **of).map(lambda made: [made])


OVERDUE = asked(refund_overdue, upto=st.just(Clock(NOON).text))
MOVES = (
    a_bet() | a_bet() | a_result() | a_delivery() | asked(end_round) | asked(cancel_round) | OVERDUE
)
BATCHES = st.lists(st.lists(MOVES, max_size=4).map(lambda moves: [*chain(*moves)]), max_size=8)


def answered(book: Book, *commands: Any) -> list[Any]:
    outcomes = book._commit(commands)
    return [(type(o), str(o)) if isinstance(o, Exception) else o for o in outcomes]


@given(BATCHES)
def test_commands_decided_in_batches_come_to_what_they_come_to_one_by_one(
    batches: list[list[Any]],
) -> None:
    with (
        closing(new_book("memory://", now=Clock())) as alone,
        closing(new_book("memory://", now=Clock())) as together,
    ):
        for batch in batches:
            one_by_one = [answer for command in batch for answer in answered(alone, command)]
            assert answered(together, *batch) == one_by_one
        for projection in alone.store.projections:
            table = projection.TABLE
            assert together.store.rows(table) == alone.store.rows(table)
        assert together.store.head() == alone.store.head()


FORGETTING = st.lists(st.tuples(MOVES, st.sampled_from(["", "states", "rows", "all"])), max_size=8)


@settings(deadline=None, max_examples=60)
@given(FORGETTING)
def test_a_book_that_takes_for_new_what_it_forgot_answers_as_one_that_forgot_nothing(
    steps: list[tuple[list[Any], str]],
) -> None:
    with (
        TemporaryDirectory() as folder,
        closing(new_book(f"sqlite:///{folder}/book.db", now=Clock())) as forgetful,
        closing(new_book("memory://", now=Clock())) as plain,
    ):
        for batch, forgotten in steps:
            forget(forgetful, forgotten)
            assert answered(forgetful, *batch) == answered(plain, *batch)
        for projection in plain.store.projections:
            table = projection.TABLE
            assert forgetful.store.rows(table) == plain.store.rows(table)
        assert forgetful.store.head() == plain.store.head()


def forget(book: Book, what: str) -> None:
    cast(SqlStore, book.store)._calm = CALM_AFTER
    known, before = Known[Round](), book._commit._known or Known[Round]()
    if what in ("", "rows"):
        known.states = before.states
    if what in ("", "states"):
        known.rows = before.rows
    book._commit._known = known

from contextlib import closing
from urllib.parse import urlsplit

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.batch import Known
from ledger.operator.book import Book
from ledger.refusals import Refusal, SessionInvalid
from ledger.store import open_store
from ledger.store.postgres import CALM_AFTER
from projections import IN_TRANSACTION
from tests import controls
from tests.ha.proxy import Proxy

SETTLED = CALM_AFTER + 1
CASH = "100.00"


@pytest.fixture(params=["postgres", "newest_postgres"])
def url(request):
    return request.getfixturevalue(request.param).new_book()


@pytest.fixture
def book(url):
    with closing(controls.new_book(url)) as made:
        controls.fund(made, amount=CASH)
        settle(made)
        yield made


@pytest.fixture
def other(url, book):
    with closing(controls.new_book(url)) as made:
        yield made


def bet(name, session=controls.SESSION):
    return controls.place_bet(reference=name, round_id=name, amount="1.00", session=session)


def settle(book):
    for number in range(SETTLED):
        book.submit(bet(f"settled {id(book)} {number} {book.store.head().position}"))


def forget(book):
    before, book._commit._known = book._commit._known or Known(), Known()
    book._commit._known.rows["wallets"] = before.rows["wallets"]


def outcome(book, command):
    try:
        return book.submit(command)
    except Refusal as refusal:
        return type(refusal).__name__, refusal.detail


def test_a_bet_takes_one_turn_on_the_wire_when_nobody_else_writes(url):
    parts = urlsplit(url)
    with Proxy(parts.port) as wire:
        through = parts._replace(netloc=parts.netloc.replace(str(parts.port), str(wire.port)))
        with closing(controls.new_book(through.geturl())) as book:
            controls.fund(book)
            turns = []
            for number in range(SETTLED + 3):
                before = wire.turns
                book.submit(bet(f"{number}"))
                turns.append(wire.turns - before)
    assert turns[0] == 2
    assert turns[-3:] == [1, 1, 1]


def test_what_another_wrote_meanwhile_is_seen(book, other):
    cash = other.submit(controls.withdraw(reference="all", amount="90.00")).cash
    assert book.submit(bet("after")).cash == cash - 100


def test_a_refusal_is_not_of_what_was_so_once(book, other):
    book.submit(controls.freeze())
    other.submit(controls.unfreeze())
    book.store._calm = CALM_AFTER
    assert book.submit(bet("after")).recorded


def test_a_reference_that_is_not_in_mind_is_still_known(book):
    first = book.submit(bet("old"))
    settle(book)
    forget(book)
    again = book.submit(bet("old"))
    assert (again.recorded, again.transaction_id) == (False, first.transaction_id)


def test_a_round_that_is_not_in_mind_goes_on(book):
    book.submit(bet("old"))
    settle(book)
    forget(book)
    book.submit(controls.place_bet(reference="second", round_id="old", amount="1.00"))
    assert [*book.round(controls.PROVIDER, "old").bets] == ["old", "second"]


def test_a_book_of_an_older_version_takes_nothing_for_granted(book, url):
    address, _, schema = url.partition("?schema=")
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f"drop function {schema}.presume")
    with closing(Book(open_store(url, IN_TRANSACTION, create=False))) as old:
        assert [old.submit(bet(f"old {n}")).recorded for n in range(SETTLED + 1)] == [True] * 6


def late(book):
    book.submit(controls.expire_session(session="over"))
    settle(book)
    forget(book)
    return book.submit(bet("late", session="over"))


def test_a_session_that_expired_and_is_not_in_mind_is_over(book):
    with pytest.raises(SessionInvalid):
        late(book)


def test_a_book_that_took_it_for_granted_unchecked_would_take_that_bet(book, url):
    address, _, schema = url.partition("?schema=")
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(
            f"create or replace function {schema}.presume(presumed jsonb) returns void"
            " language plpgsql as $$ begin end $$"
        )
    assert late(book).recorded


def test_after_it_was_wrong_a_book_looks_before_it_takes_anything_for_granted(book, other):
    store = book.store
    other.submit(bet("theirs"))
    assert store._calm >= CALM_AFTER
    book.submit(bet("ours"))
    assert store._calm < CALM_AFTER


NAMES = st.sampled_from("abc")
COMMANDS = st.one_of(
    st.builds(
        lambda reference, round_id, session: controls.place_bet(
            reference=reference, round_id=round_id, session=session, amount="7.00"
        ),
        NAMES,
        NAMES,
        st.sampled_from("st"),
    ),
    st.builds(
        lambda reference, round_id: controls.result(
            reference=reference, round_id=round_id, amount="3.00"
        ),
        NAMES,
        NAMES,
    ),
    st.builds(lambda reference: controls.cancel(reference=reference), NAMES),
    st.builds(lambda session: controls.expire_session(session=session), st.sampled_from("st")),
    st.builds(lambda: controls.freeze()),
    st.builds(lambda: controls.unfreeze()),
)
STEPS = st.lists(st.tuples(COMMANDS, st.integers(0, 9)), max_size=12)


@settings(deadline=None, max_examples=40)
@given(steps=STEPS)
def test_two_books_on_one_schema_answer_as_one_book_alone_does(postgres, steps):
    url = postgres.new_book()
    with (
        closing(controls.new_book(url)) as one,
        closing(controls.new_book(url)) as two,
        closing(controls.new_book("memory://")) as plain,
    ):
        for each in (one, plain):
            controls.fund(each, amount=CASH)
        for command, chance in steps:
            book: Book = two if chance == 0 else one
            book.store._calm = CALM_AFTER  # it takes for granted whatever it can
            if chance in (0, 1, 2):
                forget(book)
            assert outcome(book, command) == outcome(plain, command)
        assert one.store.head().position == plain.store.head().position
        assert [*one.store.rows("wallets")] == [*plain.store.rows("wallets")]

from contextlib import closing, contextmanager, suppress
from itertools import pairwise
from urllib.parse import urlsplit

import psycopg
import pytest
from eventsourcing.persistence import OperationalError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.batch import Known
from ledger.operator.book import MAPPER, Book
from ledger.provider.house import House
from ledger.rebuild import differences
from ledger.refusals import OutcomeUnknown, Refusal, SessionInvalid
from ledger.store import open_store
from ledger.store.chain import GENESIS, Head, link
from ledger.store.sql import CALM_AFTER
from ledger.store.sqlite import SQLiteStore
from projections import IN_TRANSACTION
from scripts.source import TABLES
from tests import controls
from tests.clocks import NOON, Clock
from tests.ha.proxy import Proxy
from tests.postgres import end_connections
from tests.provider import examples

SETTLED = CALM_AFTER + 1
CASH = "100.00"


SERVERS = ["postgres", "newest_postgres"]


@pytest.fixture
def new_url(tmp_path_factory, request):
    def made(store):
        if store == "sqlite":
            return f"sqlite:///{tmp_path_factory.mktemp('presumed')}/book.db"
        return request.getfixturevalue(store).new_book()

    return made


@pytest.fixture(params=["sqlite", *SERVERS])
def url(request, new_url):
    return new_url(request.param)


@pytest.fixture(params=SERVERS)
def server(request, new_url):
    return new_url(request.param)


@contextmanager
def settled(url):
    with closing(controls.new_book(url)) as made:
        controls.fund(made, amount=CASH)
        settle(made)
        yield made


@pytest.fixture
def book(url):
    with settled(url) as made:
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


def forget(book, but=("wallets",)):
    before, book._commit._known = book._commit._known or Known(), Known()
    for table in but:
        book._commit._known.rows[table] = before.rows[table]


def outcome(book, command):
    try:
        return book.submit(command)
    except Refusal as refusal:
        return type(refusal).__name__, refusal.detail


def of_each_bet(book, count):
    """Returns by how much each of some bets moves a count."""
    counts = [count()]
    for number in range(SETTLED + 3):
        book.submit(bet(f"{number}"))
        counts.append(count())
    return [after - before for before, after in pairwise(counts)]


def test_a_bet_takes_one_turn_on_the_wire_when_nobody_else_writes(server):
    parts = urlsplit(server)
    with Proxy(parts.port) as wire:
        through = parts._replace(netloc=parts.netloc.replace(str(parts.port), str(wire.port)))
        with closing(controls.new_book(through.geturl())) as book:
            controls.fund(book)
            turns = of_each_bet(book, lambda: wire.turns)
    assert turns[0] == 2
    assert turns[-3:] == [1, 1, 1]


class Watched(SQLiteStore):
    """Counts what it is asked while it is written."""

    asked = 0

    def _execute(self, connection, statement, parameters=()):
        self.asked += connection is self._writer
        return super()._execute(connection, statement, parameters)


def test_a_bet_asks_a_file_nothing_when_nobody_else_writes(tmp_path):
    store = Watched(str(tmp_path / "book.db"), IN_TRANSACTION)
    with closing(Book(store)) as book:
        controls.fund(book)
        asked = of_each_bet(book, lambda: store.asked)
    assert asked[0] > 1
    assert asked[-3:] == [0, 0, 0]


@pytest.mark.parametrize("party", TABLES)
def test_no_tree_is_made_to_check_a_row(tmp_path, party):
    with closing(SQLiteStore(str(tmp_path / "book.db"), TABLES[party])) as store:
        for table in store._tables.values():
            for written in (table._insert, table._update):
                nothing = [None] * written.count("?")
                steps = store._writer.execute(f"explain {written}", nothing)
                assert "OpenEphemeral" not in [step for _, step, *_ in steps]


def test_what_another_wrote_meanwhile_is_seen(book, other):
    cash = other.submit(controls.withdraw(reference="all", amount="90.00")).cash
    assert book.submit(bet("after")).cash == cash - 100


def test_a_refusal_is_not_of_what_was_so_once(book, other):
    book.submit(controls.freeze())
    other.submit(controls.unfreeze())
    book.store._calm = CALM_AFTER
    assert book.submit(bet("after")).recorded


def test_nor_is_one_that_a_look_came_before(book, other):
    book.submit(controls.withdraw(reference="all", amount="95.00"))
    other.submit(controls.deposit(reference="theirs", amount="50.00"))
    book.store._calm = CALM_AFTER
    assert book.submit(controls.withdraw(reference="again", amount="50.00")).recorded


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


def frozen_since(book, name):
    first = book.submit(bet(name))
    controls.fund(book, user=controls.OTHER_PLAYER)
    book.submit(controls.freeze())
    for number in range(SETTLED):
        book.submit(theirs(f"settled {number}"))
    forget(book)
    return first


def theirs(name):
    return controls.place_bet(reference=name, round_id=name, user=controls.OTHER_PLAYER)


def test_a_bet_that_would_be_refused_were_it_new_is_repeated_where_it_is_not(book):
    first = frozen_since(book, "old")
    new, again = book._commit([theirs("new"), bet("old")])
    assert (new.recorded, again.recorded) == (True, False)
    assert again.transaction_id == first.transaction_id


def test_the_chain_goes_on_where_it_was_after_what_was_presumed_was_not_so(book):
    frozen_since(book, "old")
    for name in "abc":
        book._commit([theirs(name), bet("old")])
        forget(book)
    hashed = GENESIS
    for record in book.store.walk():
        hashed = link(hashed, record.originator_id, record.originator_version, *said(record))
        assert record.hash == hashed
    assert book.store.head() == (record.id, hashed)


def said(record):
    return record.topic, record.state


def test_what_is_in_mind_stays_there_when_what_was_presumed_was_not_so(book):
    book.submit(bet("old"))
    settle(book)
    forget(book)
    known = book._commit._known
    assert not book.submit(bet("old")).recorded
    assert book._commit._known is known


def test_after_it_took_for_new_what_it_knew_a_book_looks_for_a_while(book):
    book.submit(bet("old"))
    settle(book)
    forget(book)
    book.submit(bet("old"))
    assert book.store._calm < CALM_AFTER


def test_a_reference_in_mind_of_a_round_that_is_not_is_known_without_a_defect(book):
    first = book.submit(bet("old"))
    settle(book)
    forget(book, but=("wallets", "reference_index"))
    (again,) = book._commit([bet("old")])
    assert (again.recorded, again.transaction_id) == (False, first.transaction_id)


def decisions(book, command):
    times = []
    book._commit._now = lambda: times.append(command) or NOON
    book.submit(command)
    return len(times)


def test_a_result_whose_round_is_not_in_mind_is_decided_once(book):
    book.submit(bet("old"))
    settle(book)
    forget(book)
    assert decisions(book, controls.result(round_id="old", amount="1.00")) == 1


def test_a_file_tells_before_the_decision_that_another_wrote(new_url):
    url = new_url("sqlite")
    with settled(url) as book, closing(controls.new_book(url)) as other:
        other.submit(bet("theirs"))
        book.store._calm = CALM_AFTER
        assert decisions(book, bet("theirs")) == 1


def test_what_another_book_wrote_through_the_same_store_is_seen(book):
    beside = Book(book.store)
    cash = beside.submit(controls.withdraw(reference="all", amount="90.00")).cash
    book.store._calm = CALM_AFTER
    assert book.submit(bet("after")).cash == cash - 100
    beside._writer.close()


@pytest.mark.parametrize("beside", [[], ["new"]])
def test_a_providers_bet_in_a_round_that_is_not_in_mind_is_in_the_rounds_currency(url, beside):
    knows = House(operators=examples.OPERATORS, scales={"FUN": 2})
    with closing(examples.new_book(url, now=Clock(), house=knows)) as book:
        book.submit(examples.place_bet(reference="old", round_id="old", currency="FUN"))
    with closing(examples.new_book(url, now=Clock())) as book:
        for name in map(str, range(SETTLED)):
            book.submit(examples.place_bet(reference=name, round_id=name))
        new = [examples.place_bet(reference=name, round_id=name) for name in beside]
        more = examples.place_bet(reference="second", round_id="old", currency="FUN")
        *_, outcome = book._commit([*new, more])
        assert [*outcome.round.bets] == ["old", "second"]


def test_a_book_of_an_older_version_takes_nothing_for_granted(server):
    address, _, schema = server.partition("?schema=")
    with settled(server), psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f"drop function {schema}.presume")
    with closing(Book(open_store(server, IN_TRANSACTION, create=False))) as old:
        assert [old.submit(bet(f"old {n}")).recorded for n in range(SETTLED + 1)] == [True] * 6


def late(book):
    book.submit(controls.expire_session(session="over"))
    settle(book)
    forget(book)
    return book.submit(bet("late", session="over"))


def test_a_session_that_expired_and_is_not_in_mind_is_over(book):
    with pytest.raises(SessionInvalid):
        late(book)


def test_a_book_that_took_it_for_granted_unchecked_would_take_that_bet(server):
    address, _, schema = server.partition("?schema=")
    with settled(server) as book, psycopg.connect(address, autocommit=True) as connection:
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


def test_nothing_is_taken_for_granted_of_tables_that_another_made_anew(book, other):
    purse = (controls.PLAYER, controls.CURRENCY)
    with other.store.transaction():
        cash, *rest = other.store.row("wallets", purse)
        other.store.clear("wallets")
        other.store.write({"wallets": {purse: (None, (cash + 5000, *rest))}})
    book.store._calm = CALM_AFTER
    assert book.submit(bet("after")).cash == cash + 5000 - 100


def test_nothing_is_taken_for_granted_of_another_history_that_is_as_long(server):
    with settled(server) as book:
        position, hashed = book.store.head()
        book.store._head = Head(position, GENESIS)
        book.store._left = book.store._leave()
        book.submit(bet("after"))
        (record, *_) = book.store.records(after=position, limit=1)
        assert record.hash == link(hashed, record.originator_id, 1, *said(record))


def test_nothing_is_taken_for_granted_on_a_connection_that_was_ended(server):
    with settled(server) as book:
        end_connections(server)
        assert book.submit(bet("after")).recorded


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
    st.builds(lambda reference: controls.withdraw(reference=reference, amount="90.00"), NAMES),
    st.builds(lambda reference: controls.deposit(reference=reference, amount="50.00"), NAMES),
    st.builds(lambda: controls.freeze()),
    st.builds(lambda: controls.unfreeze()),
)
STEPS = st.lists(st.tuples(COMMANDS, st.integers(0, 9)), max_size=12)


@contextmanager
def two_and_a_plain_one(url):
    with (
        closing(controls.new_book(url)) as one,
        closing(controls.new_book(url)) as two,
        closing(controls.new_book("memory://")) as plain,
    ):
        for each in (one, plain):
            controls.fund(each, amount=CASH)
        yield one, two, plain


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
@settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=STEPS)
def test_two_books_on_one_store_answer_as_one_book_alone_does(new_url, store, steps):
    with two_and_a_plain_one(new_url(store)) as (one, two, plain):
        for command, chance in steps:
            book: Book = two if chance == 0 else one
            book.store._calm = CALM_AFTER  # it takes for granted whatever it can
            if chance in (0, 1, 2):
                forget(book)
            assert outcome(book, command) == outcome(plain, command)
        assert one.store.head().position == plain.store.head().position
        assert [*one.store.rows("wallets")] == [*plain.store.rows("wallets")]


FAULTS = st.sampled_from([None, None, None, "before", "after", "lost"])


def fail_once(store, fault):
    """The next commit fails before it or behind it, or the connection is gone: whoever waits knows nothing."""
    flush = store._flush

    def fail():
        if fault == "lost" and store.remote:
            store._connection.close()
        if fault != "before":
            with suppress(OperationalError):
                flush()
        store._flush = flush
        raise OperationalError(fault)

    store._flush = fail


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
@settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=st.lists(st.tuples(COMMANDS, st.integers(0, 9), FAULTS), max_size=12))
def test_whatever_a_commit_that_fails_came_to_the_same_call_again_finds_out(new_url, store, steps):
    with two_and_a_plain_one(new_url(store)) as (one, two, plain):
        for command, chance, fault in steps:
            book: Book = two if chance == 0 else one
            book.store._calm = CALM_AFTER
            if chance in (0, 1, 2):
                forget(book)
            if fault:
                fail_once(book.store, fault)
                with pytest.raises(OutcomeUnknown):
                    book.submit(command)
                if fault == "after" or (fault == "lost" and not book.store.remote):
                    outcome(plain, command)
            assert outcome(book, command) == outcome(plain, command)
        assert one.store.head().position == plain.store.head().position
        for table in ("wallets", "reference_index"):
            assert [*one.store.rows(table)] == [*plain.store.rows(table)]
        assert differences(one.store, MAPPER) == []

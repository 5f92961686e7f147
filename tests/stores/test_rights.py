from contextlib import closing
from uuid import uuid4

import psycopg
import pytest
from eventsourcing.persistence import PersistenceError

from ledger.operator.book import Book
from ledger.refusals import OutcomeUnknown
from ledger.store import StoreUnfit, open_store
from projections import IN_TRANSACTION
from tests import controls
from tests.verify import books


@pytest.fixture(params=["postgres", "newest_postgres"])
def server(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def told(server):
    def execute(statement):
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(statement)

    return execute


@pytest.fixture
def url(server, told):
    url = server.new_book()
    told(f"create role {maker_of(url)} login; {MAKE.format(schema_of(url), maker_of(url))}")
    with closing(controls.new_book(of(url, maker_of(url)))) as book:
        controls.fund(book)
    return url


MAKE = "create schema {0} authorization {1}"


def schema_of(url):
    return url.partition("?schema=")[2]


def maker_of(url):
    return f"maker_{schema_of(url)}"


def of(url, role):
    return url.replace("postgres@", f"{role}@")


@pytest.fixture
def role(told):
    name = f"role_{uuid4().hex}"
    told(f"create role {name} login")
    return name


def unfit(open_it):
    with pytest.raises(StoreUnfit) as found:
        open_it()
    said = str(found.value)
    assert said.startswith("store: postgresql://127.0.0.1:")
    return said.partition("/postgres")[2].partition(": ")[2]


def begins(url, role):
    controls.new_book(of(url, role)).close()


def test_who_may_make_no_schema_is_told_what_makes_one(server, role, told):
    url = server.new_book()
    schema = schema_of(url)
    why, _, mends = unfit(lambda: begins(url, role)).partition(": ")
    assert why == f"the role {role} may not make the schema {schema}"
    assert mends == f"create schema {schema} authorization {role}"
    told(mends)
    begins(url, role)


@pytest.mark.parametrize("has", ["nothing", "usage", "create"])
def test_who_may_make_nothing_in_a_schema_is_told_what_lets_it(server, role, told, has):
    url = server.new_book()
    schema = schema_of(url)
    told(f"create schema {schema}")
    if has != "nothing":
        told(f"grant {has} on schema {schema} to {role}")
    why, _, mends = unfit(lambda: begins(url, role)).partition(": ")
    assert why == f"the role {role} may make nothing in the schema {schema}"
    assert mends == f"grant usage, create on schema {schema} to {role}"
    told(mends)
    begins(url, role)


GRANTS = [
    "",
    "grant usage, create on schema {0} to {1}",
    "grant usage on schema {0} to {1}; grant all on all tables in schema {0} to {1}",
]


@pytest.mark.parametrize("grant", GRANTS)
def test_who_writes_another_s_book_is_told_whose_it_is(url, role, told, grant):
    maker = maker_of(url)
    told(grant.format(schema_of(url), role))
    why, _, mends = unfit(lambda: begins(url, role)).partition(": ")
    assert why == f"the book is {maker}'s, and {role} may not write it"
    assert mends == f"connect as {maker}, or grant {maker} to {role}"
    told(mends.partition(", or ")[2])
    begins(url, role)


def test_who_reads_a_book_whose_schema_it_may_not_use_is_told_what_lets_it(url, role, told):
    schema, theirs = schema_of(url), of(url, role)
    said = unfit(lambda: open_store(theirs, read_only=True))
    why, _, mends = said.partition(": ")
    assert why == f"the role {role} may not use the schema {schema}"
    assert str(books.run(theirs).exception).endswith(said)
    told(mends)
    assert books.run(theirs).exit_code == 0


RIGHTS = (
    "; who reads a book needs usage of its schema and select on its tables, who writes it owns them"
)


@pytest.mark.parametrize("table", ["stored_events", *(each.TABLE for each in IN_TRANSACTION)])
def test_of_what_a_role_may_not_read_the_table_is_named(url, role, told, table):
    schema = schema_of(url)
    told(
        f"grant usage on schema {schema} to {role}; grant select on all tables in schema {schema} to {role};"
        f" revoke select on {schema}.{table} from {role}"
    )
    assert f": permission denied for table {table}{RIGHTS}\n" in books.run(of(url, role)).output


def test_a_right_that_only_a_repetition_needs_is_missed_by_whoever_asks_too(url, told):
    maker, seals = maker_of(url), f"{schema_of(url)}.seals"
    with closing(Book(open_store(of(url, maker), IN_TRANSACTION))) as book:
        book.submit(controls.place_bet())
        told(f"revoke insert on {seals} from {maker}")
        with pytest.raises(OutcomeUnknown):
            book.submit(controls.place_bet())
        with pytest.raises(PersistenceError, match="permission denied for table seals"):
            book.check_writing()
        told(f"grant insert on {seals} to {maker}")
        book.check_writing()
        assert not book.submit(controls.place_bet()).recorded


WRITTEN = [
    ("insert", "stored_events"),
    *((right, each.TABLE) for each in IN_TRANSACTION for right in ("insert", "update")),
]


@pytest.mark.parametrize(("right", "table"), WRITTEN)
def test_a_right_that_was_taken_away_is_998_and_not_ready_until_it_is_given_back(
    url, told, right, table
):
    maker, at = maker_of(url), f"{schema_of(url)}.{table}"
    with closing(Book(open_store(of(url, maker), IN_TRANSACTION))) as book:
        head = book.store.head()
        told(f"revoke {right} on {at} from {maker}")
        with pytest.raises(OutcomeUnknown):
            book.submit(controls.place_bet())
        for _ in range(2):
            with pytest.raises(PersistenceError) as refused:
                book.check_writing()
            assert str(refused.value) == f"permission denied for table {table}{RIGHTS}"
        told(f"grant {right} on {at} to {maker}")
        book.check_writing()
        assert book.store.head() == head
        assert book.submit(controls.place_bet()).recorded

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from uuid import uuid4

import psycopg
import pytest
from click.testing import CliRunner
from eventsourcing.persistence import IntegrityError, PersistenceError

from ledger.operator.book import MAPPER, Book
from ledger.rebuild import differences, rebuild
from ledger.refusals import OutcomeUnknown
from ledger.store import Appended, StoreUnfit, open_store, parts_of, told
from ledger.store.patience import LOOK_S, Hosts, Watch
from ledger.store.sql_postgres import LOCK
from projections import IN_TRANSACTION
from scripts.cli import roundbook
from scripts.rebuild import rebuild as rebuild_command
from tests import controls
from tests.http.server import free_port, until
from tests.postgres import end_connections
from tests.verify import books


@pytest.fixture(params=["postgres", "newest_postgres"])
def server(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def url(server):
    return server.new_book()


@pytest.fixture
def book(url):
    made = controls.new_book(url)
    controls.fund(made)
    yield made
    made.close()


def stranger(url):
    address, _, schema = url.partition("?schema=")
    return psycopg.connect(address, autocommit=True, options=f"-c search_path={schema}")


def bet(name):
    return controls.place_bet(reference=name, round_id=name, amount="1.00")


@pytest.mark.parametrize(
    "statement",
    [
        "update stored_events set topic = 'x'",
        "delete from stored_events where position = 1",
        "truncate stored_events",
        "delete from seals",
    ],
)
def test_what_is_stored_stays(book, url, statement):
    with stranger(url) as connection, pytest.raises(psycopg.Error, match="immutable"):
        connection.execute(statement)


def test_a_server_that_is_not_there_is_one_sentence_without_the_password():
    url = f"postgresql://somebody:canary@127.0.0.1:{free_port()}/books"
    with pytest.raises(StoreUnfit) as unfit:
        open_store(url)
    assert "127.0.0.1" in str(unfit.value)
    assert "canary" not in str(unfit.value)
    assert "somebody" not in told(url)


PIECES = re.compile("s3cr|3tpw")
WRITTEN_AS_IT_IS = {
    **{sign: f"postgresql://somebody:s3cr{sign}3tpw@127.0.0.1:1/books" for sign in "/?#@[% "},
    "a sign behind digits": "postgresql://somebody:12/3tpw@127.0.0.1:1/books",
    "an escape that is none": "postgresql://somebody:s3cr%zz@127.0.0.1:1/books?schema=acme",
    "a parameter that is none": "postgresql://127.0.0.1:1/books?pasword=s3cr",
    "a parameter without a value": "postgresql://127.0.0.1:1/books?s3cr",
    "no URL": "postgresql:/somebody:s3cr@127.0.0.1:1/books",
}


@pytest.mark.parametrize("url", WRITTEN_AS_IT_IS.values(), ids=WRITTEN_AS_IT_IS)
def test_a_password_that_cuts_a_url_is_quoted_nowhere(url):
    with pytest.raises(StoreUnfit) as unfit:
        open_store(url)
    for said in (str(unfit.value), *([told(url)] if "://" in url else [])):
        assert not PIECES.search(said)


@pytest.mark.parametrize("url", WRITTEN_AS_IT_IS.values(), ids=WRITTEN_AS_IT_IS)
def test_nor_by_a_command_that_is_given_it(url):
    done = CliRunner().invoke(rebuild_command, ["--check", "--store", url])
    assert isinstance(done.exception, StoreUnfit)
    assert not PIECES.search(f"{done.exception} {done.output}")


@pytest.mark.parametrize(
    "asked",
    [
        "verify {}",
        "replay --from {}",
        "balance 1 USD --from {}",
        "audit-file audit.db --from {}",
        "audit-file {} --from roundbook.db",
        "audit-serve {}",
        "report daily-wallets {}",
        "reconcile roundbook.db {}",
        "copy {} copy.db",
    ],
)
@pytest.mark.parametrize("url", [WRITTEN_AS_IT_IS["no URL"], WRITTEN_AS_IT_IS["/"]])
def test_nor_where_a_file_may_be_meant(tmp_path, monkeypatch, asked, url):
    monkeypatch.chdir(tmp_path)
    controls.new_book("sqlite:///roundbook.db").close()
    done = CliRunner().invoke(roundbook, [url if it == "{}" else it for it in asked.split()])
    assert done.exit_code != 0
    assert not PIECES.search(f"{done.exception} {done.output}")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://a,b:5433,[::1]:5434/books?target_session_attrs=read-write&schema=acme",
        "postgresql://some%40body:p%2F%3F%23%40%25@h:5432/books",
        "postgresql:///books?host=/run/postgresql&user=some@body",
        "postgres://h:/books?",
    ],
)
def test_what_libpq_reads_is_told_without_who_connects(url):
    assert parts_of(url).scheme.startswith("postgres")
    assert "some" not in told(url)
    assert "p%2F" not in told(url)


@pytest.mark.parametrize("schema", ["Upper", "a-b", 'x"; drop schema public', "", "1a", "a" * 64])
def test_a_schema_is_a_plain_name(postgres, schema):
    with pytest.raises(StoreUnfit, match="is no schema"):
        open_store(f"{postgres.url}?schema={schema}" if schema else f"{postgres.url}?schema=%20")


@pytest.mark.parametrize("how", [{"create": False}, {"read_only": True}])
def test_a_book_that_is_not_there_is_not_made(url, how):
    with pytest.raises(StoreUnfit, match="there is no schema"):
        open_store(url, **how)
    with pytest.raises(StoreUnfit, match="there is no schema"):
        open_store(url, **how)


def test_a_pooler_that_drops_a_session_s_options_is_refused_before_anything_is_made(
    server, url, monkeypatch
):
    connect = Hosts.connect
    monkeypatch.setattr(Hosts, "connect", lambda self, _, **how: connect(self, **how))
    for how in ({}, {"create": False}, {"read_only": True}):
        with pytest.raises(StoreUnfit, match=r"a pooler before it drops .* name the server itself"):
            open_store(url, IN_TRANSACTION, **how)
    with psycopg.connect(server.url) as connection:
        made = "select count(*) from pg_namespace where nspname in (%s, %s)"
        there = "select to_regclass('public.stored_events')"
        assert connection.execute(made, (url.partition("?schema=")[2], "public")).fetchone() == (1,)
        assert connection.execute(there).fetchone() == (None,)


def test_a_parameter_of_the_url_s_own_is_what_libpq_takes_it_for(url):
    with closing(open_store(f"{url}&application_name=a+b%20c%2Bd")) as store:
        assert store._writer.info.parameter_status("application_name") == "a+b c+d"


def test_options_of_the_url_s_own_count_beside_those_of_a_book(url):
    of_theirs = "&options=-c%20work_mem%3D77kB%20-c%20search_path%3Dpublic"
    with closing(open_store(url + of_theirs, IN_TRANSACTION)) as store:
        said = store._writer.execute(
            "select current_setting('work_mem'), current_setting('search_path')"
        )
        assert said.fetchone() == ("77kB", url.partition("?schema=")[2])


def of_a_role_with(server, setting):
    role = f"role_{uuid4().hex}"
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"create role {role} login; alter role {role} set {setting}")
        connection.execute(f"grant create on database postgres to {role}")
    return server.url.replace("postgres@", f"{role}@") + f"?schema={role}"


@pytest.mark.parametrize(
    "setting",
    [
        "quote_all_identifiers = on",
        "search_path = public",
        "standard_conforming_strings = off",
        "plpgsql.extra_errors = 'all'",
    ],
)
def test_a_book_is_the_same_whatever_its_role_has_set(server, setting):
    url = of_a_role_with(server, setting)
    assert is_known_to_another(url) == (True, False)
    assert books.run(url).exit_code == 0


def test_who_reads_or_rebuilds_a_whole_book_has_as_long_as_it_takes(newest_postgres):
    url = of_a_role_with(newest_postgres, "transaction_timeout = '1s'")
    with closing(controls.new_book(url)) as book:
        for begun in (book.store.snapshot, book.store.transaction):
            with begun() as head:
                book.store._own.execute("select pg_sleep(1.5)")
                assert book.store.head() == head


def test_a_role_that_silences_triggers_reads_a_book_and_writes_none(server):
    url = of_a_role_with(server, "session_replication_role = replica")
    with pytest.raises(StoreUnfit, match=r"silences the triggers .*: reset it"):
        controls.new_book(url)
    whole = url.partition("?schema=")[2]
    controls.new_book(f"{server.url}?schema={whole}").close()
    with stranger(server.url + f"?schema={whole}") as connection:
        connection.execute(f"grant usage on schema {whole} to {whole}")
        connection.execute(f"grant select on all tables in schema {whole} to {whole}")
    with pytest.raises(StoreUnfit, match="silences the triggers"):
        open_store(url, create=False)
    assert books.run(url).exit_code == 0


def test_a_url_that_asks_for_a_leader_leads_to_it_whoever_only_reads_too(url):
    with closing(controls.new_book(f"{url}&target_session_attrs=read-write")) as book:
        controls.fund(book)
        assert book.store.head().position == 2


def test_each_schema_is_a_book_of_its_own(postgres):
    one, other = (controls.new_book(postgres.new_book()) for _ in range(2))
    controls.fund(one)
    assert (one.store.head().position, other.store.head().position) == (2, 0)
    one.close()
    other.close()


def test_a_book_goes_on_when_its_connections_were_ended(book, url):
    book.submit(bet("before"))
    head = book.store.head()
    end_connections(url)
    assert book.submit(bet("after")).recorded
    assert book.store.head().position == head.position + 2


def test_a_rival_between_decision_and_insert_is_a_conflict(book, url):
    rival = open_store(url, IN_TRANSACTION)
    theirs = Book(rival)
    blocked = threading.Thread(target=theirs.submit, args=(bet("theirs"),))
    (event,) = book.store.select_events("wallet/123456/USD", limit=1)

    def insert_again() -> None:
        with book.store.transaction():
            blocked.start()
            book.store.insert_events([event])

    with pytest.raises(IntegrityError):
        insert_again()
    blocked.join()
    assert theirs.round(controls.PROVIDER, "theirs")
    theirs.close()


def test_a_book_goes_on_once_a_lock_that_it_waited_for_in_vain_is_free(url, monkeypatch):
    monkeypatch.setattr("ledger.store.postgres.WAITS", "-c lock_timeout=200ms")
    with closing(controls.new_book(url)) as book, stranger(url) as rival:
        controls.fund(book)
        rival.execute("begin")
        rival.execute(LOCK)
        with pytest.raises(OutcomeUnknown):
            book.submit(bet("meanwhile"))
        rival.execute("commit")
        assert book.submit(bet("afterwards")).recorded
        assert book.submit(bet("meanwhile")).recorded


ONLY_READS = (
    "cannot execute INSERT in a read-only transaction;"
    " this server is a copy, or may only be read: name the one that is written"
)


def test_a_book_whose_server_only_reads_is_found_by_trying_to_write(book):
    book.store._writer.execute("set default_transaction_read_only = on")
    with pytest.raises(OutcomeUnknown) as unknown:
        book.submit(bet("meanwhile"))
    with pytest.raises(PersistenceError) as refused:
        book.check_writing()
    assert str(refused.value) == str(unknown.value.__cause__) == ONLY_READS
    book.store._writer.execute("set default_transaction_read_only = off")
    head = book.store.head()
    book.check_writing()
    assert book.store.head() == head
    assert book.submit(bet("meanwhile")).recorded


def test_a_snapshot_waits_for_its_reader(url, monkeypatch):
    with closing(controls.new_book(url)) as book, stranger(url) as connection:
        controls.fund(book)
        monkeypatch.setattr(
            "ledger.store.postgres.WAITS", "-c idle_in_transaction_session_timeout=100ms"
        )
        book.store._forget_idle()
        with book.store.snapshot() as head:
            connection.execute("select pg_sleep(0.5)")
            assert book.store.head() == head


AS_LONG_S = 1.0
"""What every other statement may take, so that it is the slow one that takes too long."""

SLOWLY = """
create function {schema}.slowly() returns trigger language plpgsql as
$$ begin perform pg_sleep({seconds}); return null; end $$;
create trigger slowly before delete on {schema}.wallets for each statement execute function {schema}.slowly()
"""


def test_a_table_is_cleared_however_long_it_takes(url):
    with closing(controls.new_book(url)) as book, stranger(url) as connection:
        controls.fund(book)
        schema = url.partition("?schema=")[2]
        connection.execute(SLOWLY.format(schema=schema, seconds=AS_LONG_S + 2 * LOOK_S))
        book.store._watch = Watch(AS_LONG_S)
        book.store._writer.execute(f"set statement_timeout = '{AS_LONG_S}s'")
        assert rebuild(book.store, MAPPER)
        book.store._watch = Watch()
        assert differences(book.store, MAPPER) == []


def test_who_connects_waits_for_no_answer_without_end(book, monkeypatch):
    monkeypatch.setattr("ledger.store.postgres.WAITS", "")
    monkeypatch.setattr("ledger.store.postgres.ENDLESS", ("select pg_sleep(5)", 0))
    book.store._watch = Watch(LOOK_S)
    with pytest.raises(psycopg.OperationalError):
        book.store._connect()


def test_a_table_is_scanned_a_page_at_a_time_and_whole(book, monkeypatch):
    monkeypatch.setattr("ledger.store.postgres.PAGE", 2)
    for name in ("one", "two", "three", "four", "five"):
        book.submit(bet(name))
    pages = []

    def read(*statement):
        pages.append(page := type(book.store)._read(book.store, *statement))
        return page

    monkeypatch.setattr(book.store, "_read", read)
    for projection in IN_TRANSACTION:
        there = book.store.rows(projection.TABLE)
        pages.clear()
        assert [*book.store.scan(projection.TABLE)] == [*there]
        assert {len(page) for page in pages} <= {0, 1, 2}


@contextmanager
def database(server, encoding):
    name, (address, _, _) = f"book_{uuid4().hex}", server.url.rpartition("/")
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"create database {name} encoding '{encoding}' template template0")
        yield f"{address}/{name}"
        connection.execute(f"drop database {name} with (force)")


NAMED = "bet € ü 🎲"


def is_known_to_another(url):
    with closing(controls.new_book(url)) as book, closing(controls.new_book(url)) as other:
        controls.fund(book)
        return book.submit(bet(NAMED)).recorded, other.submit(bet(NAMED)).recorded


def test_a_database_that_keeps_bytes_keeps_a_book(server):
    with database(server, "SQL_ASCII") as url:
        assert is_known_to_another(url) == (True, False)


@pytest.mark.parametrize("position", [1, 2, 4])
@pytest.mark.parametrize("column", ["stream", "topic", "state"])
def test_a_text_that_is_none_is_found_in_its_place_where_a_database_keeps_bytes(
    server, column, position
):
    with database(server, "SQL_ASCII") as url:
        with closing(controls.new_book(url)) as book:
            controls.fund(book)
            book.submit(bet("one"))
        with psycopg.connect(f"{url}?options=-csearch_path%3Droundbook") as connection:
            connection.execute("alter table stored_events disable trigger stored_events_stay")
            connection.execute(
                f"update stored_events set {column} = convert_from('\\xff', 'SQL_ASCII')"
                f" where position = {position}"
            )
            connection.execute("alter table stored_events enable trigger stored_events_stay")

        assert books.run(url).output.startswith(f"position {position}: changed: ")
        if column == "state":  # whoever plays other rounds is not kept from it
            controls.new_book(url).close()
            return
        with (
            closing(open_store(url, IN_TRANSACTION)) as store,
            pytest.raises(StoreUnfit) as unfit,
        ):
            Book(store)
    assert str(unfit.value) == (
        f"store: the event that follows position {position - 1} cannot be read:"
        " a text is not UTF-8; roundbook verify tells more"
    )


def test_a_database_that_cannot_keep_every_text_is_unfit(server):
    with database(server, "LATIN1") as url, pytest.raises(StoreUnfit, match="LATIN1"):
        controls.new_book(url)


def test_text_is_kept_as_it_is_whatever_the_environment_says(url, monkeypatch):
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    assert is_known_to_another(url) == (True, False)


WAITING = "select count(*) from pg_stat_activity where wait_event = 'advisory' and datname = %s"


def position_of(store):
    with store.transaction() as head:
        return head.position


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_who_waited_for_another_sees_what_that_wrote_whatever_the_default(server, level):
    with database(server, "UTF8") as url, ExitStack() as stack:
        name = url.rpartition("/")[2]
        connection = stack.enter_context(psycopg.connect(url, autocommit=True))
        connection.execute(f"alter database {name} set default_transaction_isolation = '{level}'")
        one, other = (stack.enter_context(closing(open_store(url))) for _ in range(2))
        with ThreadPoolExecutor() as pool, one.transaction():
            waiting = pool.submit(position_of, other)
            until(lambda: connection.execute(WAITING, (name,)).fetchone() == (1,), "it waits")
            one.insert_events([Appended("wallet/1/USD", 1, "WalletOpened", b"{}")])
        assert waiting.result() == 1


@pytest.mark.parametrize("position", [0, -1, -(2**63)])
def test_an_event_before_the_first_position_counts_in_its_round_and_is_not_overlooked(
    book, url, position
):
    book.submit(bet("one"))
    with stranger(url) as connection:
        connection.execute(
            f"insert into stored_events select {position}, stream, version + 1, topic,"
            " replace(state, '\"one\"', '\"none\"'), hash from stored_events where topic = 'BetPlaced'"
        )
    assert b"none" in book.store.stream("round/LuckyMonaco/one")[-1][1]
    said = books.run(url).output
    assert said.startswith(f"position {position}: inserted: ")

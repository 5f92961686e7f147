import re
from contextlib import closing

import psycopg
import pytest
from click.testing import CliRunner

from ledger.operator.book import MAPPER, Book
from ledger.rebuild import differences, rebuild
from ledger.seal import new_key
from ledger.store import StoreUnfit, open_store
from projections import IN_TRANSACTION
from scripts.rebuild import rebuild as rebuild_command
from scripts.seal import seal as seal_command
from scripts.source import TABLES
from tests import controls
from tests.postgres import end_connections, running
from tests.provider import examples
from tests.verify import books


@pytest.fixture(params=["postgres", "newest_postgres"])
def server(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def url(server):
    url = server.new_book()
    with closing(controls.new_book(url)) as book:
        controls.fund(book)
        book.submit(controls.place_bet())
    return url


def stranger(url):
    address, _, schema = url.partition("?schema=")
    return psycopg.connect(address, autocommit=True, options=f"-c search_path={schema}")


def tamper(url, statement):
    with stranger(url) as connection:
        connection.execute(statement)


def finding(url):
    return books.run(url).output


SWALLOWING = (
    "create function swallow() returns trigger language plpgsql as 'begin return null; end'"
)
STAYS = "create or replace function stays() returns trigger language plpgsql as 'begin return null; end'"
ALTERED = {
    "trigger stored_events.more": f"{SWALLOWING}; create trigger more before insert on stored_events"
    " for each row execute function swallow()",
    "trigger stored_events.stored_events_stay": "alter table stored_events disable trigger stored_events_stay",
    "trigger seals.seals_stay": "create or replace trigger seals_stay before truncate on seals"
    " for each statement execute function stays('seals')",
    "function stays()": STAYS,
    "constraint wallets.wallets_cash_check": "alter table wallets drop constraint wallets_cash_check",
    "constraint rounds.rounds_status_check": "alter table rounds drop constraint rounds_status_check,"
    " add constraint rounds_status_check check (status <> '')",
    "constraint stored_events.stored_events_stream_version_key": "alter table stored_events drop"
    " constraint stored_events_stream_version_key",
    "constraint reference_index.reference_index_pkey": "alter table reference_index drop constraint"
    " reference_index_pkey, add primary key (provider, kind, reference, stream)",
    "column wallets.note": "alter table wallets add column note text",
    "column wallets.cash": "alter table wallets alter cash type integer",
    "column rounds.won": "alter table rounds alter won set default 1",
    "column stored_events.stream": 'alter table stored_events alter stream type text collate "default"',
    "index reference_index.mine": "create index mine on reference_index (transaction_id)",
    "rule wallets.never": "create rule never as on insert to wallets do instead nothing",
    "table stored_events": "create table more () inherits (stored_events)",
    "table rounds": "alter table rounds enable row level security",
    "table wallets": "alter table wallets set unlogged",
}


@pytest.mark.parametrize(("what", "statement"), ALTERED.items(), ids=ALTERED)
def test_what_keeps_the_rows_must_be_as_a_book_makes_it(url, what, statement):
    tamper(url, statement)

    said = finding(url)

    assert re.match(f"schema: the {re.escape(what)} is (not as|none of) a book", said)
    for create in (True, False):
        with pytest.raises(
            StoreUnfit, match=f"the {re.escape(what)} is .*; roundbook verify tells more"
        ):
            open_store(url, IN_TRANSACTION, create=create)
    assert finding(url) == said


TAKING = "returns void language plpgsql as 'begin update wallets set cash = 0; end'"
WRITERS = {
    "append(jsonb)": f"create or replace function append(batch jsonb) {TAKING}",
    "presume(jsonb)": f"create or replace function presume(presumed jsonb) {TAKING}",
}


@pytest.mark.parametrize(("what", "statement"), WRITERS.items(), ids=WRITERS)
def test_a_function_that_writes_money_otherwise_is_found_and_no_worker_writes_with_it(
    url, what, statement
):
    tamper(url, statement)

    assert re.match(f"schema: the function {re.escape(what)} is (not as|none of)", finding(url))
    with pytest.raises(StoreUnfit, match="made anew where roundbook serve starts"):
        open_store(url, IN_TRANSACTION, create=False)


@pytest.mark.parametrize("theirs", ["append(json)", "presume(jsonb, integer)", "stays(json)"])
def test_a_function_of_somebody_else_s_is_to_be_dropped_and_then_all_is_well(url, theirs):
    tamper(url, f"create function {theirs} {TAKING}")

    assert finding(url).startswith(f"schema: the function {theirs} is none of a book's")
    check = CliRunner().invoke(rebuild_command, ["--check", "--store", url])
    assert str(check.exception).endswith(
        "somebody else made it: drop it, or have it in another schema"
    )
    for create in (True, False):
        with pytest.raises(StoreUnfit, match=r"drop it, or have it in another schema$"):
            open_store(url, IN_TRANSACTION, create=create)

    tamper(url, f"drop function {theirs}")
    controls.new_book(url).close()


@pytest.mark.parametrize("name", ["append", "presume"])
def test_a_function_that_an_older_version_made_is_made_anew_where_a_service_starts(url, name):
    tamper(url, WRITERS[f"{name}(jsonb)"])

    open_store(url, IN_TRANSACTION).close()

    assert books.run(url).exit_code == 0


@pytest.mark.parametrize("name", ["append", "presume"])
def test_a_rebuild_writes_with_no_function_that_somebody_else_made(url, name):
    tamper(url, WRITERS[f"{name}(jsonb)"])

    done = CliRunner().invoke(rebuild_command, ["--store", url])

    assert done.exit_code == 0, done.output
    assert books.run(url).exit_code == 0


def test_who_opens_a_served_book_without_its_tables_has_no_bet_written_without_them(url):
    with closing(open_store(url, IN_TRANSACTION)) as served:
        book = Book(served)
        open_store(url).close()
        assert book.submit(controls.place_bet(reference="b-2", round_id="r-2")).recorded
        assert differences(served, MAPPER) == []


def test_who_seals_a_book_of_before_there_were_functions_makes_none(url, tmp_path):
    tamper(url, "drop function append(jsonb); drop function presume(jsonb)")
    (tmp_path / "key").write_bytes(new_key())

    sealed = CliRunner().invoke(seal_command, [url, "--key", f"{tmp_path}/key"])

    assert sealed.output.startswith("sealed 4 events")
    assert books.run(url).output.startswith("4 events, 1 seal: all hold")
    controls.new_book(url).close()


def test_a_book_of_before_there_were_functions_holds(url):
    tamper(url, "drop function append(jsonb); drop function presume(jsonb)")

    assert books.run(url).exit_code == 0


def test_a_trigger_that_is_gone_is_found_and_made_again(url):
    tamper(url, "drop trigger stored_events_stay on stored_events")
    assert finding(url).startswith("schema: the trigger stored_events.stored_events_stay is not as")
    open_store(url, IN_TRANSACTION).close()
    assert books.run(url).exit_code == 0


def test_what_somebody_else_keeps_in_the_schema_is_no_finding(url):
    tamper(
        url,
        f"create table theirs (id bigint primary key); create view sums as select sum(cash) from wallets;"
        f" {SWALLOWING}; create trigger theirs before insert on theirs for each row execute function swallow();"
        " alter table wallets set (fillfactor = 70); alter index wallets_pkey set (fillfactor = 70);"
        " comment on table wallets is 'money'; analyze",
    )
    assert books.run(url).exit_code == 0
    open_store(url, IN_TRANSACTION).close()


def test_nothing_is_left_of_the_comparison(url):
    with closing(open_store(url, IN_TRANSACTION)) as store, stranger(url) as connection:
        assert store.altered() is None
        left = "select count(*) from pg_class where relname = 'wallets' and relpersistence = 't'"
        assert connection.execute(left).fetchone() == (0,)


def test_a_connection_that_was_lost_meanwhile_is_no_finding(url):
    with closing(open_store(url, IN_TRANSACTION, read_only=True)) as store:
        end_connections(url)
        assert store.altered() is None


def test_a_provider_s_book_is_as_it_is_made(server):
    url = server.new_book()
    with closing(examples.new_book(url, now=examples.Clock())) as book:
        book.submit(examples.place_bet())
    with closing(open_store(url, TABLES["provider"], read_only=True)) as store:
        assert store.altered() is None
    tamper(url, "alter table deliveries add column note text")
    assert finding(url).startswith("schema: the column deliveries.note is none of a book's")


def test_a_table_that_another_version_made_is_made_anew_by_a_rebuild(url):
    tamper(url, "alter table wallets drop column version; alter table rounds add column note text")
    with pytest.raises(StoreUnfit, match="made anew by roundbook rebuild"):
        open_store(url, IN_TRANSACTION)

    done = CliRunner().invoke(rebuild_command, ["--store", url])

    assert done.exit_code == 0, done.output
    assert books.run(url).exit_code == 0


def test_tables_and_functions_that_another_version_made_are_made_anew_together(url):
    tamper(
        url, "alter table wallets drop column version; drop table rounds; create table rounds ()"
    )
    tamper(url, WRITERS["append(jsonb)"])

    done = CliRunner().invoke(rebuild_command, ["--store", url])

    assert done.exit_code == 0, done.output
    assert books.run(url).exit_code == 0


def test_a_rebuild_makes_no_events_anew(url):
    tamper(url, ALTERED["function stays()"])
    done = CliRunner().invoke(rebuild_command, ["--store", url])
    assert isinstance(done.exception, StoreUnfit)


def test_a_rebuild_of_tables_that_are_as_they_are_made_keeps_what_somebody_else_made_of_them(url):
    tamper(url, "create view sums as select sum(cash) from wallets")
    with closing(open_store(url, IN_TRANSACTION, create=False, anew=True)) as store:
        rebuild(store, MAPPER)
    assert books.run(url).exit_code == 0


def test_who_may_only_read_can_verify_a_book(url):
    _, _, schema = url.partition("?schema=")
    reader = f"reader_{schema}"
    tamper(
        url,
        f"create role {reader} login; grant usage on schema {schema} to {reader};"
        f" grant select on all tables in schema {schema} to {reader};"
        f" alter role {reader} set default_transaction_read_only = on",
    )
    theirs = url.replace("postgres@", f"{reader}@")
    assert books.run(theirs).exit_code == 0
    tamper(url, ALTERED["index reference_index.mine"])
    assert finding(theirs).startswith("schema: ")


def as_who_makes_no_tables(url):
    _, _, schema = url.partition("?schema=")
    tamper(
        url,
        f"revoke temporary on database postgres from public; create role reader login;"
        f" grant usage on schema {schema} to reader;"
        f" grant select on all tables in schema {schema} to reader",
    )
    return url.replace("postgres@", "reader@")


def test_who_may_make_no_temporary_tables_can_verify_the_rest_of_a_book():
    with running("-c fsync=off") as cluster:
        url = cluster.new_book()
        controls.new_book(url).close()
        assert books.run(as_who_makes_no_tables(url)).exit_code == 0


def test_an_empty_book_of_a_provider_is_read_as_one_where_no_tables_can_be_compared():
    with running("-c fsync=off") as cluster:
        url = cluster.new_book()
        examples.new_book(url, now=examples.Clock()).close()
        theirs = as_who_makes_no_tables(url)
        assert books.run(theirs).exit_code == 0
        options = ["--check", "--party", "provider", "--store", theirs]
        assert CliRunner().invoke(rebuild_command, options).exit_code == 0


def test_who_starts_on_the_other_party_s_book_by_mistake_changes_nothing_for_who_serves_it(server):
    url = server.new_book()
    with closing(examples.new_book(url, now=examples.Clock())) as book:
        book.submit(examples.place_bet())
        with pytest.raises(StoreUnfit):
            controls.new_book(url)
        book.submit(examples.place_bet(reference="b-2"))
    assert books.run(url).exit_code == 0


def test_nor_does_who_rebuilds_it_as_the_other_party_s(server):
    url = server.new_book()
    with closing(examples.new_book(url, now=examples.Clock())) as book:
        book.submit(examples.place_bet())
        assert CliRunner().invoke(rebuild_command, ["--store", url]).exit_code
        book.submit(examples.place_bet(reference="b-2"))
    assert books.run(url).exit_code == 0


def test_a_table_that_was_emptied_takes_no_bet_until_it_is_rebuilt(url):
    tamper(url, "truncate reference_index")
    with (
        closing(open_store(url, IN_TRANSACTION)) as store,
        pytest.raises(StoreUnfit, match="the table reference_index lacks"),
    ):
        Book(store)
    assert CliRunner().invoke(rebuild_command, ["--store", url]).exit_code == 0
    controls.new_book(url).close()


def test_a_table_that_is_gone_is_made_again_by_a_rebuild(url):
    tamper(url, "drop table wallets")
    assert CliRunner().invoke(rebuild_command, ["--store", url]).exit_code == 0
    assert books.run(url).exit_code == 0
